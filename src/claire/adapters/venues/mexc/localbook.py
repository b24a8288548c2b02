"""The local order book of one symbol, built from numbered changes and a REST snapshot (fact sheet 1.7).

A change covers the versions first…last, and holds the absolute quantities of the levels that changed. Against a book
of version V:  last <= V: the book has it already;  first <= V + 1: apply it, V becomes last;  else something is
missing: the book is invalid until a new snapshot. A change that straddles the snapshot (first <= V < last) is the
ordinary case and is applied whole.

Around a planned reconnect two connections bring the same changes, cut differently and one ahead of the other. The
connection that the book follows decides about gaps; changes of the other that are ahead wait for the book to reach
them. Pure, and bounded: at most `MAX_LEVELS` levels a side and `MAX_HELD` waiting changes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from claire.adapters.venues.mexc.pushes import DepthUpdate
from claire.model.market import Depth, TopOfBook

MAX_LEVELS: Final = 5_000
"""Levels kept a side (the venue's snapshots hold at most 2,000); the worst are let go, and said to be gone."""

MAX_HELD: Final = 2_000
"""Changes kept while a snapshot is on its way."""

MAX_AHEAD: Final = 256
"""Changes of a second connection kept while the first is behind it."""

MAX_STALE_RUN: Final = 200
"""Changes in a row that are all older than the book: the venue has begun to count anew."""

Level = tuple[int, int]
"""(price_ticks, quantity_lots); quantity 0 removes the level."""


class Push(Struct, frozen=True, gc=False):
    """One numbered change, kept while it cannot be applied."""

    connection_no: int
    update: DepthUpdate

    @property
    def order(self) -> tuple[int, int]:
        """What changes are sorted by."""
        return (self.update.from_version, self.update.to_version)


class Levels:
    """One side of a book, its prices sorted."""

    def __init__(self, *, best_is_highest: bool, most: int = MAX_LEVELS) -> None:
        """Start empty; `trim` keeps the best `most` levels."""
        self._most = most
        self._highest = best_is_highest
        self.lots: dict[int, int] = {}
        self._prices: list[int] = []

    def replace(self, levels: Iterable[Level]) -> None:
        """Set the whole side."""
        self.lots = {price: lots for price, lots in levels if lots}
        self._prices = sorted(self.lots)

    def change(self, levels: Iterable[Level]) -> None:
        """Set some levels."""
        known, prices = self.lots, self._prices
        for price, lots in levels:
            if lots:
                if price not in known:
                    insort(prices, price)
                known[price] = lots
            elif known.pop(price, None) is not None:
                del prices[bisect_left(prices, price)]

    def trim(self) -> list[Level]:
        """Let the worst levels go where there are too many; return them as removals."""
        surplus = len(self._prices) - self._most
        if surplus <= 0:
            return []
        worst = self._prices[:surplus] if self._highest else self._prices[-surplus:]
        gone = [(price, 0) for price in worst]
        self.change(gone)
        return gone

    @property
    def best(self) -> Level:
        """The best level, (0, 0) where there is none."""
        if not self._prices:
            return (0, 0)
        price = self._prices[-1] if self._highest else self._prices[0]
        return (price, self.lots[price])

    @property
    def all(self) -> tuple[Level, ...]:
        """Every level, best first."""
        prices = reversed(self._prices) if self._highest else self._prices
        return tuple((price, self.lots[price]) for price in prices)


class LocalBook:
    """The book of one symbol. Until its first snapshot, and after a gap, it is not `valid` and shows nothing."""

    def __init__(self, symbol: str, most_levels: int = MAX_LEVELS) -> None:
        """Start without a book; a snapshot is wanted from the first change on."""
        self.symbol = symbol
        self.valid = False
        self.version = 0
        self.wants_snapshot = False
        """A snapshot has to be fetched."""
        self.reason = ""
        """Why the book is not valid."""
        self.gaps = 0
        self.resyncs = 0
        self.stale_snapshots = 0
        self.duplicates = 0
        self.bids = Levels(best_is_highest=True, most=most_levels)
        self.asks = Levels(best_is_highest=False, most=most_levels)
        self._source: int | None = None
        self._held: list[Push] = []
        self._stale_run = 0
        self._top = (0, 0, 0, 0)
        self._last_ns = 0

    def push(self, connection_no: int, update: DepthUpdate) -> Sequence[Depth | TopOfBook]:
        """Take in one change; return what became known, or that the book is not valid any more."""
        first, last = update.from_version, update.to_version
        if not self.valid:
            self._hold(Push(connection_no, update))
            self.wants_snapshot = True
            return ()
        if last <= self.version:
            self.duplicates += 1
            self._stale_run += 1
            if self._stale_run < MAX_STALE_RUN:
                return ()
            return self._gap(Push(connection_no, update), f"versions fell from {self.version} to {last}")
        if first <= self.version + 1:
            if self._source is None:
                self._source = connection_no
            events = self._apply(update)
            return self._overtake(events) if self._held and self.valid else events
        push = Push(connection_no, update)
        if self._source is None or connection_no == self._source or len(self._held) >= MAX_AHEAD:
            return self._gap(push, f"version {self.version} is followed by {first}")
        self._held.append(push)
        return ()

    def snapshot(
        self, version: int, bids: Sequence[Level], asks: Sequence[Level], ts_event_ns: int, ts_recv_ns: int
    ) -> Sequence[Depth | TopOfBook]:
        """Take in a REST snapshot and the changes that waited for it.

        Where it is older than the changes at hand nothing is applied, and another one is wanted.
        """
        if self.valid:
            return ()
        held = sorted(self._held, key=lambda push: push.order)
        later = [push for push in held if push.update.to_version > version]
        reached = version
        for index, push in enumerate(later):
            if push.update.from_version > reached + 1:
                # what came before the hole is of no use: the next snapshot has to reach beyond it
                self._held = later[index:]
                self.stale_snapshots += 1
                self.wants_snapshot = True
                self.reason = (
                    f"the snapshot of version {version} ends at {reached}, before change {push.update.from_version}"
                )
                return ()
            reached = max(reached, push.update.to_version)
        self.bids.replace(bids)
        self.asks.replace(asks)
        for push in later:
            self.bids.change(push.update.bids)
            self.asks.change(push.update.asks)
            ts_event_ns = max(ts_event_ns, push.update.ts_event_ns)
        self.bids.trim()
        self.asks.trim()
        self._held = []
        self._source = later[-1].connection_no if later else None
        self.version = reached
        self.wants_snapshot = False
        if self._is_crossed:
            return self._lose(ts_event_ns, ts_recv_ns, "the snapshot's best bid is not below its best offer")
        self.valid = True
        self.reason = ""
        self.resyncs += 1
        self._stale_run = 0
        self._top = (0, 0, 0, 0)
        whole = Depth(self.symbol, ts_event_ns, self.bids.all, self.asks.all, True, True, ts_recv_ns)
        return [whole, *self._top_event(ts_event_ns, ts_recv_ns)]

    def connection_lost(self, connection_no: int, ts_recv_ns: int) -> Sequence[Depth | TopOfBook]:
        """Note that a connection is gone: changes of another one may go on where it stopped, else the book is lost."""
        if connection_no != self._source:
            self._held = [push for push in self._held if push.connection_no != connection_no]
            return ()
        self._source = None
        if not self.valid or not self._held:
            return ()
        push = min(self._held, key=lambda each: each.order)
        return self._gap(
            push, f"version {self.version} is followed by {push.update.from_version} on the next connection", ts_recv_ns
        )

    def invalidate(self, ts_recv_ns: int, reason: str) -> Sequence[Depth | TopOfBook]:
        """Give the book up: its stream is gone, or told something unreadable. A snapshot is wanted once it flows again."""
        self.gaps += self.valid
        events = self._lose(self._last_ns, ts_recv_ns, reason)
        self.wants_snapshot = False
        return events

    def expect(self) -> None:
        """Note that changes will come from now on: a snapshot is wanted unless the book is valid."""
        self.wants_snapshot = not self.valid

    def _apply(self, update: DepthUpdate) -> Sequence[Depth | TopOfBook]:
        self.version = update.to_version
        self._stale_run = 0
        self._last_ns = ts_event_ns = update.ts_event_ns
        ts_recv_ns, bids, asks = update.ts_recv_ns, update.bids, update.asks
        self.bids.change(bids)
        self.asks.change(asks)
        if self._is_crossed:
            self.gaps += 1
            return self._lose(ts_event_ns, ts_recv_ns, "the best bid is not below the best offer")
        bids, asks = (*bids, *self.bids.trim()), (*asks, *self.asks.trim())
        change = Depth(self.symbol, ts_event_ns, bids, asks, ts_recv_ns=ts_recv_ns)
        return [change, *self._top_event(ts_event_ns, ts_recv_ns)]

    def _overtake(self, events: Sequence[Depth | TopOfBook]) -> Sequence[Depth | TopOfBook]:
        """Apply the changes of a second connection that the book has reached by now."""
        found = list(events)
        waiting = sorted(self._held, key=lambda push: push.order)
        while waiting and self.valid and waiting[0].update.from_version <= self.version + 1:
            push = waiting.pop(0)
            if push.update.to_version > self.version:
                found.extend(self._apply(push.update))
            else:
                self.duplicates += 1
        if self.valid:
            self._held = waiting
        return found

    def _gap(self, push: Push, reason: str, ts_recv_ns: int | None = None) -> Sequence[Depth | TopOfBook]:
        self.gaps += 1
        held = [*self._held, push] if push not in self._held else self._held
        events = self._lose(push.update.ts_event_ns, ts_recv_ns or push.update.ts_recv_ns, reason)
        self._held = held
        return events

    def _lose(self, ts_event_ns: int, ts_recv_ns: int | None, reason: str) -> Sequence[Depth | TopOfBook]:
        was_valid, self.valid = self.valid, False
        self.reason = reason
        self.wants_snapshot = True
        self._held = []
        self._source = None
        self._stale_run = 0
        self.version = 0
        self.bids.replace(())
        self.asks.replace(())
        if not was_valid:
            return ()
        return [Depth(self.symbol, ts_event_ns, (), (), valid=False, ts_recv_ns=ts_recv_ns)]

    def _hold(self, push: Push) -> None:
        if len(self._held) >= MAX_HELD:
            del self._held[: MAX_HELD // 2]
        self._held.append(push)

    @property
    def _is_crossed(self) -> bool:
        bid, ask = self.bids.best[0], self.asks.best[0]
        return bool(bid and ask and bid >= ask)

    def _top_event(self, ts_event_ns: int, ts_recv_ns: int | None) -> Sequence[TopOfBook]:
        top = (*self.bids.best, *self.asks.best)
        if top == self._top:
            return ()
        self._top = top
        return (TopOfBook(self.symbol, ts_event_ns, *top, ts_recv_ns),)
