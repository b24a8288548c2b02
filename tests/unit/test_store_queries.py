"""Which runs there are, and whether a ledger says what its journal says."""

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store import tables
from claire.adapters.store.database import LEDGER, open_ledger
from claire.adapters.store.ledger import SqlLedger
from claire.adapters.store.queries import SUMMARY, list_runs, verify_ledger
from claire.model.errors import LedgerError
from claire.model.orders import OrderState
from tests.support.journals import decisions, header, inputs, written


def run(run_dir: Path, *, finished: bool = True, in_ledger: int = 99) -> JournalReader:
    """Write a run; only the first `in_ledger` decisions come into the ledger before it stops."""
    with JournalWriter(run_dir, header()) as journal:
        ledger = SqlLedger(run_dir / LEDGER, header(), account_id="paper", venue="paper", journal=journal)
        with closing(ledger):
            journal.inputs(1, inputs())
            for number, event in enumerate(decisions(), 1):
                journal.decided(number, event)
                if number <= in_ledger:
                    ledger.decided(number, event)
                if number == in_ledger:
                    ledger.close()
            if finished:
                ledger.finish("{}", "d1:")
                journal.finish("{}", "d1:")
    return JournalReader(run_dir)


def change(run_dir: Path, statement: str) -> None:
    engine = open_ledger(run_dir / LEDGER)
    with engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount == 1
    engine.dispose()


@pytest.mark.parametrize("finished", [True, False])
def test_a_ledger_that_followed_its_journal_has_no_difference(tmp_path: Path, finished):
    assert verify_ledger(tmp_path / LEDGER, run(tmp_path, finished=finished)) is None


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE fills SET price = '0.0000013' WHERE trade_id = 'PAPER-T-1'",
         "fills order_no=1 trade_id=PAPER-T-1, price: the journal says 0.0000012, the ledger 0.0000013"),
        ("UPDATE orders SET state = 'CANCELED'", "orders order_no=1, state: the journal says FILLED, the ledger CANCELED"),
        ("DELETE FROM denials", "denials signal_no=2 code=STALE_PRICE: the journal says it is there, the ledger it is not"),
        ("UPDATE intents SET order_no = 2", "intents order_no=1: the journal says it is there, the ledger it is not"),
        ("UPDATE signals SET strength = 0.5 WHERE signal_no = 1",
         "signals signal_no=1, strength: the journal says 0.75, the ledger 0.5"),
        ("INSERT INTO signals SELECT run_id, 3, account_id, strategy_id, symbol, side, price, reason, strength, pct_change,"
         " ts_event_ns, input_no FROM signals WHERE signal_no = 1",
         "signals signal_no=3: the journal says it is not there, the ledger it is"),
    ],
    ids=["fill price", "order state", "denial removed", "intent renamed", "signal strength", "signal added"],
)  # fmt: skip
def test_the_first_difference_is_named_with_both_values(tmp_path: Path, statement, said):
    journal = run(tmp_path)
    change(tmp_path, statement)
    assert str(verify_ledger(tmp_path / LEDGER, journal)) == said


@pytest.mark.parametrize("in_ledger", range(1, 14))
def test_decisions_that_were_still_on_their_way_to_the_ledger_are_no_difference(tmp_path: Path, in_ledger):
    assert verify_ledger(tmp_path / LEDGER, run(tmp_path, finished=False, in_ledger=in_ledger)) is None


def test_a_journal_that_lost_its_tail_is_compared_as_far_as_it_reaches(tmp_path: Path):
    run(tmp_path)
    segment = tmp_path / "journal" / "000001.jrn"
    data = segment.read_bytes()
    for length in range(1500, len(data), 97):
        segment.write_bytes(data[:length])
        journal = JournalReader(tmp_path)
        assert verify_ledger(tmp_path / LEDGER, journal) is None
        assert journal.truncated is not None


def test_a_ledger_that_follows_another_journal_is_found(tmp_path: Path):
    run(tmp_path / "one")
    with JournalWriter(tmp_path / "two", header()) as journal:
        for number, entered in enumerate(inputs(), 1):
            journal.inputs(number, (entered,))
        for number, event in enumerate(decisions(), 1):
            journal.decided(number, event)
    found = verify_ledger(tmp_path / "one" / LEDGER, JournalReader(tmp_path / "two"))
    assert found is not None
    assert (found.table, found.field) == ("runs", "journal_head")


def test_a_ledger_without_the_run_says_so(tmp_path: Path):
    run(tmp_path / "one")
    JournalWriter(tmp_path / "two", header(run_id="other")).close()
    with pytest.raises(LedgerError, match="run other is not in this ledger"):
        verify_ledger(tmp_path / "one" / LEDGER, JournalReader(tmp_path / "two"))


def test_runs_are_listed_newest_first_and_one_that_cannot_be_read_says_why(tmp_path: Path):
    for name, created in (("old", "2023-01-01T00:00:00Z"), ("new", "2024-01-01T00:00:00Z")):
        JournalWriter(tmp_path / name, header(run_id=name, created_at=created)).close()
    (tmp_path / "new" / SUMMARY).write_bytes(msgspec.json.encode({"fills": 3}))
    (written(tmp_path / "broken") / "000001.jrn").write_bytes(b"nonsense" * 20)
    (tmp_path / "notes").mkdir()
    new, old, broken = list_runs(tmp_path)
    assert (new.run_id, new.ended, new.summary, new.mode) == ("new", True, {"fills": 3}, "paper")
    assert (old.run_id, old.ended, old.symbols) == ("old", False, ("PEPEUSDT", "BTCUSDT"))
    assert (broken.run_id, broken.path.name) == ("broken", "broken")
    assert "000001.jrn: entry 1, byte 0" in broken.problem
    assert list_runs(tmp_path / "none") == []


def test_the_order_states_in_the_ledger_are_those_of_the_model(tmp_path: Path):
    run(tmp_path)
    engine = open_ledger(tmp_path / LEDGER)
    with engine.connect() as connection:
        states = connection.execute(sa.select(tables.orders.c.state)).scalars().all()
    assert [OrderState(state) for state in states] == [OrderState.FILLED]
