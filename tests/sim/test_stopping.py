"""Killing a real trading process at a real (simulated) venue, by every trigger and in every trouble: the venue's log judges."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from claire.gateway.hosts import Endpoint
from claire.gateway.signer import QuerySigner
from claire.latch.kill import kill
from claire.latch.page import read
from claire.mexcsim.symbols import generate
from claire.model.errors import SafetyRefusal
from claire.safety.folder import write_symbols
from claire.safety.sentinel import Sentinel
from claire.safety.starting import watched
from claire.safety.sweep import Sweeper, Swept
from claire.safety.triggers import breaker, clock_fault
from tests.support.stopping import SYMBOLS, Bench, Lines, VenueProcess, call, is_alive, network, wall_ms


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueProcess]:
    venue = VenueProcess()
    yield venue
    venue.lines.end()


@pytest.fixture
def bench(venue: VenueProcess, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "runs" / "accounts" / "sim", venue)
    yield bench
    bench.close()
    venue.heal()


def judge(bench: Bench, sentinel: Lines, t0_ms: int, name: str) -> dict[str, Any]:
    """Wait for the proof; hold it against the venue's own books and clock; print the figures."""
    proof = sentinel.first(event="proven_empty")
    gate = sentinel.first(event="gate_closed")
    assert bench.venue.open_orders(bench.key) == []
    assert bench.late(t0_ms) == []
    accepted = [entry["at_ms"] - t0_ms for entry in bench.venue.entries("order accepted", bench.key)]
    closed_ms = max((at for at in accepted if at > 0), default=0)
    print(
        f"\n{name}: last order at the venue {closed_ms} ms after T0, gate known closed {gate['ms']} ms ({gate['how']}),"
        f" first cancel {proof['first_cancel_ms']} ms, all sent {proof['all_sent_ms']} ms,"
        f" proven empty {proof['proven_empty_ms']} ms, {len(proof['canceled'])} cancelled,"
        f" {proof['requests']} requests, {proof['failures']} failed"
    )
    return proof


# -- triggers -----------------------------------------------------------------------------------------------------------


def test_claire_kill_stops_a_trading_process_and_cleans_up_at_the_venue(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    t0_ms, said = bench.kill()
    proof = judge(bench, sentinel, t0_ms, "claire kill")
    account = said["accounts"][0]
    print(f"claire kill: start-up {said['start_up_ms']} ms, latch {account['latch_us']} us")
    assert (account["closed"], account["durable"]) == (True, True)
    assert proof["canceled"]
    trader.first(gate="GATE_LATCH")
    assert trader.process.poll() is None, "a process that obeys is left alone: it books what comes"


def test_a_shell_kills_without_python(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    t0_ms = wall_ms()
    subprocess.run(["sh", "-c", f"printf K > {bench.folder}/kill"], check=True)
    judge(bench, sentinel, t0_ms, "file")
    trader.first(gate="GATE_LATCH")
    (bench.folder / "kill").unlink()
    assert read(bench.folder).why.startswith("killed by sentinel: "), "who takes the file away has not armed anything"


def test_a_signal_kills_though_the_event_loop_is_blocked(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    bench.command(trader, "block 0.3")
    time.sleep(0.05)
    t0_ms = wall_ms()
    trader.process.send_signal(signal.SIGUSR1)
    judge(bench, sentinel, t0_ms, "SIGUSR1")
    assert read(bench.folder).who == "signal SIGUSR1"


@pytest.mark.parametrize("trip", ["breaker", "clock"])
def test_controls_kill(bench, trip):
    sentinel = bench.sentinel()
    t0_ms = wall_ms()
    done = (
        breaker(bench.folder, "C19 reject breaker", "5 in a row, limit 5")
        if trip == "breaker"
        else clock_fault(bench.folder, "2 s off")
    )
    assert done.is_closed
    judge(bench, sentinel, t0_ms, trip)


def post(port: int, headers: dict[str, str], body: bytes = b"{}") -> tuple[int, Any]:
    return call("POST", f"http://127.0.0.1:{port}/kill", headers, body)


def status_of(port: int, headers: dict[str, str]) -> tuple[int, Any]:
    return call("GET", f"http://127.0.0.1:{port}/status", headers)


RIGHT = {"Content-Type": "application/json", "X-Claire": "kill"}


def test_http_kills_and_web_pages_cannot(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    port = sentinel.lines[0]["port"]
    for wrong in (
        RIGHT | {"Host": "evil.example:8011"},
        RIGHT | {"Origin": "http://evil.example"},
        RIGHT | {"Origin": "null"},
        RIGHT | {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain", "X-Claire": "kill"},
        {"Content-Type": "application/json"},
    ):
        assert post(port, wrong)[0] in (403, 415)
    assert post(port, RIGHT, b"nonsense")[0] == 400
    assert status_of(port, {"Host": "evil.example"})[0] == 403
    status = status_of(port, {})[1]
    assert (status["armed"], status["trading_process"], status["symbols"]) == (True, trader.process.pid, list(SYMBOLS))
    t0_ms = wall_ms()
    code, told = post(port, RIGHT, b'{"reason": "smoke", "who": "ann"}')
    assert (code, told["closed"], told["why"]) == (200, True, "killed by HTTP ann: smoke")
    judge(bench, sentinel, t0_ms, "HTTP")
    assert status_of(port, {})[1]["state"] == "killed, proven empty"


QUICK_HEART = """
import asyncio, sys
from pathlib import Path
from claire.gateway.hosts import Endpoint
from claire.gateway.signer import QuerySigner, from_parent
from claire.safety.sentinel import serve
from claire.safety.sweep import Sweeper
keys = from_parent(sys.stdin.buffer.readline())
sweeper = Sweeper(Endpoint.parse(sys.argv[4]), QuerySigner(keys), recv_window_ms=500)
asyncio.run(serve(Path(sys.argv[2]), sweeper, port=0, out=sys.stdout.buffer, heart_s=0.6))
"""


@pytest.mark.parametrize("how", ["killed", "stopped", "blocked"])
def test_a_heart_that_stops_kills(bench, how):
    trader, sentinel = bench.trader(), bench.sentinel(QUICK_HEART)
    time.sleep(0.3)
    t0_ms = wall_ms()
    if how == "killed":
        trader.process.kill()
        trader.process.wait()
    elif how == "stopped":
        trader.process.send_signal(signal.SIGSTOP)
    else:
        bench.command(trader, "block 30")
    judge(bench, sentinel, t0_ms, f"heart {how}")
    assert "no heartbeat for 0.6 s" in read(bench.folder).reason
    assert trader.process.wait(5) == -signal.SIGKILL


def test_a_process_that_ends_in_order_kills_nobody(bench):
    trader, sentinel = bench.trader(), bench.sentinel(QUICK_HEART)
    bench.command(trader, "end")
    assert trader.process.wait(10) == 0
    time.sleep(1.5)
    assert read(bench.folder).is_armed
    assert [line["event"] for line in sentinel.lines] == ["watching"]


def test_a_page_that_vanishes_kills(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    t0_ms = wall_ms()
    (bench.folder / "latch").unlink()
    judge(bench, sentinel, t0_ms, "page gone")
    trader.first(gate="GATE_LATCH")
    assert (bench.folder / "kill").exists()


# -- trouble ------------------------------------------------------------------------------------------------------------


def test_a_stopped_trading_process_is_ended_and_sends_nothing_any_more(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    trader.process.send_signal(signal.SIGSTOP)
    t0_ms, _ = bench.kill()
    judge(bench, sentinel, t0_ms, "SIGSTOP")
    assert trader.process.wait(5) == -signal.SIGKILL
    assert "SIGKILL" in sentinel.first(event="gate_closed")["how"]


def test_a_blocked_trading_process_is_ended(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    bench.command(trader, "block 30")
    time.sleep(0.1)
    t0_ms, _ = bench.kill()
    judge(bench, sentinel, t0_ms, "blocked 30 s")
    assert trader.process.wait(5) == -signal.SIGKILL


def test_a_trading_process_that_was_blocked_for_less_refuses_when_it_wakes(bench):
    trader, sentinel = bench.trader(), bench.sentinel()
    bench.command(trader, "block 0.4")
    time.sleep(0.05)
    t0_ms, _ = bench.kill()
    judge(bench, sentinel, t0_ms, "blocked 0.4 s")
    trader.first(gate="GATE_LATCH")
    assert trader.process.poll() is None


@pytest.mark.parametrize(
    ("kind", "values", "lifted_ms"),
    [
        ("too_many", {"retry_after_s": 1, "for_ms": 1500}, 2000),
        ("maintenance", {"for_ms": 1500}, 1500),
        ("drop_reply", {"for_ms": 1500}, 1500),
        ("hang", {"for_ms": 1500, "ms": 60_000}, 1500),
        ("latency", {"ms": 2000, "for_ms": 1000}, 2000),
        ("read_lag", {"ms": 1000, "for_ms": 2000}, 2000),
    ],
)
def test_a_venue_in_trouble_is_swept_as_soon_as_it_lets_us(bench, kind, values, lifted_ms):
    bench.trader(per_second=4)
    sentinel = bench.sentinel()
    bench.venue.fault(kind, **values)
    t0_ms, _ = bench.kill()
    proof = judge(bench, sentinel, t0_ms, kind)
    cancels = [
        entry["at_ms"]
        for entry in bench.venue.entries("request", bench.key)
        if entry["detail"]["method"] == "DELETE" and entry["detail"]["status"] == 200
    ]
    first_ok_ms = min(cancels) - t0_ms
    print(f"{kind}: first cancel that the venue carried out, {first_ok_ms} ms after T0")
    assert first_ok_ms <= lifted_ms + 1000 + 500  # half a second for the command's start-up and a busy machine
    assert proof["canceled"] or kind == "drop_reply"


def test_a_network_that_was_cut_is_swept_within_a_second_of_its_return(venue, tmp_path):
    with network(venue.url) as net:
        bench = Bench(tmp_path / "runs" / "accounts" / "sim", venue, net.url)
        try:
            bench.trader()
            sentinel = bench.sentinel()
            time.sleep(0.5)
            net.cut()
            t0_ms, _ = bench.kill()
            time.sleep(2.5)
            assert bench.venue.open_orders(bench.key)
            healed_ms = wall_ms()
            net.heal()
            judge(bench, sentinel, t0_ms, "network cut for 2.5 s")
            cancels = [
                entry["at_ms"] for entry in venue.entries("request", bench.key) if entry["detail"]["method"] == "DELETE"
            ]
            print(f"network cut: first cancel at the venue {min(cancels) - healed_ms} ms after its return")
            assert 0 <= min(cancels) - healed_ms <= 1000
        finally:
            bench.close()


def test_orders_that_arrive_after_the_first_sweep_are_found(bench):
    """An order on the wire when the gate closed, taken by the venue half a second later."""
    bench.venue.fault("accept_late", delay_ms=1000, method="POST", path="order")
    trader = bench.trader(per_second=0)
    trader.end(kill=True)
    sentinel = bench.sentinel()
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        bench.rest("SOLUSDT", "1", "20", recv_window_ms=500)
    bench.kill()
    proof = sentinel.first(event="proven_empty")
    assert [name.split()[0] for name in proof["canceled"]] == ["SOLUSDT"]
    assert bench.venue.open_orders(bench.key) == []


# -- the sentinel itself ------------------------------------------------------------------------------------------------


def test_a_sentinel_that_dies_in_the_middle_is_followed_by_one_that_finishes(bench):
    bench.trader()
    sentinel = bench.sentinel()
    bench.venue.fault("maintenance", for_ms=3000)
    t0_ms, _ = bench.kill()
    sentinel.first(event="killed")
    sentinel.end(kill=True)
    judge(bench, bench.sentinel(), t0_ms, "second sentinel")


@pytest.mark.asyncio
async def test_a_fault_in_the_sweep_is_told_and_the_sweep_begins_again(bench):
    class Faulty(Sweeper):
        async def sweep(self, *arguments: Any, **named: Any) -> Swept:
            if "fault" not in dict(said):
                raise ZeroDivisionError("planted")
            return await super().sweep(*arguments, **named)

    said: list[tuple[str, dict[str, object]]] = []
    stop = asyncio.Event()
    stop.set()
    kill(bench.folder, who="ann", reason="smoke", now_ns=time.time_ns())
    async with Faulty(Endpoint.parse(bench.url), QuerySigner(bench.keys), recv_window_ms=500) as sweeper:
        await Sentinel(bench.folder, sweeper, lambda what, numbers: said.append((what, numbers))).run(stop)
    told = dict(said)
    assert [what for what, _ in said if what in ("killed", "fault", "proven_empty")] == [
        "killed",
        "fault",
        "killed",
        "proven_empty",
    ]
    assert "planted" in str(told["fault"]["traceback"])


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nobody may write there; root, who always may, is somebody else for a while."""
    is_root = os.geteuid() == 0
    (folder / "latch").chmod(0o444)
    folder.chmod(0o555)
    try:
        if is_root:
            os.seteuid(65534)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.asyncio
async def test_a_latch_that_cannot_be_closed_costs_the_trading_process_its_life(venue):
    """Its folder cannot be written, so the gate stays open: then whoever stands behind it has to go."""
    said: list[str] = []
    stop = asyncio.Event()
    stop.set()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        bench = Bench(Path(name) / "sim", venue)
        try:
            trader = bench.trader()
            async with Sweeper(Endpoint.parse(bench.url), QuerySigner(bench.keys), recv_window_ms=500) as sweeper:
                sentinel = Sentinel(bench.folder, sweeper, lambda what, _: said.append(what))
                with unwritable(bench.folder):
                    told = await sentinel.kill("ann", "smoke")
                    assert (told["closed"], told["durable"]) == (False, False)
                    await sentinel.run(stop)
            assert trader.process.wait(5) == -signal.SIGKILL
            assert said == ["problem", "killed", "gate_closed", "proven_empty"]
            assert bench.venue.open_orders(bench.key) == []
        finally:
            bench.close()


def test_a_new_sentinel_takes_over_from_an_idle_one(bench):
    first, second = bench.sentinel(), bench.sentinel()
    assert first.process.wait(5) == 0
    assert second.process.poll() is None


def test_a_sentinel_that_sweeps_finishes_though_it_is_asked_to_end(bench):
    bench.trader()
    sentinel = bench.sentinel()
    bench.kill()
    sentinel.first(event="killed")
    sentinel.process.terminate()
    assert sentinel.process.wait(20) == 0
    assert [line["event"] for line in sentinel.lines][-2:] == ["proven_empty", "ended"]
    assert bench.venue.open_orders(bench.key) == []


def test_a_port_that_is_taken_is_told_and_the_rest_works(bench):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentinel = bench.sentinel(port=port)
        hello = sentinel.first(event="watching")
        assert (hello["port"], str(port) in hello["trouble"]) == (0, True)
        t0_ms, _ = bench.kill()
        judge(bench, sentinel, t0_ms, "no door")


@pytest.mark.asyncio
async def test_a_run_starts_and_ends_its_sentinel(bench):
    async with watched(bench.folder, bench.url, bench.keys, port=0) as sentinel:
        sentinel.check()
        assert is_alive(sentinel.pid)
        assert sentinel.port
        await asyncio.to_thread(bench.kill)
    log = [json.loads(line) for line in (bench.folder / "sentinel.jsonl").read_text().splitlines()]
    assert [line["event"] for line in log][-2:] == ["proven_empty", "ended"]
    with pytest.raises(SafetyRefusal, match="has ended with 0"):
        sentinel.check()


def test_neither_arguments_nor_log_hold_a_secret(bench):
    sentinel = bench.sentinel()
    words = (
        Path(f"/proc/{sentinel.process.pid}/cmdline").read_bytes()
        + Path(f"/proc/{sentinel.process.pid}/environ").read_bytes()
    )
    bench.kill()
    sentinel.first(event="proven_empty")
    assert bench.secret.encode() not in words + (bench.folder / "sentinel.jsonl").read_bytes()


def test_many_symbols_get_their_cancels_at_ten_a_second(tmp_path):
    """Half a second, and a tenth for each symbol with orders: 24 of 60 have some, and the venue's own limits hold."""
    with_orders, traded = 24, generate(60)
    venue = VenueProcess("--generate", "60", symbols=())
    bench = Bench(tmp_path / "runs" / "accounts" / "sim", venue)
    try:
        write_symbols(bench.folder, [rule.symbol for rule in traded])
        for rule in traded[-with_orders:]:
            price = round(rule.start_price / 2, rule.price_decimals)
            bench.rest(rule.symbol, f"{round(200 / price, rule.quantity_decimals):f}", f"{price:f}")
            time.sleep(0.1)
        time.sleep(1)
        sentinel = bench.sentinel()
        t0_ms, _ = bench.kill()
        proof = judge(bench, sentinel, t0_ms, f"{with_orders} of {len(traded)} symbols with orders")
        assert len(proof["canceled"]) == with_orders
        assert proof["all_sent_ms"] < 500 + 100 * with_orders
    finally:
        bench.close()
        venue.lines.end()
