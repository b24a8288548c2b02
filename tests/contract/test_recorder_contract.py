"""What every recorder promises, whatever it keeps: it takes a whole run, changes nothing, and ends once."""

import copy
from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import pytest

from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store.ledger import SqlLedger
from claire.adapters.store.queries import verify_ledger
from claire.engine.ports import Recorder
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.errors import ClaireError
from claire.model.market import Candle
from tests.support.journals import T0, decisions, header, inputs

LOOK = PortfolioSnapshot(T0, Decimal(1000), Decimal("999.5"), Decimal("-0.5"), Decimal(0), Decimal("1E-18"), 0.5, 1)


class KeptRecorder(Recorder, Protocol):
    """A recorder that keeps a run on disk."""

    def finish(self, summary_json: str, decision_digest: str) -> None:
        """End the run in order."""

    def close(self) -> None:
        """Stop."""


def tell(recorder: Recorder) -> None:
    """A whole run, in the order in which the pipeline tells it."""
    entered = inputs()
    recorder.inputs(1, entered)
    for number, event in enumerate(decisions()):
        recorder.decided(min(number + 1, len(entered)), event)
    recorder.postings(
        [Posting(1, "cash", "USDT", 5, T0, "transfer"), Posting(1, "capital", "USDT", -5, T0, "transfer")]
    )
    recorder.candle(Candle("PEPEUSDT", T0, T0 + 60, 120, 125, 119, 121, 77, 3))
    recorder.snapshot(LOOK, {("momentum", "PEPEUSDT"): Position(base_units=1)})
    recorder.inputs(len(entered) + 1, [])
    recorder.postings([])


class RecorderContract(ABC):
    """Inherited by the tests of each recorder that keeps a run."""

    @abstractmethod
    def make(self, folder: Path) -> KeptRecorder:
        """A recorder that keeps its run in `folder`."""

    def test_it_takes_a_whole_run_and_ends_it_once(self, tmp_path: Path):
        recorder = self.make(tmp_path)
        tell(recorder)
        recorder.finish("{}", "d1:")
        recorder.close()
        recorder.close()

    def test_it_changes_nothing_that_it_is_given(self, tmp_path: Path):
        recorder = self.make(tmp_path)
        given = inputs()
        positions = {("momentum", "PEPEUSDT"): Position(base_units=1)}
        before = copy.deepcopy((given, positions))
        recorder.inputs(1, given)
        recorder.snapshot(LOOK, positions)
        assert (given, positions) == before
        recorder.close()

    @pytest.mark.parametrize("how", ["finish", "close"])
    def test_after_its_end_it_refuses_decisions(self, tmp_path: Path, how):
        recorder = self.make(tmp_path)
        if how == "finish":
            recorder.finish("{}", "d1:")
        else:
            recorder.close()
        with pytest.raises(ClaireError, match="nothing can be added"):
            recorder.decided(1, decisions()[3])

    def test_a_run_without_any_event_is_a_run(self, tmp_path: Path):
        self.make(tmp_path).finish("{}", "d1:")


class TestJournalThatSyncsEveryIntent(RecorderContract):
    def make(self, folder: Path) -> KeptRecorder:
        return JournalWriter(folder, header())


class TestJournalThatSyncsInBatches(RecorderContract):
    def make(self, folder: Path) -> KeptRecorder:
        return JournalWriter(folder, header(), fsync="batch")


class TestJournalWithoutInputs(RecorderContract):
    def make(self, folder: Path) -> KeptRecorder:
        return JournalWriter(folder, header(embed_inputs=False))


class TestLedgerThatCommitsEveryIntent(RecorderContract):
    def make(self, folder: Path) -> KeptRecorder:
        return SqlLedger(folder / "ledger.sqlite", header(), account_id="paper", venue="paper")


class TestLedgerThatCommitsInBatches(RecorderContract):
    def make(self, folder: Path) -> KeptRecorder:
        return SqlLedger(folder / "ledger.sqlite", header(), account_id="paper", venue="paper", commit="batch")


@pytest.mark.parametrize(("fsync", "commit"), [("decision", "decision"), ("batch", "batch")])
def test_journal_and_ledger_of_one_run_say_the_same(tmp_path: Path, fsync, commit):
    with JournalWriter(tmp_path, header(), fsync=fsync) as journal:
        path = tmp_path / "ledger.sqlite"
        ledger = SqlLedger(path, header(), account_id="paper", venue="paper", commit=commit, journal=journal)
        for number, event in enumerate(decisions(), 1):
            journal.decided(number, event)
            ledger.decided(number, event)
        ledger.finish("{}", "d1:")
        journal.finish("{}", "d1:")
    assert verify_ledger(path, JournalReader(tmp_path)) is None
