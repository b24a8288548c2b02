"""`claire kill`: close the latch first, then explain.

`first` runs before the rest of `claire` is imported (`claire.cli.__main__`), because that takes longer than everything else here:
it needs the standard library and `claire.latch.kill`, nothing more. What it did is then told by the command itself.
"""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from claire.latch.kill import Killed, kill

ACCOUNTS: Final = "accounts"
REASON: Final = "claire kill"


class Done(NamedTuple):
    """What was done to one account."""

    account: str
    folder: Path
    killed: Killed
    latch_us: int
    """From before the first look at its folder to its being durable."""


class First(NamedTuple):
    """What was done before anything else."""

    done: tuple[Done, ...]
    start_up_ms: int
    """From the start of the process to before the first account; the kernel tells it in steps of 10 ms."""


_first: First | None = None


def first(arguments: Sequence[str]) -> None:
    """Close the latch at once, if the arguments of `claire kill` are plain; else leave them to the command."""
    global _first  # noqa: PLW0603 - what was done before the program was there, kept for it
    options = _plain(arguments)
    if options is None:
        return
    folders = _folders(_runs(options.get("--runs", "")), options.get("--account", ""))
    if folders:
        _first = _kill(folders, options.get("--reason", "") or REASON)


def command(*, account: str, reason: str, runs: Path | None, as_json: bool) -> int:
    """Close the latch where `first` has not, and say what is left; return the exit code.

    Raises:
        UsageError: there is no such account.
    """
    from claire.cli.output import print_json, say
    from claire.safety.folder import account_folder

    global _first
    place = runs or _runs("")
    before, _first = _first, None
    if before is None:
        folders = [account_folder(place, account)] if account else _folders(place, "")
        before = _kill(folders, reason or REASON)
    if not before.done:
        say(f"there is no account in {place / ACCOUNTS}, so nothing was trading from there. Another folder: --runs DIR")
    told = [_told(place, done) for done in before.done]
    for one in told if not as_json else ():
        _say(one)
    if as_json:
        print_json({"start_up_ms": before.start_up_ms, "accounts": told})
    return 0 if before.done and all(done.killed.is_closed for done in before.done) else 1


def _kill(folders: Iterable[Path], reason: str) -> First:
    start_up_ms = _age_ms()
    who = f"operator {_user()}"
    done = []
    for folder in folders:
        began_ns = time.perf_counter_ns()
        killed = kill(folder, who=who, reason=reason, now_ns=time.time_ns())
        done.append(Done(folder.name, folder, killed, (time.perf_counter_ns() - began_ns) // 1000))
    return First(tuple(done), start_up_ms)


def _user() -> str:
    return os.environ.get("LOGNAME") or os.environ.get("USER") or f"number {os.getuid()}"


def _runs(named: str) -> Path:
    """Return the folder of runs, as `claire.cli.runs.runs_folder` has it."""
    home = os.environ.get("CLAIRE_HOME")
    return Path(named) if named else Path(home) / "runs" if home else Path("runs")


def _folders(runs: Path, account: str) -> list[Path]:
    accounts = runs / ACCOUNTS
    try:
        return sorted(path for path in accounts.iterdir() if path.is_dir() and account in ("", path.name))
    except OSError:
        return []  # nothing there; the command says so


def _plain(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return options and values; None: something that needs the command's help."""
    found = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--json":
            continue
        if name not in ("--account", "--reason", "--runs"):
            return None
        text = value if equals else next(words, None)
        if not text:
            return None
        found[name] = text
    return found


def _age_ms() -> int:
    """Return how long this process has been there."""
    started = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return round((time.clock_gettime(time.CLOCK_BOOTTIME) - started) * 1000)


# -- what is left -----------------------------------------------------------------------------------------------------


def _told(runs: Path, done: Done) -> dict[str, Any]:
    from claire.cli.unprotected import left

    killed = done.killed
    return {
        "account": done.account,
        "closed": killed.is_closed,
        "durable": killed.is_durable,
        "was_closed": killed.was_closed,
        "why": killed.flag.why,
        "latch_us": done.latch_us,
        "problems": killed.problems,
        **left(runs, done.account),
    }


def _say(told: dict[str, Any]) -> None:
    from claire.cli.output import say

    name = told["account"]
    state = "was killed already" if told["was_closed"] else "killed"
    say(
        f"{name}: {state if told['closed'] else 'NOT KILLED'} ({told['why'] or 'the latch is open'}), in {told['latch_us']:,} µs"
    )
    for problem in told["problems"]:
        say(f"{name}: {problem}")
    if not told["durable"]:
        say(f"{name}: that is not on disk yet; after a power cut kill again")
    if "ledger_problem" in told:
        say(f"{name}: {told['ledger_problem']}. What is owned is not known here: ask the venue")
        return
    if told["orders"]:
        say(
            f"{name}: {told['orders']} orders may still work at the venue; the sentinel cancels them. Without one: claire panic"
        )
    for one in told["positions"]:
        say(
            f"{name}: UNPROTECTED {one['quantity']} {one['asset']} of {one['strategy']} ({one['symbol']}): nothing sells it now"
        )
    if told["positions"]:
        say(f"{name}: to sell it, at the venue's page; claire flatten is planned")
