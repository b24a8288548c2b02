"""Programs that a trial starts, read line by line, and ended by their own number."""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from claire.gateway.signer import Keys, QuerySigner, to_child
from claire.model.errors import ClaireError

T = TypeVar("T")

PATIENCE_S: Final = 30.0
END_S: Final = 20.0
LIFE_S: Final = 7200
"""After so long a simulator ends by itself, should nobody be left to end it."""

_line: Final = msgspec.json.Decoder(dict[str, Any])


class TrialError(ClaireError):
    """A trial did not go as it must: something did not happen in time, or happened that may not."""


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S, *, pause_s: float = 0.002) -> T:
    """Wait until something is true.

    Raises:
        TrialError: it is not in time.
    """
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TrialError(f"not within {patience_s:g} s: {what}")
        time.sleep(pause_s)


def call(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Any:
    """Ask over HTTP; return what the JSON says.

    Raises:
        TrialError: there is no answer, or it is no 200.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    try:
        connection.request(method, url.partition(parts.netloc)[2], body, dict(headers or {}))
        answer = connection.getresponse()
        told = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise TrialError(f"{method} {parts.netloc}{parts.path} was not answered: {error}") from error
    try:
        if answer.status != 200:
            raise TrialError(
                f"{method} {url} was answered with {answer.status}: {told[:200].decode('utf-8', 'replace')}"
            )
        return msgspec.json.decode(told)
    finally:
        connection.close()


class Program:
    """A program of ours that says JSON lines; its errors go to a file."""

    def __init__(
        self, words: Sequence[str], errors: Path, *, keep: Callable[[dict[str, Any]], bool] | None = None
    ) -> None:
        """Start it.

        Args:
            words: Behind the interpreter.
            errors: File for what it writes to standard error.
            keep: Called with each line as it comes; returns whether it is kept in `lines`.
        """
        self.lines: list[dict[str, Any]] = []
        self.name = " ".join(words[:4])
        self._errors = errors
        self._keep = keep
        with errors.open("ab") as file:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def tell(self, data: bytes) -> None:
        """Give it a line."""
        if self.process.stdin is None:
            raise TrialError(f"{self.name} has no input")
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def first(self, since: int = 0, patience_s: float = PATIENCE_S, **wanted: object) -> dict[str, Any]:
        """Wait for the first line, from number `since` on, with these values.

        Raises:
            TrialError: it does not come, or the program ends.
        """

        def find() -> dict[str, Any] | None:
            found = next((line for line in self.lines[since:] if wanted.items() <= line.items()), None)
            if found is None and not self.is_alive and not self._reader.is_alive():
                raise TrialError(f"{self.name} ended with {self.process.returncode}: {self._complaint()}")
            return found

        found = until(find, f"{self.name} says {wanted}; last it said {self.lines[-3:]}", patience_s)
        if found is None:
            raise AssertionError("until returns what is true")
        return found

    def end(self, *, at_once: bool = False) -> int:
        """End it; return its code."""
        if self.is_alive:
            self.process.kill() if at_once else self.process.terminate()
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(END_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

    def _read(self) -> None:
        if self.process.stdout is None:
            return
        for line in self.process.stdout:
            told = _line.decode(line)
            if self._keep is None or self._keep(told):
                self.lines.append(told)

    def _complaint(self) -> str:
        return self._errors.read_text("utf-8", "replace")[-1000:].strip() or "it says nothing"


class Arrival(msgspec.Struct, frozen=True):
    """One call whose first byte was seen."""

    at_us: int
    method: str
    client_id: str
    status: int
    """HTTP status that it was answered with; 0: none."""


class VenueProcess:
    """``claire mexc-sim`` with one account, and what it heard of that account."""

    def __init__(self, folder: Path, symbols: int, *, has_limits: bool) -> None:
        """Start one with so many pairs, and wait until it is there."""
        self.keys = Keys("drill", "drill-" + os.urandom(8).hex())
        self.key = "drill"
        self._signer = QuerySigner(self.keys)
        self.arrivals: list[Arrival] = []
        """Calls that place or cancel orders."""
        self.accepted: list[tuple[int, str]] = []
        """When an order was accepted (ms), and its client order id."""
        words = [
            "-m",
            "claire.cli.main",
            "mexc-sim",
            "--port",
            "0",
            "--json",
            "--events",
            "0",
            "--duration",
            str(LIFE_S),
        ]
        words += ["--generate", str(symbols), "--limits" if has_limits else "--no-limits"]
        self.program = Program(words, folder / "venue.err", keep=self._hear)
        hello = until(lambda: self.program.lines[:1], "the simulator's first line", 60)[0]
        self.url: str = hello["rest_url"]
        _, secret = to_child(self.keys).decode().split()
        account = {"access_key": self.key, "secret": secret, "balances": {"USDT": "100000000"}}
        self.ask("POST", "accounts", account)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Use the simulator's control."""
        return call(method, f"{self.url}/sim/{path}", body=b"" if body is None else msgspec.json.encode(body))

    def open_orders(self) -> list[str]:
        """Return the client order ids of what waits at the venue, as it answers its clients."""
        query = self._signer.sign(
            "GET", "/api/v3/openOrders", (), timestamp_ms=time.time_ns() // 1_000_000, recv_window_ms=5000
        )
        return [
            order["clientOrderId"]
            for order in call("GET", f"{self.url}/api/v3/openOrders?{query}", self._signer.headers)
        ]

    def end(self) -> None:
        """End it."""
        self.program.end()

    def _hear(self, told: dict[str, Any]) -> bool:
        what = told.get("what")
        if what is None:
            return True
        if told.get("key") == self.key:
            detail = told["detail"]
            if (
                what == "request"
                and detail["path"] in ("order", "batchOrders", "openOrders")
                and detail["method"] != "GET"
            ):
                self.arrivals.append(
                    Arrival(detail["arrived_us"], detail["method"], detail.get("client_id", ""), detail["status"])
                )
            elif what == "order accepted":
                self.accepted.append((told["at_ms"], detail["client_id"]))
        return False
