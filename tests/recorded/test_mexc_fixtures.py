"""Frames captured from the venue, and pushes as other clients printed them: our schema and our decoder agree with all of them."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from claire.adapters.venues.mexc import control
from claire.adapters.venues.mexc.channels import Interval, Kind
from claire.adapters.venues.mexc.frames import FrameDecoder, decode
from claire.adapters.venues.mexc.pushes import BalancePush, CandlePush, DealPush, DepthUpdate, OrderPush, OrderStatus
from claire.model.market import Depth, Side, TopOfBook, Trade
from claire.model.orders import OrderType
from claire.wire import PushDataV3ApiWrapper
from tests.support.mexc import BTC, INSTRUMENTS, fields_of

MS = 1_000_000


@pytest.fixture(scope="module")
def frames(shared: Path) -> dict[str, Any]:
    """The captured public frames by name."""
    document = json.loads((shared / "fixtures" / "mexc" / "ws_public_frames.json").read_text("utf-8"))
    return {frame["id"]: frame for frame in document["frames"]}


@pytest.fixture(scope="module")
def samples(shared: Path) -> dict[str, Any]:
    """The printed private pushes by channel."""
    document = json.loads((shared / "fixtures" / "mexc" / "ws_private_decoded_samples.json").read_text("utf-8"))
    return {sample["channel"]: sample for sample in document["samples"]}


def numbers_as_text(value: Any) -> Any:
    """JSON as protobuf writes it: whole numbers of 64 bits are texts there, smaller ones are not told apart here."""
    if isinstance(value, dict):
        return {name: numbers_as_text(held) for name, held in value.items()}
    if isinstance(value, list):
        return [numbers_as_text(held) for held in value]
    return str(value) if isinstance(value, int) else value


def test_every_captured_frame_reads_as_its_decoded_form(frames: dict[str, Any]):
    assert len(frames) == 5
    for frame in frames.values():
        read = MessageToDict(PushDataV3ApiWrapper.FromString(bytes.fromhex(frame["hex"])))
        assert numbers_as_text(read) == numbers_as_text(frame["decoded"])


def test_every_captured_frame_is_made_again_byte_for_byte(frames: dict[str, Any]):
    for frame in frames.values():
        data = bytes.fromhex(frame["hex"])
        assert ParseDict(frame["decoded"], PushDataV3ApiWrapper()).SerializeToString(deterministic=True) == data
        assert [number for number, _ in fields_of(data)] == frame["wire"]["wrapper_field_order"]


def test_every_captured_frame_is_understood_and_has_no_field_beyond_the_schema(frames: dict[str, Any]):
    decoder = FrameDecoder(INSTRUMENTS)
    for frame in frames.values():
        decoded = decoder.decode(bytes.fromhex(frame["hex"]), 1)
        assert not decoded.unknown
        assert decoded.channel == frame["decoded"]["channel"]
        assert decoded.symbol == frame["decoded"]["symbol"]
        sent = frame["decoded"].get("sendTime")
        assert decoded.send_ns == (sent * MS if sent else None)
    assert decoder.unknown_fields == {}
    assert (decoder.decoded_total, decoder.errors_total) == (5, 0)


def steps(level: dict[str, str]) -> tuple[int, int]:
    """A printed level in ticks and lots, by another way than the decoder's."""
    return BTC.ticks(Decimal(level["price"])), BTC.lots(Decimal(level["quantity"]))


def test_captured_deals(frames: dict[str, Any]):
    frame = frames["aggre_deals_btcusdt"]
    printed = frame["decoded"]["publicAggreDeals"]["deals"]
    assert list(decode(bytes.fromhex(frame["hex"]), INSTRUMENTS, 5).events) == [
        Trade(
            "BTCUSDT",
            deal["time"] * MS,
            *steps(deal),
            Side.BUY if deal["tradeType"] == 1 else Side.SELL,
            trade_id=deal["tradeId"],
            ts_recv_ns=5,
        )
        for deal in printed
    ]
    assert [deal["tradeType"] for deal in printed] == [2, 1]


def test_captured_top(frames: dict[str, Any]):
    frame = frames["aggre_book_ticker_btcusdt"]
    printed = frame["decoded"]["publicAggreBookTicker"]
    decoded = decode(bytes.fromhex(frame["hex"]), INSTRUMENTS)
    bid = steps({"price": printed["bidPrice"], "quantity": printed["bidQuantity"]})
    ask = steps({"price": printed["askPrice"], "quantity": printed["askQuantity"]})
    assert decoded.events == (TopOfBook("BTCUSDT", frame["decoded"]["sendTime"] * MS, *bid, *ask),)
    assert decoded.version == int(printed["version"])
    assert decoded.last_order_ns == printed["lastOrderCreateTime"] * MS


def test_captured_whole_book(frames: dict[str, Any]):
    frame = frames["limit_depth5_btcusdt"]
    printed = frame["decoded"]["publicLimitDepths"]
    decoded = decode(bytes.fromhex(frame["hex"]), INSTRUMENTS)
    bids, asks = (tuple(map(steps, printed[side])) for side in ("bids", "asks"))
    assert decoded.events == (Depth("BTCUSDT", frame["decoded"]["sendTime"] * MS, bids, asks, snapshot=True),)
    assert len(bids) == len(asks) == 5
    assert decoded.version == int(printed["version"])


def test_captured_change_of_the_book(frames: dict[str, Any]):
    frame = frames["aggre_depth_btcusdt"]
    printed = frame["decoded"]["publicAggreDepths"]
    update = decode(bytes.fromhex(frame["hex"]), INSTRUMENTS).pushes[0]
    assert isinstance(update, DepthUpdate)
    assert (update.from_version, update.to_version) == (int(printed["fromVersion"]), int(printed["toVersion"]))
    assert (update.bids, update.asks) == tuple(tuple(map(steps, printed[side])) for side in ("bids", "asks"))
    assert any(lots == 0 for _, lots in update.asks)


def test_captured_candle(frames: dict[str, Any]):
    frame = frames["kline_min1_btcusdt"]
    printed = frame["decoded"]["publicSpotKline"]
    candle = decode(bytes.fromhex(frame["hex"]), INSTRUMENTS).pushes[0]
    assert candle == CandlePush(
        symbol="BTCUSDT",
        interval=Interval.MIN_1,
        ts_event_ns=frame["decoded"]["createTime"] * MS,
        open_ns=printed["windowStart"] * 10**9,
        close_ns=printed["windowEnd"] * 10**9,
        open_ticks=BTC.ticks(Decimal(printed["openingPrice"])),
        high_ticks=BTC.ticks(Decimal(printed["highestPrice"])),
        low_ticks=BTC.ticks(Decimal(printed["lowestPrice"])),
        close_ticks=BTC.ticks(Decimal(printed["closingPrice"])),
        volume=Decimal(printed["volume"]),
        turnover=Decimal(printed["amount"]),
    )


def from_sample(sample: dict[str, Any]) -> bytes:
    """A printed push on the wire."""
    return ParseDict({k: v for k, v in sample.items() if v is not None}, PushDataV3ApiWrapper()).SerializeToString()


def test_a_printed_own_execution(samples: dict[str, Any]):
    decoded = decode(from_sample(samples[Kind.PRIVATE_DEALS]), INSTRUMENTS)
    push = decoded.pushes[0]
    assert isinstance(push, DealPush)
    assert (push.symbol, push.side, push.is_maker, push.client_id) == ("MXUSDT", Side.SELL, False, "")
    assert (push.price, push.quantity, push.amount) == (Decimal("3.6962"), Decimal(1), Decimal("3.6962"))
    assert (push.fee, push.fee_asset) == (Decimal("0.0003998377369698171"), "MX")
    assert (push.trade_id, push.order_id) == ("505979017439002624X1", "C02__505979017439002624115")
    assert (decoded.send_ns, push.ts_event_ns) == (1_736_417_034_332 * MS, 1_736_417_034_280 * MS)


def test_a_printed_market_order_costs_its_cumulative_amount(samples: dict[str, Any]):
    push = decode(from_sample(samples[Kind.PRIVATE_ORDERS]), INSTRUMENTS).pushes[0]
    assert isinstance(push, OrderPush)
    assert (push.order_type, push.status, push.side) == (OrderType.MARKET, OrderStatus.FILLED, Side.BUY)
    assert (push.filled_quantity, push.filled_amount, push.amount) == (Decimal(2000), Decimal("2.014"), Decimal(0))
    assert (push.price, push.average_price) == (Decimal("0.001053"), Decimal("0.001007"))
    assert push.symbol == ""


def test_a_printed_balance(samples: dict[str, Any]):
    push = decode(from_sample(samples[Kind.PRIVATE_ACCOUNT]), INSTRUMENTS).pushes[0]
    assert isinstance(push, BalancePush)
    assert (push.asset, push.available, push.frozen) == ("USDT", Decimal("0.006016465074677006"), Decimal("4.4022"))
    assert push.available_change == -push.frozen_change
    assert push.cause == "ENTRUST_PLACE"


def test_every_control_text_of_the_venue_is_understood(shared: Path):
    document = json.loads((shared / "fixtures" / "mexc" / "ws_control_frames.json").read_text("utf-8"))
    answers = [control.parse(frame["text"]) for frame in document["frames"] if frame["dir"] == "s>c"]
    assert [type(answer).__name__ for answer in answers] == [
        "Answer",
        "Answer",
        "Answer",
        "AlreadyOn",
        "Pong",
        "InvalidListenKey",
    ]
    refused = answers[2]
    assert isinstance(refused, control.Answer)
    assert refused.refused == ("spot@public.deals.v3.api.pb@BTCUSDT",)
    assert not refused.accepted


def test_our_requests_are_the_recorded_ones_with_an_id(shared: Path):
    document = json.loads((shared / "fixtures" / "mexc" / "ws_control_frames.json").read_text("utf-8"))
    sent = [json.loads(frame["text"]) for frame in document["frames"] if frame["dir"] == "c>s"]
    (subscribe,) = control.subscribe(sent[0]["params"], first_id=7)
    assert json.loads(subscribe.text) == {**sent[0], "id": 7}
    assert json.loads(control.PING) == sent[1]
