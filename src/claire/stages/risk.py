"""Risk: the one place where a wish becomes an order of an exact size, or a no with numbers.

Input: `Signal`, `AllocationDecision`, `Candle`, `ControlEvent`, valuation times, timers, and what became of earlier intents
(`OrderEvent`, `Fill`). Output: for every signal `Reserved` and `Intent`, or a `Denial`; `PositionDusted` for a position too
small to sell; `ControlEvent` where a control locks trading or a lock's time is over; `RiskAlert` where a person should look.

Entries pass every control of `controls.ENTRY_CONTROLS` in order; the first that refuses is the answer. Orders in flight count
as if they were filled at their worst. Exits are never sized by a limit: they sell what the strategy owns and is not selling
already, a large one slice by slice, within a collar that widens from attempt to attempt. What was lost, how often something
was done and which locks hold lies in `RiskState`, which the run's snapshots keep and a replay makes again.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import structs

from claire.model.books import Books, Position
from claire.model.decisions import (
    Adjustment,
    Adopted,
    AllocationDecision,
    Asked,
    Code,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    Reserved,
    RiskAlert,
    SetTimer,
    Signal,
    TradingState,
)
from claire.model.instrument import Instrument
from claire.model.market import Candle, Side, Timer
from claire.model.money import decimal_of
from claire.model.orders import TERMINAL, OrderState, OrderType
from claire.stages.controls import (
    ENTRY_OVER_MIN_NOTIONAL,
    HOURS_KEPT,
    denial_of,
    entry_of,
    own_orders_met,
    quantity_lots,
    refuse,
    rests,
)
from claire.stages.controls_base import DAY_NS, Trip, percent
from claire.stages.controls_behaviour import DAILY_LOSS, DRAWDOWN, ORDER_RATE, REJECTS, REPEATED, STOP_GUARD
from claire.stages.risk_state import (
    SOFT_PCT,
    Account,
    Ask,
    Identity,
    Reservation,
    RiskRules,
    RiskState,
    Selling,
    collar,
)

__all__ = ["DAY_NS", "ENTRY_OVER_MIN_NOTIONAL", "Identity", "Risk", "RiskRules", "quantity_lots"]

TIMER_PREFIX: Final = "risk:"
"""Timers of this stage are named ``risk:SOURCE``: the lock of that source is over then."""

HOUR_NS: Final = 3_600_000_000_000

LOCK_CODES: Final[Mapping[str, Code]] = {
    DAILY_LOSS: Code.DAILY_LOSS_LIMIT,
    DRAWDOWN: Code.DRAWDOWN_LIMIT,
    STOP_GUARD: Code.STOP_GUARD,
    REJECTS: Code.REJECTS,
    ORDER_RATE: Code.ORDER_RATE,
    REPEATED: Code.REPEATED_ENTRIES,
}
"""What a denial by the lock of a control is called; by any other lock it is TRADING_STATE."""

ALLOWED: Final[Mapping[Side, tuple[TradingState, ...]]] = {
    Side.BUY: (TradingState.ACTIVE,),
    Side.SELL: (TradingState.ACTIVE, TradingState.REDUCE_ONLY),
}
"""In which trading states an order of a side may be made (DESIGN 7); cancels may always."""

TAKEN: Final = (
    OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED,
)  # fmt: skip
"""States of an order that the venue took."""

Output = Reserved | Intent | Denial | PositionDusted | ControlEvent | RiskAlert | SetTimer | Asked
"""What this stage answers with."""


class Risk(Account):
    """The stage: rules, state, and what is done about each event."""

    def __init__(
        self,
        rules: RiskRules,
        books: Books,
        identity: Identity,
        stop_pct: Mapping[str, float],
        fractions: Mapping[str, Decimal],
    ) -> None:
        """Start ACTIVE with the given books; `stop_pct` is each strategy's stop distance, `fractions` the allocations."""
        super().__init__(rules, RiskState(books, fractions=dict(fractions)), stop_pct)
        self.identity = identity

    def take_over(self, state: RiskState) -> None:
        """Go on from what a stage with other limits remembers; these limits hold from now on."""
        self.state = state
        state.daily.fit(self.rules.max_daily_loss_pct, SOFT_PCT)
        for reservation in state.reservations.values():
            self.weigh(reservation)

    # --- what it hears ---

    def on_allocation(self, decision: AllocationDecision) -> None:
        """Take a new fraction for one symbol."""
        self.state.fractions[decision.symbol] = decision.fraction

    def on_candle(self, candle: Candle) -> None:
        """Remember the last price of each hour, for the usual price of a symbol."""
        hours = self.state.hours.setdefault(candle.symbol, [])
        hour = (candle.close_ns - 1) // HOUR_NS
        if hours and hours[-1][0] >= hour:
            hours[-1] = (hour, candle.close_ticks)
            return
        if hours:
            self.state.usual[candle.symbol] = sorted(ticks for _, ticks in hours)[len(hours) // 2]
        hours.append((hour, candle.close_ticks))
        del hours[: -HOURS_KEPT - 1]

    def on_control(self, event: ControlEvent) -> Sequence[Output]:
        """Set the lock of one source, or take it back; the locks of others stay. What is said twice counts once."""
        if not self.state.set_lock(event):
            return ()
        if event.state is TradingState.ACTIVE:
            self._released(event)
        return (SetTimer(event.until_ns, f"{TIMER_PREFIX}{event.operator}"),) if event.until_ns else ()

    def on_timer(self, timer: Timer) -> Sequence[Output]:
        """Take back the locks whose time is over."""
        return self._expire(timer.due_ns)

    def on_adopted(self, event: Adopted) -> None:
        """Let a position change its owner."""
        self.state.books.adopt(event.owner_id, event.strategy_id, event.symbol, event.ts_event_ns)
        self._no_longer_leaving((event.owner_id, event.symbol))

    def on_fill(self, fill: Fill) -> Sequence[Output]:
        """Book a fill and shorten its reservation."""
        state = self.state
        state.books.apply(fill)
        reservation = state.reservations.get(fill.order_no)
        if reservation is not None:
            reservation.leaves_lots = max(0, reservation.leaves_lots - fill.quantity_lots)
            self.weigh(reservation)
        return self.on_valuation(fill.ts_event_ns)

    def on_adjustment(self, adjustment: Adjustment) -> None:
        """Book an operator's correction; like a transfer it shifts the day's start and the peak, and trips nothing."""
        state = self.state
        before = state.books.equity_units
        state.books.adjust(adjustment)
        units = state.books.equity_units - before
        state.daily.shift(units, self.rules.max_daily_loss_pct, SOFT_PCT)
        state.drawdown.shift(units)

    def on_order(self, event: OrderEvent) -> Sequence[Output]:
        """Follow an order: count a reject, release what ended, go on with an exit in slices."""
        state = self.state
        key = (event.strategy_id, event.symbol)
        if event.state in TAKEN:
            state.rejects.taken(event.strategy_id)
        if event.state not in TERMINAL:
            return ()
        was_live = state.reservations.pop(event.order_no, None) is not None
        told: list[Output] = []
        if was_live and event.state is OrderState.REJECTED and not self.rules.unlimited:
            told += self._rejected(event)
        if was_live and event.side is Side.SELL:
            told += self._left_or_not(event)
        position = state.books.positions.get(key)
        if position is not None and position.has_ended(event, state.books.instruments[event.symbol]):
            told += self._ended(key, position, event.ts_event_ns)
            state.books.to_dust(*key, event.ts_event_ns)
        selling = state.selling.get(key)
        if selling is not None and selling.order_no == event.order_no:
            told += self._next_slice(key, selling, event)
        return told

    def on_valuation(self, ts_event_ns: int) -> Sequence[Output]:
        """Look at equity: roll the day over, look for the loss limits, take back locks whose time is over."""
        state, rules = self.state, self.rules
        daily = state.daily
        day = ts_event_ns // DAY_NS
        if day == daily.day and self.is_at_rest:
            return ()
        equity = state.books.equity_units
        if day != daily.day:
            daily.begin(day, equity, rules.max_daily_loss_pct, SOFT_PCT)
        if rules.unlimited:
            return ()
        told: list[Output] = list(self._expire(ts_event_ns)) if state.locks else []
        currency, until_ns = state.books.currency, rules.until_ns(ts_event_ns)
        for trip in (
            daily.look(equity, rules.max_daily_loss_pct, until_ns, currency),
            state.drawdown.look(equity, rules.max_drawdown_pct, until_ns, currency),
        ):
            if trip is not None:
                told += self._trip(trip, ts_event_ns)
        told += self._losses_near(equity, ts_event_ns)
        return told

    # --- what it decides ---

    def on_signal(self, signal: Signal) -> Sequence[Output]:
        """Answer one signal with a reservation and an intent, or with a denial that carries the numbers."""
        instrument = self.state.books.instruments.get(signal.symbol)
        if instrument is None:
            because = f"{signal.symbol} has no rules in this run"
            return (denial_of(signal, Code.UNKNOWN_INSTRUMENT, 0, 1, "rules", because),)
        expired = self._expire(signal.ts_event_ns) if self.state.locks else ()
        denial = self._locked(signal)
        if denial is not None:
            return (*expired, denial)
        answers = self._exit(signal, instrument) if signal.side is Side.SELL else self._entry(signal, instrument)
        return (*expired, *answers)

    def _locked(self, signal: Signal) -> Denial | None:
        """Return why the locks allow no such order; None: they do."""
        found = self.state.locks_on(signal.strategy_id, signal.symbol)
        if not found or found[0][1].state in ALLOWED[signal.side]:
            return None
        if signal.side is Side.BUY:
            self.state.lost([source for source, _ in found])
        trading = found[0][1].state
        why = "; ".join(f"{source}: {lock.reason}" for source, lock in found)
        code = LOCK_CODES.get(found[0][0].partition(" (")[0], Code.TRADING_STATE)
        books, daily, peak = self.state.books, self.state.daily, self.state.drawdown.peak
        because = f"trading is {trading} ({why})"
        if code is Code.DAILY_LOSS_LIMIT:
            value, limit = decimal_of(daily.start - books.equity_units), decimal_of(daily.start - daily.floor)
            return denial_of(signal, code, value, limit, books.currency, because)
        if code is Code.DRAWDOWN_LIMIT:
            value, limit = decimal_of(peak - books.equity_units), decimal_of(percent(peak, self.rules.max_drawdown_pct))
            return denial_of(signal, code, value, limit, books.currency, because)
        return denial_of(signal, code, 0, 1, "orders", because)

    def _entry(self, signal: Signal, instrument: Instrument) -> Sequence[Output]:
        ask = entry_of(self, signal, instrument)
        denial = refuse(self, ask)
        if denial is None:
            return (*self._approve(signal, instrument, ask.lots, reduce_only=False), *self._entered(ask))
        if denial.code is not Code.REPEATED_ENTRIES:
            return (denial,)
        state, now_ns = self.state, signal.ts_event_ns
        rate = state.entries.exhausted(signal.strategy_id, signal.symbol, now_ns, self.repetition)
        if rate is None:
            raise AssertionError("the control has just found it exhausted")
        trip = state.entries.trip(signal.strategy_id, signal.symbol, rate, self.rules.until_ns(now_ns))
        return (denial, *self._trip(trip, now_ns))

    def _entered(self, ask: Ask) -> Sequence[Output]:
        """Count an entry, and tell which limits it comes near to."""
        if self.rules.unlimited:
            return ()
        state, signal = self.state, ask.signal
        now_ns = signal.ts_event_ns
        state.entries.note(signal.strategy_id, signal.symbol, now_ns, self.repetition)
        state.throttle.note(signal.strategy_id, now_ns, self.throttle)
        state.last_entry[signal.strategy_id, signal.symbol] = (now_ns, ask.lots, signal.price_ticks)
        return [alert for alert in ask.near if self._is_news(alert)] if ask.near else ()

    def _exit(self, signal: Signal, instrument: Instrument) -> Sequence[Output]:
        state, key = self.state, (signal.strategy_id, signal.symbol)
        position = state.books.positions.get(key)
        owned = position.sellable_lots(instrument) if position else 0
        selling = sum(
            r.leaves_lots
            for r in state.reservations.values()
            if r.side is Side.SELL and (r.strategy_id, r.symbol) == key
        )
        if key in state.selling:
            selling += state.selling[key].left_lots
        lots = owned - selling
        if position is None or (selling and lots <= 0):
            because = f"{signal.symbol}: {owned} lots owned, {selling} being sold"
            return (denial_of(signal, Code.NOTHING_TO_SELL, owned - selling, 1, "lots", because),)
        if not selling and position.is_dust(instrument, signal.price_ticks):
            return self._to_dust(signal, instrument, position, owned)
        recalled = self._recall(signal, self._exit_collar(signal, instrument, lots))
        if recalled:
            return recalled
        slice_lots = self._slice_lots(instrument, lots, signal.price_ticks)
        if slice_lots == lots:
            return self._approve(signal, instrument, lots, reduce_only=True)
        approved = self._approve(signal, instrument, slice_lots, reduce_only=True)
        state.selling[key] = Selling(signal, state.orders, slice_lots, lots - slice_lots)
        return approved

    def _to_dust(self, signal: Signal, instrument: Instrument, position: Position, owned: int) -> Sequence[Output]:
        """End a position that is too small to sell."""
        state, key = self.state, (signal.strategy_id, signal.symbol)
        value = instrument.notional(signal.price_ticks, owned)
        code = Code.BELOW_MIN_NOTIONAL if owned else Code.BELOW_LOT
        limit, unit = (instrument.min_notional, instrument.quote) if owned else (Decimal(1), "lots")
        because = f"{signal.symbol}: the rest of the position is too small to sell; it becomes dust"
        dusted = PositionDusted(*key, decimal_of(position.base_units), signal.ts_event_ns, signal.price_ticks)
        ended = self._ended(key, position, signal.ts_event_ns)
        state.books.to_dust(*key, signal.ts_event_ns)
        denial = denial_of(signal, code, decimal_of(value) if owned else owned, limit, unit, because)
        return (denial, dusted, *ended)

    def _recall(self, signal: Signal, worst_ticks: int) -> Sequence[Output]:
        """Have resting orders of our own cancelled that an exit would meet; the exit waits for that once (C08)."""
        if self.rules.unlimited:
            return ()
        met = own_orders_met(self, Side.SELL, signal.symbol, worst_ticks)
        fresh = [order_no for order_no in met if not self.state.reservations[order_no].recalled]
        if not fresh:
            return ()
        for order_no in fresh:
            self.state.reservations[order_no].recalled = True
        named = ", ".join(map(str, fresh))
        because = f"{signal.symbol}: order {named} of our own is in the book and would be met; it is cancelled first"
        denial = denial_of(signal, Code.SELF_MATCH, len(met), 0, "orders", because)
        why = f"an exit of {signal.strategy_id} would meet it"
        asked = (Asked("cancel", "risk", why, signal.ts_event_ns, signal.symbol, order_no) for order_no in fresh)
        return (denial, *asked)

    def _slice_lots(self, instrument: Instrument, lots: int, price_ticks: int) -> int:
        """Return how much of an exit goes out at once; slices are equal, and none is too small for the venue."""
        most = percent(self.state.books.equity_units, self.rules.slice_pct)
        value = instrument.notional(price_ticks, lots)
        if self.rules.unlimited or value <= most or most <= 0:
            return lots
        slice_lots = -(-lots // -(-value // most))
        smallest = min(slice_lots, lots % slice_lots or slice_lots)
        needed = ENTRY_OVER_MIN_NOTIONAL * instrument.min_notional_units
        return slice_lots if instrument.notional(price_ticks, smallest) >= needed else lots

    def _next_slice(self, key: tuple[str, str], selling: Selling, event: OrderEvent) -> Sequence[Output]:
        """Go on with an exit in slices when the last one was filled; else its strategy asks anew."""
        state = self.state
        del state.selling[key]
        position, price = state.books.positions.get(key), state.books.marks[event.symbol].price_ticks
        instrument = state.books.instruments[event.symbol]
        may_sell = state.trading_for(*key) in ALLOWED[Side.SELL]
        left = 0 if position is None else min(selling.left_lots, position.sellable_lots(instrument))
        if event.state is not OrderState.FILLED or not may_sell or left <= 0 or not price:
            return ()
        signal = structs.replace(selling.signal, ts_event_ns=event.ts_event_ns, price_ticks=price)
        lots = min(selling.slice_lots, left)
        approved = self._approve(signal, instrument, lots, reduce_only=True)
        state.selling[key] = Selling(selling.signal, state.orders, selling.slice_lots, left - lots)
        return approved

    def _exit_collar(self, signal: Signal, instrument: Instrument, lots: int) -> int:
        """Return the worst price of a reducing order: wider with each attempt that the market did not fill.

        A venue values a limit order at its limit: one that is large enough at the last price has to be so there too.
        """
        attempt = self.state.exit_attempts.get((signal.strategy_id, signal.symbol), 0)
        steps = self.rules.exit_collars_pct
        pct = max(self.rules.collar_pct, steps[min(attempt, len(steps) - 1)])
        large_enough = -(-instrument.min_notional_units // instrument.notional(1, lots))
        return min(signal.price_ticks, max(collar(Side.SELL, signal.price_ticks, pct), large_enough))

    def _approve(self, signal: Signal, instrument: Instrument, lots: int, *, reduce_only: bool) -> tuple[Output, ...]:
        self.state.orders += 1
        order_no, rules = self.state.orders, self.rules
        order_type = OrderType.MARKET if reduce_only else rules.entry_type
        at_market = order_type is OrderType.MARKET
        limit = 0 if at_market else signal.price_ticks
        if reduce_only:
            worst = within = self._exit_collar(signal, instrument, lots)
        else:
            worst, within = self.worst_ticks(signal.price_ticks), collar(Side.BUY, signal.price_ticks, rules.collar_pct)
        may_rest = rests(order_type)
        reservation = self.state.reservations[order_no] = Reservation(
            signal.strategy_id, signal.symbol, signal.side, lots, worst, rests=may_rest
        )
        self.weigh(reservation)
        reserved = Reserved(
            order_no=order_no,
            strategy_id=signal.strategy_id,
            symbol=signal.symbol,
            side=signal.side,
            cash_asset=instrument.quote,
            cash=decimal_of(reservation.cost),
            exposure=decimal_of(reservation.exposure),
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
            expires_ns=signal.ts_event_ns + rules.entry_ttl_ns if may_rest and rules.entry_ttl_ns else 0,
            reduce_only=reduce_only,
            client_order_id=f"{self.identity.client_prefix}{order_no}",
            ts_event_ns=signal.ts_event_ns,
            price_ticks=signal.price_ticks,
            collar_ticks=within if at_market and self.has_collar else 0,
        )
        if rules.unlimited:
            return reserved, intent
        now_ns = signal.ts_event_ns
        trip = self.state.rate.note(now_ns, rules.max_orders_per_min, rules.until_ns(now_ns))
        return (reserved, intent) if trip is None else (reserved, intent, *self._trip(trip, now_ns))

    # --- locks, and what controls say ---

    def _trip(self, trip: Trip, now_ns: int) -> Sequence[Output]:
        """Set the lock that a control asks for, at once; the event tells everybody else."""
        event = trip.event(now_ns)
        return (event, *self.on_control(event))

    def _expire(self, now_ns: int) -> Sequence[Output]:
        """Take back the locks whose time is over."""
        told: list[Output] = []
        for source, lock in tuple(self.state.locks.items()):
            if lock.until_ns and lock.until_ns <= now_ns:
                event = ControlEvent(
                    TradingState.ACTIVE, "its time is over", source, now_ns, lock.symbol, lock.strategy_id
                )
                self.on_control(event)
                told.append(event)
        return told

    def _released(self, event: ControlEvent) -> None:
        """Let a control begin again whose lock was released: else it would trip at once for what was forgiven."""
        state = self.state
        if event.operator == DAILY_LOSS:
            day, equity = event.ts_event_ns // DAY_NS, state.books.equity_units
            state.daily.begin(day, equity, self.rules.max_daily_loss_pct, SOFT_PCT)
        elif event.operator == DRAWDOWN:
            state.drawdown.begin(state.books.equity_units)

    def _rejected(self, event: OrderEvent) -> Sequence[Output]:
        rules, now_ns = self.rules, event.ts_event_ns
        trips = self.state.rejects.rejected(
            event.strategy_id,
            event.code,
            event.reason,
            now_ns,
            rules.max_rejects_in_row,
            rules.max_rejects_per_5_min,
            rules.until_ns(now_ns),
        )
        return [told for trip in trips for told in self._trip(trip, now_ns)]

    def _left_or_not(self, event: OrderEvent) -> Sequence[Output]:
        """Count the attempts to leave that the market did not fill; where the widest collar is not enough, say so."""
        key, attempts = (event.strategy_id, event.symbol), self.state.exit_attempts
        if event.state not in (OrderState.CANCELED, OrderState.EXPIRED):
            if event.state is OrderState.FILLED:
                attempts.pop(key, None)
            return ()
        attempts[key] = attempts.get(key, 0) + 1
        steps = self.rules.exit_collars_pct
        if self.rules.unlimited or attempts[key] < len(steps):
            return ()
        alert = RiskAlert(
            control="C02",
            name="exit_collars_pct",
            value=Decimal(attempts[key]),
            limit=Decimal(len(steps)),
            unit="attempts",
            because=f"{event.strategy_id} cannot get out of {event.symbol}: not filled even {steps[-1]} % below the last price",
            ts_event_ns=event.ts_event_ns,
            symbol=event.symbol,
            strategy_id=event.strategy_id,
        )
        return (alert,)

    def _ended(self, key: tuple[str, str], position: Position, now_ns: int) -> Sequence[Output]:
        """A round trip is over: cool down, and count it if it lost money."""
        state, symbol = self.state, key[1]
        state.left_ns[symbol] = now_ns
        self._no_longer_leaving(key)
        if self.rules.unlimited:
            return ()
        gain = position.realised_units - position.fee_units
        trip = state.stops.left(symbol, gain, now_ns, self.rules.stop_guard_exits, self.rules.stop_guard_min)
        return () if trip is None else self._trip(trip, now_ns)

    def _no_longer_leaving(self, key: tuple[str, str]) -> None:
        self.state.selling.pop(key, None)
        self.state.exit_attempts.pop(key, None)

    def _losses_near(self, equity: int, now_ns: int) -> Sequence[Output]:
        """Tell once when a loss limit is near."""
        state, rules, told = self.state, self.rules, []
        daily, drawdown, currency = state.daily, state.drawdown, state.books.currency
        if equity <= daily.soft and not daily.told:
            daily.told = True
            lost, limit = decimal_of(daily.start - equity), decimal_of(daily.start - daily.floor)
            because = f"lost {lost} of at most {limit} {currency} since 00:00 UTC"
            told.append(RiskAlert("C16", "max_daily_loss_pct", lost, limit, currency, because, now_ns))
        allowed = percent(drawdown.peak, rules.max_drawdown_pct)
        if not drawdown.told and 100 * (drawdown.peak - equity) >= SOFT_PCT * allowed > 0:
            drawdown.told = True
            fall, limit = decimal_of(drawdown.peak - equity), decimal_of(allowed)
            because = f"equity is {fall} {currency} below its peak, at most {limit} is allowed"
            told.append(RiskAlert("C17", "max_drawdown_pct", fall, limit, currency, because, now_ns))
        return told

    def _is_news(self, alert: RiskAlert) -> bool:
        """Whether nobody was told of this limit today."""
        name, day = f"{alert.name} {alert.symbol}".rstrip(), alert.ts_event_ns // DAY_NS
        if self.state.told.get(name) == day:
            return False
        self.state.told[name] = day
        return True
