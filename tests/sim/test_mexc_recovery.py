"""A second life on the same account: every order that the first one left is found as it is, counted once, never sent again."""

import asyncio

import pytest

from claire.adapters.venues.mexc.restored import Booked, Recovered, Restored, Standing
from claire.mexcsim import faults
from claire.model.decisions import TradingState
from claire.model.orders import Evidence, OrderState
from claire.stages.execution import Execution
from tests.support.venue_life import BUY, IOC, LIMIT, MARKET, SELL, SYMBOL, Account, Crash, life, story

REDUCE, ACTIVE, HALTED = TradingState.REDUCE_ONLY, TradingState.ACTIVE, TradingState.HALTED


def test_orders_in_every_state_are_found_as_they_are() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 150)
        async with life(account) as one:
            filled = one.order(BUY, MARKET, 100)
            ioc = one.order(BUY, IOC, 80, 10_000)  # 50 are there
            await one.agreed(filled, ioc)
            resting, partial, pending, gone = (one.order(BUY, LIMIT, 100, 9_900 - n) for n in range(4))
            await one.agreed(resting, partial, pending, gone)
            account.take(SELL, 9_899, 110)  # fills `resting`, and 10 of `partial`
            await one.agreed(resting, partial)
            one.cancel(gone)
            await one.agreed(gone)
            deaf = account.sim.fault(faults.Stall(channel="private"))
            account.sim.fault(faults.DropReply(path="order", method="POST", times=1))
            lost = one.order(BUY, LIMIT, 100, 9_800)
            await one.until(lambda: account.dispatches[-1].order_nos == (lost,))
            account.sim.fault(faults.DropRequest(path="order", method="POST", times=1))
            never = one.order(BUY, LIMIT, 100, 9_800)
            await one.until(lambda: account.dispatches[-1].order_nos == (never,))
            account.ours(pending).life.note(Evidence.CANCEL_REQUESTED)  # and the process dies before it is sent
        assert account.state(partial) is OrderState.PARTIALLY_FILLED
        assert account.state(pending) is OrderState.PENDING_CANCEL
        account.take(SELL, 9_899, 40)  # while nobody listens: 40 more of `partial`
        account.sim.clear_faults(deaf)
        sent = len(account.verdicts)
        async with life(account, account.restored()) as again:
            found = await again.recover()
            assert found == Recovered(settled=(partial, pending), adopted=(lost,), absent=(never,))
            await again.until(lambda: account.state(pending) is OrderState.CANCELED)
            await again.agreed(filled, ioc, resting, partial, gone, lost, never)
            assert account.ours(partial).life.filled_lots == 50
            assert account.state(lost) is OrderState.OPEN
            assert account.state(never) is OrderState.ABSENT
            assert len(account.verdicts) == sent, "nothing is sent by a recovery"
            account.take(SELL, 9_899, 50)
            await again.agreed(partial)
            assert account.state(partial) is OrderState.FILLED

    story(tell)


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("between", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    "fault", [None, faults.Duplicate(channel="private.deals", delay_ms=500)], ids=["once", "twice"]
)
def test_equal_executions_before_between_and_after_count_once_each(
    before: int, between: int, after: int, fault: faults.Fault | None
) -> None:
    async def tell(account: Account) -> None:
        if fault is not None:
            account.sim.fault(fault)
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
            for _ in range(before):
                account.take(SELL, 9_900, 10)
            await one.agreed(number)
        for _ in range(between):
            account.take(SELL, 9_900, 10)
        async with life(account, account.restored()) as again:
            recovering = asyncio.create_task(again.recover())
            for _ in range(after):
                account.take(SELL, 9_900, 10)
            found = await recovering
            assert found == Recovered(settled=(number,)), (found, account.alerts, account.reports)
            await again.agreed(number)
            account.take(SELL, 9_900, 10)
            await again.agreed(number)
            assert account.ours(number).life.filled_lots == 10 * (before + between + after + 1)

    story(tell)


def test_what_came_between_two_lives_is_found_although_the_stream_is_deaf() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
        account.take(SELL, 9_900, 100)
        account.sim.fault(faults.Stall(channel="private"))
        async with life(account, account.restored()) as again:
            assert (await again.recover()).settled == (number,)
            assert account.state(number) is OrderState.FILLED

    story(tell)


@pytest.mark.parametrize("kind", [Standing.VOID, Standing.NOT_SENT])
def test_what_was_not_sent_is_not_sent_now_either_and_is_late_if_it_is_there_after_all(kind: Standing) -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.theirs(number))
        account.execution = Execution()  # whose books say that it was not sent, as those of a faulty disk would
        account.execution.on_intent(account.intents[number])
        account.reports.clear()
        async with life(account, [Restored(account.intents[number], OrderState.INTENT, kind)]) as again:
            found = await again.recover()
            assert found.not_sent == (number,)
            assert account.evidence(number) == [Evidence.NOT_SENT]
            await again.venue.open_orders()
            await again.until(lambda: account.theirs(number)[0].status.is_final)
            await again.until(lambda: Evidence.CANCELED in account.evidence(number))
            assert again.venue.late_total == 1

    story(tell)


def test_an_order_that_the_venue_does_not_know_any_more_asks_for_a_halt() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
        theirs = account.sim.venue.exchange.keys["life-key"].account
        (order,) = theirs.orders.values()
        for index in (theirs.orders, theirs.open_orders, theirs.by_client_id):
            index.clear()
        async with life(account, account.restored()) as again:
            found = await again.recover()
            assert found == Recovered(missing=(number,))
            assert not found.is_complete
            assert account.locks == [("venue orders", HALTED)]
            assert account.state(number) is OrderState.OPEN, "nothing is invented"
        assert order.filled == 0
        account.intents.clear()

    story(tell)


def test_recovery_claims_nothing_that_it_could_not_look_at_and_goes_on_looking() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 500)
        async with life(account) as one:
            resting = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(resting)
            account.sim.fault(faults.DropReply(path="order", method="POST", times=1))
            account.sim.fault(faults.Stall(channel="private"))
            lost = one.order(BUY, MARKET)
            await one.until(lambda: account.dispatches[-1].order_nos == (lost,))
        async with life(account, account.restored()) as again:
            await again.trading.rest.know_time()
            account.sim.fault(faults.Maintenance())
            found = await again.recover(patience_s=30)
            assert found == Recovered(unknown=(resting, lost))
            assert account.locks == [("unknown orders", REDUCE)]
            account.sim.clear_faults()
            await again.until(lambda: account.state(lost) is OrderState.FILLED, 120)
            await again.until(lambda: len(account.locks) == 2)
            assert account.locks[1] == ("unknown orders", ACTIVE)

    story(tell)


def test_an_order_that_was_absent_before_the_restart_is_still_watched() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(faults.AcceptLate(path="order", method="POST", times=1, delay_ms=20_000))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.state(number) is OrderState.ABSENT)
        async with life(account, account.restored()) as again:
            assert await again.recover() == Recovered()
            await again.until(lambda: account.state(number) is OrderState.CANCELED)
            assert again.venue.late_total == 1

    story(tell)


def test_a_late_execution_of_an_order_that_ended_before_the_restart_finds_its_order() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 100)
        async with life(account) as one:
            number = one.order(BUY, MARKET)
            await one.until(lambda: account.state(number) is OrderState.FILLED)
        fills = tuple(Booked(f.trade_id, f.price_ticks, f.quantity_lots, f.venue_order_id) for f in account.fills)
        restored = Restored(account.intents[number], OrderState.FILLED, Standing.FINISHED, fills)
        account.sim.fault(faults.Duplicate(channel="private"))
        async with life(account, [restored], is_ours=lambda name: name.startswith("C1-")) as again:
            assert await again.recover() == Recovered()
            await again.venue.fills_since(SYMBOL, 1)
            assert not account.locks
            assert len(account.fills) == 1

    story(tell)


def test_the_gate_of_the_second_life_lets_no_name_of_the_first_pass_and_knows_what_is_being_sold() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 100)
        account.offer(BUY, 9_990, 100)
        async with life(account) as one:
            bought = one.order(BUY, MARKET)
            await one.until(lambda: account.state(bought) is OrderState.FILLED)
            resting = one.order(SELL, LIMIT, 70, 10_500, reduce_only=True)
            await one.agreed(resting)
            held = one.gate.held(SYMBOL)
        async with life(account, account.restored(), held=held) as again:
            await again.recover()
            assert again.gate.held(SYMBOL) - again.gate.reducing(SYMBOL) == again.trading.tradables[
                SYMBOL
            ].instrument.quantity(30)
            for number in (bought, resting):
                outcome = await again.trading.submit(account.intents[number])
                assert outcome.fault.code == "GATE_REPEATED"  # type: ignore[union-attr]
            too_much = again.order(SELL, MARKET, 31, reduce_only=True)
            fits = again.order(SELL, MARKET, 30, reduce_only=True)
            await again.until(lambda: account.state(fits) is OrderState.FILLED)
            assert account.state(too_much) is OrderState.NOT_SENT

    story(tell)


STEPS = ("gate.before", "send.before", "send.after", "look.before", "look.after", "cancel.before", "cancel.after")


@pytest.mark.parametrize("crashes_at", STEPS)
@pytest.mark.parametrize("occasion", [1, 2, 3])
@pytest.mark.parametrize("loses", [False, True], ids=["answers come", "answers are lost"])
def test_wherever_a_life_ends_the_next_one_finds_the_truth_and_nothing_is_sent_twice(
    crashes_at: str, occasion: int, loses: bool
) -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 60)
        account.offer(SELL, 10_001, 500)
        passed = 0
        market, resting = 1, 2

        def step(name: str) -> None:
            nonlocal passed
            passed += name == crashes_at
            if passed >= occasion and name == crashes_at:
                raise Crash(name)

        try:
            async with life(account, step=step) as one:
                if loses:
                    account.sim.fault(faults.DropReply(path="order", probability=0.6))
                assert (one.order(BUY, MARKET), one.order(BUY, LIMIT, 100, 9_900)) == (market, resting)
                await one.until(lambda: len(account.theirs(resting)) or passed >= occasion)
                account.take(SELL, 9_900, 30)
                one.cancel(resting)
                await one.until(lambda: account.state(resting) is OrderState.CANCELED, 20)
                await one.venue.fills_since(SYMBOL, 1)
        except Crash:
            pass
        account.sim.clear_faults()
        async with life(account, account.restored()) as again:
            found = await again.recover()
            assert found.is_complete
            for number in (market, resting):
                if not account.ours(number).life.is_terminal:
                    again.cancel(number)
            await again.agreed(market, resting)
            assert await again.venue.settle(10)

    story(tell)
