"""The account's own stream, live: a listen key kept alive, one connection, reports on our orders.

The stream has no memory and no sequence: whatever happens while it is down is told to nobody. So with every connection
a `Reconcile` goes to the caller, who looks by REST. A key lives for 60 minutes and is prolonged every 30; when it has
expired all the same, a new one is made and connected with.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import aiohttp

from claire.adapters.venues.mexc.channels import PRIVATE
from claire.adapters.venues.mexc.connection import (
    INVALID_LISTEN_KEY,
    SYSTEM_CLOCKS,
    Clocks,
    Connection,
    ConnectionSettings,
)
from claire.adapters.venues.mexc.errors import Kind, MexcError
from claire.adapters.venues.mexc.feedrest import ListenKeys
from claire.adapters.venues.mexc.fees import FeePrices
from claire.adapters.venues.mexc.fills import FillBook
from claire.adapters.venues.mexc.items import (
    AlertKind,
    FeedAlert,
    FeedCounters,
    FeedError,
    LinkChange,
    RawFrame,
    RawText,
)
from claire.adapters.venues.mexc.outbox import Outbox, Tasks
from claire.adapters.venues.mexc.privatedecoder import (
    OrderNumbers,
    PrivateDecoder,
    PrivateInput,
    PrivateItem,
    Reconcile,
)
from claire.adapters.venues.mexc.subscriptions import State
from claire.adapters.venues.mexc.supervisor import ConnectPacer, SlotKeeper
from claire.model.errors import ClaireError
from claire.model.instrument import Instrument

QUEUE_ITEMS: Final = 10_000

KEEP_ALIVE_S: Final = 1_800.0
"""The venue's advice; a key lives for twice that."""

RETRY_S: Final = (0.5, 30.0)
"""First and longest wait before asking for a key, or for its renewal, again."""


class PrivateStream:
    """The user-data stream. Iterate over it; the keys' owner has to be open."""

    def __init__(
        self,
        keys: ListenKeys,
        ws_url: str,
        instruments: Mapping[str, Instrument],
        order_no: OrderNumbers,
        *,
        book: FillBook | None = None,
        prices: FeePrices | None = None,
        settings: ConnectionSettings | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
        keep_alive_s: float = KEEP_ALIVE_S,
        seed: int = 0,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Prepare; nothing is connected before `async with`.

        Args:
            keys: Makes, prolongs and ends listen keys.
            ws_url: The venue's WebSocket, without a query.
            instruments: Rules by symbol.
            order_no: Tells our orders from others.
            book: Counts executions once; share it with the trading client.
            prices: Of third assets that fees are taken in; share them with the trading client.
            settings: Times of the connection.
            clocks: Where time is read.
            keep_alive_s: How often the key is prolonged.
            seed: Of waits and jitter.
            session: To connect with; None: one of its own.
        """
        self.counters = FeedCounters()
        known = FeePrices(clocks.now_ns) if prices is None else prices
        book = FillBook() if book is None else book
        self.decoder = PrivateDecoder(instruments, order_no, book, known, self.counters)
        self._keys = keys
        self._url = ws_url
        self._settings = settings or ConnectionSettings()
        self._clocks = clocks
        self._keep_alive_s = keep_alive_s
        self._rng = random.Random(seed)  # for waits only
        self._session = session
        self._own_session = session is None
        self._key = ""
        self._next_connection = 1
        self._carried: dict[int, None] = {}
        self._outbox: Outbox[PrivateItem] = Outbox(QUEUE_ITEMS)
        self._tasks = Tasks(self._outbox.fail)
        self._closed = False
        self.keeper = SlotKeeper(
            self._make,
            self._down,
            clocks,
            self._settings,
            self.counters,
            ConnectPacer(self._settings.connects_per_s),
            random.Random(self._rng.getrandbits(64)),
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start to connect."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        self._tasks.start(self.keeper.run(), "mexc-private")
        self._tasks.start(self._keep_alive(), "mexc-listen-key")
        self._tasks.start(self._look(), "mexc-private-overdue")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection and end the key; no task stays behind."""
        await self.close()

    async def close(self) -> None:
        """Close the connection, end the key, and end the iteration once the waiting items are read."""
        if self._closed:
            return
        self._closed = True
        await self._tasks.end()
        if self._key:
            key, self._key = self._key, ""
            try:
                await self._keys.end_listen_key(key)
            except ClaireError as error:
                # it expires by itself within the hour; whoever reads to the end is told
                self._alert(AlertKind.REFUSED, f"the listen key could not be ended: {error}", stops_entries=False)
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None
        self._outbox.close()

    def share(self, book: FillBook, prices: FeePrices) -> None:
        """Count executions in this book and value fees by these prices: those of whoever asks REST."""
        self.decoder.share(book, prices)

    def __aiter__(self) -> AsyncIterator[PrivateItem]:
        """Yield the items in order.

        Raises:
            ClaireError: the venue refuses the keys for good.
        """
        return self._outbox.each()

    @property
    def is_live(self) -> bool:
        """Whether a connection is up with all channels acknowledged."""
        return bool(self._carried)

    # -- Listener --------------------------------------------------------------------------------------------------------

    def frame(self, connection: Connection, data: bytes, ts_recv_ns: int, now_ns: int) -> bool:
        """Decode one frame and queue what it gave."""
        for name in tuple(connection.table.unheard):
            connection.table.heard(name)  # quiet channels are no worry here: nobody waits for a first message
        self._outbox.put(
            PrivateItem(RawFrame(connection.number, data, ts_recv_ns), self.decoder.feed(data, ts_recv_ns))
        )
        return self._outbox.is_full

    def text(self, connection: Connection, text: str, ts_recv_ns: int) -> None:
        """Hand on a control text."""
        self._outbox.put(PrivateItem(RawText(connection.number, text, ts_recv_ns), []))

    def answered(self, connection: Connection, refused: Sequence[str], reason: str) -> None:
        """Ask the caller to look once the stream is up: what happened before was told to nobody."""
        for name in refused:
            text = f"{name} was refused by MEXC: {reason}. The key needs SPOT_ACCOUNT_READ and SPOT_DEAL_READ"
            self._alert(AlertKind.REFUSED, text, stops_entries=True)
        lost = connection.table.count(State.LOST)
        if lost and connection.is_open:
            self.counters.subscriptions_lost_total += lost
            self._tasks.start(connection.close(f"{lost} subscriptions were not answered"), "mexc-close")
        elif connection.table.is_settled and connection.number not in self._carried and connection.is_open:
            self._carried[connection.number] = None
            self.counters.subscriptions_active = len(connection.acknowledged())
            self.counters.ws_connected = len(self._carried)
            now_ns = self._clocks.wall_ns()
            self._enter(LinkChange(connection.number, connection.acknowledged(), "subscribed", now_ns))
            self._enter(Reconcile("the private stream is up", (), now_ns))

    def not_understood(self, connection: Connection, text: str) -> None:
        """Tell that the venue says something new."""
        self.counters.unknown_messages_total += 1
        words = f"MEXC said on the private stream what this version does not understand: {text!r}"
        self._alert(AlertKind.UNKNOWN_MESSAGE, words, stops_entries=True)

    async def room(self) -> None:
        """Wait until the reader has taken something."""
        self.counters.queue_waits_total += 1
        await self._outbox.room()

    # -- the key -----------------------------------------------------------------------------------------------------------

    async def _make(self) -> Connection:
        """Make the next connection, with a key that is believed to be alive."""
        wait_s = RETRY_S[0]
        while not self._key:
            try:
                self._key = await self._keys.new_listen_key()
            except MexcError as error:
                if error.fault.kind in (Kind.CONFIGURATION, Kind.REJECTED):
                    raise
                self.counters.connect_failures_total += 1
                await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))
                wait_s = min(RETRY_S[1], 2 * wait_s)
        if self._session is None:
            raise FeedError("the private stream is closed; open a new one")
        number, self._next_connection = self._next_connection, self._next_connection + 1
        url = f"{self._url}?listenKey={self._key}"
        rng = random.Random(self._rng.getrandbits(64))
        return Connection(number, 0, url, PRIVATE, self._session, self, self._clocks, self._settings, rng)

    async def _keep_alive(self) -> None:
        """Prolong the key in time; where the venue does not know it any more, connect again with a new one."""
        while True:
            await asyncio.sleep(self._keep_alive_s)
            key, wait_s = self._key, RETRY_S[0]
            while key and key == self._key:
                try:
                    if not await self._keys.renew_listen_key(key):
                        self._expired(key)
                    break
                except ClaireError:
                    self.counters.connect_failures_total += 1
                    await asyncio.sleep(wait_s)
                    wait_s = min(RETRY_S[1], 2 * wait_s)

    def _expired(self, key: str) -> None:
        """Forget a key that is no more, and the connection that lives by it."""
        if key != self._key:
            return
        self._key = ""
        current = self.keeper.current
        if current is not None:
            self._tasks.start(current.close("the listen key has expired"), "mexc-close")

    # -- inside --------------------------------------------------------------------------------------------------------------

    def _down(self, connection: Connection, reason: str) -> None:
        """Note that a connection has ended (SlotKeeper)."""
        if reason == INVALID_LISTEN_KEY and connection.url.endswith(f"={self._key}"):
            self._key = ""
        if self._carried.pop(connection.number, 0) is None and not self._closed:
            self._enter(LinkChange(connection.number, (), reason, self._clocks.wall_ns()))
        self.counters.ws_connected = len(self._carried)

    async def _look(self) -> None:
        """Ask the caller to look after orders whose executions do not come."""
        while True:
            await asyncio.sleep(self._settings.tick_s)
            now_ns = self._clocks.wall_ns()
            late = self.decoder.overdue(now_ns)
            if late:
                self._enter(Reconcile("ended, and executions are missing", late, now_ns))

    def _alert(self, kind: AlertKind, text: str, *, stops_entries: bool) -> None:
        self._enter(FeedAlert(kind, "", text, stops_entries, self._clocks.wall_ns()))

    def _enter(self, entered: PrivateInput) -> None:
        self._outbox.put(PrivateItem(entered, self.decoder.take(entered)))
