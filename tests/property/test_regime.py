"""What holds of the regime in any market: it changes on three equal votes and on nothing less."""

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from claire.indicators import Adx, Atr
from claire.model.decisions import Regime
from claire.model.market import Candle
from claire.stages.regime import RegimeRules, Regimes, classify

MINUTE_NS = 60_000_000_000
RULES = RegimeRules()


@st.composite
def markets(draw) -> list[Candle]:
    """Draw a market of some spells, each with its own drift and restlessness (in ticks of a price around 100,000)."""
    spells = draw(
        st.lists(
            st.tuples(st.integers(1, 40), st.integers(-150, 150), st.sampled_from([0, 20, 200, 1_500, 5_000])),
            min_size=1,
            max_size=6,
        )
    )
    candles: list[Candle] = []
    close = 100_000
    for length, drift, unrest in spells:
        for swing in draw(st.lists(st.integers(-unrest, unrest), min_size=length, max_size=length)):
            opened, close = close, max(1_000, close + drift + swing)
            high, low = max(opened, close) + abs(swing), max(1, min(opened, close) - abs(swing))
            end_ns = (len(candles) + 1) * MINUTE_NS
            candles.append(Candle("X", end_ns - MINUTE_NS, end_ns, opened, high, low, close, 1, 1, ts_event_ns=end_ns))
    return candles


@given(markets())
def test_the_regime_changes_on_three_equal_votes_in_a_row_and_on_nothing_less(candles):
    """The votes are counted here from the indicators alone, and the regime told by looking back at the last three."""
    regimes, adx, atr = Regimes(), Adx(14), Atr(14)
    votes: list[tuple[float, float]] = []
    expected, changed_at = Regime.UNKNOWN, 0
    for number, candle in enumerate(candles):
        bar = (candle.high_ticks, candle.low_ticks, candle.close_ticks)
        votes.append((adx.update(*bar), atr.update(*bar) / candle.close_ticks * 100))
        recent = votes[max(27, changed_at, number - 2) :]
        opinions = {classify(*vote, RULES, otherwise=expected) for vote in recent}
        changes = regimes.on_candle(candle)
        if len(recent) == 3 and len(opinions) == 1 and expected not in opinions:
            (change,) = changes
            assert (change.before, {change.after}) == (expected, opinions)
            assert (change.adx, change.atr_pct) == votes[-1]
            expected, changed_at = change.after, number + 1
            event(f"to {change.after}")
        else:
            assert tuple(changes) == ()
        assert regimes.regime("X") is expected


@given(markets())
def test_the_first_28_candles_change_nothing(candles):
    regimes = Regimes()
    for candle in candles[:29]:
        assert tuple(regimes.on_candle(candle)) == ()
    assert regimes.regime("X") is Regime.UNKNOWN


@given(markets(), st.integers(2, 1_000))
def test_the_size_of_a_tick_does_not_matter(candles, finer):
    """The same prices in finer ticks give the same regimes."""
    coarse, fine = Regimes(), Regimes()
    for candle in candles:
        prices = {
            name: getattr(candle, name) * finer for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks")
        }
        one = coarse.on_candle(candle)
        two = fine.on_candle(msgspec.structs.replace(candle, **prices))
        assert [change.after for change in one] == [change.after for change in two]


@given(markets(), st.integers(0, 200))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened(candles, cut):
    whole, first = Regimes(), Regimes()
    for candle in candles[:cut]:
        first.on_candle(candle)
        whole.on_candle(candle)
    rest = msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=Regimes)
    for candle in candles[cut:]:
        assert rest.on_candle(candle) == whole.on_candle(candle)
    assert rest == whole
