"""What the venue adapter does about each order: send it, find out what became of it, cancel it, and say so, once.

Nothing is assumed:

- an order whose answer was lost is looked for until it is found, or absent by two complete looks after its fence, of which
  nobody has heard up to the very moment of saying so;
- while such a look fails, a lock is asked for; it is taken back when no order is in doubt any more;
- the end of an order is passed on only after all of its executions;
- a cancel that was refused or got no answer is followed by a look, and by another cancel as long as the order is alive;
- an order that ended without the venue having had it, and is heard of after all, is passed on, cancelled and booked.
"""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from claire.adapters.venues.mexc.errors import MexcError
from claire.adapters.venues.mexc.items import AlertKind, FeedAlert
from claire.adapters.venues.mexc.queries import ABSENT, LOOK_BACK_MS, Look
from claire.adapters.venues.mexc.restored import VENUE_ORDERS, OnLock
from claire.adapters.venues.mexc.tracking import NEVER_THERE, Doubts, Tracked
from claire.adapters.venues.mexc.trading import MexcTrading, Taken, Unknown, report_of_submit
from claire.gateway.gate import Approval, Known
from claire.model.decisions import Cancel, TradingState, VenueReport
from claire.model.errors import ClaireError
from claire.model.orders import Evidence

PATIENCE_S: Final = 2.0
"""How long the stream may be silent about an order that should end at once, before somebody looks."""

LOOK_EVERY_S: Final = 5.0

EMPTY_LOOKS: Final = 5
"""So many looks in a row that do not find an order which the venue had make it a missing one."""

MS: Final = 1_000_000


class Found(StrEnum):
    """What came of looking for an order."""

    TOLD = "told"
    """It exists, and everything about it was passed on."""
    ABSENT = "absent"
    MISSING = "missing"
    """The venue had it, and does not know it any more."""


class MexcOrders:
    """The orders of a run at the venue."""

    def __init__(
        self,
        trading: MexcTrading,
        *,
        now_ns: Callable[[], int],
        on_alert: Callable[[FeedAlert], None] | None,
        on_lock: OnLock | None,
        is_ours: Callable[[str], bool] | None,
    ) -> None:
        """Prepare; the arguments are those of `MexcVenue`."""
        self.late_total = 0
        """Orders that were alive although they had ended without the venue having had them."""
        self._trading = trading
        self._now_ns = now_ns
        self._on_alert = on_alert
        self._on_lock = on_lock
        self._is_ours = is_ours
        self._on_report: Callable[[VenueReport], None] | None = None
        self._waiting: list[VenueReport] = []
        """Heard before anybody listened."""
        self._orders: dict[int, Tracked] = {}
        self._by_client: dict[str, int] = {}
        self._by_venue: dict[str, int] = {}
        self._strangers: dict[str, None] = {}
        """Orders with names of ours that are not on record, each told once."""
        self._complaints: dict[int, None] = {}
        """Orders of which was told that they cannot be looked up."""
        self._doubts = Doubts(on_lock, self._tell)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failure: BaseException | None = None
        trading.tell = self._tell

    def cancel(self, command: Cancel, now_ns: int) -> None:
        """Cancel an order, until it has ended; while that goes on a further cancel changes nothing."""
        order = self._orders.get(command.order_no)
        if order is None:
            self._report(self._refusal(command.order_no, "-2011", "no such order was sent"))
        elif not order.is_cancelling:
            order.is_cancelling = True
            self._spawn(self._cancel(order), f"cancel-{order.number}")

    # -- sending and cancelling ----------------------------------------------------------------------------------------

    async def _send(self, order: Tracked, approval: Approval) -> None:
        outcome = await self._trading.submit(order.intent, approval)
        report = report_of_submit(order.number, outcome, self._now_ns())
        if isinstance(outcome, Taken):
            self._from_venue(order, report)
        elif not order.is_heard:  # what was heard of meanwhile exists, whatever the answer was
            self._own(order, report)
        if isinstance(outcome, Unknown):
            self._doubts.begin(order.number)
            if await self._resolve(order, outcome.fence_ms) is Found.MISSING:
                return
        await self._see_off(order)

    async def _resolve(self, order: Tracked, fence_ms: int, since_ms: int = 0) -> Found:
        """Look for an order in doubt until it is found and told in full, or proven absent."""

        def failed(error: MexcError) -> None:
            self._doubts.failed(order.number, error.fault.reason)

        seen = await self._trading.resolve(
            order.intent.symbol,
            order.name,
            fence_ms,
            since_ms=since_ms,
            is_heard=lambda: order.is_heard,
            on_failure=failed,
        )
        if seen.exists:
            order.is_heard = True
            return await self._look_until_told(order)
        # Nothing was awaited since it was seen that nobody had heard of it.
        self._own(order, VenueReport(order.number, self._now_ns(), Evidence.ABSENT))
        self._doubts.end(order.number)
        return Found.ABSENT

    async def _see_off(self, order: Tracked) -> None:
        """Follow an order that should end at once; one that had to be sent as a resting one is cancelled in time."""
        if self._trading.stands_in(order.intent) and not order.is_over:
            await asyncio.sleep(self._trading.stand_in_s)
            if not order.is_over:
                now_ns = self._now_ns()
                self.cancel(Cancel(order.number, order.intent.symbol, now_ns), now_ns)
        await self._watch(order)

    async def _watch(self, order: Tracked) -> None:
        """Look for an order that should have ended, until it has; a resting one is the stream's."""
        wait_s = PATIENCE_S
        while not order.rests:
            await asyncio.sleep(wait_s)
            if order.is_over or await self._look_until_told(order) is not Found.TOLD:
                return
            wait_s = LOOK_EVERY_S

    async def _cancel(self, order: Tracked) -> None:
        """Cancel an order until it has ended or the venue refuses for good; what became of it is looked up each time."""
        command = Cancel(order.number, order.intent.symbol, self._now_ns())
        was_over = order.is_over
        number = 0
        try:
            while True:
                fault = await self._trading.cancel(command, order.name)
                if fault is None:
                    order.is_heard = True
                if not order.is_heard and not order.is_over:
                    await order.known.wait()  # on its way: a cancel that overtakes it finds nothing
                    if not order.is_over:
                        continue
                await self._look(order)
                if order.is_over:
                    if was_over or order.end is not Evidence.CANCELED:
                        code, reason = ("", "it was executed first") if fault is None else (fault.code, fault.reason)
                        self._report(self._refusal(order.number, code, reason))
                    return
                if fault is not None and fault.is_final and fault.code not in ABSENT:
                    self._report(self._refusal(order.number, fault.code, fault.reason))
                    return
                await self._trading.wait(number)
                number += 1
        finally:
            order.is_cancelling = False

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _look_soon(self, order: Tracked) -> None:
        """Look at an order in the background, once more if that is happening already."""
        if order.is_looked_for:
            order.looks_again = True
            return
        order.is_looked_for = True
        self._spawn(self._look_behind(order), f"look-{order.number}")

    async def _look_behind(self, order: Tracked) -> None:
        try:
            order.looks_again = True
            while order.looks_again:
                order.looks_again = False
                await self._look_until_told(order)
        finally:
            order.is_looked_for = False

    async def _look_until_told(self, order: Tracked) -> Found:
        """Look at an order that exists until all that the venue says of it is passed on, or it is missing there."""
        number = empty = 0
        while True:
            found = await self._look(order)
            if found:
                return Found.TOLD
            empty = empty + 1 if found is None else 0
            if empty >= EMPTY_LOOKS:
                if not order.is_over:
                    self._miss(order)
                return Found.MISSING
            await self._trading.wait(number)
            number += 1

    async def _look(self, order: Tracked) -> bool | None:
        """Look once; True: everything is passed on; False: not yet, or the look failed; None: the venue knows none."""
        symbol = order.intent.symbol
        try:
            look = await self._trading.look(order.number, symbol, order.name, self._now_ns())
            if look is not None:
                self._complaints.pop(order.number, None)
                return self._take(order, look)
            since_ms = max(1, order.intent.ts_event_ns // MS - LOOK_BACK_MS)
            return False if (await self._trading.complete_look(symbol, order.name, since_ms)).exists else None
        except ClaireError as error:
            reason = error.fault.reason if isinstance(error, MexcError) else str(error)
            self._doubts.failed(order.number, reason)
            if order.number not in self._complaints:
                self._complaints[order.number] = None
                self._tell(f"order {order.number} could not be looked up, and is asked for again: {error}")
            return False

    def _take(self, order: Tracked, look: Look) -> bool:
        """Pass on what a look found; tell whether that is all there is.

        The end waits for the executions: the stream may have counted one that is still on its way here.
        """
        for fill in look.fills:
            self._from_venue(order, fill)
        is_told = order.filled_lots >= look.executed_lots
        if look.state.evidence is not Evidence.CANCELED or is_told:
            self._from_venue(order, look.state)
        if is_told:
            self._doubts.end(order.number)
        return is_told

    def _miss(self, order: Tracked) -> None:
        """Ask for a halt: the venue had an order, and does not know it."""
        self._doubts.end(order.number)
        if order.is_missing:
            return
        order.is_missing = True
        name = f"order {order.number} ({order.name}, {order.venue_order_id or 'no id of the venue'})"
        self._lock_and_tell(f"{name} is live in the books, and MEXC knows no such order")

    # -- what is heard -------------------------------------------------------------------------------------------------

    def _from_venue(self, order: Tracked, report: VenueReport) -> None:
        """Pass on what the venue said of an order, whichever way; what was said before is not said again."""
        self._name(order, report.venue_order_id)
        if report.evidence is Evidence.ACKNOWLEDGED:
            if order.is_acknowledged:
                return
            order.is_acknowledged = True
        elif report.evidence is not None and report.evidence is order.end:
            return
        is_late = order.never_was
        if is_late:
            order.is_late, order.end = True, None
            self.late_total += 1
            self._trading.gate.seed({}, (self._known(order, is_live=True),))
        order.filled_lots += report.quantity_lots if report.trade_id else 0
        if report.evidence is Evidence.CANCELED:
            order.end = report.evidence
        self._tell_gate(order, report)
        if order.is_over:
            self._doubts.end(order.number)
        self._report(report)
        if is_late:
            self._tell(
                f"order {order.number} was taken for one that MEXC does not have, and it is there; it is cancelled"
            )
            if not order.is_over:
                self.cancel(Cancel(order.number, order.intent.symbol, self._now_ns()), self._now_ns())
            self._look_soon(order)

    def _own(self, order: Tracked, report: VenueReport) -> None:
        """Pass on what became of an order that the venue has not named."""
        if report.evidence in NEVER_THERE:
            order.end = report.evidence
            order.known.set()
            self._trading.gate.ended(order.name)
        self._report(report)

    def _name(self, order: Tracked, venue_order_id: str) -> None:
        """Note that the venue has an order, and how it calls it."""
        order.is_heard, order.is_missing = True, False
        order.known.set()
        if not venue_order_id or venue_order_id == order.venue_order_id:
            return
        if order.venue_order_id:
            self._lock_and_tell(
                f"MEXC has two orders {order.name}: {order.venue_order_id} and {venue_order_id}; Claire sent one"
            )
        order.venue_order_id = venue_order_id
        self._by_venue[venue_order_id] = order.number

    def _tell_gate(self, order: Tracked, report: VenueReport) -> None:
        """Let the gate see what was bought and sold, before anybody can decide upon it."""
        gate, intent = self._trading.gate, order.intent
        if report.trade_id:
            instrument = self._trading.tradables[intent.symbol].instrument
            fee = report.fee if report.fee_asset == instrument.base else Decimal(0)
            gate.filled(order.name, instrument.quantity(report.quantity_lots), fee)
        if order.is_over:
            gate.ended(order.name)

    def _known(self, order: Tracked, *, is_live: bool) -> Known:
        """Return an order as the gate has to know it."""
        intent = order.intent
        quantity = self._trading.tradables[intent.symbol].instrument.quantity
        return Known(
            order.name,
            intent.symbol,
            intent.side,
            quantity(intent.quantity_lots),
            quantity(order.filled_lots),
            intent.reduce_only,
            is_live,
        )

    def _meet_stranger(self, client_order_id: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a halt where an order with a name of ours is not on record."""
        if self._is_ours is None or not self._is_ours(client_order_id) or venue_order_id in self._strangers:
            return
        self._strangers[venue_order_id] = None
        self._lock_and_tell(
            f"MEXC has an order {client_order_id} ({symbol}, {venue_order_id}), a name that only Claire gives, and it is not"
            " on record"
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _keep(self, order: Tracked) -> None:
        self._orders[order.number] = order
        self._by_client[order.name] = order.number

    def _number_of(self, client_order_id: str, venue_order_id: str) -> int | None:
        """Tell the stream which order of ours a push is about. That alone proves that the order exists, before it is read."""
        order = self._of(client_order_id, venue_order_id)
        if order is None:
            return None
        order.is_heard = True
        order.known.set()
        return order.number

    def _of(self, client_order_id: str, venue_order_id: str) -> Tracked | None:
        number = self._by_client.get(client_order_id) or self._by_venue.get(venue_order_id)
        return None if number is None else self._orders[number]

    def _report(self, report: VenueReport) -> None:
        if self._on_report is None:
            self._waiting.append(report)
        else:
            self._on_report(report)

    def _refusal(self, order_no: int, code: str, reason: str) -> VenueReport:
        return VenueReport(order_no, self._now_ns(), Evidence.CANCEL_REFUSED, code=code, reason=reason)

    def _lock_and_tell(self, text: str) -> None:
        self._tell(text)
        if self._on_lock is not None:
            self._on_lock(VENUE_ORDERS, TradingState.HALTED, text)

    def _tell(self, text: str) -> None:
        if self._on_alert is not None:
            self._on_alert(FeedAlert(AlertKind.ACCOUNT, "", text, stops_entries=False, ts_recv_ns=self._now_ns()))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()
