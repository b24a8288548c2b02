"""The embedded topology over a live feed: one process, one event loop, every input on record before it is used.

Everything that decides runs in one thread, one input after the other: what the feed brings, what the venue reports, what
is said about the trading state, and the passing of time. Each is journalled first, raw frames as bytes; so a replay hands the
same bytes to the same decoder and comes to the same decisions, and a process that was killed is replaced by one that does
just that before it goes on.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from claire.adapters.journal.snapshots import save_snapshot
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc.items import AlertKind, FeedAlert, FeedCounters, FeedItem
from claire.adapters.venues.mexc.restored import RECONCILIATION
from claire.engine.externals import ExternalMove
from claire.engine.pipeline import Pipeline
from claire.engine.saving import to_bytes
from claire.latch.steps import Step, no_step
from claire.model.decisions import Asked, ControlEvent, TradingState, VenueReport
from claire.model.errors import UsageError, did_you_mean
from claire.services.adjusting import adjustment_of
from claire.services.asking import Asking
from claire.services.beginning import Begun, Saved
from claire.services.capital import capital_warnings
from claire.services.connecting import connect
from claire.services.door import Door
from claire.services.feeding import Feed, encode_input, pass_on
from claire.services.keeping import Keeping, RunResult
from claire.services.operating import operating
from claire.services.outside import Outside
from claire.services.reconciliation import Reconciliation
from claire.services.recovery import RESTART, GoOn, adjusted_of, external_of
from claire.services.reexecution import resume
from claire.services.summary import summarise

if TYPE_CHECKING:
    from claire.services.guarding import Guard

SNAPSHOT_S: Final = 60.0
"""How often the pipeline's state is saved, as a shortcut for a restart."""

IDLE_COMMIT_S: Final = 0.25
"""How long what was decided may wait for the ledger while nothing more is decided."""

SETTLE_S: Final = 5.0
"""How long the end of a run waits for answers about orders that are on their way."""


class LiveRun:
    """Feeds one pipeline from a live feed, a venue outside (if any) and the clock."""

    def __init__(
        self,
        pipeline: Pipeline,
        kept: Keeping,
        *,
        now_ns: Callable[[], int],
        on_alert: Callable[[FeedAlert], None] | None = None,
        step: Step = no_step,
    ) -> None:
        """Take over a pipeline; `now_ns` is the wall clock corrected to the venue's."""
        self.pipeline = pipeline
        self.alerts: list[FeedAlert] = []
        self.now_ns = now_ns
        self._journal = kept.journal
        self._ledger = kept.ledger
        self._on_alert = on_alert
        self.step = step

    def take(self, item: FeedItem) -> None:
        """Journal one input of the feed, then let the pipeline have what it gave."""
        self._journal.fed(encode_input(item.input))
        self.step("take")
        for event in item.events:
            if isinstance(event, FeedAlert):
                self.alert(event)
            pass_on(self.pipeline, event)

    def report(self, report: VenueReport) -> None:
        """Journal one report of the venue, then let the pipeline have it, as of now."""
        at_ns = self._pass()
        report = msgspec.structs.replace(report, ts_event_ns=at_ns)
        self.step("report.before")
        self._journal.inputs(self.pipeline.input_no + 1, (report,))
        self.step("report.after")
        self.pipeline.report(report)

    def control(self, source: str, state: TradingState, reason: str, symbol: str = "") -> None:
        """Journal what somebody says about the trading state, then let the pipeline have it; said twice it counts once."""
        locks = self.pipeline.stages.risk.state.locks
        if locks[source].state is state if source in locks else state is TradingState.ACTIVE:
            return
        event = ControlEvent(state, reason, source, self._pass(), symbol)
        self._journal.controlled(event)
        self.pipeline.control(event)
        if state is not TradingState.ACTIVE:
            self._ledger.alert(event.ts_event_ns, "critical", source, f"{state}: {reason}")

    def ask(
        self,
        what: Literal["close", "cancel", "release"],
        operator: str,
        reason: str,
        *,
        symbol: str = "",
        order_no: int = 0,
    ) -> None:
        """Journal what an operator asks for, then let the pipeline have it."""
        asked = Asked(what, operator, reason, self._pass(), symbol, order_no)
        self._journal.commanded(asked)
        self.step("asked")
        self.pipeline.ask(asked)
        about = symbol or (f"order {order_no}" if order_no else "all")
        self._ledger.alert(asked.ts_event_ns, "info", f"operator {what}", f"{about}, asked by {operator}: {reason}")

    def resume(self, begun: Begun) -> None:
        """Journal that this process goes on with the run, then let the pipeline know."""
        again = begun.resumed
        if again is None:
            return
        self._journal.resumed(
            again.at_ns,
            again.code,
            again.epoch,
            again.settings_json,
            orphans=again.orphans,
            operator=again.operator,
            reason=again.reason,
        )
        resume(begun.assembly, begun.market.info, again)
        self.step("recover.resumed")

    def correct(self, go_on: GoOn) -> None:
        """Correct the books as an operator says.

        Raises:
            UsageError: a correction cannot be read, or does not fit the books.
        """
        for text in go_on.adjustments:
            books = self.pipeline.stages.portfolio.state.books
            adjustment = adjustment_of(text, go_on.operator, go_on.reason, books, self._pass())
            entry = adjusted_of(adjustment)
            self._journal.adjusted(entry)
            self.pipeline.adjust(adjustment)
            self._ledger.adjusted(entry)

    def external(self, move: ExternalMove) -> None:
        """Keep that something of the account, which is not Claire's, came or went."""
        entry = external_of(move)
        self._journal.external(entry)
        self._ledger.external(entry)

    def release(self, go_on: GoOn, reconciliation: Reconciliation | None) -> None:
        """Take back locks of the trading state, or let exits go that wait for a word, because an operator says so.

        Raises:
            UsageError: no such lock is set.
        """
        for source in go_on.releases:
            if source == RESTART:
                self.ask("release", go_on.operator, go_on.reason)
                continue
            locks = self.pipeline.stages.risk.state.locks
            if source not in locks:
                listed = ", ".join(locks) or "none"
                raise UsageError(
                    f"--release {source}: there is no such lock.{did_you_mean(source, locks)} Set: {listed}"
                )
            if source == RECONCILIATION and reconciliation is not None:
                reconciliation.release(go_on.operator, go_on.reason)
            else:
                self.control(source, TradingState.ACTIVE, f"released by {go_on.operator}: {go_on.reason}")

    def note(self, text: str) -> None:
        """Journal and show what a person may want to know; it asks for nothing."""
        self._journal.note("reconciliation", text)
        self.say(text)

    def say(self, text: str) -> None:
        """Show what a person may want to know, where somebody looks on."""
        if self._on_alert is not None:
            self._on_alert(FeedAlert(AlertKind.ACCOUNT, "", text, stops_entries=False, ts_recv_ns=self.now_ns()))

    def beat(self) -> None:
        """Let happen what the clock says is due."""
        if self.pipeline.now_ns and self.now_ns() >= self.pipeline.next_due_ns:
            self.step("beat")
            self._pass()

    def alert(self, alert: FeedAlert) -> None:
        """Keep and show what a person should know."""
        self.alerts.append(alert)
        self._ledger.alert(alert.ts_recv_ns, "warning", str(alert.kind), alert.text)
        if self._on_alert is not None:
            self._on_alert(alert)

    def _pass(self) -> int:
        """Let market time come to now, on record where something was due; return it."""
        at_ns = max(self.now_ns(), self.pipeline.now_ns)
        if at_ns >= self.pipeline.next_due_ns:
            self._journal.passed(at_ns)
            self.pipeline.advance(at_ns)
        return at_ns


async def run_live(
    opening: AbstractContextManager[Begun],
    feed: Feed,
    *,
    outside: Outside | None = None,
    guard: "Guard | None" = None,
    go_on: GoOn | None = None,
    now_ns: Callable[[], int] = time.time_ns,
    machine: Machine = THIS_MACHINE,
    snapshot_s: float = SNAPSHOT_S,
    duration_s: float | None = None,
    counters: FeedCounters | None = None,
    on_progress: Callable[[Pipeline], None] | None = None,
    on_alert: Callable[[FeedAlert], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Run a pipeline over a live feed until it is stopped, the feed ends, or `duration_s` is over.

    Args:
        opening: The run, new (`beginning.fresh`) or to be gone on with (`recovery.continued`); entered and left here.
        feed: The feed; entered once books and venue agree, so that nothing it brings has waited for that.
        outside: Where orders go; None: the paper venue.
        guard: What may stop the run from outside, and how it shows that it lives.
        go_on: What an operator says about a run that is gone on with.
        now_ns: The wall clock, corrected to the venue's.
        machine: The computer that this process runs on.
        snapshot_s: How often the pipeline's state is saved; 0: never.
        duration_s: Longest time to run, in seconds of the clock.
        counters: What the feed counts.
        on_progress: Called with the pipeline now and then.
        on_alert: Called with each alert of the feed.
        should_stop: Asked now and then; the run then ends in order.

    Raises:
        ClaireError: the feed, a strategy, the journal or the ledger failed; the run stops.
    """
    async with AsyncExitStack() as stack:
        with nullcontext() if guard is None else guard.recovering():
            begun = stack.enter_context(opening)
            kept, pipeline = begun.kept, begun.assembly.pipeline
            run = LiveRun(pipeline, kept, now_ns=now_ns, on_alert=on_alert, step=machine.step)
            for text in begun.notes:
                run.say(text)
            if begun.resumed is not None and outside is None:
                run.resume(begun)
            reconciliation = None if outside is None else await connect(stack, outside, begun, run, go_on)
            if go_on is not None:
                run.release(go_on, reconciliation)
        machine.step("recover.done")
        door = None
        if machine.has_operator:
            mode = begun.settings.mode.value
            opening_door = operating(run, kept.run_dir, mode=mode, outside=outside, reconciliation=reconciliation)
            door = await stack.enter_async_context(opening_door)
        started, trades_before = machine.monotonic_s(), pipeline.trades_in
        loop = _Loop(run, feed, outside, guard, kept, machine, snapshot_s, on_progress, should_stop, door)
        await stack.enter_async_context(feed)
        ended = await loop.drive(duration_s)
        if outside is not None:
            await outside.venue.settle(SETTLE_S)
        pipeline.snapshot()
        summary = summarise(
            run_id=kept.run_id,
            mode=begun.settings.mode.value,
            risk_profile=begun.settings.risk.profile.value,
            source=begun.market.info,
            pipeline=pipeline,
            tally=begun.assembly.tally,
            elapsed_s=machine.monotonic_s() - started,
            interrupted=not ended,
            feed=None if counters is None else msgspec.structs.asdict(counters),
            warnings=[
                *(f"{alert.kind}: {alert.text}" for alert in run.alerts),
                *capital_warnings(begun.assembly),
            ],
            continued=begun.continued,
            trades_before=trades_before,
        )
        return kept.finish(summary)


class _Loop:
    """The loop of a live run: what comes, what is due, what has to be kept now and then."""

    def __init__(
        self,
        run: LiveRun,
        feed: Feed,
        outside: Outside | None,
        guard: "Guard | None",
        kept: Keeping,
        machine: Machine,
        snapshot_s: float,
        on_progress: Callable[[Pipeline], None] | None,
        should_stop: Callable[[], bool],
        door: Door | None,
    ) -> None:
        self._run = run
        self._door = door
        self._feed = feed
        self._guard = guard
        self._venue = None if outside is None else outside.venue
        self._kept = kept
        self._machine = machine
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._snapshot_s = snapshot_s or float("inf")
        self._snapshot_due = machine.monotonic_s() + self._snapshot_s
        self._commit_due = 0.0
        self._asking = Asking(run.pipeline)

    async def drive(self, duration_s: float | None) -> bool:
        """Take what comes until the end; return False when somebody asked for it."""
        reader = asyncio.create_task(self._read(), name="feed-to-pipeline")
        monotonic = self._machine.monotonic_s
        deadline = None if duration_s is None else monotonic() + duration_s
        try:
            while not reader.done():
                if self._should_stop():
                    return False
                if deadline is not None and monotonic() >= deadline:
                    return True
                self._run.beat()
                if self._guard is not None:
                    self._guard.beat(self._run, monotonic())
                if self._venue is not None:
                    self._venue.check()
                if self._door is not None:
                    self._door.check()
                self._keep(monotonic())
                if self._on_progress:
                    self._on_progress(self._run.pipeline)
                await asyncio.wait((reader,), timeout=self._machine.beat_s)
            reader.result()
            return True
        finally:
            reader.cancel()
            await asyncio.wait((reader,))

    async def _read(self) -> None:
        async for batch in self._feed.batches():
            for item in batch:
                self._run.take(item)
            if self._on_progress:
                self._on_progress(self._run.pipeline)
            await asyncio.sleep(0)

    def _keep(self, now: float) -> None:
        """Commit what waits, and save the state where its time has come and nothing of the feed is on its way."""
        if now >= self._commit_due:
            self._commit_due = now + IDLE_COMMIT_S
            self._kept.ledger.commit()
            for text in self._asking.look():
                self._run.alert(
                    FeedAlert(AlertKind.ACCOUNT, "", text, stops_entries=False, ts_recv_ns=self._run.now_ns())
                )
        if now >= self._snapshot_due and self._feed.is_drained:
            self._snapshot_due = now + self._snapshot_s
            kept = self._kept
            pipeline = to_bytes(self._run.pipeline.save(with_venue=self._venue is None))
            state = Saved(pipeline, self._feed.decoder, kept.ledger.cursor(), kept.settings_json)
            save_snapshot(kept.run_dir, kept.journal, state, code=kept.code, disk=kept.disk, step=self._machine.step)
