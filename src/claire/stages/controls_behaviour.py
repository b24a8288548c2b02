"""Loss and behaviour controls (C05, C06, C16–C19): each remembers what it needs and says when entries have to stop.

Each is a small state with a `look` or `note` that answers with a `Trip` (which lock, until when, why in numbers) or with None.
Who asks sets the lock; a control never looks at the lock itself, so what an operator released stays released until the
control has a new reason. All of it is kept with the run, so a restart changes nothing.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

from claire.model.money import decimal_of
from claire.stages.controls_base import SECOND_NS, Rate, Trip, Window, percent

DAILY_LOSS: Final = "daily loss"
DRAWDOWN: Final = "drawdown"
STOP_GUARD: Final = "stop guard"
REJECTS: Final = "rejects"
BALANCE_REJECT: Final = "balance reject"
ORDER_RATE: Final = "order rate"
REPEATED: Final = "repeated entries"
"""Names of the locks that these controls set; one for a symbol or strategy has that in brackets behind it."""

MINUTE_NS: Final = 60 * SECOND_NS

REJECT_SPAN_NS: Final = 5 * MINUTE_NS

BALANCE_CODES: Final = ("10101", "30004", "30005")
"""Codes of a venue that mean: there is less than your books say."""

RECONCILED_WITHIN_NS: Final = MINUTE_NS
"""After a reject for lack of balance: by then the balances were compared, and a difference has a lock of its own."""

RUNAWAY_FACTOR: Final = 3
"""Orders of all kinds in a minute, as a multiple of the entries allowed in one, that no orderly account makes."""


class DailyLoss(Struct):
    """C16: equity since 00:00 UTC."""

    day: int = -1
    """UTC day number of the last look."""
    start: int = 0
    """Equity at the start of the day, transfers since then included."""
    floor: int = 0
    """Equity at which the limit is reached."""
    soft: int = 0
    """Equity at which a person is told."""
    tripped: bool = False
    """Today's trip was made."""
    told: bool = False

    def begin(self, day: int, equity: int, limit_pct: Decimal, soft_pct: int) -> None:
        """Begin a day, or begin again after a release."""
        self.day, self.start, self.tripped, self.told = day, equity, False, False
        self.fit(limit_pct, soft_pct)

    def shift(self, units: int, limit_pct: Decimal, soft_pct: int) -> None:
        """A transfer or a correction is no gain and no loss."""
        if self.day >= 0:
            self.start += units
            self.fit(limit_pct, soft_pct)

    def fit(self, limit_pct: Decimal, soft_pct: int) -> None:
        """Find the bounds anew."""
        self.floor = self.start - percent(self.start, limit_pct)
        self.soft = self.start - percent(self.start, limit_pct * soft_pct / 100)

    def look(self, equity: int, limit_pct: Decimal, until_ns: int, currency: str) -> Trip | None:
        """Look at equity within the day."""
        if equity > self.floor or self.tripped:
            return None
        self.tripped = True
        lost, limit = decimal_of(self.start - equity), decimal_of(self.start - self.floor)
        reason = f"lost {_amount(lost)} {currency} since 00:00 UTC, the limit is {_amount(limit)} ({limit_pct} %)"
        return Trip(DAILY_LOSS, reason, until_ns)


class Drawdown(Struct):
    """C17: equity below its highest so far."""

    peak: int = 0
    tripped: bool = False
    told: bool = False

    def shift(self, units: int) -> None:
        """A transfer or a correction is no gain and no loss."""
        self.peak += units

    def begin(self, equity: int) -> None:
        """Begin again after a release: what was lost is lost."""
        self.peak, self.tripped, self.told = equity, False, False

    def look(self, equity: int, limit_pct: Decimal, until_ns: int, currency: str) -> Trip | None:
        """Look at equity."""
        if equity >= self.peak:
            self.peak, self.told = equity, False
            return None
        if self.tripped or equity > self.peak - percent(self.peak, limit_pct):
            return None
        self.tripped = True
        peak, fall = decimal_of(self.peak), decimal_of(self.peak - equity)
        limit = decimal_of(percent(self.peak, limit_pct))
        reason = (
            f"equity is {_amount(fall)} {currency} below its peak of {_amount(peak)},"
            f" the limit is {_amount(limit)} ({limit_pct} %)"
        )
        return Trip(DRAWDOWN, reason, until_ns)


class StopGuard(Struct):
    """C18: losing exits of one symbol, whoever made them."""

    losses: dict[str, Window] = field(default_factory=dict)

    def left(self, symbol: str, gain: int, now_ns: int, exits: int, minutes: int) -> Trip | None:
        """A position was left with a gain (fees included; negative: a loss)."""
        if gain >= 0 or exits <= 0:
            return None
        window = self.losses.setdefault(symbol, Window())
        window.note(now_ns, exits)
        span_ns = minutes * MINUTE_NS
        if window.count(now_ns, span_ns) < exits:
            return None
        window.times.clear()
        reason = f"{exits} exits of {symbol} lost money within {minutes} min; its entries stay off for {minutes} min"
        return Trip(STOP_GUARD, reason, now_ns + span_ns, symbol=symbol)


class Rejects(Struct):
    """C19: what the venue rejects, strategy by strategy."""

    in_row: dict[str, int] = field(default_factory=dict)
    recent: dict[str, Window] = field(default_factory=dict)

    def taken(self, strategy_id: str) -> None:
        """The venue took an order: the row is broken."""
        if strategy_id in self.in_row:
            del self.in_row[strategy_id]

    def rejected(
        self, strategy_id: str, code: str, reason: str, now_ns: int, row: int, per_5_min: int, until_ns: int
    ) -> list[Trip]:
        """The venue rejected an order."""
        trips = []
        if code in BALANCE_CODES:
            why = f"the venue says that the balance is too small (code {code}: {reason}); the balances have to be compared"
            trips.append(Trip(BALANCE_REJECT, why, now_ns + RECONCILED_WITHIN_NS))
        count = self.in_row[strategy_id] = self.in_row.get(strategy_id, 0) + 1
        window = self.recent.setdefault(strategy_id, Window())
        window.note(now_ns, max(row, per_5_min))
        lately = window.count(now_ns, REJECT_SPAN_NS)
        if count >= row or lately >= per_5_min:
            why = (
                f"{count} rejects in a row (limit {row}), {lately} in 5 min (limit {per_5_min});"
                f" the last: code {code or 'none'}: {reason or 'no reason given'}"
            )
            self.release(strategy_id)
            trips.append(Trip(REJECTS, why, until_ns, strategy_id=strategy_id))
        return trips

    def release(self, strategy_id: str) -> None:
        """Count from nothing."""
        self.in_row.pop(strategy_id, None)
        self.recent.pop(strategy_id, None)


class OrderRate(Struct):
    """Orders of all kinds, exits included: what makes far too many has lost its mind."""

    recent: Window = field(default_factory=Window)

    def note(self, now_ns: int, per_min: int, until_ns: int) -> Trip | None:
        """One more order goes out."""
        limit = RUNAWAY_FACTOR * per_min
        self.recent.note(now_ns, limit)
        if self.recent.count(now_ns, MINUTE_NS) < limit:
            return None
        self.recent.times.clear()
        return Trip(
            ORDER_RATE, f"{limit} orders in one minute, exits included; {per_min} entries are allowed", until_ns
        )


class Throttle(Struct):
    """C05: entries of the account and of each strategy. Exits and cancels are not counted, so they never wait here."""

    account: Window = field(default_factory=Window)
    strategies: dict[str, Window] = field(default_factory=dict)

    def exhausted(self, strategy_id: str, now_ns: int, rates: Sequence[Rate]) -> tuple[str, Rate] | None:
        """Return whose rate allows no more entry now, and which; None: one more may go."""
        rate = self.account.exhausted(now_ns, rates)
        if rate is not None:
            return "the account", rate
        mine = self.strategies.get(strategy_id)
        rate = None if mine is None else mine.exhausted(now_ns, halves(rates))
        return None if rate is None else (strategy_id, rate)

    def note(self, strategy_id: str, now_ns: int, rates: Sequence[Rate]) -> None:
        """An entry goes out."""
        keep = max((rate.count for rate in rates), default=0)
        self.account.note(now_ns, keep)
        self.strategies.setdefault(strategy_id, Window()).note(now_ns, keep)


def halves(rates: Sequence[Rate]) -> tuple[Rate, ...]:
    """What one strategy may use of the account's rates: half, rounded up."""
    return tuple(Rate(-(-rate.count // 2), rate.span_ns, rate.word) for rate in rates)


class Entries(Struct):
    """C06: how often one strategy entered one symbol."""

    made: dict[tuple[str, str], Window] = field(default_factory=dict)

    def exhausted(self, strategy_id: str, symbol: str, now_ns: int, rates: Sequence[Rate]) -> Rate | None:
        """Return the first rate that allows no more; None: one more may go."""
        window = self.made.get((strategy_id, symbol))
        return None if window is None else window.exhausted(now_ns, rates)

    def note(self, strategy_id: str, symbol: str, now_ns: int, rates: Sequence[Rate]) -> None:
        """An entry goes out."""
        keep = max((rate.count for rate in rates), default=0)
        self.made.setdefault((strategy_id, symbol), Window()).note(now_ns, keep)

    def trip(self, strategy_id: str, symbol: str, rate: Rate, until_ns: int) -> Trip:
        """Return what an entry too many asks for; it counts from nothing once that is released."""
        self.made.pop((strategy_id, symbol), None)
        reason = f"{rate.count} entries of {strategy_id} in {symbol} within one {rate.word}, one more was wanted"
        return Trip(REPEATED, reason, until_ns, symbol=symbol, strategy_id=strategy_id)


def _amount(value: Decimal) -> str:
    """An amount for people: at most eight decimals."""
    return f"{value.quantize(Decimal('1e-8')).normalize():f}"
