"""Whatever the market and the orders are: paper money is conserved, prices and quantities keep their bounds, and the
same data gives the same fills."""

from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from claire.adapters.venues.paper import PaperRules
from claire.model.decisions import OrderEvent
from claire.model.market import Depth, MarketEvent, Side, TopOfBook, Trade
from claire.model.money import units_of
from claire.model.orders import TRANSITIONS, OrderType
from tests.contract.venue_desk import MS_NS, SYMBOL, PaperDesk, money_moved

PRICES = st.integers(9_990, 10_010)
LOTS = st.integers(0, 60)
SIDES = st.sampled_from(list(Side))
LEVELS = st.lists(st.tuples(PRICES, LOTS), max_size=4, unique_by=lambda level: level[0]).map(tuple)
BALANCES = {"USDT": Decimal("150.3"), "ABC": Decimal("1.77")}


class Order(NamedTuple):
    """An order to send."""

    side: Side
    kind: OrderType
    lots: int
    limit_ticks: int


class Cancellation(NamedTuple):
    """A cancel to send, of an order that may not exist."""

    order_no: int


Step = tuple[str, int, tuple[object, ...]] | Order | Cancellation

durations = st.sampled_from([0, 1, 5 * MS_NS, 20 * MS_NS, 100 * MS_NS])
market_steps = st.one_of(
    st.tuples(st.just("trade"), durations, st.tuples(PRICES, st.integers(1, 60), SIDES)),
    st.tuples(st.just("top"), durations, st.tuples(st.integers(9_990, 9_999), LOTS, st.integers(10_000, 10_010), LOTS)),
    st.tuples(
        st.just("depth"), durations, st.tuples(LEVELS, LEVELS, st.booleans(), st.sampled_from([True, True, False]))
    ),
)
orders = st.builds(Order, SIDES, st.sampled_from(list(OrderType)), st.integers(1, 150), PRICES)
stories = st.lists(
    st.one_of(market_steps, orders, market_steps, st.builds(Cancellation, st.integers(1, 8))), max_size=40
)
rules = st.builds(
    PaperRules,
    feed_latency_ns=st.sampled_from([0, 10 * MS_NS]),
    entry_latency_ns=st.sampled_from([0, 1, 15 * MS_NS]),
    response_latency_ns=st.sampled_from([0, 5 * MS_NS, 30 * MS_NS]),
    slippage_ticks=st.integers(0, 3),
    taker_bps=st.sampled_from([Decimal(0), Decimal("7.5"), Decimal("0.00000613")]),
    maker_bps=st.sampled_from([Decimal(0), Decimal(-1), Decimal("7.5"), Decimal("0.00000613")]),
    fee_asset=st.sampled_from(["quote", "base"]),
)


def market_event(kind: str, at_ns: int, what: tuple[object, ...]) -> MarketEvent:
    made: dict[str, type[Trade] | type[TopOfBook] | type[Depth]] = {"trade": Trade, "top": TopOfBook, "depth": Depth}
    return made[kind](SYMBOL, at_ns, *what)  # type: ignore[arg-type]


def live_through(story: list[Step], paper: PaperRules) -> tuple[PaperDesk, list[Order]]:
    """Play a story at a desk; return it with the orders sent."""
    desk, sent = PaperDesk(paper, BALANCES), []
    for step in story:
        match step:
            case Order():
                sent.append(step)
                desk.order(*step)
            case Cancellation():
                desk.cancel(step.order_no)
            case (kind, passed_ns, what):
                desk.feed(market_event(kind, desk.now_ns + passed_ns, what))
        for asset in BALANCES:
            assert desk.venue.balances.free(asset) >= 0
            assert desk.venue.balances.locked(asset) >= 0
    desk.settle()
    return desk, sent


@given(stories, rules)
def test_balances_change_by_exactly_the_fills_and_fees(story: list[Step], paper: PaperRules) -> None:
    desk, sent = live_through(story, paper)
    moved = money_moved(desk.reports, {number: order.side for number, order in enumerate(sent, 1)})
    for asset, amount in BALANCES.items():
        assert desk.venue.balances.total(asset) == units_of(amount) + moved[asset]


@given(stories, rules)
def test_nothing_stays_locked_once_every_order_is_canceled(story: list[Step], paper: PaperRules) -> None:
    desk, sent = live_through(story, paper)
    for order_no in range(1, len(sent) + 1):
        desk.cancel(order_no)
    desk.settle()
    assert [desk.venue.balances.locked(asset) for asset in desk.venue.balances.assets()] == [0, 0]
    assert desk.venue.is_idle
    assert not desk.execution.live


@given(stories, rules)
def test_no_order_trades_beyond_its_price_or_its_quantity(story: list[Step], paper: PaperRules) -> None:
    desk, sent = live_through(story, paper)
    for number, order in enumerate(sent, 1):
        prices = desk.prices(number)
        assert sum(lots for _, lots in prices) <= order.lots
        assert all(lots > 0 for _, lots in prices)
        if order.kind is not OrderType.MARKET:
            better = min if order.side is Side.BUY else max
            assert all(better(price, order.limit_ticks) == price for price, _ in prices)


@given(stories, rules)
def test_every_order_goes_only_ways_that_the_table_lists(story: list[Step], paper: PaperRules) -> None:
    desk, sent = live_through(story, paper)
    for number in range(1, len(sent) + 1):
        told = [event for event in desk.heard if isinstance(event, OrderEvent) and event.order_no == number]
        for before, after in pairwise(told):
            assert after.state is before.state or after.state in TRANSITIONS[before.state]


@given(stories, rules)
def test_the_same_data_gives_the_same_fills(story: list[Step], paper: PaperRules) -> None:
    first, second = live_through(story, paper)[0], live_through(story, paper)[0]
    assert first.reports == second.reports
    assert first.heard == second.heard


@given(st.lists(LOTS, min_size=1, max_size=12))
def test_takers_never_get_more_than_the_book_showed(sizes: list[int]) -> None:
    desk = PaperDesk(balances={"USDT": Decimal(10_000), "ABC": Decimal(1_000)})
    desk.depth({9_999: 50}, {10_001: 70, 10_002: 80})
    for lots in sizes:
        desk.order(Side.BUY, OrderType.IOC, max(lots, 5), 10_002)
    desk.settle()
    bought: dict[int, int] = {}
    for number in range(1, len(sizes) + 1):
        for price, lots in desk.prices(number):
            bought[price] = bought.get(price, 0) + lots
    assert bought.get(10_001, 0) <= 70
    assert bought.get(10_002, 0) <= 80
