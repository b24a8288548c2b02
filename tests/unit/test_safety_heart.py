"""The heartbeat: what a sentinel learns of a trading process, also of one that is no more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from claire.latch.kill import kill
from claire.latch.page import PageLatch, found, read_page
from claire.safety import heart
from claire.safety.heart import BYTES, HEART, Heart, Pulse, started_ticks
from claire.safety.sentinel import Book


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found(tmp_path, arms_itself=True, who="a run", now_ns=1)
    return tmp_path


def pulse_of(folder: Path) -> Pulse:
    pulse = heart.read(folder)
    assert pulse is not None
    return pulse


def test_nobody_trades_where_there_is_no_page_or_none_of_ours(tmp_path):
    assert heart.read(tmp_path) is None
    for content in (b"", b"short", b"\0" * BYTES):
        (tmp_path / HEART).write_bytes(content)
        assert heart.read(tmp_path) is None
    assert heart.read(tmp_path / "nowhere") is None


def test_a_heart_beats_and_ends(folder):
    beating = Heart(folder)
    beating.beat()
    beating.beat()
    pulse = pulse_of(folder)
    assert (pulse.pid, pulse.beats, pulse.obeyed, pulse.has_ended, pulse.is_alive) == (os.getpid(), 2, -1, False, True)
    beating.end()
    beating.end()
    assert pulse_of(folder).has_ended


def test_a_beat_tells_which_kill_was_seen(folder):
    beating, latch = Heart(folder), PageLatch(folder)
    beating.beat(latch)
    assert pulse_of(folder).obeyed == -1
    kill(folder, who="ann", reason="smoke", now_ns=2)
    beating.beat(latch)
    assert pulse_of(folder).obeyed == read_page(folder).generation == 2
    beating.end()


def test_a_beat_tells_of_a_kill_that_followed_a_file(folder):
    beating, latch = Heart(folder), PageLatch(folder)
    (folder / "kill").write_text("K")
    beating.beat(latch)
    assert pulse_of(folder).obeyed == 1
    kill(folder, who="sentinel", reason="the file", now_ns=2)
    beating.beat(latch)
    assert pulse_of(folder).obeyed == 2
    beating.end()


def test_the_fence_only_rises_and_outlives_the_process(folder):
    program = (
        "import os, signal, sys\nfrom claire.safety.heart import Heart\n"
        "heart = Heart(sys.argv[1]); heart.sends(5000); heart.sends(4000); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    pulse = pulse_of(folder)
    assert (pulse.fence_ms, pulse.is_alive, pulse.has_ended) == (5000, False, False)
    following = Heart(folder)
    assert pulse_of(folder).fence_ms == 5000, "what the process of before sent may still arrive"
    following.end()


def test_a_number_that_is_used_again_is_another_process(folder):
    beating = Heart(folder)
    pulse = pulse_of(folder)
    assert pulse.is_alive
    assert not Pulse(pulse.pid, pulse.started - 1, 1, -1, 0, False).is_alive
    beating.end()


def test_a_process_that_waits_to_be_buried_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while started_ticks(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert started_ticks(process.pid) == 0
    assert process.wait() == 0
    assert started_ticks(2**22 + 1) == 0


def test_a_log_that_cannot_be_written_stops_nothing_and_is_told_once(tmp_path, capsys):
    (tmp_path / "sentinel.jsonl").mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as out:
        book = Book(tmp_path, out)
        book("killed", {"ms": 1.5})
        book("proven_empty", {})
    err = capsys.readouterr().err
    assert err.count("it goes on without") == 1


def test_a_beat_takes_microseconds(folder):
    beating, latch = Heart(folder), PageLatch(folder)
    rounds = 5_000
    started = time.perf_counter_ns()
    for _ in range(rounds):
        beating.beat(latch)
    beat_us = (time.perf_counter_ns() - started) / rounds / 1000
    print(f"one beat, with a look at the latch: {beat_us:.1f} us")
    assert beat_us < 100
    beating.end()
