"""The market-data client beside ccxt.pro and beside bare protobuf, on the same frames, in one run.

    ./dev bench feed [--frames 200000] [--rate 1000] [--rounds 3] [--no-ccxt]

A frame server in another process (bench/feeds/source.py) is the source of all. Prints one JSON document; the ratios count,
for machines differ and this one may be busy. What is measured:

- messages per second: frames of one trade, as fast as the client takes them, from the socket to the trade in the reader's hand;
- delay: the same at an even rate, from just before the server writes to the socket until the reader has the trade;
- bare: parsing the same frames with protobuf and reading every field, without a socket;
- decoder: the same frames through the feed's decoder (events, duplicates, order in time), without a socket;
- load: 2,000 symbols on 67 connections at 5,000 messages per second, the client on one core.

Aims: >= 5 x ccxt.pro, >= 25 % of bare, and the load carried with nothing missing. ccxt runs in the environment that
`./dev conformance` makes; without it the comparison is left out, and the document says so.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.feeds.source import STAMP, frame_of
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.items import FeedError, FeedItem
from claire.adapters.venues.mexc.market import MexcMarketData
from claire.model.instrument import Instrument
from claire.model.market import Trade
from claire.wire import PushDataV3ApiWrapper

HERE = Path(__file__).resolve().parent
CCXT_PYTHON = HERE.parent / ".venv-conformance" / "bin" / "python"
LOAD_SYMBOLS, LOAD_RATE, LOAD_S = 2_000, 5_000.0, 15.0


class NoRest:
    """There is no REST here; the client gets on without."""

    async def depth(self, symbol: str, limit: int) -> bytes:
        """Refuse."""
        raise FeedError("the frame server has no REST")

    async def klines(self, symbol: str, limit: int) -> bytes:
        """Refuse."""
        raise FeedError("the frame server has no REST")

    async def agg_trades(self, symbol: str, start_ms: int, end_ms: int) -> bytes:
        """Refuse."""
        raise FeedError("the frame server has no REST")

    async def trades(self, symbol: str, limit: int) -> bytes:
        """Refuse."""
        raise FeedError("the frame server has no REST")


class Program:
    """Another process that is spoken to in lines."""

    def __init__(self, *command: str) -> None:
        """Start it."""
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str = "") -> dict[str, Any]:
        """Send a line, wait for one of JSON."""
        if line:
            self.tell(line)
        return self.hear()

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for a line of JSON."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self._command)}: ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found

    async def later(self, line: str = "") -> dict[str, Any]:
        """Do the same without keeping the event loop waiting."""
        return await asyncio.get_running_loop().run_in_executor(None, self.ask, line)

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def instruments(symbols: Sequence[str]) -> dict[str, Instrument]:
    """Rules for the frames of the source."""
    return {
        symbol: Instrument.checked(symbol, Decimal("0.01"), Decimal("0.00000001"), base=symbol[:-4], quote="USDT")
        for symbol in symbols
    }


def spread_us(delays: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of delays in microseconds."""
    return {"p50_us": round(statistics.median(delays)), "p99_us": round(statistics.quantiles(delays, n=100)[98])}


def bare(frames: Sequence[bytes]) -> float:
    """Parse frames and read every field once; return frames per second."""
    parse = PushDataV3ApiWrapper.FromString
    began = time.perf_counter()
    for data in frames:
        wrapper = parse(data)
        _ = wrapper.channel, wrapper.symbol, wrapper.send_time
        body = wrapper.public_aggre_deals
        for deal in body.deals:
            _ = deal.price, deal.quantity, deal.trade_type, deal.time, deal.trade_id
        _ = body.event_type
    return len(frames) / (time.perf_counter() - began)


def decoding(frames: Sequence[bytes]) -> float:
    """Take frames through the feed's decoder; return frames per second."""
    feed = FeedDecoder(instruments(["BTCUSDT"])).feed
    now_ns = PushDataV3ApiWrapper.FromString(frames[-1]).send_time * 1_000_000
    began = time.perf_counter()
    for data in frames:
        feed(1, data, now_ns)
    return len(frames) / (time.perf_counter() - began)


class Reader:
    """Our client with a reader that counts."""

    def __init__(self, port: int, symbols: Sequence[str]) -> None:
        """Make the client."""
        self.feed = MexcMarketData(symbols, instruments(symbols), NoRest(), f"ws://127.0.0.1:{port}/ws")
        self._batches: AsyncIterator[list[FeedItem]] = self.feed.batches()
        self.rest: list[Trade] = []

    async def first(self, count: int) -> None:
        """Wait until each symbol has brought a trade."""
        seen: dict[str, None] = {}
        while len(seen) < count:
            for trade in await self.some():
                seen[trade.symbol] = None

    async def some(self) -> list[Trade]:
        """Return what has come: trades, as the pipeline would take them."""
        batch = await anext(self._batches)
        return [event for item in batch for event in item.events if type(event) is Trade]

    async def count(self, wanted: int) -> tuple[int, float, float]:
        """Take so many trades; return how many came after the first ones, in how many seconds and processor seconds."""
        seen = first = len(await self.some())
        began, cpu = time.perf_counter(), time.process_time()
        while seen < wanted:
            seen += len(await self.some())
        return seen - first, time.perf_counter() - began, time.process_time() - cpu

    async def delays(self, wanted: int, patience_s: float) -> tuple[list[float], float]:
        """Take so many stamped trades; return the delay of each in microseconds, and the processor seconds."""
        found: list[float] = []
        cpu = time.process_time()
        async with asyncio.timeout(patience_s):
            while len(found) < wanted:
                trades = await self.some()
                now_us = time.monotonic_ns() // 1000 % 10**13
                found += [now_us - trade.quantity_lots for trade in trades]
        return found, time.process_time() - cpu


async def ours(source: Program, port: int, frames: int, rate: float) -> dict[str, Any]:
    """Measure our client once."""
    reader = Reader(port, ["BTCUSDT"])
    async with reader.feed:
        await reader.first(1)
        gc.freeze()
        source.tell(f"flood {frames} 1")
        await asyncio.get_running_loop().run_in_executor(None, source.hear)
        counted, seconds, cpu_s = await reader.count(frames)
        await source.later()
        source.tell(f"pace {rate} 5")
        delays, _ = await reader.delays(round(rate * 5), 30)
        await source.later()
    return {"messages_per_s": counted / seconds, "cpu_us_per_message": cpu_s / counted * 1e6, **spread_us(delays)}


async def load(source: Program, port: int) -> dict[str, Any]:
    """Carry 2,000 symbols on one core."""
    symbols = [f"C{number:04d}USDT" for number in range(LOAD_SYMBOLS)]
    reader = Reader(port, symbols)
    wanted = round(LOAD_RATE * LOAD_S)
    async with reader.feed:
        began = time.perf_counter()
        await reader.first(LOAD_SYMBOLS)
        connected_s = time.perf_counter() - began
        source.tell(f"pace {LOAD_RATE} {LOAD_S}")
        began = time.perf_counter()
        delays, cpu_s = await reader.delays(wanted, 60)
        seconds = time.perf_counter() - began
        await source.later()
        counters = reader.feed.counters
        return {
            "symbols": LOAD_SYMBOLS,
            "connections": len(reader.feed.connections),
            "all_subscribed_s": round(connected_s, 1),
            "asked_per_s": LOAD_RATE,
            "carried_per_s": round(wanted / seconds),
            "core_pct": round(100 * cpu_s / seconds, 1),
            "missing": wanted - len(delays),
            "gaps": counters.feed_gaps_total,
            "decode_errors": counters.decode_errors_total,
            **spread_us(delays),
        }


def theirs(source: Program, port: int, frames: int, rate: float) -> dict[str, Any]:
    """Measure ccxt.pro once."""
    client = Program(str(CCXT_PYTHON), str(HERE / "feeds" / "ccxt_client.py"), f"ws://127.0.0.1:{port}/ws")
    client.hear()
    client.ask(f"count {frames}")
    source.ask(f"flood {frames} 1")
    seen = client.hear()
    source.hear()
    client.ask(f"stamps {round(rate * 5)}")
    source.tell(f"pace {rate} 5")
    stamped = client.hear()
    source.hear()
    client.end()
    return {
        "messages_per_s": seen["seen"] / seen["seconds"],
        "cpu_us_per_message": seen["cpu_s"] / seen["seen"] * 1e6,
        **spread_us(stamped["us"]),
    }


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the median of each number over the rounds."""
    return {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}


def started() -> tuple[Program, int]:
    """Start a source; return it and its port."""
    source = Program(sys.executable, str(HERE / "feeds" / "source.py"))
    return source, source.hear()["port"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=1_000.0, help="messages per second where delay is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ccxt", action="store_true")
    options = parser.parse_args()
    with_ccxt = CCXT_PYTHON.exists() and not options.no_ccxt
    frames = [frame_of("BTCUSDT", n).replace(STAMP, b"00000.%08d" % n) for n in range(1, 50_001)]
    bares, decoded, mine, other = [], [], [], []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        bares.append(bare(frames))
        decoded.append(decoding(frames))
        source, port = started()
        mine.append(asyncio.run(ours(source, port, options.frames, options.rate)))
        source.end()
        if with_ccxt:
            source, port = started()
            other.append(theirs(source, port, max(1_000, options.frames // 5), options.rate))
            source.end()
    print("load", file=sys.stderr)
    if hasattr(os, "sched_setaffinity"):
        source, port = started()
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # this process alone: the source keeps all cores
    else:
        source, port = started()
    loaded = asyncio.run(load(source, port))
    source.end()
    result: dict[str, Any] = {
        "rounds": options.rounds,
        "frames": options.frames,
        "rate_of_delays": options.rate,
        "claire": middle(mine),
        "ccxt_pro": middle(other) if other else "left out: run ./dev conformance once, it makes the environment",
        "bare_protobuf_per_s": round(statistics.median(bares)),
        "decoder_per_s": round(statistics.median(decoded)),
        "decoder_to_bare": round(statistics.median(d / b for d, b in zip(decoded, bares, strict=True)), 3),
        "client_to_bare": round(
            statistics.median(m["messages_per_s"] / b for m, b in zip(mine, bares, strict=True)), 3
        ),
        "load": loaded,
        "load_average": round(os.getloadavg()[0], 2),
    }
    if other:
        ratios = [m["messages_per_s"] / o["messages_per_s"] for m, o in zip(mine, other, strict=True)]
        result["client_to_ccxt"] = round(statistics.median(ratios), 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
