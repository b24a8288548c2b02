"""What the account hears about itself, from the wire's messages into typed pushes. Money stays decimal, as it was written.

A number that nobody documented (an order status, an order type) does not stop the decoder: it becomes `UNKNOWN`, or None beside
the number itself, and whoever owns the order asks the venue.
"""

from typing import Final

from claire.adapters.venues.mexc.pushes import SIDES, BalancePush, DealPush, OrderPush, OrderStatus, Reason
from claire.adapters.venues.mexc.scales import (
    Fault,
    decimal,
    nanoseconds,
    not_negative,
    optional,
    optional_nanoseconds,
    optional_not_negative,
    positive,
)
from claire.model.market import Side
from claire.model.orders import OrderType
from claire.wire import PrivateAccount, PrivateDeals, PrivateOrders

ORDER_TYPES: Final = {
    1: OrderType.LIMIT,
    2: OrderType.LIMIT_MAKER,
    3: OrderType.IOC,
    4: OrderType.FOK,
    5: OrderType.MARKET,
}
ORDER_STATUSES: Final = {
    1: OrderStatus.NEW,
    2: OrderStatus.FILLED,
    3: OrderStatus.PARTIALLY_FILLED,
    4: OrderStatus.CANCELED,
    5: OrderStatus.PARTIALLY_CANCELED,
}


def order_push(body: PrivateOrders, symbol: str, sent_ns: int | None) -> OrderPush:
    """Read an order; the symbol and the time of the push come from the wrapper.

    Raises:
        Fault: it has no id or no side, or an amount is not a number that is zero or more.
    """
    return OrderPush(
        symbol=symbol,
        order_id=_present("id", body.id),
        client_id=body.client_id,
        side=_side(body.trade_type),
        order_type=ORDER_TYPES.get(body.order_type),
        order_type_no=body.order_type,
        status=ORDER_STATUSES.get(body.status, OrderStatus.UNKNOWN),
        status_no=body.status,
        price=optional_not_negative("price", body.price),
        quantity=optional_not_negative("quantity", body.quantity),
        amount=optional_not_negative("amount", body.amount),
        average_price=optional_not_negative("avg_price", body.avg_price),
        remaining_quantity=optional_not_negative("remain_quantity", body.remain_quantity),
        remaining_amount=optional("remain_amount", body.remain_amount),
        last_quantity=optional_not_negative("last_deal_quantity", body.last_deal_quantity),
        filled_quantity=not_negative("cumulative_quantity", body.cumulative_quantity or "0"),
        filled_amount=not_negative("cumulative_amount", body.cumulative_amount or "0"),
        is_maker=body.is_maker,
        created_ns=optional_nanoseconds("create_time", body.create_time),
        sent_ns=sent_ns,
    )


def deal_push(body: PrivateDeals, symbol: str) -> DealPush:
    """Read an execution; the symbol comes from the wrapper.

    Raises:
        Fault: an id, the side or the time is absent, the price or the quantity is not above zero, or a fee has no asset.
    """
    fee = decimal("fee_amount", body.fee_amount or "0")
    if fee and not body.fee_currency:
        raise Fault(Reason.MISSING, f"fee_currency is absent, and the fee is {body.fee_amount}")
    return DealPush(
        symbol=symbol,
        trade_id=_present("trade_id", body.trade_id),
        order_id=_present("order_id", body.order_id),
        client_id=body.client_order_id,
        side=_side(body.trade_type),
        price=positive("price", body.price),
        quantity=positive("quantity", body.quantity),
        amount=optional_not_negative("amount", body.amount),
        is_maker=body.is_maker,
        is_self_trade=body.is_self_trade,
        fee=fee,
        fee_asset=body.fee_currency,
        ts_event_ns=nanoseconds("time", body.time),
    )


def balance_push(body: PrivateAccount) -> BalancePush:
    """Read a balance.

    Raises:
        Fault: the asset, the time or one of the two balances is absent, or a number is none.
    """
    return BalancePush(
        asset=_present("vcoin_name", body.vcoin_name),
        available=decimal("balance_amount", body.balance_amount),
        available_change=decimal("balance_amount_change", body.balance_amount_change or "0"),
        frozen=decimal("frozen_amount", body.frozen_amount),
        frozen_change=decimal("frozen_amount_change", body.frozen_amount_change or "0"),
        cause=body.type,
        ts_event_ns=nanoseconds("time", body.time),
    )


def _present(name: str, text: str) -> str:
    if not text:
        raise Fault(Reason.MISSING, f"{name} is absent")
    return text


def _side(trade_type: int) -> Side:
    side = SIDES.get(trade_type)
    if side is None:
        raise Fault(Reason.SIDE, f"trade type {trade_type} is neither 1 (buy) nor 2 (sell)")
    return side
