"""`claire replay` and `claire history`: what a run decided, proven again, and what there is to prove."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from claire.cli.output import grouped, money, percent, print_json
from claire.cli.report import replay_text
from claire.cli.runs import all_runs, existing_runs, find_run, told
from claire.cli.screen import Bar


def replay(word: str, data: Sequence[Path], assignments: Sequence[str], runs: Path | None, *, as_json: bool) -> int:
    """Decide a run again; return 0 if every decision is the same, else 1."""
    from claire.services.replay import replay as replay_run

    run = find_run(word, existing_runs(runs))
    known = told(run).get("summary", {})
    with Bar("replay", int(known.get("market_events", 0))) as bar:
        result = replay_run(run, data, tuple(assignments), on_progress=bar)
    if as_json:
        print_json(result)
    else:
        print(replay_text(result))
    return 0 if result.identical else 1


def history(runs: Path | None, *, as_json: bool) -> int:
    """List the runs, oldest first."""
    folder = existing_runs(runs)
    found = [told(run) for run in all_runs(folder)]
    if as_json:
        print_json({"runs_folder": str(folder), "runs": found})
        return 0
    if not found:
        print(f" no runs in {folder}; make one with claire run")
        return 0
    rows: list[tuple[str, ...]] = [
        ("run", "mode", "symbols", "strategies", "trades", "fills", "denied", "equity", "", "state")
    ]
    rows += [_row(run) for run in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {4, 5, 6, 7, 8}
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(f" {'  '.join(cells)}".rstrip())
    return 0


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    summary: dict[str, Any] | None = run.get("summary")
    if summary is None:
        return (run["run_id"], *[""] * 8, run["state"])
    start, final = Decimal(summary["start_equity"]), Decimal(summary["final_equity"])
    return (
        run["run_id"],
        summary["mode"] + ("" if summary["risk_profile"] == "default" else f" ({summary['risk_profile']})"),
        ",".join(summary["symbols"]),
        ",".join(summary["strategies"]),
        grouped(summary["trades_in"]),
        grouped(summary["fills"]),
        grouped(sum(summary["denials"].values())),
        f"{money(summary['final_equity'], summary['currency'])} {summary['currency']}",
        percent(100 * (final - start) / start) if start else "",
        run["state"],
    )
