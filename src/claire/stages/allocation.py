"""Allocation: how much of the ordinary entry size a symbol may take in the regime it is in.

Input: `RegimeChanged`, and the `Timer`s asked for here. Output: `AllocationDecision`, only when the fraction changes, and
`SetTimer`.

The fraction multiplies the size of entries; exits never ask for it. After chaos comes a cool-down: the fraction stays 0
for so many hours of data time, whatever the regime says meanwhile, and then becomes what the regime of that moment allows.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from claire.model.decisions import AllocationDecision, Regime, RegimeChanged, SetTimer
from claire.model.errors import ConfigError
from claire.model.market import Timer

HOUR_NS = 3_600_000_000_000
TIMER_PREFIX = "allocation:"
"""A cool-down timer's id is this and the symbol."""


class AllocationMode(StrEnum):
    """Whether the regime has a say."""

    FULL = "full"
    REGIME = "regime"


class AllocationRules(Struct, frozen=True):
    """The fraction of each regime, 0–1, and the length of the cool-down.

    Raises:
        ConfigError: a fraction is not between 0 and 1, or the cool-down is negative.
    """

    mode: AllocationMode = AllocationMode.REGIME
    """``full``: 1 always, in every regime."""
    trend: Decimal = Decimal(1)
    range: Decimal = Decimal("0.5")
    high_vol_chaotic: Decimal = Decimal(0)
    unknown: Decimal = Decimal(0)
    """Where money can move: nobody has seen this market yet, so nothing is risked in it."""
    unknown_without_money: Decimal = Decimal("0.25")
    """Where no money can move: enough to see a strategy act during the warm-up."""
    money_can_move: bool = False
    cooldown_h: Decimal = Decimal(72)
    """Hours of data time that the fraction stays 0 after HIGH_VOL_CHAOTIC cut it to 0; 0: none."""

    def __post_init__(self) -> None:
        """Name the first rule that cannot work."""
        for name in ("trend", "range", "high_vol_chaotic", "unknown", "unknown_without_money"):
            fraction: Decimal = getattr(self, name)
            if not fraction.is_finite() or not 0 <= fraction <= 1:
                raise ConfigError(f"allocation.{name} = {fraction}: a fraction lies between 0 and 1")
        if not self.cooldown_h.is_finite() or self.cooldown_h < 0:
            raise ConfigError(f"allocation.cooldown_h = {self.cooldown_h}: must be 0 or more hours (usual: 72)")

    @property
    def cooldown_ns(self) -> int:
        """The cool-down in nanoseconds of data time."""
        return int(self.cooldown_h * HOUR_NS)

    def fraction(self, regime: Regime) -> Decimal:
        """Return what a regime allows where no cool-down runs."""
        if self.mode is AllocationMode.FULL:
            return Decimal(1)
        match regime:
            case Regime.TREND:
                return self.trend
            case Regime.RANGE:
                return self.range
            case Regime.HIGH_VOL_CHAOTIC:
                return self.high_vol_chaotic
            case Regime.UNKNOWN:
                return self.unknown if self.money_can_move else self.unknown_without_money


class AllocationState(Struct):
    """What the stage remembers about one symbol."""

    fraction: Decimal
    regime: Regime = Regime.UNKNOWN
    cooldown_until_ns: int = 0
    """When the running cool-down ends; 0: none runs."""


class Allocations(Struct):
    """The allocation stage."""

    rules: AllocationRules = AllocationRules()
    symbols: dict[str, AllocationState] = {}

    def initial(self, symbol: str) -> Decimal:
        """Return the fraction that `symbol` has before anything is decided about it."""
        return self.rules.fraction(Regime.UNKNOWN)

    def fraction(self, symbol: str) -> Decimal:
        """Return the fraction that `symbol` has now."""
        state = self.symbols.get(symbol)
        return state.fraction if state else self.initial(symbol)

    def on_regime(self, change: RegimeChanged) -> Sequence[AllocationDecision | SetTimer]:
        """Take in a new regime; return the fraction if it changes it, and the timer of a cool-down that it starts.

        HIGH_VOL_CHAOTIC starts the cool-down anew each time it comes.
        """
        state = self.symbols.get(change.symbol)
        if state is None:
            state = self.symbols[change.symbol] = AllocationState(self.initial(change.symbol))
        state.regime = change.after
        allowed = self.rules.fraction(change.after)
        if change.after is Regime.HIGH_VOL_CHAOTIC and allowed == 0 and self.rules.cooldown_ns > 0:
            state.cooldown_until_ns = change.ts_event_ns + self.rules.cooldown_ns
            timer = SetTimer(state.cooldown_until_ns, TIMER_PREFIX + change.symbol)
            return *_decide(change.symbol, state, allowed, change.after, change.ts_event_ns), timer
        if state.cooldown_until_ns:
            return ()
        return _decide(change.symbol, state, allowed, change.after, change.ts_event_ns)

    def on_timer(self, timer: Timer) -> Sequence[AllocationDecision]:
        """End the cool-down that asked for `timer`, if it still runs; a timer of anything else does nothing."""
        symbol = timer.id.removeprefix(TIMER_PREFIX)
        state = self.symbols.get(symbol) if timer.id.startswith(TIMER_PREFIX) else None
        if state is None or timer.due_ns != state.cooldown_until_ns:
            return ()
        state.cooldown_until_ns = 0
        allowed = self.rules.fraction(state.regime)
        return _decide(symbol, state, allowed, f"{state.regime} after cool-down", timer.due_ns)


def _decide(
    symbol: str, state: AllocationState, fraction: Decimal, reason: str, ts_event_ns: int
) -> Sequence[AllocationDecision]:
    """Set the fraction, and say so if that changes it."""
    if fraction == state.fraction:
        return ()
    state.fraction = fraction
    return (AllocationDecision(symbol, fraction, reason, ts_event_ns),)
