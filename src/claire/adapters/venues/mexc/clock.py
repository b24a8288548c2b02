"""Venue time: how far the venue's clock is from this machine's, and whether that is near enough to send orders.

Requests are stamped with venue time, so a wrong clock here does not make them late. It still shows in every age and expiry
that is measured, so beyond a limit no new order goes out (reliability F17). Time runs on the monotonic clock: setting the
machine's clock while Claire runs changes nothing until the next sync.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

NS_PER_MS: Final = 1_000_000
SYNC_EVERY_S: Final = 60.0
SAMPLES: Final = 3
"""How often the venue is asked per sync; the quickest answer counts."""


class ClockLimits(Struct, frozen=True):
    """How far off is too far."""

    warn_ms: float = 100.0
    block_ms: float | None = 500.0
    """No new order beyond this; None: the venue keeps a time of its own (a simulator playing another day)."""
    stale_s: float = 300.0
    """Age of the last sync from which on no new order goes out."""


class ClockState(StrEnum):
    """What the offset allows."""

    OK = "ok"
    WARN = "warn"
    BLOCK = "block"


class Sample(Struct, frozen=True):
    """One question for the time and its answer."""

    sent_ns: int
    """Monotonic."""
    received_ns: int
    """Monotonic."""
    server_ms: int
    """What the venue said."""
    wall_ns: int
    """This machine's clock when the answer came."""

    @property
    def round_trip_ns(self) -> int:
        """How long the answer took."""
        return self.received_ns - self.sent_ns


class Reading(Struct, frozen=True):
    """How the clock stands."""

    state: ClockState
    offset_ms: float
    """Venue minus this machine; positive: this machine is behind."""
    uncertainty_ms: float
    """Half the round trip: the venue may have answered at any moment of it."""
    because: str


class VenueClock:
    """Venue time, from samples. Holds no clock of its own: every question brings the monotonic time."""

    def __init__(self, limits: ClockLimits | None = None) -> None:
        self.limits = limits or ClockLimits()
        self.best: Sample | None = None
        self.syncs = 0
        self._venue_minus_monotonic_ns = 0
        self._offset_ns = 0

    @property
    def is_synced(self) -> bool:
        """Whether the venue was ever asked."""
        return self.best is not None

    def take(self, samples: Sequence[Sample]) -> None:
        """Set the clock by the sample with the shortest round trip: the venue spoke half of it ago.

        Raises:
            ValueError: there is no sample, or one ends before it begins.
        """
        best = min(samples, key=lambda sample: sample.round_trip_ns)
        if best.round_trip_ns < 0:
            raise ValueError("an answer cannot come before its question")
        middle_ns = best.sent_ns + best.round_trip_ns // 2
        # The venue tells whole milliseconds, cut off: half a millisecond more is the best guess.
        server_ns = best.server_ms * NS_PER_MS + NS_PER_MS // 2
        self._venue_minus_monotonic_ns = server_ns - middle_ns
        self._offset_ns = server_ns + best.round_trip_ns - best.round_trip_ns // 2 - best.wall_ns
        self.best = best
        self.syncs += 1

    def now_ms(self, monotonic_ns: int) -> int:
        """Return venue time in whole milliseconds.

        Raises:
            RuntimeError: the venue was never asked.
        """
        if self.best is None:
            raise RuntimeError("venue time is not known yet; sync first")
        return (monotonic_ns + self._venue_minus_monotonic_ns) // NS_PER_MS

    def reading(self, monotonic_ns: int) -> Reading:
        """Say how the clock stands and what that allows."""
        if self.best is None:
            return Reading(ClockState.BLOCK, 0.0, 0.0, "venue time was never read")
        offset_ms = self._offset_ns / NS_PER_MS
        uncertainty_ms = self.best.round_trip_ns / 2 / NS_PER_MS
        age_s = (monotonic_ns - self.best.received_ns) / 1e9
        where = "behind" if offset_ms > 0 else "ahead of"
        words = f"this machine's clock is {abs(offset_ms):,.0f} ms {where} the venue's (± {uncertainty_ms:,.0f} ms)"
        state = ClockState.OK
        off = max(0.0, abs(offset_ms) - uncertainty_ms)
        if age_s > self.limits.stale_s:
            state, words = ClockState.BLOCK, f"venue time was last read {age_s:,.0f} s ago; {words}"
        elif self.limits.block_ms is not None and off > self.limits.block_ms:
            state = ClockState.BLOCK
            words += f", limit {self.limits.block_ms:,.0f} ms; set it: timedatectl set-ntp true"
        elif self.limits.block_ms is not None and off > self.limits.warn_ms:
            state = ClockState.WARN
        return Reading(state, offset_ms, uncertainty_ms, words)


async def sync(
    clock: VenueClock,
    ask: Callable[[], Awaitable[int]],
    monotonic_ns: Callable[[], int],
    wall_ns: Callable[[], int],
    samples: int = SAMPLES,
) -> None:
    """Ask for the time some times and set the clock by the quickest answer.

    Args:
        clock: What to set.
        ask: Gives the venue's time in milliseconds (GET time).
        monotonic_ns: Now, by a clock that nobody sets.
        wall_ns: Now, by this machine's clock.
        samples: How often to ask.
    """
    taken = []
    for _ in range(samples):
        sent_ns = monotonic_ns()
        server_ms = await ask()
        taken.append(Sample(sent_ns, monotonic_ns(), server_ms, wall_ns()))
    clock.take(taken)
