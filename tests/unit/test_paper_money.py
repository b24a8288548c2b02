"""The paper venue's books: fees, locks, refusals for want of money, and rules that cannot work."""

from decimal import Decimal

import pytest

from claire.adapters.venues.balances import Balances
from claire.adapters.venues.paper import NEVER, PaperRules, PaperVenue
from claire.model.decisions import Submit
from claire.model.errors import ConfigError
from claire.model.market import Side
from claire.model.orders import OrderState, OrderType
from tests.contract.venue_desk import ABC, SYMBOL, PaperDesk, intent

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, MAKER, IOC = OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.IOC
FEES = PaperRules(taker_bps=Decimal(10), maker_bps=Decimal(4))


class TestFees:
    def test_fees_in_quote_come_on_top_of_a_buy_and_off_a_sale(self) -> None:
        desk = PaperDesk(FEES)
        desk.depth({10_000: 500}, {10_001: 500})
        buy = desk.order(BUY, MARKET)
        desk.settle()
        assert (desk.free("USDT"), desk.free("ABC")) == (Decimal("9899.88999"), Decimal(101))
        sell = desk.order(SELL, MARKET)
        desk.settle()
        assert (desk.free("USDT"), desk.free("ABC")) == (Decimal("9999.78999"), Decimal(100))
        fees = [(fill.fee, fill.fee_asset, fill.fee_value) for order_no in (buy, sell) for fill in desk.fills(order_no)]
        assert fees == [
            (Decimal("0.10001"), "USDT", Decimal("0.10001")),
            (Decimal("0.1"), "USDT", Decimal("0.1")),
        ]

    def test_fees_in_base_come_off_what_is_received(self) -> None:
        desk = PaperDesk(PaperRules(taker_bps=Decimal(10), fee_asset="base"))
        desk.depth({10_000: 500}, {10_001: 500})
        buy, sell = desk.order(BUY, MARKET), desk.order(SELL, MARKET)
        desk.settle()
        fees = [(fill.fee, fill.fee_asset, fill.fee_value) for order_no in (buy, sell) for fill in desk.fills(order_no)]
        assert fees == [
            (Decimal("0.001"), "ABC", Decimal("0.10001")),
            (Decimal("0.1"), "USDT", Decimal("0.1")),
        ]
        assert (desk.total("USDT"), desk.total("ABC")) == (Decimal("9999.89"), Decimal("99.999"))

    def test_fees_are_rounded_half_even_at_the_scale_of_their_asset(self) -> None:
        # Executions worth 10, 30 and 50 USDT; their fees lie exactly between two steps of 10⁻⁸: 0.5, 1.5 and 2.5 of them.
        desk = PaperDesk(PaperRules(taker_bps=Decimal("0.000005")))
        desk.depth({}, {10_000: 10, 15_000: 20, 20_000: 25})
        order_no = desk.order(BUY, MARKET, 55)
        desk.settle()
        assert [fill.fee for fill in desk.fills(order_no)] == [0, Decimal("0.00000002"), Decimal("0.00000002")]

    def test_makers_pay_the_makers_fee(self) -> None:
        desk = PaperDesk(FEES)
        desk.depth({9_990: 500}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 10_000)
        desk.trade(9_999, 100, SELL)
        (fill,) = desk.fills(order_no)
        assert (fill.fee, fill.is_maker) == (Decimal("0.04"), True)
        assert (desk.free("USDT"), desk.free("ABC")) == (Decimal("9899.96"), Decimal(101))

    def test_a_rebate_is_a_negative_fee(self) -> None:
        desk = PaperDesk(PaperRules(taker_bps=Decimal(10), maker_bps=Decimal(-1)))
        desk.depth({9_990: 500}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 10_000)
        desk.trade(9_999, 100, SELL)
        assert desk.fills(order_no)[0].fee == Decimal("-0.01")
        assert desk.free("USDT") == Decimal("9900.01")


class TestMoney:
    def test_a_market_buy_may_spend_the_last_unit(self) -> None:
        desk = PaperDesk(FEES, {"USDT": Decimal("100.1")})
        desk.trade_that_decides(lambda: desk.order(BUY, MARKET), 10_000)
        assert desk.state(1) is OrderState.FILLED
        assert desk.total("USDT") == 0

    def test_a_market_buy_that_turns_out_dearer_than_the_free_balance_is_refused_whole(self) -> None:
        desk = PaperDesk(FEES, {"USDT": Decimal("100.09999999")})
        desk.depth({}, {9_000: 50, 11_000: 50})
        order_no = desk.order(BUY, MARKET)
        desk.settle()
        assert (desk.state(order_no), desk.code(order_no)) == (OrderState.REJECTED, "10101")
        assert (desk.free("USDT"), desk.total("ABC")) == (Decimal("100.09999999"), Decimal(0))
        assert not desk.execution.live

    def test_a_refused_order_takes_nothing_from_the_book(self) -> None:
        desk = PaperDesk(balances={"USDT": Decimal(60)})
        desk.depth({}, {10_000: 100})
        refused, possible = desk.order(BUY, MARKET, 100), desk.order(BUY, MARKET, 60)
        desk.settle()
        assert desk.state(refused) is OrderState.REJECTED
        assert desk.prices(possible) == [(10_000, 60)]

    def test_locked_money_cannot_be_spent_again(self) -> None:
        desk = PaperDesk(balances={"USDT": Decimal(150), "ABC": Decimal(1)})
        desk.depth({9_000: 5_000}, {10_000: 5_000})
        desk.order(BUY, LIMIT, 100, 9_500)
        desk.order(SELL, LIMIT, 60, 12_000)
        buy, sell = desk.order(BUY, MARKET, 60), desk.order(SELL, MARKET, 41)
        desk.settle()
        assert (desk.code(buy), desk.code(sell)) == ("10101", "30004")

    def test_a_limit_buy_locks_its_price_and_the_higher_fee(self) -> None:
        desk = PaperDesk(FEES)
        desk.depth({9_000: 5_000}, {10_000: 5_000})
        desk.order(BUY, LIMIT, 100, 9_000)
        desk.settle()
        assert desk.free("USDT") == Decimal(10_000) - Decimal("90.09")

    def test_a_better_price_frees_what_it_saved_at_once(self) -> None:
        desk = PaperDesk()
        desk.depth({}, {9_000: 40})
        order_no = desk.order(BUY, LIMIT, 100, 10_000)
        desk.settle()
        assert desk.prices(order_no) == [(9_000, 40)]
        assert desk.free("USDT") == Decimal(10_000) - Decimal(36) - Decimal(60)

    def test_fees_of_many_small_fills_never_exceed_what_was_reserved(self) -> None:
        # A fee of 0.6 steps is charged as one step each time: 100 fills would cost 40 steps more than the whole order's fee.
        desk = PaperDesk(
            PaperRules(taker_bps=Decimal("0.00006"), maker_bps=Decimal("0.00006")), {"USDT": Decimal("100.0000006")}
        )
        desk.depth({9_990: 500}, {10_010: 500})
        order_no = desk.order(BUY, LIMIT, 100, 10_000)
        for _ in range(100):
            desk.trade(9_999, 1, SELL)
        assert desk.state(order_no) is OrderState.FILLED
        assert sum(fill.fee for fill in desk.fills(order_no)) == Decimal("0.0000006")
        assert desk.total("USDT") == 0

    def test_a_quantity_or_price_of_nothing_is_refused(self) -> None:
        venue = PaperVenue({SYMBOL: ABC}, PaperRules(), {})
        venue.submit(Submit(intent(1, BUY, MARKET, 0)), 0)
        venue.submit(Submit(intent(2, BUY, LIMIT, 100, 0)), 0)
        assert [report.code for report in venue.due(1)] == ["10102", "30010"]
        assert venue.is_idle

    def test_an_order_that_works_already_is_not_taken_in_again(self) -> None:
        venue = PaperVenue({SYMBOL: ABC}, PaperRules(), {})
        venue.submit(Submit(intent(1, BUY, MARKET)), 0)
        venue.submit(Submit(intent(1, BUY, MARKET)), 0)
        with pytest.raises(ValueError, match="order 1 is working already"):
            venue.due(1)


class TestVenue:
    def test_a_venue_without_work_is_idle_and_owes_nothing(self) -> None:
        desk = PaperDesk()
        assert (desk.venue.is_idle, desk.venue.next_due_ns) == (True, NEVER)
        desk.trade(10_000)
        desk.order(BUY, MARKET)
        assert (desk.venue.is_idle, desk.venue.next_due_ns) == (False, desk.now_ns + 1)
        desk.trade(10_000)
        assert (desk.venue.is_idle, desk.venue.next_due_ns) == (True, NEVER)

    def test_ids_are_marked_as_paper_and_derived_from_the_order(self) -> None:
        desk = PaperDesk()
        desk.depth({}, {10_000: 50, 10_001: 50})
        desk.order(BUY, MARKET)
        desk.settle()
        assert [report.venue_order_id for report in desk.reports] == ["PAPER-1"] * 3
        assert [report.trade_id for report in desk.reports] == ["", "PAPER-1-1", "PAPER-1-2"]

    def test_a_refusal_says_the_numbers_compared(self) -> None:
        desk = PaperDesk(balances={"USDT": Decimal("7.5")})
        desk.depth({}, {10_000: 500})
        desk.order(BUY, MARKET, 4)
        desk.order(BUY, MARKET, 8)
        desk.settle()
        assert [report.reason for report in desk.reports] == [
            "worth 4 USDT, the minimum is 5 USDT",
            "needs 8 USDT, free are 7.5 USDT",
        ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"feed_latency_ns": -1}, "feed_latency_ns = -1: must be 0 or more"),
        ({"entry_latency_ns": -1}, "entry_latency_ns = -1: must be 0 or more"),
        ({"response_latency_ns": -1}, "response_latency_ns = -1: must be 0 or more"),
        ({"slippage_ticks": -1}, "paper.slippage_ticks = -1: must be 0 or more"),
        ({"taker_bps": Decimal(-1)}, "fees.taker_bps = -1: must be 0–1000"),
        ({"taker_bps": Decimal(1001)}, "fees.taker_bps = 1001: must be 0–1000"),
        ({"maker_bps": Decimal("NaN")}, "fees.maker_bps = NaN: must be -100–1000"),
        ({"fee_asset": "BNB"}, "fees.asset = BNB: must be quote or base"),
    ],
)
def test_rules_that_cannot_work_are_refused_by_name(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PaperRules(**rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [Decimal(-1), Decimal("NaN"), Decimal("1e-19")])
def test_a_balance_that_cannot_be_is_refused_by_name(amount: Decimal) -> None:
    with pytest.raises(ConfigError, match=r"paper\.balance\.USDT"):
        Balances({"USDT": amount})


def test_a_balance_never_falls_below_nothing() -> None:
    balances = Balances({"USDT": Decimal(1)})
    with pytest.raises(ValueError, match="the balance of USDT would fall to -1"):
        balances.lock("USDT", 2 * 10**18)
    assert balances.assets() == ("USDT",)
