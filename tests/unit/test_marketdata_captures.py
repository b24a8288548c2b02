"""Raw captures: times, sides, and a book that exists only where the venue's sequence allows it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.marketdata import open_source, open_sources
from claire.adapters.marketdata.book import BookSequence
from claire.model.errors import DataError
from claire.model.market import Depth, Side, TopOfBook, Trade

E0 = 1_723_161_255_000
RECV = 1_723_161_253_900_000_000


def trade(ts: int, price: str, number: int, *, maker: bool = True) -> dict[str, Any]:
    data = {"e": "trade", "E": ts + 1, "s": "BTCUSDT", "t": number, "p": price, "q": "0.50000000", "T": ts}
    return {"stream": "btcusdt@trade", "data": data | {"m": maker, "M": True}}


def top(bid: str = "100.00", ask: str = "100.50", number: int = 1) -> dict[str, Any]:
    data = {"u": number, "s": "BTCUSDT", "b": bid, "B": "1.00000000", "a": ask, "A": "2.00000000"}
    return {"stream": "btcusdt@bookTicker", "data": data}


def diff(ts: int, first: int, final: int, *, before: int | None = None, bid: str = "100.00") -> dict[str, Any]:
    data: dict[str, Any] = {"e": "depthUpdate", "E": ts, "s": "BTCUSDT", "U": first, "u": final}
    if before is not None:
        data |= {"pu": before, "T": ts}
    data |= {"b": [[bid, "3.00000000"]], "a": []}
    return {"stream": "btcusdt@depth@100ms", "data": data}


def snapshot(last: int) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": [["99.00", "1.00000000"]], "asks": [["101.00", "1.00000000"]]}


def capture(
    folder: Path, messages: list[dict[str, Any]], name: str = "binance_spot_btcusdt.raw.gz", start: int = RECV
) -> Path:
    lines = "".join(f"{start + k * 1000} {json.dumps(message)}\n" for k, message in enumerate(messages))
    path = folder / name
    path.write_bytes(gzip.compress(lines.encode()))
    return path


def events(path: Path) -> list[Any]:
    return [event for batch in open_source(path).batches() for event in batch]


def test_trades_carry_their_trade_time_and_the_takers_side(tmp_path):
    found = events(capture(tmp_path, [trade(E0, "100.10", 1), trade(E0 + 5, "100.20", 2, maker=False)]))
    assert [(t.ts_event_ns // 1_000_000 - E0, t.side) for t in found] == [(0, Side.SELL), (5, Side.BUY)]
    assert all(isinstance(t, Trade) and t.ts_recv_ns is None for t in found)


def test_a_spot_best_bid_and_offer_gets_the_greatest_event_time_seen_so_far(tmp_path):
    messages = [
        top(),
        trade(E0 + 20, "100.10", 1),
        trade(E0 + 10, "100.20", 2),
        top(bid="100.05"),
        diff(E0 + 30, 1, 2),
        top(),
    ]
    tops = [event for event in events(capture(tmp_path, messages)) if isinstance(event, TopOfBook)]
    assert [event.ts_event_ns // 1_000_000 - E0 for event in tops] == [20, 20, 30]
    assert (tops[1].bid_ticks, tops[1].bid_lots, tops[1].ask_ticks, tops[1].ask_lots) == (10005, 10, 10050, 20)


def test_no_depth_before_a_snapshot_and_none_after_a_gap_until_the_next(tmp_path):
    messages = [
        trade(E0, "100.10", 1),
        diff(E0 + 1, 1, 5),
        diff(E0 + 2, 6, 9),
        snapshot(7),
        diff(E0 + 3, 10, 12),
        diff(E0 + 4, 14, 15),  # 13 is missing
        diff(E0 + 5, 16, 17),
        snapshot(16),
        diff(E0 + 6, 18, 18),
    ]
    source = open_source(capture(tmp_path, messages))
    depths = [event for batch in source.batches() for event in batch if isinstance(event, Depth)]
    assert [(d.snapshot, d.valid) for d in depths] == [
        (True, True), (False, True), (False, True), (False, False), (True, True), (False, True), (False, True),
    ]  # fmt: skip
    assert depths[0].bids == ((990, 10),)
    assert depths[0].asks == ((1010, 10),)
    assert source.info.has_book
    assert any("1 gaps in the depth sequence" in warning for warning in source.info.warnings)


def test_futures_follow_pu(tmp_path):
    messages = [
        diff(E0 + 1, 10, 20, before=9),
        snapshot(15) | {"E": E0 + 1, "T": E0 + 1, "symbol": "BTCUSDT"},
        diff(E0 + 2, 25, 30, before=20),
        diff(E0 + 3, 40, 41, before=31),
        trade(E0 + 4, "100.10", 1),
    ]
    found = events(capture(tmp_path, messages, "binance_usdm_btcusdt.raw.gz"))
    depths = [event for event in found if isinstance(event, Depth)]
    assert [(d.snapshot, d.valid) for d in depths] == [(True, True), (False, True), (False, True), (False, False)]


def test_a_snapshot_older_than_the_stream_is_of_no_use():
    sequence = BookSequence(futures=False)
    assert sequence.change(0, 10, 12, -1) is False
    assert sequence.take_snapshot(5) is None
    assert sequence.snapshots_too_old == 1
    assert sequence.take_snapshot(11) == [0]
    assert sequence.change(1, 13, 14, -1) is True
    assert sequence.take_snapshot(14) is None
    assert sequence.snapshots_aside == 1


def test_the_book_goes_on_from_one_file_to_the_next(tmp_path):
    first = capture(tmp_path, [trade(E0, "100.10", 1), snapshot(4), diff(E0 + 1, 5, 6)])
    second = capture(
        tmp_path, [diff(E0 + 9, 7, 8), trade(E0 + 9, "100.20", 2)], "binance_spot_btcusdt_2.raw.gz", start=RECV + 10**9
    )
    merged = open_sources([second, first])
    found = [event for batch in merged.batches() for event in batch]
    assert [type(event).__name__ for event in found] == ["Trade", "Depth", "Depth", "Depth", "Trade"]
    alone = [event for event in events(second) if isinstance(event, Depth)]
    assert alone == []


def test_single_trades_are_preferred_to_aggregates_of_the_same_capture(tmp_path):
    aggregate = {"e": "aggTrade", "E": E0 + 1, "s": "BTCUSDT", "a": 9, "p": "100.1", "q": "1", "f": 1, "l": 2, "T": E0}
    aggregate |= {"m": True, "M": True}
    source = open_source(capture(tmp_path, [trade(E0, "100.10", 1), {"data": aggregate}, trade(E0, "100.10", 2)]))
    assert source.info.rows == 2
    assert any("aggTrades were left out" in warning for warning in source.info.warnings)
    assert open_source(capture(tmp_path, [{"stream": "btcusdt@aggTrade", "data": aggregate}])).info.rows == 1


def test_a_cut_line_is_named(tmp_path):
    path = capture(tmp_path, [trade(E0, "100.10", 1), trade(E0 + 1, "100.20", 2)])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-40]))
    with pytest.raises(DataError, match=r"line 2: .* is corrupt or truncated"):
        open_source(path)
    whole = capture(tmp_path, [trade(E0 + k, "100.10", k) for k in range(500)]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        open_source(path)


def test_json_lines_of_frames_are_read_too(tmp_path):
    path = tmp_path / "binance_spot_btcusdt.frames.jsonl"
    frames = [{"recv_ns": RECV, "recv_mono_ns": 1, "source": "websocket", "raw": json.dumps(trade(E0, "100.10", 1))}]
    path.write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    assert [event.price_ticks for event in events(path)] == [1001]


def test_book_quantities_finer_than_the_lot_are_rounded_down_and_said(tmp_path):
    fine = diff(E0 + 1, 5, 5)
    fine["data"]["b"] = [["100.00", "0.75000000"]]
    source = open_source(capture(tmp_path, [trade(E0, "100.10", 1), snapshot(4), fine]))
    depths = [event for batch in source.batches() for event in batch if isinstance(event, Depth)]
    assert depths[-1].bids == ((1000, 7),)
    assert any("rounded down to whole lots" in warning for warning in source.info.warnings)
    broken = diff(E0 + 1, 5, 5)
    broken["data"]["b"] = [["nan", "1"]]
    with pytest.raises(DataError, match="in the book are unreadable"):
        open_source(capture(tmp_path, [trade(E0, "100.10", 1), snapshot(4), broken]))
