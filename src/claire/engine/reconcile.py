"""Reconciliation, the pure part: what the venue says beside what we hold, and what follows from a difference.

Compared are open orders, executions and balances. A difference is named, never repaired: nothing here trades, and nothing here
books. What a person or another program does on the same account is told apart (`foreign`) and moves the external baseline.

Amounts are units of 10⁻¹⁸ of their asset, times milliseconds of the venue's clock.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from claire.model.books import Books
from claire.model.decisions import TradingState
from claire.model.market import Side
from claire.model.money import decimal_text
from claire.model.orders import TERMINAL, OrderState

YOUNG_MS: Final = 5_000
"""What changed less than this ago is not judged yet: one of the two sides may simply not have heard."""

CYCLES_TO_HALT: Final = 3
"""Comparisons in a row with a difference after which the books are not to be trusted any more."""

HALT_ABOVE_PCT: Final = 1
"""A difference worth more than this of equity halts at once."""

RESTING: Final = (OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL)
"""States in which the venue has the order open."""

IN_DOUBT: Final = (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)
"""States of an order that is being found out about anyway, under a lock of its own while that fails."""

NEVER_THERE: Final = (OrderState.ABSENT, OrderState.NOT_SENT, OrderState.REJECTED)
"""States that say that the venue has no such order; one that is open there all the same is late and alive."""


class Check(StrEnum):
    """What is compared, each at its own pace."""

    ORDERS = "open orders"
    FILLS = "executions"
    BALANCES = "balances"


class Difference(StrEnum):
    """How the two sides can differ."""

    ORDER_UNKNOWN_HERE = "ORDER_UNKNOWN_HERE"
    """Open at the venue under a client order id of this run, and not on record here."""
    ORDER_NOT_OPEN_THERE = "ORDER_NOT_OPEN_THERE"
    """Live here, and not open at the venue."""
    ORDER_OPEN_THERE = "ORDER_OPEN_THERE"
    """Finished here, and open at the venue."""
    LATE_LIVE = "LATE_LIVE"
    """Proven absent, refused or never sent here, and open at the venue."""
    FILL_NOT_BOOKED = "FILL_NOT_BOOKED"
    """Executed at the venue, and not booked here."""
    FILL_NOT_THERE = "FILL_NOT_THERE"
    """Booked here, and not executed at the venue."""
    BALANCE_DIFFERS = "BALANCE_DIFFERS"
    """The venue holds more or less of an asset than the books and the external part together."""
    EXTERNAL_SHORT = "EXTERNAL_SHORT"
    """More was taken out of the account than was there beside Claire's own: part of what the books own is gone."""


MEANING: Final[Mapping[Difference, str]] = {
    Difference.ORDER_UNKNOWN_HERE: "an order of this run is open at the venue, and not on record here",
    Difference.ORDER_NOT_OPEN_THERE: "an order is live here, and not open at the venue",
    Difference.ORDER_OPEN_THERE: "an order is finished here, and open at the venue",
    Difference.LATE_LIVE: "an order that was taken for absent is open at the venue",
    Difference.FILL_NOT_BOOKED: "an execution at the venue is not booked here",
    Difference.FILL_NOT_THERE: "an execution that is booked here is not at the venue",
    Difference.BALANCE_DIFFERS: "a balance is not what the books and the external part come to",
    Difference.EXTERNAL_SHORT: "more was taken out of the account than was there beside Claire's own",
}


class OurOrder(Struct, frozen=True):
    """One order as it is on record here."""

    order_no: int
    symbol: str
    base: str
    quote: str
    client_order_id: str
    venue_order_id: str
    state: OrderState
    filled: int
    """In base."""
    trade_ids: Mapping[str, bool] = {}
    """Of its executions, as they were booked."""
    sent_ms: int = 0
    """When it was decided; 0: before anybody noted it."""
    changed_ms: int = 0
    """When its state or what is filled last changed."""


class TheirOrder(Struct, frozen=True):
    """One open order as the venue lists it."""

    symbol: str
    venue_order_id: str
    client_order_id: str
    filled: int
    """In base."""
    changed_ms: int = 0
    """When it was made or last changed; 0: the venue does not say."""


class TheirFill(Struct, frozen=True):
    """One execution on the account as the venue lists it."""

    symbol: str
    trade_id: str
    venue_order_id: str
    client_order_id: str
    side: Side
    quantity: int
    """In base."""
    value: int
    """In quote, without the fee."""
    fee: int
    fee_asset: str
    ts_ms: int


class Mismatch(Struct, frozen=True):
    """One difference. Equal ones are the same difference seen again."""

    difference: Difference
    subject: str
    """The order, by its number or its id, or the asset."""
    ours: int
    theirs: int
    asset: str
    """Of both amounts."""
    external: int = 0
    """Of an asset: what is there beside Claire's own."""
    order_no: int = 0
    """0: no order on record."""
    symbol: str = ""

    @property
    def gap(self) -> int:
        """By how much the two sides differ, without a sign."""
        return abs(self.theirs - self.ours - self.external)

    @property
    def text(self) -> str:
        """The difference as a sentence, with the numbers compared."""
        numbers = f"here {decimal_text(self.ours)}, there {decimal_text(self.theirs)} {self.asset}"
        if self.external:
            numbers += f", of which {decimal_text(self.external)} external"
        return f"{self.subject}: {MEANING[self.difference]} ({numbers})"


class Seen(Struct, frozen=True):
    """A mismatch, and since when what it is about can be seen."""

    mismatch: Mismatch
    since_ms: int
    """0: not known; then it counts from when it was first seen."""


class Names(Struct, frozen=True):
    """How orders on record are found by what the venue says about them."""

    by_client: Mapping[str, OurOrder]
    by_venue: Mapping[str, OurOrder]
    prefix: str
    """What the client order ids of this run begin with."""

    @classmethod
    def of(cls, orders: Sequence[OurOrder], prefix: str) -> "Names":
        """Index the orders on record."""
        by_client = {order.client_order_id: order for order in orders}
        return cls(by_client, {order.venue_order_id: order for order in orders if order.venue_order_id}, prefix)

    def find(self, client_order_id: str, venue_order_id: str) -> OurOrder | None:
        """Return the order on record, if it is one."""
        return self.by_client.get(client_order_id) or self.by_venue.get(venue_order_id)

    def is_ours(self, client_order_id: str) -> bool:
        """Whether a client order id is one of this run, on record or not."""
        return bool(self.prefix) and client_order_id.startswith(self.prefix)


class Found(Struct, frozen=True):
    """What one comparison found."""

    differences: list[Seen]
    foreign_orders: list[TheirOrder] = []
    """Open orders that are not Claire's."""
    foreign_fills: list[TheirFill] = []
    """Executions of orders that are not Claire's."""


def compare_orders(names: Names, theirs: Sequence[TheirOrder]) -> Found:
    """Compare the orders on record with those that the venue lists as open."""
    found: list[Seen] = []
    foreign: list[TheirOrder] = []
    listed: dict[int, bool] = {}
    for order in theirs:
        ours = names.find(order.client_order_id, order.venue_order_id)
        if ours is None:
            if names.is_ours(order.client_order_id):
                found.append(_unknown_order(order))
            else:
                foreign.append(order)
            continue
        listed[ours.order_no] = True
        since_ms = max(ours.changed_ms, order.changed_ms)
        if ours.state in IN_DOUBT:
            continue
        if ours.state in TERMINAL:
            late = ours.state in NEVER_THERE
            kind = Difference.LATE_LIVE if late else Difference.ORDER_OPEN_THERE
            found.append(Seen(_of_order(kind, ours, order.filled), since_ms))
        elif order.filled > ours.filled:
            found.append(Seen(_of_order(Difference.FILL_NOT_BOOKED, ours, order.filled), since_ms))
        elif order.filled < ours.filled:
            found.append(Seen(_of_order(Difference.FILL_NOT_THERE, ours, order.filled), since_ms))
    found += [
        Seen(_of_order(Difference.ORDER_NOT_OPEN_THERE, ours, ours.filled), ours.changed_ms)
        for ours in names.by_client.values()
        if ours.state in RESTING and ours.order_no not in listed
    ]
    return Found(found, foreign_orders=foreign)


def compare_fills(names: Names, theirs: Sequence[TheirFill], since_ms: Mapping[str, int]) -> Found:
    """Compare what is booked of each order with the executions that the venue lists.

    The two ways in which an execution is heard of may name it differently (adapters/venues/mexc/fills.py), so quantities are
    compared, order by order. What they were worth is compared with the balances.

    Args:
        names: The orders on record.
        theirs: The executions listed.
        since_ms: From when on the venue was asked, by symbol; an order that was decided before may have executions that are
            not listed, so less than is booked proves nothing about it.
    """
    found: list[Seen] = []
    foreign: list[TheirFill] = []
    by_order: dict[int, list[TheirFill]] = {}
    unknown: dict[str, list[TheirFill]] = {}
    for fill in theirs:
        ours = names.find(fill.client_order_id, fill.venue_order_id)
        if ours is not None:
            by_order.setdefault(ours.order_no, []).append(fill)
        elif names.is_ours(fill.client_order_id):
            unknown.setdefault(fill.client_order_id, []).append(fill)
        else:
            foreign.append(fill)
    for ours in names.by_client.values():
        if ours.state in IN_DOUBT:
            continue
        listed = by_order.get(ours.order_no, [])
        total = sum(fill.quantity for fill in listed)
        covered_from_ms = since_ms.get(ours.symbol)
        if total > ours.filled:
            at_ms = _crossing_ms(listed, ours.filled)
            found.append(Seen(_of_order(Difference.FILL_NOT_BOOKED, ours, total), at_ms))
        elif total < ours.filled and covered_from_ms is not None and ours.sent_ms > covered_from_ms:
            found.append(Seen(_of_order(Difference.FILL_NOT_THERE, ours, total), ours.changed_ms))
    for client_order_id, fills in unknown.items():
        total = sum(fill.quantity for fill in fills)
        symbol = fills[0].symbol
        mismatch = Mismatch(
            Difference.FILL_NOT_BOOKED, f"order {client_order_id} of {symbol}", 0, total, "base", symbol=symbol
        )
        found.append(Seen(mismatch, min(fill.ts_ms for fill in fills)))
    return Found(found, foreign_fills=foreign)


def compare_balances(ours: Mapping[str, int], theirs: Mapping[str, int], external: Mapping[str, int]) -> Found:
    """Compare the balances of all assets that the books hold, or held.

    Args:
        ours: What the books hold of each asset (`holdings`).
        theirs: What the venue holds of each asset, free and locked together.
        external: What of it is not Claire's.
    """
    found = []
    for asset, here in ours.items():
        there, beside = theirs.get(asset, 0), external.get(asset, 0)
        if there != here + beside:
            found.append(Seen(Mismatch(Difference.BALANCE_DIFFERS, asset, here, there, asset, beside), 0))
        elif beside < 0 < here:
            found.append(Seen(Mismatch(Difference.EXTERNAL_SHORT, asset, here, there, asset), 0))
    return Found(found)


def holdings(books: Books) -> dict[str, int]:
    """Return what books hold of each asset: cash, positions and dust together."""
    found = dict(books.cash)
    held = [(symbol, position.base_units) for (_, symbol), position in books.positions.items()]
    held += [(symbol, dust.base_units) for symbol, dust in books.dust.items()]
    for symbol, units in held:
        base = books.instruments[symbol].base
        found[base] = found.get(base, 0) + units
    return found


class Verdict(Struct):
    """How long differences have stood, and what may be sent meanwhile."""

    cycles: dict[Check, int] = {}
    """Comparisons in a row that found a difference."""
    reasons: dict[Check, str] = {}
    halted: str = ""
    """Why it halted; only an operator takes that back."""

    def judge(self, check: Check, mismatches: Sequence[Mismatch], worth_pct: float, *, is_regular: bool = True) -> None:
        """Take in what one comparison found.

        Args:
            check: Which comparison.
            mismatches: What is old enough to count.
            worth_pct: What the worst of them is worth, in % of equity.
            is_regular: It was its turn; a look in between decides at once, and does not count towards three in a row.
        """
        if not mismatches:
            self.cycles.pop(check, None)
            self.reasons.pop(check, None)
            return
        count = self.cycles[check] = self.cycles.get(check, 0) + (is_regular or check not in self.cycles)
        more = f", and {len(mismatches) - 1} more" if len(mismatches) > 1 else ""
        reason = self.reasons[check] = f"{mismatches[0].text}{more}"
        if self.halted:
            return
        late = next((each for each in mismatches if each.difference is Difference.LATE_LIVE), None)
        if late is not None:
            self.halted = late.text
        elif worth_pct > HALT_ABOVE_PCT:
            self.halted = f"{reason}; that is {worth_pct:.2f} % of equity"
        elif count >= CYCLES_TO_HALT:
            self.halted = f"{reason}; found {count} times in a row"

    def release(self) -> None:
        """Take back a halt, because an operator said so; differences that still stand keep entries off."""
        self.halted = ""
        self.cycles = {}

    @property
    def state(self) -> TradingState:
        """What may be sent."""
        if self.halted:
            return TradingState.HALTED
        return TradingState.REDUCE_ONLY if self.reasons else TradingState.ACTIVE

    @property
    def reason(self) -> str:
        """Why, as a sentence; empty when nothing differs."""
        return self.halted or "; ".join(self.reasons.values())


def _of_order(difference: Difference, ours: OurOrder, theirs: int) -> Mismatch:
    subject = f"order {ours.order_no} ({ours.client_order_id})"
    return Mismatch(difference, subject, ours.filled, theirs, ours.base, order_no=ours.order_no, symbol=ours.symbol)


def _unknown_order(order: TheirOrder) -> Seen:
    subject = f"order {order.client_order_id} of {order.symbol}"
    mismatch = Mismatch(Difference.ORDER_UNKNOWN_HERE, subject, 0, order.filled, "base", symbol=order.symbol)
    return Seen(mismatch, order.changed_ms)


def _crossing_ms(fills: Sequence[TheirFill], booked: int) -> int:
    """When the executions listed came to more than what is booked."""
    total = 0
    for fill in sorted(fills, key=lambda each: (each.ts_ms, each.trade_id)):
        total += fill.quantity
        if total > booked:
            return fill.ts_ms
    raise ValueError("the executions listed do not exceed what is booked")
