"""Evidence: how fast the kill switch closes the gate, and how long until the venue is proven empty, in ten troubles.

    ./dev evidence kill-switch [--gate-trials 1000] [--trials 20] [--fault NAME ...] [--minutes M]

Per trouble so many short trials, with the gate asked for 500 orders a second, and so many full ones: see
`claire drill kill-switch`.
With --minutes the short trials are as many as fit, and the document says how many there were. The trials of a trouble that were
made stay in .cache/kill_switch.jsonl until the code of the kill switch changes, so a run that was cut off goes on where it was.

Prints one JSON document; exits 1 if an order was late, a gate took more than a second, or something happened that may not.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from claire.drill.killswitch import figures
from claire.drill.killswitch.trials import Plan, Row, try_all
from claire.drill.killswitch.trouble import MEANING, Trouble

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DONE: Final = CHECKOUT / ".cache" / "kill_switch.jsonl"
RECV_WINDOW_MS = 2000
HOLD_S = 3.0
SHORT_S, FULL_S = 0.13, 7.0
"""About what one trial takes."""


class Kept(Struct, frozen=True):
    """Trials of one trouble, and what they were made with."""

    code: str
    plan: Plan
    load: float
    row: Row


def code() -> str:
    """Return a digest of what closes the gate and of what measures it."""
    digest = hashlib.sha256()
    for place in ("drill/killswitch", "gateway", "latch", "safety"):
        for path in sorted((CHECKOUT / "src" / "claire" / place).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def made_before(trouble: Trouble, plan: Plan) -> Row | None:
    """Return the trials of a trouble, where they were made with the same code and plan, and nothing went wrong."""
    if not DONE.exists():
        return None
    found = [msgspec.json.decode(line, type=Kept) for line in DONE.read_bytes().splitlines()]
    rows = [one.row for one in found if (one.code, one.plan, one.row.trouble) == (code(), plan, trouble)]
    return rows[-1] if rows else None


def keep(row: Row, plan: Plan) -> None:
    """Keep the trials of a trouble, unless something went wrong: then they are made again."""
    if figures.is_failed([row]):
        return
    DONE.parent.mkdir(exist_ok=True)
    with DONE.open("ab") as file:
        file.write(msgspec.json.encode(Kept(code(), plan, round(os.getloadavg()[0], 1), row)) + b"\n")


def gate_trials_within(minutes: float, troubles: int, trials: int) -> int:
    """Return how many short trials per trouble fit."""
    left_s = minutes * 60 / troubles - trials * FULL_S
    return max(1, int(left_s / SHORT_S))


def main() -> None:
    """Kill, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gate-trials", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--fault", action="append", choices=[trouble.value for trouble in Trouble])
    parser.add_argument("--minutes", type=float, help="longest time; takes away from the short trials")
    given = parser.parse_args()
    troubles = [trouble for trouble in Trouble if given.fault is None or trouble.value in given.fault]
    gate_trials = given.gate_trials
    if given.minutes:
        gate_trials = min(gate_trials, gate_trials_within(given.minutes, len(troubles), given.trials))
    plan = Plan(given.trials, gate_trials, recv_window_ms=RECV_WINDOW_MS, hold_s=HOLD_S)
    began, load_before = time.monotonic(), os.getloadavg()[0]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("kills", total=len(troubles) * (gate_trials + given.trials))

        def tell() -> None:
            progress.update(bar, advance=1)
            done = int(progress.tasks[0].completed)
            if not progress.console.is_terminal and done % 200 == 0:
                print(f"{done} of {progress.tasks[0].total} kills, {time.monotonic() - began:.0f} s", file=sys.stderr)

        rows = []
        for trouble in troubles:
            row = made_before(trouble, plan)
            if row is None:
                (row,) = try_all([trouble], plan, tell)
                keep(row, plan)
            else:
                progress.update(bar, advance=gate_trials + given.trials)
            rows.append(row)
    asked = figures.asked(rows)
    found: dict[str, Any] = figures.document(rows) | {
        "gate_closed_ms": figures.closed(rows),
        "late_orders": sum(figures.late(row) for row in rows),
        "gate_trials_per_fault": gate_trials,
        "full_trials_per_fault": given.trials,
        "asked_per_s": {row.trouble.value: asked[row.trouble] for row in rows},
        "command_start_up_ms": figures.spread(trial.start_up_ms for row in rows for trial in row.full),
        "all_cancels_sent_ms": {
            row.trouble.value: figures.spread(trial.all_sent_ms for trial in row.full) for row in rows
        },
        "recv_window_ms": RECV_WINDOW_MS,
        "venue_or_network_recovers_after_s": HOLD_S,
        "what_is_wrong": {trouble.value: MEANING[trouble] for trouble in troubles},
        "violations": [violation for row in rows for violation in row.violations],
        "machine": {
            "cores": os.cpu_count(),
            "load_before": round(load_before, 1),
            "load_after": round(os.getloadavg()[0], 1),
        },
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(found))
    for line in [*figures.table(rows), *figures.remarks(rows)]:
        print(line, file=sys.stderr)
    raise SystemExit(1 if figures.is_failed(rows) else 0)


if __name__ == "__main__":
    main()
