"""What the ledger of a run knows of its account, for an operator who asks while no process runs it. Read only."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.store import tables
from claire.adapters.store.database import read_ledger
from claire.model.errors import LedgerError
from claire.model.money import plain_text
from claire.model.orders import TERMINAL
from claire.services.keeping import LEDGER
from claire.services.views import Account, Row


class Recorded(Struct, frozen=True):
    """An account as a ledger has it."""

    account: Account
    account_id: str
    venue: str
    mode: str
    as_of_ns: int
    """The latest moment that the ledger knows of."""
    locks: list[Row]
    """What nobody took back, by source."""


def recorded(run_dir: Path) -> Recorded:
    """Read the account of a run as its ledger was last committed.

    Raises:
        LedgerError: there is no ledger of this run, or it cannot be read.
    """
    run_id = run_dir.resolve().name
    with read_ledger(run_dir / LEDGER) as connection:

        def rows(table: sa.Table, *order: Any) -> list[sa.RowMapping]:
            return list(
                connection.execute(sa.select(table).where(table.c.run_id == run_id).order_by(*order)).mappings()
            )

        run = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().first()
        if run is None:
            raise LedgerError(f"{run_dir / LEDGER}: run {run_id} is not in this ledger. Was the folder renamed?")
        postings = rows(tables.postings, tables.postings.c.transaction_no, tables.postings.c.line_no)
        held = {(row["strategy_id"], row["symbol"]): row for row in rows(tables.positions)}
        looks = rows(tables.portfolio_snapshots, tables.portfolio_snapshots.c.ts_event_ns)
        intents = {row["order_no"]: row for row in rows(tables.intents)}
        live = [row for row in rows(tables.orders, tables.orders.c.order_no) if row["state"] not in TERMINAL]
        controls = rows(tables.control, tables.control.c.ts_event_ns)
        externals = rows(tables.externals)
    books = _books(postings)
    equity = looks[-1]["equity"] if looks else None
    external: dict[str, Decimal] = {}
    for row in externals:
        external[row["asset"]] = external.get(row["asset"], Decimal(0)) + row["amount"]
    account = Account(
        _positions(books, held),
        [_order(row, intents.get(row["order_no"])) for row in live],
        _balance(books),
        {asset: amount for asset, amount in external.items() if amount},
        next((row["asset"] for row in postings if row["book"] == "cash"), ""),
        "" if equity is None else plain_text(equity),
    )
    times = [row["ts_event_ns"] for row in (*postings[-1:], *looks[-1:], *controls[-1:])]
    return Recorded(account, run["account_id"], run["venue"], run["mode"], max(times, default=0), _locks(controls))


def _books(postings: list[sa.RowMapping]) -> dict[tuple[str, str], Decimal]:
    """Return what each book holds of each asset."""
    found: dict[tuple[str, str], Decimal] = {}
    for row in postings:
        key = (row["book"], row["asset"])
        found[key] = found.get(key, Decimal(0)) + row["amount"]
    return found


def _positions(books: dict[tuple[str, str], Decimal], held: dict[tuple[str, str], sa.RowMapping]) -> list[Row]:
    rows = []
    for (book, asset), quantity in sorted(books.items()):
        kind, _, owner = book.partition("/")
        if kind != "position" or not quantity:
            continue
        strategy_id, _, symbol = owner.rpartition("/")
        look = held.get((strategy_id, symbol))
        is_current = look is not None and look["quantity"] == quantity
        row = {"strategy": strategy_id, "symbol": symbol, "asset": asset, "quantity": plain_text(quantity)}
        rows.append(row | {"cost": plain_text(look["cost"]) if look is not None and is_current else ""})
    return rows


def _order(row: sa.RowMapping, intent: sa.RowMapping | None) -> Row:
    return {
        "order": row["order_no"],
        "client_order_id": row["client_order_id"],
        "venue_order_id": row["order_id"],
        "strategy": row["strategy_id"],
        "symbol": row["symbol"],
        "side": row["side"],
        "state": row["state"],
        "quantity": plain_text(row["quantity"]),
        "filled": plain_text(row["filled_quantity"]),
        "limit_price": plain_text(intent["limit_price"]) if intent is not None and intent["limit_price"] else "",
        "reduce_only": row["reduce_only"],
    }


def _balance(books: dict[tuple[str, str], Decimal]) -> list[Row]:
    parts: dict[str, dict[str, Decimal]] = {}
    for (book, asset), amount in books.items():
        kind = book.partition("/")[0]
        if kind in ("cash", "position", "dust"):
            of_asset = parts.setdefault(asset, dict.fromkeys(("cash", "position", "dust"), Decimal(0)))
            of_asset[kind] += amount
    return [
        {
            "asset": asset,
            "total": plain_text(sum(part.values(), Decimal(0))),
            "cash": plain_text(part["cash"]),
            "positions": plain_text(part["position"]),
            "dust": plain_text(part["dust"]),
        }
        for asset, part in parts.items()
        if any(part.values())
    ]


def _locks(controls: list[sa.RowMapping]) -> list[Row]:
    locks: dict[str, Row] = {}
    for row in controls:
        if row["state"] == "ACTIVE":
            locks.pop(row["operator"], None)
        else:
            before = locks.get(row["operator"])
            since = before["since_ns"] if before is not None and before["state"] == row["state"] else row["ts_event_ns"]
            locks[row["operator"]] = {
                "source": row["operator"],
                "state": row["state"],
                "reason": row["reason"],
                "since_ns": since,
            }
    return list(locks.values())


def total(account: Account) -> dict[str, Decimal]:
    """Return what the books hold of each asset, for `views.beside`."""
    return {row["asset"]: Decimal(row["total"]) for row in account.balance}
