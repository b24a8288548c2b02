"""Frames into events: what is right, what is refused and under which reason, what is unknown and counted."""

from decimal import Decimal

import pytest

from claire import wire
from claire.adapters.venues.mexc.channels import Kind
from claire.adapters.venues.mexc.frames import CHANNELS_REMEMBERED, FIELDS_TOLD_APART, LARGEST, FrameDecoder, decode
from claire.adapters.venues.mexc.pushes import (
    REMEDIES,
    BalancePush,
    CandlePush,
    DealPush,
    DecodeError,
    DepthUpdate,
    OrderPush,
    OrderStatus,
    Reason,
    TickerPush,
)
from claire.adapters.venues.mexc.scales import REMEMBERED
from claire.model.errors import ClaireError
from claire.model.instrument import Instrument
from claire.model.market import Depth, Side, TopOfBook, Trade
from claire.model.orders import OrderType
from tests.support.mexc import (
    BTC,
    INSTRUMENTS,
    SENT_MS,
    corpus,
    deal,
    deals_frame,
    depth_frame,
    examples,
    kline_frame,
    levels,
    number_field,
    text_field,
    wrapped,
)

MS = 1_000_000
EXAMPLES = examples()
NOT_NUMBERS = ("NaN", "Infinity", "1e5", "0x1", "1_0", " 1", "1 ", "+1", "1.", ".5", "1.2.3", "١", "1,5", "9" * 41)


def refusal(data: bytes, reason: Reason) -> DecodeError:
    """The error of a frame that is refused for this reason, and counted under it."""
    decoder = FrameDecoder(INSTRUMENTS)
    with pytest.raises(DecodeError) as caught:
        decoder.decode(data, 1)
    assert caught.value.reason is reason
    assert decoder.errors == {reason: 1}
    assert decoder.errors_total == 1
    assert decoder.decoded_total == 0
    return caught.value


# -- what is right ------------------------------------------------------------------------------------------------------


def test_deals_are_trades_with_the_takers_side_and_their_own_time():
    decoded = decode(EXAMPLES["deals"], INSTRUMENTS, 77)
    at = (SENT_MS - 50) * MS
    assert decoded.kind is Kind.DEALS
    assert decoded.send_ns == SENT_MS * MS
    assert list(decoded.events) == [
        Trade("BTCUSDT", at, 8_427_001, 100_000, Side.BUY, None, "7X0_8X0", 77),
        Trade("BTCUSDT", at, 8_427_000, 1, Side.SELL, None, "7X0_8X0", 77),
    ]
    assert not decoded.unknown


def test_a_symbol_may_be_chinese():
    decoded = decode(EXAMPLES["deals_chinese"], INSTRUMENTS)
    assert decoded.symbol == "龙虾USDT"
    assert [(trade.price_ticks, trade.quantity_lots) for trade in decoded.events if isinstance(trade, Trade)] == [
        (123, 17)
    ]


def test_a_change_of_the_book_keeps_versions_and_removals():
    decoded = decode(EXAMPLES["depth"], INSTRUMENTS, 5)
    assert decoded.pushes == (
        DepthUpdate(
            "BTCUSDT",
            SENT_MS * MS,
            11,
            12,
            bids=((8_426_950, 0), (8_426_900, 150_000_000)),
            asks=((8_427_001, 200_000_000),),
            last_order_ns=(SENT_MS - 9) * MS,
            ts_recv_ns=5,
        ),
    )
    assert not decoded.events


def test_an_absent_side_of_a_change_is_no_change():
    update = decode(depth_frame([], [("84270.01", "2")]), INSTRUMENTS).pushes[0]
    assert isinstance(update, DepthUpdate)
    assert update.bids == ()


def test_limit_depth_is_a_whole_book_whose_padded_numbers_are_the_same_numbers():
    decoded = decode(EXAMPLES["limit"], INSTRUMENTS, 5)
    bids, asks = ((8_427_000, 638_700), (8_426_950, 100_000_000)), ((8_427_001, 540_000_000),)
    assert decoded.events == (Depth("BTCUSDT", SENT_MS * MS, bids, asks, snapshot=True, ts_recv_ns=5),)
    assert decoded.version == 12


def test_tops_of_book_have_the_version_that_tells_a_fresh_one_from_a_repeated_one():
    top = TopOfBook("BTCUSDT", SENT_MS * MS, 8_427_000, 50_000_000, 8_427_001, 200_000_000, 5)
    for name in ("top", "batch"):
        decoded = decode(EXAMPLES[name], INSTRUMENTS, 5)
        assert list(decoded.events) == [top]
        assert decoded.version == 12


def test_an_empty_side_of_a_top_is_zero():
    body = wire.PublicAggreBookTicker(bid_price="1", bid_quantity="2")
    decoded = decode(wrapped(f"{Kind.BOOK_TICKER}@10ms@BTCUSDT", body).SerializeToString(), INSTRUMENTS)
    assert decoded.events == (TopOfBook("BTCUSDT", SENT_MS * MS, 100, 200_000_000, 0, 0),)
    assert decoded.version is None


def test_a_candle_has_seconds_turned_into_nanoseconds_and_its_prices_in_the_wires_order():
    decoded = decode(EXAMPLES["kline"], INSTRUMENTS, 5)
    candle = decoded.pushes[0]
    assert isinstance(candle, CandlePush)
    assert (candle.open_ns, candle.close_ns) == (1_800_000_000 * 10**9, 1_800_000_060 * 10**9)
    assert (candle.open_ticks, candle.high_ticks, candle.low_ticks, candle.close_ticks) == (
        10_000,
        10_200,
        9_999,
        10_150,
    )
    assert (candle.volume, candle.turnover) == (Decimal("12.5"), Decimal("1262.5"))
    assert candle.ts_event_ns == SENT_MS * MS
    assert decoded.send_ns is None


def test_daily_figures_keep_turnover_and_volume_apart():
    for name, count in (("ticker", 1), ("tickers", 2)):
        decoded = decode(EXAMPLES[name], INSTRUMENTS)
        assert len(decoded.pushes) == count
        for ticker in decoded.pushes:
            assert isinstance(ticker, TickerPush)
            assert (ticker.volume, ticker.turnover) == (Decimal("14.6"), Decimal("1234567.89"))
            assert (ticker.change, ticker.change_in_zone) == (Decimal("-0.0067"), Decimal("0.01"))


def test_daily_figures_come_of_symbols_without_known_rules_and_with_nothing_told():
    body = wire.PublicMiniTickers(items=[wire.PublicMiniTicker(symbol="NEWUSDT")])
    decoded = decode(wrapped(f"{Kind.MINI_TICKERS}@24H", body).SerializeToString(), {})
    assert decoded.pushes == [TickerPush("NEWUSDT", None, None, None, None, None, None, None)]


def test_an_order_is_told_with_the_time_of_its_push():
    decoded = decode(EXAMPLES["order"], INSTRUMENTS)
    order = decoded.pushes[0]
    assert isinstance(order, OrderPush)
    assert (order.symbol, order.order_id, order.client_id) == ("BTCUSDT", "C02__1", "claire-1")
    assert (order.side, order.order_type, order.status) == (Side.BUY, OrderType.LIMIT, OrderStatus.PARTIALLY_FILLED)
    assert (order.filled_quantity, order.filled_amount) == (Decimal("0.001"), Decimal("84.27"))
    assert order.sent_ns == SENT_MS * MS
    assert order.created_ns == (SENT_MS - 1000) * MS


@pytest.mark.parametrize(("number", "status"), [(1, "NEW"), (2, "FILLED"), (4, "CANCELED"), (5, "PARTIALLY_CANCELED")])
def test_order_statuses(number: int, status: str):
    body = wire.PrivateOrders(id="1", trade_type=2, status=number)
    order = decode(wrapped(Kind.PRIVATE_ORDERS, body).SerializeToString(), {}).pushes[0]
    assert isinstance(order, OrderPush)
    assert order.status.value == status


def test_an_order_with_numbers_that_nobody_documented_is_told_all_the_same():
    body = wire.PrivateOrders(id="1", trade_type=2, status=9, order_type=101)
    order = decode(wrapped(Kind.PRIVATE_ORDERS, body).SerializeToString(), {}).pushes[0]
    assert isinstance(order, OrderPush)
    assert (order.status, order.status_no) == (OrderStatus.UNKNOWN, 9)
    assert (order.order_type, order.order_type_no) == (None, 101)
    assert order.price is None
    assert order.quantity is None
    assert order.filled_quantity == 0
    assert not order.client_id


def test_an_own_execution_keeps_a_fee_finer_than_the_books():
    push = decode(EXAMPLES["own_deal"], INSTRUMENTS).pushes[0]
    assert isinstance(push, DealPush)
    assert (push.fee, push.fee_asset) == (Decimal("0.0003998377369698171"), "MX")
    assert (push.price, push.quantity, push.side) == (Decimal(84270), Decimal("0.001"), Side.BUY)
    assert push.is_maker
    assert not push.is_self_trade


def test_a_balance_keeps_every_decimal():
    push = decode(EXAMPLES["account"], INSTRUMENTS).pushes[0]
    assert isinstance(push, BalancePush)
    assert (push.asset, push.cause) == ("USDT", "ENTRUST_PLACE")
    assert push.available == Decimal("1000.000000000000000001")
    assert (push.available_change, push.frozen, push.frozen_change) == (
        Decimal("-84.27"),
        Decimal("84.27"),
        Decimal("84.27"),
    )


def test_rules_that_changed_count_from_the_next_frame():
    instruments = {"BTCUSDT": BTC}
    decoder = FrameDecoder(instruments)
    frame = deals_frame(deal("84270", "1"))
    assert isinstance(first := decoder.decode(frame).events[0], Trade)
    instruments["BTCUSDT"] = Instrument.checked("BTCUSDT", Decimal("0.1"), Decimal("0.01"))
    assert isinstance(second := decoder.decode(frame).events[0], Trade)
    assert (first.price_ticks, first.quantity_lots) == (8_427_000, 100_000_000)
    assert (second.price_ticks, second.quantity_lots) == (842_700, 100)


@pytest.mark.parametrize(
    ("price", "ticks"),
    [("1", 400), ("1.0", 400), ("1.0000000000", 400), ("0.0025", 1), ("0.0050", 2), ("0.005000", 2), ("007", 2800)],
)
def test_a_tick_that_is_no_power_of_ten_is_exact(price: str, ticks: int):
    frame = deals_frame(deal(price, "1.5"), symbol="ODDUSDT")
    trade = decode(frame, INSTRUMENTS).events[0]
    assert isinstance(trade, Trade)
    assert (trade.price_ticks, trade.quantity_lots) == (ticks, 3)


def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing():
    decoder = FrameDecoder(INSTRUMENTS)
    prices = [f"{number}.5" for number in range(1, 3 * REMEMBERED)]
    for _ in range(2):
        trades = decoder.decode(deals_frame(*(deal(price) for price in prices))).events
        assert [trade.price_ticks for trade in trades if isinstance(trade, Trade)] == [
            number * 100 + 50 for number in range(1, 3 * REMEMBERED)
        ]


def test_more_channels_than_are_remembered_are_decoded_all_the_same():
    decoder = FrameDecoder({})
    body = wire.PublicMiniTicker(symbol="AUSDT")
    for number in range(CHANNELS_REMEMBERED + 2):
        body.symbol = f"A{number}USDT"
        name = f"{Kind.MINI_TICKER}@{body.symbol}@24H"
        assert decoder.decode(wrapped(name, body).SerializeToString()).channel == name


# -- what is refused ----------------------------------------------------------------------------------------------------


def test_an_error_names_place_value_and_remedy():
    error = refusal(deals_frame(deal("84270.001")), Reason.OFF_TICK)
    assert isinstance(error, ClaireError)
    assert str(error) == (
        "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT: BTCUSDT: price 84270.001 is not a whole number of ticks of 0.01."
        " Load the symbol's rules again (claire symbols --venue mexc): the venue may have changed them."
    )
    assert error.symbol == "BTCUSDT"


def test_each_reason_has_a_remedy():
    assert list(REMEDIES) == list(Reason)


@pytest.mark.parametrize(
    ("price", "quantity", "reason"),
    [
        ("0", "1", Reason.NOT_POSITIVE),
        ("0.00", "1", Reason.NOT_POSITIVE),
        ("1", "0", Reason.NOT_POSITIVE),
        ("1", "0.00000000", Reason.NOT_POSITIVE),
        ("-1", "1", Reason.NOT_POSITIVE),
        ("-", "1", Reason.NOT_A_NUMBER),
        ("1", "-0.5", Reason.NOT_POSITIVE),
        ("0.001", "1", Reason.OFF_TICK),
        ("1", "0.000000001", Reason.OFF_LOT),
        ("", "1", Reason.MISSING),
        ("1", "", Reason.MISSING),
        *((text, "1", Reason.NOT_A_NUMBER) for text in NOT_NUMBERS),
        ("9" * 40, "1", Reason.OUT_OF_RANGE),
        ("1", "92233720368.54775808", Reason.OUT_OF_RANGE),
    ],
)
def test_a_trade_with_such_numbers_is_refused(price: str, quantity: str, reason: Reason):
    refusal(deals_frame(deal(), deal(price, quantity)), reason)


def test_the_largest_quantity_that_the_journal_holds_is_taken():
    trade = decode(deals_frame(deal("1", "92233720368.54775807")), INSTRUMENTS).events[0]
    assert isinstance(trade, Trade)
    assert trade.quantity_lots == 2**63 - 1


@pytest.mark.parametrize(
    ("ms", "reason"), [(0, Reason.MISSING), (-5, Reason.OUT_OF_RANGE), (2**62, Reason.OUT_OF_RANGE)]
)
def test_a_trade_at_no_time_is_refused(ms: int, reason: Reason):
    refusal(deals_frame(deal(ms=ms)), reason)


def test_daily_figures_of_no_symbol_are_refused():
    body = wire.PublicMiniTickers(items=[wire.PublicMiniTicker(price="1")])
    refusal(wrapped(f"{Kind.MINI_TICKERS}@24H", body).SerializeToString(), Reason.MISSING)


@pytest.mark.parametrize("side", [0, 3, -1])
def test_a_trade_without_a_side_is_refused(side: int):
    refusal(deals_frame(deal(side=side)), Reason.SIDE)


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("12", "11", Reason.ORDER),
        ("", "1", Reason.MISSING),
        ("1", "x", Reason.NOT_A_NUMBER),
        ("1", "1" * 19, Reason.NOT_A_NUMBER),
    ],
)
def test_a_change_of_the_book_without_a_range_of_versions_is_refused(first: str, last: str, reason: Reason):
    refusal(depth_frame([("1", "1")], [], first, last), reason)


def test_a_level_at_no_price_is_refused():
    refusal(depth_frame([("0", "1")], []), Reason.NOT_POSITIVE)


def test_a_whole_book_with_an_empty_level_is_refused():
    body = wire.PublicLimitDepths(bids=levels(("1", "0.00")), version="1")
    refusal(wrapped(f"{Kind.LIMIT_DEPTH}@BTCUSDT@5", body).SerializeToString(), Reason.NOT_POSITIVE)


@pytest.mark.parametrize(("price", "quantity"), [("1", "0"), ("0", "1"), ("0", "0")])
def test_a_top_of_zero_is_refused(price: str, quantity: str):
    body = wire.PublicAggreBookTicker(bid_price=price, bid_quantity=quantity)
    refusal(wrapped(f"{Kind.BOOK_TICKER}@10ms@BTCUSDT", body).SerializeToString(), Reason.NOT_POSITIVE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"highest_price": "101"}, Reason.ORDER),
        ({"lowest_price": "100.5"}, Reason.ORDER),
        ({"lowest_price": "0"}, Reason.NOT_POSITIVE),
        ({"volume": ""}, Reason.MISSING),
        ({"amount": "-1"}, Reason.NOT_POSITIVE),
        ({"interval": "Min5"}, Reason.ORDER),
        ({"window_end": 1_800_000_000}, Reason.ORDER),
        ({"window_start": 0}, Reason.MISSING),
        ({"window_end": 2**62}, Reason.OUT_OF_RANGE),
        ({"window_start": -1}, Reason.OUT_OF_RANGE),
    ],
)
def test_a_candle_that_contradicts_itself_is_refused(changes: dict[str, str | int], reason: Reason):
    refusal(kline_frame(**changes), reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (wire.PrivateOrders(trade_type=1), Reason.MISSING),
        (wire.PrivateOrders(id="1"), Reason.SIDE),
        (wire.PrivateOrders(id="1", trade_type=1, price="NaN"), Reason.NOT_A_NUMBER),
        (wire.PrivateOrders(id="1", trade_type=1, cumulative_quantity="-1"), Reason.NOT_POSITIVE),
        (wire.PrivateOrders(id="1", trade_type=1, create_time=-1), Reason.OUT_OF_RANGE),
    ],
)
def test_an_order_that_cannot_be_booked_is_refused(body: wire.PrivateOrders, reason: Reason):
    refusal(wrapped(Kind.PRIVATE_ORDERS, body).SerializeToString(), reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trade_id": ""}, Reason.MISSING),
        ({"order_id": ""}, Reason.MISSING),
        ({"price": "0"}, Reason.NOT_POSITIVE),
        ({"quantity": ""}, Reason.MISSING),
        ({"fee_currency": ""}, Reason.MISSING),
        ({"fee_amount": "Infinity"}, Reason.NOT_A_NUMBER),
        ({"trade_type": 0}, Reason.SIDE),
        ({"time": 0}, Reason.MISSING),
    ],
)
def test_an_own_execution_that_cannot_be_booked_is_refused(changes: dict[str, str | int], reason: Reason):
    wrapper = wire.PushDataV3ApiWrapper.FromString(EXAMPLES["own_deal"])
    for name, value in changes.items():
        setattr(wrapper.private_deals, name, value)
    refusal(wrapper.SerializeToString(), reason)


@pytest.mark.parametrize("name", ["vcoin_name", "balance_amount", "frozen_amount", "time"])
def test_a_balance_without_its_numbers_is_refused(name: str):
    wrapper = wire.PushDataV3ApiWrapper.FromString(EXAMPLES["account"])
    wrapper.private_account.ClearField(name)
    refusal(wrapper.SerializeToString(), Reason.MISSING)


def test_a_symbol_without_rules_is_refused():
    assert "NEWUSDT" in str(refusal(deals_frame(deal(), symbol="NEWUSDT"), Reason.SYMBOL))


def test_a_message_of_another_symbol_than_its_channels_is_refused():
    for name in ("deals", "ticker"):
        wrapper = wire.PushDataV3ApiWrapper.FromString(EXAMPLES[name])
        wrapper.symbol = "ETHUSDT"
        refusal(wrapper.SerializeToString(), Reason.SYMBOL)
    ticker = wire.PushDataV3ApiWrapper.FromString(EXAMPLES["ticker"])
    ticker.public_mini_ticker.symbol = "ETHUSDT"
    refusal(ticker.SerializeToString(), Reason.SYMBOL)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\0" * (LARGEST + 1), Reason.TOO_LARGE),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Reason.NOT_PROTOBUF),
        (b"<html>403</html>", Reason.NOT_PROTOBUF),
        (text_field(1, b"\xff\xfe"), Reason.NOT_PROTOBUF),
        (text_field(3, b"BTCUSDT"), Reason.MISSING),
        (text_field(1, f"{Kind.DEALS}@100ms@BTCUSDT".encode()), Reason.MISSING),
        (EXAMPLES["deals"][:-1], Reason.TRUNCATED),
        (EXAMPLES["deals"][:5], Reason.TRUNCATED),
        (EXAMPLES["deals"][:1], Reason.TRUNCATED),
        (b"\x0d\x01\x02", Reason.TRUNCATED),
    ],
)
def test_bytes_that_are_no_frame_are_refused(data: bytes, reason: Reason):
    refusal(data, reason)


def test_a_frame_is_used_whole_or_not_at_all_and_the_next_one_is_good():
    decoder = FrameDecoder(INSTRUMENTS)
    with pytest.raises(DecodeError):
        decoder.decode(deals_frame(deal(), deal("0.001"), deal()))
    assert len(decoder.decode(deals_frame(deal())).events) == 1
    assert (decoder.decoded_total, decoder.errors_total) == (1, 1)


# -- what is unknown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (text_field(1, b"spot@public.news.v3.api.pb@BTCUSDT") + text_field(316, b""), "message type 316"),
        (text_field(1, f"{Kind.DEALS}@100ms@BTCUSDT".encode()) + text_field(999, b"x"), "message type 999"),
        (EXAMPLES["retired"], "channel 'spot@public.deals.v3.api.pb@BTCUSDT'"),
        (
            wrapped(f"{Kind.DEALS}@100ms@BTCUSDT", wire.PublicSpotKline()).SerializeToString(),
            "public_spot_kline on the channel of public_aggre_deals",
        ),
        (
            wrapped(f"{Kind.DEALS}@1s@BTCUSDT", wire.PublicAggreDeals()).SerializeToString(),
            f"channel '{Kind.DEALS}@1s@BTCUSDT'",
        ),
    ],
)
def test_what_this_version_does_not_know_says_so_and_is_no_event(data: bytes, said: str):
    decoder = FrameDecoder(INSTRUMENTS)
    decoded = decoder.decode(data)
    assert decoded.unknown == said
    assert (decoded.kind, list(decoded.events), list(decoded.pushes)) == (None, [], [])
    assert (decoder.unknown_total, decoder.errors_total) == (1, 0)


def test_fields_beyond_the_schema_are_counted_each_time_and_told_once():
    body = text_field(1, deal().SerializeToString() + text_field(9, b"new")) * 2 + number_field(8, 1)
    frame = text_field(1, f"{Kind.DEALS}@100ms@BTCUSDT".encode()) + number_field(7, 3) + text_field(314, body)
    decoder = FrameDecoder(INSTRUMENTS)
    first, second = decoder.decode(frame), decoder.decode(frame)
    assert first.new_fields == (("PushDataV3ApiWrapper", 7), ("PublicAggreDeals", 8), ("PublicAggreDeal", 9))
    assert second.new_fields == ()
    assert decoder.unknown_fields == {
        ("PushDataV3ApiWrapper", 7): 2,
        ("PublicAggreDeals", 8): 2,
        ("PublicAggreDeal", 9): 4,
    }
    assert len(first.events) == 2
    assert not first.unknown


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"retired"}))
def test_a_field_beyond_the_schema_is_noticed_in_every_message(name: str):
    wrapper = wire.PushDataV3ApiWrapper.FromString(EXAMPLES[name])
    body = getattr(wrapper, wrapper.WhichOneof("body") or "")
    body.MergeFromString(number_field(900, 1))
    decoder = FrameDecoder(INSTRUMENTS)
    assert (body.DESCRIPTOR.name, 900) in decoder.decode(wrapper.SerializeToString()).new_fields


def test_a_field_beyond_the_schema_is_noticed_in_levels_and_items():
    for name in ("depth", "batch"):
        wrapper = wire.PushDataV3ApiWrapper.FromString(EXAMPLES[name])
        item = wrapper.public_aggre_depths.asks[0] if name == "depth" else wrapper.public_book_ticker_batch.items[0]
        item.MergeFromString(number_field(900, 1))
        decoded = FrameDecoder(INSTRUMENTS).decode(wrapper.SerializeToString())
        assert decoded.new_fields == ((item.DESCRIPTOR.name, 900),)


def test_a_field_first_met_in_a_refused_frame_is_told_with_the_next_good_one():
    decoder = FrameDecoder(INSTRUMENTS)
    with pytest.raises(DecodeError):
        decoder.decode(deals_frame(deal("0.001")) + number_field(7, 1))
    assert decoder.decode(EXAMPLES["deals"]).new_fields == (("PushDataV3ApiWrapper", 7),)


def test_a_flood_of_unknown_fields_is_counted_in_bounded_memory():
    decoder = FrameDecoder(INSTRUMENTS)
    decoder.decode(EXAMPLES["deals"] + b"".join(number_field(1000 + number, 1) for number in range(1000)))
    assert len(decoder.unknown_fields) == FIELDS_TOLD_APART + 1
    assert sum(decoder.unknown_fields.values()) == 1000


def test_the_corpus_holds_the_examples():
    held = corpus()
    assert {name: held[name] for name in EXAMPLES} == EXAMPLES
