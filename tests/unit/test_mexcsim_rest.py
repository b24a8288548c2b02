"""REST of the simulator: signing in each style, the codes of the sheet, envelopes, orders from birth to death, budgets."""

import urllib.parse
from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
import pytest
import pytest_asyncio

from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator, VenueHabits
from claire.mexcsim.symbols import BUILT_IN
from tests.support.sim import KEY, SECRET, ManualClock, SimClient

pytestmark = pytest.mark.asyncio
STILL = FlowSettings(events_per_s=0)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[SimClient]:
    config = SimConfig(seed=3, flow=STILL, limits=Limits(enabled=False), past_minutes=600)
    async with Simulator(config) as sim, SimClient(sim) as client:
        sim.add_account(KEY, SECRET, balances={"USDT": 10_000, "BTC": 1, "XRP": 500, "MX": 10})
        yield client


async def balances(client: SimClient) -> dict[str, tuple[Decimal, Decimal]]:
    rows = (await client.signed("GET", "account")).json["balances"]
    return {row["asset"]: (Decimal(row["free"]), Decimal(row["locked"])) for row in rows}


class TestWhoCalls:
    async def test_a_query_a_form_body_and_both_are_signed_without_a_separator(self, client: SimClient):
        now = client.sim.venue.server_ms()
        whole = f"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.001&price=80000&timestamp={now}"
        in_query = await client.raw("POST", "order", query=f"{whole}&signature={client.signature(whole)}")
        in_body = await client.raw("POST", "order", body=f"{whole}&signature={client.signature(whole)}")
        query, body = "symbol=BTCUSDT&side=BUY&type=LIMIT", f"quantity=0.001&price=80000&timestamp={now}"
        both = await client.raw("POST", "order", query=query, body=f"{body}&signature={client.signature(query + body)}")
        assert [answer.status for answer in (in_query, in_body, both)] == [200, 200, 200]
        assert len((await client.signed("GET", "openOrders")).json) == 3

    async def test_a_name_in_query_and_body_has_the_querys_value(self, client: SimClient):
        query = f"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.001&timestamp={client.sim.venue.server_ms()}"
        body = "quantity=5&price=80000"
        made = await client.raw("POST", "order", query=f"{query}&signature={client.signature(query + body)}", body=body)
        assert made.json["origQty"] == "0.001"

    async def test_bytes_are_signed_as_they_were_sent(self, client: SimClient):
        query = f"symbol=BTCUSDT&origClientOrderId=a%2Db&timestamp={client.sim.venue.server_ms()}"
        assert (await client.raw("GET", "order", query=f"{query}&signature={client.signature(query)}")).json[
            "code"
        ] == -2013

    @pytest.mark.parametrize(
        ("headers", "change", "code"),
        [
            ({"Content-Type": "application/json"}, {}, 400),
            ({"X-MEXC-APIKEY": "nobody", "Content-Type": "application/json"}, {}, "10072"),  # pragma: allowlist secret
            ({"X-MEXC-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}, {}, 700013),
            (None, {"signature": "00"}, 700002),
            (None, {"signature": ""}, 700004),
            (None, {"timestamp": ""}, 700004),
            (None, {"timestamp": "x"}, 700004),
            (None, {"recvWindow": "60001"}, 700005),
            (None, {"late_ms": "6000"}, 700003),
            (None, {"late_ms": "-1500"}, 700003),
        ],
    )
    async def test_each_mistake_has_its_code(self, client: SimClient, headers, change, code):
        change = dict(change)
        at = client.sim.venue.server_ms() - int(change.pop("late_ms", "0"))
        query = f"symbol=BTCUSDT&timestamp={change.pop('timestamp', at)}&recvWindow={change.pop('recvWindow', '5000')}"
        signature = change.pop("signature", client.signature(query))
        refused = await client.raw("DELETE", "openOrders", query=f"{query}&signature={signature}", headers=headers)
        assert (refused.status, refused.json["code"]) == (400, code)

    async def test_keys_end_are_limited_and_share_an_account(self, client: SimClient):
        sim, uid = client.sim, client.sim.venue.exchange.keys[KEY].account.uid
        sim.add_account("reader", "s1", uid=uid, permissions=["SPOT_ACCOUNT_READ", "SPOT_DEAL_READ"])
        sim.add_account("old", "s2", uid=uid, expires_ms=1)
        sim.add_account("away", "s3", uid=uid, addresses=["10.1.1.1"])
        async with (
            SimClient(sim, "reader", "s1") as reader,
            SimClient(sim, "old", "s2") as old,
            SimClient(sim, "away", "s3") as away,
        ):
            assert (await reader.signed("GET", "uid")).json == {"uid": uid}
            assert (await reader.order("BUY", "LIMIT", quantity="0.001", price="80000")).json["code"] == 700007
            ended = await old.signed("GET", "account")
            assert (ended.status, ended.json["code"]) == (401, 402)
            assert (await away.signed("GET", "account")).json["code"] == 700006

    async def test_secrets_are_in_no_text_form(self, client: SimClient):
        assert SECRET not in repr(client.sim.venue.exchange.keys[KEY])


class TestOrders:
    async def test_the_reply_to_an_order_tells_neither_state_nor_fills(self, client: SimClient):
        made = (await client.order("BUY", "MARKET", quantity="0.001", newClientOrderId="mine-1")).json
        assert set(made) == {
            "symbol", "orderId", "orderListId", "price", "origQty", "type", "side", "stpMode", "transactTime",
        }  # fmt: skip
        order = (await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="mine-1")).json
        assert order["orderId"] == made["orderId"]
        assert (order["status"], order["executedQty"], order["timeInForce"]) == ("FILLED", "0.001", None)

    async def test_a_limit_order_freezes_rests_and_is_cancelled_with_the_state_from_before(self, client: SimClient):
        made = (await client.order("BUY", "LIMIT", quantity="0.01", price="80000.5")).json
        assert (await balances(client))["USDT"] == (Decimal("9199.995"), Decimal("800.005"))
        reply = (await client.signed("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
        assert reply["status"] == "NEW"
        assert (await balances(client))["USDT"] == (Decimal(10_000), Decimal(0))
        final = (await client.signed("GET", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
        assert final["status"] == "CANCELED"
        again = await client.signed("DELETE", "order", symbol="BTCUSDT", orderId=made["orderId"])
        assert again.json == {"code": -2011, "msg": "Unknown order sent."}

    async def test_what_is_left_of_an_ioc_is_partially_canceled(self, client: SimClient):
        best = (await client.public("depth", symbol="BTCUSDT", limit=1)).json["asks"][0]
        wanted = Decimal(best[1]) * 2
        made = (await client.order("BUY", "IMMEDIATE_OR_CANCEL", quantity=wanted, price=best[0])).json
        order = (await client.signed("GET", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
        assert order["status"] == "PARTIALLY_CANCELED"
        assert Decimal(order["executedQty"]) == Decimal(best[1])

    async def test_fill_or_kill_does_all_or_nothing(self, client: SimClient):
        best = (await client.public("depth", symbol="BTCUSDT", limit=1)).json["asks"][0]
        states = []
        for quantity in (Decimal(best[1]) * 2, Decimal(best[1])):
            made = (await client.order("BUY", "FILL_OR_KILL", quantity=quantity, price=best[0])).json
            order = (await client.signed("GET", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
            states.append(order["status"])
        assert states == ["CANCELED", "FILLED"]

    async def test_a_market_buy_by_quote_spends_what_it_was_given_to_the_last_lot(self, client: SimClient):
        made = (await client.order("BUY", "MARKET", quoteOrderQty="50")).json
        order = (await client.signed("GET", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
        assert order["status"] == "FILLED"
        assert Decimal("49.99") < Decimal(order["cummulativeQuoteQty"]) <= 50
        assert (await balances(client))["USDT"] == (10_000 - Decimal(order["cummulativeQuoteQty"]), Decimal(0))

    async def test_a_market_order_stops_at_its_protective_limit(self, client: SimClient):
        client.sim.add_account("rich", "r", balances={"ATLAS": 10**12})
        async with SimClient(client.sim, "rich", "r") as rich:
            book = (await rich.public("depth", symbol="ATLASUSDT", limit=1)).json
            made = (await rich.order("SELL", "MARKET", symbol="ATLASUSDT", quantity=215_000_000)).json
            order = (await rich.signed("GET", "order", symbol="ATLASUSDT", orderId=made["orderId"])).json
        assert order["status"] == "PARTIALLY_CANCELED"
        assert Decimal(made["price"]) >= Decimal(book["bids"][0][0]) * Decimal("0.95")

    async def test_a_post_only_order_that_would_trade_is_canceled(self, client: SimClient):
        made = (await client.order("BUY", "LIMIT_MAKER", quantity="0.001", price="90000")).json
        order = (await client.signed("GET", "order", symbol="BTCUSDT", orderId=made["orderId"])).json
        assert (order["status"], order["executedQty"]) == ("CANCELED", "0")

    async def test_fees_are_taken_to_the_last_decimal_in_base_quote_or_mx(self, client: SimClient):
        await client.order("BUY", "MARKET", symbol="XRPUSDT", quantity="10")
        await client.order("SELL", "MARKET", symbol="XRPUSDT", quantity="10")
        await client.signed("POST", "mxDeduct/enable", mxDeductEnable="true")
        await client.order("BUY", "MARKET", symbol="XRPUSDT", quantity="10")
        in_mx, sold, bought = (await client.signed("GET", "myTrades", symbol="XRPUSDT")).json
        assert (bought["commission"], bought["commissionAsset"]) == ("0.005", "XRP")
        assert (sold["commission"], sold["commissionAsset"]) == (f"{Decimal(sold['quoteQty']) * 5 / 10_000:f}", "USDT")
        assert in_mx["commissionAsset"] == "MX"
        assert (await balances(client))["XRP"][0] == Decimal("509.995")

    async def test_client_ids_may_repeat_unless_the_venue_refuses_them(self, client: SimClient):
        order = {"quantity": "0.001", "price": "80000", "newClientOrderId": "twice"}
        assert [(await client.order("BUY", "LIMIT", **order)).status for _ in range(2)] == [200, 200]
        config = SimConfig(flow=STILL, habits=VenueHabits(duplicate_client_ids="refuse"))
        async with Simulator(config) as sim, SimClient(sim) as strict:
            sim.add_account(KEY, SECRET)
            answers = [await strict.order("BUY", "LIMIT", **order) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 400]

    async def test_a_batch_has_an_outcome_for_each_order(self, client: SimClient):
        batch = [
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "LIMIT",
                "quantity": "0.001",
                "price": "80000",
                "newClientOrderId": "b1",
            },
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "LIMIT",
                "quantity": "0.001",
                "price": "1",
                "newClientOrderId": "b2",
            },
        ]
        encoded = urllib.parse.quote(msgspec.json.encode(batch).decode(), safe="")
        rows = (await client.signed("POST", "batchOrders", batchOrders=encoded)).json
        assert rows[0]["newClientOrderId"] == "b1"
        assert rows[0]["orderId"].startswith("C02__")
        assert (rows[1]["newClientOrderId"], rows[1]["code"]) == ("b2", 30002)

    async def test_time_in_force_is_passed_over(self, client: SimClient):
        made = (await client.order("BUY", "LIMIT", quantity="0.001", price="80000", timeInForce="IOC")).json
        assert [row["orderId"] for row in (await client.signed("GET", "openOrders")).json] == [made["orderId"]]

    async def test_a_tested_order_leaves_nothing(self, client: SimClient):
        good = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.001", "price": "80000"}
        assert (await client.signed("POST", "order/test", **good)).json == {}
        assert (await client.signed("POST", "order/test", **{**good, "price": "1"})).json["code"] == 30002
        assert (await client.signed("GET", "openOrders")).json == []

    async def test_everything_can_be_cancelled_at_once(self, client: SimClient):
        await client.order("BUY", "LIMIT", quantity="0.001", price="80000")
        await client.order("SELL", "LIMIT", symbol="XRPUSDT", quantity="10", price="9")
        assert len((await client.signed("DELETE", "openOrders", symbol="BTCUSDT")).json) == 1
        assert len((await client.signed("DELETE", "order/all")).json) == 1
        assert (await client.signed("GET", "openOrders")).json == []
        assert [row["status"] for row in (await client.signed("GET", "allOrders", symbol="BTCUSDT")).json] == [
            "CANCELED"
        ]

    async def test_the_number_of_open_orders_is_capped(self):
        config = SimConfig(flow=STILL, limits=Limits(enabled=False), habits=VenueHabits(open_orders_limit=2))
        async with Simulator(config) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET)
            answers = [await client.order("BUY", "LIMIT", quantity="0.001", price="80000") for _ in range(3)]
        assert answers[2].json["code"] == 30029


REFUSED = [
    ({"symbol": "NOPEUSDT"}, -1121),
    ({"symbol": "NOAPIUSDT"}, 10007),
    ({"symbol": "PAUSEDUSDT"}, 30000),
    ({"symbol": "CLOSEDUSDT"}, 30001),
    ({"symbol": "SELLONLYUSDT"}, 30001),
    ({"symbol": "INVITEDUSDT"}, 30020),
    ({"symbol": "NOMARKETUSDT", "type": "MARKET", "quantity": "10"}, 30018),
    ({"symbol": "HUSHMARKETUSDT", "type": "MARKET", "quantity": "10"}, 30019),
    ({"symbol": "NOIOCUSDT", "type": "IMMEDIATE_OR_CANCEL"}, 30041),
    ({"symbol": "NOIOCUSDT", "type": "FILL_OR_KILL"}, 30041),
    ({"symbol": "BANDEDUSDT", "price": "1.9"}, 30087),
    ({"type": "STOP"}, 30041),
    ({"side": "LONG"}, 33333),
    ({"quantity": ""}, 700004),
    ({"quantity": "1.001"}, 400),
    ({"price": "1.00001"}, 400),
    ({"quantity": "0"}, 10102),
    ({"quantity": "-1"}, 10102),
    ({"quantity": "NaN"}, 10096),
    ({"quantity": "Infinity"}, 10096),
    ({"quantity": "1e99"}, 10096),
    ({"quantity": "ten"}, 700008),
    ({"quantity": "0.1"}, 30002),
    ({"quantity": "3000000"}, 30003),
    ({"quantity": "90000"}, 30004),
    ({"newClientOrderId": "white space"}, 700008),
    ({"newClientOrderId": "x" * 33}, 700008),
    ({"stpMode": "cancel_me"}, 33333),
    ({"type": "MARKET", "quantity": "", "quoteOrderQty": ""}, -1128),
]


@pytest.mark.parametrize(("change", "code"), REFUSED)
async def test_a_refused_order_has_the_venues_code_and_changes_nothing(client: SimClient, change, code):
    order = {"symbol": "BUYONLYUSDT", "side": "BUY", "type": "LIMIT", "quantity": "10", "price": "1.2"} | change
    before = await balances(client)
    refused = await client.signed("POST", "order", **{name: urllib.parse.quote(value) for name, value in order.items()})
    assert (refused.status, refused.json["code"]) == (400, code)
    assert await balances(client) == before


class TestMarketData:
    async def test_exchange_info_lists_every_pair_with_its_rules(self, client: SimClient):
        info = (await client.public("exchangeInfo")).json
        assert [row["symbol"] for row in info["symbols"]] == [rule.symbol for rule in BUILT_IN]
        assert (info["timezone"], info["rateLimits"]) == ("CST", [])
        one = (await client.public("exchangeInfo", symbol="NOMARKETUSDT")).json["symbols"]
        assert [row["orderTypes"] for row in one] == [["LIMIT", "LIMIT_MAKER"]]
        some = (await client.public("exchangeInfo", symbols="BTCUSDT,ETHUSDT")).json["symbols"]
        assert [row["quotePrecision"] for row in some] == [2, 2]

    async def test_closed_pairs_are_missing_where_the_venue_leaves_them_out(self, client: SimClient):
        open_to_api = (await client.public("defaultSymbols")).json["data"]
        assert "NOAPIUSDT" not in open_to_api
        assert "BTCUSDT" in open_to_api
        assert "INVITEDUSDT" not in (await client.signed("GET", "selfSymbols")).json["data"]
        assert {"symbol": "PAUSEDUSDT", "state": 2} in (await client.public("symbol/offline")).json["data"]

    async def test_the_rest_book_is_padded_and_has_the_stream_version(self, client: SimClient):
        book = (await client.public("depth", symbol="BTCUSDT", limit=5)).json
        assert book["lastUpdateId"] == client.sim.books["BTCUSDT"].version
        assert all(
            len(price.split(".")[1]) == 2 and len(lots.split(".")[1]) == 8
            for price, lots in book["bids"] + book["asks"]
        )

    async def test_candles_of_the_past_are_the_same_for_the_same_seed(self, client: SimClient):
        rows = (await client.public("klines", symbol="BTCUSDT", interval="60m", limit=5)).json
        assert all(row[6] - row[0] == 3_600_000 for row in rows)
        assert all(Decimal(row[3]) <= min(Decimal(row[1]), Decimal(row[4])) <= Decimal(row[2]) for row in rows)
        everything = (await client.public("klines", symbol="BTCUSDT", interval="1m", limit=9999)).json
        assert len(everything) == 500
        start = everything[10][0]
        some = (
            await client.public("klines", symbol="BTCUSDT", interval="1m", startTime=start, endTime=start + 120_000)
        ).json
        assert some == everything[10:13]

    async def test_trades_come_newest_first_and_without_ids(self, client: SimClient):
        for side in ("BUY", "SELL"):
            await client.order(side, "MARKET", quantity="0.001")
        rows = (await client.public("trades", symbol="BTCUSDT")).json
        assert [(row["tradeType"], row["isBuyerMaker"], row["id"]) for row in rows] == [
            ("ASK", True, None),
            ("BID", False, None),
        ]
        latest = (await client.public("aggTrades", symbol="BTCUSDT")).json
        assert [row["m"] for row in latest] == [True, False]
        assert (await client.public("aggTrades", symbol="BTCUSDT", startTime=1)).json["code"] == -1128

    async def test_past_trades_can_be_paged(self, client: SimClient):
        end = client.sim.venue.started_ms - 60_000
        rows = (
            await client.public("aggTrades", symbol="BTCUSDT", startTime=end - 600_000, endTime=end, limit=1000)
        ).json
        assert len(rows) >= 36
        assert [row["T"] for row in rows] == sorted(row["T"] for row in rows)

    async def test_tickers_come_for_one_or_for_all(self, client: SimClient):
        for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker"):
            one = (await client.public(path, symbol="BTCUSDT")).json
            every = (await client.public(path)).json
            assert one["symbol"] == "BTCUSDT"
            assert len(every) == len(BUILT_IN)
        assert Decimal((await client.public("avgPrice", symbol="BTCUSDT")).json["price"]) > 0

    @pytest.mark.parametrize(
        ("path", "params", "code"),
        [
            ("depth", {}, 700004),
            ("depth", {"symbol": "btcusdt"}, -1121),
            ("klines", {"symbol": "BTCUSDT", "interval": "8h"}, -1121),
            ("klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": "x"}, 700008),
            ("klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 2, "endTime": 1}, 400),
        ],
    )
    async def test_public_mistakes_have_their_codes(self, client: SimClient, path, params, code):
        assert (await client.public(path, **params)).json["code"] == code

    async def test_an_unknown_path_is_not_found(self, client: SimClient):
        assert (await client.public("nothing")).status == 404


class TestAccount:
    async def test_envelopes_are_as_various_as_the_venues(self, client: SimClient):
        fee = (await client.signed("GET", "tradeFee", symbol="BTCUSDT")).json
        assert (fee["code"], fee["data"]) == (0, {"makerCommission": 0.0, "takerCommission": 0.0005})
        assert (await client.signed("GET", "selfSymbols")).json["code"] == 200
        assert (await client.signed("GET", "kyc/status")).json == {"status": "2"}
        assert (await client.signed("GET", "mxDeduct/enable")).json["data"] == {"mxDeductEnable": False}

    async def test_listen_keys_live_are_listed_kept_and_deleted(self, client: SimClient):
        name = (await client.signed("POST", "userDataStream")).json["listenKey"]
        assert len(name) == 64
        assert (await client.signed("GET", "userDataStream")).json == {"listenKey": [name]}
        assert (await client.signed("PUT", "userDataStream", listenKey=name)).json == {"listenKey": name}
        assert (await client.signed("DELETE", "userDataStream", listenKey=name)).json == {"listenKey": name}
        assert (await client.signed("PUT", "userDataStream", listenKey=name)).json["code"] == 730708


class TestBudgets:
    async def test_twelve_orders_a_second_then_429_with_retry_after_then_418(self):
        clock = ManualClock()
        async with Simulator(SimConfig(flow=STILL, clock=clock)) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET)
            answers = [await client.order("BUY", "LIMIT", quantity="0.0001", price="80000") for _ in range(13)]
            assert [answer.status for answer in answers] == [200] * 12 + [429]
            assert answers[-1].headers["Retry-After"] == "1"
            ignored = [await client.order("BUY", "LIMIT", quantity="0.0001", price="80000") for _ in range(10)]
            assert ignored[-1].status == 418
            assert ignored[-1].headers["Retry-After"] == "120"
            clock.advance(121_000)
            assert (await client.order("BUY", "LIMIT", quantity="0.0001", price="80000")).status == 200

    async def test_weights_fill_the_budget_of_an_address(self):
        clock = ManualClock()
        async with Simulator(SimConfig(flow=STILL, clock=clock)) as sim, SimClient(sim) as client:
            assert [(await client.public("ticker/24hr")).status for _ in range(13)] == [200] * 12 + [429]
            clock.advance(10_000)
            assert (await client.public("ticker/24hr")).status == 200

    async def test_a_burst_brings_the_firewalls_page(self):
        clock = ManualClock()
        async with (
            Simulator(SimConfig(flow=STILL, clock=clock, limits=Limits(firewall_burst=20))) as sim,
            SimClient(sim) as client,
        ):
            answers = [await client.public("ping") for _ in range(21)]
            assert [answer.status for answer in answers] == [200] * 20 + [403]
            assert answers[-1].headers["Content-Type"].startswith("text/html")
            assert "Retry-After" not in answers[-1].headers
            clock.advance(89_000)
            assert (await client.public("ping")).status == 403
            clock.advance(1_000)
            assert (await client.public("ping")).status == 200
