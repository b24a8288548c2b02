"""Order book columns of a recording: as read, and as integers ready to become events; and the rules of the sequence."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from claire.adapters.marketdata.numbers import Ints, Mask, Scaled
from claire.model.market import Depth, MarketEvent, TopOfBook

Codes = npt.NDArray[np.int32]


@dataclass(slots=True)
class RawBook:
    """Best bids and offers, and depth, of one or several markets, in the order of the recording."""

    markets: list[tuple[str, str]]
    """(venue, symbol) by code."""
    top_ts: Ints
    top_seq: Ints
    top_codes: Codes
    top_prices: Scaled
    """Bid and ask alternate."""
    top_quantities: Scaled
    depth_ts: Ints
    depth_seq: Ints
    depth_codes: Codes
    snapshot: Mask
    valid: Mask
    starts: Ints
    """First level of each depth event; the bids come first."""
    bids: Ints
    asks: Ints
    """How many levels of each."""
    prices: Scaled
    quantities: Scaled
    """Of all levels."""

    def of(self, market: tuple[str, str]) -> tuple[Mask, Mask, Mask]:
        """Return which tops, which depth events and which levels belong to a market."""
        code = self.markets.index(market) if market in self.markets else -2
        return self.top_codes == code, self.depth_codes == code, self.level_owners() == code

    def level_owners(self) -> Ints:
        """Return the code of the market of every stored level; -1 for levels that no depth event uses."""
        counts = self.bids + self.asks
        used = np.repeat(self.starts - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        owners = np.full(len(self.prices), -1, dtype=np.int64)
        owners[used] = np.repeat(self.depth_codes, counts)
        return owners


@dataclass(slots=True)
class BookColumns:
    """A book as integers, ready to become events."""

    symbols: tuple[str, ...]
    top_codes: Codes
    top_ts: Ints
    top: npt.NDArray[np.int64]
    """Bid ticks, bid lots, ask ticks, ask lots: one row per event."""
    depth_codes: Codes
    depth_ts: Ints
    snapshot: Mask
    valid: Mask
    starts: Ints
    bids: Ints
    asks: Ints
    ticks: Ints
    lots: Ints

    def tops(self, rows: Ints) -> Iterator[MarketEvent]:
        """Return best bids and offers as events."""
        columns = self.top[rows]
        return map(
            TopOfBook,
            map(self.symbols.__getitem__, self.top_codes[rows].tolist()),
            self.top_ts[rows].tolist(),
            *(columns[:, k].tolist() for k in range(4)),
        )

    def depths(self, rows: Ints) -> Iterator[MarketEvent]:
        """Return depth events; `rows` ascend."""
        if not len(rows):
            return
        starts, bids, asks = self.starts[rows], self.bids[rows], self.asks[rows]
        first, last = int(starts.min()), int((starts + bids + asks).max())
        ticks, lots = self.ticks[first:last].tolist(), self.lots[first:last].tolist()
        columns = (self.depth_codes, self.depth_ts, self.snapshot, self.valid)
        for code, ts_ns, snapshot, valid, start, bid_count, ask_count in zip(
            *(column[rows].tolist() for column in columns),
            (starts - first).tolist(),
            bids.tolist(),
            asks.tolist(),
            strict=True,
        ):
            middle = start + bid_count
            end = middle + ask_count
            yield Depth(
                self.symbols[code],
                ts_ns,
                tuple(zip(ticks[start:middle], lots[start:middle], strict=True)),
                tuple(zip(ticks[middle:end], lots[middle:end], strict=True)),
                snapshot,
                valid,
            )


STALE: Final = "stale"
"""A change that the book already holds."""


@dataclass(slots=True)
class BookSequence:
    """Decides which depth messages of one market make a book, by Binance's rules for a local order book.

    Spot: drop changes with `u` ≤ `lastUpdateId` of the snapshot; the first one applied has `U` ≤ `lastUpdateId` + 1 ≤ `u`; each
    further one has `U` = `u` before + 1. Futures: drop `u` < `lastUpdateId`; the first has `U` ≤ `lastUpdateId` ≤ `u`; each
    further one has `pu` = `u` before. Until a snapshot there is no book, and after a gap none until the next snapshot. A
    snapshot that comes while the book is whole is left aside: the book is ahead of it or will be.

    Sources: "How to manage a local order book correctly" in Binance's spot and USD-M futures documentation.
    """

    futures: bool
    is_whole: bool = False
    last: int = 0
    """`u` of the last change applied or waiting, or `lastUpdateId` of the snapshot."""
    fresh: bool = False
    """Whether nothing was applied since the snapshot."""
    waiting: list[tuple[int, int, int]] = field(default_factory=list)
    """(message, U, u) of the unbroken changes since the last gap, for a snapshot to come."""
    gaps: int = 0
    unused: int = 0
    snapshots_used: int = 0
    snapshots_aside: int = 0
    snapshots_too_old: int = 0

    def change(self, message: int, first: int, final: int, before: int) -> bool | None:
        """Take a change; True: apply it, False: there is no book (yet), None: the book has just been lost by a gap."""
        if self.is_whole:
            if final < self.last or (final == self.last and not (self.futures and self.fresh)):
                self.unused += 1
                return False
            if self._fits(first, final, before):
                self.last, self.fresh = final, False
                return True
            self.gaps += 1
            self.is_whole = False
            self._wait(message, first, final, before, restart=True)
            return None
        self._wait(message, first, final, before, restart=False)
        return False

    def take_snapshot(self, last_id: int) -> list[int] | None:
        """Take a snapshot; return the waiting changes to apply on top of it, or None when it is of no use."""
        if self.is_whole:
            self.snapshots_aside += 1
            return None
        floor = last_id if self.futures else last_id + 1
        newer = [change for change in self.waiting if change[2] >= floor]
        if newer and newer[0][1] > floor:
            self.snapshots_too_old += 1
            return None
        self.snapshots_used += 1
        self.unused -= len(newer)
        self.waiting.clear()
        self.is_whole, self.fresh, self.last = True, not newer, newer[-1][2] if newer else last_id
        return [message for message, _, _ in newer]

    def _fits(self, first: int, final: int, before: int) -> bool:
        if self.fresh:
            floor = self.last if self.futures else self.last + 1
            return first <= floor <= final
        return before == self.last if self.futures else first == self.last + 1

    def _wait(self, message: int, first: int, final: int, before: int, *, restart: bool) -> None:
        follows = bool(self.waiting) and (before == self.last if self.futures else first == self.last + 1)
        if restart or not follows:
            self.waiting.clear()
        self.waiting.append((message, first, final))
        self.last = final
        self.unused += 1
