"""A synthetic market: seeded, plausible, endless; the same for the same settings on every machine.

Every second the market draws: how many trades (self-exciting: trades breed trades), how far the price moves (volatility
clusters as in GARCH(1,1), plus jumps, plus moves that push one way for minutes), and a weak pull to the starting price.
Within the second trades spread evenly over random milliseconds along the line from the price before to the price after,
buys at the offer and sells at the bid. It is no model of any real market and proves nothing about profit.

Sources: A. Hawkes, Spectra of some self-exciting point processes, Biometrika 58 (1971); T. Bollerslev, Generalized
autoregressive conditional heteroskedasticity, J. of Econometrics 31 (1986).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from msgspec import Struct

from claire.adapters.marketdata.numbers import Ints
from claire.adapters.marketdata.raw import BUY, SELL
from claire.adapters.marketdata.recorded import BATCH, TradeColumns
from claire.adapters.marketdata.uniform import Floats, Uniform
from claire.engine.ports import SourceInfo
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.market import Depth, MarketEvent, TopOfBook

START_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01 00:00:00 UTC."""
BLOCK_S: Final = 2048
"""Seconds that are drawn at once."""
LEVELS: Final = 10
"""Levels on each side of a synthetic depth snapshot."""
_BREEDING: Final = 0.8
"""Trades that one trade causes, on average; 1 would explode."""
_MEMORY: Final = 0.9
"""Share of the excitement that is left after a second."""
_SECONDS_NS: Final = 1_000_000_000


class SynthSettings(Struct, frozen=True, kw_only=True):
    """What the market is like."""

    symbol: str = "BTCUSDT"
    seed: int = 1
    trades: int = 0
    """Stop after so many trades (0: after `duration_s`)."""
    duration_s: int = 0
    """Stop after so many seconds of market time (0: after `trades`)."""
    rate: float = 5.0
    """Trades per second, on average."""
    start_price: Decimal = Decimal(60000)
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.00001")
    min_notional: Decimal = Decimal(5)
    size_quote: Decimal = Decimal(500)
    """What an average trade is worth, in quote."""
    spread_bps: float = 1.0
    volatility_bps: float = 0.8
    """Standard deviation of a quiet second's return."""
    jumps_per_hour: float = 0.5
    jump_pct: float = 0.3
    """Mean size of a jump, either way."""
    moves_per_hour: float = 8.0
    move_pct: float = 0.8
    """Mean size of a move, spread over some minutes."""
    move_s: float = 120.0
    """Mean duration of a move."""
    drift_pct_per_hour: float = 0.0
    start_ns: int = START_NS
    book: str = "none"
    """``none``, ``top`` (best bid and offer every second) or ``depth`` (also ten levels every second)."""

    def __post_init__(self) -> None:
        """Refuse settings that make no market.

        Raises:
            ConfigError: a value is out of range.
        """
        checks = (
            ("seed", self.seed >= 0, "0 or more"),
            ("trades", self.trades >= 0, "0 or more"),
            ("duration_s", self.duration_s >= 0, "0 or more"),
            ("rate", 0 < self.rate <= 10_000, "above 0, up to 10000"),
            ("start_price", self.start_price > 0, "above 0"),
            ("size_quote", self.size_quote > 0, "above 0"),
            ("spread_bps", 0 <= self.spread_bps <= 500, "0 to 500"),
            ("volatility_bps", 0 <= self.volatility_bps <= 50, "0 to 50"),
            ("jumps_per_hour", 0 <= self.jumps_per_hour <= 3600, "0 to 3600"),
            ("jump_pct", 0 <= self.jump_pct <= 5, "0 to 5"),
            ("moves_per_hour", 0 <= self.moves_per_hour <= 3600, "0 to 3600"),
            ("move_pct", 0 <= self.move_pct <= 5, "0 to 5"),
            ("move_s", 1 <= self.move_s <= 86_400, "1 to 86400"),
            ("drift_pct_per_hour", -5 <= self.drift_pct_per_hour <= 5, "-5 to 5"),
            ("start_ns", self.start_ns > 0, "above 0"),
            ("book", self.book in ("none", "top", "depth"), "none, top or depth"),
        )
        for name, fine, allowed in checks:
            if not fine:
                raise ConfigError(f"synth.{name} = {getattr(self, name)} is out of range; it must be {allowed}")
        if not self.trades and not self.duration_s:
            raise ConfigError("a synthetic market needs an end: give synth.trades or synth.duration_s")
        if self.start_price < 100 * self.tick:
            raise ConfigError(
                f"synth.start_price = {self.start_price} is less than 100 ticks of {self.tick}; choose a finer tick"
            )


@dataclass(slots=True)
class _State:
    """What the market remembers from second to second."""

    price: float
    variance: float
    excitement: float = 0.0
    move_left_s: int = 0
    move_per_s: float = 0.0


class SyntheticMarket:
    """A `MarketSource` that makes its trades while it is read, block by block."""

    def __init__(self, settings: SynthSettings) -> None:
        """Prepare the market; nothing is drawn yet."""
        self.settings = settings
        self._instrument = Instrument.checked(
            settings.symbol,
            settings.tick,
            settings.lot,
            min_notional=settings.min_notional,
            venue="synthetic",
            source="built-in",
        )
        self.instruments = {settings.symbol: self._instrument}
        self._info: SourceInfo | None = None

    @property
    def info(self) -> SourceInfo:
        """What the market is and how to make it again; the first time it is drawn once through, to count."""
        if self._info is None:
            rows, first_ns, last_ns = 0, 0, 0
            for block in self.blocks():
                first_ns = first_ns or int(block.trades.ts_ns[0])
                last_ns = int(block.trades.ts_ns[-1])
                rows += len(block.trades) + len(block.top_ns) * (2 if self.settings.book == "depth" else 1)
                if len(block.top_ns):
                    first_ns, last_ns = min(first_ns, int(block.top_ns[0])), max(last_ns, int(block.top_ns[-1]))
            settings = {name: str(getattr(self.settings, name)) for name in self.settings.__struct_fields__}
            self._info = SourceInfo(
                kind="synthetic",
                symbols=(self.settings.symbol,),
                rows=rows,
                first_ns=first_ns,
                last_ns=last_ns,
                venue="synthetic",
                parameters=settings,
                has_book=self.settings.book != "none",
                synthetic_trades=True,
                warnings=("STUB: this market is synthetic; results say nothing about a real one",),
            )
        return self._info

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the events in order, some thousands at a time."""
        for block in self.blocks():
            if self.settings.book == "none":
                for start in range(0, len(block.trades), BATCH):
                    yield block.trades.events(start, start + BATCH)
            else:
                yield from self._with_book(block)

    def blocks(self) -> Iterator["Block"]:
        """Draw the market block by block as columns."""
        settings = self.settings
        draws = _Draws(settings.seed)
        state = _State(float(settings.start_price), (settings.volatility_bps / 1e4) ** 2)
        left, second = settings.trades or 2**62, 0
        last = settings.duration_s or 2**62
        while left > 0 and second < last:
            seconds = min(BLOCK_S, last - second)
            counts, prices = _walk(settings, state, draws, seconds)
            block = self._expand(draws, counts[:seconds], prices[: seconds + 1], second)
            second += seconds
            if len(block.trades) > left:
                block = block.cut(left)
            left -= len(block.trades)
            if len(block.trades):
                yield block

    def _expand(self, draws: "_Draws", counts: Ints, prices: Floats, second: int) -> "Block":
        """Spread a block's trades over its seconds and give each price, size and side."""
        settings, total = self.settings, int(counts.sum())
        which = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        offset_ms = (draws.times.uniform(total) * 1000.0).astype(np.int64)
        when_ms = np.sort(which * 1000 + offset_ms)
        ts_ns = settings.start_ns + second * _SECONDS_NS + when_ms * 1_000_000
        fraction = (when_ms - which * 1000) / 1000.0
        mid = prices[which] + (prices[which + 1] - prices[which]) * fraction
        push = np.clip((prices[which + 1] / prices[which] - 1.0) * 500.0, -0.35, 0.35)
        is_buy = draws.sides.uniform(total) < 0.5 + push
        tick, half = float(settings.tick), settings.spread_bps / 2e4
        side = np.where(is_buy, BUY, SELL).astype(np.int8)
        quote = np.where(is_buy, mid * (1.0 + half), mid * (1.0 - half)) / tick
        ticks = np.maximum(np.where(is_buy, np.ceil(quote), np.floor(quote)).astype(np.int64), 1)
        worth = draws.sizes.exponential(total)
        lots = (worth * worth * (float(settings.size_quote) / 2.0) / (mid * float(settings.lot))).astype(np.int64) + 1
        trades = TradeColumns((settings.symbol,), None, ts_ns, ticks, lots, side)
        if settings.book == "none":
            return Block(trades, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        grid = prices[:-1]
        bid = np.maximum(np.floor(grid * (1.0 - half) / tick).astype(np.int64), 1)
        ask = np.maximum(np.ceil(grid * (1.0 + half) / tick).astype(np.int64), bid + 1)
        top_ns = settings.start_ns + (second + np.arange(len(grid), dtype=np.int64)) * _SECONDS_NS
        return Block(trades, top_ns, bid, ask)

    def _with_book(self, block: "Block") -> Iterator[Sequence[MarketEvent]]:
        """Merge the book of every full second before the trades of that second."""
        symbol, deep = self.settings.symbol, self.settings.book == "depth"
        unit = max(int(self.settings.size_quote / (self.settings.start_price * self.settings.lot)), 1)
        edges = np.searchsorted(block.trades.ts_ns, block.top_ns, side="left").tolist()
        batch: list[MarketEvent] = list(block.trades.events(0, edges[0])) if edges else []
        rows = zip(
            block.top_ns.tolist(),
            block.bid.tolist(),
            block.ask.tolist(),
            edges,
            [*edges[1:], len(block.trades)],
            strict=True,
        )
        for ts_ns, bid, ask, start, stop in rows:
            if deep:
                bids = tuple((bid - k, unit * (k + 1)) for k in range(min(LEVELS, bid)))
                asks = tuple((ask + k, unit * (k + 1)) for k in range(LEVELS))
                batch.append(Depth(symbol, ts_ns, bids, asks, snapshot=True))
            batch.append(TopOfBook(symbol, ts_ns, bid, unit, ask, unit))
            batch.extend(block.trades.events(start, stop))
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


@dataclass(slots=True)
class Block:
    """Some seconds of the market: trades, and best bid and offer at the start of each second."""

    trades: TradeColumns
    top_ns: Ints
    bid: Ints
    ask: Ints

    def cut(self, trades: int) -> "Block":
        """Return the block up to its given number of trades."""
        kept = self.trades.take(slice(0, trades))
        count = int(np.searchsorted(self.top_ns, kept.ts_ns[-1], side="right"))
        return Block(kept, self.top_ns[:count], self.bid[:count], self.ask[:count])


class _Draws:
    """One stream of random numbers for each thing that is drawn, so that a setting changes only what it is about."""

    def __init__(self, seed: int) -> None:
        self.counts, self.returns, self.jumps, self.moves, self.times, self.sides, self.sizes = (
            Uniform(seed, stream) for stream in range(7)
        )


def _walk(settings: SynthSettings, state: _State, draws: _Draws, seconds: int) -> tuple[Ints, Floats]:
    """Draw how many trades each second has and where the price stands at its end (the first price is that before)."""
    # Always a whole block is drawn, so that the end of a market does not change what came before it.
    activity = draws.counts.exponential(BLOCK_S).tolist()
    rounding = draws.counts.uniform(BLOCK_S).tolist()
    shocks = draws.returns.normal(BLOCK_S).tolist()
    jumps = _jumps(settings, draws).tolist()
    starts = (draws.moves.uniform(BLOCK_S) < settings.moves_per_hour / 3600.0).tolist()
    lengths = (
        (draws.moves.exponential(BLOCK_S) * settings.move_s * 0.5 + settings.move_s * 0.5).astype(np.int64).tolist()
    )
    sizes = ((draws.moves.uniform(BLOCK_S) + 0.5) * settings.move_pct / 100.0).tolist()
    upwards = (draws.moves.uniform(BLOCK_S) < 0.5).tolist()

    quiet = (settings.volatility_bps / 1e4) ** 2
    base = settings.rate * (1.0 - _BREEDING)
    breed = _BREEDING * (1.0 - _MEMORY)
    drift = settings.drift_pct_per_hour / 360_000.0
    anchor = float(settings.start_price)
    floor, ceiling = anchor / 20.0, anchor * 20.0
    price, variance, excitement = state.price, state.variance, state.excitement
    left, per_s = state.move_left_s, state.move_per_s
    counts, prices = [0] * seconds, [price] * (seconds + 1)
    for k in range(seconds):
        if left == 0 and starts[k]:
            left = max(lengths[k], 1)
            per_s = sizes[k] / left if upwards[k] else -sizes[k] / left
        change = shocks[k] * variance**0.5
        variance = 0.05 * quiet + 0.85 * variance + 0.10 * min(change * change, 100.0 * quiet)
        change += jumps[k] + drift - 2e-6 * (price / anchor - 1.0)
        if left:
            change += per_s
            left -= 1
        price = min(max(price * (1.0 + change), floor), ceiling)
        intensity = base + excitement
        count = int(intensity * (0.25 + 0.75 * activity[k]) + rounding[k])
        excitement = excitement * _MEMORY + breed * count
        counts[k], prices[k + 1] = count, price
    state.price, state.variance, state.excitement = price, variance, excitement
    state.move_left_s, state.move_per_s = left, per_s
    return np.array(counts, dtype=np.int64), np.array(prices)


def _jumps(settings: SynthSettings, draws: _Draws) -> Floats:
    happens = draws.jumps.uniform(BLOCK_S) < settings.jumps_per_hour / 3600.0
    size = (draws.jumps.uniform(BLOCK_S) + 0.5) * settings.jump_pct / 100.0
    sign = np.where(draws.jumps.uniform(BLOCK_S) < 0.5, -1.0, 1.0)
    return np.asarray(np.where(happens, size * sign, 0.0), dtype=np.float64)
