"""A market order has a worst price at the venue: as an order that does not rest, else as one that is taken back in time."""

import pytest

from claire.mexcsim import faults
from claire.mexcsim.orders import Kind
from claire.model.orders import OrderState
from tests.support.venue_life import BUY, IOC, MARKET, SELL, SYMBOL, Account, life, story

REFUSED = "30041"


def test_nothing_is_bought_beyond_the_worst_price() -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_050, 40)
        account.offer(SELL, 10_101, 500)
        async with life(account) as one:
            number = one.order(BUY, MARKET, 100, collar_ticks=10_100)
            await one.until(lambda: account.ours(number).life.is_terminal)
            await one.agreed(number)
        (theirs,) = account.theirs(number)
        assert (theirs.kind, theirs.price) == (Kind.IOC, 10_100)
        assert (account.state(number), account.ours(number).life.filled_lots) == (OrderState.CANCELED, 40)

    story(tell)


@pytest.mark.parametrize(
    "fault", [None, faults.DropReply(path="order", method="POST", times=1)], ids=["calm", "answer lost"]
)
def test_where_ioc_is_refused_a_limit_order_stands_in_until_its_time_is_over(fault: faults.RestFault | None) -> None:
    async def tell(account: Account) -> None:
        account.offer(SELL, 10_050, 40)
        async with life(account) as one:
            one.trading.types.put(SYMBOL, IOC, REFUSED)
            if fault is not None:
                account.sim.fault(fault)
            number = one.order(BUY, MARKET, 100, collar_ticks=10_100)
            await one.until(lambda: account.state(number) is OrderState.PARTIALLY_FILLED)
            (theirs,) = account.theirs(number)
            assert (theirs.kind, theirs.price, theirs.status.is_final) == (Kind.LIMIT, 10_100, False)
            began = account.loop.time()
            await one.until(lambda: account.ours(number).life.is_terminal)
            assert account.loop.time() - began <= 2.5
            await one.agreed(number)
            assert await one.venue.settle(30)
        assert (account.state(number), account.ours(number).life.filled_lots) == (OrderState.CANCELED, 40)

    story(tell)


def test_a_stand_in_that_is_filled_in_time_is_not_cancelled() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            one.trading.types.put(SYMBOL, IOC, REFUSED)
            number = one.order(BUY, MARKET, 100, collar_ticks=10_100)
            await one.until(lambda: account.state(number) is OrderState.OPEN)
            account.take(SELL, 10_100, 100)
            await one.until(lambda: account.ours(number).life.is_terminal)
            assert account.state(number) is OrderState.FILLED
            assert "cancel.before" not in account.steps

    story(tell)


def test_a_stand_in_of_before_a_restart_is_cancelled_after_it() -> None:
    async def tell(account: Account) -> None:
        async with life(account) as one:
            one.trading.types.put(SYMBOL, IOC, REFUSED)
            number = one.order(BUY, MARKET, 100, collar_ticks=10_100)
            await one.until(lambda: account.state(number) is OrderState.OPEN)
        async with life(account, account.restored(number)) as one:
            one.trading.types.put(SYMBOL, IOC, REFUSED)
            await one.recover()
            await one.until(lambda: account.ours(number).life.is_terminal)
            await one.agreed(number)
        assert account.state(number) is OrderState.CANCELED
        assert all(order.status.is_final for order in account.theirs(number))

    story(tell)
