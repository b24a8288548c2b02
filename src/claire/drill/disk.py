"""A disk that remembers what is durable: at a crash it forgets the rest; it can be full, and an fsync can fail.

The files are real, in a folder of their own. What was written and not synced is cut at a random byte when the power goes, and
sometimes holds a wrong byte before the cut; names that were given and not synced may be as they were before.
"""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from claire.adapters.journal.disk import RealDisk

TORN: Final = 0.3
"""Chance that an unsynced tail that survives holds a wrong byte."""


class SimDisk(RealDisk):
    """A `Disk` of one life of a computer."""

    def __init__(self, rng: random.Random) -> None:
        """Begin with everything durable that is there."""
        self._rng = rng
        self._open: dict[int, Path] = {}
        self._durable: dict[Path, int] = {}
        """Bytes from the start of each file opened here that a crash leaves as they are."""
        self._names: list[tuple[Path, Callable[[], None]]] = []
        """Names given and not synced: the folder, and how it was before."""
        self.is_off = False
        self.is_full = False
        self.failing_syncs = 0
        """How many of the next fsyncs fail."""
        self.failures = 0
        """Calls that were made to fail."""
        self.torn = 0
        """Bytes that were lost at the crash."""

    # -- Disk ----------------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int) -> int:
        """Open a file; a new one may vanish until its folder is synced."""
        self._check()
        is_new = not path.exists()
        if is_new:
            self._space()
        descriptor = super().open(path, flags)
        self._open[descriptor] = path
        if is_new:
            self._names.append((path.parent, lambda: path.unlink(missing_ok=True)))
            self._durable[path] = 0
        elif flags & os.O_TRUNC:
            self._durable[path] = 0
        else:
            self._durable.setdefault(path, path.stat().st_size)
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write; where the disk is full, half of it fits."""
        self._check()
        if self.is_full and len(data) > 1:
            super().write(descriptor, data[: len(data) // 2])
        self._space()
        return super().write(descriptor, data)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file."""
        self._check()
        super().truncate(descriptor, length)
        path = self._open[descriptor]
        self._durable[path] = min(self._durable[path], length)

    def fsync(self, descriptor: int) -> None:
        """Make a file durable, unless this one is to fail: then the pages are gone or not, as the crash will tell."""
        self._check()
        if self.failing_syncs:
            self.failing_syncs -= 1
            self.failures += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        path = self._open[descriptor]
        self._durable[path] = path.stat().st_size

    def close(self, descriptor: int) -> None:
        """Close a file, with the power off too."""
        if self._open.pop(descriptor, None) is not None:
            super().close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename; until the folder is synced it may not have happened."""
        self._check()
        before = target.read_bytes() if target.exists() else None
        content = source.read_bytes()
        super().replace(source, target)
        self._durable[target] = self._durable.pop(source, len(content))

        def undo() -> None:
            source.write_bytes(content)
            if before is None:
                target.unlink(missing_ok=True)
            else:
                target.write_bytes(before)

        self._names.append((target.parent, undo))

    def remove(self, path: Path) -> None:
        """Remove a file; until the folder is synced it may be there again."""
        self._check()
        if path.exists():
            content = path.read_bytes()
            super().remove(path)
            self._names.append((path.parent, lambda: _put(path, content)))

    def make_folder(self, path: Path) -> None:
        """Make a folder."""
        self._check()
        super().make_folder(path)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        self._check()
        self._names = [(folder, undo) for folder, undo in self._names if folder != path]

    # -- what a simulation does to it ----------------------------------------------------------------------------------

    def power_off(self) -> None:
        """Forget what was not durable; nothing that is called afterwards has an effect."""
        self.is_off = True
        rng = self._rng
        for path, durable in self._durable.items():
            if not path.exists() or path.stat().st_size <= durable:
                continue
            size = path.stat().st_size
            kept = rng.randint(durable, size)
            self.torn += size - kept
            with path.open("r+b") as file:
                file.truncate(kept)
                if kept > durable and rng.random() < TORN:
                    file.seek(rng.randrange(durable, kept))
                    file.write(bytes((rng.randrange(256),)))
        lost = self._names[rng.randint(0, len(self._names)) :]
        for _, undo in reversed(lost):
            undo()
        self._names.clear()

    def release(self) -> None:
        """Close what a dead process left open."""
        for descriptor in tuple(self._open):
            self.close(descriptor)

    def _check(self) -> None:
        if self.is_off:
            raise OSError(errno.EIO, "the power is off")

    def _space(self) -> None:
        if self.is_full:
            self.failures += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
