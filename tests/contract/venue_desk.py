"""A desk at a venue: drives a market and orders, and keeps what the venue answers. Every answer goes through execution."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

from claire.adapters.venues.paper import PaperRules, PaperVenue
from claire.model.decisions import Cancel, Fill, Intent, OrderEvent, SetTimer, Submit, VenueReport
from claire.model.instrument import Instrument
from claire.model.market import Depth, MarketEvent, Side, Timer, TopOfBook, Trade
from claire.model.money import decimal_of, units_of
from claire.model.orders import Evidence, OrderState, OrderType
from claire.stages.execution import Execution

SYMBOL: Final = "ABCUSDT"
ABC: Final = Instrument.checked(
    SYMBOL, Decimal("0.01"), Decimal("0.01"), base="ABC", quote="USDT", min_notional=Decimal(5)
)
"""100 lots are 1 ABC; at 10,000 ticks (100 USDT) one lot is worth 1 USDT."""

SECOND_NS: Final = 1_000_000_000
MS_NS: Final = 1_000_000
RICH: Final = {"USDT": Decimal(10_000), "ABC": Decimal(100)}


class VenueDesk(Protocol):
    """What a contract test needs of a venue: a market to arrange, orders to send, answers to read."""

    reports: list[VenueReport]

    def trade(self, price_ticks: int, lots: int = 100, side: Side = Side.BUY) -> None:
        """Let a public trade happen."""

    def depth(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> None:
        """Show this book, whole."""

    def order(self, side: Side, kind: OrderType, lots: int = 100, limit_ticks: int = 0, symbol: str = SYMBOL) -> int:
        """Send an order; return its number."""

    def cancel(self, order_no: int) -> None:
        """Send a cancel."""

    def settle(self) -> None:
        """Let everything that is under way arrive."""

    def state(self, order_no: int) -> OrderState:
        """Return where an order is in its life."""

    def fills(self, order_no: int) -> list[Fill]:
        """Return the executions of an order."""

    def code(self, order_no: int) -> str:
        """Return the code with which the venue refused an order; empty: it did not."""

    def total(self, asset: str) -> Decimal:
        """Return the venue's balance of an asset, free and locked."""

    def free(self, asset: str) -> Decimal:
        """Return the venue's free balance of an asset."""


class PaperDesk:
    """A desk at the paper venue. Events come one second apart unless told otherwise."""

    def __init__(
        self,
        rules: PaperRules | None = None,
        balances: Mapping[str, Decimal] | None = None,
        instruments: Sequence[Instrument] = (ABC,),
    ) -> None:
        self.venue = PaperVenue(
            {instrument.symbol: instrument for instrument in instruments},
            rules or PaperRules(),
            RICH if balances is None else balances,
        )
        self.execution = Execution()
        self.now_ns = 0
        self.reports: list[VenueReport] = []
        self.heard: list[OrderEvent | Fill] = []
        self.timers: list[SetTimer] = []
        self._orders = 0

    # -- the market ------------------------------------------------------------------------------------------------

    def trade(self, price_ticks: int, lots: int = 100, side: Side = Side.BUY) -> None:
        self.feed(Trade(SYMBOL, self.now_ns + SECOND_NS, price_ticks, lots, side))

    def trade_that_decides(self, decide: Callable[[], object], price_ticks: int, lots: int = 100) -> None:
        self.feed(Trade(SYMBOL, self.now_ns + SECOND_NS, price_ticks, lots, Side.BUY), decide)

    def depth(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> None:
        levels = tuple(bids.items()), tuple(asks.items())
        self.feed(Depth(SYMBOL, self.now_ns + SECOND_NS, *levels, snapshot=True))

    def change(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> None:
        self.feed(Depth(SYMBOL, self.now_ns + SECOND_NS, tuple(bids.items()), tuple(asks.items())))

    def gap(self) -> None:
        self.feed(Depth(SYMBOL, self.now_ns + SECOND_NS, (), (), valid=False))

    def top(self, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        self.feed(TopOfBook(SYMBOL, self.now_ns + SECOND_NS, *bid, *ask))

    def feed(self, event: MarketEvent, decide: Callable[[], object] = lambda: None) -> None:
        self.venue.before(event.ts_event_ns)
        self._deliver(event.ts_event_ns)
        self.now_ns = event.ts_event_ns
        decide()
        self.venue.after(event)
        self._deliver(event.ts_event_ns)

    def pass_time(self, duration_ns: int) -> None:
        """Let time pass without a market event."""
        self.now_ns += duration_ns
        self._deliver(self.now_ns)

    def settle(self) -> None:
        self.pass_time(60 * SECOND_NS)

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(
        self,
        side: Side,
        kind: OrderType,
        lots: int = 100,
        limit_ticks: int = 0,
        symbol: str = SYMBOL,
        expires_ns: int = 0,
    ) -> int:
        self._orders += 1
        made = intent(
            self._orders, side, kind, lots, limit_ticks, symbol=symbol, at_ns=self.now_ns, expires_ns=expires_ns
        )
        self._carry_out(self.execution.on_intent(made))
        return self._orders

    def cancel(self, order_no: int) -> None:
        order = self.execution.orders.get(order_no)
        if order is not None:
            order.life.note(Evidence.CANCEL_REQUESTED)
        self.venue.cancel(Cancel(order_no, order.symbol if order else SYMBOL, self.now_ns), self.now_ns)

    def ring(self, timer: SetTimer) -> None:
        """Let a timer that execution asked for fire."""
        self.pass_time(timer.due_ns - self.now_ns)
        self._carry_out(self.execution.on_timer(Timer(timer.due_ns, timer.id)))

    # -- answers ---------------------------------------------------------------------------------------------------

    def state(self, order_no: int) -> OrderState:
        return self.execution.orders[order_no].life.state

    def fills(self, order_no: int) -> list[Fill]:
        return [event for event in self.heard if isinstance(event, Fill) and event.order_no == order_no]

    def prices(self, order_no: int) -> list[tuple[int, int]]:
        return [(fill.price_ticks, fill.quantity_lots) for fill in self.fills(order_no)]

    def code(self, order_no: int) -> str:
        return next((report.code for report in self.reports if report.order_no == order_no and report.code), "")

    def total(self, asset: str) -> Decimal:
        return decimal_of(self.venue.balances.total(asset))

    def free(self, asset: str) -> Decimal:
        return decimal_of(self.venue.balances.free(asset))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _deliver(self, now_ns: int) -> None:
        while self.venue.next_due_ns <= now_ns:
            for report in self.venue.due(self.venue.next_due_ns):
                assert not self.reports or self.reports[-1].ts_event_ns <= report.ts_event_ns
                self.reports.append(report)
                if report.order_no in self.execution.orders:
                    self._carry_out(self.execution.on_report(report))

    def _carry_out(self, outputs: Sequence[object]) -> None:
        for output in outputs:
            match output:
                case Submit():
                    self.venue.submit(output, self.now_ns)
                case Cancel():
                    self.venue.cancel(output, self.now_ns)
                case SetTimer():
                    self.timers.append(output)
                case OrderEvent() | Fill():
                    self.heard.append(output)


def intent(  # every part of an order that a test may want to choose
    order_no: int,
    side: Side,
    kind: OrderType,
    lots: int = 100,
    limit_ticks: int = 0,
    *,
    symbol: str = SYMBOL,
    at_ns: int = 0,
    expires_ns: int = 0,
) -> Intent:
    """Make an order intent."""
    return Intent(
        order_no=order_no,
        signal_no=order_no,
        account_id="paper",
        venue="paper",
        strategy_id="test",
        symbol=symbol,
        side=side,
        type=kind,
        quantity_lots=lots,
        limit_ticks=limit_ticks,
        expires_ns=expires_ns,
        reduce_only=False,
        client_order_id=f"c{order_no}",
        ts_event_ns=at_ns,
        price_ticks=limit_ticks,
    )


def money_moved(
    reports: Sequence[VenueReport], sides: Mapping[int, Side], instrument: Instrument = ABC
) -> dict[str, int]:
    """Return by how many units each balance must have changed for these executions."""
    moved = {instrument.base: 0, instrument.quote: 0}
    for report in reports:
        if report.trade_id:
            sign = 1 if sides[report.order_no] is Side.BUY else -1
            moved[instrument.base] += sign * report.quantity_lots * instrument.lot_units
            moved[instrument.quote] -= sign * instrument.notional(report.price_ticks, report.quantity_lots)
            moved[report.fee_asset] -= units_of(report.fee)
    return moved
