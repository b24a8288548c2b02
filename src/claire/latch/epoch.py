"""One process trades an account: the lock, and the epoch that grows with each start.

    FOLDER/lock     locked while a process trades the account; holds its number
    FOLDER/epoch    how often trading was started, as decimal text

The lock keeps a second process out. The epoch is for what a lock cannot do: a process that slept through its replacement
(a suspended machine, a folder restored from elsewhere) finds a newer epoch before its next send, and sends no more.
"""

import fcntl
import os
from typing import Final

from claire.latch.steps import Step, no_step
from claire.model.errors import SafetyRefusal

LOCK: Final = "lock"
EPOCH: Final = "epoch"
_DIGITS: Final = 20


class AccountLock:
    """Holds an account until `release`, or until the process ends, however it ends."""

    def __init__(self, folder: str | os.PathLike[str], *, pid: int, step: Step = no_step) -> None:
        """Take the lock, then count the epoch up, durably.

        Args:
            folder: the account's folder; made if it is missing.
            pid: number of this process, told to the next one that is refused.
            step: called before and after the epoch is written.

        Raises:
            SafetyRefusal: another process trades the account, or the folder cannot be used, or its epoch cannot be read.
        """
        self._folder = os.fspath(folder)
        self._lock_path = os.path.join(self._folder, LOCK)  # noqa: PTH118  # the core may not use pathlib
        self._epoch_path = os.path.join(self._folder, EPOCH)  # noqa: PTH118
        self._lock = -1
        self.epoch = 0
        """Of this start: 1 for the first one ever."""
        try:
            os.makedirs(self._folder, exist_ok=True)  # noqa: PTH103
            self._take(pid)
            self.epoch = self._last_epoch() + 1
            step("epoch.before")
            self._write_epoch()
            step("epoch.after")
        except OSError as error:
            self.release()
            raise SafetyRefusal(
                f"{error.filename or self._folder}: cannot be used: {error.strerror}. Nothing is sent for an account whose lock"
                f" and epoch cannot be kept; check the folder's permissions and the disk."
            ) from error
        except BaseException:
            self.release()
            raise

    def is_current(self) -> bool:
        """Whether this process still is the one that trades the account, as the disk says now; in doubt it is not."""
        if self._lock < 0:
            return False
        try:
            here, held = os.stat(self._lock_path), os.fstat(self._lock)  # noqa: PTH116
            return (here.st_ino, here.st_dev) == (
                held.st_ino,
                held.st_dev,
            ) and self._read_epoch() == b"%d\n" % self.epoch
        except OSError:
            return False

    def release(self) -> None:
        """Let go of the account; a second time does nothing. The epoch stays."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _take(self, pid: int) -> None:
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, _DIGITS, 0).decode("ascii", "replace").strip() or "unknown"
            raise SafetyRefusal(
                f"{self._folder}: process {holder} trades this account already. Two would double its orders: stop that one"
                f" first, or give this one another account.id."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % pid, 0)

    def _last_epoch(self) -> int:
        try:
            text = self._read_epoch()
        except FileNotFoundError:
            return 0
        if not text.strip().isdigit() or len(text) > _DIGITS:
            raise SafetyRefusal(
                f"{self._epoch_path}: holds {text!r}, which is no epoch. Write a number into it that is higher than any epoch in"
                f" the journals of this account's runs, and start again."
            )
        return int(text)

    def _read_epoch(self) -> bytes:
        descriptor = os.open(self._epoch_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _DIGITS + 1)
        finally:
            os.close(descriptor)

    def _write_epoch(self) -> None:
        temporary = self._epoch_path + ".tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, b"%d\n" % self.epoch)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, self._epoch_path)  # noqa: PTH105
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
