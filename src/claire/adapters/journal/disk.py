"""The disk, as far as durability goes: the few calls whose effects a crash can undo.

Whatever has to survive goes through a `Disk`. A simulation passes one that remembers what was synced, forgets the rest at a
crash, can be full and can fail; everyone else uses `REAL_DISK`. Reading is not here: what is read was written before.
"""

import os
from pathlib import Path
from typing import Final, Protocol


class Disk(Protocol):
    """Calls that change what is stored. All raise OSError, and none is ever repeated after it did."""

    def open(self, path: Path, flags: int) -> int:
        """Return the descriptor of a file, opened with the flags of `os.open`; a new one gets the mode 0644."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Hand bytes to the operating system; return how many it took."""

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file to `length` bytes."""

    def fsync(self, descriptor: int) -> None:
        """Make what was written to a file durable; its name is another matter."""

    def close(self, descriptor: int) -> None:
        """Let go of a file."""

    def replace(self, source: Path, target: Path) -> None:
        """Give a file the name `target`, at once, also where there is one."""

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is none of its business."""

    def make_folder(self, path: Path) -> None:
        """Make a folder, and those above it, where they are missing."""

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""


class RealDisk:
    """The disk of the machine."""

    def open(self, path: Path, flags: int) -> int:
        """Open a file; another program that is started does not inherit it."""
        return os.open(path, flags | os.O_CLOEXEC, 0o644)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Hand bytes to the operating system."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, length)

    def fsync(self, descriptor: int) -> None:
        """Make a file's content durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Let go of a file."""
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """Make a folder."""
        path.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


REAL_DISK: Final[Disk] = RealDisk()
"""What everything writes to that was not told otherwise."""


def write_all(disk: Disk, descriptor: int, data: bytes | bytearray) -> None:
    """Write all of `data`, in as many pieces as the operating system takes."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += disk.write(descriptor, view[done:])


def write_durably(path: Path, data: bytes, disk: Disk = REAL_DISK) -> None:
    """Put `data` at `path` at once or not at all: temporary name, fsync, rename, fsync of the folder.

    Raises:
        OSError: it could not be written; what was at `path` is still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    descriptor = disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, descriptor, data)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.replace(temporary, path)
    disk.sync_folder(path.parent)
