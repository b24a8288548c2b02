"""What a market has traded: the latest trades, minute candles, longer candles made of them, the last 24 hours.

Before the simulator began there was a market too: `Past` makes candles and trades of the days before, the same ones for the
same seed, when somebody asks for them.
"""

import datetime
import random
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec import Struct

from claire.mexcsim.orders import PublicTrade
from claire.mexcsim.symbols import SymbolRule
from claire.model.market import Side

MINUTE_MS = 60_000
DAY_MS = 86_400_000
KEPT_TRADES = 10_000
KEPT_MINUTES = 20_000
QUIET_BPS = 8.0
"""Standard deviation of the price over one minute of the past, unless told otherwise."""

INTERVALS_MS = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "60m": 60 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "1d": DAY_MS,
    "1W": 7 * DAY_MS,
    "1M": 30 * DAY_MS,
}
"""REST's intervals; weeks begin on Monday, months with the calendar (UTC)."""

STREAM_INTERVALS = {
    "Min1": "1m",
    "Min5": "5m",
    "Min15": "15m",
    "Min30": "30m",
    "Min60": "60m",
    "Hour4": "4h",
    "Hour8": "8h",
    "Day1": "1d",
    "Week1": "1W",
    "Month1": "1M",
}
"""The stream's names, and the same interval in REST's manner; eight hours exist on the stream only."""

MONDAY_MS = 4 * DAY_MS
"""1970-01-05, the first Monday of the epoch."""


class Bar(Struct, gc=False):
    """One candle: prices in ticks, volume in lots, turnover in quote units; it ends where the next window begins."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int
    quote_units: int


def window_of(at_ms: int, interval: str) -> tuple[int, int]:
    """The window (start, end) of an interval that a time falls in, in ms."""
    if interval == "1M":
        day = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        following = (day + datetime.timedelta(days=32)).replace(day=1)
        return int(day.timestamp()) * 1000, int(following.timestamp()) * 1000
    length = 8 * 60 * MINUTE_MS if interval == "8h" else INTERVALS_MS[interval]
    offset = MONDAY_MS if interval == "1W" else 0
    start = (at_ms - offset) // length * length + offset
    return start, start + length


def merged(minutes: Iterable[Bar], interval: str) -> Iterator[tuple[Bar, int]]:
    """Make longer candles of minutes that come in order; yield each with its end in ms."""
    bar: Bar | None = None
    end = 0
    for minute in minutes:
        if bar is not None and minute.start_ms < end:
            bar.high = max(bar.high, minute.high)
            bar.low = min(bar.low, minute.low)
            bar.close = minute.close
            bar.lots += minute.lots
            bar.quote_units += minute.quote_units
            continue
        if bar is not None:
            yield bar, end
        start, end = window_of(minute.start_ms, interval)
        bar = Bar(start, minute.open, minute.high, minute.low, minute.close, minute.lots, minute.quote_units)
    if bar is not None:
        yield bar, end


class Past:
    """The minutes before the simulator began: a seeded walk back from the price it began with, made as far as it is asked for."""

    def __init__(
        self, rule: SymbolRule, seed: int, minutes: int, ends_ms: int, volatility_bps: float = QUIET_BPS
    ) -> None:
        self.rule = rule
        self.ends_ms = ends_ms // MINUTE_MS * MINUTE_MS
        self.begins_ms = self.ends_ms - minutes * MINUTE_MS
        self._rng = random.Random(f"{seed}:{rule.symbol}:past")
        self._price = float(rule.ticks_near(rule.start_price))
        self._deviation = volatility_bps / 10_000
        self._wick = 0.375 * volatility_bps / 10_000
        # about 500 quote a minute, in lots that four trades share
        self._typical_lots = max(4.0, 500 * 10**18 / max(1.0, self._price * rule.unit_value))
        self._latest_first: list[Bar] = []

    def bars(self, since_ms: int = 0) -> list[Bar]:
        """The minutes that begin at or after a time, oldest first."""
        made = self._latest_first
        start = made[-1].start_ms if made else self.ends_ms
        while start - MINUTE_MS >= max(since_ms, self.begins_ms):
            start -= MINUTE_MS
            made.append(self._before(start))
        count = min(len(made), max(0, (self.ends_ms - since_ms) // MINUTE_MS))
        return made[:count][::-1]

    def trades(self, start_ms: int, end_ms: int) -> Iterator[PublicTrade]:
        """Four trades a minute in [start, end], oldest first: open, the two extremes, close."""
        for bar in self.bars(start_ms - MINUTE_MS):
            extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
            before = bar.open
            for quarter, price in enumerate((bar.open, *extremes, bar.close)):
                at_ms = bar.start_ms + 15_000 * quarter
                if at_ms > end_ms:
                    return
                side = Side.BUY if price >= before else Side.SELL
                before = price
                if start_ms <= at_ms:
                    yield PublicTrade(self.rule.symbol, price, bar.lots // 4, side, at_ms, "")

    def _before(self, start_ms: int) -> Bar:
        """One minute more; it closes where the later one opened."""
        rng, closed = self._rng, self._price
        self._price = opened = max(1.0, closed * (1 + rng.gauss(0, self._deviation)))
        high = int(max(closed, opened) * (1 + abs(rng.gauss(0, self._wick))))
        low = max(1, int(min(closed, opened) * (1 - abs(rng.gauss(0, self._wick)))))
        lots = max(1, int(self._typical_lots * rng.lognormvariate(0, 0.8)) // 4) * 4
        first, last = max(1, int(opened)), max(1, int(closed))
        worth = (first + high + low + last) * (lots // 4) * self.rule.unit_value
        return Bar(start_ms, first, high, low, last, lots, worth)


class DayStats(Struct, frozen=True):
    """The last 24 hours of a symbol, in ticks, lots and quote units."""

    open: int
    high: int
    low: int
    close: int
    lots: int
    quote_units: int
    open_ms: int
    close_ms: int


class Tape:
    """The trades of one symbol and what follows from them."""

    def __init__(self, rule: SymbolRule, past: Past) -> None:
        self.past = past
        self._unit_value = rule.unit_value
        self.trades: deque[PublicTrade] = deque(maxlen=KEPT_TRADES)
        self.minutes: deque[Bar] = deque(maxlen=KEPT_MINUTES)
        self.last_price = rule.ticks_near(rule.start_price)
        self.count = 0
        self._closed_day: tuple[int, DayStats] | None = None

    def add(self, trade: PublicTrade) -> None:
        """Note a trade. Its time may not fall."""
        self.trades.append(trade)
        self.count += 1
        self.last_price = price = trade.price
        worth = price * trade.lots * self._unit_value
        start = trade.at_ms - trade.at_ms % MINUTE_MS
        bar = self.minutes[-1] if self.minutes else None
        if bar is None or bar.start_ms != start:
            self.minutes.append(Bar(start, price, price, price, price, trade.lots, worth))
            return
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.close = price
        bar.lots += trade.lots
        bar.quote_units += worth

    def all_minutes(self, start_ms: int = 0) -> Iterator[Bar]:
        """Every minute from a time on, the invented past included, oldest first."""
        live_from = self.minutes[0].start_ms if self.minutes else self.past.ends_ms
        past = self.past.bars(start_ms) if start_ms < live_from else ()
        return chain(
            (bar for bar in past if bar.start_ms < live_from), (bar for bar in self.minutes if bar.start_ms >= start_ms)
        )

    def bars(self, interval: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[tuple[Bar, int]]:
        """Candles of an interval with their ends: the first `limit` from a start on, else the latest ones."""
        floor = 0 if start_ms is None else start_ms
        found = [
            (bar, end)
            for bar, end in merged(self.all_minutes(floor), interval)
            if bar.start_ms >= floor and (end_ms is None or bar.start_ms <= end_ms)
        ]
        return found[:limit] if start_ms is not None else found[-limit:]

    def current(self, interval: str, now_ms: int) -> tuple[Bar, int] | None:
        """The window that is open now, with its end; None before its first trade."""
        start, _ = window_of(now_ms, interval)
        if not self.minutes or self.minutes[-1].start_ms < start:
            return None
        recent = []
        for bar in reversed(self.minutes):
            if bar.start_ms < start:
                break
            recent.append(bar)
        if self.minutes[0].start_ms > start:  # the window began before the simulator did
            return list(merged(self.all_minutes(start), interval))[-1]
        return next(merged(reversed(recent), interval))

    def day(self, now_ms: int) -> DayStats:
        """The last 24 hours; the closed minutes of it are summed once a minute."""
        minute = now_ms // MINUTE_MS * MINUTE_MS
        if self._closed_day is None or self._closed_day[0] != minute:
            bars = [bar for bar in self.all_minutes(minute - DAY_MS) if bar.start_ms < minute]
            self._closed_day = minute, _sum(bars, self.last_price, minute - DAY_MS, minute)
        closed = self._closed_day[1]
        bar = self.minutes[-1] if self.minutes else None
        if bar is None or bar.start_ms < minute:
            return closed
        return DayStats(
            open=closed.open,
            high=max(closed.high, bar.high),
            low=min(closed.low, bar.low),
            close=bar.close,
            lots=closed.lots + bar.lots,
            quote_units=closed.quote_units + bar.quote_units,
            open_ms=closed.open_ms,
            close_ms=now_ms,
        )


def _sum(bars: list[Bar], last: int, open_ms: int, close_ms: int) -> DayStats:
    if not bars:
        return DayStats(last, last, last, last, 0, 0, open_ms, close_ms)
    return DayStats(
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        lots=sum(bar.lots for bar in bars),
        quote_units=sum(bar.quote_units for bar in bars),
        open_ms=open_ms,
        close_ms=close_ms,
    )
