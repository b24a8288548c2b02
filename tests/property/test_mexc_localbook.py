"""The local book equals the venue's at its version, whatever happens to the changes on their way."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from claire.adapters.venues.mexc.localbook import LocalBook
from claire.adapters.venues.mexc.pushes import DepthUpdate
from claire.model.market import Depth, TopOfBook
from tests.support.mexc_feed import SYMBOL, CountingBook, Follower

BIDS = dict.fromkeys(range(90, 100), 5)
ASKS = dict.fromkeys(range(101, 111), 5)

changes = st.lists(
    st.one_of(
        st.tuples(st.just("bid"), st.integers(85, 99), st.integers(0, 9)),
        st.tuples(st.just("ask"), st.integers(101, 115), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=4,
)
fates = st.sampled_from(["arrives"] * 6 + ["lost", "twice", "late", "swapped"])


class Watcher:
    """A local book under observation: what it passes on is followed, and compared with the venue after each input."""

    def __init__(self, venue: CountingBook) -> None:
        self.venue = venue
        self.book = LocalBook(SYMBOL)
        self.follower = Follower()
        self.top: TopOfBook | None = None

    def push(self, update: DepthUpdate, connection_no: int = 1) -> None:
        self.take(self.book.push(connection_no, update))

    def snapshot(self, version: int) -> None:
        bids, asks = self.venue.at[version]
        self.take(self.book.snapshot(version, tuple(bids.items()), tuple(asks.items()), version, version))

    def take(self, events: Sequence[Depth | TopOfBook]) -> None:
        for event in events:
            if isinstance(event, Depth):
                self.follower.apply(event)
            else:
                self.top = event
        assert self.follower.valid == self.book.valid
        if self.book.valid:
            bids, asks = self.venue.at[self.book.version]
            assert (self.book.bids.lots, self.book.asks.lots) == (bids, asks)
            assert (self.follower.bids, self.follower.asks) == (bids, asks)
            assert self.top is not None
            assert (self.top.bid_ticks, self.top.ask_ticks) == (max(bids, default=0), min(asks, default=0))
        else:
            assert not self.book.bids.lots
            assert not events or all(isinstance(event, Depth) and not event.valid for event in events)


@given(
    told=st.lists(st.tuples(changes, fates, st.integers(0, 3)), min_size=1, max_size=40),
    behind=st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_a_valid_book_equals_the_venues_for_any_lost_repeated_or_reordered_change(told, behind):
    venue = CountingBook(BIDS, ASKS)
    watcher = Watcher(venue)
    waiting: list[tuple[int, DepthUpdate]] = []
    swapped: DepthUpdate | None = None
    for number, (levels, fate, delay) in enumerate(told):
        update = venue.change(levels)
        if fate == "late":
            waiting.append((number + delay, update))
        elif fate == "swapped" and swapped is None:
            swapped = update
        elif fate != "lost":
            watcher.push(update)
            if fate == "twice":
                watcher.push(update)
            if swapped is not None:
                watcher.push(swapped)
                swapped = None
        for due, late in waiting:
            if due == number:
                watcher.push(late)
        if watcher.book.wants_snapshot:
            # REST answers with a book that is a little older than what was pushed, often in the midst of a push
            watcher.snapshot(max(100, venue.version - behind[number % len(behind)]))
    # with undisturbed changes and fresh snapshots it always finds back
    for _ in range(3):
        watcher.push(venue.change([("bid", 90, 7)]))
        if watcher.book.wants_snapshot:
            watcher.snapshot(venue.version)
    assert watcher.book.valid
    assert watcher.book.version == venue.version


@given(
    told=st.lists(changes, min_size=4, max_size=30),
    cuts=st.lists(st.integers(1, 4), min_size=2, max_size=20),
    lead=st.integers(0, 5),
)
def test_two_connections_that_cut_the_changes_differently_hand_over_without_a_gap(told, cuts, lead):
    venue = CountingBook(BIDS, ASKS)
    watcher = Watcher(venue)
    watcher.snapshot(100)
    singles = [venue.change([level]) for levels in told for level in levels]
    first = list(singles)
    second: list[DepthUpdate] = []
    rest = list(singles)
    while rest:
        size = cuts[len(second) % len(cuts)]
        part, rest = rest[:size], rest[size:]
        bids = {price: lots for each in part for price, lots in each.bids}
        asks = {price: lots for each in part for price, lots in each.asks}
        last = part[-1]
        second.append(
            DepthUpdate(
                SYMBOL,
                last.ts_event_ns,
                part[0].from_version,
                last.to_version,
                tuple(bids.items()),
                tuple(asks.items()),
            )
        )
    for push in second[:lead]:
        watcher.push(push, 2)  # the new connection may be ahead
    for push in first:
        watcher.push(push, 1)
    for push in second[lead:]:
        watcher.push(push, 2)
    watcher.take(watcher.book.connection_lost(1, 0))
    last_one = venue.change([("bid", 91, 3)])
    watcher.push(last_one, 2)
    assert watcher.book.gaps == 0
    assert watcher.book.version == venue.version


@given(st.lists(changes, min_size=1, max_size=30))
def test_the_book_is_bounded_and_says_which_levels_it_let_go(told):
    venue = CountingBook({}, {})
    book, follower = LocalBook(SYMBOL, most_levels=4), Follower()
    for event in book.snapshot(100, (), (), 0, 0):
        if isinstance(event, Depth):
            follower.apply(event)
    for levels in told:
        for event in book.push(1, venue.change(levels)):
            if isinstance(event, Depth):
                follower.apply(event)
        assert len(book.bids.lots) <= 4
        assert (follower.bids, follower.asks) == (book.bids.lots, book.asks.lots)
        assert list(book.asks.all) == sorted(book.asks.lots.items())
