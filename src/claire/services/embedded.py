"""The embedded topology: one process runs the whole pipeline over a market source and keeps all of it in a run directory.

RUN/config.json       the effective configuration, canonical
RUN/journal/          the hash-chained journal: inputs (or the recording's hash), decisions
RUN/ledger.sqlite     the SQL ledger: orders, fills, postings, positions …
RUN/summary.json      the result
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from secrets import choice
from string import ascii_lowercase, digits

import msgspec

from claire.adapters.config import canonical
from claire.adapters.config.schema import Keep, Settings
from claire.adapters.journal.entries import Header
from claire.adapters.journal.retention import prune_runs
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store.ledger import SqlLedger
from claire.engine.pipeline import Pipeline
from claire.engine.ports import MarketSource, Pacer, Recorder
from claire.model.market import MarketEvent
from claire.services.assembly import PAPER_VENUE, Assembly, assemble
from claire.services.code import code_version
from claire.services.pace import WallPacer
from claire.services.summary import Summary, summarise

CONFIG = "config.json"
LEDGER = "ledger.sqlite"
SUMMARY = "summary.json"
_ALPHABET = ascii_lowercase + digits

Progress = Callable[[Pipeline], None]


class RunResult(msgspec.Struct, frozen=True):
    """A finished run."""

    summary: Summary
    run_dir: Path


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
    run_id, run_dir = _new_run(runs_dir)
    embeds = mode != "backtest" and settings.journal.record is not Keep.DECISIONS
    preview = assemble(settings, source)
    run_dir.mkdir(parents=True)
    (run_dir / CONFIG).write_text(canonical(settings) + "\n")
    header = Header.of(
        run_id=run_id,
        mode=mode,
        code=code_version([strategy.kind for strategy in settings.strategy]),
        config_json=canonical(settings),
        source=source.info,
        instruments=source.instruments,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        record=settings.journal.record.value,
        embed_inputs=embeds,
        traded=preview.symbols,
    )
    paced = speed is not None
    with (
        JournalWriter(
            run_dir,
            header,
            fsync="decision" if paced else "batch",
            segment_bytes=settings.journal.segment_mb << 20,
        ) as journal,
        closing(
            SqlLedger(
                run_dir / LEDGER,
                header,
                account_id=settings.account.id,
                venue=PAPER_VENUE,
                commit="decision" if paced else "batch",
                journal=journal,
            )
        ) as ledger,
    ):
        assembly = assemble(settings, source, (journal, ledger, *observers), records_inputs=embeds or bool(observers))
        ledger.postings(assembly.opening)
        pacer = WallPacer(speed, should_stop) if speed else None
        started = time.perf_counter()
        try:
            interrupted = not drive(assembly.pipeline, source, pacer, on_progress, should_stop)
        finally:
            assembly.pipeline.flush()
        assembly.pipeline.snapshot()
        elapsed_s = time.perf_counter() - started
        summary = _finish(settings, source, assembly, run_id, mode, elapsed_s, interrupted)
        text = msgspec.json.encode(summary).decode()
        ledger.finish(text, summary.decision_digest)
        journal.finish(text, summary.decision_digest)
    _write_durably(run_dir / SUMMARY, text)
    if settings.journal.keep_days:
        prune_runs(runs_dir, now_ns=time.time_ns(), keep_days=settings.journal.keep_days)
    return RunResult(summary, run_dir)


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


def _finish(
    settings: Settings,
    source: MarketSource,
    assembly: Assembly,
    run_id: str,
    mode: str,
    elapsed_s: float,
    interrupted: bool,
) -> Summary:
    return summarise(
        run_id=run_id,
        mode=mode,
        risk_profile=settings.risk.profile.value,
        source=source.info,
        pipeline=assembly.pipeline,
        tally=assembly.tally,
        elapsed_s=elapsed_s,
        interrupted=interrupted,
    )


def _new_run(runs_dir: Path) -> tuple[str, Path]:
    """Name a run after the minute of its start; three letters keep two of one minute apart."""
    while True:
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M}-{''.join(choice(_ALPHABET) for _ in range(3))}"
        if not (runs_dir / run_id).exists():
            return run_id, runs_dir / run_id


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
