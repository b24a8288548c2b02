"""One process trades an account, and it notices when it no longer is the one; a file stops every send."""

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from claire.latch.epoch import AccountLock
from claire.latch.latch import FileLatch
from claire.model.errors import SafetyRefusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "accounts" / "main"


def start(folder: Path) -> AccountLock:
    return AccountLock(folder, pid=os.getpid())


def test_each_start_counts_the_epoch_up(folder: Path):
    epochs = []
    for _ in range(3):
        lock = start(folder)
        epochs.append(lock.epoch)
        assert lock.is_current()
        lock.release()
        lock.release()
    assert epochs == [1, 2, 3]
    assert (folder / "epoch").read_text() == "3\n"
    assert [path.name for path in sorted(folder.iterdir())] == ["epoch", "lock"]


def test_who_let_go_is_not_current(folder: Path):
    lock = start(folder)
    lock.release()
    assert not lock.is_current()


def hold(folder: str, ready: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    lock = AccountLock(folder, pid=os.getpid())
    ready.set()
    done.wait(30)
    lock.release()


def test_a_second_process_is_refused_and_told_which_one_trades(folder: Path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(folder), ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(
            SafetyRefusal, match=rf"process {other.pid} trades this account already.*stop that one first"
        ):
            start(folder)
        assert (folder / "epoch").read_text() == "1\n"  # who is refused takes nothing from the other
    finally:
        done.set()
        other.join()
    lock = start(folder)
    assert lock.epoch == 2
    lock.release()


def test_a_killed_process_leaves_no_lock(folder: Path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(folder), ready, done))
    other.start()
    assert ready.wait(30)
    other.kill()
    other.join()
    lock = start(folder)
    assert lock.epoch == 2
    lock.release()


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "epoch").write_text("2\n"),
        lambda folder: (folder / "epoch").write_text("0\n"),
        lambda folder: (folder / "epoch").write_text("one\n"),
        lambda folder: (folder / "epoch").write_text("1"),
        lambda folder: (folder / "epoch").write_text(""),
        lambda folder: (folder / "epoch").write_bytes(b"1\n" + bytes(100)),
        lambda folder: (folder / "epoch").unlink(),
        shutil.rmtree,
        lambda folder: (folder / "lock").unlink(),
        lambda folder: folder.rename(folder.with_name("elsewhere")),
        lambda folder: ((folder / "epoch").unlink(), (folder / "epoch").mkdir()),
    ],
    ids=["newer", "older", "word", "cut", "empty", "longer", "gone", "no folder", "no lock", "moved", "folder"],
)
def test_whatever_happens_to_its_files_the_process_is_not_current_any_more(folder: Path, harm):
    lock = start(folder)
    assert lock.is_current()
    harm(folder)
    assert not lock.is_current()
    lock.release()


def test_a_folder_that_was_put_in_place_of_this_one_is_another_account(folder: Path):
    zombie = start(folder)
    shutil.rmtree(folder)
    fresh = start(folder)
    assert (zombie.epoch, fresh.epoch) == (1, 1)
    assert (zombie.is_current(), fresh.is_current()) == (False, True)
    zombie.release()
    fresh.release()


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5", "9" * 40])
def test_an_epoch_that_is_no_number_is_refused_with_what_to_do(folder: Path, text):
    start(folder).release()
    (folder / "epoch").write_text(text)
    with pytest.raises(SafetyRefusal, match=r"epoch: holds .*Write a number into it that is higher"):
        start(folder)
    (folder / "epoch").write_text("41\n")
    lock = start(folder)
    assert lock.epoch == 42
    lock.release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "accounts").write_text("a file")
    with pytest.raises(SafetyRefusal, match=r"accounts.*cannot be used"):
        start(tmp_path / "accounts" / "main")


class CrashError(BaseException):
    """What a simulation raises at a boundary."""


@pytest.mark.parametrize(("boundary", "next_epoch"), [("epoch.before", 1), ("epoch.after", 2)])
def test_a_crash_beside_the_epoch_frees_the_lock_and_never_gives_one_epoch_twice(folder: Path, boundary, next_epoch):
    def step(name: str) -> None:
        if name == boundary:
            raise CrashError(name)

    with pytest.raises(CrashError):
        AccountLock(folder, pid=1, step=step)
    lock = start(folder)
    assert lock.epoch == next_epoch
    lock.release()


def test_a_latch_is_open_until_its_file_is_there(folder: Path):
    folder.mkdir(parents=True)
    latch = FileLatch(folder)
    assert latch.why_closed() == ""
    (folder / "kill").write_text("ada: this looks wrong\n")
    assert latch.why_closed() == f"{folder}/kill is there: ada: this looks wrong. Remove it to trade again"
    (folder / "kill").write_bytes(b"")
    assert latch.why_closed() == f"{folder}/kill is there. Remove it to trade again"
    (folder / "kill").unlink()
    assert latch.why_closed() == ""


@pytest.mark.parametrize(
    "close",
    [
        shutil.rmtree,
        lambda folder: (folder / "kill").mkdir(),
        lambda folder: (folder / "kill").symlink_to(folder / "kill"),
        lambda folder: (folder / "kill").write_bytes(b"\xff\xfe" * 5000),
        lambda folder: os.mkfifo(folder / "kill"),
    ],
    ids=["no folder", "folder", "circle", "bytes", "pipe"],
)
def test_in_doubt_the_latch_is_closed(folder: Path, close):
    folder.mkdir(parents=True)
    close(folder)
    assert FileLatch(folder).why_closed()
