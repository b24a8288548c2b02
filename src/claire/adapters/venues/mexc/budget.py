"""The request budget: how much may be asked of the venue now. One for the whole process, shared by every call.

Several token buckets at once, each so small that no window of time can hold more than the venue allows: what a bucket lets
through in t seconds is at most `size + rate · t`. The limits are the lowest of those found (sheet 3.8): 300 per 10 s per
address, 500 per 10 s per user, 12 orders a second, 2 account calls a second, 20 requests a second in all.

A share of every bucket is kept back: reads for comfort may not use the last half, ordinary orders not the last quarter.
Cancels, queries of orders and orders that reduce a position may use all of it, so a position is never trapped by a download.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

NS_PER_S: Final = 1_000_000_000


class Urgency(StrEnum):
    """What a request may use of the budget."""

    URGENT = "urgent"
    """Cancels, queries of orders, listen keys, orders that reduce: everything."""
    ORDINARY = "ordinary"
    """Orders, balances, snapshots: all but the last quarter."""
    IDLE = "idle"
    """Downloads, listings: all but the last half."""


KEPT_BACK: Final = {Urgency.URGENT: 0.0, Urgency.ORDINARY: 0.25, Urgency.IDLE: 0.5}
"""Share of a bucket's size that a request must leave in it."""


class Bucket(StrEnum):
    """What the venue counts."""

    REQUESTS = "requests"
    """Every request, whatever it costs."""
    IP = "ip"
    """Weight of unsigned requests."""
    UID = "uid"
    """Weight of signed requests."""
    ORDERS = "orders"
    """New orders, batches and cancels together."""
    BATCH = "batch"
    ACCOUNT = "account"


class Limit(Struct, frozen=True):
    """Size and refill of one bucket."""

    size: float
    rate: float
    """Per second."""

    def most_in(self, seconds: float) -> float:
        """How much it can let through in any window of that length."""
        return self.size + self.rate * seconds


LIMITS: Final[dict[Bucket, Limit]] = {
    Bucket.REQUESTS: Limit(size=8, rate=12),  # any second holds at most 20; support's word: 20 (JKorf/Mexc.Net #42)
    Bucket.IP: Limit(size=100, rate=20),  # any 10 s hold at most 300
    Bucket.UID: Limit(size=150, rate=35),  # any 10 s hold at most 500
    Bucket.ORDERS: Limit(size=4, rate=8),  # any second holds at most 12
    Bucket.BATCH: Limit(size=1, rate=1),  # any second holds at most 2
    Bucket.ACCOUNT: Limit(size=1, rate=1),  # any second holds at most 2
}

WAF_PAUSE_S: Final = 90.0
"""After a 403 that is not JSON nothing is asked of the host for so long."""
THROTTLED_PAUSE_S: Final = 10.0
"""After a 429 without Retry-After."""
BAN_PAUSE_S: Final = 120.0
"""After a 418 without Retry-After; doubled at every further one. The venue's own go from 2 minutes to 3 days."""
LONGEST_PAUSE_S: Final = 3 * 86_400.0


class Cost(Struct, frozen=True):
    """What one request takes from each bucket."""

    takes: tuple[tuple[Bucket, float], ...]
    urgency: Urgency = Urgency.ORDINARY


def cost(weight: float, *, signed: bool, urgency: Urgency, also: tuple[Bucket, ...] = ()) -> Cost:
    """Return the cost of a request of some weight; `also` names buckets of which it takes one each."""
    main = Bucket.UID if signed else Bucket.IP
    return Cost(((Bucket.REQUESTS, 1.0), (main, weight), *((bucket, 1.0) for bucket in also)), urgency)


class Budget:
    """The buckets and the pause after a complaint. Pure: every question brings the monotonic time."""

    def __init__(self, limits: dict[Bucket, Limit] | None = None) -> None:
        self._limits = dict(LIMITS if limits is None else limits)
        self._tokens = {bucket: limit.size for bucket, limit in self._limits.items()}
        self._at_ns: int | None = None
        self.paused_until_ns = 0
        self.paused_because = ""
        self.complaints = 0
        self._bans = 0

    def wait_ns(self, cost: Cost, now_ns: int) -> int:
        """How long until a request may go out (0: now)."""
        self._refill(now_ns)
        wait_ns = max(0, self.paused_until_ns - now_ns)
        for bucket, amount in cost.takes:
            limit = self._limits[bucket]
            needed = min(amount + KEPT_BACK[cost.urgency] * limit.size, limit.size)
            missing = needed - self._tokens[bucket]
            if missing > 1e-9:
                wait_ns = max(wait_ns, round(missing / limit.rate * NS_PER_S) + 1)
        return wait_ns

    def take(self, cost: Cost, now_ns: int) -> bool:
        """Take what a request costs, if it may go out now."""
        if self.wait_ns(cost, now_ns) > 0:
            return False
        for bucket, amount in cost.takes:
            self._tokens[bucket] -= amount
        return True

    def left(self, now_ns: int) -> dict[Bucket, float]:
        """How full each bucket is, from 0 to 1 (below 0: a request that costs more than a bucket holds was let through)."""
        self._refill(now_ns)
        return {bucket: self._tokens[bucket] / limit.size for bucket, limit in self._limits.items()}

    def complained(self, status: int, retry_after_s: float | None, now_ns: int, *, is_json: bool = True) -> float:
        """Take in that the venue asked for less; return for how many seconds nothing goes out.

        Args:
            status: 429, 418, 403 or 510.
            retry_after_s: What the venue asked for.
            now_ns: Monotonic time.
            is_json: False: the answer came from the firewall before the venue.
        """
        self.complaints += 1
        if status == 418:
            pause_s = BAN_PAUSE_S * 2**self._bans
            self._bans = min(self._bans + 1, 20)
            because = "MEXC has banned this address for a while (HTTP 418)"
        elif status == 403 or not is_json:
            pause_s = WAF_PAUSE_S
            because = f"the firewall before MEXC turns this address away (HTTP {status})"
        else:
            pause_s = THROTTLED_PAUSE_S
            because = f"MEXC asks for fewer requests (HTTP {status})"
        pause_s = min(max(pause_s if retry_after_s is None else retry_after_s, 1.0), LONGEST_PAUSE_S)
        if status == 403 or not is_json:
            pause_s = max(pause_s, WAF_PAUSE_S)
        until_ns = now_ns + round(pause_s * NS_PER_S)
        if until_ns > self.paused_until_ns:
            self.paused_until_ns, self.paused_because = until_ns, because
        return pause_s

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None and now_ns > self._at_ns:
            seconds = (now_ns - self._at_ns) / NS_PER_S
            for bucket, limit in self._limits.items():
                self._tokens[bucket] = min(limit.size, self._tokens[bucket] + limit.rate * seconds)
        self._at_ns = now_ns if self._at_ns is None else max(self._at_ns, now_ns)


class Gate:
    """Lets coroutines through as the budget allows."""

    def __init__(
        self,
        budget: Budget,
        monotonic_ns: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.budget = budget
        self.monotonic_ns = monotonic_ns
        self._sleep = sleep

    async def enter(self, cost: Cost, patience_s: float) -> float:
        """Wait until a request may go out, and take what it costs.

        Returns:
            0 when it may go; else the seconds that were still missing when patience would have ended (nothing was taken).
        """
        deadline_ns = self.monotonic_ns() + round(patience_s * NS_PER_S)
        while not self.budget.take(cost, self.monotonic_ns()):
            now_ns = self.monotonic_ns()
            wait_ns = self.budget.wait_ns(cost, now_ns)
            if now_ns + wait_ns > deadline_ns:
                return wait_ns / NS_PER_S
            await self._sleep(wait_ns / NS_PER_S)
        return 0.0
