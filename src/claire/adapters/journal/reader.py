"""Reads a journal and proves, entry by entry, that it is what was written."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec
from msgspec import Struct

from claire.adapters.journal.entries import (
    Decided,
    End,
    Entry,
    Fed,
    Header,
    Inputs,
    Report,
    counted,
    decode,
    last_input,
)
from claire.adapters.journal.frames import (
    ANCHOR,
    FORMAT_VERSION,
    FRAME,
    HASH_BYTES,
    HEAD,
    JOURNAL,
    MAGIC,
    PACKED,
    PLAIN,
    Anchor,
    chained,
    genesis,
    head_bytes,
    length_check,
    segment_name,
    unpack_segment,
)
from claire.engine.ports import Input
from claire.model.errors import JournalError

_RESTORE: Final = "Restore the run from a backup; from here on it proves nothing."


class Mark(Struct, frozen=True):
    """A state of the journal that somebody else relies on, such as the ledger: so many entries, and the last one's hash."""

    entries: int
    head: str
    """Hexadecimal."""


class Truncation(Struct, frozen=True):
    """Where a journal was cut off, by a crash or later."""

    segment: str
    """File name of the last segment."""
    offset: int
    """Bytes of it that hold whole entries."""
    bytes_dropped: int
    """Bytes behind these: an entry that is not whole."""
    entries: int
    """Whole entries read."""
    entries_missing: int | None
    """How many more there were when the run was closed; None if it never was (its process was stopped)."""

    def __str__(self) -> str:
        """Say it in a sentence."""
        said = f"{self.segment} ends at byte {self.offset} after entry {self.entries}"
        if self.bytes_dropped:
            said += f" ({self.bytes_dropped} bytes of an unfinished entry left out)"
        if self.entries_missing is None:
            return said + "; the run was stopped, not ended"
        return said + f"; {self.entries_missing} more were there when the run ended"


class JournalState(Struct, frozen=True):
    """Where a complete reading came to: all that is needed to write on, see `JournalWriter.resume`."""

    header: Header
    entries: int
    chain: bytes
    """Chain hash of the last whole entry."""
    segments: int
    """Number of the last segment."""
    offset: int
    """Bytes of it that hold whole entries; 0: not even its head is whole."""
    size: int
    """Bytes of it."""
    is_plain: bool
    """Whether it is not compressed."""
    last_input: int
    counts: dict[str, int]
    """Kept entries by kind, as in `End`."""
    has_ended: bool
    """Whether the run ended in order."""

    @property
    def cut_bytes(self) -> int:
        """Bytes of an unfinished entry at the end."""
        return self.size - self.offset


class JournalCheck(Struct, frozen=True):
    """What a complete reading found."""

    entries: int
    head: str
    """Chain hash of the last whole entry, hexadecimal."""
    anchored: bool
    """Whether the run was closed in order, so that a missing tail would have been noticed."""
    truncated: Truncation | None


class JournalReader:
    """The journal of one run, from its first entry to its last whole one.

    Iterating verifies the chain. `truncated` tells after a complete iteration whether the end is missing; anything else
    that is not as it was written raises JournalError with segment file, entry number and byte offset.
    """

    def __init__(self, run_dir: Path, *, relied_on: int | None = None) -> None:
        """Find the segments of a run; they are read when iterated.

        Args:
            run_dir: the run directory.
            relied_on: entries that are known to have been durable when the run was stopped. After a crash of the machine
                what was written behind them may hold anything; the last segment then counts as cut off at the first entry
                behind them that is not whole. None: whatever is not as it was written is an error.

        Raises:
            JournalError: there is no journal, a segment is missing, or the anchor is damaged.
        """
        self._folder = run_dir / JOURNAL
        self._segments = _segments(self._folder)
        self._anchor = _anchor(self._folder)
        self._relied_on = math.inf if relied_on is None or self._anchor is not None else relied_on
        last = len(self._segments)
        if self._anchor and self._anchor.segments > last:
            raise JournalError(
                f"{self._folder}: segment {segment_name(last + 1)} of {self._anchor.segments} is missing. {_RESTORE}"
            )
        self._header: Header | None = None
        self.truncated: Truncation | None = None
        """Known after a complete iteration."""
        self._state: JournalState | None = None

    @property
    def header(self) -> Header:
        """The first entry.

        Raises:
            JournalError: the journal is damaged, or was cut off before its first whole entry.
        """
        if self._header is None:
            first = next(iter(self), None)
            if first is None:
                raise JournalError(
                    f"{self._segments[0]}: cut off before the end of its first entry; nothing of the run is known. If it was"
                    f" stopped right at its start, nothing was sent: start a new run."
                )
            if type(first) is not Header:
                raise JournalError(f"{self._segments[0]}: entry 1 is not a header. {_RESTORE}")
            self._header = first
        return self._header

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries in order.

        Raises:
            JournalError: at the first entry that is not what was written.
        """
        return (entry for _, _, entry in self.walk())

    def walk(self) -> Iterator[tuple[int, bytes, Entry]]:
        """Yield number (from 1), chain hash and entry, in order; `state` is there once all of them were.

        Raises:
            JournalError: at the first entry that is not what was written.
        """
        self.truncated = self._state = None
        number, chain, end, size, is_plain = 0, genesis(), 0, 0, True
        tally = _Tally()
        for ordinal, path in enumerate(self._segments, 1):
            data, intact = _load(path)
            is_last, is_plain = ordinal == len(self._segments), path.suffix == PLAIN
            may_be_cut = is_last and is_plain
            relied_on = self._relied_on if may_be_cut else math.inf
            cursor = _Cursor(path, data, may_be_cut=may_be_cut, relied_on=relied_on)
            end, size = cursor.head(ordinal, number + 1, chain), len(data)
            if end:
                for body, after in cursor.bodies(end, number + 1, chain):
                    chain, end, number = after, end + FRAME.size + len(body) + HASH_BYTES, number + 1
                    entry = cursor.decode(body, end, number)
                    tally.add(entry)
                    yield number, chain, entry
            if not intact:
                raise JournalError(
                    f"{path}: the compressed file was changed; its entries up to {number} still read as they were"
                    f" written, so no byte offset can be told. {_RESTORE}"
                )
        self._compare_with_anchor(number, chain, end, size)
        if tally.header is not None:
            ended = tally.has_ended or self._anchor is not None
            self._state = JournalState(
                tally.header,
                number,
                chain,
                len(self._segments),
                end,
                size,
                is_plain,
                tally.last_input,
                tally.counts,
                ended,
            )

    @property
    def state(self) -> JournalState:
        """Where the last complete iteration came to.

        Raises:
            JournalError: the journal was cut off before the end of its first entry, or was not read to its end.
        """
        if self._state is None:
            raise JournalError(
                f"{self._segments[0]}: was not read to its end, or was cut off within its first entry, so that nothing of"
                f" the run is known. Start a new run."
            )
        return self._state

    def decisions(self) -> Iterator[Decided]:
        """Yield what was decided, in order."""
        return (entry for entry in self if type(entry) is Decided)

    def inputs(self) -> Iterator[tuple[int, Input]]:
        """Yield the inputs that are kept here, with their numbers, in order."""
        for entry in self:
            if type(entry) is Inputs:
                yield from enumerate(entry.events, entry.first_no)
            elif type(entry) is Report:
                yield entry.input_no, entry.report

    def end(self) -> End | None:
        """Return the last entry of a run that ended in order, after reading all of it; None if there is none."""
        last: Entry | None = None
        for last in self:  # noqa: B007 - the last one is what is asked for
            pass
        return last if type(last) is End else None

    def check(self) -> JournalCheck:
        """Read everything and say what was found.

        Raises:
            JournalError: something is not what was written.
        """
        entries, head = 0, genesis()
        for entries, head, _ in self.walk():  # noqa: B007 - the last ones are what is asked for
            pass
        return JournalCheck(entries, head.hex(), self._anchor is not None, self.truncated)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _compare_with_anchor(self, entries: int, chain: bytes, end: int, size: int) -> None:
        anchor, missing = self._anchor, None
        if anchor:
            missing = anchor.entries - entries
            if missing < 0 or (not missing and (anchor.head != chain.hex() or anchor.segments != len(self._segments))):
                raise JournalError(
                    f"{self._folder / ANCHOR}: the run ended with entry {anchor.entries} in segment {anchor.segments}, but"
                    f" {entries} entries in {len(self._segments)} segments are here, and the last one differs. {_RESTORE}"
                )
        if missing or end < size or not end:
            name = self._segments[-1].name
            self.truncated = Truncation(name, end, size - end, entries, missing)


class _Tally:
    """What the end of a run says of its entries, counted while they are read."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.last_input = 0
        self.fed = 0
        self.has_ended = False
        self._counts: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        kind = type(entry)
        self.has_ended = kind is End
        if kind is Fed:  # nearly all of a live run
            self.fed += 1
            return
        if isinstance(entry, Header):
            self.header = entry
            return
        name, events = counted(entry)
        if name:
            self._counts[name] = self._counts.get(name, 0) + events
            self.last_input = max(self.last_input, last_input(entry))

    @property
    def counts(self) -> dict[str, int]:
        """As `End` has them."""
        return self._counts | ({"fed": self.fed} if self.fed else {})


class _Cursor:
    """Cuts one segment into verified entries; offsets count plain (decompressed) bytes."""

    def __init__(self, path: Path, data: bytes, *, may_be_cut: bool, relied_on: float) -> None:
        self._path = path
        self._data = data
        self._may_be_cut = may_be_cut
        self._relied_on = relied_on

    def head(self, segment: int, first_entry: int, chain: bytes) -> int:
        """Verify the head; return the offset behind it, 0 when the segment ends within it."""
        found, meant = self._data[: HEAD.size], head_bytes(segment, first_entry, chain)
        if found == meant:
            return HEAD.size
        if len(found) < HEAD.size and meant.startswith(found):
            return 0 if self._may_be_cut else self._fail(len(found), first_entry, "the segment ends within its head")
        if first_entry > self._relied_on:
            return 0
        place = next(at for at, byte in enumerate(meant) if at >= len(found) or found[at] != byte)
        if found[: len(MAGIC)] == MAGIC and len(found) == HEAD.size:
            version = HEAD.unpack(found)[1]
            if version != FORMAT_VERSION:
                raise JournalError(
                    f"{self._path}: entry {first_entry}, byte {place}: journal format {version}, but this program reads"
                    f" format {FORMAT_VERSION}. Read it with the version of Claire that wrote it, or, if that was this"
                    f" one, restore the run from a backup."
                )
        what = "the segment's head does not continue the one before (changed, exchanged, or one is missing)"
        return self._fail(place, first_entry, what)

    def bodies(self, offset: int, number: int, chain: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield verified bodies with their chain hashes, from the entry at `offset`, up to where the segment ends or was cut.

        A million entries pass here when a run is gone on with: what is not as it should be is left to `_diagnose`.
        """
        data, size, unpack = self._data, len(self._data), FRAME.unpack_from
        while True:
            start = offset + FRAME.size
            if start > size:
                break
            length, check = unpack(data, offset)
            stop = start + length
            end = stop + HASH_BYTES
            if end > size or check != length_check(number, length):
                break
            body = data[start:stop]
            meant = chained(chain, body)
            if data[stop:end] != meant:
                break
            yield body, meant
            offset, number, chain = end, number + 1, meant
        self._diagnose(offset, number)

    def _diagnose(self, offset: int, number: int) -> None:
        """Return where the segment ends at `offset`, or was cut there; raise where it was changed."""
        data = self._data
        frame = data[offset : offset + FRAME.size]
        if not frame:
            return
        if len(frame) < FRAME.size:
            if not self._may_be_cut:
                self._fail(offset, number, "the segment ends within an entry")
            return
        length, check = FRAME.unpack(frame)
        end = offset + FRAME.size + length + HASH_BYTES
        if number > self._relied_on:
            return
        if check != length_check(number, length):
            self._fail(offset, number, "its length was changed, or entries were removed, added or exchanged")
        if end <= len(data):
            self._fail(offset, number, "it does not match its hash: it, or an entry before it, was changed")
        if not self._may_be_cut:
            self._fail(offset, number, "the segment ends within an entry")

    def decode(self, body: bytes, end: int, number: int) -> Entry:
        """Return the entry in a verified body."""
        try:
            return decode(body)
        except msgspec.MsgspecError as error:
            raise JournalError(
                f"{self._path}: entry {number}, before byte {end}: intact, but this program does not understand it ({error})."
                f" Read it with the version of Claire that wrote it."
            ) from None

    def _fail(self, offset: int, number: int, what: str) -> NoReturn:
        raise JournalError(f"{self._path}: entry {number}, byte {offset}: {what}. {_RESTORE}")


def _load(path: Path) -> tuple[bytes, bool]:
    """Return a segment's plain bytes, and whether its file is intact as far as that shows without the chain."""
    try:
        data = path.read_bytes()
    except OSError as error:
        packed = path.with_name(path.name.removesuffix(PLAIN) + PACKED)
        if path.suffix == PLAIN and packed.exists():
            return _load(packed)  # compressed since the folder was looked into, by the run that writes it
        raise JournalError(f"{path}: cannot be read: {error.strerror}. Check its permissions and the disk.") from error
    return unpack_segment(data) if path.name.endswith(PACKED) else (data, True)


def _segments(folder: Path) -> list[Path]:
    """Return the segments in order; of one that exists plain and compressed (a crash in between) the plain one."""
    found: dict[str, Path] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name.endswith((PACKED, PLAIN)):
                stem = path.name.partition(".")[0]
                found[stem] = path if path.name.endswith(PLAIN) else found.get(stem, path)
    if not found:
        raise JournalError(
            f"{folder}: there is no journal. Give a run directory; `claire history` lists the runs. If it is one, the run"
            f" never began: start a new run."
        )
    numbers = [segment_name(number, "") for number in range(1, len(found) + 1)]
    for name, path in zip(numbers, found.values(), strict=True):
        if path.name.partition(".")[0] != name:
            raise JournalError(f"{folder}: segment {name} is missing; the next file is {path.name}. {_RESTORE}")
    return list(found.values())


def _anchor(folder: Path) -> Anchor | None:
    place = folder / ANCHOR
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{place}: cannot be read: {error.strerror}. Check its permissions and the disk.") from error
    return Anchor.from_bytes(data, place)
