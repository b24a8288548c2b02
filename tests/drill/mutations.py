"""Planted bugs: each is switched on by patching production code by name, and the simulation has to notice it.

A simulation that finds nothing proves something only if it finds what is there. Each bug is one that somebody has written
into a real trading program, or could tomorrow.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct, structs

from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store.ledger import SqlLedger
from claire.adapters.venues.mexc import orders as venue_orders
from claire.adapters.venues.mexc.fills import FillBook, Way
from claire.adapters.venues.mexc.orders import Found, MexcOrders
from claire.adapters.venues.mexc.queries import MexcQueries
from claire.adapters.venues.mexc.restored import Recovered, Standing
from claire.adapters.venues.mexc.trading import MexcTrading, Refused, Unknown
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.drill.disk import SimDisk
from claire.drill.simulation import Plan
from claire.drill.weather import Climate
from claire.gateway.gate import Gate
from claire.latch.epoch import AccountLock
from claire.model.books import Books
from claire.model.decisions import OrderEvent
from claire.model.orders import OrderLife, OrderState
from claire.services import recovery
from claire.stages.risk import Risk

CALM = Plan(
    storm_s=150.0, healing_s=60.0, submits=15, patience_s=300.0, climate=Climate(crashes=0, disk=0.0, usurpers=0.0)
)
"""Lost answers, lost pushes and the rest, but no crash."""

HALTING = Plan(
    storm_s=200.0, healing_s=60.0, submits=15, patience_s=400.0, climate=Climate(crashes=6, disk=0.0, usurpers=0.0)
)
"""The same with many crashes."""

REPLACED = Plan(
    storm_s=150.0, healing_s=60.0, submits=15, patience_s=300.0, climate=Climate(crashes=0, disk=0.0, usurpers=1.0)
)
"""The same, and another process takes the account over."""


class Mutation(Struct, frozen=True):
    """One bug."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    plan: Plan = CALM
    seeds: int = 8
    """Within so many seeds it has to be found."""


def _send_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The ledger is written when there is time, not before the order goes out."""
    real = SqlLedger.decided

    def decided(self: SqlLedger, input_no: int, event: Any) -> None:
        was_live, self._live = self._live, not isinstance(event, OrderEvent) and type(event).__name__ != "Intent"
        try:
            real(self, input_no, event)
        finally:
            self._live = was_live

    patch.setattr(SqlLedger, "decided", decided)


def _resend_on_timeout(patch: pytest.MonkeyPatch) -> None:
    """No answer: send it again, under the same name."""
    real = MexcTrading.submit

    async def submit(self: MexcTrading, intent: Any, approval: Any = None) -> Any:
        outcome = await real(self, intent, approval)
        return await real(self, intent) if isinstance(outcome, Unknown) else outcome

    patch.setattr(MexcTrading, "submit", submit)
    patch.setattr(Gate, "_judge", lambda *_: ("", ""))  # the last hop would not let it pass a second time


def _unknown_is_rejected(patch: pytest.MonkeyPatch) -> None:
    """No answer: the order was refused."""
    real = MexcTrading.submit

    async def submit(self: MexcTrading, intent: Any, approval: Any = None) -> Any:
        outcome = await real(self, intent, approval)
        return Refused(outcome.fault) if isinstance(outcome, Unknown) else outcome

    patch.setattr(MexcTrading, "submit", submit)


def _reservation_released_early(patch: pytest.MonkeyPatch) -> None:
    """An order in doubt holds no cash and counts for no limit."""
    real = Risk.on_order

    def on_order(self: Risk, event: OrderEvent) -> Any:
        if event.state in (OrderState.SENT, OrderState.UNKNOWN):
            self.state.reservations.pop(event.order_no, None)
        return real(self, event)

    patch.setattr(Risk, "on_order", on_order)


def _fill_booked_twice(patch: pytest.MonkeyPatch) -> None:
    """An execution counts once for the stream and once for the query."""

    def count(self: FillBook, way: Way, order_id: str, trade_id: str, price: Decimal, quantity: Decimal) -> str:
        return f"{trade_id}/{way}"

    patch.setattr(FillBook, "count", count)


def _absent_before_the_fence(patch: pytest.MonkeyPatch) -> None:
    """Two empty looks at any time prove that there is no order."""
    real = MexcQueries.resolve

    async def resolve(self: MexcQueries, symbol: str, name: str, fence_ms: int, **named: Any) -> Any:
        return await real(self, symbol, name, 1, **named | {"since_ms": 1})

    async def wait(self: MexcQueries, number: int) -> None:
        await self._sleep(0.1)

    patch.setattr(MexcQueries, "resolve", resolve)
    patch.setattr(MexcQueries, "wait", wait)


def _dust_never_flat(patch: pytest.MonkeyPatch) -> None:
    """What cannot be sold stays a position for ever."""
    patch.setattr(Books, "to_dust", lambda *_: [])


def _fee_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Fees that a query tells are not booked."""
    real = MexcQueries.report_of

    def report_of(self: MexcQueries, *given: Any) -> Any:
        return structs.replace(real(self, *given), fee=Decimal(0), fee_value=Decimal(0))

    patch.setattr(MexcQueries, "report_of", report_of)


def _late_fill_ignored(patch: pytest.MonkeyPatch) -> None:
    """What executes after an order has ended is none of its business."""
    real = MexcOrders._from_venue

    def from_venue(self: MexcOrders, order: Any, report: Any) -> Any:
        return None if report.trade_id and order.is_acknowledged else real(self, order, report)

    patch.setattr(MexcOrders, "_from_venue", from_venue)


def _silence_is_peace(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks for an order of which the stream says nothing, nor when it comes back."""

    async def watch(*_: Any) -> None:
        return None

    patch.setattr(MexcOrders, "_watch", watch)
    patch.setattr(MexcOrders, "_look_soon", lambda *_: None)


def _found_is_told(patch: pytest.MonkeyPatch) -> None:
    """An order in doubt that exists is fine; what was executed of it meanwhile is not asked for."""

    async def look_until_told(self: MexcOrders, order: Any) -> Found:
        self._doubts.end(order.number)
        return Found.TOLD

    patch.setattr(venue_orders.MexcOrders, "_look_until_told", look_until_told)


def _old_epoch_accepted(patch: pytest.MonkeyPatch) -> None:
    """Who was replaced while it slept goes on sending."""
    patch.setattr(AccountLock, "is_current", lambda *_: True)


def _recovery_skips_orders(patch: pytest.MonkeyPatch) -> None:
    """A restart takes the orders of before for what the books say."""

    async def recover(*_: Any, **__: Any) -> Recovered:
        return Recovered()

    patch.setattr(MexcVenue, "recover", recover)


def _sent_is_not_sent(patch: pytest.MonkeyPatch) -> None:
    """An order about which nothing is known after a crash was not sent."""
    real = recovery.restored_orders

    def restored_orders(*given: Any) -> Any:
        return tuple(
            structs.replace(one, kind=Standing.NOT_SENT) if one.kind is Standing.RESOLVE else one
            for one in real(*given)
        )

    patch.setattr(recovery, "restored_orders", restored_orders)


def _torn_tail_not_cut(patch: pytest.MonkeyPatch) -> None:
    """What a crash left half written stays in the middle of the journal."""
    patch.setattr(SimDisk, "truncate", lambda *_: None)


def _booked_fills_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody knows which executions are in the books: not who hears them, nor who keeps the orders."""
    real = OrderLife.fill

    def fill(self: OrderLife, trade_id: str, quantity_lots: int) -> bool:
        return real(self, f"{trade_id}/{len(self.trade_ids)}", quantity_lots)

    patch.setattr(FillBook, "restore", lambda *_: None)
    patch.setattr(OrderLife, "fill", fill)


def _fsync_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The journal is handed to the operating system, and that is that."""
    patch.setattr(JournalWriter, "_fsync", lambda *_: None)


MUTATIONS = (
    Mutation("send before commit", _send_before_commit),
    Mutation("resend on timeout", _resend_on_timeout),
    Mutation("unknown as rejected", _unknown_is_rejected),
    Mutation("reservation released early", _reservation_released_early),
    Mutation("fill booked twice", _fill_booked_twice),
    Mutation("absent before the fence", _absent_before_the_fence),
    Mutation("dust never flat", _dust_never_flat),
    Mutation("fee forgotten", _fee_forgotten),
    Mutation("late fill ignored", _late_fill_ignored),
    Mutation("silence is peace", _silence_is_peace),
    Mutation("found is told", _found_is_told),
    Mutation("old epoch accepted", _old_epoch_accepted, REPLACED),
    Mutation("recovery skips orders", _recovery_skips_orders, HALTING),
    Mutation("sent is not sent", _sent_is_not_sent, HALTING),
    Mutation("torn tail not cut", _torn_tail_not_cut, HALTING),
    Mutation("booked fills forgotten", _booked_fills_forgotten, HALTING),
    Mutation("fsync forgotten", _fsync_forgotten, HALTING),
)
