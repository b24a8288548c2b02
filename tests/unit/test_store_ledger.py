"""The ledger: each decision once, whole transactions, and advice when it cannot be written."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from claire.adapters.journal.entries import Adjusted, External
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store import tables
from claire.adapters.store.database import read_ledger
from claire.adapters.store.ledger import SqlLedger
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import ControlEvent, Fill, OrderEvent, Signal, TradingState
from claire.model.errors import JournalError, LedgerError
from claire.model.market import Candle, Side
from claire.model.orders import OrderState
from tests.support.journals import T0, decisions, header, inputs


def opened(path: Path, **options: Any) -> SqlLedger:
    return SqlLedger(path, header(), account_id="paper", venue="paper", **options)


def rows(path: Path, table: sa.Table) -> list[dict[str, Any]]:
    with read_ledger(path) as connection:
        query = sa.select(table).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def write_story(ledger: SqlLedger) -> None:
    ledger.inputs(1, inputs())
    for number, event in enumerate(decisions(), 1):
        ledger.decided(number, event)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.mark.parametrize("commit", ["decision", "batch"])
def test_every_kind_of_decision_has_its_row_with_exact_numbers(path: Path, commit):
    ledger = opened(path, commit=commit)
    write_story(ledger)
    ledger.finish('{"trades_in":2}', "d1:abc")
    (run,) = rows(path, tables.runs)
    assert (run["decision_digest"], run["summary_json"], run["mode"]) == ("d1:abc", '{"trades_in":2}', "paper")
    entry, leave = rows(path, tables.signals)
    assert (entry["price"], entry["strength"], entry["pct_change"]) == (Decimal("0.0000012"), 0.75, 3.1)
    assert (leave["side"], leave["reason"], leave["pct_change"]) == ("SELL", "stop_loss", None)
    (intent,) = rows(path, tables.intents)
    assert (intent["quantity"], intent["limit_price"], intent["account_id"]) == (Decimal(5000), None, "paper")
    assert intent["ts_event_ns"] == T0
    (order,) = rows(path, tables.orders)
    assert (order["state"], order["filled_quantity"], order["input_no"]) == ("FILLED", Decimal(5000), 9)
    assert (order["client_order_id"], order["order_id"]) == ("c-1", "PAPER-1")
    first, second = rows(path, tables.fills)
    assert (first["trade_id"], first["quantity"], first["fee"]) == ("PAPER-T-1", Decimal(4000), Decimal("0.000003"))
    assert second["price"] == Decimal("0.00000121")
    (denial,) = rows(path, tables.denials)
    assert (denial["code"], denial["value"], denial["limit_value"]) == ("STALE_PRICE", Decimal("1500.5"), Decimal(1000))
    (trip,) = rows(path, tables.round_trips)
    assert (trip["realised_pnl"], trip["bought"]) == (Decimal("-1E-18"), Decimal(5000))
    assert [row["after"] for row in rows(path, tables.regimes)] == ["TREND"]
    assert [row["fraction"] for row in rows(path, tables.allocations)] == [Decimal("0.5")]
    assert [row["quantity"] for row in rows(path, tables.dust)] == [Decimal("0.5")]
    assert [(row["operator"], row["state"]) for row in rows(path, tables.control)] == [("ada", "REDUCE_ONLY")]
    (adopted,) = rows(path, tables.adoptions)
    assert (adopted["owner_id"], adopted["strategy_id"], adopted["quantity"]) == ("gone", "momentum", Decimal("12.5"))
    (held,) = rows(path, tables.reservations)
    assert (held["cash"], held["exposure"], held["quantity"]) == (Decimal("1.25"), Decimal("1.2"), Decimal(1000))
    assert (held["state"], held["released_by"], held["released_ns"]) == ("held", "", None)


def test_writing_everything_twice_adds_nothing(path: Path):
    def write() -> None:
        ledger = opened(path)
        write_story(ledger)
        ledger.candle(Candle("PEPEUSDT", T0, T0 + 60, 120, 125, 119, 121, 77, 3))
        ledger.alert(T0, "warning", "STALE_FEED", "no trade for 10 s")
        ledger.postings(balanced(1))
        ledger.snapshot(snapshot(T0), {})
        ledger.adjusted(Adjusted("USDT", "-0.5", "ada", "a fee that the venue does not list", T0))
        ledger.external(External("baseline", "PEPE", "12", "opening PEPE", T0))
        ledger.close()

    write()
    before = {table.name: rows(path, table) for table in tables.metadata.sorted_tables}
    assert all(before[name] for name in before if name != "positions")
    write()
    assert {table.name: rows(path, table) for table in tables.metadata.sorted_tables} == before


def test_one_decision_given_twice_within_a_run_adds_nothing(path: Path):
    ledger = opened(path)
    for _ in range(2):
        for number, event in enumerate(decisions(), 1):
            ledger.decided(number, event)
    ledger.close()
    assert len(rows(path, tables.fills)) == 2
    assert len(rows(path, tables.signals)) == 2


def test_another_decision_under_the_same_key_is_refused_and_nothing_of_its_transaction_stays(path: Path):
    ledger = opened(path)
    write_story(ledger)
    ledger.close()
    signal, fill = decisions()[2], decisions()[6]
    assert isinstance(signal, Signal)
    assert isinstance(fill, Fill)
    again = opened(path)
    again.decided(3, msgspec.structs.replace(signal, signal_no=7))
    again.decided(3, msgspec.structs.replace(fill, price_ticks=999))
    with pytest.raises(LedgerError, match=r"fills .*PAPER-T-1.* there already with price"):
        again.commit()
    assert len(rows(path, tables.signals)) == 2
    with pytest.raises(LedgerError, match="there already with price"):
        again.decided(3, signal)
    again.close()


def test_another_run_under_the_same_name_is_refused(path: Path):
    opened(path).close()
    with pytest.raises(LedgerError, match=r"runs .*config_sha256.*give the new one its own id"):
        SqlLedger(path, header(config_json="{}"), account_id="paper", venue="paper")


def test_two_runs_share_a_ledger(path: Path):
    for name in ("one", "two"):
        ledger = SqlLedger(path, header(run_id=name), account_id="paper", venue="paper")
        write_story(ledger)
        ledger.finish("{}", "d1:")
    assert [row["run_id"] for row in rows(path, tables.intents)] == ["one", "two"]


def test_an_intent_is_durable_when_the_call_returns_and_the_rest_of_an_input_comes_as_a_whole(path: Path):
    ledger = opened(path)
    ledger.decided(4, decisions()[3])
    assert len(rows(path, tables.intents)) == 1
    ledger.decided(5, decisions()[6])
    ledger.postings(balanced(1))
    assert rows(path, tables.fills) == rows(path, tables.postings) == []
    ledger.decided(6, decisions()[9])
    assert len(rows(path, tables.fills)) == 1
    assert len(rows(path, tables.postings)) == 4
    assert rows(path, tables.signals) == []
    ledger.close()
    assert len(rows(path, tables.signals)) == 1


def test_a_batch_is_written_when_it_is_full(path: Path):
    ledger = opened(path, commit="batch", batch_rows=5)
    for event in decisions()[:4]:
        ledger.decided(1, event)
    assert rows(path, tables.intents) == []
    ledger.decided(1, decisions()[4])
    assert len(rows(path, tables.intents)) == 1
    ledger.close()


def test_acts_of_one_source_at_one_moment_are_kept_each_with_its_reason_and_once(path: Path):
    ledger = opened(path)
    for input_no, reason in enumerate(("stale", "gap", "stale"), 1):
        ledger.decided(input_no, ControlEvent(TradingState.REDUCE_ONLY, reason, "feed", T0))
    ledger.close()
    assert [(row["reason"], row["input_no"]) for row in rows(path, tables.control)] == [("gap", 2), ("stale", 1)]


def test_an_older_event_does_not_bring_an_order_back(path: Path):
    story = [event for event in decisions() if isinstance(event, OrderEvent)]
    ledger = opened(path)
    for event in story:
        ledger.decided(1, event)
    ledger.close()
    again = opened(path)  # a repetition starts with the first event
    again.decided(1, story[0])
    again.close()
    (order,) = rows(path, tables.orders)
    assert (order["state"], order["order_id"]) == (OrderState.FILLED.value, "PAPER-1")


def test_the_ledger_notes_the_journal_that_it_follows(path: Path, tmp_path: Path):
    journal = JournalWriter(tmp_path / "run", header())
    ledger = opened(path, journal=journal)
    intent = decisions()[3]
    journal.decided(1, intent)
    ledger.decided(1, intent)
    (run,) = rows(path, tables.runs)
    assert (run["journal_entries"], run["journal_head"]) == (journal.entries, journal.head) == (2, journal.head)
    ledger.close()
    journal.close()


def test_what_the_journal_could_not_keep_does_not_reach_the_ledger(path: Path, tmp_path: Path):
    journal = JournalWriter(tmp_path / "run", header())
    ledger = opened(path, commit="batch", journal=journal)
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), journal.fileno())
    ledger.decided(1, decisions()[3])
    with pytest.raises(JournalError, match="No space left") as raised, closing(ledger):
        journal.decided(1, decisions()[3])
    assert isinstance(raised.value.__cause__, OSError)  # the first error, not one that closing met afterwards
    assert rows(path, tables.intents) == []


def balanced(transaction_no: int) -> list[Posting]:
    lines = [
        ("position/m/PEPEUSDT", "PEPE", 10**18),
        ("market", "PEPE", -(10**18)),
        ("cash", "USDT", -7),
        ("market", "USDT", 7),
    ]
    return [Posting(transaction_no, book, asset, units, T0, "order 1 fill 1") for book, asset, units in lines]  # fmt: skip


def snapshot(ts_event_ns: int, equity: str = "1000.000000000000000001") -> PortfolioSnapshot:
    return PortfolioSnapshot(ts_event_ns, Decimal(equity), Decimal(1), Decimal(2), Decimal(3), Decimal(4), 0.25, 1)


def test_postings_are_exact_and_numbered_within_their_transaction(path: Path):
    ledger = opened(path)
    ledger.postings(balanced(1) + balanced(2)[:2])
    ledger.postings(balanced(2)[2:])
    ledger.close()
    found = rows(path, tables.postings)
    assert [(row["transaction_no"], row["line_no"]) for row in found] == [(t, n) for t in (1, 2) for n in (1, 2, 3, 4)]
    assert found[2]["amount"] == Decimal("-7E-18")


def test_a_transaction_that_does_not_balance_is_refused(path: Path):
    ledger = opened(path)
    with pytest.raises(LedgerError, match=r"transaction 1 .* leaves 1 PEPE unaccounted for"):
        ledger.postings([balanced(1)[0], *balanced(1)[2:]])
    with pytest.raises(LedgerError, match="unbalanced"):
        ledger.commit()
    assert rows(path, tables.postings) == []


def test_snapshots_and_positions_show_the_last_state(path: Path):
    ledger = opened(path)
    held = {("m", "PEPEUSDT"): Position(base_units=10**18, cost_units=5)}
    ledger.snapshot(snapshot(T0), held)
    ledger.snapshot(snapshot(T0, "999"), held)
    ledger.snapshot(snapshot(T0 + 1, "998"), held)
    ledger.commit()
    assert [row["equity"] for row in rows(path, tables.portfolio_snapshots)] == [Decimal(999), Decimal(998)]
    (position,) = rows(path, tables.positions)
    assert (position["quantity"], position["cost"], position["ts_event_ns"]) == (Decimal(1), Decimal("5E-18"), T0)
    ledger.snapshot(snapshot(T0 + 2), {})
    ledger.close()
    (position,) = rows(path, tables.positions)
    assert (position["quantity"], position["cost"], position["ts_event_ns"]) == (0, 0, T0 + 2)


def test_a_fill_without_a_trade_id_and_a_symbol_without_rules_are_refused(path: Path):
    ledger = opened(path)
    fill = decisions()[6]
    assert isinstance(fill, Fill)
    with pytest.raises(LedgerError, match="has no trade id"):
        ledger.decided(1, msgspec.structs.replace(fill, trade_id=""))
    with pytest.raises(LedgerError, match=r"XYZUSDT: run .* has no instrument rules"):
        ledger.decided(1, Signal(1, "m", "XYZUSDT", Side.BUY, T0, 1, "entry"))
    ledger.close()


def test_a_ledger_that_another_process_holds_says_so(path: Path):
    ledger = opened(path, busy_ms=20)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: .*locked.*Another process is writing it"):
        ledger.decided(1, decisions()[3])
    other.rollback()
    other.close()
    with pytest.raises(LedgerError, match="Another process is writing it"):
        ledger.decided(1, decisions()[3])


def test_a_finished_ledger_is_one_file_and_reading_leaves_nothing_beside_it(path: Path):
    ledger = opened(path)
    write_story(ledger)
    ledger.finish("{}", "d1:")
    assert len(rows(path, tables.fills)) == 2
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]


def test_a_ledger_that_is_being_read_when_its_run_ends_is_finished_all_the_same(path: Path):
    ledger = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM runs").fetchall()
    write_story(ledger)
    ledger.finish("{}", "d1:abc")
    other.execute("COMMIT")
    assert other.execute("SELECT decision_digest FROM runs").fetchall() == [("d1:abc",)]
    other.close()


def test_a_ledger_that_can_only_be_read_says_so(path: Path):
    opened(path).close()
    with path.open("r+b") as file:  # a file format that is too new to be written (SQLite, database header, offset 18)
        file.seek(18)
        file.write(b"\x03")
    with pytest.raises(LedgerError, match=r"readonly database.*can only be read"):
        opened(path)


def test_a_ledger_that_is_something_else_or_has_no_folder_says_so(path: Path, tmp_path: Path):
    path.write_bytes(b"this is a diary, not a database" * 100)
    with pytest.raises(LedgerError, match=r"not a database.*restore it from a backup"):
        opened(path)
    with pytest.raises(LedgerError, match="Check that its folder exists"):
        opened(tmp_path / "nowhere" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="there is no ledger"), read_ledger(tmp_path / "none.sqlite"):
        pass


OVER_THE_LIMIT = """
import sys
from pathlib import Path
from claire.adapters.store.ledger import SqlLedger
from claire.model.errors import JournalError, LedgerError
from tests.support.journals import decisions, header
import msgspec
ledger = SqlLedger(Path(sys.argv[1]), header(), account_id="paper", venue="paper")
intent = decisions()[3]
try:
    for number in range(1, 100_000):
        ledger.decided(number, msgspec.structs.replace(intent, order_no=number))
except LedgerError as error:
    print(number)
    print(error)
"""


def test_a_disk_that_takes_no_more_stops_the_ledger_and_keeps_every_transaction_before(path: Path, checkout: Path):
    limit = 400_000
    child = subprocess.run(
        [sys.executable, "-c", OVER_THE_LIMIT, str(path)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path[1:], str(checkout)])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=True,
    )
    number, message = child.stdout.splitlines()
    assert "free space" in message
    kept = rows(path, tables.intents)
    assert [row["order_no"] for row in kept] == list(range(1, int(number)))
