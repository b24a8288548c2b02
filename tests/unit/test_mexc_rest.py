"""The REST client: what it asks for again and what not, what it tells the journal, and what it makes of nonsense."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiohttp import web

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.budget import Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.clock import Sample
from claire.adapters.venues.mexc.errors import Kind, MexcError
from claire.adapters.venues.mexc.instruments import Listing, TypeMemory, closed_because, require_tradable, tradable
from claire.adapters.venues.mexc.replies import ExchangeInfo, SymbolInfo, read
from claire.adapters.venues.mexc.requests import Request
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.trading import MexcTrading, NotSent, Taken, Unknown
from claire.gateway.answers import Exchange
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.model.errors import ConfigError, DataError, UsageError
from claire.model.market import Side
from claire.model.orders import OrderType
from tests.contract.venue_desk import intent
from tests.support.rest_server import Line, Server, complaint, serving

TIME = "/api/v3/time"
ACCOUNT = "/api/v3/account"
GOOD: dict[str, Any] = {"balances": []}
PLANTED = "planted-secret-4711"


def now(_: web.Request) -> web.Response:
    return web.json_response({"serverTime": time.time_ns() // 1_000_000})


@asynccontextmanager
async def client(answers: dict[str, Any], **settings: Any) -> AsyncIterator[tuple[MexcRest, Server, list[float]]]:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    wide = Budget({bucket: Limit(1e6, 1e6) for bucket in Bucket})
    settings.setdefault("signer", QuerySigner(Keys("access", PLANTED)))
    async with serving({TIME: now, **answers}) as server:
        gate = Gate(wide, time.monotonic_ns)
        async with MexcRest(Endpoint.parse(server.url), gate, sleep=nap, **settings) as rest:
            yield rest, server, naps


def count(server: Server, path: str) -> int:
    return server.paths().count(path)


@pytest.mark.asyncio
async def test_a_read_is_asked_three_times_at_most_with_a_pause_before_each() -> None:
    broken = complaint(503, 503, "busy")
    async with client({ACCOUNT: Line([broken, broken, GOOD])}) as (rest, server, naps):
        await rest.get(requests.account(), replies.Account)
        assert count(server, ACCOUNT) == 3
        assert naps == [0.25, 1.0]
    async with client({ACCOUNT: broken}) as (rest, server, _):
        with pytest.raises(MexcError, match="a fault on MEXC's side") as caught:
            await rest.get(requests.account(), replies.Account)
        assert caught.value.fault.kind is Kind.UNKNOWN
        assert count(server, ACCOUNT) == 3


@pytest.mark.asyncio
async def test_an_answer_is_believed_and_not_asked_for_again() -> None:
    for answer in (
        complaint(400, 700007),
        complaint(200, "30016", "halt"),
        complaint(404, -2013),
        {"balances": "none"},
    ):
        async with client({ACCOUNT: answer}) as (rest, server, _):
            with pytest.raises(MexcError):
                await rest.get(requests.account(), replies.Account)
            assert count(server, ACCOUNT) == 1


@pytest.mark.asyncio
async def test_a_wrong_time_is_put_right_and_the_request_signed_anew() -> None:
    async with client({ACCOUNT: Line([complaint(400, 700003), GOOD])}) as (rest, server, _):
        await rest.get(requests.account(), replies.Account)
        assert rest.clock.syncs == 2
        first, second = (seen.query for seen in server.seen if seen.path == ACCOUNT)
        assert int(first["timestamp"]) <= int(second["timestamp"])


@pytest.mark.asyncio
async def test_a_body_that_cannot_be_read_is_an_error_that_names_the_field() -> None:
    async with client({TIME: {"serverTime": "soon"}}) as (rest, _, _):
        with pytest.raises(MexcError, match=r"ServerTime.*\$\.serverTime"):
            await rest.get(requests.server_time(), replies.ServerTime)
    async with client({TIME: lambda _: web.Response(text="<html>hello</html>")}) as (rest, _, _):
        with pytest.raises(MexcError, match="cannot be read"):
            await rest.get(requests.server_time(), replies.ServerTime)


@pytest.mark.asyncio
async def test_a_firewalls_page_pauses_every_call() -> None:
    page = lambda _: web.Response(status=403, text="<html>Access Denied</html>", content_type="text/html")  # noqa: E731
    async with client({ACCOUNT: page}) as (rest, server, _):
        await rest.sync_clock()
        for _ in range(2):
            with pytest.raises(MexcError, match="firewall"):
                await rest.get(requests.account(), replies.Account)
        assert count(server, ACCOUNT) == 1
        assert rest.counters["refused_by_budget"] == 2


@pytest.mark.asyncio
async def test_signed_calls_need_keys_and_never_show_them() -> None:
    async with client({ACCOUNT: complaint(400, 602, "bad")}, signer=None) as (rest, server, _):
        with pytest.raises(ConfigError, match="SECRETS_PATH"):
            await rest.get(requests.account(), replies.Account)
        assert ACCOUNT not in server.paths()
    async with client({ACCOUNT: complaint(400, 602, "bad")}) as (rest, _, _):
        with pytest.raises(MexcError) as caught:
            await rest.get(requests.account(), replies.Account)
        assert PLANTED not in f"{caught.value} {caught.value!r} {caught.value.fault!r} {rest!r} {rest.__dict__!r}"
        assert "signature=" not in str(caught.value)


@pytest.mark.asyncio
async def test_the_observer_hears_every_answer_but_those_about_listen_keys() -> None:
    heard: list[tuple[Request, Exchange]] = []
    answers = {ACCOUNT: GOOD, "/api/v3/userDataStream": {"listenKey": "k"}}
    async with client(answers, observe=lambda *told: heard.append(told)) as (rest, _, _):
        await rest.get(requests.account(), replies.Account)
        await rest.get(requests.listen_key("POST"), replies.ListenKey)
    assert [request.path for request, _ in heard] == [TIME] * 3 + [ACCOUNT]
    assert "listenKey" not in str(heard)


@pytest.mark.asyncio
async def test_keeping_the_clock_counts_what_fails_and_goes_on() -> None:
    class Enough(Exception):
        pass

    naps = 0

    async def nap(_: float) -> None:
        nonlocal naps
        naps += 1
        if naps > 20:
            raise Enough

    async with serving({TIME: complaint(400, 26)}) as server:
        gate = Gate(Budget(), time.monotonic_ns)
        async with MexcRest(Endpoint.parse(server.url), gate, sleep=nap) as rest:
            with pytest.raises(Enough):
                await rest.keep_clock()
            assert rest.counters["clock_syncs_failed"] > 10


@pytest.mark.asyncio
async def test_an_order_that_the_budget_does_not_let_out_in_time_is_not_sent() -> None:
    tight = Budget({bucket: Limit(1, 0.001) for bucket in Bucket})
    async with serving({TIME: now}) as server:
        endpoint, keys = Endpoint.parse(server.url), Keys("access", PLANTED)
        rest = MexcRest(endpoint, Gate(tight, time.monotonic_ns), signer=QuerySigner(keys))
        moment_ns = time.monotonic_ns()
        rest.clock.take([Sample(moment_ns, moment_ns, time.time_ns() // 1_000_000, time.time_ns())])
        async with rest, OrderSender(endpoint, keys) as sender:
            trading = MexcTrading(rest, sender, {"ABCUSDT": tradable(info())})
            tight.take(requests.ping().cost, time.monotonic_ns())
            became = await trading.submit(intent(1, Side.BUY, OrderType.MARKET))
        assert isinstance(became, NotSent)
        assert "budget is used up" in became.fault.reason
        assert server.seen == []


@pytest.mark.asyncio
async def test_an_answer_of_a_batch_that_names_another_order_tells_nothing_about_this_one() -> None:
    def answer(_: web.Request) -> web.Response:
        named = [
            {"symbol": "ABCUSDT", "orderId": f"C02__{n}", "newClientOrderId": name}
            for n, name in ((1, "c1"), (2, "c9"))
        ]
        return web.json_response(named)

    async with serving({TIME: now, "/api/v3/batchOrders": answer}) as server:
        endpoint, keys = Endpoint.parse(server.url), Keys("access", PLANTED)
        rest = MexcRest(endpoint, Gate(Budget(), time.monotonic_ns), signer=QuerySigner(keys))
        async with rest, OrderSender(endpoint, keys) as sender:
            trading = MexcTrading(rest, sender, {"ABCUSDT": tradable(info())})
            one, two = (intent(number, Side.BUY, OrderType.MARKET) for number in (1, 2))
            became = await trading.submit_batch([one, two])
            assert [type(outcome) for outcome in became] == [Taken, Unknown]
            again = await trading.submit(two)
            assert isinstance(again, NotSent)
            assert again.fault.code == "GATE_REPEATED"


# -- instruments ------------------------------------------------------------------------------------------------------

INFO = b"""{"symbol":"ABCUSDT","status":"1","baseAsset":"ABC","quoteAsset":"USDT","baseAssetPrecision":2,"quotePrecision":4,
"quoteAssetPrecision":4,"quoteAmountPrecision":"1","quoteAmountPrecisionMarket":"5","baseSizePrecision":"0.5",
"maxQuoteAmount":"2000000","isSpotTradingAllowed":true,"tradeSideType":"1","orderTypes":["LIMIT","MARKET"],
"makerCommission":"0","takerCommission":"0.0005"}"""


def info(**changes: Any) -> SymbolInfo:
    return msgspec.structs.replace(read(INFO, SymbolInfo), **changes)


def test_rules_come_from_the_listing() -> None:
    rules = tradable(info())
    instrument = rules.instrument
    assert (instrument.tick, instrument.lot, instrument.min_notional) == (
        Decimal("0.0001"),
        Decimal("0.01"),
        Decimal(5),
    )
    assert (rules.min_notional, rules.min_notional_market, rules.min_quantity) == (
        Decimal(1),
        Decimal(5),
        Decimal("0.5"),
    )
    assert (instrument.base, instrument.quote, instrument.venue, instrument.source) == ("ABC", "USDT", "mexc", "venue")


def test_two_numbers_of_price_decimals_are_no_tick() -> None:
    with pytest.raises(DataError, match=r"instruments\.ABCUSDT\.tick"):
        tradable(info(quote_asset_precision=5))


def test_steps_too_fine_for_exact_money_are_refused() -> None:
    with pytest.raises(DataError, match="too fine"):
        tradable(info(quote_precision=12, quote_asset_precision=12, base_asset_precision=12))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "2"}, "is paused"),
        ({"status": 3}, "is offline"),
        ({"status": "9"}, "not online"),
        ({"is_spot_trading_allowed": False}, "isSpotTradingAllowed = false"),
        ({"trade_side_type": 2}, "buyers only"),
        ({"trade_side_type": "3"}, "sellers only"),
        ({"trade_side_type": 4}, "closed on both sides"),
        ({"status": "ENABLED"}, ""),
        ({"status": 1, "trade_side_type": 1}, ""),
    ],
)
def test_a_closed_symbol_has_a_reason(changes: dict[str, Any], says: str) -> None:
    reason = closed_because("ABCUSDT", Listing({"ABCUSDT": info(**changes)}))
    assert says in reason
    assert bool(says) is bool(reason)


def test_a_symbol_that_is_not_among_the_apis_or_the_keys_is_closed() -> None:
    infos = {"ABCUSDT": info()}
    assert "defaultSymbols" in closed_because("ABCUSDT", Listing(infos, {"XUSDT"}))
    assert "selfSymbols" in closed_because("ABCUSDT", Listing(infos, {"ABCUSDT"}, {"XUSDT"}))
    with pytest.raises(UsageError, match="claire symbols --venue mexc"):
        require_tradable(["ABCUSDT"], Listing(infos, {"XUSDT"}))
    assert require_tradable(["ABCUSDT"], Listing(infos, {"ABCUSDT"}, {"ABCUSDT"}))


def test_a_memory_of_order_types_that_cannot_be_read_says_what_to_do(tmp_path: Any) -> None:
    file = tmp_path / "types.json"
    for text in ("{", "[]", '{"A": 1}'):
        file.write_text(text)
        with pytest.raises(DataError, match="delete it"):
            TypeMemory(file)


def test_an_empty_listing_is_read() -> None:
    assert read(b'{"symbols":[]}', ExchangeInfo).symbols == ()
