"""Portfolio: round trips, equity's peak and its falls, and what a snapshot says."""

from decimal import Decimal
from typing import Any

from claire.model.books import Transaction
from claire.model.decisions import PositionDusted, RoundTrip
from claire.model.market import Side
from claire.model.money import units_of
from claire.model.orders import OrderState
from claire.stages.portfolio import Portfolio
from tests.support.markets import SYMBOL, T0, books, fill, order, rules, signal

BUY, SELL = Side.BUY, Side.SELL


def mark(portfolio: Portfolio, ticks: int) -> None:
    """Let the price move and look at equity."""
    portfolio.state.books.marks[SYMBOL].price_ticks = ticks
    portfolio.on_valuation()


def trips(events: Any) -> list[RoundTrip]:
    return [event for event in events if isinstance(event, RoundTrip)]


def test_a_round_trip_tells_its_story():
    portfolio = Portfolio(books())
    fee: dict[str, Any] = {"fee": Decimal("0.1"), "fee_value": Decimal("0.1")}
    portfolio.on_signal(signal(BUY, 10_000))
    portfolio.on_fill(fill(BUY, 10_000, 100, at_s=1, **fee))
    portfolio.on_fill(fill(BUY, 10_030, 200, at_s=2, **fee))
    assert portfolio.on_order(order(BUY, OrderState.FILLED, 300, 300, at_s=2)) == ()
    portfolio.on_signal(signal(SELL, 10_200, reason="take_profit"))
    portfolio.on_fill(fill(SELL, 10_200, 100, at_s=8, **fee))
    assert portfolio.on_order(order(SELL, OrderState.PARTIALLY_FILLED, 300, 100, at_s=8)) == ()
    portfolio.on_fill(fill(SELL, 10_230, 200, at_s=9, **fee))
    (trip,) = trips(portfolio.on_order(order(SELL, OrderState.FILLED, 300, 300, at_s=9)))
    assert trip == RoundTrip(
        strategy_id="s",
        symbol=SYMBOL,
        entry_ns=T0 + 1_000_000_000,
        exit_ns=T0 + 9_000_000_000,
        bought_lots=300,
        sold_lots=300,
        entry_price=Decimal("100.2"),
        exit_price=Decimal("102.2"),
        realised_pnl=Decimal(6),
        fees=Decimal("0.4"),
        reason="take_profit",
        ts_event_ns=T0 + 9_000_000_000,
    )
    assert (portfolio.state.round_trips, portfolio.state.won) == (1, 1)


def test_a_round_trip_whose_profit_the_fees_eat_is_not_won():
    portfolio = Portfolio(books())
    portfolio.on_fill(fill(BUY, 10_000, 100, fee=Decimal("0.5"), fee_value=Decimal("0.5")))
    portfolio.on_fill(fill(SELL, 10_100, 100, fee=Decimal("0.5"), fee_value=Decimal("0.5")))
    (trip,) = trips(portfolio.on_order(order(SELL, OrderState.FILLED, 100, 100)))
    assert trip.realised_pnl == trip.fees == 1
    assert portfolio.state.won == 0


def test_what_an_exit_leaves_goes_to_dust_in_one_transaction_and_ends_the_round_trip():
    portfolio = Portfolio(books(instruments=(rules(min_notional="5"),)))
    portfolio.on_fill(fill(BUY, 10_000, 100))
    portfolio.on_fill(fill(SELL, 10_000, 96))
    events = portfolio.on_order(order(SELL, OrderState.CANCELED, 100, 96))
    assert [type(event) for event in events] == [Transaction, RoundTrip]
    assert portfolio.state.books.dust[SYMBOL].base_units == units_of("0.04")
    assert portfolio.snapshot(T0).open_positions == 0
    assert portfolio.snapshot(T0).equity == 1_000


def test_a_position_that_risk_gave_up_as_dust_ends_its_round_trip():
    portfolio = Portfolio(books(instruments=(rules(min_notional="5"),)))
    portfolio.on_signal(signal(BUY, 10_000))
    portfolio.on_fill(fill(BUY, 10_000, 4))
    portfolio.on_order(order(BUY, OrderState.CANCELED, 100, 4))
    portfolio.on_signal(signal(SELL, 10_000, reason="max_hold"))
    (trip,) = trips(portfolio.on_dusted(PositionDusted("s", SYMBOL, Decimal("0.04"), T0, 10_000)))
    assert (trip.bought_lots, trip.sold_lots, trip.exit_price, trip.reason) == (4, 0, Decimal(0), "max_hold")


def test_an_order_of_someone_who_owns_nothing_changes_nothing():
    assert Portfolio(books()).on_order(order(SELL, OrderState.CANCELED)) == ()


def test_the_deepest_fall_is_measured_from_the_peak_before_it():
    portfolio = Portfolio(books())
    portfolio.on_fill(fill(BUY, 10_000, 1_000))
    for ticks in (11_000, 9_900, 10_500, 20_000, 18_500):  # 1,100 → 990 is 10 %; 2,000 → 1,850 is 7.5 %
        mark(portfolio, ticks)
    assert portfolio.max_drawdown_pct == 10.0
    assert portfolio.snapshot(T0).drawdown_pct == 7.5
    mark(portfolio, 17_999)
    assert portfolio.max_drawdown_pct == 10.005


def test_without_a_fall_there_is_no_drawdown():
    portfolio = Portfolio(books())
    mark(portfolio, 1)
    assert portfolio.max_drawdown_pct == portfolio.snapshot(T0).drawdown_pct == 0.0


def test_a_loss_before_any_gain_counts_from_the_starting_capital():
    portfolio = Portfolio(books())
    portfolio.on_fill(fill(BUY, 10_000, 500))
    mark(portfolio, 9_000)
    assert portfolio.max_drawdown_pct == 5.0


def test_a_snapshot_explains_its_equity():
    portfolio = Portfolio(books())
    portfolio.on_fill(fill(BUY, 10_000, 500, fee=Decimal("0.25"), fee_value=Decimal("0.25")))
    portfolio.on_fill(fill(SELL, 10_100, 100))
    mark(portfolio, 10_050)
    seen = portfolio.snapshot(T0 + 5)
    assert seen.ts_event_ns == T0 + 5
    assert (seen.cash, seen.realised_pnl, seen.unrealised_pnl, seen.fees) == (
        Decimal("600.75"),
        Decimal(1),
        Decimal(2),
        Decimal("0.25"),
    )
    assert seen.equity == 1_000 + seen.realised_pnl + seen.unrealised_pnl - seen.fees
    assert seen.open_positions == 1
