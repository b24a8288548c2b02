"""Snapshots shorten the way back to a state, and nothing else: whatever is wrong with one, the journal has it all."""

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest

from claire.adapters.journal.disk import RealDisk
from claire.adapters.journal.entries import Entry, Note, Snapped
from claire.adapters.journal.readback import read_back
from claire.adapters.journal.reader import JournalReader, Mark
from claire.adapters.journal.snapshots import save_snapshot
from claire.adapters.journal.writer import JournalWriter
from claire.model.errors import JournalError, LedgerError
from tests.support.journals import decisions, header

CODE = "0.1.0 1f2e3d"


def run_with_snapshots(run_dir: Path, count: int = 3) -> Mark:
    """A stopped run: one note and one snapshot in turn, and a note at the end."""
    with JournalWriter(run_dir, header()) as writer:
        for number in range(1, count + 1):
            writer.note("count", str(number))
            save_snapshot(run_dir, writer, {"notes": number}, code=CODE)
        writer.note("count", "last")
        return Mark(writer.entries, writer.head)


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "snapshots").iterdir())


def notes_in(entries: list[tuple[int, Entry]]) -> list[str]:
    return [entry.text for _, entry in entries if isinstance(entry, Note)]


def test_the_newest_snapshot_comes_back_with_what_happened_since(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)
    back = read_back(tmp_path, code=CODE, mark=mark)
    assert (back.snapshot, back.notes) == ({"notes": 3}, [])
    assert back.entries == [(8, Note("count", "last"))]
    assert back.snapshot_no == 7
    assert back.end.entries == 8


def test_two_snapshots_stay(tmp_path: Path):
    run_with_snapshots(tmp_path)
    assert names(tmp_path) == ["000005.snap", "000007.snap"]


def test_a_snapshot_is_on_record_with_its_hash_when_the_call_returns(tmp_path: Path):
    writer = JournalWriter(tmp_path, header(), fsync="batch")
    snapped = save_snapshot(tmp_path, writer, [1, 2], code=CODE)
    assert list(JournalReader(tmp_path))[-1] == snapped == Snapped("000002.snap", snapped.sha256, CODE)
    writer.close()


def test_without_a_snapshot_all_entries_come_back(tmp_path: Path):
    with JournalWriter(tmp_path, header()) as writer:
        writer.note("count", "1")
    back = read_back(tmp_path, code=CODE, mark=None)
    assert (back.snapshot, back.snapshot_no) == (None, 0)
    assert back.entries == [(1, header()), (2, Note("count", "1"))]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not those that the journal names"),
        (lambda path: path.write_bytes(pickle.dumps("planted")), "not those that the journal names"),
        (lambda path: path.write_bytes(b""), "not those that the journal names"),
    ],
    ids=["gone", "cut", "exchanged", "empty"],
)
def test_a_snapshot_that_is_not_what_was_written_is_not_used_but_the_one_before_is(tmp_path: Path, harm, why):
    mark = run_with_snapshots(tmp_path)
    harm(tmp_path / "snapshots" / "000007.snap")
    back = read_back(tmp_path, code=CODE, mark=mark)
    assert back.snapshot == {"notes": 2}
    assert notes_in(back.entries) == ["3", "last"]
    (note,) = back.notes
    assert "snapshot 000007.snap" in note
    assert why in note


def test_a_pickle_that_the_journal_does_not_name_is_never_loaded(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)

    class Planted:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for name in names(tmp_path):
        (tmp_path / "snapshots" / name).write_bytes(pickle.dumps(Planted()))
    back = read_back(tmp_path, code=CODE, mark=mark)
    assert back.snapshot is None
    assert notes_in(back.entries) == ["1", "2", "3", "last"]
    assert not (tmp_path / "ran").exists()


def test_no_pickle_is_loaded_before_all_of_the_journal_was_verified(tmp_path: Path):
    class Loaded:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    with JournalWriter(tmp_path, header()) as writer:
        save_snapshot(tmp_path, writer, Loaded(), code=CODE)
        writer.note("count", "1")
        mark = Mark(writer.entries, writer.head)
    segment = tmp_path / "journal" / "000001.jrn"
    data = segment.read_bytes()
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(JournalError, match="does not match its hash"):
        read_back(tmp_path, code=CODE, mark=mark)
    assert not (tmp_path / "ran").exists()


def test_another_version_of_the_program_executes_the_run_again(tmp_path: Path):
    mark = run_with_snapshots(tmp_path, 1)
    back = read_back(tmp_path, code="0.2.0 abcdef", mark=mark)
    assert back.snapshot is None
    assert notes_in(back.entries) == ["1", "last"]
    assert "written by claire 0.1.0 1f2e3d, this is claire 0.2.0 abcdef" in back.notes[0]


class Gone:
    """A class that the next process does not have."""


def test_a_snapshot_that_cannot_be_loaded_is_said_and_all_entries_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with JournalWriter(tmp_path, header()) as writer:
        writer.note("count", "1")
        save_snapshot(tmp_path, writer, Gone(), code=CODE)
        mark = Mark(writer.entries, writer.head)
    monkeypatch.delattr(f"{__name__}.Gone")
    back = read_back(tmp_path, code=CODE, mark=mark)
    assert back.snapshot is None
    assert notes_in(back.entries) == ["1"]
    assert "cannot be loaded (AttributeError" in back.notes[0]


def test_a_ledger_that_follows_another_or_a_longer_journal_is_refused(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)
    with pytest.raises(JournalError, match=r"follows another journal: at entry 8"):
        read_back(tmp_path, code=CODE, mark=Mark(8, "ab" * 32))
    with pytest.raises(JournalError, match=r"follows entry 9 of the journal, which ends with entry 8.*do not trade on"):
        read_back(tmp_path, code=CODE, mark=Mark(9, mark.head))


def test_decisions_that_no_ledger_knows_of_are_refused(tmp_path: Path):
    with JournalWriter(tmp_path, header()) as writer:
        writer.decided(1, decisions()[3])
    with pytest.raises(LedgerError, match="its ledger does not know the run"):
        read_back(tmp_path, code=CODE, mark=None)


def test_an_end_that_was_cut_off_is_told(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)
    segment = tmp_path / "journal" / "000001.jrn"
    os.truncate(segment, segment.stat().st_size - 5)
    back = read_back(tmp_path, code=CODE, mark=Mark(5, head_at(tmp_path, 5)))
    assert "ends at byte" in back.notes[-1]
    assert back.end.entries == mark.entries - 1


def head_at(run_dir: Path, number: int) -> str:
    return next(chain.hex() for at, chain, _ in JournalReader(run_dir).walk() if at == number)


class FullDisk(RealDisk):
    """A disk that takes no more once it is told so."""

    is_full = False

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write, or say that there is no space."""
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)


def test_a_snapshot_that_cannot_be_written_stops_the_run_and_leaves_the_one_before(tmp_path: Path):
    disk = FullDisk()
    writer = JournalWriter(tmp_path, header(), disk=disk)
    save_snapshot(tmp_path, writer, 1, code=CODE, disk=disk)
    mark = Mark(writer.entries, writer.head)
    disk.is_full = True
    with pytest.raises(JournalError, match=r"000003\.snap: cannot be written: No space left.*claire run --continue"):
        save_snapshot(tmp_path, writer, 2, code=CODE, disk=disk)
    assert not writer.is_open
    assert read_back(tmp_path, code=CODE, mark=mark).snapshot == 1


@pytest.mark.parametrize("with_snapshots", [True, False])
def test_everything_is_seen_once_whatever_is_kept(tmp_path: Path, with_snapshots):
    mark = run_with_snapshots(tmp_path)
    if not with_snapshots:
        shutil.rmtree(tmp_path / "snapshots")
    seen: list[Entry] = []
    read_back(tmp_path, code=CODE, mark=mark, see=seen.append)
    assert seen == list(JournalReader(tmp_path))


def test_a_file_that_only_looks_like_a_snapshot_does_no_harm(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)
    (tmp_path / "snapshots" / "old.snap").write_bytes(b"?")
    (tmp_path / "snapshots" / "999999.snap").write_bytes(b"?")
    assert read_back(tmp_path, code=CODE, mark=mark).snapshot == {"notes": 3}


def test_a_crash_between_the_file_and_its_entry_leaves_the_snapshot_before(tmp_path: Path):
    mark = run_with_snapshots(tmp_path)
    with JournalWriter.resume(tmp_path) as writer:
        (tmp_path / "snapshots" / f"{writer.entries + 1:06d}.snap").write_bytes(pickle.dumps("never noted"))
        save_snapshot(tmp_path, writer, "noted", code=CODE)
    assert read_back(tmp_path, code=CODE, mark=mark).snapshot == "noted"


def test_its_boundaries_are_named(tmp_path: Path):
    steps: list[str] = []
    with JournalWriter(tmp_path, header()) as writer:
        save_snapshot(tmp_path, writer, 1, code=CODE, step=steps.append)
    assert steps == ["snapshot.before", "snapshot.after"]
