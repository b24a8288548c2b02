"""How much a regime may take, and how long chaos is remembered."""

from decimal import Decimal

import msgspec
import pytest

from claire.model.decisions import AllocationDecision, Regime, RegimeChanged, SetTimer
from claire.model.errors import ConfigError
from claire.model.market import Timer
from claire.stages.allocation import HOUR_NS, AllocationMode, AllocationRules, Allocations

UNKNOWN, TREND, RANGE, CHAOS = Regime.UNKNOWN, Regime.TREND, Regime.RANGE, Regime.HIGH_VOL_CHAOTIC
ID = "allocation:BTCUSDT"


def change(hour: int, after: Regime, symbol: str = "BTCUSDT") -> RegimeChanged:
    return RegimeChanged(symbol, UNKNOWN, after, adx=30.0, atr_pct=0.5, ts_event_ns=hour * HOUR_NS)


def timer(hour: int, timer_id: str = ID) -> Timer:
    return Timer(hour * HOUR_NS, timer_id)


def decision(hour: int, fraction: str, reason: str) -> AllocationDecision:
    return AllocationDecision("BTCUSDT", Decimal(fraction), reason, hour * HOUR_NS)


@pytest.mark.parametrize(
    ("regime", "paper", "money"), [(UNKNOWN, "0.25", "0"), (TREND, "1", "1"), (RANGE, "0.5", "0.5"), (CHAOS, "0", "0")]
)
def test_each_regime_has_its_fraction_and_only_the_unknown_one_depends_on_money(regime, paper, money):
    assert AllocationRules().fraction(regime) == Decimal(paper)
    assert AllocationRules(money_can_move=True).fraction(regime) == Decimal(money)


def test_before_any_regime_a_symbol_has_the_fraction_of_an_unknown_one():
    assert Allocations().initial("BTCUSDT") == Allocations().fraction("BTCUSDT") == Decimal("0.25")
    assert Allocations(AllocationRules(money_can_move=True)).fraction("BTCUSDT") == 0


def test_a_new_regime_changes_the_fraction_and_says_why():
    allocations = Allocations()
    assert tuple(allocations.on_regime(change(1, TREND))) == (decision(1, "1", "TREND"),)
    assert tuple(allocations.on_regime(change(2, RANGE))) == (decision(2, "0.5", "RANGE"),)
    assert allocations.fraction("BTCUSDT") == Decimal("0.5")
    assert allocations.fraction("ETHUSDT") == Decimal("0.25")


def test_a_regime_with_the_same_fraction_decides_nothing():
    allocations = Allocations(AllocationRules(range=Decimal(1)))
    allocations.on_regime(change(1, TREND))
    assert tuple(allocations.on_regime(change(2, RANGE))) == ()


def test_chaos_cuts_to_0_and_asks_to_be_woken_72_hours_later():
    allocations = Allocations()
    allocations.on_regime(change(1, TREND))
    assert tuple(allocations.on_regime(change(5, CHAOS))) == (decision(5, "0", CHAOS), SetTimer(77 * HOUR_NS, ID))


def test_during_the_cool_down_no_regime_raises_the_fraction_and_its_end_restores_that_of_the_moment():
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    assert tuple(allocations.on_regime(change(6, TREND))) == ()
    assert tuple(allocations.on_regime(change(76, RANGE))) == ()
    assert allocations.fraction("BTCUSDT") == 0
    assert tuple(allocations.on_timer(timer(77))) == (decision(77, "0.5", "RANGE after cool-down"),)
    assert tuple(allocations.on_regime(change(78, TREND))) == (decision(78, "1", "TREND"),)


def test_chaos_that_outlasts_its_cool_down_stays_at_0_and_ends_with_the_regime():
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    assert tuple(allocations.on_timer(timer(77))) == ()
    assert allocations.fraction("BTCUSDT") == 0
    assert tuple(allocations.on_regime(change(80, TREND))) == (decision(80, "1", "TREND"),)


def test_chaos_that_returns_starts_the_cool_down_anew():
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    allocations.on_regime(change(6, TREND))
    assert tuple(allocations.on_regime(change(70, CHAOS))) == (SetTimer(142 * HOUR_NS, ID),)
    allocations.on_regime(change(71, TREND))
    assert tuple(allocations.on_timer(timer(77))) == ()
    assert tuple(allocations.on_timer(timer(142))) == (decision(142, "1", "TREND after cool-down"),)


def test_unknown_starts_no_cool_down_even_where_it_cuts_to_0():
    allocations = Allocations(AllocationRules(money_can_move=True))
    allocations.on_regime(change(1, TREND))
    assert tuple(allocations.on_regime(change(2, UNKNOWN))) == (decision(2, "0", "UNKNOWN"),)
    assert tuple(allocations.on_regime(change(3, TREND))) == (decision(3, "1", "TREND"),)


def test_chaos_after_unknown_starts_one_though_nothing_was_allowed_before():
    allocations = Allocations(AllocationRules(money_can_move=True))
    assert tuple(allocations.on_regime(change(1, CHAOS))) == (SetTimer(73 * HOUR_NS, ID),)
    assert tuple(allocations.on_regime(change(2, TREND))) == ()


@pytest.mark.parametrize(
    "rules", [AllocationRules(cooldown_h=Decimal(0)), AllocationRules(high_vol_chaotic=Decimal("0.1"))]
)
def test_without_a_cool_down_or_without_a_cut_to_0_the_next_regime_counts_at_once(rules):
    allocations = Allocations(rules)
    (cut,) = allocations.on_regime(change(1, CHAOS))
    assert isinstance(cut, AllocationDecision)
    assert tuple(allocations.on_regime(change(2, TREND))) == (decision(2, "1", "TREND"),)


def test_full_mode_allows_everything_always():
    allocations = Allocations(AllocationRules(mode=AllocationMode.FULL, money_can_move=True))
    assert allocations.fraction("BTCUSDT") == 1
    for hour, regime in enumerate((CHAOS, UNKNOWN, RANGE, TREND)):
        assert tuple(allocations.on_regime(change(hour, regime))) == ()
    assert allocations.fraction("BTCUSDT") == 1


@pytest.mark.parametrize("other", [timer(76), timer(78), timer(77, "allocation:ETHUSDT"), timer(77, "candle:BTCUSDT")])
def test_a_timer_of_something_else_ends_no_cool_down(other):
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    allocations.on_regime(change(6, TREND))
    assert tuple(allocations.on_timer(other)) == ()
    assert allocations.fraction("BTCUSDT") == 0


def test_symbols_cool_down_on_their_own():
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    allocations.on_regime(change(6, TREND, "ETHUSDT"))
    assert allocations.fraction("BTCUSDT") == 0
    assert allocations.fraction("ETHUSDT") == 1


def test_state_survives_a_snapshot():
    allocations = Allocations()
    allocations.on_regime(change(5, CHAOS))
    allocations.on_regime(change(6, RANGE))
    again = msgspec.json.decode(msgspec.json.encode(allocations), type=Allocations)
    assert again == allocations
    assert again.on_timer(timer(77)) == allocations.on_timer(timer(77))


@pytest.mark.parametrize("name", ["trend", "range", "high_vol_chaotic", "unknown", "unknown_without_money"])
@pytest.mark.parametrize("value", ["-0.01", "1.01", "NaN", "Infinity"])
def test_a_fraction_outside_0_to_1_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"allocation\.{name} = {value}: a fraction lies between 0 and 1"):
        msgspec.convert({name: value}, AllocationRules)


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity"])
def test_a_cool_down_that_is_no_time_is_refused(value):
    with pytest.raises(ConfigError, match=rf"allocation\.cooldown_h = {value}: must be 0 or more hours"):
        AllocationRules(cooldown_h=Decimal(value))
