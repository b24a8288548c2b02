"""Signal: turns what strategies think into at most one wish per trade, and never two at once.

Input: `Trade` (raw or enriched), `Candle`, and what became of earlier wishes: `Denial`, `Fill`, `OrderEvent`,
`PositionDusted`. Output: `Signal`. One desk per strategy and symbol knows whether it is flat, long or waiting for an
answer; the exits that all strategies share (stop, target, longest holding time) live here. Every trade that brings no
signal is counted under the reason why.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from typing import SupportsFloat

from claire.model.books import Position
from claire.model.decisions import Denial, Fill, OrderEvent, PositionDusted, Signal
from claire.model.errors import StrategyError
from claire.model.instrument import Instrument
from claire.model.market import Candle, Side, Trade
from claire.model.orders import TERMINAL
from claire.strategies.base import Opinion, Strategy

ENTER, EXIT, NO_ENTRY = Opinion.ENTER, Opinion.EXIT, Opinion.NO_ENTRY

EXIT_AGAIN_NS = 1_000_000_000
"""How long an exit that was refused or not filled waits before it is asked for again: a venue that says no at every trade
is not asked at every trade."""

REASONS = (
    "warming_up",
    "below_threshold",
    "volume",
    "position_open",
    "order_live",
    "waiting_below_threshold",
    "stale",
    "feed_gap",
    "exit_waits",
)
"""Why a trade brings no signal; with the signals they add up to the trades that a desk saw."""


class Desk:
    """One strategy on one symbol: its opinion, its position as far as fills told, and its open question."""

    def __init__(self, strategy_id: str, strategy: Strategy, max_age_ns: int) -> None:
        """Start flat. Trades older than `max_age_ns` when received start nothing (live input only)."""
        self.strategy_id = strategy_id
        self.strategy = strategy
        self.instrument: Instrument = strategy.instrument
        self.signals = 0
        self.suppressed = dict.fromkeys(REASONS, 0)
        self.position = Position()
        self._opinion_of = strategy.on_trade
        self._max_age_ns = max_age_ns
        self._blind_until_ns = 0
        """Market time until which the feed's last gap lies within the strategy's memory."""
        self._asked: Side | None = None
        """Side of the wish that is still undecided, live or unknown."""
        self._order_no = 0
        """The order that the last wish became."""
        self._wait_for_no_entry = False
        self._exit_again_ns = 0
        """Market time before which an exit that came to nothing is not asked for again."""
        self._sold_lots = 0
        """Sold in this round trip when the last exit was asked for."""
        self._hold_until_ns = 0
        self._stop_ticks = 0
        self._target_ticks = 0
        params = strategy.params
        self._hold_ns = round(params.max_hold_s * 1_000_000_000)
        self._kept_at_stop = _ratio(params.stop_loss_pct, -1)
        self._kept_at_target = _ratio(params.take_profit_pct, 1)

    def on_trade(self, trade: Trade) -> tuple[Side, str] | None:
        """Look at one trade; return the side and reason of a wish, or count why there is none."""
        opinion = self._opinion_of(trade)
        if opinion is NO_ENTRY or opinion is EXIT:
            self._wait_for_no_entry = False
        elif not isinstance(opinion, Opinion):
            raise StrategyError(
                f"strategy {self.strategy_id} answered {opinion!r} at the {trade.symbol} trade of"
                f" {trade.ts_event_ns} ns; on_trade must return an Opinion"
            )
        if self._asked is not None:
            reason = "order_live"
        elif self.position.bought_lots:
            exit_reason = self._exit_reason(trade, opinion)
            if exit_reason and trade.ts_event_ns >= self._exit_again_ns:
                return Side.SELL, exit_reason
            reason = "exit_waits" if exit_reason else "position_open"
        elif opinion is ENTER:
            if self._wait_for_no_entry:
                reason = "waiting_below_threshold"
            elif trade.ts_recv_ns is not None and trade.ts_recv_ns - trade.ts_event_ns > self._max_age_ns:
                reason = "stale"
            elif trade.ts_event_ns < self._blind_until_ns:
                reason = "feed_gap"
            else:
                return Side.BUY, "entry"
        elif opinion is EXIT:
            reason = "below_threshold"
        else:
            reason = opinion._value_
        self.suppressed[reason] += 1
        return None

    def warm(self, trade: Trade) -> None:
        """Let the strategy see a trade of the past; its opinion of it is not asked."""
        self._opinion_of(trade)

    def on_gap(self, until_ns: int) -> None:
        """Trades may be missing up to `until_ns` (market time): start nothing that would rest on them."""
        self._blind_until_ns = until_ns + round(self.strategy.memory_s * 1_000_000_000)

    def asked(self, side: Side) -> None:
        """A wish was uttered; nothing more is asked until it is answered."""
        self.signals += 1
        self._asked = side
        self._sold_lots = self.position.sold_lots

    def on_denial(self, denial: Denial) -> None:
        """Risk said no: free to ask again, but an entry only after the condition was false once."""
        self._asked = None
        if denial.side is Side.BUY:
            self._wait_for_no_entry = True
        else:
            self._exit_again_ns = denial.ts_event_ns + EXIT_AGAIN_NS

    def on_fill(self, fill: Fill) -> None:
        """Follow the position and set the exit levels from the average entry price."""
        self.position.apply(fill, self.instrument)
        if fill.side is Side.SELL:
            return
        lots, value = self.position.bought_lots, self.position.bought_value
        if self._hold_ns:
            self._hold_until_ns = self.position.entry_ns + self._hold_ns
        if self._kept_at_stop:
            kept, parts = self._kept_at_stop
            self._stop_ticks = value * kept // (lots * parts)
        if self._kept_at_target:
            kept, parts = self._kept_at_target
            self._target_ticks = -(-value * kept // (lots * parts))

    def on_order(self, event: OrderEvent) -> None:
        """An order of this desk reached a state; in a terminal one the wish is answered.

        A late fill brings one more terminal event of an order that was answered before; it may end the round trip
        too, but it says nothing about the order that is live by then.
        """
        if event.state not in TERMINAL:
            self._order_no = event.order_no
            return
        if event.order_no == self._order_no and self._asked is event.side:
            self._asked = None
            if event.side is Side.BUY:
                self._wait_for_no_entry = self.position.is_flat
            elif self.position.sold_lots == self._sold_lots:
                self._exit_again_ns = event.ts_event_ns + EXIT_AGAIN_NS
        if self.position.has_ended(event, self.instrument):
            self.went_flat()

    def went_flat(self) -> None:
        """The round trip is over; what is left of it is dust and nobody's business here."""
        self.position = Position()
        self._stop_ticks = self._target_ticks = self._hold_until_ns = self._exit_again_ns = 0

    def _exit_reason(self, trade: Trade, opinion: Opinion) -> str | None:
        price = trade.price_ticks
        if price <= self._stop_ticks:
            return "stop_loss"
        if self._target_ticks and price >= self._target_ticks:
            return "take_profit"
        if self._hold_until_ns and trade.ts_event_ns >= self._hold_until_ns:
            return "max_hold"
        return "exit" if opinion is EXIT else None


def _ratio(percent: float, sign: int) -> tuple[int, int] | None:
    """Return 100 % plus or minus `percent` as an exact ratio; None: it is switched off."""
    return (1 + sign * Fraction(repr(percent)) / 100).as_integer_ratio() if percent else None


class Signals:
    """The stage: all desks, and the numbering of signals."""

    def __init__(self, desks: Sequence[Desk]) -> None:
        """Put the desks in order; for one trade they are asked in this order."""
        self.desks = tuple(desks)
        self.by_symbol: dict[str, tuple[Desk, ...]] = {}
        for desk in self.desks:
            symbol = desk.instrument.symbol
            self.by_symbol[symbol] = (*self.by_symbol.get(symbol, ()), desk)
        self._by_owner = {(desk.strategy_id, desk.instrument.symbol): desk for desk in self.desks}
        self._last_no = 0
        self._warming: dict[str, list[Trade]] = {}
        """Trades of symbols whose history is still on its way."""

    def on_trade(self, trade: Trade) -> Sequence[Signal]:
        """Ask every desk of the symbol about one trade."""
        signals: Sequence[Signal] = ()
        if self._warming and self._is_warming(trade):
            return signals
        for desk in self.by_symbol.get(trade.symbol, ()):
            try:
                wish = desk.on_trade(trade)
                if wish is not None:
                    signals = (*signals, self._signal(desk, trade, *wish))
            except StrategyError:
                raise
            except (Exception, SystemExit) as e:
                raise StrategyError(
                    f"strategy {desk.strategy_id} raised {type(e).__name__}: {e} at the {trade.symbol} trade"
                    f" of {trade.ts_event_ns} ns; the run stops here, its journal is complete up to this input"
                ) from e
        return signals

    def on_candle(self, candle: Candle) -> None:
        """Show a closed candle to the desks that want candles."""
        for desk in self.by_symbol.get(candle.symbol, ()):
            if desk.strategy.wants_candles:
                try:
                    desk.strategy.on_candle(candle)
                except (Exception, SystemExit) as e:
                    raise StrategyError(
                        f"strategy {desk.strategy_id} raised {type(e).__name__}: {e} at the {candle.symbol} candle"
                        f" that opened at {candle.open_ns} ns"
                    ) from e

    def await_history(self, symbol: str) -> None:
        """Trades of a symbol come live from now on, and its past comes later (`on_history`): ask nothing until then."""
        self._warming[symbol] = []

    def on_history(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Show the past of a symbol to its strategies, oldest first, then what came meanwhile; from now on they are asked.

        A past that nobody waits for any more is not shown: what came since would be before it.
        """
        waiting = self._warming.pop(symbol, None)
        if waiting is None:
            return
        for desk in self.by_symbol.get(symbol, ()):
            for trade in (*trades, *waiting):
                desk.warm(trade)

    def on_gap(self, symbol: str, until_ns: int) -> None:
        """Trades of a symbol may be missing up to a market time."""
        for desk in self.by_symbol.get(symbol, ()):
            desk.on_gap(until_ns)

    def on_denial(self, denial: Denial) -> None:
        """Pass risk's no to the desk that asked."""
        self._by_owner[denial.strategy_id, denial.symbol].on_denial(denial)

    def on_fill(self, fill: Fill) -> None:
        """Pass a fill to the desk that owns the order."""
        self._by_owner[fill.strategy_id, fill.symbol].on_fill(fill)

    def on_order(self, event: OrderEvent) -> None:
        """Pass an order's new state to its desk."""
        self._by_owner[event.strategy_id, event.symbol].on_order(event)

    def on_dusted(self, event: PositionDusted) -> None:
        """The rest of a position went to dust: the desk is flat."""
        self._by_owner[event.strategy_id, event.symbol].went_flat()

    def _is_warming(self, trade: Trade) -> bool:
        """Keep a trade whose symbol's past is awaited; when its own memory is full the past is not needed any more."""
        waiting = self._warming.get(trade.symbol)
        if waiting is None:
            return False
        waiting.append(trade)
        desks = self.by_symbol.get(trade.symbol, ())
        for desk in desks:
            desk.suppressed["warming_up"] += 1
        memory_s = max((desk.strategy.memory_s for desk in desks), default=0.0)
        if trade.ts_event_ns - waiting[0].ts_event_ns >= memory_s * 1_000_000_000:
            self.on_history(trade.symbol, ())
        return True

    def _signal(self, desk: Desk, trade: Trade, side: Side, reason: str) -> Signal:
        strength = _number(desk, trade, "strength", desk.strategy.strength) if side is Side.BUY else 1.0
        if not 0 <= strength <= 1:
            raise StrategyError(
                f"strategy {desk.strategy_id} gave the strength {strength!r} at the {trade.symbol} trade of"
                f" {trade.ts_event_ns} ns; it must be 0 to 1"
            )
        pct_change = desk.strategy.pct_change
        if pct_change is not None:
            pct_change = _number(desk, trade, "pct_change", pct_change)
        desk.asked(side)
        self._last_no += 1
        return Signal(
            signal_no=self._last_no,
            strategy_id=desk.strategy_id,
            symbol=trade.symbol,
            side=side,
            ts_event_ns=trade.ts_event_ns,
            price_ticks=trade.price_ticks,
            reason=reason,
            strength=strength,
            pct_change=pct_change,
        )


def _number(desk: Desk, trade: Trade, name: str, value: object) -> float:
    """Return what a strategy gave as a plain finite float: only that can be journalled and compared for ever."""
    if isinstance(value, SupportsFloat) and not isinstance(value, bool | str):
        number = float(value)
        if isfinite(number):
            return number
    raise StrategyError(
        f"strategy {desk.strategy_id} gave the {name} {value!r} at the {trade.symbol} trade of {trade.ts_event_ns} ns;"
        " it must be a finite number"
    )
