"""Random numbers for the generator that are the same on every machine and with every NumPy.

Only the raw 64-bit words of PCG64 are drawn (NumPy keeps that stream; it does not promise to keep its distributions), and
only + − × ÷ √ follow, which IEEE 754 rounds alike everywhere. The exponential distribution comes from a table that the
standard library's decimal logarithm fills, correctly rounded.
"""

from decimal import Context, Decimal
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_TABLE: Final = 2048


class Uniform:
    """A seeded stream of numbers."""

    def __init__(self, seed: int, stream: int) -> None:
        """Start a stream; streams of one seed are independent of each other."""
        self._bits = np.random.PCG64(np.random.SeedSequence((seed, stream)))

    def uniform(self, count: int) -> Floats:
        """Return numbers evenly spread over [0, 1)."""
        words: npt.NDArray[np.uint64] = self._bits.random_raw(count)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> Floats:
        """Return numbers with mean 0, variance 1 and nearly the normal shape (twelve uniform ones, added)."""
        total = np.zeros(count)
        for _ in range(12):
            total += self.uniform(count)
        return total - 6.0

    def exponential(self, count: int) -> Floats:
        """Return numbers with mean about 1 and exponentially falling density."""
        position = self.uniform(count) * _TABLE
        index = position.astype(np.int64)
        table = _exponential_table()
        return table[index] + (position - index) * (table[index + 1] - table[index])


@cache
def _exponential_table() -> Floats:
    """Quantiles of the exponential distribution at 0, 1/n … 1 (the last one is the median of the last cell)."""
    context = Context(prec=25)
    levels = [Decimal(k) / _TABLE for k in range(_TABLE)] + [1 - Decimal(1) / (2 * _TABLE)]
    return np.array([float(-(1 - level).ln(context)) for level in levels])
