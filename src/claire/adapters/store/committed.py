"""What a ledger knows of a run that was stopped: read before the run is executed again, for that writes to it."""

from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.journal.entries import Adjusted, External
from claire.adapters.journal.reader import Mark
from claire.adapters.store import tables
from claire.adapters.store.database import ledger_errors, open_ledger, read_ledger
from claire.adapters.store.rows import HELD
from claire.model.money import plain_text
from claire.model.orders import OrderState


class CommittedRun(Struct, frozen=True):
    """A run, as its last transaction left it."""

    mark: Mark
    """The state of the journal at that transaction."""
    order_states: dict[int, OrderState]
    """By order number. An order that is missing was never committed: its intent is void."""
    intents: dict[int, str]
    """Client order ids by order number, of every committed intent."""
    held: dict[int, Decimal]
    """Cash that is still reserved, by order number."""
    adjustments: list[Adjusted]
    """In order of time."""
    externals: list[External]
    """In order of time."""
    decision_digest: str
    """Of a run that ended in order; else empty."""


def committed_run(url: sa.URL | Path, run_id: str) -> CommittedRun | None:
    """Read what the ledger has of a run; None where there is no ledger, or none of this run.

    A ledger that an older version left is migrated.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if isinstance(url, Path) and not url.exists():
        return None
    engine = open_ledger(url)
    try:
        with ledger_errors(engine.url), engine.connect() as connection:
            return _read(connection, run_id)
    finally:
        engine.dispose()


def mark_in(ledger: Path, run_id: str) -> Mark | None:
    """Read up to where a run's journal was when its ledger last committed; None where there is no ledger, or none of this run.

    Raises:
        LedgerError: the ledger cannot be read. It is never changed.
    """
    if not ledger.exists():
        return None
    with read_ledger(ledger) as connection:
        run = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().first()
    return None if run is None else Mark(run["journal_entries"], run["journal_head"])


def _read(connection: sa.Connection, run_id: str) -> CommittedRun | None:
    def rows(table: sa.Table) -> list[sa.RowMapping]:
        # in the order in which they came, as well as times tell it
        query = (
            sa.select(table).where(table.c.run_id == run_id).order_by(table.c.ts_event_ns, *table.primary_key.columns)
        )
        return list(connection.execute(query).mappings())

    run = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().first()
    if run is None:
        return None
    return CommittedRun(
        Mark(run["journal_entries"], run["journal_head"]),
        {row["order_no"]: OrderState(row["state"]) for row in rows(tables.orders)},
        {row["order_no"]: row["client_order_id"] for row in rows(tables.intents)},
        {row["order_no"]: row["cash"] for row in rows(tables.reservations) if row["state"] == HELD},
        [
            Adjusted(
                row["asset"],
                plain_text(row["amount"]),
                row["operator"],
                row["reason"],
                row["ts_event_ns"],
                row["strategy_id"],
                row["symbol"],
            )
            for row in rows(tables.adjustments)
        ],
        [
            External(row["kind"], row["asset"], plain_text(row["amount"]), row["evidence_id"], row["ts_event_ns"])
            for row in rows(tables.externals)
        ],
        run["decision_digest"] or "",
    )
