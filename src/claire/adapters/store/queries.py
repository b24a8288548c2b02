"""Questions to finished runs: which there are, and whether a ledger says what its journal says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.journal.entries import Adjusted, Decided, Entry, External
from claire.adapters.journal.frames import JOURNAL
from claire.adapters.journal.reader import JournalReader
from claire.adapters.store import tables
from claire.adapters.store.database import LEDGER, read_ledger
from claire.adapters.store.rows import HELD, RELEASED, Row, Rows
from claire.adapters.store.statements import IDS
from claire.model.books import Posting
from claire.model.decisions import (
    Adopted,
    AllocationDecision,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    RegimeChanged,
    Reserved,
    RoundTrip,
    Signal,
)
from claire.model.errors import ClaireError, LedgerError
from claire.model.orders import TERMINAL

SUMMARY: Final = "summary.json"
"""File name of a run's summary, in its run directory."""

_COMPARED: Final = (
    Signal,
    Intent,
    Denial,
    OrderEvent,
    Fill,
    RegimeChanged,
    AllocationDecision,
    PositionDusted,
    RoundTrip,
    Reserved,
    Adopted,
)


class RunLine(Struct, frozen=True):
    """One run, as a list of runs shows it."""

    run_id: str
    path: Path
    mode: str = ""
    created_at: str = ""
    code: str = ""
    symbols: tuple[str, ...] = ()
    ended: bool = False
    """Whether it ended in order, with a summary."""
    summary: dict[str, Any] = {}
    """What the run said at its end; empty for one that was stopped."""
    problem: str = ""
    """Why nothing more is known of it."""


class Difference(Struct, frozen=True):
    """The first place where a ledger and a journal disagree."""

    table: str
    key: str
    """The row, as ``name=value`` pairs."""
    field: str
    """Empty: the whole row."""
    journal: str
    ledger: str

    def __str__(self) -> str:
        """Say it in a sentence."""
        what = f"{self.table} {self.key}" + (f", {self.field}" if self.field else "")
        return f"{what}: the journal says {self.journal}, the ledger {self.ledger}"


def list_runs(runs_dir: Path) -> list[RunLine]:
    """Return the runs in a folder, newest first by their own date; one that cannot be read says why."""
    if not runs_dir.is_dir():
        return []
    folders = [path for path in sorted(runs_dir.iterdir()) if not path.name.startswith(".") and path.is_dir()]
    lines = [_line(path) for path in folders if any((path / name).exists() for name in (SUMMARY, JOURNAL, LEDGER))]
    return sorted(lines, key=lambda line: (line.created_at, line.run_id), reverse=True)


def verify_ledger(ledger_path: Path, journal: JournalReader) -> Difference | None:
    """Compare a run's decisions, reservations, adjustments and last order states in its ledger with its journal.

    The two are compared as far as both reach. The ledger notes the journal's entries at each of its commits: decisions
    that came later were still on their way when the run stopped, and are not missed. Where the journal lost its tail, what
    only the ledger has is not counted against it; `journal.truncated` tells.

    Returns:
        The first difference in the journal's order, then rows that only the ledger has; None if there is none.

    Raises:
        LedgerError: the ledger cannot be read, or does not know the run.
        JournalError: the journal is damaged.
    """
    run_id = journal.header.run_id
    with read_ledger(ledger_path) as connection:
        run = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).mappings().first()
        if run is None:
            raise LedgerError(f"{ledger_path}: run {run_id} is not in this ledger. Give the ledger of that run.")
        there = {table: _stored(connection, table, run_id) for table in _TABLES}
    expected = _Expected(Rows(run_id, run["account_id"], run["venue"], journal.header.instruments), run)
    for table, row in expected.rows(journal):
        stored = there[table].pop(_key(table, row), None)
        if stored is None:
            return Difference(table.name, _named(table, row), "", "it is there", "it is not")
        if stored.get("decision_no", 0) > expected.decisions and expected.is_behind:
            continue
        for name, value in row.items():
            if stored[name] != value:
                return Difference(table.name, _named(table, row), name, str(value), str(stored[name]))
    if expected.head is not None and expected.head != run["journal_head"]:
        return Difference("runs", run_id, "journal_head", expected.head, run["journal_head"])
    if expected.is_behind:
        return None
    for table, left in there.items():
        for stored in left.values():
            return Difference(table.name, _named(table, stored), "", "it is not there", "it is")
    return None


_TABLES: Final = (
    tables.signals,
    tables.intents,
    tables.denials,
    tables.fills,
    tables.orders,
    tables.regimes,
    tables.allocations,
    tables.dust,
    tables.round_trips,
    tables.reservations,
    tables.adoptions,
    tables.adjustments,
    tables.externals,
)


def verify_postings(ledger_path: Path, journal: JournalReader, postings: Sequence[Posting]) -> Difference | None:
    """Compare a run's postings in its ledger with those that a replay made again, to the last digit.

    Args:
        ledger_path: The ledger.
        journal: The run's journal; one without an end may stop earlier or later than the ledger, so only what both have is
            compared.
        postings: All of the replay, in order.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    run_id = journal.header.run_id
    with read_ledger(ledger_path) as connection:
        there = _stored(connection, tables.postings, run_id)
    rows = Rows(run_id, "", "", {})
    line_no, transaction_no = 0, 0
    for posting in postings:
        line_no = line_no + 1 if posting.transaction_no == transaction_no else 1
        transaction_no = posting.transaction_no
        row = rows.posting(posting, line_no)
        stored = there.pop(_key(tables.postings, row), None)
        if stored is None:
            if journal.end() is None:
                return None
            return Difference("postings", _named(tables.postings, row), "", "it is there", "it is not")
        for name, value in row.items():
            if name != "account_id" and stored[name] != value:
                return Difference("postings", _named(tables.postings, row), name, str(value), str(stored[name]))
    if journal.end() is not None:
        for stored in there.values():
            return Difference("postings", _named(tables.postings, stored), "", "it is not there", "it is")
    return None


class _Expected:
    """The rows that a journal implies, as far as the ledger follows it."""

    def __init__(self, rows: Rows, run: Any) -> None:
        self._rows = rows
        self._noted: int = run["journal_entries"]
        self.decisions = 0
        self.head: str | None = None
        """Chain hash of the entry that the ledger noted; None if it noted none or the journal ends before it."""
        self.is_behind = False
        """Whether the journal ends before that entry; known after `rows`."""

    def rows(self, journal: JournalReader) -> Iterator[tuple[sa.Table, Row]]:
        """Yield the rows; of orders and reservations the last state, after everything else."""
        orders: dict[int, Row] = {}
        reservations: dict[int, Row] = {}
        number = 0
        for number, head, entry in journal.walk():
            if self._noted and number > self._noted:
                continue  # on to the end, so that all of the journal is verified
            if number == self._noted:
                self.head = head.hex()
            for table, row in self._of(entry):
                if table is tables.orders:
                    before = orders.get(row["order_no"], row)
                    orders[row["order_no"]] = row | {name: row[name] or before[name] for name in IDS}
                    _release(reservations.get(row["order_no"]), row)
                elif table is tables.reservations:
                    reservations[row["order_no"]] = row
                else:
                    yield table, row
        self.is_behind = number < self._noted
        for row in orders.values():
            yield tables.orders, row
        for row in reservations.values():
            yield tables.reservations, row

    def _of(self, entry: Entry) -> Iterator[tuple[sa.Table, Row]]:
        if isinstance(entry, Decided):
            self.decisions += 1
            if isinstance(entry.event, _COMPARED):
                yield self._rows.of(entry.event, entry.input_no, self.decisions)
        elif isinstance(entry, Adjusted):
            yield tables.adjustments, self._rows.adjusted(entry)
        elif isinstance(entry, External):
            yield tables.externals, self._rows.external(entry)


_TERMINAL: Final = [state.value for state in TERMINAL]


def _release(reservation: Row | None, order: Row) -> None:
    if reservation is not None and reservation["state"] == HELD and order["state"] in _TERMINAL:
        reservation |= {"state": RELEASED, "released_by": order["state"], "released_ns": order["ts_event_ns"]}


def _stored(connection: sa.Connection, table: sa.Table, run_id: str) -> dict[tuple[Any, ...], Row]:
    query = sa.select(table).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
    return {_key(table, row): dict(row) for row in connection.execute(query).mappings()}


def _key(table: sa.Table, row: Any) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _named(table: sa.Table, row: Row) -> str:
    return " ".join(f"{name}={row[name]}" for name in (c.name for c in table.primary_key.columns) if name != "run_id")


def _line(run_dir: Path) -> RunLine:
    try:
        header = JournalReader(run_dir).header
        summary, ended = {}, (run_dir / SUMMARY).is_file()
        if ended:
            summary = msgspec.json.decode((run_dir / SUMMARY).read_bytes(), type=dict[str, Any])
    except (ClaireError, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return RunLine(run_dir.name, run_dir, problem=str(error))
    return RunLine(
        header.run_id, run_dir, header.mode, header.created_at, header.code, header.source.symbols, ended, summary
    )
