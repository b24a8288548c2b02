"""What an account owns and has working as its newest ledger knows it: read only, in a moment, by whoever stops the account."""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

LEDGER: Final = "ledger.sqlite"
_BUSY_S: Final = 0.5
_LIVE: Final = ("INTENT", "SENT", "OPEN", "PARTIALLY_FILLED", "PENDING_CANCEL", "UNKNOWN")


def left(runs: Path, account: str) -> dict[str, Any]:
    """Return ``run``, ``positions`` and ``orders`` of an account's newest run, or ``ledger_problem``.

    Args:
        runs: The folder of runs.
        account: Its id.
    """
    try:
        return _read(runs, account)
    except sqlite3.Error as error:
        return {"ledger_problem": f"the ledger cannot be read: {error}"}


def _read(runs: Path, account: str) -> dict[str, Any]:
    """Return what the newest ledger of an account knows: what is owned, and which orders work."""
    newest: tuple[str, str, Path] | None = None
    for ledger in sorted(runs.glob(f"*/{LEDGER}")):
        with _open(ledger) as database:
            rows = database.execute(
                "SELECT created_at, run_id FROM runs WHERE account_id = ? AND mode <> 'backtest'", (account,)
            ).fetchall()
        for created_at, run_id in rows:
            newest = max(newest or ("", "", ledger), (created_at, run_id, ledger))
    if newest is None:
        return {"run": None, "positions": [], "orders": 0}
    _, run_id, ledger = newest
    with _open(ledger) as database:
        owned: dict[tuple[str, str], Decimal] = {}
        lines = database.execute(
            "SELECT book, asset, amount FROM postings WHERE run_id = ? AND book LIKE 'position/%'", (run_id,)
        )
        for book, asset, amount in lines:
            owned[book, asset] = owned.get((book, asset), Decimal(0)) + Decimal(amount)
        marks = ",".join("?" * len(_LIVE))
        (orders,) = database.execute(
            f"SELECT COUNT(*) FROM orders WHERE run_id = ? AND state IN ({marks})",  # noqa: S608 - question marks
            (run_id, *_LIVE),
        ).fetchone()
    positions = [
        {"strategy": book.split("/")[1], "symbol": book.split("/")[2], "asset": asset, "quantity": f"{quantity:f}"}
        for (book, asset), quantity in sorted(owned.items())
        if quantity
    ]
    return {"run": run_id, "positions": positions, "orders": orders}


class _open:  # noqa: N801 - used as a function
    """A ledger, to be read for a moment only."""

    def __init__(self, ledger: Path) -> None:
        self._database = sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)

    def __enter__(self) -> sqlite3.Connection:
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()
