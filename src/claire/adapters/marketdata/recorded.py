"""Trades ready to be replayed: integer columns in their final order, turned into events batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from claire.adapters.marketdata.book import BookColumns
from claire.adapters.marketdata.numbers import Bytes, Ints
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
        return self.pick(slice(start, stop))

    def pick(self, rows: Ints | slice) -> list[MarketEvent]:
        """Return the trades of some rows as events, see `events`."""
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


def time_order(ts_ns: Ints, codes: npt.NDArray[np.int32] | None) -> Ints | None:
    """Return the stable order by (time, symbol), or None where the rows are in it already."""
    if codes is None:
        return None if bool((np.diff(ts_ns) >= 0).all()) else np.argsort(ts_ns, kind="stable")
    step = np.diff(ts_ns)
    if bool(((step > 0) | ((step == 0) & (np.diff(codes) >= 0))).all()):
        return None
    return np.lexsort((codes, ts_ns))


class RecordedMarket:
    """A `MarketSource` over recorded trades (and trades made from candles), with the book where one was recorded."""

    def __init__(
        self,
        trades: TradeColumns,
        instruments: Mapping[str, Instrument],
        info: SourceInfo,
        book: BookColumns | None = None,
        order: Ints | None = None,
    ) -> None:
        """Take columns that are free of faults.

        Without a book the trades are in their order. With one, `order` is the order of all events, as numbers: first all
        trades, then all best bids and offers, then all depth events.
        """
        self.trades = trades
        self.instruments = instruments
        self.info = info
        self.book = book
        self.order = order

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the events in order, `BATCH` at a time."""
        if self.book is None or self.order is None:
            for start in range(0, len(self.trades), BATCH):
                yield self.trades.events(start, start + BATCH)
            return
        for start in range(0, len(self.order), BATCH):
            yield self._mixed(self.book, self.order[start : start + BATCH])

    def _mixed(self, book: BookColumns, numbers: Ints) -> list[MarketEvent]:
        """Make the events of one batch kind by kind, each put in its place."""
        tops_from, depths_from = len(self.trades), len(self.trades) + len(book.top_ts)
        is_trade, is_depth = numbers < tops_from, numbers >= depths_from
        is_top = ~(is_trade | is_depth)
        events: list[MarketEvent | None] = [None] * len(numbers)
        made = (
            (is_trade, self.trades.pick(numbers[is_trade])),
            (is_top, book.tops(numbers[is_top] - tops_from)),
            (is_depth, book.depths(numbers[is_depth] - depths_from)),
        )
        for places, kind in made:
            for place, event in zip(np.flatnonzero(places).tolist(), kind, strict=True):
                events[place] = event
        return [event for event in events if event is not None]
