"""The last hop: what is signed, by whom, where it may go, and that a secret shows nowhere."""

import asyncio
import copy
import pickle
import time
import traceback
from decimal import Decimal

import aiohttp
import msgspec
import pytest
from aiohttp import web

from claire.gateway.answers import Answer, NeverSent, NoAnswer
from claire.gateway.gate import Approval, Dispatch, Gate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import ORDER_PATHS, Keys, OrderSigner, QuerySigner, encode, signature
from claire.model.errors import ConfigError, SafetyRefusal
from claire.model.market import Side
from tests.support.rest_server import serving

PLANTED = "planted-secret-4711"
KEYS = Keys("mx0vglplantedaccess", PLANTED)
PARAMS = (
    ("symbol", "BTCUSDT"),
    ("side", "BUY"),
    ("type", "MARKET"),
    ("quantity", "0.001"),
    ("newClientOrderId", "C1-1"),
)


def approved(**changes: object) -> Approval:
    """The approval of `PARAMS`."""
    fields: dict[str, object] = {
        "order_no": 1,
        "client_order_id": "C1-1",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "quantity": Decimal("0.001"),
        "type": "MARKET",
        "price": None,
        "reduce_only": False,
        "epoch": 0,
        "approved_ns": time.time_ns(),
    }
    return msgspec.convert(fields | changes, Approval)


# -- signatures -------------------------------------------------------------------------------------------------------


def test_a_signature_is_the_lower_case_hmac_of_the_bytes_that_are_sent() -> None:
    total = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=11&recvWindow=5000&timestamp=1644489390087"
    signed = signature("not-a-real-secret-for-tests-only", total)
    assert signed == "a8b5df5300804ba04faa3cdfa6d71538fa8262585ce462dc42533b7bc52b15d0"  # pragma: allowlist secret


def test_values_are_percent_encoded_with_capitals_and_a_blank_is_no_plus() -> None:
    assert encode((("a", "cl-1/a b+c,d"), ("batchOrders", '[{"x":"1"}]'), ("s", "龙虾USDT"))) == (
        "a=cl-1%2Fa%20b%2Bc%2Cd&batchOrders=%5B%7B%22x%22%3A%221%22%7D%5D&s=%E9%BE%99%E8%99%BEUSDT"
    )


def test_the_signature_comes_last_and_covers_timestamp_and_window() -> None:
    query = OrderSigner(KEYS).sign("/api/v3/order", PARAMS, timestamp_ms=1700000000000, recv_window_ms=2000)
    signed, _, given = query.rpartition("&signature=")
    assert (
        signed
        == "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newClientOrderId=C1-1&timestamp=1700000000000&recvWindow=2000"
    )
    assert given == signature(PLANTED, signed)


# -- who may sign what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ORDER_PATHS)
def test_the_signer_of_queries_refuses_whatever_creates_an_order(path: str) -> None:
    with pytest.raises(SafetyRefusal, match="queries, cancels and listen keys only"):
        QuerySigner(KEYS).sign("POST", path, PARAMS, timestamp_ms=1, recv_window_ms=2000)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v3/order/"),
        ("POST", "/api/v3//order"),
        ("POST", "/api/v3/%6frder"),
        ("post", "/api/v3/order"),
        ("PUT", "/api/v3/order"),
        ("POST", "/api/v3/capital/withdraw"),
        ("DELETE", "/api/v3/capital/withdraw"),
        ("GET", "/api/v3/order?x=/../batchOrders"),
        ("GET", "https://elsewhere/api/v3/order"),
        ("PATCH", "/api/v3/order"),
    ],
)
def test_the_signer_of_queries_signs_nothing_that_it_does_not_know(method: str, path: str) -> None:
    with pytest.raises(SafetyRefusal):
        QuerySigner(KEYS).sign(method, path, (), timestamp_ms=1, recv_window_ms=2000)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v3/order"),
        ("GET", "/api/v3/mxDeduct/enable"),
        ("DELETE", "/api/v3/order"),
        ("DELETE", "/api/v3/openOrders"),
        ("DELETE", "/api/v3/order/all"),
        ("POST", "/api/v3/userDataStream"),
        ("PUT", "/api/v3/userDataStream"),
        ("DELETE", "/api/v3/userDataStream"),
    ],
)
def test_queries_cancels_and_listen_keys_are_signed(method: str, path: str) -> None:
    assert "&signature=" in QuerySigner(KEYS).sign(method, path, PARAMS, timestamp_ms=1, recv_window_ms=2000)


def test_the_signer_of_orders_signs_nothing_else() -> None:
    with pytest.raises(SafetyRefusal):
        OrderSigner(KEYS).sign("/api/v3/userDataStream", (), timestamp_ms=1, recv_window_ms=2000)


# -- secrets show nowhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [KEYS, OrderSigner(KEYS), QuerySigner(KEYS)], ids=lambda h: type(h).__name__)
def test_what_holds_a_secret_neither_prints_nor_leaves_memory(holder: object) -> None:
    assert PLANTED not in f"{holder} {holder!r}"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(holder)


async def lose_everything(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.asyncio
async def test_no_error_and_no_outcome_of_sending_holds_the_secret_or_the_signature() -> None:
    async with serving({"/api/v3/order": lose_everything}) as server:
        async with OrderSender(Endpoint.parse(server.url), KEYS) as sender:
            sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
            assert isinstance(sent.result, NoAnswer)
            shown = f"{sent!r} {sender!r} {sender.__dict__!r}"
        (seen,) = server.seen
        signed = seen.query["signature"]
    with pytest.raises(RuntimeError) as caught:
        await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
    shown += "".join(traceback.format_exception(caught.value))
    assert PLANTED not in shown
    assert signed not in shown


# -- where orders may go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080", "http://127.8.9.1", "http://localhost:1", "http://[::1]:99", "unix:/run/x.sock"],
)
def test_this_machine_is_where_orders_may_go(url: str) -> None:
    assert Endpoint.parse(url).is_loopback
    OrderSender(Endpoint.parse(url), KEYS)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.mexc.com", "api.mexc.com"),
        ("http://localhost.evil.example", "localhost.evil.example"),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("http://10.0.0.1", "10.0.0.1"),
        ("http://0.0.0.0", "0.0.0.0"),  # noqa: S104 - refused
        ("http://[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
        ("http://127.1", "127.1"),
        ("http://2130706433", "2130706433"),
        ("http://127.0.0.1%2eevil.example", "127.0.0.1%2eevil.example"),
        ("http://localhost.", "localhost."),
    ],
)
def test_a_signed_order_for_any_other_host_is_refused_with_host_and_reason(url: str, host: str) -> None:
    with pytest.raises(SafetyRefusal) as caught:
        OrderSender(Endpoint.parse(url), KEYS)
    assert caught.value.exit_code == 3
    assert f"a signed order for {host} is refused" in str(caught.value)
    assert "claire mexc-sim" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "api.mexc.com",
        "ftp://api.mexc.com",
        "http://",
        "unix:relative",
        "http://127.0.0.1@evil.example",
        "http://user:word@127.0.0.1",  # pragma: allowlist secret
        "http://127.0.0.1/api",
        "http://127.0.0.1?x=1",
        "http://127.0.0.1:99999",
        "http://[::1",
    ],
)
def test_what_is_no_address_of_a_venue_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="write it as https://") as caught:
        Endpoint.parse(url)
    assert "word" not in str(caught.value).replace("password", "")


# -- sending ----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_order_is_sent_once_as_a_post_with_an_empty_body_whatever_comes_back() -> None:
    for status in (200, 429, 500, 503):
        async with (
            serving({"/api/v3/order": lambda _, status=status: web.Response(status=status, text="{}")}) as server,
            OrderSender(Endpoint.parse(server.url), KEYS, recv_window_ms=1500) as sender,
        ):
            sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1700000000000, approvals=(approved(),))
            assert isinstance(sent.result, Answer)
            assert (sent.result.status, sent.fence_ms) == (status, 1700000002500)
            (seen,) = server.seen
            assert (seen.method, seen.body) == ("POST", b"")
            assert seen.headers["X-MEXC-APIKEY"] == "mx0vglplantedaccess"  # pragma: allowlist secret
            assert seen.headers["Content-Type"] == "application/json"
            signed = seen.raw_query.rpartition("&signature=")[0]
            assert seen.query["signature"] == signature(PLANTED, signed)


@pytest.mark.asyncio
async def test_an_order_follows_no_redirect() -> None:
    def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://elsewhere.example/api/v3/order"})

    async with (
        serving({"/api/v3/order": elsewhere}) as server,
        OrderSender(Endpoint.parse(server.url), KEYS) as sender,
    ):
        sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
    assert isinstance(sent.result, Answer)
    assert sent.result.status == 307


@pytest.mark.asyncio
async def test_an_order_that_found_nobody_was_never_sent(unused_tcp_port: int) -> None:
    async with OrderSender(Endpoint.parse(f"http://127.0.0.1:{unused_tcp_port}"), KEYS) as sender:
        sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
    assert isinstance(sent.result, NeverSent)


@pytest.mark.asyncio
async def test_an_answer_that_is_too_long_or_too_late_is_no_answer() -> None:
    long = web.Response(body=b" " * 2_000_000)
    async with (
        serving({"/api/v3/order": lambda _: long}) as server,
        OrderSender(Endpoint.parse(server.url), KEYS) as sender,
    ):
        sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
    assert isinstance(sent.result, NoAnswer)
    assert "more than" in sent.result.reason
    async with (
        serving({"/api/v3/order": "hang"}) as server,
        OrderSender(Endpoint.parse(server.url), KEYS, timeout_s=0.1) as sender,
    ):
        sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
    assert isinstance(sent.result, NoAnswer)
    assert "within 0.1 s" in sent.result.reason


# -- the gate right before the write ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_gate_is_asked_when_there_is_a_connection_and_what_it_refuses_is_never_written() -> None:
    steps: list[str] = []
    dispatched: list[Dispatch] = []
    gate = Gate(on_dispatch=dispatched.append)
    async with (
        serving({"/api/v3/order": lambda _: web.Response(text="{}")}) as server,
        OrderSender(Endpoint.parse(server.url), KEYS, gate=gate, step=steps.append) as sender,
    ):
        first = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        again = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        bare = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1)
        assert isinstance(first.result, Answer)
        assert isinstance(again.result, NeverSent)
        assert isinstance(bare.result, NeverSent)
        assert (again.result.code, bare.result.code) == ("GATE_REPEATED", "GATE_UNAPPROVED")
        assert len(server.seen) == 1
    assert steps == [
        "gate.before",
        "send.before",
        "send.after",
        "gate.before",
        "send.after",
        "gate.before",
        "send.after",
    ]
    assert [(each.outcome, each.status) for each in dispatched] == [("answered", 200), ("never_sent", 0)]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["gate.before", "send.before", "send.after"])
async def test_a_crash_at_any_boundary_sends_at_most_once(where: str) -> None:
    crashed: list[str] = []

    def step(name: str) -> None:
        if name == where and not crashed:
            crashed.append(name)
            raise Crash(name)

    async with (
        serving({"/api/v3/order": lambda _: web.Response(text="{}")}) as server,
        OrderSender(Endpoint.parse(server.url), KEYS, step=step) as sender,
    ):
        with pytest.raises(Crash):
            await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        assert len(server.seen) == (where == "send.after")
        await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        assert len(server.seen) == 1 - (where == "send.before"), "what has passed the gate is not sent again"


@pytest.mark.asyncio
async def test_a_connection_that_takes_too_long_was_never_written_to() -> None:
    async with serving({}) as server, OrderSender(Endpoint.parse(server.url), KEYS, timeout_s=0.1) as sender:
        assert sender._session is not None
        connector = sender._session.connector
        assert connector is not None

        async def connect(*_: object, **__: object) -> object:
            await asyncio.sleep(5)
            raise AssertionError("nobody waits for so long")

        connector.connect = connect  # type: ignore[method-assign, assignment]
        sent = await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        assert isinstance(sent.result, NeverSent)
        assert not sender.gate.knows("C1-1")


@pytest.mark.asyncio
async def test_a_session_that_cannot_check_sends_nothing() -> None:
    async with serving({"/api/v3/order": lambda _: web.Response(text="{}")}) as server:
        endpoint = Endpoint.parse(server.url)
        async with OrderSender(endpoint, KEYS, make_session=lambda _: aiohttp.ClientSession()) as sender:
            with pytest.raises(RuntimeError, match="CheckedRequest"):
                await sender.send("/api/v3/order", PARAMS, timestamp_ms=1, approvals=(approved(),))
        assert not server.seen
