"""`claire rearm` from outside: killed, refused while something differs, armed on record, and the run trades on."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from claire.gateway.signer import Keys, OrderSigner
from claire.latch.page import read
from tests.support.beside import Beside
from tests.support.cli import Claire
from tests.support.killing import end_sentinels
from tests.support.live import LIVELY
from tests.support.stopping import call, wall_ms

OFTEN = [word for setting in LIVELY for word in ("--set", setting)]
TRADING = (
    *("run", "--mode", "testnet", "--symbol", "BTCUSDT", "--json", *OFTEN, "--set", "max_hold_s=0"),
    *("--set", "stop_loss_pct=5", "--set", "take_profit_pct=5", "--set", "mexc.recv_window_ms=500"),
)
DECISION = (
    *("decision", "add", "--account", "paper", "--decision", "trade again", "--rationale", "the cause is mended"),
    *("--impact", "orders of the usual size", "--reversibility", "reversible", "--evidence", "the sentinel's log"),
    *("--operator", "ann"),
)
REARM = ("rearm", "--account", "paper", "--operator", "ann", "--reason", "mended")


@pytest.fixture
def claire(tmp_path: Path) -> Iterator[Claire]:
    yield Claire(tmp_path)
    end_sentinels(tmp_path / "runs")


def trading(claire: Claire) -> "subprocess.Popen[str]":
    """Start to trade; its sentinel may outlive it, so nobody waits for the end of what it says."""
    with (claire.folder / "said").open("w") as said:
        return claire.start(*TRADING, out=said, errors=said)


def until(
    condition: Callable[[], Any], process: "subprocess.Popen[str] | None" = None, patience_s: float = 60.0
) -> Any:
    ends = time.monotonic() + patience_s
    while not (value := condition()):
        assert process is None or process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)
    return value


def events(folder: Path) -> list[str]:
    log = folder / "sentinel.jsonl"
    return [json.loads(line)["event"] for line in log.read_text().splitlines()] if log.exists() else []


def sell(beside: Beside, quantity: str) -> None:
    """Sell what Claire owns, past Claire: with its key, as somebody at the venue's page might."""
    signer = OrderSigner(Keys(beside.access_key, beside.secret))
    params = [("symbol", "BTCUSDT"), ("side", "SELL"), ("type", "MARKET"), ("quantity", quantity)]
    query = signer.sign("/api/v3/order", params, timestamp_ms=wall_ms(), recv_window_ms=2000)
    status, told = call("POST", f"{beside.rest_url}/api/v3/order?{query}", signer.headers)
    assert status == 200, told


def test_a_killed_account_is_armed_on_record_once_books_and_venue_agree(claire, tmp_path):
    words = ("--symbol", "BTCUSDT", "--events", "40", "--fee-asset", "quote", "--balance", "USDT=5000")
    with Beside(tmp_path / "venue", *words) as beside:
        claire.environ |= beside.environ
        process = trading(claire)
        until(lambda: beside.account()["fills"], process)
        folder = claire.folder / "runs" / "accounts" / "paper"
        code, told = claire.json("kill", "--reason", "a test")
        assert (code, told["accounts"][0]["closed"]) == (0, True)
        until(lambda: "proven_empty" in events(folder), process)
        code, out, _ = claire(*REARM, "--json")
        assert code == 3
        assert "claire decision add --account paper --kind rearm" in json.loads(out)["error"]
        assert claire(*DECISION, "--kind", "rearm")[0] == 0
        code, out, _ = claire(*REARM, "--json")
        assert code == 3
        assert f"process {process.pid} trades this account already" in json.loads(out)["error"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        run_dir = next(path for path in (claire.folder / "runs").glob("2*") if (path / "journal").is_dir())
        code, out, _ = claire("run", "--continue", run_dir.name, "--json")
        assert code == 3
        assert "claire rearm --account paper" in json.loads(out)["error"]

        (bought,) = [fill["quantity"] for fill in beside.account()["fills"]][:1]
        sell(beside, bought)
        orders = len(beside.account()["orders"])
        code, out, _ = claire(*REARM, "--json")
        assert code == 3
        assert "BTC" in json.loads(out)["error"]
        assert not read(folder).is_armed
        assert len(beside.account()["orders"]) == orders, "a proof sends nothing"


def test_an_account_whose_run_was_shot_is_armed_and_the_run_trades_on(claire, tmp_path):
    words = ("--symbol", "BTCUSDT", "--events", "40", "--fee-asset", "quote", "--balance", "USDT=5000")
    with Beside(tmp_path / "venue", *words) as beside:
        claire.environ |= beside.environ
        process = trading(claire)
        until(lambda: beside.account()["fills"], process)
        folder = claire.folder / "runs" / "accounts" / "paper"
        process.send_signal(signal.SIGSTOP)
        (folder / "kill").write_text("K")
        assert process.wait(30) == -signal.SIGKILL  # by the sentinel
        until(lambda: "proven_empty" in events(folder))
        run_dir = next(path for path in (claire.folder / "runs").glob("2*") if (path / "journal").is_dir())
        assert claire(*DECISION, "--kind", "rearm")[0] == 0
        code, told = claire.json(*REARM)
        assert code == 0, told
        assert told["armed"] is True
        assert "equal at the venue" in told["proof"]
        assert read(folder).is_armed
        assert not (folder / "kill").exists()
        code, out, _ = claire(*REARM, "--json")
        assert code == 2
        assert "is armed" in json.loads(out)["error"]
        fills = len(beside.account()["fills"])
        code, summary = claire.json(
            "run", "--continue", run_dir.name, "--set", "max_hold_s=2", "--adopt", "momentum-1", "--duration", "15s"
        )
        assert code == 0
        assert len(beside.account()["fills"]) > fills
        assert summary["fills"] == len(beside.account()["fills"])
        code, replayed = claire.json("replay", run_dir.name)
        assert (code, replayed["identical"]) == (0, True)
