"""MEXC as a venue of the pipeline: orders over signed REST, what becomes of them from the private stream and from looks.

An order is sent once, by a task of its own, so nothing that decides ever waits for the network. Whatever is heard, from the
answer, the stream or a look by REST, becomes a `VenueReport` and goes to one listener; an execution is counted once
whichever way it came (fills.py). What is done about each order is in orders.py; here are the stream, recovery, and the view
that reconciliation has.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

from claire.adapters.venues.mexc import replies
from claire.adapters.venues.mexc.items import FeedAlert
from claire.adapters.venues.mexc.orders import MS, Found, MexcOrders
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.privatedecoder import Foreign, PrivateEvent, Reconcile
from claire.adapters.venues.mexc.pushes import BalancePush
from claire.adapters.venues.mexc.queries import LOOK_BACK_MS
from claire.adapters.venues.mexc.restored import OnLock, Recovered, Restored, Standing
from claire.adapters.venues.mexc.tracking import Tracked
from claire.adapters.venues.mexc.trading import MexcTrading, balances
from claire.model.decisions import Cancel, Submit, VenueReport
from claire.model.market import MarketEvent
from claire.model.orders import Evidence, OrderState

NEVER: Final = 1 << 62

PRICES_EVERY_S: Final = 60.0

END_OF: Final = {
    OrderState.CANCELED: Evidence.CANCELED,
    OrderState.EXPIRED: Evidence.EXPIRED,
    OrderState.REJECTED: Evidence.REJECTED,
    OrderState.ABSENT: Evidence.ABSENT,
    OrderState.NOT_SENT: Evidence.NOT_SENT,
}
"""The evidence behind each state that is an end; FILLED follows from the executions."""


class MexcVenue(MexcOrders):
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
        on_lock: OnLock | None = None,
        is_ours: Callable[[str], bool] | None = None,
        on_foreign: Callable[[Foreign], None] | None = None,
        on_balance: Callable[[BalancePush], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            trading: Sends, cancels, looks.
            make_stream: Makes the private stream, given who tells our orders from others.
            now_ns: Time of the reports made from REST answers.
            on_alert: Called with what a person should know.
            on_lock: Called to lock the trading state, and to take a lock back.
            is_ours: Whether a client order id is one that this account's runs make; such an order that is not on record is
                a reason to halt.
            on_foreign: Called with pushes about orders of others.
            on_balance: Called with pushes about balances.
        """
        self.foreign_total = 0
        """Pushes about orders that are none of ours."""
        super().__init__(trading, now_ns=now_ns, on_alert=on_alert, on_lock=on_lock, is_ours=is_ours)
        self._stream = make_stream(self._number_of)
        self._stream.share(trading.book, trading.fee_prices)
        self._on_foreign = on_foreign
        self._on_balance = on_balance
        self._restored: tuple[Restored, ...] = ()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the private stream."""
        await self._stream.__aenter__()
        self._spawn(self._read(), "mexc-reports")
        self._spawn(self._keep_prices(), "mexc-fee-prices")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream; orders at the venue stay as they are."""
        self._doubts.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._stream.close()

    async def settle(self, timeout_s: float) -> bool:
        """Wait until every order that should end at once has ended, and none is in doubt; False: not in time."""
        end = asyncio.get_running_loop().time() + timeout_s
        while not self.is_settled:
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    @property
    def is_settled(self) -> bool:
        """Whether no order is in doubt, on its way, or about to end."""
        return not self._doubts.orders and all(
            order.is_over or (order.rests and order.is_heard and not order.is_cancelling)
            for order in self._orders.values()
        )

    def check(self) -> None:
        """Raise what stopped a part of the venue for good, if anything did."""
        if self._failure is not None:
            raise self._failure

    # -- the port ------------------------------------------------------------------------------------------------------

    def listen(self, on_report: Callable[[VenueReport], None]) -> None:
        """Say where reports go; those that came before come first."""
        self._on_report = on_report
        waiting, self._waiting = self._waiting, []
        for report in waiting:
            on_report(report)

    def submit(self, command: Submit, now_ns: int) -> None:
        """Send an order, once."""
        order = Tracked(command.intent)
        self._keep(order)
        self._spawn(self._send(order, self._trading.approve(command.intent)), f"order-{order.number}")

    def before(self, ts_event_ns: int) -> None:
        """Nothing here depends on market events."""

    def after(self, event: MarketEvent) -> None:
        """Nothing here depends on market events."""

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        """Reports go to the listener, never through here."""
        return ()

    # -- recovery ------------------------------------------------------------------------------------------------------

    def restore(self, orders: Sequence[Restored]) -> None:
        """Take over the orders of this run from before a restart; to be called before the stream is opened.

        Nothing is sent again, and no booked execution is reported again. The gate learns the orders too; what is held has to
        be seeded apart (`Gate.seed`), with the booked executions in it.
        """
        self._restored = tuple(orders)
        known = []
        for one in orders:
            intent = one.intent
            instrument = self._trading.tradables[intent.symbol].instrument
            order = Tracked(intent, filled_lots=sum(fill.quantity_lots for fill in one.fills))
            for fill in one.fills:
                price, quantity = instrument.price(fill.price_ticks), instrument.quantity(fill.quantity_lots)
                self._trading.book.restore(fill.venue_order_id, fill.trade_id, price, quantity)
            names = (one.venue_order_id, *(fill.venue_order_id for fill in one.fills))
            order.is_heard = one.kind is Standing.LIVE or bool(one.fills) or bool(one.venue_order_id)
            order.is_acknowledged = order.is_heard
            if one.kind is Standing.FINISHED:
                order.end = END_OF.get(one.state)
            if order.is_heard or order.is_over:
                order.known.set()
            self._keep(order)
            for name in filter(None, names):
                order.venue_order_id = name
                self._by_venue[name] = order.number
            known.append(self._known(order, is_live=one.kind in (Standing.RESOLVE, Standing.LIVE)))
        self._trading.gate.seed({}, known)

    async def recover(self, fence_ms: int, *, patience_s: float = 60.0) -> Recovered:
        """Find out what became of the restored orders; everything is reported to the listener.

        Args:
            fence_ms: Venue time from which on nothing that was sent before the restart can still be taken.
            patience_s: How long to wait for those that cannot be looked at; the looking goes on after that.
        """
        found: dict[int, Found] = {}
        tasks: list[asyncio.Task[None]] = []
        not_sent: list[int] = []
        in_doubt: dict[int, bool] = {}
        for one in self._restored:
            order = self._orders[one.intent.order_no]
            if one.kind in (Standing.VOID, Standing.NOT_SENT):
                not_sent.append(order.number)
                if not order.is_heard and order.end is None:
                    reason = "it was not sent before the restart"
                    self._own(order, VenueReport(order.number, self._now_ns(), Evidence.NOT_SENT, reason=reason))
            elif one.kind is not Standing.FINISHED:
                in_doubt[order.number] = one.kind is Standing.RESOLVE
                self._doubts.begin(order.number)
                tasks.append(self._spawn(self._recover(order, one, fence_ms, found), f"recover-{order.number}"))
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)
        self.check()

        def of(kind: Found) -> list[int]:
            return [number for number in in_doubt if found.get(number) is kind]

        return Recovered(
            settled=tuple(number for number in of(Found.TOLD) if not in_doubt[number]),
            not_sent=tuple(not_sent),
            adopted=tuple(number for number in of(Found.TOLD) if in_doubt[number]),
            absent=tuple(of(Found.ABSENT)),
            missing=tuple(of(Found.MISSING)),
            unknown=tuple(number for number in in_doubt if number not in found),
        )

    async def _recover(self, order: Tracked, one: Restored, fence_ms: int, found: dict[int, Found]) -> None:
        if one.kind is Standing.RESOLVE:
            sent_ms = min(fence_ms, order.intent.ts_event_ns // MS)
            found[order.number] = await self._resolve(order, fence_ms, max(1, sent_ms - LOOK_BACK_MS))
        else:
            found[order.number] = await self._look_until_told(order)
        if found[order.number] is not Found.TOLD or order.is_over:
            return
        if one.state is OrderState.PENDING_CANCEL:
            self.cancel(Cancel(order.number, order.intent.symbol, self._now_ns()), self._now_ns())
        self._spawn(self._see_off(order), f"watch-{order.number}")

    # -- the view for reconciliation -----------------------------------------------------------------------------------

    async def open_orders(self) -> tuple[replies.OrderInfo, ...]:
        """List all open orders of the account, of all symbols; a complete look.

        An order with a name of ours that is not on record asks for a halt; one that is taken for ended is looked at.

        Raises:
            MexcError: the venue did not say.
        """
        self._trading.step("look.before")
        listed = await self._trading.open_orders()
        self._trading.step("look.after")
        for info in listed:
            order = self._of(info.client_order_id or "", info.id)
            if order is None:
                self._meet_stranger(info.client_order_id or "", info.id, info.symbol)
            elif order.is_over or not order.is_heard:
                self._look_soon(order)
        return listed

    async def fills_since(self, symbol: str, start_ms: int) -> list[replies.OwnTrade]:
        """List the account's executions of a symbol since a moment, oldest first; a complete look.

        An order of ours of which more was executed than was reported is looked at.

        Args:
            symbol: Of the executions.
            start_ms: Venue time; the venue cuts it to whole seconds.

        Raises:
            MexcError: the venue did not say.
        """
        self._trading.step("look.before")
        trades = await self._trading.fills(symbol, start_ms=start_ms)
        self._trading.step("look.after")
        executed: dict[int, Decimal] = {}
        for trade in trades:
            order = self._of(trade.client_order_id or "", str(trade.order_id))
            if order is not None:
                executed[order.number] = executed.get(order.number, Decimal(0)) + trade.qty
            else:
                self._meet_stranger(trade.client_order_id or "", str(trade.order_id), symbol)
        for number, quantity in executed.items():
            if quantity > self._trading.tradables[symbol].instrument.quantity(self._orders[number].filled_lots):
                self._look_soon(self._orders[number])
        return trades

    def look(self, order_no: int) -> None:
        """Have an order looked at by REST, in the background: what was missed of it is reported. Nothing else happens."""
        if order_no in self._orders:
            self._look_soon(self._orders[order_no])

    async def balances(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        """Return free and locked amounts by asset; a complete look.

        Raises:
            MexcError: the venue did not say.
        """
        self._trading.step("look.before")
        account = await self._trading.account()
        self._trading.step("look.after")
        return balances(account)

    # -- what is heard -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for item in self._stream:
            for event in item.events:
                self._hear(event)

    def _hear(self, event: PrivateEvent) -> None:
        if isinstance(event, VenueReport):
            self._from_venue(self._orders[event.order_no], event)
        elif isinstance(event, Reconcile):
            live = [number for number, order in self._orders.items() if order.is_heard and not order.is_over]
            for number in event.order_nos or live:
                self._look_soon(self._orders[number])
        elif isinstance(event, Foreign):
            self.foreign_total += 1
            self._meet_stranger(event.push.client_id, event.push.order_id, event.push.symbol)
            if self._on_foreign is not None:
                self._on_foreign(event)
        elif isinstance(event, FeedAlert):
            if self._on_alert is not None:
                self._on_alert(event)
        elif self._on_balance is not None:
            self._on_balance(event)

    async def _keep_prices(self) -> None:
        while True:
            await self._trading.learn_fee_prices()
            await asyncio.sleep(PRICES_EVERY_S)
