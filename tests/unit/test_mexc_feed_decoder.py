"""The pure core of the feed: what comes out of which frames, and when nothing does."""

from typing import Any

import msgspec
import pytest

from claire.adapters.venues.mexc.channels import book_ticker, deals, depth
from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.items import (
    Body,
    FeedAlert,
    FeedEvent,
    FeedGap,
    FeedInput,
    LinkChange,
    RawFrame,
    RawText,
    RestBody,
    WarmUp,
)
from claire.model.market import Depth, Side, TopOfBook, Trade
from tests.support.mexc_feed import MS, START_MS, SYMBOL, deal_frame, deals_frame, depth_frame, instrument, top_frame

RECV = (START_MS + 40) * MS
DEALS, DEPTH, TOP = deals(SYMBOL).name, depth(SYMBOL).name, book_ticker(SYMBOL).name


def decoder() -> FeedDecoder:
    return FeedDecoder({SYMBOL: instrument()})


def up(number: int = 1, *channels: str) -> LinkChange:
    return LinkChange(number, channels or (DEALS, DEPTH, TOP), "subscribed", RECV)


def snapshot(version: int, bids: str = '["100.00","1"]', asks: str = '["101.00","1"]') -> RestBody:
    return RestBody(Body.DEPTH, SYMBOL, f'{{"lastUpdateId":{version},"bids":[{bids}],"asks":[{asks}]}}'.encode(), RECV)


def trades_of(events: list[FeedEvent]) -> list[Trade]:
    return [event for event in events if isinstance(event, Trade)]


def test_a_trade_from_two_connections_is_told_once():
    core = decoder()
    assert len(core.feed(1, deal_frame(1), RECV)) == 1
    assert core.feed(2, deal_frame(1), RECV) == []
    assert core.counters.duplicate_trades_total == 1
    assert core.counters.trades_total == 1


def test_the_same_id_of_another_symbol_is_another_trade():
    core = FeedDecoder({symbol: instrument(symbol) for symbol in (SYMBOL, "ETHUSDT")})
    assert len(core.feed(1, deal_frame(1), RECV)) == 1
    assert len(core.feed(1, deal_frame(1, symbol="ETHUSDT"), RECV)) == 1


def test_trade_ids_are_remembered_for_two_generations_and_then_let_go(monkeypatch):
    monkeypatch.setattr("claire.adapters.venues.mexc.decoder.GENERATION_FRAMES", 10)
    core = decoder()
    for number in range(1, 12):
        core.feed(1, deal_frame(number), RECV)
    assert core.feed(1, deal_frame(10), RECV) == []
    for number in range(12, 40):
        core.feed(1, deal_frame(number), RECV)
    assert len(core._seen[SYMBOL].ids) + len(core._seen[SYMBOL].older_ids) <= 21


def test_one_odd_trade_of_a_frame_costs_none_of_its_neighbours():
    core = decoder()
    core.feed(1, deal_frame(1), RECV)
    rows = [
        ("100.00", "1", 1, START_MS + 1_000, "A"),
        ("100.01", "1", 1, START_MS + 1_000, "T1"),
        ("100.02", "1", 2, START_MS + 900, "B"),
        ("100.03", "1", 2, START_MS + 1_001, "A"),
        ("100.04", "1", 2, START_MS + 1_002, "C"),
    ]
    told = trades_of(core.feed(1, deals_frame(rows), RECV))
    assert [(trade.trade_id, trade.ts_event_ns // MS - START_MS) for trade in told] == [
        ("A", 1_000),
        ("B", 1_000),
        ("C", 1_002),
    ]
    assert (core.counters.duplicate_trades_total, core.counters.late_trades_total) == (2, 1)
    assert core.counters.trades_total == 4


def test_a_gap_ends_before_the_trades_that_end_it():
    core = decoder()
    core.link(up())
    core.feed(1, deal_frame(1), RECV)
    core.link(LinkChange(1, (), "gone", RECV))
    events = core.feed(2, deal_frame(2), RECV + 1)
    assert [type(event) for event in events] == [FeedGap, Trade]


def test_event_times_never_fall_and_history_is_left_out():
    core = decoder()
    core.feed(1, deal_frame(1, START_MS + 10_000), RECV)
    (late,) = trades_of(core.feed(1, deal_frame(2, START_MS + 9_000), RECV))
    assert late.ts_event_ns == (START_MS + 10_000) * MS
    assert core.counters.late_trades_total == 1
    assert core.feed(1, deal_frame(3, START_MS + 1_000), RECV) == []
    assert core.counters.stale_trades_total == 1


def test_a_trade_from_the_future_of_its_own_push_is_left_out_and_does_not_freeze_time():
    core = decoder()
    core.feed(1, deal_frame(1), RECV)
    events = core.feed(1, deals_frame([("1.00", "1", 1, START_MS + 10**9, "T2")], send_ms=START_MS + 200), RECV)
    assert not trades_of(events)
    assert [type(event) for event in events] == [FeedAlert, FeedGap]
    (gap, trade) = core.feed(1, deal_frame(3), RECV + 1)
    assert isinstance(gap, FeedGap)
    assert gap.to_ns == RECV + 1
    assert isinstance(trade, Trade)
    assert trade.ts_event_ns == (START_MS + 300) * MS


def test_a_lost_connection_opens_a_gap_unless_another_carries_the_channel():
    core = decoder()
    core.take(up(1))
    core.feed(1, deal_frame(1), RECV)
    core.take(up(2))
    assert core.take(LinkChange(1, (), "planned", RECV)) == []
    (gap,) = [event for event in core.take(LinkChange(2, (), "cut", RECV)) if isinstance(event, FeedGap)]
    assert (gap.from_ns, gap.to_ns, gap.reason) == (RECV, 0, "cut")
    assert core.open_gaps == {SYMBOL: "cut"}
    core.take(up(3))
    closed = core.feed(3, deal_frame(2), RECV + 5)[0]
    assert closed == FeedGap(SYMBOL, RECV, RECV + 5, "cut")
    assert core.open_gaps == {}


def test_before_its_first_trade_a_symbol_has_nothing_to_miss():
    core = decoder()
    core.take(up(1))
    assert core.take(LinkChange(1, (), "cut", RECV)) == []


def test_an_unreadable_frame_doubts_everything_that_its_connection_carries():
    core = decoder()
    core.take(up(1))
    core.feed(1, deal_frame(1), RECV)
    events = core.feed(1, b"\xff\xff\xff", RECV)
    assert [type(event) for event in events] == [FeedAlert, FeedGap]
    assert core.counters.decode_errors_total == 1
    assert core.feed(1, b"\xff\xff\xff", RECV) == [], "said once, counted each time"
    assert core.counters.decode_errors_total == 2


def test_a_price_off_tick_is_a_decode_error_and_no_trade():
    core = decoder()
    core.feed(1, deal_frame(1), RECV)
    events = core.feed(1, deal_frame(2, price="84270.015"), RECV)
    assert not trades_of(events)
    assert isinstance(events[0], FeedAlert)
    assert "84270.015" in events[0].text


def test_trades_without_ids_stop_entries():
    core = decoder()
    events = core.feed(1, deals_frame([("1.00", "1", 1, START_MS, "")]), RECV)
    assert [type(event) for event in events] == [FeedAlert, Trade]
    assert isinstance(events[0], FeedAlert)
    assert events[0].stops_entries


def test_a_book_is_told_from_its_snapshot_on():
    core = decoder()
    core.take(up(1))
    assert core.wanted == [SYMBOL]
    assert core.feed(1, depth_frame(101, 105, bids=[("100.50", "2")]), RECV) == []
    whole, top = core.take(snapshot(103))
    assert isinstance(whole, Depth)
    assert whole.snapshot
    assert whole.bids == ((10_050, 2_000_000), (10_000, 1_000_000))
    assert isinstance(top, TopOfBook)
    assert (top.bid_ticks, top.ask_ticks) == (10_050, 10_100)
    assert core.wanted == []
    change, _ = core.feed(1, depth_frame(106, 106, bids=[("100.50", "0")], send_ms=START_MS + 100), RECV)
    assert change == Depth(SYMBOL, (START_MS + 100) * MS, ((10_050, 0),), (), ts_recv_ns=RECV)


def test_a_snapshot_older_than_the_first_change_is_not_used():
    core = decoder()
    core.take(up(1))
    core.feed(1, depth_frame(101, 105), RECV)
    assert core.take(snapshot(99)) == []
    assert core.counters.stale_snapshots_total == 1
    assert core.wanted == [SYMBOL]
    assert len(core.take(snapshot(100))) == 2


def test_a_gap_in_the_versions_is_told_at_once():
    core = decoder()
    core.take(up(1))
    core.take(snapshot(100))
    core.feed(1, depth_frame(101, 101), RECV)
    (lost,) = core.feed(1, depth_frame(103, 104), RECV)
    assert isinstance(lost, Depth)
    assert not lost.valid
    assert core.wanted == [SYMBOL]


def test_a_change_that_the_book_has_is_not_told_again():
    core = decoder()
    core.take(up(1))
    core.take(snapshot(100))
    assert core.feed(1, depth_frame(99, 100, bids=[("90.00", "1")]), RECV) == []
    change = depth_frame(101, 103, bids=[("90.00", "1")])
    assert len(core.feed(1, change, RECV)) == 1
    assert core.feed(1, change, RECV) == []
    assert core.counters.duplicate_pushes_total == 2


def test_a_book_that_crosses_itself_is_not_believed():
    core = decoder()
    core.take(up(1))
    core.take(snapshot(100))
    (lost,) = core.feed(1, depth_frame(101, 101, bids=[("102.00", "1")]), RECV)
    assert isinstance(lost, Depth)
    assert not lost.valid


def test_a_venue_that_counts_its_versions_anew_is_found_out(monkeypatch):
    monkeypatch.setattr("claire.adapters.venues.mexc.localbook.MAX_STALE_RUN", 5)
    core = decoder()
    core.take(up(1))
    core.take(snapshot(1_000))
    told = [core.feed(1, depth_frame(number, number), RECV) for number in range(1, 6)]
    assert told[:4] == [[], [], [], []]
    assert isinstance(told[4][0], Depth)
    assert not told[4][0].valid


def test_a_best_bid_and_offer_is_told_when_it_changes():
    core = decoder()
    assert len(core.feed(1, top_frame("100.00", "101.00", 7), RECV)) == 1
    assert core.feed(1, top_frame("100.00", "101.00", 7), RECV) == []
    assert core.feed(1, top_frame("100.50", "101.00", 6), RECV) == [], "an older version is no news"
    assert len(core.feed(1, top_frame("100.50", "101.00", 8), RECV)) == 1
    assert core.counters.repeated_tops_total == 2
    assert core.version(SYMBOL) == 8


def test_a_snapshot_that_is_no_json_is_counted_and_asked_for_again():
    core = decoder()
    core.take(up(1))
    (alert,) = core.take(RestBody(Body.DEPTH, SYMBOL, b"<html>", RECV))
    assert isinstance(alert, FeedAlert)
    assert core.counters.decode_errors_total == 1
    assert core.wanted == [SYMBOL]


MINUTE_MS = 60_000
AT_MS = START_MS - START_MS % MINUTE_MS


def kline(number: int, high: str = "101.00") -> list[Any]:
    start = AT_MS + number * MINUTE_MS
    return [start, "100.00", high, "99.00", "100.50", "12.5", start + MINUTE_MS, "1250"]


def warmed(
    what: Body, rows: list[Any], at_ms: int = AT_MS + 4 * MINUTE_MS, core: FeedDecoder | None = None
) -> list[Any]:
    return (core or decoder()).take(RestBody(what, SYMBOL, msgspec.json.encode(rows), at_ms * MS))


def test_history_is_closed_candles_without_holes():
    (warm,) = warmed(Body.KLINES, [kline(0), kline(2), kline(3), kline(4)])
    assert isinstance(warm, WarmUp)
    assert [candle.empty for candle in warm.candles] == [False, True, False, False]
    assert warm.candles[-1].close_ns == (AT_MS + 4 * MINUTE_MS) * MS, "the one that is still open is left out"
    assert warm.candles[1].close_ticks == warm.candles[1].open_ticks == 10_050
    assert warm.candles[0].volume_lots == 12_500_000


def test_a_candle_that_contradicts_itself_is_refused_whole():
    (alert,) = warmed(Body.KLINES, [kline(0), kline(1, high="98.00")])
    assert isinstance(alert, FeedAlert)


def test_history_of_trades_ends_where_the_stream_begins():
    core = decoder()
    core.feed(1, deal_frame(1, START_MS + 2_500), RECV)
    rows = [{"p": "100.00", "q": "1", "T": START_MS + at, "m": at == 3_000} for at in (3_000, 2_000, 1_000)]
    (warm,) = warmed(Body.AGG_TRADES, rows, START_MS + 4_000, core)
    assert [trade.ts_event_ns for trade in warm.trades] == [(START_MS + 1_000) * MS]
    (all_of_it,) = warmed(Body.AGG_TRADES, rows, START_MS + 4_000)
    assert [trade.side for trade in all_of_it.trades] == [Side.BUY, Side.BUY, Side.SELL]


def part(at_ms: int, *, more: bool) -> RestBody:
    rows = [{"p": "100.00", "q": "1", "T": START_MS + at_ms, "m": False}]
    return RestBody(Body.AGG_TRADES, SYMBOL, msgspec.json.encode(rows), (START_MS + 9_000) * MS, more=more)


def told(events: list[Any]) -> list[int]:
    """When the trades of the one history told happened, in ms after the start."""
    (warm,) = events
    return [trade.ts_event_ns // MS - START_MS for trade in warm.trades]


def test_a_history_in_parts_is_told_as_one():
    core = decoder()
    assert core.take(part(1_000, more=True)) == []
    assert core.take(part(2_000, more=True)) == []
    assert told(core.take(part(3_000, more=False))) == [1_000, 2_000, 3_000]
    assert told(core.take(part(4_000, more=False))) == [4_000]


def test_parts_of_a_history_with_a_hole_are_not_joined():
    core = decoder()
    core.take(part(1_000, more=True))
    (alert,) = core.take(RestBody(Body.AGG_TRADES, SYMBOL, b"<html>", START_MS * MS, more=True))
    assert isinstance(alert, FeedAlert)
    assert told(core.take(part(3_000, more=False))) == [3_000]


@pytest.mark.parametrize(
    "entered",
    [
        part(1, more=True),
        RawFrame(3, b"\x00\xff", RECV),
        RawText(3, '{"msg":"PONG"}', RECV),
        snapshot(7),
        up(4),
    ],
)
def test_every_input_can_be_written_down_and_read_back(entered):
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entered), type=FeedInput) == entered
