"""Average directional index: how strongly a market goes one way, whichever way that is.

Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
"""

from msgspec import Struct

from claire.indicators.atr import check_bar, true_range

NOTHING = 1e-14
"""A sum this small is a rest that decayed, not a move; dividing by it would give noise. TA-Lib's number."""


class Adx(Struct):
    """Wilder's average directional index over `period` bars: 0 (no direction) to 100 (one way only).

    Bars 2 to `period` sum up moves and ranges, the next `period` bars give one directional index (DX) each, whose plain
    average is the first value, at bar 2 · `period`; after that each new DX weighs 1 / period. A bar without a DX (no range
    or no move remembered) leaves the value as it is, and counts as 0 in the first average.

    Feed it prices in ticks or in money: the value has no unit. Moves below 10⁻¹⁴ of the unit count as none.

    Raises:
        ValueError: `period` is below 2.
    """

    period: int
    """2 or more."""
    value: float = 0.0
    """0–100; 0.0 until `ready`."""
    bars: int = 0
    """Bars taken in so far."""
    high: float = 0.0
    """Of the latest bar."""
    low: float = 0.0
    """Of the latest bar."""
    close: float = 0.0
    """Of the latest bar."""
    up: float = 0.0
    """Smoothed sum of upward directional moves (+DM)."""
    down: float = 0.0
    """Smoothed sum of downward directional moves (−DM)."""
    ranges: float = 0.0
    """Smoothed sum of true ranges."""
    total: float = 0.0
    """Sum of the DX that the first value averages."""

    def __post_init__(self) -> None:
        """Refuse a period without a bar to compare to."""
        if self.period < 2:
            raise ValueError(f"an ADX of period {self.period} has nothing to compare; the period must be 2 or more")

    @property
    def ready(self) -> bool:
        """Whether 2 · `period` bars have come in."""
        return self.bars >= 2 * self.period

    def update(self, high: float, low: float, close: float) -> float:
        """Take in the next closed bar and return the index (0.0 until `ready`).

        Raises:
            ValueError: a price is not a finite number; nothing changed then.
        """
        check_bar(high, low, close)
        self.bars += 1
        if self.bars > 1:
            self._add_move(high, low)
        self.high, self.low, self.close = high, low, close
        if self.bars > self.period:
            self._add_dx()
        return self.value

    def _add_move(self, high: float, low: float) -> None:
        """Add the bar's move and range to the sums; from bar `period` + 1 on, older ones fade by 1 / period first."""
        rose, fell = high - self.high, self.low - low
        if self.bars > self.period:
            self.up -= self.up / self.period
            self.down -= self.down / self.period
            self.ranges -= self.ranges / self.period
        if fell > 0 and fell > rose:
            self.down += fell
        elif rose > 0 and rose > fell:
            self.up += rose
        self.ranges += true_range(high, low, self.close)

    def _add_dx(self) -> None:
        """Average the bar's directional index into the value."""
        dx = self._dx()
        if self.bars > 2 * self.period:
            if dx is not None:
                self.value = (self.value * (self.period - 1) + dx) / self.period
            return
        self.total += dx or 0.0
        if self.ready:
            self.value = self.total / self.period

    def _dx(self) -> float | None:
        """Return 100 · |+DI − −DI| / (+DI + −DI), or None where there is nothing to divide by."""
        if self.ranges < NOTHING:
            return None
        plus, minus = 100.0 * (self.up / self.ranges), 100.0 * (self.down / self.ranges)
        both = plus + minus
        return None if both < NOTHING else 100.0 * (abs(minus - plus) / both)
