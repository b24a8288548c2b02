"""`claire run --continue` from outside: what was killed or ended goes on, and what makes no sense is refused in a sentence."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.beside import Beside
from tests.support.cli import Claire
from tests.support.killing import end_sentinels
from tests.support.live import LIVELY

MARKET = "synth:seed=3,duration_s=1200,move_pct=4,moves_per_hour=12,move_s=200"
OFTEN = [word for setting in LIVELY for word in ("--set", setting)]
"""Settings with which nearly every rise is traded."""


@pytest.fixture
def claire(tmp_path: Path) -> Iterator[Claire]:
    yield Claire(tmp_path)
    if (tmp_path / "runs").exists():
        end_sentinels(tmp_path / "runs")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    words = ("--symbol", "BTCUSDT", "--events", "40", "--fee-asset", "quote", "--balance", "USDT=5000")
    with Beside(tmp_path_factory.mktemp("beside"), *words) as started:
        yield started


def until(condition: Callable[[], object], process: "subprocess.Popen[str]", patience_s: float = 60.0) -> None:
    """Wait until something is true, as long as a process lives."""
    ends = time.monotonic() + patience_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.05)


def run_dir(claire: Claire) -> Path:
    (found,) = (path for path in (claire.folder / "runs").glob("2*") if (path / "journal").is_dir())
    return found


def journal_bytes(claire: Claire) -> int:
    return sum(path.stat().st_size for path in (claire.folder / "runs").glob("2*/journal/*"))


def test_a_paced_run_that_was_killed_goes_on_to_the_same_end(claire, tmp_path):
    words = ("--source", MARKET, "--set", "threshold_pct=1", "--set", "lookback_s=120")
    other = Claire(tmp_path / "whole")
    other.folder.mkdir()
    _, whole = other.json("run", *words, "--speed", "max")
    assert whole["fills"] > 0
    for _ in range(2):
        process = claire.start(
            *(("run", *words) if not (claire.folder / "runs").exists() else ("run", "--continue", "last")),
            "--speed",
            "240x",
        )
        enough = journal_bytes(claire) + 2000
        until(lambda enough=enough: journal_bytes(claire) > enough, process)  # type: ignore[misc]  # mypy cannot infer it
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, summary = claire.json("run", "--continue", "last", "--speed", "max")
    assert (code, summary["interrupted"], summary["continued"]) == (0, False, 2)
    assert summary["decision_digest"] == whole["decision_digest"]
    assert (summary["trades_in"], summary["final_equity"]) == (whole["trades_in"], whole["final_equity"])
    code, replayed = claire.json("replay", "last")
    assert (code, replayed["identical"]) == (0, True)


def test_a_paper_run_on_live_data_goes_on_after_a_kill_and_after_ctrl_c(claire, beside):
    claire.environ |= beside.environ
    process = claire.start("run", "--source", "mexc", "--json", *OFTEN)
    until(lambda: journal_bytes(claire) > 40_000, process)
    name = run_dir(claire).name
    code, out, _ = claire("run", "--continue", name, "--json")
    assert code == 1
    assert f"another process writes this run (process {process.pid})" in json.loads(out)["error"]
    process.kill()
    process.communicate()
    process = claire.start("run", "--continue", name, "--json")
    size = journal_bytes(claire)
    until(lambda: journal_bytes(claire) > size + 20_000, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    first = json.loads(out)
    assert (process.returncode, first["interrupted"], first["continued"], first["run_id"]) == (130, True, 1, name), err
    code, summary = claire.json("run", "--continue", name, "--duration", "2s")
    assert (code, summary["continued"]) == (0, 2)
    assert summary["trades_in"] > first["trades_in"] > 0
    assert summary["orders"] >= first["orders"] > 0
    code, replayed = claire.json("replay", name)
    assert (code, replayed["identical"], replayed["decision_digest"]) == (0, True, summary["decision_digest"])


def test_an_account_belongs_to_one_process_and_its_left_position_to_its_run(claire, beside):
    claire.environ |= beside.environ
    trading = ("run", "--mode", "testnet", "--symbol", "BTCUSDT", "--json", *OFTEN, "--set", "max_hold_s=0", "--set")
    process = claire.start(*trading, "stop_loss_pct=5", "--set", "take_profit_pct=5")
    until(lambda: beside.account()["fills"], process)
    code, out, _ = claire(*trading, "stop_loss_pct=5")
    assert code == 3
    assert f"process {process.pid} trades this account already" in json.loads(out)["error"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["open_positions"]) == (130, 1), err
    name = run_dir(claire).name
    code, out, _ = claire(*trading, "stop_loss_pct=5")
    assert code == 3
    assert f"run {name} left 1 open positions" in json.loads(out)["error"]
    assert f"claire run --continue {name}" in json.loads(out)["error"]
    code, out, _ = claire("run", "--continue", name, "--set", "stop_loss_pct=4", "--json")
    assert code == 3
    assert "momentum-1 owns BTCUSDT" in json.loads(out)["error"]
    code, summary = claire.json(
        "run", "--continue", name, "--set", "stop_loss_pct=4", "--adopt", "momentum-1", "--duration", "4s"
    )
    assert (code, summary["open_positions"], summary["fills"]) == (0, 1, len(beside.account()["fills"]))
    code, replayed = claire.json("replay", name)
    assert (code, replayed["identical"]) == (0, True)
    code, summary = claire.json(*trading[:-1], "--fresh", "--duration", "2s")
    assert (code, summary["run_id"] != name) == (0, True)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Claire:
    """A folder with a run that is over."""
    claire = Claire(tmp_path_factory.mktemp("over"))
    code, _ = claire.json("run", "--source", "synth:trades=500", "--speed", "max")
    assert code == 0
    return claire


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--adopt", "x"), "--adopt goes with --continue RUN"),
        (("--reduce-only-orphans",), "--reduce-only-orphans goes with --continue RUN"),
        (("--release", "feed"), "--release goes with --continue RUN"),
        (("--adjust", "USDT=1"), "--adjust goes with --continue RUN"),
        (("--operator", "ada"), "--operator goes with --continue RUN"),
        (("--fresh",), "--fresh is for accounts at a venue"),
        (("--continue", "last", "--fresh"), "--fresh does not go with --continue"),
        (("--continue", "last", "--source", "synth"), "--source does not go with --continue"),
        (("--continue", "last", "--mode", "testnet"), "--mode does not go with --continue"),
        (("--continue", "last", "--adopt", "x", "--reduce-only-orphans"), "exclude each other"),
        (("--continue", "last", "--release", "feed"), "want an operator's word: add --operator NAME and --reason TEXT"),
        (("--continue", "last", "--set", "threshold_pct=2"), "goes over a finite market"),
        (
            ("--continue", "last", "--adjust", "USDT=1", "--operator", "ada", "--reason", "why"),
            "goes over a finite market",
        ),
        (("--continue", "nosuch"), "nosuch"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(over, words, said):
    before = {path: path.stat().st_size for path in over.folder.rglob("*") if path.is_file()}
    code, out, err = over("run", *words, "--json")
    assert code == 2, err
    assert said in json.loads(out)["error"]
    assert "Traceback" not in err
    assert {path: path.stat().st_size for path in over.folder.rglob("*") if path.is_file()} == before


def test_a_run_at_a_simulator_of_its_own_cannot_be_gone_on_with_and_says_so(claire):
    code, summary = claire.json("run", "--mode", "testnet", "--symbol", "BTCUSDT", "--duration", "2s")
    assert code == 0
    code, out, _ = claire("run", "--continue", summary["run_id"], "--json")
    assert code == 2
    assert "a simulator that was part of it and is gone" in json.loads(out)["error"]
