"""Evidence: real processes, killed with SIGKILL at random moments under load, and continued; then books and venue agree.

    ./dev evidence kills [--kills 300] [--seed 1] [--keep FOLDER]

Three runs share the kills: market orders, orders that take what is there and cancel the rest, and orders that rest in the book;
fees in quote and in what was bought. Each runs against a simulator in a process of its own, whose market goes on while nobody
is there, and which drops every fifth answer to an order. After each kill the ledger is held against the venue; at the end of a
run, at rest, everything is: orders, fills, balances to the last digit; and its journal is replayed.

Prints one JSON document; exits 1 if there is one difference.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.beside import Beside, lively
from tests.support.killing import BUSY, Figures, KilledRun, Moment, kill_over_and_over

SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT", "ADAUSDT", "TRXUSDT"),
    *("AVAXUSDT", "LINKUSDT", "LTCUSDT", "DOTUSDT"),
)
USDT = 1_000_000
PAUSE = "risk.cooldown_s=15"
"""Between two positions in one symbol: more entries an hour than are allowed would end the run."""


class Scene(NamedTuple):
    """One run: what fees are paid in there and here, and how entries meet the book."""

    name: str
    fee_asset: str
    settings: tuple[str, ...]


SCENES = (
    Scene("market orders, fees in quote", "quote", ()),
    Scene("immediate or cancel, fees in base", "received", ("fees.asset=base", "execution.entry_type=ioc")),
    Scene(
        "resting orders, fees in base",
        "received",
        ("fees.asset=base", "execution.entry_type=limit", "execution.entry_ttl_s=2"),
    ),
)


def killed(scene: Scene, kills: int, seed: int, folder: Path, progress: Progress) -> Figures:
    """Kill one run so often; return its figures."""
    bar = progress.add_task(scene.name, total=kills)

    def on_kill(number: int, moment: Moment) -> None:
        progress.update(bar, advance=1)
        if not progress.console.is_terminal and number % 10 == 0:
            print(f"{scene.name}: {number} of {kills} kills", file=sys.stderr)

    words = lively(seed, SYMBOLS, fee_asset=scene.fee_asset, usdt=USDT)
    with Beside(folder / "venue", *words) as beside:
        beside.bad_day()
        settings = (*BUSY, PAUSE, f"paper.balance.USDT={USDT}", *scene.settings)
        with KilledRun(folder, beside, settings, seed=seed) as run:
            return kill_over_and_over(run, kills, on_kill)


def spread(values: list[float]) -> dict[str, float]:
    """The middle, the 95th of a hundred, the largest."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "p50": ordered[len(ordered) // 2],
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
        "max": ordered[-1],
    }


def document(scenes: dict[str, Figures], seconds: float) -> dict[str, Any]:
    """Put the figures of all runs together."""
    moments: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for figures in scenes.values():
        moments.update(figures.moments)
        states.update(figures.states)
    every = list(scenes.values())
    return {
        "kills": sum(figures.kills for figures in every),
        "moments": dict(sorted(moments.items())),
        "restarts": sum(figures.restarts for figures in every),
        "first_order_after_restart_s": spread([s for figures in every for s in figures.recovery_s]),
        "submits": sum(figures.submits for figures in every),
        "orders_at_the_venue": sum(figures.orders for figures in every),
        "fills": sum(figures.fills for figures in every),
        "lost_answers": sum(figures.lost_answers for figures in every),
        "unknown_outcomes": sum(figures.unknown_outcomes for figures in every),
        "order_states": dict(sorted(states.items())),
        "journal_entries": {name: figures.journal_entries for name, figures in scenes.items()},
        "differences": [f"{name}: {text}" for name, figures in scenes.items() for text in figures.differences],
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the run directories in this folder")
    given = parser.parse_args()
    began = time.monotonic()
    scenes: dict[str, Figures] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as temporary, Progress(*columns, console=Console(stderr=True)) as progress:
        for number, scene in enumerate(SCENES):
            kills = given.kills // len(SCENES) + (number < given.kills % len(SCENES))
            folder = (given.keep or Path(temporary)) / str(number)
            scenes[scene.name] = killed(scene, kills, given.seed + number, folder, progress)
    found = document(scenes, time.monotonic() - began)
    print(json.dumps(found))
    for difference in found["differences"][:20]:
        print(difference, file=sys.stderr)
    raise SystemExit(1 if found["differences"] else 0)


if __name__ == "__main__":
    main()
