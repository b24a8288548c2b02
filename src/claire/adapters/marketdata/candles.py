"""Candle files as input: every bar becomes four synthetic trades (DESIGN 8).

They lie at 0, ⅓ and ⅔ of the interval and 1 ms before its end, at open, low, high and close, and share the bar's volume in
whole lots (the lots that do not divide by four go to close, open and high, in this order; a bar of fewer than four lots gives
fewer trades, the close first). A bar without volume gives none. The interval is the smallest step between two bars.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.adapters.marketdata.faults import CANDLE_FACTOR, CANDLE_NEIGHBOURS, Fault
from claire.adapters.marketdata.files import Container, column_names
from claire.adapters.marketdata.numbers import Bytes, Ints, NumberFault, Scaled, from_floats, from_series
from claire.adapters.marketdata.raw import RawTrades
from claire.adapters.marketdata.tables import (
    ROLES,
    UNITS,
    Table,
    csv_header,
    csv_table,
    require_roles,
    table_in,
    table_of,
    times_of,
)

LABEL: Final = "candles"
_PRICES: Final = ("open", "low", "high", "close")
"""In the order in which the synthetic trades follow each other."""
FINEST_VOLUME: Final = 8
"""Decimals to which float volumes are rounded: sums of floats carry noise behind (0.0071911399999999995), quantities do not."""
_MS: Final = 1_000_000
_UNKNOWN_INTERVAL_NS: Final = 60_000 * _MS


def open_candles(path: Path, container: Container, content: bytes | Path) -> Table:
    """Read a Parquet, Feather or CSV file of candles, only the columns that matter.

    Raises:
        DataError: the file is corrupt or truncated, or a column is missing.
    """
    if isinstance(content, bytes) and container is Container.CSV:
        _, columns = csv_header(content)
        roles = _roles(path, columns)
        return csv_table(path, content, roles, LABEL, first_line=2)
    return table_in(path, container, content, _roles(path, column_names(path, container, content)), LABEL)


def candles_from_rows(path: Path, frame: pl.DataFrame) -> Table:
    """Return freqtrade's JSON rows `[ts_ms, open, high, low, close, volume]` as a table of candles."""
    return table_of(path, frame, {"time": "ts_ms", **{name: name for name in (*_PRICES, "volume")}}, LABEL)


def _roles(path: Path, columns: list[str]) -> dict[str, str]:
    lowered = {name.strip().lower(): name for name in reversed(columns)}
    roles: dict[str, str] = {name: lowered[name] for name in (*_PRICES, "volume") if name in lowered}
    for role in ("time", "symbol", "venue"):
        known = next((alias for alias in ROLES[role] if alias in lowered), None)
        if known is not None:
            roles[role] = lowered[known]
    require_roles(path, columns, roles, {"time": "ts_ms", **{name: name for name in (*_PRICES, "volume")}})
    return roles


def trades_of_candles(table: Table, name: str, only: Sequence[str] = ()) -> RawTrades:
    """Make the synthetic trades of a table of candles, of some symbols or all.

    Of a bar that something is wrong with there is one trade, which shows it.
    """
    table, codes, markets = table.narrowed(name, only)
    open_ns = times_of(table.need("time"), UNITS.get(table.roles["time"].lower(), ""))
    prices = [from_series(table.need(name)) for name in _PRICES]
    warnings: list[str] = []
    volume = from_series(_without_noise(table.need("volume"), warnings))
    steps = intervals(open_ns, codes, warnings, markets)
    faults = _faults(open_ns, codes, prices, volume, warnings)

    pieces, decimals = _pieces(volume, codes)
    broken = (faults != Fault.NONE) | (volume.coefficients < 0) | (volume.faults != 0)
    bad_prices = np.stack([(price.coefficients <= 0) | (price.faults != 0) for price in prices], axis=1)
    broken |= bad_prices.any(axis=1) | (open_ns <= 0)
    kept = (pieces > 0) & ~broken[:, None]
    shown = np.flatnonzero(broken & (faults != _REPEATED))
    kept[shown, np.argmax(bad_prices, axis=1)[shown]] = True
    chosen = np.flatnonzero(kept.ravel())
    bars, which = chosen // 4, chosen % 4

    step = steps[codes[bars]]
    offsets = np.stack([step * 0, step // 3, 2 * step // 3, step - _MS], axis=1)
    offset = offsets[np.arange(len(bars)), which] if len(bars) else np.zeros(0, np.int64)
    all_prices = _interleave(prices, bars, which)
    piece = Scaled(
        np.where(broken[bars], volume.coefficients[bars], pieces.ravel()[chosen]),
        np.where(broken[bars], volume.decimals[bars], decimals[bars]).astype(np.int8),
        volume.faults[bars],
    )
    few = int(((pieces > 0).sum(axis=1) % 4 != 0).sum())
    if few:
        warnings.append(f"{few} bars have a volume of fewer than four lots and give fewer than four trades")
    warnings.append("the trades are synthetic: four made from each candle (open, low, high, close)")
    return RawTrades(
        path=table.path,
        label=LABEL,
        ts_ns=np.where(broken[bars], open_ns[bars], open_ns[bars] + offset),
        price=all_prices,
        quantity=piece,
        side=np.zeros(len(bars), dtype=np.int8),
        codes=codes[bars],
        markets=markets,
        rows=table.rows[bars],
        first_line=table.first_line,
        synthetic=True,
        warnings=warnings,
        cell=partial(_cell, table),
        known_faults=np.where(faults[bars] == _REPEATED, 0, faults[bars]).astype(np.int8),
    )


def _without_noise(volumes: pl.Series, warnings: list[str]) -> pl.Series:
    """Round float volumes to the finest quantity step in use: what is finer is the noise of adding floats."""
    if volumes.dtype != pl.Float64:
        return volumes
    exact = from_floats(volumes.fill_null(np.nan).to_numpy())
    noisy = np.flatnonzero((exact.decimals > FINEST_VOLUME) | (exact.faults == NumberFault.TOO_FINE))
    if not len(noisy):
        return volumes
    warnings.append(
        f"{len(noisy)} volumes have more than {FINEST_VOLUME} decimals (noise of adding floats) and are rounded"
    )
    rows = pl.Series(noisy)
    return volumes.clone().scatter(rows, volumes.gather(rows).round(FINEST_VOLUME))


def intervals(open_ns: Ints, codes: npt.NDArray[np.int32], warnings: list[str], markets: list[tuple[str, str]]) -> Ints:
    """Return the interval of each market: the smallest step between two of its bars."""
    result = np.full(len(markets), _UNKNOWN_INTERVAL_NS, dtype=np.int64)
    for code, (_, symbol) in enumerate(markets):
        times = np.sort(open_ns[(codes == code) & (open_ns > 0)])
        gaps = np.diff(times)
        gaps = gaps[gaps > 0]
        if len(gaps):
            result[code] = gaps.min()
        elif len(times):
            warnings.append(f"{symbol or 'the file'}: a single bar tells no interval; one minute is assumed")
    return result


_REPEATED: Final = 100
"""A bar that repeats an earlier one: dropped without being a fault."""


def _faults(
    open_ns: Ints, codes: npt.NDArray[np.int32], prices: list[Scaled], volume: Scaled, warnings: list[str]
) -> Bytes:
    """Find bars that contradict themselves, another bar or their neighbours."""
    faults = np.zeros(len(open_ns), dtype=np.int8)
    opened, low, high, close = (price.as_floats() for price in prices)
    usable = volume.faults == 0
    for price in prices:
        usable &= (price.faults == 0) & (price.coefficients > 0)
    enclosed = (low <= np.minimum(opened, close)) & (high >= np.maximum(opened, close))
    faults[usable & ~enclosed] = Fault.CANDLE
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero((codes == code) & usable & enclosed)
        rows = rows[np.argsort(open_ns[rows], kind="stable")]
        median = pl.Series(close[rows]).rolling_median(CANDLE_NEIGHBOURS, center=True, min_samples=1).to_numpy()
        far = (high[rows] > CANDLE_FACTOR * median) | (low[rows] * CANDLE_FACTOR < median)
        faults[rows[far]] = Fault.ABSURD_CANDLE
    content: dict[str, npt.NDArray[Any]] = {f"{k}": column.coefficients for k, column in enumerate((*prices, volume))}
    content |= {f"{k}d": column.decimals for k, column in enumerate((*prices, volume))}
    frame = pl.DataFrame({"code": codes, "ts": open_ns, **content})
    again = ~frame.select(pl.struct("code", "ts").is_first_distinct()).to_series().to_numpy() & (open_ns > 0)
    if again.any():
        same = ~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
        faults[again & ~same & (faults == 0)] = Fault.CONFLICT
        repeated = again & same
        if repeated.any():
            faults[repeated] = _REPEATED
            warnings.append(f"{int(repeated.sum())} repeated bars (same time, same content) were dropped")
    return faults


def _pieces(volume: Scaled, codes: npt.NDArray[np.int32]) -> tuple[Ints, Bytes]:
    """Split volumes into four in units of the finest decimal of each market; also return that number of decimals."""
    pieces = np.zeros((len(volume), 4), dtype=np.int64)
    decimals = volume.decimals.copy()
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        finest = int(volume.decimals[rows].max(initial=0))
        total, overflow = volume.take(rows).at_scale(finest)
        # A volume that does not fit 64 bits in those units is left whole; it is refused when it becomes lots.
        quarter, rest = total // 4, total % 4
        pieces[rows] = np.stack([quarter + (rest > 1), quarter, quarter + (rest > 2), quarter + (rest > 0)], axis=1)
        decimals[rows] = finest
        large = rows[overflow]
        pieces[large] = volume.coefficients[large, None] * np.array([0, 0, 0, 1])
        decimals[large] = volume.decimals[large]
    return np.maximum(pieces, 0), decimals


def _interleave(prices: list[Scaled], bars: Ints, which: Ints) -> Scaled:
    columns = (
        np.stack([getattr(price, name) for price in prices])[which, bars]
        for name in ("coefficients", "decimals", "faults")
    )
    return Scaled(*columns)


def _cell(table: Table, role: str, row: int) -> str:
    if role == "price":
        return "/".join(table.cell(name, row) for name in ("open", "high", "low", "close"))
    return table.cell("volume" if role == "quantity" else role, row)
