"""JSON rows: trade lists `[ts_ms, id, type, side, price, qty, cost]` and freqtrade's candles `[ts_ms, o, h, l, c, v]`."""

import json
from pathlib import Path
from typing import Any, Final

import polars as pl

from claire.adapters.marketdata import candles, tables
from claire.adapters.marketdata.raw import RawTrades
from claire.model.errors import DataError

_TRADE: Final = ("ts_ms", "id", "type", "side", "price", "quantity", "cost")
_CANDLE: Final = ("ts_ms", "open", "high", "low", "close", "volume")


def trades_of_list(path: Path, content: bytes, name: str) -> RawTrades:
    """Read a JSON array of rows. Numbers are taken as they are written, without a detour through floats.

    Raises:
        DataError: the JSON is corrupt or truncated, or its rows are neither trades nor candles.
    """
    try:
        rows: Any = json.loads(content, parse_float=str, parse_constant=str)
    except ValueError as e:
        raise DataError(f"{path}: the JSON is corrupt or truncated ({e}). Fetch the file again.") from e
    if not rows:
        raise DataError(f"{path}: the list is empty. Fetch it again.")
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    if width not in (len(_TRADE), len(_CANDLE)):
        raise DataError(
            f"{path}, row 1: {json.dumps(rows[0])[:80]} is neither a trade [ts_ms, id, type, side, price, qty, cost]"
            " nor a candle [ts_ms, open, high, low, close, volume]."
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != width:
            raise DataError(f"{path}, row {number}: {json.dumps(row)[:80]} does not have the {width} fields of row 1.")
    columns = _TRADE if width == len(_TRADE) else _CANDLE
    frame = pl.DataFrame(
        {
            column: pl.Series([None if field is None else str(field) for field in fields], dtype=pl.String)
            for column, fields in zip(columns, zip(*rows, strict=True), strict=True)
            if column not in ("type", "cost")
        }
    )
    if columns is _CANDLE:
        return candles.trades_of_candles(candles.candles_from_rows(path, frame), name)
    roles = {"time" if column == "ts_ms" else column: column for column in frame.columns}
    return tables.trades_of(tables.table_of(path, frame, roles, "trade list"), name)
