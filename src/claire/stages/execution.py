"""Execution: sends each intent once, and turns what the venue says into fills and the life of each order.

Input: `Intent`, `VenueReport`, `Timer`. Output: `OrderEvent`, `Fill`, the commands `Submit`, `Cancel`, `SetTimer`, and a
`ControlEvent` that halts trading where the venue shows what cannot be.
The state of an order follows from the set of things heard (model/orders.py), so a venue may say them twice or in any
order. Intent and SENT are on record before the command goes out (DESIGN rule 3).

What stays in memory: every live order, and each finished one for `remember_ns` of market time (for ever where it is None,
as in every run with a venue outside), reduced to its life (quantity, fills, evidence, trade ids). So a repeated execution
is known for what it is and a late fill finds its order.

An order that is found alive after it was proven not to be (`OrderLife.late_live`) stays in its terminal state: it is
cancelled, its fills are booked, and trading halts, for the proof was wrong and what it reserved had been released.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from claire.model.decisions import (
    Adopted,
    Asked,
    Cancel,
    ControlEvent,
    Fill,
    Intent,
    OrderEvent,
    SetTimer,
    Submit,
    TradingState,
    VenueReport,
)
from claire.model.market import Side, Timer
from claire.model.orders import TERMINAL, Evidence, OrderLife, OrderType

RESTING: Final = (OrderType.LIMIT, OrderType.LIMIT_MAKER)
"""Order types that stay in the book, and so have to be taken out of it when their time is over."""

REMEMBER_NS: Final = 24 * 3_600 * 1_000_000_000
"""How long a finished order is remembered: as far back as MEXC lists orders by default. Its repeated executions were
seen 40 minutes apart (ccxt issue 18854)."""

EXPIRE: Final = "expire:"
"""Timers of this stage are named ``expire:ORDER_NO``."""

LATE_LIVE: Final = "late live"
"""Who halts trading when an order is found alive after its end was proven, and the reason in the order's event."""

VOID: Final = (Evidence.ABSENT, Evidence.NOT_SENT, Evidence.REJECTED)
"""What says that an order never lived."""

LATE_FILL: Final = "late fill"
"""The reason in the event of an order that was filled after its end."""

OVERFILL: Final = "overfill"
"""Who halts trading when more is executed than was ordered; it is booked, for it happened."""

FORGOTTEN: Final = "forgotten order"
"""Who halts trading when an order executes that was forgotten: nobody can tell whether that was booked before."""

Output = OrderEvent | Fill | Submit | Cancel | SetTimer | ControlEvent
"""What this stage answers with."""


class Order(Struct):
    """What execution remembers about one order."""

    order_no: int
    strategy_id: str
    symbol: str
    side: Side
    reduce_only: bool
    client_order_id: str
    life: OrderLife
    venue_order_id: str = ""

    def event(self, ts_event_ns: int, code: str = "", reason: str = "") -> OrderEvent:
        """Return the order's present state as an event."""
        return OrderEvent(
            order_no=self.order_no,
            strategy_id=self.strategy_id,
            symbol=self.symbol,
            side=self.side,
            state=self.life.state,
            quantity_lots=self.life.quantity_lots,
            filled_lots=self.life.filled_lots,
            reduce_only=self.reduce_only,
            ts_event_ns=ts_event_ns,
            code=code,
            reason=reason,
            client_order_id=self.client_order_id,
            venue_order_id=self.venue_order_id,
        )


class Execution(Struct):
    """The execution stage."""

    remember_ns: int | None = REMEMBER_NS
    """None: finished orders are remembered for ever."""
    orders: dict[int, Order] = {}
    """By order number: the live ones and those finished not long ago."""
    finished: deque[tuple[int, int]] = field(default_factory=deque)
    """When each finished order did so (market time), and its number; oldest first."""
    now_ns: int = 0
    """The latest market time heard of."""
    last_no: int = 0
    """The highest order number so far; numbers are given in order, so what is above it was never sent."""

    def on_intent(self, intent: Intent) -> Sequence[Output]:
        """Put an approved order on record, then as SENT, then send it; one that is past its expiry is NOT_SENT.

        Raises:
            ValueError: the order number was used before.
        """
        order_no = intent.order_no
        if order_no <= self.last_no:
            raise ValueError(f"order {order_no} was sent before; an intent is sent once")
        self._advance(intent.ts_event_ns)
        order = Order(
            order_no=order_no,
            strategy_id=intent.strategy_id,
            symbol=intent.symbol,
            side=intent.side,
            reduce_only=intent.reduce_only,
            client_order_id=intent.client_order_id,
            life=OrderLife(intent.quantity_lots),
        )
        self.orders[order_no] = order
        self.last_no = order_no
        now_ns = intent.ts_event_ns
        recorded = order.event(now_ns)
        if intent.expires_ns and self.now_ns > intent.expires_ns:
            order.life.note(Evidence.NOT_SENT)
            self._finish(order)
            late_ns = self.now_ns - intent.expires_ns
            return (recorded, order.event(now_ns, reason=f"expired {late_ns} ns before it could be sent"))
        order.life.note(Evidence.SENT)
        sent = order.event(now_ns)
        if intent.expires_ns and intent.type in RESTING:
            return (recorded, sent, Submit(intent), SetTimer(intent.expires_ns, f"{EXPIRE}{order_no}"))
        return (recorded, sent, Submit(intent))

    def on_report(self, report: VenueReport) -> Sequence[Output]:
        """Take in what the venue says; return the fill, then the order where its state or cumulative fill changed.

        Raises:
            ValueError: the order was never sent, or the report says nothing.
            IllegalTransition: the report contradicts the table of model/orders.py.
        """
        self._advance(report.ts_event_ns)
        if not 0 < report.order_no <= self.last_no:
            raise ValueError(
                f"the venue reports on order {report.order_no} (venue id {report.venue_order_id or 'none'}), which was"
                " never sent"
            )
        if report.evidence is None and not report.trade_id:
            raise ValueError(f"the report on order {report.order_no} holds neither evidence nor an execution")
        order = self.orders.get(report.order_no)
        if order is None:
            return _forgotten(report)
        order.venue_order_id = order.venue_order_id or report.venue_order_id
        life = order.life
        before, was_late_live = life.state, life.late_live
        filled = bool(report.trade_id) and life.fill(report.trade_id, report.quantity_lots)
        changed = report.evidence is not None and life.note(report.evidence)
        found_alive = life.late_live and not was_late_live
        if not (filled or changed or found_alive):
            return ()
        was_terminal = before in TERMINAL
        if not was_terminal and life.is_terminal:
            self._finish(order)
        reason = LATE_LIVE if found_alive else LATE_FILL if filled and was_terminal else report.reason
        told: tuple[Output, ...] = (order.event(report.ts_event_ns, report.code, reason),)
        if filled:
            told = (_fill(order, report), *told)
        if found_alive:
            told = (*told, *_stop(order, report.ts_event_ns))
        return (*told, _overfill(order, report)) if filled and life.is_overfilled else told

    def on_timer(self, timer: Timer) -> Sequence[Output]:
        """Cancel the resting order whose time is over, when it is still live."""
        if not timer.id.startswith(EXPIRE):
            return ()
        self._advance(timer.due_ns)
        return self._cancel(int(timer.id.removeprefix(EXPIRE)), timer.due_ns, "expired")

    def on_asked(self, asked: Asked) -> Sequence[Output]:
        """Cancel an order because an operator asks for it; one that is over stays as it is."""
        self._advance(asked.ts_event_ns)
        return self._cancel(asked.order_no, asked.ts_event_ns, f"asked by {asked.operator}: {asked.reason}")

    def _cancel(self, order_no: int, ts_event_ns: int, reason: str) -> Sequence[Output]:
        order = self.orders.get(order_no)
        if order is None or order.life.is_terminal:
            return ()
        cancel = Cancel(order.order_no, order.symbol, ts_event_ns)
        if order.life.note(Evidence.CANCEL_REQUESTED):
            return (order.event(ts_event_ns, reason=reason), cancel)
        return (cancel,)

    def on_adopted(self, event: Adopted) -> None:
        """Let what its former owner ordered belong to a position's new owner: a late fill finds the right one."""
        for order in self.orders.values():
            if (order.strategy_id, order.symbol) == (event.owner_id, event.symbol):
                order.strategy_id = event.strategy_id

    @property
    def live(self) -> tuple[Order, ...]:
        """The orders that are not finished, in the order of sending."""
        return tuple(order for order in self.orders.values() if not order.life.is_terminal)

    def _advance(self, now_ns: int) -> None:
        """Move market time on, and forget what finished too long ago to be heard of again."""
        self.now_ns = max(self.now_ns, now_ns)
        if self.remember_ns is None:
            return
        horizon_ns = self.now_ns - self.remember_ns
        while self.finished and self.finished[0][0] < horizon_ns:
            _, order_no = self.finished.popleft()
            del self.orders[order_no]

    def _finish(self, order: Order) -> None:
        if self.remember_ns is not None:
            self.finished.append((self.now_ns, order.order_no))


def _stop(order: Order, ts_event_ns: int) -> tuple[Output, ...]:
    """Cancel an order that is alive and should not be, if it may still work, and halt trading."""
    taken_for = next(proof for proof in VOID if proof in order.life.evidence)
    name = f"order {order.order_no} ({order.strategy_id}: {order.side} {order.symbol}, {order.client_order_id})"
    why = f"{name} is alive; it was taken for {taken_for}"
    halt = ControlEvent(TradingState.HALTED, why, LATE_LIVE, ts_event_ns)
    return (Cancel(order.order_no, order.symbol, ts_event_ns), halt) if order.life.may_work else (halt,)


def _overfill(order: Order, report: VenueReport) -> ControlEvent:
    """Halt trading, because more was executed than was ordered."""
    why = f"order {order.order_no} ({order.client_order_id}) executed {order.life.filled_lots} lots of {order.life.quantity_lots}"
    return ControlEvent(TradingState.HALTED, f"{why} (trade {report.trade_id})", OVERFILL, report.ts_event_ns)


def _forgotten(report: VenueReport) -> tuple[Output, ...]:
    """Answer a report on an order that finished too long ago to be remembered."""
    if not report.trade_id:
        return ()
    why = f"order {report.order_no} executed (trade {report.trade_id}) long after it had finished; its venue has to be asked"
    return (ControlEvent(TradingState.HALTED, why, FORGOTTEN, report.ts_event_ns),)


def _fill(order: Order, report: VenueReport) -> Fill:
    return Fill(
        order_no=order.order_no,
        strategy_id=order.strategy_id,
        symbol=order.symbol,
        side=order.side,
        price_ticks=report.price_ticks,
        quantity_lots=report.quantity_lots,
        fee=report.fee,
        fee_asset=report.fee_asset,
        fee_value=report.fee_value,
        is_maker=report.is_maker,
        reduce_only=order.reduce_only,
        ts_event_ns=report.ts_event_ns,
        trade_id=report.trade_id,
        venue_order_id=report.venue_order_id,
    )
