"""The simulated venue's matching core, story by story: who pays what, to the unit."""

from decimal import Decimal

import msgspec
import pytest

from claire.mexcsim.accounts import ApiKey, FeeAsset, account_of
from claire.mexcsim.exchange import Exchange, VenueHabits, protective_limit
from claire.mexcsim.orders import BalanceChanged, Kind, Order, OrderChanged, Status
from claire.mexcsim.rules import NewOrder, Rejection
from claire.mexcsim.symbols import SymbolRule, choose, rule_of
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.money import decimal_text, units_of

RULE = SymbolRule(
    symbol="ABCUSDT",
    base="ABC",
    quote="USDT",
    price_decimals=2,
    quantity_decimals=3,
    start_price=Decimal(10),
    taker_rate=Decimal("0.0005"),
    maker_rate=Decimal("0.0005"),
    quote_fee_decimals=3,
    min_notional=Decimal(0),
    min_notional_market=Decimal(0),
)


class Desk:
    """One client, and the house opposite."""

    def __init__(
        self, habits: VenueHabits | None = None, *rules: SymbolRule, fees: str = "received", **balances: str
    ) -> None:
        self.exchange = Exchange((RULE, *rules), habits)
        self.account = account_of("1", dict(balances), fee_asset=FeeAsset(fees))
        self.exchange.accounts["1"] = self.account
        self.key = ApiKey("key", "secret", self.account)
        self.now = 0

    def house(self, side: Side, price: str, quantity: str) -> Order:
        return self.exchange.place_for_house(self._wanted(side, Kind.LIMIT, price, quantity), self._tick())

    def order(
        self, side: Side, kind: Kind, price: str = "0", quantity: str = "0", quote: str = "0", symbol: str = "ABCUSDT"
    ) -> Order:
        return self.exchange.place(self.key, self._wanted(side, kind, price, quantity, quote, symbol), self._tick())

    def has(self, asset: str) -> tuple[str, str]:
        balance = self.account.balance(asset)
        return decimal_text(balance.free), decimal_text(balance.locked)

    def _tick(self) -> int:
        self.now += 1
        return self.now

    def _wanted(
        self, side: Side, kind: Kind, price: str, quantity: str, quote: str = "0", symbol: str = "ABCUSDT"
    ) -> NewOrder:
        rule = self.exchange.markets[symbol].rule
        ticks, lots = rule.ticks(Decimal(price)), rule.lots(Decimal(quantity))
        assert ticks is not None
        assert lots is not None
        return NewOrder(symbol=symbol, side=side, kind=kind, price=ticks, lots=lots, quote_units=units_of(quote))


def test_a_better_price_gives_back_what_was_frozen_too_much():
    desk = Desk(USDT="100")
    desk.house(Side.SELL, "9.50", "1")
    order = desk.order(Side.BUY, Kind.LIMIT, "10.00", "3")
    assert (order.status, decimal_text(order.frozen)) == (Status.PARTIALLY_FILLED, "20")
    assert desk.has("USDT") == ("70.5", "20")
    assert desk.has("ABC") == ("0.9995", "0")
    desk.exchange.cancel(order, 9)
    assert order.status is Status.PARTIALLY_CANCELED
    assert desk.has("USDT") == ("90.5", "0")


def test_a_fee_in_quote_is_frozen_with_the_order_and_paid_on_top():
    desk = Desk(USDT="100", fees="quote")
    order = desk.order(Side.BUY, Kind.LIMIT, "10.00", "2")
    assert desk.has("USDT") == ("79.99", "20.01")
    desk.house(Side.SELL, "10.00", "1")
    assert desk.has("USDT") == ("79.99", "10.005")
    desk.house(Side.SELL, "10.00", "1")
    assert (order.status, desk.has("USDT"), desk.has("ABC")) == (Status.FILLED, ("79.99", "0"), ("2", "0"))


@pytest.mark.parametrize(("owned", "fees"), [("12.006", "0.006"), ("13", "0.01")])
def test_fees_that_round_up_fill_by_fill_take_free_money_and_never_what_is_not_there(owned, fees):
    desk = Desk(USDT=owned, fees="quote")
    order = desk.order(Side.BUY, Kind.LIMIT, "10.00", "1.2")
    for _ in range(10):
        desk.house(Side.SELL, "10.00", "0.12")  # a fee of 0.0006 each, rounded to 0.001
        assert order.frozen >= order.remaining * order.price * RULE.unit_value
        assert desk.account.balance("USDT").free >= 0
    assert order.status is Status.FILLED
    assert decimal_text(sum(fill.fee_units for fill in order.fills)) == fees
    free, locked = desk.has("USDT")
    assert (Decimal(free), locked) == (Decimal(owned) - 12 - Decimal(fees), "0")


def test_mx_pays_while_there_is_some_and_is_valued_through_the_quotes_own_pair():
    desk = Desk(None, *choose(["MXUSDT", "BTCUSDT"]), ETHBTC, MX="1.5", ETH="30", USDT="50")
    desk.account.mx_deduct = True
    desk.house(Side.BUY, "10.00", "5")
    desk.exchange.place_for_house(desk._wanted(Side.BUY, Kind.LIMIT, "0.04", "9", symbol="ETHBTC"), 1)
    sold = desk.order(Side.SELL, Kind.LIMIT, "0.04", "1", symbol="ETHBTC")
    mx = Decimal("0.04") * Decimal("0.0005") * Decimal("0.8") * Decimal("84270.01") / Decimal("2.0814")
    assert sold.fills[0].fee_asset == "MX"
    assert abs(Decimal(decimal_text(sold.fills[0].fee_units)) - mx) < Decimal("1e-15")
    more = desk.order(Side.SELL, Kind.LIMIT, "0.04", "8", symbol="ETHBTC")
    assert more.fills[0].fee_asset == "BTC"  # 5.2 MX would be needed


ETHBTC = choose(["ETHBTC"])[0]


def test_without_a_pair_to_value_it_mx_is_not_taken():
    desk = Desk(MX="100", USDT="100")
    desk.account.mx_deduct = True
    desk.house(Side.SELL, "10.00", "1")
    assert desk.order(Side.BUY, Kind.LIMIT, "10.00", "1").fills[0].fee_asset == "ABC"


def test_an_account_may_have_rates_of_its_own():
    desk = Desk(USDT="100")
    desk.account.taker_rate = Decimal("0.001")
    desk.house(Side.SELL, "10.00", "1")
    assert decimal_text(desk.order(Side.BUY, Kind.LIMIT, "10.00", "1").fills[0].fee_units) == "0.001"


def test_a_trade_with_oneself_is_marked():
    desk = Desk(USDT="100", ABC="5")
    sell = desk.order(Side.SELL, Kind.LIMIT, "10.00", "1")
    buy = desk.order(Side.BUY, Kind.LIMIT, "10.00", "1")
    assert [fill.is_self_trade for fill in (*sell.fills, *buy.fills)] == [True, True]
    assert [fill.is_maker for fill in (*sell.fills, *buy.fills)] == [True, False]


def test_selling_for_an_amount_of_quote_sells_what_it_takes():
    desk = Desk(ABC="5")
    desk.house(Side.BUY, "10.00", "0.2")
    desk.house(Side.BUY, "9.00", "5")
    order = desk.order(Side.SELL, Kind.MARKET, quote="6.5")
    assert (order.status, decimal_text(order.cost_units)) == (Status.PARTIALLY_CANCELED, "2")  # 9.00 is beyond 5 %
    wide = Desk(VenueHabits(market_protection_pct=Decimal(20)), ABC="5")
    wide.house(Side.BUY, "10.00", "0.2")
    wide.house(Side.BUY, "9.00", "5")
    order = wide.order(Side.SELL, Kind.MARKET, quote="6.5")
    assert (order.status, decimal_text(order.cost_units)) == (Status.FILLED, "6.5")


def test_without_a_counter_order_a_market_order_is_refused():
    with pytest.raises(Rejection) as refused:
        Desk(USDT="100").order(Side.BUY, Kind.MARKET, quantity="1")
    assert refused.value.code == 30025


def test_an_amount_that_buys_no_lot_is_refused():
    desk = Desk(USDT="100")
    desk.house(Side.SELL, "10.00", "1")
    with pytest.raises(Rejection) as refused:
        desk.order(Side.BUY, Kind.MARKET, quote="0.005")
    assert refused.value.code == 30002


def test_post_only_that_would_trade_is_refused_where_the_venue_is_told_to():
    desk = Desk(VenueHabits(post_only_cross="refuse"), USDT="100")
    desk.house(Side.SELL, "10.00", "1")
    assert desk.order(Side.BUY, Kind.LIMIT_MAKER, "9.99", "1").status is Status.NEW
    with pytest.raises(Rejection) as refused:
        desk.order(Side.BUY, Kind.LIMIT_MAKER, "10.00", "1")
    assert refused.value.code == 30010


def test_an_order_is_told_as_new_then_each_fill_then_its_end():
    desk = Desk(USDT="100")
    desk.house(Side.SELL, "10.00", "1")
    desk.house(Side.SELL, "10.01", "1")
    desk.exchange.out.clear()
    desk.order(Side.BUY, Kind.IOC, "10.01", "3")
    told = [(event.status, event.last_lots) for event in desk.exchange.out if isinstance(event, OrderChanged)]
    assert told == [
        (Status.NEW, 0),
        (Status.PARTIALLY_FILLED, 1000),
        (Status.PARTIALLY_FILLED, 1000),
        (Status.PARTIALLY_CANCELED, 0),
    ]
    changes = [event for event in desk.exchange.out if isinstance(event, BalanceChanged)]
    assert [event.reason for event in changes][:: len(changes) - 1] == ["ENTRUST_PLACE", "ENTRUST_CANCEL"]
    assert sum(event.free_change + event.locked_change for event in changes if event.asset == "USDT") == -units_of(
        "20.01"
    )


@pytest.mark.parametrize(
    ("best", "side", "limit"),
    [(1003, Side.BUY, 1053), (4554, Side.SELL, 4327), (1, Side.SELL, 1), (1, Side.BUY, 1)],
)
def test_market_orders_are_protected_five_percent_from_the_best_price(best, side, limit):
    assert protective_limit(best, side, Decimal(5)) == limit


@pytest.mark.parametrize(
    "habits",
    [
        VenueHabits(duplicate_client_ids="maybe"),
        VenueHabits(post_only_cross="x"),
        VenueHabits(market_protection_pct=Decimal(100)),
    ],
)
def test_habits_that_mean_nothing_are_refused(habits):
    with pytest.raises(ConfigError, match="choose"):
        Exchange((RULE,), habits)


@pytest.mark.parametrize(
    "change",
    [
        {"price_decimals": 12, "quantity_decimals": 7},
        {"price_decimals": -1},
        {"start_price": Decimal("0.001")},
        {"start_price": Decimal("NaN")},
    ],
)
def test_rules_too_fine_for_exact_money_or_without_a_price_are_refused(change):
    with pytest.raises(ConfigError, match="ABCUSDT"):
        msgspec.structs.replace(RULE, **change).checked()


def test_an_instrument_becomes_a_pair_if_its_steps_are_the_venues_kind():
    pepe = Instrument.checked("PEPEUSDT", Decimal("0.00000001"), Decimal(1), min_notional=Decimal(5))
    rule = rule_of(pepe)
    assert (rule.price_decimals, rule.quantity_decimals, rule.min_notional) == (8, 0, Decimal(5))
    with pytest.raises(ConfigError, match=r"tick 0\.5 is not a power of ten"):
        rule_of(Instrument.checked("XYZUSDT", Decimal("0.5"), Decimal(1)))


def test_a_balance_that_is_no_amount_is_refused():
    for wrong in ("-1", "many", "1e-19", "NaN"):
        with pytest.raises(ConfigError, match="balance USDT"):
            account_of("1", {"USDT": wrong})
