"""Real processes for tests of stopping: a venue, a trading process, a sentinel, and a network between them that can be cut."""

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from claire.gateway.signer import Keys, OrderSigner, to_child
from claire.latch.page import found
from claire.safety.folder import write_symbols
from tests.support.tree import CHECKOUT

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PATIENCE_S = 20.0


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait until something is true; fail when it is not in time."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.01)


def call(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, Any]:
    """Ask over HTTP; return the status and what the JSON says."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    try:
        connection.request(method, url.partition(parts.netloc)[2], body, headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


class Lines:
    """The JSON lines of a process, read as they come."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def first(self, **wanted: object) -> dict[str, Any]:
        """Wait for the first line with these values."""

        def find() -> dict[str, Any] | None:
            return next((line for line in list(self.lines) if wanted.items() <= line.items()), None)

        found_line: dict[str, Any] = until(find, f"a line with {wanted}; there are {self.lines[-5:]}")
        return found_line

    def end(self, *, kill: bool = False) -> int:
        """End the process and read the rest."""
        if self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return code


def start(*words: str, stdin: bool = False) -> Lines:
    """Start a program of this checkout."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        start_new_session=True,
    )
    return Lines(process)


class VenueProcess:
    """`claire mexc-sim` with what it logs."""

    def __init__(self, *words: str, symbols: Sequence[str] = SYMBOLS) -> None:
        words = (*words, *(word for symbol in symbols for word in ("--symbol", symbol)))
        self.lines = start("-m", "claire.cli.main", "mexc-sim", "--port", "0", "--json", "--events", "0", *words)
        hello = until(lambda: self.lines.lines and self.lines.lines[0], "the simulator's first line", 60)
        self.url: str = hello["rest_url"]
        self._accounts = 0

    def ask(self, method: str, path: str, body: object = None) -> Any:
        status, answer = call(method, f"{self.url}/sim/{path}", {}, b"" if body is None else json.dumps(body).encode())
        assert status == 200, answer
        return answer

    def account(self) -> tuple[str, str]:
        """Make an account of its own; return its keys."""
        self._accounts += 1
        key, secret = f"key{self._accounts}", f"secret{self._accounts}"
        self.ask("POST", "accounts", {"access_key": key, "secret": secret, "balances": {"USDT": "1000000"}})
        return key, secret

    def fault(self, kind: str, **values: object) -> None:
        self.ask("POST", "faults", {"kind": kind, **values})

    def heal(self) -> None:
        self.ask("DELETE", "faults")

    def entries(self, what: str, key: str) -> list[dict[str, Any]]:
        """What the venue logged of one account."""
        return [entry for entry in list(self.lines.lines) if entry.get("what") == what and entry.get("key") == key]

    def open_orders(self, key: str) -> list[dict[str, Any]]:
        orders = self.ask("GET", f"accounts/{key}")["orders"]
        return [order for order in orders if order["status"] in ("NEW", "PARTIALLY_FILLED")]


class Bench:
    """One account: its folder, its processes, and what the venue says of it."""

    def __init__(self, folder: Path, venue: VenueProcess, url: str = "") -> None:
        self.folder = folder
        self.venue = venue
        self.url = url or venue.url
        self.key, self.secret = venue.account()
        self.keys = Keys(self.key, self.secret)
        self.started: list[Lines] = []
        found(folder, arms_itself=True, who="the test", now_ns=time.time_ns())
        write_symbols(folder, SYMBOLS)

    def trader(self, per_second: float = 8.0, symbol: str = "BTCUSDT", price: str = "30000") -> Lines:
        """Start a process that trades, and wait until it does."""
        trader = start(
            "-m", "tests.support.trader", str(self.folder), self.venue.url, str(per_second), symbol, price, stdin=True
        )
        self._give(trader, to_child(self.keys))
        self.started.append(trader)
        trader.first(up=True)
        if per_second:
            until(lambda: len(self.venue.entries("order accepted", self.key)) >= 3, "three orders at the venue")
        return trader

    def rest(self, symbol: str, quantity: str, price: str, recv_window_ms: int = 2000) -> None:
        """Place an order that waits."""
        signer = OrderSigner(self.keys)
        params = [("symbol", symbol), ("side", "BUY"), ("type", "LIMIT"), ("quantity", quantity), ("price", price)]
        query = signer.sign("/api/v3/order", params, timestamp_ms=wall_ms(), recv_window_ms=recv_window_ms)
        status, told = call("POST", f"{self.venue.url}/api/v3/order?{query}", signer.headers)
        assert status == 200, told

    def command(self, trader: Lines, text: str) -> None:
        self._give(trader, text.encode() + b"\n")

    def sentinel(self, program: str = "", port: int = 0) -> Lines:
        """Start the sentinel (or a program that is one), and wait until it watches."""
        words = ("-c", program) if program else ("-m", "claire.cli.main", "sentinel")
        sentinel = start(
            *words, "--folder", str(self.folder), "--rest-url", self.url, "--port", str(port), "--recv-window-ms", "500",
            "--keys-from-stdin", "--json", stdin=True,
        )  # fmt: skip
        self._give(sentinel, to_child(self.keys))
        self.started.append(sentinel)
        sentinel.first(event="watching")
        return sentinel

    @staticmethod
    def _give(process: Lines, data: bytes) -> None:
        assert process.process.stdin is not None
        process.process.stdin.write(data)
        process.process.stdin.flush()

    def kill(self) -> tuple[int, dict[str, Any]]:
        """`claire kill`; return when it was called (ms) and what it said."""
        began = wall_ms()
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "claire.cli",
                "kill",
                "--runs",
                str(self.folder.parents[1]),
                "--account",
                self.folder.name,
                "--json",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return began, json.loads(done.stdout)

    def late(self, t0_ms: int) -> list[dict[str, Any]]:
        """Orders that the venue took more than a second after T0."""
        return [entry for entry in self.venue.entries("order accepted", self.key) if entry["at_ms"] > t0_ms + 1000]

    def close(self) -> None:
        for process in reversed(self.started):
            process.end(kill=True)


class Network(threading.Thread):
    """Passes bytes on to a venue until it is cut: then they are lost without a word, and connections of before stay dead."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        host, _, port = url.removeprefix("http://").partition(":")
        self._to = (host, int(port))
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._is_cut = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def cut(self) -> None:
        self._is_cut = True

    def heal(self) -> None:
        self._is_cut = False

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(PATIENCE_S)

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        self._ready.set()
        async with server:
            await self._over.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        lost = [self._is_cut]
        tasks = [
            asyncio.ensure_future(self._pass(reader, there_writer, lost)),
            asyncio.ensure_future(self._pass(there_reader, writer, lost)),
        ]
        self._tasks.update(tasks)
        await asyncio.wait(tasks)
        for one in (writer, there_writer):
            one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: list[bool]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._is_cut or lost[0]:
                    lost[0] = True  # what was lost is never sent again here, so this connection is over
                    continue
                writer.write(data)
                await writer.drain()


@contextmanager
def network(url: str) -> Iterator[Network]:
    """A network to a venue."""
    made = Network(url)
    made.start()
    made._ready.wait(PATIENCE_S)
    try:
        yield made
    finally:
        made.stop()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
