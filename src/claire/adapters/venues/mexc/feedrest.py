"""What the streams need from REST, as ports, and the same over the project's REST client.

Bodies come as the bytes that the venue sent: they are inputs of the feed's decoder, and the journal keeps them as they are.
"""

from typing import Final, Protocol

import msgspec

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.requests import Request
from claire.adapters.venues.mexc.rest import MexcRest

KLINES_LIMIT: Final = 500
"""Most candles in one answer."""
TRADES_LIMIT: Final = 1_000


class FeedRest(Protocol):
    """REST for market data. Every call raises a ClaireError when it fails, after the attempts that make sense."""

    async def depth(self, symbol: str, limit: int) -> bytes:
        """Return the body of ``GET depth``."""

    async def klines(self, symbol: str, limit: int) -> bytes:
        """Return the body of ``GET klines``: the latest one-minute candles."""

    async def agg_trades(self, symbol: str, start_ms: int, end_ms: int) -> bytes:
        """Return the body of ``GET aggTrades`` of a range."""

    async def trades(self, symbol: str, limit: int) -> bytes:
        """Return the body of ``GET trades``: the latest ones, newest first."""


class ListenKeys(Protocol):
    """Listen keys of one account, as the trading client has them. Every call raises a ClaireError when it fails."""

    async def new_listen_key(self) -> str:
        """Return a new key, valid for 60 minutes."""

    async def renew_listen_key(self, key: str) -> bool:
        """Make a key valid for 60 minutes from now; False: the venue no longer knows it."""

    async def end_listen_key(self, key: str) -> None:
        """End a key and its streams."""


class MexcFeedRest:
    """`FeedRest` over the REST client."""

    def __init__(self, rest: MexcRest) -> None:
        """Ask through `rest`, which has to be open."""
        self._rest = rest

    async def depth(self, symbol: str, limit: int) -> bytes:
        """Return a snapshot of the book."""
        return await self._raw(requests.depth(symbol, limit))

    async def klines(self, symbol: str, limit: int) -> bytes:
        """Return the latest one-minute candles."""
        return await self._raw(requests.klines(symbol, "1m", limit=limit))

    async def agg_trades(self, symbol: str, start_ms: int, end_ms: int) -> bytes:
        """Return the trades of a range."""
        return await self._raw(requests.agg_trades(symbol, start_ms=start_ms, end_ms=end_ms, limit=TRADES_LIMIT))

    async def trades(self, symbol: str, limit: int) -> bytes:
        """Return the latest trades."""
        return await self._raw(requests.trades(symbol, limit))

    async def _raw(self, request: Request) -> bytes:
        return bytes(await self._rest.get(request, msgspec.Raw))
