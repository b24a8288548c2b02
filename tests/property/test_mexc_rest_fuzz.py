"""Whatever comes back from REST: a typed value, or a typed error; never a number that no market shows, never a guess."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claire.adapters.venues.mexc import replies
from claire.adapters.venues.mexc.errors import Call, Kind, Retry, complaint_of, fault_of, plain, rule_of
from claire.adapters.venues.mexc.replies import ReplyError, read
from claire.adapters.venues.mexc.trading import NotSent, Refused, Taken, Unknown, _submitted
from claire.gateway.answers import Answer, NeverSent, NoAnswer
from claire.gateway.send import Sent

ORDER = {
    "symbol": "BTCUSDT", "orderId": "C02__1", "orderListId": -1, "clientOrderId": None, "price": "84270.00",
    "origQty": "0.10", "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "timeInForce": None,
    "type": "LIMIT", "side": "BUY", "time": 1795163900048, "updateTime": None,
}  # fmt: skip
TRADE = {
    "symbol": "BTCUSDT", "id": "a", "orderId": 7, "price": "1.5", "qty": "2", "commission": "-0.1", "time": "1795163900000",
    "commissionAsset": "MX", "isBuyer": True, "isMaker": False,
}  # fmt: skip
INFO = {
    "symbol": "BTCUSDT", "status": "1", "baseAsset": "BTC", "quoteAsset": "USDT", "baseAssetPrecision": 6,
    "quotePrecision": 2, "quoteAmountPrecision": "1", "tradeSideType": 1, "orderTypes": ["LIMIT"], "filters": [],
}  # fmt: skip
SAMPLES: list[tuple[Any, Any]] = [
    (replies.ServerTime, {"serverTime": 1795163900048}),
    (replies.Names, {"code": 200, "data": ["BTCUSDT"], "msg": None}),
    (replies.ExchangeInfo, {"symbols": [INFO], "serverTime": 1}),
    (replies.DepthSnapshot, {"lastUpdateId": 9, "bids": [["1.0", "2"]], "asks": [["1.1", "0"]]}),
    (tuple[replies.PublicTrade, ...], [{"price": "1", "qty": "2", "time": 3, "isBuyerMaker": True}]),
    (tuple[replies.AggTrade, ...], [{"a": None, "p": "1", "q": "2", "T": 3, "m": False}]),
    (tuple[replies.Kline, ...], [[1, "1", "2", "1", "1.5", "9", 60001, "12"]]),
    (replies.Ticker24h, {"symbol": "X", "lastPrice": "1", "volume": None, "quoteVolume": "2"}),
    (tuple[replies.BookTicker, ...], [{"symbol": "X", "bidPrice": "1", "askPrice": "2"}]),
    (replies.OrderReply, {"symbol": "X", "orderId": "C02__1", "transactTime": 5}),
    (tuple[replies.BatchReply, ...], [{"symbol": "X", "orderId": "1"}, {"code": 30002, "msg": "no"}]),
    (replies.OrderInfo, ORDER),
    (tuple[replies.OwnTrade, ...], [TRADE]),
    (replies.Account, {"canTrade": True, "balances": [{"asset": "X", "free": "1", "locked": "0.0"}]}),
    (replies.TradeFeeReply, {"data": {"makerCommission": 0.0005, "takerCommission": "0.001"}}),
    (replies.ListenKey, {"listenKey": "k"}),
]
KINDS = [kind for kind, _ in SAMPLES]
BODIES = [json.dumps(sample).encode() for _, sample in SAMPLES]
ODD: list[Any] = [
    "NaN", "nan", "sNaN", "Infinity", "-inf", "1e999999999", "1e-999999999", "-1", "0", "", " ", "0x10", "1_000", "٣", None, True,
    [], {}, -1, 0, 1.5, 1e308, 2**63, 10**30, "9" * 41, "1" * 5000,
]  # fmt: skip


def numbers(value: Any) -> Iterator[Decimal]:
    """Every decimal number within a parsed value."""
    if isinstance(value, Decimal):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from numbers(getattr(value, name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)


def read_or_refused(body: bytes, kind: Any) -> None:
    try:
        parsed = read(body, kind)
    except ReplyError as refused:
        words = str(refused)
    else:
        words = ""
        assert all(found.is_finite() and abs(found.adjusted()) <= replies.MOST_DIGITS for found in numbers(parsed))
    assert "\n" not in words
    assert len(words) < 500


@pytest.mark.parametrize(("kind", "sample"), SAMPLES, ids=range(len(SAMPLES)))
def test_the_samples_themselves_are_read(kind: Any, sample: Any) -> None:
    read(json.dumps(sample).encode(), kind)


@given(
    which=st.integers(0, len(BODIES) - 1),
    edits=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), max_size=4),
)
def test_damaged_bodies_are_read_or_refused(which: int, edits: list[tuple[int, bytes]]) -> None:
    body = bytearray(BODIES[which])
    for far, piece in edits:
        place = far % (len(body) + 1)
        body[place : place + max(1, len(piece))] = piece
    read_or_refused(bytes(body), KINDS[which])


@given(which=st.integers(0, len(SAMPLES) - 1), data=st.data())
def test_a_field_of_another_kind_is_read_or_refused(which: int, data: st.DataObject) -> None:
    kind, sample = SAMPLES[which]
    value = json.loads(json.dumps(sample))
    place, steps = value, 0
    while steps < 6 and isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(st.sampled_from(ODD))
            break
        place, steps = place[key], steps + 1
    read_or_refused(json.dumps(value).encode(), kind)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "msg", "data", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(which=st.sampled_from(KINDS), value=JSON)
def test_any_json_at_all_is_read_or_refused(which: Any, value: Any) -> None:
    read_or_refused(json.dumps(value).encode(), which)


@given(body=st.binary(max_size=300))
@example(body=b"[" * 100_000)
@example(body=b'{"code":' * 10_000)
@example(body=b"\xff\xfe")
def test_any_bytes_at_all_are_read_or_refused(body: bytes) -> None:
    for kind in KINDS:
        read_or_refused(body, kind)
    complaint_of(body)


STATUSES = st.sampled_from([200, 201, 204, 301, 307, 400, 401, 403, 404, 418, 429, 451, 500, 502, 503, 504, 510])


@given(status=STATUSES, value=JSON, call=st.sampled_from(Call))
@example(status=200, value={"code": 0, "data": {}}, call=Call.CREATE)
@example(status=200, value={"code": "10072", "msg": "Api key info invalid"}, call=Call.CREATE)
@example(status=503, value={"code": 30002, "msg": "too small"}, call=Call.CREATE)
@example(status=429, value={"code": 10072}, call=Call.CREATE)
@example(status=403, value="<html>", call=Call.CREATE)
def test_about_an_order_only_a_known_final_refusal_is_an_answer(status: int, value: Any, call: Call) -> None:
    answer = Answer(status, json.dumps(value).encode())
    fault = fault_of(answer, call)
    complaint = complaint_of(answer.body)
    if fault is None:
        assert 200 <= status < 300
        assert complaint is None
        return
    assert fault.remedy
    assert fault.reason
    if call is Call.CREATE:
        assert not fault.may_ask_again
        if fault.is_final:
            rule = rule_of(fault.code)
            assert rule is not None
            assert rule.retry is not Retry.QUERY
            assert status < 500
            assert status not in (418, 429)


@given(status=STATUSES, value=JSON)
def test_an_order_is_taken_only_with_an_id_and_refused_only_for_good(status: int, value: Any) -> None:
    sent = Sent(Answer(status, json.dumps(value).encode()), 1, 2)
    became = _submitted(sent, fault_of(sent.result, Call.CREATE))
    if isinstance(became, Taken):
        assert isinstance(value, dict)
        assert became.venue_order_id == str(value["orderId"]) != ""
    else:
        assert isinstance(became, Unknown | Refused)
        assert isinstance(became, Unknown) or became.fault.is_final


def test_silence_is_unknown_and_no_connection_is_not_sent() -> None:
    for result, kind in ((NoAnswer("x"), Kind.UNKNOWN), (NeverSent("x"), Kind.NOT_SENT)):
        for call in Call:
            fault = fault_of(result, call)
            assert fault is not None
            assert fault.kind is kind
            assert fault.may_ask_again is (call is not Call.CREATE)
    sent = Sent(NeverSent("x"), 1, 2)
    assert isinstance(_submitted(sent, fault_of(sent.result, Call.CREATE)), NotSent)


@given(text=st.text())
def test_a_venues_words_are_one_short_printable_line(text: str) -> None:
    line = plain(text)
    assert len(line) <= 200
    assert line.isprintable()
