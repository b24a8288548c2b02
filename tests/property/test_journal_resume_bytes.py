"""However often and wherever a run is stopped: what goes on is one journal that verifies as a whole and lost nothing durable."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.adapters.journal.disk import RealDisk
from claire.adapters.journal.entries import Note, Resumed
from claire.adapters.journal.frames import HEAD
from claire.adapters.journal.readback import read_back
from claire.adapters.journal.reader import JournalReader, Mark
from claire.adapters.journal.writer import JournalWriter
from claire.drill.disk import SimDisk
from claire.model.errors import JournalError
from tests.support.journals import T0, decisions, header, inputs

SEGMENT = 700


class FastDisk(RealDisk):
    """A disk that is not waited for: nothing here depends on power."""

    def fsync(self, descriptor: int) -> None:
        """Return at once."""

    def sync_folder(self, path: Path) -> None:
        """Return at once."""


def test_a_journal_cut_at_every_byte_goes_on_from_its_last_whole_entry(tmp_path: Path):
    with JournalWriter(tmp_path / "whole", header()) as writer:
        writer.inputs(1, inputs()[:2])
        writer.decided(2, decisions()[3])
        writer.note("operator", "looked at it")
        writer.passed(T0 + 60)
    data = (tmp_path / "whole" / "journal" / "000001.jrn").read_bytes()
    meant = list(JournalReader(tmp_path / "whole"))
    stops = entry_ends(data)
    segment = tmp_path / "cut" / "journal" / "000001.jrn"
    segment.parent.mkdir(parents=True)
    for length in range(stops[0], len(data) + 1):
        segment.write_bytes(data[:length])
        whole = sum(stop <= length for stop in stops)
        with JournalWriter.resume(tmp_path / "cut", disk=FastDisk()) as writer:
            writer.resumed(T0, "0.1.0", 1)
            writer.note("operator", "went on")
        left = length - stops[whole - 1]
        found = list(JournalReader(tmp_path / "cut"))
        assert found == [*meant[:whole], Resumed(T0, "0.1.0", 1, left), Note("operator", "went on")]
    for length in range(stops[0]):
        segment.write_bytes(data[:length])
        with pytest.raises(JournalError, match="nothing of the run is known"):
            JournalWriter.resume(tmp_path / "cut", disk=FastDisk())
        assert segment.read_bytes() == data[:length]


def entry_ends(data: bytes) -> list[int]:
    """Offsets behind each entry."""
    found, offset = [], HEAD.size
    while offset < len(data):
        offset += 40 + int.from_bytes(data[offset : offset + 4], "big")
        found.append(offset)
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_sequence_of_crashes_leaves_one_journal_with_all_that_was_durable(data: st.DataObject):
    with TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        rng = random.Random(data.draw(st.integers(0, 2**32)))
        durable: list[str] = []  # notes that a sync covered
        mark: Mark | None = None
        for life in range(data.draw(st.integers(2, 5))):
            disk = SimDisk(rng)
            writer = begin(run_dir, disk, life, mark)
            wait_for_packing(writer)
            said: list[str] = [note.text for note in JournalReader(run_dir) if isinstance(note, Note)]
            assert said[: len(durable)] == durable
            assert len(said) == len(dict.fromkeys(said))
            for number in range(data.draw(st.integers(0, 40))):
                text = f"{life}/{number}"
                writer.note("count", text)
                said.append(text)
                if rng.random() < 0.2:
                    writer.sync()
                    durable, mark = said.copy(), Mark(writer.entries, writer.head)
            wait_for_packing(writer)
            disk.power_off()
            writer.abandon()
            disk.release()
        with JournalWriter.resume(run_dir, read_back(run_dir, code="x", mark=mark).end) as last:
            last.resumed(T0, "0.1.0", 9)
            last.finish("{}", "d1:")
        notes = [entry.text for entry in JournalReader(run_dir) if isinstance(entry, Note)]
        assert notes[: len(durable)] == durable
        assert JournalReader(run_dir).check().anchored


def begin(run_dir: Path, disk: SimDisk, life: int, mark: Mark | None) -> JournalWriter:
    """Start the journal, or go on with it."""
    if life == 0:
        return JournalWriter(run_dir, header(), disk=disk, segment_bytes=SEGMENT)
    end = read_back(run_dir, code="x", mark=mark).end
    writer = JournalWriter.resume(run_dir, end, disk=disk, segment_bytes=SEGMENT)
    writer.resumed(T0, "0.1.0", life)
    return writer


def wait_for_packing(writer: JournalWriter) -> None:
    """Let the thread that compresses come to its end, so that a seed means one sequence of events."""
    writer._await_packing()
