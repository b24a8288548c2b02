"""Real processes, real SIGKILL: one run is killed and continued again and again, then its books are held against the venue's.

The moments are drawn from a seed: any moment, while it starts, while it recovers, and around one order: on its way, accepted
and not answered, lost, accepted late. After each kill the ledger on disk is held against the venue at once, as far as a
crash may not change anything; at the end, at rest, all of it is.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct, field

from claire.adapters.journal.reader import JournalReader
from claire.model.decisions import OrderEvent
from claire.model.orders import OrderState
from claire.safety.sentinel import LOCK as SENTINEL
from tests.support.beside import Beside, Entry
from tests.support.books import differences, read_tables, standing_differences
from tests.support.cli import Claire
from tests.support.markets import OFTEN

TRADES_WITHIN_S: Final = 60.0
"""So long after its start a process has to have sent an order again."""
COMES_WITHIN_S: Final = 15.0
"""So long a moment is waited for; after that any moment will do."""
REST_S: Final = 4.0
"""How long the run goes on once nobody trades any more, before it is ended."""
BUSY: Final = (
    *OFTEN,
    "lookback_s=0",
    "threshold_pct=0.003",
    "stop_loss_pct=0.01",
    "take_profit_pct=0.01",
    "max_hold_s=2",
    "allocation.mode=full",
    "risk.position_pct=0.2",
    "risk.max_rejects_in_row=20",
    "risk.max_rejects_per_5_min=50",
    "journal.snapshot_s=2",
    "sentinel.heart_s=60",
)
"""With these nearly every rise is traded, in orders that take several levels of the book and are small beside the account; the
state is saved so often that a restart begins at a snapshot as often as at the start. The next process may take its
time: on a busy machine several of them take more than ten seconds to come up."""


class Moment(StrEnum):
    """When a process is killed."""

    ANY = "any moment"
    STARTING = "while starting"
    RECOVERING = "while recovering"
    ON_ITS_WAY = "order on its way"
    UNANSWERED = "accepted, answer on its way"
    ACCEPTED = "right after acceptance"
    LOST = "order lost on its way"
    LATE = "accepted late"


DRAWN: Final = {
    Moment.ANY: 6,
    Moment.STARTING: 2,
    Moment.RECOVERING: 3,
    Moment.ON_ITS_WAY: 3,
    Moment.UNANSWERED: 2,
    Moment.ACCEPTED: 2,
    Moment.LOST: 1,
    Moment.LATE: 1,
}
"""How often each is drawn, among all."""

FAULTS: Final[dict[Moment, dict[str, Any]]] = {
    Moment.ON_ITS_WAY: {"kind": "latency", "stage": "request"},
    Moment.UNANSWERED: {"kind": "latency", "stage": "reply"},
    Moment.LOST: {"kind": "drop_request"},
    Moment.LATE: {"kind": "accept_late"},
}
"""What the simulator does to one order, so that a kill can hit that moment of its life."""

SIGNED_LOOKS: Final = ("order", "openOrders", "allOrders", "myTrades")


class Figures(Struct):
    """What became of one run that was killed over and over."""

    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    recovery_s: list[float] = []
    """From the start of each process that came so far to its first order at the venue."""
    submits: int = 0
    orders: int = 0
    """At the venue."""
    fills: int = 0
    lost_answers: int = 0
    """Orders to which the venue gave no answer."""
    unknown_outcomes: int = 0
    """Of them and of those that a kill left behind: what was UNKNOWN here for a while, the private stream being slower."""
    states: Counter[str] = field(default_factory=Counter)
    journal_entries: int = 0
    differences: list[str] = []


class KilledRun:
    """One run beside one simulator. A context manager: no process outlives the block."""

    def __init__(self, folder: Path, beside: Beside, settings: Sequence[str], *, seed: int) -> None:
        """Prepare; `settings` are what ``--set`` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.runs = folder / "runs"
        self.figures = Figures()
        self._beside = beside
        self._settings = settings
        self._random = random.Random(seed)
        self._claire = Claire(folder)
        self._claire.environ |= beside.environ
        self._start = beside.account()["balances"]
        self._process: subprocess.Popen[str] | None = None
        self._last = Moment.ANY
        self._starts = 0
        self._begun_s = 0.0
        self._since = 0
        self._is_timed = False
        self._known: dict[str, bool] = {}
        """Client ids of the orders that were in the ledger before this process began."""

    def __enter__(self) -> Self:
        """Start the run."""
        sets = [word for setting in self._settings for word in ("--set", setting)]
        symbols = [word for symbol in self._beside.symbols for word in ("--symbol", symbol)]
        self._launch("run", "--mode", "testnet", *symbols, *sets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind: neither the process nor the sentinel of one that was killed."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        end_sentinels(self.runs)

    @property
    def run_dir(self) -> Path:
        """The directory of the run."""
        (found,) = (path for path in self.runs.iterdir() if (path / "journal").is_dir())
        return found

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The process that trades now."""
        assert self._process is not None
        return self._process

    # -- killing and going on ------------------------------------------------------------------------------------------

    def kill(self, moment: Moment | None = None) -> Moment:
        """Kill the process at a moment, hold the ledger against the venue, and say which moment it was."""
        drawn = moment or self._random.choices(list(DRAWN), list(DRAWN.values()))[0]
        if self._starts == 1:
            drawn = Moment.ANY  # there is nothing yet that could be continued
        elif drawn is Moment.STARTING and self._last is Moment.STARTING:
            drawn = Moment.RECOVERING  # after ten seconds without a heart the sentinel would rightly kill the account
        self._last = drawn
        self._wait_for(drawn)
        self.process.kill()
        self.process.wait()
        self.figures.kills += 1
        self.figures.moments[drawn.value] += 1
        account, tables = self._beside.account(), read_tables(self.run_dir)
        kill = f"kill {self.figures.kills} ({drawn.value})"
        self.figures.differences += [f"{kill}: {text}" for text in standing_differences(tables, account)]
        return drawn

    def go_on(self) -> None:
        """Continue the run in a new process."""
        self._known = {row["client_order_id"]: True for row in read_tables(self.run_dir)["intents"]}
        self.figures.restarts += 1
        self._launch("run", "--continue", self.run_dir.name)

    def wait_until_trading(self) -> None:
        """Wait for the first order of this process at the venue.

        Raises:
            AssertionError: it ended instead, or sends none.
        """
        found = self._wait(self._is_new_order, self._since, self._begun_s + TRADES_WITHIN_S)
        if found is None:
            raise AssertionError(f"no order within {TRADES_WITHIN_S:.0f} s of the start: {self.said()}")
        if self._starts > 1 and not self._is_timed:
            self._is_timed = True
            self.figures.recovery_s.append(round(found["at_s"] - self._begun_s, 3))

    def end(self) -> None:
        """Let nobody trade any more, end the run in order, and fill in the figures.

        Raises:
            AssertionError: it does not end as it should.
        """
        self.wait_until_trading()
        self._beside.clear()
        self._sleep(2.0)
        self._beside.rest()
        self._sleep(REST_S)
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        assert code == 130, f"exit {code}: {self.said()}"
        account, tables = self._beside.account(), read_tables(self.run_dir)
        figures = self.figures
        figures.differences += differences(tables, account, self._start)
        figures.orders, figures.fills = len(account["orders"]), len(account["fills"])
        figures.lost_answers = self._beside.lost_answers
        figures.states.update(row["state"] for row in tables["orders"])
        reader = JournalReader(self.run_dir)
        events = [entry.event for entry in reader.decisions() if isinstance(entry.event, OrderEvent)]
        figures.submits = len({event.order_no for event in events if event.state is OrderState.SENT})
        figures.unknown_outcomes = len({event.order_no for event in events if event.state is OrderState.UNKNOWN})
        figures.journal_entries = sum(1 for _ in reader.walk())
        code, out, err = self._claire("replay", self.run_dir.name, "--runs", str(self.runs), "--json")
        replayed = json.loads(out or "{}")
        if (code, replayed.get("identical")) != (0, True):
            figures.differences.append(f"the replay differs: exit {code}: {out or err}")

    def said(self) -> str:
        """What the process says on stderr and stdout, its last lines."""
        code = self.process.poll()
        files = [self.folder / f"{self._starts:03d}.{kind}" for kind in ("out", "err")]
        return f"exit {code}: " + " | ".join(file.read_text()[-1500:] for file in files)

    def check(self) -> None:
        """Raise if the process ended by itself.

        Raises:
            AssertionError: it did.
        """
        assert self.process.poll() is None, f"the process ended by itself: {self.said()}"

    # -- inside --------------------------------------------------------------------------------------------------------

    def _launch(self, *words: str) -> None:
        self._starts += 1
        self._is_timed = False
        self._since = len(self._beside.heard)
        self._begun_s = time.monotonic()
        names = [self.folder / f"{self._starts:03d}.{kind}" for kind in ("out", "err")]
        with names[0].open("w") as out, names[1].open("w") as errors:
            self._process = self._claire.start(*words, "--runs", str(self.runs), "--json", out=out, errors=errors)

    def _wait_for(self, moment: Moment) -> None:
        draw = self._random.uniform
        if moment is Moment.STARTING:
            self._sleep(draw(0.0, 3.0))
            return
        if moment is Moment.RECOVERING:
            self._wait(_is_look, self._since, time.monotonic() + COMES_WITHIN_S)
            self._sleep(draw(0.0, 0.5))
            return
        self.wait_until_trading()
        if moment is Moment.ANY:
            self._sleep(draw(0.0, 2.5))
        elif moment is Moment.ACCEPTED:
            self._wait(self._is_new_order, len(self._beside.heard), time.monotonic() + COMES_WITHIN_S)
            self._sleep(draw(0.0, 0.03))
        else:
            self._wait_for_fault(moment)

    def _wait_for_fault(self, moment: Moment) -> None:
        """Have one thing happen to the next order, and stand in the middle of it."""
        draw = self._random
        fault: dict[str, Any] = {"path": "order", "method": "POST", "times": 1, **FAULTS[moment]}
        lasts_ms = 20
        if fault["kind"] == "latency":
            fault["ms"] = lasts_ms = draw.randrange(10, 120)
        if fault["kind"] == "accept_late":
            fault["delay_ms"] = lasts_ms = draw.randrange(100, 900)
        since = len(self._beside.heard)
        number = self._beside.fault(**fault)

        def is_struck(entry: Entry) -> bool:
            return bool(entry["what"] == "fault struck" and entry["detail"].get("number") == number)

        if self._wait(is_struck, since, time.monotonic() + COMES_WITHIN_S) is None:
            self._beside.clear(number)
        self._sleep(draw.uniform(0.0, lasts_ms / 1000))

    def _wait(self, wanted: Callable[[Entry], bool], since: int, until_s: float) -> Entry | None:
        """Wait for an entry of the simulator's log, as long as the process lives."""
        while True:
            found = self._beside.wait(wanted, since, min(until_s, time.monotonic() + 1.0))
            if found is not None or time.monotonic() >= until_s:
                return found
            self.check()

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self.check()

    def _is_new_order(self, entry: Entry) -> bool:
        return entry["what"] == "order accepted" and entry["detail"]["client_id"] not in self._known


def _is_look(entry: Entry) -> bool:
    """Whether it tells of a signed query about orders or fills."""
    detail = entry.get("detail", {})
    return entry["what"] == "request" and detail["method"] == "GET" and detail["path"] in SIGNED_LOOKS


def end_sentinels(runs: Path) -> None:
    """End the sentinels of the accounts in a folder of runs: they outlive a process that was killed, as they should."""
    for note in runs.glob(f"accounts/*/{SENTINEL}"):
        pid = int(note.read_text().strip() or 0)
        words = Path(f"/proc/{pid}/cmdline")
        for way in (signal.SIGTERM, signal.SIGKILL):  # one that sweeps goes on until the venue has answered
            ends_s = time.monotonic() + 5.0
            while pid and time.monotonic() < ends_s and _is_of(words, note.parent):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, way)
                time.sleep(0.1)


def _is_of(words: Path, folder: Path) -> bool:
    """Whether the process with this command line is about a folder (numbers of processes are used again)."""
    try:
        return str(folder).encode() in words.read_bytes()
    except OSError:
        return False


def kill_over_and_over(run: KilledRun, kills: int, on_kill: Callable[[int, Moment], None] | None = None) -> Figures:
    """Kill and continue a run so often, then end it; return its figures."""
    for number in range(1, kills + 1):
        moment = run.kill()
        run.go_on()
        if on_kill is not None:
            on_kill(number, moment)
    run.end()
    return run.figures
