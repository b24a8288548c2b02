"""MEXC market data, live: as many connections as the symbols need, one ordered stream of inputs and events.

    async with MexcMarketData(...) as feed:
        async for item in feed:
            journal(item.input)
            pipeline(item.events)

Frames of all connections are decoded in the order of their arrival by one pure decoder (decoder.py). What is decided by
the clock (a stream has stalled, a connection is down) enters that decoder as an input, too; so whoever keeps the inputs
can have the same events again: `FeedDecoder(instruments).take(item.input) == item.events`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from claire.adapters.venues.mexc.channels import Channel, Kind, deals
from claire.adapters.venues.mexc.connection import SYSTEM_CLOCKS, Clocks, Connection, ConnectionSettings
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.feedrest import FeedRest
from claire.adapters.venues.mexc.items import (
    AlertKind,
    FeedAlert,
    FeedCounters,
    FeedError,
    FeedInput,
    FeedItem,
    LinkChange,
    RawFrame,
    RawText,
)
from claire.adapters.venues.mexc.lookups import Evidence, History, Snapshots
from claire.adapters.venues.mexc.outbox import Outbox, Tasks
from claire.adapters.venues.mexc.subscriptions import Assignment, State
from claire.adapters.venues.mexc.supervisor import ConnectPacer, SlotKeeper
from claire.adapters.venues.mexc.watchdog import Rhythm, Verdict, VerdictKind, Watchdog, connection_key
from claire.model.instrument import Instrument

SECOND: Final = 1_000_000_000

QUEUE_ITEMS: Final = 50_000
"""Items that wait for the reader; with more the connections stop reading, and the venue's buffers fill."""

EVIDENCE_PER_S: Final = 4.0
"""Questions to REST about silent streams."""

EVIDENCE_TIMEOUT_S: Final = 1.5

MOST_QUESTIONS: Final = 500


class FeedState(StrEnum):
    """What a symbol's trades are good for right now."""

    CONNECTING = "connecting"
    """Not subscribed yet."""
    WARMING = "warming"
    """Subscribed; history is still being fetched."""
    LIVE = "live"
    GAP = "gap"
    """Trades may be missing."""
    REFUSED = "refused"
    """The venue refuses the subscription."""


class MexcMarketData:
    """The market-data client."""

    def __init__(
        self,
        symbols: Sequence[str],
        instruments: Mapping[str, Instrument],
        rest: FeedRest,
        ws_url: str,
        channels: Iterable[Channel] | None = None,
        *,
        lookback_s: float = 0.0,
        settings: ConnectionSettings | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
        seed: int = 0,
        session: aiohttp.ClientSession | None = None,
        queue_items: int = QUEUE_ITEMS,
    ) -> None:
        """Prepare; nothing is connected before `async with`.

        Args:
            symbols: What is traded.
            instruments: The rules of each symbol.
            rest: For snapshots, evidence and history.
            ws_url: The venue's WebSocket, such as ``wss://wbs-api.mexc.com/ws``.
            channels: What to subscribe; the deals of every symbol unless told otherwise.
            lookback_s: How much history of trades to fetch before a symbol is live; 0: no history at all.
            settings: Times of the connections.
            clocks: Where time is read; a wall clock corrected to venue time gives corrected receive times.
            seed: Of waits and jitter.
            session: To connect with (a Unix socket); None: one of its own.
            queue_items: How many items may wait for the reader before the connections stop reading.

        Raises:
            FeedError: a channel names a symbol without rules.
        """
        wanted = tuple(channels) if channels is not None else tuple(deals(symbol) for symbol in symbols)
        for channel in wanted:
            if channel.symbol and channel.symbol not in instruments:
                raise FeedError(
                    f"{channel.name}: the rules of {channel.symbol} are not known."
                    " Load them (claire symbols --venue mexc), or leave the symbol out"
                )
        self.counters = FeedCounters()
        self.decoder = FeedDecoder(instruments, self.counters)
        self.watchdog = Watchdog()
        self.refused: dict[str, str] = {}
        """Channels that the venue refuses, and its words."""
        self._symbols = tuple(symbols)
        self._url = ws_url
        self._settings = settings or ConnectionSettings()
        self._clocks = clocks
        self._rng = random.Random(seed)  # for waits only; nothing is decided by it
        self._session = session
        self._own_session = session is None
        self._channels = {channel.name: channel for channel in wanted}
        self._trades_of = {each.symbol: each.name for each in wanted if each.kind is Kind.DEALS}
        self.assignment = Assignment()
        for group in _by_symbol(wanted):
            self.assignment.add(group)
        self._next_connection = 1
        self._keepers: list[SlotKeeper] = []
        self._rhythms: dict[str, Rhythm] = {}
        self._pulses: list[Rhythm] = []
        self._carried: dict[int, tuple[str, ...]] = {}
        self._stalled_at: dict[str, int] = {}
        self._questions: dict[str, int] = {}
        self._asked = asyncio.Event()
        self._warm: dict[str, bool] = {} if lookback_s else dict.fromkeys(symbols, True)
        self._snapshots = Snapshots(rest, self.decoder, clocks, self._enter)
        self._evidence = Evidence(rest, self.decoder, clocks)
        self._history = History(rest, clocks, self._enter, lookback_s)
        self._outbox: Outbox[FeedItem] = Outbox(queue_items)
        self._put = self._outbox.put
        self._tasks = Tasks(self._outbox.fail)
        self._closed = False

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start to connect."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        pacer = ConnectPacer(self._settings.connects_per_s)
        now_ns = self._clocks.now_ns()
        for number, names in enumerate(self.assignment.slots):
            self._pulses.append(self.watchdog.watch(connection_key(number), now_ns))
            self.watchdog.pause(connection_key(number))  # nothing is expected before it is connected
            keeper = SlotKeeper(
                self._maker(number, names),
                self._down,
                self._clocks,
                self._settings,
                self.counters,
                pacer,
                random.Random(self._rng.getrandbits(64)),
            )
            self._keepers.append(keeper)
            self._tasks.start(keeper.run(), f"mexc-slot-{number}")
        self._tasks.start(self._watch(), "mexc-watchdog")
        self._tasks.start(self._snapshots.run(), "mexc-snapshots")
        self._tasks.start(self._ask(), "mexc-evidence")
        self._tasks.start(self._warm_up(), "mexc-warm-up")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection; no task stays behind. Items that are waiting can still be read."""
        await self.close()

    async def close(self) -> None:
        """Close every connection, and end the iteration once the waiting items are read."""
        self._closed = True
        await self._tasks.end()
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None
        self._outbox.close()

    def __aiter__(self) -> AsyncIterator[FeedItem]:
        """Yield the items one by one, in order."""
        return self._outbox.each()

    def batches(self) -> AsyncIterator[list[FeedItem]]:
        """Yield what has come since the last look, some thousand items at most; quicker than one by one."""
        return self._outbox.batches()

    @property
    def is_drained(self) -> bool:
        """Whether everything that was decoded has been read: then the decoder's state is that of the last item."""
        return not self._outbox.items

    # -- what there is to see ----------------------------------------------------------------------------------------------

    def state(self, symbol: str) -> FeedState:
        """Return what a symbol's trades are good for right now."""
        name = self._trades_of.get(symbol, "")
        if name in self.refused:
            return FeedState.REFUSED
        if self.decoder.open_gaps.get(symbol):
            return FeedState.GAP
        if not any(name in carried for carried in self._carried.values()):
            return FeedState.CONNECTING
        return FeedState.LIVE if self._warm.get(symbol) else FeedState.WARMING

    @property
    def states(self) -> dict[str, FeedState]:
        """The state of every symbol."""
        return {symbol: self.state(symbol) for symbol in self._symbols}

    @property
    def connections(self) -> list[Connection]:
        """The connections that serve the slots now."""
        return [keeper.current for keeper in self._keepers if keeper.current is not None]

    # -- Listener: what connections say ---------------------------------------------------------------------------------------

    def frame(self, connection: Connection, data: bytes, ts_recv_ns: int, now_ns: int) -> bool:
        """Decode one frame and queue what it gave. Every frame of a run passes here."""
        decoder, number = self.decoder, connection.number
        events = decoder.feed(number, data, ts_recv_ns)
        name = decoder.channel
        if connection.serves:
            rhythm = self._rhythms.get(name)
            if rhythm is not None:
                rhythm.last_ns = now_ns
                rhythm.count += 1
            rhythm = self._pulses[connection.slot]
            rhythm.last_ns = now_ns
            rhythm.count += 1
        if name in connection.table.unheard:
            connection.table.heard(name)
        if decoder.wants_snapshots:
            self._snapshots.wanted.set()
        return self._put(FeedItem(RawFrame(number, data, ts_recv_ns), events))

    def text(self, connection: Connection, text: str, ts_recv_ns: int) -> None:
        """Hand on a control text."""
        self._put(FeedItem(RawText(connection.number, text, ts_recv_ns), []))

    def answered(self, connection: Connection, refused: Sequence[str], reason: str) -> None:
        """Note what a connection carries by now."""
        for name in refused:
            words = f"{name} was refused by MEXC: {reason or 'no reason given'}"
            remedy = "The pair may be unlisted or not pushed: claire symbols --venue mexc shows what can be subscribed."
            symbol = self._channels[name].symbol
            if name not in self.refused:
                self._alert(AlertKind.REFUSED, symbol, f"{words} {remedy}", stops_entries=False)
            if any(name in carried for carried in self._carried.values()):
                continue  # refused to a successor only; the hand-over will be called off
            self.refused[name] = reason
            self.watchdog.pause(name)
        lost = sum(each.state is State.LOST for each in connection.table.all.values())
        if lost and connection.is_open:
            self.counters.subscriptions_lost_total += lost
            self._tasks.start(connection.close(f"{lost} subscriptions were not answered"), "mexc-close")
        carried = connection.acknowledged()
        for name in carried:
            self.refused.pop(name, None)
        if connection.table.is_settled and connection.is_open and carried != self._carried.get(connection.number):
            self._link(connection, carried, "subscribed")

    def not_understood(self, connection: Connection, text: str) -> None:
        """Tell that the venue says something new: no new risk until a person has looked."""
        self.counters.unknown_messages_total += 1
        words = f"MEXC said on connection {connection.number} what this version does not understand: {text!r}"
        self._alert(AlertKind.UNKNOWN_MESSAGE, "", words, stops_entries=True)

    async def room(self) -> None:
        """Wait until the reader has taken something."""
        self.counters.queue_waits_total += 1
        await self._outbox.room()

    # -- connections ---------------------------------------------------------------------------------------------------------

    def _maker(self, slot: int, names: Sequence[str]) -> Callable[[], Coroutine[Any, Any, Connection]]:
        channels = [self._channels[name] for name in names]

        async def make() -> Connection:
            number, self._next_connection = self._next_connection, self._next_connection + 1
            if self._session is None:
                raise RuntimeError("the feed is closed")
            rng = random.Random(self._rng.getrandbits(64))
            return Connection(number, slot, self._url, channels, self._session, self, self._clocks, self._settings, rng)

        return make

    def _link(self, connection: Connection, carried: tuple[str, ...], reason: str) -> None:
        """Enter what a connection carries now, and watch what is new."""
        if self._closed:
            return
        before = dict.fromkeys(self._carried.get(connection.number, ()))
        now_ns = self._clocks.now_ns()
        if carried:
            self._carried[connection.number] = carried
        else:
            self._carried.pop(connection.number, None)
        for name in carried:
            if name not in before:
                self._rhythms[name] = self.watchdog.watch(name, now_ns)
        if carried and not before:
            self.watchdog.watch(connection_key(connection.slot), now_ns)
        self._enter(LinkChange(connection.number, carried, reason, self._clocks.wall_ns()))

    def _down(self, connection: Connection, reason: str) -> None:
        """Note that a connection has ended (SlotKeeper)."""
        if connection.number in self._carried:
            self._link(connection, (), reason)
        if self._keepers[connection.slot].current is None:
            self.watchdog.pause(connection_key(connection.slot))
            for name in connection.table.all:
                self.watchdog.pause(name)

    # -- silence ---------------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Judge the silence of every stream, a few times per second."""
        tick_ns = round(self._settings.tick_s * SECOND)
        looked_ns = self._clocks.now_ns()
        while True:
            await asyncio.sleep(self._settings.tick_s)
            now_ns = self._clocks.now_ns()
            late, looked_ns = now_ns - looked_ns > 4 * tick_ns, now_ns
            self._gauge()
            if late:
                continue  # this process was busy or asleep: what has come meanwhile is to be read first
            for verdict in self.watchdog.check(now_ns):
                if verdict.kind is VerdictKind.STALLED:
                    self._stalled(verdict)
                elif len(self._questions) < MOST_QUESTIONS:
                    self._questions[verdict.key] = verdict.allowed_ns
                    self._asked.set()

    async def _ask(self) -> None:
        """Look elsewhere what suspect streams did not tell: whole connections first, then those that usually flow best."""
        while True:
            await self._asked.wait()
            if not self._questions:
                self._asked.clear()
                continue
            key = min(self._questions, key=lambda each: (each in self._channels, self._questions[each]))
            del self._questions[key]
            channel = self._channels.get(key) or self._liveliest(key)
            if channel is None or not self.watchdog.asked(key, self._clocks.now_ns()):
                continue
            rhythm = self.watchdog.streams[key]
            since_ns = self._clocks.wall_ns() - (self._clocks.now_ns() - rhythm.last_ns)
            try:
                async with asyncio.timeout(EVIDENCE_TIMEOUT_S):
                    happened = await self._evidence.happened(channel, since_ns)
            except TimeoutError:
                happened = None
            verdict = self.watchdog.evidence(key, happened, self._clocks.now_ns())
            if verdict is not None:
                self._stalled(verdict)
            await asyncio.sleep(1.0 / EVIDENCE_PER_S)

    def _stalled(self, verdict: Verdict) -> None:
        """Act on a stall: ask for the stream again, or, where that did not help or all are silent, connect again."""
        self.counters.stalls_total += 1
        silent = f"silent for {verdict.silent_ns / SECOND:.1f} s, where {verdict.allowed_ns / SECOND:.1f} s are usual at most"
        channel = self._channels.get(verdict.key)
        if channel is None:
            connection = self._keepers[int(verdict.key.rpartition(":")[2])].current
            what = f"connection {connection.number if connection else ''}"
        else:
            connection = self._keepers[self.assignment.slot_of(channel.name)].current
            what = channel.name
        self._alert(AlertKind.STALLED, channel.symbol if channel else "", f"{what} is {silent}", stops_entries=False)
        if connection is None or not connection.is_open:
            return
        heard = self.watchdog.streams[verdict.key].count
        if channel is None or self._stalled_at.get(channel.name) == heard:
            self._link(connection, (), f"stalled: {silent}")
            self._tasks.start(connection.close(f"stalled: {silent}"), "mexc-close")
            return
        self._stalled_at[channel.name] = heard
        self.counters.subscriptions_lost_total += 1
        carried = tuple(name for name in self._carried.get(connection.number, ()) if name != channel.name)
        self._link(connection, carried, f"stalled: {silent}")
        self._tasks.start(connection.resubscribe(channel.name), "mexc-resubscribe")

    def _liveliest(self, key: str) -> Channel | None:
        """Return the channel of a slot that usually speaks most."""
        names = [name for name in self.assignment.slots[int(key.rpartition(":")[2])] if name in self._rhythms]
        best = max(names, key=lambda name: self._rhythms[name].weight, default=None)
        return self._channels[best] if best else None

    # -- history ---------------------------------------------------------------------------------------------------------------

    async def _warm_up(self) -> None:
        """Fetch the history of each symbol once its trades are subscribed."""
        waiting = [symbol for symbol in self._symbols if not self._warm.get(symbol)]
        while waiting:
            for symbol in [each for each in waiting if self.state(each) in (FeedState.WARMING, FeedState.GAP)]:
                if await self._history.fetch(symbol):
                    self._warm[symbol] = True
            waiting = [symbol for symbol in waiting if not self._warm.get(symbol)]
            await asyncio.sleep(self._settings.tick_s)

    # -- the queue ---------------------------------------------------------------------------------------------------------------

    def _enter(self, entered: FeedInput) -> None:
        """Give the decoder an input that is no frame, and queue it."""
        self._put(FeedItem(entered, self.decoder.take(entered)))
        if self.decoder.wants_snapshots:
            self._snapshots.wanted.set()

    def _alert(self, kind: AlertKind, symbol: str, text: str, *, stops_entries: bool) -> None:
        self._enter(FeedAlert(kind, symbol, text, stops_entries, self._clocks.wall_ns()))

    def _gauge(self) -> None:
        """Bring the counters up to date that are states."""
        tables = [connection.table for connection in self.connections if connection.is_open]
        self.counters.ws_connected = len(tables)
        self.counters.subscriptions_active = sum(table.count(State.ACTIVE) for table in tables)
        self.counters.subscriptions_refused = len(self.refused)


def _by_symbol(channels: Sequence[Channel]) -> list[list[str]]:
    """Group channel names by symbol, in the order of first mention."""
    groups: dict[str, list[str]] = {}
    for channel in channels:
        groups.setdefault(channel.symbol, []).append(channel.name)
    return list(groups.values())
