"""The latch: whether anything may be sent at all. Read right before every send.

What cannot be read counts as closed: who removes the folder, or takes away the right to look, has closed the latch.
"""

import os
from typing import Final, Protocol

KILL: Final = "kill"
"""File in the account's folder that closes the latch while it is there."""

_WORDS: Final = 200


class Latch(Protocol):
    """Says whether orders may leave."""

    def why_closed(self) -> str:
        """Return why nothing may be sent; empty: the latch is open."""


class FileLatch:
    """A latch that a file closes: ``touch RUNS/accounts/ACCOUNT/kill``. It survives every restart."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Watch an account's folder."""
        self._folder = os.fspath(folder)
        self._file = os.path.join(self._folder, KILL)  # noqa: PTH118  # the core may not use pathlib

    def why_closed(self) -> str:
        """Return why nothing may be sent; what the file says is part of it."""
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return self._why_folder_is_gone()
        except OSError as error:
            return f"{self._file} is there but cannot be read ({error.strerror}), which counts as closed"
        try:
            said = os.read(descriptor, _WORDS).decode("utf-8", "replace").strip()
        except OSError as error:
            said = error.strerror or ""
        finally:
            os.close(descriptor)
        return f"{self._file} is there" + (f": {said}" if said else "") + ". Remove it to trade again"

    def _why_folder_is_gone(self) -> str:
        try:
            os.stat(self._folder)  # noqa: PTH116  # the core may not use pathlib
        except OSError as error:
            return f"{self._folder} cannot be looked into ({error.strerror}), which counts as closed"
        return ""
