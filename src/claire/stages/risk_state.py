"""What risk goes by and what it remembers: its limits, its locks, what live orders may still do, and what follows from them.

Plain values and arithmetic; the controls read it (`controls.py`, `controls_behaviour.py`), the stage changes it (`risk.py`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from msgspec import Struct, field

from claire.latch import ceilings
from claire.model.books import Books
from claire.model.decisions import ControlEvent, RiskAlert, Signal, TradingState
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.orders import OrderType
from claire.stages.controls_base import DAY_NS, SECOND_NS, Rate, percent, ratio
from claire.stages.controls_behaviour import (
    DailyLoss,
    Drawdown,
    Entries,
    OrderRate,
    Rejects,
    StopGuard,
    Throttle,
)

SOFT_PCT: Final = 80
"""From this share of a limit on a person is told."""

LATCHES_KEPT: Final = 1_000
"""Of the locks that were, so many are remembered; the oldest goes first."""


class Release(StrEnum):
    """What ends a lock that no time of its own ends."""

    OPERATOR = "operator"
    """Somebody says so, and why."""
    NEXT_DAY = "next_day"
    """The next midnight UTC; for backtests, where there is nobody to ask."""


class RiskRules(Struct, frozen=True):
    """The limits in force. Percentages are of the account's equity."""

    unlimited: bool = False
    """Only cash and venue rules; in backtest and replay, and said in every result."""
    symbols: tuple[str, ...] = ()
    """What may be entered; empty: every symbol with rules."""
    position_pct: Decimal = Decimal(5)
    max_order_pct: Decimal = Decimal(10)
    max_symbol_pct: Decimal = Decimal(20)
    max_gross_pct: Decimal = Decimal(60)
    cash_reserve_pct: Decimal = Decimal(5)
    max_open_orders: int = 20
    max_symbol_orders: int = 5
    max_daily_loss_pct: Decimal = Decimal(3)
    max_drawdown_pct: Decimal = Decimal(10)
    max_data_age_ms: int = 2_000
    max_jump_pct: Decimal = Decimal(5)
    """Between two trades; beyond it an entry needs a second trade there."""
    collar_pct: Decimal = Decimal(1)
    """How far from the reference an order's price, and from its decision the fill of a market order, may be."""
    exit_collars_pct: tuple[Decimal, ...] = ceilings.EXIT_COLLARS_PCT
    """The same of a reducing order, attempt by attempt; never tighter than `collar_pct`."""
    slice_pct: Decimal = ceilings.MAX_ORDER_PCT
    """A reducing order worth more is sold in slices worth at most so much."""
    duplicate_window_ms: int = 5_000
    max_orders_per_s: int = 5
    max_orders_per_min: int = 20
    max_orders_per_day: int = 300
    max_entries_per_min: int = 3
    max_entries_per_h: int = 10
    max_entries_per_day: int = 20
    """Of one strategy in one symbol."""
    cooldown_s: int = 120
    stop_guard_exits: int = 4
    stop_guard_min: int = 24
    max_rejects_in_row: int = 5
    max_rejects_per_5_min: int = 10
    release: Release = Release.OPERATOR
    entry_type: OrderType = OrderType.MARKET
    entry_ttl_ns: int = 0
    """How long a resting entry may work; 0 for market and IOC orders."""
    taker_bps: Decimal = Decimal(0)
    """For the fee that an entry must be able to pay."""
    slippage_ticks: int = 0
    """How much dearer than its decision price an entry must be able to be."""

    @property
    def throttle(self) -> tuple[Rate, ...]:
        """How many entries the account may make."""
        return (
            Rate(self.max_orders_per_s, SECOND_NS, "s"),
            Rate(self.max_orders_per_min, 60 * SECOND_NS, "min"),
            Rate(self.max_orders_per_day, DAY_NS, "day"),
        )

    @property
    def repetition(self) -> tuple[Rate, ...]:
        """How often one strategy may enter one symbol."""
        return (
            Rate(self.max_entries_per_min, 60 * SECOND_NS, "min"),
            Rate(self.max_entries_per_h, 3_600 * SECOND_NS, "h"),
            Rate(self.max_entries_per_day, DAY_NS, "day"),
        )

    def until_ns(self, now_ns: int) -> int:
        """Return when a lock set now ends, if it ends by itself; 0: an operator ends it."""
        return now_ns - now_ns % DAY_NS + DAY_NS if self.release is Release.NEXT_DAY else 0


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
    exposure: int = 0
    """The value that it may still add to what is held; 0 for a sell."""
    cost: int = 0
    """What it may still cost, fees included."""
    rests: bool = False
    """It stays in the book, so another order of ours could meet it."""
    recalled: bool = False
    """Its cancel was asked for, because another order of ours would meet it."""


class Ask(Struct, frozen=True):
    """An entry on its way through the controls; amounts in quote units."""

    signal: Signal
    instrument: Instrument
    equity: int
    fraction: Decimal
    lots: int
    value: int
    """At the decision price, or at the last trade's where that is higher."""
    worst: int
    """At the worst price that it may fill at, with fees."""
    held: int
    """What is held and in flight in its symbol."""
    held_in_all: int
    """The same in all symbols."""
    free: int
    """Cash less what live orders may cost."""
    near: list[RiskAlert]
    """Limits that it comes near to."""


class Lock(Struct, frozen=True):
    """What one source allows to be sent, and since when."""

    state: TradingState
    reason: str
    since_ns: int
    symbol: str = ""
    """Empty: it holds for every symbol."""
    strategy_id: str = ""
    """Empty: it holds for every strategy."""
    until_ns: int = 0
    """When it ends by itself; 0: it does not."""

    def holds_for(self, strategy_id: str, symbol: str) -> bool:
        """Whether an order of a strategy in a symbol is under this lock."""
        return self.symbol in ("", symbol) and self.strategy_id in ("", strategy_id)


class Latched(Struct):
    """A lock that is or was, for the report."""

    source: str
    state: TradingState
    reason: str
    since_ns: int
    symbol: str = ""
    strategy_id: str = ""
    ended_ns: int = 0
    """0: it holds still."""
    signals_lost: int = 0
    """Entries that it denied."""


class Selling(Struct):
    """An exit that is sold in slices."""

    signal: Signal
    order_no: int
    """Of the slice that is live."""
    slice_lots: int
    left_lots: int
    """Beyond the live slice."""


SEVERITY: dict[TradingState, int] = {state: severity for severity, state in enumerate(TradingState)}


class RiskState(Struct):
    """What risk remembers."""

    books: Books
    locks: dict[str, Lock] = field(default_factory=dict)
    """By source; those that took theirs back are not in it. None: ACTIVE."""
    latched: list[Latched] = field(default_factory=list)
    """Every lock that was set, those that hold included, the oldest first."""
    fractions: dict[str, Decimal] = field(default_factory=dict)
    """Allocation per symbol."""
    reservations: dict[int, Reservation] = field(default_factory=dict)
    """By order ordinal; only live orders."""
    orders: int = 0
    daily: DailyLoss = field(default_factory=DailyLoss)
    drawdown: Drawdown = field(default_factory=Drawdown)
    stops: StopGuard = field(default_factory=StopGuard)
    rejects: Rejects = field(default_factory=Rejects)
    rate: OrderRate = field(default_factory=OrderRate)
    throttle: Throttle = field(default_factory=Throttle)
    entries: Entries = field(default_factory=Entries)
    left_ns: dict[str, int] = field(default_factory=dict)
    """When a position in a symbol was last left."""
    last_entry: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    """(time, lots, price) of the last entry of a strategy in a symbol."""
    hours: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """The last price of each hour of seven days, by symbol: (hour, ticks); the last hour is not over."""
    usual: dict[str, int] = field(default_factory=dict)
    """The median of those of the hours that are over."""
    selling: dict[tuple[str, str], Selling] = field(default_factory=dict)
    """Exits that are sold in slices, by (strategy id, symbol)."""
    exit_attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Exits in a row that the market did not fill within their collar."""
    told: dict[str, int] = field(default_factory=dict)
    """Limits that a person was told to be near, and on which day."""

    @property
    def day(self) -> int:
        """UTC day number of the last valuation; -1: there was none."""
        return self.daily.day

    @property
    def day_start_equity(self) -> int:
        """Equity at the start of that day, transfers since then included."""
        return self.daily.start

    @property
    def trading(self) -> TradingState:
        """The trading state in force: the most severe that any source asks for, for every symbol and strategy."""
        return max(
            (lock.state for lock in self.locks.values() if not lock.symbol and not lock.strategy_id),
            key=SEVERITY.__getitem__,
            default=TradingState.ACTIVE,
        )

    @property
    def trading_reason(self) -> str:
        """Why the trading state is what it is: every source of that severity, the oldest lock first."""
        state = self.trading
        return "; ".join(
            f"{source}: {lock.reason}"
            for source, lock in self.locks.items()
            if lock.state is state and not lock.symbol and not lock.strategy_id
        )

    def locks_on(self, strategy_id: str, symbol: str) -> list[tuple[str, Lock]]:
        """Return the most severe locks on an order of a strategy in a symbol, by source, the oldest first; none: ACTIVE."""
        if not self.locks:
            return []
        found = [(source, lock) for source, lock in self.locks.items() if lock.holds_for(strategy_id, symbol)]
        worst = max((SEVERITY[lock.state] for _, lock in found), default=0)
        return [(source, lock) for source, lock in found if SEVERITY[lock.state] == worst]

    def trading_for(self, strategy_id: str, symbol: str) -> TradingState:
        """Return the trading state that holds for one strategy in one symbol."""
        found = self.locks_on(strategy_id, symbol)
        return found[0][1].state if found else TradingState.ACTIVE

    def set_lock(self, event: ControlEvent) -> bool:
        """Set the lock of one source, or take it back; return whether that changed anything."""
        before = self.locks.get(event.operator)
        if event.state is TradingState.ACTIVE:
            if before is None:
                return False
            del self.locks[event.operator]
            self._end(event.operator, event.ts_event_ns)
            return True
        is_same = before is not None and before.state is event.state
        since_ns = before.since_ns if before is not None and is_same else event.ts_event_ns
        lock = Lock(event.state, event.reason, since_ns, event.symbol, event.strategy_id, event.until_ns)
        self.locks[event.operator] = lock
        if not is_same:
            self._end(event.operator, event.ts_event_ns)
            self.latched.append(
                Latched(event.operator, event.state, event.reason, since_ns, event.symbol, event.strategy_id)
            )
            del self.latched[:-LATCHES_KEPT]
        return lock != before

    def _end(self, source: str, at_ns: int) -> None:
        for latched in reversed(self.latched):
            if latched.source == source and not latched.ended_ns:
                latched.ended_ns = at_ns
                return

    def lost(self, sources: Sequence[str]) -> None:
        """Count an entry that these locks denied."""
        for latched in self.latched:
            if not latched.ended_ns and latched.source in sources:
                latched.signals_lost += 1


class Account:
    """What the controls read: rules, state, and the account with its orders in flight (quote units)."""

    def __init__(self, rules: RiskRules, state: RiskState, stop_pct: Mapping[str, float]) -> None:
        """Take over rules and state; `stop_pct` is each strategy's stop distance."""
        self.state = state
        self.go_by(rules)
        self._kept_at_stop = {
            name: (1 - Fraction(repr(pct)) / 100).as_integer_ratio() for name, pct in stop_pct.items()
        }

    def go_by(self, rules: RiskRules) -> None:
        """Go by these limits from now on."""
        self.rules = rules
        self.throttle, self.repetition = rules.throttle, rules.repetition

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is held or in flight, so that equity cannot change."""
        return self.state.books.is_at_rest and not self.state.reservations

    def knows(self, strategy_id: str) -> bool:
        """Whether a strategy is configured."""
        return strategy_id in self._kept_at_stop

    def held_and_in_flight(self, symbol: str | None = None) -> int:
        """Value of positions at their marks plus what live buy orders may still add, in one symbol or in all."""
        _, here, everywhere = self.worth(symbol or "")
        return everywhere if symbol is None else here

    def worth(self, symbol: str) -> tuple[int, int, int]:
        """Return equity, and what is held and in flight in one symbol and in all; one look at each position."""
        books = self.state.books
        marks, instruments = books.marks, books.instruments
        here = everywhere = 0
        for (_, held), position in books.positions.items():
            value = instruments[held].value_of(position.base_units, marks[held].price_ticks)
            everywhere += value
            if held == symbol:
                here += value
        equity = books.cash.get(books.currency, 0) - books.foreign_fee_units + everywhere
        for held, dust in books.dust.items():
            equity += instruments[held].value_of(dust.base_units, marks[held].price_ticks)
        for reservation in self.state.reservations.values():
            everywhere += reservation.exposure
            if reservation.symbol == symbol:
                here += reservation.exposure
        return equity, here, everywhere

    def free_cash(self) -> int:
        """Cash less what live buy orders may still cost, fees included."""
        books = self.state.books
        reserved = 0
        for reservation in self.state.reservations.values():
            reserved += reservation.cost
        return books.cash.get(books.currency, 0) - reserved

    def open_orders(self, symbol: str | None = None) -> int:
        """Orders working, in flight or unknown, in one symbol or in all."""
        live = self.state.reservations.values()
        return len(live) if symbol is None else [one.symbol for one in live].count(symbol)

    def weigh(self, reservation: Reservation) -> None:
        """Find anew what a live order may still add and cost."""
        if reservation.side is Side.BUY:
            instrument = self.state.books.instruments[reservation.symbol]
            reservation.exposure = instrument.notional(reservation.worst_ticks, reservation.leaves_lots)
            reservation.cost = reservation.exposure + percent(reservation.exposure, self.rules.taker_bps / 100)

    def stop_ticks(self, signal: Signal) -> int:
        """Price of the strategy's stop if the entry fills at its decision price."""
        kept, parts = self._kept_at_stop[signal.strategy_id]
        return signal.price_ticks * kept // parts

    def worst_ticks(self, price_ticks: int) -> int:
        """The worst price that an entry decided at a price may fill at."""
        if self.rules.entry_type is not OrderType.MARKET:
            return price_ticks
        dearer = price_ticks + self.rules.slippage_ticks
        return max(dearer, collar(Side.BUY, price_ticks, self.rules.collar_pct)) if self.has_collar else dearer

    @property
    def has_collar(self) -> bool:
        """Whether market orders have a worst price; an unlimited profile has no limits."""
        return not self.rules.unlimited


def collar(side: Side, price_ticks: int, pct: Decimal) -> int:
    """Return the worst price that an order may fill at: `pct` from a price and not beyond, but a tick at least.

    A price of a few dozen ticks leaves no room within a percent, and a spread is a tick at least.
    """
    if not pct:
        return price_ticks
    numerator, denominator = ratio(pct)
    whole = 100 * denominator
    if side is Side.BUY:
        return max(price_ticks + 1, price_ticks * (whole + numerator) // whole)
    return max(1, min(price_ticks - 1, -(-price_ticks * (whole - numerator) // whole)))
