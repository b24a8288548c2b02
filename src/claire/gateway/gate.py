"""The gate: the last look at an order, made in the instant before its bytes go to the socket.

Everything above may be wrong (a late approval, a process that a newer one has replaced, a pipeline that asks twice), so the
gate believes none of it. It reads the latch and the account's epoch anew, holds the request's own parameters against the
approvals that came with it, lets each client order id pass once for ever, and lets an order that reduces sell no more than
the gate has itself seen bought and not yet sold.

Pure but for what it is given to read; it holds no clock and never waits.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from claire.model.market import Side

TTL_MS: Final = 1_000
"""Oldest approval that an order may go out on (reliability C01)."""

REDUCING_TTL_MS: Final = 3_000
"""The same of an order that reduces: it may wait longer for the request budget than the market allows an entry to."""

GATED: Final = ("/api/v3/order", "/api/v3/batchOrders")
"""What is POSTed here creates orders, and passes with approvals only."""

GATE_LATCH: Final = "GATE_LATCH"
GATE_EPOCH: Final = "GATE_EPOCH"
GATE_EXPIRED: Final = "GATE_EXPIRED"
GATE_REPEATED: Final = "GATE_REPEATED"
GATE_POSITION: Final = "GATE_POSITION"
GATE_UNAPPROVED: Final = "GATE_UNAPPROVED"

CODES: Final[Mapping[str, str]] = {
    GATE_LATCH: "The latch is closed: the kill switch, or whoever may, stopped all orders.",
    GATE_EPOCH: "A newer start of this account has taken over; this process may send nothing any more.",
    GATE_EXPIRED: "The approval is too old, is of the future, or the intent's own time is over.",
    GATE_REPEATED: "An order with this client order id was let through before; an intent is sent once.",
    GATE_POSITION: "The order would sell more than the gate has seen bought and not yet sold.",
    GATE_UNAPPROVED: "What is to be signed is not exactly what was approved.",
}
"""Every code of a refusal, and what it means."""


class Latch(Protocol):
    """What stops all orders, whatever anybody wants."""

    def why_closed(self) -> str:
        """Return why no order may go out; empty: they may."""


class AccountLock(Protocol):
    """Who may trade the account."""

    def is_current(self) -> bool:
        """Read anew whether this start is still the account's latest."""


class Approval(Struct, frozen=True):
    """One order that may go out: every field that will be signed, and how long the word holds."""

    order_no: int
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    """In base."""
    type: str
    """As the venue writes it."""
    price: Decimal | None
    """None: at market."""
    reduce_only: bool
    epoch: int
    """Of the account's start that approved it."""
    approved_ns: int
    """When, by the gate's clock."""
    expires_ns: int = 0
    """By the gate's clock; 0: only the time to live counts."""


class Verdict(Struct, frozen=True):
    """What the gate said about one order."""

    order_no: int
    client_order_id: str
    code: str
    """Empty: it may go; else one of `CODES`."""
    reason: str
    ts_ms: int
    """Venue time that is signed."""
    fence_ms: int
    """Venue time from which on the venue can no longer take it."""


class Dispatch(Struct, frozen=True):
    """What became of one request that carried orders."""

    order_nos: tuple[int, ...]
    outcome: str
    """``answered``, ``no_answer`` or ``never_sent``."""
    status: int
    """HTTP status; 0: no answer."""
    reason: str
    ts_ms: int
    fence_ms: int


class Known(Struct, frozen=True):
    """An order of before a restart, as the gate has to know it."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    """What of it is in the seeded position already."""
    reduce_only: bool
    is_live: bool
    """Whether more of it may still be executed."""


class _Passed(Struct):
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal


class Gate:
    """The last check. One per account and process."""

    def __init__(
        self,
        *,
        latch: Latch | None = None,
        account: AccountLock | None = None,
        epoch: int = 0,
        now_ns: Callable[[], int] = time.time_ns,
        ttl_ms: int = TTL_MS,
        reducing_ttl_ms: int = REDUCING_TTL_MS,
        on_verdict: Callable[[Verdict], None] | None = None,
        on_dispatch: Callable[[Dispatch], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            latch: Read before each write; None: there is none (a tool that trades no run).
            account: Read before each write; None: the account is nobody's.
            epoch: Of this start; approvals of another are refused.
            now_ns: Venue or wall time, the one that expiries are written in; it has to go on while the process is stopped.
            ttl_ms: Oldest approval of an order that may open a position.
            reducing_ttl_ms: Oldest approval of one that reduces.
            on_verdict: Told each verdict before anything is written; what it raises stops the order.
            on_dispatch: Told what became of each request.
        """
        self.epoch = epoch
        self.now_ns = now_ns
        self.on_dispatch = on_dispatch
        self._latch = latch
        self._account = account
        self._ttl_ns = ttl_ms * 1_000_000
        self._reducing_ttl_ns = reducing_ttl_ms * 1_000_000
        self._on_verdict = on_verdict
        self._held: dict[str, Decimal] = {}
        self._orders: dict[str, _Passed] = {}
        self._reducing: dict[str, None] = {}
        """Names of the live orders that reduce."""

    # -- its own view ------------------------------------------------------------------------------------------------

    def seed(self, held: Mapping[str, Decimal], orders: Sequence[Known] = ()) -> None:
        """Say what is held at the start, or after a recovery, and which orders went out before, or are there after all.

        Args:
            held: Base quantity by symbol that Claire owns: what was there before and is nobody's business does not count.
            orders: Of this account's runs; none of their client order ids passes again.
        """
        self._held |= dict(held)
        for order in orders:
            passed = _Passed(order.symbol, order.side, order.quantity, order.filled)
            self._keep(order.client_order_id, passed, is_reducing=order.reduce_only and order.is_live)

    def filled(self, client_order_id: str, quantity: Decimal, fee: Decimal = Decimal(0)) -> None:
        """Take in an execution, each once.

        Args:
            client_order_id: Of the order.
            quantity: In base.
            fee: What of the base was taken for it.

        Raises:
            KeyError: no such order passed.
        """
        order = self._orders[client_order_id]
        order.filled += quantity
        change = quantity if order.side is Side.BUY else -quantity
        self._held[order.symbol] = self.held(order.symbol) + change - fee

    def ended(self, client_order_id: str) -> None:
        """Take in that nothing more of an order will be executed; what never passed is nothing to end."""
        self._reducing.pop(client_order_id, None)

    def held(self, symbol: str) -> Decimal:
        """Return what was bought and not sold, in base."""
        return self._held.get(symbol, Decimal(0))

    def reducing(self, symbol: str) -> Decimal:
        """Return what live orders that reduce may still sell, in base."""
        selling = (self._orders[name] for name in self._reducing)
        leaves = (order.quantity - order.filled for order in selling if order.symbol == symbol)
        return sum((left for left in leaves if left > 0), Decimal(0))

    def knows(self, client_order_id: str) -> bool:
        """Whether an order with this id was let through, or was seeded."""
        return client_order_id in self._orders

    # -- the check ---------------------------------------------------------------------------------------------------

    def check(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        approvals: Sequence[Approval],
        *,
        ts_ms: int,
        fence_ms: int,
    ) -> tuple[str, str]:
        """Judge one request that is about to be written; let all of its orders pass, or none.

        Args:
            path: One of `signer.ORDER_PATHS`; a test order needs no approval.
            params: What is signed, without timestamp, recvWindow and signature.
            approvals: For exactly the orders of the request, in their order.
            ts_ms: Venue time that is signed, for the record.
            fence_ms: Its fence, for the record.

        Returns:
            Code and reason of the refusal; both empty: the request may be written, now.
        """
        if path not in GATED:
            return "", ""
        code, reason = self._judge(path, params, approvals)
        if not code:
            for approval in approvals:
                passed = _Passed(approval.symbol, approval.side, approval.quantity, Decimal(0))
                self._keep(approval.client_order_id, passed, is_reducing=approval.reduce_only)
        if self._on_verdict is not None:
            for approval in approvals:
                self._on_verdict(Verdict(approval.order_no, approval.client_order_id, code, reason, ts_ms, fence_ms))
        return code, reason

    def _keep(self, name: str, order: _Passed, *, is_reducing: bool) -> None:
        self._orders[name] = order
        if is_reducing:
            self._reducing[name] = None
        else:
            self._reducing.pop(name, None)

    def _judge(self, path: str, params: Sequence[tuple[str, str]], approvals: Sequence[Approval]) -> tuple[str, str]:
        reason = _difference(path, params, approvals)
        if reason:
            return GATE_UNAPPROVED, reason
        closed = "" if self._latch is None else self._latch.why_closed()
        if closed:
            return GATE_LATCH, closed
        if self._account is not None and not self._account.is_current():
            return GATE_EPOCH, f"this process holds epoch {self.epoch}, and a newer one has taken over the account"
        now_ns = self.now_ns()
        wanted: dict[str, Decimal] = {}
        names: dict[str, None] = {}
        for approval in approvals:
            code, reason = self._one(approval, now_ns)
            if code:
                return code, reason
            if approval.client_order_id in names:
                return GATE_REPEATED, f"{approval.client_order_id} is twice in one request"
            names[approval.client_order_id] = None
            if approval.reduce_only:
                wanted[approval.symbol] = wanted.get(approval.symbol, Decimal(0)) + approval.quantity
        for symbol, quantity in wanted.items():
            held, selling = self.held(symbol), self.reducing(symbol)
            if quantity > held - selling:
                return GATE_POSITION, (
                    f"{symbol}: to sell {quantity}, of {held} that the gate has seen bought and not sold, while other"
                    f" orders may still sell {selling}"
                )
        return "", ""

    def _one(self, approval: Approval, now_ns: int) -> tuple[str, str]:
        name = approval.client_order_id
        if approval.epoch != self.epoch:
            return GATE_EPOCH, f"{name} was approved in epoch {approval.epoch}; this is epoch {self.epoch}"
        if name in self._orders:
            return GATE_REPEATED, f"{name} was sent before"
        age_ns = now_ns - approval.approved_ns
        ttl_ns = self._reducing_ttl_ns if approval.reduce_only else self._ttl_ns
        if not -ttl_ns <= age_ns <= ttl_ns:
            return GATE_EXPIRED, f"{name} was approved {age_ns / 1e6:,.0f} ms ago; {ttl_ns / 1e6:,.0f} ms are allowed"
        if approval.expires_ns and now_ns > approval.expires_ns:
            return GATE_EXPIRED, f"{name} expired {(now_ns - approval.expires_ns) / 1e6:,.0f} ms ago"
        if approval.reduce_only and approval.side is not Side.SELL:
            return GATE_POSITION, f"{name}: on a spot account only a sale reduces"
        return "", ""


def _difference(path: str, params: Sequence[tuple[str, str]], approvals: Sequence[Approval]) -> str:
    """Return in what a request differs from its approvals; empty: in nothing."""
    if not approvals:
        return "no approval came with it"
    if path == "/api/v3/order":
        listed = [list(params)]
    else:
        if len(params) != 1 or params[0][0] != "batchOrders":
            return "a batch is signed with its orders alone"
        try:
            listed = [list(order.items()) for order in msgspec.json.decode(params[0][1], type=list[dict[str, str]])]
        except msgspec.DecodeError as e:
            return f"the batch cannot be read: {e}"
    if len(listed) != len(approvals):
        return f"{len(approvals)} orders were approved, and {len(listed)} would be sent"
    for order, approval in zip(listed, approvals, strict=True):
        reason = _order_difference(order, approval)
        if reason:
            return f"{approval.client_order_id}: {reason}"
    return ""


def _order_difference(params: list[tuple[str, str]], approval: Approval) -> str:
    given = dict(params)
    if len(given) != len(params):
        return "a parameter is given twice"
    if not approval.client_order_id:
        return "an order without a client order id could not be looked for"
    words = {
        "symbol": approval.symbol,
        "side": approval.side.value,
        "type": approval.type,
        "newClientOrderId": approval.client_order_id,
    }
    amounts = {"quantity": approval.quantity} | ({} if approval.price is None else {"price": approval.price})
    if given.keys() != {**words, **amounts}.keys():
        return f"{', '.join(given)} would be signed; {', '.join((*words, *amounts))} were approved"
    for name, word in words.items():
        if given[name] != word:
            return f"{name} {given[name]} would be signed; {word} was approved"
    for name, amount in amounts.items():
        if not _is(given[name], amount):
            return f"{name} {given[name]} would be signed; {amount} was approved"
    return ""


def _is(text: str, amount: Decimal) -> bool:
    try:
        return amount > 0 and Decimal(text) == amount
    except InvalidOperation:
        return False
