"""The indicators against TA-Lib, value by value, on real candles: crashes, outages, silent minutes, prices of 10⁻¹⁰."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
import talib
from numpy.typing import NDArray

from claire.indicators import Adx, Atr, Ema

Column = NDArray[np.float64]

BARS: Final = 20_000
"""Of each symbol, from the first; the end of a longer series adds nothing new and costs minutes."""

SERIES: Final = [
    ("candles/binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet", "BTC"),
    ("candles/binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet", "ETH"),
    ("candles/binance_um_6sym_1m_2025-05-04_2025-06.parquet", "SUI"),
    ("candles/binance_spot_4sym_15m.parquet", "DOGE"),
    ("candles/binance_spot_4sym_2h.parquet", "BTC"),
    ("candles/bitfinex_spot_BTCUSD_1m_2017-2019.parquet", ""),
    ("mexc/mexc_spot_15sym_1m_2026-05-20_2026-06-19.parquet", "PEPE"),
    ("mexc/mexc_spot_15sym_1m_2026-05-20_2026-06-19.parquet", "KISHU"),
    ("mexc/mexc_spot_15sym_1m_2026-05-20_2026-06-19.parquet", "BABYDOGE"),
]


def read(path: Path, symbol: str) -> tuple[Column, Column, Column]:
    """Return high, low and close of the first bars of the symbol that starts so; its last bar was still open: without it."""
    bars = pl.read_parquet(path).sort("ts_ms", maintain_order=True)
    if symbol:
        bars = bars.filter(pl.col("symbol").str.starts_with(symbol))
        assert bars["symbol"].n_unique() == 1
    bars = bars.head(bars.height - 1).head(BARS)
    assert bars.height == BARS
    high, low, close = (bars[name].to_numpy().astype(np.float64) for name in ("high", "low", "close"))
    return high, low, close


@pytest.fixture(scope="module", params=SERIES, ids=[f"{Path(file).stem}-{symbol}" for file, symbol in SERIES])
def bars(request, shared) -> tuple[Column, Column, Column]:
    file, symbol = request.param
    return read(shared / "data" / file, symbol)


def agree(ours: Sequence[float], ready: Sequence[bool], oracle: Column, magnitude: Column | float) -> None:
    """Ready exactly where TA-Lib has a value, and there equal to it to 10⁻⁹ of the magnitude."""
    known = ~np.isnan(oracle)
    assert np.array_equal(np.asarray(ready), known)
    assert known.any()
    off = np.abs(np.asarray(ours) - oracle) / magnitude
    worst = int(np.nanargmax(off))
    assert off[worst] <= 1e-9, f"bar {worst}: {ours[worst]!r}, TA-Lib says {oracle[worst]!r}"


def run(indicator: Any, update: Callable[[int], float], count: int) -> tuple[list[float], list[bool]]:
    values, ready = [], []
    for bar in range(count):
        values.append(update(bar))
        ready.append(indicator.ready)
        assert indicator.value == values[-1]
    return values, ready


@pytest.mark.parametrize("period", [2, 9, 21, 200])
def test_ema_equals_ta_libs_to_a_billionth_of_the_average(bars, period):
    close = bars[2]
    oracle = talib.EMA(close, timeperiod=period)
    ema = Ema(period)
    values, ready = run(ema, lambda bar: ema.update(float(close[bar])), len(close))
    agree(values, ready, oracle, np.abs(oracle))


@pytest.mark.parametrize("period", [2, 14, 50])
def test_atr_equals_ta_libs_to_a_billionth_of_the_close(bars, period):
    high, low, close = bars
    oracle = talib.ATR(high, low, close, timeperiod=period)
    atr = Atr(period)
    values, ready = run(atr, lambda bar: atr.update(float(high[bar]), float(low[bar]), float(close[bar])), len(close))
    agree(values, ready, oracle, close)


@pytest.mark.parametrize("period", [2, 14, 50])
def test_adx_equals_ta_libs_to_a_billionth_of_its_scale(bars, period):
    high, low, close = bars
    oracle = talib.ADX(high, low, close, timeperiod=period)
    adx = Adx(period)
    values, ready = run(adx, lambda bar: adx.update(float(high[bar]), float(low[bar]), float(close[bar])), len(close))
    agree(values, ready, oracle, 100.0)


def test_the_tightest_agreement_holds_too_relative_to_the_value_itself(bars):
    high, low, close = bars
    for oracle, indicator in ((talib.ATR(high, low, close), Atr(14)), (talib.ADX(high, low, close), Adx(14))):
        ours = np.array([indicator.update(*map(float, bar)) for bar in zip(high, low, close, strict=True)])
        known = ~np.isnan(oracle) & (oracle > 0)
        assert np.max(np.abs(ours[known] / oracle[known] - 1)) <= 1e-9
