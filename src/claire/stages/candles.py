"""Candles: makes OHLCV bars of fixed length from trades, without holes.

Input: `Trade`, and the `Timer`s asked for here. Output: `Candle` (closed), and `SetTimer`.

A candle covers [open_ns, close_ns), aligned to UTC. It closes at the first of: a trade at or after its end, or a timer a
grace period after its end, which lets the last trades arrive. The closing trade belongs to a later candle. An interval
without trades is emitted too, so a silent market is told from a missing one. A trade that comes when its candle is closed
is counted as late and changes nothing: what a strategy has seen does not change behind its back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct

from claire.model.decisions import SetTimer
from claire.model.market import Candle, Timer, Trade

MINUTE_NS = 60_000_000_000
TIMER_PREFIX = "candle:"
"""A candle timer's id is this and the symbol."""


@dataclass(slots=True)
class OpenCandle:
    """The candle of one symbol that is still open, under the names that it will have when closed.

    With `trades` 0 all four prices are the last close. A dataclass, for it is written to at every trade, and CPython
    writes to slots faster than to a Struct (40 ns per trade).
    """

    symbol: str
    open_ns: int
    close_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int = 0
    trades: int = 0
    late: int = 0
    """Trades of this symbol, of the whole run, that came after their candle had closed."""

    def close(self, ts_event_ns: int) -> Candle:
        """Return this candle as it closes at `ts_event_ns`, and become the next one."""
        closed = Candle(
            symbol=self.symbol,
            open_ns=self.open_ns,
            close_ns=self.close_ns,
            open_ticks=self.open_ticks,
            high_ticks=self.high_ticks,
            low_ticks=self.low_ticks,
            close_ticks=self.close_ticks,
            volume_lots=self.volume_lots,
            trades=self.trades,
            empty=self.trades == 0,
            ts_event_ns=ts_event_ns,
        )
        self.open_ns, self.close_ns = self.close_ns, 2 * self.close_ns - self.open_ns
        self.open_ticks = self.high_ticks = self.low_ticks = self.close_ticks
        self.volume_lots = self.trades = 0
        return closed


class Candles(Struct):
    """The candles stage.

    Every candle, empty or not, asks for its timer once, when it opens; so a market that falls silent goes on giving empty
    candles, one per timer, at constant cost. A trade that jumps over intervals (no timer fired between) closes them all at
    once: one `Candle` each. How far time may jump is the pipeline's to say.

    Raises:
        ValueError: the interval is not positive, or the grace period negative.
    """

    interval_ns: int = MINUTE_NS
    grace_ns: int = 2_000_000_000
    """How long after its end a candle waits for trades that are on their way."""
    symbols: dict[str, OpenCandle] = {}
    late_before: dict[str, int] = {}
    """Trades that came late for candles which a restart has dropped, by symbol."""

    def __post_init__(self) -> None:
        """Refuse intervals that hold nothing."""
        if self.interval_ns <= 0 or self.grace_ns < 0:
            raise ValueError(
                f"candles need an interval above 0 ns and a grace period of 0 ns or more,"
                f" not {self.interval_ns} and {self.grace_ns}"
            )

    def on_trade(self, trade: Trade) -> Sequence[Candle | SetTimer]:
        """Take a trade into its candle; return what it closes, oldest first, and the next candle's timer.

        Raises:
            DataError: the trade lies more than `MAX_MISSED` intervals after the open candle.
        """
        try:
            candle = self.symbols[trade.symbol]
        except KeyError:
            return self._first(trade)
        ts_event_ns = trade.ts_event_ns
        caused: Sequence[Candle | SetTimer] = ()
        if ts_event_ns >= candle.close_ns:
            caused = self._close_up_to(candle, trade)
        elif ts_event_ns < candle.open_ns:
            candle.late += 1
            return ()
        price = trade.price_ticks
        if candle.trades == 0:
            candle.open_ticks = candle.high_ticks = candle.low_ticks = price
        elif price > candle.high_ticks:
            candle.high_ticks = price
        elif price < candle.low_ticks:
            candle.low_ticks = price
        candle.close_ticks = price
        candle.volume_lots += trade.quantity_lots
        candle.trades += 1
        return caused

    def on_timer(self, timer: Timer) -> Sequence[Candle | SetTimer]:
        """Close the candle that asked for `timer`, if it is still open; a timer of anything else does nothing."""
        candle = self.symbols.get(timer.id.removeprefix(TIMER_PREFIX)) if timer.id.startswith(TIMER_PREFIX) else None
        if candle is None or timer.due_ns != candle.close_ns + self.grace_ns:
            return ()
        return candle.close(timer.due_ns), self._timer(candle)

    def late(self, symbol: str) -> int:
        """Return how many trades of `symbol` came after their candle had closed."""
        candle = self.symbols.get(symbol)
        return self.late_before.get(symbol, 0) + (candle.late if candle else 0)

    def resumed(self, now_ns: int) -> None:
        """Drop the open candles that ended while nobody looked: they lack trades, and so would the empty ones after them."""
        for symbol, candle in list(self.symbols.items()):
            if candle.close_ns <= now_ns:
                self.late_before[symbol] = self.late(symbol)
                del self.symbols[symbol]

    def _first(self, trade: Trade) -> Sequence[Candle | SetTimer]:
        """Open a symbol's first candle with its first trade."""
        open_ns = trade.ts_event_ns // self.interval_ns * self.interval_ns
        price = trade.price_ticks
        candle = OpenCandle(
            trade.symbol, open_ns, open_ns + self.interval_ns, price, price, price, price, trade.quantity_lots, trades=1
        )
        self.symbols[trade.symbol] = candle
        return (self._timer(candle),)

    def _close_up_to(self, candle: OpenCandle, trade: Trade) -> Sequence[Candle | SetTimer]:
        """Close every candle that ended at or before the trade, the empty ones between included."""
        ts_event_ns = trade.ts_event_ns
        caused: list[Candle | SetTimer] = [candle.close(ts_event_ns)]
        while ts_event_ns >= candle.close_ns:
            caused.append(candle.close(ts_event_ns))
        caused.append(self._timer(candle))
        return caused

    def _timer(self, candle: OpenCandle) -> SetTimer:
        return SetTimer(candle.close_ns + self.grace_ns, TIMER_PREFIX + candle.symbol)
