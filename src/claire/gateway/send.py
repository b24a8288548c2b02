"""Sends what creates an order: once, to this machine only, past the gate, with an answer that is never a guess."""

from collections.abc import Callable, Sequence
from typing import Final, Self

import aiohttp
from msgspec import Struct

from claire.gateway.answers import Answer, Exchange, NeverSent, exchange
from claire.gateway.checked import Stopped
from claire.gateway.gate import Approval, Dispatch, Gate
from claire.gateway.hosts import Endpoint, refuse_foreign
from claire.gateway.signer import Keys, OrderSigner
from claire.latch.steps import Step, no_step

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

    The gate is asked when there is a connection, and between its word and the write to the transport nothing waits
    (`claire.gateway.checked`). A task that is cancelled while it waits for an answer leaves an order behind that may exist:
    treat it as unknown.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        *,
        recv_window_ms: int = 2000,
        timeout_s: float = 5.0,
        make_session: Callable[[Endpoint], aiohttp.ClientSession] = Endpoint.session,
        gate: Gate | None = None,
        step: Step = no_step,
    ) -> None:
        """Refuse a foreign host at once.

        Args:
            endpoint: Where orders go.
            keys: Of the account.
            recv_window_ms: How long after its timestamp the venue may still take an order.
            timeout_s: For one request.
            make_session: Opens the client for the endpoint; its request class has to be `CheckedRequest`.
            gate: The last check; None: one of its own, without a latch and an account lock.
            step: Called at the boundaries ``gate.before``, ``send.before``, ``send.after``.

        Raises:
            SafetyRefusal: the endpoint is not on this machine.
        """
        refuse_foreign(endpoint)
        self._endpoint = endpoint
        self._signer = OrderSigner(keys)
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._make_session = make_session
        self.gate = Gate() if gate is None else gate
        self._step = step
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

    async def send(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        *,
        timestamp_ms: int,
        approvals: Sequence[Approval] = (),
    ) -> Sent:
        """Sign and send, once; what the gate refuses is `NeverSent` with its code.

        Args:
            path: One of `signer.ORDER_PATHS`.
            params: In the order in which they are sent, without timestamp, recvWindow and signature.
            timestamp_ms: Venue time now.
            approvals: For exactly the orders in the request; a test order needs none.

        Raises:
            SafetyRefusal: the host is not this machine, or the path creates no order.
            RuntimeError: the sender is not open.
        """
        refuse_foreign(self._endpoint)
        if self._session is None:
            raise RuntimeError("the sender is not open; use it as `async with OrderSender(...) as sender`")
        window_ms = self._recv_window_ms
        fence_ms = timestamp_ms + window_ms + 1000
        query = self._signer.sign(path, params, timestamp_ms=timestamp_ms, recv_window_ms=window_ms)

        def last_check() -> None:
            self._step("gate.before")
            code, reason = self.gate.check(path, params, approvals, ts_ms=timestamp_ms, fence_ms=fence_ms)
            if code:
                raise Stopped(code, reason)
            self._step("send.before")

        result = await exchange(
            self._session,
            self._endpoint,
            "POST",
            f"{path}?{query}",
            headers=self._signer.headers,
            timeout_s=self._timeout_s,
            max_bytes=MAX_BYTES,
            before_write=last_check,
        )
        self._step("send.after")
        if approvals and self.gate.on_dispatch is not None:
            self.gate.on_dispatch(_dispatch(approvals, result, timestamp_ms, fence_ms))
        return Sent(result, timestamp_ms, fence_ms)


def _dispatch(approvals: Sequence[Approval], result: Exchange, ts_ms: int, fence_ms: int) -> Dispatch:
    order_nos = tuple(approval.order_no for approval in approvals)
    match result:
        case Answer(status):
            return Dispatch(order_nos, "answered", status, "", ts_ms, fence_ms)
        case NeverSent(reason):
            return Dispatch(order_nos, "never_sent", 0, reason, ts_ms, fence_ms)
        case _:
            return Dispatch(order_nos, "no_answer", 0, result.reason, ts_ms, fence_ms)
