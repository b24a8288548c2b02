"""The interface of a strategy, and the exits that all strategies share.

A strategy says, at each trade of its symbol, what it thinks (`Opinion`). It never sees money, sizes, orders or the
portfolio. The signal stage does the rest: one signal at a time, stop, target and time exits, waiting after a refusal.
"""

from enum import Enum
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from claire.model.instrument import Instrument
from claire.model.market import Candle, Trade

Percent = Annotated[float, Meta(ge=0, lt=100)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class Opinion(Enum):
    """What a strategy thinks at one trade. The value is the reason under which a non-signal is counted."""

    WARMING_UP = "warming_up"
    """Not enough seen yet."""
    NO_ENTRY = "below_threshold"
    """The entry condition is false; a strategy that waits after a refusal is armed again by this."""
    THIN = "volume"
    """The entry condition holds, but too little was traded."""
    ENTER = "enter"
    EXIT = "exit"
    """Leave now, if in a position; when flat it counts as no entry."""


class StrategyParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exits that every strategy has. 0 switches one off.

    Levels follow from the average entry price without fees, exactly, and are rounded to a tick
    (the stop down, the target up).
    """

    stop_loss_pct: Percent = 2.0
    take_profit_pct: Annotated[float, Meta(ge=0, le=10_000)] = 4.0
    max_hold_s: Seconds = 14_400.0
    """Seconds since the first entry fill."""


class Strategy:
    """Base of all strategies: one instance per strategy id and symbol."""

    Params: ClassVar[type[StrategyParams]] = StrategyParams
    """The parameters it takes; a subclass of `StrategyParams`."""
    wants_candles: ClassVar[bool] = False
    """Whether `on_candle` is called with each closed candle of its symbol."""

    def __init__(self, params: Any, instrument: Instrument) -> None:
        """Keep the parameters and the symbol's rules. Override to set up state; call `super().__init__` first."""
        self.params = params
        self.instrument = instrument

    def on_trade(self, trade: Trade) -> Opinion:
        """Look at one trade and say what to do. Prices are whole ticks."""
        raise TypeError(f"{type(self).__name__} does not say what it thinks: define on_trade(self, trade) -> Opinion")

    def on_candle(self, candle: Candle) -> None:
        """Look at one closed candle. It comes before the trade that closed it."""

    @property
    def memory_s(self) -> float:
        """How far back an opinion rests on trades, in seconds: so long after a gap in the feed it starts nothing."""
        return 0.0

    @property
    def pct_change(self) -> float | None:
        """Percent move that the last opinion rests on, if the strategy has such a number."""
        return None

    @property
    def strength(self) -> float:
        """How strong an entry is, 0–1."""
        return 1.0
