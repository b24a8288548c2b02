"""The MEXC adapter keeps the promises of every venue, over the wire, at the simulator."""

from collections.abc import Iterator

import pytest

from claire.model.market import Side
from claire.model.orders import OrderState, OrderType
from tests.contract.mexc_desk import MexcDesk
from tests.contract.mexc_stream_desk import MexcStreamDesk
from tests.contract.venue_contract import VenueContract


class TestMexc(VenueContract):
    no_such_symbol = "-1121"
    no_money = "30004"

    @pytest.fixture
    def desk(self) -> Iterator[MexcDesk]:
        desk = MexcDesk()
        yield desk
        desk.close()


class TestMexcWithFeesInQuote(VenueContract):
    no_such_symbol = "-1121"
    no_money = "30004"

    @pytest.fixture
    def desk(self) -> Iterator[MexcDesk]:
        desk = MexcDesk(fee_asset="quote", taker_rate="0.00075")
        yield desk
        desk.close()


class TestMexcOverTheStream(VenueContract):
    no_such_symbol = "-1121"
    no_money = "30004"

    @pytest.fixture
    def desk(self) -> Iterator[MexcStreamDesk]:
        desk = MexcStreamDesk()
        yield desk
        desk.close()


def test_a_post_only_order_that_would_take_may_also_be_canceled_at_once() -> None:
    # Which of the two MEXC does is not documented; neither trades.
    desk = MexcDesk(post_only_cross="cancel")
    desk.depth({9_999: 500}, {10_000: 500})
    order_no = desk.order(Side.BUY, OrderType.LIMIT_MAKER, 100, 10_000)
    desk.settle()
    assert desk.state(order_no) is OrderState.CANCELED
    assert not desk.fills(order_no)
    desk.close()
