"""What every venue promises, written once and inherited by the test class of each implementation."""

from decimal import Decimal
from typing import ClassVar

import pytest

from claire.model.market import Side
from claire.model.money import units_of
from claire.model.orders import Evidence, OrderState, OrderType
from tests.contract.venue_desk import ABC, VenueDesk, money_moved

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, MAKER = OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_MAKER
IOC, FOK = OrderType.IOC, OrderType.FOK


class VenueContract:
    """What every venue promises. A subclass gives the fixture `desk`: 10,000 USDT, 100 ABC, no market yet.

    MEXC has several codes for one reason, and which it uses when is not documented; a subclass says which its venue does.
    """

    no_such_symbol: ClassVar = "10007"
    no_money: ClassVar = "10101"
    nothing_to_sell: ClassVar = "30004"

    @pytest.fixture
    def desk(self) -> VenueDesk:
        raise NotImplementedError("the test class of a venue gives this fixture")

    # -- taking ----------------------------------------------------------------------------------------------------

    def test_an_order_is_acknowledged_before_it_is_filled(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert [report.evidence for report in desk.reports] == [Evidence.ACKNOWLEDGED, None]
        assert desk.state(order_no) is OrderState.FILLED

    def test_a_market_order_takes_the_best_prices_first(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500, 9_999: 30}, {10_000: 40, 10_001: 500})
        buy, sell = desk.order(BUY, MARKET), desk.order(SELL, MARKET)
        desk.settle()
        assert [(fill.price_ticks, fill.quantity_lots) for fill in desk.fills(buy)] == [(10_000, 40), (10_001, 60)]
        assert [(fill.price_ticks, fill.quantity_lots) for fill in desk.fills(sell)] == [(9_999, 30), (9_998, 70)]

    def test_a_limit_order_never_trades_beyond_its_price(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 500}, {10_000: 40, 10_001: 500})
        order_no = desk.order(BUY, LIMIT, 100, 10_000)
        desk.settle()
        assert [(fill.price_ticks, fill.quantity_lots) for fill in desk.fills(order_no)] == [(10_000, 40)]
        assert desk.state(order_no) is OrderState.PARTIALLY_FILLED

    def test_what_an_ioc_order_does_not_get_at_once_is_canceled(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 500}, {10_000: 40, 10_001: 500})
        order_no = desk.order(BUY, IOC, 100, 10_000)
        desk.settle()
        assert sum(fill.quantity_lots for fill in desk.fills(order_no)) == 40
        assert desk.state(order_no) is OrderState.CANCELED

    @pytest.mark.parametrize(("lots", "filled"), [(100, 100), (101, 0)])
    def test_a_fok_order_is_filled_whole_or_not_at_all(self, desk: VenueDesk, lots: int, filled: int) -> None:
        desk.depth({9_999: 500}, {10_000: 40, 10_001: 60, 10_002: 500})
        order_no = desk.order(BUY, FOK, lots, 10_001)
        desk.settle()
        assert sum(fill.quantity_lots for fill in desk.fills(order_no)) == filled
        assert desk.state(order_no) is (OrderState.FILLED if filled else OrderState.CANCELED)

    def test_a_post_only_order_that_would_take_is_refused(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MAKER, 100, 10_000)
        desk.settle()
        assert desk.state(order_no) is OrderState.REJECTED
        assert not desk.fills(order_no)

    # -- resting ---------------------------------------------------------------------------------------------------

    def test_a_post_only_order_that_rests_is_filled_at_its_price_as_a_maker(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        order_no = desk.order(BUY, MAKER, 100, 9_999)
        desk.settle()
        assert desk.state(order_no) is OrderState.OPEN
        desk.trade(9_998, 150, SELL)
        desk.settle()
        assert [(fill.price_ticks, fill.quantity_lots, fill.is_maker) for fill in desk.fills(order_no)] == [
            (9_999, 100, True)
        ]

    def test_a_resting_order_locks_its_money_until_it_is_canceled(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        buy, sell = desk.order(BUY, LIMIT, 100, 9_000), desk.order(SELL, LIMIT, 300, 11_000)
        desk.settle()
        assert desk.free("USDT") <= Decimal(10_000) - Decimal(90)
        assert desk.free("ABC") == Decimal(97)
        assert (desk.total("USDT"), desk.total("ABC")) == (Decimal(10_000), Decimal(100))
        desk.cancel(buy)
        desk.cancel(sell)
        desk.settle()
        assert (desk.state(buy), desk.state(sell)) == (OrderState.CANCELED, OrderState.CANCELED)
        assert (desk.free("USDT"), desk.free("ABC")) == (Decimal(10_000), Decimal(100))

    def test_a_cancel_that_meets_a_fill_ends_in_one_of_two_legal_ways(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        order_no = desk.order(BUY, LIMIT, 100, 9_999)
        desk.settle()
        desk.cancel(order_no)
        desk.trade(9_998, 1_000, SELL)
        desk.settle()
        filled = sum(fill.quantity_lots for fill in desk.fills(order_no))
        assert (desk.state(order_no), filled) in [(OrderState.FILLED, 100), (OrderState.CANCELED, 0)]

    # -- refusals --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("kind", "limit_ticks"), [(MARKET, 0), (LIMIT, 10_000), (IOC, 10_000), (MAKER, 9_999)])
    def test_an_order_below_the_minimum_notional_is_refused_with_the_venues_own_reason(
        self, desk: VenueDesk, kind: OrderType, limit_ticks: int
    ) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        order_no = desk.order(BUY, kind, 4, limit_ticks)
        desk.settle()
        assert (desk.state(order_no), desk.code(order_no)) == (OrderState.REJECTED, "30002")

    def test_a_buy_without_the_money_is_refused_and_costs_nothing(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 1_000_000})
        market, limit = desk.order(BUY, MARKET, 10_001), desk.order(BUY, LIMIT, 10_001, 10_000)
        desk.settle()
        assert (desk.state(market), desk.code(market)) == (OrderState.REJECTED, self.no_money)
        assert (desk.state(limit), desk.code(limit)) == (OrderState.REJECTED, self.no_money)
        assert (desk.free("USDT"), desk.total("ABC")) == (Decimal(10_000), Decimal(100))

    def test_a_sale_of_more_than_there_is_is_refused(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 1_000_000}, {10_000: 500})
        order_no = desk.order(SELL, MARKET, 10_001)
        desk.settle()
        assert (desk.state(order_no), desk.code(order_no)) == (OrderState.REJECTED, self.nothing_to_sell)

    def test_an_order_for_an_unknown_symbol_is_refused(self, desk: VenueDesk) -> None:
        order_no = desk.order(BUY, MARKET, symbol="NOSUCHUSDT")
        desk.settle()
        assert (desk.state(order_no), desk.code(order_no)) == (OrderState.REJECTED, self.no_such_symbol)

    def test_a_cancel_of_an_order_that_never_was_is_refused(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        desk.cancel(77)
        desk.settle()
        answers = [(report.order_no, report.evidence, report.code) for report in desk.reports]
        assert answers == [(77, Evidence.CANCEL_REFUSED, "-2011")]

    def test_a_cancel_of_a_finished_order_is_refused_and_changes_nothing(self, desk: VenueDesk) -> None:
        desk.depth({9_998: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        desk.cancel(order_no)
        desk.settle()
        assert (desk.reports[-1].evidence, desk.reports[-1].code) == (Evidence.CANCEL_REFUSED, "-2011")
        assert desk.state(order_no) is OrderState.FILLED

    # -- books and names -------------------------------------------------------------------------------------------

    def test_balances_change_by_exactly_what_the_reports_say(self, desk: VenueDesk) -> None:
        desk.depth({9_997: 1_000, 9_999: 33}, {10_000: 37, 10_003: 1_000})
        sides = {desk.order(BUY, MARKET, 333): BUY, desk.order(SELL, IOC, 111, 9_998): SELL}
        sides[desk.order(BUY, LIMIT, 7, 9_998)] = BUY
        desk.settle()
        moved = money_moved(desk.reports, sides)
        assert units_of(desk.total("USDT")) == units_of(10_000) + moved["USDT"]
        assert units_of(desk.total("ABC")) == units_of(100) + moved["ABC"]

    def test_every_execution_has_a_trade_id_of_its_own(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 30, 9_998: 500}, {10_000: 40, 10_001: 500})
        for side in (BUY, SELL, BUY):
            desk.order(side, MARKET)
        desk.settle()
        trade_ids = [report.trade_id for report in desk.reports if report.trade_id]
        assert len(trade_ids) == len(dict.fromkeys(trade_ids)) >= 5

    def test_an_order_keeps_one_venue_id_for_life(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 30, 9_998: 500}, {10_000: 40, 10_001: 500})
        desk.order(BUY, IOC, 100, 10_000)
        desk.settle()
        assert len(desk.reports) == 3
        assert desk.reports[0].venue_order_id
        assert len({report.venue_order_id for report in desk.reports}) == 1

    def test_fees_are_valued_in_the_quote_asset(self, desk: VenueDesk) -> None:
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        (fill,) = desk.fills(order_no)
        assert fill.fee_asset in (ABC.base, ABC.quote)
        assert fill.fee_value == (fill.fee if fill.fee_asset == ABC.quote else fill.fee * ABC.price(fill.price_ticks))
