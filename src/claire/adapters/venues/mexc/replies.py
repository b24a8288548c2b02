"""Bodies of MEXC's REST answers, as types; what does not fit is an error that names the field.

Numbers are exact and finite, or the body is refused: no text such as ``NaN`` or ``1e999999999`` comes through. Only fields that
Claire uses are declared; others are skipped. Integers are accepted as text too, and a text for an id may be a number: MEXC has
sent both.
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from claire.adapters.venues.mexc.errors import plain
from claire.model.errors import ClaireError
from claire.model.money import DECIMALS

MOST_DIGITS: Final = 40
"""A number with more digits or a larger exponent is none that a market shows."""

T = TypeVar("T")
Ms = Annotated[int, Meta(ge=0, le=10**14)]
"""A moment in milliseconds, before the year 5000."""
Decimals = Annotated[int, Meta(ge=0, le=DECIMALS)]
"""A number of decimals that exact money can hold."""
Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class ReplyError(ClaireError):
    """The body of an answer is not what MEXC documents."""


class Exact(Decimal):
    """A finite decimal number of a size that markets have."""


class Amount(Exact):
    """One that is 0 or more."""


class Price(Exact):
    """One that is above 0."""


class ServerTime(Struct, frozen=True, rename="camel"):
    """GET time."""

    server_time: Ms
    """Milliseconds."""


class Names(Struct, frozen=True):
    """GET defaultSymbols, selfSymbols: names in an envelope."""

    data: tuple[str, ...]


class Filter(Struct, frozen=True, rename="camel"):
    """A filter of a symbol. Not applied: what its multipliers mean is not known (sheet 3.3)."""

    filter_type: str = ""


class SymbolInfo(Struct, frozen=True, rename="camel"):
    """One symbol of GET exchangeInfo."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str | int
    base_asset_precision: Decimals
    quote_precision: Decimals
    quote_amount_precision: Amount
    """Smallest notional of a limit order, whatever its name says."""
    base_size_precision: Amount = Amount(0)
    """Smallest quantity."""
    quote_asset_precision: Decimals | None = None
    base_commission_precision: Decimals = 8
    quote_commission_precision: Decimals = 8
    is_spot_trading_allowed: bool = False
    trade_side_type: int | str = 1
    quote_amount_precision_market: Amount | None = None
    max_quote_amount: Amount | None = None
    max_quote_amount_market: Amount | None = None
    order_types: tuple[str, ...] = ()
    maker_commission: Exact | None = None
    taker_commission: Exact | None = None
    filters: tuple[Filter, ...] = ()


class ExchangeInfo(Struct, frozen=True, rename="camel"):
    """GET exchangeInfo."""

    symbols: tuple[SymbolInfo, ...]
    server_time: Ms = 0


class Level(Struct, frozen=True, array_like=True):
    """Price and quantity of one level."""

    price: Price
    quantity: Amount


class DepthSnapshot(Struct, frozen=True, rename="camel"):
    """GET depth."""

    last_update_id: Counter
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    timestamp: Ms = 0
    """Milliseconds; real and undocumented."""


class PublicTrade(Struct, frozen=True, rename="camel"):
    """One of GET trades."""

    price: Price
    qty: Amount
    time: Ms
    """Milliseconds."""
    is_buyer_maker: bool


class AggTrade(Struct, frozen=True):
    """One of GET aggTrades. The venue gives no ids, and times often in whole seconds."""

    price: Price = field(name="p")
    qty: Amount = field(name="q")
    time: Ms = field(name="T")
    """Milliseconds."""
    is_buyer_maker: bool = field(name="m")


class Kline(Struct, frozen=True, array_like=True):
    """One of GET klines. Times are milliseconds."""

    open_time: Ms
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Amount
    """Base."""
    close_time: Ms
    """`open_time` plus the interval."""
    quote_volume: Amount = Amount(0)


class Ticker24h(Struct, frozen=True, rename="camel"):
    """One of GET ticker/24hr."""

    symbol: str
    last_price: Amount | None = None
    volume: Amount | None = None
    """Base."""
    quote_volume: Amount | None = None


class BookTicker(Struct, frozen=True, rename="camel"):
    """One of GET ticker/bookTicker; a side that is empty has None or 0."""

    symbol: str
    bid_price: Amount | None = None
    ask_price: Amount | None = None


class PriceTicker(Struct, frozen=True):
    """One of GET ticker/price."""

    symbol: str
    price: Price


class AveragePrice(Struct, frozen=True):
    """GET avgPrice."""

    mins: int
    price: Price


class OrderReply(Struct, frozen=True, rename="camel"):
    """POST order: an id, and neither state nor fills."""

    symbol: str
    order_id: str | int
    transact_time: Ms = 0
    """Milliseconds."""


class BatchReply(Struct, frozen=True, rename="camel"):
    """One of POST batchOrders: an order, or the reason why there is none."""

    symbol: str = ""
    order_id: str | int = ""
    new_client_order_id: str | None = None
    code: str | int | None = None
    msg: str | None = None


class OrderInfo(Struct, frozen=True, rename="camel"):
    """An order: GET order, openOrders, allOrders, and the answers to cancels (whose `status` is not to be believed)."""

    symbol: str
    order_id: str | int
    status: str
    side: str
    type: str
    price: Amount | None = None
    orig_qty: Amount | None = None
    qty: Amount | None = field(default=None, name="Qty")
    """What one page of the documents calls `origQty`."""
    executed_qty: Amount = Amount(0)
    quote_qty: Amount = field(default=Amount(0), name="cummulativeQuoteQty")
    client_order_id: str | None = None
    orig_client_order_id: str | None = None
    time: Ms | None = None
    update_time: Ms | None = None
    cancel_reason: str | None = None

    @property
    def id(self) -> str:
        """The order's id."""
        return str(self.order_id)

    @property
    def quantity(self) -> Decimal:
        """What was ordered, in base; 0 where the venue does not say (a market order by value)."""
        return self.orig_qty if self.orig_qty is not None else self.qty if self.qty is not None else Decimal(0)


class OwnTrade(Struct, frozen=True, rename="camel"):
    """One of GET myTrades."""

    symbol: str
    id: str | int
    order_id: str | int
    price: Price
    qty: Amount
    commission: Exact
    commission_asset: str | None
    time: Ms
    """Milliseconds, often in whole seconds."""
    is_buyer: bool
    is_maker: bool
    is_self_trade: bool = False
    client_order_id: str | None = None
    quote_qty: Amount | None = None
    """What it moved in the quote asset."""


class Balance(Struct, frozen=True):
    """One balance of GET account."""

    asset: str
    free: Amount
    locked: Amount


class Account(Struct, frozen=True, rename="camel"):
    """GET account."""

    balances: tuple[Balance, ...]
    can_trade: bool | None = None
    can_withdraw: bool | None = None
    can_deposit: bool | None = None
    permissions: tuple[str, ...] = ()


class TradeFee(Struct, frozen=True, rename="camel"):
    """The rates of GET tradeFee: fractions of the value."""

    maker_commission: Exact
    taker_commission: Exact


class TradeFeeReply(Struct, frozen=True):
    """GET tradeFee."""

    data: TradeFee


class MxDeduct(Struct, frozen=True, rename="camel"):
    """Whether fees are taken in MX."""

    mx_deduct_enable: bool


class MxDeductReply(Struct, frozen=True):
    """GET mxDeduct/enable."""

    data: MxDeduct


class ListenKey(Struct, frozen=True, rename="camel"):
    """POST, PUT, DELETE userDataStream."""

    listen_key: str


class ListenKeys(Struct, frozen=True, rename="camel"):
    """GET userDataStream."""

    listen_key: tuple[str, ...]


class Kyc(Struct, frozen=True):
    """GET kyc/status."""

    status: str | int


Nothing = msgspec.Raw
"""Any JSON at all: an answer whose content does not matter, such as that of ping."""


def read(body: bytes, kind: type[T]) -> T:
    """Decode a body.

    Raises:
        ReplyError: it is no JSON, a field is missing or of another type, or a number is not finite or out of range.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False, dec_hook=_exact)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        name = getattr(kind, "__name__", str(kind))
        raise ReplyError(
            f"MEXC: {name}: {plain(str(e))}. The venue changed, or something on the way changes answers."
        ) from e


def number(value: object, kind: type[Exact]) -> Exact:
    """Return a number of a body.

    Raises:
        ValueError: it is no number, not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} is not a number")
    text = value if isinstance(value, str) else repr(value)
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    try:
        exact = kind(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not exact.is_finite() or abs(exact.adjusted()) > MOST_DIGITS:
        raise ValueError(f"{text} is not a number that a market shows")
    if exact < 0 and kind is not Exact:
        raise ValueError(f"{text} is below 0")
    if exact == 0 and kind is Price:
        raise ValueError("a price of 0")
    return exact


def _exact(kind: type, value: Any) -> Any:
    if issubclass(kind, Exact):
        return number(value, kind)
    raise NotImplementedError(kind)
