"""Evidence: every recorded market trades, replays to the same decisions, and does so under other hash seeds and speeds.

    ./dev evidence recorded      (needs the folder of recordings: CLAIRE_SHARED, or ../shared beside the checkout)

Each run is a process of its own, started as a user starts it. Prints one JSON document.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("CLAIRE_SHARED") or CHECKOUT.parent / "shared")
UNIFIED = SHARED / "data/trades/all_trades_unified.parquet"
PEPE_ZIP = SHARED / "data/trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip"
LIVELY = ("lookback_s=300", "threshold_pct=0.5", "stop_loss_pct=1", "take_profit_pct=1.5", "max_hold_s=3600")
QUIET = ("lookback_s=60", "threshold_pct=0.03", "stop_loss_pct=0.05", "take_profit_pct=0.05", "max_hold_s=300")
MARKETS: tuple[tuple[str, Path, tuple[str, ...], tuple[str, ...]], ...] = (
    ("PEPEUSDT", UNIFIED, (), LIVELY),
    ("PEPEUSDT", PEPE_ZIP, (), LIVELY),
    ("APEUSDT", UNIFIED, (), LIVELY),
    ("NEXOUSDT", UNIFIED, (), LIVELY),
    ("XRPETH", UNIFIED, (), (*LIVELY, "paper.balance.ETH=10")),
    ("BTCUSDT", UNIFIED, ("--venue", "binance_spot"), QUIET),
    ("BTCUSDT", UNIFIED, ("--venue", "binance_um"), (*QUIET, "paper.balance.USDT=100000")),
    ("NEXOUSDT", SHARED / "data/l2/binance_spot_nexousdt_20240724.raw.gz", (), LIVELY),
    ("BTCUSDT", SHARED / "data/l2/binance_spot_btcusdt_20240808.raw.gz", (), QUIET),
    ("BTCUSDT", SHARED / "data/l2/binance_spot_btcusdt_20260727.frames.jsonl.gz", (), QUIET),
)


def claire(*words: str, seed: str = "0") -> dict[str, Any]:
    """Run one command and return its JSON document."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-m", "claire.cli.main", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    if done.returncode not in (0, 1) or "error" in result:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}: {result.get('error', done.stderr)}")
    return result


def main() -> None:
    """Run, replay, compare, print."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for symbol, path, where, parameters in MARKETS:
            print(f"{symbol} {path.name}", file=sys.stderr)
            sets = [word for setting in parameters for word in ("--set", setting)]
            market = ["--symbol", symbol, *where, *sets, "--runs", folder]
            started = time.monotonic()
            run = claire("backtest", "--data", str(path), *market)
            backtest_s = time.monotonic() - started
            other_seed = claire("backtest", "--data", str(path), *market, seed="4711")
            as_run = claire("run", "--source", f"recorded:{path}", "--speed", "max", *market)
            replays = [claire("replay", r["run_id"], "--runs", folder) for r in (run, as_run)]
            digests = sorted(dict.fromkeys(r["decision_digest"] for r in (run, other_seed, as_run, *replays)))
            rows.append(
                {
                    "symbol": symbol,
                    "file": path.name,
                    "trades": run["trades_in"],
                    "book_events": run["market_events"] - run["trades_in"],
                    "fills": run["fills"],
                    "round_trips": run["round_trips"],
                    "final_equity": run["final_equity"],
                    "digest": run["decision_digest"],
                    "one_digest": len(digests) == 1,
                    "replays_identical": all(replay["identical"] for replay in replays),
                    "command_s": round(backtest_s, 2),
                    "trades_per_s": round(run["trades_per_s"]),
                }
            )
    failed = [row for row in rows if not (row["one_digest"] and row["replays_identical"])]
    print(json.dumps({"markets": rows, "failed": len(failed)}))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
