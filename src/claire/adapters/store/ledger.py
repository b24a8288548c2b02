"""Writes the ledger of one run: each decision once, in whole transactions, exact to the last digit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.journal.entries import Adjusted, External, Header
from claire.adapters.store import tables
from claire.adapters.store.database import BUSY_MS, ledger_errors, open_ledger, settle
from claire.adapters.store.rows import HELD, RELEASED, Row, Rows
from claire.adapters.store.statements import REPLACED, Insert, latest
from claire.engine.ports import Input, Recorded
from claire.latch.steps import Step, no_step
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Intent, OrderEvent
from claire.model.errors import ClaireError, LedgerError
from claire.model.market import Candle
from claire.model.money import decimal_text
from claire.model.orders import TERMINAL, OrderState

Commit = Literal["decision", "batch"]
"""``decision``: an intent with its reservation is committed before the call returns, and so is that its order is being sent;
everything else that one input caused, in one transaction before anything that the next one causes (live and paper trading).
``batch``: every `batch_rows` rows and at the end."""


class JournalHead(Protocol):
    """What the ledger has to know of the journal beside it."""

    def sync(self) -> None:
        """Make the journal durable."""

    @property
    def is_open(self) -> bool:
        """Whether entries can still be added to it."""

    @property
    def entries(self) -> int:
        """How many entries it has."""

    @property
    def head(self) -> str:
        """Chain hash of the last one."""


class LedgerCursor(Struct):
    """Where in a run the ledger's numbering stands; kept with a snapshot of the state, for the process that goes on."""

    input_no: int = 0
    decision_no: int = 0
    transaction_no: int = 0
    line_no: int = 0
    held: dict[tuple[str, str], tuple[int, int]] = {}
    """Units of base and of cost by (strategy, symbol), as the last snapshot of the account had them."""


class SqlLedger:
    """A `Recorder` that keeps decisions, orders, money and candles of one run in SQL.

    Rows wait in memory until their transaction; after an error nothing is written any more. With a journal, each
    transaction first makes the journal durable and notes its head: record before you act.
    """

    def __init__(
        self,
        url: sa.URL | Path,
        header: Header,
        *,
        account_id: str,
        venue: str,
        commit: Commit = "decision",
        batch_rows: int = 2000,
        journal: JournalHead | None = None,
        cursor: LedgerCursor | None = None,
        busy_ms: int = BUSY_MS,
        step: Step = no_step,
    ) -> None:
        """Open a ledger (made or migrated where needed) and enter the run, or go on with it.

        A run that is executed again writes the same rows again, which adds nothing; so a stopped run is gone on with by
        executing it again, with the policy ``batch`` until `go_live`. Read `committed_run` before.

        Args:
            url: a database, or the path of an SQLite file.
            header: what the run's journal starts with.
            account_id: whose orders and money these are.
            venue: where they are.
            commit: when transactions end.
            batch_rows: rows in a transaction of the policy ``batch``.
            journal: the run's journal; hand decisions to it before they are handed to the ledger.
            cursor: where the numbering stands, when a run is gone on with from a snapshot; None: at its start.
            busy_ms: how long to wait for another process that is writing.
            step: called before each commit, within its transaction, and after it.

        Raises:
            LedgerError: it cannot be opened or written, holds another run of this name, or follows a journal that is longer
                than the one given.
        """
        self._engine = open_ledger(url, busy_ms=busy_ms)
        self._url = self._engine.url
        self._run_id = header.run_id
        self._rows = Rows(header.run_id, account_id, venue, header.instruments)
        self._live = commit == "decision"
        self._batch_rows = batch_rows
        self._journal = journal
        self._inserts: dict[sa.Table, Insert] = {}
        self._waiting: dict[sa.Table, list[Row]] = {}
        self._count = 0
        self._releases: list[Row] = []
        start = cursor or LedgerCursor()
        self._input_no = start.input_no
        self._decision_no = start.decision_no
        self._transaction_no = start.transaction_no
        self._line_no = start.line_no
        self._held = dict(start.held)
        self._step = step
        self._over = ""
        self._failure: ClaireError | None = None
        with ledger_errors(self._url):
            self._connection = self._engine.connect()
        self._check_mark()
        self._write({tables.runs: [_run_row(header, account_id, venue)]}, ())

    # -- Recorder ------------------------------------------------------------------------------------------------------

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Keep nothing: inputs are the journal's."""

    def decided(self, input_no: int, event: Recorded) -> None:
        """Keep one decision; under the policy ``decision`` an intent, and that an order is sent, are durable when this returns.

        Raises:
            LedgerError: the ledger cannot be written, is closed, or holds another decision under the same key.
        """
        if self._live and input_no != self._input_no:
            self.commit()
        self._input_no = input_no
        self._decision_no += 1
        self._add(*self._rows.of(event, input_no, self._decision_no))
        is_sent = False
        if isinstance(event, OrderEvent):
            is_sent = event.state is OrderState.SENT
            if event.state in TERMINAL:
                self._releases.append({"order": event.order_no, "by": event.state.value, "at": event.ts_event_ns})
        if self._live and (is_sent or isinstance(event, Intent)):
            self.commit()

    def candle(self, candle: Candle) -> None:
        """Keep one closed candle."""
        self._add(tables.candles, self._rows.candle(candle))

    # -- beside the Recorder -------------------------------------------------------------------------------------------

    def postings(self, postings: Sequence[Posting]) -> None:
        """Keep whole transactions of the books.

        Raises:
            LedgerError: a transaction does not add up to zero for an asset; or as `decided`.
        """
        sums: dict[tuple[int, str], int] = {}
        for posting in postings:
            key = (posting.transaction_no, posting.asset)
            sums[key] = sums.get(key, 0) + posting.units
        for (transaction_no, asset), units in sums.items():
            if units:
                self._close("was closed by an unbalanced transaction")
                raise LedgerError(
                    f"{self._url.database}: transaction {transaction_no} of run {self._run_id} leaves {decimal_text(units)}"
                    f" {asset} unaccounted for. This is a fault in the program: stop, and keep the run directory."
                )
        rows = []
        for posting in postings:
            self._line_no = self._line_no + 1 if posting.transaction_no == self._transaction_no else 1
            self._transaction_no = posting.transaction_no
            rows.append(self._rows.posting(posting, self._line_no))
        self._add(tables.postings, *rows)

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Keep one look at the account, and what changed in its positions (by strategy and symbol)."""
        self._add(tables.portfolio_snapshots, self._rows.snapshot(snapshot))
        now = {key: (position.base_units, position.cost_units) for key, position in positions.items()}
        for key, held in (dict.fromkeys(self._held, (0, 0)) | now).items():
            if self._held.get(key) != held:
                self._add(tables.positions, self._rows.position(*key, *held, snapshot.ts_event_ns))
        self._held = now

    def alert(self, ts_event_ns: int, severity: str, code: str, text: str) -> None:
        """Keep an alert."""
        self._add(tables.alerts, self._rows.alert(ts_event_ns, severity, code, text))

    def adjusted(self, entry: Adjusted) -> None:
        """Keep an operator's adjustment of the books, once the journal has it; it is durable when this returns."""
        self._add(tables.adjustments, self._rows.adjusted(entry))
        if self._live:
            self.commit()

    def external(self, entry: External) -> None:
        """Keep what is known of coins that are not Claire's, once the journal has it; it is durable when this returns."""
        self._add(tables.externals, self._rows.external(entry))
        if self._live:
            self.commit()

    def cursor(self) -> LedgerCursor:
        """Commit, and return where the numbering stands: what a snapshot holds must not still wait here.

        Raises:
            LedgerError: as `commit`.
        """
        self.commit()
        return LedgerCursor(self._input_no, self._decision_no, self._transaction_no, self._line_no, dict(self._held))

    def go_live(self) -> None:
        """Commit, and follow the policy ``decision`` from now on: what was executed again is done.

        Raises:
            LedgerError: as `commit`.
        """
        self.commit()
        self._live = True

    def commit(self) -> None:
        """Write what is waiting, in one transaction.

        Raises:
            LedgerError: it cannot be written, or contradicts what is there; the ledger is closed then, for ever.
        """
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)  # what went wrong first is what matters
        if self._over:
            raise LedgerError(f"{self._url.database}: the ledger {self._over}; nothing can be added to it.")
        if self._waiting:
            waiting, self._waiting, self._count = self._waiting, {}, 0
            releases, self._releases = self._releases, []
            self._write(waiting, releases)

    def finish(self, summary_json: str, decision_digest: str) -> None:
        """End the run in order: write what is waiting, then its summary.

        Raises:
            LedgerError: as `commit`.
        """
        self.commit()
        self._write({}, (), decision_digest=decision_digest, summary_json=summary_json)
        with ledger_errors(self._url):
            settle(self._connection)
        self._close("is finished")

    def close(self) -> None:
        """Write what is waiting and let go of the database; after `finish` or an error this does nothing.

        What is waiting is dropped when the journal was stopped by an error: what it could not keep is void.

        Raises:
            LedgerError: as `commit`.
        """
        if self._over:
            return
        if self._journal is None or self._journal.is_open:
            self.commit()
        self._close("was closed")

    def abandon(self) -> None:
        """Let go of the database at once and write nothing, as the end of the process would."""
        if not self._over:
            self._close("was abandoned")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _add(self, table: sa.Table, *rows: Row) -> None:
        if self._over:
            self.commit()  # says so
        self._waiting.setdefault(table, []).extend(rows)
        self._count += len(rows)
        if not self._live and self._count >= self._batch_rows:
            self.commit()

    def _check_mark(self) -> None:
        """Refuse a run that follows a longer journal than the one given: what was lost there may have been sent."""
        if self._journal is None:
            return
        try:
            with ledger_errors(self._url), self._connection.begin():
                query = sa.select(tables.runs.c.journal_entries).where(tables.runs.c.run_id == self._run_id)
                noted = self._connection.execute(query).scalar() or 0
            if noted > self._journal.entries:
                raise LedgerError(
                    f"{self._url.database}: follows entry {noted} of the journal of run {self._run_id}, which has only"
                    f" {self._journal.entries}. Do not trade on: restore the run from a backup."
                )
        except BaseException:
            self._close("was closed by an error")
            raise

    def _write(self, waiting: Mapping[sa.Table, list[Row]], releases: Sequence[Row], **run: str) -> None:
        values: dict[str, str | int] = dict(run)
        try:
            if self._journal is not None:
                self._journal.sync()
                values |= {"journal_entries": self._journal.entries, "journal_head": self._journal.head}
            with ledger_errors(self._url), self._connection.begin():
                for table in tables.metadata.sorted_tables:
                    if table in waiting:
                        self._insert(table, waiting[table])
                if releases:
                    self._connection.execute(_RELEASE, [row | {"run": self._run_id} for row in releases])
                if values:
                    this_run = tables.runs.c.run_id == self._run_id
                    self._connection.execute(sa.update(tables.runs).where(this_run).values(values))
                self._step("ledger.commit.before")
            self._step("ledger.commit.after")
        except ClaireError as error:
            self._close("was closed by an error")
            self._failure = error
            raise
        except BaseException:  # a crash in a simulation, or Ctrl-C: the transaction was rolled back, its rows are gone
            self._close("was interrupted")
            raise

    def _insert(self, table: sa.Table, rows: list[Row]) -> None:
        if table in REPLACED:
            rows = latest(table, rows)
        statement = self._inserts.get(table)
        if statement is None:
            statement = self._inserts[table] = Insert(table, self._engine.dialect)
        if statement.run(self._connection, rows) != len(rows) and table not in REPLACED:
            for row in rows:
                self._compare(table, row)

    def _compare(self, table: sa.Table, row: Row) -> None:
        """Refuse a row that differs from the one under its key."""
        key = {column.name: row[column.name] for column in table.primary_key.columns}
        query = sa.select(table).where(*(table.c[name] == value for name, value in key.items()))
        there = self._connection.execute(query).mappings().one()
        for name, value in row.items():
            if there[name] != value and name not in _CHANGES.get(table, ()):
                raise LedgerError(
                    f"{self._url.database}: {table.name} {key} is there already with {name} = {there[name]!r}, not {value!r}."
                    f" Two runs share an id, or a run was repeated with other results; give the new one its own id."
                )

    def _close(self, why: str) -> None:
        self._over = why
        self._waiting, self._releases = {}, []
        self._connection.close()
        self._engine.dispose()


_CHANGES: Final[Mapping[sa.Table, Sequence[str]]] = {
    tables.runs: ("journal_entries", "journal_head", "decision_digest", "summary_json"),
    tables.reservations: ("state", "released_by", "released_ns"),
    tables.control: ("input_no",),
}
"""What of a row changes after it was entered, or may: the same act at the same moment is on record once, whatever caused it."""

_RELEASE: Final = (
    sa.update(tables.reservations)
    .where(
        tables.reservations.c.run_id == sa.bindparam("run"),
        tables.reservations.c.order_no == sa.bindparam("order"),
        tables.reservations.c.state == HELD,
    )
    .values(state=RELEASED, released_by=sa.bindparam("by"), released_ns=sa.bindparam("at"))
)
"""The first terminal state of an order releases what it held; a later one finds nothing held."""


def _run_row(header: Header, account_id: str, venue: str) -> Row:
    source = header.source
    return {
        "run_id": header.run_id, "account_id": account_id, "venue": venue, "mode": header.mode, "code": header.code,
        "created_at": header.created_at, "config_sha256": header.config_sha256, "config_json": header.config_json,
        "source_kind": source.kind, "source_path": source.path, "source_sha256": source.sha256,
        "symbols": ",".join(source.symbols), "journal_entries": 0, "journal_head": "", "decision_digest": None,
        "summary_json": None,
    }  # fmt: skip
