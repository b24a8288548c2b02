"""What MEXC says of orders and executions, in the terms of engine/reconcile.py: exact amounts, milliseconds of its clock."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from claire.adapters.venues.mexc.replies import OrderInfo, OwnTrade
from claire.engine.reconcile import TheirFill, TheirOrder
from claire.model.market import Side
from claire.model.money import DECIMALS, ONE, divide_half_even, units_of


def their_order(info: OrderInfo) -> TheirOrder:
    """Return an order as it is compared."""
    return TheirOrder(
        symbol=info.symbol,
        venue_order_id=info.id,
        client_order_id=info.client_order_id or "",
        filled=exact_units(info.executed_qty),
        changed_ms=max(info.time or 0, info.update_time or 0),
    )


def their_fill(trade: OwnTrade, quote: str) -> TheirFill:
    """Return an execution as it is compared; a fee whose asset is not told is taken in `quote`."""
    return TheirFill(
        symbol=trade.symbol,
        trade_id=str(trade.id),
        venue_order_id=str(trade.order_id),
        client_order_id=trade.client_order_id or "",
        side=Side.BUY if trade.is_buyer else Side.SELL,
        quantity=exact_units(trade.qty),
        value=divide_half_even(exact_units(trade.price) * exact_units(trade.qty), ONE),
        fee=exact_units(trade.commission),
        fee_asset=trade.commission_asset or quote,
        ts_ms=trade.time,
    )


def exact_units(value: Decimal) -> int:
    """Return the units of an amount as the venue writes it, which may have more decimals than are counted."""
    with localcontext() as context:
        context.prec = 80
        return units_of(value.quantize(Decimal(1).scaleb(-DECIMALS), rounding=ROUND_HALF_EVEN))
