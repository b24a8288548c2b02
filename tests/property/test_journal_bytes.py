"""Every byte of a journal counts: flipped it is found and named, cut off it costs no whole entry before it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from struct import pack, unpack

import pytest

from claire.adapters.journal.frames import ANCHOR, FRAME, HEAD
from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.writer import JournalWriter
from claire.model.errors import JournalError
from tests.support.journals import decisions, header, inputs, written


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of several segments, all but the last compressed."""
    return written(tmp_path, segment_bytes=1500)


def small(run_dir: Path) -> Path:
    """A journal of one plain segment."""
    writer = JournalWriter(run_dir, header())
    writer.inputs(1, inputs()[:2])
    writer.decided(2, decisions()[0])
    writer.inputs(3, inputs()[2:7])
    writer.close()
    return run_dir / "journal" / "000001.jrn"


@contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    """Flip one bit in place (rewriting the file thousands of times would wait for the disk), and put it back."""
    with path.open("r+b", buffering=0) as file:
        file.seek(place)
        (byte,) = file.read(1)
        os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), place)
        yield
        os.pwrite(file.fileno(), bytes([byte]), place)


def entry_starts(data: bytes) -> list[int]:
    starts = [HEAD.size]
    while starts[-1] < len(data):
        starts.append(starts[-1] + FRAME.size + FRAME.unpack_from(data, starts[-1])[0] + 32)
    return starts


def test_one_flipped_byte_anywhere_is_found_and_named_by_segment_entry_and_offset(tmp_path: Path):
    segment = small(tmp_path)
    data = segment.read_bytes()
    starts = entry_starts(data)
    for place in range(len(data)):
        with flipped(segment, place, place % 8), pytest.raises(JournalError) as raised:
            JournalReader(tmp_path).check()
        named = re.search(r"000001\.jrn: entry (\d+), byte (\d+):", str(raised.value))
        assert named, raised.value
        entry, offset = int(named[1]), int(named[2])
        if place < HEAD.size:
            assert (entry, offset) == (1, place)
        else:
            assert starts[entry - 1] == offset <= place < starts[entry]


def test_one_flipped_byte_in_any_file_of_a_closed_journal_is_found_and_its_file_named(tmp_path: Path, journal: Path):
    files = sorted(journal.iterdir())
    assert [path.name for path in files][:2] == ["000001.jrn.gz", "000002.jrn.gz"]
    assert files[-1].name == ANCHOR
    for path in files:
        for place in range(path.stat().st_size):
            with flipped(path, place, place * 5 % 8), pytest.raises(JournalError, match=re.escape(path.name)):
                JournalReader(tmp_path).check()
    assert JournalReader(tmp_path).check().truncated is None


def test_a_journal_cut_off_at_any_byte_reads_to_its_last_whole_entry(tmp_path: Path):
    segment = small(tmp_path)
    data = segment.read_bytes()
    meant = list(JournalReader(tmp_path))
    starts = entry_starts(data)
    for length in reversed(range(len(data))):
        os.truncate(segment, length)
        reader = JournalReader(tmp_path)
        whole = sum(end <= length for end in starts[1:])
        assert list(reader) == meant[:whole]
        offset = max((start for start in starts if start <= length), default=0)
        if length in starts:
            assert reader.truncated is None  # nothing is torn, and a stopped run has no anchor
        else:
            assert reader.truncated is not None
            assert (reader.truncated.offset, reader.truncated.bytes_dropped) == (offset, length - offset)
            assert (reader.truncated.entries, reader.truncated.entries_missing) == (whole, None)


def test_the_last_segment_of_a_closed_journal_cut_off_at_any_byte_is_readable_and_reported(
    tmp_path: Path, journal: Path
):
    last = sorted(journal.glob("*.jrn"))[-1]
    meant = list(JournalReader(tmp_path))
    for length in reversed(range(last.stat().st_size)):
        os.truncate(last, length)
        reader = JournalReader(tmp_path)
        read = list(reader)
        assert read == meant[: len(read)]
        assert reader.truncated is not None
        assert reader.truncated.entries_missing == len(meant) - len(read) > 0


def test_a_segment_that_is_not_the_last_may_not_be_cut(tmp_path: Path, journal: Path):
    first = journal / "000001.jrn.gz"
    for length in reversed(range(0, first.stat().st_size, 7)):
        os.truncate(first, length)
        with pytest.raises(JournalError, match=r"000001\.jrn\.gz"):
            JournalReader(tmp_path).check()


def test_entries_removed_exchanged_or_doubled_are_found_at_the_first_that_is_wrong(tmp_path: Path):
    segment = small(tmp_path)
    data = segment.read_bytes()
    starts = entry_starts(data)
    frames = [data[a:b] for a, b in pairwise(starts)]
    count = len(frames)
    for at in range(count):
        changes = {"doubled": [*frames[: at + 1], *frames[at:]]}
        if at + 1 < count:
            changes["removed"] = [*frames[:at], *frames[at + 1 :]]
            changes["exchanged"] = [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]]
        for what, changed in changes.items():
            segment.write_bytes(data[: HEAD.size] + b"".join(changed))
            wrong = at + 2 if what == "doubled" else at + 1
            with pytest.raises(JournalError, match=rf"entry {wrong}, byte {starts[wrong - 1]}:"):
                JournalReader(tmp_path).check()


def test_anyone_can_recompute_the_chain_from_the_documented_format(tmp_path: Path):
    data = small(tmp_path).read_bytes()
    chain = sha256(b"claire journal format 1").digest()
    assert data[:56] == b"CLAIREJL" + pack(">IIQ", 1, 1, 1) + chain
    offset = 56
    while offset < len(data):
        (length,) = unpack(">I", data[offset : offset + 4])
        body = data[offset + 8 : offset + 8 + length]
        chain = sha256(chain + body).digest()
        assert data[offset + 8 + length : offset + 40 + length] == chain
        offset += 40 + length
    assert offset == len(data)
    assert JournalReader(tmp_path).check().head == chain.hex()


def test_two_entries_of_one_length_exchanged_with_their_hashes_are_found(tmp_path: Path):
    with JournalWriter(tmp_path, header()) as writer:
        for word in ("one", "two"):
            writer.note("operator", word)
    segment = tmp_path / "journal" / "000001.jrn"
    data = segment.read_bytes()
    _, first, second, end = entry_starts(data)
    assert second - first == end - second
    changed = data[first : first + 8] + data[second + 8 : end] + data[second : second + 8] + data[first + 8 : second]
    segment.write_bytes(data[:first] + changed)
    with pytest.raises(JournalError, match=rf"entry 2, byte {first}: it does not match its hash"):
        JournalReader(tmp_path).check()


def test_segments_removed_or_exchanged_are_found_and_named(tmp_path: Path, journal: Path):
    segments = sorted(path.name for path in journal.glob("0*"))
    assert len(segments) >= 3
    for at, name in enumerate(segments):
        kept = tmp_path / f"without-{at}"
        shutil.copytree(journal, kept / "journal")
        (kept / "journal" / name).unlink()
        with pytest.raises(JournalError, match=rf"segment {name[:6]}.* is missing"):
            JournalReader(kept).check()
    first, second = journal / segments[0], journal / segments[1]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(JournalError, match=rf"{segments[0]}: entry 1, byte \d+: the segment's head does not continue"):
        JournalReader(tmp_path).check()
