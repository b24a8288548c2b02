"""Our side of reconciliation: what is on record of the orders, and when it changed."""

from collections.abc import Mapping, Sequence
from typing import Final

from claire.engine.pipeline import Pipeline
from claire.engine.ports import Input, Recorded
from claire.engine.reconcile import Mismatch, OurOrder
from claire.model.books import Books, PortfolioSnapshot, Position, Posting
from claire.model.decisions import Fill, Intent, OrderEvent
from claire.model.market import Candle

MS: Final = 1_000_000
NOTED: Final = 10_000
"""Orders whose times are remembered; the oldest go first."""


class OwnRecord:
    """A recorder that notes when orders changed, and tells what is on record of them."""

    def __init__(self) -> None:
        """Note from now on; `attach` says whose orders."""
        self._pipeline: Pipeline | None = None
        self._sent_ms: dict[int, int] = {}
        self._changed_ms: dict[int, int] = {}

    def attach(self, pipeline: Pipeline) -> None:
        """Say which pipeline this is the record of."""
        self._pipeline = pipeline

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Inputs change no order."""

    def decided(self, input_no: int, event: Recorded) -> None:
        """Note the time of what became of an order."""
        if isinstance(event, Intent):
            self._sent_ms[event.order_no] = event.ts_event_ns // MS
        elif not isinstance(event, OrderEvent | Fill):
            return
        self._changed_ms.pop(event.order_no, None)  # the latest change stands last
        self._changed_ms[event.order_no] = event.ts_event_ns // MS
        while len(self._changed_ms) > NOTED:
            oldest = next(iter(self._changed_ms))
            del self._changed_ms[oldest]
            self._sent_ms.pop(oldest, None)

    def candle(self, candle: Candle) -> None:
        """Candles change no order."""

    def postings(self, postings: Sequence[Posting]) -> None:
        """The books are read where they are."""

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """The books are read where they are."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline.

        Raises:
            ValueError: none was attached.
        """
        if self._pipeline is None:
            raise ValueError("attach a pipeline first")
        return self._pipeline

    @property
    def books(self) -> Books:
        """The portfolio's books."""
        return self.pipeline.stages.portfolio.state.books

    def orders(self) -> list[OurOrder]:
        """Return every order that execution remembers."""
        instruments = self.books.instruments
        found = []
        for order in self.pipeline.stages.execution.orders.values():
            instrument = instruments[order.symbol]
            found.append(
                OurOrder(
                    order_no=order.order_no,
                    symbol=order.symbol,
                    base=instrument.base,
                    quote=instrument.quote,
                    client_order_id=order.client_order_id,
                    venue_order_id=order.venue_order_id,
                    state=order.life.state,
                    filled=order.life.filled_lots * instrument.lot_units,
                    trade_ids=order.life.trade_ids,
                    sent_ms=self._sent_ms.get(order.order_no, 0),
                    changed_ms=self._changed_ms.get(order.order_no, 0),
                )
            )
        return found

    def worth_pct(self, mismatch: Mismatch) -> float:
        """Return what a mismatch is worth in % of equity; 0 where nobody knows a price."""
        books, asset = self.books, mismatch.asset
        equity = books.equity_units
        units = mismatch.gap
        if asset != books.currency:
            units = self._value(mismatch.symbol, asset, units)
        if not units:
            return 0.0
        return 100 * units / equity if equity > 0 else 100.0

    def _value(self, symbol: str, asset: str, units: int) -> int:
        books = self.books
        named = [symbol] if symbol else [name for name, each in books.instruments.items() if each.base == asset]
        for name in named:
            if name in books.instruments and books.marks[name].price_ticks:
                return books.instruments[name].value_of(units, books.marks[name].price_ticks)
        return 0
