"""What holds of the indicators on any bars; among it, that TA-Lib says the same."""

from math import isfinite

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from claire.indicators import Adx, Atr, Ema

prices = st.floats(min_value=1e-12, max_value=1e9, allow_nan=False)
bars = st.lists(
    st.tuples(prices, prices, prices).map(sorted).map(lambda p: (p[2], p[0], p[1])), min_size=1, max_size=120
)
periods = st.integers(min_value=2, max_value=20)


@st.composite
def markets_with_silence(draw) -> np.ndarray:
    """Draw bars in ticks, some of them repeated as silent minutes until every former move has faded; a row each of H, L, C."""
    market: list[tuple[int, int, int]] = []
    ticks = st.integers(min_value=1, max_value=1_000_000)
    for _ in range(draw(st.integers(min_value=1, max_value=4))):
        for drawn in draw(st.lists(st.tuples(ticks, ticks, ticks), min_size=1, max_size=40)):
            low, close, high = sorted(drawn)
            market.append((high, low, close))
        market += [3 * market[-1][2:]] * draw(st.sampled_from([0, 1, 30, 1_000]))
    return np.array(market, dtype=np.float64).T


@given(markets_with_silence(), periods)
def test_ta_lib_says_the_same_of_any_market(market, period):
    high, low, close = market
    ema, atr, adx = Ema(period), Atr(period), Adx(period)
    ours = np.array([(ema.update(c), atr.update(h, lo, c), adx.update(h, lo, c)) for h, lo, c in market.T.tolist()]).T
    oracles = talib.EMA(close, period), talib.ATR(high, low, close, period), talib.ADX(high, low, close, period)
    for values, oracle, magnitude in zip(ours, oracles, (1e6, 1e6, 100.0), strict=True):
        unknown = np.isnan(oracle)
        assert not values[unknown].any()
        assert values[~unknown] / magnitude == pytest.approx(oracle[~unknown] / magnitude, rel=0, abs=1e-9)


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
