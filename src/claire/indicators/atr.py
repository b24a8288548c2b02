"""Average true range.

Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
"""

from math import isfinite

from msgspec import Struct


def true_range(high: float, low: float, close_before: float) -> float:
    """Return how far the price went since the close before: the longest of the bar and the two ways from that close."""
    return max(high - low, abs(high - close_before), abs(low - close_before))


def check_bar(high: float, low: float, close: float) -> None:
    """Refuse a bar with a number that is not finite.

    Raises:
        ValueError: one of the three is NaN or infinite.
    """
    if not (isfinite(high) and isfinite(low) and isfinite(close)):
        raise ValueError(
            f"a bar has finite prices, not high {high}, low {low}, close {close}; leave the bar out or repair it"
        )


class Atr(Struct):
    """Wilder's average true range over `period` bars, in the unit of the prices it is fed.

    The first bar only gives a close to measure from; the next `period` true ranges are averaged plainly; after that each
    new one weighs 1 / period. So the first value comes with bar `period` + 1.

    Raises:
        ValueError: `period` is below 1.
    """

    period: int
    """How many true ranges are averaged, 1 or more."""
    value: float = 0.0
    """The average; 0.0 until `ready`."""
    bars: int = 0
    """Bars taken in so far."""
    close: float = 0.0
    """Of the latest bar."""
    total: float = 0.0
    """Sum of the true ranges that the first value averages."""

    def __post_init__(self) -> None:
        """Refuse a period that averages nothing."""
        if self.period < 1:
            raise ValueError(f"an ATR of period {self.period} averages nothing; the period must be 1 or more")

    @property
    def ready(self) -> bool:
        """Whether `period` + 1 bars have come in."""
        return self.bars > self.period

    def update(self, high: float, low: float, close: float) -> float:
        """Take in the next closed bar and return the average (0.0 until `ready`).

        Raises:
            ValueError: a price is not a finite number; nothing changed then.
        """
        check_bar(high, low, close)
        close_before, self.close = self.close, close
        self.bars += 1
        if self.bars == 1:
            return self.value
        moved = true_range(high, low, close_before)
        if self.bars > self.period + 1:
            self.value = (self.value * (self.period - 1) + moved) / self.period
            return self.value
        self.total += moved
        if self.ready:
            self.value = self.total / self.period
        return self.value
