"""Channel names, requests and every answer of the venue's WebSocket."""

import json

import pytest

from claire.adapters.venues.mexc import channels, control
from claire.adapters.venues.mexc.channels import PRIVATE, TIME_ZONES, Channel, Interval, Kind, Speed
from claire.adapters.venues.mexc.control import (
    AlreadyOn,
    Answer,
    BadRequest,
    InvalidListenKey,
    NotOn,
    Pong,
    Unknown,
    parse,
)
from claire.model.errors import UsageError

DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
DEPTH = "spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"


def said(msg: str, request_id: int = 0, code: int = 0) -> str:
    """An answer of the venue."""
    return json.dumps({"id": request_id, "code": code, "msg": msg}, ensure_ascii=False)


# -- names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        (channels.deals("BTCUSDT"), DEALS),
        (channels.depth("BTCUSDT", Speed.MS_10), DEPTH),
        (channels.book_ticker("BTCUSDT"), "spot@public.aggre.bookTicker.v3.api.pb@100ms@BTCUSDT"),
        (channels.book_ticker_batch("BTCUSDT"), "spot@public.bookTicker.batch.v3.api.pb@BTCUSDT"),
        (channels.limit_depth("BTCUSDT", 20), "spot@public.limit.depth.v3.api.pb@BTCUSDT@20"),
        (channels.kline("BTCUSDT", Interval.HOUR_8), "spot@public.kline.v3.api.pb@BTCUSDT@Hour8"),
        (channels.mini_ticker("龙虾USDT", "UTC+8"), "spot@public.miniTicker.v3.api.pb@龙虾USDT@UTC+8"),
        (channels.mini_tickers(), "spot@public.miniTickers.v3.api.pb@24H"),
        (PRIVATE[0], "spot@private.orders.v3.api.pb"),
        (PRIVATE[1], "spot@private.deals.v3.api.pb"),
        (PRIVATE[2], "spot@private.account.v3.api.pb"),
    ],
)
def test_a_name_is_built_and_taken_apart(channel: Channel, name: str):
    assert channel.name == name
    assert channels.parse(name) == channel


def test_each_kind_has_a_name_that_is_tested_above():
    assert len(Kind) == 11


@pytest.mark.parametrize(
    "symbol", ["", "btcusdt", "BTC_USDT", "BTC-USDT", "BTC/USDT", "BTC USDT", "A,B", "A@B", "A]", 'A"', "A\n"]
)
def test_a_symbol_that_the_venue_would_refuse_is_refused_here(symbol: str):
    with pytest.raises(UsageError, match="symbol"):
        channels.deals(symbol)


def test_a_lower_case_symbol_is_answered_with_the_right_one():
    with pytest.raises(UsageError, match="Did you mean BTCUSDT"):
        channels.deals("btcusdt")


def test_what_is_not_offered_is_answered_with_what_is():
    with pytest.raises(UsageError, match="one of 5, 10, 20 is"):
        channels.limit_depth("BTCUSDT", 50)
    with pytest.raises(UsageError, match=r"UTC\+8"):
        channels.mini_tickers("UTC-9")


def test_the_time_zones_are_those_with_a_day():
    assert len(set(TIME_ZONES)) == len(TIME_ZONES) == 25


@pytest.mark.parametrize(
    "name",
    [
        "",
        "spot",
        "spot@",
        "spot@public.deals.v3.api.pb@BTCUSDT",
        "spot@public.aggre.deals.v3.api@100ms@BTCUSDT",
        "spot@public.aggre.deals.v3.api.pb@BTCUSDT",
        "spot@public.aggre.deals.v3.api.pb@BTCUSDT@100ms",
        "spot@public.aggre.deals.v3.api.pb@100ms@btcusdt",
        "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT@",
        "spot@public.miniTicker.v3.api.pb@BTCUSDT",
        "spot@private.orders.v3.api.pb@BTCUSDT",
    ],
)
def test_a_name_of_nothing_is_none(name: str):
    assert channels.parse(name) is None


# -- requests -------------------------------------------------------------------------------------------------------------


def test_a_request_names_its_channels_and_its_id():
    (request,) = control.subscribe([channels.deals("BTCUSDT"), DEPTH], first_id=7)
    assert json.loads(request.text) == {"method": "SUBSCRIPTION", "params": [DEALS, DEPTH], "id": 7}
    assert (request.id, request.channels) == (7, (DEALS, DEPTH))
    (request,) = control.unsubscribe([channels.deals("BTCUSDT")])
    assert json.loads(request.text) == {"method": "UNSUBSCRIPTION", "params": [DEALS], "id": 1}


def test_a_full_connections_request_is_split_by_bytes_not_by_letters():
    wanted = [channels.deals(f"龙虾龙虾{number}USDT") for number in range(30)]
    requests = control.subscribe(wanted, first_id=100)
    assert [name for request in requests for name in request.channels] == [channel.name for channel in wanted]
    assert [request.id for request in requests] == list(range(100, 100 + len(requests)))
    sizes = [len(request.text.encode()) for request in requests]
    assert max(sizes) <= control.LONGEST_REQUEST
    assert min(sizes[:-1]) > control.LONGEST_REQUEST - 80


def test_nothing_to_ask_for_is_no_request():
    assert control.subscribe([]) == []


def test_the_thirty_first_channel_is_refused_before_it_is_sent():
    with pytest.raises(UsageError, match="open more connections"):
        control.subscribe([channels.deals(f"A{number}USDT") for number in range(31)])


def test_a_channel_asked_for_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        control.subscribe([DEALS, DEPTH, DEALS])


def test_a_name_longer_than_a_request_is_refused():
    with pytest.raises(UsageError, match="longer"):
        control.subscribe([DEPTH, channels.deals("A" * 1000)])


def test_a_ping_is_what_the_documentation_prints():
    assert json.loads(control.PING) == {"method": "PING"}


# -- answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (said(DEALS), Answer(0, (DEALS,))),
        (said(f"{DEALS},{DEPTH}", 7), Answer(7, (DEALS, DEPTH))),
        (said(f"{DEALS}, {DEPTH}"), Answer(0, (DEALS, DEPTH))),
        (said(""), AlreadyOn(0)),
        (said(" ", 3), AlreadyOn(3)),
        (said("PONG"), Pong()),
        (said("msg format invalid"), BadRequest(0, "msg format invalid")),
        (said("msg format invalid", code=1), BadRequest(0, "msg format invalid")),
        (said("no subscription success", 4), NotOn(4, "no subscription success")),
        (said("Invalid listen key"), InvalidListenKey()),
        ("Invalid listen key", InvalidListenKey()),
        ("Invalid listen key\n", InvalidListenKey()),
        (
            said(f"Not Subscribed successfully! [{DEALS}].  Reason： Blocked! "),
            Answer(0, refused=(DEALS,), reason="Blocked!"),
        ),
        (
            said(f"Not Subscribed successfully! [{DEALS},{DEPTH}]. Reason: Blocked!", 9),
            Answer(9, refused=(DEALS, DEPTH), reason="Blocked!"),
        ),
        (
            said(
                f"Subscribed successful! [{DEALS},{DEPTH}]. Not Subscribed successfully! [spot@x]. Reason： Blocked! "
            ),
            Answer(0, (DEALS, DEPTH), ("spot@x",), "Blocked!"),
        ),
        (
            said(f"Not Subscribed successfully! [{DEALS}]. Reason： Blocked! Subscribed successful! [{DEPTH}]."),
            Answer(0, (DEPTH,), (DEALS,), f"Blocked! Subscribed successful! [{DEPTH}]."),
        ),
        (
            said(f"Subscribed successful! [{DEALS}]. Not Subscribed successfully! [{DEALS}]."),
            Answer(0, refused=(DEALS,)),
        ),
    ],
)
def test_an_answer_is_understood_by_its_words(text: str, answer: control.Control):
    assert parse(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        "null",
        "7",
        '{"method":"PING"}',
        '{"id":"x","code":0,"msg":"PONG"}',
        '{"id":0,"code":0,"msg":null}',
        said(DEALS, code=1),
        said("", code=500),
        said("something new"),
        said(f"{DEALS} is great"),
        said("Not Subscribed successfully!"),
        said("Subscribed successful! []."),
        said(f"{DEALS},hello"),
        "[" * 100_000,
        said("x" * control.LONGEST_ANSWER),
        '{"msg":"\ud800"}',
    ],
)
def test_what_is_not_understood_accepts_nothing(text: str):
    answer = parse(text)
    assert isinstance(answer, Unknown)
    assert len(answer.text) <= 200
