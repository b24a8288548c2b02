"""Claire and the reference of thirty lines on real days: the same round trips, the same money to the last unit."""

from pathlib import Path

import pytest

from claire.adapters.marketdata import open_source
from tests.parity.held_against import compare


@pytest.mark.parametrize(
    ("file", "symbol", "venue", "params", "at_least"),
    [
        ("all_trades_unified.parquet", "PEPEUSDT", None, (300, 0.5, 1, 1.5, 3600), 10),
        ("binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip", "PEPEUSDT", None, (300, 0.5, 1, 1.5, 3600), 10),
        ("all_trades_unified.parquet", "BTCUSDT", "binance_spot", (10, 0.03, 0.05, 0.05, 60), 15),
        ("all_trades_unified.parquet", "NEXOUSDT", None, (600, 0.3, 0.5, 0.5, 3600), 50),
        ("all_trades_unified.parquet", "NEXOUSDT", None, (0, 0.08, 0.2, 0.3, 90), 100),
        ("all_trades_unified.parquet", "APEUSDT", None, (60, 0.2, 0.3, 0.5, 900), 10),
    ],
    ids=["PEPE", "PEPE from the archive", "BTC", "NEXO", "NEXO trade by trade", "APE"],
)
def test_a_recorded_day_gives_the_same_round_trips_and_the_same_money(
    shared: Path,
    file: str,
    symbol: str,
    venue: str | None,
    params: tuple[float, float, float, float, float],
    at_least: int,
):
    source = open_source(shared / "data" / "trades" / file, symbols=[symbol], venue=venue)
    trips, _ = compare(source, *params)
    assert len(trips) >= at_least
