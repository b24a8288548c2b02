"""`claire explain`: one decision as a table."""

import shutil
import sys
import textwrap
from pathlib import Path

from claire.cli.output import grouped, print_json, say
from claire.cli.runs import existing_runs, find_run


def explain(word: str, run: str, runs: Path | None, *, as_json: bool) -> int:
    """Tell the story of a signal or an order; return the exit code."""
    from claire.services.explaining import explain as tell

    run_dir = find_run(run, existing_runs(runs))
    is_shown = sys.stderr.isatty()

    def progress(entries: int) -> None:
        if is_shown:
            print(f"\r\033[K{grouped(entries)} journal entries read", end="", file=sys.stderr, flush=True)

    try:
        told = tell(run_dir, word, progress)
    finally:
        if is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    if as_json:
        print_json(told)
        return 0
    print(f" {told.verdict}   (run {told.run})\n")
    width = max(60, shutil.get_terminal_size((140, 24)).columns - 50)
    for line in told.lines:
        head = f" {_moment(line.ts_ns):<23}  {line.what:<16}  {line.entry or '':>7}  "
        text = textwrap.wrap(line.numbers, width) or [""]
        print(head + text[0])
        for more in text[1:]:
            print(" " * len(head) + more)
    print("\n (third column: the entry of the journal)")
    if told.cut_off:
        say(told.cut_off)
    return 0


def _moment(ts_ns: int) -> str:
    """A moment to the millisecond, UTC."""
    from datetime import UTC, datetime

    if not ts_ns:
        return ""
    moment = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ts_ns // 1_000_000 % 1000:03d}"
