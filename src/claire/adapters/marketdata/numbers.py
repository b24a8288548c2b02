"""Decimal numbers of a whole column at once, exactly: a float means the number that its shortest text names.

A value is held as `coefficient / 10**decimals` with as few decimals as it needs (no trailing zeros).

Why floats can be taken apart with float arithmetic: a decimal number of at most 15 digits survives the way through a
double, and no two such numbers share a double. So if `rint(x * 10**d)` has at most 15 digits and divided by `10**d`
gives `x` again, it holds the digits of `repr(x)`. Whatever does not fit goes through `Decimal(repr(x))`, one by one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.model.money import DECIMALS

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

_FIFTEEN_DIGITS: Final = 10**15
_LARGEST: Final = 2**63 - 1
_BLOCK: Final = 1 << 17
_DECIMAL: Final = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)


class NumberFault(IntEnum):
    """Why a field is not a usable number."""

    NONE = 0
    MISSING = 1
    UNREADABLE = 2
    NOT_A_NUMBER = 3
    INFINITE = 4
    TOO_FINE = 5
    """More than 18 decimals."""
    TOO_LARGE = 6
    """More digits than 64 bits hold."""


@dataclass(slots=True)
class Scaled:
    """A column of exact decimal numbers."""

    coefficients: Ints
    decimals: Bytes
    faults: Bytes
    """`NumberFault` of each row; a faulty row has coefficient 0."""

    def __len__(self) -> int:
        return len(self.coefficients)

    def take(self, rows: Any) -> Self:
        """Return the rows that a mask, an index array or a slice selects."""
        return type(self)(self.coefficients[rows], self.decimals[rows], self.faults[rows])

    def at_scale(self, decimals: int) -> tuple[Ints, Mask]:
        """Return the coefficients at a common number of decimals (not less than any row has), and which overflow."""
        overflow = np.zeros(len(self), dtype=np.bool_)
        if bool((self.decimals == decimals).all()):
            return self.coefficients, overflow
        powers = np.array([min(10**k, _LARGEST) for k in range(decimals + 1)], dtype=np.int64)
        scaled = np.empty(len(self), dtype=np.int64)
        for rows in _blocks(len(self)):
            coefficients, missing = self.coefficients[rows], decimals - self.decimals[rows]
            factors = powers[missing]
            overflow[rows] = (np.abs(coefficients) > _LARGEST // factors) | ((missing > DECIMALS) & (coefficients != 0))
            scaled[rows] = np.where(overflow[rows], 0, coefficients) * factors
        return scaled, overflow

    def as_floats(self) -> npt.NDArray[np.float64]:
        """Return the nearest doubles (for comparisons that need no exactness)."""
        powers = 10.0 ** np.arange(int(self.decimals.max(initial=0)) + 1)
        return np.asarray(self.coefficients / powers[self.decimals], dtype=np.float64)


def from_series(series: pl.Series) -> Scaled:
    """Read a column of any numeric type or of text."""
    if series.dtype == pl.Float64:
        return from_floats(series.fill_null(np.nan).to_numpy(), missing=_nulls(series))
    if series.dtype.is_decimal():
        return _from_decimals(series)
    if series.dtype.is_integer():
        return _from_integers(series)
    if series.dtype == pl.Null:
        return _all_missing(len(series))
    return from_text(series.cast(pl.String))


def from_floats(values: npt.NDArray[np.float64], missing: Mask | None = None) -> Scaled:
    """Read doubles as the decimal numbers that their shortest texts name."""
    column = _empty(len(values))
    column.faults[np.isnan(values)] = NumberFault.NOT_A_NUMBER
    column.faults[np.isinf(values)] = NumberFault.INFINITE
    if missing is not None:
        column.faults[missing] = NumberFault.MISSING
    for block in _blocks(len(values)):
        _take_apart(column, values, block.start + np.flatnonzero(column.faults[block] == NumberFault.NONE))
    return column


def _blocks(rows: int) -> Iterator[slice]:
    """Yield slices that together cover some rows: a block at a time needs little memory beside the columns themselves."""
    for start in range(0, rows, _BLOCK):
        yield slice(start, min(rows, start + _BLOCK))


def _take_apart(column: Scaled, values: npt.NDArray[np.float64], rows: Ints) -> None:
    """Find digits and decimals of finite doubles."""
    rest = values[rows]
    for decimals in range(DECIMALS + 1):
        if not len(rest):
            return
        power = 10.0**decimals
        with np.errstate(over="ignore"):
            whole = np.rint(rest * power)
            fits = (whole / power == rest) & (np.abs(whole) < _FIFTEEN_DIGITS)
        hit = rows[fits]
        column.coefficients[hit] = whole[fits].astype(np.int64)
        column.decimals[hit] = decimals
        if len(hit):
            rows, rest = rows[~fits], rest[~fits]
    for row, value in zip(rows.tolist(), rest.tolist(), strict=True):
        _put(column, row, Decimal(repr(value)))


def from_text(series: pl.Series) -> Scaled:
    """Read decimal texts exactly, whatever their length."""
    text = series.str.strip_chars()
    given = text.is_not_null() & (text != "")
    as_float = text.cast(pl.Float64, strict=False)
    plain = text.str.replace(r"^([+-]?\d+\.\d*?)0+$", "$1")
    digits = plain.str.strip_chars_start("+-0.").str.len_bytes()
    short = (as_float.is_not_null() & (digits <= 15)).fill_null(value=False)
    exact = as_float.set(~short, 0.0) if not short.all() else as_float
    column = from_floats(exact.fill_null(0.0).to_numpy())
    missing = ~given.fill_null(value=False).to_numpy()
    column.faults[missing] = NumberFault.MISSING
    for row in np.flatnonzero(~short.to_numpy() & ~missing).tolist():
        if _DECIMAL.fullmatch(text[row]) is None:  # Decimal itself would also read 1_000 and other scripts' digits
            column.faults[row] = NumberFault.UNREADABLE
        else:
            _put(column, row, Decimal(text[row]))
    return column


def strip_zeros(coefficients: Ints, decimals: Bytes) -> None:
    """Drop trailing zeros behind the point, in place."""
    for _ in range(int(decimals.max(initial=0))):
        rows = np.flatnonzero((decimals > 0) & (coefficients % 10 == 0))
        if not len(rows):
            return
        coefficients[rows] //= 10
        decimals[rows] -= 1


def _from_integers(series: pl.Series) -> Scaled:
    missing = _nulls(series)
    whole = series.cast(pl.Int64, strict=False)
    column = _empty(len(series))
    column.faults[_nulls(whole)] = NumberFault.TOO_LARGE
    column.faults[missing] = NumberFault.MISSING
    column.coefficients[:] = whole.fill_null(0).to_numpy()
    return column


def _from_decimals(series: pl.Series) -> Scaled:
    scale = getattr(series.dtype, "scale", 0) or 0
    column = _from_integers(series.to_physical())
    column.decimals[:] = scale
    for row in np.flatnonzero(column.faults == NumberFault.TOO_LARGE).tolist():
        column.faults[row] = column.decimals[row] = 0
        _put(column, row, series[row])
    strip_zeros(column.coefficients, column.decimals)
    column.faults[(column.decimals > DECIMALS) & (column.faults == 0)] = NumberFault.TOO_FINE
    return column


def _put(column: Scaled, row: int, number: Decimal) -> None:
    """Store one number that did not go the fast way."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        column.faults[row] = NumberFault.INFINITE if number.is_infinite() else NumberFault.NOT_A_NUMBER
        return
    coefficient = int("".join(map(str, digits)) or "0")
    if coefficient == 0:
        return
    while exponent < 0 and coefficient % 10 == 0:
        coefficient, exponent = coefficient // 10, exponent + 1
    if exponent > 0:
        if exponent > 20:
            column.faults[row] = NumberFault.TOO_LARGE
            return
        coefficient, exponent = coefficient * 10**exponent, 0
    if coefficient > _LARGEST:
        column.faults[row] = NumberFault.TOO_LARGE
    elif -exponent > DECIMALS:
        column.faults[row] = NumberFault.TOO_FINE
    else:
        column.coefficients[row] = -coefficient if sign else coefficient
        column.decimals[row] = -exponent


def _nulls(series: pl.Series) -> Mask:
    return series.is_null().to_numpy()


def _empty(rows: int) -> Scaled:
    return Scaled(np.zeros(rows, np.int64), np.zeros(rows, np.int8), np.zeros(rows, np.int8))


def _all_missing(rows: int) -> Scaled:
    column = _empty(rows)
    column.faults[:] = NumberFault.MISSING
    return column
