"""Health controls: what is measured outside the pipeline (clock, feed, errors) and locks trading when it goes too far.

The pipeline reads no clock, so whoever does hands a `Measurement` to `Health.look` and, where that answers, passes the
`ControlEvent` on as an input: journalled before use, replayed, taken back by the same source. A lock is set at once and taken
back only when the measure was calm for a while; so a value that trembles around its limit does not switch trading on and off.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct, field

from claire.model.decisions import ControlEvent, TradingState
from claire.model.money import plain_text
from claire.stages.controls_base import SECOND_NS


class Measure(StrEnum):
    """What is measured."""

    CLOCK_SKEW = "clock skew"
    """How far the clock may be from the venue's, uncertainty included; in ms."""
    FEED_AGE = "feed age"
    """Since when nothing came from the market; in ms."""
    ERROR_RATE = "error rate"
    """Requests to the venue that failed, of those of the last minute; in %."""


class Gauge(Struct, frozen=True):
    """From which value on a measure locks trading, and when it no longer does."""

    limit: Decimal
    calm: Decimal
    """At or below it the measure is calm again."""
    unit: str
    state: TradingState
    calm_ns: int = 10 * SECOND_NS
    """How long it has to be calm."""


GAUGES: Final[Mapping[Measure, Gauge]] = MappingProxyType(
    {
        Measure.CLOCK_SKEW: Gauge(Decimal(500), Decimal(250), "ms", TradingState.HALTED),
        Measure.FEED_AGE: Gauge(Decimal(3_000), Decimal(2_000), "ms", TradingState.REDUCE_ONLY),
        Measure.ERROR_RATE: Gauge(Decimal(20), Decimal(5), "%", TradingState.REDUCE_ONLY),
    }
)
"""What each measure may be. A clock that is not to be trusted halts: no order's time is known then (DESIGN 7)."""


class Measurement(Struct, frozen=True):
    """One value, as whoever measures it has it."""

    what: Measure
    value: Decimal
    ts_event_ns: int
    symbol: str = ""
    """Of what it was measured; empty: the account as a whole."""


class Health(Struct):
    """The control: which measures lock trading now, and since when they are calm."""

    gauges: Mapping[Measure, Gauge] = GAUGES
    locked: dict[str, int] = field(default_factory=dict)
    """By source: since when the measure is calm again; 0: it is not."""

    def look(self, measurement: Measurement) -> ControlEvent | None:
        """Take in a value; return the event that locks trading or takes the lock back, or None.

        A value that is not a number counts as one that is too large.
        """
        gauge, value, now_ns = self.gauges[measurement.what], measurement.value, measurement.ts_event_ns
        source = f"{measurement.what} {measurement.symbol}".rstrip()
        if not value.is_finite() or value > gauge.limit:
            is_news = source not in self.locked
            self.locked[source] = 0
            shown = plain_text(value) if value.is_finite() else str(value)
            reason = f"{shown} {gauge.unit}, the limit is {plain_text(gauge.limit)} {gauge.unit}"
            return ControlEvent(gauge.state, reason, source, now_ns, measurement.symbol) if is_news else None
        if source not in self.locked:
            return None
        if value > gauge.calm:
            self.locked[source] = 0
            return None
        since_ns = self.locked[source] = self.locked[source] or now_ns
        if now_ns - since_ns < gauge.calm_ns:
            return None
        del self.locked[source]
        reason = f"at most {plain_text(gauge.calm)} {gauge.unit} for {gauge.calm_ns // SECOND_NS} s"
        return ControlEvent(TradingState.ACTIVE, reason, source, now_ns, measurement.symbol)
