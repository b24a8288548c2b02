"""Orders whose fate is not known: found, or proven absent, never guessed, never sent again. In virtual time, at the simulator."""

import pytest

from claire.adapters.venues.mexc.budget import Budget
from claire.mexcsim import What, faults
from claire.mexcsim.orders import Kind
from claire.mexcsim.rules import NewOrder
from claire.model.decisions import TradingState
from claire.model.orders import Evidence, OrderState
from tests.support.venue_life import BUY, IOC, LIMIT, MARKET, SELL, SYMBOL, Account, life, story

REDUCE, ACTIVE, HALTED = TradingState.REDUCE_ONLY, TradingState.ACTIVE, TradingState.HALTED


def post(kind: type[faults.RestFault], **fields: object) -> faults.RestFault:
    """A fault that strikes the next order."""
    return kind(path="order", method="POST", times=1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "exists"),
    [
        (post(faults.DropReply), True),
        (post(faults.DropRequest), False),
        (post(faults.AcceptLate, delay_ms=800), True),
        (post(faults.AcceptLate, delay_ms=2_900, answer="504"), True),
        (post(faults.Hang, ms=4_000), False),
        (post(faults.Hang, ms=4_000, accepted=True), True),
        (post(faults.Hang, ms=30_000, accepted=True), True),
        (post(faults.ServerError), False),
        (post(faults.ServerError, accepted=True), True),
        (post(faults.Refuse, code=987654), False),
        (post(faults.TooMany, retry_after_s=3), False),
    ],
    ids=[
        "answer lost", "request lost", "taken later", "504 and taken late", "hangs", "taken and hangs", "taken and hangs long",
        "503", "503 and taken", "an unknown code", "429",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [MARKET, LIMIT], ids=["at market", "resting"])
@pytest.mark.parametrize("is_deaf", [False, True], ids=["with the stream", "without"])
def test_a_lost_answer_is_found_out_and_nothing_is_sent_twice(
    fault: faults.RestFault, exists: bool, kind: object, is_deaf: bool
) -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 60)
        account.offer(SELL, 10_001, 500)
        async with life(account) as one:
            if is_deaf:
                account.sim.fault(faults.Stall(channel="private"))
            account.sim.fault(fault)
            number = one.order(BUY, MARKET) if kind is MARKET else one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.evidence(number))
            if exists:
                await one.until(lambda: account.theirs(number))
                await one.agreed(number)
                assert account.state(number) is (OrderState.FILLED if kind is MARKET else OrderState.OPEN)
            else:
                await one.until(lambda: account.state(number) is OrderState.ABSENT)
            assert await one.venue.settle(30)
            assert not account.locks
        assert bool(account.theirs(number)) is exists

    story(tell)


def test_absence_is_said_only_after_two_complete_looks_that_began_after_the_fence() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(post(faults.DropRequest))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.state(number) is OrderState.ABSENT)
            (dispatch,) = account.dispatches
            assert dispatch.outcome == "no_answer"
            assert dispatch.fence_ms == dispatch.ts_ms + 3_000
            asked = [
                entry.at_ms
                for entry in account.sim.log.of(What.REQUEST)
                if entry.detail.get("path") == "order" and entry.detail.get("method") == "GET"
            ]
            after = [ms for ms in asked if ms > dispatch.fence_ms]
            assert len(after) == 2
            assert after[1] - after[0] >= 1_000

    story(tell)


@pytest.mark.parametrize("lag_ms", [1_500, 5_000])
def test_an_order_that_queries_do_not_find_yet_is_not_absent_once_the_stream_has_named_it(lag_ms: int) -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(faults.ReadLag(ms=lag_ms))
            account.sim.fault(post(faults.DropReply))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
            await one.until(lambda: one.venue.is_settled)
            assert Evidence.ABSENT not in account.evidence(number)
            assert account.state(number) is OrderState.OPEN

    story(tell)


@pytest.mark.parametrize("delay_ms", range(3_000, 12_000, 333))
def test_whenever_a_late_order_is_told_it_is_either_adopted_or_late_and_never_lost(delay_ms: int) -> None:
    """The venue takes the order at some moment around the fence and the looks after it, beyond what recvWindow promises."""

    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(post(faults.AcceptLate, delay_ms=delay_ms))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.theirs(number))
            await one.until(lambda: one.venue.is_settled and Evidence.ACKNOWLEDGED in account.evidence(number))
            told = account.evidence(number)
            if Evidence.ABSENT in told:
                assert told.index(Evidence.ABSENT) < told.index(Evidence.ACKNOWLEDGED), (
                    "it was said of an order that was told"
                )
                await one.until(lambda: account.theirs(number)[0].status.is_final)
                await one.until(lambda: account.state(number) is OrderState.CANCELED)
                assert one.venue.late_total == 1
                assert any("is cancelled" in text for text in account.alerts)
                assert [halt.operator for halt in account.halts] == ["late live"]
                assert account.steps.count("cancel.before") == 1, "execution's cancel and the venue's own are one"
            else:
                assert account.state(number) is OrderState.OPEN
                assert one.venue.late_total == 0

    story(tell)


def test_an_order_that_is_executed_after_it_was_absent_is_booked() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 500)
        async with life(account) as one:
            account.sim.fault(post(faults.AcceptLate, delay_ms=20_000))
            number = one.order(BUY, MARKET)
            await one.until(lambda: account.state(number) is OrderState.ABSENT)
            await one.until(lambda: account.state(number) is OrderState.FILLED)
            assert one.gate.held(SYMBOL) == 1
            assert one.venue.late_total == 1

    story(tell)


def test_an_absent_order_that_the_stream_does_not_tell_is_found_by_the_view_of_reconciliation() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 50)
        async with life(account) as one:
            account.sim.fault(post(faults.AcceptLate, delay_ms=20_000))
            resting = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.evidence(resting))
            account.sim.fault(post(faults.AcceptLate, delay_ms=20_000))
            filled = one.order(BUY, IOC, 50, 10_000)
            await one.until(lambda: all(account.state(n) is OrderState.ABSENT for n in (resting, filled)))
            account.sim.fault(faults.Stall(channel="private"))
            await one.until(lambda: account.theirs(resting) and account.theirs(filled))
            await one.venue.open_orders()
            await one.until(lambda: account.state(resting) is OrderState.CANCELED)
            assert account.state(filled) is OrderState.ABSENT
            await one.venue.fills_since(SYMBOL, account.sim.venue.clock() - 60_000)
            await one.until(lambda: account.state(filled) is OrderState.FILLED)

    story(tell)


def test_while_nobody_can_look_the_order_stays_unknown_under_a_lock_that_goes_with_it() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 500)
        async with life(account) as one:
            account.sim.fault(post(faults.DropReply))
            account.sim.fault(faults.Stall(channel="private"))
            number = one.order(BUY, MARKET)
            await one.until(lambda: account.dispatches)
            account.sim.fault(faults.Maintenance())
            await one.until(lambda: account.locks)
            assert account.locks == [("unknown orders", REDUCE)]
            began_s = account.loop.time()
            await one.until(lambda: any("it is not known what became of orders 1" in text for text in account.alerts))
            assert 29 < account.loop.time() - began_s < 31
            await one.until(lambda: account.loop.time() - began_s > 100, 200)
            assert account.state(number) is OrderState.UNKNOWN
            account.sim.clear_faults()
            await one.until(lambda: account.state(number) is OrderState.FILLED, 200)
            await one.until(lambda: one.venue.is_settled)
            assert account.locks == [("unknown orders", REDUCE), ("unknown orders", ACTIVE)]

    story(tell)


@pytest.mark.parametrize(
    "fault",
    [faults.Banned(times=1, retry_after_s=40), faults.Firewall(times=1), faults.TooMany(times=1, retry_after_s=20)],
    ids=["418", "403", "429"],
)
def test_a_ban_while_orders_are_in_doubt_locks_and_ends_in_the_truth(fault: faults.RestFault) -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 500)
        async with life(account) as one:
            account.sim.fault(faults.Stall(channel="private"))
            account.sim.fault(post(faults.DropReply))
            number = one.order(BUY, MARKET)
            await one.until(lambda: account.dispatches)
            account.sim.fault(fault)
            await one.until(lambda: account.state(number) is OrderState.FILLED, 300)
            await one.until(lambda: one.venue.is_settled)
            assert account.locks in ([], [("unknown orders", REDUCE), ("unknown orders", ACTIVE)])

    story(tell)


def test_many_orders_in_doubt_at_once_are_resolved_within_the_budget() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 5_000)
        async with life(account, budget=Budget()) as one:
            account.sim.fault(faults.Stall(channel="private"))
            account.sim.fault(faults.DropReply(path="order", method="POST"))
            account.sim.fault(faults.Maintenance(for_ms=30_000, after_ms=1_500))
            numbers = []
            for number in range(12):
                numbers.append(one.order(BUY, MARKET, 10) if number % 2 else one.order(BUY, LIMIT, 10, 9_000))
                await one.until(lambda: account.evidence(numbers[-1]))
            assert len(account.dispatches) >= 6, (
                "while others are in doubt, the budget is theirs, and some are not sent"
            )
            await one.until(lambda: one.venue.is_settled, 200)
            await one.agreed(*numbers)
            assert account.locks == [("unknown orders", REDUCE), ("unknown orders", ACTIVE)]
            assert one.trading.rest.gate.budget.complaints == 0

    story(tell)


def test_an_order_with_a_name_of_ours_that_is_not_on_record_asks_for_a_halt() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
        async with life(account, is_ours=lambda name: name.startswith("C1-")) as another:
            await another.venue.open_orders()
            await another.venue.open_orders()
            assert account.locks == [("venue orders", HALTED)]
            assert any("is not on record" in text for text in account.alerts)

    story(tell)


def test_an_order_of_a_person_is_told_apart_and_halts_nothing() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 100)
        async with life(account, is_ours=lambda name: name.startswith("C1-")) as one:
            exchange = account.sim.venue.exchange
            wanted = NewOrder(symbol=SYMBOL, side=BUY, kind=Kind.LIMIT, price=9_900, lots=100, client_id="by-hand")
            exchange.place(exchange.keys["life-key"], wanted, account.sim.venue.market_ms())
            account.sim.venue.settle()
            await one.until(lambda: one.venue.foreign_total)
            assert len(await one.venue.open_orders()) == 1
            assert (await one.venue.balances())["USDT"][1] > 0
            assert not account.locks
            assert not account.reports

    story(tell)


# -- cancels and the stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        None,
        faults.DropReply(path="order", method="DELETE", times=3),
        faults.DropRequest(path="order", method="DELETE", times=4),
        faults.ServerError(path="order", method="DELETE", times=4),
        faults.Hang(path="order", method="DELETE", times=1, ms=30_000),
        faults.Refuse(path="order", method="DELETE", times=2, code=-2011),
        faults.TooMany(path="order", method="DELETE", times=1, retry_after_s=9),
    ],
    ids=lambda fault: "no fault" if fault is None else fault.name,
)
@pytest.mark.parametrize("is_deaf", [False, True], ids=["with the stream", "without"])
def test_a_cancel_goes_on_until_the_order_has_ended(fault: faults.RestFault | None, is_deaf: bool) -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.agreed(number)
            account.take(SELL, 9_900, 30)
            if is_deaf:
                account.sim.fault(faults.Stall(channel="private"))
            if fault is not None:
                account.sim.fault(fault)
            one.cancel(number)
            await one.until(lambda: account.state(number) is OrderState.CANCELED, 120)
            assert account.ours(number).life.filled_lots == 30
            assert one.venue.is_settled

    story(tell)


def test_a_cancel_that_overtakes_its_order_is_sent_again_once_the_order_is_there() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(post(faults.AcceptLate, delay_ms=1_700))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.evidence(number))
            one.cancel(number)
            one.cancel(number)
            await one.until(lambda: account.theirs(number))
            await one.until(lambda: account.state(number) is OrderState.CANCELED)

    story(tell)


def test_a_cancel_that_an_execution_beats_is_refused_and_the_execution_is_booked() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            account.sim.fault(faults.SlowPush(channel="private", ms=3_000))
            number = one.order(BUY, LIMIT, 100, 9_900)
            await one.until(lambda: account.theirs(number))
            account.take(SELL, 9_900, 100)
            one.cancel(number)
            await one.until(lambda: Evidence.CANCEL_REFUSED in account.evidence(number))
            assert account.state(number) is OrderState.FILLED
            await one.until(lambda: account.loop.time() > 20)  # the slow pushes come, and change nothing

    story(tell)


@pytest.mark.parametrize(
    "made",
    [
        (faults.Duplicate(channel="private", delay_ms=400),),
        (faults.Late(channel="private.deals", delay_ms=700),),
        (faults.Reorder(channel="private"),),
        (faults.Lose(channel="private.deals"),),
        (faults.Lose(channel="private.orders"),),
        (faults.Lose(channel="private", probability=0.5), faults.Duplicate(channel="private", delay_ms=3_000)),
        (faults.Disconnect(which="private", after_ms=30),),
        (faults.ExpireListenKeys(after_ms=20), faults.Lose(channel="private.deals", probability=0.5)),
    ],
    ids=[
        "twice",
        "late",
        "reordered",
        "no deals",
        "no orders",
        "half lost and twice",
        "cut off",
        "key ends and half lost",
    ],
)
def test_equal_executions_count_once_each_whatever_the_stream_does(made: tuple[faults.Fault, ...]) -> None:
    async def tell(account: Account) -> None:
        for _ in range(4):
            account.offer(SELL, 10_000, 20)
        async with life(account) as one:
            for fault in made:
                account.sim.fault(fault)
            taker = one.order(BUY, MARKET, 80)
            rest = one.order(BUY, LIMIT, 90, 9_900)
            await one.until(lambda: account.theirs(rest))
            for _ in range(3):
                account.take(SELL, 9_900, 30)
            await one.until(lambda: account.state(taker) is OrderState.FILLED, 120)
            if not any(isinstance(fault, faults.Lose) and fault.channel == "private.orders" for fault in made):
                account.sim.clear_faults()
                account.sim.fault(faults.Disconnect(which="private"))
            await one.until(lambda: account.state(rest) is OrderState.FILLED, 120)
            assert [fill.quantity_lots for fill in account.fills if fill.order_no == taker] == [20] * 4
            assert [fill.quantity_lots for fill in account.fills if fill.order_no == rest] == [30] * 3
            await one.until(lambda: one.venue.is_settled)
            assert one.gate.held(SYMBOL) * 100 == 170

    story(tell)


def test_the_gate_lets_a_sale_that_reduces_pass_up_to_what_was_bought() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_000, 500)
        account.offer(BUY, 9_990, 500)
        async with life(account) as one:
            early = one.order(SELL, MARKET, 50, reduce_only=True)
            await one.until(lambda: account.state(early) is OrderState.NOT_SENT)
            bought = one.order(BUY, MARKET, 100)
            await one.until(lambda: account.state(bought) is OrderState.FILLED)
            resting = one.order(SELL, LIMIT, 60, 10_500, reduce_only=True)
            await one.agreed(resting)
            too_much = one.order(SELL, MARKET, 41, reduce_only=True)
            fits = one.order(SELL, MARKET, 40, reduce_only=True)
            await one.until(lambda: account.state(fits) is OrderState.FILLED)
            assert account.state(too_much) is OrderState.NOT_SENT
            one.cancel(resting)
            await one.until(lambda: account.state(resting) is OrderState.CANCELED)
            rest = one.order(SELL, MARKET, 60, reduce_only=True)
            await one.until(lambda: account.state(rest) is OrderState.FILLED)
            assert one.gate.held(SYMBOL) == 0
            codes = {report.order_no: report.code for report in account.reports if report.code}
            assert codes == {early: "GATE_POSITION", too_much: "GATE_POSITION"}

    story(tell)
