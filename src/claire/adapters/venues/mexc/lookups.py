"""What the market-data client asks REST for: book snapshots, evidence about silent streams, history for the warm-up.

One task each, one question at a time, so that a mass reconnect turns into a queue and not into a burst.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from claire.adapters.venues.mexc.channels import Channel, Kind
from claire.adapters.venues.mexc.connection import Clocks
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.feedrest import TRADES_LIMIT, FeedRest
from claire.adapters.venues.mexc.items import Body, RestBody
from claire.model.errors import ClaireError

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000

SNAPSHOT_LEVELS: Final = 1_000
RETRY_S: Final = (0.2, 10.0)
"""First and longest wait before a book's next snapshot; a first one is often older than the first change."""

SETTLE_S: Final = 0.3
"""How long a stream has to tell what REST told first: windows are 100 ms, and REST may be quicker."""

RECENT_TRADES: Final = 20
WARM_CANDLES: Final = 120
LONGEST_SPAN_MS: Final = 3_600_000
"""History of trades is asked for in spans of at most this length; a span with more trades than an answer holds, in halves."""


class _Latest(Struct):
    time: int
    """Milliseconds."""


class _Version(Struct, rename="camel"):
    last_update_id: int


_latest = msgspec.json.Decoder(list[_Latest])
_version = msgspec.json.Decoder(_Version)
_rows = msgspec.json.Decoder(list[msgspec.Raw])


class Snapshots:
    """Fetches a snapshot for each book that wants one."""

    def __init__(self, rest: FeedRest, decoder: FeedDecoder, clocks: Clocks, enter: Callable[[RestBody], None]) -> None:
        """Prepare; `enter` is given each answer."""
        self.wanted = asyncio.Event()
        """To be set when a book wants a snapshot."""
        self._rest = rest
        self._decoder = decoder
        self._clocks = clocks
        self._enter = enter
        self._failed: dict[str, int] = {}
        self._not_before_ns: dict[str, int] = {}

    async def run(self) -> None:
        """Fetch what is wanted, until cancelled."""
        while True:
            await self.wanted.wait()
            wanted = self._decoder.wanted
            if not wanted:
                self.wanted.clear()
                self._decoder.wants_snapshots = False
                self._failed.clear()
                self._not_before_ns.clear()
                continue
            now_ns = self._clocks.now_ns()
            ready = [symbol for symbol in wanted if self._not_before_ns.get(symbol, 0) <= now_ns]
            for symbol in ready:
                await self._fetch(symbol)
            if not ready:
                await asyncio.sleep(RETRY_S[0] / 4)

    async def _fetch(self, symbol: str) -> None:
        try:
            data = await self._rest.depth(symbol, SNAPSHOT_LEVELS)
        except ClaireError:
            self._decoder.counters.snapshot_failures_total += 1
        else:
            self._enter(RestBody(Body.DEPTH, symbol, data, self._clocks.wall_ns()))
        book = self._decoder.books[symbol]
        if book.valid:
            self._failed.pop(symbol, None)
            return
        failures = self._failed[symbol] = self._failed.get(symbol, 0) + 1
        wait_s = min(RETRY_S[1], RETRY_S[0] * 2.0 ** min(failures - 1, 8))
        self._not_before_ns[symbol] = self._clocks.now_ns() + round(wait_s * SECOND)


class Evidence:
    """Finds out whether something happened that a silent stream did not tell."""

    def __init__(self, rest: FeedRest, decoder: FeedDecoder, clocks: Clocks) -> None:
        """Prepare."""
        self._rest = rest
        self._decoder = decoder
        self._clocks = clocks

    async def happened(self, channel: Channel, since_ns: int) -> bool | None:
        """Tell whether there is news of a channel; None: nobody can tell.

        Args:
            channel: The silent one.
            since_ns: When it was last heard or turned on, in UTC; asked about a stream that never told anything.
        """
        symbol = channel.symbol
        found = False
        try:
            if channel.kind in (Kind.DEALS, Kind.KLINE):
                seen_ns = self._decoder.last_trade_ns(symbol) or since_ns + SECOND
                data = await self._rest.trades(symbol, RECENT_TRADES)
                found = any(trade.time * MS > seen_ns for trade in _latest.decode(data))
            elif channel.kind in (Kind.DEPTH, Kind.BOOK_TICKER, Kind.BOOK_TICKER_BATCH, Kind.LIMIT_DEPTH):
                before = self._decoder.version(symbol)
                data = await self._rest.depth(symbol, 5)
                found = bool(before) and _version.decode(data).last_update_id > before
            else:
                return None
        except (ClaireError, msgspec.DecodeError):
            return None
        if found:
            await asyncio.sleep(SETTLE_S)
        return found


class History:
    """Fetches what a symbol's windows and candles start from."""

    def __init__(self, rest: FeedRest, clocks: Clocks, enter: Callable[[RestBody], None], lookback_s: float) -> None:
        """Prepare; `enter` is given each answer."""
        self._rest = rest
        self._clocks = clocks
        self._enter = enter
        self._lookback_ms = round(lookback_s * 1000)

    async def fetch(self, symbol: str) -> bool:
        """Fetch candles and trades of a symbol; False: REST failed, and it has to be tried again."""
        try:
            data = await self._rest.klines(symbol, WARM_CANDLES)
            candles = RestBody(Body.KLINES, symbol, data, self._clocks.wall_ns())
            end_ms = candles.ts_recv_ns // MS
            pages: list[RestBody] = []
            for start_ms in range(end_ms - self._lookback_ms, end_ms, LONGEST_SPAN_MS):
                pages += await self._pages(symbol, start_ms, min(end_ms, start_ms + LONGEST_SPAN_MS))
        except ClaireError:
            return False
        # only now that nothing can fail any more: what is entered once is not entered again
        for body in (candles, *pages[:-1], msgspec.structs.replace(pages[-1], more=False)):
            self._enter(body)
        return True

    async def _pages(self, symbol: str, start_ms: int, end_ms: int) -> list[RestBody]:
        """Return the answers that together hold the trades of a span, oldest first.

        A second that alone fills an answer is taken as far as the venue tells it: a window needs no more of it.
        """
        data = await self._rest.agg_trades(symbol, start_ms, end_ms)
        middle_ms = (start_ms + end_ms) // 2000 * 1000
        try:
            is_whole = len(_rows.decode(data)) < TRADES_LIMIT
        except msgspec.DecodeError:
            is_whole = True  # not understood: the decoder says so
        if is_whole or not start_ms < middle_ms < end_ms:
            return [RestBody(Body.AGG_TRADES, symbol, data, self._clocks.wall_ns(), more=True)]
        # times may be whole seconds, and whether endTime belongs to the span is not documented: this way it does not matter
        older = await self._pages(symbol, start_ms, middle_ms - 1)
        return older + await self._pages(symbol, middle_ms, end_ms)
