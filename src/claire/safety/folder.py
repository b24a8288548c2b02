"""What lies in an account's folder for those who stop it: which symbols the run trades.

RUNS/accounts/ACCOUNT/symbols    one per line; kept by the run, read by the sentinel and by `panic`
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from claire.model.errors import UsageError, did_you_mean

ACCOUNTS: Final = "accounts"
SYMBOLS: Final = "symbols"


def write_symbols(folder: str | os.PathLike[str], symbols: Iterable[str]) -> None:
    """Say what is traded, before the first order: whole or not at all. Symbols once listed stay while the run goes on.

    Raises:
        OSError: it cannot be written.
    """
    file = Path(folder) / SYMBOLS
    temporary = file.with_name(SYMBOLS + ".new")
    with temporary.open("w", encoding="utf-8") as opened:
        opened.write("".join(f"{symbol}\n" for symbol in symbols))
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def read_symbols(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return what is traded; nothing where nothing is known.

    Raises:
        OSError: the list is there and cannot be read.
    """
    try:
        text = (Path(folder) / SYMBOLS).read_text("utf-8", "replace")
    except FileNotFoundError:
        return ()
    return tuple(dict.fromkeys(text.split()))


def account_folder(runs: Path, account: str) -> Path:
    """Return the folder of an account.

    Raises:
        UsageError: there is none.
    """
    folder = runs / ACCOUNTS / account
    if not folder.is_dir():
        known = [path.name for path in account_folders(runs)]
        there = f"There are {', '.join(known)}." if known else f"There is none in {runs / ACCOUNTS}."
        raise UsageError(f"there is no account {account}.{did_you_mean(account, known)} {there}")
    return folder


def account_folders(runs: Path) -> list[Path]:
    """Return the folders of all accounts."""
    accounts = runs / ACCOUNTS
    return sorted(path for path in accounts.iterdir() if path.is_dir()) if accounts.is_dir() else []
