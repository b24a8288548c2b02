"""What the venue adapter remembers of each order of the run, for as long as the run lasts, and of those in doubt.

An order that has ended stays known by its names: an execution may be told 40 minutes late, and one that was proven absent may
turn out to be alive.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from claire.adapters.venues.mexc.restored import UNKNOWN_ORDERS, OnLock
from claire.model.decisions import Intent, TradingState
from claire.model.orders import Evidence, OrderType

RESTING: Final = (OrderType.LIMIT, OrderType.LIMIT_MAKER)
"""Types that stay in the book; all others end at once."""

NEVER_THERE: Final = (Evidence.ABSENT, Evidence.NOT_SENT, Evidence.REJECTED)
"""Ends of orders that the venue does not have."""

ALERT_S: Final = 30.0
"""How long orders may be impossible to look for before a person is told."""


class Tracked(Struct, eq=False):
    """One order."""

    intent: Intent
    venue_order_id: str = ""
    filled_lots: int = 0
    """Reported."""
    is_heard: bool = False
    """Somebody at the venue has named it: it exists."""
    is_acknowledged: bool = False
    """That was reported."""
    end: Evidence | None = None
    """The evidence that ended it; None: it has not ended, or by its executions."""
    is_late: bool = False
    """It was heard of after it had ended without the venue ever having had it."""
    is_missing: bool = False
    """The venue had it, and does not know it any more; that was told."""
    is_cancelling: bool = False
    is_looked_for: bool = False
    """A look in the background goes on."""
    looks_again: bool = False
    """Something happened since that look began."""
    known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is heard of or has ended."""

    @property
    def number(self) -> int:
        """The order's number in the run."""
        return self.intent.order_no

    @property
    def name(self) -> str:
        """The client order id."""
        return self.intent.client_order_id

    @property
    def rests(self) -> bool:
        """Whether it may stay in the book."""
        return self.intent.type in RESTING

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected."""
        return self.end is not None or self.filled_lots >= self.intent.quantity_lots

    @property
    def never_was(self) -> bool:
        """Whether it ended without the venue having had it, as far as anybody knew."""
        return self.end in NEVER_THERE


class Doubts:
    """Orders that may or may not be as they are believed to be, and the lock that holds while they cannot be looked for."""

    def __init__(self, on_lock: OnLock | None, tell: Callable[[str], None]) -> None:
        """Prepare; `tell` is told when it lasts."""
        self.orders: dict[int, None] = {}
        self.is_locked = False
        self._on_lock = on_lock
        self._tell = tell
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self, order_no: int) -> None:
        """Take in an order in doubt."""
        self.orders[order_no] = None

    def failed(self, order_no: int, reason: str) -> None:
        """Take in that an order could not be looked for; the first time, the lock closes."""
        if order_no not in self.orders or self.is_locked:
            return
        self.is_locked = True
        self._alarm = asyncio.get_running_loop().call_later(ALERT_S, self._alert, reason)
        if self._on_lock is not None:
            words = f"order {order_no} may or may not exist, and cannot be looked for: {reason}"
            self._on_lock(UNKNOWN_ORDERS, TradingState.REDUCE_ONLY, words)

    def end(self, order_no: int) -> None:
        """Take in that an order is in doubt no more; after the last one, the lock opens."""
        self.orders.pop(order_no, None)
        if self.is_locked and not self.orders:
            self.is_locked = False
            self.close()
            if self._on_lock is not None:
                self._on_lock(UNKNOWN_ORDERS, TradingState.ACTIVE, "every order is accounted for again")

    def close(self) -> None:
        """Let nothing happen any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _alert(self, reason: str) -> None:
        numbers = ", ".join(map(str, self.orders))
        self._tell(f"for {ALERT_S:.0f} s it is not known what became of orders {numbers}: {reason}")
