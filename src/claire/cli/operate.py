"""`claire pause`, `unpause`, `close`, `cancel`, `positions`, `orders`, `balance`, `risk`: an operator and a run.

A running process is asked through the door in its run directory. Where none runs, what only looks is answered from the ledger
of the newest run, and says so; what changes something says what to do instead.
"""

import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from claire.cli.output import print_json, say, utc
from claire.cli.runs import all_runs, existing_runs, find_run
from claire.model.errors import UsageError
from claire.services.door import Request, door_of, knock

CHANGES: Final = {
    "pause": "It enters nothing now. Go on with it (claire run --continue RUN) and pause it then",
    "unpause": "Locks survive a restart: go on with the run (claire run --continue RUN) and unpause it then, or release the"
    ' lock at its start: --release "operator pause" --operator NAME --reason TEXT',
    "close": "Go on with the run (claire run --continue RUN) and close it then, or sell at the venue yourself",
    "release": "Go on with the run and release the lock at its start: claire run --continue RUN --release SOURCE --operator NAME"
    " --reason TEXT",
    "cancel": "Go on with the run (claire run --continue RUN); or cancel everything at the venue: claire panic",
}
"""What to do about each command that needs a process, where none runs."""


class Asked(NamedTuple):
    """What was asked for on the command line."""

    do: str
    run: str
    runs: Path | None
    as_json: bool
    symbol: str = ""
    order: str = ""
    operator: str = ""
    reason: str = ""
    venue: bool = False
    lock: str = ""


def change(asked: Asked) -> int:
    """Have a running process change something; return the exit code."""
    operator = asked.operator or user()
    request = Request(asked.do, operator, asked.reason, asked.symbol, asked.order, asked.lock)
    run_dir, answer = _reach(asked, request)
    if answer is None:
        raise UsageError(_nobody(asked.do, run_dir))
    if asked.as_json:
        print_json(answer)
    else:
        for line in _changed(answer):
            print(f" {line}")
    return 0


def _nobody(do: str, run_dir: Path | None) -> str:
    """Say that nobody can be asked, and what to do instead."""
    if run_dir is None:
        return "no run is running here, and there is none to go on with. The folder of runs is named with --runs"
    holder = writer_of(run_dir)
    if holder:
        return (
            f"run {run_dir.name} (process {holder}) goes over a synthetic or recorded market, or is just starting or ending;"
            " it cannot be asked for anything. Ctrl-C ends it in order"
        )
    return f"run {run_dir.name} is not running. {CHANGES[do].replace('RUN', run_dir.name)}"


def writer_of(run_dir: Path) -> int:
    """Return the process that writes a run; 0: none does."""
    try:
        with (run_dir / "run.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = (run_dir / "run.lock").read_text("ascii", "replace").strip()
        return int(found) if found.isdigit() else -1
    except OSError:
        return 0  # there is no lock, so nobody has it
    return 0


def look(asked: Asked) -> int:
    """Show what a run holds, or what its risk allows; return the exit code."""
    request = Request(asked.do.partition(" ")[0], user(), venue=asked.venue)
    run_dir, answer = _reach(asked, request)
    if answer is None:
        if run_dir is None:
            raise UsageError("there are no runs here. Make one with claire run, or name the folder with --runs")
        answer = _from_ledger(asked, run_dir)
    if asked.as_json:
        print_json(answer)
        return 0
    _say_origin(answer)
    show(asked.do, answer)
    return 0


def user() -> str:
    """Who asks, where nobody says."""
    return os.environ.get("LOGNAME") or os.environ.get("USER") or f"user {os.getuid()}"


def _reach(asked: Asked, request: Request) -> tuple[Path | None, dict[str, Any] | None]:
    """Ask the run that is meant; return its directory, and its answer where it runs.

    Raises:
        UsageError: several run and none is named, or what is asked is refused.
    """
    folder = existing_runs(asked.runs)
    if asked.run:
        run_dir = find_run(asked.run, folder)
        return run_dir, knock(run_dir, request)
    runs = all_runs(folder)
    running = [run for run in runs if door_of(run) is not None and knock(run, Request("ping")) is not None]
    if len(running) > 1:
        names = ", ".join(run.name for run in running)
        raise UsageError(f"{len(running)} runs are running: {names}. Say which, with --run")
    if running:
        return running[0], knock(running[0], request)
    return (runs[-1] if runs else None), None


def _from_ledger(asked: Asked, run_dir: Path) -> dict[str, Any]:
    """Answer from what is on record, and from the venue where that was asked for."""
    from claire.services.recorded import recorded

    found = recorded(run_dir)
    about: dict[str, Any] = {
        "run": run_dir.resolve().name,
        "mode": found.mode,
        "running": False,
        "as_of_ns": found.as_of_ns,
    }
    account = found.account
    if asked.do == "positions":
        about["positions"] = account.positions
    elif asked.do == "orders":
        about["orders"] = account.orders
    elif asked.do == "balance":
        about |= {
            "balance": account.balance,
            "external": [{"asset": asset, "amount": f"{amount:f}"} for asset, amount in account.external.items()],
            "currency": account.currency,
            "equity": account.equity,
        }
    else:
        severity = ("ACTIVE", "REDUCE_ONLY", "HALTED", "KILLED")
        state = max((lock["state"] for lock in found.locks), key=severity.index, default="ACTIVE")
        about |= {"trading": state, "locks": found.locks, "limits": [], "asking": []}
    if asked.venue:
        from claire.services.venueview import ask_venue

        about["venue"] = ask_venue(asked.do, run_dir, account)
    return about


# -- text -------------------------------------------------------------------------------------------------------------


def _say_origin(answer: dict[str, Any]) -> None:
    if not answer["running"]:
        age_ns = time.time_ns() - answer["as_of_ns"]
        since = f", as of {utc(answer['as_of_ns'])} UTC" if answer["as_of_ns"] else ""
        old = f" ({age_ns // 3_600_000_000_000} h ago)" if answer["as_of_ns"] and age_ns > 3_600_000_000_000 else ""
        say(f"no process runs {answer['run']}: this is from its ledger{since}{old}")


def _changed(answer: dict[str, Any]) -> list[str]:
    trading = f"trading is {answer['trading']}" if "trading" in answer else ""
    why = f" ({answer['reason']})" if answer.get("reason") else ""
    if "paused" in answer:
        what = "no new entries" if answer["paused"] == "*" else f"no new entries in {answer['paused']}"
        return [f"paused: {what}; exits and cancels go on. Run {answer['run']}: {trading}{why}"]
    if "unpaused" in answer:
        still = "entries go on" if answer["trading"] == "ACTIVE" else f"entries stay off, for {trading}{why}"
        return [f"unpaused: {still}. Run {answer['run']}"]
    if "released" in answer:
        return [f"released: {answer['released']}. Run {answer['run']}: {trading}{why}"]
    if "closing" in answer:
        lines = [f"{one['strategy']} {one['symbol']}: {one['became']}" for one in answer["closing"]]
        symbol = answer["closing"][0]["symbol"]
        return [*lines, f"the strategy may enter again; to keep it out: claire pause {symbol}"]
    return [f"order {answer['order']} ({answer['client_order_id']}, {answer['symbol']}): {answer['state']}"]


COLUMNS: Final = {
    "positions": ("strategy", "symbol", "quantity", "cost", "price", "value", "unrealised_pnl", "selling_order"),
    "orders": (
        "order", "client_order_id", "strategy", "symbol", "side", "state", "quantity", "filled", "worst_price", "limit_price",
    ),
    "balance": ("asset", "total", "cash", "positions", "dust", "free"),
    "external": ("asset", "amount"),
    "venue": ("asset", "books", "external", "venue_free", "venue_locked", "difference"),
    "venue_orders": (
        "order", "client_order_id", "venue_order_id", "symbol", "side", "quantity", "here", "here_filled", "venue",
        "venue_filled", "difference",
    ),
    "locks": ("source", "state", "symbol", "strategy", "since", "until", "reason"),
    "limits": ("control", "limit", "setting", "ceiling", "scope", "used", "allowed", "unit", "used_pct"),
}  # fmt: skip
"""What is shown of each kind of row, in this order; the JSON has all of it."""


def show(do: str, answer: dict[str, Any]) -> None:
    """Print an answer as tables."""
    if do.startswith("risk"):
        _show_risk(do, answer)
        return
    rows = answer[do]
    nothing = {"positions": "nothing is owned", "orders": "no order is live", "balance": "nothing is on the books"}
    print_rows(rows, COLUMNS[do]) if rows else print(f" {nothing[do]}")
    if do == "balance":
        if answer["external"]:
            print("\n not Claire's:")
            print_rows(answer["external"], COLUMNS["external"])
        equity = answer["equity"] or "not known"
        print(f"\n equity {equity} {answer['currency']}")
    if "venue" in answer:
        print("\n beside the venue:")
        columns = COLUMNS["venue_orders" if do == "orders" else "venue"]
        print_rows(answer["venue"], columns) if answer["venue"] else print(" nothing there either")


def _show_risk(do: str, answer: dict[str, Any]) -> None:
    if do != "risk limits":
        print(f" run {answer['run']}, trading is {answer['trading']}")
        rows = [
            lock | {"since": utc(lock["since_ns"]), "until": utc(lock["until_ns"]) if lock.get("until_ns") else ""}
            for lock in answer["locks"]
        ]
        print_rows(rows, COLUMNS["locks"]) if rows else print(" no lock is set")
        for one in answer["asking"]:
            print(
                f" {one['strategy']} {one['symbol']}: was found beyond its stop at a restart and waits for --release restart"
            )
    if do != "risk status":
        limits = answer["limits"]
        print_rows(limits, COLUMNS["limits"]) if limits else print(
            " limits in use are known to the running process alone; what is configured: claire doctor"
        )


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table, with the columns that any of them has; numbers to the right."""
    shown = [name for name in columns if any(row.get(name) not in (None, "", 0) for row in rows)]
    cells = [[name.replace("_", " ") for name in shown]]
    cells += [[_cell(row.get(name)) for name in shown] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(shown))]
    right = [all(_is_number(line[at]) for line in cells[1:]) for at in range(len(shown))]
    dim = "\033[2m{}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else "{}"
    for number, line in enumerate(cells):
        words = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        text = "  ".join(words).rstrip()
        print(f" {dim.format(text) if not number else text}")


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    return f"{value:.0f} %" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return not text or text.lstrip("+-").replace(".", "", 1).removesuffix(" %").isdigit()
