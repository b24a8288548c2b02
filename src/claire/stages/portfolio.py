"""Portfolio: where money is counted. Every fill becomes postings that sum to zero per asset.

Input: `Fill`, `OrderEvent`, `PositionDusted`, `Signal` (for the reason of an exit), and valuation times. Output:
`Transaction`s, `RoundTrip` when a strategy is flat again, `PortfolioSnapshot`. It decides nothing; risk keeps books of its own.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct, field

from claire.model.books import Books, PortfolioSnapshot, Position, Transaction
from claire.model.decisions import Adjustment, Adopted, Fill, OrderEvent, PositionDusted, RoundTrip, Signal
from claire.model.instrument import Instrument
from claire.model.money import decimal_of, divide_half_even


class PortfolioState(Struct):
    """What the stage remembers beside the books."""

    books: Books
    start_units: int = 0
    """Equity before the first trade."""
    peak_units: int = 0
    trough_at_peak: tuple[int, int] = (0, 0)
    """(peak, equity) of the deepest drawdown so far."""
    round_trips: int = 0
    won: int = 0
    """Round trips with a profit after fees."""
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    """Reason of the last wish, by (strategy id, symbol)."""


class Portfolio:
    """The stage."""

    def __init__(self, books: Books) -> None:
        """Take over books that already hold the starting capital."""
        equity = books.equity_units
        self.state = PortfolioState(books, equity, equity, (equity, equity))

    def on_signal(self, signal: Signal) -> None:
        """Remember why a strategy wishes what it wishes."""
        self.state.reasons[signal.strategy_id, signal.symbol] = signal.reason

    def on_fill(self, fill: Fill) -> Sequence[Transaction]:
        """Book a fill."""
        postings = self.state.books.apply(fill)
        self.on_valuation()
        return (Transaction(postings),)

    def on_order(self, event: OrderEvent) -> Sequence[Transaction | RoundTrip]:
        """End the round trip when an exit order is over and left nothing that can be sold."""
        books = self.state.books
        position = books.positions.get((event.strategy_id, event.symbol))
        if position is None or not position.has_ended(event, books.instruments[event.symbol]):
            return ()
        return self._flat(event.strategy_id, event.symbol, event.ts_event_ns, position)

    def on_dusted(self, event: PositionDusted) -> Sequence[Transaction | RoundTrip]:
        """End the round trip of a position that became too small to sell."""
        position = self.state.books.positions[event.strategy_id, event.symbol]
        return self._flat(event.strategy_id, event.symbol, event.ts_event_ns, position)

    def on_adjustment(self, adjustment: Adjustment) -> Sequence[Transaction]:
        """Book an operator's correction; like a transfer it shifts the peak, and is no loss."""
        books = self.state.books
        before = books.equity_units
        postings = books.adjust(adjustment)
        self.state.peak_units += books.equity_units - before
        return (Transaction(postings),)

    def on_adopted(self, event: Adopted) -> Sequence[Transaction]:
        """Let a position change its owner."""
        postings = self.state.books.adopt(event.owner_id, event.strategy_id, event.symbol, event.ts_event_ns)
        return (Transaction(postings),) if postings else ()

    def on_valuation(self) -> None:
        """Look at equity: follow the peak and the deepest fall from it."""
        state = self.state
        if state.books.is_at_rest and not state.books.transactions:
            return
        equity = state.books.equity_units
        if equity >= state.peak_units:
            state.peak_units = equity
            return
        peak, trough = state.trough_at_peak
        if (state.peak_units - equity) * peak > (peak - trough) * state.peak_units:
            state.trough_at_peak = (state.peak_units, equity)

    @property
    def max_drawdown_pct(self) -> float:
        """The deepest fall of equity from an earlier peak, in percent of that peak."""
        peak, trough = self.state.trough_at_peak
        return float(Fraction(100 * (peak - trough), peak)) if peak > 0 else 0.0

    def snapshot(self, ts_event_ns: int) -> PortfolioSnapshot:
        """Return the account as it stands."""
        books = self.state.books
        equity = books.equity_units
        fall = self.state.peak_units - equity
        return PortfolioSnapshot(
            ts_event_ns=ts_event_ns,
            equity=decimal_of(equity),
            cash=decimal_of(books.cash.get(books.currency, 0)),
            realised_pnl=decimal_of(books.realised_units),
            unrealised_pnl=decimal_of(books.unrealised_units),
            fees=decimal_of(books.fee_units),
            drawdown_pct=float(Fraction(100 * fall, self.state.peak_units))
            if fall > 0 < self.state.peak_units
            else 0.0,
            open_positions=len(books.positions),
        )

    def _flat(self, strategy_id: str, symbol: str, ts_ns: int, position: Position) -> Sequence[Transaction | RoundTrip]:
        state = self.state
        postings = state.books.to_dust(strategy_id, symbol, ts_ns)
        state.round_trips += 1
        state.won += position.realised_units > position.fee_units
        instrument = state.books.instruments[symbol]
        trip = RoundTrip(
            strategy_id=strategy_id,
            symbol=symbol,
            entry_ns=position.entry_ns,
            exit_ns=ts_ns,
            bought_lots=position.bought_lots,
            sold_lots=position.sold_lots,
            entry_price=_average(instrument, position.bought_value, position.bought_lots),
            exit_price=_average(instrument, position.sold_value, position.sold_lots),
            realised_pnl=decimal_of(position.realised_units),
            fees=decimal_of(position.fee_units),
            reason=state.reasons.get((strategy_id, symbol), ""),
            ts_event_ns=ts_ns,
        )
        return (Transaction(postings), trip) if postings else (trip,)


def _average(instrument: Instrument, value: int, lots: int) -> Decimal:
    """Average price, for people: rounded to 18 decimals."""
    return decimal_of(divide_half_even(instrument.tick_units * value, lots)) if lots else Decimal(0)
