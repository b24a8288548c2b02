"""Opening the latch again: an operator, a reason, fresh proof that the books are right, and a new epoch.

Nothing that was approved before can fire afterwards: the account's epoch is counted up first, and the gate refuses approvals of
another one. No process may be trading the account meanwhile, so the lock is taken too.
"""

import fcntl
import os
from collections.abc import Callable

from claire.latch.epoch import AccountLock
from claire.latch.kill import GUARD, kill, leave_file
from claire.latch.latch import KILL
from claire.latch.page import BYTES, LATCH, Flag, encode, place, read, read_page, sync_folder
from claire.model.errors import SafetyRefusal, UsageError

_File = tuple[int, int, int]


def rearm(
    folder: str | os.PathLike[str],
    *,
    operator: str,
    reason: str,
    prove: Callable[[], str],
    now_ns: Callable[[], int],
    pid: int,
) -> Flag:
    """Arm an account after a kill.

    Args:
        folder: Of the account.
        operator: Who wants it.
        reason: Why it is right to trade again.
        prove: Reconciles the account with the venue, now, and returns in words what was found equal; it raises what is not.
        now_ns: UTC.
        pid: Of this process, for the account's lock.

    Returns:
        What the page says now.

    Raises:
        UsageError: who or why is missing, or the account is armed.
        SafetyRefusal: a process trades the account, there is no proof, or somebody killed again meanwhile.
        ClaireError: what `prove` raises.
    """
    if not operator.strip() or not reason.strip():
        raise UsageError("to arm an account again takes a name and a reason, for those who ask later")
    before = read(folder)
    if before.is_armed:
        raise UsageError(f"{os.fspath(folder)}: is armed (by {before.who}: {before.reason}); there is nothing to do")
    file = _identity(folder)
    page = read_page(folder)
    lock = AccountLock(folder, pid=pid)
    try:
        proof = prove()
        if not proof:
            raise SafetyRefusal("the reconciliation says nothing about what it found equal; the account stays killed")
        return _arm(folder, page, file, operator, f"{reason} ({proof})", now_ns, lock.epoch)
    finally:
        lock.release()


def _arm(
    folder: str | os.PathLike[str],
    page: Flag,
    file: _File | None,
    operator: str,
    reason: str,
    now_ns: Callable[[], int],
    epoch: int,
) -> Flag:
    guard = os.open(_path(folder, GUARD), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if read_page(folder) != page or _identity(folder) != file:
            raise _again(folder)
        if file is not None:  # first, for whoever finds it beside an armed page kills again
            _clear(folder, file, operator, now_ns())
        _write(folder, Flag(True, page.generation + 1, epoch, now_ns(), operator, reason))
        flag = read(folder)
        if not flag.is_armed:
            raise _again(folder)
        return flag
    except OSError as error:
        raise SafetyRefusal(
            f"{error.filename or os.fspath(folder)}: cannot be written: {error.strerror}. The account stays killed"
        ) from error
    finally:
        os.close(guard)


def _write(folder: str | os.PathLike[str], flag: Flag) -> None:
    path = _path(folder, LATCH)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        place(folder, flag)
        return
    try:
        if os.fstat(descriptor).st_size != BYTES:
            os.ftruncate(descriptor, BYTES)
        os.pwrite(descriptor, encode(flag), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(folder: str | os.PathLike[str], file: _File, operator: str, now_ns: int) -> None:
    """Take the file ``kill`` away, if it still is the one that was there when the operator decided.

    Raises:
        SafetyRefusal: it is another one.
    """
    path = _path(folder, KILL)
    aside = path + ".cleared"
    os.rename(path, aside)  # noqa: PTH104  # the core may not use pathlib
    state = os.lstat(aside)
    if (state.st_ino, state.st_mtime_ns, state.st_size) != file:
        kill(
            folder, who="claire rearm", reason=f"the file kill was written again while {operator} armed", now_ns=now_ns
        )
        leave_file(folder, "written again during rearm", [])
        raise _again(folder)
    sync_folder(folder)


def _identity(folder: str | os.PathLike[str]) -> _File | None:
    try:
        state = os.lstat(_path(folder, KILL))
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _again(folder: str | os.PathLike[str]) -> SafetyRefusal:
    return SafetyRefusal(
        f"{os.fspath(folder)}: was killed again while it was being armed, and stays killed: {read(folder).why}"
    )


def _path(folder: str | os.PathLike[str], name: str) -> str:
    return os.path.join(os.fspath(folder), name)  # noqa: PTH118  # the core may not use pathlib
