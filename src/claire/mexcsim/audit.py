"""One account as the venue knows it, whole: what a client's own books are held against.

No call of the venue's protocol shows all of it: queries are limited in time and number, and forget. A test asks here.
"""

from typing import Any

from claire.mexcsim.accounts import Account
from claire.mexcsim.orders import Fill, Kind, Order
from claire.model.money import decimal_text


def audit(account: Account) -> dict[str, Any]:
    """Return balances, every order ever and every fill ever of an account, oldest first; amounts as decimal text."""
    return {
        "uid": account.uid,
        "balances": {
            asset: {"free": decimal_text(balance.free), "locked": decimal_text(balance.locked)}
            for asset, balance in account.balances.items()
        },
        "orders": [_order(order) for order in account.orders.values()],
        "fills": [_fill(fill) for fill in account.fills],
    }


def _order(order: Order) -> dict[str, Any]:
    rule = order.rule
    return {
        "client_id": order.client_id,
        "order_id": order.order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.kind.value,
        "price": None if order.kind is Kind.MARKET else rule.price_text(order.price),
        "quantity": rule.quantity_text(order.lots),
        "executed": rule.quantity_text(order.filled),
        "status": order.status.name,
        "created_ms": order.created_ms,
        "updated_ms": order.updated_ms,
    }


def _fill(fill: Fill) -> dict[str, Any]:
    rule = fill.order.rule
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order.order_id,
        "client_id": fill.order.client_id,
        "symbol": fill.order.symbol,
        "side": fill.order.side.value,
        "price": rule.price_text(fill.price),
        "quantity": rule.quantity_text(fill.lots),
        "fee": decimal_text(fill.fee_units),
        "fee_asset": fill.fee_asset,
        "is_maker": fill.is_maker,
        "at_ms": fill.at_ms,
    }
