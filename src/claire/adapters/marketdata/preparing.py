"""From trades as read to trades as replayed: judged, with rules, as integers, without repetitions, in global order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from claire.adapters.marketdata import names, raw
from claire.adapters.marketdata.book import BookColumns, RawBook
from claire.adapters.marketdata.faults import faults_of, refuse_faults
from claire.adapters.marketdata.numbers import Ints, Mask, Scaled
from claire.adapters.marketdata.raw import RawTrades, sides_by_tick_rule
from claire.adapters.marketdata.recorded import TradeColumns, time_order
from claire.adapters.marketdata.rules import Rules, finest, floored_steps, instrument_for, steps_of
from claire.model.errors import DataError
from claire.model.instrument import Instrument


@dataclass(slots=True)
class Prepared:
    """What a source is made of."""

    trades: TradeColumns
    instruments: dict[str, Instrument]
    warnings: list[str]
    ids: pl.Series | None
    """Trade ids in the order of the trades (kept for an import)."""
    book: BookColumns | None = None
    order: Ints | None = None


def prepare(
    parts: Sequence[RawTrades], rules: Rules, sidecar: Mapping[str, Any], book: RawBook | None = None
) -> Prepared:
    """Judge chosen trades (all parts with the same markets), find their rules, and order them.

    Raises:
        DataError: there is no trade; a row has a fault, or is no whole number of ticks and lots; or a trade id stands for
            two different trades.
    """
    if not any(len(part) for part in parts) and (book is None or not len(book.top_ts)):
        raise DataError(f"{parts[0].path}: holds no trades of {', '.join(symbol for _, symbol in parts[0].markets)}.")
    for part in parts:
        refuse_faults(part, faults_of(part))
    warnings = [warning for part in parts for warning in part.warnings]
    for part in parts:
        fill_sides(part, warnings)
    instruments = instruments_of(parts, rules, sidecar, book)
    _say_about(parts[0].markets, instruments, warnings)

    columns, seq = _as_columns(parts, instruments)
    ids = _joined_ids(parts)
    keep = _without_duplicates(parts, columns, ids, warnings)
    if keep is not None:
        columns, seq = columns.take(keep), seq[keep]
        ids = None if ids is None else ids.gather(pl.Series(keep))
    late = disorder(columns)
    if late:
        warnings.append(f"{late} rows were out of time order; sorted by (time, symbol, row)")
    order = time_order(columns.ts_ns, columns.codes)
    if order is not None:
        columns, seq = columns.take(order), seq[order]
        ids = None if ids is None else ids.gather(pl.Series(order))
    prepared = Prepared(columns, instruments, warnings, ids)
    if book is not None:
        prepared.book = book_columns(book, parts, instruments, warnings)
        prepared.order = _order_of_all(columns, seq, prepared.book, book)
    return prepared


def fill_sides(trades: RawTrades, warnings: list[str]) -> None:
    """Give every trade without a taker side one by the tick rule, and say so."""
    unknown = int((trades.side == raw.UNKNOWN_SIDE).sum())
    if unknown:
        trades.side = sides_by_tick_rule(trades.price.as_floats(), trades.side, trades.codes)
        what = "no trade has a side" if unknown == len(trades) else f"{unknown} trades have no side"
        if not trades.synthetic:
            warnings.append(f"{what}: set by the tick rule")


def instruments_of(
    parts: Sequence[RawTrades], rules: Rules, sidecar: Mapping[str, Any], book: RawBook | None = None
) -> dict[str, Instrument]:
    """Find the rules of every symbol, over all rows of it in all parts, and for the tick also over its book.

    The lot comes from the trades alone: books hold old orders finer than the venue's present step.

    Raises:
        DataError: the rules contradict themselves.
        ConfigError: a given rule is not one.
    """
    instruments = {}
    for code, (venue, symbol) in enumerate(parts[0].markets):
        prices, quantities = 0, 0
        for part in parts:
            rows = part.codes == code
            prices = max(prices, finest(part.price.take(rows)))
            quantities = max(quantities, finest(part.quantity.take(rows)))
        if book is not None:
            tops, _, levels = book.of((venue, symbol))
            for numbers, chosen in ((book.top_prices, np.repeat(tops, 2)), (book.prices, levels)):
                prices = max(prices, finest(numbers.take(chosen)))
            if not any((part.codes == code).any() for part in parts):
                for numbers, chosen in ((book.top_quantities, np.repeat(tops, 2)), (book.quantities, levels)):
                    quantities = max(quantities, finest(numbers.take(chosen)))
        instruments[symbol] = instrument_for(
            symbol, given=rules, sidecar=sidecar, venue=venue, price_decimals=prices, lot_decimals=quantities
        )
    return instruments


def disorder(columns: TradeColumns) -> int:
    """Return how many rows are older than a row of the same symbol before them."""
    if columns.codes is None:
        parts = [columns.ts_ns]
    else:
        parts = [columns.ts_ns[columns.codes == code] for code in range(len(columns.symbols))]
    return sum(int((part < np.maximum.accumulate(part)).sum()) for part in parts if len(part))


def repeated_ids(codes: npt.NDArray[np.int32], ids: pl.Series | None, *, one_market: bool) -> Mask | None:
    """Return which rows share their trade id with another row of their market; None where no two do."""
    if ids is None or ids.null_count() == len(ids):
        return None
    if one_market and ids.dtype.is_integer() and ids.null_count() == 0:
        numbers = ids.to_numpy()
        if bool((numbers[1:] > numbers[:-1]).all()):
            return None
    frame = pl.DataFrame({"code": codes, "id": ids})
    repeated: Mask = (frame.is_duplicated() & ids.is_not_null()).to_numpy()
    return repeated if repeated.any() else None


def book_columns(
    book: RawBook, parts: Sequence[RawTrades], instruments: Mapping[str, Instrument], warnings: list[str]
) -> BookColumns:
    """Return the book of the chosen markets as integers; quantities are rounded down to whole lots, and that is said.

    Raises:
        DataError: a price or quantity of the book is unreadable, or a price is no whole number of ticks.
    """
    markets = parts[0].markets
    top = np.zeros((len(book.top_ts), 4), dtype=np.int64)
    ticks, lots = np.zeros(len(book.prices), np.int64), np.zeros(len(book.prices), np.int64)
    top_codes = np.full(len(book.top_ts), -1, dtype=np.int32)
    depth_codes = np.full(len(book.depth_ts), -1, dtype=np.int32)
    for code, market in enumerate(markets):
        if market not in book.markets:
            continue
        tops, depths, levels = book.of(market)
        top_codes[tops], depth_codes[depths] = code, code
        sides = np.repeat(tops, 2)
        steps = _BookSteps(parts[0].path, instruments[market[1]])
        prices, quantities = steps.ticks(book.top_prices.take(sides)), steps.lots(book.top_quantities.take(sides))
        top[tops] = np.stack([prices[0::2], quantities[0::2], prices[1::2], quantities[1::2]], axis=1)
        ticks[levels], lots[levels] = steps.ticks(book.prices.take(levels)), steps.lots(book.quantities.take(levels))
        if steps.rounded:
            warnings.append(f"{market[1]}: {steps.rounded} quantities of the book are rounded down to whole lots")
    return BookColumns(
        symbols=tuple(symbol for _, symbol in markets),
        top_codes=top_codes,
        top_ts=book.top_ts,
        top=top,
        depth_codes=depth_codes,
        depth_ts=book.depth_ts,
        snapshot=book.snapshot,
        valid=book.valid,
        starts=book.starts,
        bids=book.bids,
        asks=book.asks,
        ticks=ticks,
        lots=lots,
    )


class _BookSteps:
    """Turns numbers of one market's book into steps."""

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self.path = path
        self.instrument = instrument
        self.rounded = 0

    def ticks(self, prices: Scaled) -> Ints:
        steps, uneven, too_large = floored_steps(prices, self.instrument.tick)
        return self._checked("price", steps, prices, uneven | too_large)

    def lots(self, quantities: Scaled) -> Ints:
        steps, uneven, too_large = floored_steps(quantities, self.instrument.lot)
        self.rounded += int(uneven.sum())
        return self._checked("quantity", steps, quantities, too_large)

    def _checked(self, what: str, steps: Ints, numbers: Scaled, wrong: Mask) -> Ints:
        wrong = wrong | (numbers.faults != 0) | (numbers.coefficients < 0)
        if wrong.any():
            rule = "tick" if what == "price" else "lot"
            symbol, step = self.instrument.symbol, getattr(self.instrument, rule)
            raise DataError(
                f"{self.path}: {symbol}: {int(wrong.sum())} values of {what} in the book are unreadable, negative or do not fit"
                f" {rule} {step:f}. Set instruments.{symbol}.{rule} to a step that fits, or fetch the file again."
            )
        return steps


def _say_about(markets: Sequence[tuple[str, str]], instruments: Mapping[str, Instrument], warnings: list[str]) -> None:
    for venue, symbol in markets:
        instrument = instruments[symbol]
        if names.is_linear_contract(venue):
            warnings.append(
                f"{symbol} ({venue}) is a linear perpetual: replayed as spot, without funding, margin or leverage"
            )
        if instrument.source == "inferred":
            warnings.append(
                f"{symbol}: tick {instrument.tick:f} and lot {instrument.lot:f} are inferred from the rows, minimum notional"
                f" is 0; set instruments.{symbol} to change them"
            )


def _as_columns(parts: Sequence[RawTrades], instruments: Mapping[str, Instrument]) -> tuple[TradeColumns, Ints]:
    """Join the parts as integers; also return each row's place in the recording."""
    markets = parts[0].markets
    ticks, lots, places, base = [], [], [], 0
    for part in parts:
        ticks.append(_part_steps(part, instruments, "price"))
        lots.append(_part_steps(part, instruments, "quantity"))
        places.append(part.rows + (part.seq_base if part.seq_base >= 0 else base))
        base = int(places[-1].max(initial=base - 1)) + 1
    columns = TradeColumns(
        tuple(symbol for _, symbol in markets),
        np.concatenate([part.codes for part in parts]) if len(markets) > 1 else None,
        _joined([part.ts_ns for part in parts]),
        _joined(ticks),
        _joined(lots),
        _joined([part.side for part in parts]),
    )
    return columns, _joined(places)


def _joined(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Join columns; a single one is taken as it is."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _part_steps(part: RawTrades, instruments: Mapping[str, Instrument], name: str) -> Ints:
    numbers = part.price if name == "price" else part.quantity
    rule = "tick" if name == "price" else "lot"
    result = np.zeros(len(part), dtype=np.int64)
    for code, (_, symbol) in enumerate(part.markets):
        rows: Any = slice(None) if len(part.markets) == 1 else np.flatnonzero(part.codes == code)
        step = getattr(instruments[symbol], rule)
        steps, wrong = steps_of(numbers.take(rows), step)
        if wrong.any():
            index = int(np.arange(len(part))[rows][int(np.argmax(wrong))])
            raise DataError(
                f"{part.path}, {part.place(index)}: {symbol}: {name} {part.text(name, index)} is no whole number of {rule}s of"
                f" {step:f} (or too large in them). Set instruments.{symbol}.{rule} to a step that fits."
            )
        result[rows] = steps
    return result


def _joined_ids(parts: Sequence[RawTrades]) -> pl.Series | None:
    if len(parts) == 1:
        return parts[0].ids
    if all(part.ids is None for part in parts):
        return None
    columns = [
        pl.Series([None] * len(part), dtype=pl.String) if part.ids is None else part.ids.cast(pl.String)
        for part in parts
    ]
    joined = pl.concat([column.alias("id") for column in columns])
    numbers = joined.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == joined.null_count() else joined


def _without_duplicates(
    parts: Sequence[RawTrades], columns: TradeColumns, ids: pl.Series | None, warnings: list[str]
) -> Ints | None:
    """Return the rows without repeated trades (None: all rows), and say how many were dropped."""
    codes = np.zeros(len(columns), np.int32) if columns.codes is None else columns.codes
    repeated = repeated_ids(codes, ids, one_market=columns.codes is None)
    if repeated is None or ids is None:
        return None
    rows = np.flatnonzero(repeated)
    frame = pl.DataFrame(
        {
            "row": rows,
            "code": codes[rows],
            "id": ids.gather(pl.Series(rows)),
            "ts": columns.ts_ns[rows],
            "ticks": columns.ticks[rows],
            "lots": columns.lots[rows],
            "side": columns.side[rows],
        }
    )
    groups = frame.group_by("code", "id", maintain_order=True).agg(
        pl.struct("ts", "ticks", "lots", "side").n_unique().alias("kinds"),
        pl.col("row").first(),
        pl.col("row").last().alias("last"),
    )
    for _, trade_id, _, first, last in groups.filter(pl.col("kinds") > 1).head(1).iter_rows():
        path, place = _place(parts, last)
        _, before = _place(parts, first)
        raise DataError(
            f"{path}, {place}: trade id {trade_id} stands for another trade at {before}. The file mixes recordings or is"
            f" corrupt: fetch it again, or claire data check {path} --write CLEAN.parquet"
        )
    keep = np.ones(len(columns), dtype=np.bool_)
    keep[rows] = False
    keep[groups["row"].to_numpy()] = True
    warnings.append(f"{int((~keep).sum())} repeated trades (same id, same content) were dropped")
    return np.flatnonzero(keep)


def _place(parts: Sequence[RawTrades], index: int) -> tuple[Any, str]:
    """Name the file and the place in it of a row of the joined columns."""
    for part in parts:
        if index < len(part):
            return part.path, part.place(index)
        index -= len(part)
    raise IndexError(index)


def _order_of_all(columns: TradeColumns, seq: Ints, book: BookColumns, source: RawBook) -> Ints:
    """Return the order of all events by (time, symbol, place in the recording)."""
    codes = np.zeros(len(columns), np.int32) if columns.codes is None else columns.codes
    times = np.concatenate([columns.ts_ns, book.top_ts, book.depth_ts])
    all_codes = np.concatenate([codes, book.top_codes, book.depth_codes])
    places = np.concatenate([seq, source.top_seq, source.depth_seq])
    order = np.lexsort((places, all_codes, times))
    return order[all_codes[order] >= 0]
