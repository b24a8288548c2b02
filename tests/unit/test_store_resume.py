"""The ledger of a run that was stopped: what it knows, how it goes on, what it refuses."""

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from claire.adapters.journal.entries import Adjusted, External
from claire.adapters.journal.reader import JournalReader, Mark
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store import tables
from claire.adapters.store.committed import committed_run
from claire.adapters.store.database import LEDGER, read_ledger
from claire.adapters.store.ledger import LedgerCursor, SqlLedger
from claire.adapters.store.queries import verify_ledger
from claire.model.books import Position, Posting
from claire.model.decisions import Fill, Intent, OrderEvent, Reserved
from claire.model.errors import LedgerError
from claire.model.market import Side
from claire.model.orders import OrderState
from tests.support.journals import T0, decisions, header, inputs
from tests.unit.test_store_ledger import balanced, opened, rows, snapshot

RUN = header().run_id
WHO = ("momentum", "PEPEUSDT", Side.BUY)
ADJUSTED = Adjusted("PEPE", "-0.5", "ada", "a fee in kind", T0 + 1, "momentum", "PEPEUSDT")
BASELINE = External("baseline", "USDT", "250.000000000000000001", "opening USDT", T0)
DEPOSIT = External("transfer", "USDT", "100", "deposit 12", T0 + 2)


def reserved(order_no: int) -> Reserved:
    return Reserved(order_no, *WHO, "USDT", Decimal("0.006"), Decimal("0.0059"), 5000, T0)


def intent(order_no: int) -> Intent:
    first = decisions()[3]
    assert isinstance(first, Intent)
    return msgspec.structs.replace(first, order_no=order_no, client_order_id=f"c-{order_no}")


def order(order_no: int, state: OrderState, at_ns: int = T0) -> OrderEvent:
    return OrderEvent(order_no, *WHO, state, 5000, 0, False, at_ns, client_order_id=f"c-{order_no}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / LEDGER


# -- one durable transaction before each send --------------------------------------------------------------------------


def test_an_intent_and_its_reservation_are_one_transaction_and_sent_is_durable_before_the_send(path: Path):
    ledger = opened(path)
    ledger.decided(1, reserved(1))
    assert rows(path, tables.reservations) == []
    ledger.decided(1, intent(1))
    assert [row["order_no"] for row in rows(path, tables.reservations)] == [1]
    assert [row["order_no"] for row in rows(path, tables.intents)] == [1]
    ledger.decided(1, order(1, OrderState.INTENT))
    assert rows(path, tables.orders) == []
    ledger.decided(1, order(1, OrderState.SENT))
    assert [row["state"] for row in rows(path, tables.orders)] == ["SENT"]
    ledger.abandon()


def test_a_terminal_state_releases_what_was_held_and_only_the_first_one_does(path: Path):
    ledger = opened(path)
    for number in (1, 2):
        ledger.decided(number, reserved(number))
        ledger.decided(number, intent(number))
    ledger.decided(3, order(1, OrderState.ABSENT, T0 + 7))
    ledger.decided(4, order(1, OrderState.FILLED, T0 + 8))
    ledger.decided(5, order(2, OrderState.OPEN, T0 + 9))
    ledger.close()
    first, second = rows(path, tables.reservations)
    assert (first["state"], first["released_by"], first["released_ns"]) == ("released", "ABSENT", T0 + 7)
    assert (second["state"], second["released_by"], second["released_ns"]) == ("held", "", None)


def test_a_run_executed_again_takes_no_release_back(path: Path):
    def story(ledger: SqlLedger) -> None:
        ledger.decided(1, reserved(1))
        ledger.decided(1, intent(1))
        ledger.decided(1, order(1, OrderState.SENT))
        ledger.decided(2, order(1, OrderState.REJECTED, T0 + 5))
        ledger.close()

    story(opened(path))
    before = everything(path)
    again = opened(path, commit="batch", cursor=LedgerCursor())
    again.decided(1, reserved(1))
    again.commit()
    (held,) = rows(path, tables.reservations)
    assert held["released_by"] == "REJECTED"
    again.abandon()
    story(opened(path))
    assert everything(path) == before


def test_one_execution_cannot_be_booked_to_two_orders_but_two_sides_of_one_trade_can(path: Path):
    bought = decisions()[6]
    assert isinstance(bought, Fill)
    sold = msgspec.structs.replace(bought, order_no=2, side=Side.SELL)
    ledger = opened(path)
    ledger.decided(1, bought)
    ledger.decided(1, sold)
    ledger.commit()
    ledger.decided(2, msgspec.structs.replace(bought, order_no=3))
    with pytest.raises(LedgerError, match=r"refuses a row that contradicts it.*fills"):
        ledger.commit()
    assert [row["order_no"] for row in rows(path, tables.fills)] == [1, 2]


def test_two_runs_may_have_the_same_trade_ids(path: Path):
    for name in ("one", "two"):
        ledger = SqlLedger(path, header(run_id=name), account_id="paper", venue="paper")
        ledger.decided(1, decisions()[6])
        ledger.close()
    assert [(row["run_id"], row["trade_id"]) for row in rows(path, tables.fills)] == [
        ("one", "PAPER-T-1"),
        ("two", "PAPER-T-1"),
    ]


# -- what a stopped run left -------------------------------------------------------------------------------------------


def test_what_was_committed_can_be_asked_before_the_run_goes_on(path: Path, tmp_path: Path):
    with JournalWriter(tmp_path / "run", header()) as journal:
        ledger = opened(path, journal=journal)
        for number, state in ((1, OrderState.SENT), (2, OrderState.UNKNOWN), (3, OrderState.CANCELED)):
            for event in (reserved(number), intent(number), order(number, OrderState.SENT), order(number, state)):
                journal.decided(number, event)
                ledger.decided(number, event)
        for entry in (BASELINE, DEPOSIT):
            journal.external(entry)
            ledger.external(entry)
        journal.adjusted(ADJUSTED)
        ledger.adjusted(ADJUSTED)
        mark = Mark(journal.entries, journal.head)
        for event in (reserved(4), intent(4)):
            journal.decided(4, event)
        ledger.abandon()
    found = committed_run(path, RUN)
    assert found is not None
    assert found.mark == mark
    assert found.order_states == {1: OrderState.SENT, 2: OrderState.UNKNOWN, 3: OrderState.CANCELED}
    assert found.intents == {1: "c-1", 2: "c-2", 3: "c-3"}  # the fourth is void
    assert found.held == {1: Decimal("0.006"), 2: Decimal("0.006")}
    assert found.adjustments == [ADJUSTED]
    assert found.externals == [BASELINE, DEPOSIT]
    assert found.decision_digest == ""


def test_where_there_is_no_ledger_or_no_such_run_nothing_was_committed(path: Path):
    assert committed_run(path, RUN) is None
    assert not path.exists()
    opened(path).close()
    assert committed_run(path, "another") is None
    found = committed_run(path, RUN)
    assert found is not None
    assert (found.mark, found.order_states) == (Mark(0, ""), {})


def test_a_ledger_that_follows_a_longer_journal_refuses_to_go_on(path: Path, tmp_path: Path):
    with JournalWriter(tmp_path / "run", header()) as journal:
        ledger = opened(path, journal=journal)
        journal.decided(1, intent(1))
        ledger.decided(1, intent(1))
        ledger.close()
    with (
        JournalWriter(tmp_path / "other", header()) as shorter,
        pytest.raises(LedgerError, match=r"follows entry 2 of the journal .* has only 1\. Do not trade on"),
    ):
        opened(path, journal=shorter)


# -- going on ----------------------------------------------------------------------------------------------------------


Telling = list[Callable[[SqlLedger], None]]


def telling() -> Telling:
    """A run, one call after the other."""
    held = {("momentum", "PEPEUSDT"): Position(base_units=10**18, cost_units=5)}
    calls: Telling = [lambda ledger, n=n, e=e: ledger.decided(n, e) for n, e in enumerate(decisions(), 1)]  # type: ignore[misc]
    calls[7:7] = [
        lambda ledger: ledger.postings(balanced(1)),
        lambda ledger: ledger.snapshot(snapshot(T0), held),
        lambda ledger: ledger.postings(balanced(2)[:2]),
        lambda ledger: ledger.postings(balanced(2)[2:]),
        lambda ledger: ledger.alert(T0, "warning", "STALE_FEED", "no trade for 10 s"),
        lambda ledger: ledger.snapshot(snapshot(T0 + 1), {}),
        lambda ledger: ledger.external(BASELINE),
    ]
    return calls


def everything(path: Path) -> dict[str, list[dict[str, Any]]]:
    with read_ledger(path) as connection:
        return {
            table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in tables.metadata.sorted_tables
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Every row of the run, had nothing stopped it."""
    path = tmp_path_factory.mktemp("whole") / LEDGER
    ledger = opened(path)
    for call in telling():
        call(ledger)
    ledger.finish("{}", "d1:")
    return everything(path)


@pytest.mark.parametrize("stopped_at", range(len(telling()) + 1))
def test_a_run_stopped_anywhere_and_gone_on_with_has_the_rows_of_one_that_never_stopped(
    path: Path, whole: dict[str, list[dict[str, Any]]], stopped_at
):
    calls = telling()
    saved_at = stopped_at * 2 // 3 if stopped_at % 2 else -1  # from a snapshot, and from the start
    cursor, start = None, 0
    ledger = opened(path)
    for number, call in enumerate(calls[:stopped_at]):
        if number == saved_at:
            cursor, start = ledger.cursor(), number
        call(ledger)
    ledger.abandon()
    again = opened(path, commit="batch", cursor=cursor)
    for call in calls[start:stopped_at]:
        call(again)
    again.go_live()
    for call in calls[stopped_at:]:
        call(again)
    again.finish("{}", "d1:")
    assert everything(path) == whole


def test_after_going_live_an_intent_is_durable_again_when_the_call_returns(path: Path):
    ledger = opened(path, commit="batch")
    ledger.decided(1, intent(1))
    assert rows(path, tables.intents) == []
    ledger.go_live()
    ledger.decided(2, intent(2))
    assert [row["order_no"] for row in rows(path, tables.intents)] == [1, 2]
    ledger.abandon()


def test_a_cursor_can_be_kept_with_a_snapshot_and_nothing_before_it_still_waits(path: Path):
    ledger = opened(path, commit="batch")
    ledger.postings(balanced(3))
    ledger.decided(7, intent(1))
    cursor = ledger.cursor()
    assert len(rows(path, tables.postings)) == 4
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(cursor.input_no)) == 7
    assert (cursor.decision_no, cursor.transaction_no, cursor.line_no) == (1, 3, 4)
    ledger.postings(balanced(4)[:2])
    ledger.commit()
    assert cursor.transaction_no == 3
    ledger.abandon()


def test_a_run_that_went_another_way_the_second_time_is_refused(path: Path):
    ledger = opened(path)
    ledger.decided(1, intent(1))
    ledger.abandon()
    again = opened(path, commit="batch")
    again.decided(1, msgspec.structs.replace(intent(1), quantity_lots=4999))
    with pytest.raises(LedgerError, match=r"intents .* is there already with quantity = Decimal\('5000'\)"):
        again.go_live()
    with pytest.raises(LedgerError, match="is there already"):
        again.commit()


# -- the new tables against the journal --------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A stopped run with a reservation released, one held, an adjustment and externals, in journal and ledger."""
    with JournalWriter(tmp_path, header()) as journal:
        ledger = opened(tmp_path / LEDGER, journal=journal)
        journal.external(BASELINE)
        ledger.external(BASELINE)
        journal.adjusted(ADJUSTED)
        ledger.adjusted(ADJUSTED)
        for number, event in enumerate(
            (
                reserved(1),
                intent(1),
                order(1, OrderState.REJECTED, T0 + 5),
                reserved(2),
                intent(2),
                *decisions()[13:15],
            ),
            1,
        ):
            journal.inputs(number, inputs()[:1])
            journal.decided(number, event)
            ledger.decided(number, event)
        ledger.close()
    return tmp_path


def test_a_ledger_with_all_of_it_agrees_with_its_journal(kept: Path):
    assert verify_ledger(kept / LEDGER, JournalReader(kept)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE reservations SET state = 'held' WHERE order_no = 1", "reservations order_no=1, state"),
        ("UPDATE reservations SET cash = '0.007' WHERE order_no = 2", "reservations order_no=2, cash"),
        ("DELETE FROM reservations WHERE order_no = 2", "reservations order_no=2: the journal says it is there"),
        ("UPDATE adjustments SET amount = '0.5'", "amount: the journal says -0.5, the ledger 0.5"),
        ("UPDATE externals SET amount = '250'", "amount: the journal says 250.000000000000000001"),
        ("DELETE FROM externals", "externals asset=USDT evidence_id=opening USDT: the journal says it is there"),
        ("UPDATE adoptions SET strategy_id = 'me'", "strategy_id: the journal says momentum, the ledger me"),
        ("INSERT INTO externals SELECT run_id, 'PEPE', evidence_id, account_id, kind, amount, ts_event_ns FROM externals",
         "externals asset=PEPE evidence_id=opening USDT: the journal says it is not there"),
    ],
)  # fmt: skip
def test_a_row_changed_by_hand_is_found_and_named(kept: Path, change, said):
    edit = sqlite3.connect(kept / LEDGER)
    with edit:
        edit.execute(change)
    edit.close()
    assert said in str(verify_ledger(kept / LEDGER, JournalReader(kept)))


def test_an_amount_that_is_none_is_refused(path: Path):
    ledger = opened(path)
    for units in ("much", "NaN", "inf", ""):
        with pytest.raises(LedgerError, match="is not an amount of money"):
            ledger.adjusted(msgspec.structs.replace(ADJUSTED, units=units))
    ledger.close()
    assert rows(path, tables.adjustments) == []


# -- a database that refuses -------------------------------------------------------------------------------------------


@pytest.fixture
def full() -> Iterator[None]:
    """Every database may have ten pages more than a new ledger."""

    def limit(connection: Any, record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(pages, 80) + 10}")

    sa.event.listen(sa.Engine, "connect", limit)
    yield
    sa.event.remove(sa.Engine, "connect", limit)


def fill_up(ledger: SqlLedger) -> tuple[int, str]:
    """Write transactions of an order each until one is refused; return the number of that order, and what was said."""
    for number in range(1, 10_000):
        ledger.decided(number, reserved(number))
        try:
            ledger.decided(number, intent(number))
        except LedgerError as error:
            return number, str(error)
    raise AssertionError("nothing was refused")


def test_a_full_disk_refuses_an_intent_as_a_whole_and_closes_the_ledger_for_ever(path: Path, full: None):
    ledger = opened(path)
    refused, said = fill_up(ledger)
    assert refused > 5
    assert "database or disk is full" in said
    assert "free space" in said
    for call in (ledger.commit, lambda: ledger.decided(refused, order(1, OrderState.SENT))):
        with pytest.raises(LedgerError, match="database or disk is full"):
            call()
    ledger.close()
    for table in (tables.intents, tables.reservations):
        assert [row["order_no"] for row in rows(path, table)] == list(range(1, refused))


def test_a_locked_ledger_refuses_an_intent_as_a_whole(path: Path):
    ledger = opened(path, busy_ms=20)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.decided(1, reserved(1))
    with pytest.raises(LedgerError, match="Another process is writing it"):
        ledger.decided(1, intent(1))
    other.rollback()
    other.close()
    with pytest.raises(LedgerError, match="Another process is writing it"):
        ledger.commit()
    assert rows(path, tables.reservations) == rows(path, tables.intents) == []


class CrashError(BaseException):
    """What a simulation raises at a boundary."""


@pytest.mark.parametrize(("boundary", "kept"), [("ledger.commit.before", 0), ("ledger.commit.after", 1)])
def test_a_crash_beside_a_commit_leaves_all_of_it_or_nothing(path: Path, boundary, kept):
    armed: list[str] = []

    def step(name: str) -> None:
        if name in armed:
            raise CrashError(name)

    ledger = opened(path, step=step)
    armed.append(boundary)
    ledger.decided(1, reserved(1))
    with pytest.raises(CrashError):
        ledger.decided(1, intent(1))
    ledger.close()  # as a process that unwinds would
    with pytest.raises(LedgerError, match="was interrupted"):
        ledger.commit()
    assert [len(rows(path, table)) for table in (tables.intents, tables.reservations)] == [kept, kept]


def test_a_reader_does_not_hold_up_the_ledger(path: Path):
    ledger = opened(path, busy_ms=20)
    with read_ledger(path) as connection:
        connection.execute(sa.select(tables.runs)).all()
        ledger.decided(1, intent(1))
    assert len(rows(path, tables.intents)) == 1
    ledger.abandon()


def test_postings_of_a_transaction_go_on_counting_after_a_cursor(path: Path):
    ledger = opened(path)
    ledger.postings(balanced(1)[:2])
    cursor = ledger.cursor()
    ledger.abandon()
    again = opened(path, cursor=cursor)
    lines: list[Posting] = balanced(1)[2:]
    again.postings(lines)
    again.close()
    assert [row["line_no"] for row in rows(path, tables.postings)] == [1, 2, 3, 4]
