"""The controls of issue 5, one by one: at the limit, one step beyond it, and what takes them back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from claire.latch import ceilings
from claire.model.decisions import (
    Asked,
    Code,
    ControlEvent,
    Denial,
    Intent,
    RiskAlert,
    SetTimer,
    TradingState,
)
from claire.model.errors import ConfigError
from claire.model.market import Candle, Side, Timer
from claire.model.orders import OrderState, OrderType
from claire.stages.controls_base import Rate, Window
from claire.stages.controls_health import GAUGES, Health, Measure, Measurement
from claire.stages.controls_limits import limits
from claire.stages.risk import Risk
from claire.stages.risk_state import Release, collar
from tests.support.markets import (
    DAY_NS,
    SECOND_NS,
    SYMBOL,
    T0,
    Listening,
    ListSource,
    fill,
    order,
    rules,
    run,
    signal,
    trade,
)
from tests.unit.test_risk import BUY, SELL, asked, hold, lots_of, numbers, risk

REDUCE, ACTIVE = TradingState.REDUCE_ONLY, TradingState.ACTIVE


def said(made: Risk, side: Side = BUY, ticks: int = 10_000, **more: Any) -> Sequence[Any]:
    """Everything that a signal brings about."""
    made.state.books.marks[SYMBOL].price_ticks = ticks
    return made.on_signal(signal(side, ticks, **more))


def one(events: Sequence[Any], kind: type) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def done(made: Risk, order_no: int, lots: int, at_s: float, ticks: int = 10_000, side: Side = BUY) -> list[Any]:
    """Let an order of strategy ``s`` be filled."""
    events = list(made.on_fill(fill(side, ticks, lots, at_s=at_s, order_no=order_no)))
    return [*events, *made.on_order(order(side, OrderState.FILLED, lots, lots, at_s=at_s, order_no=order_no))]


# -- C02: the collar ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "ticks", "pct", "worst"),
    [
        (BUY, 10_000, "1", 10_100), (SELL, 10_000, "1", 9_900),
        (BUY, 9_999, "1", 10_098), (SELL, 9_999, "1", 9_900),
        (BUY, 50, "1", 51), (SELL, 50, "1", 49), (SELL, 1, "5", 1), (BUY, 50, "0", 50),
    ],
)  # fmt: skip
def test_a_collar_is_rounded_towards_the_price_and_is_a_tick_at_least(side, ticks, pct, worst):
    assert collar(side, ticks, Decimal(pct)) == worst


def test_a_market_entry_says_its_worst_price_and_counts_at_it():
    made = risk(collar_pct=1, max_symbol_pct="5.05")
    intent = asked(made)
    assert (intent.type, intent.collar_ticks) == (OrderType.MARKET, 10_100)
    assert made.held_and_in_flight() == 505 * 10**17
    assert numbers(asked(risk(collar_pct=1, max_symbol_pct="5.04")))[0] is Code.SYMBOL_EXPOSURE_LIMIT


def test_an_unlimited_market_order_has_no_worst_price():
    assert asked(risk(unlimited=True, collar_pct=1)).collar_ticks == 0


def test_a_price_beyond_the_collar_from_the_last_trade_is_refused():
    for ticks, passes in ((10_100, True), (10_101, False), (9_900, True), (9_899, False)):
        made = risk(collar_pct=1)
        answer = made.on_signal(signal(BUY, ticks))[-1]
        assert isinstance(answer, Intent) is passes
        if not passes:
            assert numbers(answer) == (Code.PRICE_COLLAR, Decimal("1.0100"), 1, "%")


def test_a_price_beyond_the_collar_from_the_middle_of_a_fresh_book_is_refused():
    made = risk(collar_pct=1, max_data_age_ms=2_000)
    mark = made.state.books.marks[SYMBOL]
    mark.bid_ticks, mark.ask_ticks, mark.book_ns = 10_150, 10_250, T0
    answer = asked(made)
    assert numbers(answer) == (Code.PRICE_COLLAR, Decimal("1.9608"), 1, "%")
    assert "the middle of the book, 102" in answer.because
    mark.book_ns = T0 - 2_001_000_000  # too old to say anything
    assert isinstance(asked(made), Intent)


@pytest.mark.parametrize(("bid", "offer"), [(0, 10_010), (9_990, 0), (0, 0), (10_010, 10_010), (10_020, 10_010)])
def test_a_book_that_is_crossed_or_one_sided_allows_no_entry_and_every_exit(bid, offer):
    made = risk()
    hold(made, 100)
    mark = made.state.books.marks[SYMBOL]
    mark.bid_ticks, mark.ask_ticks, mark.book_ns = bid, offer, T0
    assert numbers(asked(made, strategy_id="s2"))[0] is Code.BAD_BOOK
    assert lots_of(asked(made, SELL)) == 100


def test_the_collar_of_an_exit_widens_with_each_attempt_and_then_a_person_is_told():
    made = risk(collar_pct=1)
    hold(made, 100)
    told: list[Any] = []
    for number, worst in enumerate((9_900, 9_800, 9_500, 9_500), 1):
        assert one(said(made, SELL), Intent).collar_ticks == worst
        told.append(list(made.on_order(order(SELL, OrderState.CANCELED, 100, order_no=number))))
    assert [len(alerts) for alerts in told] == [0, 0, 1, 1]
    alert = told[2][0]
    assert isinstance(alert, RiskAlert)
    assert (alert.control, alert.symbol) == ("C02", SYMBOL)
    assert alert.value == alert.limit == 3
    assert one(said(made, SELL), Intent).collar_ticks == 9_500
    done(made, 5, 100, 1, ticks=9_600, side=SELL)
    hold(made, 100)
    assert one(said(made, SELL), Intent).collar_ticks == 9_900  # a new position, a new count


def test_a_collar_never_makes_an_exit_too_small_for_the_venue():
    made = risk(collar_pct=1, instrument=rules(min_notional="99.5"))
    hold(made, 100)
    assert one(said(made, SELL), Intent).collar_ticks == 9_950  # 100 lots at 99 would be worth 99


# -- C03, C04: value and volume ----------------------------------------------------------------------------------------


def hour(at_h: int, close: int) -> Candle:
    end = T0 + at_h * 3_600 * SECOND_NS
    return Candle(SYMBOL, end - 60 * SECOND_NS, end, close, close, close, close, 1, 1)


def test_a_quantity_is_too_large_at_the_usual_price_even_if_todays_price_makes_it_cheap():
    made = risk(max_order_pct=5)  # 50 USDT, twice that is 100: 100 lots at the usual 10,000 ticks
    for number in range(5):
        made.on_candle(hour(number - 10, 10_000))
    made.on_candle(hour(-4, 4_999))
    assert lots_of(asked(made, ticks=5_000)) == 100
    answer = asked(made, ticks=4_950, strategy_id="s2")
    assert numbers(answer) == (Code.ORDER_VOLUME_LIMIT, Decimal("1.01"), 1, "ABC")


def test_the_usual_price_forgets_what_is_older_than_seven_days():
    made = risk()
    for number in range(400):
        made.on_candle(hour(number, 10_000 + number))
    hours = made.state.hours[SYMBOL]
    assert (len(hours), hours[0][1], hours[-1][1]) == (169, 10_231, 10_399)  # the last hour is not over
    assert made.state.usual[SYMBOL] == 10_314
    made.on_candle(hour(399, 5))
    assert (len(hours), hours[-1][1]) == (169, 5)


# -- C05, C06: how often -----------------------------------------------------------------------------------------------


def test_a_window_never_holds_more_than_its_count_wherever_it_begins():
    window, rate = Window(), Rate(3, 60, "x")
    passed = []
    for at in range(0, 300, 7):
        if window.exhausted(at, (rate,)) is None:
            window.note(at, 3)
            passed.append(at)
    assert all(sum(start < at <= start + 60 for at in passed) <= 3 for start in range(-1, 300))
    assert passed[:5] == [0, 7, 14, 63, 70]


def cheap(**limits: Any) -> dict[str, Any]:
    """Entries so small that nothing but their number binds."""
    wide = {"max_orders_per_s": 99, "max_orders_per_min": 99, "max_entries_per_min": 99, "max_entries_per_h": 99}
    return {
        "position_pct": 1,
        "max_symbol_orders": 99,
        "max_open_orders": 99,
        "max_entries_per_day": 99,
        **wide,
        **limits,
    }


def test_entries_of_the_account_are_throttled_and_exits_are_not():
    made = risk(**cheap(max_orders_per_s=2))
    hold(made, 30, owner="s3")
    assert lots_of(asked(made, strategy_id="s")) == 10
    assert numbers(asked(made, strategy_id="s")) == (Code.THROTTLED, 2, 1, "orders")  # half of the account's two
    assert lots_of(asked(made, strategy_id="s2", at_s=0.5)) == 10
    answer = asked(made, strategy_id="s3", at_s=0.9)
    assert numbers(answer) == (Code.THROTTLED, 3, 2, "orders")
    assert answer.because == "the account made 2 entries within one s"
    assert lots_of(asked(made, SELL, strategy_id="s3", at_s=0.9)) == 30
    assert lots_of(asked(made, strategy_id="s", at_s=1)) == 10


def test_repeated_entries_lock_strategy_and_symbol_until_an_operator_says_otherwise():
    made = risk(**cheap(max_entries_per_min=3, release=Release.OPERATOR))
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + 80_000 * SECOND_NS
    for number in range(3):
        assert lots_of(asked(made, at_s=number)) == 10
    events = said(made, at_s=4)
    denial, event = one(events, Denial), one(events, ControlEvent)
    assert numbers(denial) == (Code.REPEATED_ENTRIES, 4, 3, "entries")
    assert (event.state, event.symbol, event.strategy_id, event.until_ns) == (REDUCE, SYMBOL, "s", 0)
    assert event.operator == f"repeated entries (s {SYMBOL})"
    assert event.reason == f"3 entries of s in {SYMBOL} within one min, one more was wanted"
    assert made.state.trading is ACTIVE  # nobody else is concerned
    assert lots_of(asked(made, strategy_id="s2", at_s=5)) == 10
    assert numbers(asked(made, at_s=80_000))[0] is Code.REPEATED_ENTRIES
    made.on_control(ControlEvent(ACTIVE, "looked at", event.operator, T0 + 80_000 * SECOND_NS))
    assert lots_of(asked(made, at_s=80_000)) == 10


def test_far_too_many_orders_lock_the_account_and_let_exits_pass():
    made = risk(**cheap(max_orders_per_min=2, max_orders_per_s=2))
    hold(made, 900)
    events: list[Any] = []
    for number in range(6):  # three times two, exits of a venue that does not fill them
        events += said(made, SELL, at_s=number)
        made.on_order(order(SELL, OrderState.REJECTED, 900, order_no=number + 1, at_s=number, strategy_id="s"))
    event = one([e for e in events if isinstance(e, ControlEvent) and e.operator == "order rate"], ControlEvent)
    assert event.reason == "6 orders in one minute, exits included; 2 entries are allowed"
    assert numbers(asked(made, strategy_id="s2", at_s=7))[0] is Code.ORDER_RATE
    assert lots_of(asked(made, SELL, at_s=7)) == 900


# -- C07, C08, C09 -----------------------------------------------------------------------------------------------------


def test_the_same_entry_within_the_window_is_a_duplicate():
    made = risk(**cheap(duplicate_window_ms=5_000))
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + 5 * SECOND_NS
    assert lots_of(asked(made)) == 10
    assert numbers(asked(made, at_s=4.999)) == (Code.DUPLICATE_ORDER, 4_999, 5_000, "ms")
    assert lots_of(asked(made, strategy_id="s2", at_s=4)) == 10
    assert lots_of(asked(made, ticks=10_001, at_s=4)) == 9  # another order
    assert lots_of(asked(made, at_s=5)) == 10


def test_an_exit_that_would_meet_our_own_resting_order_has_it_cancelled_and_waits_once():
    made = risk(collar_pct=1, entry_type=OrderType.LIMIT, entry_ttl_ns=60 * SECOND_NS)
    hold(made, 100)
    assert lots_of(asked(made, ticks=9_901, strategy_id="s2")) == 50  # rests; an exit at 10,000 may fill down to 9,900
    events = said(made, SELL)
    assert numbers(one(events, Denial)) == (Code.SELF_MATCH, 1, 0, "orders")
    cancel = one(events, Asked)
    assert (cancel.what, cancel.operator, cancel.order_no, cancel.symbol) == ("cancel", "risk", 1, SYMBOL)
    assert one(said(made, SELL, at_s=1), Intent).quantity_lots == 100  # it still rests: the exit does not wait for ever
    made = risk(collar_pct=1, entry_type=OrderType.LIMIT)
    hold(made, 100)
    assert lots_of(asked(made, ticks=9_899, strategy_id="s2")) == 50
    assert one(said(made, SELL), Intent).quantity_lots == 100


def test_so_many_orders_in_one_symbol_and_no_more_unknown_ones_included():
    made = risk(**cheap(max_symbol_orders=2))
    assert lots_of(asked(made)) == lots_of(asked(made, strategy_id="s2")) == 10
    made.on_order(order(BUY, OrderState.UNKNOWN, 10, order_no=1))
    assert numbers(asked(made, strategy_id="s3")) == (Code.OPEN_ORDERS_LIMIT, 3, 2, "orders")
    made.state.books.marks["XYZUSDT"].ts_event_ns = T0
    assert lots_of(asked(made, strategy_id="s3", symbol="XYZUSDT")) == 10
    made.on_order(order(BUY, OrderState.ABSENT, 10, order_no=1))
    assert lots_of(asked(made, strategy_id="s3")) == 10


# -- C12: exits in slices ----------------------------------------------------------------------------------------------


def test_a_large_exit_goes_out_slice_by_slice_and_nothing_is_sold_twice():
    made = risk(slice_pct=10)
    hold(made, 250)  # 250 USDT of 1,000: three slices of at most 100
    first = one(said(made, SELL), Intent)
    assert first.quantity_lots == 84
    assert numbers(asked(made, SELL)) == (Code.NOTHING_TO_SELL, 0, 1, "lots")
    second = one(done(made, 1, 84, 1, side=SELL), Intent)
    assert (second.order_no, second.quantity_lots, second.reduce_only) == (2, 84, True)
    third = one(done(made, 2, 84, 2, side=SELL), Intent)
    assert third.quantity_lots == 82
    assert not [e for e in done(made, 3, 82, 3, side=SELL) if isinstance(e, Intent)]
    assert made.state.books.positions == {}
    assert made.state.selling == {}


def test_an_exit_in_slices_stops_where_the_market_or_a_halt_stops_it():
    for state in (OrderState.CANCELED, OrderState.REJECTED):
        made = risk(slice_pct=10)
        hold(made, 250)
        said(made, SELL)
        assert not [e for e in made.on_order(order(SELL, state, 84, order_no=1)) if isinstance(e, Intent)]
        assert one(said(made, SELL), Intent).quantity_lots == 84  # its strategy asks anew
    made = risk(slice_pct=10)
    hold(made, 250)
    said(made, SELL)
    made.on_control(ControlEvent(TradingState.HALTED, "books", "reconciliation", T0))
    assert not [e for e in done(made, 1, 84, 1, side=SELL) if isinstance(e, Intent)]


def test_no_slice_is_too_small_to_be_sold():
    made = risk(slice_pct=1, instrument=rules(min_notional="20"))
    hold(made, 40)
    assert one(said(made, SELL), Intent).quantity_lots == 40


# -- C13, C14, C15 -----------------------------------------------------------------------------------------------------


def test_a_jump_has_to_be_confirmed_by_a_second_trade():
    made = risk(max_jump_pct=5)
    mark = made.state.books.marks[SYMBOL]
    for before, now, passes in ((10_000, 10_500, True), (10_000, 10_501, False), (10_501, 10_501, True), (0, 7, True)):
        mark.before_ticks = before
        answer = asked(made, ticks=now, strategy_id="s2" if before else "s3")
        assert (getattr(answer, "code", None) is Code.PRICE_JUMP) is not passes
        if not passes:
            assert numbers(answer) == (Code.PRICE_JUMP, Decimal("5.0100"), 5, "%")


def test_only_symbols_on_the_list_are_entered_and_all_can_be_left():
    made = risk(symbols=("XYZUSDT",))
    hold(made, 100)
    answer = asked(made, strategy_id="s2")
    assert numbers(answer) == (Code.SYMBOL_NOT_ALLOWED, 0, 1, "symbols")
    assert answer.because == f"{SYMBOL} is not among the symbols that may be entered: XYZUSDT"
    assert lots_of(asked(made, SELL)) == 100


def test_an_order_has_an_owner():
    for nobody in ("", "s9"):
        assert numbers(asked(risk(), strategy_id=nobody)) == (Code.UNKNOWN_STRATEGY, 0, 1, "strategies")


# -- C16, C17: losses --------------------------------------------------------------------------------------------------


def falls(made: Risk, ticks: int, at_s: float = 1) -> Sequence[Any]:
    made.state.books.marks[SYMBOL].price_ticks = ticks
    return made.on_valuation(T0 + round(at_s * SECOND_NS))


def test_a_person_is_told_at_four_fifths_of_the_daily_loss_once_a_day():
    made = risk(max_daily_loss_pct=3)
    hold(made, 500)
    assert falls(made, 9_521) == []  # 23.95 of 24
    (alert,) = falls(made, 9_520, 2)
    assert (alert.control, alert.value, alert.limit, alert.unit) == ("C16", 24, 30, "USDT")
    assert falls(made, 9_510, 3) == []


def test_the_daily_loss_is_a_lock_with_numbers_that_outlasts_the_day_without_an_operator():
    made = risk(max_daily_loss_pct=3, release=Release.OPERATOR)
    hold(made, 500)
    event = one(falls(made, 9_400), ControlEvent)
    assert (event.operator, event.state, event.until_ns) == ("daily loss", REDUCE, 0)
    assert event.reason == "lost 30 USDT since 00:00 UTC, the limit is 30 (3 %)"
    assert falls(made, 9_300, 2) == []  # one lock, one word
    made.on_valuation(T0 + 2 * DAY_NS)
    assert made.state.trading is REDUCE
    made.on_control(ControlEvent(ACTIVE, "seen", "daily loss", T0 + 2 * DAY_NS))
    assert made.state.trading is ACTIVE


def test_a_released_daily_loss_begins_again_from_there():
    made = risk(max_daily_loss_pct=3, release=Release.OPERATOR)
    hold(made, 500)
    falls(made, 9_400)
    made.on_control(ControlEvent(ACTIVE, "seen", "daily loss", T0 + 2 * SECOND_NS))
    assert [e for e in falls(made, 9_390, 3) if isinstance(e, ControlEvent)] == []
    assert made.state.daily.start == 970 * 10**18
    assert one(falls(made, 8_800, 4), ControlEvent).operator == "daily loss"  # 29.1 more


def test_the_drawdown_is_measured_from_the_highest_equity_and_holds_over_days():
    made = risk(max_drawdown_pct=10, release=Release.OPERATOR)
    hold(made, 800)
    falls(made, 12_500)  # equity 1,200
    assert not [e for e in falls(made, 11_001, DAY_NS / SECOND_NS) if isinstance(e, ControlEvent)]
    events = falls(made, 11_000, DAY_NS / SECOND_NS + 1)  # 1,080
    event = one([e for e in events if isinstance(e, ControlEvent)], ControlEvent)
    assert event.reason == "equity is 120 USDT below its peak of 1200, the limit is 120 (10 %)"
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + DAY_NS
    answer = asked(made, ticks=11_000, strategy_id="s2", at_s=DAY_NS / SECOND_NS + 2)
    assert numbers(answer) == (Code.DRAWDOWN_LIMIT, 120, 120, "USDT")
    made.on_control(ControlEvent(ACTIVE, "seen", "drawdown", T0 + DAY_NS))
    assert made.state.drawdown.peak == 1_080 * 10**18


def test_a_lock_of_a_backtest_ends_at_midnight_and_says_so():
    made = risk(max_daily_loss_pct=3)
    hold(made, 500)
    events = falls(made, 9_400)
    midnight = T0 // DAY_NS * DAY_NS + DAY_NS
    assert one(events, SetTimer) == SetTimer(midnight, "risk:daily loss")
    assert made.on_timer(Timer(midnight - 1, "risk:daily loss")) == []
    event = one(made.on_timer(Timer(midnight, "risk:daily loss")), ControlEvent)
    assert (event.state, event.operator, event.reason) == (ACTIVE, "daily loss", "its time is over")
    (latched,) = made.state.latched
    assert (latched.since_ns, latched.ended_ns) == (T0 + SECOND_NS, midnight)


# -- C18: after losses -------------------------------------------------------------------------------------------------


def round_trip(made: Risk, at_s: float, out: int) -> list[Any]:
    """Buy 100 lots at 10,000 ticks and sell them at another price, a second later."""
    made.on_fill(fill(BUY, 10_000, 100, at_s=at_s, order_no=900))
    made.on_fill(fill(SELL, out, 100, at_s=at_s + 1, order_no=901))
    return list(made.on_order(order(SELL, OrderState.FILLED, 100, 100, at_s=at_s + 1, order_no=901)))


def test_a_symbol_cools_down_after_a_position_was_left():
    made = risk(cooldown_s=120)
    round_trip(made, 0, 10_001)
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + 121 * SECOND_NS
    assert numbers(asked(made, at_s=120)) == (Code.COOLING_DOWN, 119_000, 120_000, "ms")
    made.state.books.marks["XYZUSDT"].ts_event_ns = T0 + 60 * SECOND_NS
    assert isinstance(asked(made, symbol="XYZUSDT", at_s=60, strategy_id="s2"), Intent)
    assert isinstance(asked(made, at_s=121), Intent)


def test_losing_exits_in_a_row_lock_the_symbol_for_a_while():
    made = risk(stop_guard_exits=3, stop_guard_min=10)
    assert not any(round_trip(made, at_s, 9_990) for at_s in (0, 100))
    assert not round_trip(made, 200, 10_010)  # a gain does not count
    event, timer = round_trip(made, 300, 9_990)
    assert (event.operator, event.symbol, event.strategy_id) == (f"stop guard ({SYMBOL})", SYMBOL, "")
    assert event.until_ns == timer.due_ns == T0 + 901 * SECOND_NS
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + 900 * SECOND_NS
    assert numbers(asked(made, at_s=900))[0] is Code.STOP_GUARD
    assert type(said(made, at_s=901)[0]) is ControlEvent
    assert made.state.trading_for("s", SYMBOL) is ACTIVE


def test_losses_further_apart_than_the_window_lock_nothing():
    made = risk(stop_guard_exits=3, stop_guard_min=10)
    assert not any(round_trip(made, at_s, 9_990) for at_s in (0, 301, 601, 1_000, 1_300))


# -- C19: rejects ------------------------------------------------------------------------------------------------------


def rejected(made: Risk, at_s: float, code: str = "30010", strategy_id: str = "s") -> list[Any]:
    answer = asked(made, strategy_id=strategy_id, at_s=at_s)
    number = answer.order_no
    state = OrderState.REJECTED
    return list(made.on_order(order(BUY, state, 10, order_no=number, at_s=at_s, strategy_id=strategy_id, code=code)))


def test_rejects_in_a_row_lock_the_strategy():
    made = risk(**cheap(max_rejects_in_row=3, release=Release.OPERATOR))
    assert not rejected(made, 0)
    assert not rejected(made, 0.1)
    made.on_order(order(BUY, OrderState.OPEN, 10, order_no=99))  # one was taken: the row is broken
    assert not rejected(made, 0.2)
    assert not rejected(made, 0.3)
    (event,) = rejected(made, 0.4)
    assert (event.operator, event.strategy_id, event.symbol) == ("rejects (s)", "s", "")
    assert event.reason.startswith("3 rejects in a row (limit 3), 5 in 5 min (limit 10); the last: code 30010")
    assert numbers(asked(made, at_s=0.5))[0] is Code.REJECTS
    assert isinstance(asked(made, strategy_id="s2", at_s=0.5), Intent)


def test_many_rejects_within_minutes_lock_the_strategy_even_if_some_orders_pass():
    made = risk(**cheap(max_rejects_in_row=5, max_rejects_per_5_min=4, release=Release.OPERATOR))
    for number in range(3):
        assert not rejected(made, number / 10)
        made.on_order(order(BUY, OrderState.FILLED, 10, 10, order_no=99))
    (event,) = rejected(made, 0.5)
    assert event.reason.startswith("1 rejects in a row (limit 5), 4 in 5 min (limit 4)")


def test_a_reject_for_lack_of_balance_stops_entries_until_balances_were_compared():
    made = risk(**cheap())
    event, timer = rejected(made, 0, code="10101")
    assert (event.operator, event.state, event.symbol, event.strategy_id) == ("balance reject", REDUCE, "", "")
    assert event.until_ns == timer.due_ns == T0 + 60 * SECOND_NS
    assert made.state.trading is REDUCE


# -- health ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", list(Measure))
def test_a_measure_locks_at_its_limit_and_is_calm_for_a_while_before_it_releases(measure):
    gauge, health = GAUGES[measure], Health()

    def look(value: Any, at_s: float) -> ControlEvent | None:
        return health.look(Measurement(measure, Decimal(value), T0 + round(at_s * SECOND_NS)))

    assert look(gauge.limit, 0) is None
    event = look(gauge.limit + 1, 1)
    assert event is not None
    assert (event.state, event.operator) == (gauge.state, str(measure))
    assert str(gauge.limit) in event.reason
    assert look(gauge.limit + 2, 2) is None
    assert look(gauge.calm, 3) is None
    assert look(gauge.calm + 1, 4) is None  # not calm yet
    assert look(gauge.calm, 5) is None
    assert look(gauge.calm, 14.9) is None
    event = look(gauge.calm, 15)
    assert event is not None
    assert event.state is ACTIVE
    assert look(gauge.calm, 16) is None


def test_a_measure_that_is_no_number_is_too_large():
    for value in ("nan", "inf"):
        event = Health().look(Measurement(Measure.CLOCK_SKEW, Decimal(value), T0))
        assert event is not None
        assert event.state is TradingState.HALTED


# -- soft limits, the list of limits -----------------------------------------------------------------------------------


def test_who_comes_near_a_limit_is_told_once_a_day():
    made = risk(**cheap(position_pct=4, max_order_pct=5, release=Release.OPERATOR))
    alert = one(said(made), RiskAlert)
    assert (alert.control, alert.name, alert.value, alert.limit) == ("C03", "max_order_pct", 40, 50)
    assert not [e for e in said(made, at_s=1) if isinstance(e, RiskAlert)]
    assert not [e for e in said(risk(position_pct="3.9", max_order_pct=5)) if isinstance(e, RiskAlert)]


def test_every_limit_is_listed_with_its_ceiling_and_its_use():
    made = risk(position_pct=5, max_symbol_pct=20, max_gross_pct=60, max_daily_loss_pct=3)
    hold(made, 100)
    asked(made, strategy_id="s2")
    falls(made, 9_900)
    listed: dict[Any, Any] = {(limit.name, limit.scope): limit for limit in limits(made, T0 + SECOND_NS)}
    gross = listed["max_gross_pct", ""]
    assert (gross.value, gross.ceiling, gross.used, gross.allowed) == (
        60,
        ceilings.MAX_GROSS_PCT,
        149,
        Decimal("599.4"),
    )
    loss = listed["max_daily_loss_pct", ""]
    assert (loss.control, loss.used, loss.allowed, loss.used_unit) == ("C16", 1, 30, "USDT")
    entries = listed["max_entries_per_h", f"s2 {SYMBOL}"]
    assert (entries.used, entries.allowed, entries.ceiling) == (1, 10, ceilings.MAX_ENTRIES_PER_H)
    assert listed["max_open_orders", ""].used == 1
    assert all(limit.enforced for limit in listed.values())
    assert not any(limit.enforced for limit in limits(risk(unlimited=True), T0))


def test_a_list_of_symbols_that_leaves_nothing_to_enter_is_refused_and_a_shorter_one_holds():
    source = ListSource([trade(0, 10_000), trade(1, 10_200)])
    with pytest.raises(ConfigError, match=r"risk\.symbols = XYZUSDT: none of them is traded"):
        run(source, "risk.symbols=XYZUSDT")
    made = run(source, f"risk.symbols=XYZUSDT,{SYMBOL}")
    assert made.pipeline.stages.risk.rules.symbols == (SYMBOL,)


def test_a_silent_market_releases_a_lock_when_its_time_is_over():
    heard = Listening()
    made = run(ListSource([trade(0, 10_000)]), recorders=(heard,))
    pipeline = made.pipeline
    pipeline.control(ControlEvent(REDUCE, "lunch", "pause", T0, until_ns=T0 + 90 * SECOND_NS))
    assert pipeline.next_due_ns <= T0 + 90 * SECOND_NS
    pipeline.advance(T0 + 89 * SECOND_NS)
    assert pipeline.stages.risk.state.trading is REDUCE
    pipeline.advance(T0 + 90 * SECOND_NS)
    assert pipeline.stages.risk.state.trading is ACTIVE
    assert [(e.state, e.ts_event_ns - T0) for e in heard.of(ControlEvent)] == [(REDUCE, 0), (ACTIVE, 90 * SECOND_NS)]
