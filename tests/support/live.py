"""Whole live runs against a simulator in the same event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.adapters.config import Settings, load
from claire.adapters.venues.mexc.budget import Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.channels import Channel, deals, depth
from claire.adapters.venues.mexc.connection import Clocks
from claire.adapters.venues.mexc.feedrest import MexcFeedRest
from claire.adapters.venues.mexc.instruments import require_tradable
from claire.adapters.venues.mexc.market import MexcMarketData
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.trading import MexcTrading
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.engine.pipeline import Pipeline
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.mexcsim import Simulator
from claire.model.instrument import Instrument
from claire.services.beginning import fresh
from claire.services.feeding import LiveMarket, live_info
from claire.services.keeping import RunResult
from claire.services.live import run_live
from claire.services.outside import Ears, Outside
from tests.support.markets import OFTEN
from tests.support.mexc_live import QUICK, until

WIDE: Final = {bucket: Limit(1e6, 1e6) for bucket in Bucket}
ACCESS, SECRET = "live-key", "live-secret"  # pragma: allowlist secret
LIVELY: Final = (
    "lookback_s=0",
    "threshold_pct=0.003",
    "stop_loss_pct=0.01",
    "take_profit_pct=0.01",
    "max_hold_s=3",
    "allocation.mode=full",
    *OFTEN,
)


def live_settings(symbols: Sequence[str], mode: str, *more: str) -> Settings:
    """A configuration that trades often."""
    return load(assignments=[*LIVELY, *more], symbols=symbols, strategy="momentum", mode=mode, environ={}).settings


class Running(Struct):
    """A live run that goes on."""

    task: "asyncio.Task[RunResult]"
    pipeline: Pipeline
    feed: MexcMarketData
    venue: MexcVenue | None
    instruments: dict[str, Instrument]
    stop: Callable[[], None]


@asynccontextmanager
async def running(
    sim: Simulator,
    settings: Settings,
    runs_dir: Path,
    *,
    lookback_s: float = 0.0,
    with_books: bool = False,
    wall_ns: Callable[[], int] = time.time_ns,
    is_silent: bool = False,
) -> AsyncIterator[Running]:
    """Run live against a simulator until told to stop; orders go over the wire where the mode is testnet."""
    symbols = settings.symbols
    keys = Keys(ACCESS, SECRET)
    seen: list[Pipeline] = []
    stopped: list[bool] = []
    endpoint = Endpoint.parse(sim.rest_url)
    gate = Gate(Budget(WIDE), time.monotonic_ns)  # what the request budget holds back has tests of its own
    async with MexcRest(endpoint, gate, signer=QuerySigner(keys)) as rest, OrderSender(endpoint, keys) as sender:
        tradables = require_tradable(symbols, await read_listing(rest, symbols))
        instruments = {symbol: tradable.instrument for symbol, tradable in tradables.items()}
        trading = MexcTrading(rest, sender, tradables)

        def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
            return PrivateStream(trading, sim.ws_url, instruments, number_of, book=trading.book, settings=QUICK)

        def now_ns() -> int:
            return max(wall_ns(), seen[0].now_ns if seen else 0)

        channels: list[Channel] = [make(symbol) for make in (deals, depth)[: 1 + with_books] for symbol in symbols]
        info = live_info(symbols, "mexc", now_ns(), with_history=lookback_s > 0, has_book=with_books)
        outside, venue = None, None
        if settings.mode.value == "testnet":
            ears = Ears()
            venue = MexcVenue(
                trading, stream, now_ns=now_ns, on_lock=ears.lock, on_foreign=ears.push, on_balance=ears.push
            )
            outside = Outside(venue, sender.gate, ears, lambda: rest.venue_ms() + 3_000, lambda: now_ns() // 1_000_000)
        market = LiveMarket(instruments, info)
        feed = MexcMarketData(
            symbols,
            instruments,
            MexcFeedRest(rest),
            sim.ws_url,
            channels,
            lookback_s=lookback_s,
            settings=QUICK,
            clocks=Clocks(wall_ns, time.monotonic_ns),
        )
        task = asyncio.create_task(
            run_live(
                fresh(settings, market, runs_dir=runs_dir, venue=venue),
                feed,
                outside=outside,
                now_ns=now_ns,
                counters=feed.counters,
                on_progress=lambda pipeline: seen.append(pipeline) if not seen else None,
                should_stop=lambda: bool(stopped),
            )
        )
        try:
            await until(lambda: seen or task.done(), 10, "the run starts")
            if task.done():
                task.result()
            if is_silent:  # nothing comes before the first step, so nothing can be more than acknowledged
                wanted = {channel.name for channel in channels}
                await until(lambda: wanted <= {name for c in sim.connections for name in c.topics}, 10, "channels")
            else:
                await until(lambda: feed.counters.subscriptions_active == len(channels), 10, "subscriptions")
            yield Running(task, seen[0], feed, venue, instruments, lambda: stopped.append(True))
        finally:
            stopped.append(True)
            await asyncio.wait((task,), timeout=15)
