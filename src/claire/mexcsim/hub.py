"""The hub: who has subscribed to what, and which push is due when.

Deals, depth and best prices go out once per window of 10 or 100 ms; limit depth and the ticker list every 100 ms when
something changed; the open candle once a second while there are trades; the 24-hour tickers every 3 s. Each push is encoded once
and then queued for everybody who subscribed.
"""

import hashlib
import heapq
from collections.abc import Iterable

from claire.mexcsim import encode, tamper
from claire.mexcsim.channels import Kind, Topic
from claire.mexcsim.connection import Connection
from claire.mexcsim.faults import LoseSubscription
from claire.mexcsim.log import What
from claire.mexcsim.orders import BalanceChanged, Fill, Happening, OrderChanged, PublicTrade
from claire.mexcsim.state import Venue
from claire.mexcsim.symbols import OFFLINE
from claire.mexcsim.tape import STREAM_INTERVALS

CADENCES_MS = {"10ms": 10, "100ms": 100, "kline": 1_000, "mini": 3_000}
_TIMED_BY = {
    Kind.LIMIT_DEPTH: "100ms",
    Kind.TICKER_BATCH: "100ms",
    Kind.KLINE: "kline",
    Kind.MINI: "mini",
    Kind.MINIS: "mini",
}


class Feed:
    """One public channel with subscribers."""

    __slots__ = ("readers", "seen", "topic", "trades")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.readers: dict[Connection, None] = {}
        self.trades: list[PublicTrade] = []
        self.seen = -1
        """Version or trade count at the last push."""

    @property
    def cadence(self) -> str:
        """The window by which it is pushed."""
        return _TIMED_BY.get(self.topic.kind, self.topic.argument)


class Hub:
    """Subscriptions and pushes of one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._feeds: dict[str, Feed] = {}
        self._by_cadence: dict[str, dict[str, Feed]] = {name: {} for name in CADENCES_MS}
        self._deals: dict[str, dict[str, Feed]] = {}
        self._with_trades: dict[str, dict[str, Feed]] = {"10ms": {}, "100ms": {}}
        self._due_ms: dict[str, int] = dict.fromkeys(CADENCES_MS, 0)
        self._private: dict[str, dict[Connection, None]] = {}
        self._delayed: list[tuple[int, int, bytes, tuple[Connection, ...]]] = []
        self._delayed_count = 0
        self._held = tamper.Held()
        self._coins: dict[str, str] = {}
        self.pushed = 0
        """Binary frames queued so far."""

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, topic: Topic) -> None:
        """Let a connection have a channel."""
        connection.topics[topic.name] = None
        faults, now = self._venue.faults, self._venue.clock()
        if faults.on_frames and faults.strike(LoseSubscription, now, channel=topic.name, symbol=topic.symbol):
            return
        if topic.kind.is_private:
            self._private.setdefault(topic.name, {})[connection] = None
            return
        feed = self._feeds.get(topic.name)
        if feed is None:
            feed = self._feeds[topic.name] = Feed(topic)
            if topic.kind is Kind.DEALS:
                self._deals.setdefault(topic.symbol, {})[topic.name] = feed
            else:
                self._by_cadence[feed.cadence][topic.name] = feed
            if topic.kind is Kind.DEPTH:
                self._venue.exchange.markets[topic.symbol].book.watch(topic.argument)
        feed.readers[connection] = None

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Take a channel away; one that nobody wants any more is forgotten."""
        connection.topics.pop(name, None)
        self._private.get(name, {}).pop(connection, None)
        feed = self._feeds.get(name)
        if feed is None:
            return
        feed.readers.pop(connection, None)
        if not feed.readers:
            del self._feeds[name]
            if feed.topic.kind is Kind.DEALS:
                del self._deals[feed.topic.symbol][name]
                self._with_trades[feed.cadence].pop(name, None)
            else:
                del self._by_cadence[feed.cadence][name]
            if feed.topic.kind is Kind.DEPTH:
                self._venue.exchange.markets[feed.topic.symbol].book.windows.pop(feed.topic.argument, None)

    def leave(self, connection: Connection) -> None:
        """A connection ended."""
        for name in list(connection.topics):
            self.unsubscribe(connection, name)

    def forget_lost(self, now_ms: int) -> None:
        """Existing subscriptions that a `LoseSubscription` fault takes away, without a word."""
        for feed in list(self._feeds.values()):
            topic = feed.topic
            if feed.readers and self._venue.faults.strike(
                LoseSubscription, now_ms, channel=topic.name, symbol=topic.symbol
            ):
                for connection in list(feed.readers):
                    self.unsubscribe(connection, topic.name)
                    connection.topics[topic.name] = None
        for name, readers in self._private.items():
            if readers and self._venue.faults.strike(LoseSubscription, now_ms, channel=name, symbol=""):
                readers.clear()

    # -- what happened ---------------------------------------------------------------------------------------------

    def tell(self, happenings: Iterable[Happening]) -> None:
        """Take note of public trades for their windows; send private news at once."""
        for happening in happenings:
            if isinstance(happening, PublicTrade):
                for feed in self._deals.get(happening.symbol, _NO_FEEDS).values():
                    feed.trades.append(happening)
                    self._with_trades[feed.topic.argument][feed.topic.name] = feed
            else:
                self._tell_account(happening)

    def _tell_account(self, happening: OrderChanged | BalanceChanged | Fill) -> None:
        send_ms = self._venue.server_ms()
        if isinstance(happening, Fill):
            account, kind, symbol = happening.order.account, Kind.PRIVATE_DEALS, happening.order.symbol
            self._venue.log.add(
                What.FILLED, symbol, order=happening.order.order_id, trade=happening.trade_id, lots=happening.lots
            )
        elif isinstance(happening, OrderChanged):
            account, kind, symbol = happening.account, Kind.ORDERS, happening.order.symbol
            if happening.status.is_final:
                self._venue.log.add(What.ENDED, symbol, order=happening.order.order_id, status=happening.status.name)
        else:
            account, kind, symbol = happening.account, Kind.ACCOUNT, ""
        channel = f"{kind.value}.v3.api.pb"
        readers = [connection for connection in self._private.get(channel, ()) if connection.account is account]
        if not readers:
            return
        if isinstance(happening, BalanceChanged):
            data = encode.private_account(channel, happening, self._coin(happening.asset), send_ms)
        elif isinstance(happening, Fill):
            data = encode.private_deal(channel, happening, send_ms)
        else:
            data = encode.private_order(channel, happening, send_ms)
        self._push(channel, symbol, data, readers)

    def _coin(self, asset: str) -> str:
        if asset not in self._coins:
            self._coins[asset] = hashlib.sha256(f"coin:{asset}".encode()).hexdigest()[:32]
        return self._coins[asset]

    # -- time ------------------------------------------------------------------------------------------------------

    def beat(self, now_ms: int) -> None:
        """Send what is due."""
        while self._delayed and self._delayed[0][0] <= now_ms:
            _, _, data, readers = heapq.heappop(self._delayed)
            self._queue(data, readers, now_ms)
        for cadence, length in CADENCES_MS.items():
            if now_ms >= self._due_ms[cadence]:
                self._due_ms[cadence] = now_ms // length * length + length
                self._flush(cadence)

    def flush(self) -> None:
        """Send everything now, whatever the windows say (lockstep)."""
        for cadence in CADENCES_MS:
            self._flush(cadence)

    def _flush(self, cadence: str) -> None:
        send_ms = self._venue.server_ms()
        if cadence in self._with_trades:
            ready, self._with_trades[cadence] = self._with_trades[cadence], {}
            for feed in ready.values():
                trades, feed.trades = feed.trades, []
                rule = self._venue.exchange.markets[feed.topic.symbol].rule
                self._push_feed(feed, encode.deals(feed.topic, rule, trades, send_ms))
        for feed in list(self._by_cadence[cadence].values()):
            data = self._due(feed, send_ms)
            if data is not None:
                self._push_feed(feed, data)

    def _due(self, feed: Feed, send_ms: int) -> bytes | None:
        topic, exchange = feed.topic, self._venue.exchange
        if topic.kind is Kind.MINIS:
            now = self._venue.market_ms()
            return encode.mini_tickers(
                topic, [(market.rule, market.tape.day(now)) for market in exchange.markets.values()], send_ms
            )
        market = exchange.markets[topic.symbol]
        if market.rule.status == OFFLINE:
            return None
        if topic.kind is Kind.DEPTH:
            window = market.book.windows[topic.argument]
            if not (window.bids or window.asks):
                return None
            del market.book.windows[topic.argument]
            data = encode.depth(topic, market, window, send_ms)
            market.book.watch(topic.argument)
            return data
        if topic.kind is Kind.MINI:
            return encode.mini_ticker(topic, market.rule, market.tape.day(self._venue.market_ms()), send_ms)
        state = market.tape.count if topic.kind is Kind.KLINE else market.book.version
        if state == feed.seen and not (topic.kind is Kind.BOOK_TICKER and self._venue.config.stream.repeat_book_ticker):
            return None
        feed.seen = state
        if topic.kind is Kind.KLINE:
            now = self._venue.market_ms()
            current = market.tape.current(STREAM_INTERVALS[topic.argument], now)
            return None if current is None else encode.kline(topic, market.rule, *current, now)
        if topic.kind is Kind.LIMIT_DEPTH:
            return encode.limit_depth(topic, market, send_ms)
        if topic.kind is Kind.TICKER_BATCH:
            return encode.ticker_batch(topic, market, send_ms)
        return encode.book_ticker(topic, market, send_ms)

    # -- pushing ---------------------------------------------------------------------------------------------------

    def _push_feed(self, feed: Feed, data: bytes) -> None:
        self._push(feed.topic.name, feed.topic.symbol, data, feed.readers)

    def _push(self, channel: str, symbol: str, data: bytes, readers: Iterable[Connection]) -> None:
        now = self._venue.clock()
        if not self._venue.faults.on_frames and not self._held.frames:
            self._queue(data, readers, now)
            return
        for delay_ms, frame in tamper.frames(self._venue.faults, self._held, channel, symbol, data, now):
            if delay_ms <= 0:
                self._queue(frame, readers, now)
            else:
                self._delayed_count += 1
                heapq.heappush(self._delayed, (now + delay_ms, self._delayed_count, frame, tuple(readers)))

    def _queue(self, data: bytes, readers: Iterable[Connection], now_ms: int) -> None:
        most = self._venue.config.stream.outbox_frames
        for connection in readers:
            if connection.waiting >= most:
                self._venue.log.add(What.DISCONNECTED, why="reads too slowly", connection=connection.number)
                connection.cut()
                continue
            connection.send(data)
            connection.active_ms = now_ms
            self.pushed += 1


_NO_FEEDS: dict[str, Feed] = {}
