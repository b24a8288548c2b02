"""Opening a recording for a run: which format, which symbol and venue, which rules; or a refusal that says what to do."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from claire.adapters.marketdata import names, raw
from claire.adapters.marketdata.faults import faults_of, refuse_faults
from claire.adapters.marketdata.files import Container, content_of, digest_of
from claire.adapters.marketdata.raw import RawTrades, sides_by_tick_rule
from claire.adapters.marketdata.recorded import RecordedTrades, TradeColumns, time_order
from claire.adapters.marketdata.rules import Rules, finest, instrument_for, read_sidecar, steps_of
from claire.adapters.marketdata.tables import open_table, trades_of
from claire.engine.ports import MarketSource, SourceInfo
from claire.model.errors import DataError, UsageError, did_you_mean
from claire.model.instrument import Instrument


def open_source(
    path: str | Path,
    *,
    symbols: Sequence[str] = (),
    venue: str | None = None,
    rules: Rules | None = None,
    start: int = 0,
    end: int | None = None,
) -> MarketSource:
    """Open a recording of any known format as a source of market events.

    Args:
        path: The file.
        symbols: Which symbols to read; may be left out where the file holds (or its name tells) exactly one.
        venue: Which venue, where the file holds a symbol for several.
        rules: Instrument rules by symbol (``tick``, ``lot``, ``min_notional``, ``base``, ``quote`` …) that go before
            those of a sidecar and the inferred ones.
        start: First event of the source's order to read (from 0).
        end: Event before which to stop; None reads to the end.

    Raises:
        DataError: the file cannot be used as it is; the message names file, place, value and remedy.
        UsageError: the range of events is not one.
    """
    file = Path(path).absolute()
    if start < 0 or (end is not None and end < start):
        raise UsageError(f"events {start} to {end} are no range; give 0 <= start <= end")
    sha256 = digest_of(file)
    trades = read_trades(file)
    trades = choose_markets(trades, symbols, venue)
    columns, instruments, warnings = prepare(trades, rules or {}, read_sidecar(file))
    parameters = {"symbols": ",".join(columns.symbols), "format": trades.label}
    if venue:
        parameters["venue"] = names.canonical_venue(venue)
    if rules:
        parameters["rules"] = json.dumps(rules, default=str, sort_keys=True)
    if start or end is not None:
        parameters["start"], parameters["end"] = str(start), "" if end is None else str(end)
        columns = columns.take(slice(start, end))
    info = SourceInfo(
        kind="recorded",
        symbols=columns.symbols,
        rows=len(columns),
        first_ns=int(columns.ts_ns[0]) if len(columns) else 0,
        last_ns=int(columns.ts_ns[-1]) if len(columns) else 0,
        sha256=sha256,
        path=str(file),
        venue=",".join(sorted({i.venue: True for i in instruments.values() if i.venue})),
        parameters=parameters,
        synthetic_trades=trades.synthetic,
        warnings=tuple(warnings),
    )
    return RecordedTrades(columns, instruments, info)


def read_trades(path: Path) -> RawTrades:
    """Read a file of trades of any known format, judging nothing.

    Raises:
        DataError: the file is missing, empty, corrupt, truncated or of no known format.
    """
    container, content, name = content_of(path)
    if container in (Container.CSV, Container.PARQUET, Container.FEATHER):
        return trades_of(open_table(path, container, content), name)
    raise DataError(f"{path}: no such format")


def choose_markets(trades: RawTrades, symbols: Sequence[str], venue: str | None) -> RawTrades:
    """Keep the rows of the wanted symbols at one venue each.

    Raises:
        DataError: a symbol is not in the file, is there for several venues, or is an inverse contract; or the file
            holds several symbols and none was chosen; or neither file nor caller tells the symbol.
    """
    path = trades.path
    asked = list(dict.fromkeys(names.normal_symbol(symbol) for symbol in symbols))
    markets = trades.markets
    if all(not symbol for _, symbol in markets):
        if len(asked) != 1:
            raise DataError(
                f"{path}: neither a column nor the file's name tells the symbol. Give exactly one with --symbol."
            )
        trades.markets = markets = [(v, asked[0]) for v, _ in markets]
    present = sorted({symbol: True for _, symbol in markets if symbol})
    if not asked:
        if len(present) > 1:
            raise DataError(f"{path}: holds {len(present)} symbols: {', '.join(present)}. Choose with --symbol.")
        asked = present
    chosen = [_market_for(path, symbol, markets, venue) for symbol in asked]
    for market_venue, symbol in chosen:
        names.refuse_inverse(path, symbol, market_venue)
    wanted = np.array([market in chosen for market in markets], dtype=np.bool_)
    if not wanted.all():
        trades = trades.take(wanted[trades.codes])
    order = sorted(chosen, key=lambda market: market[1])
    recode = np.array([order.index(market) if market in order else -1 for market in markets], dtype=np.int32)
    trades.codes = recode[trades.codes]
    trades.markets = order
    if venue and any(not market_venue for market_venue, _ in order):
        trades.markets = [(market_venue or names.canonical_venue(venue), symbol) for market_venue, symbol in order]
    return trades


def _market_for(path: Path, symbol: str, markets: Sequence[tuple[str, str]], venue: str | None) -> tuple[str, str]:
    venues = sorted({v: True for v, s in markets if s == symbol})
    if not venues:
        present = sorted({s: True for _, s in markets if s})
        raise DataError(f"{path}: holds no {symbol}.{did_you_mean(symbol, present)} It holds {', '.join(present)}.")
    if venue is None:
        if len(venues) > 1:
            raise DataError(
                f"{path}: holds {symbol} for {len(venues)} venues: {', '.join(v or 'unnamed' for v in venues)}. Choose with --venue."
            )
        return venues[0], symbol
    wanted = names.canonical_venue(venue)
    if wanted in venues:
        return wanted, symbol
    if venues == [""]:
        return "", symbol
    raise DataError(
        f"{path}: holds no {symbol} of {wanted}.{did_you_mean(wanted, venues)} It holds it for {', '.join(venues)}."
    )


def prepare(
    trades: RawTrades, rules: Rules, sidecar: Mapping[str, Any]
) -> tuple[TradeColumns, dict[str, Instrument], list[str]]:
    """Judge chosen trades, find their rules, and bring them into their final order as integers.

    Raises:
        DataError: a row has a fault, or is no whole number of ticks and lots.
    """
    if not len(trades):
        raise DataError(f"{trades.path}: holds no trades.")
    refuse_faults(trades, faults_of(trades))
    warnings = list(trades.warnings)
    trades = fill_sides(trades, warnings)
    instruments, ticks, lots = to_steps(trades, rules, sidecar)
    keep = without_duplicates(trades, ticks, lots, warnings)
    for (venue, symbol), instrument in zip(trades.markets, instruments.values(), strict=True):
        if names.is_linear_contract(venue):
            warnings.append(
                f"{symbol} ({venue}) is a linear perpetual: replayed as spot, without funding, margin or leverage"
            )
        if instrument.source == "inferred":
            warnings.append(
                f"{symbol}: tick {instrument.tick} and lot {instrument.lot} are inferred from the rows, minimum notional is 0;"
                f" set instruments.{symbol} to change them"
            )
    codes = trades.codes if len(trades.markets) > 1 else None
    columns = TradeColumns(tuple(symbol for _, symbol in trades.markets), codes, trades.ts_ns, ticks, lots, trades.side)
    if keep is not None:
        columns = columns.take(keep)
    late = disorder(columns)
    if late:
        warnings.append(f"{late} rows were out of time order; sorted by (time, symbol, row)")
    order = time_order(columns.ts_ns, columns.codes)
    return (columns if order is None else columns.take(order)), instruments, warnings


def fill_sides(trades: RawTrades, warnings: list[str]) -> RawTrades:
    """Give every trade without a taker side one by the tick rule, and say so."""
    unknown = int((trades.side == raw.UNKNOWN_SIDE).sum())
    if unknown:
        trades.side = sides_by_tick_rule(trades.price.as_floats(), trades.side, trades.codes)
        what = "no trade has a side" if unknown == len(trades) else f"{unknown} trades have no side"
        warnings.append(f"{what}: set by the tick rule")
    return trades


def to_steps(
    trades: RawTrades, rules: Rules, sidecar: Mapping[str, Any]
) -> tuple[dict[str, Instrument], raw.Ints, raw.Ints]:
    """Find each symbol's rules and return prices and quantities as whole ticks and lots.

    Raises:
        DataError: a price or quantity is no whole number of steps, or too large for 64 bits in them.
    """
    instruments: dict[str, Instrument] = {}
    ticks, lots = np.zeros(len(trades), np.int64), np.zeros(len(trades), np.int64)
    for code, (venue, symbol) in enumerate(trades.markets):
        rows: Any = slice(None) if len(trades.markets) == 1 else np.flatnonzero(trades.codes == code)
        price, quantity = trades.price.take(rows), trades.quantity.take(rows)
        instrument = instrument_for(
            symbol,
            given=rules,
            sidecar=sidecar,
            venue=venue,
            kind="spot",
            price_decimals=finest(price),
            lot_decimals=finest(quantity),
        )
        instruments[symbol] = instrument
        for name, numbers, step, target in (
            ("price", price, instrument.tick, ticks),
            ("quantity", quantity, instrument.lot, lots),
        ):
            steps, wrong = steps_of(numbers, step)
            if wrong.any():
                index = int(np.arange(len(trades))[rows][int(np.argmax(wrong))])
                rule = "tick" if name == "price" else "lot"
                raise DataError(
                    f"{trades.path}, {trades.place(index)}: {symbol}: {name} {trades.text(name, index)} is no whole number of"
                    f" {rule}s of {step} (or too large in them). Set instruments.{symbol}.{rule} to a step that fits."
                )
            target[rows] = steps
    return instruments, ticks, lots


def without_duplicates(trades: RawTrades, ticks: raw.Ints, lots: raw.Ints, warnings: list[str]) -> raw.Ints | None:
    """Return the rows without repeated trades (None: all rows), and say how many were dropped.

    Raises:
        DataError: one trade id stands for two different trades.
    """
    repeated = repeated_ids(trades)
    if repeated is None:
        return None
    rows = np.flatnonzero(repeated)
    assert trades.ids is not None
    frame = pl.DataFrame(
        {
            "row": rows,
            "code": trades.codes[rows],
            "id": trades.ids.gather(rows),
            "ts": trades.ts_ns[rows],
            "ticks": ticks[rows],
            "lots": lots[rows],
            "side": trades.side[rows],
        }  # fmt: skip
    )
    groups = frame.group_by("code", "id", maintain_order=True).agg(
        pl.struct("ts", "ticks", "lots", "side").n_unique().alias("kinds"),
        pl.col("row").first(),
        pl.col("row").last().alias("last"),
    )
    for _, trade_id, _, first, last in groups.filter(pl.col("kinds") > 1).head(1).iter_rows():
        raise DataError(
            f"{trades.path}, {trades.place(last)}: trade id {trade_id} stands for another trade at {trades.place(first)}."
            f" The file mixes recordings or is corrupt: fetch it again, or claire data check {trades.path} --write CLEAN.parquet"
        )
    keep = np.ones(len(trades), dtype=np.bool_)
    keep[rows] = False
    keep[groups["row"].to_numpy()] = True
    warnings.append(f"{int((~keep).sum())} repeated trades (same id, same content) were dropped")
    return np.flatnonzero(keep)


def repeated_ids(trades: RawTrades) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Return which rows share their trade id with another row of their market; None where no two do."""
    ids = trades.ids
    if ids is None or ids.null_count() == len(ids):
        return None
    if len(trades.markets) == 1 and ids.dtype.is_integer() and ids.null_count() == 0:
        numbers = ids.to_numpy()
        if bool((numbers[1:] > numbers[:-1]).all()):
            return None
    frame = pl.DataFrame({"code": trades.codes, "id": ids})
    repeated = (frame.is_duplicated() & ids.is_not_null()).to_numpy()
    return repeated if repeated.any() else None


def disorder(columns: TradeColumns) -> int:
    """Return how many rows are older than a row of the same symbol before them."""
    if columns.codes is None:
        parts = [columns.ts_ns]
    else:
        parts = [columns.ts_ns[columns.codes == code] for code in range(len(columns.symbols))]
    return sum(int((part < np.maximum.accumulate(part)).sum()) for part in parts if len(part))


__all__ = ["Decimal", "open_source", "prepare", "read_trades"]
