"""`claire data import`, `check --write` and `synth`: writing markets in Claire's own form."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct

from claire.adapters.marketdata import names
from claire.adapters.marketdata.checking import conflicting_rows, repeated_rows
from claire.adapters.marketdata.faults import Fault, faults_of, reason_for
from claire.adapters.marketdata.imports import write_events, write_sidecar, write_trades
from claire.adapters.marketdata.markets import asked_symbols, choose_markets, name_unnamed, present_symbols
from claire.adapters.marketdata.opening import Recording, describe, read_recordings
from claire.adapters.marketdata.preparing import Prepared, prepare
from claire.adapters.marketdata.raw import RawTrades
from claire.adapters.marketdata.recorded import RecordedMarket, TradeColumns
from claire.adapters.marketdata.rules import Rules
from claire.adapters.marketdata.synth import SyntheticMarket
from claire.engine.ports import SourceInfo
from claire.model.errors import DataError


class Written(Struct, frozen=True, kw_only=True):
    """What was written, and where."""

    path: str
    sidecar: str
    rows: int
    """Events written."""
    symbols: tuple[str, ...]
    dropped: int = 0
    log: str = ""
    """JSON lines: one per dropped row, with place, reason and content."""
    warnings: tuple[str, ...] = ()


def import_file(
    path: str | Path,
    target: str | Path,
    *,
    symbols: Sequence[str] = (),
    venue: str | None = None,
    rules: Rules | None = None,
    force: bool = False,
) -> Written:
    """Write a recording in Claire's own form. Reading that gives the same events and instruments as the original.

    Args:
        path: A recording of any known format.
        target: The Parquet file to write; its sidecar goes beside it.
        symbols: Which symbols; empty for all that spot trading can replay.
        venue: Which venue, where the file holds a symbol for several.
        rules: Instrument rules that go before the inferred ones, see `open_source`.
        force: Write over existing files.

    Raises:
        DataError: the recording cannot be used as it is, or the target exists or cannot be written.
    """
    goal = _target(path, target, force=force)
    recording = read_recordings([path], asked_symbols(symbols))
    parts = choose_markets(recording.parts, symbols or replayable(recording.parts[0]), venue)
    prepared = prepare(parts, rules or {}, recording.sidecar, recording.book)
    return _write(goal, recording, prepared)


def write_clean(
    path: str | Path,
    target: str | Path,
    *,
    symbols: Sequence[str] = (),
    venue: str | None = None,
    force: bool = False,
) -> Written:
    """Write a copy of a recording without the rows that a run refuses, and a log of them. Arguments as `import_file`.

    Raises:
        DataError: nothing usable is left, or the target exists or cannot be written.
    """
    goal = _target(path, target, force=force)
    recording = read_recordings([path], asked_symbols(symbols))
    part = choose_markets(recording.parts, symbols or replayable(recording.parts[0]), venue)[0]
    kept, dropped = without_faults(part)
    log = goal.with_name(goal.name + ".dropped.jsonl")
    prepared = prepare([kept], {}, recording.sidecar, recording.book)
    try:
        log.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in dropped), encoding="utf-8")
    except OSError as e:
        raise DataError(f"{log}: cannot be written ({e.strerror or e}). Choose another place.") from e
    written = _write(goal, recording, prepared)
    return Written(
        path=written.path,
        sidecar=written.sidecar,
        rows=written.rows,
        symbols=written.symbols,
        dropped=len(dropped),
        log=str(log),
        warnings=written.warnings,
    )


def write_synthetic(
    market: SyntheticMarket,
    target: str | Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """Write a synthetic market. `progress` is told how many trades were added.

    Raises:
        DataError: the target exists or cannot be written.
    """
    goal = _target(None, target, force=force)
    instruments = market.instruments
    if market.settings.book == "none":
        blocks = []
        for block in market.blocks():
            blocks.append(block.trades)
            progress(len(block.trades))
        columns = TradeColumns(
            (market.settings.symbol,),
            None,
            np.concatenate([block.ts_ns for block in blocks]),
            np.concatenate([block.ticks for block in blocks]),
            np.concatenate([block.lots for block in blocks]),
            np.concatenate([block.side for block in blocks]),
        )
        write_trades(goal, columns, instruments, pl.Series(np.arange(1, len(columns) + 1)))
    else:
        write_events(goal, market.batches(), instruments)
    info = market.info
    sidecar = write_sidecar(goal, instruments, made_from=info, warnings=info.warnings, synthetic=True)
    return Written(path=str(goal), sidecar=str(sidecar), rows=info.rows, symbols=info.symbols, warnings=info.warnings)


def without_faults(part: RawTrades) -> tuple[RawTrades, list[dict[str, str | int]]]:
    """Return the rows that a run takes, and a description of each other one."""
    faults, repeated, conflicts = faults_of(part), repeated_rows(part), conflicting_rows(part)
    bad = (faults != Fault.NONE) | repeated | conflicts
    dropped: list[dict[str, str | int]] = []
    for row in np.flatnonzero(bad).tolist():
        if faults[row]:
            reason = reason_for(part, row, Fault(int(faults[row])))
        else:
            reason = "repeats a trade before it" if repeated[row] else "trade id stands for another trade before it"
        dropped.append(
            {
                "place": part.place(row),
                "reason": reason,
                "symbol": part.markets[int(part.codes[row])][1],
                "ts_ns": int(part.ts_ns[row]),
                "price": part.text("price", row),
                "qty": part.text("quantity", row),
                "trade_id": "" if part.ids is None or part.ids[row] is None else str(part.ids[row]),
            }
        )
    return (part.take(~bad) if dropped else part), dropped


def replayable(part: RawTrades) -> list[str]:
    """Return the symbols of a file that spot trading can replay.

    Raises:
        DataError: the file does not tell its symbol.
    """
    name_unnamed(part, [])
    inverse = {symbol for venue, symbol in part.markets if names.is_inverse(symbol, venue)}
    present = present_symbols(part)
    return [symbol for symbol in present if symbol not in inverse] or present


def _target(path: str | Path | None, target: str | Path, *, force: bool) -> Path:
    goal = Path(target).absolute()
    if goal.suffix != ".parquet":
        raise DataError(f"{goal}: the file to write is Parquet; give it a name that ends in .parquet")
    if path is not None and goal == Path(path).absolute():
        raise DataError(f"{goal}: is the file to read; choose another name to write to")
    if goal.exists() and not force:
        raise DataError(f"{goal}: exists already. Choose another name, or give --force to write over it.")
    if not goal.parent.is_dir():
        raise DataError(f"{goal.parent}: there is no such folder to write to. Make it first.")
    return goal


def _write(goal: Path, recording: Recording, prepared: Prepared) -> Written:
    info: SourceInfo = describe(recording, prepared, {"format": recording.parts[0].label})
    if prepared.book is None:
        write_trades(goal, prepared.trades, prepared.instruments, prepared.ids)
    else:
        market = RecordedMarket(prepared.trades, prepared.instruments, info, prepared.book, prepared.order)
        write_events(goal, market.batches(), prepared.instruments, prepared.ids)
    warnings = (*recording.warnings, *prepared.warnings)
    sidecar = write_sidecar(
        goal, prepared.instruments, made_from=info, warnings=warnings, synthetic=info.synthetic_trades
    )
    return Written(path=str(goal), sidecar=str(sidecar), rows=info.rows, symbols=info.symbols, warnings=tuple(warnings))
