"""Signatures, requests and bodies against the recorded ones."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.replies import read
from claire.adapters.venues.mexc.requests import OrderTicket, Request
from claire.gateway.signer import encode, signature
from claire.model.market import Side
from claire.model.orders import OrderType

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture(scope="module")
def mexc(shared: Path) -> Path:
    return shared / "fixtures" / "mexc"


def test_every_signature_vector_matches(mexc: Path) -> None:
    recorded = json.loads((mexc / "signature_vectors.json").read_text())
    assert len(recorded["vectors"]) == 4
    for vector in recorded["vectors"]:
        total = vector.get("query", "") + vector.get("body", "") or vector["totalParams"]
        assert total == vector["totalParams"]
        assert signature(recorded["signing_placeholder"], total) == vector["signature"], vector["case"]


# -- requests ---------------------------------------------------------------------------------------------------------


def ticket(symbol: str, side: Side, kind: OrderType, **amounts: str) -> OrderTicket:
    return OrderTicket(symbol, side, kind, "", **{name: Decimal(text) for name, text in amounts.items()})


ATLAS = "ATLASUSDT"
SIGNED: list[Request] = [
    requests.new_order(ticket(ATLAS, BUY, OrderType.LIMIT, quantity="1000", price="0.005")),
    requests.new_order(ticket(ATLAS, SELL, OrderType.LIMIT, quantity="1500", price="0.007")),
    requests.new_order(ticket(ATLAS, BUY, OrderType.MARKET, quantity="1")),
    requests.new_order(ticket(ATLAS, BUY, OrderType.MARKET, value="8")),
    requests.new_order(ticket("PYTHUSDT", SELL, OrderType.MARKET, value="5")),
    requests.new_order(ticket("ADAUSDT", BUY, OrderType.FOK, quantity="0.5", price="2")),
    requests.new_order(ticket("ADAUSDT", BUY, OrderType.IOC, quantity="0.5", price="2")),
    requests.batch(
        [
            ticket(ATLAS, BUY, OrderType.LIMIT, quantity="1000", price="0.005"),
            ticket(ATLAS, BUY, OrderType.LIMIT, quantity="1100", price="0.0054"),
        ]
    ),
    requests.all_orders("LTCUSDT"),
    requests.query_order("LTCUSDT", order_id="129402018493145088"),
    requests.cancel("LTCUSDT", order_id="129402018493145088"),
    requests.my_trades("LTCUSDT", start_ms=1699457638000, limit=5),
    requests.my_trades(ATLAS, start_ms=1727693417000, limit=100, end_ms=1727783452000),
    requests.open_orders(),
    requests.open_orders("LTCUSDT"),
    requests.cancel_symbol("LTCUSDT"),
    requests.cancel_everything(),
    requests.account(),
    requests.trade_fee("BTCUSDT"),
]
PUBLIC: list[Request] = [
    requests.server_time(),
    requests.depth("BTCUSDT"),
    requests.agg_trades("LTCUSDT"),
    requests.trades("LTCUSDT"),
    requests.klines("LTCUSDT", "1m"),
    requests.klines("ETHUSDT", "1m", start_ms=1764929820001, limit=3, end_ms=1764930000002),
    requests.ticker_24h("BTCUSDT"),
    requests.ticker_24h(),
    requests.book_ticker(),
]
NOT_ASKED_FOR = "/api/v3/historicalTrades"
"""Gone from the documents; Claire reads /api/v3/trades."""


def test_requests_have_the_shapes_that_ccxt_gives_them(mexc: Path) -> None:
    recorded = json.loads((mexc / "rest_requests_ccxt.json").read_text())
    shape = lambda request: (request.method, request.path, request.query)  # noqa: E731
    wanted = [(row["method"], row["path"], row["query"]) for row in recorded["signed"]]
    assert [shape(request) for request in SIGNED] == wanted
    public = [(row["method"], row["path"], row["query"]) for row in recorded["public"]]
    assert [shape(request) for request in PUBLIC] == [row for row in public if row[1] != NOT_ASKED_FOR]
    assert all(request.signed for request in SIGNED)
    assert not any(request.signed for request in PUBLIC)


def test_queries_are_encoded_as_ccxt_encodes_them(mexc: Path) -> None:
    recorded = json.loads((mexc / "rest_requests_ccxt.json").read_text())
    for row in (*recorded["signed"], *recorded["public"]):
        assert encode(parse_qsl(row["query"])) == row["query"]


# -- bodies -----------------------------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {
    "/api/v3/aggTrades": tuple[replies.AggTrade, ...],
    "/api/v3/defaultSymbols": replies.Names,
    "/api/v3/avgPrice": replies.AveragePrice,
    "/api/v3/ticker/bookTicker": tuple[replies.BookTicker, ...],
    "/api/v3/exchangeInfo": replies.ExchangeInfo,
    "/api/v3/klines": tuple[replies.Kline, ...],
    "/api/v3/depth": replies.DepthSnapshot,
    "/api/v3/ticker/price": tuple[replies.PriceTicker, ...],
    "/api/v3/trades": tuple[replies.PublicTrade, ...],
    "/api/v3/time": replies.ServerTime,
    "/api/v3/ticker/24hr": replies.Ticker24h | tuple[replies.Ticker24h, ...],
    "/api/v3/allOrders": tuple[replies.OrderInfo, ...],
    "/api/v3/openOrders": tuple[replies.OrderInfo, ...],
    "/api/v3/myTrades": tuple[replies.OwnTrade, ...],
    "/api/v3/order/test": replies.Nothing,
    "/api/v3/account": replies.Account,
    "/api/v3/kyc/status": replies.Kyc,
    "/api/v3/mxDeduct/enable": replies.MxDeductReply,
    "/api/v3/tradeFee": replies.TradeFeeReply,
    "/api/v3/userDataStream": replies.ListenKey,
    "GET /api/v3/order": replies.OrderInfo,
    "DELETE /api/v3/order": replies.OrderInfo,
    "POST /api/v3/order": replies.OrderReply,
}


def test_every_recorded_body_of_an_endpoint_parses(mexc: Path) -> None:
    recorded = json.loads((mexc / "rest_endpoints_jkorf.json").read_text())
    assert len(recorded["endpoints"]) == 27
    for row in recorded["endpoints"]:
        kind = KINDS.get(f"{row['method']} {row['path']}") or KINDS[row["path"]]
        parsed = read(json.dumps(row["response"]).encode(), kind)
        if isinstance(row["response"], list):
            assert len(parsed) == len(row["response"]), row["name"]


def test_every_recorded_body_of_ccxt_parses_to_what_it_says(mexc: Path) -> None:
    recorded = json.loads((mexc / "rest_responses_ccxt.json").read_text())["responses"]
    body = {name: json.dumps(value).encode() for name, value in recorded.items()}
    assert len(body) == 6
    depth = read(body["depth_limit1_btcusdt"], replies.DepthSnapshot)
    assert (depth.last_update_id, depth.bids[0].price, depth.asks[0].quantity) == (
        20453289489,
        Decimal("45995.47"),
        Decimal("13.457322"),
    )
    (trade,) = read(body["myTrades_limit1"], tuple[replies.OwnTrade, ...])
    assert (trade.order_id, trade.qty, trade.time, trade.is_buyer) == (
        "C02__385413065019117569043",
        Decimal(1220),
        1707671871000,
        False,
    )
    (order,) = read(body["allOrders_limit1"], tuple[replies.OrderInfo, ...])
    assert (order.quantity, order.executed_qty, order.quote_qty) == (Decimal(1220), Decimal(1220), Decimal("5.54124"))
    (public,) = read(body["aggTrades_limit1_btcusdt"], tuple[replies.AggTrade, ...])
    assert (public.price, public.time, public.is_buyer_maker) == (Decimal("73238.7"), 1710327661000, False)
    ticker = read(body["ticker24hr_btcusdt"], replies.Ticker24h)
    assert ticker.quote_volume == Decimal("554877037.44")
    (kline,) = read(body["klines_60m_limit1_btcusdt"], tuple[replies.Kline, ...])
    assert (kline.open, kline.high, kline.low, kline.close) == (
        Decimal("73260.0"),
        Decimal("73442.95"),
        Decimal("73238.69"),
        Decimal("73414.21"),
    )
    assert (kline.close_time - kline.open_time, kline.volume) == (3_600_000, Decimal("49.560236"))
