"""The heartbeat of a trading process, in a page that it shares with its sentinel.

    FOLDER/heart     who trades, how often it has beaten, which kill it has obeyed, until when its last order may still arrive

A beat is some stores into memory: no system call, so a full disk or a locked database stops no heart, and a blocked event loop
does. The page outlives the process, so the sentinel knows of one that was killed in the middle of a send what it had sent.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.latch.page import PageLatch, read_page

HEART: Final = "heart"
HEART_S: Final = 10.0
"""Without a heartbeat for so long the latch is closed."""
BYTES: Final = 4096

_MAGIC: Final = b"CLAIREH1"
_PAGE: Final = struct.Struct("<8s6q")
"""Magic, process, its start (clock ticks since boot), beats, generation obeyed, fence, whether it ended in order."""
_WORD: Final = struct.Struct("<q")
_BEATS, _OBEYED, _FENCE, _ENDED = 24, 32, 40, 48
_START_FIELD: Final = 19
"""Of /proc/PID/stat, counted behind the name in parentheses."""


def started_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0: there is none, or it is only waiting to be buried.

    Together with its number it names a process for good: numbers are used again.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if told[0] in (b"Z", b"X") else int(told[_START_FIELD])


class Pulse(Struct, frozen=True):
    """What the page says."""

    pid: int
    started: int
    beats: int
    obeyed: int
    """Generation of the page when the process last saw the latch closed; -1: never."""
    fence_ms: int
    """Venue time from which on nothing that it sent can be accepted any more; 0: it sent nothing."""
    has_ended: bool
    """Whether it ended in order."""

    @property
    def is_alive(self) -> bool:
        """Whether that very process is there (it may be stopped)."""
        return self.pid > 0 and started_ticks(self.pid) == self.started


class Heart:
    """The trading process's end. One at a time per account, as the account's lock sees to."""

    def __init__(self, folder: str | os.PathLike[str], *, pid: int | None = None) -> None:
        """Begin to beat.

        Args:
            folder: Of the account.
            pid: Of the process that trades; None: this one.

        Raises:
            OSError: the page cannot be made.
        """
        pid = os.getpid() if pid is None else pid
        self._folder = os.fspath(folder)
        descriptor = os.open(Path(folder) / HEART, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            before = read(folder)
            os.ftruncate(descriptor, BYTES)
            os.pwrite(descriptor, _page(pid, 0 if before is None else before.fence_ms), 0)
            self._map = mmap.mmap(descriptor, BYTES)
        finally:
            os.close(descriptor)
        self._beats = 0
        self._fence_ms = 0 if before is None else before.fence_ms

    def beat(self, latch: PageLatch | None = None) -> None:
        """Show that the process lives, and that it has seen the latch where that is closed. To be called every 20 ms or so."""
        self._beats += 1
        if latch is not None and latch.why_closed():
            _WORD.pack_into(self._map, _OBEYED, read_page(self._folder).generation)
        _WORD.pack_into(self._map, _BEATS, self._beats)

    def sends(self, fence_ms: int) -> None:
        """Note, before an order is written to the wire, until which venue time it may be accepted (`Verdict.fence_ms`)."""
        if fence_ms > self._fence_ms:
            self._fence_ms = fence_ms
            _WORD.pack_into(self._map, _FENCE, fence_ms)

    def end(self) -> None:
        """Say that the process ends in order: its silence from now on means nothing."""
        if not self._map.closed:
            _WORD.pack_into(self._map, _ENDED, 1)
            self._map.close()


def read(folder: str | os.PathLike[str]) -> Pulse | None:
    """Read the page; None: nobody trades, or it cannot be read."""
    try:
        data = (Path(folder) / HEART).read_bytes()[: _PAGE.size]
    except OSError:
        return None
    if len(data) < _PAGE.size:
        return None
    magic, pid, started, beats, obeyed, fence_ms, ended = _PAGE.unpack(data)
    return Pulse(pid, started, beats, obeyed, fence_ms, bool(ended)) if magic == _MAGIC else None


def _page(pid: int, fence_ms: int) -> bytes:
    return _PAGE.pack(_MAGIC, pid, started_ticks(pid), 0, -1, fence_ms, 0)
