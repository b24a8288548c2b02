"""The generated classes: made from proto/, by everyone the same, and noticed when they are not."""

from pathlib import Path

import pytest

from claire import wire
from tools import generate_wire


def test_the_committed_classes_are_what_the_schema_says(capsys: pytest.CaptureFixture[str]):
    assert generate_wire.main(["--check"]) == 0
    assert capsys.readouterr().out == "6 files\n"


def test_a_class_that_was_edited_added_or_lost_is_named(tmp_path: Path):
    made = generate_wire.generate(tmp_path)
    assert generate_wire.differences(made) == []
    edited = {**made, "public_pb2.py": made["public_pb2.py"] + "#", "more_pb2.py": ""}
    del edited["push_pb2.pyi"]
    assert generate_wire.differences(edited) == ["more_pb2.py", "public_pb2.py", "push_pb2.pyi"]


def test_an_unknown_argument_is_usage(capsys: pytest.CaptureFixture[str]):
    assert generate_wire.main(["--chekc"]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_wrapper_has_the_fact_sheets_numbers():
    fields = {field.name: field.number for field in wire.PushDataV3ApiWrapper.DESCRIPTOR.fields}
    assert fields == {
        "channel": 1,
        "symbol": 3,
        "symbol_id": 4,
        "create_time": 5,
        "send_time": 6,
        "public_deals": 301,
        "public_increase_depths": 302,
        "public_limit_depths": 303,
        "private_orders": 304,
        "public_book_ticker": 305,
        "private_deals": 306,
        "private_account": 307,
        "public_spot_kline": 308,
        "public_mini_ticker": 309,
        "public_mini_tickers": 310,
        "public_book_ticker_batch": 311,
        "public_increase_depths_batch": 312,
        "public_aggre_depths": 313,
        "public_aggre_deals": 314,
        "public_aggre_book_ticker": 315,
    }


def test_every_message_of_the_schema_is_exported():
    made = {
        name
        for module in (wire.private_pb2, wire.public_pb2, wire.push_pb2)
        for name in module.DESCRIPTOR.message_types_by_name
    }
    assert made == set(wire.__all__)


def test_nothing_and_false_and_zero_are_not_on_the_wire():
    assert wire.PrivateDeals(is_maker=False, client_order_id="", time=0).SerializeToString() == b""
    order = wire.PrivateOrders(trigger_type=0)  # this one is optional: set is set
    assert order.SerializeToString() != b""
