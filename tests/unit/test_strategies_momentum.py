"""Momentum, as it is worded: which trade is the reference, when there is none, and what the threshold compares."""

from decimal import Decimal

import msgspec
import pytest

from claire.model.instrument import Instrument
from claire.strategies import Opinion
from claire.strategies.momentum import Momentum, MomentumParams
from tests.support.markets import ABC, T0, rules, trade

WARMING_UP, NO_ENTRY, THIN, ENTER = Opinion.WARMING_UP, Opinion.NO_ENTRY, Opinion.THIN, Opinion.ENTER


def momentum(instrument: Instrument = ABC, **params: float) -> Momentum:
    return Momentum(MomentumParams(**params), instrument)


def test_the_defaults_are_three_percent_in_fifteen_minutes():
    params = MomentumParams()
    assert (params.threshold_pct, params.lookback_s, params.min_volume_quote) == (3.0, 900.0, 0.0)
    assert (params.stop_loss_pct, params.take_profit_pct, params.max_hold_s) == (2.0, 4.0, 14_400.0)


def test_there_is_no_reference_before_the_lookback_has_passed():
    strategy = momentum(lookback_s=10, threshold_pct=1)
    assert strategy.on_trade(trade(0, 10_000)) is WARMING_UP
    assert strategy.on_trade(trade(9.999_999_999, 20_000)) is WARMING_UP
    assert strategy.pct_change is None
    assert strategy.on_trade(trade(10, 10_100)) is ENTER
    assert strategy.pct_change == (10_100 / 10_000 - 1.0) * 100.0


def test_the_reference_is_the_latest_trade_at_or_before_the_start_of_the_lookback():
    strategy = momentum(lookback_s=10, threshold_pct=50)
    for at_s, ticks in ((0, 1_000), (3, 2_000), (5, 4_000), (5.000_000_001, 8_000)):
        strategy.on_trade(trade(at_s, ticks))
    strategy.on_trade(trade(15, 6_000))
    assert strategy.pct_change == 50.0  # against 4,000: the trade exactly 10 s before counts, the next one does not


def test_the_reference_stays_while_no_newer_trade_has_left_the_lookback():
    strategy = momentum(lookback_s=10, threshold_pct=50)
    for at_s, ticks in ((0, 1_000), (30, 1_500), (39, 3_000)):
        strategy.on_trade(trade(at_s, ticks))
    assert strategy.pct_change == 200.0


def test_of_trades_with_one_time_the_later_row_is_the_reference():
    strategy = momentum(lookback_s=10, threshold_pct=1)
    for ticks in (1_000, 2_000, 3_000):
        assert strategy.on_trade(trade(0, ticks)) is WARMING_UP
    strategy.on_trade(trade(10, 3_300))
    assert strategy.pct_change == pytest.approx(10.0)


def test_without_lookback_the_reference_is_the_trade_before_even_at_the_same_time():
    strategy = momentum(lookback_s=0, threshold_pct=1)
    assert strategy.on_trade(trade(0, 1_000)) is WARMING_UP
    assert strategy.on_trade(trade(0, 1_010)) is ENTER
    assert strategy.on_trade(trade(0, 1_020)) is NO_ENTRY
    assert strategy.pct_change == (1_020 / 1_010 - 1.0) * 100.0
    assert strategy.on_trade(trade(9, 1_020)) is NO_ENTRY
    assert strategy.pct_change == 0.0


@pytest.mark.parametrize("gap_ns", [1, 999_999_999])
def test_a_lookback_is_exact_to_the_nanosecond(gap_ns: int):
    strategy = momentum(lookback_s=1.5, threshold_pct=1)
    strategy.on_trade(trade(0, 1_000))
    late = msgspec.structs.replace(trade(0, 1_100), ts_event_ns=T0 + 1_500_000_000 - gap_ns)
    assert strategy.on_trade(late) is WARMING_UP
    on_time = msgspec.structs.replace(trade(0, 1_100), ts_event_ns=T0 + 1_500_000_000)
    assert strategy.on_trade(on_time) is ENTER


def test_the_threshold_itself_is_an_entry():
    # 1.5 and 50 are exact in binary, so that "at" the threshold means it
    for ticks, opinion in ((14_999, NO_ENTRY), (15_000, ENTER), (15_001, ENTER)):
        strategy = momentum(lookback_s=0, threshold_pct=50)
        strategy.on_trade(trade(0, 10_000))
        assert strategy.on_trade(trade(1, ticks)) is opinion


def test_the_change_is_computed_in_float_in_the_written_order():
    strategy = momentum(lookback_s=0, threshold_pct=10)
    strategy.on_trade(trade(0, 10))
    assert strategy.on_trade(trade(1, 11)) is ENTER  # (1.1 - 1.0) · 100 = 10.000000000000009 in float64
    assert strategy.pct_change == 10.000000000000009


def test_a_trade_that_came_with_its_change_is_judged_by_that_one():
    strategy = momentum(lookback_s=600, threshold_pct=3)
    assert strategy.on_trade(trade(0, 10_000, pct_change=3.0)) is ENTER
    assert strategy.pct_change == 3.0
    assert strategy.on_trade(trade(1, 20_000, pct_change=2.999)) is NO_ENTRY
    assert strategy.on_trade(trade(2, 10_000, pct_change=float("nan"))) is NO_ENTRY


def test_a_raw_trade_after_enriched_ones_has_no_change_of_theirs():
    strategy = momentum(lookback_s=600, threshold_pct=3)
    strategy.on_trade(trade(0, 10_000, pct_change=5.0))
    assert strategy.on_trade(trade(1, 20_000)) is WARMING_UP
    assert strategy.pct_change is None
    strategy.on_trade(trade(600, 11_000))
    assert strategy.pct_change == pytest.approx(10.0)  # enriched trades are references like any other


def test_the_volume_of_the_lookback_must_reach_its_minimum_this_trade_included():
    strategy = momentum(lookback_s=10, threshold_pct=1, min_volume_quote=300)
    for at_s, ticks, lots, opinion in (
        (0, 10_000, 9_999, WARMING_UP),
        (5, 10_000, 100, WARMING_UP),
        (10, 10_100, 100, THIN),  # 100 + 101 USDT: the first trade lies before the window
        (11, 10_100, 98, THIN),  # 299.98 USDT
        (12, 10_100, 1, ENTER),  # 300.99 USDT
    ):
        assert strategy.on_trade(trade(at_s, ticks, lots)) is opinion


def test_a_volume_exactly_at_the_minimum_is_enough():
    for lots, opinion in ((99, THIN), (100, ENTER)):
        strategy = momentum(lookback_s=0, threshold_pct=1, min_volume_quote=101)
        strategy.on_trade(trade(0, 10_000))
        assert strategy.on_trade(trade(1, 10_100, lots)) is opinion


@pytest.mark.parametrize("tiny", [1e-20, 0.0033333333333333335, 1e-300])
def test_a_minimum_volume_finer_than_money_is_rounded_up(tiny: float):
    strategy = momentum(rules(tick="0.00000001", lot="1"), lookback_s=0, threshold_pct=1, min_volume_quote=tiny)
    strategy.on_trade(trade(0, 100, 1))
    assert strategy.on_trade(trade(1, 200, 1)) is (ENTER if tiny < 2e-6 else THIN)
    assert strategy.on_trade(trade(2, 400, 10_000_000)) is ENTER


@pytest.mark.parametrize(
    "wrong",
    [
        {"lookback_s": -1},
        {"threshold_pct": 0},
        {"threshold_pct": -3},
        {"stop_loss_pct": 100},
        {"stop_loss_pct": -1},
        {"min_volume_quote": -1},
        {"max_hold_s": -1},
        {"threshold_pct": "3 %"},
        {"treshold_pct": 3},
    ],
)
def test_parameters_out_of_range_or_unknown_are_refused(wrong: dict[str, object]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, MomentumParams)


def test_memory_holds_one_window_and_no_more():
    strategy = momentum(lookback_s=10, threshold_pct=1, min_volume_quote=1)
    for number in range(5_000):
        strategy.on_trade(trade(number * 0.1, 10_000))
    assert len(strategy._times) == len(strategy._prices) == len(strategy._volumes) <= 101


def test_prices_far_below_one_cent_lose_nothing():
    pepe = rules("PEPEUSDT", "0.00000001", "1")
    assert pepe.price(1001) == Decimal("0.00001001")
    strategy = momentum(pepe, lookback_s=0, threshold_pct=0.1)
    strategy.on_trade(trade(0, 1_000, symbol="PEPEUSDT"))
    strategy.on_trade(trade(1, 1_001, symbol="PEPEUSDT"))
    assert strategy.pct_change == (1_001 / 1_000 - 1.0) * 100.0
