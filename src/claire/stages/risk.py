"""Risk: the one place where a wish becomes an order of an exact size, or a no with numbers.

Input: `Signal`, `AllocationDecision`, `ControlEvent`, valuation times, and what became of earlier intents
(`OrderEvent`, `Fill`). Output: for every signal `Reserved` and `Intent`, or a `Denial`; `PositionDusted` for a position
too small to sell.

Entries pass every control of `ENTRY_CONTROLS` in order; the first that refuses is the answer. Orders in flight count
as if they were filled. Exits are never sized by a limit: they sell what the strategy owns and is not selling already.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct, field

from claire.model.books import Books
from claire.model.decisions import (
    Adjustment,
    Adopted,
    AllocationDecision,
    Code,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    Reserved,
    Signal,
    TradingState,
)
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.money import decimal_of, divide_half_even
from claire.model.orders import TERMINAL, OrderType

DAY_NS = 86_400_000_000_000
ENTRY_OVER_MIN_NOTIONAL = Fraction(3, 2)
"""An entry must be worth this many minimum notionals at its stop price (DESIGN 7)."""


class RiskRules(Struct, frozen=True):
    """The limits in force. Percentages are of the account's equity."""

    unlimited: bool = False
    """Only cash and venue rules; in backtest and replay, and said in every result."""
    position_pct: Decimal = Decimal(5)
    max_order_pct: Decimal = Decimal(10)
    max_symbol_pct: Decimal = Decimal(20)
    max_gross_pct: Decimal = Decimal(60)
    cash_reserve_pct: Decimal = Decimal(5)
    max_open_orders: int = 20
    max_daily_loss_pct: Decimal = Decimal(3)
    max_data_age_ms: int = 2_000
    entry_type: OrderType = OrderType.MARKET
    entry_ttl_ns: int = 0
    """How long a resting entry may work; 0 for market and IOC orders."""
    taker_bps: Decimal = Decimal(0)
    """For the fee that an entry must be able to pay."""
    slippage_ticks: int = 0
    """How much dearer than its decision price an entry must be able to be."""


class Identity(Struct, frozen=True):
    """Whose orders these are."""

    account_id: str
    venue: str
    client_prefix: str = ""
    """Client order ids are this prefix and the order's ordinal: derived, never random."""


class Reservation(Struct):
    """What a live order may still do to the account."""

    strategy_id: str
    symbol: str
    side: Side
    leaves_lots: int
    worst_ticks: int


class Ask(Struct, frozen=True):
    """An entry on its way through the controls; amounts in quote units."""

    signal: Signal
    instrument: Instrument
    equity: int
    fraction: Decimal
    lots: int
    value: int
    """At the decision price."""
    worst: int
    """With slippage and fees."""


class Lock(Struct, frozen=True):
    """What one source allows to be sent, and since when."""

    state: TradingState
    reason: str
    since_ns: int


SEVERITY: dict[TradingState, int] = {state: severity for severity, state in enumerate(TradingState)}


class RiskState(Struct):
    """What risk remembers."""

    books: Books
    locks: dict[str, Lock] = field(default_factory=dict)
    """By source; those that took theirs back are not in it. None: ACTIVE."""
    fractions: dict[str, Decimal] = field(default_factory=dict)
    """Allocation per symbol."""
    reservations: dict[int, Reservation] = field(default_factory=dict)
    """By order ordinal; only live orders."""
    orders: int = 0
    day: int = -1
    """UTC day number of the last valuation."""
    day_start_equity: int = 0
    day_floor: int = 0
    """Equity at which the daily loss limit is reached."""
    loss_day: int = -1
    """The day on which the daily loss limit was reached."""

    @property
    def trading(self) -> TradingState:
        """The trading state in force: the most severe that any source asks for."""
        return max((lock.state for lock in self.locks.values()), key=SEVERITY.__getitem__, default=TradingState.ACTIVE)

    @property
    def trading_reason(self) -> str:
        """Why the trading state is what it is: every source of that severity, the oldest lock first."""
        state = self.trading
        return "; ".join(f"{source}: {lock.reason}" for source, lock in self.locks.items() if lock.state is state)


class Risk:
    """The stage: state, rules, and the controls."""

    def __init__(
        self,
        rules: RiskRules,
        books: Books,
        identity: Identity,
        stop_pct: Mapping[str, float],
        fractions: Mapping[str, Decimal],
    ) -> None:
        """Start ACTIVE with the given books; `stop_pct` is each strategy's stop distance, `fractions` the allocations."""
        self.rules = rules
        self.identity = identity
        self.state = RiskState(books, fractions=dict(fractions))
        self._kept_at_stop = {strategy: 1 - Fraction(repr(pct)) / 100 for strategy, pct in stop_pct.items()}

    # --- what it hears ---

    def on_allocation(self, decision: AllocationDecision) -> None:
        """Take a new fraction for one symbol."""
        self.state.fractions[decision.symbol] = decision.fraction

    def on_control(self, event: ControlEvent) -> None:
        """Set the lock of one source, or take it back; the locks of others stay."""
        locks = self.state.locks
        if event.state is TradingState.ACTIVE:
            locks.pop(event.operator, None)
            return
        before = locks.get(event.operator)
        since_ns = before.since_ns if before is not None and before.state is event.state else event.ts_event_ns
        locks[event.operator] = Lock(event.state, event.reason, since_ns)

    def on_adopted(self, event: Adopted) -> None:
        """Let a position change its owner."""
        self.state.books.adopt(event.owner_id, event.strategy_id, event.symbol, event.ts_event_ns)

    def on_fill(self, fill: Fill) -> None:
        """Book a fill and shorten its reservation."""
        state = self.state
        state.books.apply(fill)
        reservation = state.reservations.get(fill.order_no)
        if reservation is not None:
            reservation.leaves_lots = max(0, reservation.leaves_lots - fill.quantity_lots)
        self.on_valuation(fill.ts_event_ns)

    def on_adjustment(self, adjustment: Adjustment) -> None:
        """Book an operator's correction; like a transfer it shifts the day's start, and trips nothing."""
        state = self.state
        before = state.books.equity_units
        state.books.adjust(adjustment)
        if state.day >= 0:
            state.day_start_equity += state.books.equity_units - before
            state.day_floor = state.day_start_equity - _percent(state.day_start_equity, self.rules.max_daily_loss_pct)

    def on_order(self, event: OrderEvent) -> None:
        """Release the reservation of an order that reached a terminal state."""
        if event.state not in TERMINAL:
            return
        books = self.state.books
        self.state.reservations.pop(event.order_no, None)
        position = books.positions.get((event.strategy_id, event.symbol))
        if position is not None and position.has_ended(event, books.instruments[event.symbol]):
            books.to_dust(event.strategy_id, event.symbol, event.ts_event_ns)

    def on_valuation(self, ts_event_ns: int) -> None:
        """Look at equity: roll the day over, and latch the daily loss limit."""
        state = self.state
        day = ts_event_ns // DAY_NS
        if day == state.day and self.is_at_rest:
            return
        equity = state.books.equity_units
        if day != state.day:
            state.day, state.day_start_equity = day, equity
            state.day_floor = equity - _percent(equity, self.rules.max_daily_loss_pct)
        elif equity <= state.day_floor and not self.rules.unlimited:
            state.loss_day = day

    # --- what it decides ---

    def on_signal(self, signal: Signal) -> Sequence[Reserved | Intent | Denial | PositionDusted]:
        """Answer one signal with a reservation and an intent, or with a denial that carries the numbers."""
        instrument = self.state.books.instruments.get(signal.symbol)
        if instrument is None:
            return (
                _denial(signal, Code.UNKNOWN_INSTRUMENT, 0, 1, "rules", f"{signal.symbol} has no rules in this run"),
            )
        trading = self.state.trading
        allowed = (TradingState.ACTIVE,) if signal.side is Side.BUY else (TradingState.ACTIVE, TradingState.REDUCE_ONLY)
        if trading not in allowed:
            why = f"trading is {trading} ({self.state.trading_reason})"
            return (_denial(signal, Code.TRADING_STATE, 0, 1, "orders", why),)
        return self._exit(signal, instrument) if signal.side is Side.SELL else self._entry(signal, instrument)

    def _exit(self, signal: Signal, instrument: Instrument) -> Sequence[Reserved | Intent | Denial | PositionDusted]:
        position = self.state.books.positions.get((signal.strategy_id, signal.symbol))
        owned = position.sellable_lots(instrument) if position else 0
        selling = sum(
            r.leaves_lots
            for r in self.state.reservations.values()
            if r.side is Side.SELL and (r.strategy_id, r.symbol) == (signal.strategy_id, signal.symbol)
        )
        lots = owned - selling
        if position is None or (selling and lots <= 0):
            because = f"{signal.symbol}: {owned} lots owned, {selling} being sold"
            return (_denial(signal, Code.NOTHING_TO_SELL, owned - selling, 1, "lots", because),)
        if not selling and position.is_dust(instrument, signal.price_ticks):
            value = instrument.notional(signal.price_ticks, owned)
            code = Code.BELOW_MIN_NOTIONAL if owned else Code.BELOW_LOT
            limit, unit = (instrument.min_notional, instrument.quote) if owned else (Decimal(1), "lots")
            because = f"{signal.symbol}: the rest of the position is too small to sell; it becomes dust"
            dusted = PositionDusted(
                signal.strategy_id,
                signal.symbol,
                decimal_of(position.base_units),
                signal.ts_event_ns,
                signal.price_ticks,
            )
            self.state.books.to_dust(signal.strategy_id, signal.symbol, signal.ts_event_ns)
            return (_denial(signal, code, decimal_of(value) if owned else owned, limit, unit, because), dusted)
        return self._approve(signal, instrument, lots, reduce_only=True)

    def _entry(self, signal: Signal, instrument: Instrument) -> Sequence[Reserved | Intent | Denial]:
        fraction = self.state.fractions.get(signal.symbol, Decimal(0))
        equity = self.state.books.equity_units
        lots = quantity_lots(self.rules.position_pct, fraction, equity, signal.price_ticks, instrument)
        worst = instrument.notional(signal.price_ticks + self.rules.slippage_ticks, lots)
        ask = Ask(
            signal=signal,
            instrument=instrument,
            equity=equity,
            fraction=fraction,
            lots=lots,
            value=instrument.notional(signal.price_ticks, lots),
            worst=worst + _percent(worst, self.rules.taker_bps / 100),
        )
        for control in VENUE_AND_CASH_CONTROLS if self.rules.unlimited else ENTRY_CONTROLS:
            denial = control(self, ask)
            if denial is not None:
                return (denial,)
        return self._approve(signal, instrument, lots, reduce_only=False)

    def _approve(
        self, signal: Signal, instrument: Instrument, lots: int, *, reduce_only: bool
    ) -> tuple[Reserved, Intent]:
        self.state.orders += 1
        order_no = self.state.orders
        order_type = OrderType.MARKET if reduce_only else self.rules.entry_type
        rests = order_type in (OrderType.LIMIT, OrderType.LIMIT_MAKER)
        limit = 0 if order_type is OrderType.MARKET else signal.price_ticks
        reservation = self.state.reservations[order_no] = Reservation(
            signal.strategy_id,
            signal.symbol,
            signal.side,
            lots,
            limit or signal.price_ticks + self.rules.slippage_ticks,
        )
        reserved = Reserved(
            order_no=order_no,
            strategy_id=signal.strategy_id,
            symbol=signal.symbol,
            side=signal.side,
            cash_asset=instrument.quote,
            cash=decimal_of(self._cost(reservation)),
            exposure=decimal_of(self._exposure(reservation)),
            leaves_lots=lots,
            ts_event_ns=signal.ts_event_ns,
        )
        intent = Intent(
            order_no=order_no,
            signal_no=signal.signal_no,
            account_id=self.identity.account_id,
            venue=self.identity.venue,
            strategy_id=signal.strategy_id,
            symbol=signal.symbol,
            side=signal.side,
            type=order_type,
            quantity_lots=lots,
            limit_ticks=limit,
            expires_ns=signal.ts_event_ns + self.rules.entry_ttl_ns if rests and self.rules.entry_ttl_ns else 0,
            reduce_only=reduce_only,
            client_order_id=f"{self.identity.client_prefix}{order_no}",
            ts_event_ns=signal.ts_event_ns,
            price_ticks=signal.price_ticks,
        )
        return reserved, intent

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is held or in flight, so that equity cannot change."""
        return self.state.books.is_at_rest and not self.state.reservations

    # --- what it knows about the account, orders in flight included (quote units) ---

    def held_and_in_flight(self, symbol: str | None = None) -> int:
        """Value of positions at their marks plus what live buy orders may still add, in one symbol or in all."""
        books = self.state.books
        total = 0
        for (_, held), position in books.positions.items():
            if symbol is None or held == symbol:
                total += books.instruments[held].value_of(position.base_units, books.marks[held].price_ticks)
        for reservation in self.state.reservations.values():
            if symbol is None or reservation.symbol == symbol:
                total += self._exposure(reservation)
        return total

    def free_cash(self) -> int:
        """Cash less what live buy orders may still cost, fees included."""
        books = self.state.books
        reserved = sum(self._cost(reservation) for reservation in self.state.reservations.values())
        return books.cash.get(books.currency, 0) - reserved

    def _exposure(self, reservation: Reservation) -> int:
        """The value that a live order may still add to what is held."""
        if reservation.side is Side.SELL:
            return 0
        instrument = self.state.books.instruments[reservation.symbol]
        return instrument.notional(reservation.worst_ticks, reservation.leaves_lots)

    def _cost(self, reservation: Reservation) -> int:
        """What a live order may still cost, fees included."""
        value = self._exposure(reservation)
        return value + _percent(value, self.rules.taker_bps / 100)

    def stop_ticks(self, signal: Signal) -> int:
        """Price of the strategy's stop if the entry fills at its decision price."""
        kept, parts = self._kept_at_stop[signal.strategy_id].as_integer_ratio()
        return signal.price_ticks * kept // parts


def quantity_lots(
    position_pct: Decimal, fraction: Decimal, equity: int, price_ticks: int, instrument: Instrument
) -> int:
    """Return floor(position_pct / 100 · allocation · equity / price / lot), exactly."""
    percent, percent_parts = position_pct.as_integer_ratio()
    share, share_parts = fraction.as_integer_ratio()
    one_lot = price_ticks * instrument.unit_value
    return max(0, percent * share * equity // (100 * percent_parts * share_parts * one_lot))


def _allocation(risk: Risk, ask: Ask) -> Denial | None:
    if ask.fraction > 0:
        return None
    because = f"{ask.signal.symbol}: no share of the capital is allocated to this regime"
    return _denial(ask.signal, Code.ALLOCATION_ZERO, ask.fraction, 0, "fraction", because)


def _fresh_price(risk: Risk, ask: Ask) -> Denial | None:
    mark = risk.state.books.marks[ask.signal.symbol]
    age_ms = max(0, ask.signal.ts_event_ns - mark.ts_event_ns) // 1_000_000
    if mark.price_ticks and age_ms <= risk.rules.max_data_age_ms:
        return None
    because = f"{ask.signal.symbol}: the last trade is {age_ms} ms old" if mark.price_ticks else "no trade was seen yet"
    return _denial(ask.signal, Code.STALE_PRICE, age_ms, risk.rules.max_data_age_ms, "ms", because)


def _daily_loss(risk: Risk, ask: Ask) -> Denial | None:
    state = risk.state
    if state.loss_day != ask.signal.ts_event_ns // DAY_NS:
        return None
    lost = decimal_of(state.day_start_equity - ask.equity)
    limit = decimal_of(state.day_start_equity - state.day_floor)
    because = (
        f"the daily loss limit of {risk.rules.max_daily_loss_pct} % was reached today; entries resume at 00:00 UTC"
    )
    return _denial(ask.signal, Code.DAILY_LOSS_LIMIT, lost, limit, state.books.currency, because)


def _whole_lot(risk: Risk, ask: Ask) -> Denial | None:
    if ask.lots > 0:
        return None
    wanted = Fraction(risk.rules.position_pct) * Fraction(ask.fraction) * ask.equity / 100
    one_lot = ask.instrument.notional(ask.signal.price_ticks, 1)
    because = (
        f"{ask.signal.symbol}: the position size does not buy one lot of {ask.instrument.lot} {ask.instrument.base}"
    )
    return _denial(
        ask.signal, Code.BELOW_LOT, decimal_of(int(wanted)), decimal_of(one_lot), ask.instrument.quote, because
    )


def _min_notional(risk: Risk, ask: Ask) -> Denial | None:
    if ask.value >= ask.instrument.min_notional_units:
        return None
    because = f"{ask.signal.symbol}: the venue takes no order this small"
    return _money_denial(ask, Code.BELOW_MIN_NOTIONAL, ask.value, ask.instrument.min_notional_units, because)


def _can_exit_at_the_stop(risk: Risk, ask: Ask) -> Denial | None:
    at_stop = ask.instrument.notional(risk.stop_ticks(ask.signal), ask.lots)
    needed = ENTRY_OVER_MIN_NOTIONAL * ask.instrument.min_notional_units
    if at_stop >= needed:
        return None
    because = f"{ask.signal.symbol}: worth too little at its stop price to be sold there"
    return _money_denial(ask, Code.ENTRY_TOO_SMALL_TO_EXIT, at_stop, int(needed), because)


def _order_value(risk: Risk, ask: Ask) -> Denial | None:
    limit = _percent(ask.equity, risk.rules.max_order_pct)
    if ask.value <= limit:
        return None
    because = f"{ask.signal.symbol}: above {risk.rules.max_order_pct} % of equity"
    return _money_denial(ask, Code.ORDER_VALUE_LIMIT, ask.value, limit, because)


def _symbol_exposure(risk: Risk, ask: Ask) -> Denial | None:
    held, limit = risk.held_and_in_flight(ask.signal.symbol), _percent(ask.equity, risk.rules.max_symbol_pct)
    return _exposure(ask, Code.SYMBOL_EXPOSURE_LIMIT, ask.signal.symbol, held, limit)


def _gross_exposure(risk: Risk, ask: Ask) -> Denial | None:
    held, limit = risk.held_and_in_flight(), _percent(ask.equity, risk.rules.max_gross_pct)
    return _exposure(ask, Code.EXPOSURE_LIMIT, "all symbols", held, limit)


def _exposure(ask: Ask, code: Code, where: str, held: int, limit: int) -> Denial | None:
    if held + ask.worst <= limit:
        return None
    because = f"{where}: {decimal_of(held)} held and in flight + {decimal_of(ask.worst)} asked"
    return _money_denial(ask, code, held + ask.worst, limit, because)


def _open_orders(risk: Risk, ask: Ask) -> Denial | None:
    live = len(risk.state.reservations)
    if live < risk.rules.max_open_orders:
        return None
    because = f"{live} orders are working or in flight"
    return _denial(ask.signal, Code.OPEN_ORDERS_LIMIT, live + 1, risk.rules.max_open_orders, "orders", because)


def _cash_reserve(risk: Risk, ask: Ask) -> Denial | None:
    left, reserve = risk.free_cash() - ask.worst, _percent(ask.equity, risk.rules.cash_reserve_pct)
    if left >= reserve:
        return None
    because = f"the order would leave {decimal_of(left)} free"
    return _money_denial(ask, Code.CASH_RESERVE, left, reserve, because)


def _cash(risk: Risk, ask: Ask) -> Denial | None:
    free = risk.free_cash()
    if ask.worst <= free:
        return None
    because = f"{ask.signal.symbol}: with fees and slippage more than the free cash"
    return _money_denial(ask, Code.INSUFFICIENT_CASH, ask.worst, free, because)


Control = Callable[[Risk, Ask], Denial | None]

VENUE_AND_CASH_CONTROLS: tuple[Control, ...] = (_allocation, _whole_lot, _min_notional, _cash)
"""What even an unlimited backtest obeys."""

ENTRY_CONTROLS: tuple[Control, ...] = (
    _fresh_price,
    _daily_loss,
    _allocation,
    _whole_lot,
    _min_notional,
    _can_exit_at_the_stop,
    _order_value,
    _symbol_exposure,
    _gross_exposure,
    _open_orders,
    _cash_reserve,
    _cash,
)
"""Every control of an entry, in the order of asking."""


def _percent(units: int, percent: Decimal) -> int:
    """`percent` of an amount, rounded half-even to a unit."""
    numerator, denominator = percent.as_integer_ratio()
    return divide_half_even(units * numerator, 100 * denominator)


def _money_denial(ask: Ask, code: Code, value: int, limit: int, because: str) -> Denial:
    return _denial(ask.signal, code, decimal_of(value), decimal_of(limit), ask.instrument.quote, because)


def _denial(signal: Signal, code: Code, value: Decimal | int, limit: Decimal | int, unit: str, because: str) -> Denial:
    return Denial(
        signal_no=signal.signal_no,
        strategy_id=signal.strategy_id,
        symbol=signal.symbol,
        side=signal.side,
        code=code,
        ts_event_ns=signal.ts_event_ns,
        value=Decimal(value),
        limit=Decimal(limit),
        unit=unit,
        because=because,
    )
