"""Frames as MEXC pushes them, built from plain numbers; and a venue's book that counts its versions."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from claire.adapters.venues.mexc import channels
from claire.adapters.venues.mexc.pushes import DepthUpdate
from claire.model.instrument import Instrument
from claire.model.market import Depth
from claire.wire import PushDataV3ApiWrapper

SYMBOL = "BTCUSDT"
START_MS = 1_790_000_000_000
MS = 1_000_000


def instrument(symbol: str = SYMBOL) -> Instrument:
    """Rules of a pair with ticks of 0.01 and lots of 0.000001."""
    return Instrument.checked(symbol, Decimal("0.01"), Decimal("0.000001"), venue="mexc")


def deals_frame(
    trades: Iterable[tuple[str, str, int, int, str]], symbol: str = SYMBOL, send_ms: int | None = None
) -> bytes:
    """Push of (price, quantity, trade type, time in ms, trade id)."""
    rows = list(trades)
    name = channels.deals(symbol).name
    wrapper = PushDataV3ApiWrapper(channel=name, symbol=symbol, send_time=send_ms or rows[-1][3] + 5)
    for price, quantity, side, at_ms, trade_id in rows:
        wrapper.public_aggre_deals.deals.add(
            price=price, quantity=quantity, trade_type=side, time=at_ms, trade_id=trade_id
        )
    wrapper.public_aggre_deals.event_type = name.rpartition("@")[0]
    return wrapper.SerializeToString()


def deal_frame(number: int, at_ms: int = 0, price: str = "84270.01", symbol: str = SYMBOL) -> bytes:
    """Push of one trade, the `number`-th; 100 ms after the one before unless told otherwise."""
    return deals_frame([(price, "0.001", 1 + number % 2, at_ms or START_MS + 100 * number, f"T{number}")], symbol)


def depth_frame(
    first: int,
    last: int,
    bids: Sequence[tuple[str, str]] = (),
    asks: Sequence[tuple[str, str]] = (),
    send_ms: int = START_MS,
    symbol: str = SYMBOL,
) -> bytes:
    """Push of a change of the book."""
    wrapper = PushDataV3ApiWrapper(channel=channels.depth(symbol).name, symbol=symbol, send_time=send_ms)
    body = wrapper.public_aggre_depths
    for side, levels in ((body.bids, bids), (body.asks, asks)):
        for price, quantity in levels:
            side.add(price=price, quantity=quantity)
    body.from_version, body.to_version = str(first), str(last)
    return wrapper.SerializeToString()


def top_frame(
    bid: str, ask: str, version: int, send_ms: int = START_MS, symbol: str = SYMBOL, quantity: str = "1"
) -> bytes:
    """Push of a best bid and offer."""
    wrapper = PushDataV3ApiWrapper(channel=channels.book_ticker(symbol).name, symbol=symbol, send_time=send_ms)
    body = wrapper.public_aggre_book_ticker
    body.bid_price, body.bid_quantity, body.ask_price, body.ask_quantity = bid, quantity, ask, quantity
    body.version = str(version)
    return wrapper.SerializeToString()


class CountingBook:
    """A venue's book in ticks and lots: each change of a level is a version; every version can be looked up again."""

    def __init__(self, bids: dict[int, int], asks: dict[int, int], version: int = 100) -> None:
        self.version = version
        self.bids, self.asks = dict(bids), dict(asks)
        self.at = {version: (dict(bids), dict(asks))}

    def change(self, changes: Sequence[tuple[str, int, int]]) -> DepthUpdate:
        """Change levels, (side, price, lots) each; return the push that tells of them."""
        first = self.version + 1
        told: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        for side, price, lots in changes:
            book = self.bids if side == "bid" else self.asks
            if lots:
                book[price] = lots
            else:
                book.pop(price, None)
            told[side][price] = lots
            self.version += 1
            self.at[self.version] = (dict(self.bids), dict(self.asks))
        at_ns = self.version * MS
        bids, asks = tuple(told["bid"].items()), tuple(told["ask"].items())
        return DepthUpdate(SYMBOL, at_ns, first, self.version, bids, asks)


class Follower:
    """Somebody who knows the book only from the events that are passed on."""

    def __init__(self) -> None:
        self.valid = False
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def apply(self, event: Depth) -> None:
        """Take in one event, the way the paper venue does."""
        if not event.valid or event.snapshot:
            self.valid = event.valid
            self.bids, self.asks = {}, {}
        if not self.valid:
            return
        for mine, levels in ((self.bids, event.bids), (self.asks, event.asks)):
            for price, lots in levels:
                if lots:
                    mine[price] = lots
                else:
                    mine.pop(price, None)
