"""Closing the latch: at once, from any process, whatever else is broken.

First the page is written, without waiting for anybody; that alone stops the next send. Then it is made sure that an operator
who was just arming the account (`claire.latch.rearm`) did not write over it, and last it is made durable. Where the page cannot
be written there are two more ways, each of which closes the latch too: a file ``kill`` beside it, and taking the page away.
"""

import fcntl
import os
from typing import Final, NamedTuple

from claire.latch.latch import KILL
from claire.latch.page import LATCH, Flag, decode, encode, read, sync_folder

GUARD: Final = "latch.guard"
"""File in the account's folder that is locked while the latch is armed."""

EPOCH: Final = "epoch"
"""The account's epoch (`claire.latch.epoch`), noted on the page."""

_RECORD_BYTES: Final = 512
_DIGITS: Final = 20


class Killed(NamedTuple):
    """What became of closing a latch."""

    flag: Flag
    """What stands there now."""
    is_closed: bool
    is_durable: bool
    """Whether it survives a power cut."""
    was_closed: bool
    """Whether it had been closed before; who did that, and why, is kept."""
    problems: tuple[str, ...]
    """What went wrong on the way."""


def kill(folder: str | os.PathLike[str], *, who: str, reason: str, now_ns: int) -> Killed:
    """Close the latch of an account. It never waits for another process, and raises nothing that a disk or a folder does.

    Args:
        folder: Of the account.
        who: Who closes it.
        reason: Why.
        now_ns: UTC.
    """
    problems: list[str] = []
    is_durable = False
    before = _write(folder, who, reason, now_ns, problems)
    is_last = before is not None and _is_last_word(folder, who, reason, now_ns, problems)
    if before is not None:
        is_durable = _sync(folder, problems)
    if not is_last or not is_durable:
        is_durable = leave_file(folder, f"{who}: {reason}", problems) or is_durable
    flag = read(folder)
    if flag.is_armed:
        _take_away(folder, problems)
        flag = read(folder)
    was_closed = before is not None and not before.is_armed and not before.problem
    return Killed(flag, not flag.is_armed, is_durable, was_closed, tuple(problems))


def leave_file(folder: str | os.PathLike[str], text: str, problems: list[str]) -> bool:
    """Make the file ``kill``, or write to it; tell whether it is there and durable, else add to the problems."""
    path = _path(folder, KILL)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            os.write(descriptor, text.encode("utf-8", "replace")[:_RECORD_BYTES] + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(folder)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return False
    return True


def _write(folder: str | os.PathLike[str], who: str, reason: str, now_ns: int, problems: list[str]) -> Flag | None:
    """Write the page; return what stood there, None where it cannot be written.

    One that is killed keeps who and why, and gets a new generation: whoever is arming the account this very moment sees that.
    """
    path = _path(folder, LATCH)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            before = decode(os.pread(descriptor, _RECORD_BYTES, 0))
            after = before._replace(generation=before.generation + 1)
            if before.is_armed or before.problem:
                epoch = _epoch(folder) or before.epoch
                after = Flag(False, after.generation, epoch, now_ns, who, reason)
            os.pwrite(descriptor, encode(after), 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return None
    return before


def _is_last_word(folder: str | os.PathLike[str], who: str, reason: str, now_ns: int, problems: list[str]) -> bool:
    """Look again while nobody can be arming, and write again if somebody did; False: somebody is at it right now."""
    path = _path(folder, GUARD)
    try:
        guard = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not read(folder).is_armed or _write(folder, who, reason, now_ns, problems) is not None
        finally:
            os.close(guard)
    except BlockingIOError:
        return False
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return False


def _sync(folder: str | os.PathLike[str], problems: list[str]) -> bool:
    path = _path(folder, LATCH)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return False
    return True


def _take_away(folder: str | os.PathLike[str], problems: list[str]) -> None:
    """Remove the page: one that was there and is not any more closes the latch."""
    path = _path(folder, LATCH)
    try:
        os.unlink(path)  # noqa: PTH108  # the core may not use pathlib
        sync_folder(folder)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")


def _epoch(folder: str | os.PathLike[str]) -> int:
    """Return the account's epoch as it is on disk; 0 where it cannot be read: a kill does not wait for an explanation."""
    try:
        descriptor = os.open(_path(folder, EPOCH), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            text = os.read(descriptor, _DIGITS).strip()
        finally:
            os.close(descriptor)
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _path(folder: str | os.PathLike[str], name: str) -> str:
    return os.path.join(os.fspath(folder), name)  # noqa: PTH118  # the core may not use pathlib
