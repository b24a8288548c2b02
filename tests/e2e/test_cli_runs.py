"""The program from outside: it trades, ends, is replayed, is interrupted, and speaks JSON."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli import Claire

PROMISED = {
    "run_id", "mode", "strategies", "symbols", "risk_profile", "trades_in", "signals", "suppressed", "intents", "denials",
    "orders", "fills", "round_trips", "open_positions", "start_equity", "final_equity", "realised_pnl", "fees_paid", "dust",
    "max_drawdown_pct", "decision_digest", "elapsed_s", "trades_per_s", "peak_rss_mb",
}  # fmt: skip


@pytest.fixture
def claire(tmp_path) -> Claire:
    return Claire(tmp_path)


def test_the_default_market_trades_and_its_replay_is_identical(claire):
    code, summary = claire.json("run", "--speed", "max")
    assert code == 0
    assert summary.keys() >= PROMISED
    assert (summary["mode"], summary["risk_profile"], summary["strategies"]) == ("paper", "default", ["momentum-1"])
    assert summary["fills"] >= 1
    assert summary["fills"] == summary["orders"] == summary["signals"] - sum(summary["denials"].values())
    assert any("STUB" in warning for warning in summary["warnings"])

    code, replayed = claire.json("replay", "last")
    assert (code, replayed["identical"], replayed["first_difference"]) == (0, True, None)
    assert replayed["decision_digest"] == summary["decision_digest"]

    code, changed = claire.json("replay", summary["run_id"], "--set", "threshold_pct=2.5")
    assert (code, changed["identical"]) == (1, False)
    assert changed["first_difference"]["decision"] >= 1

    code, listed = claire.json("history")
    assert code == 0
    assert [run["run_id"] for run in listed["runs"]] == [summary["run_id"]]
    code, out, _ = claire("history")
    assert summary["run_id"] in out


def test_speed_and_command_change_nothing_that_is_decided(claire):
    market = "synth:seed=3,duration_s=1200,move_pct=4,moves_per_hour=12,move_s=200"
    parameters = ["--set", "threshold_pct=1", "--set", "lookback_s=120"]
    _, slow = claire.json("run", "--source", market, "--speed", "600x", *parameters)
    _, fast = claire.json("run", "--source", market, "--speed", "max", *parameters)
    _, tested = claire.json("backtest", "--source", market, *parameters)
    assert slow["fills"] > 0
    assert slow["decision_digest"] == fast["decision_digest"] == tested["decision_digest"]
    assert tested["mode"] == "backtest"


def test_a_stub_says_so_on_every_page(claire):
    claire.environ["WS_SOURCE"] = "stub"
    code, out, err = claire("run", "--speed", "max", "--duration", "20m")
    assert code == 0
    assert "STUB" in out
    assert "claire replay " in out
    assert not err or "\033" not in err


def test_limits_that_are_off_are_said_in_the_result(claire):
    arguments = [
        "backtest",
        "--source",
        "synth:duration_s=600",
        "--set",
        "risk.profile=unlimited",
        "--set",
        "risk.position_pct=90",
    ]
    assert claire.json(*arguments)[1]["risk_profile"] == "unlimited"
    assert "NO LIMITS" in claire(*arguments)[1]


def test_denials_are_listed_by_code(claire):
    arguments = [
        "backtest",
        "--source",
        "synth:duration_s=1800,move_pct=4",
        "--set",
        "threshold_pct=0.2",
        "--set",
        "lookback_s=60",
    ]
    code, summary = claire.json(*arguments, "--set", "instruments.BTCUSDT.min_notional=18")
    assert code == 0
    assert summary["denials"]
    assert sum(summary["denials"].values()) == summary["signals"]
    _, out, _ = claire(*arguments, "--set", "instruments.BTCUSDT.min_notional=18")
    assert all(reason in out for reason in summary["denials"])
    assert "no fills     risk refused every entry" in out


def test_a_configuration_file_is_found_and_its_faults_name_their_lines(claire, tmp_path):
    (tmp_path / "claire.toml").write_text("[risk]\nposition_pct = 2\nmax_order = 3\n")
    code, out, err = claire("run", "--json")
    assert code == 2
    assert "risk.max_order is not a setting. Did you mean risk.max_order_pct?   (claire.toml, line 3)" in err
    assert json.loads(out)["exit_code"] == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_in_order_and_is_replayed(claire, tmp_path, number):
    process = claire.start("run", "--speed", "600x", "--json")
    runs = tmp_path / "runs"
    deadline = time.monotonic() + 60
    while not (runs.is_dir() and list(runs.glob("*/journal/*"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    summary = json.loads(out)
    assert process.returncode == 128 + number, err
    assert summary["interrupted"] is True
    assert 0 < summary["trades_in"] < 26_000
    code, replayed = claire.json("replay", summary["run_id"])
    assert (code, replayed["identical"]) == (0, True)
    assert claire.json("history")[1]["runs"][0]["state"] == "interrupted"


def test_a_reader_that_goes_away_is_no_fault(claire):
    process = claire.start("doctor")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert err == ""


@pytest.mark.parametrize(
    "arguments", [["history", "--json"], ["history"], ["--version", "--json"], ["nonsense", "--json"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_cannot_be_written_is_one_line_and_exit_1(claire, arguments, unbuffered):
    claire.environ["PYTHONUNBUFFERED"] = unbuffered
    command = [sys.executable, "-m", "claire.cli.main", *arguments]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            command, cwd=claire.folder, env=claire.environ, stdout=full, stderr=subprocess.PIPE, text=True
        )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    *before, last = err.splitlines()
    assert last == "claire: cannot write the result to standard output: No space left on device"
    assert before == ([] if arguments[0] != "nonsense" else [before[0]])
    assert "Traceback" not in err


def test_testnet_trades_over_the_wire_and_its_replay_is_identical(claire):
    code, out, err = claire("run", "--mode", "testnet", "--duration", "3s", "--json")
    assert code == 0, err
    assert "testnet: a simulator of MEXC at http://127.0.0.1:" in err
    assert "1970" not in err
    summary = json.loads(out)
    assert (summary["mode"], summary["trades_in"] > 0) == ("testnet", True)
    assert claire.json("replay", "last")[0] == 0


STUCK = """
from claire.strategies import Opinion, Strategy


class Stuck(Strategy):
    def on_trade(self, trade):
        print("stuck", flush=True, file=__import__("sys").stderr)
        while True:
            pass
"""


def test_a_stuck_strategy_is_named_after_the_first_signal_and_left_at_the_second(claire, tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    process = claire.start("backtest", "--source", "synth:trades=100", "--strategy", "stuck.py", "--json")
    assert process.stderr is not None
    assert process.stderr.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "claire: waiting for the strategy to answer; again to stop now\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out) == {"error": "interrupted", "exit_code": 130}
    assert err.strip() == "claire: interrupted"


def test_without_a_terminal_progress_is_plain_lines_on_stderr(claire):
    code, out, err = claire("run", "--speed", "1200x", "--duration", "10m")
    assert code == 0
    assert all(line.startswith("claire: 2026-01-01 ") for line in err.splitlines())
    assert "equity" in err
    assert "\033" not in out + err
