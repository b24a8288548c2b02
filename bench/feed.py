"""The market-data client beside ccxt.pro and beside bare protobuf, on the same frames, in one run.

    ./dev bench feed [--frames 20000] [--rounds 15] [--rate 1000] [--no-ccxt]

A frame server in another process (bench/feeds/source.py) is the source of all; each frame holds one trade. Prints one JSON
document. The subjects take turns in short rounds (bare, decoder, client, ccxt.pro, bare …), a ratio is taken within a round,
and the median over the rounds is what counts: a machine that slows down, or is busy with something else, slows all of them.

- bare: protobuf parses the frames, and each field that the decoder reads is read once, in a plain loop over the deals. Fields
  that the decoder passes over (`event_type`) are passed over here, too, and what it does beyond reading (unknown fields,
  numbers, duplicates) is not done. No socket. The frames stay in the processor's cache, as those just received do;
- bare, sliced: the same, but the deals are taken out as a list, which protobuf does quicker than its own iteration, and which
  the decoder does: the most that protobuf gives here;
- decoder: the same frames through the feed's decoder (events, duplicates, order in time), without a socket;
- client: as fast as it takes them, from the socket to the trade in the reader's hand; all that it does, on one core;
- ccxt.pro: its `watch_trades`, from the socket to the trade in the caller's hand;
- delay: at an even rate, from just before the server writes to the socket until the reader has the trade;
- load: 2,000 symbols on 67 connections at 5,000 messages per second, the client on one core.

`…_to_bare` compares messages per second by the clock, `…_to_bare_cpu` per processor second: where they differ, something else
ran meanwhile. As in a live run, what is there at the start is taken out of the garbage collector's rounds.

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
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

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
PASS: Final = 2_000
"""Frames that bare and decoder go over again and again: few enough to stay in the processor's cache."""
DELAY_ROUNDS: Final = 3
DELAY_S: Final = 5.0
CCXT_SHARE: Final = 5
"""ccxt.pro gets one frame of so many: it would take most of the run otherwise."""


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


class Speed(Struct):
    """How many messages, in how many seconds by the clock, and of the processor."""

    messages: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor microseconds per message."""
        return self.cpu_s / self.messages * 1e6


def bare(frames: Sequence[bytes]) -> None:
    """Parse frames, and read once each field that FrameDecoder reads."""
    parse = PushDataV3ApiWrapper.FromString
    for data in frames:
        wrapper = parse(data)
        wrapper.channel, wrapper.symbol, wrapper.send_time  # noqa: B018 - reading is what is measured
        for deal in wrapper.public_aggre_deals.deals:
            deal.price, deal.quantity, deal.trade_type, deal.time, deal.trade_id  # noqa: B018


def bare_sliced(frames: Sequence[bytes]) -> None:
    """Do the same by a slice of the deals."""
    parse = PushDataV3ApiWrapper.FromString
    for data in frames:
        wrapper = parse(data)
        wrapper.channel, wrapper.symbol, wrapper.send_time  # noqa: B018
        for deal in wrapper.public_aggre_deals.deals[:]:
            deal.price, deal.quantity, deal.trade_type, deal.time, deal.trade_id  # noqa: B018


def decoding(frames: Sequence[bytes]) -> None:
    """Take frames through a feed's decoder that has not seen them yet."""
    feed = FeedDecoder(instruments(["BTCUSDT"])).feed
    now_ns = PushDataV3ApiWrapper.FromString(frames[-1]).send_time * 1_000_000
    for data in frames:
        feed(1, data, now_ns)


class Reader:
    """Our client with a reader that counts."""

    def __init__(self, port: int, symbols: Sequence[str]) -> None:
        """Make the client."""
        self.feed = MexcMarketData(symbols, instruments(symbols), NoRest(), f"ws://127.0.0.1:{port}/ws")
        self._batches: AsyncIterator[list[FeedItem]] = self.feed.batches()

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

    async def count(self, wanted: int) -> Speed:
        """Take so many trades; measure those that come after the first ones."""
        seen = first = len(await self.some())
        began, cpu = time.perf_counter(), time.process_time()
        while seen < wanted:
            seen += len(await self.some())
        return Speed(seen - first, time.perf_counter() - began, time.process_time() - cpu)

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


class Subjects:
    """All that is measured in turns. Each client has a source of its own, which is idle while others are measured."""

    def __init__(self, frames: int, *, with_ccxt: bool) -> None:
        """Start the sources, and ccxt.pro."""
        self.frames = frames
        self.source, port = started()
        self.reader = Reader(port, ["BTCUSDT"])
        self.ccxt: tuple[Program, Program] | None = None
        if with_ccxt:
            source, port = started()
            client = Program(str(CCXT_PYTHON), str(HERE / "feeds" / "ccxt_client.py"), f"ws://127.0.0.1:{port}/ws")
            client.hear()
            self.ccxt = source, client
        self.pass_frames = [frame_of("BTCUSDT", n).replace(STAMP, b"00000.%08d" % n) for n in range(1, PASS + 1)]

    def without_socket(self, work: Callable[[Sequence[bytes]], None]) -> Speed:
        """Measure work on frames, as many as a client gets."""
        passes = max(1, self.frames // PASS)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(passes):
            work(self.pass_frames)
        return Speed(passes * PASS, time.perf_counter() - began, time.process_time() - cpu)

    async def ours(self) -> Speed:
        """Measure our client as fast as it goes."""
        await self.source.later(f"flood {self.frames} 1")
        speed = await self.reader.count(self.frames)
        await self.source.later()
        return speed

    async def our_delays(self, rate: float) -> dict[str, float]:
        """Measure our client at an even rate."""
        self.source.tell(f"pace {rate} {DELAY_S}")
        delays, _ = await self.reader.delays(round(rate * DELAY_S), 30)
        await self.source.later()
        return spread_us(delays)

    def theirs(self) -> Speed:
        """Measure ccxt.pro as fast as it goes."""
        assert self.ccxt is not None
        source, client = self.ccxt
        frames = max(1_000, self.frames // CCXT_SHARE)
        client.ask(f"count {frames}")
        source.ask(f"flood {frames} 1")
        seen = client.hear()
        source.hear()
        return Speed(seen["seen"], seen["seconds"], seen["cpu_s"])

    def their_delays(self, rate: float) -> dict[str, float]:
        """Measure ccxt.pro at an even rate."""
        assert self.ccxt is not None
        source, client = self.ccxt
        client.ask(f"stamps {round(rate * DELAY_S)}")
        source.tell(f"pace {rate} {DELAY_S}")
        delays = client.hear()["us"]
        source.hear()
        return spread_us(delays)

    def end(self) -> None:
        """End the other processes."""
        for program in (self.source, *(self.ccxt or ())[::-1]):
            program.end()


async def compare(subjects: Subjects, rounds: int, rate: float) -> dict[str, Any]:
    """Measure all in turns."""
    speeds: dict[str, list[Speed]] = {"bare": [], "bare_sliced": [], "decoder": [], "client": [], "ccxt_pro": []}
    delays: dict[str, list[dict[str, float]]] = {"client": [], "ccxt_pro": []}
    async with subjects.reader.feed:
        await subjects.reader.first(1)
        gc.freeze()
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            speeds["bare"].append(subjects.without_socket(bare))
            speeds["bare_sliced"].append(subjects.without_socket(bare_sliced))
            speeds["decoder"].append(subjects.without_socket(decoding))
            speeds["client"].append(await subjects.ours())
            if subjects.ccxt:
                speeds["ccxt_pro"].append(subjects.theirs())
        for number in range(DELAY_ROUNDS):
            print(f"delays {number + 1} of {DELAY_ROUNDS}", file=sys.stderr)
            delays["client"].append(await subjects.our_delays(rate))
            if subjects.ccxt:
                delays["ccxt_pro"].append(subjects.their_delays(rate))
    found: dict[str, Any] = {}
    for name, rows in speeds.items():
        if rows:
            found[name] = {
                "messages_per_s": round(statistics.median(each.per_s for each in rows)),
                "cpu_us_per_message": round(statistics.median(each.cpu_us for each in rows), 2),
                **middle(delays.get(name, [])),
            }
    for name in ("decoder", "client"):
        for base in ("bare", "bare_sliced"):
            pairs = list(zip(speeds[name], speeds[base], strict=True))
            found[f"{name}_to_{base}"] = round(statistics.median(each.per_s / other.per_s for each, other in pairs), 3)
            found[f"{name}_to_{base}_cpu"] = round(
                statistics.median(other.cpu_us / each.cpu_us for each, other in pairs), 3
            )
    if subjects.ccxt:
        pairs = list(zip(speeds["client"], speeds["ccxt_pro"], strict=True))
        found["client_to_ccxt"] = round(statistics.median(each.per_s / base.per_s for each, base in pairs), 1)
    else:
        found["ccxt_pro"] = "left out: run ./dev conformance once, it makes the environment"
    return found


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


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the median of each number over the rounds."""
    return {name: round(statistics.median(each[name] for each in rounds), 1) for name in (rounds[0] if rounds else ())}


def started() -> tuple[Program, int]:
    """Start a source; return it and its port."""
    source = Program(sys.executable, str(HERE / "feeds" / "source.py"))
    return source, source.hear()["port"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000, help="frames of each subject in a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rate", type=float, default=1_000.0, help="messages per second where delay is measured")
    parser.add_argument("--no-ccxt", action="store_true")
    options = parser.parse_args()
    subjects = Subjects(options.frames, with_ccxt=CCXT_PYTHON.exists() and not options.no_ccxt)
    found = asyncio.run(compare(subjects, options.rounds, options.rate))
    subjects.end()
    print("load", file=sys.stderr)
    if hasattr(os, "sched_setaffinity"):
        source, port = started()
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # this process alone: the source keeps all cores
    else:
        source, port = started()
    loaded = asyncio.run(load(source, port))
    source.end()
    result = {
        "rounds": options.rounds,
        "frames": options.frames,
        "rate_of_delays": options.rate,
        **found,
        "load": loaded,
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
