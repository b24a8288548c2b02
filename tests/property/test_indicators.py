"""What holds of the indicators on any bars."""

from math import isfinite

from hypothesis import given
from hypothesis import strategies as st

from claire.indicators import Adx, Atr, Ema

prices = st.floats(min_value=1e-12, max_value=1e9, allow_nan=False)
bars = st.lists(
    st.tuples(prices, prices, prices).map(sorted).map(lambda p: (p[2], p[0], p[1])), min_size=1, max_size=120
)
periods = st.integers(min_value=2, max_value=20)


@given(st.lists(prices, min_size=1, max_size=120), periods)
def test_an_average_lies_between_the_least_and_the_greatest_it_was_fed(values, period):
    ema = Ema(period)
    for number, value in enumerate(values, start=1):
        average = ema.update(value)
        assert ema.ready == (number >= period)
        if ema.ready:
            assert min(values[:number]) * (1 - 1e-9) <= average <= max(values[:number]) * (1 + 1e-9)


@given(bars, periods)
def test_the_true_range_averages_to_no_more_than_the_whole_range(market, period):
    atr = Atr(period)
    for number, bar in enumerate(market, start=1):
        value = atr.update(*bar)
        assert atr.ready == (number > period)
        highest, lowest = max(high for high, _, _ in market[:number]), min(low for _, low, _ in market[:number])
        assert 0 <= value <= (highest - lowest) * (1 + 1e-9)


@given(bars, periods)
def test_the_directional_index_lies_between_0_and_100(market, period):
    adx = Adx(period)
    for number, bar in enumerate(market, start=1):
        value = adx.update(*bar)
        assert adx.ready == (number >= 2 * period)
        assert isfinite(value)
        assert 0 <= value <= 100 * (1 + 1e-9)


@given(bars, periods)
def test_a_market_upside_down_has_the_same_directional_index(market, period):
    adx, mirrored = Adx(period), Adx(period)
    for high, low, close in market:
        assert adx.update(high, low, close) == mirrored.update(-low, -high, -close)
