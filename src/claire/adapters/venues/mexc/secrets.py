"""Secrets: one file each in one folder, readable by their owner only."""

import os
import stat
from pathlib import Path
from typing import Final

from claire.gateway.signer import Keys
from claire.model.errors import ConfigError

ACCESS_KEY: Final = "mexc_access_key"
SECRET_KEY: Final = "mexc_secret_key"  # noqa: S105 - a file's name
MAX_BYTES: Final = 1024
"""A key is some dozens of characters; a longer file is something else."""


def read_keys(folder: str | Path) -> Keys:
    """Read the access key and the secret key of MEXC.

    Args:
        folder: `secrets.path`, also known as SECRETS_PATH.

    Raises:
        ConfigError: the folder is not named, or a file is missing, empty, readable by others, or no key.
    """
    if not str(folder):
        raise ConfigError(
            f"no folder of secrets is named; put the keys into the files {ACCESS_KEY} and {SECRET_KEY} of a folder of your own"
            " (chmod 600 each), and name it with SECRETS_PATH or secrets.path"
        )
    return Keys(read_secret(Path(folder) / ACCESS_KEY), read_secret(Path(folder) / SECRET_KEY))


def read_secret(file: Path) -> str:
    """Read one secret, without the blanks and line ends around it.

    Raises:
        ConfigError: the file is missing, not a file, empty, too long, readable by others, or holds more than one word.
    """
    place = f"{file.parent}{os.sep}"
    try:
        with file.open("rb") as opened:
            state = os.fstat(opened.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError(f"{file}: is not a file; a secret is one word in a file of its own")
            if state.st_mode & 0o077:
                raise ConfigError(
                    f"{file}: others than its owner may use it (mode {stat.S_IMODE(state.st_mode):04o}); chmod 600 {file}"
                )
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file; write the key into it and chmod 600 {file} (secrets.path is {place})"
        ) from None
    except OSError as e:
        raise ConfigError(f"{file}: cannot be read ({e.strerror}); it has to belong to you: chmod 600 {file}") from e
    text = content.decode("ascii", "replace").strip()
    if not text:
        raise ConfigError(f"{file}: is empty; write the key into it, as MEXC showed it when it was made")
    if len(content) > MAX_BYTES or not all("!" <= letter <= "~" for letter in text):
        raise ConfigError(f"{file}: holds more than one word of plain letters; write the key into it and nothing else")
    return text
