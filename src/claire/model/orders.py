"""The order life: states, the evidence they follow from, and the one table of legal transitions.

The state of an order is a function of (cumulative fill, quantity, evidence), so it depends on the set of
things heard from the venue, never on the order of hearing them (DESIGN 7).
"""

from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct


class OrderType(StrEnum):
    """How an order meets the book. IOC and FOK are limit orders that do not rest."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"
    IOC = "IOC"
    FOK = "FOK"


class OrderState(StrEnum):
    """Where an order is in its life."""

    INTENT = "INTENT"
    """Approved and recorded, not sent yet."""
    NOT_SENT = "NOT_SENT"
    """The last hop refused or the intent expired; the venue never saw it."""
    SENT = "SENT"
    """On its way; no answer yet."""
    OPEN = "OPEN"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    """A cancel was asked for and not yet answered."""
    UNKNOWN = "UNKNOWN"
    """The answer to the send was lost; the venue has to be asked."""
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    ABSENT = "ABSENT"
    """Was unknown, and is proven not to exist at the venue."""


class Evidence(StrEnum):
    """One thing heard or done about an order, other than a fill."""

    SENT = "SENT"
    NOT_SENT = "NOT_SENT"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    UNKNOWN = "UNKNOWN"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    ABSENT = "ABSENT"


_S = OrderState

TERMINAL = (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.ABSENT, _S.NOT_SENT)
"""States without leaves: nothing more is expected to happen."""

_ENDED = (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED)
_FROM_VENUE = (_S.OPEN, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, *_ENDED)

TRANSITIONS: MappingProxyType[OrderState, tuple[OrderState, ...]] = MappingProxyType(
    {
        _S.INTENT: (_S.SENT, _S.NOT_SENT),
        _S.NOT_SENT: (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.ABSENT),
        _S.SENT: (_S.NOT_SENT, *_FROM_VENUE, _S.UNKNOWN, _S.ABSENT),
        _S.UNKNOWN: (*_FROM_VENUE, _S.ABSENT),
        _S.OPEN: (_S.PARTIALLY_FILLED, _S.PENDING_CANCEL, *_ENDED, _S.ABSENT),
        _S.PARTIALLY_FILLED: (_S.PENDING_CANCEL, *_ENDED, _S.ABSENT),
        _S.PENDING_CANCEL: (_S.OPEN, _S.PARTIALLY_FILLED, *_ENDED, _S.ABSENT),
        _S.ABSENT: (_S.REJECTED, _S.EXPIRED, _S.CANCELED, _S.FILLED),
        _S.REJECTED: (_S.EXPIRED, _S.CANCELED, _S.FILLED),
        _S.EXPIRED: (_S.CANCELED, _S.FILLED),
        _S.CANCELED: (_S.FILLED,),
        _S.FILLED: (),
    }
)
"""Every legal change of state. Terminal → terminal follows the strength rule; terminal → live never happens.

A live order may become ABSENT: then the proof of its absence was wrong, which is a mark on its life (`late_live`), as it
is when the two are heard the other way round.
"""


class IllegalTransition(ValueError):
    """A change of state that the table does not list: a fault in the program, never in the venue's timing."""


class OrderLife(Struct):
    """What is known about one order, and the state that follows from it.

    Raises:
        IllegalTransition: from `note` and `fill`, where the evidence implies a change that the table does not list.
    """

    quantity_lots: int
    filled_lots: int = 0
    evidence: dict[Evidence, bool] = {}
    """The evidence seen, in order of arrival (a dict, because nothing iterates over sets)."""
    trade_ids: dict[str, bool] = {}
    """Venue trade ids already counted."""
    state: OrderState = OrderState.INTENT
    late_live: bool = False
    """Whether the venue knew it alive (open, or filled at all) although it was proven ABSENT or NOT_SENT, whichever was
    heard first; or after it was REJECTED. What was reserved for it had been released."""

    def note(self, evidence: Evidence) -> bool:
        """Take in one piece of evidence; return whether the state changed."""
        if evidence in self.evidence:
            return False
        was_rejected = Evidence.REJECTED in self.evidence
        self.evidence[evidence] = True
        return self._settle(was_rejected=was_rejected and evidence is Evidence.ACKNOWLEDGED)

    def fill(self, trade_id: str, quantity_lots: int) -> bool:
        """Count one execution; return False when its trade id was counted before (nothing changes then).

        What a venue executed is counted even beyond the order's quantity (`is_overfilled`): it happened.

        Raises:
            ValueError: the quantity is not positive.
        """
        if trade_id in self.trade_ids:
            return False
        if quantity_lots <= 0:
            raise ValueError(f"fill {trade_id} of {quantity_lots} lots is none")
        self.trade_ids[trade_id] = True
        self.filled_lots += quantity_lots
        self._settle(was_rejected=Evidence.REJECTED in self.evidence)
        return True

    @property
    def leaves_lots(self) -> int:
        """Quantity still working; 0 in a terminal state."""
        return 0 if self.state in TERMINAL else self.quantity_lots - self.filled_lots

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more is expected to happen."""
        return self.state in TERMINAL

    @property
    def is_overfilled(self) -> bool:
        """Whether more was executed than was ordered: no venue does that, so somebody counts wrongly."""
        return self.filled_lots > self.quantity_lots

    @property
    def may_work(self) -> bool:
        """Whether the venue may still fill it, as far as the venue itself has told."""
        ended = Evidence.CANCELED in self.evidence or Evidence.EXPIRED in self.evidence
        return not ended and self.filled_lots < self.quantity_lots

    def _settle(self, *, was_rejected: bool) -> bool:
        """Let the state follow; `was_rejected`: what was just heard shows an order alive that had been refused."""
        heard = Evidence.ACKNOWLEDGED in self.evidence or self.filled_lots > 0
        voided = Evidence.ABSENT in self.evidence or Evidence.NOT_SENT in self.evidence
        if was_rejected or (heard and voided):
            self.late_live = True
        after = state_of(self.filled_lots, self.quantity_lots, self.evidence)
        if after is self.state:
            return False
        if after not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"an order cannot go from {self.state} to {after}")
        self.state = after
        return True


def state_of(filled_lots: int, quantity_lots: int, evidence: dict[Evidence, bool]) -> OrderState:
    """Return the state that follows from cumulative fill, quantity and evidence."""
    if filled_lots >= quantity_lots:
        return OrderState.FILLED
    for proof, state in _STRENGTH:
        if proof in evidence:
            return state
    heard = Evidence.ACKNOWLEDGED in evidence or filled_lots > 0
    if heard and Evidence.CANCEL_REQUESTED in evidence and Evidence.CANCEL_REFUSED not in evidence:
        return OrderState.PENDING_CANCEL
    if filled_lots > 0:
        return OrderState.PARTIALLY_FILLED
    if heard:
        return OrderState.OPEN
    if Evidence.UNKNOWN in evidence:
        return OrderState.UNKNOWN
    return OrderState.SENT if Evidence.SENT in evidence else OrderState.INTENT


_STRENGTH = (
    (Evidence.CANCELED, OrderState.CANCELED),
    (Evidence.EXPIRED, OrderState.EXPIRED),
    (Evidence.REJECTED, OrderState.REJECTED),
    (Evidence.ABSENT, OrderState.ABSENT),
    (Evidence.NOT_SENT, OrderState.NOT_SENT),
)
"""Terminal evidence, strongest first (DESIGN 7)."""
