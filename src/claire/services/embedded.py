"""The embedded topology over a finite market: one process runs the whole pipeline and keeps all of it (keeping.py)."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from claire.adapters.config.schema import Keep, Settings
from claire.adapters.journal.disk import REAL_DISK
from claire.adapters.journal.entries import Decided
from claire.engine.compare import Comparison
from claire.engine.pipeline import Pipeline
from claire.engine.ports import MarketSource, Pacer, Recorder
from claire.model.market import MarketEvent
from claire.services.assembly import PAPER_VENUE, assemble
from claire.services.capital import capital_warnings
from claire.services.keeping import Keeping, RunResult, keeping, new_run_id
from claire.services.pace import WallPacer
from claire.services.quiet import quiet
from claire.services.recovery import CatchUp, check, reopened, settings_of
from claire.services.sources import reopen
from claire.services.summary import Summary, summarise

Progress = Callable[[Pipeline], None]


@quiet
def run_market(
    settings: Settings,
    source: MarketSource,
    *,
    runs_dir: Path,
    mode: str,
    speed: float | None = None,
    observers: Sequence[Recorder] = (),
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Run the pipeline over a source from its first event to its last.

    Args:
        settings: The effective configuration.
        source: Where market events come from.
        runs_dir: Where the run directory is made.
        mode: ``backtest`` or ``paper``; an unlimited risk profile is refused in all but ``backtest``.
        speed: Market seconds per second; None: as fast as it goes. It paces and decides nothing.
        observers: Further recorders, such as a screen.
        on_progress: Called with the pipeline after each batch of events (each event when paced).
        should_stop: Asked between events; the run then ends in order.

    Raises:
        ConfigError: the configuration does not fit the source.
        StrategyError: a strategy raised; the journal is complete up to that input.
        JournalError, LedgerError: what happened could not be kept; the run stops.
    """
    run_id = new_run_id(runs_dir)
    embeds = mode != "backtest" and settings.journal.record is not Keep.DECISIONS
    preview = assemble(settings, source, run_id=run_id)
    with keeping(
        settings,
        source.info,
        source.instruments,
        preview.symbols,
        run_id=run_id,
        runs_dir=runs_dir,
        mode=mode,
        embeds_inputs=embeds,
        in_batches=speed is None,
    ) as kept:
        recorders: tuple[Recorder, ...] = (kept.journal, kept.ledger, *observers)
        assembly = assemble(settings, source, recorders, run_id=run_id, records_inputs=embeds or bool(observers))
        pipeline = assembly.pipeline
        kept.ledger.postings(assembly.opening)
        pacer = WallPacer(speed, should_stop) if speed else None
        started = time.perf_counter()
        try:
            interrupted = not drive(pipeline, source, pacer, on_progress, should_stop)
        finally:
            pipeline.flush()
        elapsed_s = time.perf_counter() - started
        pipeline.snapshot()
        summary = summarise(
            run_id=run_id,
            mode=mode,
            risk_profile=settings.risk.profile.value,
            source=source.info,
            pipeline=pipeline,
            tally=assembly.tally,
            elapsed_s=elapsed_s,
            interrupted=interrupted,
            warnings=capital_warnings(assembly),
        )
        return kept.finish(summary)


@quiet
def continue_market(
    run_dir: Path,
    data: Sequence[Path] = (),
    *,
    speed: float | None = None,
    observers: Sequence[Recorder] = (),
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Go on with a run over a finite market that was stopped: decide again what is on record, then all the rest.

    Args:
        run_dir: The run.
        data: Where the recording's files lie now, if not where they lay then.
        speed: Market seconds per second for what is not on record yet; None: as fast as it goes.
        observers: Further recorders, such as a screen.
        on_progress: Called with the pipeline after each batch of events.
        should_stop: Asked between events; the run then ends in order.

    Raises:
        ReplayError: the recording is missing, or this program decides otherwise than the one that wrote the journal.
        JournalError, LedgerError: they were altered, contradict each other, or are in use.
    """
    settings = settings_of(run_dir, None, ())
    with reopened(run_dir, settings, PAPER_VENUE, in_batches=speed is None) as again:
        header, journal, ledger = again.header, again.journal, again.ledger
        source = reopen(header.source, header.instruments, data)
        recorded = ((entry.input_no, entry.event) for _, entry in again.back.entries if type(entry) is Decided)
        comparison = Comparison(recorded, is_cut_off=True)
        catch_up = CatchUp(comparison, again)
        last_input, ended = again.back.end.last_input, again.notes.ended
        taken = 0 if ended is None else msgspec.json.decode(ended.summary_json, type=Summary).market_events
        assembly = assemble(
            settings, source, (catch_up, *observers), run_id=header.run_id, records_inputs=header.embed_inputs
        )
        pipeline = assembly.pipeline
        ledger.postings(assembly.opening)
        journal.resumed(header.source.first_ns, again.code, 0)

        def has_caught_up() -> bool:
            """Whether everything on record was met: decisions, and inputs, kept or counted."""
            return comparison.is_exhausted and pipeline.input_no >= last_input and pipeline.market_events >= taken

        def is_over() -> bool:
            """Stop once what is on record was met: ending before would leave less than there was."""
            return has_caught_up() and should_stop()

        pacer = None if speed is None else WallPacer(speed, is_over, has_caught_up)
        started = time.perf_counter()
        try:
            interrupted = not drive(pipeline, source, pacer, on_progress, is_over)
        finally:
            pipeline.flush()
        elapsed_s = time.perf_counter() - started
        if not comparison.is_exhausted and not interrupted:
            comparison.finish()
            check(comparison, header)
        pipeline.snapshot()
        summary = summarise(
            run_id=header.run_id,
            mode=header.mode,
            risk_profile=settings.risk.profile.value,
            source=header.source,  # it knows what was told of the rules at the start
            pipeline=pipeline,
            tally=assembly.tally,
            elapsed_s=elapsed_s,
            interrupted=interrupted,
            warnings=capital_warnings(assembly),
            continued=again.notes.continued + 1,
        )
        return Keeping(header.run_id, run_dir, journal, ledger, again.code, header.config_json, REAL_DISK).finish(
            summary
        )


def drive(
    pipeline: Pipeline,
    source: MarketSource,
    pacer: Pacer | None = None,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Feed every event of a source to a pipeline; return False when it was stopped before the end."""
    feed = pipeline.feed
    if pacer is None:
        for batch in source.batches():
            for event in batch:
                feed(event)
            if on_progress:
                on_progress(pipeline)
            if should_stop():
                return False
        return True
    for event in _events(source):
        if not pacer.wait_until(event.ts_event_ns):
            return False
        feed(event)
        if on_progress:
            on_progress(pipeline)
    return True


def _events(source: MarketSource) -> Iterator[MarketEvent]:
    for batch in source.batches():
        yield from batch
