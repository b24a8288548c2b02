"""The lock of a run directory: one process at a time writes a run, continues it, or removes it."""

import fcntl
import os
from pathlib import Path

from claire.adapters.journal.frames import LOCK
from claire.model.errors import JournalError


class RunLock:
    """Holds a run directory until `release`, or until the process ends, however it ends."""

    def __init__(self, run_dir: Path) -> None:
        """Take the lock.

        Raises:
            JournalError: another process has it, or the directory is not there or may not be written.
        """
        place = run_dir / LOCK
        try:
            self._descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(
                f"{place}: cannot be opened: {error.strerror}. Check that the run directory is there and may be written."
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, held = place.stat(), os.fstat(self._descriptor)
            if (here.st_ino, here.st_dev) != (held.st_ino, held.st_dev):
                raise JournalError(
                    f"{run_dir}: was removed or exchanged just now. Look at `claire history`, and start anew."
                )
        except BlockingIOError:
            pid = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise JournalError(
                f"{run_dir}: another process writes this run (process {pid}). Wait until it has ended, or choose another"
                f" run directory."
            ) from None
        except OSError as error:
            self.release()
            raise JournalError(
                f"{run_dir}: was removed just now ({error.strerror}). Look at `claire history`."
            ) from error
        except JournalError:
            self.release()
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
