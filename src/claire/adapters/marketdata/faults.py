"""What can be wrong with a row of trades, and how a run refuses it."""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.adapters.marketdata import raw
from claire.adapters.marketdata.numbers import NumberFault, Scaled
from claire.adapters.marketdata.raw import RawTrades
from claire.model.errors import DataError

NEIGHBOURS: Final = 1001
"""Trades in the window whose median a price is compared with: the trade itself, 500 before and 500 after."""
ABSURD_FACTOR: Final = 2.5
"""A price this many times above or below that median is absurd.

A lasting rise or fall, however steep, is not absurd: before and after it the median is the price itself. What is found
are excursions of fewer than 500 trades that come back. In the OKCoin file (640,219 trades of 2017-08-07 to 2018-01-21) the
rule finds exactly the 156 bad prints above 40,000 while the market stood between 7,000 and 15,200, and any factor from 2 to
3 finds the same; a window of 101 with factor 5 finds 37. No other recording that the rule was tried on holds one.
"""

CANDLE_NEIGHBOURS: Final = 11
CANDLE_FACTOR: Final = 5.0
"""The same for candles: open, high, low and close against the median of the closes around.

Real candles reach further than real trades (DOGE traded between 0.095 and 0.2006 within one bar on 2025-10-10), and a bar may
be hours long, so the window is short and the factor wide. It fires on none of the recorded candle files.
"""


STRAY_NS: Final = 30 * 86_400_000_000_000
"""A time this far from the one before and the one after is not believed."""
MINIMUM_FOR_STRAY: Final = 3
"""Of two rows nobody can tell which one strays."""


class Fault(IntEnum):
    """Why a row cannot be used."""

    NONE = 0
    TIME = 1
    PRICE_UNREADABLE = 2
    PRICE_ZERO = 3
    PRICE_NEGATIVE = 4
    QUANTITY_UNREADABLE = 5
    QUANTITY_ZERO = 6
    QUANTITY_NEGATIVE = 7
    SIDE = 8
    ABSURD_PRICE = 9
    CANDLE = 10
    ABSURD_CANDLE = 11
    CONFLICT = 12
    STRAY_TIME = 13


REASONS: Final = {
    Fault.TIME: "no time that can be read",
    Fault.PRICE_UNREADABLE: "price is not a usable number",
    Fault.PRICE_ZERO: "price is zero",
    Fault.PRICE_NEGATIVE: "price is negative",
    Fault.QUANTITY_UNREADABLE: "quantity is not a usable number",
    Fault.QUANTITY_ZERO: "quantity is zero",
    Fault.QUANTITY_NEGATIVE: "quantity is negative",
    Fault.SIDE: "side is neither buy nor sell",
    Fault.ABSURD_PRICE: (
        f"price is absurd (more than {ABSURD_FACTOR:g} times above or below the median of its {NEIGHBOURS - 1} neighbours)"
    ),
    Fault.CANDLE: "price is inconsistent: high or low does not enclose open and close",
    Fault.ABSURD_CANDLE: (
        f"price is absurd (more than {CANDLE_FACTOR:g} times above or below the median close of"
        f" {CANDLE_NEIGHBOURS - 1} neighbours)"
    ),
    Fault.CONFLICT: "time is that of another row with other content",
    Fault.STRAY_TIME: "time is more than 30 days away from every other row of its symbol (another unit, or a wrong clock)",
}
NUMBER_REASONS: Final = {
    NumberFault.MISSING: "missing",
    NumberFault.UNREADABLE: "not a number",
    NumberFault.NOT_A_NUMBER: "not a number (NaN)",
    NumberFault.INFINITE: "infinite",
    NumberFault.TOO_FINE: "finer than 18 decimals",
    NumberFault.TOO_LARGE: "larger than 64 bits hold",
}
_FIELDS: Final = {
    Fault.TIME: "time",
    Fault.QUANTITY_UNREADABLE: "quantity",
    Fault.QUANTITY_ZERO: "quantity",
    Fault.QUANTITY_NEGATIVE: "quantity",
    Fault.SIDE: "side",
    Fault.CONFLICT: "time",
}

Faults = npt.NDArray[np.int8]


def faults_of(trades: RawTrades) -> Faults:
    """Judge every row; the first thing wrong with it counts, an absurd price only where nothing else is wrong."""
    faults = np.zeros(len(trades), dtype=np.int8)
    _judge(faults, trades.quantity, Fault.QUANTITY_UNREADABLE)
    _judge(faults, trades.price, Fault.PRICE_UNREADABLE)
    faults[trades.side == raw.UNREADABLE_SIDE] = Fault.SIDE
    faults[trades.ts_ns <= 0] = Fault.TIME
    if trades.known_faults is not None:
        faults = np.where(faults == Fault.NONE, trades.known_faults, faults)
    for code in np.unique(trades.codes).tolist():
        rows = np.flatnonzero((trades.codes == code) & (faults == Fault.NONE))
        faults[rows[stray_times(trades.ts_ns[rows])]] = Fault.STRAY_TIME
    if not trades.synthetic:
        for code in np.unique(trades.codes).tolist():
            rows = np.flatnonzero((trades.codes == code) & (faults == Fault.NONE))
            absurd = absurd_prices(trades.price.take(rows).as_floats())
            faults[rows[absurd]] = Fault.ABSURD_PRICE
    return faults


def stray_times(ts_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which times are far from all others: a stamp in another unit, or of a wrong clock. One row alone is none."""
    stray = np.zeros(len(ts_ns), dtype=np.bool_)
    if len(ts_ns) < MINIMUM_FOR_STRAY:
        return stray
    order = np.argsort(ts_ns, kind="stable")
    far = np.diff(ts_ns[order]) > STRAY_NS
    if far.any():
        alone = np.concatenate(([True], far)) & np.concatenate((far, [True]))
        stray[order[alone]] = True
    return stray


def absurd_prices(prices: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which prices (in time order, all positive) are absurd.

    The median is taken only where a stretch of prices and its neighbours span more than the factor at all; elsewhere no
    price can be that far from a median of theirs, so the result is the same as with the median of every row.
    """
    absurd = np.zeros(len(prices), dtype=np.bool_)
    half = NEIGHBOURS // 2
    block = 2 * half
    if not len(prices) or prices.max() <= ABSURD_FACTOR * prices.min():
        return absurd
    for start in range(0, len(prices), block):
        left, right = max(0, start - half), min(len(prices), start + block + half)
        window = prices[left:right]
        if window.max() <= ABSURD_FACTOR * window.min():
            continue
        median = pl.Series(window).rolling_median(NEIGHBOURS, center=True, min_samples=1).to_numpy()
        far = (window > ABSURD_FACTOR * median) | (window * ABSURD_FACTOR < median)
        stop = min(len(prices), start + block)
        absurd[start:stop] = far[start - left : stop - left]
    return absurd


def refuse_faults(trades: RawTrades, faults: Faults) -> None:
    """Refuse trades of which any has a fault.

    Raises:
        DataError: it names the first such row, its value, how many there are, and the remedy.
    """
    bad = np.flatnonzero(faults)
    if not len(bad):
        return
    first = int(bad[0])
    fault = Fault(int(faults[first]))
    more = f" {len(bad)} rows like it or otherwise bad." if len(bad) > 1 else ""
    raise DataError(
        f"{trades.path}, {trades.place(first)}: {reason_for(trades, first, fault)}.{more}"
        f" Write a copy without the bad rows, and a log of them: claire data check {trades.path} --write CLEAN.parquet"
    )


def reason_for(trades: RawTrades, index: int, fault: Fault) -> str:
    """Say what is wrong with one row, with the value that the file holds."""
    field = _FIELDS.get(fault, "price")
    value = trades.text(field, index)
    if fault in (Fault.PRICE_UNREADABLE, Fault.QUANTITY_UNREADABLE):
        column = trades.price if fault is Fault.PRICE_UNREADABLE else trades.quantity
        return f"{field} {value} is {NUMBER_REASONS[NumberFault(int(column.faults[index]))]}"
    name, _, rest = REASONS[fault].partition(" is ")
    return f"{name} {value} is {rest}" if rest else f"{REASONS[fault]} ({value})"


def _judge(faults: Faults, numbers: Scaled, unreadable: Fault) -> None:
    """Mark what is wrong with a column of numbers; the codes for zero and negative follow the one for unreadable."""
    faults[numbers.coefficients == 0] = unreadable + 1
    faults[numbers.coefficients < 0] = unreadable + 2
    faults[numbers.faults != NumberFault.NONE] = unreadable
