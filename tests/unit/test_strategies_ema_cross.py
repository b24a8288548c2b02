"""EMA cross: it thinks on closed candles and speaks at trades."""

import msgspec
import pytest

from claire.model.decisions import RoundTrip, Signal
from claire.model.market import Candle
from claire.strategies import Opinion
from claire.strategies.ema_cross import EmaCross, EmaCrossParams
from tests.support.markets import ABC, SYMBOL, Listening, ListSource, rules, run, trade

MINUTE_NS = 60_000_000_000


def candle(number: int, close: int) -> Candle:
    return Candle(SYMBOL, number * MINUTE_NS, (number + 1) * MINUTE_NS, close, close, close, close, 1, 1)


def test_it_warms_up_until_the_slow_average_is_ready():
    strategy = EmaCross(EmaCrossParams(fast=2, slow=4), ABC)
    for number in range(3):
        strategy.on_candle(candle(number, 10_000 + number))
        assert strategy.on_trade(trade(number, 1)) is Opinion.WARMING_UP
    strategy.on_candle(candle(3, 10_003))
    assert strategy.on_trade(trade(3, 1)) is Opinion.ENTER


def test_it_follows_the_cross_and_not_the_trades_between():
    strategy = EmaCross(EmaCrossParams(fast=2, slow=4), ABC)
    for number, close in enumerate((10_000, 10_000, 10_000, 10_000)):
        strategy.on_candle(candle(number, close))
    assert strategy.on_trade(trade(0, 99_999)) is Opinion.EXIT  # equal averages are no cross up
    strategy.on_candle(candle(4, 10_100))
    assert [strategy.on_trade(trade(1, ticks)) for ticks in (1, 99_999)] == [Opinion.ENTER] * 2
    for number in range(5, 9):
        strategy.on_candle(candle(number, 9_000))
    assert strategy.on_trade(trade(2, 1)) is Opinion.EXIT


@pytest.mark.parametrize("fast", [26, 27])
def test_a_fast_average_that_is_not_faster_is_refused(fast: int):
    with pytest.raises(msgspec.ValidationError, match=f"fast = {fast} must be less than slow = 26"):
        msgspec.convert({"fast": fast}, EmaCrossParams)


def minutes(*closes: int) -> ListSource:
    """Two trades a minute; the second one is the minute's close."""
    return ListSource(
        event
        for number, close in enumerate(closes)
        for event in (trade(60 * number, close), trade(60 * number + 30, close))
    )


def test_it_enters_at_the_trade_that_closes_the_crossing_candle_and_leaves_the_same_way():
    rising, falling = [10_000 + 10 * n for n in range(8)], [10_070 - 40 * n for n in range(8)]
    heard = Listening()
    run(
        minutes(*rising, *falling),
        "fast=2",
        "slow=4",
        "stop_loss_pct=0",
        "take_profit_pct=0",
        "max_hold_s=0",
        "paper.latency_ms=0",
        "allocation.mode=full",
        strategy="ema_cross",
        recorders=(heard,),
    )
    entry, leave = heard.of(Signal)
    assert (entry.reason, entry.ts_event_ns) == ("entry", trade(60 * 4, 0).ts_event_ns)
    assert leave.reason == "exit"
    (trip,) = heard.of(RoundTrip)
    assert trip.bought_lots == trip.sold_lots


def test_after_a_denied_entry_it_asks_again_at_the_next_cross_and_not_before():
    # A candle strategy says ENTER or EXIT and nothing between: EXIT is what ends the waiting.
    up, down = [10_000 + 10 * n for n in range(6)], [10_050 - 40 * n for n in range(6)]
    source = minutes(*up, *down, *up)
    source.instruments[SYMBOL] = rules(lot="1")  # one lot costs twice the position size
    made = run(source, "fast=2", "slow=4", "allocation.mode=full", strategy="ema_cross")
    assert made.tally.denials == {"BELOW_LOT": 2}
    assert made.pipeline.stages.signals.desks[0].suppressed["waiting_below_threshold"] > 10
