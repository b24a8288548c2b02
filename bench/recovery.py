"""How long a run of a million journal entries takes to go on with, from its newest snapshot and from its start.

    ./dev bench recovery [--entries 1000000] [--tail-s 60] [--seed 1] [--folder DIR]

Makes the journal of a live paper run by the production path (raw frames through the decoder and the whole pipeline, every
intent durable), saves the state `--tail-s` of market time before its end, stops without an end, and measures what
`claire run --continue` does before it trades. Prints one JSON document. Aim: <= 10 s from a snapshot.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from claire.adapters.config import Settings, load
from claire.adapters.journal.readback import read_back
from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.snapshots import SNAPSHOTS, save_snapshot
from claire.adapters.store.committed import mark_in
from claire.adapters.venues.mexc import channels
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.items import FeedItem, RawFrame
from claire.engine.saving import to_bytes
from claire.model.instrument import Instrument
from claire.services.beginning import Begun, Saved, fresh
from claire.services.code import code_version
from claire.services.feeding import LiveMarket, live_info
from claire.services.keeping import LEDGER
from claire.services.live import IDLE_COMMIT_S, LiveRun
from claire.services.recovery import GoOn, continued
from claire.services.summary import peak_rss_mb
from claire.wire import PublicAggreDeal, PublicAggreDeals, PushDataV3ApiWrapper

SYMBOL: Final = "BTCUSDT"
START_MS: Final = 1_790_000_000_000
FRAME_MS: Final = 250
"""Market time from one frame to the next: four trades a second, one in each frame."""
SETTINGS: Final = (
    "lookback_s=20",
    "threshold_pct=0.12",
    "stop_loss_pct=0.2",
    "take_profit_pct=0.2",
    "max_hold_s=300",
    "allocation.mode=full",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--tail-s", type=float, default=60.0, help="market time behind the snapshot, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where the run is made; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="claire-bench-", dir=options.folder) as folder:
        print(json.dumps(measure(Path(folder), options.entries, options.tail_s, options.seed), indent=2))


def measure(folder: Path, entries: int, tail_s: float, seed: int) -> dict[str, Any]:
    """Make the run, and go on with it in each way."""
    settings = load(assignments=SETTINGS, symbols=[SYMBOL], strategy="momentum", mode="paper", environ={}).settings
    instruments = {SYMBOL: Instrument.checked(SYMBOL, Decimal("0.01"), Decimal("0.000001"), venue="mexc")}
    info = live_info((SYMBOL,), "mexc", START_MS * 1_000_000, with_history=False, has_book=False)
    market = LiveMarket(instruments, info)
    print(f"making {entries} entries", file=sys.stderr)
    began = time.perf_counter()
    made = make(folder, settings, market, entries, tail_s, seed)
    run_dir = folder / "recovery"
    found: dict[str, Any] = {"entries": JournalReader(run_dir).check().entries}
    found |= {"made_in_s": seconds_since(began), "journal_mb": megabytes(run_dir / "journal"), **made}
    from_start = Path(shutil.copytree(run_dir, folder / "whole" / run_dir.name))
    shutil.rmtree(from_start / SNAPSHOTS)

    print("from the snapshot", file=sys.stderr)
    found["from_snapshot"] = reading(run_dir) | go_on(run_dir, settings, market)
    print("from the start", file=sys.stderr)
    found["from_start"] = go_on(from_start, settings, market)
    if found["from_snapshot"].pop("digest") != found["from_start"].pop("digest"):
        raise SystemExit("from its snapshot the run came to other decisions than from its start")
    return found


def make(
    folder: Path, settings: Settings, market: LiveMarket, entries: int, tail_s: float, seed: int
) -> dict[str, Any]:
    """Run until the journal is so long; return what it held, and what the snapshot took."""
    rng = random.Random(seed)
    topic = channels.deals(SYMBOL).name
    decoder = FeedDecoder(market.instruments)
    ticks, number = 8_000_000.0, 0
    snapshot: dict[str, Any] = {}
    now_ns = START_MS * 1_000_000
    tail = round(tail_s * 1000 / FRAME_MS)
    commit_every = round(IDLE_COMMIT_S * 1000 / FRAME_MS)
    with fresh(settings, market, runs_dir=folder, run_id="recovery") as begun:
        run = LiveRun(begun.assembly.pipeline, begun.kept, now_ns=lambda: now_ns)
        journal = begun.kept.journal
        while journal.entries < entries:
            number += 1
            ticks *= 1 + rng.gauss(0, 0.00012)
            at_ms = START_MS + number * FRAME_MS
            now_ns = (at_ms + 5) * 1_000_000
            run.beat()
            frame = RawFrame(1, trade_frame(topic, number, round(ticks), at_ms), now_ns)
            run.take(FeedItem(frame, decoder.take(frame)))
            if not number % commit_every:
                begun.kept.ledger.commit()
            if journal.entries >= entries - tail and not snapshot:
                snapshot = saved(begun, decoder)
        tally = begun.assembly.tally
        return {
            "orders": tally.intents,
            "fills": tally.fills,
            "denials": sum(tally.denials.values()),
            "snapshot": snapshot,
        }


def trade_frame(topic: str, number: int, ticks: int, at_ms: int) -> bytes:
    """One public trade as the venue pushes it."""
    whole, cents = divmod(ticks, 100)
    deal = PublicAggreDeal(
        price=f"{whole}.{cents:02d}", quantity="0.001", trade_type=1 + number % 2, time=at_ms, trade_id=f"T{number}"
    )
    body = PublicAggreDeals(deals=[deal], event_type=topic.rpartition("@")[0])
    push = PushDataV3ApiWrapper(channel=topic, symbol=SYMBOL, send_time=at_ms + 3, public_aggre_deals=body)
    return push.SerializeToString()


def saved(begun: Begun, decoder: FeedDecoder) -> dict[str, Any]:
    """Save the state as a live run does; return what it took."""
    kept = begun.kept
    stalls = []
    for _ in range(5):  # the same state again: two stay
        began = time.perf_counter()
        pipeline = to_bytes(begun.assembly.pipeline.save(with_venue=True))
        state = Saved(pipeline, decoder, kept.ledger.cursor(), kept.settings_json)
        save_snapshot(kept.run_dir, kept.journal, state, code=kept.code)
        stalls.append(time.perf_counter() - began)
    stalls.sort()
    size = max((kept.run_dir / SNAPSHOTS).iterdir()).stat().st_size
    return {
        "kb": round(size / 1000, 1),
        "median_ms": round(stalls[2] * 1000, 2),
        "worst_ms": round(stalls[-1] * 1000, 2),
    }


def reading(run_dir: Path) -> dict[str, Any]:
    """How long it takes to read and verify the whole journal, without executing any of it, and what is left to execute."""
    began = time.perf_counter()
    back = read_back(run_dir, code=code_version(["momentum"]), mark=mark_in(run_dir / LEDGER, run_dir.name))
    if back.snapshot is None:
        raise SystemExit(f"the snapshot cannot be used ({'; '.join(back.notes)}); commit, and measure again")
    return {"read_back_s": seconds_since(began), "entries_behind_it": len(back.entries)}


def go_on(run_dir: Path, settings: Settings, market: LiveMarket) -> dict[str, Any]:
    """Come to where the run stopped, as `claire run --continue` does; return how long that took."""
    began = time.perf_counter()
    with continued(GoOn(run_dir), settings, market=market, now_ns=time.time_ns) as begun:
        took = seconds_since(began)
        trades = begun.assembly.pipeline.trades_in
        digest = begun.assembly.tally.digest
    return {"recovery_s": took, "trades": trades, "peak_rss_mb": round(peak_rss_mb(), 1), "digest": digest}


def seconds_since(began: float) -> float:
    """Seconds, to the millisecond."""
    return round(time.perf_counter() - began, 3)


def megabytes(folder: Path) -> float:
    """What the files of a folder take."""
    return round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 1)


if __name__ == "__main__":
    main()
