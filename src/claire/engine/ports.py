"""What the engine needs from outside: a market source, a venue, recorders, a pacer.

Adapters implement these; contract test classes say what every implementation promises.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Cancel, Decision, Derived, Submit, VenueReport
from claire.model.instrument import Instrument
from claire.model.market import Candle, MarketEvent, Timer

Input = MarketEvent | Timer | VenueReport
"""What enters a pipeline, each with the next input number."""

Recorded = Decision | Derived
"""What a pipeline decides or derives, and its recorders keep."""


class SourceInfo(Struct, frozen=True):
    """Where market events come from, exactly enough to find or make them again."""

    kind: str
    """``recorded``, ``synthetic`` or ``journal``."""
    symbols: tuple[str, ...]
    rows: int
    first_ns: int
    last_ns: int
    sha256: str = ""
    """Of the file's bytes; empty where there is no file."""
    path: str = ""
    venue: str = ""
    parameters: dict[str, str] = {}
    """How to make it again: reader options of a file, seed and settings of a generator."""
    has_book: bool = False
    synthetic_trades: bool = False
    """Trades made from candles or by a generator, not recorded ones."""
    warnings: tuple[str, ...] = ()


class MarketSource(Protocol):
    """A finite sequence of market events that can be read again and again."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The rules of every symbol in the source."""

    @property
    def info(self) -> SourceInfo:
        """Where the events come from."""

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the events in order (event time, symbol, row), some thousands at a time."""


class Venue(Protocol):
    """Where orders go. Reports come back in market time, never at once from `submit` or `cancel`.

    A simulated venue is told the time `before` the pipeline sees a market event, and of the event `after`.
    """

    def submit(self, command: Submit, now_ns: int) -> None:
        """Take an order on its way; it is sent once."""

    def cancel(self, command: Cancel, now_ns: int) -> None:
        """Take a cancel on its way."""

    def before(self, ts_event_ns: int) -> None:
        """Let what arrived earlier than this meet the market as it stood."""

    def after(self, event: MarketEvent) -> None:
        """Apply `event` to the venue's market and let working orders meet it."""

    @property
    def next_due_ns(self) -> int:
        """When the next report is due (a very large number: none)."""

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        """Hand over the reports due at or before `now_ns`, in order of (due, order of making)."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is working, on its way or waiting to be reported."""


class Recorder(Protocol):
    """Keeps what happened: the journal, the SQL ledger, counters, the screen."""

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Keep inputs, numbered from `first_no`, before anything decided from the last of them is kept."""

    def decided(self, input_no: int, event: Recorded) -> None:
        """Keep one decision or derived event, caused by input `input_no`."""

    def candle(self, candle: Candle) -> None:
        """Keep one closed candle."""

    def postings(self, postings: Sequence[Posting]) -> None:
        """Keep postings that a decision caused."""

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Keep one look at the account and its positions, by (strategy id, symbol)."""


class Pacer(Protocol):
    """Makes data time pass at a chosen speed; it never changes what is decided."""

    def wait_until(self, ts_event_ns: int) -> bool:
        """Return once market time has come to `ts_event_ns`; False: stop now."""
