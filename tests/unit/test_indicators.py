"""The indicators on bars small enough to check by hand; `tests/recorded` holds them against TA-Lib."""

from copy import deepcopy
from math import inf, nan

import msgspec
import pytest

from claire.indicators import Adx, Atr, Ema

NOT_FINITE = [nan, inf, -inf]


def test_ema_begins_with_the_plain_average_and_then_weighs_the_newest_two_over_period_plus_one():
    ema = Ema(3)
    seen = [(ema.update(value), ema.ready) for value in (1.0, 2.0, 6.0, 5.0, 4.0)]
    assert seen == [(0.0, False), (0.0, False), (3.0, True), (4.0, True), (4.0, True)]


def test_ema_of_one_value_is_that_value():
    ema = Ema(1)
    assert [ema.update(value) for value in (5.0, 7.0, -2.0)] == [5.0, 7.0, -2.0]


def test_atr_begins_with_the_plain_average_of_the_ranges_after_the_first_bar():
    atr = Atr(2)
    # True ranges: none, 3 (gap up from 10 to 13), 4 (gap down from 12 to 8), 1
    bars = [(11.0, 9.0, 10.0), (13.0, 12.0, 12.0), (9.0, 8.0, 8.5), (9.0, 8.0, 8.0)]
    seen = [(atr.update(*bar), atr.ready) for bar in bars]
    assert seen == [(0.0, False), (0.0, False), (3.5, True), (2.25, True)]


def test_adx_is_100_in_a_market_that_only_rises_and_only_falls():
    for step in (1.0, -1.0):
        adx = Adx(14)
        ready_after = None
        for bar in range(1, 60):
            adx.update(100 + step * bar + 0.5, 100 + step * bar - 0.5, 100 + step * bar)
            if adx.ready and ready_after is None:
                ready_after = bar
        assert adx.value == pytest.approx(100.0)
        assert ready_after == 28


def test_adx_of_a_market_that_stands_still_is_0_and_stays_what_it_was_when_it_falls_silent():
    adx = Adx(2)
    for _ in range(10):
        assert adx.update(5.0, 5.0, 5.0) == 0.0
    for bar in range(10):
        adx.update(6.0 + bar, 5.0 + bar, 5.5 + bar)
    before_silence = adx.value
    assert before_silence > 50
    for _ in range(5_000):
        adx.update(20.0, 20.0, 20.0)
    assert before_silence <= adx.value <= 100.0


def test_equal_moves_both_ways_count_for_neither_side():
    adx = Adx(2)
    for width in range(1, 20):
        adx.update(100.0 + width, 100.0 - width, 100.0)
    assert (adx.up, adx.down, adx.value) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_an_average_takes_finite_numbers_and_keeps_its_state_when_it_refuses(value):
    ema = Ema(3)
    ema.update(1.0)
    before = deepcopy(ema)
    with pytest.raises(ValueError, match="an EMA takes finite numbers, not"):
        ema.update(value)
    assert ema == before


@pytest.mark.parametrize("make", [Atr, Adx])
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bar_has_finite_prices_and_a_refused_one_changes_nothing(make, value, place):
    indicator = make(2)
    indicator.update(3.0, 1.0, 2.0)
    before = deepcopy(indicator)
    bar = [3.0, 1.0, 2.0]
    bar[place] = value
    with pytest.raises(ValueError, match="a bar has finite prices, not"):
        indicator.update(*bar)
    assert indicator == before


@pytest.mark.parametrize(("make", "least"), [(Ema, 1), (Atr, 1), (Adx, 2)])
def test_a_period_that_averages_nothing_is_refused(make, least):
    make(least)
    with pytest.raises(ValueError, match=f"must be {least} or more"):
        make(least - 1)


@pytest.mark.parametrize("make", [Atr, Adx])
def test_state_survives_a_snapshot_bit_for_bit(make):
    one = make(5)
    for bar in range(30):
        one.update(10.1 + bar % 7, 9.3 + bar % 5, 9.7 + bar % 6)
    two = msgspec.json.decode(msgspec.json.encode(one), type=make)
    assert two == one
    assert [one.update(11.1, 9.1, 10.0)] == [two.update(11.1, 9.1, 10.0)]
