"""A small client of the simulator for tests: signs as the sheet says, and waits for frames with a deadline."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from claire.mexcsim import Simulator
from claire.wire import PushDataV3ApiWrapper

KEY, SECRET = "test-key", "test-secret"  # pragma: allowlist secret
DEADLINE_S = 5.0
DEALS = "spot@public.aggre.deals.v3.api.pb@10ms@BTCUSDT"
DEPTH = "spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"
TICKER = "spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT"
PRIVATE = tuple(f"spot@private.{name}.v3.api.pb" for name in ("account", "deals", "orders"))


class ManualClock:
    """A clock that moves when it is told."""

    def __init__(self, now_ms: int = 1_795_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, ms: int) -> None:
        self.now_ms += ms


class Answer:
    """An HTTP answer, read."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Socket:
    """A WebSocket; texts and pushes are kept apart."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.texts: list[str] = []
        self.pushes: list[PushDataV3ApiWrapper] = []
        self.frames: list[bytes] = []

    async def subscribe(self, *names: str, **extra: Any) -> str:
        """Subscribe, and return what the venue says."""
        await self.send({"method": "SUBSCRIPTION", "params": list(names), **extra})
        return str(msgspec.json.decode(await self.text())["msg"])

    async def send(self, message: Any) -> None:
        await self.socket.send_str(msgspec.json.encode(message).decode())

    async def text(self) -> str:
        """The next text frame; pushes in between are kept."""
        had = len(self.texts)
        await self.until(lambda: len(self.texts) > had)
        return self.texts[had]

    async def push(self, count: int = 1) -> list[PushDataV3ApiWrapper]:
        """The next pushes."""
        had = len(self.pushes)
        await self.until(lambda: len(self.pushes) >= had + count)
        return self.pushes[had : had + count]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until a condition holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.read()

    async def read(self) -> None:
        """One frame."""
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            self.texts.append(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            self.frames.append(message.data)
            self.pushes.append(PushDataV3ApiWrapper.FromString(message.data))
        else:
            raise ConnectionError(f"socket ended: {message.type.name}, code {self.socket.close_code}")

    async def ended(self) -> int | None:
        """Read until the venue ends the socket; return the close code."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while True:
                    await self.read()
            except ConnectionError:
                return self.socket.close_code

    async def silent_for(self, seconds: float) -> bool:
        """Whether nothing but text comes for a while."""
        had = len(self.pushes)
        try:
            async with asyncio.timeout(seconds):
                while len(self.pushes) == had:
                    await self.read()
        except TimeoutError:
            return True
        return False


class SimClient:
    """Signed and unsigned calls to one simulator, and its sockets."""

    def __init__(self, sim: Simulator, key: str = KEY, secret: str = SECRET) -> None:
        self.sim = sim
        self.key = key
        self.secret = secret
        self._http = aiohttp.ClientSession()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def public(self, path: str, **params: object) -> Answer:
        return await self.raw("GET", path, query="&".join(f"{name}={value}" for name, value in params.items()))

    async def signed(self, method: str, path: str, **params: object) -> Answer:
        now = self.sim.venue.server_ms()
        query = "&".join(f"{n}={v}" for n, v in ({**params, "timestamp": now, "recvWindow": 5000}).items())
        return await self.raw(method, path, query=f"{query}&signature={self.signature(query)}")

    async def raw(
        self, method: str, path: str, *, query: str = "", body: str = "", headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"X-MEXC-APIKEY": self.key, "Content-Type": "application/json"} if headers is None else headers
        url = f"{self.sim.rest_url}{path if path.startswith('/') else f'/api/v3/{path}'}{'?' if query else ''}{query}"
        async with self._http.request(
            method,
            URL(url, encoded=True),
            data=body or None,
            headers=sent,
            timeout=aiohttp.ClientTimeout(DEADLINE_S),
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def signature(self, message: str) -> str:
        return hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()

    async def order(self, side: str, kind: str, **params: object) -> Answer:
        return await self.signed("POST", "order", **{"symbol": "BTCUSDT", "side": side, "type": kind, **params})

    async def socket(self, *names: str, listen_key: str = "") -> Socket:
        """Open a socket and subscribe."""
        url = self.sim.ws_url + (f"?listenKey={listen_key}" if listen_key else "")
        socket = Socket(await self._http.ws_connect(url, autoping=False, max_msg_size=0))
        if names:
            assert await socket.subscribe(*names) == ",".join(names)
        return socket

    async def private(self) -> Socket:
        """A private socket with all three channels."""
        created = await self.signed("POST", "userDataStream")
        return await self.socket(*PRIVATE, listen_key=created.json["listenKey"])


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    ends = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends, "it did not become true in time"
        await asyncio.sleep(0.002)


async def within_deadline(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        return await work
