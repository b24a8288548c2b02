"""Opening recordings for a run: which format, symbol, venue and rules; or a refusal that says what to do."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from claire.adapters.marketdata import candles, imports, lists, names, tables
from claire.adapters.marketdata.book import BookSequence, RawBook
from claire.adapters.marketdata.captures import CaptureReader, first_receipt
from claire.adapters.marketdata.files import Container, column_names, content_of, digest_of
from claire.adapters.marketdata.markets import asked_symbols, choose_markets
from claire.adapters.marketdata.preparing import Prepared, prepare
from claire.adapters.marketdata.raw import RawTrades
from claire.adapters.marketdata.recorded import RecordedMarket
from claire.adapters.marketdata.rules import Rules, read_sidecar
from claire.engine.ports import SourceInfo
from claire.model.errors import DataError, UsageError


@dataclass(slots=True)
class Recording:
    """Files as read, before a symbol was chosen or a row judged."""

    parts: list[RawTrades]
    book: RawBook | None = None
    sidecar: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sha256s: dict[Path, str] = field(default_factory=dict)
    sequences: dict[str, BookSequence] = field(default_factory=dict)
    """How the depth sequence of each symbol went."""


def open_source(
    path: str | Path,
    *,
    symbols: Sequence[str] = (),
    venue: str | None = None,
    rules: Rules | None = None,
    start: int = 0,
    end: int | None = None,
) -> RecordedMarket:
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
    return open_sources([path], symbols=symbols, venue=venue, rules=rules, start=start, end=end)


def open_sources(
    paths: Sequence[str | Path],
    *,
    symbols: Sequence[str] = (),
    venue: str | None = None,
    rules: Rules | None = None,
    start: int = 0,
    end: int | None = None,
) -> RecordedMarket:
    """Open several recordings (days that follow each other, or several symbols) as one source in global order.

    Captures are read in the order in which they begin, and a book goes on from one to the next. See `open_source`.
    """
    if not paths:
        raise UsageError("no market data file is named; give one with --data FILE")
    if start < 0 or (end is not None and end < start):
        raise UsageError(f"events {start} to {end} are no range; give 0 <= start <= end")
    recording = read_recordings(paths, asked_symbols(symbols))
    prepared = prepare(choose_markets(recording.parts, symbols, venue), rules or {}, recording.sidecar, recording.book)
    prepared.warnings[:0] = recording.warnings
    parameters = {"symbols": ",".join(prepared.trades.symbols), "format": recording.parts[0].label}
    if venue:
        parameters["venue"] = names.canonical_venue(venue)
    if rules:
        parameters["rules"] = json.dumps(
            {symbol: {name: str(value) for name, value in of.items()} for symbol, of in rules.items()}, sort_keys=True
        )
    if len(recording.sha256s) > 1:
        parameters["files"] = json.dumps([{"path": str(p), "sha256": s} for p, s in recording.sha256s.items()])
    if start or end is not None:
        parameters["start"], parameters["end"] = str(start), "" if end is None else str(end)
        cut(prepared, start, end)
    return RecordedMarket(
        prepared.trades,
        prepared.instruments,
        describe(recording, prepared, parameters),
        prepared.book,
        prepared.order,
    )


def read_recordings(paths: Sequence[str | Path], only: Sequence[str] = ()) -> Recording:
    """Read files of any known format (of some symbols, where they can be told apart early), judging nothing.

    Raises:
        DataError: a file is missing, empty, corrupt, truncated or of no known format.
    """
    files = [Path(path).absolute() for path in paths]
    recording = Recording([], sha256s={file: digest_of(file) for file in files})
    captures: list[Path] = []
    for file in files:
        container, content, name = content_of(file)
        if container in (Container.CAPTURE, Container.FRAMES):
            captures.append(file)
            continue
        part, book = _read_one(file, container, content, name, only)
        recording.parts.append(part)
        if book is not None:
            if recording.book is not None or captures:
                raise DataError(f"{file}: a second recording with a book. Open recordings with a book one at a time.")
            recording.book = book
    for file in files:
        sidecar = read_sidecar(file)
        recording.sidecar.setdefault("instruments", []).extend(sidecar.get("instruments", ()))
        recording.warnings += [str(warning) for warning in sidecar.get("warnings", ())]
        for part in recording.parts:
            part.synthetic |= part.path == file and bool(sidecar.get("synthetic_trades"))
    if captures:
        if recording.book is not None:
            raise DataError(
                f"{captures[0]}: a second recording with a book. Open recordings with a book one at a time."
            )
        reader = CaptureReader()
        for file in sorted(captures, key=first_receipt):
            reader.read(file)
        for part in reader.parts:
            part.markets = list(reader.markets)
        recording.parts += reader.parts
        recording.book = reader.book()
        recording.sequences = reader.sequences()
        recording.warnings += reader.warnings()
    return recording


def _read_one(
    path: Path, container: Container, content: bytes | Path, name: str, only: Sequence[str]
) -> tuple[RawTrades, RawBook | None]:
    if isinstance(content, bytes) and container is Container.JSON:
        return lists.trades_of_list(path, content, name), None
    if isinstance(content, bytes):
        _, columns = tables.csv_header(content)
    else:
        columns = column_names(path, container, content)
        if imports.has_book(columns):
            return imports.read_with_book(path)
    if tables.is_candles(columns):
        return candles.trades_of_candles(candles.open_candles(path, container, content), name, only), None
    return tables.trades_of(tables.open_table(path, container, content), name, only), None


def cut(prepared: Prepared, start: int, end: int | None) -> None:
    """Keep a range of the events, counted in their order."""
    if prepared.order is not None:
        prepared.order = prepared.order[start:end]
    else:
        prepared.trades = prepared.trades.take(slice(start, end))


def describe(recording: Recording, prepared: Prepared, parameters: dict[str, str]) -> SourceInfo:
    """Say where the events of a recording come from."""
    trades, book, order = prepared.trades, prepared.book, prepared.order
    times = trades.ts_ns
    has_book = False
    if book is not None and order is not None:
        times = np.concatenate([trades.ts_ns, book.top_ts, book.depth_ts])[order]
        has_book = bool((order >= len(trades)).any())
    hashes = list(recording.sha256s.values())
    together = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return SourceInfo(
        kind="recorded",
        symbols=trades.symbols,
        rows=len(times),
        first_ns=int(times[0]) if len(times) else 0,
        last_ns=int(times[-1]) if len(times) else 0,
        sha256=together,
        path=str(next(iter(recording.sha256s))),
        venue=",".join(sorted({i.venue: True for i in prepared.instruments.values() if i.venue})),
        parameters=parameters,
        has_book=has_book,
        synthetic_trades=any(part.synthetic for part in recording.parts),
        warnings=tuple(dict.fromkeys(prepared.warnings)),
    )
