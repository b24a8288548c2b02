"""The flag page: whether an account may send orders, in one small file that is read right before each send.

    FOLDER/latch     the page: armed or killed, since when, by whom, why, in which epoch
    FOLDER/founded   that there was a page once
    FOLDER/kill      any file of this name closes the latch too; a shell can make it (`claire.latch.latch`)

Everything but a whole, armed page closes: one that was torn, cut short, replaced by another file or an older content, that
cannot be read, or that was there once and is not any more. So whatever goes wrong here stops orders, and nothing that goes wrong
lets one through.

A reader keeps the page mapped; a look is two questions to the kernel (is it still the same file, is there a ``kill``) and a
comparison with the bytes that were understood before. A page that is cut short in the microsecond between the two ends the
process with SIGBUS: then it sends nothing either.

Standard library only, and little of it: `claire kill` writes the page before it has imported anything else.
"""

import mmap
import os
import struct
import zlib
from typing import Final, NamedTuple

from claire.latch.latch import KILL, FileLatch

LATCH: Final = "latch"
FOUNDED: Final = "founded"

BYTES: Final = 4096
"""Size of the file: one page of memory, one block of a disk."""

_RECORD: Final = struct.Struct("<8s8sQQqHH4x64s384sQQ")
"""Magic, word, generation, epoch, time, lengths of the two texts, who, reason, checksum, generation again: 512 bytes, one sector.

The generation stands at both ends, so whatever part of a new record lies over an old one shows; the checksum is for the rest.
"""

_CHECKED: Final = _RECORD.size - 16
_MAGIC: Final = b"CLAIRE01"
_ARMED: Final = b"ARMED\0\0\0"
_KILLED: Final = b"KILLED\0\0"
_WORDS: Final = {_ARMED: True, _KILLED: False}
_WHO, _REASON = 64, 384

_MAY_WRITE: Final = 0o644


class Flag(NamedTuple):
    """What the page says, or why it says nothing."""

    is_armed: bool
    generation: int
    """Grows with each change; 0: there is no page that can be read."""
    epoch: int
    """Of the account (`claire.latch.epoch`) when this was written."""
    ts_ns: int
    """When it was written, UTC."""
    who: str
    reason: str
    problem: str = ""
    """Why the page counts as killed although it does not say so."""

    @property
    def why(self) -> str:
        """Why nothing may be sent, in a sentence; empty: it may."""
        if self.is_armed:
            return ""
        return self.problem or f"killed by {self.who}: {self.reason}"


def _unread(problem: str) -> Flag:
    return Flag(is_armed=False, generation=0, epoch=0, ts_ns=0, who="", reason="", problem=problem)


def encode(flag: Flag) -> bytes:
    """Return the record of a flag; texts are cut to what fits."""
    who, reason = _cut(flag.who, _WHO), _cut(flag.reason, _REASON)
    word = _ARMED if flag.is_armed else _KILLED
    head = (_MAGIC, word, flag.generation, flag.epoch, flag.ts_ns, len(who), len(reason), who, reason)
    checked = _RECORD.pack(*head, 0, 0)[:_CHECKED]
    return checked + struct.pack("<QQ", zlib.crc32(checked), flag.generation)


def decode(data: bytes) -> Flag:
    """Understand a record; what is not one is a killed flag that says so."""
    if len(data) < _RECORD.size:
        return _unread(f"the page holds {len(data)} bytes, which is less than a record")
    magic, word, generation, epoch, ts_ns, who_size, reason_size, who, reason, checksum, again = _RECORD.unpack(
        data[: _RECORD.size]
    )
    if magic != _MAGIC or word not in _WORDS:
        return _unread("the page is none of ours")
    if again != generation or checksum != zlib.crc32(data[:_CHECKED]) or not generation:
        return _unread("the page was not written whole")
    texts = (_text(who[:who_size]), _text(reason[:reason_size]))
    return Flag(_WORDS[word], generation, epoch, ts_ns, *texts)


def read(folder: str | os.PathLike[str]) -> Flag:
    """Read the page anew, and whether there is a ``kill`` beside it. For those who look now and then; it never raises."""
    flag = read_page(folder)
    if flag.is_armed:
        path = _path(folder, KILL)
        why = FileLatch(folder).why_closed() or (f"{path} is there" if os.path.lexists(path) else "")
        if why:
            return flag._replace(is_armed=False, problem=why)
    return flag


def read_page(folder: str | os.PathLike[str]) -> Flag:
    """Read the page alone."""
    path = _path(folder, LATCH)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(descriptor).st_size
            data = os.pread(descriptor, _RECORD.size, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _unread(f"{path} cannot be read ({error.strerror}), which counts as killed")
    if size != BYTES:
        return _unread(f"{path} has {size} bytes instead of {BYTES}, which counts as killed")
    flag = decode(data)
    return flag._replace(problem=f"{path}: {flag.problem}, which counts as killed") if flag.problem else flag


def found(
    folder: str | os.PathLike[str], *, arms_itself: bool, who: str, now_ns: int, epoch: int = 0, reason: str = ""
) -> Flag:
    """Make the page of a new account; an account that has or had one keeps what it has.

    Args:
        folder: Of the account; made if it is missing.
        arms_itself: True for accounts without money (paper, simulators). Others begin killed, and are armed by an operator.
        who: Who makes it.
        now_ns: UTC.
        epoch: Of the account.
        reason: Told on the page.

    Returns:
        What the page says now.

    Raises:
        OSError: it cannot be written.
    """
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # the core may not use pathlib
    founded = _path(folder, FOUNDED)
    if not os.path.lexists(_path(folder, LATCH)):
        vanished = os.path.lexists(founded)
        reason = "the page had vanished" if vanished else reason or "a new account"
        place(folder, Flag(arms_itself and not vanished, 1, epoch, now_ns, who, reason))
    if not os.path.lexists(founded):
        os.close(os.open(founded, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MAY_WRITE))
        sync_folder(folder)
    return read(folder)


def place(folder: str | os.PathLike[str], flag: Flag) -> None:
    """Put a new file where there is none, whole and durable.

    Raises:
        OSError: there is one, or it cannot be written.
    """
    path = _path(folder, LATCH)
    temporary = path + ".new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MAY_WRITE)
    try:
        os.pwrite(descriptor, encode(flag).ljust(BYTES, b"\0"), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path)  # fails where somebody was faster
    finally:
        os.unlink(temporary)  # noqa: PTH108  # the core may not use pathlib
    sync_folder(folder)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PageLatch:
    """The latch as the gate reads it: `why_closed` before each write, some microseconds, nothing kept.

    It belongs to the file that was there when it was made. Another file in its place closes it for good, as does content older
    than what it has seen; the next start reads anew.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Map the page; where that fails the latch is closed and says why."""
        self._folder = os.fspath(folder)
        self._path = _path(folder, LATCH)
        self._kill = _path(folder, KILL)
        self._file = FileLatch(folder)
        self._map: mmap.mmap | None = None
        self._ino = self._dev = -1
        self._armed = b""
        self._problem = ""
        self.generation = 0
        """The highest that was seen."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                state = os.fstat(descriptor)
                if state.st_size != BYTES:
                    self._problem = f"it has {state.st_size} bytes instead of {BYTES}"
                    return
                self._map = mmap.mmap(descriptor, BYTES, prot=mmap.PROT_READ)
            finally:
                os.close(descriptor)
            self._ino, self._dev = state.st_ino, state.st_dev
        except OSError as error:
            self._problem = f"it cannot be read ({error.strerror})"

    def why_closed(self) -> str:
        """Return why nothing may be sent; empty: the latch is open."""
        page = self._map
        if page is None:
            return f"{self._path}: {self._problem}, which counts as killed"
        try:
            state = os.stat(self._path, follow_symlinks=False)  # noqa: PTH116  # the core may not use pathlib
        except OSError as error:
            return f"{self._path}: it was there and is not any more ({error.strerror}), which counts as killed"
        if state.st_size != BYTES or state.st_ino != self._ino or state.st_dev != self._dev:
            return f"{self._path}: it was cut short or replaced, which counts as killed"
        if os.access(self._kill, os.F_OK, follow_symlinks=False):
            return self._file.why_closed() or f"{self._kill} is there"
        data = page[: _RECORD.size]
        if data == self._armed:
            return ""
        return self._understand(data)

    def close(self) -> None:
        """Let go of the page; the latch is closed from now on."""
        page, self._map = self._map, None
        self._problem = "the latch was let go of"
        if page is not None:
            page.close()

    def _understand(self, data: bytes) -> str:
        self._armed = b""
        flag = decode(data)
        if flag.problem:
            return f"{self._path}: {flag.problem}, which counts as killed"
        if flag.generation < self.generation:
            return f"{self._path}: an older page was put back, which counts as killed"
        self.generation = flag.generation
        if flag.is_armed:
            self._armed = data
        return flag.why


def _path(folder: str | os.PathLike[str], name: str) -> str:
    return os.path.join(os.fspath(folder), name)  # noqa: PTH118  # the core may not use pathlib


def _cut(text: str, size: int) -> bytes:
    """Return a text in bytes, cut between letters, as one line that no terminal acts on."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line.encode("utf-8", "replace")[:size].decode("utf-8", "ignore").encode("utf-8")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
