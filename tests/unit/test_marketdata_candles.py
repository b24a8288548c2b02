"""Candle files as input: four synthetic trades per bar, volume in whole lots."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from claire.adapters.marketdata import open_source
from claire.adapters.marketdata.recorded import RecordedMarket
from claire.model.errors import DataError
from claire.model.market import Side, Trade

T0 = 1_735_689_600_000
MIN = 60_000


def events(source: RecordedMarket) -> list[Trade]:
    return [event for batch in source.batches() for event in batch if isinstance(event, Trade)]


def candle_file(folder: Path, rows: Sequence[tuple[float, ...]], name: str = "bars_BTCUSDT.parquet") -> Path:
    path = folder / name
    frame = pl.DataFrame(rows, schema=["ts_ms", "open", "high", "low", "close", "volume"], orient="row")
    frame.with_columns(pl.col("ts_ms").cast(pl.Int64)).write_parquet(path)
    return path


BARS = [
    (T0, 10.0, 12.0, 9.5, 11.0, 1.5),
    (T0 + MIN, 11.0, 11.0, 11.0, 11.0, 0.0),
    (T0 + 2 * MIN, 11.0, 11.5, 10.5, 11.2, 0.3),
]


def test_a_bar_becomes_open_low_high_close_at_thirds_with_its_volume_in_whole_lots(tmp_path):
    trades = events(open_source(candle_file(tmp_path, BARS)))
    assert [t.price_ticks for t in trades[:4]] == [100, 95, 120, 110]
    assert [(t.ts_event_ns // 1_000_000) - T0 for t in trades[:4]] == [0, 20_000, 40_000, 59_999]
    assert [t.quantity_lots for t in trades[:4]] == [4, 3, 4, 4]
    assert sum(t.quantity_lots for t in trades) == 18
    assert [t.side for t in trades[:4]] == [Side.BUY, Side.SELL, Side.BUY, Side.SELL]


def test_a_bar_without_volume_gives_no_trades_and_one_below_four_lots_fewer(tmp_path):
    source = open_source(candle_file(tmp_path, BARS))
    trades = events(source)
    assert len(trades) == 4 + 0 + 3
    assert [t.price_ticks for t in trades[4:]] == [110, 115, 112]
    assert source.info.synthetic_trades
    assert any("synthetic" in warning for warning in source.info.warnings)
    assert any("fewer than four lots" in warning for warning in source.info.warnings)


def test_freqtrade_json_feather_and_csv_give_the_same_trades(tmp_path):
    parquet = events(open_source(candle_file(tmp_path, BARS)))
    as_json = tmp_path / "BTC_USDT-1m.json"
    as_json.write_text(json.dumps(BARS))
    frame = pl.DataFrame(
        {
            "date": [datetime.fromtimestamp(bar[0] / 1000, UTC) for bar in BARS],
            **{name: [bar[k + 1] for bar in BARS] for k, name in enumerate(("open", "high", "low", "close", "volume"))},
        }
    )
    feather, text = tmp_path / "BTC_USDT-1m.feather", tmp_path / "BTC_USDT-1m.csv"
    frame.write_ipc(feather, compression="lz4")
    frame.with_columns(pl.col("date").dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv(text)
    assert events(open_source(as_json)) == events(open_source(feather)) == events(open_source(text)) == parquet
    feather.write_bytes(feather.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"corrupt|truncated"):
        open_source(feather)


def test_noise_of_adding_floats_does_not_make_a_finer_lot(tmp_path):
    bars = [(T0 + k * MIN, 10.0, 12.0, 9.5, 11.0, v) for k, v in enumerate((0.1 + 0.2, 0.0071911399999999995, 1.5))]
    source = open_source(candle_file(tmp_path, bars))
    assert str(source.instruments["BTCUSDT"].lot) == "1E-8"
    assert sum(t.quantity_lots for t in events(source)) == 30000000 + 719114 + 150000000


@pytest.mark.parametrize(
    ("bar", "message"),
    [
        ((10.0, 9.0, 9.5, 11.0, 1.0), "is inconsistent: high or low does not enclose"),
        ((10.0, 12.0, 10.5, 11.0, 1.0), "is inconsistent"),
        ((10.0, float("nan"), 9.5, 11.0, 1.0), "NaN"),
        ((10.0, 12.0, 0.0, 11.0, 1.0), "zero"),
        ((10.0, 12.0, -1.0, 11.0, 1.0), "price"),
        ((10.0, 12.0, 9.5, 11.0, -1.0), "quantity -1.0 is negative"),
        ((10.0, 1200.0, 9.5, 11.0, 1.0), "is absurd"),
    ],
)
def test_a_bad_bar_is_refused_by_row(tmp_path, bar, message):
    rows = [(T0 + k * MIN, 10.0, 12.0, 9.5, 11.0, 1.5) for k in range(6)]
    rows[3] = (rows[3][0], *bar)
    with pytest.raises(DataError, match=rf"row 4: .*{message}"):
        open_source(candle_file(tmp_path, rows))


def test_a_repeated_bar_is_dropped_and_a_contradicting_one_refused(tmp_path):
    source = open_source(candle_file(tmp_path, [*BARS, BARS[0]]))
    assert len(events(source)) == 7
    assert any("1 repeated bars" in warning for warning in source.info.warnings)
    other = (BARS[0][0], 10.0, 12.5, 9.5, 11.0, 1.5)
    with pytest.raises(DataError, match=r"row 4: time .* is that of another row"):
        open_source(candle_file(tmp_path, [*BARS, other]))


def test_candles_without_a_volume_column_are_refused(tmp_path):
    path = tmp_path / "bars_BTCUSDT.csv"
    path.write_text("ts_ms,open,high,low,close\n1,2,3,1,2\n")
    with pytest.raises(DataError, match="no column for the volume"):
        open_source(path)
