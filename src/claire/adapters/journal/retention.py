"""Removes old runs, and never one that is still being written."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from claire.adapters.journal.frames import JOURNAL, LOCK
from claire.model.errors import JournalError, UsageError

_DAY_NS: Final = 86_400 * 10**9
_GOING: Final = ".removing-"


def prune_runs(
    runs_dir: Path, *, now_ns: int, keep_days: int | None = None, keep_runs: int | None = None
) -> list[Path]:
    """Remove runs that are too old or too many; return them, oldest first.

    A run's age is that of its newest file. A folder without a journal is no run and stays; so does a run whose
    writer still holds its lock, which counts as one of those kept.

    Args:
        runs_dir: the folder of run directories.
        now_ns: the present (UTC nanoseconds since 1970), which ages are measured from.
        keep_days: runs older than so many days go; None: age does not matter.
        keep_runs: all but so many of the newest go; None: their number does not matter.

    Raises:
        UsageError: a limit is negative.
        JournalError: a run cannot be removed.
    """
    for name, limit in (("keep_days", keep_days), ("keep_runs", keep_runs)):
        if limit is not None and limit < 0:
            raise UsageError(f"{name} = {limit} is negative; give 0 or more, or leave it out to keep every run.")
    if not runs_dir.is_dir():
        return []
    try:
        for leftover in runs_dir.glob(f"{_GOING}*"):
            shutil.rmtree(leftover)
        runs = sorted(((_newest_ns(path), path) for path in runs_dir.iterdir() if _is_run(path)), reverse=True)
        gone = []
        for rank, (written_ns, path) in enumerate(runs):
            too_many = keep_runs is not None and rank >= keep_runs
            too_old = keep_days is not None and now_ns - written_ns > keep_days * _DAY_NS
            if (too_many or too_old) and _remove(path):
                gone.append(path)
    except OSError as error:
        raise JournalError(
            f"{error.filename or runs_dir}: cannot be removed: {error.strerror}. Check who owns it."
        ) from error
    return gone[::-1]


def _is_run(path: Path) -> bool:
    return not path.is_symlink() and (path / JOURNAL).is_dir() and not path.name.startswith(".")


def _newest_ns(run_dir: Path) -> int:
    return max(path.lstat().st_mtime_ns for path in (run_dir, *run_dir.rglob("*")))


def _remove(run_dir: Path) -> bool:
    """Remove a run, at once for everyone who looks for it; False if its writer is still there."""
    lock = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(run_dir.rename(run_dir.with_name(_GOING + run_dir.name)))
        return True
    finally:
        os.close(lock)
