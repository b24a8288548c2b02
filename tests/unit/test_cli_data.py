"""`claire data`: documents for programs, tables for people, exit codes for both."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from claire.cli.main import main

T0 = 1_729_987_200_000


@pytest.fixture
def market(tmp_path) -> Path:
    """Sixty good trades."""
    return write(tmp_path / "day_BTCUSDT.parquet", [60000.0 + k % 7 for k in range(60)])


@pytest.fixture
def dirty(tmp_path) -> Path:
    """The same with a zero and an absurd price."""
    prices = [60000.0 + k % 7 for k in range(60)]
    prices[10], prices[20] = 0.0, 6e9
    return write(tmp_path / "dirty_BTCUSDT.parquet", prices)


def write(path: Path, prices: list[float]) -> Path:
    count = len(prices)
    pl.DataFrame(
        {
            "ts_ms": [T0 + k * 1000 for k in range(count)],
            "price": prices,
            "qty": [0.5] * count,
            "side": ["buy", "sell"] * (count // 2),
            "trade_id": list(range(count)),
        }
    ).write_parquet(path)
    return path


def run(capsys, *argv: str) -> tuple[int, str, str]:
    code = main(["data", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_info_tells_what_a_file_holds(capsys, market):
    code, out, _ = run(capsys, "info", str(market), "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["rows"], document["symbols"], document["kind"]) == (60, ["BTCUSDT"], "recorded")
    assert (document["first_ns"], document["last_ns"]) == (T0 * 10**6, (T0 + 59_000) * 10**6)
    assert document["markets"][0]["instrument"]["tick"] == "1"
    assert document["markets"][0]["instrument"]["source"] == "inferred"
    assert len(document["sha256"]) == 64
    code, out, _ = run(capsys, "info", str(market))
    assert code == 0
    assert "BTCUSDT" in out
    assert "inferred" in out


def test_check_exits_1_for_a_file_that_a_run_refuses_and_0_after_a_clean_copy(capsys, market, dirty, tmp_path):
    assert run(capsys, "check", str(market))[0] == 0
    code, out, _ = run(capsys, "check", str(dirty), "--json")
    document = json.loads(out)
    assert (code, document["usable"]) == (1, False)
    assert document["faults"] == {"PRICE_ZERO": 1, "ABSURD_PRICE": 1}
    clean = tmp_path / "clean.parquet"
    code, out, _ = run(capsys, "check", str(dirty), "--write", str(clean), "--json")
    document = json.loads(out)
    assert (code, document["written"]["dropped"], document["written"]["rows"]) == (0, 2, 58)
    assert run(capsys, "check", str(clean))[0] == 0
    code, out, _ = run(capsys, "check", str(dirty))
    assert code == 1
    assert "row 11: price 0.0 is zero" in out
    assert "--write CLEAN.parquet" in out


def test_gaps_are_counted_from_the_silence_that_is_asked_for(capsys, market):
    assert json.loads(run(capsys, "check", str(market), "--json")[1])["gaps"] == 0
    assert json.loads(run(capsys, "check", str(market), "--gap-s", "0.5", "--json")[1])["gaps"] == 59
    assert run(capsys, "check", str(market), "--gap-s", "0")[0] == 2


def test_import_writes_a_file_with_the_rules_that_were_given(capsys, market, tmp_path):
    target = tmp_path / "out.parquet"
    rule = "instruments.BTCUSDT.min_notional=5"
    code, out, _ = run(capsys, "import", str(market), str(target), "--set", rule, "--json")
    assert (code, json.loads(out)["rows"]) == (0, 60)
    document = json.loads(run(capsys, "info", str(target), "--json")[1])
    assert document["markets"][0]["instrument"]["min_notional"] == "5"
    assert document["markets"][0]["instrument"]["source"] == "configuration"
    code, _, err = run(capsys, "import", str(market), str(target))
    assert code == 1
    assert "--force" in err
    assert run(capsys, "import", str(market), str(target), "--force")[0] == 0
    assert run(capsys, "import", str(market), str(target), "--set", "fees.taker_bps=1")[0] == 2
    assert run(capsys, "import", str(market), str(target), "--set", "nonsense")[0] == 2


def test_synth_writes_the_same_file_for_the_same_seed(capsys, tmp_path):
    hashes = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        target = tmp_path / f"{name}.parquet"
        code, out, _ = run(capsys, "synth", str(target), "--seed", seed, "--trades", "3000", "--json")
        assert (code, json.loads(out)["rows"]) == (0, 3000)
        hashes.append(json.loads(run(capsys, "info", str(target), "--json")[1])["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_synth_refuses_what_is_no_setting_or_out_of_range(capsys, tmp_path):
    target = str(tmp_path / "x.parquet")
    code, _, err = run(capsys, "synth", target, "--set", "tik=0.1")
    assert code == 2
    assert "Did you mean tick?" in err
    assert run(capsys, "synth", target, "--rate", "0")[0] == 2
    assert run(capsys, "synth", target, "--set", "start_price=dear")[0] == 2
    code, out, _ = run(capsys, "synth", target, "--set", "start_price=100", "--set", "tick=0.001", "--trades", "50")
    assert code == 0
    assert "STUB" in out


def test_an_error_is_one_json_document_and_one_sentence(capsys, tmp_path):
    code, out, err = run(capsys, "check", str(tmp_path / "nothing.zip"), "--json")
    assert code == 1
    assert "there is no such file" in json.loads(out)["error"]
    assert "nothing.zip" in err


def test_help_imports_neither_numpy_nor_polars():
    code = (
        "import sys\nfrom claire.cli.main import main\nmain(['data', '--help'])\n"
        "heavy = [name for name in ('numpy', 'polars', 'rich') if name in sys.modules]\nprint('heavy', heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy []" in done.stdout
    assert "synth" in done.stdout
