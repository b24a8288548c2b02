"""What MEXC pushes, decoded: frozen values for the clients above, beside the market events of `claire.model`.

Public prices are whole ticks and quantities whole lots. Private amounts, and the daily figures of every symbol, are exact
decimals as the venue wrote them; note that a fee may have more than the 18 decimals that the books keep.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct

from claire.adapters.venues.mexc.channels import Interval, Kind
from claire.model.errors import ClaireError
from claire.model.market import MarketEvent, Side
from claire.model.orders import OrderType

Levels = tuple[tuple[int, int], ...]
"""Levels of one side of a book: (price in ticks, quantity in lots)."""


class Reason(StrEnum):
    """Why a frame could not be decoded; the label under which it is counted."""

    TOO_LARGE = "too_large"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    NOT_PROTOBUF = "not_protobuf"
    MISSING = "missing"
    """A field is absent without which the message means nothing."""
    SYMBOL = "symbol"
    """No rules are known for the symbol, or channel and message name different ones."""
    NOT_A_NUMBER = "not_a_number"
    NOT_POSITIVE = "not_positive"
    OFF_TICK = "off_tick"
    OFF_LOT = "off_lot"
    OUT_OF_RANGE = "out_of_range"
    """A number or a time that no market has, or that 64 bits do not hold."""
    SIDE = "side"
    ORDER = "order"
    """Numbers that contradict each other: a candle's high below its low, a range of versions that ends before it begins."""


_RULES_CHANGED: Final = "Load the symbol's rules again (claire symbols --venue mexc): the venue may have changed them."
_VENUE_CHANGED: Final = "The venue may have changed its messages; compare proto/ with its published schema."
_ASK_AGAIN: Final = "Drop the frame and synchronise the channel again."

REMEDIES: Final[dict[Reason, str]] = {
    Reason.TOO_LARGE: _ASK_AGAIN,
    Reason.EMPTY: _ASK_AGAIN,
    Reason.TRUNCATED: _ASK_AGAIN,
    Reason.NOT_PROTOBUF: _ASK_AGAIN,
    Reason.MISSING: _VENUE_CHANGED,
    Reason.SYMBOL: _RULES_CHANGED,
    Reason.NOT_A_NUMBER: _VENUE_CHANGED,
    Reason.NOT_POSITIVE: _ASK_AGAIN,
    Reason.OFF_TICK: _RULES_CHANGED,
    Reason.OFF_LOT: _RULES_CHANGED,
    Reason.OUT_OF_RANGE: _ASK_AGAIN,
    Reason.SIDE: _VENUE_CHANGED,
    Reason.ORDER: _ASK_AGAIN,
}
"""What to do about each reason; every message ends with it."""


class DecodeError(ClaireError):
    """A frame that is not what its channel promises. Nothing of it was used; it is to be dropped and counted by `reason`."""

    def __init__(self, reason: Reason, what: str, channel: str = "", symbol: str = "") -> None:
        place = f"{channel}: " if channel else "a frame without a readable channel: "
        super().__init__(f"{place}{what}. {REMEDIES[reason]}")
        self.reason = reason
        self.what = what
        self.channel = channel
        self.symbol = symbol


SIDES: Final = {1: Side.BUY, 2: Side.SELL}
"""What the venue's trade types mean: the taker's side of a public trade, the account's side of its own."""


class DepthUpdate(Struct, frozen=True, gc=False):
    """Levels that changed between two versions of the venue's book; a quantity of 0 removes its level.

    To a book of version V: `to_version` ≤ V is old, `from_version` ≤ V + 1 applies and makes the book `to_version`, anything
    else is a gap.
    """

    symbol: str
    ts_event_ns: int
    """When it was pushed."""
    from_version: int
    to_version: int
    bids: Levels
    asks: Levels
    last_order_ns: int | None = None
    ts_recv_ns: int | None = None


class CandlePush(Struct, frozen=True):
    """A candle while it forms. The last push of a window may lack its last trades; nothing marks it as final."""

    symbol: str
    interval: Interval
    ts_event_ns: int
    open_ns: int
    close_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume: Decimal
    """In the base asset."""
    turnover: Decimal
    """In the quote asset."""
    ts_recv_ns: int | None = None


class TickerPush(Struct, frozen=True):
    """A day's figures of one symbol, for choosing among symbols; never an input of a strategy. None: not told."""

    symbol: str
    price: Decimal | None
    change: Decimal | None
    """A fraction (0.01 is one per cent) since the day began in UTC+8."""
    change_in_zone: Decimal | None
    """The same in the time zone of the channel."""
    high: Decimal | None
    low: Decimal | None
    volume: Decimal | None
    """In the base asset."""
    turnover: Decimal | None
    """In the quote asset."""


class OrderStatus(StrEnum):
    """State of an order as MEXC's stream tells it."""

    NEW = "NEW"
    FILLED = "FILLED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCELED = "CANCELED"
    PARTIALLY_CANCELED = "PARTIALLY_CANCELED"
    """Final: canceled, with fills before."""
    UNKNOWN = "UNKNOWN"
    """A number that nobody has documented: ask by REST."""


class OrderPush(Struct, frozen=True):
    """One of the account's orders after a change. None: not told."""

    symbol: str
    order_id: str
    client_id: str
    """Empty if the order has none."""
    side: Side
    order_type: OrderType | None
    """None for triggered orders and types that are not known; see `order_type_no`."""
    order_type_no: int
    status: OrderStatus
    status_no: int
    price: Decimal | None
    """The limit; of a market order the protective one, not what was paid."""
    quantity: Decimal | None
    amount: Decimal | None
    """In quote, as ordered. Not the cost."""
    average_price: Decimal | None
    remaining_quantity: Decimal | None
    remaining_amount: Decimal | None
    last_quantity: Decimal | None
    """Of the last execution."""
    filled_quantity: Decimal
    filled_amount: Decimal
    """The cost so far, in quote, without fees."""
    is_maker: bool
    created_ns: int | None
    sent_ns: int | None
    """When it was pushed: the only time of the change there is."""


class DealPush(Struct, frozen=True):
    """One execution of one of the account's orders. It may come twice; `trade_id` tells."""

    symbol: str
    trade_id: str
    order_id: str
    client_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    amount: Decimal | None
    is_maker: bool
    is_self_trade: bool
    fee: Decimal
    """Not rounded; may have more than 18 decimals."""
    fee_asset: str
    """Empty only if the fee is 0."""
    ts_event_ns: int


class BalancePush(Struct, frozen=True):
    """One asset's balance after a change."""

    asset: str
    available: Decimal
    available_change: Decimal
    frozen: Decimal
    """Held by open orders; not part of `available`."""
    frozen_change: Decimal
    cause: str
    """As the venue names it: ``ENTRUST_PLACE``, ``DEPOSIT``. The list of names is open."""
    ts_event_ns: int


Push = DepthUpdate | CandlePush | TickerPush | OrderPush | DealPush | BalancePush


class Decoded(Struct, frozen=True, gc=False):
    """One frame, understood, unless `unknown` says what was not."""

    channel: str
    kind: Kind | None
    """None if `unknown`."""
    symbol: str
    """Empty where the message is of all symbols or of the account."""
    send_ns: int | None
    """When the venue pushed it, by its own clock; None if not told (candles)."""
    events: Sequence[MarketEvent] = ()
    """Trades, tops of book, whole books of the limit-depth channel; in the order of the message."""
    pushes: Sequence[Push] = ()
    version: int | None = None
    """The book's version, of tops and whole books; what tells a fresh quote from a repeated one."""
    last_order_ns: int | None = None
    unknown: str = ""
    """Why this frame says nothing to this version: no new positions may be opened while such frames come."""
    new_fields: tuple[tuple[str, int], ...] = ()
    """Fields beyond the schema, as (message, field number), that this decoder meets for the first time."""
