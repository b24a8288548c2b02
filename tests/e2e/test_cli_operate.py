"""An operator at the command line: beside a run that trades, and when nobody runs any more."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Claire
from tests.support.live import LIVELY

PATIENT = ("stop_loss_pct=5", "take_profit_pct=5", "max_hold_s=600")
SETTINGS = [word for setting in (*LIVELY, *PATIENT) for word in ("--set", setting)]


@pytest.fixture
def claire(tmp_path: Path) -> Claire:
    return Claire(tmp_path)


@contextmanager
def started(claire: Claire, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A run as a program of its own; it is ended, if it has not."""
    process = claire.start("run", *words, "--json")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


def waits(claire: Claire, process: "subprocess.Popen[str]", what: str, done: Callable[[dict[str, Any]], object]) -> Any:
    """Ask until the answer of a running process is as wanted."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, what
        code, answer = claire.json(*what.split()) if (claire.folder / "runs").exists() else (1, {})
        if code == 0 and answer["running"] and (found := done(answer)):
            return found
        time.sleep(0.2)


def test_a_run_is_looked_at_and_steered_and_then_told_about_from_its_ledger(claire: Claire) -> None:
    with started(claire, "--mode", "testnet", "--symbols", "3", "--duration", "25s", *SETTINGS) as process:
        owned = waits(claire, process, "positions --venue", lambda answer: answer["positions"])
        symbol = owned[0]["symbol"]
        code, paused = claire.json("pause", "--operator", "ada", "--reason", "the news")
        assert (code, paused["trading"], paused["reason"]) == (0, "REDUCE_ONLY", "operator pause: ada: the news")
        code, out, _ = claire("risk", "status")
        assert code == 0
        assert "operator pause" in out
        assert "ada: the news" in out
        code, out, _ = claire("risk", "limits")
        assert "risk.max_gross_pct" in out
        code, closing = claire.json("close", symbol, "--operator", "ada")
        order = closing["closing"][0]["order"]
        assert (code, order > 0) == (0, True)
        assert claire("close", "NOUSDT")[0] == 2
        code, again = claire.json("pause")
        assert (code, again["exit_code"]) == (2, 2)
        code, out, err = claire("cancel", "nobody")
        assert (code, out) == (2, "")
        assert "there is no order nobody" in err
        waits(
            claire, process, "balance --venue", lambda answer: all(row["difference"] == "0" for row in answer["venue"])
        )
        assert claire.json("audit", "verify")[1]["intact"]  # also while it is written
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    run_id = json.loads(out)["run_id"]

    code, left = claire.json("positions")
    assert (code, left["running"], left["run"]) == (0, False, run_id)
    assert symbol not in [row["symbol"] for row in left["positions"]]
    code, out, err = claire("risk", "status")
    assert "no process runs" in err
    assert "operator pause" in out
    code, told = claire.json("explain", str(order))
    assert told["verdict"].startswith(f"order {order} (SELL ")
    assert {"close asked", "gate", "fill", "round trip"} <= {line["what"] for line in told["lines"]}
    code, _, err = claire("pause")
    assert code == 2
    assert f"claire run --continue {run_id}" in err
    code, _, err = claire("balance", "--venue")
    assert code == 2
    assert "SECRETS_PATH" in err  # the simulator was part of the run, and its keys are gone with it
    code, verified = claire.json("audit", "verify", "--all")
    assert (code, verified["chains"][0]["operator_entries"]) == (0, 2)
    code, replayed = claire.json("replay", "last")
    assert (code, replayed["identical"]) == (0, True)


def test_a_run_over_a_synthetic_market_is_looked_at_and_cannot_be_steered(claire: Claire) -> None:
    code, _, err = claire("pause")
    assert (code, "no run is running here" in err) == (2, True)
    code, _, err = claire("positions")
    assert (code, "there are no runs here" in err) == (2, True)
    with started(claire, "--source", "synth:trades=2000000", "--speed", "60x") as process:
        deadline = time.monotonic() + 60
        while not list((claire.folder / "runs").glob("*/ledger.sqlite")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        code, _, err = claire("pause")
        assert code == 2
        assert f"(process {process.pid})" in err
        code, balance = claire.json("balance")
        assert (code, balance["running"]) == (0, False)


def test_books_at_a_venue_are_corrected_only_by_a_decision_on_record(claire: Claire, tmp_path: Path) -> None:
    account = tmp_path / "runs" / "accounts" / "main"
    account.mkdir(parents=True)
    texts = [word for name in ("decision", "rationale", "impact", "evidence") for word in (f"--{name}", f"the {name}")]
    words = ["decision", "add", *texts, "--reversibility", "costly", "--operator", "ada", "--kind", "adjustment"]
    code, made = claire.json(*words, "--expires", "1h")
    assert (code, made["number"], made["operator"]) == (0, 1, "ada")
    assert made["expires_ns"] - made["ts_ns"] == 3_600_000_000_000
    code, listed = claire.json("decision", "list")
    assert [one["impact"] for one in listed["decisions"]] == ["the impact"]
    assert claire("decision", "list", "--account", "mian")[0] == 2
    assert claire("decision", "add", "--decision", "x")[0] == 2
    code, verified = claire.json("audit", "verify", "--all")
    assert (code, verified["chains"][0]["name"]) == (0, "decisions of main")


def test_the_table_of_controls(claire: Claire) -> None:
    code, out, _ = claire("audit", "controls")
    assert code == 0
    assert sum(line.startswith(" C") for line in out.splitlines()) == 35
    code, told = claire.json("audit", "controls", "--set", "risk.max_order_pct=6")
    (row,) = (row for row in told["controls"] if row["id"] == "C03")
    assert [limit["value"] for limit in row["limits"]] == ["6"]
    code, out, _ = claire("audit", "controls", "--markdown")
    assert out.startswith("| control | what |")
