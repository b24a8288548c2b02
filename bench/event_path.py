"""The event path beside a bare Python loop that computes the same momentum signal, in one run on the same trades.

    ./dev bench event_path [--trades 2000000] [--seed 1] [--rounds 3]

Prints one JSON document. The ratio is what counts: machines differ, and this one may be busy. `bare_loop` starts from
ready lists of integers, so it is the floor of anything written in Python; `bare_loop_with_lists` includes making the
lists from columns, as the event path includes making its events. Aims: ratio >= 0.10, peak <= 500 MB, order round <= 150 us.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from claire.adapters.config import load
from claire.adapters.marketdata.synth import SyntheticMarket, SynthSettings
from claire.engine.ports import SourceInfo
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent
from claire.services.assembly import Assembly, assemble
from claire.services.summary import peak_rss_mb

LOOKBACK_S, THRESHOLD_PCT, STOP_PCT, TARGET_PCT, HOLD_S = 60, 0.4, 0.5, 0.8, 900
WIDE = (
    "risk.cooldown_s=0",
    "risk.stop_guard_exits=20",
    "risk.max_entries_per_min=10",
    "risk.max_entries_per_h=60",
    "risk.max_entries_per_day=300",
    "risk.max_orders_per_s=10",
    "risk.max_orders_per_min=100",
    "risk.max_orders_per_day=2000",
)
"""The controls of how often something is done, as wide as they can be: the loop beside it has none of them."""

SETTINGS = (
    *WIDE,
    f"lookback_s={LOOKBACK_S}",
    f"threshold_pct={THRESHOLD_PCT}",
    f"stop_loss_pct={STOP_PCT}",
    f"take_profit_pct={TARGET_PCT}",
    f"max_hold_s={HOLD_S}",
    "paper.latency_ms=0",
)


class Ready:
    """Synthetic trades, drawn beforehand and kept as columns; the events are made while they are read."""

    def __init__(self, trades: int, seed: int) -> None:
        """Draw the market once."""
        market = SyntheticMarket(SynthSettings(seed=seed, trades=trades, duration_s=0))
        self.instruments: Mapping[str, Instrument] = market.instruments
        self.blocks = [block.trades for block in market.blocks()]
        self.info: SourceInfo = market.info

    def batches(self) -> Iterator[Sequence[MarketEvent]]:
        """Yield the events, 4096 at a time."""
        for block in self.blocks:
            for start in range(0, len(block), 4096):
                yield block.events(start, start + 4096)


OFTEN = (
    "risk.profile=unlimited",
    "lookback_s=5",
    "threshold_pct=0.005",
    "stop_loss_pct=0.005",
    "take_profit_pct=0.005",
    "max_hold_s=5",
    "paper.latency_ms=0",
)
"""A round every twenty trades or so: what one costs while its code is warm in the processor's caches."""


def assembled(source: Ready, settings: Sequence[str] = SETTINGS) -> Assembly:
    """Build the whole pipeline: candles, regime, allocation, signal, risk, execution, paper venue, portfolio."""
    loaded = load(
        assignments=settings, symbols=list(source.instruments), strategy="momentum", mode="backtest", environ={}
    )
    return assemble(loaded.settings, source)


def event_path(source: Ready) -> tuple[float, Assembly]:
    """Return seconds from the first event to the last, and the finished pipeline."""
    assembly = assembled(source)
    feed = assembly.pipeline.feed
    started = time.perf_counter()
    for batch in source.batches():
        for event in batch:
            feed(event)
    return time.perf_counter() - started, assembly


def bare_loop(times: list[int], prices: list[int]) -> int:
    """Momentum with its exits on plain integers: no orders, no money, no candles. Returns the signals."""
    lookback, hold = LOOKBACK_S * 10**9, HOLD_S * 10**9
    window_times: deque[int] = deque()
    window_prices: deque[int] = deque()
    reference = stop = target = until = signals = 0
    for t, p in zip(times, prices, strict=True):
        start = t - lookback
        while window_times and window_times[0] <= start:
            window_times.popleft()
            reference = window_prices.popleft()
        window_times.append(t)
        window_prices.append(p)
        if stop:
            if p <= stop or p >= target or t >= until:
                stop, signals = 0, signals + 1
        elif reference and (p / reference - 1.0) * 100.0 >= THRESHOLD_PCT:
            stop, target = int((p + 1) * (1 - STOP_PCT / 100)), int((p + 1) * (1 + TARGET_PCT / 100)) + 1
            until, signals = t + hold, signals + 1
    return signals


def order_rounds(source: Ready, settings: Sequence[str]) -> dict[str, float]:
    """Time every trade that caused a whole order round: signal, risk, intent, send, fill, postings (latency 0)."""
    assembly = assembled(source, settings)
    feed, tally = assembly.pipeline.feed, assembly.tally
    rounds = []
    for batch in source.batches():
        for event in batch:
            before = tally.fills
            started = time.perf_counter_ns()
            feed(event)
            spent = time.perf_counter_ns() - started
            if tally.fills > before:
                rounds.append(spent / 1000)
        if len(rounds) >= 500:
            break
    return {
        "rounds": len(rounds),
        "p50_us": round(statistics.median(rounds), 1),
        "p99_us": round(statistics.quantiles(rounds, n=100)[98], 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    source = Ready(options.trades, options.seed)
    gc.freeze()
    claire, bare, bare_with_lists = [], [], []
    peak_mb, bare_signals, assembly = 0.0, 0, assembled(source)
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        seconds, assembly = event_path(source)
        claire.append(seconds)
        peak_mb = peak_mb or peak_rss_mb()
        started = time.perf_counter()
        times = [t for block in source.blocks for t in block.ts_ns.tolist()]
        prices = [p for block in source.blocks for p in block.ticks.tolist()]
        made = time.perf_counter() - started
        started = time.perf_counter()
        bare_signals = bare_loop(times, prices)
        bare.append(time.perf_counter() - started)
        bare_with_lists.append(made + bare[-1])
        del times, prices
    tally, pipeline = assembly.tally, assembly.pipeline
    rates = {
        name: round(options.trades / statistics.median(seconds))
        for name, seconds in (("event_path", claire), ("bare_loop", bare), ("bare_loop_with_lists", bare_with_lists))
    }
    result = {
        "trades": pipeline.trades_in,
        "seed": options.seed,
        "rounds": options.rounds,
        "trades_per_s": rates,
        "ratio": round(statistics.median(b / c for b, c in zip(bare, claire, strict=True)), 3),
        "ratio_with_lists": round(statistics.median(b / c for b, c in zip(bare_with_lists, claire, strict=True)), 3),
        "event_path_peak_rss_mb": round(peak_mb, 1),
        "order_round": order_rounds(source, OFTEN),
        "order_round_once_in_4000_trades": order_rounds(source, SETTINGS),
        "signals": {"event_path": tally.signals, "bare_loop": bare_signals},
        "fills": tally.fills,
        "candles": tally.candles,
        "digest": tally.digest,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
