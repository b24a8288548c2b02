"""Books: what a fill does to cash, position, cost, fees and profit, in numbers that can be checked by hand."""

from decimal import Decimal
from typing import Any

import pytest

from claire.model.books import Position, Posting
from claire.model.decisions import Adjustment
from claire.model.market import Side
from claire.model.money import decimal_of, units_of
from claire.model.orders import OrderState
from tests.support.markets import ABC, SYMBOL, T0, books, fill, order, rules

BUY, SELL = Side.BUY, Side.SELL
KEY = ("s", SYMBOL)


def sums(postings: list[Posting]) -> dict[str, int]:
    total: dict[str, int] = {}
    for posting in postings:
        total[posting.asset] = total.get(posting.asset, 0) + posting.units
    return total


def lines(postings: list[Posting]) -> list[tuple[str, str, Decimal]]:
    return [(posting.account, posting.asset, decimal_of(posting.units)) for posting in postings]


def test_a_deposit_comes_from_outside():
    made = books("0")
    postings = made.transfer(units_of(1000), T0)
    assert lines(postings) == [("cash", "USDT", Decimal(1000)), ("capital", "USDT", Decimal(-1000))]
    made.transfer(units_of(-400), T0)
    assert (made.equity_units, made.transfer_units) == (units_of(600), units_of(600))


def test_a_buy_exchanges_quote_for_base():
    made = books()
    postings = made.apply(fill(BUY, 10_000, 150, order_no=7, trade_id="PAPER-7-1"))
    assert lines(postings) == [
        ("position/s/ABCUSDT", "ABC", Decimal("1.5")),
        ("market", "ABC", Decimal("-1.5")),
        ("cash", "USDT", Decimal(-150)),
        ("market", "USDT", Decimal(150)),
    ]
    assert {posting.cause for posting in postings} == {"order 7 fill PAPER-7-1"}
    assert made.positions[KEY].cost_units == units_of(150)


def test_a_fee_in_quote_is_cash_that_goes_to_fees():
    made = books()
    postings = made.apply(fill(BUY, 10_000, 100, fee=Decimal("0.05"), fee_value=Decimal("0.05")))
    assert lines(postings)[4:] == [("cash", "USDT", Decimal("-0.05")), ("fees", "USDT", Decimal("0.05"))]
    assert made.cash["USDT"] == units_of("899.95")
    assert made.positions[KEY].cost_units == units_of(100)  # cost is without fees
    assert made.equity_units == units_of("999.95")


def test_a_fee_in_base_shrinks_the_position_and_is_valued_when_booked():
    made = books()
    fee: dict[str, Any] = {"fee": Decimal("0.001"), "fee_asset": "ABC", "fee_value": Decimal("0.1")}
    postings = made.apply(fill(BUY, 10_000, 100, **fee))
    assert lines(postings)[4:] == [("position/s/ABCUSDT", "ABC", Decimal("-0.001")), ("fees", "ABC", Decimal("0.001"))]
    position = made.positions[KEY]
    assert position.base_units == units_of("0.999")
    assert position.cost_units == units_of("99.9")
    assert position.sellable_lots(ABC) == 99
    assert made.equity_units == units_of("999.9")


def test_a_fee_in_a_third_asset_is_a_posting_in_that_asset():
    made = books()
    fee: dict[str, Any] = {"fee": Decimal("0.0001"), "fee_asset": "BNB", "fee_value": Decimal("0.06")}
    postings = made.apply(fill(BUY, 10_000, 100, **fee))
    assert lines(postings)[4:] == [("cash", "BNB", Decimal("-0.0001")), ("fees", "BNB", Decimal("0.0001"))]
    assert made.cash == {"USDT": units_of(900), "BNB": units_of("-0.0001")}
    assert made.equity_units == units_of("999.94")


def test_a_rebate_is_a_negative_fee():
    made = books()
    made.apply(fill(BUY, 10_000, 100, fee=Decimal("-0.01"), fee_value=Decimal("-0.01")))
    assert (made.cash["USDT"], made.fee_units) == (units_of("900.01"), units_of("-0.01"))


def test_a_partial_exit_takes_its_share_of_the_cost_rounded_half_even_at_the_quote_scale():
    position = Position()
    position.apply(fill(BUY, 10_000, 100), ABC)
    position.apply(fill(BUY, 10_001, 200), ABC)  # cost 300.02 of 3 ABC
    assert position.apply(fill(SELL, 10_000, 100), ABC) == units_of(100) - units_of("100.00666667")
    assert position.cost_units == units_of("200.01333333")
    assert position.apply(fill(SELL, 10_000, 200), ABC) == units_of(200) - units_of("200.01333333")
    assert (position.base_units, position.cost_units) == (0, 0)


def test_a_position_that_a_late_fill_oversells_is_sold_and_not_below_nothing():
    position = Position()
    position.apply(fill(BUY, 10_000, 100), ABC)
    late = fill(SELL, 11_000, 130)
    assert position.missing(late, ABC) == units_of("0.3")
    assert position.apply(late, ABC) == units_of(10)  # what was missing went at the price that it was sold at
    assert (position.base_units, position.cost_units, position.sold_lots) == (0, 0, 130)


def test_a_position_remembers_when_it_began_and_not_when_it_grew():
    position = Position()
    position.apply(fill(BUY, 10_000, 1, at_s=5), ABC)
    position.apply(fill(BUY, 10_000, 1, at_s=9), ABC)
    assert position.entry_ns == T0 + 5_000_000_000


def test_a_strategy_cannot_sell_what_another_owns():
    made = books()
    made.apply(fill(BUY, 10_000, 100, strategy_id="a"))
    made.apply(fill(SELL, 10_000, 100, strategy_id="b"))
    assert made.positions["a", SYMBOL].base_units == units_of(1)
    assert made.dust[SYMBOL].base_units == units_of(-1)


def test_a_late_sale_takes_its_coins_back_out_of_the_dust_at_what_they_cost():
    made = books()
    made.apply(fill(BUY, 10_000, 100))
    made.apply(fill(SELL, 11_000, 60))
    made.to_dust("s", SYMBOL, T0)
    postings = made.apply(fill(SELL, 12_000, 30, order_no=2, trade_id="9"))
    assert lines(postings) == [
        ("position/s/ABCUSDT", "ABC", Decimal("-0.3")),
        ("market", "ABC", Decimal("0.3")),
        ("cash", "USDT", Decimal(36)),
        ("market", "USDT", Decimal(-36)),
        ("position/s/ABCUSDT", "ABC", Decimal("0.3")),
        ("dust/ABCUSDT", "ABC", Decimal("-0.3")),
    ]
    assert made.positions == {}
    assert (made.dust[SYMBOL].base_units, made.dust[SYMBOL].cost_units) == (units_of("0.1"), units_of(10))
    assert made.realised_units == units_of(6 + 6)


def test_a_late_sale_of_more_than_the_books_ever_held_sells_coins_from_outside_and_owes_them():
    made = books()
    made.apply(fill(SELL, 10_000, 100))
    dust = made.dust[SYMBOL]
    assert (dust.base_units, dust.cost_units, made.realised_units) == (units_of(-1), units_of(-100), 0)
    assert made.equity_units == units_of(1_000)
    made.marks[SYMBOL].price_ticks = 11_000
    assert (made.equity_units, made.unrealised_units) == (units_of(990), units_of(-10))
    assert not made.is_at_rest
    made.apply(fill(BUY, 10_500, 100))
    made.to_dust("s", SYMBOL, T0)  # gives them back: nothing is owed, and what it cost is realised
    assert made.dust == {}
    assert made.is_at_rest
    assert (made.realised_units, made.equity_units) == (units_of(-5), units_of(995))


def test_an_adopted_position_moves_with_its_history_and_joins_what_is_there():
    made = books()
    made.apply(fill(BUY, 10_000, 100, at_s=5, strategy_id="old"))
    made.apply(fill(BUY, 11_000, 100, at_s=3, strategy_id="new"))
    before = made.equity_units
    postings = made.adopt("old", "new", SYMBOL, T0)
    assert lines(postings) == [
        ("position/old/ABCUSDT", "ABC", Decimal(-1)),
        ("position/new/ABCUSDT", "ABC", Decimal(1)),
    ]
    assert list(made.positions) == [("new", SYMBOL)]
    position = made.positions["new", SYMBOL]
    assert (position.base_units, position.cost_units, position.bought_lots) == (units_of(2), units_of(210), 200)
    assert (position.entry_ns, made.equity_units) == (T0 + 3_000_000_000, before)
    with pytest.raises(KeyError):
        made.adopt("old", "new", SYMBOL, T0)


@pytest.mark.parametrize(
    ("left", "ticks", "dust"),
    [(100, 499, True), (100, 500, False), (99, 504, True), (0, 10_000, True)],  # 100 lots at 5.00 are worth 5
)
def test_dust_is_less_than_a_lot_or_worth_less_than_the_minimum_notional(left: int, ticks: int, dust: bool):
    instrument = rules(min_notional="5")
    assert Position(base_units=left * instrument.lot_units).is_dust(instrument, ticks) is dust


def test_less_than_a_lot_is_dust_whatever_it_is_worth():
    assert Position(base_units=ABC.lot_units - 1).is_dust(ABC, 10**12)


def test_a_round_trip_ends_with_an_exit_that_is_over_and_left_dust():
    instrument = rules(min_notional="5")
    position = Position()
    position.apply(fill(BUY, 10_000, 100), instrument)
    assert not position.has_ended(order(SELL, OrderState.REJECTED), instrument)  # nothing was sold
    position.apply(fill(SELL, 10_000, 95), instrument)
    assert not position.has_ended(order(BUY, OrderState.FILLED), instrument)
    assert position.has_ended(order(SELL, OrderState.CANCELED), instrument) is False  # 5 USDT can be sold
    position.apply(fill(SELL, 10_000, 1), instrument)
    assert not position.has_ended(order(SELL, OrderState.PARTIALLY_FILLED), instrument)
    assert position.has_ended(order(SELL, OrderState.CANCELED), instrument)


def test_dust_leaves_the_strategy_and_stays_in_equity():
    made = books()
    made.apply(fill(BUY, 10_000, 100))
    before = made.equity_units
    postings = made.to_dust("s", SYMBOL, T0)
    assert lines(postings) == [("position/s/ABCUSDT", "ABC", Decimal(-1)), ("dust/ABCUSDT", "ABC", Decimal(1))]
    assert made.equity_units == before
    assert KEY not in made.positions
    assert not made.is_at_rest
    made.marks[SYMBOL].price_ticks = 20_000
    assert (made.unrealised_units, made.equity_units) == (units_of(100), units_of(1100))


def test_an_exact_exit_leaves_no_dust_and_no_transaction():
    made = books()
    made.apply(fill(BUY, 10_000, 100))
    made.apply(fill(SELL, 10_100, 100))
    assert made.to_dust("s", SYMBOL, T0) == []
    assert made.dust == {}
    assert made.is_at_rest
    assert (made.realised_units, made.equity_units) == (units_of(1), units_of(1001))


def test_transactions_are_numbered_in_order():
    made = books()
    assert {p.transaction_no for p in made.apply(fill(BUY, 10_000, 100))} == {2}
    assert {p.transaction_no for p in made.apply(fill(SELL, 10_000, 50))} == {3}
    assert {p.transaction_no for p in made.to_dust("s", SYMBOL, T0)} == {4}


def test_every_kind_of_transaction_sums_to_zero():
    made = books()
    for postings in (
        made.transfer(units_of(3), T0),
        made.apply(fill(BUY, 9_999, 77, fee=Decimal("0.0007"), fee_asset="ABC", fee_value=Decimal("0.06999"))),
        made.apply(fill(SELL, 10_001, 33, fee=Decimal("0.0165"), fee_value=Decimal("0.0165"))),
        made.to_dust("s", SYMBOL, T0),
    ):
        assert postings
        assert not any(sums(postings).values())


def by_hand(asset: str, amount: str, **more: str) -> Adjustment:
    return Adjustment(asset, Decimal(amount), "ada", "the venue lost a trade", T0, **more)


def test_a_correction_by_hand_names_who_and_why_and_counts_as_a_transfer():
    made = books()
    postings = made.adjust(by_hand("USDT", "-3.5"))
    assert lines(postings) == [("cash", "USDT", Decimal("-3.5")), ("adjustments", "USDT", Decimal("3.5"))]
    assert {posting.cause for posting in postings} == {"adjustment by ada: the venue lost a trade"}
    assert made.equity_units == units_of("996.5")
    assert made.transfer_units == units_of("996.5")
    assert made.realised_units == 0


def test_what_a_correction_takes_from_a_position_leaves_at_its_average_cost():
    made = books()
    made.apply(fill(BUY, 10_000, 100))
    made.marks[SYMBOL].price_ticks = 20_000
    made.adjust(by_hand("ABC", "-0.25", strategy_id="s", symbol=SYMBOL))
    position = made.positions[KEY]
    assert (position.base_units, position.cost_units) == (units_of("0.75"), units_of(75))
    assert made.unrealised_units == units_of(75)
    assert made.equity_units == units_of(1050)


def test_what_a_correction_adds_to_dust_comes_at_the_mark():
    made = books()
    made.marks[SYMBOL].price_ticks = 20_000
    made.adjust(by_hand("ABC", "0.001", symbol=SYMBOL))
    assert (made.dust[SYMBOL].base_units, made.dust[SYMBOL].cost_units) == (units_of("0.001"), units_of("0.2"))
    assert made.unrealised_units == 0


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (by_hand("USDT", "0"), "changes nothing"),
        (by_hand("ABC", "1", symbol="XYZUSDT"), "not a symbol of this run"),
        (by_hand("USDT", "1", symbol=SYMBOL), "held in ABC"),
        (by_hand("ABC", "1", strategy_id="t", symbol=SYMBOL), "t holds no ABCUSDT"),
        (by_hand("ABC", "-2", strategy_id="s", symbol=SYMBOL), "only 1 ABC are held"),
        (by_hand("ABC", "-1", symbol=SYMBOL), "only 0 ABC are held"),
    ],
)
def test_a_correction_that_does_not_fit_changes_nothing(wish, says):
    made = books()
    made.apply(fill(BUY, 10_000, 100))
    before = made.equity_units, made.transactions, dict(made.cash)
    with pytest.raises(ValueError, match=says):
        made.adjust(wish)
    assert (made.equity_units, made.transactions, made.cash) == before


def test_coins_that_a_late_sale_owes_can_be_given_back_in_parts_until_nothing_is_owed():
    made = books()
    made.apply(fill(SELL, 10_000, 100))
    made.marks[SYMBOL].price_ticks = 11_000
    for amount in ("0.4", "0.6"):
        made.adjust(Adjustment("ABC", Decimal(amount), "ada", "coins from outside", T0, symbol=SYMBOL))
        explained = made.realised_units + made.unrealised_units - made.fee_units + made.transfer_units
        assert made.equity_units == explained
    assert made.is_at_rest
    assert (made.realised_units, made.equity_units) == (units_of(-10), units_of(1_100))
    assert (
        made.why_not(Adjustment("ABC", Decimal("-0.1"), "ada", "more", T0, symbol=SYMBOL))
        == "only 0 ABC are held there"
    )


def test_who_takes_over_a_position_has_the_whole_history_of_both():
    entered, joined = Position(), Position()
    for number, position in enumerate((entered, joined), 1):
        position.apply(fill(BUY, 10_000 * number, 200 * number, fee=Decimal("0.1"), fee_value=Decimal("0.1")), ABC)
        position.apply(fill(SELL, 10_100 * number, 50 * number, fee=Decimal("0.2"), fee_value=Decimal("0.2")), ABC)
    whole = {name: getattr(entered, name) + getattr(joined, name) for name in SUMMED}
    exit_ticks = joined.last_exit_ticks
    entered.join(joined)
    assert {name: getattr(entered, name) for name in SUMMED} == whole
    assert all(whole.values())
    assert entered.last_exit_ticks == exit_ticks


SUMMED = (
    *("base_units", "cost_units", "bought_lots", "bought_value", "sold_lots", "sold_value", "realised_units"),
    "fee_units",
)
"""What of a position adds up."""


def test_who_never_had_any_money_owes_what_a_purchase_costs():
    made = books("0")
    made.cash.clear()
    made.apply(fill(BUY, 10_000, 150))
    assert made.cash == {"USDT": units_of(-150)}
