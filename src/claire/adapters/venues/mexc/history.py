"""A venue's past, day by day, as CSV: candles and trades of MEXC by REST, files of Binance's public archive.

MEXC (sheet 3.2): at most 500 candles an answer, whatever is asked; trades carry no ids and whole seconds, so a page is believed
only when it is not full: a span that fills one is asked for again in halves.
Binance: https://github.com/binance/binance-public-data, a zip per day with its SHA-256 beside it.
"""

import asyncio
import hashlib
import zipfile
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.replies import AggTrade, Kline
from claire.adapters.venues.mexc.rest import MexcRest
from claire.model.errors import DataError
from claire.model.money import plain_text

DAY_MS: Final = 86_400_000
ARCHIVE: Final = "https://data.binance.vision"
CHUNK: Final = 1 << 20
LONGEST_FILE: Final = 8 << 30
ATTEMPTS: Final = 3
CANDLES: Final = "klines"
TRADES: Final = "aggTrades"
KLINE_HEADER: Final = "open_time,open,high,low,close,volume,close_time,quote_volume\n"
ARCHIVE_HEADER: Final = KLINE_HEADER.replace("\n", ",count,taker_buy_volume,taker_buy_quote_volume,ignore\n").encode()
"""Of candles in Binance's archive; its spot files have none of their own."""
TRADE_HEADER: Final = "ts_ms,price,qty,side\n"


class History(Protocol):
    """Where days come from."""

    @property
    def venue(self) -> str:
        """The venue's name."""

    async def today(self) -> date:
        """Return the day that is not over yet, at the venue (UTC)."""

    async def fetch(self, day: date, file: Path) -> str:
        """Write one day as CSV; return the SHA-256 of what was written.

        Raises:
            ClaireError: the venue has no such day, or does not answer.
        """


class MexcHistory:
    """Days of one symbol, by REST."""

    venue = "mexc"

    def __init__(self, rest: MexcRest, symbol: str, kind: str, interval: str = "1m") -> None:
        """Read `kind` (``klines`` or ``aggTrades``) of a symbol."""
        self._rest = rest
        self._symbol = symbol
        self._kind = kind
        self._interval = interval

    async def today(self) -> date:
        """Return the venue's day."""
        await self._rest.know_time()
        return datetime.fromtimestamp(self._rest.venue_ms() / 1000, UTC).date()

    async def fetch(self, day: date, file: Path) -> str:
        """Write one day as CSV."""
        start_ms = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
        if self._kind == CANDLES:
            candles = await self._candles(start_ms, start_ms + DAY_MS)
            lines = [_candle_line(candle) for candle in candles]
            text = KLINE_HEADER + "".join(lines)
        else:
            trades = await self._trades(start_ms, start_ms + DAY_MS)
            lines = [_trade_line(trade) for trade in trades]
            text = TRADE_HEADER + "".join(lines)
        if not lines:
            raise DataError(
                f"MEXC has no {self._kind} of {self._symbol} on {day}: it was not traded, or MEXC does not keep them that long."
                " Choose another --from"
            )
        content = text.encode()
        file.write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    async def _candles(self, start_ms: int, end_ms: int) -> list[Kline]:
        """All candles that open in [start, end), oldest first."""
        # Spans that hold no more than one answer may: which end of a longer one the venue gives is not documented.
        span_ms = requests.INTERVALS[self._interval] * 1000 * requests.MOST_KLINES
        found: dict[int, Kline] = {}
        for from_ms in range(start_ms, end_ms, span_ms):
            to_ms = min(from_ms + span_ms, end_ms)
            request = requests.klines(
                self._symbol, self._interval, start_ms=from_ms, limit=requests.MOST_KLINES, end_ms=to_ms - 1
            )
            for candle in await self._rest.get(request, tuple[Kline, ...]):
                if from_ms <= candle.open_time < to_ms and found.setdefault(candle.open_time, candle) != candle:
                    raise DataError(f"MEXC tells two candles of {self._symbol} at {candle.open_time}; try again later")
        return [found[open_time] for open_time in sorted(found)]

    async def _trades(self, start_ms: int, end_ms: int) -> list[AggTrade]:
        """All trades in [start, end), oldest first."""
        request = requests.agg_trades(self._symbol, start_ms=start_ms, end_ms=end_ms, limit=requests.MOST_TRADES)
        page = await self._rest.get(request, tuple[AggTrade, ...])
        if len(page) >= requests.MOST_TRADES:
            middle_ms = (start_ms + end_ms) // 2000 * 1000
            if not start_ms < middle_ms < end_ms:
                raise DataError(
                    f"{self._symbol} had {len(page)} trades or more in the second {start_ms}, and MEXC tells no more at once"
                    " (its trades carry no ids). Take --kind klines"
                )
            return [*await self._trades(start_ms, middle_ms), *await self._trades(middle_ms, end_ms)]
        # Whether the end belongs to the range is not documented; what is at it belongs to the next one here.
        inside = [trade for trade in page if start_ms <= trade.time < end_ms]
        if inside and inside[0].time > inside[-1].time:
            inside.reverse()
        return sorted(inside, key=lambda trade: trade.time)


class BinanceArchive:
    """Days of one symbol from the public archive of Binance."""

    venue = "binance"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        symbol: str,
        kind: str,
        interval: str = "1m",
        base_url: str = ARCHIVE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Read `kind` (``klines`` or ``aggTrades``) of a symbol."""
        self._session = session
        self._symbol = symbol
        self._kind = kind
        self._interval = interval
        self._base_url = base_url.rstrip("/")
        self._sleep = sleep

    async def today(self) -> date:
        """Return today by this machine's clock: the archive tells no time, and is a day late anyway."""
        return datetime.now(UTC).date()

    def url(self, day: date) -> str:
        """Return the address of a day's archive."""
        span = self._interval if self._kind == CANDLES else self._kind
        folder = f"{self._kind}/{self._symbol}" + (f"/{span}" if self._kind == CANDLES else "")
        return f"{self._base_url}/data/spot/daily/{folder}/{self._symbol}-{span}-{day}.zip"

    async def fetch(self, day: date, file: Path) -> str:
        """Fetch one day's archive, hold it against its checksum, and unpack it; candles get a header."""
        url = self.url(day)
        packed = file.with_name(file.name + ".zip")
        try:
            words = (await self._content(f"{url}.CHECKSUM", day)).decode("ascii", "replace").split()
            wanted = words[0].lower() if words else ""
            if len(wanted) != 64:
                raise DataError(f"{url}.CHECKSUM holds no SHA-256. Try again later, or take --venue mexc")
            found = await self._save(url, day, packed)
            if found != wanted:
                raise DataError(
                    f"{url} is not what its checksum says ({found}, not {wanted}). Start again to fetch it anew"
                )
            return _unpack(packed, file, ARCHIVE_HEADER if self._kind == CANDLES else b"")
        finally:
            packed.unlink(missing_ok=True)

    async def _content(self, url: str, day: date) -> bytes:
        collected = bytearray()

        async def take(chunk: bytes) -> None:
            collected.extend(chunk)

        await self._read(url, day, collected.clear, take, most=4096)
        return bytes(collected)

    async def _save(self, url: str, day: date, file: Path) -> str:
        digest = hashlib.sha256()
        with file.open("wb") as opened:

            def restart() -> None:
                nonlocal digest
                digest = hashlib.sha256()
                opened.seek(0)
                opened.truncate()

            async def take(chunk: bytes) -> None:
                digest.update(chunk)
                opened.write(chunk)

            await self._read(url, day, restart, take, most=LONGEST_FILE)
        return digest.hexdigest()

    async def _read(
        self, url: str, day: date, restart: Callable[[], None], take: Callable[[bytes], Awaitable[None]], *, most: int
    ) -> None:
        """Read a file piece by piece, from the start again where the connection breaks."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._sleep(2.0**attempt)
            restart()
            size = 0
            try:
                limits = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
                async with self._session.get(url, timeout=limits) as response:
                    if response.status in (403, 404):
                        raise DataError(
                            f"{url}: there is no such file (HTTP {response.status}): {self._symbol} was not traded on {day},"
                            " or the day is too recent; the archive is a day or two late"
                        )
                    if response.status != 200:
                        reason = f"HTTP {response.status}"
                        continue
                    async for chunk in response.content.iter_chunked(CHUNK):
                        size += len(chunk)
                        if size > most:
                            raise DataError(f"{url}: is longer than {most:,} bytes; it is not what it should be")
                        await take(chunk)
                    return
            except (aiohttp.ClientError, TimeoutError, OSError) as e:
                reason = str(e) or type(e).__name__
        raise DataError(f"{url}: cannot be fetched ({reason}). What was fetched before is kept; start again to go on")


def _candle_line(candle: Kline) -> str:
    amounts = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    texts = ",".join(map(plain_text, amounts))
    return f"{candle.open_time},{texts},{candle.close_time},{plain_text(candle.quote_volume)}\n"


def _trade_line(trade: AggTrade) -> str:
    side = "sell" if trade.is_buyer_maker else "buy"
    return f"{trade.time},{plain_text(trade.price)},{plain_text(trade.qty)},{side}\n"


def _unpack(packed: Path, file: Path, header: bytes) -> str:
    """Write the only member of an archive, below `header` where it has none; return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(packed) as archive, file.open("wb") as opened:
            (member,) = (entry for entry in archive.infolist() if not entry.is_dir())
            if member.file_size > LONGEST_FILE:
                raise DataError(f"{packed.name}: holds {member.file_size:,} bytes; it is not what it should be")
            with archive.open(member) as content:
                piece = content.read(CHUNK)
                if header and not piece[:1].isalpha():
                    piece = header + piece
                while piece:
                    opened.write(piece)
                    digest.update(piece)
                    piece = content.read(CHUNK)
    except (zipfile.BadZipFile, ValueError, OSError) as e:
        raise DataError(f"{packed.name}: cannot be unpacked ({e}). Start again to fetch it anew") from e
    return digest.hexdigest()
