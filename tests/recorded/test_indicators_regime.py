"""The regime on recorded candles: the crash of 5 August 2024 is chaos, and nothing else of that month is."""

from datetime import UTC, datetime
from itertools import pairwise

import polars as pl

from claire.model.decisions import Regime, RegimeChanged
from claire.model.market import Candle
from claire.stages.regime import Regimes

MINUTE_NS = 60_000_000_000


def changes(path, symbol) -> list[RegimeChanged]:
    """Feed a symbol's one-minute candles, in ticks of 0.01 and without the last one, and return every change."""
    prices = [(pl.col(name) * 100).round().cast(pl.Int64) for name in ("open", "high", "low", "close")]
    bars = pl.read_parquet(path).filter(pl.col("symbol") == symbol).sort("ts_ms")
    regimes = Regimes()
    seen: list[RegimeChanged] = []
    for open_ns, opened, high, low, close in bars.head(-1).select(pl.col("ts_ms") * 1_000_000, *prices).iter_rows():
        end_ns = open_ns + MINUTE_NS
        seen += regimes.on_candle(Candle(symbol, open_ns, end_ns, opened, high, low, close, 1, 1, ts_event_ns=end_ns))
    return seen


def test_the_crash_of_august_2024_is_chaos_and_nothing_else_of_that_month(shared):
    seen = changes(shared / "data/candles/binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet", "ETHUSDT")
    chaos = [change for change in seen if change.after is Regime.HIGH_VOL_CHAOTIC]
    assert [datetime.fromtimestamp(change.ts_event_ns // 10**9, UTC) for change in chaos] == [
        datetime(2024, 8, 5, 1, 13, tzinfo=UTC)
    ]
    assert chaos[0].before is Regime.TREND
    assert chaos[0].atr_pct >= 1.5


def test_changes_link_up_and_begin_at_unknown(shared):
    seen = changes(shared / "data/candles/binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet", "BTCUSDT")
    assert seen[0].before is Regime.UNKNOWN
    assert all(earlier.after is later.before for earlier, later in pairwise(seen))
    assert all(change.after is not Regime.UNKNOWN for change in seen)
