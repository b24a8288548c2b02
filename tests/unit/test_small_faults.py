"""What mutants found untested (bench/evidence/mutants.py): small promises that no other test held anybody to."""

from pathlib import Path

import pytest

from claire.adapters.store.ledger import SqlLedger
from claire.latch import kill as killing
from claire.latch.page import found, read
from claire.model.decisions import Code, Denial
from claire.model.errors import LedgerError
from tests.support.journals import decisions, header
from tests.support.markets import SECOND_NS
from tests.unit.test_risk import asked, risk

NOW = 1_795_000_000_000_000_000
MS = 1_000_000


def test_a_ledger_that_is_finished_takes_nothing_more_and_says_so(tmp_path):
    ledger = SqlLedger(tmp_path / "ledger.sqlite", header(), account_id="paper", venue="paper")
    ledger.finish("{}", "d1:")
    with pytest.raises(LedgerError, match="is finished"):
        ledger.decided(1, decisions()[0])


@pytest.mark.parametrize(("age_ns", "is_denied"), [(2_001 * MS - 1, False), (2_001 * MS, True)])
def test_the_age_of_a_price_counts_in_whole_milliseconds(age_ns, is_denied):
    made = risk(max_data_age_ms=2_000)
    answer = asked(made, at_s=age_ns / SECOND_NS)
    assert (isinstance(answer, Denial) and answer.code is Code.STALE_PRICE) is is_denied


def test_taking_the_page_away_is_durable(tmp_path, monkeypatch):
    """The last way to close the latch: neither the page nor a file beside it can be written, so the page goes."""
    folder = tmp_path / "account"
    found(folder, arms_itself=True, who="the run", now_ns=NOW)
    synced: list[Path] = []
    monkeypatch.setattr(killing, "_write", lambda *_: None)
    monkeypatch.setattr(killing, "leave_file", lambda *_: False)
    monkeypatch.setattr(killing, "sync_folder", lambda place: synced.append(Path(place)))
    done = killing.kill(folder, who="ann", reason="a test", now_ns=NOW)
    assert (done.is_closed, (folder / "latch").exists(), synced) == (True, False, [folder])
    assert not read(folder).is_armed
