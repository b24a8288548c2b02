"""What counts as a difference between the venue and the record, and what follows from it."""

from collections.abc import Sequence
from typing import Any

import pytest

from claire.engine.externals import (
    ExternalMove,
    Externals,
    MoveKind,
    move_of_transfer,
    moves_of_fill,
    opening_moves,
    outside_moves,
)
from claire.engine.reconcile import (
    MEANING,
    Check,
    Difference,
    Found,
    Mismatch,
    Names,
    OurOrder,
    TheirFill,
    TheirOrder,
    Verdict,
    compare_balances,
    compare_fills,
    compare_orders,
    holdings,
)
from claire.model.decisions import TradingState
from claire.model.market import Side
from claire.model.orders import OrderState
from tests.support.markets import SYMBOL, T0, books, fill

BTC = "BTCUSDT"
PREFIX = "Crun-"


def ours(number: int = 1, state: OrderState = OrderState.OPEN, filled: int = 0, **more: Any) -> OurOrder:
    values: dict[str, Any] = {"sent_ms": 1_000, "changed_ms": 2_000, "venue_order_id": f"V{number}"}
    return OurOrder(
        order_no=number,
        symbol=BTC,
        base="BTC",
        quote="USDT",
        client_order_id=f"{PREFIX}{number}",
        state=state,
        filled=filled,
        **values | more,
    )


def there(number: int | str = 1, filled: int = 0, changed_ms: int = 1_500, client: str | None = None) -> TheirOrder:
    return TheirOrder(BTC, f"V{number}", f"{PREFIX}{number}" if client is None else client, filled, changed_ms)


def executed(
    number: int | str, quantity: int, ts_ms: int = 1_500, trade: str = "", client: str | None = None
) -> TheirFill:
    name = f"{PREFIX}{number}" if client is None else client
    return TheirFill(BTC, trade or f"T{ts_ms}", f"V{number}", name, Side.BUY, quantity, 10 * quantity, 1, "BTC", ts_ms)


def names(*orders: OurOrder) -> Names:
    return Names.of(orders, PREFIX)


def kinds(found: Found) -> list[Difference]:
    return [seen.mismatch.difference for seen in found.differences]


def test_orders_that_are_the_same_on_both_sides_are_no_difference() -> None:
    orders = (ours(1), ours(2, OrderState.PARTIALLY_FILLED, 5), ours(3, OrderState.FILLED, 9))
    assert compare_orders(names(*orders), [there(1), there(2, filled=5)]) == Found([])


@pytest.mark.parametrize(
    ("on_record", "listed", "expected"),
    [
        ([], [there(7)], Difference.ORDER_UNKNOWN_HERE),
        ([ours()], [], Difference.ORDER_NOT_OPEN_THERE),
        ([ours(state=OrderState.PENDING_CANCEL)], [], Difference.ORDER_NOT_OPEN_THERE),
        ([ours(state=OrderState.CANCELED)], [there()], Difference.ORDER_OPEN_THERE),
        ([ours(state=OrderState.ABSENT)], [there()], Difference.LATE_LIVE),
        ([ours(state=OrderState.NOT_SENT)], [there()], Difference.LATE_LIVE),
        ([ours(state=OrderState.REJECTED)], [there()], Difference.LATE_LIVE),
        ([ours()], [there(filled=1)], Difference.FILL_NOT_BOOKED),
        ([ours(filled=2)], [there(filled=1)], Difference.FILL_NOT_THERE),
    ],
)
def test_every_way_in_which_open_orders_can_differ_has_a_name(
    on_record: Sequence[OurOrder], listed: Sequence[TheirOrder], expected: Difference
) -> None:
    found = compare_orders(names(*on_record), listed)
    assert kinds(found) == [expected]
    assert MEANING[expected] in found.differences[0].mismatch.text


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN])
def test_an_order_that_is_still_being_found_out_about_is_no_difference(state: OrderState) -> None:
    assert compare_orders(names(ours(state=state)), []) == Found([])
    assert compare_orders(names(ours(state=state)), [there(filled=3)]) == Found([])
    assert compare_fills(names(ours(state=state)), [executed(1, 5)], {BTC: 0}) == Found([])


def test_a_difference_is_as_young_as_the_later_of_both_sides() -> None:
    (seen,) = compare_orders(names(ours(changed_ms=9_000)), [there(filled=1, changed_ms=8_000)]).differences
    assert seen.since_ms == 9_000
    (seen,) = compare_orders(names(ours(changed_ms=7_000)), [there(filled=1, changed_ms=8_000)]).differences
    assert seen.since_ms == 8_000


def test_an_order_is_found_by_the_venues_id_where_its_client_id_is_not_told() -> None:
    assert compare_orders(names(ours()), [there(1, client="")]) == Found([])


def test_an_order_of_another_hand_is_foreign_and_no_difference() -> None:
    by_hand = there("X", client="")
    assert compare_orders(names(ours()), [there(), by_hand]) == Found([], foreign_orders=[by_hand])


def test_executions_are_compared_by_quantity_whatever_they_are_called() -> None:
    order = ours(1, OrderState.FILLED, 10, trade_ids={"another name": True})
    listed = [executed(1, 4, trade="A"), executed(1, 6, trade="B")]
    assert compare_fills(names(order), listed, {BTC: 0}) == Found([])


def test_an_execution_that_is_not_booked_counts_from_when_it_happened() -> None:
    order = ours(1, OrderState.PARTIALLY_FILLED, 4)
    found = compare_fills(names(order), [executed(1, 4, 1_500), executed(1, 1, 3_000), executed(1, 1, 9_000)], {BTC: 0})
    assert kinds(found) == [Difference.FILL_NOT_BOOKED]
    assert found.differences[0].since_ms == 3_000


def test_an_execution_that_is_not_at_the_venue_is_a_difference_only_where_the_venue_would_list_it() -> None:
    order = ours(1, OrderState.FILLED, 10, sent_ms=1_000)
    assert kinds(compare_fills(names(order), [], {BTC: 500})) == [Difference.FILL_NOT_THERE]
    assert compare_fills(names(order), [], {BTC: 1_000}) == Found([])
    assert compare_fills(names(order), [], {"ETHUSDT": 0}) == Found([])


def test_an_execution_of_an_order_of_this_run_that_is_not_on_record_is_a_difference() -> None:
    found = compare_fills(names(), [executed(9, 5)], {BTC: 0})
    assert kinds(found) == [Difference.FILL_NOT_BOOKED]
    assert found.differences[0].mismatch.order_no == 0


def test_an_execution_of_another_hand_is_foreign_and_no_difference() -> None:
    by_hand = executed("X", 5, client="")
    assert compare_fills(names(ours()), [by_hand], {BTC: 0}) == Found([], foreign_fills=[by_hand])


def test_a_balance_is_the_books_and_what_is_external() -> None:
    assert compare_balances({"USDT": 1_000, "BTC": 2}, {"USDT": 1_500, "BTC": 2}, {"USDT": 500}) == Found([])
    (seen,) = compare_balances({"USDT": 1_000}, {"USDT": 1_499}, {"USDT": 500}).differences
    assert (seen.mismatch.difference, seen.mismatch.gap) == (Difference.BALANCE_DIFFERS, 1)
    (seen,) = compare_balances({"BTC": 2}, {}, {}).differences
    assert (seen.mismatch.ours, seen.mismatch.theirs) == (2, 0)


def test_more_taken_out_than_was_there_beside_claires_own_is_a_difference() -> None:
    (seen,) = compare_balances({"USDT": 1_000}, {"USDT": 900}, {"USDT": -100}).differences
    assert seen.mismatch.difference is Difference.EXTERNAL_SHORT


def test_what_the_books_hold_is_cash_positions_and_dust_together() -> None:
    made = books()
    made.apply(fill(Side.BUY, 10_000, 100))
    made.apply(fill(Side.BUY, 10_000, 7, strategy_id="t"))
    made.to_dust("t", SYMBOL, T0)
    assert holdings(made) == {"USDT": made.cash["USDT"], "ABC": 107 * 10**16}


GAP = Mismatch(Difference.BALANCE_DIFFERS, "USDT", 5, 4, "USDT")
LATE = Mismatch(Difference.LATE_LIVE, "order 1", 0, 0, "BTC", order_no=1)


def state(verdict: Verdict) -> TradingState:
    return verdict.state


def test_a_difference_takes_entries_off_at_once_and_its_end_gives_them_back() -> None:
    verdict = Verdict()
    verdict.judge(Check.BALANCES, [GAP], 0.1)
    assert state(verdict) is TradingState.REDUCE_ONLY
    assert "USDT" in verdict.reason
    verdict.judge(Check.ORDERS, [], 0)
    assert state(verdict) is TradingState.REDUCE_ONLY
    verdict.judge(Check.BALANCES, [], 0)
    assert (verdict.state, verdict.reason) == (TradingState.ACTIVE, "")


def test_three_in_a_row_halt_and_only_an_operator_releases_that() -> None:
    verdict = Verdict()
    for _ in range(2):
        verdict.judge(Check.FILLS, [GAP], 0)
    verdict.judge(Check.FILLS, [GAP], 0, is_regular=False)
    assert state(verdict) is TradingState.REDUCE_ONLY
    verdict.judge(Check.FILLS, [GAP], 0)
    assert state(verdict) is TradingState.HALTED
    assert "3 times in a row" in verdict.reason
    verdict.judge(Check.FILLS, [], 0)
    assert state(verdict) is TradingState.HALTED
    verdict.release()
    assert state(verdict) is TradingState.ACTIVE


def test_what_still_differs_at_a_release_keeps_entries_off() -> None:
    verdict = Verdict()
    verdict.judge(Check.BALANCES, [GAP], 2.0)
    assert state(verdict) is TradingState.HALTED
    assert "2.00 % of equity" in verdict.reason
    verdict.release()
    assert state(verdict) is TradingState.REDUCE_ONLY


def test_differences_with_a_clean_look_between_them_are_not_in_a_row() -> None:
    verdict = Verdict()
    for mismatches in ([GAP], [GAP], [], [GAP], [GAP]):
        verdict.judge(Check.ORDERS, mismatches, 0)
    assert state(verdict) is TradingState.REDUCE_ONLY


def test_an_order_that_lives_after_it_was_proven_absent_halts_at_once() -> None:
    verdict = Verdict()
    verdict.judge(Check.ORDERS, [GAP, LATE], 0)
    assert state(verdict) is TradingState.HALTED
    assert "taken for absent" in verdict.reason


def test_the_baseline_is_what_lies_beside_the_capital() -> None:
    moves = opening_moves({"USDT": 500, "BTC": 0}, {"USDT": 800, "MX": 3}, "USDT", 7)
    externals = Externals.restored(moves)
    assert externals.baseline == {"USDT": 300, "BTC": 0, "MX": 3}
    assert externals.opened_ns == 7


def test_a_baseline_that_a_crash_cut_off_is_not_complete() -> None:
    moves = opening_moves({"USDT": 500, "BTC": 0}, {"USDT": 800, "MX": 3}, "USDT", 7)
    assert [Externals.restored(moves[:kept]).is_opened("USDT") for kept in range(4)] == [False, False, False, True]


def test_a_trade_by_another_hand_moves_both_assets_and_its_fee_once() -> None:
    moves = moves_of_fill(executed("X", 100, client=""), "BTC", "USDT")
    assert {move.asset: move.units for move in moves} == {"BTC": 99, "USDT": -1_000}
    externals = Externals()
    assert [externals.take(move) for move in (*moves, *moves)] == [True, True, False, False]
    assert externals.baseline == {"BTC": 99, "USDT": -1_000}


@pytest.mark.parametrize("cause", ["ENTRUST", "ENTRUST_PLACE", "ENTRUST_CANCEL", "ENTRUST_UNFROZEN", "TRADE_FEE"])
def test_balance_changes_that_come_from_orders_are_counted_by_execution_alone(cause: str) -> None:
    assert move_of_transfer("USDT", cause, 5, "1", 1) is None


@pytest.mark.parametrize(
    "cause", ["DEPOSIT", "WITHDRAW", "WITHDRAW_FEE", "SUGAR", "CONTRACT_TRANSFER", "SOMETHING_NEW"]
)
def test_every_other_balance_change_is_a_transfer(cause: str) -> None:
    move = move_of_transfer("USDT", cause, -5, "1", 1)
    assert move == ExternalMove(MoveKind.TRANSFER, "USDT", -5, f"{cause} 1", 1)
    assert move_of_transfer("USDT", cause, 0, "1", 1) is None


def test_an_asset_that_the_books_have_nothing_to_do_with_is_what_it_is() -> None:
    externals = Externals({"DOGE": 5, "USDT": 100}, {("DOGE", "x"): True})
    moves = outside_moves(("USDT", "BTC"), {"USDT": 7, "DOGE": 9, "SHIB": 1}, externals, 3)
    assert {move.asset: move.units for move in moves} == {"DOGE": 4, "SHIB": 1}
