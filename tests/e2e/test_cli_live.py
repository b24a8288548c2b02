"""Live runs from outside: the program, a simulator as a program beside it, and what each says when it cannot go on."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.venues.mexc.secrets import ACCESS_KEY, SECRET_KEY
from tests.support.cli import Claire
from tests.support.live import LIVELY

OFTEN = [word for setting in LIVELY for word in ("--set", setting)]
"""Settings with which nearly every rise is traded."""


class Beside:
    """A simulator as a program of its own: its addresses and its key."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        hello = json.loads(process.stdout.readline())
        self.addresses = {"CLAIRE_MEXC__REST_URL": hello["rest_url"], "CLAIRE_MEXC__WS_URL": hello["ws_url"]}
        self.access_key, self.secret = hello["keys"][0]["access_key"], hello["keys"][0]["secret"]

    def keys(self, folder: Path, *, mode: int = 0o600, secret: str = "") -> str:
        """Write the key as the program reads it; return the folder's name."""
        folder.mkdir(mode=0o700)
        for name, text in ((ACCESS_KEY, self.access_key), (SECRET_KEY, secret or self.secret)):
            (folder / name).write_text(text)
            (folder / name).chmod(mode)
        return str(folder)


@pytest.fixture
def claire(tmp_path: Path) -> Claire:
    return Claire(tmp_path)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    names = [word for name in ("BTCUSDT", "ETHUSDT", "NOAPIUSDT") for word in ("--symbol", name)]
    settings = ["--events", "40", "--fee-asset", "quote", "--balance", "USDT=5000"]
    process = Claire(tmp_path_factory.mktemp("beside")).start("mexc-sim", "--port", "0", "--json", *names, *settings)
    try:
        yield Beside(process)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def held(claire: Claire, code: int, summary: dict[str, Any], *, mode: str, symbols: list[str]) -> None:
    """Hold a run against what each live run promises: it traded, nothing was unreadable, its raw frames replay to the same."""
    assert (code, summary["mode"], summary["symbols"]) == (0, mode, symbols)
    assert summary["fills"] > 0
    assert (summary["decode_errors_total"], summary["warnings"]) == (0, [])
    code, replayed = claire.json("replay", "last")
    assert (code, replayed["identical"], replayed["inputs"]) == (0, True, "the journal's raw frames")
    assert replayed["decision_digest"] == summary["decision_digest"]


def simulator_of(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """Where the simulator listens that a testnet run has started, as the run says."""
    assert process.stderr is not None
    found = re.search(r"a simulator of MEXC at http://([\d.]+):(\d+)", process.stderr.readline())
    assert found
    return found[1], int(found[2])


def is_up(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def test_testnet_starts_its_own_simulator_trades_in_it_and_replays(claire):
    code, summary = claire.json("run", "--mode", "testnet", "--symbols", "6", "--duration", "8s", *OFTEN)
    held(claire, code, summary, mode="testnet", symbols=summary["symbols"])
    assert len(summary["symbols"]) == 6
    over = summary[
        "order_states"
    ]  # an order that the budget does not let out in time is not sent: the market is another one
    assert over["FILLED"] == summary["orders"] - over.get("NOT_SENT", 0) > 0


def test_an_interrupted_testnet_run_ends_in_order_takes_its_simulator_along_and_replays(claire, tmp_path):
    process = claire.start("run", "--mode", "testnet", "--symbols", "3", "--json", *OFTEN)
    address = simulator_of(process)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "runs").glob("*/journal/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert is_up(address)
    time.sleep(2)  # something to end in order
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    summary = json.loads(out)
    assert (process.returncode, summary["interrupted"]) == (130, True), err
    assert summary["trades_in"] > 0
    assert not is_up(address)
    code, replayed = claire.json("replay", summary["run_id"])
    assert (code, replayed["identical"]) == (0, True)


@pytest.mark.parametrize(
    ("words", "environ", "symbol"),
    [(["--source", "mexc"], {}, "BTCUSDT"), ([], {"WS_SOURCE": "mexc_pb", "MEXC_SYMBOL": "ETHUSDT"}, "ETHUSDT")],
)
def test_live_data_is_traded_with_paper_money(claire, beside, words, environ, symbol):
    claire.environ |= beside.addresses | environ
    code, summary = claire.json("run", *words, "--duration", "4s", *OFTEN)
    held(claire, code, summary, mode="paper", symbols=[symbol])
    assert summary["source"]["has_book"] is True


def test_testnet_trades_at_a_venue_that_is_already_there_with_keys_from_files(claire, beside, tmp_path):
    claire.environ |= beside.addresses | {"SECRETS_PATH": beside.keys(tmp_path / "keys")}
    code, summary = claire.json("run", "--mode", "testnet", "--symbol", "ETHUSDT", "--duration", "4s", *OFTEN)
    held(claire, code, summary, mode="testnet", symbols=["ETHUSDT"])
    journal = b"".join(file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file())
    assert beside.secret.encode() not in journal


@pytest.mark.parametrize(
    ("words", "key", "code", "said"),
    [
        ([], {"mode": 0o640}, 2, "others than its owner may use it (mode 0640); chmod 600"),
        (
            [],
            {"secret": "not-the-secret"},  # pragma: allowlist secret
            1,
            "the secret does not belong to the access key",
        ),
        (["--symbol", "BTCUSTD"], {}, 2, "MEXC lists no symbol BTCUSTD. Did you mean BTCUSDT?"),
        (["--symbol", "NOAPIUSDT"], {}, 2, "MEXC refuses orders for NOAPIUSDT through the API"),
        (["--set", "paper.balance.USDT=6000"], {}, 2, "less than the 6000 USDT to trade with; lower account.capital"),
    ],
)
def test_what_cannot_be_traded_is_refused_before_anything_starts(claire, beside, tmp_path, words, key, code, said):
    claire.environ |= beside.addresses | {"SECRETS_PATH": beside.keys(tmp_path / "keys", **key)}
    found, out, err = claire("run", "--mode", "testnet", "--duration", "2s", *words, "--json")
    assert found == code, err
    assert said in json.loads(out)["error"]
    assert "Traceback" not in err
    assert not [path for path in tmp_path.glob("runs/*") if path.name != "accounts"]


def test_a_venue_that_is_not_there_is_named(claire, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # taken, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        claire.environ |= {"CLAIRE_MEXC__REST_URL": url, "CLAIRE_MEXC__WS_URL": url.replace("http", "ws") + "/ws"}
        found, out, err = claire("run", "--source", "mexc", "--duration", "2s", "--json")
    assert found == 1, err
    assert "127.0.0.1 cannot be reached" in json.loads(out)["error"]
    assert not [path for path in tmp_path.glob("runs/*") if path.name != "accounts"]
