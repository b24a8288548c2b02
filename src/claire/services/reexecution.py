"""Takes a pipeline through what a journal of a live run says, entry by entry.

A replay does this to compare, a recovery to come to where a stopped process was; the live run itself uses it for the one
entry that all three must understand alike: that a process went on with the run (`Resumed`).
"""

from collections.abc import Mapping
from decimal import Decimal

from claire.adapters.config import restore
from claire.adapters.journal.entries import Adjusted, Commanded, Controlled, Entry, Fed, Passed, Report, Resumed
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.engine.pipeline import Pipeline
from claire.engine.ports import SourceInfo
from claire.model.decisions import Adjustment
from claire.model.errors import ReplayError
from claire.model.instrument import Instrument
from claire.services.assembly import Assembly
from claire.services.changing import change
from claire.services.feeding import awaits_history, decode_input, pass_on
from claire.stages.signal import OnRestart


class OtherWayError(ReplayError):
    """The journal tells what cannot have happened to this pipeline: it decided otherwise before, by deciding nothing."""


class Reexecution:
    """One pipeline on its way through a journal."""

    def __init__(
        self,
        assembly: Assembly,
        instruments: Mapping[str, Instrument],
        info: SourceInfo,
        *,
        is_outside: bool,
        decoder: FeedDecoder | None = None,
    ) -> None:
        """Start where the pipeline stands.

        Args:
            assembly: The pipeline, fresh or loaded from a snapshot.
            instruments: The rules that the run uses.
            info: The run's source.
            is_outside: Orders went to a venue outside the process, so its reports are fed from the journal.
            decoder: Of the feed, as it was at the snapshot; None: a fresh one.
        """
        self.assembly = assembly
        self._instruments = instruments
        self._info = info
        self._is_outside = is_outside
        self._decoder = FeedDecoder(instruments) if decoder is None else decoder

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self.assembly.pipeline

    def take(self, entry: Entry) -> None:
        """Let happen what one entry says; decisions, notes and the like are no news to a pipeline.

        Raises:
            OtherWayError: it cannot have happened to what this pipeline decided.
        """
        pipeline = self.pipeline
        if isinstance(entry, Fed):
            for event in self._decoder.take(decode_input(entry.data)):
                pass_on(pipeline, event)
        elif isinstance(entry, Passed):
            pipeline.advance(entry.ts_ns)
        elif isinstance(entry, Report):
            if self._is_outside:
                if entry.report.order_no > pipeline.stages.execution.last_no:
                    raise OtherWayError(
                        f"the venue told of order {entry.report.order_no}, which this program never decided upon"
                    )
                pipeline.report(entry.report)
        elif isinstance(entry, Controlled):
            pipeline.control(entry.event)
        elif isinstance(entry, Commanded):
            pipeline.ask(entry.event)
        elif isinstance(entry, Adjusted):
            pipeline.adjust(adjustment(entry))
        elif isinstance(entry, Resumed):
            self._decoder = FeedDecoder(self._instruments)
            resume(self.assembly, self._info, entry)


def resume(assembly: Assembly, info: SourceInfo, entry: Resumed) -> None:
    """Let a restored pipeline know that a new process drives it from now on, with a fresh feed.

    Raises:
        SafetyRefusal: its new settings leave a position without an owner.
    """
    pipeline = assembly.pipeline
    if entry.settings_json:
        settings = restore(entry.settings_json).settings
        change(assembly, settings, entry.orphans, entry.operator, entry.reason, entry.at_ns)
    histories = assembly.symbols if awaits_history(info) else ()
    pipeline.resumed(OnRestart(assembly.settings.exit.on_restart.value), entry.at_ns, histories)
    pipeline.advance(entry.at_ns)


def adjustment(entry: Adjusted) -> Adjustment:
    """Return an operator's correction, as the journal kept it."""
    return Adjustment(
        entry.asset, Decimal(entry.units), entry.operator, entry.reason, entry.ts_ns, entry.strategy_id, entry.symbol
    )
