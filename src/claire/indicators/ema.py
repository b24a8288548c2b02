"""Exponential moving average."""

from math import isfinite

from msgspec import Struct


class Ema(Struct):
    """Exponential moving average, seeded with the plain average of the first `period` values.

    The weight of the newest value is 2 / (period + 1). `value` is in the unit of what it is fed.

    Raises:
        ValueError: `period` is below 1.
    """

    period: int
    """How many values the seed averages, 1 or more."""
    value: float = 0.0
    """The average; 0.0 until `ready`."""
    seen: int = 0
    """Values taken in so far."""
    total: float = 0.0
    """Sum of the values that the seed averages."""

    def __post_init__(self) -> None:
        """Refuse a period that averages nothing."""
        if self.period < 1:
            raise ValueError(f"an EMA of period {self.period} averages nothing; the period must be 1 or more")

    @property
    def ready(self) -> bool:
        """Whether `period` values have come in."""
        return self.seen >= self.period

    def update(self, value: float) -> float:
        """Take in the next value and return the average (0.0 until `ready`).

        Raises:
            ValueError: `value` is not a finite number; nothing changed then.
        """
        if not isfinite(value):
            raise ValueError(f"an EMA takes finite numbers, not {value}; leave the bar out or repair it")
        self.seen += 1
        if self.seen > self.period:
            self.value += (value - self.value) * (2.0 / (self.period + 1))
            return self.value
        self.total += value
        if self.seen == self.period:
            self.value = self.total / self.period
        return self.value
