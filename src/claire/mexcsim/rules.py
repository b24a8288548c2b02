"""What the venue refuses, in which order it looks, and with which code and words (sheet 3.9).

Where the sheet leaves a text open, the text here is the simulator's own and says which number was compared.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from claire.mexcsim.accounts import ApiKey
from claire.mexcsim.orders import Kind
from claire.mexcsim.symbols import ONLINE, SymbolRule, minimum_units
from claire.model.market import Side
from claire.model.money import decimal_text, units_of

CLIENT_ID_LENGTH = 32
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
DIGITS = frozenset("0123456789.eE+-")
SELF_TRADE_MODES = ("", "cancel_maker", "cancel_taker", "cancel_both")


class Rejection(Exception):
    """An error reply of the venue: HTTP status, code and text. Nothing was done."""

    def __init__(self, code: int | str, text: str, status: int = 400) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.status = status


class NewOrder(Struct, frozen=True, kw_only=True):
    """An order as it was asked for; amounts that were not given are 0."""

    symbol: str
    side: Side
    kind: Kind
    price: int = 0
    lots: int = 0
    quote_units: int = 0
    client_id: str = ""
    stp_mode: str = ""

    @property
    def is_market(self) -> bool:
        """Whether it takes any price within the venue's protection."""
        return self.kind is Kind.MARKET


def mandatory(params: Mapping[str, str], name: str) -> str:
    """Return a parameter.

    Raises:
        Rejection: it is missing or empty (700004).
    """
    value = params.get(name, "")
    if not value:
        raise Rejection(700004, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def order_of(params: Mapping[str, str], rule: SymbolRule) -> NewOrder:
    """Read an order from its parameters; unknown ones, such as timeInForce, are passed over as the venue does.

    Raises:
        Rejection: a value is missing, has the wrong form, or is too fine.
    """
    side, kind = mandatory(params, "side"), mandatory(params, "type")
    if side not in ("BUY", "SELL"):
        raise Rejection(33333, f"param error: side {side} is not BUY or SELL")
    if kind not in list(Kind):
        raise Rejection(30041, f"current order type can not place order: {kind}")
    client_id = params.get("newClientOrderId", "")
    if len(client_id) > CLIENT_ID_LENGTH or not PLAIN.issuperset(client_id):
        raise Rejection(700008, "Illegal characters found in parameter 'newClientOrderId'.")
    stp_mode = params.get("stpMode", "")
    if stp_mode not in SELF_TRADE_MODES:
        raise Rejection(33333, f"param error: stpMode {stp_mode}")
    price = lots = quote_units = 0
    if kind != Kind.MARKET:
        price = _steps(rule.ticks(number(params, "price")), "price")
        lots = _steps(rule.lots(number(params, "quantity")), "amount")
    elif params.get("quantity"):
        lots = _steps(rule.lots(number(params, "quantity")), "amount")
    elif params.get("quoteOrderQty"):
        amount = number(params, "quoteOrderQty")
        _steps(rule.ticks(amount), "amount")
        quote_units = units_of(amount)
    else:
        raise Rejection(-1128, "Combination of optional parameters invalid: MARKET needs quantity or quoteOrderQty")
    return NewOrder(
        symbol=rule.symbol,
        side=Side(side),
        kind=Kind(kind),
        price=price,
        lots=lots,
        quote_units=quote_units,
        client_id=client_id,
        stp_mode=stp_mode,
    )


def number(params: Mapping[str, str], name: str) -> Decimal:
    """Return a positive decimal parameter.

    Raises:
        Rejection: missing (700004), no number (700008, 10096), zero or less (10102).
    """
    text = mandatory(params, name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Rejection(700008, f"Illegal characters found in parameter '{name}'.") from None
    if not value.is_finite() or len(text) > 40 or abs(value.adjusted()) > 40:
        raise Rejection(10096, f"{name} is wrong: {text[:40]}")
    if not DIGITS.issuperset(text):  # Python reads more than a venue does: other scripts, blanks, underscores
        raise Rejection(700008, f"Illegal characters found in parameter '{name}'.")
    if value <= 0:
        raise Rejection(10102, f"{name} cannot be less than or equal to zero")
    return value


def _steps(steps: int | None, what: str) -> int:
    if steps is None:
        raise Rejection(400, f"{what} scale is invalid")
    return steps


def check_key_for(key: ApiKey, rule: SymbolRule) -> None:
    """Hold a pair to what its listing and the key allow.

    Raises:
        Rejection: closed to the API, suspended, or not for this key.
    """
    if not rule.api_trading:
        raise Rejection(10007, "symbol not support api")
    if rule.status != ONLINE:
        raise (
            Rejection(30016, "Trading disabled")
            if rule.status == "3"
            else Rejection(30000, "Suspended transaction for the symbol")
        )
    if not may_trade(key, rule):
        raise Rejection(30020, "Trading is not allowed for this symbol with this key")


def may_trade(key: ApiKey, rule: SymbolRule) -> bool:
    """Whether the pair is among those of the key (``selfSymbols``)."""
    return rule.symbol in key.symbols if key.symbols is not None else not rule.by_permission


def check_order(order: NewOrder, rule: SymbolRule, last_price: int) -> None:
    """Hold an order to the rules of its pair, before money is looked at.

    Raises:
        Rejection: side or type not allowed, price out of range, quantity or notional below or above the limits.
    """
    if (
        rule.side_rule == 4
        or (rule.side_rule == 2 and order.side is Side.SELL)
        or (rule.side_rule == 3 and order.side is Side.BUY)
    ):
        raise Rejection(30001, "Current direction of transaction is not allowed to place an order")
    if order.is_market and "MARKET" not in rule.order_types:
        raise Rejection(30018, "market order is disabled for this symbol")
    if order.is_market and "MARKET" in rule.refuses:
        raise Rejection(30019, "API market order is disabled")
    if order.kind in rule.refuses:
        raise Rejection(30041, f"current order type can not place order: {order.kind}")
    if not order.is_market and rule.price_band is not None:
        _check_band(order, rule, last_price)
    _check_size(order, rule, last_price)


def _check_band(order: NewOrder, rule: SymbolRule, last_price: int) -> None:
    assert rule.price_band is not None  # noqa: S101 - the caller looked
    up, down = (1 + rule.price_band) * last_price, (1 - rule.price_band) * last_price
    if (order.side is Side.BUY and order.price > up) or (order.side is Side.SELL and order.price < down):
        raise Rejection(30087, "The price exceeds the allowed range of the order")


def _check_size(order: NewOrder, rule: SymbolRule, last_price: int) -> None:
    worth = order.quote_units or order.lots * (order.price or last_price) * rule.unit_value
    low, high = minimum_units(rule, market=order.is_market)
    if worth < low:
        raise Rejection(30002, f"The minimum transaction volume cannot be less than：{decimal_text(low)}{rule.quote}")
    if worth > high:
        raise Rejection(
            30003, f"The maximum transaction volume cannot be greater than：{decimal_text(high)}{rule.quote}"
        )
    if order.lots and order.lots * rule.lot_units < units_of(rule.min_quantity):
        raise Rejection(30002, f"The minimum transaction volume cannot be less than：{rule.min_quantity}{rule.base}")
