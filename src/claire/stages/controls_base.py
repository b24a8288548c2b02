"""What controls are made of: a trip, a rate, and a window that counts exactly how often something happened lately.

A window keeps the times themselves, as many as any rate can ask for. It is stricter than a token bucket of the same rate: no
span of the given length ever holds more than its count, wherever it starts.
"""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from msgspec import Struct, field

from claire.model.decisions import ControlEvent, TradingState
from claire.model.money import divide_half_even

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS


class Trip(Struct, frozen=True):
    """What a control asks for: a lock, until when, and why in numbers."""

    source: str
    reason: str
    until_ns: int = 0
    """0: until an operator takes it back."""
    symbol: str = ""
    strategy_id: str = ""
    state: TradingState = TradingState.REDUCE_ONLY

    def event(self, ts_event_ns: int) -> ControlEvent:
        """Return it as the event that sets the lock."""
        named = self.source
        if self.symbol or self.strategy_id:
            named = f"{named} ({' '.join(filter(None, (self.strategy_id, self.symbol)))})"
        return ControlEvent(self.state, self.reason, named, ts_event_ns, self.symbol, self.strategy_id, self.until_ns)


class Rate(Struct, frozen=True):
    """At most `count` within any `span_ns`."""

    count: int
    span_ns: int
    word: str
    """What the span is called: ``min``."""


class Window(Struct):
    """When something happened."""

    times: deque[int] = field(default_factory=deque)
    """Market times, oldest first."""

    def note(self, now_ns: int, keep: int) -> None:
        """It happened now; remember the last `keep` times."""
        self.times.append(now_ns)
        while len(self.times) > keep:
            self.times.popleft()

    def count(self, now_ns: int, span_ns: int) -> int:
        """How often it happened in the span that ends now."""
        since_ns, found = now_ns - span_ns, 0
        for at_ns in reversed(self.times):
            if at_ns <= since_ns:
                break
            found += 1
        return found

    def exhausted(self, now_ns: int, rates: Sequence[Rate]) -> Rate | None:
        """Return the first rate that allows no more now; None: every one does."""
        times = self.times
        have = len(times)
        for rate in rates:
            if rate.count <= 0 or (have >= rate.count and times[-rate.count] > now_ns - rate.span_ns):
                return rate
        return None


ratio: Final = lru_cache(maxsize=256)(Decimal.as_integer_ratio)
"""A setting as an exact ratio; there are few of them, and each is asked for at every decision."""


def percent(units: int, part: Decimal) -> int:
    """`part` percent of an amount, rounded half-even to a unit."""
    numerator, denominator = ratio(part)
    return divide_half_even(units * numerator, 100 * denominator)
