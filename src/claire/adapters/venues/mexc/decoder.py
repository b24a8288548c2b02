"""The pure core of the market-data client: inputs in, events out, the same live and in a replay.

Behind the sockets everything is decided here: decoding, duplicates, order in time, the local books and their validity,
gaps of the feed. Nothing here reads a clock: receive times are part of the inputs, and what the clients decide by the
clock (a stream has stalled, a connection is down) enters as an input too.

- A trade that was seen before (its id, from any connection) is counted and left out.
- Event times of a symbol never fall: a trade that comes after a younger one gets that one's time; one that is more than
  `STALE_NS` behind is left out.
- While trades of a symbol may be missing a gap is open. It opens when no connection carries the symbol's deals any more,
  or when a frame with its trades cannot be decoded; its next trades close it.
- An event of a book comes only while the book is valid (localbook.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from claire.adapters.venues.mexc.channels import Kind, parse
from claire.adapters.venues.mexc.frames import FrameDecoder
from claire.adapters.venues.mexc.items import (
    AlertKind,
    Body,
    FeedAlert,
    FeedCounters,
    FeedEvent,
    FeedGap,
    FeedInput,
    LinkChange,
    RawFrame,
    RestBody,
    WarmUp,
)
from claire.adapters.venues.mexc.localbook import LocalBook
from claire.adapters.venues.mexc.pushes import Decoded, DecodeError, DepthUpdate
from claire.adapters.venues.mexc.restbodies import warm_up, whole_book
from claire.model.instrument import Instrument
from claire.model.market import Depth, TopOfBook, Trade

STALE_NS: Final = 5_000_000_000
"""A trade this much older than its symbol's latest one is history, not news."""

AHEAD_NS: Final = 5_000_000_000
"""A trade this much younger than the push that brings it holds an impossible time."""

SKEW_NS: Final = 1_000_000_000
"""The venue itself takes requests at most this far ahead of its clock."""

LATEST_NS: Final = 2**63 - 1

GENERATION_FRAMES: Final = 50_000
GENERATION_NS: Final = 600_000_000_000
"""Trade ids are remembered in two generations; a new one begins after so many frames with trades, or so much time."""


_DEALS: Final = Kind.DEALS
_DEPTH: Final = Kind.DEPTH
"""By themselves: looking a member up in its enum costs more than the rest of the question."""


@dataclass(slots=True)
class Seen:
    """What is remembered of one symbol. No Struct: writing to a slot of a plain class is quicker, and every trade writes here."""

    last_ns: int = 0
    """Event time of the last event."""
    last_trade_ns: int = 0
    first_trade_ns: int = 0
    """Event time of the first trade from the stream; 0: none yet."""
    heard_ns: int = 0
    """Receive time of the last trades."""
    gap: str = ""
    """Why trades may be missing right now; empty: none are."""
    gap_from_ns: int = 0
    ids: dict[str, None] = field(default_factory=dict)
    """Trade ids of this generation."""
    older_ids: dict[str, None] = field(default_factory=dict)
    top: tuple[int, int, int, int] = (0, 0, 0, 0)
    top_version: int = 0


class FeedDecoder:
    """Turns inputs of the feed into events. One for all connections of a run."""

    def __init__(self, instruments: Mapping[str, Instrument], counters: FeedCounters | None = None) -> None:
        """Know the rules of the symbols; count into `counters`."""
        self.counters = counters or FeedCounters()
        self.channel = ""
        """Of the last frame fed; empty when it could not be read."""
        self.wants_snapshots = False
        """Set when a book may want a snapshot; whoever has looked at `wanted` clears it."""
        self.books: dict[str, LocalBook] = {}
        """Local books by symbol, of those symbols whose changes are pushed."""
        self._instruments = instruments
        self._frames = FrameDecoder(instruments)
        self._decode = self._frames.decode
        self._seen: dict[str, Seen] = {}
        self._frames_of_generation = 0
        self._generation_ns = 0
        self._told: dict[str, tuple[Trade, ...]] = {}
        """The parts of a history that came so far."""
        self._links: dict[int, tuple[str, ...]] = {}
        self._carriers: dict[str, dict[int, None]] = {}
        self._said: dict[tuple[str, str], None] = {}
        self._is_skewed = False

    # -- inputs --------------------------------------------------------------------------------------------------------

    def take(self, entered: FeedInput) -> list[FeedEvent]:
        """Take in one input of any kind; return what it gave."""
        if isinstance(entered, RawFrame):
            return self.feed(entered.connection_no, entered.data, entered.ts_recv_ns)
        if isinstance(entered, RestBody):
            return self.rest(entered)
        if isinstance(entered, LinkChange):
            return self.link(entered)
        return [entered] if isinstance(entered, FeedAlert) else []

    def feed(self, connection_no: int, data: bytes, ts_recv_ns: int) -> list[FeedEvent]:
        """Take in one binary frame."""
        try:
            decoded = self._decode(data, ts_recv_ns)
        except DecodeError as error:
            return self._undecodable(error, connection_no, ts_recv_ns)
        self.channel = decoded.channel
        counters = self.counters
        counters.decoded_messages_total += 1
        counters.last_message_ts_ms = ts_recv_ns // 1_000_000
        send_ns, kind = decoded.send_ns, decoded.kind
        events: list[FeedEvent] = []
        if kind is None or decoded.new_fields:
            self._changed(decoded, ts_recv_ns, events)
        if send_ns is not None:
            if -SKEW_NS <= ts_recv_ns - send_ns <= SKEW_NS:
                self._is_skewed = False
            else:
                self._skewed(decoded, send_ns, ts_recv_ns, events)
        if kind is _DEALS:
            return self._trades(decoded, send_ns, ts_recv_ns, events)
        if kind is _DEPTH:
            self._changes(connection_no, decoded, events)
        elif decoded.events:
            self._tops_and_books(decoded, events)
        return events

    def rest(self, body: RestBody) -> list[FeedEvent]:
        """Take in one REST answer: a book snapshot, or history for the warm-up."""
        instrument = self._instruments[body.symbol]
        seen = self._of(body.symbol)
        try:
            if body.what is not Body.DEPTH:
                return self._history(body, warm_up(body, instrument, seen.first_trade_ns))
            version, bids, asks, ts_event_ns = whole_book(body, instrument)
        except DecodeError as error:
            self._told.pop(body.symbol, None)
            self.counters.decode_errors_total += 1
            return self._say(AlertKind.DECODE_ERROR, body.symbol, f"REST {body.what}", str(error), body.ts_recv_ns)
        book = self._book(body.symbol)
        before = book.resyncs, book.stale_snapshots
        found = book.snapshot(version, bids, asks, max(ts_event_ns, seen.last_ns), body.ts_recv_ns)
        self.counters.resyncs_total += book.resyncs - before[0]
        self.counters.stale_snapshots_total += book.stale_snapshots - before[1]
        events: list[FeedEvent] = []
        self._publish(seen, book, found, events)
        return events

    def _history(self, body: RestBody, found: WarmUp) -> list[FeedEvent]:
        """Keep the parts of a history until its last one is there: it is told as one, oldest first."""
        if body.what is Body.KLINES:
            return [found]
        trades = (*self._told.pop(body.symbol, ()), *found.trades)
        if body.more:
            self._told[body.symbol] = trades
            return []
        return [WarmUp(body.symbol, trades=trades)]

    def link(self, change: LinkChange) -> list[FeedEvent]:
        """Take in that a connection came up, changed what it carries, or went down."""
        number, now_ns = change.connection_no, change.ts_recv_ns
        before = self._links.pop(number, ())
        if change.channels:
            self._links[number] = change.channels
        for name in change.channels:
            self._carriers.setdefault(name, {})[number] = None
        events: list[FeedEvent] = []
        for name in change.channels:
            channel = parse(name)
            if channel is not None and channel.kind is Kind.DEPTH:
                self._expect(channel.symbol)
        kept = dict.fromkeys(change.channels)
        for name in before:
            if name not in kept:
                self._uncarry(name, number, change.reason, now_ns, events)
        return events

    # -- what the live clients ask ----------------------------------------------------------------------------------------

    @property
    def wanted(self) -> list[str]:
        """Symbols whose book waits for a REST snapshot, and whose changes are being pushed."""
        return [symbol for symbol, book in self.books.items() if book.wants_snapshot]

    def heard_ns(self, symbol: str) -> int:
        """Return when trades of a symbol were received last; 0: never."""
        seen = self._seen.get(symbol)
        return seen.heard_ns if seen else 0

    def last_trade_ns(self, symbol: str) -> int:
        """Return the event time of a symbol's latest trade; 0: none yet."""
        seen = self._seen.get(symbol)
        return seen.last_trade_ns if seen else 0

    def version(self, symbol: str) -> int:
        """Return the newest version of a symbol's book that was told by any channel; 0: none yet."""
        book, seen = self.books.get(symbol), self._seen.get(symbol)
        return max(book.version if book else 0, seen.top_version if seen else 0)

    @property
    def open_gaps(self) -> dict[str, str]:
        """Symbols whose trades may be missing right now, and why."""
        return {symbol: seen.gap for symbol, seen in self._seen.items() if seen.gap}

    # -- trades -------------------------------------------------------------------------------------------------------------

    def _trades(
        self, decoded: Decoded, send_ns: int | None, ts_recv_ns: int, events: list[FeedEvent]
    ) -> list[FeedEvent]:
        """Return `events` and the trades that are news. Every trade of a run passes here: what is rare is elsewhere."""
        seen = self._seen.get(decoded.symbol) or self._of(decoded.symbol)
        if seen.gap:
            events.append(self._close_gap(decoded.symbol, seen, ts_recv_ns))
        seen.heard_ns = ts_recv_ns
        ids, older, last_ns = seen.ids, seen.older_ids, seen.last_ns
        latest_ns = LATEST_NS if send_ns is None else send_ns + AHEAD_NS
        trades: Any = decoded.events  # the deals channel brings a list, of nothing else
        news = 0
        for trade in trades:
            trade_id, at_ns = trade.trade_id, trade.ts_event_ns
            if trade_id in ids or trade_id in older or not trade_id or not last_ns <= at_ns <= latest_ns:
                break
            ids[trade_id] = None
            seen.last_ns = seen.last_trade_ns = last_ns = at_ns
            news += 1
        if news == len(trades):  # so nearly always: then the frame's own list will do
            events = [*events, *trades] if events else trades
        else:
            events += trades[:news]
            news += self._sift(trades[news:], seen, decoded, latest_ns, events, ts_recv_ns)
        self.counters.trades_total += news
        if not seen.first_trade_ns:
            seen.first_trade_ns = seen.last_trade_ns
        self._frames_of_generation += 1
        if self._frames_of_generation >= GENERATION_FRAMES or ts_recv_ns - self._generation_ns >= GENERATION_NS:
            self._next_generation(ts_recv_ns)
        return events

    def _sift(
        self,
        trades: Sequence[Trade],
        seen: Seen,
        decoded: Decoded,
        latest_ns: int,
        events: list[FeedEvent],
        ts_recv_ns: int,
    ) -> int:
        """Append to `events` those trades that are news, in the symbol's time; return how many."""
        news = 0
        for trade in trades:
            trade_id, at_ns = trade.trade_id, trade.ts_event_ns
            if not trade_id:
                events += self._say(
                    AlertKind.NO_TRADE_IDS, "", decoded.channel, _NO_IDS, ts_recv_ns, stops_entries=True
                )
            elif trade_id in seen.ids or trade_id in seen.older_ids:
                self.counters.duplicate_trades_total += 1
                continue
            else:
                seen.ids[trade_id] = None
            if seen.last_trade_ns <= at_ns <= latest_ns:
                seen.last_trade_ns = at_ns
            elif not self._is_usable(trade, seen, decoded, events, ts_recv_ns):
                continue
            if at_ns < seen.last_ns:
                events.append(replace(trade, ts_event_ns=seen.last_ns))
            else:
                seen.last_ns = at_ns
                events.append(trade)
            news += 1
        return news

    def _next_generation(self, ts_recv_ns: int) -> None:
        """Forget the older half of the trade ids."""
        self._frames_of_generation, self._generation_ns = 0, ts_recv_ns
        for seen in self._seen.values():
            seen.ids, seen.older_ids = {}, seen.ids

    def _is_usable(self, trade: Trade, seen: Seen, decoded: Decoded, events: list[FeedEvent], ts_recv_ns: int) -> bool:
        """Judge a trade whose time does not fit: before its predecessor's, or after the push that brought it."""
        if trade.ts_event_ns >= seen.last_trade_ns:
            self.counters.decode_errors_total += 1
            text = f"{trade.symbol}: a trade of {trade.ts_event_ns} ns in a push sent at {decoded.send_ns} ns; it is left out"
            events += self._say(AlertKind.DECODE_ERROR, trade.symbol, "trade time", text, ts_recv_ns)
            events += self._open_gap(trade.symbol, "a trade with an impossible time")
            return False
        if seen.last_trade_ns - trade.ts_event_ns > STALE_NS:
            self.counters.stale_trades_total += 1
            return False
        self.counters.late_trades_total += 1
        return True

    # -- books --------------------------------------------------------------------------------------------------------------

    def _changes(self, connection_no: int, decoded: Decoded, events: list[FeedEvent]) -> None:
        symbol = decoded.symbol
        book = self.books.get(symbol) or self._book(symbol)
        for update in decoded.pushes:
            if isinstance(update, DepthUpdate):
                gaps, duplicates = book.gaps, book.duplicates
                found = book.push(connection_no, update)
                self.wants_snapshots = self.wants_snapshots or book.wants_snapshot
                self.counters.book_gaps_total += book.gaps - gaps
                self.counters.duplicate_pushes_total += book.duplicates - duplicates
                if found:
                    self._publish(self._of(symbol), book, found, events)

    def _expect(self, symbol: str) -> None:
        """Note that changes of a book will come."""
        book = self._book(symbol)
        book.expect()
        self.wants_snapshots = self.wants_snapshots or book.wants_snapshot

    def _publish(
        self, seen: Seen, book: LocalBook, found: Sequence[Depth | TopOfBook], events: list[FeedEvent]
    ) -> None:
        """Pass on what a book tells, in the symbol's time."""
        for event in found:
            if isinstance(event, TopOfBook) and not self._is_news(seen, event, book.version):
                continue
            events.append(self._in_time(seen, event))

    def _tops_and_books(self, decoded: Decoded, events: list[FeedEvent]) -> None:
        """Pass on best bids and offers, and whole books of the limit-depth channel, where they are news."""
        seen = self._of(decoded.symbol)
        for event in decoded.events:
            if isinstance(event, TopOfBook):
                if not self._is_news(seen, event, decoded.version):
                    self.counters.repeated_tops_total += 1
                    continue
            elif isinstance(event, Trade):
                continue
            elif decoded.symbol in self.books:
                continue  # the local book is the deeper one, and two sources of one book would contradict each other
            events.append(self._in_time(seen, event))

    @staticmethod
    def _is_news(seen: Seen, event: TopOfBook, version: int | None) -> bool:
        if version is not None and version < seen.top_version:
            return False
        top = (event.bid_ticks, event.bid_lots, event.ask_ticks, event.ask_lots)
        seen.top_version = max(seen.top_version, version or 0)
        if top == seen.top:
            return False
        seen.top = top
        return True

    @staticmethod
    def _in_time(seen: Seen, event: Depth | TopOfBook) -> Depth | TopOfBook:
        if event.ts_event_ns >= seen.last_ns:
            seen.last_ns = event.ts_event_ns
            return event
        return replace(event, ts_event_ns=seen.last_ns)

    # -- gaps and alerts ------------------------------------------------------------------------------------------------------

    def _uncarry(self, name: str, number: int, reason: str, now_ns: int, events: list[FeedEvent]) -> None:
        """Note that a connection carries a channel no more; open a gap or give up a book where it was the last one."""
        carriers = self._carriers.get(name, {})
        carriers.pop(number, None)
        channel = parse(name)
        if channel is None:
            return
        if channel.kind is Kind.DEALS and not carriers:
            events += self._open_gap(channel.symbol, reason)
        elif channel.kind is Kind.DEPTH:
            book = self._book(channel.symbol)
            gaps = book.gaps
            found = book.connection_lost(number, now_ns) if carriers else book.invalidate(now_ns, reason)
            self.counters.book_gaps_total += book.gaps - gaps
            self._publish(self._of(channel.symbol), book, found, events)

    def _open_gap(self, symbol: str, reason: str) -> list[FeedEvent]:
        """Open a gap, unless one is open; before a symbol's first trade there is nothing to be missed."""
        seen = self._of(symbol)
        if seen.gap or not seen.heard_ns:
            return []
        seen.gap, seen.gap_from_ns = reason, seen.heard_ns
        self.counters.feed_gaps_total += 1
        return [FeedGap(symbol, seen.heard_ns, 0, reason)]

    @staticmethod
    def _close_gap(symbol: str, seen: Seen, ts_recv_ns: int) -> FeedGap:
        closed = FeedGap(symbol, seen.gap_from_ns, ts_recv_ns, seen.gap)
        seen.gap = ""
        return closed

    def _undecodable(self, error: DecodeError, connection_no: int, ts_recv_ns: int) -> list[FeedEvent]:
        """Count a frame that cannot be used, and doubt everything that it could have told."""
        self.channel = error.channel
        self.counters.decode_errors_total += 1
        events = self._say(
            AlertKind.DECODE_ERROR, error.symbol, f"{error.reason} {error.channel}", str(error), ts_recv_ns
        )
        doubted: Iterable[str] = [error.channel] if parse(error.channel) else self._links.get(connection_no, ())
        for name in doubted:
            channel = parse(name)
            if channel is None:
                continue
            if channel.kind is Kind.DEALS:
                events += self._open_gap(channel.symbol, f"undecodable frame: {error.reason}")
            elif channel.kind is Kind.DEPTH and name == error.channel:
                # a lost change of the book shows in the versions of the next one; only one that names its book is sure
                book = self._book(channel.symbol)
                gaps = book.gaps
                found = book.invalidate(ts_recv_ns, f"undecodable change: {error.reason}")
                self._expect(channel.symbol)
                self.counters.book_gaps_total += book.gaps - gaps
                self._publish(self._of(channel.symbol), book, found, events)
        return events

    def _changed(self, decoded: Decoded, ts_recv_ns: int, events: list[FeedEvent]) -> None:
        """Tell that the venue sends something new: a field is told once, an unknown message stops entries."""
        for message, number in decoded.new_fields:
            self.counters.unknown_fields_total += 1
            text = f"MEXC sends field {number} of {message}, which the schema does not know; compare proto/ with the venue's"
            events += self._say(AlertKind.UNKNOWN_FIELD, "", f"{message} {number}", text, ts_recv_ns)
        if decoded.unknown:
            self.counters.unknown_messages_total += 1
            what = decoded.unknown
            events += self._say(AlertKind.UNKNOWN_MESSAGE, "", what, what, ts_recv_ns, stops_entries=True)

    def _skewed(self, decoded: Decoded, send_ns: int, ts_recv_ns: int, events: list[FeedEvent]) -> None:
        """Count a push whose send and receive times are far apart; the first of a row of them is told."""
        self.counters.skewed_frames_total += 1
        if not self._is_skewed:
            self._is_skewed = True
            offset_ms = (send_ns - ts_recv_ns) // 1_000_000
            text = (
                f"MEXC's time is {offset_ms} ms off ours in a push of {decoded.channel}; the push is late, or a clock is"
                " wrong. Check this machine's clock: claire doctor --venue mexc"
            )
            events.append(FeedAlert(AlertKind.CLOCK_SKEW, decoded.symbol, text, False, ts_recv_ns))

    def _say(
        self, kind: AlertKind, symbol: str, once: str, text: str, ts_recv_ns: int, *, stops_entries: bool = False
    ) -> list[FeedEvent]:
        """Say something once per run."""
        key = (kind.value, once)
        if key in self._said or len(self._said) >= 1_000:
            return []
        self._said[key] = None
        return [FeedAlert(kind, symbol, text, stops_entries, ts_recv_ns)]

    # -- state ----------------------------------------------------------------------------------------------------------------

    def _of(self, symbol: str) -> Seen:
        seen = self._seen.get(symbol)
        if seen is None:
            seen = self._seen[symbol] = Seen()
        return seen

    def _book(self, symbol: str) -> LocalBook:
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = LocalBook(symbol)
        return book


_NO_IDS: Final = (
    "MEXC's trades come without ids, so a repeated one cannot be told from a new one;"
    " compare proto/ with the venue's published schema"
)
