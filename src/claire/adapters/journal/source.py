"""A journal as a market source: what entered a run, fed again."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from claire.adapters.journal.entries import Inputs
from claire.adapters.journal.reader import JournalReader
from claire.engine.ports import SourceInfo
from claire.model.errors import ReplayError
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Timer


class JournalSource:
    """The market events in a journal. Timers and paper reports are made again by the run that is fed with them.

    With `record` = ``traded`` the events of other symbols are missing, so input numbers differ from the journal's: compare
    decisions without them.
    """

    def __init__(self, reader: JournalReader) -> None:
        """Take the market from a journal.

        Raises:
            JournalError: the journal's beginning is damaged.
            ReplayError: the journal holds no market events.
        """
        header = reader.header
        if not header.embed_inputs or header.record == "decisions":
            why = f"record = {header.record}" if header.embed_inputs else "its inputs were not copied"
            raise ReplayError(
                f"run {header.run_id}: the journal holds no market events ({why}). Replay needs its source:"
                f" {header.source.kind} {header.source.path} with SHA-256 {header.source.sha256 or '(no file)'}."
            )
        self._reader = reader
        self._info = msgspec.structs.replace(header.source, kind="journal")
        self._instruments = header.instruments

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The rules that were in force."""
        return self._instruments

    @property
    def info(self) -> SourceInfo:
        """The run's own source, under the kind ``journal``."""
        return self._info

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the market events as they entered.

        Raises:
            JournalError: at the first entry that is not what was written.
        """
        for entry in self._reader:
            if type(entry) is Inputs:
                events: list[MarketEvent] = [event for event in entry.events if not isinstance(event, Timer)]
                if events:
                    yield events
