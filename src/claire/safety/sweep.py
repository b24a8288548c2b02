"""Cancels everything that an account has at the venue, and goes on until nothing is there and nothing can come any more.

Every request is asked for again on another connection while its answer is out, for a cancel that is asked for twice is
a cancel: so a slow venue, a lost answer or a network that was cut costs at most `HEDGE_S` once it is better. What the venue asks
for (Retry-After) is honoured to the second, for who ignores it is shut out for longer.

Empty is proven when, later than the last moment at which anything sent before could be accepted, the cancel of each symbol found
nothing, and two complete lists in a row were empty.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

import aiohttp
from msgspec import Struct

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.budget import LIMITS, Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.clock import NS_PER_MS, Sample, VenueClock
from claire.adapters.venues.mexc.errors import Fault, Kind, fault_of
from claire.adapters.venues.mexc.replies import OrderInfo, ReplyError, ServerTime, read
from claire.adapters.venues.mexc.requests import Request
from claire.gateway.answers import Answer, Exchange, exchange
from claire.gateway.hosts import Endpoint
from claire.gateway.signer import QuerySigner

HEDGE_S: Final = 0.7
"""After this long without an answer the same is asked once more, on another connection."""

AGAIN_S: Final = 0.15
"""After a request that failed."""

REFUSED_S: Final = 2.0
"""After one that the venue refuses for a reason that only a person can mend, such as a key that has no right to cancel."""

TIMEOUT_S: Final = 12.0
"""For one attempt: longer than a venue that is slow by 10 s."""

WARM_EVERY_S: Final = 4.0
"""How often connections are used so that they stay open, and the clock is set."""
WARM: Final = 3
"""Connections that are kept open."""

BETWEEN_LOOKS_S: Final = 0.1
FIRST_BLIND: Final = 4
"""Symbols whose orders are cancelled at once, before the venue has said where there are any."""
LIST_PATIENCE_S: Final = 0.3
"""How long the other symbols wait for that."""
POINTLESS: Final = ("10007", "-1121", "30014", "700004")
"""Codes of a symbol that the venue does not know, and of a symbol that it wants named."""
LONG_S: Final = 30 * 86_400.0

BUDGET: Final = {**LIMITS, Bucket.ORDERS: Limit(size=2, rate=10), Bucket.REQUESTS: Limit(size=6, rate=14)}
"""The sentinel's own: ten cancels a second; any second holds at most the 12 that the venue allows."""


class Swept(Struct, frozen=True):
    """How a sweep went. Times are milliseconds since `T0`, the moment that the caller gave."""

    first_cancel_ms: float | None
    """First byte of the first cancel; None: there was nothing to cancel, and no symbol to try."""
    all_sent_ms: float
    """A cancel had gone out for every symbol that had orders."""
    proven_empty_ms: float
    canceled: tuple[str, ...]
    """Orders that the venue said it had when it was asked to cancel them, symbol and id; lost answers are missing."""
    requests: int
    failures: int
    """Requests that were not answered, or with a fault."""
    fence_ms: int
    """Venue time after which it was proven."""


class Sweeper:
    """A connection of its own to the venue, kept warm, that can ask and cancel and nothing else."""

    def __init__(
        self,
        endpoint: Endpoint,
        signer: QuerySigner,
        *,
        recv_window_ms: int = 2000,
    ) -> None:
        """Prepare.

        Args:
            endpoint: The venue.
            signer: With the sentinel's own key.
            recv_window_ms: How long after its timestamp the venue may take a request.
        """
        self._endpoint = endpoint
        self._signer = signer
        self._tell: Callable[[str, dict[str, object]], None] = lambda _what, _numbers: None
        self._session: aiohttp.ClientSession | None = None
        self._gate = Gate(Budget(dict(BUDGET)), time.monotonic_ns)
        self._clock = VenueClock()
        self._sent: dict[str, int] = {}
        self._t0_ns = 0
        self._first_ns = 0
        self._all_ns = 0
        self._canceled: dict[str, None] = {}
        self._symbols: Callable[[], Sequence[str]] = tuple
        self._by_symbol = False
        self.recv_window_ms = recv_window_ms
        self.requests = 0
        self.failures = 0

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._session = self._endpoint.session()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    def listen(self, tell: Callable[[str, dict[str, object]], None]) -> None:
        """Say who is told what happens, with numbers."""
        self._tell = tell

    def venue_ms(self) -> int:
        """Venue time now; this machine's as long as the venue never told."""
        return self._clock.now_ms(time.monotonic_ns()) if self._clock.is_synced else time.time_ns() // NS_PER_MS

    async def keep_warm(self) -> None:
        """Keep connections open and the clock set, for ever; what fails is tried again."""
        while True:
            samples = await asyncio.gather(*(self._sample() for _ in range(WARM)))
            taken = [sample for sample in samples if sample is not None]
            if taken:
                self._clock.take(taken)
            await asyncio.sleep(WARM_EVERY_S)

    async def sweep(
        self, symbols: Callable[[], Sequence[str]], fence: "asyncio.Future[int]", *, t0_ns: int = 0
    ) -> Swept:
        """Cancel until it is proven that nothing is left.

        Args:
            symbols: What may be traded; asked for anew at each round.
            fence: Will be the venue time from which on nothing that was sent before can be accepted: known once the gate is
                closed.
            t0_ns: Monotonic time that the figures count from; 0: now.
        """
        self._symbols = symbols
        self._t0_ns = t0_ns or time.monotonic_ns()
        self._first_ns = self._all_ns = 0
        self._sent.clear()
        self._canceled.clear()
        before = (self.requests, self.failures)
        await self._first_round(symbols())
        self._tell("all_sent", {"ms": self._ms(self._all_ns), "symbols": len(self._sent)})
        while not fence.done():
            seen = await self._look()
            await self._cancel(sorted({order.symbol for order in seen}))
            await asyncio.wait((fence,), timeout=BETWEEN_LOOKS_S)
        fence_ms = fence.result()
        await asyncio.sleep(max(0, fence_ms - self.venue_ms() + 1) / 1000)
        await self._prove()
        return Swept(
            first_cancel_ms=self._ms(self._first_ns) if self._first_ns else None,
            all_sent_ms=self._ms(self._all_ns),
            proven_empty_ms=self._ms(time.monotonic_ns()),
            canceled=tuple(self._canceled),
            requests=self.requests - before[0],
            failures=self.failures - before[1],
            fence_ms=fence_ms,
        )

    # -- rounds --------------------------------------------------------------------------------------------------------

    async def _first_round(self, symbols: Sequence[str]) -> None:
        """Send a cancel for every symbol that has orders: blindly for the first few, then as the venue's list says."""
        listing = asyncio.create_task(self._look(), name="sentinel-list")
        try:
            blind = asyncio.create_task(self._cancel(symbols[:FIRST_BLIND]), name="sentinel-cancel")
            try:
                await asyncio.wait((listing,), timeout=LIST_PATIENCE_S)
                if listing.done():
                    found = {order.symbol for order in listing.result()}
                    rest = [symbol for symbol in found if symbol not in symbols[:FIRST_BLIND]]
                    await self._cancel(sorted(rest))
                else:
                    await self._cancel(symbols[FIRST_BLIND:])
                await blind
            finally:
                blind.cancel()
                await asyncio.wait((blind,))
            found = {order.symbol for order in await listing}
            await self._cancel(sorted(symbol for symbol in found if symbol not in self._sent))
            had = found | {order.partition(" ")[0] for order in self._canceled}
            sent = [at_ns for symbol, at_ns in self._sent.items() if symbol in had or not had]
            self._all_ns = max(sent, default=time.monotonic_ns())
        finally:
            listing.cancel()
            await asyncio.wait((listing,))

    async def _prove(self) -> None:
        """Cancel every symbol once more, then look until two complete looks in a row are empty."""
        await self._cancel(tuple(dict.fromkeys((*self._symbols(), *self._sent))))
        empty = 0
        while empty < 2:
            seen = await self._look()
            empty = 0 if seen else empty + 1
            if seen:
                await self._cancel(sorted({order.symbol for order in seen}))
            elif empty < 2:
                await asyncio.sleep(BETWEEN_LOOKS_S)

    async def _cancel(self, symbols: Sequence[str]) -> None:
        """Cancel all orders of some symbols, all at once; return when the venue has answered for each."""
        await asyncio.gather(*(self._cancel_symbol(symbol) for symbol in symbols))

    async def _cancel_symbol(self, symbol: str) -> None:
        rows = await self._ask(requests.cancel_symbol(symbol), symbol)
        for order in rows or ():
            self._canceled[f"{order.symbol} {order.id}"] = None

    async def _look(self) -> Sequence[OrderInfo]:
        """List the open orders of all symbols, at once, or one by one where the venue wants a symbol named."""
        if not self._by_symbol:
            rows = await self._ask(requests.open_orders())
            if rows is not None:
                return rows
            self._by_symbol = True
        names = tuple(dict.fromkeys((*self._symbols(), *self._sent)))
        lists = await asyncio.gather(*(self._ask(requests.open_orders(symbol)) for symbol in names))
        return [order for rows in lists for order in rows or ()]

    # -- one request -----------------------------------------------------------------------------------------------------

    async def _ask(self, request: Request, symbol: str = "") -> tuple[OrderInfo, ...] | None:
        """Ask until there is an answer.

        Args:
            request: The question.
            symbol: What it cancels, if it does.

        Returns:
            The orders in it; None: the venue does not know the symbol, or the question.
        """
        attempts: set[asyncio.Task[Exchange]] = set()
        started, gone = 0, [0]
        try:
            while True:
                if started == gone[0]:
                    started += 1
                    attempt = self._attempt(request, symbol, gone)
                    attempts.add(asyncio.create_task(attempt, name=f"sentinel {request.what}"))
                done, attempts = await asyncio.wait(attempts, timeout=HEDGE_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    answer = task.result()
                    fault = fault_of(answer, request.call)
                    if fault is None and isinstance(answer, Answer):
                        try:
                            return read(answer.body, tuple[OrderInfo, ...])
                        except ReplyError as error:
                            self._failed(request, str(error))
                    elif fault is not None and await self._is_pointless(request, fault):
                        return None
                if done:
                    await asyncio.sleep(AGAIN_S)
        finally:
            for task in attempts:
                task.cancel()
            if attempts:
                await asyncio.wait(attempts)

    async def _is_pointless(self, request: Request, fault: Fault) -> bool:
        """Take in a fault; tell whether asking again makes no sense."""
        self._failed(request, f"{fault.kind} {fault.code}: {fault.reason}")
        if fault.kind in (Kind.THROTTLED, Kind.BANNED):
            budget, now_ns = self._gate.budget, time.monotonic_ns()
            pause_s = budget.complained(fault.status, fault.retry_after_s, now_ns, is_json=fault.is_json)
            self._tell("blocked", {"because": fault.reason, "for_s": pause_s})
        elif fault.is_clock:
            sample = await self._sample()
            if sample is not None:
                self._clock.take([sample])
        elif fault.is_final:
            if fault.code in POINTLESS:
                return True
            self._tell("refused", {"what": request.what, "because": fault.reason, "remedy": fault.remedy})
            await asyncio.sleep(REFUSED_S)
        return False

    def _failed(self, request: Request, why: str) -> None:
        self.failures += 1
        if self.failures < 20 or self.failures % 100 == 0:
            self._tell("failed", {"what": request.what, "because": why})

    async def _attempt(self, request: Request, symbol: str, gone: list[int]) -> Exchange:
        """Wait for the budget, count up that it let this pass, and send once."""
        while await self._gate.enter(request.cost, LONG_S):
            continue
        gone[0] += 1
        if self._session is None:
            raise RuntimeError("the sweeper is not open; use it as `async with Sweeper(...) as sweeper`")
        query = self._signer.sign(
            request.method,
            request.path,
            request.params,
            timestamp_ms=self.venue_ms(),
            recv_window_ms=self.recv_window_ms,
        )
        self.requests += 1

        def written() -> None:
            if symbol:
                self._note(symbol)

        return await exchange(
            self._session,
            self._endpoint,
            request.method,
            f"{request.path}?{query}",
            headers=self._signer.headers,
            timeout_s=TIMEOUT_S,
            before_write=written,
        )

    def _note(self, symbol: str) -> None:
        """Note that a cancel is being written."""
        now_ns = time.monotonic_ns()
        if not self._first_ns:
            self._first_ns = now_ns
            self._tell("first_cancel", {"ms": self._ms(now_ns), "symbol": symbol})
        self._sent.setdefault(symbol, now_ns)

    async def _sample(self) -> Sample | None:
        """Ask the venue for its time; None: no answer. The budget belongs to the sweep; a pause holds for this too."""
        sent_ns = time.monotonic_ns()
        if self._session is None or sent_ns < self._gate.budget.paused_until_ns:
            return None
        result = await exchange(self._session, self._endpoint, "GET", requests.server_time().path, timeout_s=2.0)
        received_ns = time.monotonic_ns()
        fault = fault_of(result, requests.server_time().call)
        if fault is not None or not isinstance(result, Answer):
            return None
        try:
            told = read(result.body, ServerTime)
        except ReplyError:
            return None  # the venue's next answer will do
        return Sample(sent_ns, received_ns, told.server_time, time.time_ns())

    def _ms(self, at_ns: int) -> float:
        return round((at_ns - self._t0_ns) / NS_PER_MS, 1)
