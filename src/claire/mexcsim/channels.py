"""Channel names (sheet 1.3), and which of them the venue refuses."""

import re
from enum import StrEnum

from msgspec import Struct

from claire.mexcsim.tape import STREAM_INTERVALS

ZONES = frozenset(
    ["24H", "UTC+4:30", "UTC+5:30", "UTC+12:45"]
    + [f"UTC-{hour}" for hour in (10, 8, 7, 6, 5, 4, 3)]
    + [f"UTC+{hour}" for hour in range(14)]
)  # fmt: skip


class Kind(StrEnum):
    """What a channel carries, by its name up to ``.v3.api.pb``."""

    DEALS = "spot@public.aggre.deals"
    DEPTH = "spot@public.aggre.depth"
    BOOK_TICKER = "spot@public.aggre.bookTicker"
    LIMIT_DEPTH = "spot@public.limit.depth"
    KLINE = "spot@public.kline"
    TICKER_BATCH = "spot@public.bookTicker.batch"
    MINI = "spot@public.miniTicker"
    MINIS = "spot@public.miniTickers"
    ACCOUNT = "spot@private.account"
    ORDERS = "spot@private.orders"
    PRIVATE_DEALS = "spot@private.deals"

    @property
    def is_private(self) -> bool:
        """Whether it needs a listen key."""
        return self in (Kind.ACCOUNT, Kind.ORDERS, Kind.PRIVATE_DEALS)


class Topic(Struct, frozen=True):
    """A channel that exists."""

    name: str
    kind: Kind
    symbol: str = ""
    argument: str = ""
    """The push interval, the number of levels, the candle's interval, or the time zone."""

    @property
    def event_type(self) -> str:
        """The name without its symbol, as bodies repeat it; limit depth leaves its levels out too."""
        if self.kind in (Kind.DEALS, Kind.DEPTH, Kind.BOOK_TICKER):
            return f"{self.kind.value}.v3.api.pb@{self.argument}"
        return f"{self.kind.value}.v3.api.pb"


_NAME = re.compile(r"(spot@(?:public|private)\.[A-Za-z.]+)\.v3\.api\.pb((?:@[^@]+)*)")
_CADENCES = ("10ms", "100ms")


def topic_of(name: str) -> Topic | None:
    """Read a channel name; None for what the venue refuses (retired, without ``.pb``, lower case, missing time zone)."""
    matched = _NAME.fullmatch(name)
    if matched is None or matched[1] not in list(Kind):
        return None
    kind = Kind(matched[1])
    parts = matched[2].split("@")[1:]
    match kind, parts:
        case ((Kind.DEALS | Kind.DEPTH | Kind.BOOK_TICKER), [cadence, symbol]) if cadence in _CADENCES:
            return Topic(name, kind, symbol, cadence)
        case Kind.LIMIT_DEPTH, [symbol, ("5" | "10" | "20") as levels]:
            return Topic(name, kind, symbol, levels)
        case Kind.KLINE, [symbol, interval] if interval in STREAM_INTERVALS:
            return Topic(name, kind, symbol, interval)
        case Kind.TICKER_BATCH, [symbol]:
            return Topic(name, kind, symbol)
        case Kind.MINI, [symbol, zone] if zone in ZONES:
            return Topic(name, kind, symbol, zone)
        case Kind.MINIS, [zone] if zone in ZONES:
            return Topic(name, kind, "", zone)
        case ((Kind.ACCOUNT | Kind.ORDERS | Kind.PRIVATE_DEALS), []):
            return Topic(name, kind)
        case _:
            return None
