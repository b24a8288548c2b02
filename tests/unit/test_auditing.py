"""Chains of records verified: every edit, removal and exchange is found and named, and what cannot be proven is said."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.journal.writer import JournalWriter
from claire.cli.main import main
from claire.model.errors import UsageError
from claire.services.auditing import NO_END, REWRITTEN, chains, verify
from claire.services.deciding import add_decision
from tests.support.journals import header


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole")
    words = ["--source", "synth:trades=60000,seed=3"]
    assert main(["backtest", *words, "--runs", str(folder), "--json"]) == 0
    (run,) = folder.iterdir()
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def segments(run: Path) -> list[Path]:
    return sorted(path for path in (run / "journal").iterdir() if path.name.startswith("0"))


def test_a_run_that_nobody_touched_is_intact_and_says_what_that_does_not_prove(run):
    found = verify(run)
    assert (found.problem, found.ended, found.cut_off) == ("", True, "")
    assert found.entries > 10
    assert len(found.head) == 64
    assert REWRITTEN in found.not_proven
    assert NO_END not in found.not_proven


def test_every_byte_of_a_segment_counts(run):
    place = segments(run)[-1]
    data = place.read_bytes()
    for at in range(40, len(data), max(1, len(data) // 25)):
        changed = bytearray(data)
        changed[at] ^= 1
        place.write_bytes(changed)
        found = verify(run)
        assert not found.is_intact, at
        assert place.name.partition(".")[0] in found.problem or "end" in found.problem


def test_a_segment_that_is_removed_or_exchanged_is_missed(tmp_path):
    with JournalWriter(tmp_path / "run", header(), segment_bytes=2_000) as journal:
        for number in range(200):
            journal.note("remark", f"number {number}")
        journal.finish("{}", "")
    run = tmp_path / "run"
    assert verify(run).is_intact
    first, second, *_, last = segments(run)
    kept = second.read_bytes()
    second.unlink()
    assert "is missing" in verify(run).problem
    second.write_bytes(first.read_bytes())
    assert "does not continue the one before" in verify(run).problem
    second.write_bytes(kept)
    last.unlink()
    assert "is missing" in verify(run).problem


def test_an_end_that_is_cut_off_with_its_anchor_is_missed_by_the_ledger(run):
    place = segments(run)[-1]
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    (run / "journal" / "HEAD.json").unlink()
    (run / "summary.json").unlink()
    assert "missing from the end" in verify(run).problem


def test_a_chain_that_was_written_anew_is_found_by_the_ledger_and_by_a_noted_head(run):
    found = verify(run)
    assert verify(run, f"{found.entries}:{found.head}").is_intact
    assert verify(run, f"{found.entries}:{found.head[:12]}").not_proven == found.not_proven[1:]
    assert "written anew" in verify(run, f"{found.entries}:{'0' * 64}").problem
    assert "2 are missing" in verify(run, f"{found.entries + 2}:{found.head}").problem
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE runs SET journal_head = ?", ("0" * 64,))
    ledger.close()
    assert "the ledger noted" in verify(run).problem


@pytest.mark.parametrize("text", ["12", "x:0123456789", "12:xyz", "12:0123"])
def test_a_head_that_is_none_is_refused(run, text):
    with pytest.raises(UsageError, match="ENTRIES:HEAD"):
        verify(run, text)


def test_the_command_verifies_all_there_is_and_fails_for_one(run, tmp_path, capsys):
    account = tmp_path / "accounts" / "main"
    account.mkdir(parents=True)
    texts: dict[str, Any] = dict.fromkeys(("decision", "rationale", "impact", "evidence", "operator"), "x")
    add_decision(account, kind="other", reversibility="costly", now_ns=1, **texts)
    assert chains(tmp_path) == [run, account / "decisions"]
    assert main(["audit", "verify", "--all", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"{run.name}: INTACT" in out
    assert "decisions of main: INTACT" in out
    assert "Not proven by this" in out
    place = segments(run)[0]
    place.write_bytes(place.read_bytes()[:-1])
    assert main(["audit", "verify", "last", "--runs", str(tmp_path)]) == 1
    assert "ALTERED" in capsys.readouterr().out
    assert main(["audit", "verify", "last", "--all", "--runs", str(tmp_path)]) == 2
