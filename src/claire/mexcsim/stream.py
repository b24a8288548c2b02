"""The WebSocket: text control frames word for word (sheet 1.2), listen keys, limits, and closes without a close frame.

Subscriptions are refused as the venue does it: with code 0 and a sentence that has a full-width colon.
"""

import asyncio

import msgspec
from aiohttp import WSMsgType, web

from claire.mexcsim.accounts import Account
from claire.mexcsim.channels import Topic, topic_of
from claire.mexcsim.connection import ENDINGS, Connection
from claire.mexcsim.faults import HalfOpen, LoseSubscription, Maintenance, RefuseSubscription
from claire.mexcsim.hub import Hub
from claire.mexcsim.log import What
from claire.mexcsim.state import Venue
from claire.mexcsim.symbols import OFFLINE

INVALID_KEY = "Invalid listen key"
MALFORMED = "msg format invalid"
GOING_AWAY = 1001
GOODBYE_S = 1.0
"""How long a close frame waits for the client's."""


class Streams:
    """All WebSocket connections of a venue."""

    def __init__(self, venue: Venue, hub: Hub) -> None:
        self._venue = venue
        self._hub = hub
        self._open: dict[int, Connection] = {}
        self._next = 1

    @property
    def connections(self) -> list[Connection]:
        """Those that are open, oldest first."""
        return list(self._open.values())

    # -- one connection --------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Talk with one client until it leaves or is made to."""
        venue, now = self._venue, self._venue.clock()
        if venue.faults.holds(Maintenance, now):
            return web.Response(status=503, text="maintenance")
        socket = web.WebSocketResponse(autoping=False, autoclose=True, compress=False, timeout=GOODBYE_S)
        await socket.prepare(request)
        assert request.transport is not None  # noqa: S101 - it was there a line ago
        key = request.query.get("listenKey", "")
        account = self._account_of(key, now) if key else None
        if key and account is None:
            venue.log.add(What.LISTEN_KEY, why="unknown or ended", listen_key=key[:8])
            await socket.send_str(INVALID_KEY)
            await socket.close()
            return socket
        connection = Connection(self._next, socket, request.transport, now, account)
        connection.listen_key = key
        self._next += 1
        self._open[connection.number] = connection
        venue.log.add(What.CONNECTED, connection=connection.number, private=int(bool(key)))
        writer = asyncio.create_task(connection.write())
        try:
            await self._read(connection)
        finally:
            connection.closed = True
            self._hub.leave(connection)
            del self._open[connection.number]
            venue.log.add(What.DISCONNECTED, connection=connection.number)
            writer.cancel()
            goodbye = [connection.closing] if connection.closing is not None else []
            await asyncio.gather(writer, *goodbye, return_exceptions=True)
        return socket

    async def _read(self, connection: Connection) -> None:
        venue = self._venue
        while not connection.closed:
            message = await connection.socket.receive()
            while connection.half_open and not connection.closed:
                await asyncio.sleep(venue.config.beat_ms / 1000)
            if message.type in ENDINGS or connection.closed:
                return
            now = venue.clock()
            if message.type is WSMsgType.PING:
                await connection.pong(message.data)
                continue
            if self._too_many(connection, now):
                venue.log.add(What.LIMITED, connection=connection.number, why="messages per second")
                connection.cut()
                return
            if message.type is WSMsgType.TEXT:
                self._control(connection, message.data, now)

    def _too_many(self, connection: Connection, now_ms: int) -> bool:
        received = connection.received
        while received and received[0] <= now_ms - 1000:
            received.popleft()
        received.append(now_ms)
        return len(received) > self._venue.config.stream.messages_1s

    def _account_of(self, listen_key: str, now_ms: int) -> Account | None:
        for account in self._venue.exchange.accounts.values():
            if account.listen_keys.get(listen_key, 0) > now_ms:
                links = sum(connection.listen_key == listen_key for connection in self._open.values())
                return account if links < self._venue.config.stream.connections_per_listen_key else None
        return None

    # -- control frames --------------------------------------------------------------------------------------------

    def _control(self, connection: Connection, text: str, now_ms: int) -> None:
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            self._reply(connection, 0, MALFORMED)
            return
        method, number = request["method"].upper(), request.get("id", 0)
        number = number if isinstance(number, int) and number >= 0 else 0
        params = request.get("params", [])
        if method == "PING":
            connection.active_ms = now_ms
            self._reply(connection, 0, "PONG")
        elif not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            self._reply(connection, number, MALFORMED)
        elif method == "SUBSCRIPTION":
            self._subscribe(connection, number, params)
        elif method == "UNSUBSCRIPTION":
            self._unsubscribe(connection, number, params)
        else:
            self._reply(connection, number, MALFORMED)

    def _reply(self, connection: Connection, number: int, text: str) -> None:
        connection.send(msgspec.json.encode({"id": number, "code": 0, "msg": text}).decode())

    def _subscribe(self, connection: Connection, number: int, names: list[str]) -> None:
        accepted: list[Topic] = []
        refused: list[str] = []
        room = self._venue.config.stream.subscriptions - len(connection.topics)
        for name in dict.fromkeys(names):
            if name in connection.topics:
                continue  # already on: the venue says nothing about it
            topic = self._allowed(connection, name)
            if topic is None or len(accepted) >= room:
                refused.append(name)
            else:
                accepted.append(topic)
        self._reply(connection, number, acknowledgement([topic.name for topic in accepted], refused))
        for topic in accepted:
            self._hub.subscribe(connection, topic)
            self._venue.log.add(What.SUBSCRIBED, topic.symbol, connection=connection.number, channel=topic.name)
        for name in refused:
            self._venue.log.add(What.SUBSCRIPTION_REFUSED, connection=connection.number, channel=name)

    def _allowed(self, connection: Connection, name: str) -> Topic | None:
        topic = topic_of(name)
        if topic is None or (topic.kind.is_private and connection.account is None):
            return None
        if topic.symbol:
            market = self._venue.exchange.markets.get(topic.symbol)
            if market is None or market.rule.status == OFFLINE:
                return None
        refused = self._venue.faults.strike(
            RefuseSubscription, self._venue.clock(), channel=topic.name, symbol=topic.symbol
        )
        return None if refused else topic

    def _unsubscribe(self, connection: Connection, number: int, names: list[str]) -> None:
        unknown = [name for name in names if name not in connection.topics]
        for name in names:
            if name in connection.topics:
                self._hub.unsubscribe(connection, name)
                self._venue.log.add(What.UNSUBSCRIBED, connection=connection.number, channel=name)
        self._reply(connection, number, f"no subscription {','.join(unknown)}" if unknown else ",".join(names))

    # -- time and faults -------------------------------------------------------------------------------------------

    def watch(self, now_ms: int) -> None:
        """Cut what has been idle or has lived too long; end streams whose listen key has ended."""
        rules = self._venue.config.stream
        faults = self._venue.faults
        half_open = faults.holds(HalfOpen, now_ms) is not None
        if faults.holds(Maintenance, now_ms):
            self.disconnect("all", "close")
        if faults.holds(LoseSubscription, now_ms):
            self._hub.forget_lost(now_ms)
        for connection in self.connections:
            connection.half_open = half_open
            quiet_ms = now_ms - connection.active_ms
            why = ""
            if now_ms - connection.opened_ms >= rules.life_ms:
                why = "24 hours"
            elif not connection.topics and quiet_ms >= rules.unsubscribed_ms:
                why = "no subscription"
            elif connection.topics and quiet_ms >= rules.quiet_ms:
                why = "no data"
            elif connection.listen_key and self._ended(connection, now_ms):
                why = "listen key ended"
            if why and not half_open:
                self._venue.log.add(What.DISCONNECTED, why=why, connection=connection.number)
                connection.cut()

    def _ended(self, connection: Connection, now_ms: int) -> bool:
        account = connection.account
        return account is None or account.listen_keys.get(connection.listen_key, 0) <= now_ms

    def disconnect(self, which: str, how: str) -> int:
        """End connections: all, public or private; by a close frame or by cutting TCP. Return how many."""
        chosen = [
            connection
            for connection in self.connections
            if which == "all" or (connection.account is not None) == (which == "private")
        ]
        for connection in chosen:
            if how == "cut":
                connection.cut()
            elif connection.closing is None:
                connection.closing = self._venue.spawn(connection.close(GOING_AWAY))
        return len(chosen)


def acknowledgement(accepted: list[str], refused: list[str]) -> str:
    """What the venue says to a subscription: the channels, a refusal, both, or nothing if all were on already."""
    if not refused:
        return ",".join(accepted)
    blocked = f"Not Subscribed successfully! [{','.join(refused)}]."
    if not accepted:
        return f"{blocked}  Reason： Blocked! "
    return f"Subscribed successful! [{','.join(accepted)}]. {blocked} Reason： Blocked! "
