"""Risk: every no at its boundary with its numbers, the trading states, the size of an entry, and what exits may do."""

from decimal import Decimal
from typing import Any

import pytest

from claire.model.decisions import (
    CODE_MEANING,
    AllocationDecision,
    Asked,
    Code,
    ControlEvent,
    Denial,
    Intent,
    PositionDusted,
    Reserved,
    RiskAlert,
    SetTimer,
    TradingState,
)
from claire.model.market import Side
from claire.model.money import decimal_of
from claire.model.orders import OrderState, OrderType
from claire.stages.risk import Identity, Risk, RiskRules, quantity_lots
from claire.stages.risk_state import Release
from tests.support.markets import ABC, DAY_NS, SECOND_NS, SYMBOL, T0, books, fill, order, rules, signal

BUY, SELL = Side.BUY, Side.SELL
OTHER = rules("XYZUSDT")
# 1,000 USDT; one lot is worth 1 USDT at 10,000 ticks; so 1 % of equity is 10 lots


def risk(
    *,
    capital: str = "1000",
    instrument: Any = ABC,
    marks: dict[str, int] | None = None,
    stop_pct: float = 0.0,
    fraction: str = "1",
    **limits: Any,
) -> Risk:
    """A risk stage with limits that do not bind unless named."""
    wide = {
        "position_pct": 5,
        "max_order_pct": 100,
        "max_symbol_pct": 100,
        "max_gross_pct": 100,
        "cash_reserve_pct": 0,
        "max_daily_loss_pct": 100,
        "max_drawdown_pct": 100,
        "max_jump_pct": 100,
        "collar_pct": 0,
        "slice_pct": 100,
        "duplicate_window_ms": 0,
        "cooldown_s": 0,
        "release": Release.NEXT_DAY,
    }
    given: dict[str, Any] = {
        name: Decimal(str(v)) if name.endswith(("_pct", "_bps")) and not isinstance(v, tuple) else v
        for name, v in {**wide, **limits}.items()
    }
    made = Risk(
        RiskRules(**given),
        books(capital, (instrument, OTHER), marks),
        Identity("paper", "paper", "C"),
        dict.fromkeys(("s", "s2", "s3"), stop_pct),
        {SYMBOL: Decimal(fraction), "XYZUSDT": Decimal(fraction)},
    )
    made.on_valuation(T0)
    return made


def hold(made: Risk, lots: int, symbol: str = SYMBOL, owner: str = "s", ticks: int = 10_000) -> None:
    """Let a strategy own so many lots, bought at the mark."""
    made.on_fill(fill(BUY, ticks, lots, symbol=symbol, strategy_id=owner, order_no=900))


def asked(made: Risk, side: Side = BUY, ticks: int = 10_000, **more: Any) -> Any:
    """Ask at a trade of that price."""
    mark = made.state.books.marks.get(more.get("symbol", SYMBOL))
    if mark is not None and mark.price_ticks:
        mark.price_ticks = ticks
    notes = (RiskAlert, ControlEvent, SetTimer, Asked)
    *reserved, answer = [e for e in made.on_signal(signal(side, ticks, **more)) if not isinstance(e, notes)]
    assert isinstance(answer, Intent | Denial)
    assert [type(event) for event in reserved] == ([Reserved] if isinstance(answer, Intent) else [])
    return answer


def lots_of(answer: Any) -> Any:
    assert isinstance(answer, Intent), answer
    return answer.quantity_lots


def numbers(answer: Any) -> tuple[Any, ...]:
    assert isinstance(answer, Denial), answer
    return answer.code, answer.value, answer.limit, answer.unit


# -- each no, at its limit and one step beyond -----------------------------------------------------------------------


def test_an_unknown_instrument():
    made = risk()
    answer = asked(made, symbol="NEWUSDT")
    assert numbers(answer) == (Code.UNKNOWN_INSTRUMENT, 0, 1, "rules")
    assert "NEWUSDT" in answer.because


def test_a_price_is_stale_beyond_its_age():
    made = risk(max_data_age_ms=2_000)
    assert lots_of(asked(made, at_s=2.000_9)) == 50  # whole milliseconds
    assert numbers(asked(made, at_s=2.001)) == (Code.STALE_PRICE, 2_001, 2_000, "ms")


def test_no_entry_before_the_first_trade_of_a_symbol():
    made = risk(marks={SYMBOL: 0})
    answer = asked(made)
    assert numbers(answer)[0] is Code.STALE_PRICE
    assert "no trade was seen yet" in answer.because


def test_a_fraction_of_nothing():
    made = risk(fraction="0")
    assert numbers(asked(made)) == (Code.ALLOCATION_ZERO, 0, 0, "fraction")
    made.on_allocation(AllocationDecision(SYMBOL, Decimal("0.5"), "RANGE", T0))
    assert lots_of(asked(made)) == 25
    made.on_allocation(AllocationDecision(SYMBOL, Decimal(0), "HIGH_VOL_CHAOTIC", T0))
    assert numbers(asked(made))[0] is Code.ALLOCATION_ZERO


def test_one_whole_lot_is_the_least():
    assert lots_of(asked(risk(), ticks=500_000)) == 1  # 50 USDT for a lot of 50 USDT
    assert numbers(asked(risk(), ticks=500_001)) == (Code.BELOW_LOT, 50, Decimal("50.0001"), "USDT")


def test_the_minimum_notional_itself_is_enough():
    assert lots_of(asked(risk(instrument=rules(min_notional="50"), unlimited=True))) == 50
    answer = asked(risk(instrument=rules(min_notional="50.01"), unlimited=True))
    assert numbers(answer) == (Code.BELOW_MIN_NOTIONAL, 50, Decimal("50.01"), "USDT")


def test_an_entry_must_be_worth_one_and_a_half_minimum_notionals_at_its_stop():
    # 50 lots at 9,800 ticks are worth 49 USDT
    assert lots_of(asked(risk(instrument=rules(min_notional="32.666"), stop_pct=2))) == 50
    answer = asked(risk(instrument=rules(min_notional="32.668"), stop_pct=2))
    assert numbers(answer) == (Code.ENTRY_TOO_SMALL_TO_EXIT, 49, Decimal("49.002"), "USDT")


def test_the_stop_that_an_entry_is_judged_at_is_rounded_down():
    instrument = rules(min_notional="33.32")  # 1.5 times: 49.98
    assert lots_of(asked(risk(instrument=instrument, stop_pct=0.04))) == 50  # 9,996 ticks: 49.98
    answer = asked(risk(instrument=instrument, stop_pct=0.041))  # 9,995.9 ticks, so 9,995
    assert numbers(answer) == (Code.ENTRY_TOO_SMALL_TO_EXIT, Decimal("49.975"), Decimal("49.98"), "USDT")


def test_an_order_may_be_worth_its_limit_and_not_a_lot_more():
    assert lots_of(asked(risk(max_order_pct=5))) == 50
    assert numbers(asked(risk(max_order_pct=5, position_pct=5.1))) == (Code.ORDER_VALUE_LIMIT, 51, 50, "USDT")


def test_a_symbol_may_be_held_up_to_its_limit_and_not_a_lot_more():
    for held, passes in ((50, True), (51, False)):
        made = risk(max_symbol_pct=10)
        hold(made, held, owner="s2")
        hold(made, 300, "XYZUSDT")  # another symbol does not count
        answer = asked(made)
        if passes:
            assert lots_of(answer) == 50
        else:
            assert numbers(answer) == (Code.SYMBOL_EXPOSURE_LIMIT, 101, 100, "USDT")


def test_all_symbols_may_be_held_up_to_the_limit_and_not_a_lot_more():
    for held, passes in ((30, True), (31, False)):
        made = risk(max_gross_pct=10)
        hold(made, held, "XYZUSDT")
        hold(made, 20, owner="s2")
        answer = asked(made)
        if passes:
            assert lots_of(answer) == 50
        else:
            assert numbers(answer) == (Code.EXPOSURE_LIMIT, 101, 100, "USDT")


def test_exposure_counts_slippage_and_fees_of_the_entry():
    # 50 lots at 10,100 ticks are 50.5 USDT, with 1 % of fees 51.005
    costs: dict[str, Any] = {"slippage_ticks": 100, "taker_bps": 100}
    assert lots_of(asked(risk(max_symbol_pct="5.1005", **costs))) == 50
    answer = asked(risk(max_symbol_pct="5.1004", **costs))
    assert numbers(answer) == (Code.SYMBOL_EXPOSURE_LIMIT, Decimal("51.005"), Decimal("51.004"), "USDT")


def test_exposure_is_valued_at_the_last_price():
    made = risk(max_symbol_pct=10)
    hold(made, 40, owner="s2")
    made.state.books.marks[SYMBOL].price_ticks = 12_500  # 40 lots are worth 50 USDT, equity is 1,010
    answer = asked(made, ticks=12_500)  # 40 lots: 50 USDT
    assert lots_of(answer) == 40
    made = risk(max_symbol_pct=10)
    hold(made, 40, owner="s2")
    made.state.books.marks[SYMBOL].price_ticks = 13_000  # 52 USDT of 1,012 are held, 38 lots are asked
    assert numbers(asked(made, ticks=13_000)) == (
        Code.SYMBOL_EXPOSURE_LIMIT,
        Decimal("101.4"),
        Decimal("101.2"),
        "USDT",
    )


def test_so_many_open_orders_and_no_more():
    made = risk(max_open_orders=2)
    assert lots_of(asked(made)) == 50
    assert lots_of(asked(made, strategy_id="s2")) == 50
    assert numbers(asked(made, strategy_id="s3")) == (Code.OPEN_ORDERS_LIMIT, 3, 2, "orders")
    made.on_order(order(BUY, OrderState.CANCELED, order_no=1))
    assert lots_of(asked(made, strategy_id="s3")) == 50


def test_the_cash_reserve_may_be_reached_and_not_touched():
    # 1,000 USDT less 50 lots at 10,002 ticks (50.01 USDT) leaves 949.99
    assert lots_of(asked(risk(cash_reserve_pct="94.999", slippage_ticks=2))) == 50
    answer = asked(risk(cash_reserve_pct="95", slippage_ticks=2))
    assert numbers(answer) == (Code.CASH_RESERVE, Decimal("949.99"), 950, "USDT")


def test_cash_must_pay_for_the_order_its_fees_and_its_slippage():
    free: dict[str, Any] = {"unlimited": True, "position_pct": 100}
    assert lots_of(asked(risk(**free))) == 1_000
    assert numbers(asked(risk(taker_bps=5, **free))) == (Code.INSUFFICIENT_CASH, Decimal("1000.5"), 1_000, "USDT")
    assert numbers(asked(risk(slippage_ticks=1, **free)))[1:3] == (Decimal("1000.1"), 1_000)


def test_orders_in_flight_count_as_if_they_were_filled_at_their_worst():
    made = risk(max_symbol_pct=10, slippage_ticks=0)
    assert lots_of(asked(made)) == 50
    assert lots_of(asked(made, strategy_id="s2")) == 50
    assert numbers(asked(made, strategy_id="s3")) == (Code.SYMBOL_EXPOSURE_LIMIT, 150, 100, "USDT")
    # a fill moves value from the order to the position: nothing is counted twice or forgotten
    made.on_fill(fill(BUY, 10_000, 20, order_no=1))
    assert numbers(asked(made, strategy_id="s3")) == (Code.SYMBOL_EXPOSURE_LIMIT, 150, 100, "USDT")
    made.on_order(order(BUY, OrderState.CANCELED, 50, 20, order_no=1))  # 30 lots are free again
    assert numbers(asked(made, strategy_id="s3")) == (Code.SYMBOL_EXPOSURE_LIMIT, 120, 100, "USDT")
    made.on_order(order(BUY, OrderState.REJECTED, 50, 0, order_no=2, strategy_id="s2"))
    assert lots_of(asked(made, strategy_id="s3")) == 50


def test_cash_of_orders_in_flight_is_spent_already_fees_and_slippage_included():
    made = risk(unlimited=True, position_pct=50, taker_bps=10, slippage_ticks=10)
    assert lots_of(asked(made)) == 500  # 500 lots at 10,010 and 0.1 %: 501.0005 USDT
    assert numbers(asked(made, strategy_id="s2")) == (
        Code.INSUFFICIENT_CASH,
        Decimal("501.0005"),
        Decimal("498.9995"),
        "USDT",
    )


# -- the daily loss --------------------------------------------------------------------------------------------------


def after_a_fall_to(ticks: int, **limits: Any) -> Risk:
    """Own 500 lots of 1 USDT and let their price fall: 100 ticks are 5 USDT, half a percent."""
    made = risk(max_daily_loss_pct=3, **limits)
    hold(made, 500)
    made.state.books.marks[SYMBOL].price_ticks = ticks
    made.on_valuation(T0 + SECOND_NS)
    made.state.books.marks[SYMBOL].ts_event_ns = T0 + 10 * DAY_NS
    return made


def test_the_daily_loss_limit_stops_entries_when_it_is_reached():
    assert isinstance(asked(after_a_fall_to(9_401), ticks=9_401, strategy_id="s2"), Intent)
    made = after_a_fall_to(9_400)
    assert numbers(asked(made, ticks=9_400, strategy_id="s2")) == (Code.DAILY_LOSS_LIMIT, 30, 30, "USDT")


def test_the_daily_loss_limit_stays_reached_when_prices_recover():
    made = after_a_fall_to(9_400)
    made.state.books.marks[SYMBOL].price_ticks = 11_000
    made.on_valuation(T0 + 2 * SECOND_NS)
    assert numbers(asked(made, strategy_id="s2", ticks=11_000)) == (Code.DAILY_LOSS_LIMIT, -50, 30, "USDT")


def test_entries_resume_at_midnight_utc_and_the_day_starts_from_there():
    made = after_a_fall_to(9_400)
    midnight = T0 // DAY_NS * DAY_NS + DAY_NS
    last, first = (midnight - 1 - T0) / SECOND_NS, (midnight - T0) / SECOND_NS
    assert numbers(asked(made, ticks=9_400, strategy_id="s2", at_s=last))[0] is Code.DAILY_LOSS_LIMIT
    made.on_valuation(midnight)
    assert made.state.day_start_equity == 970 * 10**18
    assert isinstance(asked(made, ticks=9_400, strategy_id="s2", at_s=first), Intent)
    # three percent of 970 are 29.1 USDT: 58.2 ticks per 100 lots
    made.state.books.marks[SYMBOL].price_ticks = 9_400 - 581
    made.on_valuation(midnight + SECOND_NS)
    assert isinstance(asked(made, ticks=9_000, strategy_id="s3", at_s=first), Intent)
    made.state.books.marks[SYMBOL].price_ticks = 9_400 - 582
    made.on_valuation(midnight + 2 * SECOND_NS)
    assert numbers(asked(made, ticks=9_000, strategy_id="s3", at_s=first))[0] is Code.DAILY_LOSS_LIMIT


def test_a_fill_that_realises_the_loss_reaches_the_limit_too():
    made = risk(max_daily_loss_pct=3)
    hold(made, 500)
    made.on_fill(fill(SELL, 9_400, 500, order_no=901))
    made.on_order(order(SELL, OrderState.FILLED, 500, 500, order_no=901))
    assert numbers(asked(made))[0] is Code.DAILY_LOSS_LIMIT


def test_exits_pass_when_the_daily_loss_limit_is_reached():
    assert lots_of(asked(after_a_fall_to(9_000), SELL, 9_000)) == 500


# -- trading states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(TradingState))
def test_what_each_trading_state_lets_pass(state: TradingState):
    made = risk()
    hold(made, 100, owner="s2")
    made.on_control(ControlEvent(state, "a drill", "operator", T0))
    entry, leave = asked(made), asked(made, SELL, strategy_id="s2")
    assert isinstance(entry, Intent) is (state is TradingState.ACTIVE)
    assert isinstance(leave, Intent) is (state in (TradingState.ACTIVE, TradingState.REDUCE_ONLY))
    for answer in (entry, leave):
        if isinstance(answer, Denial):
            assert numbers(answer) == (Code.TRADING_STATE, 0, 1, "orders")
            assert answer.because == f"trading is {state.value} (operator: a drill)"


def test_trading_starts_active_and_can_become_so_again():
    made = risk()
    made.on_control(ControlEvent(TradingState.HALTED, "books", "operator", T0))
    made.on_control(ControlEvent(TradingState.ACTIVE, "checked", "operator", T0))
    assert lots_of(asked(made)) == 50


def test_each_source_holds_a_lock_of_its_own_and_the_most_severe_is_in_force():
    made, state = risk(), TradingState
    assert (made.state.trading, made.state.trading_reason) == (state.ACTIVE, "")
    made.on_control(ControlEvent(state.REDUCE_ONLY, "a gap", "feed", T0))
    made.on_control(ControlEvent(state.HALTED, "balances differ", "reconciliation", T0 + 1))
    made.on_control(ControlEvent(state.HALTED, "order 7", "late live", T0 + 2))
    assert made.state.trading is state.HALTED
    assert made.state.trading_reason == "reconciliation: balances differ; late live: order 7"
    made.on_control(ControlEvent(state.ACTIVE, "equal again", "reconciliation", T0 + 3))
    assert (made.state.trading, made.state.trading_reason) == (state.HALTED, "late live: order 7")
    made.on_control(ControlEvent(state.ACTIVE, "looked at", "late live", T0 + 4))
    assert (made.state.trading, made.state.trading_reason) == (state.REDUCE_ONLY, "feed: a gap")
    made.on_control(ControlEvent(state.ACTIVE, "never locked", "operator:ada", T0 + 5))
    assert list(made.state.locks) == ["feed"]
    made.on_control(ControlEvent(state.ACTIVE, "back", "feed", T0 + 6))
    assert (made.state.trading, made.state.locks) == (state.ACTIVE, {})


def test_a_lock_that_is_set_again_keeps_its_age_unless_it_becomes_another():
    made = risk()
    for at_ns, state in enumerate((TradingState.REDUCE_ONLY, TradingState.REDUCE_ONLY, TradingState.HALTED)):
        made.on_control(ControlEvent(state, f"look {at_ns}", "reconciliation", T0 + at_ns))
        lock = made.state.locks["reconciliation"]
        assert (lock.state, lock.reason, lock.since_ns) == (state, f"look {at_ns}", T0 + (at_ns // 2) * 2)


# -- reservations ----------------------------------------------------------------------------------------------------


def test_an_entry_reserves_what_it_may_cost_at_most_and_what_it_may_add():
    made = risk(taker_bps=20, slippage_ticks=100)
    reserved, intent = made.on_signal(signal(BUY, 10_000))
    assert isinstance(reserved, Reserved)
    assert isinstance(intent, Intent)
    assert (reserved.order_no, reserved.leaves_lots) == (intent.order_no, intent.quantity_lots) == (1, 50)
    assert (reserved.exposure, reserved.cash, reserved.cash_asset) == (Decimal("50.5"), Decimal("50.601"), "USDT")
    assert decimal_of(made.free_cash()) == 1_000 - reserved.cash
    assert decimal_of(made.held_and_in_flight()) == reserved.exposure
    made.on_order(order(BUY, OrderState.CANCELED, 50))
    assert decimal_of(made.free_cash()) == 1_000


def test_an_exit_reserves_neither_cash_nor_exposure():
    made = risk()
    hold(made, 30)
    told: Any = made.on_signal(signal(SELL, 10_000))
    reserved = told[0]
    assert isinstance(reserved, Reserved)
    assert len(told) == 2
    assert (reserved.side, reserved.leaves_lots) == (SELL, 30)
    assert reserved.cash == reserved.exposure == 0


def test_while_an_exit_is_unknown_another_one_sells_only_what_that_one_cannot():
    made = risk()
    hold(made, 30)
    assert lots_of(asked(made, SELL)) == 30
    made.on_order(order(SELL, OrderState.UNKNOWN, 30))
    assert numbers(asked(made, SELL)) == (Code.NOTHING_TO_SELL, 0, 1, "lots")
    made.on_fill(fill(BUY, 10_000, 12, order_no=901))  # a late fill of the entry
    assert lots_of(asked(made, SELL)) == 12
    made.on_order(order(SELL, OrderState.ABSENT, 30, order_no=1))
    assert lots_of(asked(made, SELL)) == 30


# -- sizes and intents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pct", "fraction", "ticks", "lots"),
    [
        ("5", "1", 10_000, 50),
        ("5", "1", 9_999, 50),
        ("5", "1", 10_001, 49),
        ("5", "0.5", 10_000, 25),
        ("5", "0.25", 10_000, 12),
    ],
)
def test_the_size_is_a_share_of_equity_in_whole_lots(pct: str, fraction: str, ticks: int, lots: int):
    assert lots_of(asked(risk(position_pct=pct, fraction=fraction), ticks=ticks)) == lots


def test_the_size_follows_equity_not_cash():
    made = risk()
    hold(made, 500, owner="s2")
    made.state.books.marks[SYMBOL].price_ticks = 12_000  # equity 1,100
    assert lots_of(asked(made, ticks=12_000)) == 45


def test_no_equity_no_lots():
    assert quantity_lots(Decimal(5), Decimal(1), -(10**18), 10_000, ABC) == 0


def test_an_intent_says_what_execution_needs():
    made = risk()
    intent = asked(made, signal_no=7, at_s=1)
    assert isinstance(intent, Intent)
    assert (intent.order_no, intent.signal_no, intent.client_order_id) == (1, 7, "C1")
    assert (intent.type, intent.limit_ticks, intent.expires_ns, intent.reduce_only) == (OrderType.MARKET, 0, 0, False)
    assert (intent.price_ticks, intent.ts_event_ns, intent.kind) == (10_000, T0 + SECOND_NS, "spot")


@pytest.mark.parametrize(
    ("kind", "limit", "expires"),
    [(OrderType.MARKET, 0, 0), (OrderType.IOC, 10_000, 0), (OrderType.LIMIT, 10_000, T0 + 60 * SECOND_NS)],
)
def test_entries_meet_the_book_as_configured_and_exits_always_at_the_market(kind, limit, expires):
    made = risk(entry_type=kind, entry_ttl_ns=60 * SECOND_NS)
    entry = asked(made)
    assert isinstance(entry, Intent)
    assert (entry.type, entry.limit_ticks, entry.expires_ns) == (kind, limit, expires)
    hold(made, 10, owner="s2", symbol="XYZUSDT")
    leave = asked(made, SELL, strategy_id="s2", symbol="XYZUSDT")
    assert isinstance(leave, Intent)
    assert (leave.type, leave.limit_ticks, leave.expires_ns, leave.reduce_only) == (OrderType.MARKET, 0, 0, True)


def test_an_unlimited_profile_obeys_cash_and_the_venue_alone():
    made = risk(
        unlimited=True,
        position_pct=50,
        max_order_pct=1,
        max_symbol_pct=1,
        max_gross_pct=1,
        cash_reserve_pct=90,
        max_open_orders=0,
        max_daily_loss_pct="0.001",
        max_data_age_ms=0,
        stop_pct=99,
        instrument=rules(min_notional="499"),
    )
    hold(made, 100, owner="s2")
    made.state.books.marks[SYMBOL].price_ticks = 9_999
    made.on_valuation(T0 + SECOND_NS)
    assert lots_of(asked(made, ticks=9_999, at_s=60)) == 500
    assert numbers(asked(risk(unlimited=True, fraction="0")))[0] is Code.ALLOCATION_ZERO


# -- exits -----------------------------------------------------------------------------------------------------------


def test_an_exit_sells_all_that_the_strategy_owns_and_nothing_of_others():
    made = risk(max_order_pct=1)
    hold(made, 300)
    hold(made, 200, owner="s2")
    assert lots_of(asked(made, SELL)) == 300


def test_nothing_to_sell():
    assert numbers(asked(risk(), SELL)) == (Code.NOTHING_TO_SELL, 0, 1, "lots")


def test_what_is_being_sold_already_is_not_sold_twice():
    made = risk()
    hold(made, 100)
    assert lots_of(asked(made, SELL)) == 100
    assert numbers(asked(made, SELL)) == (Code.NOTHING_TO_SELL, 0, 1, "lots")
    made.on_fill(fill(SELL, 10_000, 60))
    assert numbers(asked(made, SELL)) == (Code.NOTHING_TO_SELL, 0, 1, "lots")
    made.on_order(order(SELL, OrderState.CANCELED, 100, 60))
    assert lots_of(asked(made, SELL)) == 40


def test_a_fee_in_base_during_an_exit_never_makes_a_negative_order():
    made = risk()
    hold(made, 1)
    assert lots_of(asked(made, SELL)) == 1
    made.state.books.positions["s", SYMBOL].base_units -= 1  # as a fee in base would
    assert numbers(asked(made, SELL))[0] is Code.NOTHING_TO_SELL


def test_an_exit_sells_whole_lots_of_what_fees_in_base_have_left():
    made = risk()
    made.on_fill(fill(BUY, 10_000, 100, fee=Decimal("0.001"), fee_asset="ABC", fee_value=Decimal("0.1")))
    assert lots_of(asked(made, SELL)) == 99


@pytest.mark.parametrize(
    ("ticks", "code", "value", "limit", "unit"),
    [(500, None, 0, 0, ""), (499, Code.BELOW_MIN_NOTIONAL, "4.99", 5, "USDT")],
)
def test_a_position_worth_less_than_the_minimum_notional_becomes_dust(ticks, code, value, limit, unit):
    made = risk(instrument=rules(min_notional="5"))
    hold(made, 100)
    answer: Any = made.on_signal(signal(SELL, ticks))
    if code is None:
        assert lots_of(answer[-1]) == 100
        return
    denial, dusted = answer
    assert numbers(denial) == (code, Decimal(value), limit, unit)
    assert dusted == PositionDusted("s", SYMBOL, Decimal(1), T0, ticks)
    assert made.state.books.positions == {}
    assert made.state.books.dust[SYMBOL].base_units == 10**18
    assert numbers(asked(made, SELL))[0] is Code.NOTHING_TO_SELL


def test_a_position_of_less_than_a_lot_becomes_dust():
    made = risk()
    made.on_fill(fill(BUY, 10_000, 1, fee=Decimal("0.000001"), fee_asset="ABC", fee_value=Decimal("0.0001")))
    answer: Any = made.on_signal(signal(SELL, 10_000))
    denial, dusted = answer
    assert numbers(denial) == (Code.BELOW_LOT, 0, 1, "lots")
    assert dusted.quantity == Decimal("0.009999")


def test_a_finished_exit_moves_its_rest_to_dust():
    made = risk(instrument=rules(min_notional="5"))
    hold(made, 100)
    asked(made, SELL)
    made.on_fill(fill(SELL, 10_000, 96))
    made.on_order(order(SELL, OrderState.PARTIALLY_FILLED, 100, 96))
    assert ("s", SYMBOL) in made.state.books.positions
    made.on_order(order(SELL, OrderState.CANCELED, 100, 96))
    assert ("s", SYMBOL) not in made.state.books.positions
    assert made.state.books.dust[SYMBOL].base_units == 4 * ABC.lot_units


def test_every_code_has_a_meaning_in_the_documents():
    assert set(CODE_MEANING) == set(Code)
