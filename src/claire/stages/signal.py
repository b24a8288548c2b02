"""Signal: turns what strategies think into at most one wish per trade, and never two at once.

Input: `Trade` (raw or enriched), `Candle`, and what became of earlier wishes: `Denial`, `Fill`, `OrderEvent`,
`PositionDusted`. Output: `Signal`. One desk per strategy and symbol knows whether it is flat, long or waiting for an
answer; the exits that all strategies share (stop, target, longest holding time) live here. Every trade that brings no
signal is counted under the reason why.

A restart finds desks as they were: `Signals.resumed` says that time has passed, `await_history` that the trades of the time
between are on their way. While they are, the exits go on and nothing else does.
"""

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from math import isfinite
from typing import SupportsFloat

from msgspec import Struct

from claire.model.books import Position
from claire.model.decisions import Adopted, Asked, Denial, Fill, OrderEvent, PositionDusted, Signal
from claire.model.errors import StrategyError
from claire.model.instrument import Instrument
from claire.model.market import Candle, Side, Trade
from claire.model.orders import TERMINAL
from claire.strategies.base import Opinion, Strategy, StrategyParams

ENTER, EXIT, NO_ENTRY, WARMING_UP = Opinion.ENTER, Opinion.EXIT, Opinion.NO_ENTRY, Opinion.WARMING_UP

A_GAP_WITHOUT_END_NS = 1 << 61
"""What is blind until after this is blind until somebody says otherwise."""

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


class OnRestart(StrEnum):
    """What to do with a position that is beyond its stop at the first trade after a restart."""

    SELL = "sell"
    """Sell it, as at any other trade."""
    ASK = "ask"
    """Wait for an operator's word (`Signals.release`), or for the price to come back above the stop."""


class Orphan(Strategy):
    """Stands for a strategy that is not there any more: it never enters, and leaves at once only where nobody knows better."""

    def __init__(self, params: StrategyParams, instrument: Instrument, *, sells_at_once: bool) -> None:
        """Keep the exits that the strategy had; `sells_at_once`: nobody knows what they were."""
        super().__init__(params, instrument)
        self._opinion = EXIT if sells_at_once else NO_ENTRY

    def on_trade(self, trade: Trade) -> Opinion:
        """Say the same at every trade."""
        return self._opinion


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
        self._asks = False
        """Whether a position beyond its stop waits for an operator's word: it was found so at a restart."""
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
            return self._in_position(trade, opinion)
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

    def watch(self, trade: Trade) -> tuple[Side, str] | None:
        """Look at one trade for the exits alone: the strategy's past is on its way, so it is not asked."""
        if self._asked is None and self.position.bought_lots:
            return self._in_position(trade, WARMING_UP)
        self.suppressed["warming_up" if self._asked is None else "order_live"] += 1
        return None

    def warm(self, trade: Trade) -> None:
        """Let the strategy see a trade of the past; its opinion of it is not asked."""
        self._opinion_of(trade)

    def on_gap(self, until_ns: int) -> None:
        """Trades may be missing up to `until_ns` (market time): start nothing that would rest on them."""
        self._blind_until_ns = until_ns + round(self.strategy.memory_s * 1_000_000_000)

    def resumed(self, mode: OnRestart, now_ns: int, *, awaits_history: bool) -> None:
        """Time has passed up to `now_ns` that this desk did not see; its history tells of it, or nobody does."""
        self._asks = mode is OnRestart.ASK and not self.position.is_flat
        if not awaits_history or self._blind_until_ns >= A_GAP_WITHOUT_END_NS:
            self.on_gap(now_ns)

    @property
    def is_free(self) -> bool:
        """Whether no wish of this desk waits for an answer, and no order of it is live."""
        return self._asked is None

    @property
    def asks(self) -> bool:
        """Whether its position is, as far as it knows, beyond the stop since a restart and waits for an operator's word."""
        return self._asks

    def release(self) -> None:
        """An operator said: act as at any other trade."""
        self._asks = False

    def take_over(self, position: Position) -> None:
        """Own a position that another strategy opened, beside what is owned already; the exits of this desk hold for it."""
        self.position.join(position)
        self._set_levels()

    def orphan(self) -> None:
        """Go on without the strategy: its exits stay as they are, nothing is entered any more."""
        self.strategy = Orphan(self.strategy.params, self.instrument, sells_at_once=False)
        self._opinion_of = self.strategy.on_trade

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
        """Follow the position and set the exit levels from the average entry price.

        Late fills too: one of an entry that was thought to be over opens a position, which is watched like any other; one
        of an exit may sell what is not owned any more, which is the books' concern.
        """
        self.position.apply(fill, self.instrument)
        if fill.side is Side.BUY:
            self._set_levels()
        elif self.position.is_flat:
            self.position = Position()

    def _set_levels(self) -> None:
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
        self._asks = False

    def _in_position(self, trade: Trade, opinion: Opinion) -> tuple[Side, str] | None:
        """Leave for the first reason that there is, or count why not."""
        price = trade.price_ticks
        if self._asks and price > self._stop_ticks:
            self._asks = False
        if price <= self._stop_ticks:
            reason = "stop_loss"
        elif self._target_ticks and price >= self._target_ticks:
            reason = "take_profit"
        elif self._hold_until_ns and trade.ts_event_ns >= self._hold_until_ns:
            reason = "max_hold"
        elif opinion is EXIT:
            reason = "exit"
        else:
            self.suppressed["position_open"] += 1
            return None
        if trade.ts_event_ns >= self._exit_again_ns and not self._asks:
            return Side.SELL, reason
        self.suppressed["exit_waits"] += 1
        return None


def _ratio(percent: float, sign: int) -> tuple[int, int] | None:
    """Return 100 % plus or minus `percent` as an exact ratio; None: it is switched off."""
    return (1 + sign * Fraction(repr(percent)) / 100).as_integer_ratio() if percent else None


class Awaited(Struct):
    """A symbol whose past is on its way."""

    seen_ns: int = 0
    """Time of the last trade that its strategies saw before; 0: none."""
    until_ns: int = 0
    """From when on its trades come live again, as far as is known."""
    trades: list[Trade] = []
    """What came live since."""


class Signals:
    """The stage: all desks, and the numbering of signals."""

    def __init__(self, desks: Sequence[Desk]) -> None:
        """Put the desks in order; for one trade they are asked in this order."""
        self.desks: tuple[Desk, ...] = ()
        self.by_symbol: dict[str, tuple[Desk, ...]] = {}
        self._by_owner: dict[tuple[str, str], Desk] = {}
        self._last_no = 0
        self._warming: dict[str, Awaited] = {}
        """Symbols whose history is still on its way."""
        self._candle_ns: dict[str, int] = {}
        """End of the last candle that was shown, by symbol."""
        self.reseat(desks)

    def reseat(self, desks: Sequence[Desk]) -> None:
        """Put these desks, in this order, in place of those that are there; signals are numbered on."""
        self.desks, self.by_symbol, self._by_owner = (), {}, {}
        for desk in desks:
            self.add(desk)

    def add(self, desk: Desk) -> None:
        """Take in one more desk; it is asked after those that are there."""
        symbol = desk.instrument.symbol
        self.desks = (*self.desks, desk)
        self.by_symbol[symbol] = (*self.by_symbol.get(symbol, ()), desk)
        self._by_owner[desk.strategy_id, symbol] = desk

    def on_trade(self, trade: Trade) -> Sequence[Signal]:
        """Ask every desk of the symbol about one trade."""
        signals: Sequence[Signal] = ()
        if self._warming and trade.symbol in self._warming:
            return self._while_awaiting(trade)
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
        """Show a closed candle to the desks that want candles; one that is not newer than the last is not shown again."""
        if candle.close_ns <= self._candle_ns.get(candle.symbol, 0):
            return
        self._candle_ns[candle.symbol] = candle.close_ns
        for desk in self.by_symbol.get(candle.symbol, ()):
            if desk.strategy.wants_candles:
                try:
                    desk.strategy.on_candle(candle)
                except (Exception, SystemExit) as e:
                    raise StrategyError(
                        f"strategy {desk.strategy_id} raised {type(e).__name__}: {e} at the {candle.symbol} candle"
                        f" that opened at {candle.open_ns} ns"
                    ) from e

    def await_history(self, symbol: str, seen_ns: int = 0, until_ns: int = 0) -> None:
        """Trades of a symbol come live from now on, its past comes later (`on_history`): until then only exits are asked for.

        Args:
            symbol: The symbol.
            seen_ns: Market time of the last trade that its strategies saw, in a run that is resumed.
            until_ns: Market time at which it is.
        """
        before = self._warming.get(symbol)
        self._warming[symbol] = Awaited(seen_ns if before is None else before.seen_ns, until_ns)

    def on_history(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Show the past of a symbol to its strategies, oldest first, then what came meanwhile; from now on they are asked.

        What they saw before is not shown again. A past that does not reach back to it leaves a gap. One that nobody waits
        for any more is not shown: what came since would be before it.
        """
        awaited = self._warming.pop(symbol, None)
        if awaited is None:
            return
        news = [trade for trade in trades if trade.ts_event_ns > awaited.seen_ns]
        has_hole = awaited.seen_ns > 0 and len(news) == len(trades)
        shown = (*news, *awaited.trades)
        for desk in self.by_symbol.get(symbol, ()):
            if has_hole:
                desk.on_gap(shown[0].ts_event_ns if shown else awaited.until_ns)
            for trade in shown:
                try:
                    desk.warm(trade)
                except (Exception, SystemExit) as e:
                    raise StrategyError(
                        f"strategy {desk.strategy_id} raised {type(e).__name__}: {e} at the {symbol} trade of"
                        f" {trade.ts_event_ns} ns, which it was shown as its past"
                    ) from e

    def resumed(self, mode: OnRestart, now_ns: int) -> None:
        """Say once, after a recovery, that trades were missed up to `now_ns`; `await_history` where it comes goes before."""
        for desk in self.desks:
            desk.resumed(mode, now_ns, awaits_history=desk.instrument.symbol in self._warming)

    @property
    def last_no(self) -> int:
        """The number of the last signal; 0: there was none."""
        return self._last_no

    @property
    def asking(self) -> tuple[tuple[str, str], ...]:
        """The positions that wait for an operator's word, by (strategy id, symbol)."""
        return tuple(owner for owner, desk in self._by_owner.items() if desk.asks)

    def release(self, strategy_id: str = "", symbol: str = "") -> None:
        """An operator said: act. For one strategy or symbol, or for all."""
        for (owner_id, held), desk in self._by_owner.items():
            if strategy_id in ("", owner_id) and symbol in ("", held):
                desk.release()

    def desk_of(self, strategy_id: str, symbol: str) -> Desk:
        """Return the desk of a strategy on a symbol.

        Raises:
            KeyError: there is none.
        """
        return self._by_owner[strategy_id, symbol]

    def has_desk(self, strategy_id: str, symbol: str) -> bool:
        """Whether a strategy, or what stands for it, watches a symbol."""
        return (strategy_id, symbol) in self._by_owner

    def orphan(
        self,
        strategy_id: str,
        instrument: Instrument,
        position: Position | None = None,
        params: StrategyParams | None = None,
    ) -> None:
        """Watch a position whose strategy is not there any more: it is only got out of.

        Where the strategy's desk is there, its exits stay as they are. Else a new desk takes `position` over with the exits
        in `params`; without them nobody knows any, and it is sold at the next trade.
        """
        desk = self._by_owner.get((strategy_id, instrument.symbol))
        if desk is not None:
            desk.orphan()
            return
        exits = StrategyParams(stop_loss_pct=0.0, take_profit_pct=0.0, max_hold_s=0.0) if params is None else params
        desk = Desk(strategy_id, Orphan(exits, instrument, sells_at_once=params is None), 0)
        if position is not None:
            desk.take_over(position)
        self.add(desk)

    def on_asked(self, asked: Asked, price_ticks: int) -> Sequence[Signal]:
        """An operator asks that every position in a symbol be sold: one signal for each desk that is not selling already.

        Args:
            asked: By whom, and of which symbol.
            price_ticks: The symbol's last price; 0: none was seen, so nothing can be sold by it.
        """
        signals: Sequence[Signal] = ()
        for desk in self.by_symbol.get(asked.symbol, ()) if price_ticks else ():
            if desk.is_free and not desk.position.is_flat:
                desk.asked(Side.SELL)
                self._last_no += 1
                wish = Signal(
                    signal_no=self._last_no,
                    strategy_id=desk.strategy_id,
                    symbol=asked.symbol,
                    side=Side.SELL,
                    ts_event_ns=asked.ts_event_ns,
                    price_ticks=price_ticks,
                    reason="operator",
                )
                signals = (*signals, wish)
        return signals

    def on_adopted(self, event: Adopted) -> None:
        """Let a position change its desk."""
        desk = self._by_owner[event.owner_id, event.symbol]
        self._by_owner[event.strategy_id, event.symbol].take_over(desk.position)
        desk.went_flat()

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

    def _while_awaiting(self, trade: Trade) -> Sequence[Signal]:
        """Keep a trade whose symbol's past is awaited; when its own memory is full the past is not needed any more."""
        awaited = self._warming[trade.symbol]
        awaited.trades.append(trade)
        desks = self.by_symbol.get(trade.symbol, ())
        signals: Sequence[Signal] = ()
        for desk in desks:
            wish = desk.watch(trade)
            if wish is not None:
                signals = (*signals, self._signal(desk, trade, *wish))
        memory_s = max((desk.strategy.memory_s for desk in desks), default=0.0)
        if trade.ts_event_ns - awaited.trades[0].ts_event_ns >= memory_s * 1_000_000_000:
            self.on_history(trade.symbol, ())
        return signals

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
