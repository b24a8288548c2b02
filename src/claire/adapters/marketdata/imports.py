"""Claire's own Parquet form of a recording, and its sidecar: what `claire data import|synth|check --write` write.

One row per event in final order: `ts_ns`, `symbol`, `venue`, `price`, `qty` (exact decimals), `side` (the taker's, `buy` or
`sell`) and `trade_id`. A recording with a book has also `kind` (`trade`, `top`, `depth`, `snapshot`, `lost`) and the levels as
lists of whole ticks and lots. `FILE.instruments.json` beside it holds the instrument rules, what was said about the
original, and where it came from.
"""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from claire.adapters.marketdata import tables
from claire.adapters.marketdata.book import RawBook
from claire.adapters.marketdata.files import Container, read_table, reading
from claire.adapters.marketdata.numbers import Ints, Scaled
from claire.adapters.marketdata.raw import BUY, RawTrades
from claire.adapters.marketdata.recorded import TradeColumns
from claire.adapters.marketdata.rules import SIDECAR_FORMAT, instrument_fields, read_sidecar, sidecar_of
from claire.engine.ports import SourceInfo
from claire.model.errors import DataError
from claire.model.instrument import Instrument, decimals_of
from claire.model.market import Depth, MarketEvent, Side, TopOfBook, Trade

_LEVELS: Final = ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")


def write_trades(
    path: Path, columns: TradeColumns, instruments: dict[str, Instrument], ids: pl.Series | None = None
) -> None:
    """Write trades in their order.

    Raises:
        DataError: the file cannot be written.
    """
    frame = _trade_frame(columns, instruments)
    if ids is not None:
        frame = frame.with_columns(ids.alias("trade_id"))
    _write(path, frame)


def write_events(
    path: Path,
    batches: Iterable[Sequence[MarketEvent]],
    instruments: dict[str, Instrument],
    ids: pl.Series | None = None,
) -> None:
    """Write events of all kinds in their order; `ids` are those of the trades.

    Raises:
        DataError: the file cannot be written.
    """
    symbols = tuple(sorted(instruments))
    numbers = {symbol: code for code, symbol in enumerate(symbols)}
    rows: dict[str, list[Any]] = {name: [] for name in ("kind", "code", "ts", "ticks", "lots", "side", *_LEVELS)}
    for event in chain.from_iterable(batches):
        _append(rows, event, numbers[event.symbol])
    columns = TradeColumns(
        symbols,
        np.array(rows["code"], dtype=np.int32),
        np.array(rows["ts"], dtype=np.int64),
        np.array(rows["ticks"], dtype=np.int64),
        np.array(rows["lots"], dtype=np.int64),
        np.array(rows["side"], dtype=np.int8),
    )
    frame = _trade_frame(columns, instruments).with_columns(
        pl.Series("kind", rows["kind"], dtype=pl.String),
        *(pl.Series(name, rows[name], dtype=pl.List(pl.Int64)) for name in _LEVELS),
    )
    is_trade = pl.col("kind") == "trade"
    frame = frame.with_columns(pl.when(is_trade).then(pl.col(name)).alias(name) for name in ("price", "qty", "side"))
    if ids is not None:
        places = pl.Series(np.flatnonzero(frame["kind"].to_numpy() == "trade"))
        spread = pl.Series("trade_id", [None] * frame.height, dtype=ids.dtype).scatter(places, ids)
        frame = frame.with_columns(spread)
    _write(path, frame)


def write_sidecar(
    path: Path,
    instruments: dict[str, Instrument],
    *,
    made_from: SourceInfo,
    warnings: Sequence[str] = (),
    synthetic: bool = False,
) -> Path:
    """Write the sidecar of a file.

    Raises:
        DataError: the file cannot be written.
    """
    content = {
        "format": SIDECAR_FORMAT,
        "instruments": [instrument_fields(instruments[symbol]) for symbol in sorted(instruments)],
        "warnings": [warning for warning in warnings if " are inferred from the rows" not in warning],
        "synthetic_trades": synthetic,
        "made_from": {
            "file": Path(made_from.path).name,
            "sha256": made_from.sha256,
            "parameters": {name: value for name, value in made_from.parameters.items() if name != "files"},
        },
    }
    sidecar = sidecar_of(path)
    try:
        sidecar.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as e:
        raise DataError(f"{sidecar}: cannot be written ({e.strerror or e}). Choose another place.") from e
    return sidecar


def has_book(columns: list[str]) -> bool:
    """Tell whether column names are those of an import with a book."""
    return {"kind", *_LEVELS} <= set(columns)


def read_with_book(path: Path) -> tuple[RawTrades, RawBook]:
    """Read an import with a book.

    Raises:
        DataError: it is corrupt, or its sidecar is missing.
    """
    rules = {str(i["symbol"]): i for i in read_sidecar(path).get("instruments", ())}
    frame = read_table(path, Container.PARQUET, path).with_row_index("seq")
    missing = sorted(str(symbol) for symbol in frame["symbol"].unique().to_list() if symbol not in rules)
    if missing:
        raise DataError(
            f"{path}: its sidecar with the rules of {', '.join(missing)} is missing; the book is counted in their steps."
            " Put it back beside the file, or import the original again."
        )
    is_trade = frame["kind"] == "trade"
    trade_frame = frame.filter(is_trade)
    roles = {"time": "ts_ns", "price": "price", "quantity": "qty", "side": "side", "id": "trade_id"}
    roles |= {"symbol": "symbol", "venue": "venue"}
    known = {role: name for role, name in roles.items() if name in frame.columns}
    table = tables.table_of(path, trade_frame, known, "import")
    trades = tables.trades_of(table, path.name)
    seq = trade_frame["seq"].cast(pl.Int64).to_numpy()
    rows = np.arange(len(trades))
    trades.rows, trades.seq_base = seq, 0
    trades.cell = lambda role, row: table.cell(role, int(rows[np.searchsorted(seq, row)]))
    return trades, _book_of(frame.filter(~is_trade), rules, trades)


def _book_of(frame: pl.DataFrame, rules: dict[str, Any], trades: RawTrades) -> RawBook:
    codes, markets = tables.markets_of(frame["venue"], frame["symbol"], frame.height, "")
    trades_codes = {market: index for index, market in enumerate(trades.markets)}
    for market in markets:
        if market not in trades_codes:
            trades.markets.append(market)
    frame = frame.with_columns(pl.Series("code", codes))
    tops, depths = frame.filter(pl.col("kind") == "top"), frame.filter(pl.col("kind") != "top")
    steps = [(Decimal(str(rules[s]["tick"])), Decimal(str(rules[s]["lot"]))) for _, s in markets]
    top_codes, depth_codes = (part["code"].cast(pl.Int32).to_numpy() for part in (tops, depths))
    bids, asks = (depths[name].list.len().cast(pl.Int64).to_numpy() for name in ("bid_ticks", "ask_ticks"))
    counts = bids + asks
    owners = np.repeat(depth_codes, counts)
    return RawBook(
        markets=markets,
        top_ts=tops["ts_ns"].to_numpy(),
        top_seq=tops["seq"].cast(pl.Int64).to_numpy(),
        top_codes=top_codes,
        top_prices=_scaled(_flat(tops, "bid_ticks", "ask_ticks"), np.repeat(top_codes, 2), [t for t, _ in steps]),
        top_quantities=_scaled(_flat(tops, "bid_lots", "ask_lots"), np.repeat(top_codes, 2), [lot for _, lot in steps]),
        depth_ts=depths["ts_ns"].to_numpy(),
        depth_seq=depths["seq"].cast(pl.Int64).to_numpy(),
        depth_codes=depth_codes,
        snapshot=(depths["kind"] == "snapshot").to_numpy(),
        valid=(depths["kind"] != "lost").to_numpy(),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]]) if len(counts) else counts,
        bids=bids,
        asks=asks,
        prices=_scaled(_flat(depths, "bid_ticks", "ask_ticks"), owners, [t for t, _ in steps]),
        quantities=_scaled(_flat(depths, "bid_lots", "ask_lots"), owners, [lot for _, lot in steps]),
    )


def _flat(frame: pl.DataFrame, bids: str, asks: str) -> Ints:
    """Return the levels of all rows one after the other, the bids of each row first."""
    levels = frame.select(pl.concat_list(bids, asks)).to_series()
    numbers: Ints = levels.filter(levels.list.len() > 0).explode().cast(pl.Int64).to_numpy()
    return numbers


def _scaled(steps: Ints, codes: np.ndarray[Any, np.dtype[np.int32]], sizes: list[Decimal]) -> Scaled:
    """Turn whole ticks or lots of each market back into decimal numbers."""
    decimals = np.array([decimals_of(size) for size in sizes], dtype=np.int8)
    factors = np.array([int(size.scaleb(decimals_of(size))) for size in sizes], dtype=np.int64)
    return Scaled(steps * factors[codes], decimals[codes], np.zeros(len(steps), dtype=np.int8))


def _append(rows: dict[str, list[Any]], event: MarketEvent, code: int) -> None:
    ticks, lots, side = 0, 0, BUY
    levels: tuple[Sequence[int], ...] = ((), (), (), ())
    if isinstance(event, Trade):
        kind, ticks, lots = "trade", event.price_ticks, event.quantity_lots
        side = BUY if event.side is Side.BUY else BUY + 1
    elif isinstance(event, TopOfBook):
        kind = "top"
        levels = ((event.bid_ticks,), (event.bid_lots,), (event.ask_ticks,), (event.ask_lots,))
    else:
        kind = _depth_kind(event)
        levels = tuple([level[k] for level in of] for of in (event.bids, event.asks) for k in (0, 1))
    fields = (kind, code, event.ts_event_ns, ticks, lots, side, *levels)
    for column, value in zip(rows.values(), fields, strict=True):
        column.append(value)


def _depth_kind(event: Depth) -> str:
    if not event.valid:
        return "lost"
    return "snapshot" if event.snapshot else "depth"


def _trade_frame(columns: TradeColumns, instruments: dict[str, Instrument]) -> pl.DataFrame:
    codes = np.zeros(len(columns), np.int32) if columns.codes is None else columns.codes
    symbols = pl.Series(columns.symbols, dtype=pl.String)
    venues = pl.Series([instruments[symbol].venue for symbol in columns.symbols], dtype=pl.String)
    sides = pl.Series(["buy", "buy", "sell"], dtype=pl.String)
    rows = pl.Series(codes)
    return pl.DataFrame(
        {
            "ts_ns": columns.ts_ns,
            "symbol": symbols.gather(rows),
            "venue": venues.gather(rows),
            "price": _decimals(columns.ticks, codes, [instruments[symbol].tick for symbol in columns.symbols]),
            "qty": _decimals(columns.lots, codes, [instruments[symbol].lot for symbol in columns.symbols]),
            "side": sides.gather(pl.Series(columns.side)),
        }
    )


def _decimals(steps: Ints, codes: np.ndarray[Any, np.dtype[np.int32]], sizes: list[Decimal]) -> pl.Series:
    """Return whole steps as exact decimals."""
    scale = max((decimals_of(size) for size in sizes), default=0)
    factors = pl.Series([int(size.scaleb(scale)) for size in sizes], dtype=pl.Int128)
    wide = pl.Series(steps).cast(pl.Int128) * factors.gather(pl.Series(codes))
    unit = pl.lit(Decimal(1).scaleb(-scale), dtype=pl.Decimal(38, scale))
    return pl.select(wide.cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, scale)) * unit).to_series()


def _write(path: Path, frame: pl.DataFrame) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        with reading(path):
            frame.write_parquet(temporary, compression="zstd")
        temporary.replace(path)
    except OSError as e:
        raise DataError(f"{path}: cannot be written ({e.strerror or e}). Choose another place.") from e
