"""The embedded topology over a live feed: one process, one event loop, every input on record before it is used.

Everything that decides runs in one thread, one input after the other: what the feed brings, what the venue reports, and
the passing of time. Each is journalled first, raw frames as bytes; so a replay hands the same bytes to the same decoder and
comes to the same decisions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from claire.adapters.config.schema import Settings
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc.items import (
    FeedAlert,
    FeedCounters,
    FeedEvent,
    FeedGap,
    FeedInput,
    FeedItem,
    WarmUp,
)
from claire.engine.pipeline import NEVER, Pipeline
from claire.engine.ports import Recorder, SourceInfo, Venue
from claire.model.decisions import ControlEvent, TradingState, VenueReport
from claire.model.instrument import Instrument
from claire.model.market import Depth, TopOfBook, Trade
from claire.services.assembly import PAPER_VENUE, assemble
from claire.services.keeping import RunResult, keeping, new_run_id
from claire.services.summary import summarise

SETTLE_S: Final = 5.0
"""How long the end of a run waits for answers about orders that are on their way."""

encode_input = msgspec.msgpack.Encoder().encode
"""Return the bytes of one input of the feed, as the journal keeps them."""

decode_input: Callable[[bytes], FeedInput] = msgspec.msgpack.Decoder(FeedInput).decode
"""Return the input in such bytes."""


LIVE: Final = "live"
"""`SourceInfo.kind` of a market that is happening."""


def live_info(symbols: Sequence[str], venue: str, started_ns: int, *, with_history: bool, has_book: bool) -> SourceInfo:
    """Return what is known of a live market before its first event."""
    return SourceInfo(
        kind=LIVE,
        symbols=tuple(symbols),
        rows=0,
        first_ns=started_ns,
        last_ns=0,
        venue=venue,
        parameters={"history": str(with_history)},
        has_book=has_book,
    )


def is_live(info: SourceInfo) -> bool:
    """Whether a source was a live market: then its journal holds raw frames."""
    return info.kind == LIVE


def awaits_history(info: SourceInfo) -> bool:
    """Whether the strategies of a live run waited for the past of their symbols."""
    return info.parameters.get("history") == str(True)


class Feed(Protocol):
    """A live feed, entered by its owner."""

    def batches(self) -> AsyncIterator[list[FeedItem]]:
        """Yield what has come since the last look, in order."""


class OutsideVenue(Venue, Protocol):
    """A venue outside this process: its reports come when they come."""

    def listen(self, on_report: Callable[[VenueReport], None]) -> None:
        """Say where reports go; called before the first order."""

    async def settle(self, timeout_s: float) -> bool:
        """Wait until every order that should end at once has ended; False: not in time."""

    def check(self) -> None:
        """Raise what stopped a part of the venue for good, if anything did."""


class LiveMarket(msgspec.Struct, frozen=True):
    """What is known of a live market before its first event."""

    instruments: Mapping[str, Instrument]
    info: SourceInfo


class LiveRun:
    """Feeds one pipeline from a live feed, a venue outside (if any) and the clock."""

    def __init__(
        self,
        pipeline: Pipeline,
        journal: JournalWriter,
        *,
        now_ns: Callable[[], int],
        on_alert: Callable[[FeedAlert], None] | None = None,
    ) -> None:
        """Take over a pipeline; `now_ns` is the wall clock corrected to the venue's."""
        self.pipeline = pipeline
        self.alerts: list[FeedAlert] = []
        self._journal = journal
        self._now_ns = now_ns
        self._on_alert = on_alert

    def take(self, item: FeedItem) -> None:
        """Journal one input of the feed, then let the pipeline have what it gave."""
        self._journal.fed(encode_input(item.input))
        for event in item.events:
            self._alert(event)
            pass_on(self.pipeline, event)

    def report(self, report: VenueReport) -> None:
        """Journal one report of the venue, then let the pipeline have it, as of now."""
        at_ns = max(self._now_ns(), self.pipeline.now_ns)
        self._pass(at_ns)
        report = msgspec.structs.replace(report, ts_event_ns=at_ns)
        self._journal.inputs(self.pipeline.input_no + 1, (report,))
        self.pipeline.report(report)

    def beat(self) -> None:
        """Let happen what the clock says is due."""
        now_ns = self._now_ns()
        if self.pipeline.now_ns and now_ns >= self.pipeline.next_due_ns:
            self._pass(now_ns)

    def _pass(self, at_ns: int) -> None:
        if at_ns >= self.pipeline.next_due_ns:
            self._journal.passed(at_ns)
            self.pipeline.advance(at_ns)

    def _alert(self, event: FeedEvent) -> None:
        if isinstance(event, FeedAlert):
            self.alerts.append(event)
            if self._on_alert is not None:
                self._on_alert(event)


def pass_on(pipeline: Pipeline, event: FeedEvent) -> None:
    """Let a pipeline have one event of the feed; the same live and in a replay."""
    if isinstance(event, Trade | TopOfBook | Depth):
        pipeline.feed(event)
    elif isinstance(event, FeedGap):
        pipeline.gap(event.symbol, event.to_ns or NEVER)
    elif isinstance(event, WarmUp):
        if event.candles:
            pipeline.past_candles(event.candles)
        else:
            pipeline.past_trades(event.symbol, event.trades)
    elif event.stops_entries:
        reason = f"{event.kind}: {event.text}"
        pipeline.control(ControlEvent(TradingState.REDUCE_ONLY, reason, "feed", event.ts_recv_ns))


async def run_live(
    settings: Settings,
    market: LiveMarket,
    feed: Feed,
    *,
    runs_dir: Path,
    mode: str,
    venue: OutsideVenue | None = None,
    duration_s: float | None = None,
    now_ns: Callable[[], int] = time.time_ns,
    counters: FeedCounters | None = None,
    observers: Sequence[Recorder] = (),
    on_progress: Callable[[Pipeline], None] | None = None,
    on_alert: Callable[[FeedAlert], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    run_id: str = "",
    machine: Machine = THIS_MACHINE,
) -> RunResult:
    """Run the pipeline over a live feed until it is stopped, the feed ends, or `duration_s` is over.

    Args:
        settings: The effective configuration.
        market: The rules of every symbol, and what is known of the feed.
        feed: The entered feed.
        runs_dir: Where the run directory is made.
        mode: ``paper`` or ``testnet``.
        venue: Where orders go; None: the paper venue.
        duration_s: Longest time to run, in seconds of the clock.
        now_ns: The wall clock, corrected to the venue's.
        counters: What the feed counts.
        observers: Further recorders, such as a screen.
        on_progress: Called with the pipeline now and then.
        on_alert: Called with each alert of the feed.
        should_stop: Asked now and then; the run then ends in order.
        run_id: Its name; empty: a new one is made.
        machine: Where clocks and the disk come from.

    Raises:
        ClaireError: the feed, a strategy, the journal or the ledger failed; the run stops.
    """
    run_id = run_id or new_run_id(runs_dir)
    traded = assemble(settings, market, run_id=run_id, venue=venue).symbols
    with keeping(
        settings,
        market.info,
        market.instruments,
        traded,
        run_id=run_id,
        runs_dir=runs_dir,
        mode=mode,
        venue=PAPER_VENUE if venue is None else market.info.venue,
        embeds_inputs=True,
        in_batches=False,
        machine=machine,
    ) as kept:
        recorders: tuple[Recorder, ...] = (kept.journal, kept.ledger, *observers)
        assembly = assemble(settings, market, recorders, run_id=run_id, venue=venue)
        pipeline = assembly.pipeline
        kept.ledger.postings(assembly.opening)
        if awaits_history(market.info):
            for symbol in assembly.symbols:
                pipeline.stages.signals.await_history(symbol)
        run = LiveRun(pipeline, kept.journal, now_ns=now_ns, on_alert=on_alert)
        if venue is not None:
            venue.listen(run.report)
        started = machine.monotonic_s()
        ended = await _drive(run, feed, venue, duration_s, on_progress, should_stop, machine)
        if venue is not None:
            await venue.settle(SETTLE_S)
        pipeline.snapshot()
        summary = summarise(
            run_id=run_id,
            mode=mode,
            risk_profile=settings.risk.profile.value,
            source=market.info,
            pipeline=pipeline,
            tally=assembly.tally,
            elapsed_s=machine.monotonic_s() - started,
            interrupted=not ended,
            feed=None if counters is None else msgspec.structs.asdict(counters),
            warnings=[f"{alert.kind}: {alert.text}" for alert in run.alerts],
        )
        return kept.finish(summary)


async def _drive(
    run: LiveRun,
    feed: Feed,
    venue: OutsideVenue | None,
    duration_s: float | None,
    on_progress: Callable[[Pipeline], None] | None,
    should_stop: Callable[[], bool],
    machine: Machine,
) -> bool:
    """Take what comes until the end; return False when somebody asked for it."""

    async def read() -> None:
        async for batch in feed.batches():
            for item in batch:
                run.take(item)
            if on_progress:
                on_progress(run.pipeline)
            await asyncio.sleep(0)

    reader = asyncio.create_task(read(), name="feed-to-pipeline")
    deadline = None if duration_s is None else machine.monotonic_s() + duration_s
    try:
        while not reader.done():
            if should_stop():
                return False
            if deadline is not None and machine.monotonic_s() >= deadline:
                return True
            run.beat()
            if venue is not None:
                venue.check()
            if on_progress:
                on_progress(run.pipeline)
            await asyncio.wait((reader,), timeout=machine.beat_s)
        reader.result()
        return True
    finally:
        reader.cancel()
        await asyncio.wait((reader,))
