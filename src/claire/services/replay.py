"""Replay: re-executes a finished (or cut off) run from its journal and compares every decision with the record.

The inputs come from the journal where it holds them, else from the recording that it names by hash, else from the
generator that it names by seed. Stages, paper venue and books start afresh from the recorded configuration.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from claire.adapters.config import restore
from claire.adapters.journal.entries import End, Header
from claire.adapters.journal.frames import ANCHOR, JOURNAL
from claire.adapters.journal.reader import JournalReader, Mark, Truncation
from claire.adapters.store.committed import mark_in
from claire.adapters.store.queries import verify_ledger, verify_postings
from claire.engine.compare import Comparison, Difference
from claire.engine.pipeline import Pipeline
from claire.engine.ports import MarketSource, SourceInfo
from claire.model.books import Posting
from claire.model.decisions import VenueReport
from claire.model.errors import JournalError, LedgerError, ReplayError
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Timer
from claire.services.assembly import assemble
from claire.services.code import code_version
from claire.services.feeding import LiveMarket, awaits_history, is_live
from claire.services.keeping import CONFIG, LEDGER, SUMMARY
from claire.services.quiet import quiet
from claire.services.reexecution import OtherWayError, Reexecution
from claire.services.silent import SilentVenue
from claire.services.sources import reopen
from claire.services.summary import Summary

OUTSIDE_MODES = ("testnet",)
"""Modes whose orders go to a venue outside the process: its reports are fed back from the journal."""


class ReplayResult(msgspec.Struct, frozen=True):
    """What a replay found."""

    run_id: str
    identical: bool
    decisions: int
    """Decisions on record that were decided again, equal in every field."""
    first_difference: Difference | None
    decision_digest: str
    """Of the replay."""
    inputs: str
    """Where the market events came from."""
    code: str
    """The program that replays."""
    recorded_by: str
    """The program that wrote the journal."""
    truncated: str = ""
    """Where and how much of the journal is missing, when the run was cut off."""
    notes: list[str] = []
    """What a reader should know: changed settings, another version of the program."""


class JournalSource:
    """The market events that a journal holds, as a `MarketSource`."""

    def __init__(self, reader: JournalReader, header: Header) -> None:
        """Read from `reader` when asked for batches."""
        self._reader = reader
        self._header = header
        self.last_ns = 0
        """Time of the last input read so far, whatever its kind."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The rules that the run used."""
        return self._header.instruments

    @property
    def info(self) -> SourceInfo:
        """The source of the run."""
        return self._header.source

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the market events; timers and venue reports are made again by the replay."""
        for _, event in self._reader.inputs():
            self.last_ns = max(self.last_ns, event.ts_event_ns)
            if not isinstance(event, Timer | VenueReport):
                yield (event,)


@quiet
def replay(
    run_dir: Path,
    data: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    on_progress: Callable[[Pipeline], None] | None = None,
) -> ReplayResult:
    """Replay one run.

    Args:
        run_dir: The run directory.
        data: Where the recording's files lie now, if not where they lay then; they must be the same bytes.
        overrides: Settings to change, as ``KEY=VALUE``: what would have been decided differently, and where first?
        on_progress: Called with the pipeline now and then.

    Raises:
        JournalError: the journal was altered; the message names segment, entry and byte.
        ReplayError: the recording is missing or is another one; configuration or summary were altered.
    """
    header = JournalReader(run_dir).header
    mark = _mark(run_dir, header)
    # what a power cut left behind the last entry that the ledger relies on is an end that was cut off, whatever it holds
    reader = JournalReader(run_dir, relied_on=None if mark is None else mark.entries)
    end = reader.end()
    truncation = reader.truncated
    _check_whole(run_dir, end, truncation)
    notes = _check_files(run_dir, header, end)
    is_behind = False
    if mark is not None and truncation is not None and truncation.entries < mark.entries:
        is_behind = True
        notes.append(
            f"{truncation}, but the ledger follows entry {mark.entries}: more was lost than a crash can lose, so the run cannot"
            f" be gone on with, and the journal alone was compared"
        )
    settings = restore(header.config_json, overrides).settings
    source = LiveMarket(header.instruments, header.source) if is_live(header.source) else _source(reader, header, data)
    code = code_version([strategy.kind for strategy in settings.strategy])
    if code != header.code:
        notes.append(
            f"recorded by claire {header.code}, replayed by claire {code}: a difference may come from the program"
        )
    notes += [f"changed for this replay: {override}" for override in overrides]
    recorded = ((entry.input_no, entry.event) for entry in reader.decisions())
    comparison = Comparison(recorded, is_cut_off=end is None)
    is_outside = header.mode in OUTSIDE_MODES
    assembly = assemble(
        settings, source, (comparison,), run_id=header.run_id, venue=SilentVenue() if is_outside else None
    )
    stop_after = msgspec.json.decode(end.summary_json, type=Summary).market_events if end else None
    if isinstance(source, LiveMarket):
        if awaits_history(header.source):
            for symbol in assembly.symbols:
                assembly.pipeline.stages.signals.await_history(symbol)
        reexecution = Reexecution(assembly, header.instruments, header.source, is_outside=is_outside)
        _feed_live(reexecution, reader, comparison, on_progress)
    else:
        _feed(assembly.pipeline, source, comparison, stop_after, on_progress)
    if end is not None or not comparison.is_exhausted:
        comparison.finish()
    difference = comparison.difference
    if difference is None and end is not None and end.decision_digest != assembly.tally.digest:
        raise ReplayError(f"{run_dir}: every decision is equal but the digest is not; report this as a fault of Claire")
    if difference is None and not overrides and not is_behind and (run_dir / LEDGER).exists():
        notes += _check_ledger(run_dir / LEDGER, reader, end, [*assembly.opening, *comparison.posted])
    return ReplayResult(
        run_id=header.run_id,
        identical=difference is None,
        decisions=comparison.decisions,
        first_difference=difference,
        decision_digest=assembly.tally.digest,
        inputs=_origin(header),
        code=code,
        recorded_by=header.code,
        truncated=str(truncation) if truncation else "",
        notes=notes,
    )


def _feed(
    pipeline: Pipeline,
    source: MarketSource,
    comparison: Comparison,
    stop_after: int | None,
    on_progress: Callable[[Pipeline], None] | None,
) -> None:
    """Feed as many events as the run took (all that are needed for the decisions on record, where it was cut off)."""
    for batch in source.batches():
        for event in batch:
            if pipeline.market_events == stop_after or comparison.difference is not None:
                return
            if stop_after is None and comparison.is_exhausted:
                return
            pipeline.feed(event)
        if on_progress:
            on_progress(pipeline)
    if isinstance(source, JournalSource):
        # a run that was cut off may end with timers or reports behind its last market event
        pipeline.advance(source.last_ns)


def _feed_live(
    reexecution: Reexecution,
    reader: JournalReader,
    comparison: Comparison,
    on_progress: Callable[[Pipeline], None] | None,
) -> None:
    """Take the pipeline through the journal, up to the first difference."""
    try:
        for entry in reader:
            if comparison.difference is not None:
                return
            reexecution.take(entry)
            if on_progress:
                on_progress(reexecution.pipeline)
    except OtherWayError:
        comparison.finish()
        if comparison.difference is None:
            raise


def _source(reader: JournalReader, header: Header, data: Sequence[Path]) -> MarketSource:
    if header.embed_inputs and header.record != "decisions":
        return JournalSource(reader, header)
    return reopen(header.source, header.instruments, data)


def _origin(header: Header) -> str:
    if is_live(header.source):
        return "the journal's raw frames"
    if header.embed_inputs and header.record != "decisions":
        return "the journal"
    if header.source.kind == "synthetic":
        return "the generator, seed and settings as recorded"
    return f"the recording sha256:{header.source.sha256[:12]}"


def _check_whole(run_dir: Path, end: End | None, truncation: Truncation | None) -> None:
    """Refuse a run that ended in order and has lost or gained something since.

    Raises:
        JournalError: entries are missing that were there when the run ended, or bytes were added.
    """
    if truncation is not None and truncation.entries_missing is not None:
        raise JournalError(
            f"{run_dir}: {truncation}. This run ended in order, so its journal was cut or added to afterwards; what is left"
            " proves nothing. Restore the run from a backup."
        )
    if end is None and (run_dir / SUMMARY).exists():
        raise JournalError(
            f"{run_dir}: {SUMMARY} says that the run ended in order, but the end of its journal is gone."
            " Restore the run from a backup."
        )


def _mark(run_dir: Path, header: Header) -> Mark | None:
    """How far the ledger relies on the journal; None: there is none, or it cannot be read, which is told when it is compared."""
    try:
        return mark_in(run_dir / LEDGER, header.run_id)
    except LedgerError:
        return None


def _check_ledger(ledger: Path, reader: JournalReader, end: End | None, postings: Sequence[Posting]) -> list[str]:
    """Hold the SQL ledger against the journal, and its postings against those made again.

    Raises:
        ReplayError: they differ; the first difference is named.
        LedgerError: the ledger of a run that ended in order cannot be read.
    """
    try:
        found = verify_ledger(ledger, reader) or verify_postings(ledger, reader, postings)
    except LedgerError as e:
        if end is not None:
            raise
        return [f"the run was stopped before its ledger was whole ({e}); the journal alone was compared"]
    if found is not None:
        raise ReplayError(f"{ledger}: the ledger differs from the journal: {found}")
    return []


def _check_files(run_dir: Path, header: Header, end: End | None) -> list[str]:
    """Hold the files beside the journal against it.

    Raises:
        ReplayError: configuration or summary are not what the journal says; the first difference is named.
    """
    notes = []
    if end is None:
        notes.append("the run did not end in order; it is compared as far as its journal reaches")
    config = run_dir / CONFIG
    if hashlib.sha256(header.config_json.encode()).hexdigest() != header.config_sha256:
        raise ReplayError(f"{run_dir}: the journal's header contradicts itself about the configuration")
    if config.exists():
        _compare_json(config, header.config_json, is_settings=True)
    if end is not None and (run_dir / SUMMARY).exists():
        _compare_json(run_dir / SUMMARY, end.summary_json, is_settings=False)
    expected = [CONFIG, LEDGER] if end is None else [CONFIG, LEDGER, SUMMARY, f"{JOURNAL}/{ANCHOR}"]
    notes += [f"{name} is missing from the run" for name in expected if not (run_dir / name).exists()]
    return notes


def _compare_json(path: Path, recorded: str, *, is_settings: bool) -> None:
    text = path.read_bytes()
    if text.strip() == recorded.encode():
        return
    try:
        now = json.loads(text)
    except ValueError:
        now = None
    if not isinstance(now, dict):
        raise ReplayError(f"{path}: was altered and is no longer readable; the journal holds what was written")
    for name, before, after in _differences(json.loads(recorded), now):
        hint = f" To try another value: claire replay {path.parent.name} --set {_as_setting(name)}={after}"
        raise ReplayError(f"{path}: was altered: {name} is {after}, the run had {before}.{hint if is_settings else ''}")
    raise ReplayError(f"{path}: was altered: its bytes differ from what the run wrote (same values, other form)")


def _differences(before: Any, after: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({**before, **after}):
            yield from _differences(before.get(key), after.get(key), f"{name}.{key}" if name else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{name}[{index}]")
    elif before != after:
        yield name, before, after


def _as_setting(name: str) -> str:
    """The name that ``--set`` takes for a place in the configuration: a strategy's parameter by its plain name."""
    return name.rpartition(".params.")[2]
