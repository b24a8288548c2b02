"""Trades ready to be replayed: integer columns in their final order, turned into events batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from claire.adapters.marketdata.numbers import Bytes, Ints
from claire.adapters.marketdata.raw import BUY
from claire.engine.ports import SourceInfo
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Side, Trade

BATCH: Final = 4096
SIDES: Final = (Side.BUY, Side.BUY, Side.SELL)
"""By the number that `raw` gives a side."""


@dataclass(slots=True)
class TradeColumns:
    """Trades as integers, ordered by (event time, symbol, row)."""

    symbols: tuple[str, ...]
    codes: npt.NDArray[np.int32] | None
    """Index into `symbols`; None where there is one symbol."""
    ts_ns: Ints
    ticks: Ints
    lots: Ints
    side: Bytes

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, chosen: Ints | npt.NDArray[np.bool_] | slice) -> "TradeColumns":
        """Return the rows that a mask, an index array or a slice selects."""
        codes = None if self.codes is None else self.codes[chosen]
        return TradeColumns(
            self.symbols, codes, self.ts_ns[chosen], self.ticks[chosen], self.lots[chosen], self.side[chosen]
        )

    def events(self, start: int, stop: int) -> list[MarketEvent]:
        """Return the trades of a range of rows as events.

        They carry neither trade id nor time of receipt: no decision reads an id, and in recorded mode all time is data
        time, so the same market gives the same events from every file format.
        """
        rows = slice(start, stop)
        names: Iterator[str] = repeat(self.symbols[0])
        if self.codes is not None:
            names = map(self.symbols.__getitem__, self.codes[rows].tolist())
        return list(
            map(
                Trade,
                names,
                self.ts_ns[rows].tolist(),
                self.ticks[rows].tolist(),
                self.lots[rows].tolist(),
                map(SIDES.__getitem__, self.side[rows].tolist()),
            )
        )


def join(parts: Sequence[TradeColumns]) -> TradeColumns:
    """Return several columns as one, in global order (event time, symbol, part and row)."""
    symbols = tuple(sorted({symbol: True for part in parts for symbol in part.symbols}))
    codes = np.concatenate(
        [
            np.array([symbols.index(s) for s in part.symbols], dtype=np.int32)[
                np.zeros(len(part), np.int32) if part.codes is None else part.codes
            ]
            for part in parts
        ]
    )
    joined = TradeColumns(
        symbols,
        codes if len(symbols) > 1 else None,
        np.concatenate([part.ts_ns for part in parts]),
        np.concatenate([part.ticks for part in parts]),
        np.concatenate([part.lots for part in parts]),
        np.concatenate([part.side for part in parts]),
    )
    order = time_order(joined.ts_ns, joined.codes)
    return joined if order is None else joined.take(order)


def time_order(ts_ns: Ints, codes: npt.NDArray[np.int32] | None) -> Ints | None:
    """Return the stable order by (time, symbol), or None where the rows are in it already."""
    if codes is None:
        return None if bool((np.diff(ts_ns) >= 0).all()) else np.argsort(ts_ns, kind="stable")
    step = np.diff(ts_ns)
    if bool(((step > 0) | ((step == 0) & (np.diff(codes) >= 0))).all()):
        return None
    return np.lexsort((codes, ts_ns))


class RecordedTrades:
    """A `MarketSource` over recorded trades (and trades made from candles)."""

    def __init__(self, columns: TradeColumns, instruments: Mapping[str, Instrument], info: SourceInfo) -> None:
        """Take columns that are ordered and free of faults."""
        self.columns = columns
        self.instruments = instruments
        self.info = info

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the trades in order, `BATCH` at a time."""
        for start in range(0, len(self.columns), BATCH):
            yield self.columns.events(start, start + BATCH)


__all__ = ["BATCH", "BUY", "SIDES", "RecordedTrades", "TradeColumns", "join", "time_order"]
