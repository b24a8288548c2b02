"""What a live run needs of a venue outside its process, and how what that says finds its hearers."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from claire.adapters.journal.writer import JournalWriter
from claire.adapters.venues.mexc.privatedecoder import Foreign
from claire.adapters.venues.mexc.pushes import BalancePush
from claire.adapters.venues.mexc.restored import OnLock, Recovered, Restored
from claire.engine.ports import Venue
from claire.gateway.gate import Dispatch, Gate, Verdict
from claire.model.decisions import TradingState, VenueReport
from claire.model.errors import JournalError
from claire.services.reconciliation import Reconciliation, VenueView


class OutsideVenue(Venue, VenueView, AbstractAsyncContextManager["OutsideVenue"], Protocol):
    """A venue outside this process: its reports come when they come. Entered, it listens to its private stream."""

    def listen(self, on_report: Callable[[VenueReport], None]) -> None:
        """Say where reports go; those that came before come first."""

    def restore(self, orders: Sequence[Restored]) -> None:
        """Know the orders of an earlier process of the same run; called before it is entered."""

    async def recover(self, fence_ms: int, *, patience_s: float = 60.0) -> Recovered:
        """Find out what became of the restored orders, and report it; what cannot be looked up stays unknown."""

    def look(self, order_no: int) -> None:
        """Have an order looked up soon, the ordinary way."""

    async def settle(self, timeout_s: float) -> bool:
        """Wait until every order that should end at once has ended; False: not in time."""

    def check(self) -> None:
        """Raise what stopped a part of the venue for good, if anything did."""


class Ears:
    """Passes on what the venue's adapter says beside its reports, once there is somebody to hear it; what comes before waits."""

    def __init__(self) -> None:
        """Nobody hears yet."""
        self.before_send: Callable[[Verdict], None] | None = None
        """Told of each order that is about to leave, first of all."""
        self._on_lock: OnLock | None = None
        self._locks: list[tuple[str, TradingState, str]] = []
        self._journal: JournalWriter | None = None
        self._reconciliation: Reconciliation | None = None
        self._pushes: list[BalancePush | Foreign] = []

    def hear_locks(self, on_lock: OnLock) -> None:
        """Hear locks from now on."""
        self._on_lock = on_lock
        waiting, self._locks = self._locks, []
        for said in waiting:
            on_lock(*said)

    def keep_verdicts(self, journal: JournalWriter) -> None:
        """Journal from now on what the gate says, and how sendings went."""
        self._journal = journal

    def verdict(self, verdict: Verdict) -> None:
        """Keep what the gate said about an order, before it leaves.

        Raises:
            JournalError: it cannot be kept; the order does not leave then.
        """
        if self.before_send is not None:
            self.before_send(verdict)
        if self._journal is None:
            raise JournalError("an order reached the gate before there was a journal; it does not leave")
        self._journal.gated(verdict.order_no, verdict.code or "SENT", verdict.ts_ms, verdict.fence_ms)

    def dispatched(self, dispatch: Dispatch) -> None:
        """Keep how a sending went."""
        if self._journal is not None and self._journal.is_open:
            for order_no in dispatch.order_nos:
                self._journal.gated(order_no, dispatch.outcome, dispatch.ts_ms, dispatch.fence_ms)

    def hear_others(self, reconciliation: Reconciliation) -> None:
        """Hear what other hands do with the account from now on."""
        self._reconciliation = reconciliation
        waiting, self._pushes = self._pushes, []
        for push in waiting:
            self.push(push)

    def lock(self, source: str, state: TradingState, reason: str) -> None:
        """Pass on a lock of the trading state."""
        if self._on_lock is None:
            self._locks.append((source, state, reason))
        else:
            self._on_lock(source, state, reason)

    def push(self, push: BalancePush | Foreign) -> None:
        """Pass on a push about balances, or about an order of somebody else."""
        if self._reconciliation is None:
            self._pushes.append(push)
        elif isinstance(push, BalancePush):
            self._reconciliation.balance_changed(push)
        else:
            self._reconciliation.foreign_seen(push.push.symbol)


class Outside(Struct):
    """A venue outside, with what belongs to it."""

    venue: OutsideVenue
    gate: Gate
    ears: Ears
    fence_ms: Callable[[], int]
    """Venue time from which on the venue takes nothing any more that was sent before now."""
    now_ms: Callable[[], int]
    """The venue's clock."""
