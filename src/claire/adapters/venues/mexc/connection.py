"""One WebSocket connection to MEXC: connect, subscribe, keep alive, read, end. It never reconnects; supervisor.py does.

Frames are told apart by their opcode: binary frames are data, text frames are control (control.py). The receive time
is read once per frame, right here. A connection ends with a reason in words: closed by the venue, unanswered pings
(a half-open socket looks open for hours), a listen key that is no more, or closed by us.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import aiohttp
from msgspec import Struct

from claire.adapters.venues.mexc import control
from claire.adapters.venues.mexc.channels import Channel
from claire.adapters.venues.mexc.subscriptions import State, SubscriptionTable

SECOND: Final = 1_000_000_000

MAX_MESSAGE_BYTES: Final = 4 * 2**20

BINARY, TEXT = aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT

INVALID_LISTEN_KEY: Final = "invalid listen key"
"""Why a private connection ends when its key is unknown or has expired."""


class ConnectionSettings(Struct, frozen=True):
    """Times of a connection, in seconds."""

    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 5.0
    """A subscription that is not answered by then is asked for again, three times in all."""
    ping_s: tuple[float, float] = (15.0, 20.0)
    """A ping goes out after a time drawn from this range. The venue closes what is silent for 30 to 60 s."""
    pong_timeout_s: float = 8.0
    """A connection whose ping is not answered by then, and that sent nothing else meanwhile, is dead."""
    max_age_s: float = 23 * 3_600.0
    """After this (less up to 2 %, drawn) a new connection takes over. The venue cuts at 24 h."""
    overlap_s: float = 30.0
    """How long the new connection may take to show every channel that still speaks on the old one."""
    min_overlap_s: float = 0.5
    backoff_s: tuple[float, float] = (0.25, 30.0)
    """First and longest wait before connecting again; doubled each time, then shortened at random by up to half."""
    steady_s: float = 60.0
    """A connection that lived this long resets the wait."""
    connects_per_s: float = 10.0
    """Of all connections together."""
    requests_per_s: float = 20.0
    """Of one connection; the venue disconnects at 100."""
    tick_s: float = 0.25
    """How often pings, answers and rhythms are looked at."""


class Clocks(Struct, frozen=True):
    """The clocks that a client reads, in nanoseconds."""

    wall_ns: Callable[[], int]
    """UTC; what receive times are taken from."""
    now_ns: Callable[[], int]
    """Only rises; what time-outs and silence are measured with."""


SYSTEM_CLOCKS: Final = Clocks(time.time_ns, time.monotonic_ns)
"""This machine's clocks."""


class Listener(Protocol):
    """Who hears what a connection receives. Called in the order of arrival, and never slow."""

    def frame(self, connection: "Connection", data: bytes, ts_recv_ns: int, now_ns: int) -> bool:
        """Take one binary frame; tell whether the reader is behind and the connection has to wait for `room`."""

    def text(self, connection: "Connection", text: str, ts_recv_ns: int) -> None:
        """Take one text frame, before its meaning is acted on."""

    def answered(self, connection: "Connection", refused: Sequence[str], reason: str) -> None:
        """Note that the state of subscriptions changed; `refused` are those that the venue has just refused."""

    def not_understood(self, connection: "Connection", text: str) -> None:
        """Note a text that means nothing to this version."""

    async def room(self) -> None:
        """Wait until the reader has caught up."""


class Connection:
    """One physical connection, from connect to end."""

    def __init__(
        self,
        number: int,
        slot: int,
        url: str,
        channels: Sequence[Channel],
        session: aiohttp.ClientSession,
        listener: Listener,
        clocks: Clocks,
        settings: ConnectionSettings,
        rng: random.Random,
    ) -> None:
        """Prepare; `run` connects."""
        self.number = number
        self.slot = slot
        self.url = url
        self.table = SubscriptionTable(
            [channel.name for channel in channels], ack_timeout_ns=round(settings.ack_timeout_s * SECOND)
        )
        self.is_open = False
        self.serves = True
        """Whether the rhythm of its slot is its own; False for the newer one during a hand-over."""
        self.opened_ns = 0
        self.unanswered_ping = False
        """Whether it ended because nobody answered."""
        self.settled = asyncio.Event()
        """Set once every subscription is answered or given up."""
        self._channels = {channel.name: channel for channel in channels}
        self._session = session
        self._listener = listener
        self._clocks = clocks
        self._settings = settings
        self._rng = rng
        self._reason = ""
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._next_id = 1
        self._heard_ns = 0
        self._pinged_ns = 0
        self._ping_due_ns = 0
        self._sending = asyncio.Lock()

    async def run(self) -> str:
        """Connect and serve until the end; return why it ended. Leaves no task and no socket behind."""
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                ws = await self._session.ws_connect(
                    self.url,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    autoping=True,
                    compress=0,
                    max_msg_size=MAX_MESSAGE_BYTES,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"no connection to {self.url.partition('?')[0]}: {str(error) or type(error).__name__}"
        self._ws = ws
        self.is_open = True
        self.opened_ns = self._heard_ns = self._clocks.now_ns()
        self._schedule_ping(self.opened_ns)
        keeper = asyncio.create_task(self._keep(ws), name=f"mexc-keep-{self.number}")
        try:
            reason = await self._read(ws)
            return self._reason or reason
        finally:
            self.is_open = False
            keeper.cancel()
            await asyncio.wait([keeper])
            await ws.close()

    async def close(self, reason: str) -> None:
        """End the connection; `run` returns this reason."""
        self._reason = self._reason or reason
        if self._ws is not None:
            await self._ws.close()

    async def resubscribe(self, name: str) -> None:
        """End one subscription and ask for it again: its stream fell silent."""
        self.table.forgotten(name)
        channel = self._channels[name]
        for request in control.unsubscribe([channel], self._take_ids(1)):
            await self._send(request.text)
        await self._subscribe([name])

    def pong(self) -> None:
        """Note the answer to a ping."""
        self._pinged_ns = 0

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> str:
        listener, wall_ns, now_ns = self._listener, self._clocks.wall_ns, self._clocks.now_ns
        receive, take = ws.receive, listener.frame
        while True:
            message = await receive()
            ts_recv_ns, heard_ns = wall_ns(), now_ns()
            if message.type is BINARY:
                self._heard_ns = heard_ns
                if take(self, message.data, ts_recv_ns, heard_ns):
                    await listener.room()
            elif message.type is TEXT:
                self._heard_ns = heard_ns
                listener.text(self, message.data, ts_recv_ns)
                if self._understand(message.data):
                    return INVALID_LISTEN_KEY
            else:
                return _ending(ws, message)

    def _understand(self, text: str) -> bool:
        """Act on one text; tell whether the connection is of no use any more."""
        said = control.parse(text)
        if isinstance(said, control.Answer):
            refused = self.table.answered(said.id, said.accepted, said.refused, said.reason)
            self._after_answer(refused, said.reason)
        elif isinstance(said, control.AlreadyOn):
            self.table.answered(said.id, (), (), "")
            self._after_answer((), "")
        elif isinstance(said, control.Pong):
            self.pong()
        elif isinstance(said, control.Unknown | control.BadRequest):
            self._listener.not_understood(self, said.text)
        return isinstance(said, control.InvalidListenKey)

    def _after_answer(self, refused: Sequence[str], reason: str) -> None:
        self._listener.answered(self, refused, reason)
        if self.table.is_settled:
            self.settled.set()

    # -- keeping alive ---------------------------------------------------------------------------------------------------

    async def _keep(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Subscribe, then ping and look after unanswered requests, until the connection ends."""
        try:
            await self._subscribe(list(self.table.all))
            while True:
                await asyncio.sleep(self._settings.tick_s)
                now_ns = self._clocks.now_ns()
                if self._is_dead(now_ns):
                    self.unanswered_ping = True
                    await self.close(f"a ping was not answered within {self._settings.pong_timeout_s:g} s")
                    return
                if now_ns >= self._ping_due_ns:
                    self._schedule_ping(now_ns)
                    self._pinged_ns = self._pinged_ns or now_ns
                    await self._send(control.PING)
                again, lost = self.table.overdue(now_ns)
                if again:
                    await self._subscribe(again)
                if lost:
                    self._after_answer((), "")
        except (aiohttp.ClientError, ConnectionError) as error:
            await self.close(f"cannot send: {error}")

    def _is_dead(self, now_ns: int) -> bool:
        """Tell whether a ping is overdue, and nothing else came since it went out."""
        patience_ns = self._settings.pong_timeout_s * SECOND
        return bool(self._pinged_ns) and now_ns - max(self._pinged_ns, self._heard_ns) > patience_ns

    def _schedule_ping(self, now_ns: int) -> None:
        self._ping_due_ns = now_ns + round(self._rng.uniform(*self._settings.ping_s) * SECOND)

    async def _subscribe(self, names: Sequence[str]) -> None:
        requests = control.subscribe([self._channels[name] for name in names], self._next_id)
        self._take_ids(len(requests))
        for request in requests:
            self.table.requested(request.id, request.channels, self._clocks.now_ns())
            await self._send(request.text)

    async def _send(self, text: str) -> None:
        """Send one text, and keep the next one waiting so that there are never too many per second."""
        if self._ws is None:
            return
        async with self._sending:
            await self._ws.send_str(text)
            await asyncio.sleep(1.0 / self._settings.requests_per_s)

    def _take_ids(self, count: int) -> int:
        first = self._next_id
        self._next_id += count
        return first

    def acknowledged(self) -> tuple[str, ...]:
        """Return the channels that the venue has said yes to."""
        said_yes = (State.ACKNOWLEDGED, State.ACTIVE)
        return tuple(name for name, each in self.table.all.items() if each.state in said_yes)


def _ending(ws: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> str:
    """Say how a connection ended."""
    if message.type is aiohttp.WSMsgType.ERROR:
        return f"broken: {message.data}"
    code = ws.close_code
    return "closed without a close frame" if code in (None, 1005, 1006) else f"closed by the venue with code {code}"
