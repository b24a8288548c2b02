"""`claire data check` and `info`: what a recording holds, and what is wrong with it, without refusing it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from msgspec import Struct

from claire.adapters.marketdata import candles, names, raw
from claire.adapters.marketdata.faults import REASONS, Fault, Faults, faults_of, reason_for
from claire.adapters.marketdata.numbers import Ints, Mask
from claire.adapters.marketdata.opening import Recording, read_recordings
from claire.adapters.marketdata.preparing import instruments_of, repeated_ids
from claire.adapters.marketdata.raw import RawTrades
from claire.adapters.marketdata.rules import instrument_fields
from claire.model.errors import ClaireError

EXAMPLES: Final = 5
"""How many places of each kind are named."""
GAP_S: Final = 60.0
"""Silence between two trades that counts as a gap, in seconds."""


class Gap(Struct, frozen=True):
    """A stretch without trades."""

    after_ns: int
    before_ns: int
    seconds: float


class Latency(Struct, frozen=True):
    """How long after the event the recorder received it, in milliseconds; negative where its clock ran behind."""

    min_ms: float
    median_ms: float
    max_ms: float


class MarketReport(Struct, frozen=True, kw_only=True):
    """What a recording holds of one symbol at one venue."""

    venue: str
    symbol: str
    rows: int
    first_ns: int
    last_ns: int
    faults: dict[str, int]
    """Reason → rows that a run would refuse."""
    faults_by_code: dict[str, int]
    """The same by the name of the fault, such as ``ABSURD_PRICE``."""
    duplicates: int
    conflicts: int
    """Rows whose trade id stands for another trade already."""
    disorder: int
    """Rows older than one before them."""
    sides_missing: int
    time_gaps: int
    longest_gaps: tuple[Gap, ...]
    id_gaps: int | None
    """Gaps in the trade ids; None where there are no numbered ids."""
    ids_missing: int | None
    refusal: str = ""
    """Why a run would refuse the symbol as such."""
    depth_gaps: int | None = None
    depth_unused: int | None = None
    snapshots_used: int | None = None
    latency: Latency | None = None
    instrument: dict[str, str | int] | None = None


class Report(Struct, frozen=True, kw_only=True):
    """What a recording holds, and whether a run takes it as it is."""

    path: str
    sha256: str
    format: str
    rows: int
    usable: bool
    markets: tuple[MarketReport, ...]
    examples: tuple[str, ...]
    """Places of the first faulty rows, with reason and value."""
    warnings: tuple[str, ...]
    synthetic_trades: bool
    gap_s: float


def check(path: str | Path, *, symbols: Sequence[str] = (), gap_s: float = GAP_S) -> Report:
    """Look through a recording.

    Args:
        path: The file.
        symbols: Which symbols; empty for all.
        gap_s: Silence that counts as a gap, in seconds (for candles: their interval).

    Raises:
        DataError: the file is missing, empty, corrupt, truncated or of no known format.
    """
    recording = read_recordings([path], [names.normal_symbol(symbol) for symbol in symbols])
    part = _joined(recording)
    faults = faults_of(part)
    conflicts = conflicting_rows(part)
    rows_of = _rows_by_market(part)
    wanted = [names.normal_symbol(symbol) for symbol in symbols]
    markets = tuple(
        _report(recording, part, market, rows, faults, conflicts, gap_s)
        for market, rows in rows_of.items()
        if (len(rows) or recording.book is not None) and (not wanted or market[1] in wanted)
    )
    return Report(
        path=str(part.path),
        sha256=next(iter(recording.sha256s.values())),
        format=part.label,
        rows=sum(market.rows for market in markets),
        usable=all(not market.faults and not market.conflicts for market in markets),
        markets=markets,
        examples=_examples(part, faults, conflicts),
        warnings=tuple(dict.fromkeys([*recording.warnings, *part.warnings])),
        synthetic_trades=part.synthetic,
        gap_s=gap_s,
    )


def conflicting_rows(part: RawTrades) -> Mask:
    """Return which rows have the trade id of a row before them, but other content."""
    conflicts = np.zeros(len(part), dtype=np.bool_)
    repeated = repeated_ids(part.codes, part.ids, one_market=len(part.markets) == 1)
    if repeated is None or part.ids is None:
        return conflicts
    rows = np.flatnonzero(repeated)
    frame = _contents(part, rows)
    first = frame.select(pl.struct("code", "id").is_first_distinct()).to_series().to_numpy()
    same = ~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    conflicts[rows[~first & ~same]] = True
    return conflicts


def repeated_rows(part: RawTrades) -> Mask:
    """Return which rows repeat a row before them: same trade id, same content."""
    again = np.zeros(len(part), dtype=np.bool_)
    repeated = repeated_ids(part.codes, part.ids, one_market=len(part.markets) == 1)
    if repeated is None or part.ids is None:
        return again
    rows = np.flatnonzero(repeated)
    again[rows] = ~_contents(part, rows).select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    return again


def _contents(part: RawTrades, rows: Ints) -> pl.DataFrame:
    ids = part.ids
    return pl.DataFrame(
        {
            "code": part.codes[rows],
            "id": [] if ids is None else ids.gather(pl.Series(rows)),
            "ts": part.ts_ns[rows],
            "price": part.price.coefficients[rows],
            "price_decimals": part.price.decimals[rows],
            "quantity": part.quantity.coefficients[rows],
            "quantity_decimals": part.quantity.decimals[rows],
            "side": part.side[rows],
        }
    )


def _joined(recording: Recording) -> RawTrades:
    """Return the trades of the one file that was read."""
    return recording.parts[0]


def _rows_by_market(part: RawTrades) -> dict[tuple[str, str], Ints]:
    return {market: np.flatnonzero(part.codes == code) for code, market in enumerate(part.markets)}


def _report(
    recording: Recording,
    whole: RawTrades,
    market: tuple[str, str],
    rows: Ints,
    faults: Faults,
    conflicts: Mask,
    gap_s: float,
) -> MarketReport:
    venue, symbol = market
    part = whole.take(rows)
    part.markets, part.codes = [market], np.zeros(len(part), dtype=np.int32)
    counts = np.bincount(faults[rows], minlength=max(Fault) + 1).tolist()
    times = part.ts_ns[part.ts_ns > 0]
    ordered = np.sort(times)
    silence = ordered[1:] - ordered[:-1]
    gaps = np.flatnonzero(silence > gap_ns(part, gap_s))
    longest = gaps[np.argsort(-silence[gaps], kind="stable")][:EXAMPLES]
    id_gaps, ids_missing = gaps_of_ids(part)
    refusal, instrument = "", None
    try:
        names.refuse_inverse(whole.path, symbol, venue)
        if symbol:
            rules = instruments_of([part], {}, recording.sidecar, recording.book)
            instrument = instrument_fields(rules[symbol])
    except ClaireError as e:
        refusal = str(e)
    sequence = recording.sequences.get(symbol)
    return MarketReport(
        venue=venue,
        symbol=symbol,
        rows=len(part),
        first_ns=int(ordered[0]) if len(ordered) else 0,
        last_ns=int(ordered[-1]) if len(ordered) else 0,
        faults={REASONS[Fault(code)]: count for code, count in enumerate(counts) if code and count},
        faults_by_code={Fault(code).name: count for code, count in enumerate(counts) if code and count},
        duplicates=int(repeated_rows(part).sum()),
        conflicts=int(conflicts[rows].sum()),
        disorder=int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0,
        sides_missing=0 if part.synthetic else int((part.side == raw.UNKNOWN_SIDE).sum()),
        time_gaps=len(gaps),
        longest_gaps=tuple(
            Gap(int(ordered[g]), int(ordered[g + 1]), float(silence[g]) / 1e9) for g in longest.tolist()
        ),
        id_gaps=id_gaps,
        ids_missing=ids_missing,
        refusal=refusal,
        depth_gaps=None if sequence is None else sequence.gaps,
        depth_unused=None if sequence is None else sequence.unused,
        snapshots_used=None if sequence is None else sequence.snapshots_used,
        latency=latency_of(part),
        instrument=instrument,
    )


def gap_ns(part: RawTrades, gap_s: float) -> int:
    """Return the silence that counts as a gap; for candles a missing bar always does."""
    if part.label != candles.LABEL:
        return round(gap_s * 1e9)
    opens = part.ts_ns[np.concatenate([[True], np.diff(part.rows) != 0])] if len(part) else part.ts_ns
    steps = np.diff(np.sort(opens))
    steps = steps[steps > 0]
    return int(steps.min()) if len(steps) else round(gap_s * 1e9)


def gaps_of_ids(part: RawTrades) -> tuple[int | None, int | None]:
    """Return how many gaps the trade ids have and how many ids are missing in them.

    Aggregate trades are looked at by the ids of the single trades inside them.
    """
    if part.first_ids is not None and part.last_ids is not None:
        known = part.first_ids >= 0
        first, last = part.first_ids[known], part.last_ids[known]
    elif part.ids is not None and part.ids.null_count() < len(part.ids):
        numbers = part.ids.drop_nulls().cast(pl.Int64, strict=False)
        if numbers.null_count():
            return None, None
        first = last = numbers.to_numpy()
    else:
        return None, None
    order = np.argsort(first, kind="stable")
    missing = first[order][1:] - last[order][:-1] - 1
    return int((missing > 0).sum()), int(missing[missing > 0].sum())


def latency_of(part: RawTrades) -> Latency | None:
    """Return how late the recorder was, where the recording tells when it received what."""
    if part.recv_ns is None or part.recv_ns.null_count() == len(part.recv_ns):
        return None
    known = part.recv_ns.is_not_null().to_numpy()
    late = (part.recv_ns.drop_nulls().cast(pl.Int64).to_numpy() - part.ts_ns[known]) / 1e6
    return Latency(float(late.min()), float(np.median(late)), float(late.max()))


def _examples(part: RawTrades, faults: Faults, conflicts: Mask) -> tuple[str, ...]:
    said: list[str] = []
    for fault in Fault:
        if fault is not Fault.NONE:
            rows = np.flatnonzero(faults == fault)[:EXAMPLES].tolist()
            said += [f"{part.place(row)}: {reason_for(part, row, fault)}" for row in rows]
    if part.ids is not None:
        rows = np.flatnonzero(conflicts)[:EXAMPLES].tolist()
        said += [f"{part.place(row)}: trade id {part.ids[row]} stands for another trade before it" for row in rows]
    return tuple(said)
