"""The paper venue: orders without money on recorded or live market events (DESIGN 9; docs/paper.md for its readers).

Two clocks, three latencies. The pipeline's market time is the venue's: an event that happened at t is decided upon
at t + feed, the order is at the venue at t + feed + entry, and the answer to what happened at x comes home at
x + response. By then the pipeline has seen the market up to x + response − feed, so that is the report's market time;
never before x, because what caused it is not in the data any earlier.

An order meets the market after its arrival: the book at once where there is one, else the first trade at or after
arrival. Orders and market events of one instant: the market first. A market order with a worst price (`collar_ticks`) is what
it is at MEXC: a limit order at that price that does not rest. No clock, no randomness: the same data gives the
same fills. Ids start with ``PAPER-``, so that a paper fill can never be taken for a real one.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from heapq import heappop, heappush
from typing import Final

from msgspec import Struct, structs

from claire.adapters.venues.balances import Balances
from claire.adapters.venues.book import LocalBook, is_beyond
from claire.model.decisions import Cancel, Intent, Submit, VenueReport
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Side, Trade
from claire.model.money import ONE, decimal_of, divide_half_even, step_of, units_of
from claire.model.orders import Evidence, OrderType

NEVER: Final = 2**63 - 1
"""A due time that never comes."""

PREFIX: Final = "PAPER-"
"""How every order id and trade id of this venue starts."""

RESTING: Final = (OrderType.LIMIT, OrderType.LIMIT_MAKER)

UNKNOWN_SYMBOL: Final = "10007"
INSUFFICIENT_BALANCE: Final = "10101"
BAD_QUANTITY: Final = "10102"
BELOW_MINIMUM: Final = "30002"
INSUFFICIENT_POSITION: Final = "30004"
NO_VALID_PRICE: Final = "30010"
NO_COUNTER_ORDER: Final = "30025"
UNKNOWN_ORDER: Final = "-2011"
"""MEXC's own codes, as text. It documents none for a post-only order that would take; here that is 30010."""

Refusal = tuple[str, str]
"""A code and the numbers compared."""


class PaperRules(Struct, frozen=True):
    """How far away the venue is, what it charges, and what a trade-only market costs.

    Raises:
        ConfigError: a rule is out of range.
    """

    feed_latency_ns: int = 0
    """From something happening at the venue to its reaching the pipeline."""
    entry_latency_ns: int = 0
    """From the decision to the order's arrival at the venue."""
    response_latency_ns: int = 0
    """From something happening to an order to the report's reaching the pipeline."""
    slippage_ticks: int = 0
    """How much worse than the trade a taker's price is where there is no book."""
    taker_bps: Decimal = Decimal(0)
    maker_bps: Decimal = Decimal(0)
    """Negative: a rebate."""
    fee_asset: str = "quote"
    """``quote``: fees are paid in the quote asset. ``base``: in what is received, buys in base and sells in quote."""

    def __post_init__(self) -> None:
        """Name the first rule that cannot work."""
        for name in ("feed_latency_ns", "entry_latency_ns", "response_latency_ns"):
            if getattr(self, name) < 0:
                raise ConfigError(f"paper: {name} = {getattr(self, name)}: must be 0 or more")
        if self.slippage_ticks < 0:
            raise ConfigError(f"paper.slippage_ticks = {self.slippage_ticks}: must be 0 or more")
        for name, lowest in (("taker_bps", 0), ("maker_bps", -100)):
            bps: Decimal = getattr(self, name)
            if not bps.is_finite() or not lowest <= bps <= 1000:
                raise ConfigError(f"fees.{name} = {bps}: must be {lowest}–1000 (10 = 0.1 %)")
        if self.fee_asset not in ("quote", "base"):
            raise ConfigError(f"fees.asset = {self.fee_asset}: must be quote or base")


class _Working(Struct):
    """An order at the venue."""

    intent: Intent
    instrument: Instrument
    leaves_lots: int
    locked_units: int = 0
    """Of the asset that it pays with."""
    is_resting: bool = False
    """False while it waits for the market to show itself."""
    queue_lots: int | None = None
    """What stands before it at its price; None: not known."""
    executions: int = 0


class PaperVenue:
    """A deterministic `Venue` (engine/ports.py)."""

    def __init__(
        self, instruments: Mapping[str, Instrument], rules: PaperRules, balances: Mapping[str, Decimal]
    ) -> None:
        """Open with these rules and free balances (in whole assets, such as ``{"USDT": Decimal(1000)}``)."""
        self.rules = rules
        self.balances = Balances(balances)
        self.is_idle = True
        self.next_due_ns = NEVER
        self._instruments = instruments
        self._to_venue_ns = rules.feed_latency_ns + rules.entry_latency_ns
        self._to_pipeline_ns = max(0, rules.response_latency_ns - rules.feed_latency_ns)
        self._taker = units_of(rules.taker_bps)
        self._maker = units_of(rules.maker_bps)
        self._books: dict[str, LocalBook] = {}
        self._desks: dict[str, dict[int, _Working]] = {}
        self._working = 0
        self._inbox: list[tuple[int, int, Submit | Cancel]] = []
        self._outbox: list[tuple[int, int, VenueReport]] = []
        self._made = 0

    # -- The port ----------------------------------------------------------------------------------------------------

    def submit(self, command: Submit, now_ns: int) -> None:
        """Take an order on its way; it arrives feed + entry latency after the event it was decided on."""
        self._send(command, now_ns)

    def cancel(self, command: Cancel, now_ns: int) -> None:
        """Take a cancel on its way, as long as an order's."""
        self._send(command, now_ns)

    def before(self, ts_event_ns: int) -> None:
        """Let what arrived earlier than this meet the market as it stood."""
        if self._inbox and self._inbox[0][0] < ts_event_ns:
            self._arrivals_before(ts_event_ns)
            self._refresh()

    def after(self, event: MarketEvent) -> None:
        """Apply `event` to the market; let it meet what rested, then what arrived by now and what waited for it."""
        if isinstance(event, Trade):
            if self.is_idle:
                return
            self._hit_resting(event)
        else:
            book = self._books.get(event.symbol)
            if book is None:
                book = self._books[event.symbol] = LocalBook()
            book.apply(event)
            if self.is_idle:
                return
        now_ns = event.ts_event_ns
        while self._inbox and self._inbox[0][0] <= now_ns:
            self._arrive(heappop(self._inbox)[2], now_ns)
        for order in self._on_desk(event.symbol, is_resting=False):
            if self._has_book(event.symbol):
                self._meet_book(order, now_ns)
            elif isinstance(event, Trade):
                self._meet_trade(order, event)
        self._refresh()

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        """Hand over the reports due at or before `now_ns`, in order of (due, order of making)."""
        self._arrivals_before(now_ns)
        reports = []
        while self._outbox and self._outbox[0][0] <= now_ns:
            reports.append(heappop(self._outbox)[2])
        self._refresh()
        return reports

    # -- Arrival -----------------------------------------------------------------------------------------------------

    def _send(self, command: Submit | Cancel, now_ns: int) -> None:
        heappush(self._inbox, (now_ns + self._to_venue_ns, self._next(), command))
        self._refresh()

    def _arrivals_before(self, now_ns: int) -> None:
        """Let commands that arrived before `now_ns` act, each a nanosecond after its arrival: the market went first."""
        while self._inbox and self._inbox[0][0] < now_ns:
            arrival_ns, _, command = heappop(self._inbox)
            self._arrive(command, arrival_ns + 1)

    def _arrive(self, command: Submit | Cancel, now_ns: int) -> None:
        if isinstance(command, Cancel):
            self._arrive_cancel(command, now_ns)
            return
        intent = _as_sent(command.intent)
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            reason = f"{intent.symbol} is not traded here"
            self._report(intent, now_ns, Evidence.REJECTED, UNKNOWN_SYMBOL, reason)
            return
        refusal = _unfit(intent, instrument)
        if refusal:
            self._report(intent, now_ns, Evidence.REJECTED, *refusal)
            return
        desk = self._desks.setdefault(intent.symbol, {})
        if intent.order_no in desk:
            raise ValueError(f"order {intent.order_no} is working already; an order is sent once")
        order = desk[intent.order_no] = _Working(intent, instrument, intent.quantity_lots)
        self._working += 1
        if self._has_book(intent.symbol):
            self._meet_book(order, now_ns)

    def _arrive_cancel(self, cancel: Cancel, now_ns: int) -> None:
        order = self._desks.get(cancel.symbol, {}).get(cancel.order_no)
        if order is not None:
            self._leave(order)
            self._report(order.intent, now_ns, Evidence.CANCELED)
            return
        refused = VenueReport(
            order_no=cancel.order_no,
            ts_event_ns=now_ns + self._to_pipeline_ns,
            evidence=Evidence.CANCEL_REFUSED,
            code=UNKNOWN_ORDER,
            reason="there is no such open order",
        )
        self._post(refused)

    # -- Meeting the market ------------------------------------------------------------------------------------------

    def _meet_book(self, order: _Working, now_ns: int) -> None:
        """Let a new order take what the book offers up to its price."""
        intent = order.intent
        book = self._books[intent.symbol]
        best_ticks = book.best(_opposite(intent.side))
        crosses = bool(best_ticks) and not _is_outside(best_ticks, intent)
        offers = book.offers(intent.side, order.leaves_lots, _limit(intent))
        taken = self._answer(order, offers, best_ticks, now_ns, crosses=crosses)
        for price_ticks, lots in taken:
            book.take(intent.side, price_ticks, lots)
        if order.is_resting:
            order.queue_lots = book.queue(intent.side, intent.limit_ticks)

    def _meet_trade(self, order: _Working, trade: Trade) -> None:
        """Let a new order take at a trade's price, worse by the slippage, where no book says more."""
        intent = order.intent
        slippage = self.rules.slippage_ticks if intent.side is Side.BUY else -self.rules.slippage_ticks
        price_ticks = max(1, trade.price_ticks + slippage)
        offers = () if _is_outside(price_ticks, intent) else ((price_ticks, order.leaves_lots),)
        at_the_other_side = trade.price_ticks != intent.limit_ticks or trade.side is intent.side
        crosses = not _is_outside(trade.price_ticks, intent) and at_the_other_side
        self._answer(order, offers, price_ticks, trade.ts_event_ns, crosses=crosses)

    def _answer(
        self, order: _Working, offers: Sequence[tuple[int, int]], best_ticks: int, now_ns: int, *, crosses: bool
    ) -> Sequence[tuple[int, int]]:
        """Refuse an order, or take it in and let it have the offers; return what it took."""
        intent = order.intent
        if intent.type is OrderType.LIMIT_MAKER:
            offers = ()
        refusal = self._refusal(order, offers, best_ticks, crosses=crosses)
        if refusal:
            self._leave(order)
            self._report(intent, now_ns, Evidence.REJECTED, *refusal)
            return ()
        asset, order.locked_units = self._cover(order, offers)
        self.balances.lock(asset, order.locked_units)
        self._report(intent, now_ns, Evidence.ACKNOWLEDGED)
        if intent.type is OrderType.FOK and sum(lots for _, lots in offers) < order.leaves_lots:
            offers = ()
        for price_ticks, lots in offers:
            self._execute(order, price_ticks, lots, now_ns, is_maker=False)
        if order.leaves_lots and intent.type in RESTING:
            order.is_resting = True
            return offers
        self._leave(order)
        if order.leaves_lots:
            reason = f"nothing more is offered for {order.leaves_lots} of {intent.quantity_lots} lots"
            self._report(intent, now_ns, Evidence.CANCELED, reason=reason)
        return offers

    def _refusal(
        self, order: _Working, offers: Sequence[tuple[int, int]], best_ticks: int, *, crosses: bool
    ) -> Refusal | None:
        """Return why the venue refuses an order that meets the market at `best_ticks`, if it does."""
        intent, instrument = order.intent, order.instrument
        if intent.type is OrderType.MARKET:
            if not offers:
                return NO_COUNTER_ORDER, "the other side of the book offers nothing"
            refusal = _too_small(instrument, best_ticks, intent.quantity_lots)
            if refusal:
                return refusal
        elif intent.type is OrderType.LIMIT_MAKER and crosses:
            limit = instrument.price_text(intent.limit_ticks)
            return NO_VALID_PRICE, f"a post-only order at {limit} would take at {instrument.price_text(best_ticks)}"
        asset, units = self._cover(order, offers)
        free = self.balances.free(asset)
        if units > free:
            code = INSUFFICIENT_BALANCE if intent.side is Side.BUY else INSUFFICIENT_POSITION
            return code, f"needs {decimal_of(units):f} {asset}, free are {decimal_of(free):f} {asset}"
        return None

    def _hit_resting(self, trade: Trade) -> None:
        """Fill what rested at or before a trade's price: the better price first, then the older order.

        A trade through an order's price reaches it, and whatever stood before it is gone; one at its price reaches it
        only when it came from the other side, and after the queue that stood there. Own orders share the quantity.
        """
        reached = [order for order in self._on_desk(trade.symbol, is_resting=True) if _is_reached(order, trade)]
        reached.sort(key=lambda order: -abs(order.intent.limit_ticks - trade.price_ticks))
        left_lots = trade.quantity_lots
        for order in reached:
            if order.intent.limit_ticks != trade.price_ticks or order.queue_lots is None:
                order.queue_lots = 0
            ahead_lots = min(order.queue_lots, left_lots)
            order.queue_lots -= ahead_lots
            lots = min(left_lots - ahead_lots, order.leaves_lots)
            if not lots:
                continue
            left_lots -= lots
            self._execute(order, order.intent.limit_ticks, lots, trade.ts_event_ns, is_maker=True)
            if not order.leaves_lots:
                self._leave(order)

    # -- Money -------------------------------------------------------------------------------------------------------

    def _cover(self, order: _Working, offers: Sequence[tuple[int, int]]) -> tuple[str, int]:
        """Return the asset and the units that the venue locks for an order."""
        intent, instrument = order.intent, order.instrument
        if intent.side is Side.SELL:
            return instrument.base, order.leaves_lots * instrument.lot_units
        if intent.type is not OrderType.MARKET:
            return instrument.quote, self._reserve(instrument, intent.limit_ticks, order.leaves_lots)
        cost = 0
        for price_ticks, lots in offers:
            cost += instrument.notional(price_ticks, lots)
            if self.rules.fee_asset == "quote":
                cost += _share(instrument.notional(price_ticks, lots), self._taker, instrument.quote_decimals)
        return instrument.quote, cost

    def _reserve(self, instrument: Instrument, limit_ticks: int, lots: int) -> int:
        """Return what a limit buy may cost at most, its fee rounded up."""
        notional = instrument.notional(limit_ticks, lots)
        if self.rules.fee_asset != "quote":
            return notional
        step = step_of(instrument.quote_decimals)
        bps = max(self._taker, self._maker, 0)
        return notional + -(-notional * bps // (10_000 * ONE * step)) * step

    def _execute(self, order: _Working, price_ticks: int, lots: int, now_ns: int, *, is_maker: bool) -> None:
        """Move the money of one execution and report it."""
        intent, instrument = order.intent, order.instrument
        bps = self._maker if is_maker else self._taker
        notional = instrument.notional(price_ticks, lots)
        order.leaves_lots -= lots
        order.executions += 1
        in_base = self.rules.fee_asset == "base" and intent.side is Side.BUY
        if in_base:
            fee = _share(lots * instrument.lot_units, bps, instrument.base_decimals)
            fee_asset, fee_value = instrument.base, instrument.value_of(fee, price_ticks)
        else:
            fee = _share(notional, bps, instrument.quote_decimals)
            fee_asset = instrument.quote
            if intent.side is Side.BUY and intent.type is not OrderType.MARKET:
                # Many small fills may round up to more than was reserved; the rest of the order stays paid for.
                fee = min(
                    fee, order.locked_units - notional - instrument.notional(intent.limit_ticks, order.leaves_lots)
                )
            fee_value = fee
        if intent.side is Side.SELL:
            self._pay(order, lots * instrument.lot_units)
            self.balances.receive(instrument.quote, notional - fee)
        else:
            self._pay(order, notional if in_base else notional + fee)
            self.balances.receive(instrument.base, lots * instrument.lot_units - (fee if in_base else 0))
            self._release_improvement(order)
        report = VenueReport(
            order_no=intent.order_no,
            ts_event_ns=now_ns + self._to_pipeline_ns,
            trade_id=f"{PREFIX}{intent.order_no}-{order.executions}",
            price_ticks=price_ticks,
            quantity_lots=lots,
            fee=decimal_of(fee),
            fee_asset=fee_asset,
            fee_value=decimal_of(fee_value),
            is_maker=is_maker,
            venue_order_id=f"{PREFIX}{intent.order_no}",
        )
        self._post(report)

    def _pay(self, order: _Working, units: int) -> None:
        order.locked_units -= units
        self.balances.pay(_paid_with(order), units)

    def _release_improvement(self, order: _Working) -> None:
        """Free what a limit buy holds beyond the cost of its rest, after a price better than its limit."""
        if order.intent.type is OrderType.MARKET:
            return
        spare = order.locked_units - self._reserve(order.instrument, order.intent.limit_ticks, order.leaves_lots)
        if spare > 0:
            order.locked_units -= spare
            self.balances.release(order.instrument.quote, spare)

    # -- The desk ----------------------------------------------------------------------------------------------------

    def _leave(self, order: _Working) -> None:
        """Take an order off its desk and free what it still holds."""
        del self._desks[order.intent.symbol][order.intent.order_no]
        self._working -= 1
        if order.locked_units:
            self.balances.release(_paid_with(order), order.locked_units)
            order.locked_units = 0

    def _on_desk(self, symbol: str, *, is_resting: bool) -> list[_Working]:
        return [order for order in self._desks.get(symbol, {}).values() if order.is_resting is is_resting]

    def _has_book(self, symbol: str) -> bool:
        book = self._books.get(symbol)
        return book is not None and book.is_visible

    def _report(self, intent: Intent, now_ns: int, evidence: Evidence, code: str = "", reason: str = "") -> None:
        report = VenueReport(
            order_no=intent.order_no,
            ts_event_ns=now_ns + self._to_pipeline_ns,
            evidence=evidence,
            code=code,
            reason=reason,
            venue_order_id="" if evidence is Evidence.REJECTED else f"{PREFIX}{intent.order_no}",
        )
        self._post(report)

    def _post(self, report: VenueReport) -> None:
        heappush(self._outbox, (report.ts_event_ns, self._next(), report))

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _refresh(self) -> None:
        """Keep the two answers that are asked for at every market event."""
        report_ns = self._outbox[0][0] if self._outbox else NEVER
        arrival_ns = self._inbox[0][0] + 1 if self._inbox else NEVER
        self.next_due_ns = min(report_ns, arrival_ns)
        self.is_idle = not (self._working or self._inbox or self._outbox)


def _unfit(intent: Intent, instrument: Instrument) -> Refusal | None:
    """Return what is wrong with an order whatever the market is."""
    if intent.quantity_lots <= 0:
        return BAD_QUANTITY, f"a quantity of {intent.quantity_lots} lots"
    if intent.type is OrderType.MARKET:
        return None
    if intent.limit_ticks <= 0:
        return NO_VALID_PRICE, f"a price of {intent.limit_ticks} ticks"
    return _too_small(instrument, intent.limit_ticks, intent.quantity_lots)


def _too_small(instrument: Instrument, price_ticks: int, quantity_lots: int) -> Refusal | None:
    value = instrument.notional(price_ticks, quantity_lots)
    if value >= instrument.min_notional_units:
        return None
    minimum, quote = decimal_of(instrument.min_notional_units), instrument.quote
    return BELOW_MINIMUM, f"worth {decimal_of(value):f} {quote}, the minimum is {minimum:f} {quote}"


def _as_sent(intent: Intent) -> Intent:
    """A market order with a worst price leaves as a limit order there that does not rest, here as at a real venue."""
    if intent.type is OrderType.MARKET and intent.collar_ticks:
        return structs.replace(intent, type=OrderType.IOC, limit_ticks=intent.collar_ticks)
    return intent


def _limit(intent: Intent) -> int:
    return 0 if intent.type is OrderType.MARKET else intent.limit_ticks


def _is_outside(price_ticks: int, intent: Intent) -> bool:
    """Tell whether a limit order may not trade at a price."""
    return intent.type is not OrderType.MARKET and is_beyond(price_ticks, intent.side, intent.limit_ticks)


def _is_reached(order: _Working, trade: Trade) -> bool:
    limit_ticks, side = order.intent.limit_ticks, order.intent.side
    if trade.price_ticks == limit_ticks:
        return order.queue_lots is not None and trade.side is not side
    return trade.price_ticks < limit_ticks if side is Side.BUY else trade.price_ticks > limit_ticks


def _share(units: int, bps_units: int, decimals: int) -> int:
    """Return basis points of an amount, rounded half-even to `decimals`."""
    step = step_of(decimals)
    return divide_half_even(units * bps_units, 10_000 * ONE * step) * step


def _paid_with(order: _Working) -> str:
    return order.instrument.quote if order.intent.side is Side.BUY else order.instrument.base


def _opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY
