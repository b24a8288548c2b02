"""What the rest of the market does: orders drawn from a seed, or a recording played into the book.

The house quotes on both sides and takes; whoever else has orders in the book is met by the ordinary rules of matching. All of
it depends only on the seed (or the recording) and on market time, never on how often or when the clock is looked at.
"""

import heapq
import random
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from claire.mexcsim.book import crosses
from claire.mexcsim.exchange import Exchange, Market
from claire.mexcsim.orders import Kind, Order, PublicTrade
from claire.mexcsim.rules import NewOrder
from claire.mexcsim.symbols import ONLINE, SymbolRule
from claire.mexcsim.tape import QUIET_BPS
from claire.model.errors import DataError
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Side, Trade

UNLIMITED_UNITS = 10**9
"""How many whole base units an unlimited level offers."""


class FlowSettings(Struct, frozen=True, kw_only=True):
    """How lively the seeded market is, per symbol."""

    events_per_s: float = 5.0
    """Mean number of orders and quote changes a second; 0 stops the market (the first book stays)."""
    taker_share: float = 0.4
    """Which part of the events trades."""
    volatility_bps: float = 3.0
    """Standard deviation of the price over one second, in basis points."""
    burst_every_s: float = 45.0
    """Mean time between bursts; 0: none."""
    burst_pct: float = 0.8
    """How far a burst carries the price, up or down, in percent."""
    levels: int = 20
    """Levels on each side of the book."""
    level_quote: float = 2_000.0
    """Typical worth of one level, in quote; a trade is about a tenth of it."""
    past_volatility_bps: float = QUIET_BPS
    """Standard deviation of the price over one minute of the time before the start, in basis points."""


LIVELY = FlowSettings(volatility_bps=5.0, burst_every_s=120.0, burst_pct=3.0, past_volatility_bps=60.0)
"""A market with the large moves that a demonstration needs: several percent in a quarter of an hour, before the start too."""


class _Drawn:
    """What the seeded flow remembers about one symbol."""

    __slots__ = ("burst_left", "burst_step", "fair", "keys", "next_burst_s", "quotes", "rng", "rule")

    def __init__(self, rule: SymbolRule, seed: int) -> None:
        self.rule = rule
        self.rng = random.Random(f"{seed}:{rule.symbol}")
        self.fair = 0.0
        self.quotes: dict[tuple[Side, int], Order] = {}
        self.keys: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        """The prices quoted, best last (a sell's as its negative): what trades first is looked at first."""
        self.burst_left = 0
        self.burst_step = 0.0
        self.next_burst_s = 0.0


class SeededFlow:
    """A market that moves, trades and now and then bursts; the same one for the same seed."""

    def __init__(self, exchange: Exchange, settings: FlowSettings, seed: int, start_ms: int) -> None:
        self._exchange = exchange
        self._settings = settings
        self._seed = seed
        self._drawn: dict[str, _Drawn] = {}
        self._due: list[tuple[float, str]] = []
        for symbol, market in exchange.markets.items():
            self._begin(symbol, market, start_ms)

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by now."""
        due = self._due
        while due and due[0][0] <= now_ms:
            at_ms, symbol = due[0]
            drawn = self._drawn[symbol]
            pause_s = drawn.rng.expovariate(self._settings.events_per_s)
            heapq.heapreplace(due, (at_ms + pause_s * 1000, symbol))
            self._happen(symbol, drawn, int(at_ms), pause_s)

    def _begin(self, symbol: str, market: Market, start_ms: int) -> None:
        drawn = self._drawn[symbol] = _Drawn(market.rule, self._seed)
        drawn.fair = float(market.tape.last_price)
        if self._settings.burst_every_s > 0:
            drawn.next_burst_s = start_ms / 1000 + drawn.rng.expovariate(1 / self._settings.burst_every_s)
        if market.rule.status == ONLINE:
            self._quote(market, drawn, start_ms, everything=True)
        if self._settings.events_per_s > 0:
            pause_ms = 1000 * drawn.rng.expovariate(self._settings.events_per_s)
            heapq.heappush(self._due, (start_ms + pause_ms, symbol))

    def _happen(self, symbol: str, drawn: _Drawn, at_ms: int, elapsed_s: float) -> None:
        market = self._exchange.markets[symbol]
        if market.rule.status != ONLINE:
            return
        if market.rule.tick_units != drawn.rule.tick_units or market.rule.lot_units != drawn.rule.lot_units:
            drawn.fair = float(market.tape.last_price)  # in other steps since; the old quotes are gone
        drawn.rule = market.rule
        self._move(drawn, at_ms, elapsed_s)
        self._quote(market, drawn, at_ms, everything=False)
        if drawn.rng.random() < self._settings.taker_share:
            self._take(market, drawn, at_ms)
        else:
            self._requote(market, drawn, at_ms)

    def _move(self, drawn: _Drawn, at_ms: int, elapsed_s: float) -> None:
        settings, rng = self._settings, drawn.rng
        drawn.fair *= 1 + rng.gauss(0, settings.volatility_bps / 10_000 * elapsed_s**0.5)
        if settings.burst_every_s > 0 and at_ms / 1000 >= drawn.next_burst_s:
            drawn.next_burst_s = at_ms / 1000 + rng.expovariate(1 / settings.burst_every_s)
            drawn.burst_left = 10
            drawn.burst_step = rng.choice((-1, 1)) * settings.burst_pct / 100 / 10
        if drawn.burst_left:
            drawn.burst_left -= 1
            drawn.fair *= 1 + drawn.burst_step
        drawn.fair = max(drawn.fair, 2.0)

    def _size(self, drawn: _Drawn, share: float) -> int:
        worth = self._settings.level_quote * share * drawn.rng.lognormvariate(0, 0.7)
        return max(1, int(worth * 10**18 / (drawn.fair * drawn.rule.unit_value)))

    def _quote(self, market: Market, drawn: _Drawn, at_ms: int, *, everything: bool) -> None:
        """Withdraw what the price has passed, and quote where it is now."""
        fair = int(drawn.fair)
        best = {Side.BUY: fair, Side.SELL: fair + 1 + int(drawn.fair / 20_000)}
        for side, price in best.items():
            self._withdraw_stale(drawn, side, price, at_ms)
        for side, price in best.items():
            keys, away = drawn.keys[side], -1 if side is Side.BUY else 1
            self._offer(market, drawn, side, price, at_ms)
            worst = -away * keys[0] if keys else price
            missing = self._settings.levels - len(keys)
            for _ in range(missing if everything else min(2, missing)):
                worst += away * drawn.rng.randint(1, 1 + int(drawn.fair / 10_000))
                self._offer(market, drawn, side, worst, at_ms)

    def _withdraw_stale(self, drawn: _Drawn, side: Side, best: int, at_ms: int) -> None:
        """Forget own quotes that were filled; cancel those better than the best one wanted, and the worst if too many."""
        keys, sign = drawn.keys[side], 1 if side is Side.BUY else -1
        while keys:
            order = drawn.quotes[side, sign * keys[-1]]
            if not order.status.is_final:
                if keys[-1] <= sign * best:
                    break
                self._exchange.cancel(order, at_ms)
            del drawn.quotes[side, sign * keys.pop()]
        while len(keys) >= self._settings.levels:
            order = drawn.quotes.pop((side, sign * keys.pop(0)))
            if not order.status.is_final:
                self._exchange.cancel(order, at_ms)

    def _offer(self, market: Market, drawn: _Drawn, side: Side, price: int, at_ms: int) -> None:
        if price < 1 or (side, price) in drawn.quotes:
            return
        lots = self._size(drawn, 1.0)
        wanted = NewOrder(symbol=market.rule.symbol, side=side, kind=Kind.LIMIT, price=price, lots=lots)
        order = self._exchange.place_for_house(wanted, at_ms)
        if not order.status.is_final:
            drawn.quotes[side, price] = order
            insort(drawn.keys[side], price if side is Side.BUY else -price)

    def _take(self, market: Market, drawn: _Drawn, at_ms: int) -> None:
        side = (
            Side.BUY
            if drawn.rng.random() < 0.5 + (0.3 if drawn.burst_step > 0 else -0.3) * (drawn.burst_left > 0)
            else Side.SELL
        )
        best = market.book.opposite(side).best_price()
        if not best:
            return
        reach = drawn.rng.randint(0, 3)
        limit = best + reach if side is Side.BUY else max(1, best - reach)
        wanted = NewOrder(symbol=market.rule.symbol, side=side, kind=Kind.IOC, price=limit, lots=self._size(drawn, 0.1))
        self._exchange.place_for_house(wanted, at_ms)

    def _requote(self, market: Market, drawn: _Drawn, at_ms: int) -> None:
        """Change the quantity of one own quote: cancelled, and offered again at the end of its queue."""
        side = Side.BUY if drawn.rng.random() < 0.5 else Side.SELL
        keys = drawn.keys[side]
        if not keys:
            return
        key = keys.pop(drawn.rng.randrange(len(keys)))
        price = key if side is Side.BUY else -key
        order = drawn.quotes.pop((side, price))
        if not order.status.is_final:
            self._exchange.cancel(order, at_ms)
        self._offer(market, drawn, side, price, at_ms)


class RecordedTrade(Struct, frozen=True, gc=False):
    """One trade of a recording, in the symbol's own steps."""

    ts_ms: int
    symbol: str
    price: int
    lots: int
    side: Side


Recording = Iterable[tuple[int, str, Decimal, Decimal, str]]
"""(ts_ms, symbol, price, quantity, side) in order of time; side is the taker's, ``BUY`` or ``SELL``."""


def recording_of(batches: Iterable[Sequence[MarketEvent]], instruments: Mapping[str, Instrument]) -> Recording:
    """The trades of market events, as a recording; whatever else they are is passed over."""
    for batch in batches:
        for event in batch:
            if isinstance(event, Trade):
                instrument = instruments[event.symbol]
                price, quantity = instrument.price(event.price_ticks), instrument.quantity(event.quantity_lots)
                yield event.ts_event_ns // 1_000_000, event.symbol, price, quantity, event.side.value


class RecordedFlow:
    """A recording, played: around each trade the house holds one level a side, and the trade happens.

    In `lockstep` the levels are last ± `slippage_ticks` and without limit, and the recorded trade is printed, not matched, so
    that a market order gets exactly the recorded price ± slippage; the public sees the recording and nothing else. Otherwise
    the house takes the recorded quantity at the recorded price out of the book, and whoever waits there at that price or better
    is served first.
    """

    def __init__(
        self, exchange: Exchange, recording: Recording, *, lockstep: bool, slippage_ticks: int, depth_share: int = 5
    ) -> None:
        self._exchange = exchange
        exchange.prints = not lockstep
        self._trades = self._read(recording)
        self._lockstep = lockstep
        self._slippage = slippage_ticks
        self._depth_share = depth_share
        self._quotes: dict[str, list[Order]] = {}
        self._printed = 0
        self._next = next(self._trades, None)
        if self._next is not None:  # until it trades, this is the best that is known of its price
            exchange.markets[self._next.symbol].tape.last_price = self._next.price

    @property
    def next_ms(self) -> int | None:
        """When the next trade of the recording happened; None after its end."""
        return None if self._next is None else self._next.ts_ms

    def step(self, now_ms: int) -> RecordedTrade | None:
        """Play the next trade at a market time; return it, or None after the end."""
        trade = self._next
        if trade is None:
            return None
        market = self._exchange.markets[trade.symbol]
        if self._lockstep:
            self._print(market, trade, now_ms)
        else:
            self._play(market, trade, now_ms)
        self._next = next(self._trades, None)
        return trade

    def _read(self, recording: Recording) -> Iterator[RecordedTrade]:
        before = 0
        for row, (ts_ms, symbol, price, quantity, side) in enumerate(recording, 1):
            market = self._exchange.markets.get(symbol)
            if market is None:
                continue  # a recording may hold more symbols than the simulator was asked for
            ticks, lots = market.rule.ticks(price), market.rule.lots(quantity)
            if not ticks or not lots or ticks < 0 or lots < 0:
                raise DataError(
                    f"recording, trade {row} of {symbol}: price {price} and quantity {quantity} are not positive multiples of"
                    f" the pair's steps ({market.rule.price_decimals} and {market.rule.quantity_decimals} decimals);"
                    " give the simulator a pair with the recording's steps"
                )
            before = max(before, ts_ms)
            yield RecordedTrade(before, symbol, ticks, lots, Side(side))

    def _withdraw(self, symbol: str, now_ms: int) -> None:
        for order in self._quotes.pop(symbol, ()):
            if not order.status.is_final:
                self._exchange.cancel(order, now_ms)

    def _print(self, market: Market, trade: RecordedTrade, now_ms: int) -> None:
        """Lockstep: print the trade, move the one level of each side; orders that the new level reaches are filled by it."""
        self._withdraw(trade.symbol, now_ms)
        lots = UNLIMITED_UNITS * int(10**market.rule.quantity_decimals)
        self._printed += 1
        printed = PublicTrade(
            trade.symbol, trade.price, trade.lots, trade.side, now_ms, f"{self._printed}X0_{self._printed}X1"
        )
        market.tape.add(printed)
        self._exchange.out.append(printed)
        quotes = self._quotes[trade.symbol] = []
        prices = {Side.BUY: max(1, trade.price - self._slippage), Side.SELL: trade.price + self._slippage}
        for side, price in prices.items():
            self._serve(market, side, price, now_ms)
            quotes.append(self._waiting(market, side, price, lots, now_ms))

    def _serve(self, market: Market, side: Side, price: int, now_ms: int) -> None:
        """Fill the clients' orders that wait where the house wants to quote."""
        half = market.book.opposite(side)
        while (
            half.best is not None
            and crosses(side, price, half.best_price())
            and not half.best.orders[0].account.unlimited
        ):
            level = half.best
            lots = sum(order.remaining for order in level.orders if not order.account.unlimited)
            wanted = NewOrder(symbol=market.rule.symbol, side=side, kind=Kind.IOC, price=level.price, lots=lots)
            self._exchange.place_for_house(wanted, now_ms)

    def _waiting(self, market: Market, side: Side, price: int, lots: int, now_ms: int) -> Order:
        """Put a house order into the book as it is, even where it touches the house's own other side."""
        return self._exchange.rest_for_house(market, side, price, lots, now_ms)

    def _play(self, market: Market, trade: RecordedTrade, now_ms: int) -> None:
        """1× or faster: a level at the recorded price for the taker to hit, one tick of spread, then the taker."""
        self._withdraw(trade.symbol, now_ms)
        other = Side.SELL if trade.side is Side.BUY else Side.BUY
        behind = trade.price - 1 if trade.side is Side.BUY else trade.price + 1
        depth = trade.lots * self._depth_share
        quotes = self._quotes[trade.symbol] = []
        self._serve(market, other, trade.price, now_ms)
        quotes.append(self._waiting(market, other, trade.price, depth, now_ms))
        taker = NewOrder(symbol=trade.symbol, side=trade.side, kind=Kind.IOC, price=trade.price, lots=trade.lots)
        self._exchange.place_for_house(taker, now_ms)
        if behind >= 1:
            self._serve(market, trade.side, behind, now_ms)
            quotes.append(self._waiting(market, trade.side, behind, depth, now_ms))
