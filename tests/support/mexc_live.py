"""The market-data client beside a simulator in one event loop, with everything that came written down."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypeVar

from claire.adapters.venues.mexc.budget import Budget, Gate
from claire.adapters.venues.mexc.channels import Channel
from claire.adapters.venues.mexc.connection import ConnectionSettings
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.feedrest import MexcFeedRest
from claire.adapters.venues.mexc.items import FeedAlert, FeedEvent, FeedGap, FeedItem
from claire.adapters.venues.mexc.market import QUEUE_ITEMS, MexcMarketData
from claire.adapters.venues.mexc.rest import MexcRest
from claire.gateway.hosts import Endpoint
from claire.mexcsim import FlowSettings, SimConfig, Simulator
from claire.mexcsim.symbols import SymbolRule, choose
from claire.model.instrument import Instrument
from claire.model.market import Depth, MarketEvent, Trade

T = TypeVar("T")

LIQUID = FlowSettings(events_per_s=60.0, taker_share=0.5)
"""Some thirty trades a second."""

QUICK = ConnectionSettings(
    ack_timeout_s=0.5, ping_s=(0.3, 0.5), pong_timeout_s=1.0, backoff_s=(0.05, 0.4), min_overlap_s=0.2, tick_s=0.05
)
"""Times that a test can wait for."""


def instruments(rules: Iterable[SymbolRule]) -> dict[str, Instrument]:
    """The rules of the simulator's pairs as the client knows them."""
    return {
        rule.symbol: Instrument.checked(
            rule.symbol,
            Decimal(1).scaleb(-rule.price_decimals),
            Decimal(1).scaleb(-rule.quantity_decimals),
            base=rule.base,
            quote=rule.quote,
            venue="mexc",
        )
        for rule in rules
    }


async def until(condition: Callable[[], T], deadline_s: float, what: str) -> T:
    """Wait until something is true; fail with `what` when it is not in time."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.01)


class Desk:
    """A simulator, a client, and what the client gave so far."""

    def __init__(self, sim: Simulator, feed: MexcMarketData, rules: dict[str, Instrument]) -> None:
        self.sim = sim
        self.feed = feed
        self.rules = rules
        self.items: list[FeedItem] = []
        self.events: list[FeedEvent] = []

    def trades(self, symbol: str = "") -> list[Trade]:
        """The trades so far."""
        return [each for each in self.events if isinstance(each, Trade) and symbol in ("", each.symbol)]

    def gaps(self, symbol: str = "") -> list[FeedGap]:
        """The gaps so far, each opened and closed."""
        return [each for each in self.events if isinstance(each, FeedGap) and symbol in ("", each.symbol)]

    def alerts(self, kind: str) -> list[FeedAlert]:
        """The alerts of one kind."""
        return [each for each in self.events if isinstance(each, FeedAlert) and each.kind == kind]

    def missed(self) -> int:
        """How many trades of the venue are not here, of those between the first and the last that are."""
        missed = 0
        for symbol in self.rules:
            here = {trade.trade_id: None for trade in self.trades(symbol)}
            theirs = [trade.trade_id for trade in self.sim.venue.exchange.markets[symbol].tape.trades]
            places = [place for place, trade_id in enumerate(theirs) if trade_id in here]
            missed += places[-1] - places[0] + 1 - len(places) if places else 0
        return missed

    async def flows(self, count: int = 30, deadline_s: float = 8.0) -> None:
        """Wait for some more trades of each symbol."""
        before = {symbol: len(self.trades(symbol)) for symbol in self.rules}
        await until(
            lambda: all(len(self.trades(symbol)) >= before[symbol] + count for symbol in self.rules),
            deadline_s,
            f"{count} more trades of each of {', '.join(self.rules)}; {self.feed.counters}",
        )

    def check(self) -> None:
        """Hold what every run promises: no trade twice, time never falls, the same bytes give the same events."""
        ids = [(trade.symbol, trade.trade_id) for trade in self.trades()]
        assert len(set(ids)) == len(ids)
        last: dict[str, int] = {}
        valid: dict[str, bool] = {}
        for event in self.events:
            if isinstance(event, MarketEvent):
                assert event.ts_event_ns >= last.get(event.symbol, 0)
                last[event.symbol] = event.ts_event_ns
            if isinstance(event, Depth):
                assert event.snapshot or not event.valid or valid.get(event.symbol), (
                    "a change of a book that is not valid"
                )
                valid[event.symbol] = event.valid
        replayed = FeedDecoder(self.rules)
        for item in self.items:
            assert replayed.take(item.input) == item.events


@asynccontextmanager
async def desk(
    symbols: Sequence[str] = ("BTCUSDT",),
    channels: Iterable[Channel] | None = None,
    *,
    config: SimConfig | None = None,
    settings: ConnectionSettings = QUICK,
    lookback_s: float = 0.0,
    prepare: Callable[[Simulator], object] | None = None,
    rules: Sequence[SymbolRule] = (),
    queue_items: int = QUEUE_ITEMS,
    reads_every_s: float = 0.0,
) -> AsyncIterator[Desk]:
    """Run a simulator with a liquid market, and the client on it; check what every run promises at the end."""
    rules = tuple(rules) or choose(symbols)
    symbols = [rule.symbol for rule in rules]
    made = instruments(rules)
    async with Simulator(config or SimConfig(symbols=rules, flow=LIQUID)) as sim:
        if prepare is not None:
            prepare(sim)
        gate = Gate(Budget(), time.monotonic_ns)
        async with MexcRest(Endpoint.parse(sim.rest_url), gate) as rest:
            feed = MexcMarketData(
                symbols,
                made,
                MexcFeedRest(rest),
                sim.ws_url,
                channels,
                settings=settings,
                lookback_s=lookback_s,
                queue_items=queue_items,
            )
            found = Desk(sim, feed, made)
            async with feed:
                reader = asyncio.create_task(_read(found, reads_every_s))
                try:
                    yield found
                finally:
                    await feed.close()
                    await reader
    found.check()


async def _read(found: Desk, every_s: float) -> None:
    async for batch in found.feed.batches():
        for item in batch:
            found.items.append(item)
            found.events += item.events
        if every_s:
            await asyncio.sleep(every_s)
