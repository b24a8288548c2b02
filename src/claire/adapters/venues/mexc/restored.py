"""What a venue adapter is told of the orders of before a restart, and what it answers once it has looked."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from claire.model.decisions import Intent, TradingState
from claire.model.orders import OrderState

OnLock = Callable[[str, TradingState, str], None]
"""(source, state, reason): lock the trading state for a source; ACTIVE takes the source's lock back."""

UNKNOWN_ORDERS = "unknown orders"
"""Source of the lock that holds while orders cannot be looked for."""

RECONCILIATION = "reconciliation"
"""Source of the lock that services/reconciliation.py sets and takes back."""

VENUE_ORDERS = "venue orders"
"""Source of the lock for orders at the venue that are not in the books, or in the books and not at the venue."""


class Standing(StrEnum):
    """What has to be done about an order of before."""

    VOID = "void"
    """Its intent never became durable: it cannot have been sent."""
    NOT_SENT = "not_sent"
    """Its intent is durable, its SENT is not, or it ended as NOT_SENT: it was not sent."""
    RESOLVE = "resolve"
    """It may or may not have been sent: look until it is found, or proven absent."""
    LIVE = "live"
    """The venue had it when it was last heard of: look for what was missed."""
    FINISHED = "finished"
    """It has ended; known by name, so that a late execution finds it."""


class Booked(Struct, frozen=True):
    """An execution that is in the books."""

    trade_id: str
    price_ticks: int
    quantity_lots: int
    venue_order_id: str


class Restored(Struct, frozen=True):
    """An order of this run from before the restart."""

    intent: Intent
    state: OrderState
    """As the books have it."""
    kind: Standing
    fills: tuple[Booked, ...] = ()
    venue_order_id: str = ""
    """Where it was told."""


class Recovered(Struct, frozen=True):
    """What recovery found out, by order number; only what was really looked at."""

    settled: tuple[int, ...] = ()
    """Live before, looked at, and everything that was missed is reported."""
    not_sent: tuple[int, ...] = ()
    adopted: tuple[int, ...] = ()
    """In doubt before, and found."""
    absent: tuple[int, ...] = ()
    """In doubt before, and proven absent."""
    missing: tuple[int, ...] = ()
    """Live before, and unknown to the venue: a lock of HALTED was asked for."""
    unknown: tuple[int, ...] = ()
    """Could not be looked at so far; the looking goes on, under a lock."""

    @property
    def is_complete(self) -> bool:
        """Whether every order is accounted for."""
        return not self.unknown and not self.missing
