"""The signal stage: one wish at a time, shared exits, waiting after a no, and a reason for every trade without a signal."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from claire.model.decisions import Code, Denial, PositionDusted, Signal
from claire.model.errors import StrategyError
from claire.model.market import Candle, Side, Trade
from claire.model.orders import OrderState
from claire.stages.signal import REASONS, Desk, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support.markets import ABC, SYMBOL, T0, fill, order, rules, trade

BUY, SELL = Side.BUY, Side.SELL
ENTER, EXIT, NO_ENTRY, THIN, WARMING_UP = (
    Opinion.ENTER,
    Opinion.EXIT,
    Opinion.NO_ENTRY,
    Opinion.THIN,
    Opinion.WARMING_UP,
)


class Scripted(Strategy):
    """Says what it is told to, then goes on saying the last word."""

    def __init__(self, params, instrument, says: Iterable[object] = (NO_ENTRY,)) -> None:
        super().__init__(params, instrument)
        self.says = list(says)

    def on_trade(self, trade: Trade) -> Opinion:
        word = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(word, Exception):
            raise word
        return word  # type: ignore[return-value]  # nonsense is one of the things it says


class Stage:
    """The stage with one scripted desk, and shorthand for what it hears."""

    def __init__(self, *says: object, instrument=ABC, max_age_ns: int = 2_000_000_000, **params: float) -> None:
        exits = {"stop_loss_pct": 0.0, "take_profit_pct": 0.0, "max_hold_s": 0.0} | params
        self.desk = Desk("s", Scripted(StrategyParams(**exits), instrument, says or (NO_ENTRY,)), max_age_ns)
        self.signals = Signals([self.desk])
        self.seen = 0
        self.orders = 0

    def trade(self, at_s: float, ticks: int = 10_000, **more) -> tuple[str, ...]:
        """Return the reasons of the signals that one trade brings."""
        self.seen += 1
        return tuple(signal.reason for signal in self.signals.on_trade(trade(at_s, ticks, **more)))

    def answer(self, side: Side, ticks: int, lots: int, filled: int | None = None, at_s: float = 0) -> None:
        """Let the wish become an order that fills so far and is then over."""
        filled = lots if filled is None else filled
        self.orders += 1
        for state in (OrderState.INTENT, OrderState.SENT):
            self.signals.on_order(order(side, state, lots, 0, at_s, self.orders))
        if filled:
            self.signals.on_fill(fill(side, ticks, filled, at_s, self.orders))
        last = OrderState.FILLED if filled == lots else OrderState.CANCELED
        self.signals.on_order(order(side, last, lots, filled, at_s, self.orders))

    def deny(self, side: Side, code: Code = Code.CASH_RESERVE, at_s: float = 0) -> None:
        at_ns = T0 + round(at_s * 1_000_000_000)
        self.signals.on_denial(Denial(1, "s", SYMBOL, side, code, at_ns, Decimal(0), Decimal(0), "USDT", "no"))

    @property
    def reasons(self) -> dict[str, int]:
        """The reasons that were counted; every trade is a signal or has a reason."""
        counted = self.desk.suppressed
        assert sum(counted.values()) + self.desk.signals == self.seen
        return {reason: count for reason, count in counted.items() if count}


def long(ticks: int = 10_000, lots: int = 100, *says: object, **params: Any) -> Stage:
    """A stage that bought at second 0."""
    stage = Stage(ENTER, *(says or (NO_ENTRY,)), **params)
    assert stage.trade(0, ticks) == ("entry",)
    stage.answer(BUY, ticks, lots)
    return stage


# -- entries ---------------------------------------------------------------------------------------------------------


def test_a_signal_says_what_was_seen():
    stage = Stage(ENTER)
    (made,) = stage.signals.on_trade(trade(7, 10_000))
    assert made == Signal(1, "s", SYMBOL, BUY, T0 + 7_000_000_000, 10_000, "entry", 1.0, None)


def test_no_second_signal_while_the_first_is_undecided_or_its_order_lives():
    stage = Stage(ENTER)
    assert stage.trade(0) == ("entry",)
    assert stage.trade(1) == ()
    for state in (OrderState.INTENT, OrderState.SENT, OrderState.OPEN, OrderState.UNKNOWN, OrderState.PENDING_CANCEL):
        stage.signals.on_order(order(BUY, state))
        assert stage.trade(2) == ()
    stage.signals.on_fill(fill(BUY, 10_000, 40))
    stage.signals.on_order(order(BUY, OrderState.PARTIALLY_FILLED, 100, 40))
    assert stage.trade(3) == ()
    assert stage.reasons == {"order_live": 7}


def test_no_exit_while_a_partly_filled_entry_lives():
    stage = Stage(ENTER, stop_loss_pct=1)
    stage.trade(0)
    stage.signals.on_order(order(BUY, OrderState.SENT))
    stage.signals.on_fill(fill(BUY, 10_000, 40))
    stage.signals.on_order(order(BUY, OrderState.PARTIALLY_FILLED, 100, 40))
    assert stage.trade(1, 5_000) == ()
    stage.signals.on_order(order(BUY, OrderState.CANCELED, 100, 40))
    assert stage.trade(2, 5_000) == ("stop_loss",)


def test_after_a_denial_an_entry_waits_until_its_condition_was_false_once():
    stage = Stage(ENTER, ENTER, THIN, ENTER, NO_ENTRY, ENTER)
    assert stage.trade(0) == ("entry",)
    stage.deny(BUY)
    assert [stage.trade(n) for n in (1, 2, 3, 4)] == [(), (), (), ()]
    assert stage.trade(5) == ("entry",)
    assert stage.reasons == {"waiting_below_threshold": 2, "volume": 1, "below_threshold": 1}


def test_too_little_volume_is_not_the_condition_turning_false():
    stage = Stage(ENTER, THIN, ENTER)
    stage.trade(0)
    stage.deny(BUY)
    assert stage.trade(1) == stage.trade(2) == ()
    assert stage.reasons == {"volume": 1, "waiting_below_threshold": 1}


def test_the_opinion_to_leave_ends_the_waiting_too():
    stage = Stage(ENTER, ENTER, EXIT, ENTER)
    stage.trade(0)
    stage.deny(BUY)
    assert [stage.trade(n) for n in (1, 2, 3)] == [(), (), ("entry",)]


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.NOT_SENT])
def test_after_an_unfilled_entry_it_waits_as_after_a_denial(state: OrderState):
    stage = Stage(ENTER, ENTER, NO_ENTRY, ENTER)
    stage.trade(0)
    stage.signals.on_order(order(BUY, OrderState.SENT))
    stage.signals.on_order(order(BUY, state))
    assert [stage.trade(n) for n in (1, 2, 3)] == [(), (), ("entry",)]


def test_a_condition_that_was_false_only_while_the_order_lived_does_not_end_the_waiting():
    stage = Stage(ENTER, NO_ENTRY, ENTER)
    stage.trade(0)
    stage.trade(1)
    stage.answer(BUY, 10_000, 100, 0)
    assert stage.trade(2) == ()
    assert stage.reasons == {"order_live": 1, "waiting_below_threshold": 1}


def test_an_entry_that_filled_in_part_is_a_position_and_no_reason_to_wait():
    stage = Stage(ENTER, EXIT, ENTER)
    stage.trade(0)
    stage.answer(BUY, 10_000, 100, 30)
    assert stage.trade(1) == ("exit",)
    stage.answer(SELL, 10_000, 30)
    assert stage.trade(2) == ("entry",)


def test_a_stale_trade_starts_nothing():
    stage = Stage(ENTER, max_age_ns=500)
    assert stage.trade(0, ts_recv_ns=T0 + 501) == ()
    assert stage.trade(0, ts_recv_ns=T0 + 500) == ("entry",)
    assert stage.reasons == {"stale": 1}


def test_a_clock_that_runs_behind_makes_no_trade_stale():
    assert Stage(ENTER, max_age_ns=500).trade(0, ts_recv_ns=T0 - 1_270_000_000) == ("entry",)


def test_a_stale_trade_may_still_end_a_position():
    stage = long(stop_loss_pct=1)
    assert stage.trade(1, 9_000, ts_recv_ns=T0 + 60_000_000_000) == ("stop_loss",)


# -- the past --------------------------------------------------------------------------------------------------------


class Seeing(Scripted):
    """Wants ten seconds of the past, and keeps the times that it sees."""

    memory_s = 10.0

    def __init__(self, params, instrument, says: Iterable[object] = (NO_ENTRY,)) -> None:
        super().__init__(params, instrument, says)
        self.seen: list[int] = []

    def on_trade(self, trade: Trade) -> Opinion:
        self.seen.append((trade.ts_event_ns - T0) // 1_000_000_000)
        return super().on_trade(trade)


def seeing() -> tuple[Signals, Seeing]:
    strategy = Seeing(StrategyParams(stop_loss_pct=0.0, take_profit_pct=0.0, max_hold_s=0.0), ABC)
    signals = Signals([Desk("s", strategy, 2_000_000_000)])
    signals.await_history(SYMBOL)
    return signals, strategy


def test_the_past_is_shown_before_what_came_while_it_was_awaited():
    signals, strategy = seeing()
    for at_s in (20, 21):
        signals.on_trade(trade(at_s, 10_000))
    assert strategy.seen == []
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (12, 15)])
    signals.on_trade(trade(22, 10_000))
    assert strategy.seen == [12, 15, 20, 21, 22]


def test_a_past_that_comes_when_the_memory_is_full_already_is_not_shown():
    signals, strategy = seeing()
    for at_s in (20, 25, 30, 31):
        signals.on_trade(trade(at_s, 10_000))
    signals.on_history(SYMBOL, [trade(at_s, 10_000) for at_s in (12, 15)])
    assert strategy.seen == [20, 25, 30, 31]


# -- exits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ticks", "expected"), [(9_901, ()), (9_900, ("stop_loss",)), (1, ("stop_loss",))])
def test_the_stop_is_hit_at_or_below_its_level(ticks: int, expected: tuple[str, ...]):
    assert long(stop_loss_pct=1).trade(1, ticks) == expected


@pytest.mark.parametrize(("ticks", "expected"), [(10_149, ()), (10_150, ("take_profit",)), (99_999, ("take_profit",))])
def test_the_target_is_hit_at_or_above_its_level(ticks: int, expected: tuple[str, ...]):
    assert long(take_profit_pct=1.5).trade(1, ticks) == expected


@pytest.mark.parametrize(
    ("entry", "stop_pct", "target_pct", "stop", "target"),
    [
        (10_001, 1, 1, 9_900, 10_102),  # 9900.99 down, 10101.01 up
        (10_000, 0.1, 0.1, 9_990, 10_010),  # exact: no rounding, though 0.1 is none in binary
        (9_999, 0.3, 0.7, 9_969, 10_069),  # 9969.003, 10068.993
        (3, 2, 4, 2, 4),  # 2.94, 3.12
    ],
)
def test_levels_are_exact_the_stop_rounded_down_the_target_up(entry, stop_pct, target_pct, stop, target):
    params = {"stop_loss_pct": stop_pct, "take_profit_pct": target_pct}
    assert long(entry, **params).trade(1, stop + 1) == ()
    assert long(entry, **params).trade(1, stop) == ("stop_loss",)
    assert long(entry, **params).trade(1, target - 1) == ()
    assert long(entry, **params).trade(1, target) == ("take_profit",)


def test_levels_follow_from_the_average_entry_price_without_fees():
    stage = Stage(ENTER, NO_ENTRY, stop_loss_pct=1, take_profit_pct=1)
    stage.trade(0)
    stage.signals.on_order(order(BUY, OrderState.SENT, 300))
    fee: dict[str, Any] = {"fee": Decimal("0.5"), "fee_asset": "USDT", "fee_value": Decimal("0.5")}
    stage.signals.on_fill(fill(BUY, 10_000, 200, **fee))
    stage.signals.on_fill(fill(BUY, 10_003, 100, **fee))  # the average is 10,001 exactly
    stage.signals.on_order(order(BUY, OrderState.FILLED, 300, 300))
    assert stage.trade(1, 9_901) == ()
    assert stage.trade(1, 10_101) == ()
    assert stage.trade(2, 10_102) == ("take_profit",)
    stage.deny(SELL)
    assert stage.trade(3, 9_900) == ("stop_loss",)


def test_a_partial_exit_moves_no_level_and_asks_again():
    stage = long(10_000, 100, stop_loss_pct=1)
    assert stage.trade(1, 9_900) == ("stop_loss",)
    stage.answer(SELL, 9_000, 100, 60)
    assert stage.trade(2, 9_901) == ()
    assert stage.trade(3, 9_900) == ("stop_loss",)
    stage.answer(SELL, 9_800, 40)
    assert stage.desk.position.is_flat


def test_the_longest_hold_runs_from_the_first_entry_fill():
    stage = Stage(ENTER, NO_ENTRY, max_hold_s=10)
    stage.trade(0)
    stage.signals.on_order(order(BUY, OrderState.SENT, 100))
    stage.signals.on_fill(fill(BUY, 10_000, 50, at_s=1))
    stage.signals.on_fill(fill(BUY, 10_000, 50, at_s=5))
    stage.signals.on_order(order(BUY, OrderState.FILLED, 100, 100, at_s=5))
    assert stage.trade(10.999_999_999) == ()
    assert stage.trade(11) == ("max_hold",)


def test_exits_that_are_switched_off_never_come():
    stage = long()
    assert [stage.trade(10**6, ticks) for ticks in (1, 10**9)] == [(), ()]
    assert stage.reasons == {"position_open": 2}


def test_of_several_exits_at_one_trade_the_stop_is_named_first():
    assert long(10_000, 100, EXIT, stop_loss_pct=1, max_hold_s=1).trade(9, 9_000) == ("stop_loss",)
    assert long(10_000, 100, EXIT, take_profit_pct=1, max_hold_s=1).trade(9, 11_000) == ("take_profit",)
    assert long(10_000, 100, EXIT, max_hold_s=1).trade(9, 10_000) == ("max_hold",)
    assert long(10_000, 100, EXIT, max_hold_s=1).trade(0.5, 10_000) == ("exit",)


def test_a_trade_that_exits_does_not_enter_and_the_next_one_may():
    stage = long(10_000, 100, ENTER, stop_loss_pct=1)
    assert stage.trade(1, 9_000) == ("stop_loss",)
    stage.answer(SELL, 9_000, 100)
    assert stage.trade(1, 9_000) == ("entry",)


def test_levels_of_one_round_trip_do_not_outlive_it():
    stage = Stage(ENTER, NO_ENTRY, ENTER, NO_ENTRY, stop_loss_pct=1, max_hold_s=10)
    stage.trade(0, 10_000)
    stage.answer(BUY, 10_000, 100)
    assert stage.trade(1, 9_000) == ("stop_loss",)
    stage.answer(SELL, 9_000, 100)
    assert stage.trade(100, 5_000) == ("entry",)
    stage.answer(BUY, 5_000, 100, at_s=100)
    assert stage.trade(101, 5_000) == ()


@pytest.mark.parametrize("tiny", [1e-20, 0.0033333333333333335])
def test_percentages_finer_than_money_are_no_trouble(tiny: float):
    stage = long(10_000, 100, stop_loss_pct=tiny, take_profit_pct=tiny)
    assert stage.trade(1, 10_000) == ()
    assert stage.trade(2, 9_999) == ("stop_loss",)


# -- being flat ------------------------------------------------------------------------------------------------------


def test_a_rest_that_is_too_small_to_sell_ends_the_round_trip():
    cheap = rules(min_notional="5")
    stage = Stage(ENTER, EXIT, ENTER, instrument=cheap)
    stage.trade(0)
    stage.answer(BUY, 10_000, 100)
    assert stage.trade(1) == ("exit",)
    stage.answer(SELL, 10_000, 100, 96)  # 4 lots of 1 USDT are left
    assert stage.desk.position.is_flat
    assert stage.trade(2) == ("entry",)


def test_a_rest_that_can_be_sold_is_a_position_still():
    stage = Stage(ENTER, EXIT, instrument=rules(min_notional="5"))
    stage.trade(0)
    stage.answer(BUY, 10_000, 100)
    stage.trade(1)
    stage.answer(SELL, 10_000, 100, 95)
    assert stage.trade(2) == ("exit",)


def test_a_position_that_went_to_dust_leaves_the_desk_flat():
    stage = long(10_000, 100, EXIT, ENTER)
    assert stage.trade(1) == ("exit",)
    stage.deny(SELL, Code.BELOW_MIN_NOTIONAL)
    stage.signals.on_dusted(PositionDusted("s", SYMBOL, Decimal(1), T0, 10_000))
    assert stage.trade(2) == ("entry",)


def test_a_denied_exit_is_asked_for_again_a_second_later():
    stage = long(10_000, 100, stop_loss_pct=1)
    assert stage.trade(1, 9_000) == ("stop_loss",)
    stage.deny(SELL, Code.TRADING_STATE, at_s=1)
    assert stage.trade(1.999, 9_000) == ()
    assert stage.desk.suppressed["exit_waits"] == 1
    assert stage.trade(2, 9_000) == ("stop_loss",)


def test_an_exit_that_sold_nothing_waits_and_one_that_sold_some_goes_on_at_once():
    stage = long(10_000, 100, stop_loss_pct=1)
    assert stage.trade(1, 9_000) == ("stop_loss",)
    stage.answer(SELL, 9_000, 100, filled=0, at_s=1)
    assert stage.trade(1.5, 9_000) == ()
    assert stage.trade(2, 9_000) == ("stop_loss",)
    stage.answer(SELL, 9_000, 100, filled=40, at_s=2)
    assert stage.trade(2.001, 9_000) == ("stop_loss",)


def test_a_late_fill_of_an_answered_exit_ends_the_round_trip():
    stage = long(10_000, 100, EXIT, ENTER)
    stage.trade(1)
    stage.answer(SELL, 10_000, 100, 60)
    stage.signals.on_fill(fill(SELL, 10_000, 40, order_no=2))
    stage.signals.on_order(order(SELL, OrderState.FILLED, 100, 100, order_no=2))
    assert stage.desk.position.is_flat
    assert stage.trade(2) == ("entry",)


def test_a_late_answer_about_an_earlier_order_does_not_free_the_live_one():
    stage = long(10_000, 100, EXIT)
    stage.trade(1)
    stage.answer(SELL, 10_000, 100, 10)  # order 2 is over, 90 lots are left
    stage.trade(2)
    stage.signals.on_order(order(SELL, OrderState.SENT, 90, order_no=3))
    stage.signals.on_fill(fill(SELL, 10_000, 20, order_no=2))
    stage.signals.on_order(order(SELL, OrderState.CANCELED, 100, 30, order_no=2))
    assert stage.trade(3) == ()
    assert stage.reasons == {"order_live": 1}


# -- strategies that go wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonsense", [None, True, "enter", 1.0, object()])
def test_an_answer_that_is_no_opinion_stops_the_run_and_names_strategy_symbol_and_time(nonsense: object):
    for stage in (Stage(nonsense), long(10_000, 100, nonsense), Stage(ENTER, nonsense)):
        with pytest.raises(StrategyError, match=rf"strategy s answered .* at the ABCUSDT trade of {T0 + 10**9} ns"):
            stage.trade(1) and stage.trade(1)


def test_a_strategy_that_raises_stops_the_run_and_is_named_with_symbol_and_time():
    with pytest.raises(
        StrategyError, match=rf"strategy s raised KeyError: 'x' at the ABCUSDT trade of {T0} ns"
    ) as error:
        Stage(KeyError("x")).trade(0)
    assert isinstance(error.value.__cause__, KeyError)
    assert error.value.exit_code == 1


def test_a_strategy_that_raises_on_a_candle_is_named_too():
    class OnCandle(Scripted):
        wants_candles = True

        def on_candle(self, candle: Candle) -> None:
            raise ZeroDivisionError("candle")

    signals = Signals([Desk("s", OnCandle(StrategyParams(), ABC), 0)])
    with pytest.raises(StrategyError, match=r"strategy s raised ZeroDivisionError: candle at the ABCUSDT candle"):
        signals.on_candle(Candle(SYMBOL, T0, T0 + 60, 1, 1, 1, 1, 1, 1))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_strength_out_of_range_stops_the_run(strength: float):
    class Strong(Scripted):
        @property
        def strength(self) -> float:
            return strength

    desk = Desk("s", Strong(StrategyParams(), ABC, [ENTER]), 0)
    with pytest.raises(
        StrategyError, match=rf"strategy s gave the strength {strength} at the ABCUSDT trade of {T0} ns"
    ):
        Signals([desk]).on_trade(trade(0, 1))


def test_a_strength_that_raises_is_the_strategys_fault():
    class Broken(Scripted):
        @property
        def strength(self) -> float:
            raise ValueError("no strength")

    with pytest.raises(StrategyError, match="strategy s raised ValueError: no strength"):
        Signals([Desk("s", Broken(StrategyParams(), ABC, [ENTER]), 0)]).on_trade(trade(0, 1))


# -- several desks ---------------------------------------------------------------------------------------------------


def test_desks_of_one_symbol_are_asked_in_order_and_answer_each_for_itself():
    desks = [Desk(name, Scripted(StrategyParams(), ABC, [ENTER]), 0) for name in ("b", "a")]
    signals = Signals(desks)
    made = signals.on_trade(trade(0, 1))
    assert [(s.strategy_id, s.signal_no) for s in made] == [("b", 1), ("a", 2)]
    signals.on_denial(Denial(1, "b", SYMBOL, BUY, Code.CASH_RESERVE, T0, Decimal(0), Decimal(0), "USDT", "no"))
    assert signals.on_trade(trade(1, 1)) == ()
    assert desks[0].suppressed["waiting_below_threshold"] == desks[1].suppressed["order_live"] == 1


def test_a_trade_of_another_symbol_is_nobodys_business():
    stage = Stage(ENTER)
    assert stage.signals.on_trade(trade(0, 1, symbol="XYZUSDT")) == ()
    assert stage.reasons == {}


def test_every_opinion_that_is_no_signal_has_its_reason():
    stage = Stage(WARMING_UP, NO_ENTRY, THIN, EXIT, NO_ENTRY)
    for at_s in range(5):
        stage.trade(at_s)
    assert stage.reasons == {"warming_up": 1, "below_threshold": 3, "volume": 1}
    assert set(REASONS) == set(stage.desk.suppressed)
