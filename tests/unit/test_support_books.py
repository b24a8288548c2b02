"""What compares books with the venue's finds every kind of difference, and nothing where there is none."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.books import differences, read_tables, standing_differences

Tables = dict[str, list[dict[str, Any]]]
Account = dict[str, Any]
START = {"USDT": {"free": "1000", "locked": "0"}}


def ours() -> Tables:
    """A buy that was filled in two parts, an entry that waits, and one that was never sent."""

    def intent(number: int, kind: str, quantity: str, limit: str | None) -> dict[str, Any]:
        named = {"order_no": number, "client_order_id": f"C-{number}", "symbol": "BTCUSDT", "side": "BUY"}
        return {**named, "type": kind, "quantity": quantity, "limit_price": limit}

    def order(number: int, state: str, quantity: str, filled: str, venue_id: str) -> dict[str, Any]:
        named = {"order_no": number, "client_order_id": f"C-{number}", "state": state, "order_id": venue_id}
        return {**named, "quantity": quantity, "filled_quantity": filled}

    def fill(trade_id: str, quantity: str, price: str, fee: str) -> dict[str, Any]:
        named = {"order_no": 1, "trade_id": trade_id, "symbol": "BTCUSDT", "side": "BUY"}
        return {**named, "quantity": quantity, "price": price, "fee": fee, "fee_asset": "BTC"}

    def lines(number: int, cause: str, *amounts: tuple[str, str, str]) -> list[dict[str, Any]]:
        return [
            {"transaction_no": number, "cause": cause, "book": book, "asset": asset, "amount": amount}
            for book, asset, amount in amounts
        ]

    def bought(number: int, trade_id: str, base: str, quote: str, fee: str) -> list[dict[str, Any]]:
        owner = "position/momentum/BTCUSDT"
        return lines(
            number,
            f"order 1 fill {trade_id}",
            (owner, "BTC", base),
            ("market", "BTC", f"-{base}"),
            ("cash", "USDT", f"-{quote}"),
            ("market", "USDT", quote),
            (owner, "BTC", f"-{fee}"),
            ("fees", "BTC", fee),
        )

    def reserved(number: int, released_ns: int | None) -> dict[str, Any]:
        return {"order_no": number, "released_ns": released_ns}

    return {
        "reservations": [reserved(1, 7), reserved(2, 7), reserved(3, None), reserved(4, 7)],
        "externals": [{"asset": "USDT", "evidence_id": "opening USDT", "kind": "baseline", "amount": "400"}],
        "adjustments": [],
        "intents": [
            intent(1, "MARKET", "0.003", None),
            intent(2, "IOC", "0.001", "90000"),
            intent(3, "LIMIT", "0.002", "50000"),
            intent(4, "MARKET", "0.002", None),
        ],
        "orders": [
            order(1, "FILLED", "0.003", "0.003", "V1"),
            order(2, "CANCELED", "0.001", "0", "V2"),
            order(3, "OPEN", "0.002", "0", "V3"),
            order(4, "NOT_SENT", "0.002", "0", ""),
        ],
        "fills": [fill("T1", "0.001", "100000", "0.000001"), fill("T2", "0.002", "100001", "0.000002")],
        "postings": [
            *lines(1, "transfer", ("cash", "USDT", "600"), ("capital", "USDT", "-600")),
            *bought(2, "T1", "0.001", "100", "0.000001"),
            *bought(3, "T2", "0.002", "200.002", "0.000002"),
        ],
    }


def theirs() -> Account:
    """The same at the venue."""

    def order(number: int, kind: str, quantity: str, price: str | None, executed: str, status: str) -> dict[str, Any]:
        named = {"client_id": f"C-{number}", "order_id": f"V{number}", "symbol": "BTCUSDT", "side": "BUY"}
        return {**named, "type": kind, "quantity": quantity, "price": price, "executed": executed, "status": status}

    def fill(trade_id: str, quantity: str, price: str, fee: str) -> dict[str, Any]:
        named = {"trade_id": trade_id, "order_id": "V1", "client_id": "C-1", "symbol": "BTCUSDT", "side": "BUY"}
        return {**named, "quantity": quantity, "price": price, "fee": fee, "fee_asset": "BTC"}

    return {
        "balances": {
            "USDT": {"free": "599.998", "locked": "100"},
            "BTC": {"free": "0.002997", "locked": "0"},
        },
        "orders": [
            order(1, "MARKET", "0.003", None, "0.003", "FILLED"),
            order(2, "IMMEDIATE_OR_CANCEL", "0.001", "90000", "0", "CANCELED"),
            order(3, "LIMIT", "0.002", "50000", "0", "NEW"),
        ],
        "fills": [fill("T1", "0.001", "100000", "0.000001"), fill("T2", "0.002", "100001.0", "0.000002")],
    }


def test_equal_books_have_no_difference() -> None:
    assert differences(ours(), theirs(), START) == []


class Both(NamedTuple):
    """Books here and there."""

    here: Tables
    there: Account


Plant = Callable[[Both], object]


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (
            lambda both: both.there["orders"].append({**both.there["orders"][1], "order_id": "V9"}),
            ["C-2: 2 orders at the venue (V2 and V9)", "C-2: venue id V2 here, V9 at the venue"],
        ),
        (
            lambda both: both.there["orders"].append({**both.there["orders"][1], "order_id": "V9", "client_id": "C-9"}),
            ["C-9: at the venue (V9), without an intent here"],
        ),
        (
            lambda both: both.there["orders"].append({**both.there["orders"][1], "order_id": "V9", "client_id": ""}),
            ["an order without a client id: at the venue (V9), without an intent here"],
        ),
        (lambda both: both.here["intents"].append(both.here["intents"][3]), ["C-4: 2 intents of this name"]),
        (lambda both: both.here["orders"].pop(), ["C-4: an intent without an order"]),
        (lambda both: both.here["intents"].pop(), ["order 4: without an intent"]),
        (
            lambda both: both.here["orders"][3].update(state="UNKNOWN"),
            ["C-4: UNKNOWN here, not at the venue", "order 4: UNKNOWN, and its reservation is released"],
        ),
        (
            lambda both: both.here["orders"][3].update(state="OPEN"),
            ["C-4: OPEN here, not at the venue", "order 4: OPEN, and its reservation is released"],
        ),
        (
            lambda both: both.there["orders"].append(
                {**both.there["orders"][2], "client_id": "C-4", "order_id": "V4", "type": "MARKET"}
            ),
            [
                "C-4: NOT_SENT here, NEW at the venue",
                "C-4: limit price None here, 50000 at the venue",
                "C-4: venue id  here, V4 at the venue",
            ],
        ),
        (
            lambda both: both.here["orders"][2].update(state="CANCELED"),
            ["C-3: CANCELED here, NEW at the venue", "order 3: CANCELED, and its reservation is kept"],
        ),
        (
            lambda both: both.here["orders"][1].update(state="OPEN"),
            ["C-2: OPEN here, CANCELED at the venue", "order 2: OPEN, and its reservation is released"],
        ),
        (
            lambda both: both.here["intents"][0].update(quantity="0.004"),
            ["C-1: quantity 0.004 here, 0.003 at the venue"],
        ),
        (lambda both: both.here["intents"][0].update(side="SELL"), ["C-1: side SELL here, BUY at the venue"]),
        (lambda both: both.here["intents"][1].update(type="LIMIT"), ["C-2: type LIMIT here, IOC at the venue"]),
        (
            lambda both: both.here["orders"][0].update(filled_quantity="0.001"),
            ["C-1: executed 0.001 here, 0.003 at the venue", "C-1: 0.001 executed, fills of 0.003"],
        ),
        (
            lambda both: both.here["fills"].pop(),
            [
                "C-1: fill T2 (0.002 at 100001.0) is booked 0 times",
                "C-1: 0.003 executed, fills of 0.001",
            ],
        ),
        (
            lambda both: both.here["fills"].append({**both.here["fills"][0], "trade_id": "T3"}),
            ["C-1: fill T3 is booked, and not at the venue", "C-1: 0.003 executed, fills of 0.004"],
        ),
        (
            lambda both: both.here["fills"].append(both.here["fills"][0]),
            ["C-1: fill T1 (0.001 at 100000) is booked 2 times", "C-1: 0.003 executed, fills of 0.004"],
        ),
        (
            lambda both: both.here["fills"][0].update(price="100002"),
            ["C-1: fill T1: price 100002 here, 100000 at the venue"],
        ),
        (lambda both: both.here["fills"][0].update(fee="0"), ["C-1: fill T1: fee 0 here, 0.000001 at the venue"]),
        (
            lambda both: both.here["fills"][0].update(fee_asset="MX"),
            ["C-1: fill T1: fee_asset MX here, BTC at the venue"],
        ),
        (
            lambda both: [row.update(cause="order 1 fill T1") for row in both.here["postings"][-6:]],
            ["order 1 fill T1: 2 transactions"],
        ),
        (
            lambda both: both.here["postings"][4].update(amount="-99"),
            [
                "transaction 2: its postings leave 1 USDT",
                "USDT: 700.998 here, 699.998 at the venue (-1 more there)",
            ],
        ),
        (
            lambda both: both.there["balances"]["BTC"].update(free="0.002998"),
            ["BTC: 0.002997 here, 0.002998 at the venue (0.000001 more there)"],
        ),
        (
            lambda both: both.there["balances"].update(ETH={"free": "1", "locked": "0"}),
            ["ETH: 0 here, 1 at the venue (1 more there)"],
        ),
        (
            lambda both: (
                both.here["orders"][2].update(state="CANCELED"),
                both.there["orders"][2].update(status="CANCELED"),
            ),
            [
                "USDT: 100 locked at the venue, where no order is open",
                "order 3: CANCELED, and its reservation is kept",
            ],
        ),
        (
            lambda both: both.here["reservations"][2].update(released_ns=8),
            ["order 3: OPEN, and its reservation is released"],
        ),
        (
            lambda both: both.here["externals"].append(
                {"asset": "BTC", "evidence_id": "T9", "kind": "trade", "amount": "0.1"}
            ),
            ["BTC: 0.1 taken for an external trade (T9)"],
        ),
        (
            lambda both: both.here["orders"][3].update(code="GATE_POSITION", side="SELL", reason="of 0 seen bought"),
            ["C-4: SELL: the gate said GATE_POSITION: of 0 seen bought"],
        ),
        (
            lambda both: both.here["adjustments"].append({"asset": "BTC", "amount": "0.1"}),
            ["BTC: the books were adjusted by 0.1"],
        ),
    ],
)
def test_each_kind_of_difference_is_said(plant: Plant, said: list[str]) -> None:
    both = Both(ours(), theirs())
    plant(both)
    assert differences(both.here, both.there, START) == said


def test_tables_are_read_from_a_ledger_that_another_process_may_still_write(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE orders (order_no INTEGER, state TEXT)")
        writer.execute("INSERT INTO orders VALUES (1, 'OPEN')")
        writer.commit()
        assert read_tables(tmp_path) == {"orders": [{"order_no": 1, "state": "OPEN"}]}


def crashed() -> Both:
    """The same in the middle of things: one order is on its way, one is done there and not known to be here."""
    both = Both(ours(), theirs())
    both.here["orders"][0].update(state="PARTIALLY_FILLED", filled_quantity="0.001")
    both.here["fills"].pop()
    both.here["orders"][1].update(state="SENT")
    both.here["orders"][3].update(state="SENT")
    return both


def test_after_a_crash_the_venue_may_be_ahead() -> None:
    both = crashed()
    assert standing_differences(both.here, both.there) == []


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda both: both.there["orders"].append(both.there["orders"][0]), ["C-1: 2 orders at the venue"]),
        (lambda both: both.here["orders"][1].update(state="INTENT"), ["C-2: at the venue, and INTENT here"]),
        (lambda both: both.here["orders"][2].update(state="ABSENT"), ["C-3: at the venue, and ABSENT here"]),
        (lambda both: both.here["orders"].pop(1), ["C-2: at the venue, and no order here"]),
        (lambda both: both.here["intents"].pop(1), ["C-2: at the venue, and no intent here"]),
        (lambda both: both.there["fills"].pop(0), ["order 1: fill T1 of 0.001 is not at the venue"]),
        (lambda both: both.here["fills"][0].update(quantity="2"), ["order 1: fill T1 of 2 is not at the venue"]),
    ],
)
def test_what_no_crash_may_bring_about_is_said(plant: Plant, said: list[str]) -> None:
    both = crashed()
    plant(both)
    assert standing_differences(both.here, both.there) == said
