"""The simulator held to what was captured from the venue: frames byte for byte, bodies field by field, requests as clients send
them, signatures; and a real recording, step by step."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from claire.adapters.marketdata import open_sources
from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator, encode, signing
from claire.mexcsim.channels import Topic, topic_of
from claire.mexcsim.exchange import Exchange, Market
from claire.mexcsim.flow import recording_of
from claire.mexcsim.orders import PublicTrade
from claire.mexcsim.symbols import BUILT_IN, choose, rule_of
from claire.mexcsim.tape import Bar
from claire.model.market import Side
from claire.model.money import units_of
from tests.support.sim import KEY, SECRET, SimClient

BTC = choose(["BTCUSDT"])[0]


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "fixtures" / "mexc"


def read(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


def frame(fixtures: Path, name: str) -> tuple[bytes, dict[str, Any], Topic]:
    found = next(frame for frame in read(fixtures / "ws_public_frames.json")["frames"] if frame["id"] == name)
    topic = topic_of(found["decoded"]["channel"])
    assert topic is not None
    return bytes.fromhex(found["hex"]), found["decoded"], topic


def ticks(price: str) -> int:
    return units_of(price) // BTC.tick_units


def lots(quantity: str) -> int:
    return units_of(quantity) // BTC.lot_units


def market_with(asks: list[dict[str, str]], bids: list[dict[str, str]], version: str, last_order_ms: int) -> Market:
    exchange = Exchange([BTC])
    market = exchange.markets["BTCUSDT"]
    for side, levels in ((Side.SELL, asks), (Side.BUY, bids)):
        for level in levels:
            exchange.rest_for_house(market, side, ticks(level["price"]), lots(level["quantity"]), 0)
    market.book.version, market.book.last_order_ms = int(version), last_order_ms
    return market


class TestFrames:
    def test_deals(self, fixtures: Path):
        wire, decoded, topic = frame(fixtures, "aggre_deals_btcusdt")
        trades = [
            PublicTrade(
                "BTCUSDT",
                ticks(deal["price"]),
                lots(deal["quantity"]),
                Side.BUY if deal["tradeType"] == 1 else Side.SELL,
                deal["time"],
                deal["tradeId"],
            )
            for deal in decoded["publicAggreDeals"]["deals"]
        ]
        assert encode.deals(topic, BTC, trades, decoded["sendTime"]) == wire

    def test_best_prices(self, fixtures: Path):
        wire, decoded, topic = frame(fixtures, "aggre_book_ticker_btcusdt")
        body = decoded["publicAggreBookTicker"]
        ask = {"price": body["askPrice"], "quantity": body["askQuantity"]}
        bid = {"price": body["bidPrice"], "quantity": body["bidQuantity"]}
        market = market_with([ask], [bid], body["version"], body["lastOrderCreateTime"])
        assert encode.book_ticker(topic, market, decoded["sendTime"]) == wire

    def test_limit_depth(self, fixtures: Path):
        wire, decoded, topic = frame(fixtures, "limit_depth5_btcusdt")
        body = decoded["publicLimitDepths"]
        market = market_with(body["asks"], body["bids"], body["version"], body["lastOrderCreateTime"])
        assert encode.limit_depth(topic, market, decoded["sendTime"]) == wire

    def test_changed_levels(self, fixtures: Path):
        wire, decoded, topic = frame(fixtures, "aggre_depth_btcusdt")
        body = decoded["publicAggreDepths"]
        present = {side: [level for level in body[side] if level["quantity"] != "0"] for side in ("asks", "bids")}
        market = market_with(present["asks"], present["bids"], body["toVersion"], body["lastOrderCreateTime"])
        market.book.watch("100ms")
        window = market.book.windows["100ms"]
        window.from_version = int(body["fromVersion"])
        window.asks = {ticks(level["price"]): None for level in body["asks"]}
        window.bids = {ticks(level["price"]): None for level in body["bids"]}
        assert encode.depth(topic, market, window, decoded["sendTime"]) == wire

    def test_candle(self, fixtures: Path):
        wire, decoded, topic = frame(fixtures, "kline_min1_btcusdt")
        body = decoded["publicSpotKline"]
        bar = Bar(
            start_ms=body["windowStart"] * 1000,
            open=ticks(body["openingPrice"]),
            high=ticks(body["highestPrice"]),
            low=ticks(body["lowestPrice"]),
            close=ticks(body["closingPrice"]),
            lots=lots(body["volume"]),
            quote_units=units_of(body["amount"]),
        )
        made = encode.kline(topic, BTC, bar, body["windowEnd"] * 1000, decoded["createTime"])
        assert made.replace(BTC.symbol_id.encode(), decoded["symbolId"].encode()) == wire


def test_signatures(fixtures: Path):
    known = read(fixtures / "signature_vectors.json")
    for vector in known["vectors"]:
        query, body = vector.get("query", vector["totalParams"]), vector.get("body", "")
        assert signing.sign(known["signing_placeholder"], query, body) == vector["signature"]
        assert signing.sign(known["signing_placeholder"], f"{query}&signature=x", body) == vector["signature"]


BODIES: list[tuple[str, str, dict[str, object]]] = [
    ("GET", "aggTrades", {"symbol": "ATLASUSDT"}),
    ("GET", "defaultSymbols", {}),
    ("GET", "avgPrice", {"symbol": "BTCUSDT"}),
    ("GET", "ticker/bookTicker", {}),
    ("GET", "exchangeInfo", {}),
    ("GET", "depth", {"symbol": "BTCUSDT"}),
    ("GET", "ticker/price", {}),
    ("GET", "trades", {"symbol": "ATLASUSDT"}),
    ("GET", "time", {}),
    ("GET", "ticker/24hr", {}),
    ("GET", "openOrders", {}),
    ("GET", "allOrders", {"symbol": "ATLASUSDT"}),
    ("GET", "myTrades", {"symbol": "ATLASUSDT"}),
    ("GET", "account", {}),
    ("GET", "kyc/status", {}),
    ("GET", "mxDeduct/enable", {}),
    ("GET", "tradeFee", {"symbol": "BTCUSDT"}),
]


def shape(value: Any) -> Any:
    """The kinds of an answer: names with the shape of their values; a list is as its first row."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def assert_covers(ours: Any, theirs: Any, place: str) -> None:
    """Everything that the venue's answer has is in ours, with the same kind; null is anything."""
    if isinstance(theirs, dict):
        for name, item in theirs.items():
            assert name in ours, f"{place}.{name} is missing"
            assert_covers(ours[name], item, f"{place}.{name}")
    elif isinstance(theirs, list) and theirs and isinstance(ours, list) and ours:
        assert_covers(ours[0], theirs[0], f"{place}[]")
    elif "NoneType" not in (ours, theirs) and place.rpartition(".")[2] not in ("orderId", "stopPrice"):
        assert ours == theirs, f"{place}: {ours} is not {theirs}"


@pytest.mark.asyncio
class TestRest:
    @staticmethod
    def venue() -> Simulator:
        rules = {rule.symbol: rule for rule in BUILT_IN}
        rules["PYTHUSDT"] = msgspec.structs.replace(rules["KASUSDT"], symbol="PYTHUSDT", base="PYTH")
        free = {
            "min_notional": Decimal(0),
            "min_notional_market": Decimal(0),
        }  # some of the requests are worth next to nothing
        rules["ATLASUSDT"] = msgspec.structs.replace(rules["ATLASUSDT"], **free)
        still = FlowSettings(events_per_s=0)
        sim = Simulator(SimConfig(symbols=tuple(rules.values()), flow=still, limits=Limits(enabled=False)))
        sim.add_account(KEY, SECRET, balances={"USDT": 10**6, "ATLAS": 10**6, "PYTH": 10**4, "ADA": 10**4})
        return sim

    async def test_every_request_of_ccxt_is_understood(self, fixtures: Path):
        known = read(fixtures / "rest_requests_ccxt.json")
        async with self.venue() as sim, SimClient(sim) as client:
            for request in known["signed"]:
                query = f"{request['query']}{'&' if request['query'] else ''}timestamp={sim.venue.server_ms()}&recvWindow=5000"
                answer = await client.raw(
                    request["method"], request["path"], query=f"{query}&signature={client.signature(query)}"
                )
                unknown_order = "orderId=129402018493145088" in query
                assert answer.status == (400 if unknown_order else 200), (request, answer.body)
                if unknown_order:
                    assert answer.json["code"] in (-2011, -2013)
            for request in known["public"]:
                answer = await client.raw(request["method"], request["path"], query=request["query"])
                assert answer.status == 200, (request, answer.body)

    async def test_bodies_have_everything_that_the_venues_have(self, fixtures: Path):
        samples = {
            (row["method"], row["path"].removeprefix("/api/v3/")): row["response"]
            for row in read(fixtures / "rest_endpoints_jkorf.json")["endpoints"]
        }
        async with self.venue() as sim, SimClient(sim) as client:
            await client.order("BUY", "MARKET", symbol="ATLASUSDT", quantity=10_000)
            await client.order("BUY", "LIMIT", symbol="ATLASUSDT", quantity=10_000, price="0.0003")
            for method, path, params in BODIES:
                answer = await client.signed(method, path, **params)
                theirs = shape(samples[method, path])
                ours = shape(answer.json)
                if isinstance(theirs, list) and isinstance(ours, dict):
                    ours = [ours]
                assert_covers(ours, theirs, path)
            canceled = shape((await client.signed("DELETE", "openOrders", symbol="ATLASUSDT")).json)
            assert_covers(canceled, shape(samples["DELETE", "openOrders"]), "openOrders")

    async def test_real_bodies_of_ccxts_tests_are_covered_too(self, fixtures: Path):
        known = read(fixtures / "rest_responses_ccxt.json")["responses"]
        async with self.venue() as sim, SimClient(sim) as client:
            await client.order("SELL", "MARKET", symbol="ATLASUSDT", quantity=10_000)
            for name, path in (("myTrades_limit1", "myTrades"), ("allOrders_limit1", "allOrders")):
                rows = (await client.signed("GET", path, symbol="ATLASUSDT")).json
                assert set(known[name][0]) <= set(rows[0])
                assert rows[0]["orderId"].startswith("C02__")
            candle = (await client.public("klines", symbol="BTCUSDT", interval="60m", limit=1)).json[0]
            assert len(candle) == len(known["klines_60m_limit1_btcusdt"][0]) == 8


@pytest.mark.asyncio
async def test_in_lockstep_the_stream_is_the_recording_trade_for_trade(shared: Path):
    source = open_sources([shared / "data/trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip"], symbols=["PEPEUSDT"])
    rules = tuple(rule_of(instrument) for instrument in source.instruments.values())

    def rows() -> Iterator[tuple[Any, ...]]:
        return islice(iter(recording_of(source.batches(), source.instruments)), 400)

    config = SimConfig(symbols=rules, recording=rows(), lockstep=True, slippage_ticks=0, limits=Limits(enabled=False))
    async with Simulator(config) as sim, SimClient(sim) as client:
        sim.add_account(KEY, SECRET, balances={"USDT": 10**6})
        socket = await client.socket("spot@public.aggre.deals.v3.api.pb@100ms@PEPEUSDT")
        while sim.has_more:
            sim.step(50)
            answer = await client.order("BUY", "MARKET", symbol="PEPEUSDT", quantity=1_000_000)
            assert answer.status == 200
        await socket.until(lambda: sum(len(push.public_aggre_deals.deals) for push in socket.pushes) == 400)
        seen = [
            (deal.time, deal.price, deal.quantity, deal.trade_type)
            for push in socket.pushes
            for deal in push.public_aggre_deals.deals
        ]
    rule = rules[0]
    expected = [
        (
            ts_ms,
            rule.price_text(rule.ticks(price) or 0),
            rule.quantity_text(rule.lots(quantity) or 0),
            1 if side == "BUY" else 2,
        )
        for ts_ms, _, price, quantity, side in rows()
    ]
    assert seen == expected
