"""Every recording of the shared folder, against what its README says of it and against the same market in another file."""

import gzip
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from claire.adapters.marketdata import open_source, open_sources
from claire.adapters.marketdata.checking import check
from claire.adapters.marketdata.converting import import_file, write_clean
from claire.model.errors import DataError
from claire.model.market import Depth, TopOfBook, Trade


def all_events(source):
    return [event for batch in source.batches() for event in batch]


def kinds(source):
    return Counter(type(event).__name__ for batch in source.batches() for event in batch)


def trades_of(source):
    return [event for batch in source.batches() for event in batch if isinstance(event, Trade)]


@pytest.fixture
def unified(shared: Path) -> Path:
    return shared / "data/trades/all_trades_unified.parquet"


@pytest.mark.parametrize(
    ("symbol", "venue", "file", "count"),
    [
        ("PEPEUSDT", None, "trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip", 57_229),
        ("APEUSDT", None, "trades/binance_um_APEUSDT-aggTrades-2024-10-18.zip", 45_342),
        ("XRPETH", None, "trades/binance_spot_XRPETH_aggtrades_2019-10-11_2019-10-13.json.gz", 12_477),
        ("BTCUSDT", "binance_um", "l2/binance_usdm_btcusdt_20240808.raw.gz", 21_313),
        ("NEXOUSDT", None, "l2/binance_spot_nexousdt_20240724.raw.gz", 12_280),
    ],
)
def test_one_market_in_two_formats_gives_the_same_trades_and_rules(shared, unified, symbol, venue, file, count):
    parquet, other = open_source(unified, symbols=[symbol], venue=venue), open_source(shared / "data" / file)
    assert trades_of(parquet) == trades_of(other)
    assert parquet.instruments == other.instruments
    assert parquet.info.rows == count


def test_two_days_of_a_capture_are_one_market_with_an_unbroken_book(shared, unified):
    days = [shared / f"data/l2/binance_spot_btcusdt_2024080{day}.raw.gz" for day in (8, 9)]
    merged = open_sources(days)
    assert kinds(merged) == {"Trade": 9_757 + 10_147, "TopOfBook": 28_040 + 45_134, "Depth": 1 + 3_451 - 2 + 3_044}
    parquet = open_source(unified, symbols=["BTCUSDT"], venue="binance_spot")
    assert trades_of(merged) == trades_of(parquet)
    assert merged.instruments == parquet.instruments
    times = [event.ts_event_ns for event in all_events(merged)]
    assert times == sorted(times)
    assert all(event.valid for event in all_events(merged) if isinstance(event, Depth))


@pytest.mark.parametrize(
    ("file", "trades", "tops", "depths"),
    [
        ("binance_spot_btcusdt_20240808.raw.gz", 9_757, 28_040, 3_450),
        ("binance_spot_btcusdt_20240809.raw.gz", 10_147, 45_134, 0),
        ("binance_usdm_btcusdt_20240808.raw.gz", 21_313, 66_089, 6_548),
        ("binance_spot_nexousdt_20240724.raw.gz", 12_280, 33_000, 0),
        ("binance_spot_btcusdt_20260727.frames.jsonl.gz", 7_128, 0, 869),
    ],
)
def test_captures_hold_what_the_readme_counts(shared, file, trades, tops, depths):
    expected = {"Trade": trades, "TopOfBook": tops, "Depth": depths}
    assert kinds(open_source(shared / "data/l2" / file)) == {name: count for name, count in expected.items() if count}


@pytest.mark.parametrize(("day", "trades"), [(8, 2_286), (9, 2_949)])
def test_inverse_captures_are_refused_by_name_and_still_checked(shared, day, trades):
    path = shared / f"data/l2/binance_cm_btcusd_perp_2024080{day}.raw.gz"
    with pytest.raises(DataError, match=r"BTCUSD_PERP .* is an inverse contract"):
        open_source(path)
    (market,) = check(path).markets
    assert (market.rows, market.depth_gaps, market.id_gaps) == (trades, 0, 0)
    assert "inverse" in market.refusal


def test_the_captured_depth_sequences_have_no_gap_and_the_recorders_clock_ran_behind(shared):
    for name in ("spot_btcusdt_20240808", "usdm_btcusdt_20240808", "spot_nexousdt_20240724"):
        (market,) = check(shared / f"data/l2/binance_{name}.raw.gz").markets
        assert (market.depth_gaps, market.id_gaps, market.duplicates, market.disorder) == (0, 0, 0, 0)
    (market,) = check(shared / "data/l2/binance_spot_btcusdt_20240808.raw.gz").markets
    assert market.latency is not None
    assert -1_280 < market.latency.median_ms < -1_260


def test_the_book_kept_from_changes_is_the_book_that_the_venue_itself_reported_later(shared):
    path = shared / "data/l2/binance_spot_btcusdt_20260727.frames.jsonl.gz"
    crosscheck, before, after = _crosscheck(path)
    source = open_source(path)
    rules = source.instruments["BTCUSDT"]
    books = []
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for event in all_events(source):
        if not isinstance(event, Depth):
            continue
        for levels, side in ((event.bids, bids), (event.asks, asks)):
            for price, quantity in levels:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        books.append((event.ts_event_ns // 1_000_000, dict(bids), dict(asks)))
    around = [book for book in books if before <= book[0] <= after]
    best = []
    for _, kept_bids, kept_asks in around:
        wrong = 0
        for kept, reported, is_bid in ((kept_bids, crosscheck["bids"], True), (kept_asks, crosscheck["asks"], False)):
            theirs = {
                round(float(p) / float(rules.tick)): round(float(q) / float(rules.lot)) for p, q in reported[:200]
            }
            mine = dict(sorted(kept.items(), reverse=is_bid)[:200])
            wrong += sum(1 for price in {**theirs, **mine} if theirs.get(price) != mine.get(price))
        best.append(wrong)
    assert min(best) == 0


def _crosscheck(path):
    """Return the venue's later snapshot, and the event times of the changes before and after it."""
    snapshot, changes = None, []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        frame = json.loads(line)
        message = json.loads(frame["raw"])
        data = message.get("data", message)
        if frame["source"] == "rest_depth_crosscheck":
            snapshot = data
        elif data.get("e") == "depthUpdate":
            changes.append((data["u"], data["E"]))
    assert snapshot is not None
    before = max(event for final, event in changes if final <= snapshot["lastUpdateId"])
    after = min(event for final, event in changes if final > snapshot["lastUpdateId"])
    return snapshot, before, after


def test_best_bid_and_offer_are_never_crossed_in_a_capture(shared):
    source = open_source(shared / "data/l2/binance_spot_btcusdt_20240808.raw.gz")
    assert all(top.bid_ticks < top.ask_ticks for top in all_events(source) if isinstance(top, TopOfBook))


def test_okcoin_is_refused_cleaned_of_its_bad_prints_and_replays(shared, tmp_path):
    path = shared / "data/trades/okcoin_BTCUSD_ticks_2017-08-07_2018-01-21.csv.gz"
    with pytest.raises(DataError, match=r"line 218827: quantity 0.000000000000 is zero. 158 rows"):
        open_source(path)
    report = check(path)
    (market,) = report.markets
    assert (report.rows, report.usable) == (640_219, False)
    assert market.faults_by_code == {"QUANTITY_ZERO": 2, "ABSURD_PRICE": 156}
    assert market.sides_missing == 640_219
    written = write_clean(path, tmp_path / "okcoin.parquet")
    assert (written.dropped, written.rows) == (158, 640_061)
    log = [json.loads(line) for line in Path(written.log).read_text().splitlines()]
    assert min(float(row["price"]) for row in log if "absurd" in row["reason"]) > 40_000
    clean = open_source(tmp_path / "okcoin.parquet")
    rules = clean.instruments["BTCUSD"]
    assert max(event.price_ticks for event in all_events(clean)) * rules.tick < 21_000


def test_the_recorded_trades_hold_no_other_fault_and_one_known_id_gap(shared, unified):
    found = {(m.venue, m.symbol): m for m in check(unified).markets}
    assert {key: m.rows for key, m in found.items()} == {
        ("binance_spot", "PEPEUSDT"): 57_229,
        ("binance_um", "APEUSDT"): 45_342,
        ("binance_um", "BTCUSDT"): 21_313,
        ("binance_spot", "BTCUSDT"): 19_904,
        ("binance_spot", "XRPETH"): 12_477,
        ("binance_spot", "NEXOUSDT"): 12_280,
        ("binance_cm", "BTCUSD_PERP"): 5_235,
    }
    assert all(not m.faults and not m.duplicates and not m.conflicts and not m.disorder for m in found.values())
    (ape,) = check(shared / "data/trades/binance_um_APEUSDT-aggTrades-2024-10-18.zip").markets
    (pepe,) = check(shared / "data/trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip").markets
    assert (ape.id_gaps, pepe.id_gaps) == (1, 0)


@pytest.mark.parametrize(
    ("symbol", "tick", "lot"),
    [
        ("PEPEUSDT", "0.00000001", "1"),
        ("APEUSDT", "0.0001", "1"),
        ("NEXOUSDT", "0.001", "0.01"),
        ("XRPETH", "0.00000001", "1"),
    ],
)
def test_inferred_rules_are_the_venues_of_that_day(unified, symbol, tick, lot):
    rules = open_source(unified, symbols=[symbol]).instruments[symbol]
    assert (f"{rules.tick:f}", f"{rules.lot:f}", rules.source) == (tick, lot, "inferred")


CANDLES = [
    "candles/binance_spot_4sym_15m.parquet",
    "candles/binance_spot_4sym_1h.parquet",
    "candles/binance_spot_4sym_2h.parquet",
    "candles/binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet",
    "candles/binance_spot_BTC_ETH_1m_2025-05-20_2025-08-18.parquet",
    "candles/binance_um_6sym_1m_2025-05-04_2025-06.parquet",
    "mexc/mexc_spot_15sym_1m_2026-05-20_2026-06-19.parquet",
]


@pytest.mark.parametrize("file", CANDLES)
def test_no_real_candle_is_refused_and_volume_and_prices_survive(shared, file):
    path = shared / "data" / file
    bars = pl.read_parquet(path)
    symbols = sorted(bars["symbol"].unique().to_list())
    for symbol in symbols if len(symbols) < 10 else symbols[:4]:
        of = bars.filter(pl.col("symbol") == symbol)
        source = open_source(path, symbols=[symbol])
        columns, rules = source.trades, source.instruments[symbol]
        traded = of.filter(pl.col("volume") > 0)
        assert len(columns) == 4 * traded.height
        assert float(int(columns.lots.sum()) * rules.lot) == pytest.approx(of["volume"].sum(), rel=1e-12)
        assert columns.ticks.max() * float(rules.tick) == pytest.approx(traded["high"].max())
        assert columns.ticks.min() * float(rules.tick) == pytest.approx(traded["low"].min())


def test_three_years_of_minutes_open(shared):
    source = open_source(shared / "data/candles/bitfinex_spot_BTCUSD_1m_2017-2019.parquet")
    rules = source.instruments["BTCUSD"]
    assert len(source.trades) == 4 * 1_538_435 - 9
    assert (f"{rules.tick:f}", f"{rules.lot:f}") == ("0.00000001", "0.00000001")
    assert any("noise" in warning for warning in source.info.warnings)


@pytest.mark.parametrize(
    "file",
    [
        "trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip",
        "trades/binance_spot_XRPETH_aggtrades_2019-10-11_2019-10-13.json.gz",
        "l2/binance_spot_btcusdt_20240808.raw.gz",
        "candles/binance_spot_4sym_1h.parquet",
    ],
)
def test_an_import_reads_as_the_original(shared, tmp_path, file):
    path = shared / "data" / file
    written = import_file(path, tmp_path / "import.parquet")
    original = open_source(path, symbols=written.symbols)
    imported = open_source(tmp_path / "import.parquet", symbols=written.symbols)
    assert all(a == b for a, b in zip(original.batches(), imported.batches(), strict=True))
    assert original.instruments == imported.instruments
    assert original.info.synthetic_trades == imported.info.synthetic_trades
