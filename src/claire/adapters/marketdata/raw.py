"""Trades as a file tells them, column by column, before anyone judged them: what every reader returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.adapters.marketdata.numbers import Bytes, Ints, Scaled

UNKNOWN_SIDE: Final = 0
BUY: Final = 1
SELL: Final = 2
UNREADABLE_SIDE: Final = 3

_MS: Final = 1_000_000
_LATEST_S: Final = 100_000_000_000
"""Seconds beyond the year 5000: a larger number must be milliseconds."""


@dataclass(slots=True)
class RawTrades:
    """One file's trades in file order. All columns have one length."""

    path: Path
    label: str
    """What was recognised, for people: ``Binance aggTrades``."""
    ts_ns: Ints
    """0 where the file holds no readable time."""
    price: Scaled
    quantity: Scaled
    side: Bytes
    codes: npt.NDArray[np.int32]
    """Index into `markets`."""
    markets: list[tuple[str, str]]
    """(venue, symbol); either may be empty where the file does not say."""
    ids: pl.Series | None = None
    """Trade ids as the file holds them."""
    first_ids: Ints | None = None
    last_ids: Ints | None = None
    """Ids of the first and last single trade inside an aggregate trade."""
    recv_ns: pl.Series | None = None
    rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Row numbers in the file, from 0; set by the constructor where not given."""
    first_line: int = 0
    """Line of row 0 in a text file, from 1; 0 for files without lines."""
    synthetic: bool = False
    warnings: list[str] = field(default_factory=list)
    cell: Callable[[str, int], str] | None = None
    """Gives the text of a field (``time``, ``price``, ``quantity`` or ``side``) at a row of the file."""
    seq_base: int = -1
    """What to add to `rows` to order them among the other events of a capture; -1 where there are none."""
    known_faults: Bytes | None = None
    """Faults (`faults.Fault`) that the reader itself has found."""

    def __post_init__(self) -> None:
        if not len(self.rows):
            self.rows = np.arange(len(self.ts_ns), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, chosen: npt.NDArray[np.bool_] | Ints) -> "RawTrades":
        """Return the rows that a mask or an index array selects, in that order."""
        mask = pl.Series(chosen)

        def pick(series: pl.Series | None) -> pl.Series | None:
            if series is None:
                return None
            return series.filter(mask) if chosen.dtype == np.bool_ else series.gather(mask)

        return replace(
            self,
            ts_ns=self.ts_ns[chosen],
            price=self.price.take(chosen),
            quantity=self.quantity.take(chosen),
            side=self.side[chosen],
            codes=self.codes[chosen],
            ids=pick(self.ids),
            first_ids=None if self.first_ids is None else self.first_ids[chosen],
            last_ids=None if self.last_ids is None else self.last_ids[chosen],
            recv_ns=pick(self.recv_ns),
            rows=self.rows[chosen],
            known_faults=None if self.known_faults is None else self.known_faults[chosen],
            warnings=list(self.warnings),
        )

    def place(self, index: int) -> str:
        """Name the place of a row in its file: ``line 12`` or ``row 12`` (from 1)."""
        row = int(self.rows[index])
        return f"line {row + self.first_line}" if self.first_line else f"row {row + 1}"

    def text(self, name: str, index: int) -> str:
        """Return a field as the file holds it, for a message."""
        return self.cell(name, int(self.rows[index])) if self.cell else "?"


def to_ns(values: Ints, unit: str = "") -> Ints:
    """Turn Unix times into nanoseconds.

    `unit` is ``s``, ``ms``, ``us`` or ``ns`` as the column's name says; then a number too large for it is taken for the
    next finer unit (Binance's archives changed from milliseconds to microseconds in 2025 under the same name). Without
    a unit the magnitude decides alone: seconds, milliseconds, microseconds and nanoseconds of our days lie a factor of
    1000 apart.
    """
    if unit == "ns":
        return values
    start = {"": 0, "s": 0, "ms": 1, "us": 2}[unit]
    result = values.copy()
    factors = (1_000 * _MS, _MS, 1_000, 1)
    bounds = [_LATEST_S * 1_000**k for k in range(3)]
    for step in range(start, 4):
        upper = bounds[step] if step < 3 else 2**63 - 1
        lower = 0 if step == start else bounds[step - 1]
        chosen = (values >= lower) & (values < upper) if step < 3 else values >= lower
        result[chosen] = values[chosen] * factors[step]
    result[values <= 0] = 0
    return result


def sides_by_tick_rule(prices: npt.NDArray[np.float64], given: Bytes, codes: npt.NDArray[np.int32]) -> Bytes:
    """Fill unknown sides: up from the price before is BUY, down is SELL, unchanged repeats; the first is BUY.

    Source: C. Lee, M. Ready, Inferring Trade Direction from Intraday Data, Journal of Finance 46 (1991).
    """
    filled = given.copy()
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        change = np.diff(prices[rows], prepend=prices[rows[:1]])
        sign = np.where(change > 0, BUY, np.where(change < 0, SELL, UNKNOWN_SIDE)).astype(np.int8)
        last = np.maximum.accumulate(np.where(sign != UNKNOWN_SIDE, np.arange(len(rows)), -1))
        tick = np.where(last >= 0, sign[np.maximum(last, 0)], BUY).astype(np.int8)
        filled[rows] = np.where(given[rows] == UNKNOWN_SIDE, tick, given[rows])
    return filled
