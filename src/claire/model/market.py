"""What enters from the market: trades, top of book, depth, candles; and the timers beside them.

Every event is a frozen value with the venue's event time in `ts_event_ns` (UTC nanoseconds since 1970).
Prices are whole ticks and quantities whole lots of the event's instrument.
"""

from enum import StrEnum

from msgspec import Struct


class Side(StrEnum):
    """Direction: of an order, a signal, or the taker of a public trade."""

    BUY = "BUY"
    SELL = "SELL"


class Trade(Struct, frozen=True, gc=False, tag="trade", array_like=True):
    """One public execution at the venue."""

    symbol: str
    ts_event_ns: int
    price_ticks: int
    quantity_lots: int
    side: Side
    """The taker's side."""
    pct_change: float | None = None
    """Set when the message came enriched; then it is used as it is (DESIGN 6)."""
    trade_id: str = ""
    ts_recv_ns: int | None = None
    """When it was received; None where time is data time (recorded input)."""


class TopOfBook(Struct, frozen=True, gc=False, tag="top", array_like=True):
    """Best bid and offer. A side that is empty has price and quantity 0."""

    symbol: str
    ts_event_ns: int
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int
    ts_recv_ns: int | None = None


class Depth(Struct, frozen=True, tag="depth", array_like=True):
    """A change of the order book, or the whole book when `snapshot`.

    Levels are (price_ticks, quantity_lots); quantity 0 removes the level. With `valid` false the local book is
    not to be trusted from here on until the next snapshot (a gap in the venue's sequence).
    """

    symbol: str
    ts_event_ns: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    snapshot: bool = False
    valid: bool = True
    ts_recv_ns: int | None = None


class Timer(Struct, frozen=True, gc=False, tag="timer", array_like=True):
    """A moment that something asked for. Timers are inputs, ordered by (due_ns, id)."""

    due_ns: int
    id: str

    @property
    def ts_event_ns(self) -> int:
        """The moment, under the name that all events share."""
        return self.due_ns


class Candle(Struct, frozen=True, tag="candle"):
    """OHLCV over [open_ns, close_ns). An `empty` one repeats the last close and has no volume."""

    symbol: str
    open_ns: int
    close_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    trades: int
    empty: bool = False
    ts_event_ns: int = 0
    """When it closed: the closing trade's or the timer's time."""


class Mark(Struct):
    """The last trade price of one symbol; what positions are valued at."""

    price_ticks: int = 0
    """0 until the first trade."""
    ts_event_ns: int = 0
    before_ticks: int = 0
    """Price of the trade before; 0: there was none."""
    bid_ticks: int = 0
    """Best bid as far as the source tells; 0: that side is empty."""
    ask_ticks: int = 0
    book_ns: int = 0
    """Time of the last best bid and offer; 0: the source tells none."""


MarketEvent = Trade | TopOfBook | Depth
