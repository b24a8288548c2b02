"""MEXC's REST, but for what creates an order: public and signed reads, cancels, listen keys.

Every call passes the shared budget, has a time limit and a bound on the size of its answer, and comes back as a typed body or
as a `MexcError`. Reads, cancels and listen keys are asked for again a few times where that can help; this client cannot sign
what creates an order.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Self, TypeVar

import aiohttp

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.budget import Cost, Gate, Urgency
from claire.adapters.venues.mexc.clock import SYNC_EVERY_S, VenueClock, sync
from claire.adapters.venues.mexc.errors import Call, Fault, Kind, MexcError, fault_of, unreadable
from claire.adapters.venues.mexc.replies import ReplyError, ServerTime, read
from claire.adapters.venues.mexc.requests import Request
from claire.gateway.answers import Answer, Exchange, exchange
from claire.gateway.hosts import Endpoint
from claire.gateway.signer import QuerySigner
from claire.model.errors import ConfigError

T = TypeVar("T")

ATTEMPTS: Final = 3
"""How often a request that may be repeated is sent at most."""
BACK_OFF_S: Final = (0.25, 1.0)
"""Before the second and the third attempt."""
TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = {Urgency.URGENT: 5.0, Urgency.ORDINARY: 10.0, Urgency.IDLE: 180.0}
"""How long a call waits for the budget before it gives up."""

Observer = Callable[[Request, Exchange], None]
"""Is told of every answer (of listen keys none: they open the private stream)."""


class MexcRest:
    """A client for one address; share one per process, for the budget is the venue's view of the process."""

    def __init__(
        self,
        endpoint: Endpoint,
        gate: Gate,
        clock: VenueClock | None = None,
        signer: QuerySigner | None = None,
        *,
        recv_window_ms: int = 2000,
        timeout_s: float = TIMEOUT_S,
        observe: Observer | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        make_session: Callable[[Endpoint], aiohttp.ClientSession] = Endpoint.session,
    ) -> None:
        """Prepare; nothing is sent before `async with`.

        Args:
            endpoint: Where the venue is.
            gate: The shared budget, with the monotonic clock.
            clock: Venue time; set by this client.
            signer: For signed calls; without one they are refused.
            recv_window_ms: How long after its timestamp the venue may still take a signed request.
            timeout_s: For one attempt.
            observe: Is told of every answer.
            wall_ns: This machine's clock, compared with the venue's.
            sleep: How to wait.
            make_session: Opens the client for the endpoint.
        """
        self.endpoint = endpoint
        self.gate = gate
        self.clock = VenueClock() if clock is None else clock
        self.counters: Counter[str] = Counter()
        self.recv_window_ms = recv_window_ms
        self._signer = signer
        self._timeout_s = timeout_s
        self._observe = observe
        self._wall_ns = wall_ns
        self._sleep = sleep
        self._make_session = make_session
        self._session: aiohttp.ClientSession | None = None
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"MexcRest({self.endpoint.host})"

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._session = self._make_session(self.endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def is_signed(self) -> bool:
        """Whether signed calls are possible."""
        return self._signer is not None

    def venue_ms(self) -> int:
        """Venue time now.

        Raises:
            RuntimeError: it was never read.
        """
        return self.clock.now_ms(self.gate.monotonic_ns())

    async def get(self, request: Request, kind: type[T]) -> T:
        """Send a request that creates no order and return its body.

        Raises:
            MexcError: it failed, also after the attempts that make sense.
            ConfigError: it has to be signed, and there are no keys.
        """
        for wait_s in (*BACK_OFF_S, None):
            result, fault = await self._once(request)
            if fault is None and isinstance(result, Answer):
                try:
                    return read(result.body, kind)
                except ReplyError as e:
                    self.counters["unreadable"] += 1
                    raise MexcError(request.what, unreadable(str(e), request.call, result.status)) from e
            if fault is None:
                raise AssertionError("no answer without a fault")
            if wait_s is None or not (_helps(fault) and fault.may_ask_again):
                raise MexcError(request.what, fault)
            self.counters["retries"] += 1
            if fault.is_clock:
                await self.sync_clock()
            else:
                await self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def sync_clock(self) -> None:
        """Read venue time, some times, and take the quickest answer.

        Raises:
            MexcError: the venue does not tell.
        """
        await sync(self.clock, self._ask_time, self.gate.monotonic_ns, self._wall_ns)

    async def know_time(self) -> None:
        """Read venue time if it was never read; callers that come together share one reading.

        Raises:
            MexcError: the venue does not tell.
        """
        async with self._reading:
            if not self.clock.is_synced:
                await self.sync_clock()

    async def keep_clock(self) -> None:
        """Read venue time every minute, for ever; a failure is counted, and the clock's own age tells of it."""
        while True:
            await self._sleep(SYNC_EVERY_S)
            try:
                await self.sync_clock()
            except MexcError:
                self.counters["clock_syncs_failed"] += 1

    async def enter(self, cost: Cost, patience_s: float) -> float:
        """Pass the budget, as `Gate.enter`; for what is sent elsewhere."""
        return await self.gate.enter(cost, patience_s)

    def complained(self, fault: Fault) -> None:
        """Pause all calls where the venue asked for it."""
        if fault.kind in (Kind.THROTTLED, Kind.BANNED):
            now_ns = self.gate.monotonic_ns()
            self.gate.budget.complained(fault.status, fault.retry_after_s, now_ns, is_json=fault.is_json)

    async def _ask_time(self) -> int:
        return (await self.get(requests.server_time(), ServerTime)).server_time

    async def _once(self, request: Request) -> tuple[Exchange | None, Fault | None]:
        """Send a request once; return what came back and what is wrong with it."""
        if self._session is None:
            raise RuntimeError("the client is not open; use it as `async with MexcRest(...) as rest`")
        if request.signed:
            await self.know_time()
        patience_s = PATIENCE_S[request.cost.urgency]
        missing_s = await self.gate.enter(request.cost, patience_s)
        if missing_s:
            return None, self._no_budget(missing_s)
        target, headers = self._written(request)
        self.counters["requests"] += 1
        result = await exchange(
            self._session,
            self.endpoint,
            request.method,
            target,
            headers=headers,
            timeout_s=self._timeout_s,
        )
        if self._observe is not None and request.call is not Call.STREAM:
            self._observe(request, result)
        fault = fault_of(result, request.call)
        if fault is not None:
            self.counters[f"faults.{fault.kind}"] += 1
            self.complained(fault)
        return result, fault

    def _written(self, request: Request) -> tuple[str, dict[str, str] | None]:
        """Path and query as they go out, and the headers."""
        if not request.signed:
            return f"{request.path}?{request.query}" if request.params else request.path, None
        if self._signer is None:
            raise ConfigError(f"{request.what} needs keys, and none were given: set SECRETS_PATH or secrets.path")
        query = self._signer.sign(
            request.method,
            request.path,
            request.params,
            timestamp_ms=self.venue_ms(),
            recv_window_ms=self.recv_window_ms,
        )
        return f"{request.path}?{query}", self._signer.headers

    def _no_budget(self, missing_s: float) -> Fault:
        because = self.gate.budget.paused_because or "the request budget is used up"
        self.counters["refused_by_budget"] += 1
        return Fault(
            Kind.NOT_SENT,
            "",
            f"{because}; {missing_s:,.1f} s until the next request may go out",
            "wait, or ask for less at once; other programs at this address count too",
        )


def _helps(fault: Fault) -> bool:
    """Whether sending the same request again can help; a code of the table but for the clock's is an answer."""
    return fault.is_clock or not fault.is_final
