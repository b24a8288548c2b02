"""Evidence: how far testnet, which trades over the wire, drifts from paper on one recording that nobody waits for.

    ./dev evidence testnet_drift [--speeds 1,5,20] [--trades 600] [--seed 11]

In lockstep the two decide the same (tests/sim/test_live_runs.py). Here the simulator plays the recording freely: windows of
100 ms, the way of an order, and the answer's way back take the time that they take, and a decision may come a trade later or
not at all. Simulator and client share one clock that runs `speed` times as fast as this machine's, so each millisecond of real
delay counts `speed` milliseconds of market time. Paper runs on the same trades with latency 0 and with its default of 50 ms.

The wire shows one trade more for each execution of ours: what we do is public there. And its book is finite, so a market order
may fill in part, which paper's does not.

What is compared is the sequence of intents: symbol, side, quantity, reason. Prints one JSON document.
"""

import argparse
import asyncio
import difflib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from claire.adapters.config import Settings, load
from claire.adapters.journal.reader import JournalReader
from claire.adapters.marketdata import SyntheticMarket, SynthSettings
from claire.adapters.venues.mexc.budget import Budget, Gate
from claire.adapters.venues.mexc.channels import deals
from claire.adapters.venues.mexc.clock import VenueClock
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
from claire.gateway.gate import Gate as LastHop
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.mexcsim import SimConfig, Simulator
from claire.mexcsim.flow import Recording, recording_of
from claire.mexcsim.symbols import rule_of
from claire.model.decisions import Intent, Signal
from claire.model.market import Trade
from claire.services.assembly import assemble
from claire.services.beginning import fresh
from claire.services.feeding import LiveMarket, live_info
from claire.services.keeping import RunResult
from claire.services.live import run_live
from claire.services.outside import Ears, Outside

SYMBOL: Final = "BTCUSDT"
ACCESS, SECRET = "drift-key", "drift-secret"  # pragma: allowlist secret
KEYS: Final = Keys(ACCESS, SECRET)
MS: Final = 1_000_000
OFTEN: Final = (
    "risk.cooldown_s=0",
    "risk.stop_guard_exits=20",
    "risk.max_entries_per_min=10",
    "risk.max_entries_per_h=60",
    "risk.max_entries_per_day=300",
    "risk.max_orders_per_min=100",
    "lookback_s=5",
    "threshold_pct=0.02",
    "stop_loss_pct=0.04",
    "take_profit_pct=0.04",
    "max_hold_s=20",
    "allocation.mode=full",
)
LEAD_REAL_S: Final = 3.0
"""So long before the second trade the first one is played: the client connects in between, and never sees it."""


class Decided(NamedTuple):
    """One intent, as far as it is compared."""

    symbol: str
    side: str
    quantity_lots: int
    reason: str

    @property
    def without_quantity(self) -> tuple[str, str, str]:
        """What is left when the size may differ, as it does once equity does."""
        return self.symbol, self.side, self.reason


class Sequence:
    """A recorder that keeps what was to be ordered."""

    def __init__(self) -> None:
        """Nothing is decided yet."""
        self.decisions: list[Decided] = []
        self._reasons: dict[int, str] = {}

    def decided(self, input_no: int, event: object) -> None:
        """Keep intents, with the reason of their signal."""
        if isinstance(event, Signal):
            self._reasons[event.signal_no] = event.reason
        elif isinstance(event, Intent):
            reason = self._reasons[event.signal_no]
            self.decisions.append(Decided(event.symbol, event.side.value, event.quantity_lots, reason))

    def inputs(self, *_: object) -> None:
        """Not of interest."""

    candle = postings = snapshot = inputs


def settings(mode: str, *more: str) -> Settings:
    """A configuration that trades often."""
    return load(assignments=[*OFTEN, *more], symbols=[SYMBOL], strategy="momentum", mode=mode, environ={}).settings


def market(seed: int, count: int) -> SyntheticMarket:
    """The recording: some ten trades a second, restless."""
    return SyntheticMarket(SynthSettings(seed=seed, trades=count, rate=10.0, volatility_bps=3.0))


def trades_of(source: SyntheticMarket) -> list[Trade]:
    """Its trades, in whole milliseconds as the wire has them."""
    found = [event for batch in source.batches() for event in batch if isinstance(event, Trade)]
    return [msgspec.structs.replace(trade, ts_event_ns=trade.ts_event_ns // MS * MS) for trade in found]


def on_paper(source: SyntheticMarket, trades: list[Trade], latency_ms: int) -> tuple[list[Decided], str]:
    """Return what paper decides, and its equity at the end."""
    kept = Sequence()
    assembly = assemble(settings("paper", f"paper.latency_ms={latency_ms}"), source, (kept,))
    for trade in trades:
        assembly.pipeline.feed(trade)
    equity = assembly.pipeline.stages.portfolio.snapshot(assembly.pipeline.now_ns).equity
    return kept.decisions, f"{equity:f}"


def led(recording: Recording, lead_ms: int) -> Iterator[tuple[int, str, object, object, str]]:
    """The recording with its first trade once more, `lead_ms` earlier."""
    rows = iter(recording)
    first = next(rows)
    return chain([(first[0] - lead_ms, *first[1:])], [first], rows)


async def over_the_wire(
    source: SyntheticMarket, trades: list[Trade], speed: int, runs_dir: Path
) -> tuple[RunResult, int]:
    """Play the recording freely at a speed, trade it over the wire; return the result, and how many trades were seen."""
    lead_ms = round(LEAD_REAL_S * 1000 * speed)
    began_ns = time.monotonic_ns()
    start_ns = trades[0].ts_event_ns - lead_ms * MS

    def now_ns() -> int:
        return (time.monotonic_ns() - began_ns) * speed

    def wall_ns() -> int:
        return start_ns + now_ns()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / speed)

    config = SimConfig(
        symbols=(rule_of(source.instruments[SYMBOL]),),
        recording=led(recording_of(source.batches(), source.instruments), lead_ms),  # type: ignore[arg-type]
        clock=lambda: wall_ns() // MS,
        beat_ms=1,
    )
    wanted = settings("testnet")
    seen: list[Pipeline] = []
    async with Simulator(config) as sim:
        sim.add_account(ACCESS, SECRET, balances={"USDT": 1000}, fee_asset="quote")
        endpoint = Endpoint.parse(sim.rest_url)
        rest = MexcRest(
            endpoint,
            Gate(Budget(), now_ns, sleep),
            VenueClock(),
            QuerySigner(KEYS),
            wall_ns=wall_ns,
            sleep=sleep,
        )
        last_hop = LastHop(now_ns=wall_ns)
        async with rest, OrderSender(endpoint, KEYS, gate=last_hop) as sender:
            await rest.sync_clock()
            tradables = require_tradable([SYMBOL], await read_listing(rest, [SYMBOL]))
            rules = {symbol: tradable.instrument for symbol, tradable in tradables.items()}
            trading = MexcTrading(rest, sender, tradables, sleep=sleep)
            clocks = Clocks(wall_ns, now_ns)

            def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
                return PrivateStream(trading, sim.ws_url, rules, number_of, book=trading.book, clocks=clocks)

            ears = Ears()
            venue = MexcVenue(trading, stream, now_ns=wall_ns, on_lock=ears.lock)
            outside = Outside(venue, last_hop, ears, lambda: rest.venue_ms() + 3_000, lambda: wall_ns() // MS)
            market = LiveMarket(rules, live_info([SYMBOL], "mexc", wall_ns(), with_history=False, has_book=False))
            feed = MexcMarketData([SYMBOL], rules, MexcFeedRest(rest), sim.ws_url, [deals(SYMBOL)], clocks=clocks)
            result = await run_live(
                fresh(wanted, market, runs_dir=runs_dir, venue=venue),
                feed,
                outside=outside,
                now_ns=wall_ns,
                counters=feed.counters,
                on_progress=lambda pipeline: seen.append(pipeline) if not seen else None,
                duration_s=LEAD_REAL_S + len(trades) + 60,
                should_stop=lambda: bool(seen) and not sim.has_more and wall_ns() > trades[-1].ts_event_ns + 1000 * MS,
            )
    return result, seen[0].trades_in


def differences(wire: list[Decided], paper: list[Decided]) -> dict[str, object]:
    """Hold two sequences against each other: aligned first, then counted."""
    matcher = difflib.SequenceMatcher(
        None, [each.without_quantity for each in wire], [each.without_quantity for each in paper], autojunk=False
    )
    same = size_differs = only_wire = only_paper = 0
    first: dict[str, object] | None = None
    for what, wire_from, wire_to, paper_from, paper_to in matcher.get_opcodes():
        if what == "equal":
            for one, other in zip(wire[wire_from:wire_to], paper[paper_from:paper_to], strict=True):
                same += one == other
                size_differs += one != other
        else:
            only_wire += wire_to - wire_from
            only_paper += paper_to - paper_from
            first = first or {
                "decision": wire_from + 1,
                "testnet": wire[wire_from : min(wire_to, wire_from + 1)],
                "paper": paper[paper_from : min(paper_to, paper_from + 1)],
            }
    return {
        "decisions": len(paper),
        "same": same,
        "same_but_for_the_quantity": size_differs,
        "only_testnet": only_wire,
        "only_paper": only_paper,
        "share_same_but_for_the_quantity_pct": round(
            100 * 2 * (same + size_differs) / max(1, len(wire) + len(paper)), 1
        ),
        "first_difference": first,
    }


def main() -> None:
    """Run both, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--speeds", default="1,5,20")
    parser.add_argument("--trades", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    source = market(given.seed, given.trades)
    trades = trades_of(source)
    papers = {latency_ms: on_paper(source, trades, latency_ms) for latency_ms in (0, 50)}
    rows = []
    unfit = 0
    for speed in map(int, given.speeds.split(",")):
        print(f"{len(trades)} trades at {speed}x", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            result, seen = asyncio.run(over_the_wire(source, trades, speed, Path(folder)))
            kept = Sequence()
            for entry in JournalReader(result.run_dir).decisions():
                kept.decided(entry.input_no, entry.event)
        summary = result.summary
        unfit += seen < len(trades) or bool(summary.decode_errors_total)
        rows.append(
            {
                "speed": speed,
                "trades_seen": seen,
                "decisions": len(kept.decisions),
                "order_states": summary.order_states,
                "denials": summary.denials,
                "decode_errors_total": summary.decode_errors_total,
                "warnings": summary.warnings,
                "final_equity": summary.final_equity,
                "against_paper": {
                    f"latency_ms={latency_ms}": {**differences(kept.decisions, decisions), "final_equity": equity}
                    for latency_ms, (decisions, equity) in papers.items()
                },
            }
        )
    recording = {
        "seed": given.seed,
        "trades": len(trades),
        "market_s": (trades[-1].ts_event_ns - trades[0].ts_event_ns) / 1e9,
    }
    print(json.dumps({"recording": recording, "runs": rows}, default=str))
    if unfit:
        raise SystemExit("testnet_drift: the wire lost trades or could not read some")


if __name__ == "__main__":
    main()
