"""`claire kill` as a person and a script meet it."""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from claire.cli import kill as command
from claire.cli.main import main
from claire.cli.unprotected import LEDGER
from claire.latch.page import found, read
from claire.model.errors import UsageError
from claire.safety.folder import account_folder, read_symbols, write_symbols


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        found(tmp_path / "accounts" / name, arms_itself=True, who="a run", now_ns=time.time_ns())
    return tmp_path


def claire(runs: Path, *words: str, start: str = "claire.cli") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", start, "kill", "--runs", str(runs), *words], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def is_armed(runs: Path, name: str) -> bool:
    return read(runs / "accounts" / name).is_armed


@pytest.mark.parametrize("start", ["claire.cli", "claire.cli.main"])
def test_every_account_is_killed_with_who_and_why(runs, start):
    code, out, err = claire(runs, "--reason", "smoke in the server room", start=start)
    assert (code, out) == (0, "")
    assert not is_armed(runs, "one")
    assert not is_armed(runs, "two")
    flag = read(runs / "accounts" / "one")
    assert flag.who.startswith("operator ")
    assert flag.reason == "smoke in the server room"
    assert "one: killed (killed by operator" in err


def test_one_account_is_killed_and_the_other_is_not(runs):
    code, out, _ = claire(runs, "--account", "one", "--json")
    told = json.loads(out)
    assert code == 0
    assert [(one["account"], one["closed"], one["durable"]) for one in told["accounts"]] == [("one", True, True)]
    assert told["accounts"][0]["latch_us"] < 1_000_000
    assert told["start_up_ms"] >= 0
    assert is_armed(runs, "two")


def test_it_is_told_when_it_was_killed_already(runs):
    claire(runs, "--reason", "first")
    _, _, err = claire(runs, "--reason", "second")
    assert "was killed already" in err
    assert "first" in err


def test_an_account_that_is_not_there_is_an_error_that_names_the_others(runs):
    code, out, err = claire(runs, "--account", "tow", "--json")
    assert code == 2
    assert json.loads(out)["exit_code"] == 2
    assert "Did you mean two?" in err
    assert is_armed(runs, "two")


@pytest.mark.parametrize("words", [("--acount", "one"), ("--account",), ("now",)])
def test_what_is_not_understood_kills_nothing_and_says_so(runs, words):
    code, _, err = claire(runs, *words)
    assert code == 2
    assert "claire kill --help" in err
    assert is_armed(runs, "one")


def test_without_any_account_it_fails(tmp_path):
    code, _, err = claire(tmp_path)
    assert code == 1
    assert "there is no account" in err


def test_the_latch_is_closed_before_anything_else_is_imported(runs):
    program = (
        "import sys; sys.argv = ['claire', 'kill', '--runs', sys.argv[1]]; before = set(sys.modules)\n"
        "from claire.cli.kill import first\n"
        "first(sys.argv[2:])\n"
        "heavy = {'typer', 'msgspec', 'pydantic', 'sqlalchemy', 'sqlite3', 'rich', 'asyncio', 'aiohttp'}\n"
        "heavy &= set(sys.modules) - before\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(runs)], check=True)
    assert not is_armed(runs, "one")


def test_the_environment_names_the_folder(runs, monkeypatch):
    monkeypatch.setenv("CLAIRE_HOME", str(runs))
    (runs / "runs").mkdir()
    (runs / "accounts").rename(runs / "runs" / "accounts")
    command.first(["--account=one", "--json"])
    assert not read(runs / "runs" / "accounts" / "one").is_armed
    assert command.command(account="one", reason="", runs=None, as_json=True) == 0


LINES = [
    ("position/mom/BTCUSDT", "BTC", "0.75"),
    ("position/mom/BTCUSDT", "BTC", "-0.25"),
    ("position/mom/SOLUSDT", "SOL", "3"),
    ("position/mom/SOLUSDT", "SOL", "-3"),
    ("dust/ETHUSDT", "ETH", "1"),
]


def test_what_nothing_protects_any_more_is_said(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    assert main(["run", "--source", "synth:trades=2000", "--speed", "max", "--runs", str(runs), "--json"]) == 0
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    found(runs / "accounts" / "paper", arms_itself=True, who="a run", now_ns=time.time_ns())
    ledger = sqlite3.connect(runs / run_id / LEDGER)
    with ledger:
        ledger.execute("DELETE FROM postings WHERE book LIKE 'position/%'")
        for line, (book, asset, amount) in enumerate(LINES):
            ledger.execute(
                "INSERT INTO postings (run_id, transaction_no, line_no, account_id, book, asset, amount, cause, ts_event_ns)"
                " VALUES (?, 999999, ?, 'paper', ?, ?, ?, 'test', 1)",
                (run_id, line, book, asset, amount),
            )
    ledger.close()
    _, out, _ = claire(runs, "--account", "paper", "--json")
    (told,) = json.loads(out)["accounts"]
    assert told["run"] == run_id
    assert told["positions"] == [{"strategy": "mom", "symbol": "BTCUSDT", "asset": "BTC", "quantity": "0.50"}]
    assert "UNPROTECTED 0.50 BTC of mom (BTCUSDT)" in claire(runs, "--account", "paper")[2]
    (runs / run_id / LEDGER).write_bytes(b"this is no database at all" * 100)
    code, _, err = claire(runs, "--account", "paper")
    assert code == 0
    assert "the ledger cannot be read" in err


# -- the list of symbols --------------------------------------------------------------------------------------------------


def test_symbols_are_kept_whole(tmp_path):
    assert read_symbols(tmp_path) == ()
    write_symbols(tmp_path, ["BTCUSDT", "龙虾USDT", "BTCUSDT"])
    assert read_symbols(tmp_path) == ("BTCUSDT", "龙虾USDT")
    assert [path.name for path in tmp_path.iterdir()] == ["symbols"]


def test_an_account_is_found_by_name(runs):
    assert account_folder(runs, "one") == runs / "accounts" / "one"
    with pytest.raises(UsageError, match="There are one, two"):
        account_folder(runs, "nine")
    with pytest.raises(UsageError, match="There is none in"):
        account_folder(runs / "nowhere", "one")
