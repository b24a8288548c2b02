"""Tally: counts what a pipeline decided and digests it, while it happens."""

from collections import Counter
from collections.abc import Mapping, Sequence

from claire.engine.ports import Input, Recorded
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.canonical import DecisionDigest
from claire.model.decisions import Denial, Fill, Intent, OrderEvent, RoundTrip, Signal
from claire.model.instrument import Instrument
from claire.model.market import Candle, Side
from claire.model.orders import OrderState
from claire.stages.execution import LATE_FILL, LATE_LIVE

DIGESTED = (Signal, Intent, Denial, OrderEvent, Fill)
"""What the decision digest covers (DESIGN 5)."""


class Tally:
    """A recorder that keeps counts, the decision digest, and the round trips."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        """Start at zero."""
        self._instruments = instruments
        self._digest = DecisionDigest(instruments)
        self._decided_at: dict[int, int] = {}
        self.decisions = 0
        self.signals = 0
        self.intents = 0
        self.denials: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        """Orders by the last state that they reached."""
        self.fills = 0
        self.candles = 0
        self.late_fills = 0
        """Fills of orders that were thought to be over."""
        self.late_live = 0
        """Orders found alive after it was proven that they are not."""
        self.slippage_units = 0
        """Quote paid beyond the decision prices (negative: saved), over all fills."""
        self.round_trips: list[RoundTrip] = []
        self._states: dict[int, OrderState] = {}

    @property
    def digest(self) -> str:
        """The decision digest so far."""
        return self._digest.text

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Inputs are not counted here; the pipeline numbers them."""

    def decided(self, input_no: int, event: Recorded) -> None:
        """Count one decision or derived event."""
        kind = type(event)
        if kind in DIGESTED:
            self.decisions += 1
            self._digest.add(event)  # type: ignore[arg-type]  # narrowed by DIGESTED
        if isinstance(event, Signal):
            self.signals += 1
        elif isinstance(event, Intent):
            self.intents += 1
            self._decided_at[event.order_no] = event.price_ticks
        elif isinstance(event, Denial):
            self.denials[event.code] += 1
        elif isinstance(event, Fill):
            self.fills += 1
            worse = event.price_ticks - self._decided_at[event.order_no]
            sign = 1 if event.side is Side.BUY else -1
            self.slippage_units += sign * self._instruments[event.symbol].notional(worse, event.quantity_lots)
        elif isinstance(event, OrderEvent):
            self._count_order(event)
            self.late_fills += event.reason == LATE_FILL
            self.late_live += event.reason == LATE_LIVE
        elif isinstance(event, RoundTrip):
            self.round_trips.append(event)

    def candle(self, candle: Candle) -> None:
        """Count a closed candle."""
        self.candles += 1

    def postings(self, postings: Sequence[Posting]) -> None:
        """Postings follow from fills, which are counted."""

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Snapshots are not counted."""

    def _count_order(self, event: OrderEvent) -> None:
        before = self._states.get(event.order_no)
        if before is not None:
            self.orders[before] -= 1
        self._states[event.order_no] = event.state
        self.orders[event.state] += 1
