"""A simulator as a program of its own: started on a free port, watched line by line, told to misbehave, and stopped."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from claire.adapters.venues.mexc.secrets import ACCESS_KEY, SECRET_KEY
from tests.support.cli import Claire

STOP_S: Final = 20.0
LIFE_S: Final = 7200.0
"""After so long the simulator ends by itself, should nobody be left to stop it."""
PASSED_ON: Final = ("order accepted", "fault struck", "request")
"""What is kept of its log."""
DROPPED: Final = 0.2
"""Share of the answers to orders that are lost on a bad day."""
UNANSWERED: Final = ("drop_reply", "drop_request", "accept_late")

Entry = dict[str, Any]


class Beside:
    """One simulator in a process of its own. A context manager: the process never outlives the block."""

    def __init__(self, folder: Path, *words: str) -> None:
        """Prepare to start it with these words of the command line; keys and its errors lie in `folder`."""
        self.folder = folder
        self.heard: list[Entry] = []
        """Entries of its log, oldest first, each with ``at_s``: when it was heard, by the monotonic clock."""
        self._words = words
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        """Start it and wait for its first line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "simulator.err").open("w") as errors:
            command = ["mexc-sim", "--port", "0", "--json", "--duration", str(LIFE_S), *self._words]
            self.process = Claire(self.folder).start(*command, errors=errors)
        first = self._lines().readline()
        if not first:
            self.process.wait()
            raise AssertionError(f"the simulator did not start: {(self.folder / 'simulator.err').read_text()}")
        hello = json.loads(first)
        self.rest_url, self.ws_url, self.symbols = hello["rest_url"], hello["ws_url"], tuple(hello["symbols"])
        self.access_key, self.secret = hello["keys"][0]["access_key"], hello["keys"][0]["secret"]
        self._reader = threading.Thread(target=self._read, name="simulator-lines")
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; at once, if it does not end in time."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self._lines().close()

    # -- what a client needs -------------------------------------------------------------------------------------------

    @property
    def environ(self) -> dict[str, str]:
        """What points Claire at it."""
        return {
            "CLAIRE_MEXC__REST_URL": self.rest_url,
            "CLAIRE_MEXC__WS_URL": self.ws_url,
            "SECRETS_PATH": self.keys(self.folder / "keys"),
        }

    def keys(self, folder: Path) -> str:
        """Write the key as the program reads it; return the folder's name."""
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            for name, text in ((ACCESS_KEY, self.access_key), (SECRET_KEY, self.secret)):
                (folder / name).write_text(text)
                (folder / name).chmod(0o600)
        return str(folder)

    # -- the control endpoint ------------------------------------------------------------------------------------------

    def fault(self, kind: str, **fields: object) -> int:
        """Set a fault; return its number."""
        return int(self._call("POST", "/sim/faults", {"kind": kind, **fields})["number"])

    def bad_day(self) -> None:
        """Drop the answer to every fifth order; what the private stream tells comes late, and some of it twice."""
        self.fault("drop_reply", path="order", method="POST", probability=DROPPED)
        self.fault("slow_push", channel="private", ms=20, jitter_ms=300)
        self.fault("duplicate", channel="private", probability=0.05, delay_ms=700)

    @property
    def lost_answers(self) -> int:
        """How many orders were not answered, whatever the reason."""
        return sum(entry["what"] == "fault struck" and entry["detail"]["fault"] in UNANSWERED for entry in self.heard)

    def clear(self, number: int | None = None) -> None:
        """Take back one fault, or all."""
        self._call("DELETE", "/sim/faults" + ("" if number is None else f"?number={number}"))

    def rest(self) -> None:
        """Suspend every pair: from now on nobody trades, and orders stay as they are."""
        for symbol in self.symbols:
            self.fault("pause", symbol=symbol)

    def account(self) -> dict[str, Any]:
        """The account of its key, whole."""
        return dict(self._call("GET", f"/sim/accounts/{self.access_key}"))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.rest_url + path, data=data, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
                return json.loads(response.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{method} {path} {body}: {refused.read().decode()}") from None

    # -- the log -------------------------------------------------------------------------------------------------------

    def wait(self, wanted: Callable[[Entry], bool], since: int, until_s: float) -> Entry | None:
        """Wait for an entry of the log, `since` so many were heard; None: it did not come by `until_s` (monotonic)."""
        seen = since
        with self._news:
            while True:
                while seen < len(self.heard):
                    if wanted(self.heard[seen]):
                        return self.heard[seen]
                    seen += 1
                left = until_s - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    return None

    def _lines(self) -> Any:
        assert self.process.stdout is not None
        return self.process.stdout

    def _read(self) -> None:
        for line in self._lines():
            entry: Entry = json.loads(line)
            if entry["what"] in PASSED_ON:
                with self._news:
                    self.heard.append({**entry, "at_s": time.monotonic()})
                    self._news.notify_all()


def lively(
    seed: int, symbols: Sequence[str], *, fee_asset: str = "quote", events: float = 8.0, usdt: int = 1_000_000
) -> tuple[str, ...]:
    """Words for a simulator in which much happens, with an account that outlasts hours of it."""
    names = tuple(word for symbol in symbols for word in ("--symbol", symbol))
    settings = ("--seed", str(seed), "--fee-asset", fee_asset, "--events", str(events), "--balance", f"USDT={usdt}")
    return ("--lively", *names, *settings)
