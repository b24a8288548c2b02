"""One account, several processes: one trades, the others are refused; and one that slept through its approvals sends nothing."""

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.beside import Beside, lively
from tests.support.books import read_tables
from tests.support.cli import Claire
from tests.support.killing import BUSY, KilledRun, end_sentinels

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
USDT = 1_000_000
SETTINGS = (*BUSY, f"paper.balance.USDT={USDT}", "mexc.recv_window_ms=500")
TESTNET = [
    *("run", "--mode", "testnet", "--json"),
    *(word for symbol in SYMBOLS for word in ("--symbol", symbol)),
    *(word for setting in SETTINGS for word in ("--set", setting)),
]


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    with Beside(tmp_path / "venue", *lively(7, SYMBOLS, usdt=USDT)) as beside:
        yield beside


def test_a_second_process_for_the_account_is_refused_and_the_first_trades_on(beside: Beside, tmp_path: Path) -> None:
    with KilledRun(tmp_path, beside, SETTINGS, seed=1) as run:
        run.wait_until_trading()
        other = Claire(tmp_path)
        other.environ |= beside.environ
        for words in (TESTNET, ["run", "--continue", run.run_dir.name, "--json"]):
            code, out, err = other(*words, "--runs", str(run.runs))
            assert code == 3, err
            assert f"process {run.process.pid}" in json.loads(out)["error"]
        run.end()
    assert run.figures.differences == []
    assert [path.name for path in run.runs.iterdir() if (path / "journal").is_dir()] == [run.run_dir.name]


def test_of_ten_starts_at_once_exactly_one_trades(beside: Beside, tmp_path: Path) -> None:
    claire = Claire(tmp_path)
    claire.environ |= beside.environ
    runs = tmp_path / "runs"
    started = [claire.start(*TESTNET, "--runs", str(runs)) for _ in range(10)]
    try:
        deadline = time.monotonic() + 90
        while (living := [process for process in started if process.poll() is None]) and len(living) > 1:
            assert time.monotonic() < deadline, f"{len(living)} of ten are still there"
            time.sleep(0.1)
        (winner,) = living
        refused = [process for process in started if process is not winner]
        assert [process.returncode for process in refused] == [3] * 9
        for process in refused:
            out, _ = process.communicate()
            assert re.search(
                f"process ({winner.pid}|unknown) ", json.loads(out)["error"]
            )  # it may not have said so yet
        first = beside.wait(lambda entry: entry["what"] == "order accepted", 0, time.monotonic() + 60)
        assert first is not None
        winner.send_signal(signal.SIGINT)
        assert winner.wait(60) == 130
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        end_sentinels(runs)
    assert len([path for path in runs.iterdir() if (path / "journal").is_dir()]) == 1


def on_their_way(run: KilledRun) -> list[str]:
    """Client order ids of the orders that are SENT on record, and nothing more."""
    return [row["client_order_id"] for row in read_tables(run.run_dir)["orders"] if row["state"] == "SENT"]


def stopped_before_a_send(run: KilledRun, beside: Beside) -> str:
    """Stop the process while an order is on record as sent and has not left; return its client order id.

    After "too many requests" an order that reduces a position waits for a second, which is long enough to be met there.
    """
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        since = len(beside.heard)
        beside.fault("too_many", path="order", method="POST", times=1, retry_after_s=1)
        assert beside.wait(lambda entry: entry["what"] == "fault struck", since, deadline)
        time.sleep(0.1)
        left = on_their_way(run)  # the one that was refused, and what left before it
        pause_s = time.monotonic() + 0.9
        while time.monotonic() < pause_s:
            if [name for name in on_their_way(run) if name not in left]:
                time.sleep(0.05)
                run.process.send_signal(signal.SIGSTOP)
                time.sleep(0.1)  # what has left the process arrives
                there = [row["client_id"] for row in beside.account()["orders"]]
                waiting = [name for name in on_their_way(run) if name not in (*left, *there)]
                if waiting:
                    return waiting[0]
                run.process.send_signal(signal.SIGCONT)
            time.sleep(0.02)
    raise AssertionError("no order was met before its send")


def test_an_order_whose_approval_ran_out_while_the_process_slept_is_not_sent(beside: Beside, tmp_path: Path) -> None:
    with KilledRun(tmp_path, beside, SETTINGS, seed=1) as run:
        run.wait_until_trading()
        name = stopped_before_a_send(run, beside)
        time.sleep(6.0)  # longer than any approval holds, shorter than a heart may be silent
        run.process.send_signal(signal.SIGCONT)
        run.end()
        (order,) = (row for row in read_tables(run.run_dir)["orders"] if row["client_order_id"] == name)
    assert order["state"] == "NOT_SENT"
    assert order["code"] in ("GATE_EXPIRED", ""), order[
        "reason"
    ]  # by the gate, or before it: the budget's patience is over
    assert run.figures.differences == []
