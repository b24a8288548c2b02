"""Request budgets (sheet 3.8): weights per address and per account, orders a second, the firewall in front, and bans.

Where sources disagree the lower number is the default. `Limits(enabled=False)` is for load tests.
"""

from collections import deque

from msgspec import Struct

from claire.mexcsim.rules import Rejection

WEEK_OF_BAN_S = 259_200
"""The longest ban: three days."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much is allowed."""

    enabled: bool = True
    ip_weight_10s: int = 300
    """Weight of unsigned calls per address in 10 s."""
    uid_weight_10s: int = 500
    """Weight of signed calls per account in 10 s."""
    orders_1s: int = 12
    """New orders, batches, cancels and cancel-alls per account in one second, together."""
    batches_1s: int = 2
    accounts_1s: int = 2
    firewall_burst: int = 120
    """Calls per address within 5 s that bring the firewall's page; 0: no firewall."""
    firewall_s: int = 90
    ignored_before_ban: int = 10
    """Calls during a Retry-After after which the address is banned (HTTP 418)."""
    ban_s: int = 120
    """The first ban; each further one is twice as long, up to three days."""


class Limited(Rejection):
    """A call that was not looked at because there were too many."""

    def __init__(self, status: int, retry_after_s: int | None) -> None:
        text = "Too many requests" if status == 429 else "IP banned: too many requests"
        super().__init__(status, text, status)
        self.retry_after_s = retry_after_s


class FirewallPage(Exception):
    """The CDN's answer: HTTP 403 with HTML."""


class _Window:
    """Weights within a sliding time."""

    __slots__ = ("_entries", "_length_ms", "_limit", "_sum")

    def __init__(self, limit: int, length_ms: int) -> None:
        self._limit = limit
        self._length_ms = length_ms
        self._entries: deque[tuple[int, int]] = deque()
        self._sum = 0

    def wait_ms(self, weight: int, now_ms: int) -> int:
        """Add a weight; 0 if it fits, else how long until it would (then it is not added)."""
        entries = self._entries
        while entries and entries[0][0] <= now_ms - self._length_ms:
            self._sum -= entries.popleft()[1]
        if self._sum + weight > self._limit:
            return entries[0][0] + self._length_ms - now_ms if entries else self._length_ms
        entries.append((now_ms, weight))
        self._sum += weight
        return 0


class _Address:
    """What is held against one address."""

    __slots__ = ("banned_until_ms", "bans", "blocked_until_ms", "calls", "ignored", "retry_at_ms")

    def __init__(self, limits: Limits) -> None:
        self.calls = _Window(limits.firewall_burst, 5_000)
        self.blocked_until_ms = 0
        self.retry_at_ms = 0
        self.ignored = 0
        self.banned_until_ms = 0
        self.bans = 0


class Budget:
    """Counts calls and refuses those that are too many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._windows: dict[tuple[str, str], _Window] = {}
        self._addresses: dict[str, _Address] = {}

    def enter(self, address: str, now_ms: int) -> None:
        """A call arrives.

        Raises:
            FirewallPage: too many in a short time, or not cooled down yet.
            Limited: the address is banned, or did not wait as it was told.
        """
        if not self.limits.enabled:
            return
        record = self._addresses.setdefault(address, _Address(self.limits))
        if now_ms < record.blocked_until_ms:
            raise FirewallPage
        if self.limits.firewall_burst and record.calls.wait_ms(1, now_ms):
            record.blocked_until_ms = now_ms + self.limits.firewall_s * 1000
            raise FirewallPage
        if now_ms < record.banned_until_ms:
            raise Limited(418, -(-(record.banned_until_ms - now_ms) // 1000))
        if now_ms < record.retry_at_ms:
            record.ignored += 1
            if record.ignored >= self.limits.ignored_before_ban:
                length_s = min(self.limits.ban_s * 2**record.bans, WEEK_OF_BAN_S)
                record.bans += 1
                record.ignored = 0
                record.banned_until_ms = now_ms + length_s * 1000
                raise Limited(418, length_s)

    def spend(self, address: str, uid: str | None, path: str, weight: int, counted_as: str, now_ms: int) -> None:
        """A call of known weight; signed calls count for their account, others for their address.

        Raises:
            Limited: over budget (429 with the seconds to wait).
        """
        limits = self.limits
        if not limits.enabled:
            return
        checks = [(uid or address, "weight", limits.uid_weight_10s if uid else limits.ip_weight_10s, 10_000, weight)]
        who = uid or address
        if counted_as in ("order", "batch"):
            checks.append((who, "order", limits.orders_1s, 1_000, 1))
        if counted_as == "batch":
            checks.append((who, "batch", limits.batches_1s, 1_000, 1))
        if counted_as == "account":
            checks.append((who, "account", limits.accounts_1s, 1_000, 1))
        for owner, name, limit, length_ms, amount in checks:
            window = self._windows.setdefault((owner, name), _Window(limit, length_ms))
            wait_ms = window.wait_ms(amount, now_ms)
            if wait_ms:
                retry_s = max(1, -(-wait_ms // 1000))
                record = self._addresses.setdefault(address, _Address(limits))
                record.retry_at_ms = max(record.retry_at_ms, now_ms + wait_ms)
                raise Limited(429, retry_s)
