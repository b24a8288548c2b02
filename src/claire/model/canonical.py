"""Canonical bytes of decisions, and the digest over them.

Two runs with equal digests made the same decisions: the same signals, intents, denials, order events and fills
in the same order. Excluded are run, trace, client and venue ids, epoch, receive times, paths and file format
(DESIGN 5); so the same market in two files, at two speeds, in two topologies, gives one digest.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from claire.model.decisions import Decision, Denial, Fill, Intent, OrderEvent, Signal
from claire.model.instrument import Instrument
from claire.model.money import plain_text

PREFIX = "d1:"
"""Version of the canonical form."""

_encode = msgspec.json.Encoder().encode


def _signal(e: Signal, i: Instrument) -> tuple[Any, ...]:
    price = i.price_text(e.price_ticks)
    return ("signal", e.signal_no, e.strategy_id, e.symbol, e.side, e.ts_event_ns, price, e.reason)


def _intent(e: Intent, i: Instrument) -> tuple[Any, ...]:
    quantity, limit = i.quantity_text(e.quantity_lots), i.price_text(e.limit_ticks)
    asked = (e.side, e.type, quantity, limit, e.reduce_only)
    return ("intent", e.order_no, e.signal_no, e.strategy_id, e.symbol, *asked, e.ts_event_ns)


def _denial(e: Denial, i: Instrument) -> tuple[Any, ...]:
    value, limit = plain_text(e.value), plain_text(e.limit)
    return ("denial", e.signal_no, e.strategy_id, e.symbol, e.side, e.code, value, limit, e.unit, e.ts_event_ns)


def _order(e: OrderEvent, i: Instrument) -> tuple[Any, ...]:
    quantity, filled = i.quantity_text(e.quantity_lots), i.quantity_text(e.filled_lots)
    return ("order", e.order_no, e.state, quantity, filled, e.code, e.ts_event_ns)


def _fill(e: Fill, i: Instrument) -> tuple[Any, ...]:
    price, quantity, fee = i.price_text(e.price_ticks), i.quantity_text(e.quantity_lots), plain_text(e.fee)
    return ("fill", e.order_no, e.side, price, quantity, fee, e.fee_asset, e.is_maker, e.ts_event_ns)


_FORMS: dict[type, Callable[..., tuple[Any, ...]]] = {
    Signal: _signal,
    Intent: _intent,
    Denial: _denial,
    OrderEvent: _order,
    Fill: _fill,
}


def canonical_bytes(decision: Decision, instruments: Mapping[str, Instrument]) -> bytes:
    """Return the canonical JSON line of one decision (a denial of an unknown symbol needs no instrument)."""
    return _encode(_FORMS[type(decision)](decision, instruments.get(decision.symbol))) + b"\n"


class DecisionDigest:
    """SHA-256 over the canonical bytes of decisions, in order."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        """Start with no decision; `instruments` tells what ticks and lots mean."""
        self._instruments = instruments
        self._hash = hashlib.sha256()

    def add(self, decision: Decision) -> None:
        """Take in the next decision."""
        self._hash.update(canonical_bytes(decision, self._instruments))

    @property
    def text(self) -> str:
        """The digest so far, ``d1:`` and 64 hexadecimal digits."""
        return PREFIX + self._hash.hexdigest()
