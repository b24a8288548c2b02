"""Candles of a whole recorded day against a group-by that knows nothing of Claire."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import polars as pl
import pytest

from claire.model.market import Candle, Side, Trade
from claire.stages.candles import Candles
from tests.support.timers import closed_candles

NAMES: Final = ["agg_id", "price", "qty", "first_id", "last_id", "ts_ms", "is_buyer_maker", "best_match"]
DAY_S: Final = 86_400


@pytest.fixture(scope="module")
def day(shared: Path) -> pl.DataFrame:
    """The day's aggregate trades, prices in ticks of 10⁻⁸ and quantities in whole coins."""
    with ZipFile(shared / "data/trades/binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip") as archive:
        text = archive.read(archive.namelist()[0])
    rows = pl.read_csv(text, has_header=False, new_columns=NAMES)
    ticks = (pl.col("price") * 1e8).round().cast(pl.Int64)
    lots = pl.col("qty").round().cast(pl.Int64)
    assert rows.select((pl.col("qty") == lots).all()).item()
    return rows.select("ts_ms", "is_buyer_maker", ticks=ticks, lots=lots)


def trades_of(day: pl.DataFrame) -> list[Trade]:
    sides = {True: Side.SELL, False: Side.BUY}
    return [
        Trade("PEPEUSDT", ts_ms * 1_000_000, ticks, lots, sides[is_buyer_maker])
        for ts_ms, is_buyer_maker, ticks, lots in day.iter_rows()
    ]


def bar(candle: Candle) -> tuple[int, ...]:
    prices = (candle.open_ticks, candle.high_ticks, candle.low_ticks, candle.close_ticks)
    return (candle.open_ns // 1_000_000, *prices, candle.volume_lots, candle.trades)


def grouped(day: pl.DataFrame, interval_s: int) -> Sequence[tuple[int, ...]]:
    """Return every interval that has trades: its start, OHLC, volume and number of trades; without the last, unfinished one."""
    price, interval_ms = pl.col("ticks"), interval_s * 1_000
    bars = (
        day.group_by(start=pl.col("ts_ms") // interval_ms * interval_ms, maintain_order=True)
        .agg(price.first().alias("o"), price.max().alias("h"), price.min().alias("l"), price.last().alias("c"),
             pl.col("lots").sum(), pl.len().cast(pl.Int64).alias("n"))
        .sort("start")
    )  # fmt: skip
    return bars.head(-1).rows()


@pytest.mark.parametrize("with_timers", [True, False])
@pytest.mark.parametrize("interval_s", [60, 1])
def test_candles_of_a_recorded_day_agree_with_an_independent_group_by(day, interval_s, with_timers):
    assert day["ts_ms"].is_sorted()
    stage = Candles(interval_ns=interval_s * 10**9)
    candles = closed_candles(stage, trades_of(day), with_timers=with_timers)
    assert [bar(candle) for candle in candles if not candle.empty] == grouped(day, interval_s)
    first, last = (day["ts_ms"][row] // (interval_s * 1_000) for row in (0, -1))
    assert len(candles) == last - first
    assert stage.late("PEPEUSDT") == 0


def test_a_silent_second_of_the_recorded_day_repeats_the_close_before_it(day):
    candles = closed_candles(Candles(interval_ns=10**9), trades_of(day), with_timers=True)
    silent = [(before, candle) for before, candle in pairwise(candles) if candle.empty]
    assert len(silent) > DAY_S // 2
    for before, candle in silent:
        assert bar(candle) == (candle.open_ns // 1_000_000, *4 * (before.close_ticks,), 0, 0)
