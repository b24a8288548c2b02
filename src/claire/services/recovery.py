"""Going on with a run whose process was killed, or ended: recovery is the start-up path.

The journal is re-executed, from the newest state snapshot where one can be used, else from its start. What is on record has
to come out again; decisions that the crash swallowed are put on record. What may be sent, and what became of orders that
were on their way, is never read from memory: the SQL ledger tells what was durable, the venue tells the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.adapters.config import canonical, restore
from claire.adapters.config.schema import Settings
from claire.adapters.journal.disk import REAL_DISK, Disk, write_durably
from claire.adapters.journal.entries import Adjusted, Decided, End, Entry, External, Fed, Gated, Header, Report, Resumed
from claire.adapters.journal.readback import ReadBack, read_back
from claire.adapters.journal.reader import JournalReader, Mark
from claire.adapters.journal.runlock import RunLock
from claire.adapters.journal.writer import JournalWriter, Policy
from claire.adapters.store.committed import CommittedRun, committed_run, mark_in
from claire.adapters.store.ledger import SqlLedger
from claire.adapters.venues.mexc.restored import Booked, Restored, Standing
from claire.engine.compare import Comparison, Difference
from claire.engine.externals import ExternalMove
from claire.engine.ports import Input, Recorded, Recorder, Venue
from claire.engine.saving import from_bytes
from claire.engine.tally import Tally
from claire.latch.steps import Step, no_step
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Adjustment, Intent, VenueReport
from claire.model.errors import JournalError, LedgerError, ReplayError, UsageError
from claire.model.market import Candle
from claire.model.money import decimal_text, plain_text
from claire.model.orders import OrderState
from claire.services.assembly import PAPER_VENUE, Assembly, assemble
from claire.services.beginning import Begun, Saved
from claire.services.changing import REDUCE_ONLY, refuse_orphans
from claire.services.code import code_version
from claire.services.feeding import LiveMarket, awaits_history
from claire.services.keeping import CONFIG_NOW, LEDGER, SUMMARY, Keeping
from claire.services.reexecution import OtherWayError, Reexecution
from claire.services.silent import SilentVenue
from claire.strategies import load

NOTHING: Final = CommittedRun(Mark(0, ""), {}, {}, {}, [], [], "")
"""Of a run that was stopped before its ledger knew of it."""

RESTART: Final = "restart"
"""What ``--release`` calls the exits that wait for a word because of ``exit.on_restart = ask``; no lock is called so."""


class GoOn(Struct, frozen=True):
    """A run to go on with, and what an operator says about it."""

    run_dir: Path
    adopt: str = ""
    """The strategy that takes over positions whose own is not configured any more."""
    reduces_orphans: bool = False
    """Such positions are only sold, by the exits that they had."""
    releases: tuple[str, ...] = ()
    """Sources whose locks of the trading state are taken back; `RESTART`: exits that wait for a word."""
    adjustments: tuple[str, ...] = ()
    """Corrections of the books, as `adjusting.adjustment_of` reads them."""
    operator: str = ""
    reason: str = ""
    externals: tuple[str, ...] = ()
    """What came to or left the account and is not Claire's, as `adjusting.external_of` reads it."""


def settings_of(run_dir: Path, given: Settings | None, assignments: Sequence[str]) -> Settings:
    """Return the settings that a run goes on with: those given, else its last ones with changes laid over them.

    Raises:
        ClaireError: the run cannot be read, or a change does not fit.
    """
    now = run_dir / CONFIG_NOW
    before = now.read_text() if now.exists() else JournalReader(run_dir).header.config_json
    settings = restore(before, assignments).settings if given is None else given
    _refuse_other_capital(restore(before).settings, settings)
    return settings


def header_of(run_dir: Path) -> Header:
    """Return what a run began with.

    Raises:
        JournalError: there is no journal, or nothing of the run is known.
    """
    return JournalReader(run_dir).header


def is_begun(run_dir: Path) -> bool:
    """Whether a run got as far as its first entry; one that did not has sent nothing and can be left alone.

    Where the journal cannot be read, the ledger tells: it knows of a run only once the first entry is durable.

    Raises:
        LedgerError: neither can be read.
    """
    try:
        header_of(run_dir)
    except JournalError:
        return mark_in(run_dir / LEDGER, run_dir.name) is not None
    return True


class Notes:
    """What recovery needs to know of the whole run, noted while its journal is read."""

    def __init__(self, header: Header) -> None:
        """Begin with the first entry."""
        self.tally = Tally(header.instruments)
        self.intents: dict[int, Intent] = {}
        self.fills: dict[int, list[VenueReport]] = {}
        self.gated: dict[int, int] = {}
        """Orders that stood at the gate, and when last, in milliseconds of the venue's time."""
        self.continued = 0
        """How many times a process went on with the run."""
        self.ended: End | None = None
        """How the process before ended in order, if it did."""
        self.beside: list[External | Adjusted] = []
        """What is kept beside the decisions, in order."""
        self.settings_json = header.config_json
        """What the run went by last."""

    def see(self, entry: Entry) -> None:
        """Take one entry of the journal."""
        if type(entry) is Fed:  # nearly all of a live run
            return
        if isinstance(entry, Decided):
            self.decided(entry.input_no, entry.event)
        elif isinstance(entry, Report):
            if entry.report.trade_id:
                self.fills.setdefault(entry.report.order_no, []).append(entry.report)
        elif isinstance(entry, Gated):
            self.gated[entry.order_no] = entry.ts_ms
        elif isinstance(entry, End):
            self.ended = entry
        elif isinstance(entry, External | Adjusted):
            self.beside.append(entry)
        elif isinstance(entry, Resumed):
            self.continued += 1
            self.settings_json = entry.settings_json or self.settings_json

    def decided(self, input_no: int, event: Recorded) -> None:
        """Take one decision."""
        self.tally.decided(input_no, event)
        if type(event) is Intent:
            self.intents[event.order_no] = event


class Again(Struct):
    """A run that was opened again, with its journal read and verified."""

    header: Header
    notes: Notes
    back: ReadBack
    committed: CommittedRun
    """The run as the ledger had it when the process before ended."""
    journal: JournalWriter
    ledger: SqlLedger
    code: str


@contextmanager
def reopened(
    run_dir: Path,
    settings: Settings,
    venue: str,
    *,
    in_batches: bool,
    disk: Disk = REAL_DISK,
    step: Step = no_step,
) -> Iterator[Again]:
    """Open journal and ledger of a run to go on with them; nothing is added yet.

    Raises:
        JournalError, LedgerError: they were altered, contradict each other, or are in use.
    """
    policy: Policy = "batch" if in_batches else "decision"
    with ExitStack() as stack:
        lock = RunLock(run_dir)
        with ExitStack() as until_read:
            until_read.callback(lock.release)
            header = JournalReader(run_dir).header
            notes = Notes(header)
            for strategy in settings.strategy:
                load(strategy.kind)  # a snapshot names what a user's file defines
            code = code_version([strategy.kind for strategy in settings.strategy])
            committed = committed_run(run_dir / LEDGER, header.run_id)
            mark = None if committed is None else committed.mark
            back = read_back(run_dir, code=code, mark=mark, see=notes.see)
            step("recover.read")
            _refuse_older_ledger(run_dir, notes, committed or NOTHING)
            until_read.pop_all()  # from here on the journal holds the lock
        journal = stack.enter_context(
            JournalWriter.resume(
                run_dir,
                back.end,
                lock=lock,
                fsync=policy,
                segment_bytes=settings.journal.segment_mb << 20,
                disk=disk,
                step=step,
            )
        )
        saved: Saved | None = back.snapshot
        ledger = SqlLedger(
            run_dir / LEDGER,
            header,
            account_id=settings.account.id,
            venue=venue,
            commit="batch",  # until what is on record is there again
            journal=journal,
            cursor=None if saved is None else saved.ledger,
            step=step,
        )
        stack.enter_context(closing(ledger))
        disk.remove(run_dir / SUMMARY)
        yield Again(header, notes, back, committed or NOTHING, journal, ledger, code)


@contextmanager
def continued(
    go_on: GoOn,
    settings: Settings,
    *,
    market: LiveMarket,
    now_ns: Callable[[], int],
    venue: Venue | None = None,
    epoch: int = 0,
    observers: Sequence[Recorder] = (),
    disk: Disk = REAL_DISK,
    step: Step = no_step,
) -> Iterator[Begun]:
    """Open a run again, with its pipeline where the journal ends.

    Args:
        go_on: The run.
        settings: What it goes on with, see `settings_of`.
        market: The venue's rules now; they have to be those that the run began with.
        now_ns: The wall clock, corrected to the venue's.
        venue: Where orders go; None: the paper venue, which goes on from where it was.
        epoch: Of the account, at this start.
        observers: Further recorders, told of what happens from now on.
        disk: Where journal and ledger are written.
        step: Called at the boundaries of the order path.

    Raises:
        JournalError, LedgerError: they were altered, contradict each other, or are in use.
        ReplayError: the program decides otherwise than the one that wrote the journal.
        UsageError: the venue's rules are other ones now.
    """
    step("recover.begin")
    run_dir = go_on.run_dir
    if venue is None and (go_on.adjustments or go_on.externals):
        raise UsageError(
            f"run {run_dir.name} trades on paper, where nobody else touches the account: --adjust and --external have nothing to"
            f" correct"
        )
    venue_name = PAPER_VENUE if venue is None else "mexc"
    with reopened(run_dir, settings, venue_name, in_batches=False, disk=disk, step=step) as again:
        refuse_other_rules(again.header, market)
        notes, journal, ledger, code, header = again.notes, again.journal, again.ledger, again.code, again.header
        saved: Saved | None = again.back.snapshot
        entries = [entry for _, entry in again.back.entries]
        reexecution = _reexecution(header, saved, is_outside=venue is not None)
        if saved is None:
            ledger.postings(reexecution.assembly.opening)
        _catch_up(reexecution, again, entries)
        for entry in notes.beside:  # the journal has them first; a crash may have kept them from the ledger
            if isinstance(entry, External):
                ledger.external(entry)
            else:
                ledger.adjusted(entry)
        step("recover.caught_up")
        assembly = reexecution.assembly
        assembly.tally = notes.tally
        pipeline = assembly.pipeline
        recorders: tuple[Recorder, ...] = (assembly.tally, journal, ledger, *observers)
        pipeline.record_to(recorders)
        if venue is not None:
            pipeline.venue = venue
        text = canonical(settings)
        orphans = REDUCE_ONLY if go_on.reduces_orphans else go_on.adopt
        if text != notes.settings_json:
            refuse_orphans(assembly, settings, orphans)
            write_durably(run_dir / CONFIG_NOW, text.encode() + b"\n", disk)
        yield Begun(
            Keeping(header.run_id, run_dir, journal, ledger, code, text, disk),
            assembly,
            LiveMarket(header.instruments, header.source),
            settings,
            recorders,
            restored_orders(notes.intents, notes.fills, assembly, again.committed.order_states),
            tuple(entry for entry in notes.beside if isinstance(entry, External)),
            continued=notes.continued + 1,
            resumed=Resumed(
                at_ns=max(now_ns(), pipeline.now_ns),
                code=code,
                epoch=epoch,
                cut_bytes=journal.cut_bytes,
                settings_json="" if text == notes.settings_json else text,
                orphans=orphans,
                operator=go_on.operator,
                reason=go_on.reason,
            ),
            notes=tuple(again.back.notes),
        )


def _reexecution(header: Header, saved: Saved | None, *, is_outside: bool) -> Reexecution:
    """Build the pipeline as it was at the snapshot, or at the start."""
    settings = restore(header.config_json if saved is None else saved.settings_json).settings
    market = LiveMarket(header.instruments, header.source)
    assembly = assemble(settings, market, (), run_id=header.run_id, venue=SilentVenue() if is_outside else None)
    if saved is not None:
        assembly.pipeline.load(from_bytes(saved.pipeline))
    elif awaits_history(header.source):
        for symbol in assembly.symbols:
            assembly.pipeline.stages.signals.await_history(symbol)
    decoder = None if saved is None else saved.decoder
    return Reexecution(assembly, header.instruments, header.source, is_outside=is_outside, decoder=decoder)


def _catch_up(
    reexecution: Reexecution,
    again: Again,
    entries: Sequence[Entry],
) -> None:
    """Re-execute what follows the snapshot.

    Raises:
        ReplayError: something else is decided now than what is on record.
    """
    recorded = ((entry.input_no, entry.event) for entry in entries if type(entry) is Decided)
    comparison = Comparison(recorded, is_cut_off=True)
    reexecution.pipeline.record_to((CatchUp(comparison, again),))
    try:
        for entry in entries:
            reexecution.take(entry)
    except OtherWayError:
        comparison.finish()
        check(comparison, again.header)
        raise
    comparison.finish()
    check(comparison, again.header)
    again.ledger.go_live()


def check(comparison: Comparison, header: Header) -> None:
    """Refuse to go on where something else is decided than is on record.

    Raises:
        ReplayError: naming the first difference.
    """
    if comparison.difference is not None:
        raise ReplayError(
            f"run {header.run_id} cannot be gone on with: this program decides otherwise than the one that wrote its journal"
            f" (claire {header.code}). {_said(comparison.difference)}. Nothing was sent. Go on with that version, or look at it:"
            f" claire replay {header.run_id}"
        )


def _said(difference: Difference) -> str:
    """Say the first difference in a sentence."""
    then, now = difference.recorded, difference.replayed
    if then is None or now is None:
        what = (then or now or {}).get("event", "nothing")
        has = "is not decided any more" if now is None else "is decided, where nothing was"
        return f"Decision {difference.decision}, {what}, {has}"
    fields = [f"{name} {then[name]} → {now[name]}" for name in difference.fields if name in then and name in now]
    fields = fields or ["at another input"]
    return (
        f"First at decision {difference.decision} (input {difference.input_no}), {then['event']}: {', '.join(fields)}"
    )


class CatchUp:
    """A recorder during the re-execution: what is on record has to come out again, what is not is put there."""

    def __init__(self, comparison: Comparison, again: Again) -> None:
        """Hold what is decided against `comparison`, until that is exhausted."""
        self._comparison = comparison
        self._again = again
        self._last_input = again.back.end.last_input

    def decided(self, input_no: int, event: Recorded) -> None:
        """Compare one decision; put it on record where it is not."""
        if self._comparison.is_exhausted:
            self._again.journal.decided(input_no, event)
            self._again.notes.decided(input_no, event)
        else:
            self._comparison.decided(input_no, event)
            check(self._comparison, self._again.header)
        self._again.ledger.decided(input_no, event)

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Keep the inputs that are not on record (of a live run the journal has them all)."""
        known = max(0, self._last_input + 1 - first_no)
        if known < len(events):
            self._again.journal.inputs(first_no + known, events[known:])

    def candle(self, candle: Candle) -> None:
        """Have the ledger hold one candle."""
        self._again.ledger.candle(candle)

    def postings(self, postings: Sequence[Posting]) -> None:
        """Have the ledger hold postings."""
        self._again.ledger.postings(postings)

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Have the ledger hold a look at the account."""
        self._again.ledger.snapshot(snapshot, positions)


def restored_orders(
    intents: Mapping[int, Intent],
    fills: Mapping[int, Sequence[VenueReport]],
    assembly: Assembly,
    committed: Mapping[int, OrderState],
) -> tuple[Restored, ...]:
    """Say of each order what is to be done about it.

    An order whose intent was not durable in the ledger, or whose SENT was not, was never sent: the send comes after both.
    """
    found = []
    orders = assembly.pipeline.stages.execution.orders
    for order_no, intent in intents.items():
        order = orders.get(order_no)
        state = OrderState.INTENT if order is None else order.life.state
        if order is None or order.life.is_terminal:
            kind = Standing.FINISHED
        elif order_no not in committed:
            kind = Standing.VOID
        elif committed[order_no] is OrderState.INTENT:
            kind = Standing.NOT_SENT
        elif state in (OrderState.SENT, OrderState.UNKNOWN):
            kind = Standing.RESOLVE
        else:
            kind = Standing.LIVE
        booked = tuple(
            Booked(report.trade_id, report.price_ticks, report.quantity_lots, report.venue_order_id)
            for report in fills.get(order_no, ())
        )
        found.append(Restored(intent, state, kind, booked, "" if order is None else order.venue_order_id))
    return tuple(found)


def _refuse_older_ledger(run_dir: Path, notes: Notes, committed: CommittedRun) -> None:
    """Refuse a ledger that lacks what was durable in it before an order came to the gate.

    Raises:
        LedgerError: it is a copy from before; by it, orders that are at the venue would seem never sent.
    """
    for order_no in notes.gated:
        if committed.order_states.get(order_no, OrderState.INTENT) is OrderState.INTENT:
            raise LedgerError(
                f"{run_dir / LEDGER}: is older than the journal: order {order_no} stood at the gate, and this ledger does not"
                f" know that it was to be sent. Nothing was started. Put the newest ledger of the run back; without one, look at"
                f" the venue's orders, sell by hand what the run owns, and start a new run"
            )


def _refuse_other_capital(before: Settings, after: Settings) -> None:
    """Refuse to change what the books began with.

    Raises:
        UsageError: naming the setting.
    """
    for name, was, given in (
        ("account.id", before.account.id, after.account.id),
        ("account.currency", before.account.currency, after.account.currency),
        ("account.capital", before.account.capital, after.account.capital),
        ("paper.balance", before.paper.balance, after.paper.balance),
        ("mode", before.mode, after.mode),
    ):
        if was != given:
            raise UsageError(
                f"{name} cannot be changed in a run that is gone on with: its books began with {was}. What came or went since"
                f" is said with --adjust, or with --external where it is none of Claire's"
            )


def refuse_other_rules(header: Header, market: LiveMarket) -> None:
    """Refuse to go on where the venue has other rules for a traded symbol than the run knows.

    Raises:
        UsageError: naming symbol and rule.
    """
    for symbol, before in header.instruments.items():
        now = market.instruments.get(symbol)
        if now is None or now == before:
            continue
        changed = [
            f"{name} {getattr(before, name)} → {getattr(now, name)}"
            for name in ("tick", "lot", "min_notional")
            if getattr(before, name) != getattr(now, name)
        ]
        if changed:
            raise UsageError(
                f"run {header.run_id} cannot be gone on with: the venue changed the rules of {symbol} ({', '.join(changed)})."
                f" Sell by hand what the run owns of it, then start a new run"
            )


def adjusted_of(adjustment: Adjustment) -> Adjusted:
    """Return a correction as the journal keeps it."""
    return Adjusted(
        adjustment.asset,
        plain_text(adjustment.amount),
        adjustment.operator,
        adjustment.reason,
        adjustment.ts_event_ns,
        adjustment.strategy_id,
        adjustment.symbol,
    )


def external_of(move: ExternalMove) -> External:
    """Return what came or went of the coins that are not Claire's, as the journal keeps it."""
    return External(move.kind.value, move.asset, decimal_text(move.units), move.evidence_id, move.ts_ns)
