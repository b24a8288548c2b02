"""The way of an order from decision to answer, over the wire to a simulator in a process of its own, each stretch timed.

    ./dev bench order_path [--seconds 40] [--doubt_seconds 60]

Stretches, in microseconds: decision → intent and reservation durable (journal fsync, one ledger transaction) → SENT durable
(the same again) → gate → bytes handed to the socket → answer. Then with the private stream silent, answers and orders lost: how
long orders stay UNKNOWN, in milliseconds. The disk's own fsync is timed beside it, for it is most of the durable part. Prints one
JSON document.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp
from msgspec import structs

from claire.adapters.config import Settings, load
from claire.adapters.journal.entries import Decided
from claire.adapters.journal.reader import JournalReader
from claire.adapters.machine import THIS_MACHINE
from claire.model.decisions import OrderEvent
from claire.model.orders import OrderState
from claire.services.mexc import Universe
from claire.services.simulator import Started, started
from claire.services.trading import trade_live

SYMBOL: Final = "BTCUSDT"
OFTEN: Final = (
    "lookback_s=0",
    "threshold_pct=0.001",
    "stop_loss_pct=0.005",
    "take_profit_pct=0.005",
    "max_hold_s=1",
    "allocation.mode=full",
    "paper.balance.USDT=10000",
)


DOUBTS: Final = (
    {"kind": "stall", "channel": "private"},
    {"kind": "drop_reply", "method": "POST", "path": "order", "probability": 0.4},
    {"kind": "drop_request", "method": "POST", "path": "order", "probability": 0.2},
)
"""Without its stream Claire hears of an order by asking alone; some answers are lost, and some orders."""


def settings_for(simulator: Started) -> Settings:
    """A configuration that trades all the time."""
    words = (*OFTEN, f"mexc.rest_url={simulator.rest_url}", f"mexc.ws_url={simulator.ws_url}")
    return load(assignments=words, symbols=[SYMBOL], strategy="momentum", mode="testnet", environ={}).settings


class Stopwatch:
    """Notes when each boundary was passed."""

    def __init__(self) -> None:
        """Nothing was passed yet."""
        self.passed: list[tuple[str, int]] = []

    def __call__(self, name: str) -> None:
        """Note a boundary."""
        self.passed.append((name, time.perf_counter_ns()))

    def stretches(self) -> dict[str, list[float]]:
        """Cut the way of each order into stretches, in microseconds."""
        found: dict[str, list[float]] = {
            name: []
            for name in ("decision_to_intent_durable", "to_sent_durable", "to_gate", "gate_to_wire", "wire_to_answer")
        }
        taken = 0
        commits: list[int] = []
        way: list[int] = []
        gate = wire = 0
        for name, at_ns in self.passed:
            if name == "take":
                taken, commits = at_ns, []
            elif name == "ledger.commit.after":
                commits.append(at_ns)
            elif name == "gate.before":
                gate = at_ns
                way = commits[:2]
            elif name == "send.before":
                wire = at_ns
                if len(way) == 2 and taken < way[0]:
                    points = (taken, *way, gate, wire)
                    for stretch, (begin, end) in zip(found, itertools.pairwise(points), strict=False):
                        found[stretch].append((end - begin) / 1000)
            elif name == "send.after" and wire:
                found["wire_to_answer"].append((at_ns - wire) / 1000)
                wire = 0
        return found


async def trade(simulator: Started, folder: Path, seconds: float) -> tuple[Stopwatch, Path]:
    """Trade for a while; return the times, and the run."""
    watch = Stopwatch()
    result = await trade_live(
        settings_for(simulator),
        Universe(),
        runs_dir=folder,
        keys=simulator.keys,
        starts_anew=True,
        duration_s=seconds,
        machine=structs.replace(THIS_MACHINE, step=watch),
    )
    return watch, result.run_dir


def doubts_ms(run_dir: Path) -> list[float]:
    """How long each order was UNKNOWN, in milliseconds."""
    since: dict[int, int] = {}
    found = []
    for entry in JournalReader(run_dir):
        if isinstance(entry, Decided) and isinstance(entry.event, OrderEvent):
            event = entry.event
            if event.state is OrderState.UNKNOWN:
                since[event.order_no] = event.ts_event_ns
            elif event.order_no in since:
                found.append((event.ts_event_ns - since.pop(event.order_no)) / 1e6)
    return found


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile, maximum and count."""
    if len(values) < 2:
        return {"count": len(values)}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1), "max": round(max(values), 1), "count": len(values)}


def bare_fsync_us(folder: Path) -> dict[str, float]:
    """What the disk takes for a hundred bytes, made durable."""
    found = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 100)
            began = time.perf_counter_ns()
            os.fsync(file.fileno())
            found.append((time.perf_counter_ns() - began) / 1000)
    return quantiles(found)


async def measure(seconds: float, doubt_seconds: float) -> dict[str, object]:
    """Run both parts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with started({"USDT": Decimal(100_000)}, "quote", 5) as simulator:
            print(f"order path: {seconds:g} s, then {doubt_seconds:g} s with lost answers", file=sys.stderr)
            watch, _ = await trade(simulator, folder, seconds)
            async with aiohttp.ClientSession() as session:
                for fault in DOUBTS:
                    async with session.post(f"{simulator.rest_url}/sim/faults", json=fault) as response:
                        response.raise_for_status()
            _, run_dir = await trade(simulator, folder, doubt_seconds)
            return {
                "microseconds": {stretch: quantiles(values) for stretch, values in watch.stretches().items()},
                "bare_fsync_us": bare_fsync_us(folder),
                "unknown_ms": quantiles(doubts_ms(run_dir)),
            }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--doubt_seconds", type=float, default=60)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.seconds, given.doubt_seconds))))


if __name__ == "__main__":
    main()
