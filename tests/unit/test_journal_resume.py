"""A stopped journal is gone on with: where it ended, as one chain, by one process, and only if it may be."""

import gzip
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from claire.adapters.journal.entries import (
    Adjusted,
    Controlled,
    End,
    Entry,
    External,
    Gated,
    Note,
    Resumed,
    Snapped,
    decode,
    encode,
)
from claire.adapters.journal.frames import HEAD, Anchor
from claire.adapters.journal.reader import JournalReader, JournalState, Mark
from claire.adapters.journal.runlock import RunLock
from claire.adapters.journal.writer import JournalWriter
from claire.model.decisions import ControlEvent, TradingState
from claire.model.errors import JournalError
from tests.support.journals import T0, decisions, header, inputs, write_story, written


def state_of(run_dir: Path, **options: int) -> JournalState:
    reader = JournalReader(run_dir, **options)
    reader.check()
    return reader.state


def go_on_without_end(run_dir: Path) -> None:
    """Resume, and stop at once."""
    with JournalWriter.resume(run_dir) as writer:
        writer.resumed(T0 + 100, "0.1.0", 2)


def go_on(run_dir: Path, segment_bytes: int = 32 << 20) -> None:
    """Resume, add a little, and end in order."""
    with JournalWriter.resume(run_dir, segment_bytes=segment_bytes) as writer:
        writer.resumed(T0 + 100, "0.1.0", 2)
        writer.note("operator", "went on")
        writer.finish("{}", "d1:")


def test_a_journal_goes_on_where_it_stopped_and_verifies_as_a_whole(tmp_path: Path):
    written(tmp_path, finished=False)
    before = list(JournalReader(tmp_path))
    go_on(tmp_path)
    reader = JournalReader(tmp_path)
    assert list(reader)[:-1] == [*before, Resumed(T0 + 100, "0.1.0", 2, 0), Note("operator", "went on")]
    check = reader.check()
    assert (check.anchored, check.truncated) == (True, None)


def test_the_end_counts_what_all_processes_kept(tmp_path: Path):
    written(tmp_path / "one")
    whole = JournalReader(tmp_path / "one").end()
    assert whole is not None
    with JournalWriter(tmp_path / "two", header()) as first:
        for number, event in enumerate(inputs()[:5], 1):
            first.inputs(number, (event,))
    with JournalWriter.resume(tmp_path / "two") as second:
        for number, event in enumerate(inputs()[5:], 6):
            second.inputs(number, (event,))
        for number, decided in enumerate(decisions()):
            second.decided(min(8, number + 1), decided)
        second.finish(whole.summary_json, whole.decision_digest)
    assert JournalReader(tmp_path / "two").end() == whole


def test_what_comes_from_outside_the_feed_is_read_back_equal(tmp_path: Path):
    event = ControlEvent(TradingState.REDUCE_ONLY, "two orders differ", "reconciliation", T0)
    entries: list[Entry] = [
        Controlled(event),
        Gated(7, "GATE_EPOCH", 1_700_000_000_123, 0),
        Adjusted("PEPE", "-0.5", "ada", "a fee in kind", T0, "momentum", "PEPEUSDT"),
        External("transfer", "USDT", "100", "deposit 12", T0),
        Snapped("000007.snap", "ab" * 32, "0.1.0"),
        Resumed(T0, "0.1.0", 3, 17, "{}"),
    ]
    with JournalWriter(tmp_path, header()) as writer:
        writer.controlled(event)
        writer.gated(7, "GATE_EPOCH", 1_700_000_000_123, 0)
        writer.adjusted(entries[2])  # type: ignore[arg-type]
        writer.external(entries[3])  # type: ignore[arg-type]
        writer.snapped("000007.snap", "ab" * 32, "0.1.0")
        writer.resumed(T0, "0.1.0", 3, "{}")
        writer.finish("{}", "d1:")
    *found, end = list(JournalReader(tmp_path))[1:]
    entries[5] = Resumed(T0, "0.1.0", 3, 0, "{}")  # this process cut nothing off
    assert found == entries
    assert isinstance(end, End)
    assert end.counts == dict.fromkeys(("controlled", "gated", "adjusted", "external", "snapped", "resumed"), 1)


def test_entries_of_before_still_mean_the_same():
    """Bytes as the first version wrote them; a change that breaks them needs a new format version."""
    for text, entry in {
        "93a46e6f7465a86f70657261746f72a26869": Note("operator", "hi"),
        "95a3656e64a27b7da364313a0581a6696e7075747304": End("{}", "d1:", 5, {"inputs": 4}),
    }.items():
        assert decode(bytes.fromhex(text)) == entry
        assert encode(entry).hex() == text


def test_the_unfinished_bytes_of_a_crash_are_cut_and_counted(tmp_path: Path):
    last = written(tmp_path, finished=False) / "000001.jrn"
    os.truncate(last, last.stat().st_size - 7)
    state = state_of(tmp_path)
    assert state.cut_bytes == state.size - state.offset > 0
    with JournalWriter.resume(tmp_path) as writer:
        assert writer.cut_bytes == state.cut_bytes
        assert last.stat().st_size == state.offset
        writer.resumed(T0, "0.1.0", 1)
    assert list(JournalReader(tmp_path))[-1] == Resumed(T0, "0.1.0", 1, state.cut_bytes)


def test_a_caller_that_read_the_journal_need_not_have_it_read_again(tmp_path: Path):
    written(tmp_path, finished=False)
    lock = RunLock(tmp_path)
    state = state_of(tmp_path)
    with JournalWriter.resume(tmp_path, state, lock=lock) as writer:
        assert (writer.entries, writer.head) == (state.entries, state.chain.hex())
        with pytest.raises(JournalError, match=rf"another process writes this run \(process {os.getpid()}\)"):
            RunLock(tmp_path)
    RunLock(tmp_path).release()  # it went with the journal


def test_a_journal_that_grew_since_it_was_read_is_refused(tmp_path: Path):
    written(tmp_path, finished=False)
    state = state_of(tmp_path)
    go_on_without_end(tmp_path)
    with pytest.raises(JournalError, match=r"000001\.jrn: was written since it was read"):
        JournalWriter.resume(tmp_path, state)
    RunLock(tmp_path).release()


def test_a_state_before_the_last_entry_was_read_is_no_state(tmp_path: Path):
    written(tmp_path)
    reader = JournalReader(tmp_path)
    next(iter(reader))
    with pytest.raises(JournalError, match="not read to its end"):
        _ = reader.state


def test_a_run_that_ended_in_order_is_gone_on_with_and_is_one_journal(tmp_path: Path):
    folder = written(tmp_path)
    before = JournalReader(tmp_path).check()
    with JournalWriter.resume(tmp_path) as journal:
        assert not (folder / "HEAD.json").exists()
        journal.resumed(1, "code", 1)
        journal.finish("{}", "d1:")
    after = JournalReader(tmp_path).check()
    assert after.entries == before.entries + 2
    assert after.anchored


def test_a_run_that_ended_in_order_and_lost_its_end_is_refused(tmp_path: Path):
    folder = written(tmp_path, finished=False)
    (folder / "HEAD.json").write_bytes(_anchor_of(tmp_path))
    with pytest.raises(JournalError, match=r"missing|its journal is gone"):
        JournalWriter.resume(tmp_path)
    RunLock(tmp_path).release()


def _anchor_of(run_dir: Path) -> bytes:
    """An anchor that a run without an end cannot have."""
    found = JournalReader(run_dir).check()
    return Anchor.of(found.entries + 1, 1, bytes.fromhex(found.head)).to_bytes()


def test_an_altered_journal_is_not_gone_on_with_and_not_touched(tmp_path: Path):
    segment = written(tmp_path, finished=False) / "000001.jrn"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalError, match="was changed"):
        JournalWriter.resume(tmp_path)
    assert segment.read_bytes() == data
    RunLock(tmp_path).release()


def test_a_run_of_which_nothing_is_known_is_refused(tmp_path: Path):
    segment = written(tmp_path, finished=False) / "000001.jrn"
    os.truncate(segment, HEAD.size + 20)
    with pytest.raises(JournalError, match="nothing of the run is known"):
        JournalWriter.resume(tmp_path)
    with pytest.raises(JournalError, match="cannot be opened"):
        JournalWriter.resume(tmp_path / "none")


def hold(run_dir: str, ready: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with JournalWriter.resume(Path(run_dir)):
        ready.set()
        done.wait(30)


def test_of_two_processes_one_goes_on_and_the_other_is_told_which(tmp_path: Path):
    written(tmp_path, finished=False)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(JournalError, match=rf"another process writes this run \(process {other.pid}\)"):
            JournalWriter.resume(tmp_path)
    finally:
        done.set()
        other.join()
    JournalWriter.resume(tmp_path).close()


DIES = """
import os, sys
from pathlib import Path
from claire.adapters.journal.writer import JournalWriter
from tests.support.journals import header, inputs
writer = JournalWriter(Path(sys.argv[1]), header(), segment_bytes=3000)
for number in range(1, 60):
    writer.inputs(number, inputs()[:1])
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path, checkout: Path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path[1:], str(checkout)])}
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=checkout, env=environment, check=False)
    go_on(tmp_path, segment_bytes=3000)
    assert JournalReader(tmp_path).check().anchored
    assert [number for number, _ in JournalReader(tmp_path).inputs()] == list(range(1, 60))


# -- a crash while one segment follows another -------------------------------------------------------------------------


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """A stopped journal of several segments."""
    return written(tmp_path, segment_bytes=700, finished=False)


def last_of(folder: Path) -> Path:
    return sorted(folder.glob("*.jrn"))[-1]


def next_of(folder: Path) -> Path:
    return folder / f"{int(last_of(folder).stem) + 1:06d}.jrn"


@pytest.mark.parametrize("bytes_of_head", [0, 1, HEAD.size - 1])
def test_a_new_segment_that_is_empty_or_has_half_a_head_gets_a_whole_one(tmp_path: Path, segments: Path, bytes_of_head):
    before = list(JournalReader(tmp_path))
    with JournalWriter.resume(tmp_path, segment_bytes=1) as writer:
        writer.note("operator", "this opens a segment")
    newest = last_of(segments)
    os.truncate(newest, bytes_of_head)
    go_on(tmp_path, segment_bytes=700)
    assert list(JournalReader(tmp_path))[: len(before)] == before
    assert JournalReader(tmp_path).check().anchored


def test_a_segment_that_is_there_plain_and_compressed_is_compressed_again(tmp_path: Path, segments: Path):
    before = list(JournalReader(tmp_path))
    packed = segments / "000001.jrn.gz"
    (segments / "000001.jrn").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.write_bytes(b"half a copy")
    (segments / "000002.jrn.gz.tmp").write_bytes(b"another half")
    go_on(tmp_path, segment_bytes=700)
    assert list(JournalReader(tmp_path))[: len(before)] == before
    assert not list(segments.glob("*.tmp"))
    assert [path.name for path in segments.glob("*.jrn")] == [last_of(segments).name]
    assert JournalReader(tmp_path).check().anchored


def test_a_segment_that_was_never_compressed_is_compressed_by_the_next_process(tmp_path: Path, segments: Path):
    packed = segments / "000002.jrn.gz"
    (segments / "000002.jrn").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    go_on(tmp_path, segment_bytes=700)
    assert packed.exists()
    assert not (segments / "000002.jrn").exists()
    assert JournalReader(tmp_path).check().anchored


def test_where_only_closed_segments_are_left_a_new_one_follows(tmp_path: Path, segments: Path):
    last_of(segments).unlink()
    before = list(JournalReader(tmp_path))
    assert not state_of(tmp_path).is_plain
    go_on(tmp_path)
    assert list(JournalReader(tmp_path))[: len(before)] == before
    assert JournalReader(tmp_path).check().anchored


# -- what was not durable ----------------------------------------------------------------------------------------------


def damaged(tmp_path: Path) -> tuple[JournalState, Path]:
    """A stopped journal of ten notes, with one byte of the eighth entry changed."""
    with JournalWriter(tmp_path, header()) as writer:
        for number in range(10):
            writer.note("count", str(number))
    segment = tmp_path / "journal" / "000001.jrn"
    state, data = state_of(tmp_path), bytearray(segment.read_bytes())
    size = (state.size - len(encode(header())) - HEAD.size - 40) // 10
    data[state.size - 3 * size - 2] ^= 0xFF
    segment.write_bytes(data)
    return state, segment


def test_damage_behind_what_the_ledger_relies_on_counts_as_cut_off(tmp_path: Path):
    whole, _ = damaged(tmp_path)
    state = state_of(tmp_path, relied_on=7)
    assert (state.entries, state.size) == (7, whole.size)
    with JournalWriter.resume(tmp_path, state) as writer:
        writer.resumed(T0, "0.1.0", 2)
    assert JournalReader(tmp_path).check().entries == 8
    assert list(JournalReader(tmp_path))[-1] == Resumed(T0, "0.1.0", 2, state.cut_bytes)


@pytest.mark.parametrize("relied_on", [8, 9, 10, 11])
def test_damage_in_what_the_ledger_relies_on_is_an_error(tmp_path: Path, relied_on):
    damaged(tmp_path)
    with pytest.raises(JournalError, match="entry 8, byte"):
        state_of(tmp_path, relied_on=relied_on)


def test_damage_in_a_closed_segment_or_an_ended_run_is_an_error_whatever_was_relied_on(tmp_path: Path):
    folder = written(tmp_path / "open", segment_bytes=700, finished=False)
    plain = gzip.decompress((folder / "000001.jrn.gz").read_bytes())
    (folder / "000001.jrn").write_bytes(plain[:-1] + bytes([plain[-1] ^ 1]))
    with pytest.raises(JournalError, match=r"000001\.jrn: entry"):
        state_of(tmp_path / "open", relied_on=0)
    segment = written(tmp_path / "ended") / "000001.jrn"
    data = segment.read_bytes()
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(JournalError, match="does not match its hash"):
        state_of(tmp_path / "ended", relied_on=0)


def test_a_journal_that_was_left_lets_go_of_everything_and_writes_nothing(tmp_path: Path):
    writer = JournalWriter(tmp_path, header(), fsync="batch")
    writer.note("operator", "still in memory")
    writer.abandon()
    writer.close()
    with pytest.raises(JournalError, match="was abandoned"):
        writer.note("operator", "too late")
    assert list(JournalReader(tmp_path)) == [header()]
    JournalWriter.resume(tmp_path).close()


class CrashError(BaseException):
    """What a simulation raises at a boundary."""


def test_after_a_crash_at_a_boundary_nothing_more_is_written(tmp_path: Path):
    names: list[str] = []

    def step(name: str) -> None:
        names.append(name)
        if len(names) > 8:
            raise CrashError(name)

    with pytest.raises(CrashError), JournalWriter(tmp_path, header(), step=step) as writer:
        write_story(writer)
    assert set(names) == {"journal.write", "journal.fsync.before", "journal.fsync.after"}
    kept = list(JournalReader(tmp_path))
    assert len(kept) < 5
    assert not writer.is_open
    go_on(tmp_path)


def test_a_mark_names_a_state_of_the_journal(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    mark = Mark(writer.entries, writer.head)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(mark), type=Mark) == mark
    writer.close()
