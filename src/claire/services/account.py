"""An account at a venue outside: what of it outlives the runs.

RUNS/accounts/ACCOUNT/lock     held by the one process that trades the account
RUNS/accounts/ACCOUNT/epoch    grows at each start; who has an older one may not send any more
RUNS/accounts/ACCOUNT/run      the run that trades or traded it last, and what it left behind
"""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from claire.adapters.journal.disk import REAL_DISK, Disk, write_durably
from claire.latch.epoch import AccountLock
from claire.latch.page import PageLatch, found
from claire.latch.steps import Step, no_step
from claire.model.errors import SafetyRefusal
from claire.safety.heart import Heart
from claire.services.recovery import is_begun
from claire.services.summary import Summary

T = TypeVar("T")

ACCOUNTS: Final = "accounts"
RUN: Final = "run"


class LastRun(Struct):
    """Who traded the account last."""

    run_id: str
    left: str
    """What the run left at the venue; empty: nothing, and nothing is on its way."""


class OpenAccount(Struct):
    """An account that this process alone may trade."""

    folder: Path | None
    lock: AccountLock | None
    latch: PageLatch | None
    disk: Disk
    run_id: str = ""

    @property
    def epoch(self) -> int:
        """Of this start; 0 where no account outside is traded."""
        return 0 if self.lock is None else self.lock.epoch

    @contextmanager
    def noted(self, opening: AbstractContextManager[T]) -> Iterator[T]:
        """Open a run, and note it as the one that trades the account, before it does."""
        with opening as begun:
            self.note("whatever a process that was stopped leaves")
            yield begun

    def ended(self, summary: Summary) -> None:
        """Note what a run that ended in order left behind."""
        if self.folder is None:
            return
        working = sum(summary.order_states.get(state, 0) for state in WORKING)
        left = [f"{summary.open_positions} open positions"] if summary.open_positions else []
        left += [f"{working} orders that are not finished"] if working else []
        self.note(" and ".join(left))

    def note(self, left: str) -> None:
        """Write down what the run would leave if it ended now.

        Raises:
            SafetyRefusal: it cannot be written; the next start would not know what this one left.
        """
        if self.folder is None:
            return
        place = self.folder / RUN
        try:
            write_durably(place, msgspec.json.encode(LastRun(self.run_id, left)), self.disk)
        except OSError as fault:
            raise SafetyRefusal(
                f"{place}: cannot be written ({fault.strerror}), and what is not on record must not be traded."
                " Free space on that disk, then go on"
            ) from fault


WORKING: Final = ("INTENT", "SENT", "OPEN", "PARTIALLY_FILLED", "PENDING_CANCEL", "UNKNOWN")
"""States of orders that something may still happen to."""


@contextmanager
def opened_account(
    folder: Path,
    runs_dir: Path,
    run_id: str,
    *,
    starts_anew: bool = False,
    disk: Disk = REAL_DISK,
    step: Step = no_step,
) -> Iterator[OpenAccount]:
    """Lock an account for this process, and begin its next epoch.

    Args:
        folder: Of the account.
        runs_dir: The folder of runs.
        run_id: The run that is to trade it.
        starts_anew: Leave what an earlier run left behind to its owner: from now on it is none of Claire's.
        disk: Where it is written.
        step: Called at the boundaries of the order path.

    Raises:
        SafetyRefusal: another process trades the account, or an earlier run left something behind.
    """
    with closing_lock(AccountLock(folder, pid=os.getpid(), step=step)) as lock:
        last = last_run(folder)
        if last is not None and last.left and last.run_id != run_id and not starts_anew:
            _refuse_what_is_left(folder.name, runs_dir / last.run_id, last.left)
        # only simulators are traded so far: their accounts arm themselves, and once killed stay so until somebody arms them
        flag = found(folder, arms_itself=True, who="claire run", now_ns=time.time_ns(), epoch=lock.epoch)
        if not flag.is_armed:
            raise SafetyRefusal(
                f"account {folder.name} is killed: {flag.why}. Nothing was started.\nArm it again, with its books compared with"
                f" the venue's: claire rearm --account {folder.name} --operator NAME --reason TEXT"
            )
        Heart(folder).end()  # until this process trades, its silence means nothing
        latch = PageLatch(folder)
        try:
            yield OpenAccount(folder, lock, latch, disk, run_id)
        finally:
            latch.close()


def _refuse_what_is_left(account_id: str, run_dir: Path, left: str) -> None:
    """Refuse a new run where one is to be gone on with; one that got no further than its name has left nothing.

    Raises:
        SafetyRefusal: naming the run, and how to go on.
    """
    anew = "leave that to yourself and start anew: claire run --fresh"
    if not run_dir.exists():
        raise SafetyRefusal(
            f"account {account_id}: run {run_dir.name} left {left}, and its directory {run_dir} is gone. Nothing was started.\n"
            f"Put it back and go on with it: claire run --continue {run_dir.name}. Or look at the venue, then {anew}"
        )
    if is_begun(run_dir):
        raise SafetyRefusal(
            f"account {account_id}: run {run_dir.name} left {left}. Nothing was started.\n"
            f"Go on with it: claire run --continue {run_dir.name}. Or {anew}"
        )


@contextmanager
def closing_lock(lock: AccountLock) -> Iterator[AccountLock]:
    """Release a lock in the end."""
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def no_account() -> Iterator[OpenAccount]:
    """For runs without a venue outside: nothing outlives them."""
    yield OpenAccount(None, None, None, REAL_DISK)


def last_run(folder: Path) -> LastRun | None:
    """Who traded the account last; None: nobody.

    Raises:
        SafetyRefusal: the note cannot be read.
    """
    place = folder / RUN
    try:
        return msgspec.json.decode(place.read_bytes(), type=LastRun)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as fault:
        raise SafetyRefusal(
            f"{place}: cannot be read ({fault}), so nobody knows what the last run left at the venue. Nothing was started."
            " Look at the account, then remove the file"
        ) from None
