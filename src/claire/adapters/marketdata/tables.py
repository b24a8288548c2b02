"""Tables of trades: Binance's public archive, headerless `ts_s,price,qty`, and Parquet, Feather or CSV with named columns.

Formats of the archive: https://github.com/binance/binance-public-data (trades, aggTrades; spot files have no header,
USD-M files have one; times are milliseconds, for spot microseconds since 2025-01-01).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.adapters.marketdata import names, raw
from claire.adapters.marketdata.files import Container, column_names, read_table, reading
from claire.adapters.marketdata.numbers import Bytes, Ints, Scaled, from_series, from_text
from claire.adapters.marketdata.raw import RawTrades, to_ns
from claire.model.errors import DataError, did_you_mean

Codes = npt.NDArray[np.int32]
UNITS: Final[dict[str, str]] = {
    "ts_ns": "ns", "ts_event_ns": "ns", "ts_us": "us", "ts_ms": "ms", "ts_s": "s", "timestamp": "", "timestamp_ms": "ms",
    "time": "", "transact_time": "", "date": "", "datetime": "", "open_time": "",
}  # fmt: skip
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "time": tuple(UNITS),
    "price": ("price", "p"),
    "quantity": ("qty", "quantity", "trade_qty", "size", "amount", "q"),
    "side": ("side", "taker_side"),
    "maker": ("is_buyer_maker", "isbuyermaker", "buyer_maker", "m"),
    "id": ("trade_id", "agg_trade_id", "agg_id", "aggregate_trade_id", "id"),
    "first_id": ("first_trade_id", "first_id"),
    "last_id": ("last_trade_id", "last_id"),
    "symbol": ("symbol", "pair", "market"),
    "venue": ("venue", "exchange"),
    "recv": ("recv_ns",),
}
"""What a column is for, and the names (in small letters) under which it is known, best first."""

_ARCHIVE: Final[dict[str, dict[str, int]]] = {
    "Binance aggTrades": {"id": 0, "price": 1, "quantity": 2, "first_id": 3, "last_id": 4, "time": 5, "maker": 6},
    "Binance trades": {"id": 0, "price": 1, "quantity": 2, "time": 4, "maker": 5},
    "headerless ts_s,price,qty": {"time": 0, "price": 1, "quantity": 2},
}
_SIDES: Final = {
    "buy": raw.BUY, "b": raw.BUY, "bid": raw.BUY, "sell": raw.SELL, "s": raw.SELL, "ask": raw.SELL, "": raw.UNKNOWN_SIDE,
}  # fmt: skip
_MAKERS: Final = {"true": raw.SELL, "1": raw.SELL, "false": raw.BUY, "0": raw.BUY}
"""Where the buyer was the maker, the taker sold."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and what its columns are for. Columns are loaded when asked for, so that they need not all be held at once."""

    path: Path
    load: Callable[[str], pl.Series]
    """Gives a column of the file by its name."""
    height: int
    roles: dict[str, str]
    """Role → column name."""
    label: str
    first_line: int = 0
    mask: pl.Series | None = None
    """The rows that were chosen; None: all."""

    def narrowed(self, name: str, only: Sequence[str]) -> tuple["Table", Codes, list[tuple[str, str]]]:
        """Return the rows of some symbols (where the table has any of them, else all), their markets' codes, and all markets.

        Raises:
            DataError: the table has no rows.
        """
        if not self.height:
            raise DataError(f"{self.path}: holds no trades, only column names. Fetch it again.")
        path_name = self.path.name
        codes, markets = markets_of(self.column("venue"), self.column("symbol"), self.height, path_name, name)
        wanted = np.array([symbol in only for _, symbol in markets], dtype=np.bool_)
        if not wanted.any() or wanted.all():
            return self, codes, markets
        chosen = wanted[codes]
        return replace(self, mask=pl.Series(chosen)), codes[chosen], markets

    @property
    def rows(self) -> Ints:
        """Row numbers in the file of the chosen rows."""
        return np.arange(self.height) if self.mask is None else np.flatnonzero(self.mask.to_numpy())

    def column(self, role: str) -> pl.Series | None:
        """Return the chosen rows of the column with a role, if there is one."""
        return self.need(role) if role in self.roles else None

    def need(self, role: str) -> pl.Series:
        """Return the chosen rows of the column with a role that every such table has."""
        series = self.load(self.roles[role])
        return series if self.mask is None else series.filter(self.mask)

    def cell(self, role: str, row: int) -> str:
        """Return a field as the file holds it, by its row in the file."""
        role = "maker" if role == "side" and "side" not in self.roles else role
        return str(self.load(self.roles[role])[row]) if role in self.roles else "?"


def table_of(path: Path, frame: pl.DataFrame, roles: dict[str, str], label: str, first_line: int = 0) -> Table:
    """Return a table over columns that are held already."""
    return Table(path, frame.__getitem__, frame.height, roles, label, first_line)


def table_in(path: Path, container: Container, content: bytes | Path, roles: dict[str, str], label: str) -> Table:
    """Return a table over the columns of a Parquet or Feather file.

    Raises:
        DataError: the file is corrupt or truncated.
    """
    if container is not Container.PARQUET or not isinstance(content, Path):
        return table_of(path, read_table(path, container, content, sorted({*roles.values()})), roles, label)

    def load(name: str) -> pl.Series:
        return read_table(path, container, content, [name])[name]

    return Table(path, load, len(load(roles["time"])), roles, label)


def is_candles(columns: list[str]) -> bool:
    """Tell whether column names are those of candles."""
    return {"open", "high", "low", "close"} <= {name.lower() for name in columns}


def roles_of(path: Path, columns: list[str]) -> dict[str, str]:
    """Find what each named column is for.

    Raises:
        DataError: there is no column for the time, the price or the quantity.
    """
    lowered = {name.strip().lower(): name for name in reversed(columns)}
    roles: dict[str, str] = {}
    for role, aliases in ROLES.items():
        known = next((alias for alias in aliases if alias in lowered), None)
        if known is not None:
            roles[role] = lowered[known]
    require_roles(path, columns, roles, {"time": "ts_ms", "price": "price", "quantity": "qty"})
    return roles


def require_roles(path: Path, columns: list[str], roles: dict[str, str], needed: dict[str, str]) -> None:
    """Raise `DataError` when a needed role has no column; name the likely misspelling."""
    for role, usual in needed.items():
        if role not in roles:
            used = set(roles.values())
            hint = did_you_mean(usual, [name for name in columns if name not in used])
            found = ", ".join(columns[:12])
            raise DataError(
                f"{path}: no column for the {role}: {usual} is missing, found {found}.{hint}"
                f" Needed are {', '.join(needed.values())}; formats: docs/market-data.md"
            )


def open_table(path: Path, container: Container, content: bytes | Path) -> Table:
    """Read a Parquet, Feather or CSV file of trades, only the columns that matter.

    Raises:
        DataError: the file is corrupt or truncated, or its columns are not those of trades.
    """
    if isinstance(content, Path) or container is not Container.CSV:
        roles = roles_of(path, column_names(path, container, content))
        return table_in(path, container, content, roles, f"{container} of trades")
    first, columns = csv_header(content)
    if columns:
        roles = roles_of(path, columns)
        label = "CSV of trades"
        if "maker" in roles:
            label = "Binance aggTrades" if "first_id" in roles else "Binance trades"
        return csv_table(path, content, roles, label, first_line=2)
    label = _archive_layout(path, first)
    roles = {role: str(index) for role, index in _ARCHIVE[label].items()}
    return csv_table(path, content, roles, label, first_line=1)


def csv_header(content: bytes) -> tuple[list[str], list[str]]:
    """Return the fields of the first line, and the same again as column names when they are not numbers."""
    line = content[:65536].lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    fields = [field.strip().strip('"') for field in line.split(",")]
    try:
        float(fields[0])
    except ValueError:
        return fields, fields
    return fields, []


def csv_table(path: Path, content: bytes, roles: dict[str, str], label: str, *, first_line: int) -> Table:
    """Return a table over the fields of a CSV, as text. `first_line` 2 means a header, 1 none (then columns are named by place).

    Raises:
        DataError: the rows do not have one length, or the text is not UTF-8 (when a column is loaded).
    """
    has_header = first_line == 2

    def load(name: str) -> pl.Series:
        with reading(path):
            columns = [name] if has_header else [int(name)]
            return pl.read_csv(BytesIO(content), has_header=has_header, columns=columns, infer_schema=False).to_series()

    return Table(path, load, len(load(roles["time"])), roles, label, first_line)


def _archive_layout(path: Path, fields: list[str]) -> str:
    """Tell a headerless file's layout by its first line."""
    is_flag = [field.lower() in ("true", "false") for field in fields]
    if len(fields) == 3:
        return "headerless ts_s,price,qty"
    if len(fields) in (7, 8) and is_flag[6] and not is_flag[5]:
        return "Binance aggTrades"
    if len(fields) in (6, 7) and is_flag[5]:
        return "Binance trades"
    raise DataError(
        f"{path}: line 1 is neither a header nor a row of a known headerless format: {','.join(fields)[:120]!r}."
        " Known are Binance trades and aggTrades, and ts_s,price,qty; others need a header with ts_ms, price, qty, side"
        " (docs/market-data.md)."
    )


def trades_of(table: Table, name: str, only: Sequence[str] = ()) -> RawTrades:
    """Turn a table into trades, of some symbols or all.

    `name` is the file's (or archive member's) name: it may tell symbol and venue.
    """
    table, codes, markets = table.narrowed(name, only)
    unit = "s" if table.label.startswith("headerless") else UNITS.get(table.roles["time"].lower(), "")
    return RawTrades(
        path=table.path,
        label=table.label,
        ts_ns=times_of(table.need("time"), unit),
        price=from_series(table.need("price")),
        quantity=from_series(table.need("quantity")),
        side=_sides(table),
        codes=codes,
        markets=markets,
        ids=table.column("id"),
        first_ids=_int_column(table.column("first_id")),
        last_ids=_int_column(table.column("last_id")),
        recv_ns=table.column("recv"),
        rows=table.rows,
        first_line=table.first_line,
        cell=partial(_cell, table),
    )


def _cell(table: Table, role: str, row: int) -> str:
    return table.cell(role, row)


def _int_column(series: pl.Series | None) -> Ints | None:
    if series is None:
        return None
    numbers: Ints = series.cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
    return numbers


def times_of(series: pl.Series, unit: str) -> Ints:
    """Return a column of times as nanoseconds; 0 where there is none that can be read."""
    if series.dtype.is_temporal():
        return _filled(series.cast(pl.Datetime("ns")).cast(pl.Int64))
    if series.dtype.is_float():
        series = series.fill_nan(None)
        if unit in ("", "s") and (series.drop_nulls() % 1 != 0).any():
            series = series.cast(pl.String)
    if series.dtype != pl.String:
        return to_ns(_filled(series.cast(pl.Int64, strict=False)), unit)
    whole = series.str.strip_chars().cast(pl.Int64, strict=False)
    if whole.null_count() and _looks_like_dates(series):
        return _filled(series.str.to_datetime(time_unit="ns", time_zone="UTC", strict=False).cast(pl.Int64))
    ns = to_ns(_filled(whole), unit)
    if whole.null_count() and unit in ("", "s"):
        _add_fractions(ns, from_text(series))
    return ns


def _filled(series: pl.Series) -> Ints:
    values: Ints = series.fill_null(0).to_numpy()
    return np.maximum(values, 0)


def _add_fractions(ns: Ints, seconds: Scaled) -> None:
    """Set the times that are written as seconds with decimals."""
    rows = np.flatnonzero(
        (seconds.decimals > 0) & (seconds.decimals <= 9) & (seconds.faults == 0) & (seconds.coefficients > 0)
    )
    scaled, overflow = seconds.take(rows).at_scale(9)
    ns[rows] = np.where(overflow, 0, scaled)


def _looks_like_dates(series: pl.Series) -> bool:
    first = series.drop_nulls().head(1)
    return len(first) == 1 and str(first[0])[4:5] == "-" and str(first[0])[7:8] == "-"


def _sides(table: Table) -> Bytes:
    series, words = table.column("side"), _SIDES
    if series is None:
        series, words = table.column("maker"), _MAKERS
        if series is None:
            return np.zeros(len(table.rows), dtype=np.int8)
    found, codes = _words(series, len(series))
    meaning = [words.get(word.strip().lower(), raw.UNREADABLE_SIDE) for word in found]
    return np.array(meaning, dtype=np.int8)[codes]


def markets_of(
    venue: pl.Series | None, symbol: pl.Series | None, rows: int, *file_names: str
) -> tuple[Codes, list[tuple[str, str]]]:
    """Give every row its market, from the columns, else from the file's name."""
    named_venue = next(filter(None, map(names.venue_of_name, file_names)), "")
    named_symbol = next(filter(None, map(names.symbol_of_name, file_names)), "")
    if venue is None and symbol is None:
        return np.zeros(rows, dtype=np.int32), [(named_venue, named_symbol)]
    venues, venue_codes = _words(venue, rows)
    symbols, symbol_codes = _words(symbol, rows)
    found, codes = np.unique(venue_codes * np.int32(len(symbols)) + symbol_codes, return_inverse=True)
    markets = []
    for pair in found.tolist():
        venue_text, symbol_text = venues[pair // len(symbols)], symbols[pair % len(symbols)]
        bare = names.normal_symbol(symbol_text) if symbol_text else named_symbol
        markets.append((names.canonical_venue(venue_text or named_venue), bare))
    return codes.astype(np.int32), markets


def _words(series: pl.Series | None, rows: int) -> tuple[list[str], Codes]:
    """Return the different words of a column, sorted, and the number of each row's word."""
    if series is None:
        return [""], np.zeros(rows, dtype=np.int32)
    text = series.cast(pl.String)
    text = text.fill_null("") if text.null_count() else text
    words = sorted(text.unique().to_list())
    if len(words) <= 1:
        return words or [""], np.zeros(rows, dtype=np.int32)
    codes: Codes = text.replace_strict(words, list(range(len(words))), return_dtype=pl.Int32).to_numpy()
    return words, codes
