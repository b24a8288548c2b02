"""When the regime changes, and when it does not."""

from collections.abc import Iterable
from math import nan

import msgspec
import pytest

from claire.model.decisions import Regime, RegimeChanged
from claire.model.errors import ConfigError
from claire.model.market import Candle
from claire.stages.regime import RegimeRules, Regimes, classify

MINUTE_NS = 60_000_000_000
RULES = RegimeRules()


def candle(number: int, high: int, low: int, close: int, *, symbol: str = "BTCUSDT", empty: bool = False) -> Candle:
    end_ns = (number + 1) * MINUTE_NS
    volume = 0 if empty else 1
    return Candle(symbol, end_ns - MINUTE_NS, end_ns, close, high, low, close, volume, volume, empty, end_ns + 7)


def rising(numbers: Iterable[int], symbol: str = "BTCUSDT") -> list[Candle]:
    """Candles that rise 0.01 % each: a clear direction, little movement."""
    return [candle(n, 100_000 + 10 * n + 5, 100_000 + 10 * n - 5, 100_000 + 10 * n, symbol=symbol) for n in numbers]


def feed(regimes: Regimes, candles: Iterable[Candle]) -> list[RegimeChanged]:
    return [change for one in candles for change in regimes.on_candle(one)]


def test_the_regime_is_unknown_until_28_candles_have_closed_and_three_have_voted():
    regimes = Regimes()
    assert feed(regimes, rising(range(29))) == []
    assert regimes.regime("BTCUSDT") is Regime.UNKNOWN
    (change,) = feed(regimes, rising([29]))
    assert (change.before, change.after) == (Regime.UNKNOWN, Regime.TREND)
    assert change.adx == pytest.approx(100.0)
    assert 0 < change.atr_pct < 0.02
    assert regimes.regime("BTCUSDT") is Regime.TREND


def test_a_change_is_as_old_as_the_moment_its_candle_closed():
    last = rising([29])[0]
    (change,) = feed(Regimes(), rising(range(30)))
    assert change.ts_event_ns == last.ts_event_ns == last.close_ns + 7


def test_a_market_that_says_the_same_says_it_once():
    assert len(feed(Regimes(), rising(range(200)))) == 1


def test_silence_is_a_range_for_empty_candles_count_like_any_other():
    (change,) = feed(Regimes(), [candle(n, 5_000, 5_000, 5_000, empty=True) for n in range(60)])
    assert (change.after, change.adx, change.atr_pct) == (Regime.RANGE, 0.0, 0.0)


def test_violent_candles_are_chaos_whatever_their_direction():
    regimes = Regimes()
    feed(regimes, rising(range(40)))
    wild = [candle(n, 110_000, 90_000, 100_000) for n in range(40, 60)]
    (change,) = feed(regimes, wild)
    assert (change.before, change.after) == (Regime.TREND, Regime.HIGH_VOL_CHAOTIC)
    assert change.atr_pct >= 1.5


def test_two_votes_are_not_enough_and_a_contrary_one_starts_the_count_anew():
    # One candle's range sets the ATR alone, so each candle's vote can be chosen: W(ild) or C(alm), both far from the border.
    rules = RegimeRules(atr_period=1, adx_period=2, warm_up_candles=4, confirmations=3)
    regimes = Regimes(rules)

    def vote(votes: str, start: int) -> list[Regime]:
        spans = [5_000 if letter == "W" else 1 for letter in votes]
        bars = [candle(start + n, 100_000 + span, 100_000 - span, 100_000) for n, span in enumerate(spans)]
        return [change.after for change in feed(regimes, bars)]

    assert vote("CCCCCC", 0) == [Regime.RANGE]
    assert vote("WWCWWCWCWW", 6) == []
    assert vote("W", 16) == [Regime.HIGH_VOL_CHAOTIC]
    assert vote("CC", 17) == []
    assert vote("C", 19) == [Regime.RANGE]


def test_symbols_do_not_share_votes():
    regimes = Regimes()
    both = [one for n in range(29) for one in (*rising([n]), *rising([n], "ETHUSDT"))]
    assert feed(regimes, both) == []
    assert [change.symbol for change in feed(regimes, rising([29], "ETHUSDT"))] == ["ETHUSDT"]
    assert regimes.regime("BTCUSDT") is Regime.UNKNOWN


@pytest.mark.parametrize(
    ("adx", "atr_pct", "expected"),
    [
        (60.0, 1.5, Regime.HIGH_VOL_CHAOTIC),
        (10.0, 1.5, Regime.HIGH_VOL_CHAOTIC),
        (25.0, 1.4999, Regime.TREND),
        (24.9999, 0.1, Regime.UNKNOWN),
        (20.0, 0.1, Regime.UNKNOWN),
        (19.9999, 0.1, Regime.RANGE),
        (0.0, 0.0, Regime.RANGE),
    ],
)
def test_the_borders_lie_where_the_rules_say_and_between_them_nothing_changes(adx, atr_pct, expected):
    assert classify(adx, atr_pct, RULES, otherwise=Regime.UNKNOWN) is expected


def test_state_survives_a_snapshot():
    regimes = Regimes()
    feed(regimes, rising(range(29)))
    again = msgspec.json.decode(msgspec.json.encode(regimes), type=Regimes)
    assert again == regimes
    assert feed(again, rising([29])) == feed(regimes, rising([29]))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"high_vol_atr_pct": 0.0}, r"regime\.high_vol_atr_pct = 0\.0: must be above 0"),
        ({"high_vol_atr_pct": nan}, r"regime\.high_vol_atr_pct = nan"),
        ({"range_adx": 30.0}, r"regime\.range_adx = 30\.0 and regime\.trend_adx = 25\.0"),
        ({"trend_adx": nan}, r"regime\.trend_adx = nan"),
        ({"trend_adx": 101.0}, r"regime\.trend_adx = 101\.0"),
        ({"confirmations": 0}, r"regime\.confirmations = 0: must be 1 or more"),
        ({"adx_period": 1}, r"regime\.adx_period = 1"),
        ({"atr_period": 0}, r"regime\.atr_period = 0"),
    ],
)
def test_rules_that_cannot_work_are_refused_by_name(rule, message):
    with pytest.raises(ConfigError, match=message):
        RegimeRules(**rule)
