"""One client's WebSocket: what it subscribed, what waits to be sent, when it was last heard."""

import asyncio
from collections import deque

from aiohttp import WSMsgType, web

from claire.mexcsim.accounts import Account


class Connection:
    """A socket and its outbox. Nothing here decides; the hub and the stream do."""

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        now_ms: int,
        account: Account | None,
    ) -> None:
        self.number = number
        self.socket = socket
        self.transport = transport
        self.account = account
        self.listen_key = ""
        self.topics: dict[str, None] = {}
        self.opened_ms = now_ms
        self.active_ms = now_ms
        """When data was last sent or a PING last came."""
        self.received: deque[int] = deque()
        self.half_open = False
        self.closed = False
        self.closing: asyncio.Task[None] | None = None
        """Says goodbye, while it does."""
        self._outbox: deque[str | bytes] = deque()
        self._ready = asyncio.Event()

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def waiting(self) -> int:
        """Frames that the client has not taken yet."""
        return len(self._outbox)

    def send(self, frame: str | bytes) -> None:
        """Queue a text (control) or binary (push) frame."""
        if not self.half_open and not self.closed:
            self._outbox.append(frame)
            self._ready.set()

    def cut(self) -> None:
        """End TCP without a close frame."""
        self.closed = True
        self._ready.set()
        self.transport.abort()

    async def close(self, code: int) -> None:
        """End with a close frame."""
        self.closed = True
        self._ready.set()
        await self.socket.close(code=code, drain=False)

    async def write(self) -> None:
        """Send what is queued, in order, until the socket ends."""
        outbox, socket = self._outbox, self.socket
        try:
            while not self.closed:
                await self._ready.wait()
                self._ready.clear()
                while outbox and not self.closed:
                    frame = outbox.popleft()
                    if isinstance(frame, bytes):
                        await socket.send_bytes(frame)
                    else:
                        await socket.send_str(frame)
        except ConnectionError:
            self.closed = True  # the client went away; the reader sees it too

    async def pong(self, payload: bytes) -> None:
        """Answer a protocol PING."""
        if not self.half_open:
            await self.socket.pong(payload)


ENDINGS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
