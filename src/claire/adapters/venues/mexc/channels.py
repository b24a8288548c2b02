"""Names of MEXC's WebSocket channels: built from typed parts, and taken apart again.

A channel's name is its kind, then parts joined by ``@``: ``spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT``. The venue refuses
a name with a lower-case symbol, an unknown part, or without ``.pb``.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from claire.model.errors import UsageError, did_you_mean


class Kind(StrEnum):
    """What a channel carries; the value is how its name begins."""

    DEALS = "spot@public.aggre.deals.v3.api.pb"
    DEPTH = "spot@public.aggre.depth.v3.api.pb"
    LIMIT_DEPTH = "spot@public.limit.depth.v3.api.pb"
    BOOK_TICKER = "spot@public.aggre.bookTicker.v3.api.pb"
    BOOK_TICKER_BATCH = "spot@public.bookTicker.batch.v3.api.pb"
    KLINE = "spot@public.kline.v3.api.pb"
    MINI_TICKER = "spot@public.miniTicker.v3.api.pb"
    MINI_TICKERS = "spot@public.miniTickers.v3.api.pb"
    PRIVATE_ACCOUNT = "spot@private.account.v3.api.pb"
    PRIVATE_DEALS = "spot@private.deals.v3.api.pb"
    PRIVATE_ORDERS = "spot@private.orders.v3.api.pb"


class Speed(StrEnum):
    """Over which window the venue gathers changes before it pushes them."""

    MS_10 = "10ms"
    MS_100 = "100ms"


class Interval(StrEnum):
    """Lengths of candles, as the WebSocket names them (REST names them otherwise)."""

    MIN_1 = "Min1"
    MIN_5 = "Min5"
    MIN_15 = "Min15"
    MIN_30 = "Min30"
    MIN_60 = "Min60"
    HOUR_4 = "Hour4"
    HOUR_8 = "Hour8"
    DAY_1 = "Day1"
    WEEK_1 = "Week1"
    MONTH_1 = "Month1"


LEVELS: Final = (5, 10, 20)
"""Depths that the limit-depth channel offers."""

TIME_ZONES: Final = (
    "24H", "UTC-10", "UTC-8", "UTC-7", "UTC-6", "UTC-5", "UTC-4", "UTC-3", "UTC+0", "UTC+1", "UTC+2", "UTC+3", "UTC+4",
    "UTC+4:30", "UTC+5", "UTC+5:30", "UTC+6", "UTC+7", "UTC+8", "UTC+9", "UTC+10", "UTC+11", "UTC+12", "UTC+12:45", "UTC+13",
)  # fmt: skip
"""Where a mini ticker's day may begin; ``24H`` is a rolling day."""

_INTERVALS: Final = tuple(interval.value for interval in Interval)
_SPEEDS: Final = tuple(speed.value for speed in Speed)
_LEVELS: Final = tuple(str(levels) for levels in LEVELS)

# By kind: what its second part may be, and whether that stands before the symbol. No entry: there is no such part.
_DETAILS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.DEALS: _SPEEDS,
    Kind.DEPTH: _SPEEDS,
    Kind.BOOK_TICKER: _SPEEDS,
    Kind.LIMIT_DEPTH: _LEVELS,
    Kind.KLINE: _INTERVALS,
    Kind.MINI_TICKER: TIME_ZONES,
    Kind.MINI_TICKERS: TIME_ZONES,
}
_DETAIL_FIRST: Final = (Kind.DEALS, Kind.DEPTH, Kind.BOOK_TICKER)
_WITHOUT_SYMBOL: Final = (Kind.MINI_TICKERS, Kind.PRIVATE_ACCOUNT, Kind.PRIVATE_DEALS, Kind.PRIVATE_ORDERS)
_NOT_IN_SYMBOLS: Final = " @,[]\"'\\/-_"
"""What separates names from each other in requests and answers, and symbols of other venues from their quote."""
_KINDS: Final = {kind.value: kind for kind in Kind}


class Channel(Struct, frozen=True, order=True):
    """One channel. Build it with the functions below, which refuse what the venue would refuse."""

    kind: Kind
    symbol: str = ""
    """Empty where the channel is of all symbols or of the account."""
    detail: str = ""
    """The speed, the number of levels, the interval or the time zone, where the kind has one."""

    @property
    def name(self) -> str:
        """The name to subscribe with, which also heads each message of the channel."""
        parts = [self.detail, self.symbol] if self.kind in _DETAIL_FIRST else [self.symbol, self.detail]
        return "@".join([self.kind.value, *(part for part in parts if part)])


def deals(symbol: str, speed: Speed = Speed.MS_100) -> Channel:
    """Name the channel of every public execution."""
    return _checked(Kind.DEALS, symbol, speed)


def depth(symbol: str, speed: Speed = Speed.MS_100) -> Channel:
    """Name the channel of changes of the book, for a local copy of it."""
    return _checked(Kind.DEPTH, symbol, speed)


def book_ticker(symbol: str, speed: Speed = Speed.MS_100) -> Channel:
    """Name the channel of best bid and offer."""
    return _checked(Kind.BOOK_TICKER, symbol, speed)


def book_ticker_batch(symbol: str) -> Channel:
    """Name the channel of best bid and offer in lists."""
    return _checked(Kind.BOOK_TICKER_BATCH, symbol, "")


def limit_depth(symbol: str, levels: int) -> Channel:
    """Name the channel of the best 5, 10 or 20 levels."""
    return _checked(Kind.LIMIT_DEPTH, symbol, str(levels))


def kline(symbol: str, interval: Interval) -> Channel:
    """Name the channel of candles."""
    return _checked(Kind.KLINE, symbol, interval)


def mini_ticker(symbol: str, time_zone: str = "24H") -> Channel:
    """Name the channel of one symbol's daily figures."""
    return _checked(Kind.MINI_TICKER, symbol, time_zone)


def mini_tickers(time_zone: str = "24H") -> Channel:
    """Name the channel of every symbol's daily figures."""
    return _checked(Kind.MINI_TICKERS, "", time_zone)


PRIVATE: Final = (Channel(Kind.PRIVATE_ORDERS), Channel(Kind.PRIVATE_DEALS), Channel(Kind.PRIVATE_ACCOUNT))
"""The account's own channels; each covers all symbols."""


def parse(name: str) -> Channel | None:
    """Take a name apart; None if it is not a name that the functions here would build."""
    parts = name.split("@")
    kind = _KINDS.get("@".join(parts[:2]))
    if kind is None:
        return None
    wanted = (kind not in _WITHOUT_SYMBOL) + (kind in _DETAILS)
    rest = parts[2:]
    if len(rest) != wanted:
        return None
    detail = rest.pop(0 if kind in _DETAIL_FIRST else -1) if kind in _DETAILS else ""
    symbol = rest[0] if rest else ""
    try:
        return _checked(kind, symbol, detail)
    except UsageError:
        return None


def _checked(kind: Kind, symbol: str, detail: str) -> Channel:
    allowed = _DETAILS.get(kind, ("",))
    if detail not in allowed:
        raise UsageError(
            f"{kind}: {detail!r} is not offered; one of {', '.join(allowed)} is.{did_you_mean(detail, allowed)}"
        )
    if kind in _WITHOUT_SYMBOL:
        return Channel(kind, "", str(detail))
    if (
        not symbol
        or symbol != symbol.upper()
        or not symbol.isprintable()
        or any(sign in symbol for sign in _NOT_IN_SYMBOLS)
    ):
        raise UsageError(
            f"{kind}: {symbol!r} is not a symbol as MEXC writes it: base and quote in upper case, without a separator."
            f"{did_you_mean(symbol, [symbol.upper()]) if symbol else ' Name one, such as BTCUSDT.'}"
        )
    return Channel(kind, symbol, str(detail))
