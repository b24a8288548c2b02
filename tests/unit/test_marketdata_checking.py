"""`data check`, `import` and `synth` as functions: what they report, drop, log and write."""

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from claire.adapters.marketdata import SyntheticMarket, SynthSettings, open_source
from claire.adapters.marketdata.checking import check
from claire.adapters.marketdata.converting import import_file, write_clean, write_synthetic
from claire.model.errors import DataError

T0 = 1_729_987_200_000


def all_events(source):
    return [event for batch in source.batches() for event in batch]


@pytest.fixture
def dirty(tmp_path):
    """A day with one of everything that can be wrong."""
    rows: list[Any] = [(T0 + k * 1000, 60000.0 + k % 7, 1.0, "buy", 100 + k) for k in range(60)]
    rows[10] = (rows[10][0], 6e8, 1.0, "buy", 110)
    rows[11] = (rows[11][0], 0.0, 1.0, "buy", 111)
    rows[12] = (rows[12][0], 60000.0, 0.0, "buy", 112)
    rows[13] = (rows[13][0], float("nan"), 1.0, "buy", 113)
    rows[14] = (rows[14][0], -1.0, 1.0, "buy", 114)
    rows[20] = (rows[19][0], *rows[20][1:])
    rows[21] = rows[22]  # repeats, and the id 121 is missing
    rows[30] = (rows[30][0] - 5000, *rows[30][1:])
    rows[31] = (rows[31][0], 60001.0, 2.0, "sell", 132)  # a contradiction with row 32
    rows[40] = (rows[40][0], *rows[40][1:3], None, rows[40][4])
    rows += [(T0 + 600_000, 60000.0, 1.0, "buy", 160)]
    path = tmp_path / "dirty_BTCUSDT.parquet"
    pl.DataFrame(rows, schema=["ts_ms", "price", "qty", "side", "trade_id"], orient="row").write_parquet(path)
    return path


def test_check_counts_what_is_wrong_and_names_places(dirty):
    report = check(dirty)
    (market,) = report.markets
    assert not report.usable
    assert market.faults_by_code == {
        "PRICE_UNREADABLE": 1,
        "PRICE_ZERO": 1,
        "PRICE_NEGATIVE": 1,
        "QUANTITY_ZERO": 1,
        "ABSURD_PRICE": 1,
    }
    assert (market.duplicates, market.conflicts, market.sides_missing) == (1, 1, 1)
    assert market.disorder == 1
    assert (market.time_gaps, market.longest_gaps[0].seconds) == (1, 541.0)
    assert (market.id_gaps, market.ids_missing) == (2, 2)
    assert "row 12: price 0.0 is zero" in report.examples
    assert any(example.startswith("row 11: price 600000000.0 is absurd") for example in report.examples)
    assert any("row 33: trade id 132 stands for another" in example for example in report.examples)


def test_a_clean_copy_opens_and_the_log_names_each_dropped_row(dirty, tmp_path):
    with pytest.raises(DataError):
        open_source(dirty)
    written = write_clean(dirty, tmp_path / "clean.parquet")
    source = open_source(tmp_path / "clean.parquet")
    assert written.dropped == 7
    assert written.rows == source.info.rows == 61 - 7
    log = [json.loads(line) for line in (tmp_path / "clean.parquet.dropped.jsonl").read_text().splitlines()]
    assert [row["place"] for row in log] == ["row 11", "row 12", "row 13", "row 14", "row 15", "row 23", "row 33"]
    assert log[1]["price"] == "0.0"
    assert "zero" in log[1]["reason"]
    assert check(tmp_path / "clean.parquet").usable
    assert any("tick rule" in warning for warning in source.info.warnings)


def test_an_import_reads_as_the_original_and_keeps_given_rules(dirty, tmp_path):
    clean = tmp_path / "clean.parquet"
    write_clean(dirty, clean)
    rules: dict[str, dict[str, str | Decimal]] = {"BTCUSDT": {"min_notional": Decimal(5), "tick": "0.5"}}
    import_file(clean, tmp_path / "imported.parquet", rules=rules)
    original, imported = open_source(clean, rules=rules), open_source(tmp_path / "imported.parquet")
    assert all_events(original) == all_events(imported)
    assert original.instruments == imported.instruments
    assert imported.instruments["BTCUSDT"].min_notional == 5


def test_nothing_is_written_over_and_only_parquet_is_written(dirty, tmp_path):
    with pytest.raises(DataError, match=r"ends in .parquet"):
        write_clean(dirty, tmp_path / "clean.csv")
    with pytest.raises(DataError, match="is the file to read"):
        write_clean(dirty, dirty)
    with pytest.raises(DataError, match="no such folder"):
        write_clean(dirty, tmp_path / "nowhere" / "clean.parquet")
    write_clean(dirty, tmp_path / "clean.parquet")
    with pytest.raises(DataError, match="exists already"):
        write_clean(dirty, tmp_path / "clean.parquet")
    assert write_clean(dirty, tmp_path / "clean.parquet", force=True).rows == 54


@pytest.mark.parametrize("book", ["none", "top", "depth"])
def test_a_synthetic_market_reads_back_as_it_was_made(tmp_path, book):
    market = SyntheticMarket(SynthSettings(trades=9_000, book=book))
    written = write_synthetic(market, tmp_path / "synth.parquet")
    source = open_source(tmp_path / "synth.parquet")
    assert all_events(source) == all_events(market)
    assert source.instruments == market.instruments
    assert source.info.synthetic_trades
    assert any("STUB" in warning for warning in source.info.warnings)
    assert written.rows == market.info.rows == source.info.rows


def test_several_symbols_of_different_fineness_survive_an_import(tmp_path):
    path = tmp_path / "two.parquet"
    columns = {"ts_ms": [T0, T0, T0 + 1, T0 + 1], "side": ["buy", "sell"] * 2, "symbol": ["AAAUSDT", "BBBUSDT"] * 2}
    pl.DataFrame(columns | {"price": [1e-10, 60000.5, 1.2e-10, 60000.0], "qty": [4e13, 1e-8, 4e13, 2.0]}).write_parquet(
        path
    )
    import_file(path, tmp_path / "imported.parquet")
    original = open_source(path, symbols=["AAAUSDT", "BBBUSDT"])
    imported = open_source(tmp_path / "imported.parquet", symbols=["AAAUSDT", "BBBUSDT"])
    assert all_events(original) == all_events(imported)
    assert original.instruments == imported.instruments


def test_a_book_import_needs_its_sidecar(tmp_path):
    write_synthetic(SyntheticMarket(SynthSettings(duration_s=10, book="depth")), tmp_path / "synth.parquet")
    (tmp_path / "synth.parquet.instruments.json").unlink()
    with pytest.raises(DataError, match="sidecar with the rules of BTCUSDT is missing"):
        open_source(tmp_path / "synth.parquet")


def test_a_broken_sidecar_is_named(tmp_path):
    write_synthetic(SyntheticMarket(SynthSettings(trades=10)), tmp_path / "synth.parquet")
    sidecar = tmp_path / "synth.parquet.instruments.json"
    for content, message in (("{", "cannot be read"), ("{}", "is not of format")):
        sidecar.write_text(content)
        with pytest.raises(DataError, match=message):
            open_source(tmp_path / "synth.parquet")


def test_missing_bars_are_gaps_of_a_candle_file(tmp_path):
    path = tmp_path / "BTC_USDT-1m.json"
    path.write_text(json.dumps([[T0 + k * 60_000, 1.0, 2.0, 0.5, 1.5, 10.0] for k in (0, 1, 2, 5, 6)]))
    (market,) = check(path).markets
    assert (market.time_gaps, market.faults) == (1, {})
