"""Binary frames of MEXC into market events and typed pushes: bytes in, `Decoded` or `DecodeError` out.

Pure: the same bytes with the same instruments give the same events, whenever and however often, which is why a live run replays
from its recorded frames. A frame is used whole or not at all. What this version does not know (a message type, a channel) comes
back as `Decoded.unknown`; fields beyond the schema are counted and passed over.

The schema: proto/mexc/spot/v3. Times are the venue's, in nanoseconds; no clock is read here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError as NotProtobuf
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import Struct

from claire.adapters.venues.mexc import channels
from claire.adapters.venues.mexc.channels import Interval, Kind
from claire.adapters.venues.mexc.private_pushes import balance_push, deal_push, order_push
from claire.adapters.venues.mexc.pushes import (
    SIDES,
    CandlePush,
    Decoded,
    DecodeError,
    DepthUpdate,
    Levels,
    Push,
    Reason,
    TickerPush,
)
from claire.adapters.venues.mexc.scales import (
    LATEST_MS,
    MS,
    Fault,
    Scales,
    nanoseconds,
    not_a_time,
    not_negative,
    optional,
    optional_nanoseconds,
    optional_not_negative,
    optional_whole,
    whole,
)
from claire.model.instrument import Instrument
from claire.model.market import Depth, MarketEvent, TopOfBook, Trade
from claire.wire import DepthLevel, PublicAggreDeal, PublicMiniTicker, PushDataV3ApiWrapper

LARGEST: Final = 2**20
"""Bytes of the largest frame that is looked into."""
FIELDS_TOLD_APART: Final = 256
"""Unknown fields that are counted one by one; any further ones are counted under field number 0."""
CHANNELS_REMEMBERED: Final = 16_384
"""More than any number of symbols needs."""

_BODIES: Final = {
    Kind.DEALS: "public_aggre_deals",
    Kind.DEPTH: "public_aggre_depths",
    Kind.LIMIT_DEPTH: "public_limit_depths",
    Kind.BOOK_TICKER: "public_aggre_book_ticker",
    Kind.BOOK_TICKER_BATCH: "public_book_ticker_batch",
    Kind.KLINE: "public_spot_kline",
    Kind.MINI_TICKER: "public_mini_ticker",
    Kind.MINI_TICKERS: "public_mini_tickers",
    Kind.PRIVATE_ACCOUNT: "private_account",
    Kind.PRIVATE_DEALS: "private_deals",
    Kind.PRIVATE_ORDERS: "private_orders",
}
_DEALS: Final = Kind.DEALS
"""By itself: looking a member up in its enum costs more than reading a field of a message."""
_FIRST_BODY: Final = 301
"""Field numbers of the wrapper from here on are message types."""
_SHOWN: Final = 120
"""Characters of a channel's name that an error quotes."""


_PARSE: Final = PushDataV3ApiWrapper.FromString
_W = PushDataV3ApiWrapper
_Ns = int | None


class _Route(Struct):
    """What a channel's name says; kept, for a connection carries few names and many frames."""

    name: str
    kind: Kind | None
    symbol: str
    detail: str
    body: str
    read: "_Reader | None"
    scales: Scales | None = None
    """Of the symbol, by the rules that were met last."""


_Reader = Callable[[_W, _Route, _Ns, _Ns], Decoded]
"""Makes a frame into what it says: of its wrapper, its route, its send and its receive time."""


class FrameDecoder:
    """Decodes the frames of any number of connections, by the rules of `instruments`, which may change between frames.

    What it remembers (scales, channel names, which unknown fields were reported) never changes an event.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._routes: dict[str, _Route] = {}
        self._scales: dict[str, Scales] = {}
        self._new_fields: list[tuple[str, int]] = []
        self.decoded_total = 0
        """Frames decoded, unknown ones included."""
        self.unknown_total = 0
        """Frames of which this version knows nothing."""
        self.errors: dict[Reason, int] = {}
        """Frames refused, by reason."""
        self.unknown_fields: dict[tuple[str, int], int] = {}
        """How often each field beyond the schema was met, by message and field number."""
        self._readers: dict[Kind, _Reader] = {  # of all kinds but deals, which `decode` asks for first
            Kind.DEPTH: self._depth,
            Kind.LIMIT_DEPTH: self._limit_depth,
            Kind.BOOK_TICKER: self._book_ticker,
            Kind.BOOK_TICKER_BATCH: self._book_ticker_batch,
            Kind.KLINE: self._kline,
            Kind.MINI_TICKER: self._mini_ticker,
            Kind.MINI_TICKERS: self._mini_tickers,
            Kind.PRIVATE_ACCOUNT: self._account,
            Kind.PRIVATE_DEALS: self._own_deal,
            Kind.PRIVATE_ORDERS: self._own_order,
        }

    @property
    def errors_total(self) -> int:
        """Frames refused."""
        return sum(self.errors.values())

    def decode(self, data: bytes, ts_recv_ns: int | None = None) -> Decoded:
        """Decode one binary frame that was received at `ts_recv_ns`.

        Raises:
            DecodeError: it is no frame, or not one of its channel; it is counted in `errors`.
        """
        name = ""
        try:
            if len(data) > LARGEST:
                raise Fault(Reason.TOO_LARGE, f"{len(data)} bytes; at most {LARGEST} are looked into")
            wrapper = _PARSE(data)
            name = wrapper.channel
            route = self._routes.get(name) or self._new_route(name)
            if len(UnknownFieldSet(wrapper)):
                self._note(wrapper)
            if route.kind is _DEALS:
                decoded = self._deals(wrapper, route, ts_recv_ns)
            elif route.read is None or not wrapper.HasField(route.body):
                decoded = self._not_understood(wrapper, route)
            else:
                decoded = route.read(wrapper, route, _send_ns(wrapper), ts_recv_ns)
        except NotProtobuf:
            raise self._refused(name, _broken(data)) from None
        except Fault as fault:
            raise self._refused(name, fault) from None
        self.decoded_total += 1
        return decoded

    # -- public messages ----------------------------------------------------------------------------------------------

    def _deals(self, wrapper: _W, route: _Route, ts_recv_ns: _Ns) -> Decoded:
        """Decode trades. Most frames of a run are of these, and most hold one: each look counts here."""
        body = wrapper.public_aggre_deals
        deals = body.deals[:]  # as a list: protobuf ends the iteration over its own containers with an IndexError
        if not deals and not wrapper.HasField(route.body):  # asked only here: a body that holds deals is there
            return self._not_understood(wrapper, route)
        sent_ms = wrapper.send_time
        send_ns = sent_ms * MS if 0 < sent_ms <= LATEST_MS else optional_nanoseconds("send_time", sent_ms)
        symbol, scales = route.symbol, route.scales
        if scales is None or wrapper.symbol != symbol or self._instruments.get(symbol) is not scales.instrument:
            symbol, scales = self._symbol(wrapper, route)
        if len(UnknownFieldSet(body)):
            self._note(body)
        ticks, lots = scales.ticks, scales.lots.steps
        trades: list[MarketEvent] = []
        for deal in deals:
            if len(UnknownFieldSet(deal)):
                self._note(deal)
            price, quantity, time_ms = ticks[deal.price], lots(deal.quantity), deal.time
            side = SIDES.get(deal.trade_type)
            if not (price and quantity and side and 0 < time_ms <= LATEST_MS):
                raise _no_trade(symbol, deal)
            trades.append(Trade(symbol, time_ms * MS, price, quantity, side, None, deal.trade_id, ts_recv_ns))
        if self._new_fields:
            return self._done(route, send_ns, symbol, trades)
        return Decoded(route.name, _DEALS, symbol, send_ns, trades)

    def _depth(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        symbol, scales = self._symbol(wrapper, route)
        body = wrapper.public_aggre_depths
        if len(UnknownFieldSet(body)):
            self._note(body)
        first, last = whole("from_version", body.from_version), whole("to_version", body.to_version)
        if first > last:
            raise Fault(Reason.ORDER, f"{symbol}: versions {first} to {last} end before they begin")
        last_order_ns = _last_order_ns(body.last_order_create_time)
        update = DepthUpdate(
            symbol,
            self._pushed_ns(wrapper, send_ns),
            first,
            last,
            self._levels(scales, body.bids),
            self._levels(scales, body.asks),
            last_order_ns,
            ts_recv_ns,
        )
        return self._done(route, send_ns, symbol, (), (update,), None, last_order_ns)

    def _limit_depth(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        symbol, scales = self._symbol(wrapper, route)
        body = wrapper.public_limit_depths
        if len(UnknownFieldSet(body)):
            self._note(body)
        bids, asks = self._levels(scales, body.bids), self._levels(scales, body.asks)
        if not all(lots for side in (bids, asks) for _, lots in side):
            raise Fault(Reason.NOT_POSITIVE, f"{symbol}: a whole book holds a level of quantity 0")
        book = Depth(symbol, self._pushed_ns(wrapper, send_ns), bids, asks, snapshot=True, ts_recv_ns=ts_recv_ns)
        version = optional_whole("version", body.version)
        return self._done(route, send_ns, symbol, (book,), (), version, _last_order_ns(body.last_order_create_time))

    def _book_ticker(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        symbol, scales = self._symbol(wrapper, route)
        body = wrapper.public_aggre_book_ticker
        if len(UnknownFieldSet(body)):
            self._note(body)
        bid, bid_lots = self._best(scales, body.bid_price, body.bid_quantity)
        ask, ask_lots = self._best(scales, body.ask_price, body.ask_quantity)
        top = TopOfBook(symbol, self._pushed_ns(wrapper, send_ns), bid, bid_lots, ask, ask_lots, ts_recv_ns)
        version = optional_whole("version", body.version)
        return self._done(route, send_ns, symbol, (top,), (), version, _last_order_ns(body.last_order_create_time))

    def _book_ticker_batch(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        symbol, scales = self._symbol(wrapper, route)
        body = wrapper.public_book_ticker_batch
        if len(UnknownFieldSet(body)):
            self._note(body)
        pushed_ns = self._pushed_ns(wrapper, send_ns)
        tops: list[MarketEvent] = []
        for item in body.items[:]:
            if len(UnknownFieldSet(item)):
                self._note(item)
            bid, bid_lots = self._best(scales, item.bid_price, item.bid_quantity)
            ask, ask_lots = self._best(scales, item.ask_price, item.ask_quantity)
            tops.append(TopOfBook(symbol, pushed_ns, bid, bid_lots, ask, ask_lots, ts_recv_ns))
        version = optional_whole("version", body.version)
        return self._done(route, send_ns, symbol, tops, (), version, _last_order_ns(body.last_order_create_time))

    def _kline(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        symbol, scales = self._symbol(wrapper, route)
        body = wrapper.public_spot_kline
        if len(UnknownFieldSet(body)):
            self._note(body)
        interval = route.detail
        if body.interval != interval:
            raise Fault(Reason.ORDER, f"{symbol}: a candle of {body.interval!r} on the channel of {interval}")
        ticks = scales.ticks
        opening, high = ticks[body.opening_price], ticks[body.highest_price]
        low, closing = ticks[body.lowest_price], ticks[body.closing_price]
        if not low:
            raise Fault(Reason.NOT_POSITIVE, f"{symbol}: a candle's low is 0")
        if not (low <= opening <= high and low <= closing <= high):
            raise Fault(Reason.ORDER, f"{symbol}: a candle's open or close is outside its low and high")
        start_ns, end_ns = _seconds("window_start", body.window_start), _seconds("window_end", body.window_end)
        if start_ns >= end_ns:
            raise Fault(Reason.ORDER, f"{symbol}: a candle ends before it begins")
        candle = CandlePush(
            symbol,
            Interval(interval),
            self._pushed_ns(wrapper, send_ns),
            start_ns,
            end_ns,
            opening,
            high,
            low,
            closing,
            not_negative("volume", body.volume),
            not_negative("amount", body.amount),
            ts_recv_ns,
        )
        return self._done(route, send_ns, symbol, (), (candle,))

    def _mini_ticker(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        body = wrapper.public_mini_ticker
        symbol = self._named(wrapper, route)
        if body.symbol != symbol:
            raise Fault(Reason.SYMBOL, f"figures of {body.symbol!r} on the channel of {symbol}")
        return self._done(route, send_ns, symbol, (), (self._ticker(body),))

    def _mini_tickers(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        body = wrapper.public_mini_tickers
        if len(UnknownFieldSet(body)):
            self._note(body)
        return self._done(route, send_ns, "", (), [self._ticker(item) for item in body.items])

    def _ticker(self, item: PublicMiniTicker) -> TickerPush:
        if len(UnknownFieldSet(item)):
            self._note(item)
        if not item.symbol:
            raise Fault(Reason.MISSING, "symbol is absent")
        return TickerPush(
            item.symbol,
            optional_not_negative("price", item.price),
            optional("rate", item.rate),
            optional("zoned_rate", item.zoned_rate),
            optional_not_negative("high", item.high),
            optional_not_negative("low", item.low),
            optional_not_negative("quantity", item.quantity),
            optional_not_negative("volume", item.volume),
        )

    # -- private messages ---------------------------------------------------------------------------------------------

    def _account(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        body = wrapper.private_account
        if len(UnknownFieldSet(body)):
            self._note(body)
        return self._done(route, send_ns, "", (), (balance_push(body),))

    def _own_deal(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        body = wrapper.private_deals
        if len(UnknownFieldSet(body)):
            self._note(body)
        symbol = wrapper.symbol
        return self._done(route, send_ns, symbol, (), (deal_push(body, symbol),))

    def _own_order(self, wrapper: _W, route: _Route, send_ns: _Ns, ts_recv_ns: _Ns) -> Decoded:
        body = wrapper.private_orders
        if len(UnknownFieldSet(body)):
            self._note(body)
        symbol = wrapper.symbol
        return self._done(route, send_ns, symbol, (), (order_push(body, symbol, send_ns),))

    # -- what they have in common -------------------------------------------------------------------------------------

    def _named(self, wrapper: _W, route: _Route) -> str:
        symbol = route.symbol
        told = wrapper.symbol
        if told != symbol and told:
            raise Fault(Reason.SYMBOL, f"the message names {told[:_SHOWN]!r}")
        return symbol

    def _symbol(self, wrapper: _W, route: _Route) -> tuple[str, Scales]:
        symbol, scales = self._named(wrapper, route), route.scales
        instrument = self._instruments.get(symbol)
        if instrument is None:
            raise Fault(Reason.SYMBOL, f"no rules (tick, lot) are known for {symbol}")
        if scales is None or scales.instrument is not instrument:
            scales = route.scales = self._scales_of(symbol, instrument)
        return symbol, scales

    def _scales_of(self, symbol: str, instrument: Instrument) -> Scales:
        scales = self._scales.get(symbol)
        if scales is None or scales.instrument is not instrument:
            scales = self._scales[symbol] = Scales(instrument)
        return scales

    def _pushed_ns(self, wrapper: _W, send_ns: _Ns) -> int:
        if send_ns is not None:
            return send_ns
        return nanoseconds("create_time", wrapper.create_time)

    def _levels(self, scales: Scales, levels: Sequence[DepthLevel]) -> Levels:
        ticks, lots = scales.ticks, scales.lots.steps
        side: list[tuple[int, int]] = []
        for level in levels[:]:  # as a list: see _deals
            if len(UnknownFieldSet(level)):
                self._note(level)
            price = ticks[level.price]
            if not price:
                raise Fault(Reason.NOT_POSITIVE, f"{scales.instrument.symbol}: a level at price {level.price}")
            side.append((price, lots(level.quantity)))
        return tuple(side)

    def _best(self, scales: Scales, price: str, quantity: str) -> tuple[int, int]:
        if not price and not quantity:
            return 0, 0  # an empty side is not on the wire
        ticks, lots = scales.ticks[price], scales.lots.steps(quantity)
        if not ticks or not lots:
            raise Fault(Reason.NOT_POSITIVE, f"{scales.instrument.symbol}: a best level of {quantity} at {price}")
        return ticks, lots

    def _done(
        self,
        route: _Route,
        send_ns: _Ns,
        symbol: str,
        events: Sequence[MarketEvent] = (),
        pushes: Sequence[Push] = (),
        version: int | None = None,
        last_order_ns: int | None = None,
    ) -> Decoded:
        fields = self._take_new_fields() if self._new_fields else ()
        return Decoded(route.name, route.kind, symbol, send_ns, events, pushes, version, last_order_ns, "", fields)

    def _not_understood(self, wrapper: PushDataV3ApiWrapper, route: _Route) -> Decoded:
        body = wrapper.WhichOneof("body")
        if not route.name:
            if not wrapper.ByteSize():
                raise Fault(Reason.EMPTY, "there is nothing in it")
            raise Fault(Reason.MISSING, "channel is absent")
        if body is None:
            numbers = [str(number) for number in _unknown_numbers(wrapper) if number >= _FIRST_BODY]
            if not numbers:
                raise Fault(Reason.MISSING, "there is no message in the wrapper")
            unknown = f"message type {', '.join(numbers[:8])}"
        elif route.kind is None:
            unknown = f"channel {route.name[:_SHOWN]!r}"
        else:
            unknown = f"{body} on the channel of {route.body}"
        self.unknown_total += 1
        return Decoded(route.name, None, wrapper.symbol, None, unknown=unknown, new_fields=self._take_new_fields())

    def _new_route(self, name: str) -> _Route:
        channel = channels.parse(name)
        if channel is None:
            return _Route(name, None, "", "", "", None)
        kind = channel.kind
        if len(self._routes) >= CHANNELS_REMEMBERED:
            self._routes.clear()
        route = _Route(name, kind, channel.symbol, channel.detail, _BODIES[kind], self._readers.get(kind))
        self._routes[name] = route
        return route

    def _note(self, message: Message) -> None:
        """Count the fields of one message that the schema does not have."""
        name = message.DESCRIPTOR.name
        for number in _unknown_numbers(message):
            key = (name, number)
            if key not in self.unknown_fields and len(self.unknown_fields) >= FIELDS_TOLD_APART:
                key = ("", 0)
            if key not in self.unknown_fields:
                self._new_fields.append(key)
            self.unknown_fields[key] = self.unknown_fields.get(key, 0) + 1

    def _take_new_fields(self) -> tuple[tuple[str, int], ...]:
        fields = tuple(self._new_fields)
        self._new_fields.clear()
        return fields

    def _refused(self, channel: str, fault: Fault) -> DecodeError:
        self.errors[fault.reason] = self.errors.get(fault.reason, 0) + 1
        parsed = channels.parse(channel)
        return DecodeError(fault.reason, fault.what, channel[:_SHOWN], parsed.symbol if parsed else "")


def decode(data: bytes, instruments: Mapping[str, Instrument], ts_recv_ns: int | None = None) -> Decoded:
    """Decode a single frame. For a stream of them keep a `FrameDecoder`, which also counts, and is faster from the second on.

    Raises:
        DecodeError: it is no frame, or not one of its channel.
    """
    return FrameDecoder(instruments).decode(data, ts_recv_ns)


def _unknown_numbers(message: Message) -> list[int]:
    fields = UnknownFieldSet(message)
    return [fields[index].field_number for index in range(len(fields))]


def _send_ns(wrapper: _W) -> _Ns:
    return optional_nanoseconds("send_time", wrapper.send_time)


def _no_trade(symbol: str, deal: PublicAggreDeal) -> Fault:
    """Say what is wrong with a deal whose price and quantity are numbers."""
    if not (deal.price.strip("0.") and deal.quantity.strip("0.")):
        return Fault(Reason.NOT_POSITIVE, f"{symbol}: a trade of {deal.quantity} at {deal.price}")
    if deal.trade_type not in SIDES:
        return Fault(Reason.SIDE, f"{symbol}: trade type {deal.trade_type} is neither 1 (buy) nor 2 (sell)")
    return not_a_time("time", deal.time)


def _last_order_ns(ms: int) -> int | None:
    return ms * MS if 0 < ms <= LATEST_MS else optional_nanoseconds("last_order_create_time", ms)


def _seconds(name: str, seconds: int) -> int:
    return nanoseconds(name, seconds * 1000)


def _broken(data: bytes) -> Fault:
    """Tell a frame that was cut short from one that never was protobuf, by its outermost fields."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag is None:
            break
        kind = tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            if value is None:
                break
        elif kind == 2:
            length, position = _varint(data, position)
            if length is None or position + length > len(data):
                position = len(data) + 1
                break
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            return Fault(Reason.NOT_PROTOBUF, f"{len(data)} bytes are not protobuf")
    if position > len(data):
        return Fault(Reason.TRUNCATED, f"{len(data)} bytes end in the middle of a field")
    return Fault(Reason.NOT_PROTOBUF, f"{len(data)} bytes hold a field that is not protobuf, or text that is not UTF-8")


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    """Return the number at `position` and where it ends; None and a place beyond the end if it is cut, or not one."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            return None, len(data) + 1
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return None, position
