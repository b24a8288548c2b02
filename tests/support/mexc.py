"""Frames of MEXC's stream, made with the schema's own classes, and ways to take them apart and spoil them."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from claire import wire
from claire.adapters.venues.mexc.channels import Kind
from claire.model.instrument import Instrument

CORPUS: Final = Path(__file__).resolve().parent.parent / "fuzz_corpus" / "mexc_frames.txt"

BTC: Final = Instrument.checked("BTCUSDT", Decimal("0.01"), Decimal("0.00000001"))
ODD: Final = Instrument.checked("ODDUSDT", Decimal("0.0025"), Decimal("0.5"))
CAT: Final = Instrument.checked("龙虾USDT", Decimal("0.000001"), Decimal("1"))
INSTRUMENTS: Final = {instrument.symbol: instrument for instrument in (BTC, ODD, CAT)}

SENT_MS: Final = 1_800_000_000_123
BODIES: Final = {
    Kind.DEALS: "public_aggre_deals",
    Kind.DEPTH: "public_aggre_depths",
    Kind.LIMIT_DEPTH: "public_limit_depths",
    Kind.BOOK_TICKER: "public_aggre_book_ticker",
    Kind.BOOK_TICKER_BATCH: "public_book_ticker_batch",
    Kind.KLINE: "public_spot_kline",
    Kind.MINI_TICKER: "public_mini_ticker",
    Kind.MINI_TICKERS: "public_mini_tickers",
    Kind.PRIVATE_ACCOUNT: "private_account",
    Kind.PRIVATE_DEALS: "private_deals",
    Kind.PRIVATE_ORDERS: "private_orders",
}


def wrapped(channel: str, body: Message, *, symbol: str = "", sent_ms: int = SENT_MS) -> wire.PushDataV3ApiWrapper:
    """A body in its wrapper."""
    wrapper = wire.PushDataV3ApiWrapper(channel=channel)
    if symbol:
        wrapper.symbol = symbol
    if sent_ms:
        wrapper.send_time = sent_ms
    name = next(
        field.name
        for field in wrapper.DESCRIPTOR.oneofs_by_name["body"].fields
        if field.message_type == body.DESCRIPTOR
    )
    getattr(wrapper, name).CopyFrom(body)
    return wrapper


def deals_frame(*deals: wire.PublicAggreDeal, symbol: str = "BTCUSDT") -> bytes:
    """Executions on the 100 ms channel."""
    body = wire.PublicAggreDeals(deals=deals, event_type=f"{Kind.DEALS}@100ms")
    return wrapped(f"{Kind.DEALS}@100ms@{symbol}", body, symbol=symbol).SerializeToString()


def deal(
    price: str = "84270.01", quantity: str = "0.001", side: int = 1, ms: int = SENT_MS - 50
) -> wire.PublicAggreDeal:
    """One execution."""
    return wire.PublicAggreDeal(price=price, quantity=quantity, trade_type=side, time=ms, trade_id="7X0_8X0")


def levels(*pairs: tuple[str, str]) -> list[wire.DepthLevel]:
    """Levels of a book."""
    return [wire.DepthLevel(price=price, quantity=quantity) for price, quantity in pairs]


def depth_frame(
    bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]], first: str = "11", last: str = "12"
) -> bytes:
    """Changes of the book on the 100 ms channel."""
    body = wire.PublicAggreDepths(
        bids=levels(*bids),
        asks=levels(*asks),
        event_type=f"{Kind.DEPTH}@100ms",
        from_version=first,
        to_version=last,
        last_order_create_time=SENT_MS - 9,
    )
    return wrapped(f"{Kind.DEPTH}@100ms@BTCUSDT", body, symbol="BTCUSDT").SerializeToString()


def kline_frame(**changes: str | int) -> bytes:
    """A one-minute candle; fields by name."""
    values: dict[str, str | int] = {
        "interval": "Min1",
        "window_start": 1_800_000_000,
        "window_end": 1_800_000_060,
        "opening_price": "100",
        "closing_price": "101.5",
        "highest_price": "102",
        "lowest_price": "99.99",
        "volume": "12.5",
        "amount": "1262.5",
    }
    body = wire.PublicSpotKline()
    for name, value in {**values, **changes}.items():
        setattr(body, name, value)
    wrapper = wrapped(f"{Kind.KLINE}@BTCUSDT@Min1", body, symbol="BTCUSDT", sent_ms=0)
    wrapper.symbol_id, wrapper.create_time = "an-opaque-id", SENT_MS
    return wrapper.SerializeToString()


def examples() -> dict[str, bytes]:
    """One frame of every kind and a few beside the rule; what the fuzzer starts from."""
    top = {"bid_price": "84270", "bid_quantity": "0.5", "ask_price": "84270.01", "ask_quantity": "2"}
    ticker = wire.PublicMiniTicker(
        symbol="BTCUSDT",
        price="84270",
        rate="-0.0067",
        zoned_rate="0.01",
        high="85000",
        low="83000",
        volume="1234567.89",
        quantity="14.6",
    )
    order = wire.PrivateOrders(
        id="C02__1", client_id="claire-1", price="84270", quantity="0.002", amount="168.54", avg_price="84270", order_type=1,
        trade_type=1, remain_amount="84.27", remain_quantity="0.001", last_deal_quantity="0.001", cumulative_quantity="0.001",
        cumulative_amount="84.27", status=3, create_time=SENT_MS - 1000,
    )  # fmt: skip
    own = wire.PrivateDeals(
        price="84270", quantity="0.001", amount="84.27", trade_type=1, is_maker=True, trade_id="1X1", client_order_id="claire-1",
        order_id="C02__1", fee_amount="0.0003998377369698171", fee_currency="MX", time=SENT_MS - 3,
    )  # fmt: skip
    account = wire.PrivateAccount(
        vcoin_name="USDT", coin_id="an-opaque-id", balance_amount="1000.000000000000000001", balance_amount_change="-84.27",
        frozen_amount="84.27", frozen_amount_change="84.27", type="ENTRUST_PLACE", time=SENT_MS - 3,
    )  # fmt: skip
    limit = wire.PublicLimitDepths(
        asks=levels(("84270.01", "5.40000000")), bids=levels(("84270.00", "0.00638700"), ("84269.50", "1.00000000")),
        event_type=str(Kind.LIMIT_DEPTH), version="12", last_order_create_time=SENT_MS - 1,
    )  # fmt: skip
    batch = wire.PublicBookTickerBatch(items=[wire.PublicBookTicker(**top)], version="12")
    fresh_top = wire.PublicAggreBookTicker(**top, version="12", last_order_create_time=SENT_MS - 1)
    tickers = wire.PublicMiniTickers(items=[ticker, ticker])
    retired = wire.PublicDeals(deals=[wire.PublicDeal(price="1", quantity="1", trade_type=1, time=SENT_MS)])
    symbol = "BTCUSDT"
    frames = {
        "top": wrapped(f"{Kind.BOOK_TICKER}@100ms@{symbol}", fresh_top, symbol=symbol),
        "batch": wrapped(f"{Kind.BOOK_TICKER_BATCH}@{symbol}", batch, symbol=symbol),
        "limit": wrapped(f"{Kind.LIMIT_DEPTH}@{symbol}@5", limit, symbol=symbol),
        "ticker": wrapped(f"{Kind.MINI_TICKER}@{symbol}@UTC+8", ticker, symbol=symbol),
        "tickers": wrapped(f"{Kind.MINI_TICKERS}@24H", tickers),
        "order": wrapped(Kind.PRIVATE_ORDERS, order, symbol=symbol),
        "own_deal": wrapped(Kind.PRIVATE_DEALS, own, symbol=symbol),
        "account": wrapped(Kind.PRIVATE_ACCOUNT, account),
        "retired": wrapped(f"spot@public.deals.v3.api.pb@{symbol}", retired, symbol=symbol),
    }
    return {
        "deals": deals_frame(deal(), deal("84270", "0.00000001", 2)),
        "deals_chinese": deals_frame(deal("0.000123", "17"), symbol="龙虾USDT"),
        "depth": depth_frame([("84269.5", "0"), ("84269", "1.5")], [("84270.01", "2")]),
        "kline": kline_frame(),
        **{name: wrapper.SerializeToString() for name, wrapper in frames.items()},
    }


def corpus() -> dict[str, bytes]:
    """The committed corpus: lines of a name and a frame in hex."""
    lines = CORPUS.read_text("utf-8").splitlines()
    return {name: bytes.fromhex(data) for name, data in (line.split(" ") for line in lines if not line.startswith("#"))}


# -- bytes ------------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields_of(data: bytes) -> list[tuple[int, bytes]]:
    """The outermost fields of a message: number, and the whole field in bytes. Numbers and texts only."""
    fields = []
    at = 0
    while at < len(data):
        start = at
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            _, at = read_varint(data, at)
        else:
            length, at = read_varint(data, at)
            at += length
        fields.append((tag >> 3, data[start:at]))
    return fields


def text_field(number: int, content: bytes) -> bytes:
    """A field of text or of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A field of a whole number."""
    return varint(number << 3) + varint(value)


def content_of(field: bytes) -> bytes:
    """What a field of text or of a message holds."""
    _, at = read_varint(field, 0)
    length, at = read_varint(field, at)
    return field[at : at + length]
