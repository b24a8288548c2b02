"""`panic` as it is meant to be used: one file and Python, while nothing else of the project is there."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stopping import SYMBOLS, Bench, VenueProcess
from tests.support.tree import PACKAGE


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueProcess]:
    venue = VenueProcess()
    yield venue
    venue.lines.end()


@pytest.fixture
def bench(venue: VenueProcess, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "runs" / "accounts" / "sim", venue)
    for name, text in (("mexc_access_key", bench.key), ("mexc_secret_key", bench.secret)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    shutil.copy(PACKAGE / "safety" / "panic.py", tmp_path / "panic.py")
    yield bench
    bench.close()
    venue.heal()


def rest(bench: Bench, *symbols: str) -> None:
    """Place an order in each symbol that waits."""
    for symbol in symbols:
        bench.rest(symbol, "1", "20")
    assert len(bench.venue.open_orders(bench.key)) == len(symbols)


def options(tmp_path: Path, bench: Bench) -> tuple[str, ...]:
    return "--secrets", str(tmp_path), "--rest-url", bench.venue.url, "--json"


def panic(tmp_path: Path, bench: Bench, *words: str) -> "subprocess.Popen[str]":
    """Start it without site-packages, environment and the project's folders: `-I -S`."""
    command = [
        sys.executable,
        "-I",
        "-S",
        str(tmp_path / "panic.py"),
        "--secrets",
        str(tmp_path),
        "--rest-url",
        bench.venue.url,
        "--json",
    ]
    return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def outcome(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out), err


def test_it_finds_cancels_and_proves_with_nothing_but_this_file(bench, tmp_path):
    rest(bench, *SYMBOLS)
    code, told, err = outcome(panic(tmp_path, bench))
    assert code == 0, err
    assert told["proven_empty"]
    assert [name.split()[0] for name in told["canceled"]] == list(SYMBOLS)
    assert bench.venue.open_orders(bench.key) == []
    assert bench.secret not in err
    print(f"panic: {len(SYMBOLS)} symbols, proven empty after {told['seconds']} s")


TROUBLE = [
    ("maintenance", {"for_ms": 1500}),
    ("too_many", {"for_ms": 1000, "retry_after_s": 1}),
    ("drop_reply", {"times": 2}),
    ("firewall", {}),
]


@pytest.mark.parametrize(("kind", "values"), TROUBLE)
def test_a_venue_in_trouble_is_asked_until_it_answers(bench, tmp_path, kind, values):
    rest(bench, "SOLUSDT")
    bench.venue.fault(kind, **values)
    process = panic(tmp_path, bench, "--symbol", "SOLUSDT", *(("--give-up", "1") if kind == "firewall" else ()))
    code, told, err = outcome(process)
    if kind == "firewall":
        assert code == 1
        assert "NOT KNOWN" in told["problem"]
        return
    assert (code, told["proven_empty"]) == (0, True), err
    assert bench.venue.open_orders(bench.key) == []


def test_orders_that_come_back_are_cancelled_until_none_does(bench, tmp_path):
    process = panic(tmp_path, bench)
    time.sleep(1.0)
    rest(bench, "ETHUSDT")
    code, told, err = outcome(process)
    assert code == 0, err
    assert len(told["canceled"]) == 1
    assert bench.venue.open_orders(bench.key) == []


def test_symbols_come_from_the_accounts_list_and_an_unknown_one_stops_nothing(bench, tmp_path):
    rest(bench, "SOLUSDT")
    (bench.folder / "symbols").write_text("NOSUCHUSDT\nSOLUSDT\n")
    code, _, err = outcome(panic(tmp_path, bench, "--symbols-from", str(bench.folder / "symbols")))
    assert code == 0, err
    assert bench.venue.open_orders(bench.key) == []


def test_claire_panic_is_the_same_program(bench, tmp_path):
    rest(bench, "SOLUSDT")
    command = [
        sys.executable,
        "-m",
        "claire.cli.main",
        "panic",
        "--secrets",
        str(tmp_path),
        "--rest-url",
        bench.venue.url,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proven_empty"]
    assert bench.venue.open_orders(bench.key) == []


SAID = {
    "mode": "chmod 600",
    "missing": "--secrets names",
    "empty": "holds no key",
    "key": "use another",
    "url": "--rest-url ftp",
}


@pytest.mark.parametrize("wrong", SAID)
def test_what_it_cannot_work_with_is_said(bench, tmp_path, wrong):
    secret, words = tmp_path / "mexc_secret_key", []
    if wrong == "mode":
        secret.chmod(0o644)
    elif wrong == "missing":
        secret.unlink()
    elif wrong == "empty":
        secret.write_text("")
    elif wrong == "key":
        secret.write_text("another")
    else:
        words = ["--rest-url", "ftp://venue"]
    code, told, _ = outcome(panic(tmp_path, bench, *words))
    assert code == (1 if wrong == "key" else 2)
    assert SAID[wrong] in told["problem"]


def test_it_imports_nothing_of_the_project_and_asks_only_what_it_says():
    from claire.safety import panic as module

    source = (PACKAGE / "safety" / "panic.py").read_text()
    assert "import claire" not in source
    assert "from claire" not in source
    asks_nothing = module.Venue("http://127.0.0.1:9", "key", "secret")
    with pytest.raises(module.Stop, match="nothing that this program asks for"):
        asks_nothing.ask("POST", "/api/v3/order", symbol="BTCUSDT")
