"""After a restart: stops that ask first, exits while the past is on its way, history that overlaps, and holes that it leaves."""

from collections.abc import Sequence
from typing import Any

import pytest

from claire.engine.pipeline import NEVER
from claire.model.decisions import Signal
from claire.model.errors import StrategyError
from claire.model.market import Candle, Side, Trade
from claire.model.orders import OrderState
from claire.stages.candles import Candles
from claire.stages.regime import Regimes
from claire.stages.signal import Desk, OnRestart, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support import markets
from tests.support.markets import ABC, SECOND_NS, SYMBOL, T0, ListSource, fill, order, trade

BUY, SELL = Side.BUY, Side.SELL
MINUTE_NS = 60 * SECOND_NS


class Seeing(Strategy):
    """Wants ten seconds of the past, keeps what it sees, and says what it is told to."""

    memory_s = 10.0
    wants_candles = True
    word = Opinion.NO_ENTRY

    def __init__(self, params: Any, instrument: Any) -> None:
        super().__init__(params, instrument)
        self.seen: list[int] = []
        self.candles: list[int] = []

    def on_trade(self, trade: Trade) -> Opinion:
        self.seen.append((trade.ts_event_ns - T0) // SECOND_NS)
        return self.word

    def on_candle(self, candle: Candle) -> None:
        self.candles.append((candle.open_ns - T0) // MINUTE_NS)


def stage(stop: float = 1.0, hold: float = 0.0) -> tuple[Signals, Desk, Seeing]:
    strategy = Seeing(StrategyParams(stop_loss_pct=stop, take_profit_pct=5.0, max_hold_s=hold), ABC)
    desk = Desk("s", strategy, 10**10)
    return Signals([desk]), desk, strategy


def long(ticks: int = 10_000, **params: float) -> tuple[Signals, Desk, Seeing]:
    """A desk that owns 100 lots since second 0."""
    signals, desk, strategy = stage(**params)
    strategy.word = Opinion.ENTER
    signals.on_trade(trade(0, ticks))
    strategy.word = Opinion.NO_ENTRY
    done(signals, BUY, ticks, order_no=1)
    return signals, desk, strategy


def done(signals: Signals, side: Side, ticks: int, order_no: int, at_s: float = 0) -> None:
    signals.on_order(order(side, OrderState.SENT, 100, order_no=order_no, at_s=at_s))
    signals.on_fill(fill(side, ticks, 100, at_s, order_no))
    signals.on_order(order(side, OrderState.FILLED, 100, 100, order_no=order_no, at_s=at_s))


def reasons(made: Sequence[Signal]) -> list[str]:
    return [signal.reason for signal in made]


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND_NS)


# -- beyond the stop -------------------------------------------------------------------------------------------------


def test_a_position_found_beyond_its_stop_is_sold_where_nobody_wants_to_be_asked():
    signals, _, _ = long()
    signals.resumed(OnRestart.SELL, at(100))
    assert reasons(signals.on_trade(trade(101, 9_000))) == ["stop_loss"]
    assert signals.asking == ()


def test_a_position_found_beyond_its_stop_waits_for_a_word_where_somebody_wants_to_be_asked():
    signals, desk, strategy = long(hold=50)
    signals.resumed(OnRestart.ASK, at(100))
    strategy.word = Opinion.EXIT
    assert [signals.on_trade(trade(n, 9_000)) for n in (101, 102)] == [(), ()]  # neither stop nor time nor opinion
    assert (desk.suppressed["exit_waits"], signals.asking) == (2, (("s", SYMBOL),))
    signals.release("another")
    assert signals.on_trade(trade(103, 9_000)) == ()
    signals.release()
    assert reasons(signals.on_trade(trade(104, 9_000))) == ["stop_loss"]
    assert signals.asking == ()


def test_a_price_that_came_back_above_the_stop_makes_it_an_ordinary_stop_again():
    signals, _, _ = long()
    signals.resumed(OnRestart.ASK, at(100))
    assert signals.on_trade(trade(101, 9_000)) == ()
    assert signals.on_trade(trade(102, 9_901)) == ()
    assert reasons(signals.on_trade(trade(103, 9_900))) == ["stop_loss"]


def test_a_position_that_is_found_above_its_stop_asks_nobody():
    signals, _, _ = long()
    signals.resumed(OnRestart.ASK, at(100))
    assert reasons(signals.on_trade(trade(101, 10_500))) == ["take_profit"]
    assert signals.asking == ()


def test_who_owns_nothing_asks_nothing_and_its_next_position_is_an_ordinary_one():
    signals, _, strategy = stage()
    signals.resumed(OnRestart.ASK, T0)
    strategy.word = Opinion.ENTER
    assert reasons(signals.on_trade(trade(11, 10_000))) == ["entry"]
    done(signals, BUY, 10_000, 1, at_s=11)
    assert reasons(signals.on_trade(trade(12, 9_000))) == ["stop_loss"]


# -- the past that was missed ----------------------------------------------------------------------------------------


def test_only_what_was_missed_is_shown_and_then_what_came_meanwhile():
    signals, _, strategy = stage()
    for at_s in (1, 2, 3):
        signals.on_trade(trade(at_s, 10_000))
    signals.await_history(SYMBOL, at(3), at(20))
    signals.resumed(OnRestart.SELL, at(20))
    signals.on_trade(trade(21, 10_000))
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (2, 3, 7, 15)])
    strategy.word = Opinion.ENTER
    assert reasons(signals.on_trade(trade(22, 10_000))) == ["entry"]  # nothing was missed
    assert strategy.seen == [1, 2, 3, 7, 15, 21, 22]


def test_a_history_that_does_not_reach_back_leaves_a_gap_of_the_strategys_memory():
    signals, desk, strategy = stage()
    signals.on_trade(trade(1, 10_000))
    signals.await_history(SYMBOL, at(1), at(20))
    signals.resumed(OnRestart.SELL, at(20))
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (15, 18)])
    strategy.word = Opinion.ENTER
    assert signals.on_trade(trade(24.9, 10_000)) == ()
    assert desk.suppressed["feed_gap"] == 1
    assert reasons(signals.on_trade(trade(25, 10_000))) == ["entry"]
    assert strategy.seen == [1, 15, 18, 24, 25]


@pytest.mark.parametrize(("meanwhile", "until_s"), [([], 30), ([23.0], 33)])
def test_a_history_that_is_empty_leaves_a_gap_up_to_what_came_live(meanwhile: list[float], until_s: int):
    signals, _, strategy = stage()
    signals.on_trade(trade(1, 10_000))
    signals.await_history(SYMBOL, at(1), at(20))
    for at_s in meanwhile:
        signals.on_trade(trade(at_s, 10_000))
    signals.on_history(SYMBOL, [])
    strategy.word = Opinion.ENTER
    assert signals.on_trade(trade(until_s - 0.1, 10_000)) == ()
    assert reasons(signals.on_trade(trade(until_s, 10_000))) == ["entry"]


def test_without_a_history_to_come_there_is_a_gap_up_to_the_restart():
    signals, desk, strategy = stage()
    signals.resumed(OnRestart.SELL, at(20))
    strategy.word = Opinion.ENTER
    assert signals.on_trade(trade(29.9, 10_000)) == ()
    assert desk.suppressed["feed_gap"] == 1
    assert reasons(signals.on_trade(trade(30, 10_000))) == ["entry"]


def test_a_gap_that_was_open_when_the_process_ended_is_closed_by_the_restart():
    signals, _, strategy = stage()
    signals.on_gap(SYMBOL, NEVER)
    signals.await_history(SYMBOL, at(1), at(20))
    signals.resumed(OnRestart.SELL, at(20))
    signals.on_history(SYMBOL, [trade(1, 10_000)])
    strategy.word = Opinion.ENTER
    assert signals.on_trade(trade(29.9, 10_000)) == ()
    assert reasons(signals.on_trade(trade(30, 10_000))) == ["entry"]


def test_a_history_that_was_awaited_when_the_process_ended_is_awaited_from_where_it_began():
    signals, _, strategy = stage()
    signals.on_trade(trade(1, 10_000))
    signals.await_history(SYMBOL, at(1), at(20))
    signals.on_trade(trade(21, 10_000))  # not shown before the process ended; the history has it
    signals.await_history(SYMBOL, at(21), at(40))
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (1, 15, 21, 30)])
    assert strategy.seen == [1, 15, 21, 30]


def test_while_the_past_is_awaited_a_position_is_watched_and_nothing_is_entered():
    signals, desk, strategy = long(stop=1.0)
    signals.await_history(SYMBOL, at(0), at(20))
    signals.resumed(OnRestart.SELL, at(20))
    assert signals.on_trade(trade(21, 10_000)) == ()
    assert reasons(signals.on_trade(trade(22, 9_000))) == ["stop_loss"]
    assert signals.on_trade(trade(23, 9_000)) == ()
    done(signals, SELL, 9_000, 2, at_s=23)
    strategy.word = Opinion.ENTER
    assert signals.on_trade(trade(24, 9_000)) == ()
    counted = {reason: count for reason, count in desk.suppressed.items() if count}
    assert counted == {"position_open": 1, "order_live": 1, "warming_up": 1}
    assert strategy.seen == [0]
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (0, 5)])
    assert strategy.seen == [0, 5, 21, 22, 23, 24]


def test_a_strategy_that_raises_at_its_past_is_named():
    signals, _, strategy = stage()
    signals.await_history(SYMBOL)
    strategy.seen = ()  # type: ignore[assignment]  # so that it raises
    with pytest.raises(StrategyError, match=r"strategy s raised AttributeError: .* which it was shown as its past"):
        signals.on_history(SYMBOL, [trade(1, 10_000)])


# -- candles ---------------------------------------------------------------------------------------------------------


def candle(minute: int, ticks: int = 10_000) -> Candle:
    open_ns = T0 + minute * MINUTE_NS
    return Candle(SYMBOL, open_ns, open_ns + MINUTE_NS, ticks, ticks + minute, ticks - minute, ticks, 1, 1)


def test_candles_that_were_seen_are_not_shown_again():
    signals, _, strategy = stage()
    for minute in (0, 1, 2, 1, 2, 3, 3, 4):
        signals.on_candle(candle(minute))
    assert strategy.candles == [0, 1, 2, 3, 4]


def test_the_regime_does_not_count_a_candle_twice():
    once, twice = Regimes(), Regimes()
    for minute in range(40):
        once.on_candle(candle(minute))
        twice.on_candle(candle(minute))
        twice.on_candle(candle(max(0, minute - 1)))
        twice.on_candle(candle(minute))
    assert once.symbols == twice.symbols


def test_a_candle_that_ended_while_nobody_looked_is_dropped_with_the_empty_ones_after_it():
    candles = Candles()
    candles.on_trade(trade(0, 10_000))
    candles.on_trade(trade(30, 10_000))
    candles.on_trade(trade(-30, 10_000))
    candles.resumed(at(59))
    assert candles.symbols[SYMBOL].trades == 2  # it has not ended
    candles.resumed(at(60))
    assert candles.symbols == {}
    assert candles.late(SYMBOL) == 1
    assert len(candles.on_trade(trade(630, 10_000))) == 1  # a timer: nothing was closed
    candles.on_trade(trade(590, 10_000))
    assert candles.late(SYMBOL) == 2


# -- the pipeline ----------------------------------------------------------------------------------------------------


def test_a_pipeline_awaits_what_came_after_the_last_trade_that_it_took():
    lookback = ("lookback_s=10", "threshold_pct=1", "paper.latency_ms=0")
    made = markets.run(ListSource([trade(0, 10_000), trade(1, 10_000)]), *lookback)
    pipeline = made.pipeline
    pipeline.resumed(OnRestart.SELL, at(30), [SYMBOL])
    strategy: Any = pipeline.stages.signals.desks[0].strategy
    pipeline.past_trades(SYMBOL, [trade(at_s, 10_000) for at_s in (0, 1, 25)])
    assert list(strategy._times) == [at(25)]
    assert strategy._reference_ticks == 10_000
    pipeline.feed(trade(31, 10_000))
    assert list(strategy._times) == [at(25), at(31)]
    pipeline.past_candles([candle(minute) for minute in range(3)])
    pipeline.past_candles([candle(minute) for minute in range(4)])
    assert pipeline.stages.regimes.symbols[SYMBOL].candles == 4
