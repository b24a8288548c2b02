"""The journal: what it keeps, how it ends, what it says when it cannot write."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from claire.adapters.journal.entries import Decided, End, Header, Inputs, Note, Report, encode
from claire.adapters.journal.frames import (
    ANCHOR,
    FRAME,
    HEAD,
    Anchor,
    chained,
    compress_segment,
    genesis,
    head_bytes,
    length_check,
)
from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.writer import JournalWriter
from claire.model.errors import JournalError
from claire.model.market import Side, Trade
from tests.support.journals import T0, decisions, header, inputs, write_story, written


def test_what_was_written_is_read_back_equal_and_in_order(tmp_path: Path):
    written(tmp_path)
    reader = JournalReader(tmp_path)
    entries = list(reader)
    assert entries[0] == reader.header == header()
    assert list(reader.inputs()) == list(enumerate(inputs(), 1))
    assert [entry.event for entry in reader.decisions()] == decisions()
    assert entries[-2] == Note("operator", "paused for lunch")
    end = entries[-1]
    assert isinstance(end, End)
    assert reader.end() == end
    assert (end.inputs, end.summary_json, end.decision_digest) == (8, '{"trades_in":2}', "d1:" + "0" * 64)
    assert end.counts["inputs"] == 6
    assert end.counts["reports"] == 2
    assert end.counts["fill"] == 2
    assert reader.truncated is None
    assert reader.check().anchored


def test_inputs_come_before_the_decision_that_they_caused(tmp_path: Path):
    with JournalWriter(tmp_path, header(), fsync="batch") as writer:
        writer.inputs(1, inputs()[:3])
        writer.decided(3, decisions()[0])
        writer.inputs(4, inputs()[3:5])
    kinds = [type(entry) for entry in JournalReader(tmp_path)]
    assert kinds == [Header, Inputs, Decided, Inputs]


def test_a_batch_policy_joins_inputs_that_follow_each_other(tmp_path: Path):
    trades = [Trade("PEPEUSDT", T0 + n, 100, 1, Side.BUY) for n in range(10_000)]
    with JournalWriter(tmp_path, header(), fsync="batch") as writer:
        for number, trade in enumerate(trades, 1):
            writer.inputs(number, (trade,))
    reader = JournalReader(tmp_path)
    assert list(reader.inputs()) == list(enumerate(trades, 1))
    assert sum(type(entry) is Inputs for entry in reader) == 3


@pytest.mark.parametrize(
    ("record", "kept"), [("all", [1, 2, 3, 4, 5, 6, 7, 8]), ("traded", [1, 5, 6, 7, 8]), ("decisions", [5, 6, 7])]
)
def test_the_record_level_decides_which_market_events_are_kept_and_keeps_their_numbers(tmp_path: Path, record, kept):
    with JournalWriter(tmp_path, header(record=record, traded=("PEPEUSDT",))) as writer:
        writer.inputs(1, inputs())
        writer.finish("{}", "d1:")
    reader = JournalReader(tmp_path)
    assert [number for number, _ in reader.inputs()] == kept
    end = reader.end()
    assert end is not None
    assert end.inputs == 8


def test_a_run_over_a_recording_copies_no_input_and_still_numbers_its_causes(tmp_path: Path):
    with JournalWriter(tmp_path, header(embed_inputs=False, first_row=1, last_row=6)) as writer:
        write_story(writer)
        writer.finish("{}", "d1:")
    reader = JournalReader(tmp_path)
    assert list(reader.inputs()) == []
    assert [entry.input_no for entry in reader.decisions()][:3] == [1, 2, 3]
    end = reader.end()
    assert end is not None
    assert end.inputs == 8


def test_a_full_segment_is_compressed_and_any_gunzip_reads_it(tmp_path: Path):
    folder = written(tmp_path / "small", segment_bytes=700)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) > 4
    assert names[-1] == ANCHOR
    assert [name.endswith(".jrn.gz") for name in names[:-1]] == [True] * (len(names) - 2) + [False]
    assert list(JournalReader(tmp_path / "small")) == list(JournalReader(written(tmp_path / "one").parent))
    with gzip.open(folder / names[0]) as plain:
        assert plain.read(HEAD.size)[:8] == b"CLAIREJL"


def test_a_crash_while_compressing_leaves_a_readable_copy(tmp_path: Path):
    folder = written(tmp_path, segment_bytes=700)
    meant = list(JournalReader(tmp_path))
    packed = folder / "000001.jrn.gz"
    (folder / "000001.jrn").write_bytes(gzip.decompress(packed.read_bytes()))  # renamed, plain one not removed yet
    assert list(JournalReader(tmp_path)) == meant
    (folder / "000001.jrn.gz.tmp").write_bytes(packed.read_bytes()[:40])  # not whole yet
    packed.unlink()
    assert list(JournalReader(tmp_path)) == meant
    compress_segment(folder / "000001.jrn")
    assert list(JournalReader(tmp_path)) == meant
    assert not (folder / "000001.jrn.gz.tmp").exists()


def test_a_compressed_segment_that_cannot_be_written_stops_the_journal_and_keeps_the_plain_one(tmp_path: Path):
    writer = JournalWriter(tmp_path, header(), segment_bytes=3000)
    (tmp_path / "journal" / "000001.jrn.gz.tmp").mkdir()  # its temporary name is taken by something else

    def write_on() -> None:
        for number in range(1, 200):
            writer.inputs(number, inputs()[:1])

    with pytest.raises(JournalError, match="cannot write the journal"):
        write_on()
    assert (tmp_path / "journal" / "000001.jrn").exists()
    assert len(list(JournalReader(tmp_path).inputs())) > 10


def test_a_second_journal_or_a_second_writer_is_refused(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    with pytest.raises(JournalError, match="another process writes this run"):
        JournalWriter(tmp_path, header())
    writer.close()
    with pytest.raises(JournalError, match="holds a journal already"):
        JournalWriter(tmp_path, header())


def test_nothing_can_be_added_after_the_end(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    writer.finish("{}", "d1:")
    writer.close()
    with pytest.raises(JournalError, match="is finished"):
        writer.note("late", "too late")


def test_an_intent_is_durable_when_the_call_returns(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    writer.decided(1, decisions()[3])
    assert [entry.event for entry in JournalReader(tmp_path).decisions()] == [decisions()[3]]
    writer.close()


def test_a_run_that_was_stopped_says_so_by_having_no_end(tmp_path: Path):
    written(tmp_path, finished=False)
    reader = JournalReader(tmp_path)
    assert reader.end() is None
    check = reader.check()
    assert (check.anchored, check.truncated) == (False, None)


def test_a_full_disk_closes_the_journal_for_ever_and_says_where_and_what_to_do(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    writer.inputs(1, inputs())
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), writer.fileno())
    with pytest.raises(JournalError, match=r"000001\.jrn: .*No space left on device.*Free space"):
        writer.decided(8, decisions()[3])
    with pytest.raises(JournalError, match=r"000001\.jrn: .*No space left on device.*Free space"):
        writer.decided(8, decisions()[3])
    writer.close()
    assert list(JournalReader(tmp_path).inputs()) == list(enumerate(inputs(), 1))


def test_an_fsync_that_fails_is_not_tried_again(tmp_path: Path):
    writer = JournalWriter(tmp_path, header())
    read_end, write_end = os.pipe()  # takes writes, cannot be synced
    os.dup2(write_end, writer.fileno())
    writer.note("operator", "goes nowhere")
    with pytest.raises(JournalError, match="Invalid argument"):
        writer.sync()
    with pytest.raises(JournalError, match="Invalid argument"):
        writer.sync()
    os.close(read_end)
    os.close(write_end)
    assert list(JournalReader(tmp_path)) == [header()]


OVER_THE_LIMIT = """
import sys
from pathlib import Path
from claire.adapters.journal.writer import JournalWriter
from claire.model.errors import JournalError
from tests.support.journals import header, inputs
writer = JournalWriter(Path(sys.argv[1]), header(), fsync=sys.argv[2])
try:
    for number in range(1, 100_000):
        writer.inputs(number, inputs()[:1])
except JournalError as error:
    print(error)
    print(number)
"""


@pytest.mark.parametrize("policy", ["decision", "batch"])
def test_a_file_size_limit_met_in_the_middle_of_an_entry_leaves_a_readable_journal(
    tmp_path: Path, checkout: Path, policy
):
    limit = 100_001
    child = subprocess.run(
        [sys.executable, "-c", OVER_THE_LIMIT, str(tmp_path), policy],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path[1:], str(checkout)])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large" in child.stdout
    assert (tmp_path / "journal" / "000001.jrn").stat().st_size == limit
    reader = JournalReader(tmp_path)
    numbers = [number for number, _ in reader.inputs()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert reader.truncated is not None
    assert reader.truncated.offset + reader.truncated.bytes_dropped == limit


WRITES_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from claire.adapters.journal.writer import JournalWriter
from tests.support.journals import header, inputs
writer = JournalWriter(Path(sys.argv[1]), header(), segment_bytes=20_000)
for number in count(1):
    writer.inputs(number, inputs()[:1])
    if number == 200:
        print("going", flush=True)
"""


@pytest.mark.parametrize("milliseconds", [0, 3, 11, 40])
def test_a_process_that_is_killed_leaves_a_journal_that_reads_to_its_last_whole_entry(
    tmp_path: Path, checkout: Path, milliseconds
):
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path[1:], str(checkout)])},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "going\n"
        time.sleep(milliseconds / 1000)
        child.send_signal(signal.SIGKILL)
    reader = JournalReader(tmp_path)
    numbers = [number for number, _ in reader.inputs()]
    assert len(numbers) >= 200
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalError, match=r"file.journal: cannot write the journal: Not a directory"):
        JournalWriter(tmp_path / "file", header())


def test_a_folder_without_a_journal_is_named(tmp_path: Path):
    with pytest.raises(JournalError, match="there is no journal"):
        JournalReader(tmp_path)


def test_another_format_version_is_named(tmp_path: Path):
    segment = written(tmp_path) / "000001.jrn"
    data = bytearray(segment.read_bytes())
    data[11] = 2
    segment.write_bytes(data)
    with pytest.raises(JournalError, match="journal format 2, but this program reads format 1"):
        list(JournalReader(tmp_path))


def test_the_anchor_misses_a_tail_that_was_cut_off_after_the_close(tmp_path: Path):
    folder = written(tmp_path)
    ends = [HEAD.size]
    data = (folder / "000001.jrn").read_bytes()
    while ends[-1] < len(data):
        ends.append(ends[-1] + 8 + int.from_bytes(data[ends[-1] : ends[-1] + 4]) + 32)
    (folder / "000001.jrn").write_bytes(data[: ends[-3]])  # exactly two entries less: nothing looks torn
    reader = JournalReader(tmp_path)
    assert len(list(reader)) == len(ends) - 3
    assert reader.truncated is not None
    assert (reader.truncated.bytes_dropped, reader.truncated.entries_missing) == (0, 2)
    assert "2 more were there when the run ended" in str(reader.truncated)


def test_entries_added_after_the_close_are_found(tmp_path: Path):
    folder = written(tmp_path / "a", finished=False)
    longer = (folder / "000001.jrn").read_bytes()
    (folder / ANCHOR).write_bytes(Anchor.of(3, 1, bytes(32)).to_bytes())
    with pytest.raises(JournalError, match=r"HEAD\.json: the run ended with entry 3"):
        list(JournalReader(tmp_path / "a"))
    assert longer == (folder / "000001.jrn").read_bytes()


def test_an_anchor_is_a_small_json_file_that_a_person_can_read(tmp_path: Path):
    anchor = json.loads((written(tmp_path) / ANCHOR).read_text())
    check = JournalReader(tmp_path).check()
    assert (anchor["entries"], anchor["segments"], anchor["head"]) == (check.entries, 1, check.head)


def test_venue_reports_are_entries_of_their_own(tmp_path: Path):
    written(tmp_path)
    assert sum(type(entry) is Report for entry in JournalReader(tmp_path)) == 2


def by_hand(run_dir: Path, *bodies: bytes) -> None:
    """Write a journal of any bodies, chained as they should be."""
    data, chain = head_bytes(1, 1, genesis()), genesis()
    for number, body in enumerate(bodies, 1):
        chain = chained(chain, body)
        data += FRAME.pack(len(body), length_check(number, len(body))) + body + chain
    (run_dir / "journal").mkdir(parents=True)
    (run_dir / "journal" / "000001.jrn").write_bytes(data)


def test_an_entry_that_a_later_version_wrote_is_named_as_intact_and_not_understood(tmp_path: Path):
    by_hand(tmp_path, encode(header()), msgspec.msgpack.encode(["omen", 1]))
    reader = JournalReader(tmp_path)
    assert reader.header == header()
    with pytest.raises(JournalError, match=r"000001\.jrn: entry 2, .*intact, but this program does not understand it"):
        list(reader)


def test_a_journal_begins_with_a_whole_header(tmp_path: Path):
    by_hand(tmp_path / "note", encode(Note("operator", "no header")))
    with pytest.raises(JournalError, match="entry 1 is not a header"):
        _ = JournalReader(tmp_path / "note").header
    os.truncate(written(tmp_path / "cut", finished=False) / "000001.jrn", 300)
    reader = JournalReader(tmp_path / "cut")
    with pytest.raises(JournalError, match="cut off before the end of its first entry"):
        _ = reader.header
    assert "244 bytes of an unfinished entry left out); the run was stopped, not ended" in str(reader.truncated)


@pytest.mark.parametrize("name", ["000001.jrn", ANCHOR])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name):
    folder = written(tmp_path)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(JournalError, match=rf"{name}: cannot be read: Is a directory"):
        JournalReader(tmp_path).check()


def test_a_backtest_syncs_every_so_many_entries(tmp_path: Path):
    with JournalWriter(tmp_path, header(), fsync="batch", sync_entries=3) as writer:
        for word in ("one", "two"):
            writer.note("operator", word)
        assert len(list(JournalReader(tmp_path))) == 1
        writer.note("operator", "three")
        assert len(list(JournalReader(tmp_path))) == 4
