"""What goes wrong in a trial: ten troubles, each made for real and taken back."""

import contextlib
import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from claire.drill.killswitch.processes import Program
    from claire.drill.killswitch.stand import Stand

BLOCK_S: Final = 30.0
SLOW_MS: Final = 10_000
RETRY_AFTER_S: Final = 1
SMALL_DISK_MB: Final = 48
_NEW_MOUNTS: Final = 0x0002_0000
"""CLONE_NEWNS: mounts of this process and its children are nobody else's."""


class Place(StrEnum):
    """What a stand has beside its processes."""

    PLAIN = "plain"
    TAPPED = "tapped"
    """A network of its own, which notes what leaves the gateway's socket: the venue cannot tell that in time, or at all."""
    SMALL_DISK = "small disk"


class Trouble(StrEnum):
    """The names, as ``--fault`` takes them."""

    IDLE = "idle"
    CPU = "cpu-100"
    BLOCKED = "loop-blocked"
    DATABASE_DOWN = "database-down"
    DATABASE_LOCKED = "database-locked"
    DISK_FULL = "disk-full"
    STOPPED = "sigstop"
    SLOW = "venue-slow"
    TOO_MANY = "venue-429"
    CUT = "network-cut"

    @property
    def place(self) -> "Place":
        """Where its trials can be made."""
        if self is Trouble.DISK_FULL:
            return Place.SMALL_DISK
        return Place.TAPPED if self in (Trouble.SLOW, Trouble.CUT) else Place.PLAIN

    @property
    def is_lifted(self) -> bool:
        """Whether nothing can be cancelled before it is over."""
        return self in (Trouble.SLOW, Trouble.TOO_MANY, Trouble.CUT)


MEANING: Final = {
    Trouble.IDLE: "nothing is wrong",
    Trouble.CPU: "a busy program per core beside everything",
    Trouble.BLOCKED: "the trading process's event loop is held for 30 s",
    Trouble.DATABASE_DOWN: "journal and ledger of the trading process cannot be written: the kernel refuses it",
    Trouble.DATABASE_LOCKED: "another process holds the ledger's write lock",
    Trouble.DISK_FULL: "no byte is free where account, journal and ledger lie",
    Trouble.STOPPED: "the trading process is stopped by SIGSTOP",
    Trouble.SLOW: "the venue takes 10 s before it looks at a call",
    Trouble.TOO_MANY: "the venue answers everything with 429 and Retry-After",
    Trouble.CUT: "what is sent is lost, without a word",
}


@contextmanager
def around(trouble: Trouble) -> Iterator[None]:
    """What lasts for all trials of a trouble: the load of the processors."""
    if trouble is not Trouble.CPU:
        yield
        return
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


@contextmanager
def during(trouble: Trouble, stand: "Stand") -> Iterator[None]:
    """What lasts for one trial, or until the block ends."""
    trader = stand.trader
    match trouble:
        case Trouble.BLOCKED:
            with _blocked(trader):
                yield
        case Trouble.STOPPED:
            trader.process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                trader.process.send_signal(signal.SIGCONT)
        case Trouble.DATABASE_DOWN:
            with _unwritable(trader.pid):
                yield
        case Trouble.DATABASE_LOCKED:
            with _locked(stand.ledger()):
                yield
        case Trouble.DISK_FULL:
            with _full(stand):
                yield
        case Trouble.SLOW | Trouble.TOO_MANY:
            is_slow = trouble is Trouble.SLOW
            many = {"kind": "too_many", "retry_after_s": RETRY_AFTER_S}
            stand.venue.ask("POST", "faults", {"kind": "latency", "ms": SLOW_MS} if is_slow else many)
            try:
                yield
            finally:
                stand.venue.ask("DELETE", "faults")
        case Trouble.CUT:
            stand.cut()
            try:
                yield
            finally:
                stand.heal()
        case _:
            yield


@contextmanager
def _blocked(trader: "Program") -> Iterator[None]:
    trader.tell(b"block %g\n" % BLOCK_S)
    time.sleep(0.01)
    try:
        yield
    finally:
        trader.process.send_signal(signal.SIGUSR2)


@contextmanager
def _unwritable(pid: int) -> Iterator[None]:
    """Have the kernel refuse whatever a process writes to a file."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def _locked(ledger: Path) -> Iterator[None]:
    """Hold the write lock of a ledger, as a backup tool that hangs would."""
    connection = sqlite3.connect(ledger, isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def _full(stand: "Stand") -> Iterator[None]:
    if not stand.is_disk_small:
        with (
            _unwritable(stand.trader.pid),
            _unwritable(stand.sentinel.pid) if stand.sentinel else contextlib.nullcontext(),
        ):
            yield
        return
    filler = stand.folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, _free(stand.folder)))
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            stand.notes[f"a full disk says: {error.strerror}"] = None
    try:
        yield
    finally:
        filler.unlink()


def _free(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put a disk of its own, of some megabytes, into a folder; tell whether that worked (it takes the right to mount).

    Nobody else sees it: it belongs to the mounts of this thread and of what it starts.
    """
    if os.geteuid() or ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS):
        yield False
        return
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(folder))
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)  # noqa: S603, S607
