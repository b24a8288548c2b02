"""Regime: tells trending, ranging and chaotic markets apart, from closed candles.

Input: `Candle`. Output: `RegimeChanged`, only when the regime really changed.
Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978 (ADX, ATR).

Empty candles count like any other: a silent minute is a minute without movement, and that is what they say.
"""

from collections.abc import Sequence

from msgspec import Struct

from claire.indicators import Adx, Atr
from claire.model.decisions import Regime, RegimeChanged
from claire.model.errors import ConfigError
from claire.model.market import Candle


class RegimeRules(Struct, frozen=True):
    """Where the borders between the regimes lie, and how sure one has to be.

    Raises:
        ConfigError: a border, period or count cannot work.
    """

    high_vol_atr_pct: float = 1.5
    """HIGH_VOL_CHAOTIC from this ATR on, in percent of the close."""
    trend_adx: float = 25.0
    """TREND from this ADX on."""
    range_adx: float = 20.0
    """RANGE below this ADX; between the two the regime stays what it is."""
    confirmations: int = 3
    """Candles in a row that must say the same before the regime changes."""
    warm_up_candles: int = 28
    """UNKNOWN until so many candles have closed."""
    adx_period: int = 14
    atr_period: int = 14

    def __post_init__(self) -> None:
        """Name the first rule that cannot work."""
        if not self.high_vol_atr_pct > 0:
            raise ConfigError(f"regime.high_vol_atr_pct = {self.high_vol_atr_pct}: must be above 0 (usual: 1.5)")
        if not 0 <= self.range_adx <= self.trend_adx <= 100:
            raise ConfigError(
                f"regime.range_adx = {self.range_adx} and regime.trend_adx = {self.trend_adx}:"
                " must be 0 ≤ range_adx ≤ trend_adx ≤ 100 (usual: 20 and 25)"
            )
        if self.confirmations < 1:
            raise ConfigError(f"regime.confirmations = {self.confirmations}: must be 1 or more (usual: 3)")
        if self.adx_period < 2 or self.atr_period < 1:
            raise ConfigError(
                f"regime.adx_period = {self.adx_period} and regime.atr_period = {self.atr_period}:"
                " must be at least 2 and 1 (usual: 14 and 14)"
            )


class RegimeState(Struct):
    """What the stage remembers about one symbol."""

    adx: Adx
    atr: Atr
    candles: int = 0
    """Closed candles seen."""
    close_ns: int = 0
    """End of the latest one."""
    regime: Regime = Regime.UNKNOWN
    candidate: Regime | None = None
    """What the latest candles vote for, when that is not `regime`."""
    confirmed: int = 0
    """Candles in a row that voted for `candidate`."""


class Regimes(Struct):
    """The regime stage."""

    rules: RegimeRules = RegimeRules()
    symbols: dict[str, RegimeState] = {}

    def on_candle(self, candle: Candle) -> Sequence[RegimeChanged]:
        """Feed one closed candle; return a `RegimeChanged` after `rules.confirmations` equal votes.

        A candle that is not newer than the last one was seen already: history overlaps after a restart.
        """
        rules = self.rules
        state = self.symbols.get(candle.symbol)
        if state is None:
            state = self.symbols[candle.symbol] = RegimeState(Adx(rules.adx_period), Atr(rules.atr_period))
        if candle.close_ns <= state.close_ns:
            return ()
        state.close_ns = candle.close_ns
        # In ticks: ADX has no unit, and in ATR / close the tick cancels.
        adx = state.adx.update(candle.high_ticks, candle.low_ticks, candle.close_ticks)
        atr_pct = state.atr.update(candle.high_ticks, candle.low_ticks, candle.close_ticks) / candle.close_ticks * 100
        state.candles += 1
        if state.candles < rules.warm_up_candles or not (state.adx.ready and state.atr.ready):
            return ()
        vote = classify(adx, atr_pct, rules, otherwise=state.regime)
        if vote is state.regime:
            state.candidate, state.confirmed = None, 0
            return ()
        state.confirmed = state.confirmed + 1 if vote is state.candidate else 1
        state.candidate = vote
        if state.confirmed < rules.confirmations:
            return ()
        before, state.regime = state.regime, vote
        state.candidate, state.confirmed = None, 0
        return (RegimeChanged(candle.symbol, before, vote, adx, atr_pct, candle.ts_event_ns),)

    def regime(self, symbol: str) -> Regime:
        """Return the regime that `symbol` is in now."""
        state = self.symbols.get(symbol)
        return state.regime if state else Regime.UNKNOWN


def classify(adx: float, atr_pct: float, rules: RegimeRules, *, otherwise: Regime) -> Regime:
    """Return what one candle says: how violent comes before how directed. Between the ADX borders it says `otherwise`."""
    if atr_pct >= rules.high_vol_atr_pct:
        return Regime.HIGH_VOL_CHAOTIC
    if adx >= rules.trend_adx:
        return Regime.TREND
    if adx < rules.range_adx:
        return Regime.RANGE
    return otherwise
