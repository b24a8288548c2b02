"""Whatever is placed and cancelled at the simulated venue: money is conserved to the unit, price and time decide who trades,
no order trades through its limit, and the book never stays crossed."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claire.mexcsim.accounts import ApiKey, FeeAsset, account_of
from claire.mexcsim.exchange import Exchange
from claire.mexcsim.orders import Kind, Order, PublicTrade, Status
from claire.mexcsim.rules import NewOrder, Rejection
from claire.mexcsim.symbols import SymbolRule
from claire.model.market import Side

RULE = SymbolRule(
    symbol="ABCUSDT",
    base="ABC",
    quote="USDT",
    price_decimals=2,
    quantity_decimals=3,
    start_price=Decimal(10),
    min_notional=Decimal(0),
    min_notional_market=Decimal(0),
    maker_rate=Decimal("0.0002"),
    taker_rate=Decimal("0.0005"),
    base_fee_decimals=5,
    quote_fee_decimals=4,
)
MX = SymbolRule(symbol="MXUSDT", base="MX", quote="USDT", price_decimals=4, quantity_decimals=2, start_price=Decimal(2))
OWNERS = ("anna", "ben", "house")

PLACE = st.builds(
    lambda owner, side, kind, price, lots, quote: (owner, side, kind, price, lots, quote),
    st.sampled_from(OWNERS),
    st.sampled_from(Side),
    st.sampled_from([Kind.LIMIT, Kind.LIMIT, Kind.LIMIT, Kind.MARKET, Kind.LIMIT_MAKER, Kind.IOC, Kind.FOK]),
    st.integers(985, 1015),
    st.integers(1, 3_000),
    st.booleans(),
)
STEPS = st.lists(PLACE | st.integers(0, 30), min_size=1, max_size=40)


def venue(fees: FeeAsset, *, mx: bool) -> tuple[Exchange, dict[str, ApiKey]]:
    exchange = Exchange((RULE, MX))
    keys = {}
    for owner in OWNERS[:2]:
        account = account_of(owner, {"USDT": 60, "ABC": 6, "MX": "0.02"}, fee_asset=fees, mx_deduct=mx)
        exchange.accounts[owner] = account
        keys[owner] = ApiKey(owner, "secret", account)
    return exchange, keys


def place(exchange: Exchange, keys: dict[str, ApiKey], step: tuple[Any, ...], now_ms: int) -> Order | None:
    owner, side, kind, price, lots, by_quote = step
    by_quote = by_quote and kind is Kind.MARKET
    wanted = NewOrder(
        symbol=RULE.symbol,
        side=side,
        kind=kind,
        price=0 if kind is Kind.MARKET else price,
        lots=0 if by_quote else lots,
        quote_units=lots * RULE.tick_units if by_quote else 0,
    )
    try:
        if owner == "house":
            return exchange.place_for_house(wanted, now_ms)
        return exchange.place(keys[owner], wanted, now_ms)
    except Rejection as refused:
        if refused.code not in {30004, 30025, 30002}:
            raise
        return None


def totals(exchange: Exchange) -> dict[str, int]:
    sums = dict(exchange.fees)
    for account in (*exchange.accounts.values(), exchange.house):
        for asset, balance in account.balances.items():
            sums[asset] = sums.get(asset, 0) + balance.free + balance.locked
    return sums


def waiting(exchange: Exchange, side: Side) -> list[Order]:
    half = exchange.markets[RULE.symbol].book.half(side)
    return [order for level in half.top(len(half)) for order in level.orders]


def check(exchange: Exchange) -> None:
    book = exchange.markets[RULE.symbol].book
    for side in Side:
        for level in book.half(side).top(10_000):
            assert level.lots == sum(order.remaining for order in level.orders) > 0
    if book.bids.best and book.asks.best:
        assert book.bids.best_price() < book.asks.best_price()
    for account in exchange.accounts.values():
        locked: dict[str, int] = {}
        for order in account.open_orders.values():
            assert not order.status.is_final
            asset = RULE.quote if order.is_buy else RULE.base
            locked[asset] = locked.get(asset, 0) + order.frozen
        for asset, balance in account.balances.items():
            assert balance.free >= 0
            assert balance.locked == locked.get(asset, 0)


@given(steps=STEPS, fees=st.sampled_from(FeeAsset), mx=st.booleans())
def test_money_is_conserved_and_locked_money_belongs_to_open_orders(steps, fees, mx):
    exchange, keys = venue(fees, mx=mx)
    before = totals(exchange)
    orders: list[Order] = []
    for now_ms, step in enumerate(steps):
        if isinstance(step, int):
            open_orders = [order for order in orders if not order.status.is_final]
            if open_orders:
                exchange.cancel(open_orders[step % len(open_orders)], now_ms)
        elif order := place(exchange, keys, step, now_ms):
            orders.append(order)
        check(exchange)
        assert totals(exchange) == {**dict.fromkeys(totals(exchange), 0), **before}
    for order in orders:
        assert (order.remaining == 0) == (order.status is Status.FILLED)
        for fill in order.fills:
            inside = fill.price <= order.price if order.is_buy else fill.price >= order.price
            assert inside, "a fill went through the limit"
        if not order.account.unlimited:
            assert sum(fill.lots for fill in order.fills) == order.filled
            assert sum(fill.cost_units for fill in order.fills) == order.cost_units
        if order.status.is_final:
            assert order.frozen == 0
        if order.kind is Kind.FOK:
            assert order.filled in (0, order.lots)
        if order.kind is Kind.LIMIT_MAKER:
            assert all(fill.is_maker for fill in order.fills)


@dataclass
class PlainBook:
    """Price and time priority as one would write it on a napkin: a list, sorted."""

    orders: list[list[Any]] = field(default_factory=list)  # [side, price, arrival, lots]
    trades: list[tuple[int, int]] = field(default_factory=list)

    def limit(self, side: Side, price: int, lots: int, arrival: int) -> None:
        others = [o for o in self.orders if o[0] is not side and (o[1] <= price if side is Side.BUY else o[1] >= price)]
        for other in sorted(others, key=lambda o: (o[1] if side is Side.BUY else -o[1], o[2])):
            traded = min(lots, other[3])
            if traded:
                self.trades.append((other[1], traded))
                lots -= traded
                other[3] -= traded
        self.orders = [o for o in self.orders if o[3]]
        if lots:
            self.orders.append([side, price, arrival, lots])


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(995, 1005), st.integers(1, 50)), max_size=60))
def test_price_and_then_time_decide_who_trades(limits):
    exchange, plain = Exchange((RULE,)), PlainBook()
    for arrival, (side, price, lots) in enumerate(limits):
        wanted = NewOrder(symbol=RULE.symbol, side=side, kind=Kind.LIMIT, price=price, lots=lots)
        exchange.place_for_house(wanted, arrival)
        plain.limit(side, price, lots, arrival)
    traded = [(trade.price, trade.lots) for trade in exchange.out if isinstance(trade, PublicTrade)]
    assert traded == plain.trades
    for side in Side:
        expected = sorted(
            (o for o in plain.orders if o[0] is side), key=lambda o: (-o[1] if side is Side.BUY else o[1], o[2])
        )
        assert [(order.price, order.remaining) for order in waiting(exchange, side)] == [(o[1], o[3]) for o in expected]


@given(STEPS)
def test_depth_changes_rebuild_the_book_and_their_versions_are_contiguous(steps):
    exchange, keys = venue(FeeAsset.RECEIVED, mx=False)
    book = exchange.markets[RULE.symbol].book
    mine: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    version = book.version
    for now_ms, step in enumerate(steps):
        book.watch("test")
        if not isinstance(step, int):
            place(exchange, keys, step, now_ms)
        window = book.windows.pop("test")
        assert window.from_version == version + 1
        for side, prices in ((Side.BUY, window.bids), (Side.SELL, window.asks)):
            for price in prices:
                lots = book.lots_at(side, price)
                mine[side][price] = lots
                if not lots:
                    del mine[side][price]
        version = book.version
        for side in Side:
            assert mine[side] == {level.price: level.lots for level in book.half(side).top(10_000)}
