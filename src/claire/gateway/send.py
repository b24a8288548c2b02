"""Sends what creates an order: once, to this machine only, with an answer that is never a guess."""

from collections.abc import Callable, Sequence
from typing import Final, Self

import aiohttp
from msgspec import Struct

from claire.gateway.answers import Exchange, exchange
from claire.gateway.hosts import Endpoint, refuse_foreign
from claire.gateway.signer import Keys, OrderSigner

MAX_BYTES: Final = 1024 * 1024
"""An answer to an order is some hundred bytes."""


class Sent(Struct, frozen=True):
    """What became of one request."""

    result: Exchange
    timestamp_ms: int
    """Venue time that was signed."""
    fence_ms: int
    """Venue time from which on the venue can no longer accept it: timestamp + recvWindow + 1 s (DESIGN 7)."""


class OrderSender:
    """The only sender of orders. It never sends anything twice; what to make of an answer is the adapter's to say.

    A task that is cancelled while it waits for an answer leaves an order behind that may exist: treat it as unknown.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        *,
        recv_window_ms: int = 2000,
        timeout_s: float = 5.0,
        make_session: Callable[[Endpoint], aiohttp.ClientSession] = Endpoint.session,
    ) -> None:
        """Refuse a foreign host at once; `make_session` opens the client for the endpoint.

        Raises:
            SafetyRefusal: the endpoint is not on this machine.
        """
        refuse_foreign(endpoint)
        self._endpoint = endpoint
        self._signer = OrderSigner(keys)
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._make_session = make_session
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"OrderSender({self._endpoint.host})"

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._session = self._make_session(self._endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, path: str, params: Sequence[tuple[str, str]], *, timestamp_ms: int) -> Sent:
        """Sign and send, once.

        Args:
            path: One of `signer.ORDER_PATHS`.
            params: In the order in which they are sent, without timestamp, recvWindow and signature.
            timestamp_ms: Venue time now.

        Raises:
            SafetyRefusal: the host is not this machine, or the path creates no order.
            RuntimeError: the sender is not open.
        """
        refuse_foreign(self._endpoint)
        if self._session is None:
            raise RuntimeError("the sender is not open; use it as `async with OrderSender(...) as sender`")
        window_ms = self._recv_window_ms
        query = self._signer.sign(path, params, timestamp_ms=timestamp_ms, recv_window_ms=window_ms)
        result = await exchange(
            self._session,
            self._endpoint,
            "POST",
            f"{path}?{query}",
            headers=self._signer.headers,
            timeout_s=self._timeout_s,
            max_bytes=MAX_BYTES,
        )
        return Sent(result, timestamp_ms, timestamp_ms + window_ms + 1000)
