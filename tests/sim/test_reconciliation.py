"""Reconciliation against the simulator: every way of changing the venue's books behind Claire's back, over virtual time."""

import asyncio
import random

import pytest

from claire.adapters.venues.mexc.restored import RECONCILIATION
from claire.drill.virtual import VirtualLoop
from claire.engine.externals import Externals, MoveKind
from claire.engine.reconcile import Check, Difference, holdings
from claire.mexcsim import faults
from claire.mexcsim.flow import FlowSettings
from claire.mexcsim.orders import Kind
from claire.model.decisions import Adjustment, TradingState
from claire.model.errors import ClaireError
from claire.model.market import Side
from claire.model.money import units_of
from claire.model.orders import OrderState
from claire.services.adjusting import adjustment_of, external_of
from claire.services.assembly import client_prefix
from tests.support.puppet import ENTER_LOTS, EXIT_LOTS
from tests.support.reconciling import EPOCH_NS, RUN_ID, Watched, virtually, watched

ACTIVE, REDUCE_ONLY, HALTED = TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED
IN_TIME_S = 15.5
"""A difference of orders or executions is found within 15 s, and the answer takes a moment."""


def our_lock(desk: Watched) -> TradingState:
    """What reconciliation itself allows."""
    lock = desk.pipeline.stages.risk.state.locks.get(RECONCILIATION)
    return ACTIVE if lock is None else lock.state


def reason(desk: Watched) -> str:
    return desk.pipeline.stages.risk.state.locks[RECONCILIATION].reason


async def bought(desk: Watched) -> int:
    """Have a position, and let it become old."""
    number = await desk.enter()
    await desk.until(lambda: desk.state(number) is OrderState.FILLED, 5)
    await desk.stays(ACTIVE, 40)
    return number


async def resting(desk: Watched) -> int:
    """Have an order that rests, and let it become old."""
    number = await desk.enter(desk.bid_ticks)
    assert desk.state(number) is OrderState.OPEN
    await desk.stays(ACTIVE, 40)
    return number


def test_a_quiet_account_is_compared_and_nothing_is_said() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            await desk.leave()
            await resting(desk)
            await desk.stays(ACTIVE, 120)
            counters = desk.reconciliation.counters
            assert counters.looks[Check.ORDERS] >= 19
            assert counters.looks[Check.FILLS] >= 12
            assert counters.looks[Check.BALANCES] >= 6
            assert counters.differences_total == 0

    virtually(story)


# -- orders --------------------------------------------------------------------------------------------------------------


def test_an_order_of_this_run_that_nobody_here_knows_is_found_and_gone_again_when_it_is_gone() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await desk.stays(ACTIVE, 31)
            name = f"{client_prefix(RUN_ID)}99"
            order = desk.place(desk.other, Side.BUY, Kind.LIMIT, desk.lots_worth(5), desk.bid_ticks, name)
            assert await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, IN_TIME_S) >= 5
            assert name in reason(desk)
            desk.sim.venue.exchange.cancel(order, desk.sim.venue.market_ms())
            desk.sim.venue.settle()
            await desk.until(lambda: our_lock(desk) is ACTIVE, 11)

    virtually(story)


def test_an_order_that_vanished_at_the_venue_is_found() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            number = await resting(desk)
            del desk.account.open_orders[desk.theirs(number).order_id]
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 10.5)
            assert "not open at the venue" in reason(desk)

    virtually(story)


def test_an_order_whose_end_was_missed_is_looked_at_and_the_lock_is_taken_back() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            number = await resting(desk)
            order = desk.theirs(number)
            desk.sim.venue.exchange.cancel(order, desk.sim.venue.market_ms())
            desk.sim.venue.exchange.out.clear()  # the push gets lost
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, IN_TIME_S)
            await desk.until(lambda: desk.state(number) is OrderState.CANCELED, 2)
            await desk.until(lambda: our_lock(desk) is ACTIVE, 16)

    virtually(story)


def test_an_order_that_is_open_there_after_it_ended_here_is_found() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            number = await bought(desk)
            order = desk.theirs(number)
            desk.account.open_orders[order.order_id] = order
            await desk.until(lambda: our_lock(desk) is not ACTIVE, 10.5)
            assert "finished here, and open at the venue" in reason(desk)

    virtually(story)


# -- executions ----------------------------------------------------------------------------------------------------------


def test_an_execution_that_was_missed_is_fetched_by_the_ordinary_look_and_booked_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            number = await resting(desk)
            order = desk.theirs(number)
            lots = order.lots // 3
            desk.fault(faults.Lose(channel="private"))
            desk.place(desk.stranger, Side.SELL, Kind.LIMIT, lots, order.price)
            assert order.filled == lots
            await desk.until(lambda: desk.filled(number) == lots, IN_TIME_S)
            assert desk.locks[-1].state is REDUCE_ONLY
            desk.heal()
            await desk.until(lambda: our_lock(desk) is ACTIVE, 4)
            await desk.stays(ACTIVE, 60)
            assert desk.filled(number) == lots

    virtually(story)


def test_an_execution_that_never_reaches_the_books_halts() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            number = await resting(desk)
            desk.deafened = True
            desk.place(desk.stranger, Side.SELL, Kind.LIMIT, desk.theirs(number).lots // 20, desk.bid_ticks)
            assert desk.theirs(number).filled
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, IN_TIME_S)
            assert "an execution at the venue is not booked here" in reason(desk)
            await desk.until(lambda: our_lock(desk) is HALTED, 31)
            assert "3 times in a row" in reason(desk)
            assert desk.filled(number) == 0

    virtually(story)


def test_an_execution_that_the_venue_takes_back_is_found() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await desk.stays(ACTIVE, 31)
            number = await desk.enter()
            await desk.until(lambda: desk.state(number) is OrderState.FILLED, 5)
            desk.account.fills.clear()
            desk.theirs(number).fills.clear()
            await desk.until(lambda: our_lock(desk) is HALTED, IN_TIME_S)  # worth 10 % of equity
            assert "not at the venue" in reason(desk)

    virtually(story)


# -- balances ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asset", "amount"), [("USDT", "0.01"), ("USDT", "-0.01"), ("BTC", "0.00000001"), ("MX", "1")])
def test_a_balance_that_changes_without_a_word_is_found_and_given_back_when_it_is_right_again(
    asset: str, amount: str
) -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.steal(asset, amount)
            took_s = await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 36)
            assert took_s >= 5
            assert asset in reason(desk)
            desk.steal(asset, amount.removeprefix("-") if amount.startswith("-") else f"-{amount}")
            await desk.until(lambda: our_lock(desk) is ACTIVE, 31)

    virtually(story)


def test_a_difference_of_more_than_one_percent_of_equity_halts_at_once_and_stays_halted() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.steal("USDT", "11")
            await desk.until(lambda: our_lock(desk) is HALTED, 36)
            assert len(desk.locks) == 1
            desk.steal("USDT", "-11")
            await desk.stays(HALTED, 120)
            desk.reconciliation.release("ada", "the bank gave it back")
            assert our_lock(desk) is ACTIVE
            await desk.stays(ACTIVE, 60)

    virtually(story)


def test_a_small_difference_halts_at_the_third_look() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.steal("USDT", "1")
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 36)
            took_s = await desk.until(lambda: our_lock(desk) is HALTED, 91)
            assert took_s > 50
            desk.reconciliation.release("ada", "known")
            assert our_lock(desk) is REDUCE_ONLY

    virtually(story)


def test_a_correction_by_hand_ends_a_difference() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.steal("USDT", "1")
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 36)
            made: Adjustment = adjustment_of("USDT=-1", "ada", "a fee nobody told of", desk.record.books, EPOCH_NS)
            desk.pipeline.adjust(made)
            await desk.until(lambda: our_lock(desk) is ACTIVE, 31)
            await desk.stays(ACTIVE, 60)
            risk = desk.pipeline.stages.risk.state
            assert holdings(risk.books) == holdings(desk.record.books)

    virtually(story)


def test_what_an_operator_calls_external_ends_a_difference_too() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.steal("USDT", "-4")
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 36)
            desk.reconciliation.declare(external_of("USDT=4", "ada", "a rebate", EPOCH_NS))
            await desk.until(lambda: our_lock(desk) is ACTIVE, 31)

    virtually(story)


# -- other hands ---------------------------------------------------------------------------------------------------------


def test_a_person_who_trades_beside_claire_is_told_and_does_not_lock_it() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.place(desk.other, Side.BUY, Kind.MARKET, desk.lots_worth(40))
            await desk.stays(ACTIVE, 90)
            kinds = {(move.kind, move.asset) for move in desk.moves if move.kind is not MoveKind.BASELINE}
            assert kinds == {(MoveKind.TRADE, "BTC"), (MoveKind.TRADE, "USDT")}
            assert sum("external trade" in note for note in desk.notes) == 2
            desk.place(desk.other, Side.SELL, Kind.MARKET, desk.lots_worth(20))
            order = desk.place(desk.other, Side.BUY, Kind.LIMIT, desk.lots_worth(7), desk.bid_ticks)
            await desk.stays(ACTIVE, 90)
            assert sum("is open that is not Claire's" in note for note in desk.notes) == 1
            desk.sim.venue.exchange.cancel(order, desk.sim.venue.market_ms())
            desk.sim.venue.settle()
            await desk.stays(ACTIVE, 60)

    virtually(story)


def test_a_persons_trade_that_no_push_told_of_is_recognised_before_its_balance_counts() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            exchange = desk.sim.venue.exchange
            settle, desk.sim.venue.settle = desk.sim.venue.settle, lambda: None
            desk.place(desk.other, Side.BUY, Kind.MARKET, desk.lots_worth(40))
            exchange.out.clear()
            desk.sim.venue.settle = settle
            await desk.stays(ACTIVE, 120)
            assert desk.reconciliation.counters.external_moves_total == 5

    virtually(story)


@pytest.mark.parametrize(
    ("asset", "amount", "cause"),
    [
        ("USDT", "250", "DEPOSIT"),
        ("USDT", "-250", "WITHDRAW"),
        ("USDT", "-0.5", "WITHDRAW_FEE"),
        ("BTC", "0.1", "CONTRACT_TRANSFER"),
        ("MX", "3", "SUGAR"),
    ],
)
def test_a_transfer_is_external_and_moves_neither_equity_nor_lock(asset: str, amount: str, cause: str) -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            equity = desk.record.books.equity_units
            desk.change(asset, amount, cause)
            await desk.stays(ACTIVE, 90)
            assert desk.record.books.equity_units == equity
            assert (desk.moves[-1].kind, desk.moves[-1].units) == (MoveKind.TRANSFER, units_of(amount))
            assert any(
                f"external transfer: {'+' if units_of(amount) > 0 else ''}{amount} {asset}" in n for n in desk.notes
            )

    virtually(story)


def test_a_withdrawal_of_more_than_was_external_takes_what_is_claires_and_locks() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.change("USDT", "-1000.5", "WITHDRAW")
            await desk.until(lambda: our_lock(desk) is not ACTIVE, 36)
            assert "more was taken out of the account" in reason(desk)

    virtually(story)


def test_an_asset_that_claire_never_touches_may_come_and_go() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            desk.change("DOGE", "1000", "ENTRUST")
            await desk.stays(ACTIVE, 90)
            assert desk.reconciliation.externals.baseline["DOGE"] == units_of(1000)

    virtually(story)


# -- being blind, starting, going on -----------------------------------------------------------------------------------------


def test_who_cannot_look_opens_nothing() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            await bought(desk)
            desk.fault(faults.ServerError(method="GET"))
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 90)
            assert "could not be compared 3 times in a row" in reason(desk)
            desk.heal()
            await desk.until(lambda: our_lock(desk) is ACTIVE, 60)

    virtually(story)


def test_a_restart_goes_on_from_the_moves_that_were_kept() -> None:
    moves = []

    async def first(loop: VirtualLoop) -> None:
        async with watched(loop) as desk:
            desk.change("USDT", "250", "DEPOSIT")
            await desk.stays(ACTIVE, 40)
            moves.extend(desk.moves)

    async def second(loop: VirtualLoop) -> None:
        async with watched(loop, externals=Externals.restored(moves), starts=False) as desk:
            (mismatch,) = await desk.reconciliation.settle(30)  # this venue never had the deposit
            assert (mismatch.difference, mismatch.gap) == (Difference.BALANCE_DIFFERS, units_of(250))
            assert our_lock(desk) is HALTED
            assert desk.moves == []

    virtually(first)
    virtually(second)


def test_a_deposit_that_is_told_before_the_baseline_is_taken_is_in_it() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop, starts=False) as desk:
            desk.change("USDT", "250", "DEPOSIT")
            await asyncio.sleep(1)
            assert await desk.reconciliation.settle(30) == []
            assert desk.reconciliation.externals.baseline["USDT"] == units_of(1250)
            assert [move.kind for move in desk.moves] == [MoveKind.BASELINE] * 3

    virtually(story)


def test_the_start_is_patient_with_a_venue_that_does_not_answer_at_once() -> None:
    async def story(loop: VirtualLoop) -> None:
        async with watched(loop, starts=False) as desk:
            desk.fault(faults.ServerError(method="GET", times=4))
            assert await desk.reconciliation.settle(30) == []
            desk.fault(faults.ServerError(method="GET"))
            with pytest.raises(ClaireError, match="could not be compared within 30 s"):
                await desk.reconciliation.settle(30)

    virtually(story)


def test_money_that_goes_missing_in_a_lively_run_is_missed() -> None:
    async def story(loop: VirtualLoop) -> None:
        flow = FlowSettings(events_per_s=10, taker_share=0.8, volatility_bps=4, level_quote=30, levels=5)
        async with watched(loop, "execution.entry_ttl_s=2", flow=flow) as desk:
            await lively(desk, random.Random(4), 60)
            desk.steal("USDT", "0.01")
            trading = loop.create_task(lively(desk, random.Random(5), 120))
            await desk.until(lambda: our_lock(desk) is REDUCE_ONLY, 60)
            await trading
            assert "USDT" in desk.locks[0].reason

    virtually(story)


async def lively(desk: Watched, rng: random.Random, for_s: float) -> int:
    """Trade all the time; return how many orders were filled in part only."""
    execution, partial = desk.pipeline.stages.execution, 0
    end_s = desk.loop.time() + for_s
    while desk.loop.time() < end_s:
        before = desk.pipeline.stages.risk.state.orders
        if desk.record.books.positions:
            desk.trade(desk.last_ticks, EXIT_LOTS)
        else:
            price = desk.ask_ticks - rng.randrange(-100, 300)
            desk.trade(price, 1)
            desk.trade(price, ENTER_LOTS)
        await desk.until(lambda: not execution.live, 10)
        number = desk.pipeline.stages.risk.state.orders
        if number > before:
            partial += 0 < desk.filled(number) < execution.orders[number].life.quantity_lots
        await asyncio.sleep(rng.uniform(0.1, 3))
    return partial


def test_the_start_waits_until_a_difference_is_old_enough_to_count() -> None:
    async def story(loop: VirtualLoop) -> None:
        externals = Externals({"USDT": units_of(1000), "MX": units_of(5)}, {("USDT", "opening USDT"): True}, 1)
        async with watched(loop, externals=externals, starts=False) as desk:
            assert await desk.reconciliation.settle(30) == []
            desk.steal("USDT", "1")
            began = loop.time()
            (mismatch,) = await desk.reconciliation.settle(30)
            assert loop.time() - began >= 5
            assert mismatch.difference is Difference.BALANCE_DIFFERS
            assert our_lock(desk) is REDUCE_ONLY
            desk.steal("USDT", "1")
            with pytest.raises(ClaireError, match="could not be compared within 1 s"):
                await desk.reconciliation.settle(1)

    virtually(story)


# -- no false alarm ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "fee_asset", "mx_deduct"), [(1, "received", False), (2, "quote", False), (3, "received", True)]
)
def test_a_lively_run_with_partial_fills_and_cancels_raises_no_alarm(
    seed: int, fee_asset: str, mx_deduct: bool
) -> None:
    async def story(loop: VirtualLoop) -> None:
        flow = FlowSettings(events_per_s=10, taker_share=0.8, volatility_bps=4, level_quote=30, levels=5)
        async with watched(
            loop, "execution.entry_ttl_s=2", flow=flow, fee_asset=fee_asset, mx_deduct=mx_deduct
        ) as desk:
            partial = await lively(desk, random.Random(seed), 240)
            execution = desk.pipeline.stages.execution
            states = [order.life.state for order in execution.orders.values()]
            assert desk.locks == []
            assert states.count(OrderState.CANCELED) > 5
            assert states.count(OrderState.FILLED) > 30
            assert partial > 5
            assert desk.reconciliation.counters.compared_ms[Check.BALANCES] > desk.now_ms - 90_000
            await desk.stays(ACTIVE, 60)
            held = {asset: balance.free + balance.locked for asset, balance in desk.account.balances.items()}
            ours, external = holdings(desk.record.books), desk.reconciliation.externals.baseline
            assert {asset: units + external.get(asset, 0) for asset, units in ours.items()} == {
                a: held[a] for a in ours
            }

    virtually(story)
