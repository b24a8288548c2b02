"""What one candle does: when it opens and closes, what it counts, what it refuses."""

from collections.abc import Sequence
from copy import deepcopy

import msgspec
import pytest

from claire.model.decisions import SetTimer
from claire.model.market import Candle, Side, Timer, Trade
from claire.stages.candles import Candles

S = 1_000_000_000
MINUTE = 60 * S
NOON = 1_730_030_400 * S


def trade(after_noon_s: float, price: int = 100, lots: int = 1, symbol: str = "PEPEUSDT") -> Trade:
    return Trade(symbol, NOON + round(after_noon_s * S), price, lots, Side.BUY)


def timer(after_noon_s: float, symbol: str = "PEPEUSDT") -> Timer:
    return Timer(NOON + round(after_noon_s * S), f"candle:{symbol}")


def asked(after_noon_s: float, symbol: str = "PEPEUSDT") -> SetTimer:
    return SetTimer(NOON + round(after_noon_s * S), f"candle:{symbol}")


def bar_and_timer(caused: Sequence[Candle | SetTimer]) -> tuple[Candle, SetTimer]:
    """Return the one candle that closed and the timer that the next one asks for."""
    closed, next_timer = caused
    assert isinstance(closed, Candle)
    assert isinstance(next_timer, SetTimer)
    return closed, next_timer


def test_the_first_trade_opens_the_minute_it_lies_in_and_asks_for_its_timer():
    assert tuple(Candles().on_trade(trade(59.9))) == (asked(62),)


def test_a_trade_inside_the_open_candle_causes_nothing_and_builds_nothing():
    candles = Candles()
    candles.on_trade(trade(1))
    assert candles.on_trade(trade(2)) is candles.on_trade(trade(59.999999999))


def test_the_trade_at_the_end_closes_the_candle_and_belongs_to_the_next():
    candles = Candles()
    for second, price, lots in [(0, 100, 5), (10, 107, 1), (20, 98, 2), (30, 101, 3)]:
        candles.on_trade(trade(second, price, lots))
    closed, next_timer = bar_and_timer(candles.on_trade(trade(60, 500, 9)))
    assert closed == Candle(
        symbol="PEPEUSDT",
        open_ns=NOON,
        close_ns=NOON + MINUTE,
        open_ticks=100,
        high_ticks=107,
        low_ticks=98,
        close_ticks=101,
        volume_lots=11,
        trades=4,
        ts_event_ns=NOON + MINUTE,
    )
    assert next_timer == asked(122)
    after, _ = bar_and_timer(candles.on_trade(trade(125, 1)))
    assert (after.open_ticks, after.high_ticks, after.low_ticks, after.volume_lots) == (500, 500, 500, 9)


def test_a_timer_two_seconds_after_the_end_closes_the_candle_and_asks_for_the_next():
    candles = Candles()
    candles.on_trade(trade(5, 100))
    closed, next_timer = bar_and_timer(candles.on_timer(timer(62)))
    assert (closed.close_ns, closed.ts_event_ns, closed.empty) == (NOON + MINUTE, NOON + 62 * S, False)
    assert next_timer == asked(122)


def test_an_idle_market_goes_on_giving_empty_candles_one_per_timer():
    candles = Candles()
    candles.on_trade(trade(5, 100, 7))
    candles.on_timer(timer(62))
    for minute in range(1, 6):
        closed, next_timer = bar_and_timer(candles.on_timer(timer(62 + 60 * minute)))
        assert closed == Candle(
            "PEPEUSDT", NOON + minute * MINUTE, NOON + (minute + 1) * MINUTE, 100, 100, 100, 100, 0, 0,
            empty=True, ts_event_ns=NOON + (62 + 60 * minute) * S,
        )  # fmt: skip
        assert next_timer == asked(122 + 60 * minute)


def test_a_trade_after_an_empty_beginning_sets_all_four_prices():
    candles = Candles()
    candles.on_trade(trade(5, 100))
    candles.on_timer(timer(62))
    candles.on_trade(trade(90, 40))
    closed, _ = bar_and_timer(candles.on_trade(trade(121, 1)))
    assert (closed.open_ticks, closed.high_ticks, closed.low_ticks, closed.close_ticks) == (40, 40, 40, 40)
    assert not closed.empty


def test_a_trade_after_a_long_silence_closes_every_candle_between_and_asks_for_one_timer():
    candles = Candles()
    candles.on_trade(trade(5, 100, 3))
    *bars, last = candles.on_trade(trade(4 * 60 + 1, 200))
    closed = [candle for candle in bars if isinstance(candle, Candle)]
    assert [(candle.open_ns - NOON) // MINUTE for candle in closed] == [0, 1, 2, 3]
    assert [candle.empty for candle in closed] == [False, True, True, True]
    assert {candle.close_ticks for candle in closed} == {100}
    assert {candle.ts_event_ns for candle in closed} == {NOON + (4 * 60 + 1) * S}
    assert last == asked(5 * 60 + 2)


def test_a_timer_whose_candle_a_trade_already_closed_does_nothing():
    candles = Candles()
    candles.on_trade(trade(5))
    candles.on_trade(trade(61))
    before = deepcopy(candles)
    assert tuple(candles.on_timer(timer(62))) == ()
    assert candles == before


@pytest.mark.parametrize(
    "other", [timer(62, "ETHUSDT"), Timer(NOON + 62 * S, "PEPEUSDT"), Timer(NOON + 62 * S, "x:PEPEUSDT")]
)
def test_a_timer_of_something_else_does_nothing(other):
    candles = Candles()
    candles.on_trade(trade(5))
    assert tuple(candles.on_timer(other)) == ()


def test_a_trade_for_a_closed_candle_is_counted_and_changes_nothing_else():
    candles = Candles()
    candles.on_trade(trade(5, 100))
    candles.on_timer(timer(62))
    assert tuple(candles.on_trade(trade(59, 900, 9))) == ()
    assert candles.late("PEPEUSDT") == 1
    closed, _ = bar_and_timer(candles.on_timer(timer(122)))
    assert (closed.empty, closed.close_ticks) == (True, 100)
    assert candles.late("ETHUSDT") == 0


def test_a_trade_within_the_grace_period_goes_into_the_candle_it_belongs_to():
    candles = Candles()
    candles.on_trade(trade(5, 100))
    closed, _ = bar_and_timer(candles.on_trade(trade(60.5, 110)))
    assert closed.trades == 1
    assert tuple(candles.on_timer(timer(62))) == ()
    after, _ = bar_and_timer(candles.on_timer(timer(122)))
    assert (after.open_ticks, after.trades) == (110, 1)


def test_symbols_do_not_share_candles():
    candles = Candles()
    candles.on_trade(trade(5, 100))
    assert tuple(candles.on_trade(trade(61, 7, symbol="ETHUSDT"))) == (asked(122, "ETHUSDT"),)
    closed, _ = bar_and_timer(candles.on_trade(trade(61, 101)))
    assert (closed.symbol, closed.close_ticks) == ("PEPEUSDT", 100)


def test_candles_line_up_with_utc_whatever_the_interval():
    candles = Candles(interval_ns=15 * MINUTE)
    candles.on_trade(trade(16 * 60))
    closed, _ = bar_and_timer(candles.on_trade(trade(31 * 60)))
    assert (closed.open_ns, closed.close_ns) == (NOON + 15 * MINUTE, NOON + 30 * MINUTE)


def test_a_jump_of_months_is_bridged():
    candles = Candles()
    candles.on_trade(trade(0))
    assert len(candles.on_trade(trade(90 * 86_400))) == 90 * 1440 + 1


def test_state_survives_a_snapshot():
    candles = Candles()
    candles.on_trade(trade(5, 100, 3))
    again = msgspec.json.decode(msgspec.json.encode(candles), type=Candles)
    assert again == candles
    assert again.on_trade(trade(61)) == candles.on_trade(trade(61))


@pytest.mark.parametrize("arguments", [{"interval_ns": 0}, {"interval_ns": -1}, {"grace_ns": -1}])
def test_an_interval_that_holds_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match="candles need an interval above 0 ns"):
        Candles(**arguments)
