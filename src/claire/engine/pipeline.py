"""The pipeline: puts the stages in a line and feeds them one input at a time.

For a market event at time t, in this order:

1. the venue lets what arrived before t meet the market as it stood;
2. what is due at or before t happens, in order of (due, kind, id): valuation, timers, venue reports;
3. the event runs through the stages until nothing is caused any more;
4. the venue takes the event into its market and lets working orders meet it;
5. reports that are due at t are delivered, before the next market event.

Every input has a number, and everything decided carries the number of the input that caused it. Nothing here reads a
clock or a file; equal inputs give equal decisions.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

import msgspec
from msgspec import Struct

from claire.engine.ports import Input, Recorded, Recorder, Venue
from claire.model.books import Position, Transaction
from claire.model.decisions import (
    Adjustment,
    Adopted,
    AllocationDecision,
    Asked,
    Cancel,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    RegimeChanged,
    Reserved,
    RiskAlert,
    RoundTrip,
    SetTimer,
    Signal,
    Submit,
    VenueReport,
)
from claire.model.errors import DataError, SafetyRefusal
from claire.model.market import Candle, Mark, MarketEvent, Timer, TopOfBook, Trade
from claire.model.money import decimal_of
from claire.stages.allocation import TIMER_PREFIX as ALLOCATION_TIMER
from claire.stages.allocation import Allocations
from claire.stages.candles import TIMER_PREFIX as CANDLE_TIMER
from claire.stages.candles import Candles
from claire.stages.execution import Execution
from claire.stages.portfolio import Portfolio
from claire.stages.regime import Regimes
from claire.stages.risk import DAY_NS, Risk
from claire.stages.risk import TIMER_PREFIX as RISK_TIMER
from claire.stages.signal import OnRestart, Signals
from claire.strategies import StrategyParams

NEVER = 1 << 62
"""A time after all others, in nanoseconds."""

LONGEST_SILENCE_NS = 366 * DAY_NS
"""A jump of market time that is not believed: every minute of it would be a candle."""

SNAPSHOT_NS = 60_000_000_000
"""Market time between two looks at the account while something is held."""


class Stages(Struct):
    """The stages of one pipeline, in the order of the picture in DESIGN 1."""

    candles: Candles
    regimes: Regimes
    allocations: Allocations
    signals: Signals
    risk: Risk
    execution: Execution
    portfolio: Portfolio


class Saved(Struct):
    """All that a pipeline remembers between two inputs: one graph of objects, which `pickle` keeps as it is.

    It holds the pipeline's own objects, not copies: pickle it before the next input.
    """

    stages: Stages
    marks: Mapping[str, Mark]
    """The same objects that the books in `stages` value positions at."""
    venue: Venue | None
    """A venue that lives in the process; None: it was left out."""
    input_no: int
    market_events: int
    book_events: int
    first_ns: int
    now_ns: int
    timers: list[tuple[int, str]]
    next_valuation_ns: int
    next_due_ns: int
    next_snapshot_ns: int
    candles: int = 0


class Pipeline:
    """Drives the stages over inputs, and passes on what they decide."""

    def __init__(
        self,
        stages: Stages,
        venue: Venue,
        marks: Mapping[str, Mark],
        recorders: Sequence[Recorder] = (),
        *,
        valuation_ns: int = 1_000_000_000,
        keeps_book: bool = False,
        records_inputs: bool = False,
    ) -> None:
        """Wire the stages to a venue and to recorders.

        Args:
            stages: The stages, with their state.
            venue: Where orders go.
            marks: Last price of each symbol; shared with the books of risk and portfolio, written here only.
            recorders: Told of every decision, and of every input when `records_inputs`.
            valuation_ns: Grid of data time on which equity is looked at.
            keeps_book: The source holds books, so the venue must see every event.
            records_inputs: Pass inputs to the recorders too.
        """
        self.stages = stages
        self.venue = venue
        self.marks = marks
        self.input_no = 0
        self.market_events = 0
        self.book_events = 0
        """Market events that were no trades."""
        self.candles = 0
        """Candles closed."""
        self.first_ns = 0
        self.now_ns = 0
        """Market time: of the last thing that happened."""
        self._recorders = tuple(recorders)
        self._valuation_ns = valuation_ns
        self._keeps_book = keeps_book
        self._venue_busy = keeps_book
        self._records_inputs = records_inputs
        self._unrecorded: list[Input] = []
        self._timers: list[tuple[int, str]] = []
        self._next_valuation_ns = 0
        self._next_due_ns = 0
        self._next_snapshot_ns = 0
        self._wire()

    def feed(self, event: MarketEvent) -> None:
        """Take one market event through the pipeline."""
        t = event.ts_event_ns
        if self._venue_busy:
            self.venue.before(t)
            self._next_due_ns = min(self._next_due_ns, self.venue.next_due_ns)
        if t >= self._next_due_ns:
            self.advance(t)
        self.now_ns = t
        self.input_no += 1
        self.market_events += 1
        if self._records_inputs:
            self._unrecorded.append(event)
        if type(event) is Trade:
            mark = self.marks[event.symbol]
            mark.before_ticks = mark.price_ticks
            mark.price_ticks = event.price_ticks
            mark.ts_event_ns = t
            caused: Sequence[Any] = self._candles_on_trade(event)
            if caused:
                self._run(caused)
            caused = self._signals_on_trade(event)
            if caused:
                self._run(caused)
        else:
            self.book_events += 1
            if type(event) is TopOfBook:
                mark = self.marks[event.symbol]
                mark.bid_ticks = event.bid_ticks
                mark.ask_ticks = event.ask_ticks
                mark.book_ns = t
        if self._venue_busy:
            self.venue.after(event)
            self._deliver(t)
            self._venue_busy = self._keeps_book or not self.venue.is_idle

    def report(self, report: VenueReport) -> None:
        """Take in what a venue outside said about an order (a simulated one is asked by the pipeline itself)."""
        self.advance(report.ts_event_ns)
        self._take(report, report.ts_event_ns)
        self._run(self.stages.execution.on_report(report))
        if report.trade_id:
            self.snapshot()

    def control(self, event: ControlEvent) -> None:
        """Change the trading state, because an operator or a breaker said so."""
        self._run((event,))

    def adjust(self, adjustment: Adjustment) -> None:
        """Correct the books, because an operator said so.

        Raises:
            ValueError: the correction does not fit the books (`Books.why_not`); nothing has changed then.
        """
        self._run((adjustment,))
        self.snapshot()

    def ask(self, asked: Asked) -> None:
        """Let an operator have a position closed, an order cancelled, or an exit that waits for a word let go.

        Where there is nothing to do, nothing changes.
        """
        self.now_ns = max(self.now_ns, asked.ts_event_ns)
        if asked.what == "cancel":
            self._run(self.stages.execution.on_asked(asked))
        elif asked.what == "release":
            self.stages.signals.release(symbol=asked.symbol)
        elif asked.symbol in self.marks:
            self._run(self.stages.signals.on_asked(asked, self.marks[asked.symbol].price_ticks))

    def past_candles(self, candles: Sequence[Candle]) -> None:
        """Show candles from before the start, oldest first, to the stages that need a past."""
        for candle in candles:
            self._run(self.stages.regimes.on_candle(candle))
            self.stages.signals.on_candle(candle)
            self.stages.risk.on_candle(candle)

    def past_trades(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Show trades of a symbol from before the start, oldest first; nothing is decided from them."""
        self.stages.signals.on_history(symbol, trades)

    def gap(self, symbol: str, until_ns: int) -> None:
        """Trades of a symbol may be missing up to a market time (`NEVER`: the gap is still open)."""
        self.stages.signals.on_gap(symbol, until_ns)

    @property
    def next_due_ns(self) -> int:
        """Market time at which the next thing is due: whoever drives a live pipeline calls `advance` then."""
        return self._next_due_ns

    def flush(self) -> None:
        """Hand the inputs that caused nothing to the recorders (at the end of a run, and now and then before)."""
        if self._unrecorded:
            first_no = self.input_no - len(self._unrecorded) + 1
            for recorder in self._recorders:
                recorder.inputs(first_no, self._unrecorded)
            self._unrecorded = []

    def snapshot(self) -> None:
        """Hand a look at the account to the recorders (also done at fills, and each minute while something is held)."""
        portfolio = self.stages.portfolio
        snapshot = portfolio.snapshot(self.now_ns)
        for recorder in self._recorders:
            recorder.snapshot(snapshot, portfolio.state.books.positions)

    @property
    def trades_in(self) -> int:
        """Trades taken so far."""
        return self.market_events - self.book_events

    # --- a restart ---

    def record_to(self, recorders: Sequence[Recorder]) -> None:
        """Tell these recorders, and no others, of what happens from now on."""
        self.flush()
        self._recorders = tuple(recorders)

    def save(self, *, with_venue: bool) -> Saved:
        """Return what this pipeline remembers; recorders are left out. Call it between two inputs, pickle it at once.

        Args:
            with_venue: Take the venue along: one that lives in this process, such as the paper venue.
        """
        self.flush()
        return Saved(
            stages=self.stages,
            marks=self.marks,
            venue=self.venue if with_venue else None,
            input_no=self.input_no,
            market_events=self.market_events,
            book_events=self.book_events,
            first_ns=self.first_ns,
            now_ns=self.now_ns,
            timers=self._timers,
            next_valuation_ns=self._next_valuation_ns,
            next_due_ns=self._next_due_ns,
            next_snapshot_ns=self._next_snapshot_ns,
            candles=self.candles,
        )

    def load(self, saved: Saved) -> None:
        """Go on as the saved pipeline would have; this one was built for the same configuration and took no input yet.

        Raises:
            ValueError: it took an input already.
        """
        if self.input_no:
            raise ValueError(f"this pipeline took {self.input_no} inputs; only a new one can take over a saved state")
        self.stages = saved.stages
        self.marks = saved.marks
        self.venue = saved.venue or self.venue
        self.input_no = saved.input_no
        self.market_events = saved.market_events
        self.book_events = saved.book_events
        self.first_ns = saved.first_ns
        self.now_ns = saved.now_ns
        self._timers = saved.timers
        self._next_valuation_ns = saved.next_valuation_ns
        self._next_due_ns = saved.next_due_ns
        self._next_snapshot_ns = saved.next_snapshot_ns
        self.candles = saved.candles
        self._venue_busy = self._keeps_book or not self.venue.is_idle
        self._wire()

    def await_history(self, symbol: str, until_ns: int = 0) -> None:
        """Ask nothing about a symbol until `past_trades` has told what was before; exits go on.

        In a run that is resumed the past is what its strategies did not see yet, up to about `until_ns`.
        """
        self.stages.signals.await_history(symbol, self.marks[symbol].ts_event_ns, until_ns)

    def resumed(self, mode: OnRestart, now_ns: int, histories: Sequence[str] = ()) -> None:
        """Say that a run goes on at `now_ns` after nobody saw the market for a while: once, before anything else happens.

        Args:
            mode: What to do with a position that is beyond its stop at the first trade.
            now_ns: Market time.
            histories: Symbols whose missed trades will come (`past_trades`). The others have a gap up to now.
        """
        self.stages.candles.resumed(now_ns)
        for symbol in histories:
            self.await_history(symbol, now_ns)
        self.stages.signals.resumed(mode, now_ns)

    def replace(self, stages: Stages) -> None:
        """Go on with other stages, which have taken over what these remember (other settings, say)."""
        self.stages = stages
        self._wire()

    # --- owners ---

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """Who owns a position of what: (strategy id, symbol), in the order of opening."""
        return tuple(self.stages.portfolio.state.books.positions)

    def orphan(self, strategy_id: str, symbol: str, params: StrategyParams | None = None) -> None:
        """Let a position whose strategy is gone be got out of, and nothing else (`Signals.orphan`).

        Raises:
            SafetyRefusal: that strategy owns none of that symbol.
        """
        position = self._owned(strategy_id, symbol)
        own = msgspec.structs.replace(position)  # the desk follows the fills on its own
        self.stages.signals.orphan(strategy_id, self.stages.portfolio.state.books.instruments[symbol], own, params)

    def adopt(self, owner_id: str, strategy_id: str, symbol: str, *, operator: str, reason: str, now_ns: int) -> None:
        """Hand a position to another strategy, because an operator said so.

        Raises:
            SafetyRefusal: the owner has none, an order of it is still live, or the other strategy does not trade the symbol.
        """
        position, signals = self._owned(owner_id, symbol), self.stages.signals
        if owner_id == strategy_id or not signals.has_desk(strategy_id, symbol):
            raise SafetyRefusal(
                f"{strategy_id} cannot adopt the {symbol} of {owner_id}: it has to be another strategy, which trades {symbol}"
            )
        live = [o.order_no for o in self.stages.execution.live if (o.strategy_id, o.symbol) == (owner_id, symbol)]
        if live:
            raise SafetyRefusal(
                f"{strategy_id} cannot adopt the {symbol} of {owner_id} while its order {live[0]} is live; wait for its end"
            )
        if not signals.has_desk(owner_id, symbol):
            self.orphan(owner_id, symbol)
        quantity, at_ns = decimal_of(position.base_units), max(now_ns, self.now_ns)
        self._run((Adopted(owner_id, strategy_id, symbol, quantity, operator, reason, at_ns),))
        self.snapshot()

    def _owned(self, strategy_id: str, symbol: str) -> Position:
        position = self.stages.portfolio.state.books.positions.get((strategy_id, symbol))
        if position is None:
            held = ", ".join(f"{owner} {of}" for owner, of in self.owners) or "nothing"
            raise SafetyRefusal(f"strategy {strategy_id} owns no {symbol}; what is held: {held}")
        return position

    # --- time ---

    def advance(self, t: int) -> None:
        """Let happen what is due at or before t, oldest first; also where no market event comes (a silent market)."""
        if not self.now_ns:
            self.now_ns = self.first_ns = t
            self._value(t)
        if t - self.now_ns > LONGEST_SILENCE_NS:
            raise DataError(
                f"market time jumps from {self.now_ns} ns to {t} ns, more than {LONGEST_SILENCE_NS // DAY_NS} days; a time"
                " must be wrong (claire data check), or these are two recordings: run them one by one"
            )
        while True:
            due = min(self._timers[0][0] if self._timers else NEVER, self.venue.next_due_ns)
            if due > t:
                break
            if self._next_valuation_ns <= due:
                self._value(due - due % self._valuation_ns)
            if self._timers and self._timers[0][0] == due:
                self._fire(Timer(*heappop(self._timers)))
                if self._venue_busy:
                    self.venue.before(t)
            else:
                self._deliver(due)
        if self._next_valuation_ns <= t:
            self._value(t - t % self._valuation_ns)
        self._schedule(t)

    def _deliver(self, now_ns: int) -> None:
        """Deliver the venue's reports that are due."""
        while self.venue.next_due_ns <= now_ns:
            for report in self.venue.due(now_ns):
                self._take(report, report.ts_event_ns)
                self._run(self.stages.execution.on_report(report))
                if report.trade_id:
                    self.snapshot()

    def _fire(self, timer: Timer) -> None:
        self._take(timer, timer.due_ns)
        if timer.id.startswith(CANDLE_TIMER):
            self._run(self.stages.candles.on_timer(timer))
        elif timer.id.startswith(ALLOCATION_TIMER):
            self._run(self.stages.allocations.on_timer(timer))
        elif timer.id.startswith(RISK_TIMER):
            self._run(self.stages.risk.on_timer(timer))
        else:
            self._run(self.stages.execution.on_timer(timer))

    def _take(self, entered: Timer | VenueReport, at_ns: int) -> None:
        self.now_ns = max(self.now_ns, at_ns)
        self.input_no += 1
        if self._records_inputs:
            self._unrecorded.append(entered)

    def _value(self, at_ns: int) -> None:
        """Look at equity at one moment of the grid. Between two inputs nothing changes, so one look stands for all."""
        caused = self.stages.risk.on_valuation(at_ns)
        self.stages.portfolio.on_valuation()
        if caused:
            self._run(caused)
        if at_ns >= self._next_snapshot_ns:
            self._next_snapshot_ns = at_ns + SNAPSHOT_NS
            self.snapshot()
        self._schedule(at_ns)

    def _schedule(self, t: int) -> None:
        """Find the next moment at which something is due. While nothing is held, only the day's turn needs a look."""
        grid = DAY_NS if self.stages.risk.is_at_rest else self._valuation_ns
        self._next_valuation_ns = t - t % grid + grid
        timer_ns = self._timers[0][0] if self._timers else NEVER
        self._next_due_ns = min(self._next_valuation_ns, timer_ns, self.venue.next_due_ns)

    # --- events ---

    def _run(self, events: Iterable[Any]) -> None:
        """Run events through the stages, and all that they cause, in causal order."""
        queue = deque(events)
        while queue:
            event = queue.popleft()
            for handle in self._routes[type(event)]:
                caused = handle(event)
                if caused:
                    queue.extend(caused)
        self._venue_busy = self._keeps_book or not self.venue.is_idle
        self._schedule(self.now_ns)

    def _wire(self) -> None:
        """Look up who hears what; what every trade passes is looked up once."""
        self._routes = self._make_routes()
        self._candles_on_trade = self.stages.candles.on_trade
        self._signals_on_trade = self.stages.signals.on_trade

    def _make_routes(self) -> dict[type, tuple[Callable[[Any], Any], ...]]:
        """Say who hears what, in which order. Read it as the picture in DESIGN 1."""
        s, record = self.stages, self._record
        return {
            Candle: (self._record_candle, s.regimes.on_candle, s.signals.on_candle, s.risk.on_candle),
            RegimeChanged: (record, s.allocations.on_regime),
            AllocationDecision: (record, s.risk.on_allocation),
            Signal: (record, s.portfolio.on_signal, s.risk.on_signal),
            Denial: (record, s.signals.on_denial),
            Reserved: (record,),
            Intent: (record, s.execution.on_intent),
            Submit: (self._submit,),
            Cancel: (self._cancel,),
            OrderEvent: (record, s.signals.on_order, s.risk.on_order, s.portfolio.on_order),
            Fill: (record, s.signals.on_fill, s.risk.on_fill, s.portfolio.on_fill),
            ControlEvent: (record, s.risk.on_control),
            RiskAlert: (record,),
            Asked: (s.execution.on_asked,),
            Adjustment: (s.risk.on_adjustment, s.portfolio.on_adjustment),
            PositionDusted: (record, s.signals.on_dusted, s.portfolio.on_dusted),
            Adopted: (record, s.signals.on_adopted, s.execution.on_adopted, s.risk.on_adopted, s.portfolio.on_adopted),
            Transaction: (self._post,),
            RoundTrip: (record,),
            SetTimer: (self._set_timer,),
        }

    def _record(self, event: Recorded) -> None:
        self.flush()
        for recorder in self._recorders:
            recorder.decided(self.input_no, event)

    def _record_candle(self, candle: Candle) -> None:
        self.candles += 1
        for recorder in self._recorders:
            recorder.candle(candle)

    def _post(self, transaction: Transaction) -> None:
        for recorder in self._recorders:
            recorder.postings(transaction.postings)

    def _submit(self, command: Submit) -> None:
        self.venue.submit(command, self.now_ns)

    def _cancel(self, command: Cancel) -> None:
        self.venue.cancel(command, self.now_ns)

    def _set_timer(self, command: SetTimer) -> None:
        heappush(self._timers, (command.due_ns, command.id))
