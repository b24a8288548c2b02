"""Orders by REST (sheet 3.4–3.6): place, test, cancel, query, and what came of them.

Two habits of the venue matter to clients: the reply to a new order tells neither its state nor its fills, and the reply to a
cancel tells the state before the cancel.
"""

from typing import Any

import msgspec

from claire.mexcsim.calls import Call, Endpoint
from claire.mexcsim.faults import ReadLag
from claire.mexcsim.log import What
from claire.mexcsim.orders import Fill, Order
from claire.mexcsim.rules import Rejection, mandatory, order_of
from claire.model.money import decimal_text

DAY_MS = 86_400_000
MOST_BATCHED = 20


def place(call: Call) -> Any:
    """Make an order."""
    order = _place(call, call.params)
    rule = order.rule
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "price": rule.price_text(order.price),
        "origQty": rule.quantity_text(order.lots),
        "type": order.kind.value,
        "side": order.side.value,
        "stpMode": order.stp_mode,
        "transactTime": order.created_ms,
    }


def _place(call: Call, params: Any) -> Order:
    venue = call.venue
    symbol = mandatory(params, "symbol")
    try:
        wanted = order_of(params, venue.exchange.market(symbol).rule)
        order = venue.exchange.place(call.signed_key, wanted, venue.market_ms())
    except Rejection as refused:
        venue.log.add(What.REFUSED, symbol, call.signed_key.access_key, code=refused.code, text=refused.text)
        raise
    lag = venue.faults.strike(
        ReadLag, venue.clock(), method=call.method, path=call.path, key=call.signed_key.access_key
    )
    if lag:
        order.visible_from_ms = venue.clock() + lag.ms
    venue.log.add(
        What.ACCEPTED,
        symbol,
        call.signed_key.access_key,
        order=order.order_id,
        client_id=order.client_id,
        side=order.side.value,
        type=order.kind.value,
        status=order.status.name,
    )
    return order


def test(call: Call) -> Any:
    """Look at an order as if it were placed, and say nothing if it could be."""
    exchange = call.venue.exchange
    exchange.check(call.signed_key, order_of(call.params, exchange.market(mandatory(call.params, "symbol")).rule))
    return {}


def place_batch(call: Call) -> Any:
    """Make up to 20 orders of one pair; each has its own outcome, in the order of the request."""
    try:
        wanted = msgspec.json.decode(mandatory(call.params, "batchOrders"), type=list[dict[str, str | int | float]])
    except msgspec.DecodeError:
        raise Rejection(
            700004, "Mandatory parameter 'batchOrders' was not sent, was empty/null, or malformed."
        ) from None
    if not 1 <= len(wanted) <= MOST_BATCHED:
        raise Rejection(33333, f"param error: batchOrders holds {len(wanted)} orders, 1 to {MOST_BATCHED} are allowed")
    if len({order.get("symbol") for order in wanted}) != 1:
        raise Rejection(33333, "param error: batchOrders are of one symbol")
    replies: list[dict[str, Any]] = []
    for item in wanted:
        params = {name: str(value) for name, value in item.items()}
        named = {"newClientOrderId": params["newClientOrderId"]} if params.get("newClientOrderId") else {}
        try:
            order = _place(call, params)
        except Rejection as refused:
            replies.append({**named, "msg": refused.text, "code": refused.code})
        else:
            replies.append({"symbol": order.symbol, "orderId": order.order_id, "orderListId": -1, **named})
    return replies


def cancel(call: Call) -> Any:
    """Cancel an order; the reply has the state from before."""
    order = _found(call, unknown=Rejection(-2011, "Unknown order sent."), lagging=False)
    if order.status.is_final:
        raise Rejection(-2011, "Unknown order sent.")
    reply = _canceled_row(call, order)
    call.venue.exchange.cancel(order, call.venue.market_ms())
    return reply


def cancel_symbol(call: Call) -> Any:
    """Cancel what waits on a pair (several, separated by commas, are taken too)."""
    names = mandatory(call.params, "symbol").split(",")
    markets = [call.venue.exchange.market(name) for name in names]
    return [row for market in markets for row in _cancel_all(call, market.rule.symbol)]


def cancel_everything(call: Call) -> Any:
    """Cancel what waits on all pairs."""
    return _cancel_all(call, None)


def _cancel_all(call: Call, symbol: str | None) -> list[dict[str, Any]]:
    waiting = [order for order in call.account.open_orders.values() if symbol in (None, order.symbol)]
    rows = [_canceled_row(call, order) for order in waiting]
    call.venue.exchange.cancel_all(call.account, symbol, call.venue.market_ms())
    return rows


def _canceled_row(call: Call, order: Order) -> dict[str, Any]:
    row = order_row(order)
    kept = (
        "symbol",
        "orderId",
        "orderListId",
        "clientOrderId",
        "price",
        "origQty",
        "executedQty",
        "cummulativeQuoteQty",
    )
    return {name: row[name] for name in kept} | {
        "origClientOrderId": row["clientOrderId"],
        "status": row["status"],
        "timeInForce": None,
        "type": row["type"],
        "side": row["side"],
    }


def query(call: Call) -> Any:
    """One order."""
    order = _found(call, unknown=Rejection(-2013, "Order does not exist."), lagging=True)
    return order_row(order)


def _found(call: Call, unknown: Rejection, *, lagging: bool) -> Order:
    market = call.market()
    order_id, client_id = call.params.get("orderId", ""), call.params.get("origClientOrderId", "")
    if not order_id and not client_id:
        raise Rejection(700004, "Mandatory parameter 'orderId' was not sent, was empty/null, or malformed.")
    order = call.venue.exchange.find(call.account, market.rule.symbol, order_id, client_id)
    if order is None or (lagging and order.visible_from_ms > call.venue.clock()):
        raise unknown
    return order


def open_orders(call: Call) -> Any:
    """What waits, of one pair or all."""
    symbol = call.market().rule.symbol if call.params.get("symbol") else None
    return [
        order_row(order)
        for order in call.account.open_orders.values()
        if symbol in (None, order.symbol) and _visible(call, order)
    ]


def all_orders(call: Call) -> Any:
    """Orders of a pair, newest first: of the last 24 hours unless a span of the last 7 days is given."""
    rule, now = call.market().rule, call.venue.market_ms()
    start, end = _span(call, now, default_ms=DAY_MS, most_ms=7 * DAY_MS)
    found = [
        order
        for order in call.account.orders.values()
        if order.symbol == rule.symbol and start <= order.created_ms <= end and _visible(call, order)
    ]
    return [order_row(order) for order in found[::-1][: call.limit(500, 1000)]]


def my_trades(call: Call) -> Any:
    """Fills of a pair, newest first: of the last month at most; times in whole seconds."""
    rule, now = call.market().rule, call.venue.market_ms()
    start, end = _span(call, now, default_ms=30 * DAY_MS, most_ms=30 * DAY_MS)
    order_id = call.params.get("orderId", "")
    found = [
        fill
        for fill in call.account.fills
        if fill.order.symbol == rule.symbol and start <= fill.at_ms <= end and order_id in ("", fill.order.order_id)
    ]
    return [trade_row(fill) for fill in found[::-1][: call.limit(100, 100)]]


def _span(call: Call, now_ms: int, *, default_ms: int, most_ms: int) -> tuple[int, int]:
    end = call.whole("endTime")
    end = now_ms if end is None else end
    start = call.whole("startTime")
    start = end - default_ms if start is None else start
    if start > end:
        raise Rejection(400, "start time cannot be later than end time")
    return max(start // 1000 * 1000, now_ms - most_ms), end


def _visible(call: Call, order: Order) -> bool:
    return order.visible_from_ms <= call.venue.clock()


def order_row(order: Order) -> dict[str, Any]:
    """An order as queries show it."""
    rule = order.rule
    row: dict[str, Any] = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id or None,
        "price": rule.price_text(order.price),
        "origQty": rule.quantity_text(order.lots),
        "executedQty": rule.quantity_text(order.filled),
        "cummulativeQuoteQty": decimal_text(order.cost_units),
        "status": order.status.name,
        "timeInForce": None,
        "type": order.kind.value,
        "side": order.side.value,
        "stopPrice": None,
        "icebergQty": None,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "origQuoteOrderQty": decimal_text(order.quote_units or order.lots * order.price * rule.unit_value),
        "stpMode": order.stp_mode,
        "cancelReason": order.cancel_reason if order.cancel_reason == "stp_cancel" else None,
    }
    return row


def trade_row(fill: Fill) -> dict[str, Any]:
    """A fill as myTrades shows it."""
    rule = fill.order.rule
    return {
        "symbol": rule.symbol,
        "id": fill.trade_id,
        "orderId": fill.order.order_id,
        "orderListId": -1,
        "price": rule.price_text(fill.price),
        "qty": rule.quantity_text(fill.lots),
        "quoteQty": decimal_text(fill.cost_units),
        "commission": decimal_text(fill.fee_units),
        "commissionAsset": fill.fee_asset,
        "time": fill.at_ms // 1000 * 1000,
        "isBuyer": fill.order.is_buy,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
        "isSelfTrade": fill.is_self_trade,
        "clientOrderId": fill.order.client_id or None,
    }


READ, WRITE = "SPOT_DEAL_READ", "SPOT_DEAL_WRITE"

TRADING: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/v3/order"): Endpoint(place, 1, WRITE, "order", changes=True),
    ("POST", "/api/v3/order/test"): Endpoint(test, 1, WRITE),
    ("POST", "/api/v3/batchOrders"): Endpoint(place_batch, 1, WRITE, "batch", changes=True),
    ("DELETE", "/api/v3/order"): Endpoint(cancel, 1, WRITE, "order", changes=True),
    ("DELETE", "/api/v3/openOrders"): Endpoint(cancel_symbol, 1, WRITE, "order", changes=True),
    ("DELETE", "/api/v3/order/all"): Endpoint(cancel_everything, 1, WRITE, "order", changes=True),
    ("GET", "/api/v3/order"): Endpoint(query, 2, READ),
    ("GET", "/api/v3/openOrders"): Endpoint(open_orders, 3, READ),
    ("GET", "/api/v3/allOrders"): Endpoint(all_orders, 10, READ),
    ("GET", "/api/v3/myTrades"): Endpoint(my_trades, 10, READ),
}
"""What orders need."""
