"""The paper venue meets the market: the book where there is one, the next trade where there is none."""

from decimal import Decimal

import pytest

from claire.adapters.venues.paper import PaperRules
from claire.model.market import Side, Trade
from claire.model.orders import OrderState, OrderType
from tests.contract.venue_desk import MS_NS, SYMBOL, PaperDesk

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, MAKER = OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_MAKER
IOC, FOK = OrderType.IOC, OrderType.FOK
FAR = PaperRules(feed_latency_ns=40 * MS_NS, entry_latency_ns=60 * MS_NS, response_latency_ns=90 * MS_NS)


class TestWithoutABook:
    def test_a_market_order_takes_the_trade_that_caused_it_when_the_venue_is_near(self) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=2))
        desk.trade_that_decides(lambda: (desk.order(BUY, MARKET), desk.order(SELL, MARKET)), 10_000)
        assert desk.prices(1) == [(10_002, 100)]
        assert desk.prices(2) == [(9_998, 100)]
        assert desk.fills(1)[0].ts_event_ns == desk.now_ns

    def test_a_market_order_is_filled_whole_however_small_the_trade(self) -> None:
        desk = PaperDesk()
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET, 700), 10_000, lots=1)
        assert desk.prices(1) == [(10_000, 700)]

    def test_a_price_never_slips_below_one_tick(self) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=9))
        desk.trade_that_decides(lambda: desk.order(SELL, MARKET, 10_000), 7)
        assert desk.prices(1) == []
        assert desk.code(1) == "30002"
        desk.trade_that_decides(lambda: desk.order(SELL, MARKET, 10_000), 12)
        assert desk.code(2) == "30002"
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET, 10_000), 12)
        assert desk.prices(3) == [(21, 10_000)]

    def test_the_lowest_price_is_one_tick(self) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=9), {"ABC": Decimal(10_000)})
        desk.trade_that_decides(lambda: desk.order(SELL, MARKET, 100_000), 7)
        assert desk.prices(1) == [(1, 100_000)]

    def test_an_order_on_its_way_meets_the_first_trade_at_or_after_its_arrival(self) -> None:
        desk = PaperDesk(FAR)
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 10_000)
        decided_ns = desk.now_ns
        desk.feed(Trade(SYMBOL, decided_ns + 100 * MS_NS - 1, 10_001, 5, BUY))
        assert not desk.reports
        desk.feed(Trade(SYMBOL, decided_ns + 100 * MS_NS, 10_002, 5, BUY))
        desk.feed(Trade(SYMBOL, decided_ns + 100 * MS_NS, 10_003, 5, BUY))
        desk.settle()
        assert desk.prices(1) == [(10_002, 100)]

    def test_only_trades_of_the_orders_own_symbol_count(self) -> None:
        desk = PaperDesk()
        order_no = desk.order(BUY, MARKET)
        desk.feed(Trade("OTHERUSDT", desk.now_ns + 1, 1, 1, BUY))
        assert not desk.reports
        desk.trade(10_000)
        assert desk.prices(order_no) == [(10_000, 100)]

    def test_the_answer_comes_home_one_response_latency_later_as_the_pipeline_sees_it(self) -> None:
        desk = PaperDesk(FAR)
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 10_000)
        desk.trade(10_000)
        filled_ns = desk.now_ns
        assert not desk.reports
        desk.pass_time(50 * MS_NS - 1)
        assert not desk.reports
        desk.pass_time(1)
        assert {report.ts_event_ns for report in desk.reports} == {filled_ns + (90 - 40) * MS_NS}

    def test_an_answer_never_comes_before_what_it_tells_of(self) -> None:
        desk = PaperDesk(PaperRules(feed_latency_ns=80 * MS_NS, response_latency_ns=10 * MS_NS))
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 10_000)
        desk.trade(10_000)
        assert desk.fills(1)[0].ts_event_ns == desk.now_ns

    def test_a_marketable_limit_takes_the_trade_if_its_price_allows_for_the_slippage(self) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=1))
        allowed, short = desk.order(BUY, LIMIT, 100, 10_001), desk.order(BUY, LIMIT, 100, 10_000)
        desk.trade(10_000)
        assert desk.prices(allowed) == [(10_001, 100)]
        assert not desk.fills(allowed)[0].is_maker
        assert desk.state(short) is OrderState.OPEN

    @pytest.mark.parametrize("kind", [IOC, FOK])
    def test_an_order_that_does_not_rest_is_canceled_when_the_trade_is_out_of_reach(self, kind: OrderType) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=1))
        near, far = desk.order(SELL, kind, 100, 9_999), desk.order(SELL, kind, 100, 10_000)
        desk.trade(10_000)
        assert desk.prices(near) == [(9_999, 100)]
        assert (desk.state(far), desk.prices(far)) == (OrderState.CANCELED, [])

    def test_an_order_that_still_waits_for_a_trade_can_be_canceled(self) -> None:
        desk = PaperDesk()
        order_no = desk.order(BUY, MARKET)
        desk.cancel(order_no)
        desk.trade(10_000)
        assert (desk.state(order_no), desk.prices(order_no)) == (OrderState.CANCELED, [])
        assert desk.venue.is_idle

    @pytest.mark.parametrize(
        ("price_ticks", "taker", "state"),
        [
            (9_999, SELL, OrderState.REJECTED),
            (10_000, BUY, OrderState.REJECTED),
            (10_000, SELL, OrderState.OPEN),
            (10_001, BUY, OrderState.OPEN),
        ],
    )
    def test_a_post_only_buy_is_refused_when_the_trade_shows_an_offer_at_its_price(
        self, price_ticks: int, taker: Side, state: OrderState
    ) -> None:
        desk = PaperDesk()
        order_no = desk.order(BUY, MAKER, 100, 10_000)
        desk.trade(price_ticks, 100, taker)
        assert desk.state(order_no) is state
        assert not desk.fills(order_no)


class TestWithABook:
    def test_an_order_meets_the_book_as_it_stood_at_its_arrival(self) -> None:
        desk = PaperDesk(FAR)
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.depth({19_999: 500}, {20_000: 500})
        desk.settle()
        assert desk.prices(order_no) == [(10_000, 100)]

    def test_an_order_that_arrives_with_a_change_of_the_book_meets_the_book_after_it(self) -> None:
        desk = PaperDesk(PaperRules(entry_latency_ns=1_000 * MS_NS))
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.depth({9_999: 500}, {10_005: 500})
        assert desk.prices(order_no) == [(10_005, 100)]

    def test_answers_are_made_in_time_though_the_market_is_silent(self) -> None:
        desk = PaperDesk(FAR)
        desk.depth({9_999: 500}, {10_000: 500})
        order_no = desk.order(BUY, MARKET)
        desk.pass_time(151 * MS_NS)
        assert desk.prices(order_no) == [(10_000, 100)]

    def test_slippage_is_what_the_book_says_and_nothing_on_top(self) -> None:
        desk = PaperDesk(PaperRules(slippage_ticks=50))
        desk.depth({9_999: 500}, {10_000: 500})
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 12_345)
        assert desk.prices(1) == [(10_000, 100)]

    def test_what_the_visible_book_does_not_hold_is_canceled(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 30, 10_001: 20})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(order_no) == [(10_000, 30), (10_001, 20)]
        assert desk.state(order_no) is OrderState.CANCELED

    def test_a_market_order_against_an_empty_side_is_refused(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert (desk.state(order_no), desk.code(order_no)) == (OrderState.REJECTED, "30025")

    def test_own_orders_do_not_take_the_same_quantity_twice(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 150, 10_001: 500})
        first, second = desk.order(BUY, MARKET), desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(first) == [(10_000, 100)]
        assert desk.prices(second) == [(10_000, 50), (10_001, 50)]

    def test_a_taken_level_is_whole_again_once_it_changed(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 100, 10_001: 500})
        desk.order(BUY, MARKET)
        desk.change({}, {10_000: 100})
        same = desk.order(BUY, MARKET)
        desk.change({}, {10_000: 101})
        changed = desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(same) == [(10_001, 100)]
        assert desk.prices(changed) == [(10_000, 100)]

    def test_a_snapshot_that_repeats_a_level_does_not_refill_it(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 100, 10_001: 500})
        desk.order(BUY, MARKET)
        desk.depth({9_999: 500}, {10_000: 100, 10_001: 600})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(order_no) == [(10_001, 100)]

    def test_removed_levels_are_gone_and_changes_before_a_snapshot_are_not_believed(self) -> None:
        desk = PaperDesk()
        desk.change({9_999: 500}, {9_000: 500})
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 10_005)
        desk.depth({9_999: 500}, {10_000: 500, 10_001: 500})
        desk.change({}, {10_000: 0})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(1) == [(10_005, 100)]
        assert desk.prices(order_no) == [(10_001, 100)]

    def test_after_a_gap_the_top_of_book_serves_and_without_it_the_next_trade(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 500})
        desk.gap()
        waits = desk.order(BUY, MARKET)
        desk.trade(10_007)
        desk.top((9_990, 500), (10_010, 60))
        takes = desk.order(BUY, MARKET)
        desk.settle()
        assert desk.prices(waits) == [(10_007, 100)]
        assert desk.prices(takes) == [(10_010, 60)]
        assert desk.state(takes) is OrderState.CANCELED

    def test_an_order_that_waits_for_a_market_meets_the_book_that_comes_first(self) -> None:
        desk = PaperDesk()
        order_no = desk.order(SELL, MARKET)
        desk.top((9_990, 500), (10_010, 500))
        assert desk.prices(order_no) == [(9_990, 100)]

    def test_a_book_that_comes_while_nothing_works_is_kept(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 500}, {10_000: 500})
        desk.change({}, {10_000: 7})
        assert desk.venue.is_idle
        order_no = desk.order(BUY, IOC, 100, 10_000)
        desk.settle()
        assert desk.prices(order_no) == [(10_000, 7)]


class TestResting:
    def test_without_a_book_a_resting_order_waits_for_a_trade_through_its_price(self) -> None:
        desk = PaperDesk()
        buy, sell = desk.order(BUY, LIMIT, 100, 9_990), desk.order(SELL, LIMIT, 100, 10_010)
        desk.trade(10_000)
        desk.trade(9_990, 1_000, SELL)
        desk.trade(10_010, 1_000, BUY)
        assert (desk.prices(buy), desk.prices(sell)) == ([], [])
        desk.trade(9_989, 1_000, SELL)
        desk.trade(10_011, 1_000, BUY)
        assert (desk.prices(buy), desk.prices(sell)) == ([(9_990, 100)], [(10_010, 100)])

    def test_the_trade_that_caused_an_order_does_not_fill_it_while_it_rests(self) -> None:
        desk = PaperDesk()
        desk.depth({9_998: 500}, {10_002: 500})
        desk.trade_that_decides(lambda: desk.order(BUY, LIMIT, 100, 10_000), 9_999)
        assert desk.state(1) is OrderState.OPEN

    def test_the_queue_at_the_price_trades_first(self) -> None:
        desk = PaperDesk()
        desk.depth({9_999: 70}, {10_001: 500})
        order_no = desk.order(BUY, LIMIT, 100, 9_999)
        desk.trade(9_999, 50, SELL)
        desk.trade(9_999, 50, BUY)
        assert desk.prices(order_no) == []
        desk.trade(9_999, 50, SELL)
        assert desk.prices(order_no) == [(9_999, 30)]
        desk.trade(9_999, 40, SELL)
        assert desk.prices(order_no) == [(9_999, 30), (9_999, 40)]
        assert desk.state(order_no) is OrderState.PARTIALLY_FILLED

    def test_a_new_best_price_has_no_queue_before_it(self) -> None:
        desk = PaperDesk()
        desk.depth({9_990: 70}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 9_995)
        desk.trade(9_995, 25, SELL)
        assert desk.prices(order_no) == [(9_995, 25)]

    def test_beyond_the_visible_book_the_queue_is_not_known(self) -> None:
        desk = PaperDesk()
        desk.top((9_990, 70), (10_010, 70))
        order_no = desk.order(SELL, LIMIT, 100, 10_020)
        desk.trade(10_020, 5_000, BUY)
        assert desk.prices(order_no) == []
        desk.trade(10_021, 60, BUY)
        desk.trade(10_020, 5_000, BUY)
        assert desk.prices(order_no) == [(10_020, 60), (10_020, 40)]

    def test_own_orders_share_what_a_trade_brings_best_price_and_oldest_first(self) -> None:
        desk = PaperDesk()
        desk.depth({9_980: 500}, {10_010: 500})
        old, new, best = (desk.order(BUY, LIMIT, 100, price) for price in (9_990, 9_990, 9_995))
        desk.trade(9_985, 250, SELL)
        assert [desk.prices(order_no) for order_no in (best, old, new)] == [
            [(9_995, 100)],
            [(9_990, 100)],
            [(9_990, 50)],
        ]

    def test_what_trades_before_a_cancel_arrives_is_filled(self) -> None:
        desk = PaperDesk(FAR)
        desk.depth({9_980: 500}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 9_990)
        desk.settle()
        desk.cancel(order_no)
        desk.feed(Trade(SYMBOL, desk.now_ns + 100 * MS_NS, 9_989, 40, SELL))
        desk.feed(Trade(SYMBOL, desk.now_ns + 1, 9_989, 40, SELL))
        desk.settle()
        assert desk.prices(order_no) == [(9_990, 40)]
        assert desk.state(order_no) is OrderState.CANCELED

    def test_an_order_whose_time_is_over_is_canceled_by_its_timer(self) -> None:
        desk = PaperDesk(FAR)
        desk.depth({9_980: 500}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 9_990, expires_ns=desk.now_ns + 5_000 * MS_NS)
        desk.ring(desk.timers[0])
        assert desk.state(order_no) is OrderState.PENDING_CANCEL
        desk.settle()
        assert desk.state(order_no) is OrderState.CANCELED
        assert desk.free("USDT") == Decimal(10_000)
        assert desk.venue.is_idle
