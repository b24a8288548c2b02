"""The flag page: what opens it, what closes it, and that nothing half-written, old or missing ever counts as open."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.latch import page
from claire.latch.kill import GUARD, kill
from claire.latch.page import BYTES, Flag, PageLatch, decode, encode, found, read
from claire.latch.rearm import rearm
from claire.model.errors import SafetyRefusal, UsageError

NOW = 1_795_000_000_000_000_000
ARMED = Flag(True, 7, 3, NOW, "ann", "all is well")
KILLED = Flag(False, 8, 3, NOW, "bob", "smoke")
RECORD = 512


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An account of a simulator."""
    found(tmp_path / "account", arms_itself=True, who="the run", now_ns=NOW)
    return tmp_path / "account"


def stop(folder: Path, reason: str = "smoke"):
    return kill(folder, who="bob", reason=reason, now_ns=NOW)


def arm(folder: Path, prove=lambda: "books equal"):
    return rearm(folder, operator="ann", reason="looked", prove=prove, now_ns=lambda: NOW, pid=os.getpid())


# -- the record ---------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Flag,
        st.booleans(),
        st.integers(1, 2**63),
        st.integers(0, 2**63),
        st.integers(-(2**60), 2**62),
        st.text(max_size=80),
        st.text(max_size=500),
    )
)
def test_what_is_written_is_read(flag):
    data = encode(flag)
    again = decode(data)
    assert len(data) == RECORD
    assert again[:4] == flag[:4]
    assert not again.problem
    assert all(letter.isprintable() for letter in again.who + again.reason)


@pytest.mark.parametrize(
    ("old", "new"), [(ARMED, KILLED), (KILLED, ARMED._replace(generation=9)), (ARMED, ARMED._replace(generation=8))]
)
def test_a_page_torn_at_any_byte_is_the_old_one_the_new_one_or_killed(old, new):
    before, after = encode(old), encode(new)
    for cut in range(RECORD + 1):
        for torn in (after[:cut] + before[cut:], before[:cut] + after[cut:]):
            seen = decode(torn)
            assert torn in (before, after) or not seen.is_armed
            assert torn in (before, after) or seen.problem


def test_any_single_flipped_bit_closes():
    data = encode(ARMED)
    for bit in range(RECORD * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        assert not decode(bytes(broken)).is_armed


# -- the latch ----------------------------------------------------------------------------------------------------------


def test_accounts_without_money_arm_themselves_and_others_begin_killed(tmp_path):
    assert found(tmp_path / "sim", arms_itself=True, who="the run", now_ns=NOW).is_armed
    real = found(tmp_path / "real", arms_itself=False, who="the run", now_ns=NOW, reason="claire rearm arms it")
    assert not real.is_armed
    assert real.why == "killed by the run: claire rearm arms it"
    assert PageLatch(tmp_path / "real").why_closed().endswith("claire rearm arms it")


def test_a_kill_closes_running_readers_at_once_and_survives(folder):
    latch = PageLatch(folder)
    assert latch.why_closed() == ""
    done = stop(folder)
    assert (done.is_closed, done.is_durable, done.was_closed, done.problems) == (True, True, False, ())
    assert latch.why_closed() == "killed by bob: smoke"
    assert PageLatch(folder).why_closed() == "killed by bob: smoke"
    assert not found(folder, arms_itself=True, who="the next run", now_ns=NOW).is_armed


def test_who_killed_first_is_kept(folder):
    stop(folder)
    done = kill(folder, who="carol", reason="me too", now_ns=NOW + 1)
    assert done.was_closed
    assert read(folder).who == "bob"


def test_the_epoch_is_noted_on_the_page(folder):
    (folder / "epoch").write_text("41\n")
    assert stop(folder).flag.epoch == 41


def test_a_shell_closes_it(folder):
    latch = PageLatch(folder)
    subprocess.run(["sh", "-c", f"printf K > {folder}/kill"], check=True)
    assert "kill is there: K" in latch.why_closed()
    assert "kill is there: K" in read(folder).why
    (folder / "kill").unlink()
    assert latch.why_closed() == ""
    (folder / "kill").symlink_to("nowhere")
    assert "kill is there" in latch.why_closed()
    assert not read(folder).is_armed


@pytest.mark.parametrize(
    "deed",
    [
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("elsewhere")),
        lambda path: os.truncate(path, 100),
        lambda path: os.truncate(path, 0),
        lambda path: path.rename(path.with_name("old")) and path.write_bytes(path.with_name("old").read_bytes()),
        lambda path: path.write_bytes(b"\0" * BYTES),
        lambda path: path.parent.rename(path.parent.with_name("moved")),
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
    ],
    ids=["removed", "renamed", "cut", "emptied", "replaced by a copy", "zeroed", "folder moved", "longer"],
)
def test_a_page_that_is_not_the_one_that_was_there_closes_running_readers(folder, deed):
    latch = PageLatch(folder)
    assert latch.why_closed() == ""
    deed(folder / "latch")
    assert "counts as killed" in latch.why_closed()


def test_an_older_page_written_back_closes_running_readers(folder):
    old = (folder / "latch").read_bytes()
    latch = PageLatch(folder)
    stop(folder)
    assert latch.why_closed()
    (folder / "latch").write_bytes(old)
    assert "an older page was put back" in latch.why_closed()


def test_a_page_that_vanished_between_two_starts_is_killed_and_cannot_arm_itself(folder):
    (folder / "latch").unlink()
    assert "cannot be read" in PageLatch(folder).why_closed()
    assert (
        found(folder, arms_itself=True, who="the next run", now_ns=NOW).why
        == "killed by the next run: the page had vanished"
    )


def test_a_reader_that_was_let_go_of_is_closed(folder):
    latch = PageLatch(folder)
    latch.close()
    latch.close()
    assert "let go of" in latch.why_closed()


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")], ids=["folder", "pipe", "link"]
)
def test_what_is_no_file_is_killed(tmp_path, make):
    make(tmp_path / "latch")
    assert not read(tmp_path).is_armed
    assert PageLatch(tmp_path).why_closed()
    assert not found(tmp_path, arms_itself=True, who="a run", now_ns=NOW).is_armed


def test_a_look_takes_microseconds(folder):
    latch = PageLatch(folder)
    latch.why_closed()
    rounds = 20_000
    started = time.perf_counter_ns()
    for _ in range(rounds):
        latch.why_closed()
    look_us = (time.perf_counter_ns() - started) / rounds / 1000
    print(f"one look at the latch: {look_us:.1f} us")
    assert look_us < 100


# -- closing where the disk is against it -------------------------------------------------------------------------------


def test_where_the_page_cannot_be_written_a_file_closes_it(folder):
    (folder / "latch").rename(folder / "real")
    (folder / "latch").symlink_to("real")
    done = stop(folder)
    assert (done.is_closed, done.is_durable) == (True, True)
    assert "bob: smoke" in (folder / "kill").read_text()
    assert len(done.problems) == 1


def test_where_somebody_is_arming_right_now_a_file_closes_it_without_waiting(folder):
    import fcntl

    with (folder / GUARD).open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        started = time.monotonic()
        assert stop(folder).is_closed
        assert time.monotonic() - started < 1
    assert (folder / "kill").exists()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    done = stop(tmp_path / "nowhere")
    assert done.is_closed, "what cannot be read is closed"
    assert not done.is_durable
    assert done.problems


def test_where_nothing_can_be_written_any_more_a_name_is_enough(folder):
    """RLIMIT_FSIZE refuses every write, as a full disk does; the name of a file can still be made."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from claire.latch.kill import kill\n"
        "done = kill(sys.argv[1], who='bob', reason='full', now_ns=1)\n"
        "sys.exit(0 if done.is_closed and not done.is_durable else 1)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode == 0
    assert not read(folder).is_armed
    assert PageLatch(folder).why_closed()


AS_NOBODY = """
import os, sys
from claire.latch.kill import kill
from claire.latch.page import read
if os.geteuid() == 0:
    os.setuid(65534)
done = kill(sys.argv[1], who="bob", reason="no right", now_ns=1)
assert not done.is_closed and not done.is_durable, done
assert len(done.problems) == 3, done.problems
"""


def test_who_may_not_write_is_told_that_nothing_was_closed():
    with tempfile.TemporaryDirectory() as name:
        account = Path(name) / "account"
        found(account, arms_itself=True, who="the run", now_ns=NOW)
        for path, mode in ((Path(name), 0o755), (account / "latch", 0o444), (account, 0o555)):
            path.chmod(mode)
        subprocess.run([sys.executable, "-c", AS_NOBODY, str(account)], check=True)
        assert read(account).is_armed
        account.chmod(0o755)


# -- opening again ------------------------------------------------------------------------------------------------------


def test_arming_takes_a_name_a_reason_and_a_proof_and_a_new_epoch(folder):
    (folder / "epoch").write_text("4\n")
    stop(folder)
    flag = arm(folder)
    assert (flag.is_armed, flag.epoch, flag.who, flag.reason) == (True, 5, "ann", "looked (books equal)")
    assert (folder / "epoch").read_text() == "5\n"
    assert PageLatch(folder).why_closed() == ""


def test_arming_takes_the_file_away_that_was_looked_at(folder):
    (folder / "kill").write_text("K")
    assert arm(folder).is_armed
    assert not (folder / "kill").exists()


def test_a_page_that_vanished_can_be_armed(folder):
    (folder / "latch").unlink()
    assert arm(folder).is_armed
    assert read(folder).is_armed


@pytest.mark.parametrize("torn", [b"", b"x" * 700])
def test_a_torn_page_can_be_armed(folder, torn):
    (folder / "latch").write_bytes(torn)
    assert arm(folder).is_armed
    assert PageLatch(folder).why_closed() == ""


@pytest.mark.parametrize(("operator", "reason"), [("", "x"), ("ann", " ")])
def test_arming_without_a_name_or_a_reason_is_refused(folder, operator, reason):
    stop(folder)
    with pytest.raises(UsageError, match="a name and a reason"):
        rearm(folder, operator=operator, reason=reason, prove=lambda: "x", now_ns=lambda: NOW, pid=1)


def test_arming_what_is_armed_is_refused(folder):
    with pytest.raises(UsageError, match="nothing to do"):
        arm(folder)


def test_without_proof_it_stays_killed(folder):
    stop(folder)
    with pytest.raises(SafetyRefusal, match="stays killed"):
        arm(folder, prove=lambda: "")
    assert not read(folder).is_armed


@pytest.mark.parametrize("again", ["page", "file"])
def test_a_kill_during_the_proof_wins(folder, again):
    (folder / "kill").write_text("K")

    def prove() -> str:
        if again == "page":
            stop(folder, "again")
        else:
            (folder / "kill").write_text("again")
        return "books equal"

    with pytest.raises(SafetyRefusal, match="killed again"):
        arm(folder, prove)
    assert not read(folder).is_armed


def test_nobody_arms_while_a_process_trades(folder):
    from claire.latch.epoch import AccountLock

    stop(folder)
    lock = AccountLock(folder, pid=4711)
    with pytest.raises(SafetyRefusal, match="4711"):
        arm(folder)
    assert lock.is_current()
    lock.release()


KILLER = """
import sys, time
from claire.latch.kill import kill
sys.stdin.readline()
time.sleep(float(sys.argv[2]))
kill(sys.argv[1], who="bob", reason="race", now_ns=1)
"""


def test_a_kill_that_races_with_arming_is_never_lost(folder):
    """Whoever kills after the proof has the last word, wherever in the arming it falls."""
    for attempt in range(12):
        stop(folder, f"round {attempt}")
        with subprocess.Popen(
            [sys.executable, "-c", KILLER, str(folder), f"{attempt * 0.0005}"], stdin=subprocess.PIPE, text=True
        ) as killer:

            def prove(killer=killer) -> str:
                assert killer.stdin is not None
                time.sleep(0.1)
                killer.stdin.write("go\n")
                killer.stdin.flush()
                return "books equal"

            try:
                arm(folder, prove)
            except SafetyRefusal:
                assert not read(folder).is_armed
            assert killer.wait() == 0
        assert not read(folder).is_armed, "the kill came last"


def test_a_killed_account_stays_killed_whenever_the_power_goes_while_it_is_armed(folder, tmp_path):
    """The page as the disk may hold it after a cut at any byte of the write."""
    stop(folder)
    before = (folder / "latch").read_bytes()
    arm(folder)
    after = (folder / "latch").read_bytes()
    other = tmp_path / "restarted"
    other.mkdir()
    for cut in range(0, RECORD, 7):
        torn = after[:cut] + before[cut:]
        (other / "latch").write_bytes(torn)
        assert read(other).is_armed is (torn == after)
        assert found(other, arms_itself=True, who="next", now_ns=NOW).is_armed is (torn == after)


def test_a_page_cut_short_under_the_reader_never_lets_a_send_through(folder):
    """It is told, or it ends the process: SIGBUS is closed too."""
    program = (
        "import os, sys\n"
        "from claire.latch.page import PageLatch\n"
        "latch = PageLatch(sys.argv[1]); assert latch.why_closed() == ''\n"
        "if os.fork() == 0:\n"
        "    os.truncate(sys.argv[1] + '/latch', 0); os._exit(0)\n"
        "while not latch.why_closed(): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False, timeout=30)
    assert done.returncode in (0, -signal.SIGBUS)


def test_the_page_is_one_block(folder):
    assert (folder / "latch").stat().st_size == BYTES == page.BYTES


def test_the_file_kill_is_gone_before_the_page_says_armed(folder, monkeypatch):
    """Whoever looks in between, as a sentinel does fifty times a second, never finds an armed page beside a file ``kill``."""
    (folder / "kill").write_text("K")
    seen = []
    write = os.pwrite

    def watched(descriptor: int, data: bytes, offset: int) -> int:
        seen.append((decode(data).is_armed, (folder / "kill").exists()))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", watched)
    assert arm(folder).is_armed
    assert [there for is_armed, there in seen if is_armed] == [False]
