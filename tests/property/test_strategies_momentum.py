"""Momentum against its own words: look at all trades so far, each time anew."""

from hypothesis import given
from hypothesis import strategies as st

from claire.model.market import Side, Trade
from claire.strategies import Opinion
from claire.strategies.momentum import Momentum, MomentumParams
from tests.support.markets import ABC, SYMBOL, T0

gaps_ns = st.one_of(st.just(0), st.integers(0, 3_000_000_000), st.sampled_from([1_000_000_000, 2_000_000_000]))
markets = st.lists(
    st.tuples(gaps_ns, st.integers(9_000, 11_000), st.integers(1, 50), st.none() | st.floats(-5, 5)), max_size=60
)


@given(
    markets,
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]),
    st.sampled_from([0.5, 2.0, 5.0]),
    st.sampled_from([0.0, 30.0, 100.0]),
)
def test_each_opinion_is_what_looking_at_all_trades_so_far_says(market, lookback_s, threshold_pct, min_volume_quote):
    params = MomentumParams(lookback_s=lookback_s, threshold_pct=threshold_pct, min_volume_quote=min_volume_quote)
    strategy = Momentum(params, ABC)
    past: list[tuple[int, int, int]] = []
    now = T0
    for gap_ns, ticks, lots, enriched in market:
        now += gap_ns
        start = now - round(lookback_s * 1e9)
        before = [price for at, price, _ in past if at <= start]
        past.append((now, ticks, lots))
        # this trade belongs to its own lookback, also when that is 0 s long
        within = [price * size for at, price, size in past[len(before) :]]
        pct = enriched if enriched is not None else (ticks / before[-1] - 1.0) * 100.0 if before else None
        if pct is None:
            expected = Opinion.WARMING_UP
        elif not pct >= threshold_pct:
            expected = Opinion.NO_ENTRY
        else:
            expected = Opinion.ENTER if sum(within) >= min_volume_quote * 10_000 else Opinion.THIN
        assert strategy.on_trade(Trade(SYMBOL, now, ticks, lots, Side.BUY, enriched)) is expected
        assert strategy.pct_change == pct
