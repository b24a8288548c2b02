"""Old runs go, runs that are being written stay."""

import os
from pathlib import Path

import pytest

from claire.adapters.journal.retention import prune_runs
from claire.adapters.journal.writer import JournalWriter
from claire.model.errors import UsageError
from tests.support.journals import header, written

DAY_NS = 86_400 * 10**9
NOW_NS = 1_700_000_000 * 10**9


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for age in range(5):
        run = written(tmp_path / f"run-{age}").parent
        for path in (*run.rglob("*"), run):
            os.utime(path, ns=(0, NOW_NS - age * DAY_NS))
    (tmp_path / "notes").mkdir()
    return tmp_path


def names(paths) -> list[str]:
    return sorted(path.name for path in paths)


def test_runs_older_than_so_many_days_go_oldest_first(runs: Path):
    assert [path.name for path in prune_runs(runs, now_ns=NOW_NS, keep_days=2)] == ["run-4", "run-3"]
    assert names(runs.iterdir()) == ["notes", "run-0", "run-1", "run-2"]


def test_all_but_so_many_of_the_newest_go(runs: Path):
    assert names(prune_runs(runs, now_ns=NOW_NS, keep_runs=1)) == ["run-1", "run-2", "run-3", "run-4"]
    assert prune_runs(runs, now_ns=NOW_NS, keep_runs=1) == []


def test_no_limit_removes_nothing(runs: Path):
    assert prune_runs(runs, now_ns=NOW_NS) == []


def test_a_run_that_is_being_written_stays_however_old_it_looks(runs: Path):
    writer = JournalWriter(runs / "live", header())
    for path in (*(runs / "live").rglob("*"), runs / "live"):
        os.utime(path, ns=(0, 0))
    assert names(prune_runs(runs, now_ns=NOW_NS, keep_days=0, keep_runs=0)) == [f"run-{age}" for age in range(5)]
    assert names(runs.iterdir()) == ["live", "notes"]
    writer.close()
    assert names(prune_runs(runs, now_ns=NOW_NS, keep_runs=0)) == ["live"]


def test_a_removal_that_was_interrupted_is_completed(runs: Path):
    (runs / "run-4").rename(runs / ".removing-run-4")
    assert prune_runs(runs, now_ns=NOW_NS) == []
    assert not (runs / ".removing-run-4").exists()


def test_a_link_to_a_run_elsewhere_is_not_followed(runs: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = written(tmp_path_factory.mktemp("elsewhere") / "run").parent
    (runs / "link").symlink_to(elsewhere)
    prune_runs(runs, now_ns=NOW_NS, keep_runs=0)
    assert (elsewhere / "journal").is_dir()


def test_a_missing_folder_holds_no_runs_and_a_negative_limit_is_refused(tmp_path: Path):
    assert prune_runs(tmp_path / "none", now_ns=NOW_NS, keep_runs=1) == []
    with pytest.raises(UsageError, match="keep_days = -1"):
        prune_runs(tmp_path, now_ns=NOW_NS, keep_days=-1)
