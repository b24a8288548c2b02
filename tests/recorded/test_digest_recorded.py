"""One market, one digest: whatever file it lies in, however it is cut into batches, whatever the interpreter's hash seed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from claire.adapters.marketdata import open_source
from claire.model.market import MarketEvent
from tests.support.markets import ListSource, run

USUAL: Final = ("lookback_s=300", "threshold_pct=0.5", "stop_loss_pct=1", "take_profit_pct=1.5", "max_hold_s=3600")
FILES: Final = ("all_trades_unified.parquet", "binance_spot_PEPEUSDT-aggTrades-2024-10-27.zip")

PROGRAM: Final = """
import sys
from claire.adapters.marketdata import open_source
from tests.support.markets import run
print(run(open_source(sys.argv[1], symbols=["PEPEUSDT"]), *sys.argv[2:]).tally.digest)
"""


@pytest.fixture(scope="module")
def digest(shared: Path) -> str:
    """The digest of the day in Parquet."""
    tally = run(open_source(shared / "data" / "trades" / FILES[0], symbols=["PEPEUSDT"]), *USUAL).tally
    assert tally.fills >= 10
    return tally.digest


def test_the_archive_of_the_day_gives_the_digest_of_the_table(shared: Path, digest: str):
    source = open_source(shared / "data" / "trades" / FILES[1], symbols=["PEPEUSDT"])
    assert run(source, *USUAL).tally.digest == digest


@pytest.mark.parametrize("batch", [1, 1_000])
def test_batches_do_not_matter(shared: Path, digest: str, batch: int):
    source = open_source(shared / "data" / "trades" / FILES[0], symbols=["PEPEUSDT"])
    events: list[MarketEvent] = [event for part in source.batches() for event in part]
    assert run(ListSource(events, list(source.instruments.values()), batch), *USUAL).tally.digest == digest


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_the_hash_seed_does_not_matter(shared: Path, checkout: Path, digest: str, seed: str):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(shared / "data" / "trades" / FILES[0]), *USUAL],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest


def test_one_changed_parameter_is_another_digest(shared: Path, digest: str):
    source = open_source(shared / "data" / "trades" / FILES[0], symbols=["PEPEUSDT"])
    assert run(source, *USUAL, "stop_loss_pct=0.5").tally.digest != digest
