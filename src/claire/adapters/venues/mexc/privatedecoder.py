"""The account's own stream, bytes to reports on our orders. Pure: the same inputs give the same reports.

Delivery is at least once, and without order between the channels: an execution counts once (fills.py), and the end of an
order is reported only once as much of it was executed here as the venue says was. Where that does not come about, or a
number has no meaning, the caller is asked to look (`Reconcile`), for REST knows.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from claire.adapters.venues.mexc.fees import FeePrices, exact_product, rounded
from claire.adapters.venues.mexc.fills import FillBook, Way
from claire.adapters.venues.mexc.frames import FrameDecoder
from claire.adapters.venues.mexc.items import AlertKind, FeedAlert, FeedCounters, LinkChange, RawFrame, RawText
from claire.adapters.venues.mexc.pushes import BalancePush, DealPush, DecodeError, OrderPush, OrderStatus
from claire.model.decisions import VenueReport
from claire.model.errors import DataError
from claire.model.instrument import Instrument
from claire.model.money import DECIMALS
from claire.model.orders import Evidence

REMEMBERED: Final = 10_000
"""Orders whose executions are added up; the oldest are let go first."""

PATIENCE_NS: Final = 2_000_000_000
"""How long executions may come after the end of their order before somebody has to look."""

OrderNumbers = Callable[[str, str], int | None]
"""(client order id, venue order id) → our order's number; None: not one of ours."""


class Reconcile(Struct, frozen=True, tag="reconcile"):
    """The stream may have missed something: look by REST. About these orders; about all of them where none is named."""

    reason: str
    order_nos: tuple[int, ...]
    ts_recv_ns: int


class Foreign(Struct, frozen=True, tag="foreign"):
    """Something about an order that is none of ours: another program, or a person, trades on this account."""

    push: OrderPush | DealPush
    ts_recv_ns: int


PrivateInput = RawFrame | RawText | LinkChange | Reconcile | FeedAlert
"""What enters; the last three are what the client found without looking at a frame."""

PrivateEvent = VenueReport | BalancePush | Reconcile | Foreign | FeedAlert
"""What comes out."""


class PrivateItem(Struct, frozen=True):
    """One input and what it gave."""

    input: PrivateInput
    events: list[PrivateEvent]


class _Told(Struct):
    """What was heard of one order."""

    order_id: str
    acknowledged: bool = False
    executed: Decimal = Decimal(0)
    """How much of it the venue says was executed."""
    executed_ns: int = 0
    """When it first said so."""
    ended: OrderPush | None = None
    """The push that said it has ended, while executions are missing."""
    closed: bool = False


class PrivateDecoder:
    """Turns private frames into reports."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        order_no: OrderNumbers,
        book: FillBook,
        prices: FeePrices,
        counters: FeedCounters | None = None,
    ) -> None:
        """Prepare.

        Args:
            instruments: Rules by symbol.
            order_no: Tells our orders from others.
            book: Counts executions once, shared with whoever asks REST for them.
            prices: Of third assets that fees are taken in; the owner keeps them up to date.
            counters: Where to count.
        """
        self.counters = counters or FeedCounters()
        self._instruments = instruments
        self._order_no = order_no
        self._book = book
        self._prices = prices
        self._decode = FrameDecoder(instruments).decode
        self._orders: dict[int, _Told] = {}
        self._claims: dict[int, None] = {}
        """Orders of which the venue said lately that more was executed: whether that came is still to be looked at."""
        self._said: dict[str, None] = {}

    def share(self, book: FillBook, prices: FeePrices) -> None:
        """Count in this book from now on, and value fees by these prices."""
        self._book, self._prices = book, prices

    def take(self, entered: PrivateInput) -> list[PrivateEvent]:
        """Take in one input of any kind."""
        if isinstance(entered, RawFrame):
            return self.feed(entered.data, entered.ts_recv_ns)
        return [entered] if isinstance(entered, Reconcile | FeedAlert) else []

    def feed(self, data: bytes, ts_recv_ns: int) -> list[PrivateEvent]:
        """Take in one binary frame."""
        try:
            decoded = self._decode(data, ts_recv_ns)
        except DecodeError as error:
            self.counters.decode_errors_total += 1
            return [
                *self._say(AlertKind.DECODE_ERROR, str(error.reason), str(error), ts_recv_ns, stops_entries=True),
                Reconcile(f"undecodable private frame: {error.reason}", (), ts_recv_ns),
            ]
        self.counters.decoded_messages_total += 1
        self.counters.last_message_ts_ms = ts_recv_ns // 1_000_000
        events: list[PrivateEvent] = []
        for message, number in decoded.new_fields:
            self.counters.unknown_fields_total += 1
            text = f"MEXC sends field {number} of {message}, which the schema does not know; compare proto/ with the venue's"
            events += self._say(AlertKind.UNKNOWN_FIELD, f"{message} {number}", text, ts_recv_ns)
        if decoded.unknown:
            self.counters.unknown_messages_total += 1
            events += self._say(
                AlertKind.UNKNOWN_MESSAGE, decoded.unknown, decoded.unknown, ts_recv_ns, stops_entries=True
            )
            events.append(Reconcile("an unknown private message", (), ts_recv_ns))
        for push in decoded.pushes:
            if isinstance(push, DealPush):
                events += self._deal(push, ts_recv_ns)
            elif isinstance(push, OrderPush):
                events += self._order(push, ts_recv_ns)
            elif isinstance(push, BalancePush):
                events.append(push)
        return events

    def overdue(self, now_ns: int) -> tuple[int, ...]:
        """Return the orders of which the venue has executed more, some time ago, than was counted; each total is told once.

        Args:
            now_ns: UTC, from the clock that receive times come from.
        """
        late = []
        for number in tuple(self._claims):
            told = self._orders.get(number)
            if told is not None and now_ns - told.executed_ns <= PATIENCE_NS:
                continue
            del self._claims[number]
            if told is not None and self._book.counted(told.order_id) < told.executed:
                late.append(number)
        return tuple(late)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _deal(self, deal: DealPush, ts_recv_ns: int) -> list[PrivateEvent]:
        number = self._order_no(deal.client_id, deal.order_id)
        if number is None:
            return [Foreign(deal, ts_recv_ns)]
        instrument = self._instruments[deal.symbol]
        try:
            ticks, lots = instrument.ticks(deal.price), instrument.lots(deal.quantity)
        except DataError as error:
            self.counters.decode_errors_total += 1
            text = (
                f"an execution of order {number} does not fit the rules: {error}. Load the rules of {deal.symbol} again"
            )
            return [
                FeedAlert(AlertKind.DECODE_ERROR, deal.symbol, text, True, ts_recv_ns),
                Reconcile("an execution off the rules", (number,), ts_recv_ns),
            ]
        trade_id = self._book.count(Way.STREAM, deal.order_id, deal.trade_id, deal.price, deal.quantity)
        if not trade_id:
            self.counters.duplicate_trades_total += 1
            return []
        self.counters.trades_total += 1
        told = self._told(number, deal.order_id)
        events: list[PrivateEvent] = []
        fee_asset = deal.fee_asset or instrument.quote
        fee = rounded(deal.fee, DECIMALS)
        value = self._prices.value(fee, fee_asset, instrument, deal.price)
        if value is None:
            text = unvalued(fee, fee_asset, instrument.quote)
            events += self._say(AlertKind.DECODE_ERROR, f"fee {fee_asset}", text, ts_recv_ns)
        if deal.amount is not None and (words := differs(deal.symbol, deal.price, deal.quantity, deal.amount)):
            events += self._say(AlertKind.DECODE_ERROR, f"amount {deal.symbol}", words, ts_recv_ns)
        events.append(
            VenueReport(
                order_no=number,
                ts_event_ns=ts_recv_ns,
                trade_id=trade_id,
                price_ticks=ticks,
                quantity_lots=lots,
                fee=fee,
                fee_asset=fee_asset,
                fee_value=value or Decimal(0),
                is_maker=deal.is_maker,
                venue_order_id=deal.order_id,
            )
        )
        return events + self._end(number, told, ts_recv_ns)

    def _order(self, push: OrderPush, ts_recv_ns: int) -> list[PrivateEvent]:
        number = self._order_no(push.client_id, push.order_id)
        if number is None:
            return [Foreign(push, ts_recv_ns)]
        told = self._told(number, push.order_id)
        if push.filled_quantity > told.executed:
            told.executed, told.executed_ns = push.filled_quantity, ts_recv_ns
            self._claims[number] = None
        if push.status is OrderStatus.UNKNOWN:
            text = f"order {number} has the status {push.status_no}, which nobody has documented"
            return [
                *self._say(AlertKind.UNKNOWN_MESSAGE, f"status {push.status_no}", text, ts_recv_ns, stops_entries=True),
                Reconcile(text, (number,), ts_recv_ns),
            ]
        events: list[PrivateEvent] = []
        if not told.acknowledged:
            told.acknowledged = True
            events.append(VenueReport(number, ts_recv_ns, Evidence.ACKNOWLEDGED, venue_order_id=push.order_id))
        if push.status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED) and not told.closed:
            told.ended = push
        return events + self._end(number, told, ts_recv_ns)

    def _end(self, number: int, told: _Told, ts_recv_ns: int) -> list[PrivateEvent]:
        """Report the end of an order once all its executions are here, whichever way they came."""
        push = told.ended
        if push is None or self._book.counted(told.order_id) < push.filled_quantity:
            return []
        told.ended, told.closed = None, True
        if push.status is OrderStatus.FILLED:
            return []  # its executions say it all
        return [VenueReport(number, ts_recv_ns, Evidence.CANCELED, venue_order_id=push.order_id)]

    def _told(self, number: int, order_id: str) -> _Told:
        told = self._orders.get(number)
        if told is None:
            while len(self._orders) >= REMEMBERED:
                del self._orders[next(iter(self._orders))]
            told = self._orders[number] = _Told(order_id)
        return told

    def _say(
        self, kind: AlertKind, once: str, text: str, ts_recv_ns: int, *, stops_entries: bool = False
    ) -> list[PrivateEvent]:
        key = f"{kind} {once}"
        if key in self._said or len(self._said) >= 1_000:
            return []
        self._said[key] = None
        return [FeedAlert(kind, "", text, stops_entries, ts_recv_ns)]


def unvalued(fee: Decimal, asset: str, quote: str) -> str:
    """Say that a fee has no price."""
    return f"a fee of {fee} {asset} has no known price in {quote}; it is booked with value 0, and counted"


def differs(symbol: str, price: Decimal, quantity: Decimal, amount: Decimal) -> str:
    """Say that the venue moved another amount than price × quantity; empty: it did not."""
    product = exact_product(price, quantity)
    if product == amount:
        return ""
    return (
        f"{symbol}: an execution of {quantity} at {price} makes {product}, and MEXC says that it moved {amount}; the books"
        " hold the former, so the balance will differ"
    )
