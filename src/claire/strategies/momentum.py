"""Momentum: buy when the price rose by `threshold_pct` over `lookback_s`.

At a trade (t, p) the reference is the latest trade with time ≤ t − lookback_s (with `lookback_s = 0`: the trade
before this one). `pct_change = (p / reference − 1) · 100` in float64, in this order; it is undefined until there is a
reference. A trade that came with a `pct_change` is judged by that one.
"""

from collections import deque
from fractions import Fraction
from math import ceil
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from claire.model.instrument import Instrument
from claire.model.market import Trade
from claire.model.money import ONE
from claire.strategies.base import Opinion, Seconds, Strategy, StrategyParams

WARMING_UP, NO_ENTRY, THIN, ENTER = Opinion.WARMING_UP, Opinion.NO_ENTRY, Opinion.THIN, Opinion.ENTER


class MomentumParams(StrategyParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `Momentum`, beside the exits of every strategy."""

    lookback_s: Seconds = 900.0
    """How far back the reference trade lies, in seconds."""
    threshold_pct: Annotated[float, Meta(gt=0, le=10_000)] = 3.0
    """Rise over the lookback that is an entry, in percent."""
    min_volume_quote: Annotated[float, Meta(ge=0)] = 0.0
    """Quote volume that must have been traded within the lookback, this trade included (0: off)."""


class Momentum(Strategy):
    """Momentum over a time window: amortised constant work per trade, memory of one window."""

    Params: ClassVar[type[StrategyParams]] = MomentumParams

    def __init__(self, params: Any, instrument: Instrument) -> None:
        """Start with an empty window."""
        super().__init__(params, instrument)
        self._lookback_ns = round(params.lookback_s * 1_000_000_000)
        self._threshold_pct = params.threshold_pct
        self._min_volume = ceil(Fraction(repr(params.min_volume_quote)) * ONE / instrument.unit_value)
        """In ticks × lots, rounded up."""
        self._times: deque[int] = deque()
        self._prices: deque[int] = deque()
        self._volumes: deque[int] = deque()
        self._reference_ticks = 0
        self._volume = 0
        self._pct_change: float | None = None

    def on_trade(self, trade: Trade) -> Opinion:
        """Compare this trade with the reference; remember it for the trades to come."""
        t = trade.ts_event_ns
        price = trade.price_ticks
        times, prices = self._times, self._prices
        start = t - self._lookback_ns
        while times and times[0] <= start:
            times.popleft()
            self._reference_ticks = prices.popleft()
            if self._min_volume:
                self._volume -= self._volumes.popleft()
        times.append(t)
        prices.append(price)
        if self._min_volume:
            self._volumes.append(price * trade.quantity_lots)
            self._volume += price * trade.quantity_lots
        pct_change = trade.pct_change
        if pct_change is None:
            if not self._reference_ticks:
                self._pct_change = None
                return WARMING_UP
            pct_change = (price / self._reference_ticks - 1.0) * 100.0
        self._pct_change = pct_change
        if not pct_change >= self._threshold_pct:
            return NO_ENTRY
        return THIN if self._volume < self._min_volume else ENTER

    @property
    def memory_s(self) -> float:
        """The lookback."""
        return float(self.params.lookback_s)

    @property
    def pct_change(self) -> float | None:
        """Percent move from the reference to the last trade."""
        return self._pct_change
