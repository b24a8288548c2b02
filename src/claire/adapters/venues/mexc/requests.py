"""Requests to MEXC's REST as values: method, path, parameters in the order in which they are sent, and what they cost.

Nothing here signs or sends. Weights are those of the documents of 2026-04-04 (sheet 3.2 and 3.4).
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from claire.adapters.venues.mexc.budget import Bucket, Cost, Urgency, cost
from claire.adapters.venues.mexc.errors import Call
from claire.gateway.signer import encode
from claire.model.market import Side
from claire.model.money import plain_text
from claire.model.orders import OrderType

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""The client order ids that Claire sends; what the venue allows is not documented."""

INTERVALS: Final = {
    "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "4h": 14_400, "1d": 86_400, "1W": 604_800,
}  # fmt: skip
"""Candle intervals of REST with their seconds. (``1M`` has no fixed length and is left out.)"""

MOST_KLINES: Final = 500
MOST_TRADES: Final = 1000
MOST_OWN_TRADES: Final = 100
MOST_LEVELS: Final = 5000
"""What the documents allow; the venue gives at most 2000 a side."""
MOST_IN_BATCH: Final = 20

TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.LIMIT_MAKER: "LIMIT_MAKER",
    OrderType.IOC: "IMMEDIATE_OR_CANCEL",
    OrderType.FOK: "FILL_OR_KILL",
}
"""The venue's names. A time in force is no parameter of MEXC: what is called so is silently ignored, and the order rests."""

Params = tuple[tuple[str, str], ...]


class Request(Struct, frozen=True):
    """One request, not yet signed."""

    method: str
    path: str
    params: Params
    cost: Cost
    signed: bool = False
    call: Call = Call.READ

    @property
    def query(self) -> str:
        """The parameters as they are sent, without timestamp, recvWindow and signature."""
        return encode(self.params)

    @property
    def what(self) -> str:
        """How this request is called in messages: never with its signature."""
        names = [value for name, value in self.params if name in ("symbol", "origClientOrderId", "orderId")]
        return " ".join((self.method, self.path, *names))


class OrderTicket(Struct, frozen=True):
    """What is sent of one order."""

    symbol: str
    side: Side
    type: OrderType
    client_order_id: str
    quantity: Decimal | None = None
    """In base."""
    value: Decimal | None = None
    """In quote, instead of `quantity`: for market orders only."""
    price: Decimal | None = None

    @property
    def params(self) -> Params:
        """The parameters, in the order in which they are sent.

        Raises:
            ValueError: the ticket contradicts itself, or its client order id is not one that Claire sends.
        """
        if self.client_order_id and not CLIENT_ID.fullmatch(self.client_order_id):
            raise ValueError(f"{self.client_order_id!r}: a client order id is 1 to 32 of letters, digits, - and _")
        if (self.price is None) is not (self.type is OrderType.MARKET):
            raise ValueError(
                f"{self.symbol}: a {self.type} order {'has no' if self.price is not None else 'needs a'} price"
            )
        if (self.quantity is None) is (self.value is None) or (self.value is not None and self.price is not None):
            raise ValueError(f"{self.symbol}: an order has a quantity, or, at market, a value instead")
        told = {"quantity": self.quantity, "quoteOrderQty": self.value, "price": self.price}
        for name, amount in told.items():
            if amount is not None and not (amount.is_finite() and amount > 0):
                raise ValueError(f"{self.symbol}: {name} {amount} is not a number above 0")
        listed = [("symbol", self.symbol), ("side", self.side.value), ("type", TYPES[self.type])]
        listed += [(name, plain_text(amount)) for name, amount in told.items() if amount is not None]
        if self.client_order_id:
            listed.append(("newClientOrderId", self.client_order_id))
        return tuple(listed)


# -- what creates an order; sent by `claire.gateway.send` only --------------------------------------------------------


def new_order(ticket: OrderTicket, *, reduces: bool = False) -> Request:
    """POST an order."""
    return _create("/api/v3/order", ticket.params, Urgency.URGENT if reduces else Urgency.ORDINARY, (Bucket.ORDERS,))


def test_order(ticket: OrderTicket) -> Request:
    """Have the venue look at an order without making it."""
    return _create("/api/v3/order/test", ticket.params, Urgency.ORDINARY, ())


def batch(tickets: Sequence[OrderTicket]) -> Request:
    """POST up to 20 orders of one symbol.

    Raises:
        ValueError: they are none, too many, or of several symbols.
    """
    if not 1 <= len(tickets) <= MOST_IN_BATCH or len({ticket.symbol: True for ticket in tickets}) != 1:
        raise ValueError(f"a batch holds 1 to {MOST_IN_BATCH} orders of one symbol")
    listed = msgspec.json.encode([dict(ticket.params) for ticket in tickets]).decode()
    return _create("/api/v3/batchOrders", (("batchOrders", listed),), Urgency.ORDINARY, (Bucket.ORDERS, Bucket.BATCH))


# -- cancels ----------------------------------------------------------------------------------------------------------


def cancel(symbol: str, *, order_id: str = "", client_order_id: str = "") -> Request:
    """Cancel one order, by the venue's id or by ours."""
    return _cancel("/api/v3/order", _order_name(symbol, order_id, client_order_id))


def cancel_symbol(symbol: str) -> Request:
    """Cancel all open orders of a symbol."""
    return _cancel("/api/v3/openOrders", (("symbol", symbol),))


def cancel_everything() -> Request:
    """Cancel all open orders of all symbols. Not in the documents; ccxt and JKorf use it."""
    return _cancel("/api/v3/order/all", ())


# -- signed queries ---------------------------------------------------------------------------------------------------


def query_order(symbol: str, *, order_id: str = "", client_order_id: str = "") -> Request:
    """Query one order, by the venue's id or by ours."""
    return _signed("/api/v3/order", _order_name(symbol, order_id, client_order_id), 2, Urgency.URGENT)


def open_orders(symbol: str = "") -> Request:
    """List the open orders, of one symbol or of all."""
    return _signed("/api/v3/openOrders", _given(symbol=symbol), 3, Urgency.URGENT)


def all_orders(symbol: str, *, start_ms: int = 0, end_ms: int = 0, limit: int = 0) -> Request:
    """List the orders of a symbol: of the last 24 hours, or of a range within the last 7 days."""
    params = _given(symbol=symbol, startTime=start_ms, limit=limit, endTime=end_ms)
    return _signed("/api/v3/allOrders", params, 10, Urgency.ORDINARY)


def my_trades(
    symbol: str,
    *,
    order_id: str = "",
    start_ms: int = 0,
    limit: int = 0,
    end_ms: int = 0,
    urgency: Urgency = Urgency.URGENT,
) -> Request:
    """List own executions of a symbol, newest first; up to a month back, at most 100 at once."""
    params = _given(symbol=symbol, orderId=order_id, startTime=start_ms, limit=limit, endTime=end_ms)
    return _signed("/api/v3/myTrades", params, 10, urgency)


def account() -> Request:
    """Balances and what the account may do."""
    return _signed("/api/v3/account", (), 10, Urgency.ORDINARY, (Bucket.ACCOUNT,))


def trade_fee(symbol: str) -> Request:
    """The account's own rates for a symbol."""
    return _signed("/api/v3/tradeFee", (("symbol", symbol),), 20, Urgency.ORDINARY)


def self_symbols() -> Request:
    """The symbols that this key may trade."""
    return _signed("/api/v3/selfSymbols", (), 1, Urgency.ORDINARY)


def listen_key(method: str, key: str = "") -> Request:
    """Make (POST), list (GET), keep alive (PUT) or end (DELETE) listen keys."""
    takes = cost(1, signed=True, urgency=Urgency.URGENT)
    return Request(method, "/api/v3/userDataStream", _given(listenKey=key), takes, signed=True, call=Call.STREAM)


# -- public -----------------------------------------------------------------------------------------------------------


def ping() -> Request:
    """Ask for nothing."""
    return _public("/api/v3/ping", (), 1, Urgency.ORDINARY)


def server_time() -> Request:
    """The venue's time."""
    return _public("/api/v3/time", (), 1, Urgency.URGENT)


def default_symbols() -> Request:
    """The symbols that the API trades."""
    return _public("/api/v3/defaultSymbols", (), 1, Urgency.ORDINARY)


def exchange_info(symbols: Sequence[str] = ()) -> Request:
    """The rules of some symbols, or of all."""
    one = symbols[0] if len(symbols) == 1 else ""
    params = _given(symbol=one, symbols="" if one else ",".join(symbols))
    return _public("/api/v3/exchangeInfo", params, 25, Urgency.ORDINARY)


def depth(symbol: str, limit: int = 0) -> Request:
    """A snapshot of the book (100 levels a side unless told otherwise)."""
    return _public("/api/v3/depth", _given(symbol=symbol, limit=limit), 3, Urgency.ORDINARY)


def trades(symbol: str, limit: int = 0) -> Request:
    """The latest public trades, newest first."""
    return _public("/api/v3/trades", _given(symbol=symbol, limit=limit), 5, Urgency.ORDINARY)


def agg_trades(symbol: str, *, start_ms: int = 0, end_ms: int = 0, limit: int = 0) -> Request:
    """Public trades of a range; start and end go together."""
    params = _given(symbol=symbol, startTime=start_ms, endTime=end_ms, limit=limit)
    return _public("/api/v3/aggTrades", params, 1, Urgency.IDLE)


def klines(
    symbol: str, interval: str, *, start_ms: int = 0, limit: int = 0, end_ms: int = 0, urgency: Urgency = Urgency.IDLE
) -> Request:
    """Candles of a range, oldest first, at most 500 at once."""
    params = _given(symbol=symbol, interval=interval, startTime=start_ms, limit=limit, endTime=end_ms)
    return _public("/api/v3/klines", params, 1, urgency)


def ticker_24h(symbol: str = "") -> Request:
    """Volume and change of the last 24 hours, of one symbol or of all."""
    return _public("/api/v3/ticker/24hr", _given(symbol=symbol), 25, Urgency.IDLE)


def ticker_price(symbol: str = "") -> Request:
    """The last price of one symbol, or of all."""
    return _public("/api/v3/ticker/price", _given(symbol=symbol), 10, Urgency.ORDINARY)


def book_ticker(symbol: str = "") -> Request:
    """Best bid and offer of one symbol, or of all."""
    return _public("/api/v3/ticker/bookTicker", _given(symbol=symbol), 10, Urgency.IDLE)


# -- inside -----------------------------------------------------------------------------------------------------------


def _given(**params: str | int) -> Params:
    """The parameters that are set, in this order."""
    return tuple((name, str(value)) for name, value in params.items() if value not in ("", 0))


def _order_name(symbol: str, order_id: str, client_order_id: str) -> Params:
    if bool(order_id) is bool(client_order_id):
        raise ValueError(f"{symbol}: an order is named by its id or by its client order id")
    return _given(symbol=symbol, orderId=order_id, origClientOrderId=client_order_id)


def _public(path: str, params: Params, weight: float, urgency: Urgency) -> Request:
    return Request("GET", path, params, cost(weight, signed=False, urgency=urgency))


def _signed(path: str, params: Params, weight: float, urgency: Urgency, also: tuple[Bucket, ...] = ()) -> Request:
    return Request("GET", path, params, cost(weight, signed=True, urgency=urgency, also=also), signed=True)


def _cancel(path: str, params: Params) -> Request:
    takes = cost(1, signed=True, urgency=Urgency.URGENT, also=(Bucket.ORDERS,))
    return Request("DELETE", path, params, takes, signed=True, call=Call.CANCEL)


def _create(path: str, params: Params, urgency: Urgency, also: tuple[Bucket, ...]) -> Request:
    takes = cost(1, signed=True, urgency=urgency, also=also)
    return Request("POST", path, params, takes, signed=True, call=Call.CREATE)
