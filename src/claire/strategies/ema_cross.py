"""EMA cross: long while the fast exponential average of candle closes is above the slow one.

It decides on closed candles and acts at the trade that follows (the one that closed the candle, if a trade did).
"""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from claire.indicators import Ema
from claire.model.instrument import Instrument
from claire.model.market import Candle, Trade
from claire.strategies.base import Opinion, Strategy, StrategyParams

Period = Annotated[int, Meta(ge=1, le=10_000)]


class EmaCrossParams(StrategyParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `EmaCross`, beside the exits of every strategy."""

    fast: Period = 12
    """Candles of the fast average."""
    slow: Period = 26
    """Candles of the slow average; more than `fast`."""

    def __post_init__(self) -> None:
        """Refuse averages in the wrong order."""
        if self.fast >= self.slow:
            raise ValueError(f"fast = {self.fast} must be less than slow = {self.slow}")


class EmaCross(Strategy):
    """Enter at a cross up, leave at a cross down."""

    Params: ClassVar[type[StrategyParams]] = EmaCrossParams
    wants_candles: ClassVar[bool] = True

    def __init__(self, params: Any, instrument: Instrument) -> None:
        """Start with two empty averages."""
        super().__init__(params, instrument)
        self._fast = Ema(params.fast)
        self._slow = Ema(params.slow)
        self._opinion = Opinion.WARMING_UP

    def on_candle(self, candle: Candle) -> None:
        """Move both averages by one close. Empty candles repeat the last close and move them too."""
        close = float(candle.close_ticks)
        self._fast.update(close)
        self._slow.update(close)
        if self._slow.ready:
            self._opinion = Opinion.ENTER if self._fast.value > self._slow.value else Opinion.EXIT

    def on_trade(self, trade: Trade) -> Opinion:
        """Say what the last closed candle said."""
        return self._opinion

    @property
    def memory_s(self) -> float:
        """The span of the slow average."""
        return 60.0 * float(self.params.slow)
