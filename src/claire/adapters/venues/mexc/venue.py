"""MEXC as a venue of the pipeline: orders over signed REST, what becomes of them from the private stream.

An order is sent once, by a task of its own, so nothing that decides ever waits for the network. Whatever is heard, from the
answer, the stream or a look by REST, becomes a `VenueReport` and goes to one listener; an execution is counted once
whichever way it came (fills.py). After a reconnect of the stream, and for an order about which nothing was heard in time,
the venue is asked.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from claire.adapters.venues.mexc.items import AlertKind, FeedAlert
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.privatedecoder import Foreign, PrivateEvent, Reconcile
from claire.adapters.venues.mexc.trading import MexcTrading, Taken, Unknown, report_of_submit
from claire.model.decisions import Cancel, Intent, Submit, VenueReport
from claire.model.errors import ClaireError
from claire.model.market import MarketEvent
from claire.model.orders import Evidence

NEVER: Final = 1 << 62

PATIENCE_S: Final = 2.0
"""How long the stream may be silent about an order that should end at once, before somebody looks."""

LOOK_EVERY_S: Final = 5.0

ENDS: Final = (Evidence.REJECTED, Evidence.NOT_SENT, Evidence.CANCELED, Evidence.EXPIRED, Evidence.ABSENT)


class _Order(Struct):
    intent: Intent
    filled_lots: int = 0
    is_over: bool = False
    is_sent: bool = False
    """The venue said that it has it."""


class MexcVenue:
    """An `OutsideVenue` (services/live.py): reports come when they come."""

    is_idle: Final = True
    next_due_ns: Final = NEVER

    def __init__(
        self,
        trading: MexcTrading,
        make_stream: Callable[[Callable[[str, str], int | None]], PrivateStream],
        *,
        now_ns: Callable[[], int],
        on_alert: Callable[[FeedAlert], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            trading: Sends, cancels, looks.
            make_stream: Makes the private stream, given who tells our orders from others.
            now_ns: Time of the reports made from REST answers.
            on_alert: Called with what a person should know.
        """
        self.foreign_total = 0
        """Pushes about orders that are none of ours."""
        self._trading = trading
        self._stream = make_stream(self._number_of)
        self._now_ns = now_ns
        self._on_alert = on_alert
        self._on_report: Callable[[VenueReport], None] | None = None
        self._orders: dict[int, _Order] = {}
        self._by_client: dict[str, int] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failure: BaseException | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the private stream."""
        await self._stream.__aenter__()
        self._spawn(self._read(), "mexc-reports")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream; orders at the venue stay as they are."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._stream.close()

    async def settle(self, timeout_s: float) -> bool:
        """Wait until every order that should end at once has ended; False: not in time."""
        end = asyncio.get_running_loop().time() + timeout_s
        while any(not order.is_over and not order.intent.expires_ns for order in self._orders.values()):
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    def check(self) -> None:
        """Raise what stopped a part of the venue for good, if anything did."""
        if self._failure is not None:
            raise self._failure

    # -- the port ------------------------------------------------------------------------------------------------------

    def listen(self, on_report: Callable[[VenueReport], None]) -> None:
        """Say where reports go."""
        self._on_report = on_report

    def submit(self, command: Submit, now_ns: int) -> None:
        """Send an order, once."""
        intent = command.intent
        self._orders[intent.order_no] = _Order(intent)
        self._by_client[intent.client_order_id] = intent.order_no
        self._spawn(self._send(intent), f"order-{intent.order_no}")

    def cancel(self, command: Cancel, now_ns: int) -> None:
        """Send a cancel."""
        self._spawn(self._cancel(command), f"cancel-{command.order_no}")

    def before(self, ts_event_ns: int) -> None:
        """Nothing here depends on market events."""

    def after(self, event: MarketEvent) -> None:
        """Nothing here depends on market events."""

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        """Reports go to the listener, never through here."""
        return ()

    # -- orders --------------------------------------------------------------------------------------------------------

    async def _send(self, intent: Intent) -> None:
        outcome = await self._trading.submit(intent)
        self._pass_on((report_of_submit(intent.order_no, outcome, self._now_ns()),))
        if isinstance(outcome, Unknown):
            info = await self._trading.resolve(intent.symbol, intent.client_order_id, outcome.fence_ms)
            if info is None:
                self._pass_on((VenueReport(intent.order_no, self._now_ns(), Evidence.ABSENT),))
                return
            look = await self._trading.told(intent.order_no, info, self._now_ns())
            self._pass_on(look.reports)
        elif not isinstance(outcome, Taken):
            return
        self._orders[intent.order_no].is_sent = True
        await self._watch(intent)

    async def _watch(self, intent: Intent) -> None:
        """Look for an order that should have ended, until it has; a resting one is the stream's."""
        wait_s = PATIENCE_S
        while not intent.expires_ns and not self._orders[intent.order_no].is_over:
            await asyncio.sleep(wait_s)
            if not self._orders[intent.order_no].is_over:
                await self._look(intent.order_no)
            wait_s = LOOK_EVERY_S

    async def _cancel(self, command: Cancel) -> None:
        order = self._orders.get(command.order_no)
        if order is None:
            self._refuse_cancel(command.order_no, "-2011", "no such order was sent")
            return
        fault = await self._trading.cancel(command, order.intent.client_order_id)
        if fault is not None:
            self._refuse_cancel(command.order_no, fault.code, fault.reason)
        if not order.is_over:
            await self._look(command.order_no)

    def _refuse_cancel(self, order_no: int, code: str, reason: str) -> None:
        if self._on_report is not None:
            self._on_report(VenueReport(order_no, self._now_ns(), Evidence.CANCEL_REFUSED, code=code, reason=reason))

    async def _look(self, order_no: int) -> None:
        order = self._orders[order_no]
        try:
            look = await self._trading.look(order_no, order.intent.symbol, order.intent.client_order_id, self._now_ns())
        except ClaireError as error:
            self._tell(f"order {order_no} could not be looked up: {error}")
            return
        if look is not None:
            self._pass_on(look.reports)

    # -- what is heard -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for item in self._stream:
            for event in item.events:
                self._hear(event)

    def _hear(self, event: PrivateEvent) -> None:
        if isinstance(event, VenueReport):
            self._pass_on((event,))
        elif isinstance(event, Reconcile):
            live = [number for number, order in self._orders.items() if order.is_sent and not order.is_over]
            for number in event.order_nos or live:
                if number in self._orders:
                    self._spawn(self._look(number), f"look-{number}")
        elif isinstance(event, Foreign):
            self.foreign_total += 1
        elif isinstance(event, FeedAlert) and self._on_alert is not None:
            self._on_alert(event)

    def _pass_on(self, reports: Sequence[VenueReport]) -> None:
        for report in reports:
            order = self._orders[report.order_no]
            if report.trade_id:
                order.filled_lots += report.quantity_lots
            order.is_over |= report.evidence in ENDS or order.filled_lots >= order.intent.quantity_lots
            self._tell_gate(order, report)
            if self._on_report is not None:
                self._on_report(report)

    def _tell_gate(self, order: _Order, report: VenueReport) -> None:
        """Let the gate see what was bought and sold, before anybody can decide upon it."""
        gate, intent = self._trading.gate, order.intent
        if report.trade_id and gate.knows(intent.client_order_id):
            instrument = self._trading.tradables[intent.symbol].instrument
            fee = report.fee if report.fee_asset == instrument.base else Decimal(0)
            gate.filled(intent.client_order_id, instrument.quantity(report.quantity_lots), fee)
        if order.is_over:
            gate.ended(intent.client_order_id)

    def _number_of(self, client_order_id: str, _venue_order_id: str) -> int | None:
        return self._by_client.get(client_order_id)

    def _tell(self, text: str) -> None:
        if self._on_alert is not None:
            self._on_alert(FeedAlert(AlertKind.STALLED, "", text, stops_entries=False, ts_recv_ns=self._now_ns()))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()
