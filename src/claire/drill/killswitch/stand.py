"""One account with what a trial needs of it: a venue, a trading process, a sentinel, and how to stop and arm it again."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from claire.drill.killswitch.processes import Arrival, Program, TrialError, VenueProcess, call, until
from claire.drill.killswitch.tap import Tap, tapped
from claire.drill.killswitch.trouble import Place, small_disk
from claire.gateway.signer import to_child
from claire.latch.kill import kill
from claire.latch.latch import KILL
from claire.latch.page import found, read
from claire.latch.rearm import rearm
from claire.mexcsim.symbols import generate
from claire.safety.folder import ACCOUNTS, write_symbols
from claire.safety.triggers import SIGNAL

PROBES_PER_S: Final = 500.0
ORDERS_PER_S: Final = 8.0
"""Of a full trial: the venue allows twelve, and the sentinel's cancels count among them."""
ORDER_VALUE: Final = 200.0
ACCOUNT: Final = "drill"


class Trigger(StrEnum):
    """Ways to kill."""

    PAGE = "page"
    """The latch is closed as `claire kill` does it, without its start-up."""
    FILE = "file"
    """``printf K > FOLDER/kill``."""
    SIGNAL = "signal"
    """SIGUSR1 to the trading process."""
    COMMAND = "claire kill"
    HTTP = "HTTP"
    """POST to the sentinel's door."""


class Killing(msgspec.Struct, frozen=True):
    """When a trigger reached the machine, and what came before."""

    t0_us: int
    start_up_ms: float | None = None
    """Of the command, where there was one."""


class Stand:
    """The processes around one account; they are made when they are first needed, and end with `standing`."""

    def __init__(self, folder: Path, stack: ExitStack, *, symbols: int, is_full: bool, recv_window_ms: int) -> None:
        """Take over a folder; nothing runs yet."""
        self.folder = folder
        self.is_full = is_full
        """Whether this is for full trials: with limits at the venue, orders that wait, and a sentinel."""
        self.is_disk_small = False
        self.notes: dict[str, None] = {}
        self.account = folder / "runs" / ACCOUNTS / ACCOUNT
        self._recv_window_ms = recv_window_ms
        self._rules = generate(symbols)
        self._stack = stack
        self._logs = folder
        self._tap: Tap | None = None
        self._trader: Program | None = None
        self._numbers = itertools.count(1)
        self.sentinel: Program | None = None
        self.symbols = tuple(rule.symbol for rule in self._rules)

    def open(self, logs: Path, *, with_tap: bool) -> None:
        """Start the venue, and the network to it; found the account."""
        self._logs = logs
        self.venue = VenueProcess(logs, len(self._rules), has_limits=self.is_full)
        self._stack.callback(self.venue.end)
        if with_tap:
            self._tap = self._stack.enter_context(tapped(self.venue.url))
        found(self.account, arms_itself=True, who="drill", now_ns=time.time_ns())
        write_symbols(self.account, self.symbols)
        self._stack.callback(self._end_trader)
        self._stack.callback(self._end_sentinel)

    @property
    def url(self) -> str:
        """Where the processes find the venue."""
        return self._tap.url if self._tap is not None else self.venue.url

    @property
    def trader(self) -> Program:
        """The trading process; a new one where the last has ended."""
        if self._trader is None or not self._trader.is_alive:
            self._end_trader()
            words = ["-m", "claire.drill.killswitch.trader", str(self.account), self.url]
            words += ["trade", f"{ORDERS_PER_S:g}"] if self.is_full else ["probe", f"{PROBES_PER_S:g}"]
            wanted = []
            for rule in self._rules:
                price = round(rule.start_price / 2, rule.price_decimals)
                quantity = round(ORDER_VALUE / float(price), rule.quantity_decimals)
                wanted.append(f"{rule.symbol}={price:.{rule.price_decimals}f}:{quantity:.{rule.quantity_decimals}f}")
            self._trader = Program([*words, str(self._recv_window_ms), *wanted], self._logs / "trader.err")
            self._trader.tell(to_child(self.venue.keys))
            self._trader.first(up=self._trader.pid)
        return self._trader

    @property
    def arrivals(self) -> Sequence[Arrival]:
        """Calls as they left the processes' sockets, where that is noted; else as they came to the venue."""
        return self._tap.arrivals if self._tap is not None else self.venue.arrivals

    def ledger(self) -> Path:
        """Return the ledger that the trading process has open."""
        return max(self.account.glob("run-*/ledger.sqlite"), key=lambda path: path.parent.name)

    def cut(self) -> None:
        """Cut the network."""
        if self._tap is None:
            raise AssertionError("this stand has no network to cut")
        self._tap.cut()

    def heal(self) -> None:
        """Mend it."""
        if self._tap is not None:
            self._tap.heal()

    # -- the account ---------------------------------------------------------------------------------------------------

    def go(self) -> tuple[int, dict[str, Any]]:
        """Have the account traded; return the number of the trial, and what the trading process says."""
        if self.is_full:
            self._watch()
        number = next(self._numbers)
        trader = self.trader
        since = len(trader.lines)
        trader.tell(b"go %d\n" % number)
        return number, trader.first(since, going=number)

    def down(self, number: int) -> dict[str, Any] | None:
        """Have the trading process let go of the account; None: it has ended."""
        trader = self._trader
        if trader is None or not trader.is_alive:
            return None
        since = len(trader.lines)
        trader.tell(b"down\n")
        return trader.first(since, down=number)

    def arm(self) -> None:
        """Arm the account again, as an operator does: nothing trades it, and the venue says that nothing is open.

        Raises:
            ClaireError: there is something open.
        """
        rearm(
            self.account,
            operator="drill",
            reason="the trial is over",
            prove=self._prove,
            now_ns=time.time_ns,
            pid=os.getpid(),
        )

    def kill(self, trigger: Trigger) -> Killing:
        """Kill, and say when that reached the machine."""
        t0_us = time.time_ns() // 1000
        match trigger:
            case Trigger.PAGE:
                kill(self.account, who="drill", reason="a trial", now_ns=time.time_ns())
            case Trigger.FILE:
                with contextlib.suppress(OSError), (self.account / KILL).open("wb", buffering=0) as file:
                    file.write(b"K")  # on a full disk the name alone has to do
            case Trigger.SIGNAL:
                os.kill(self.trader.pid, SIGNAL)
            case Trigger.COMMAND:
                return self._command()
            case Trigger.HTTP:
                port = self._hello["port"]
                headers = {"Content-Type": "application/json", "X-Claire": "kill", "Host": f"127.0.0.1:{port}"}
                call("POST", f"http://127.0.0.1:{port}/kill", headers, b"{}")
        return Killing(t0_us)

    def _command(self) -> Killing:
        words = ["-m", "claire.cli", "kill", "--runs", str(self.folder / "runs"), "--account", ACCOUNT, "--json"]
        done = subprocess.run([sys.executable, *words], capture_output=True, check=False)  # noqa: S603 - our own program
        if done.returncode:
            raise TrialError(f"claire kill ended with {done.returncode}: {done.stderr.decode()[-500:]}")
        return Killing(read(self.account).ts_ns // 1000, msgspec.json.decode(done.stdout)["start_up_ms"])

    def _prove(self) -> str:
        waiting = self.venue.open_orders()
        if waiting:
            raise TrialError(f"orders wait at the venue after a sweep: {', '.join(waiting[:5])}")
        return "no open orders at the venue"

    # -- processes -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See to it that there is a sentinel."""
        if self.sentinel is not None and self.sentinel.is_alive:
            return
        words = ["-m", "claire.cli.main", "sentinel", "--folder", str(self.account), "--rest-url", self.url]
        words += ["--port", "0", "--recv-window-ms", str(self._recv_window_ms), "--keys-from-stdin", "--json"]
        self.sentinel = Program(words, self._logs / "sentinel.err")
        self.sentinel.tell(to_child(self.venue.keys))
        self._hello = self.sentinel.first(event="watching")

    def _end_trader(self) -> None:
        if self._trader is not None:
            if self._trader.is_alive:
                self._trader.process.send_signal(signal.SIGCONT)
            self._trader.end(at_once=True)
            self._trader = None

    def _end_sentinel(self) -> None:
        if self.sentinel is not None:
            self.sentinel.end(at_once=True)
            self.sentinel = None


@contextmanager
def standing(folder: Path, place: Place, *, symbols: int, is_full: bool, recv_window_ms: int) -> Iterator[Stand]:
    """Build a stand.

    Args:
        folder: Empty; for everything.
        place: What it has beside its processes.
        symbols: So many pairs are traded.
        is_full: For full trials.
        recv_window_ms: How long the venue may still take what was sent.
    """
    disk, logs = folder / "disk", folder / "logs"
    disk.mkdir(parents=True)
    logs.mkdir()
    with ExitStack() as stack:
        is_small = place is Place.SMALL_DISK and stack.enter_context(small_disk(disk))
        stand = stack.enter_context(_closing(disk, symbols=symbols, is_full=is_full, recv_window_ms=recv_window_ms))
        stand.is_disk_small = is_small
        if place is Place.SMALL_DISK and not is_small:
            stand.notes["no right to mount a small disk; the kernel refuses every write of the processes instead"] = (
                None
            )
        stand.open(logs, with_tap=place is Place.TAPPED)
        yield stand


@contextmanager
def _closing(folder: Path, **given: Any) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(folder, stack, **given)


def wait_for_orders(stand: Stand, number: int, at_least: int) -> None:
    """Wait until so many orders of a trial are at the venue."""
    name = f"k{number}x"

    def are_there() -> bool:
        recent = stand.venue.accepted[-2 * at_least - 50 :]
        return sum(client_id.startswith(name) for _, client_id in recent) >= at_least

    until(are_there, f"{at_least} orders of trial {number} at the venue")
