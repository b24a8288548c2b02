#!/usr/bin/env python3
"""Cancel every open order of an account at MEXC, and prove that nothing is left. It stands alone: Python and this one file.

    python3 panic.py --secrets DIR [--symbol BTCUSDT ...] [--symbols-from FILE] [--rest-url URL] [--json]

It shares no code, no process, no database and no configuration with the rest, so that it works when all of that does not. DIR
holds the files ``mexc_access_key`` and ``mexc_secret_key`` (mode 0600); SECRETS_PATH names it too. It can list and cancel,
nothing else: it makes no order and sells nothing. It goes on until it has proof, or until --give-up.

Empty is proven when, more than recvWindow + 1 s of venue time after it began, a cancel of each symbol found nothing and two lists
in a row were empty. A program that still sends orders meanwhile (stop it first: `claire kill`) shows as orders that come back.

Exit codes: 0 proven empty, 1 not, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

ACCESS_KEY, SECRET_KEY = "mexc_access_key", "mexc_secret_key"  # names of files  # pragma: allowlist secret
DEFAULT_URL = "https://api.mexc.com"
TIMEOUT_S = 12.0
MAX_BYTES = 16 * 1024 * 1024
RECV_WINDOW_MS = 2000
BETWEEN_S = 0.12
"""Between two requests: fewer than ten a second."""
AGAIN_S = 0.5
MAY = (("GET", "/api/v3/time"), ("GET", "/api/v3/openOrders"), ("DELETE", "/api/v3/openOrders"))
"""All that it ever asks for."""
NO_SUCH_SYMBOL = ("10007", "-1121", "30014")


class Stop(Exception):
    """It cannot go on; the text says why and what to do."""


class Refused(Exception):
    """The venue answered with an error."""

    def __init__(self, status: int, code: str, text: str, retry_after_s: float) -> None:
        super().__init__(f"HTTP {status}, code {code or 'none'}: {text}")
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class Venue:
    """One connection, made anew whenever it breaks."""

    def __init__(self, url: str, access_key: str, secret: str) -> None:
        """Take the address apart.

        Raises:
            Stop: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise Stop(f"--rest-url {url}: is not the address of a venue, such as {DEFAULT_URL}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connect: Callable[[], http.client.HTTPConnection] = lambda: kind(
            str(parts.hostname), parts.port, timeout=TIMEOUT_S
        )
        self._connection: http.client.HTTPConnection | None = None
        self._access_key = access_key
        self._secret = secret.encode()
        self._venue_minus_monotonic_s = time.time() - time.monotonic()

    def now_ms(self) -> int:
        """Venue time."""
        return int((time.monotonic() + self._venue_minus_monotonic_s) * 1000)

    def set_clock(self) -> None:
        """Ask the venue for its time."""
        sent = time.monotonic()
        told = self._exchange("GET", "/api/v3/time", "")
        if isinstance(told, dict) and isinstance(told.get("serverTime"), int):
            self._venue_minus_monotonic_s = told["serverTime"] / 1000 - (sent + time.monotonic()) / 2

    def ask(self, method: str, path: str, **params: str) -> Any:
        """Sign one request and return what is in the answer.

        Raises:
            Refused: the venue's word.
            OSError, http.client.HTTPException, ValueError: there was no answer, or none that can be read.
        """
        if (method, path) not in MAY:
            raise Stop(f"{method} {path} is nothing that this program asks for")
        stamped = {**params, "timestamp": str(self.now_ms()), "recvWindow": str(RECV_WINDOW_MS)}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in stamped.items())
        signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
        return self._exchange(method, path, f"?{query}&signature={signature}")

    def _exchange(self, method: str, path: str, query: str) -> Any:
        time.sleep(BETWEEN_S)
        connection = self._connection or self._connect()
        self._connection = None
        try:
            headers = {"X-MEXC-APIKEY": self._access_key, "Content-Type": "application/json"} if query else {}
            connection.request(method, path + query, headers=headers)
            response = connection.getresponse()
            status, body = response.status, response.read(MAX_BYTES)
            waits = response.headers.get("Retry-After", "")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        try:
            told = json.loads(body)
        except ValueError:
            raise Refused(status, "", "an answer that is no JSON", _wait_s(status, waits)) from None
        code = str(told.get("code", "")) if isinstance(told, dict) else ""
        if status >= 400 or code not in ("", "0", "200"):
            text = str(told.get("msg", ""))[:200] if isinstance(told, dict) else ""
            raise Refused(status, code, text, _wait_s(status, waits))
        return told


def _wait_s(status: int, told: str) -> float:
    """How long the venue wants to be left alone."""
    if told.isdigit():
        return float(told)
    return {429: 2.0, 418: 120.0, 403: 90.0}.get(status, 0.0)


class Panic:
    """Cancels until nothing is left."""

    def __init__(self, venue: Venue, symbols: Iterable[str], tell: Callable[..., None], give_up_s: float) -> None:
        self._venue = venue
        self._symbols = dict.fromkeys(symbols)
        self._tell = tell
        self._ends = time.monotonic() + give_up_s if give_up_s else None
        self._by_symbol = False
        self.canceled: dict[str, None] = {}

    def run(self) -> None:
        """Do it all.

        Raises:
            Stop: it is given up.
        """
        self._sure("the venue's time", self._venue.set_clock)
        fence_ms = self._venue.now_ms() + RECV_WINDOW_MS + 1000
        for symbol in list(self._symbols):
            self._cancel(symbol)
        while True:
            self._sweep()
            left_s = (fence_ms - self._venue.now_ms()) / 1000
            if left_s <= 0:
                break
            time.sleep(min(left_s, 0.5) + 0.001)
        empty = 0
        for symbol in list(self._symbols):
            self._cancel(symbol)
        while empty < 2:
            empty = 0 if self._sweep() else empty + 1
            self._wait(0)

    def _sweep(self) -> int:
        """List what is open, and cancel it; return how many orders there were."""
        orders = self._look()
        for symbol in dict.fromkeys(str(order["symbol"]) for order in orders):
            self._symbols[symbol] = None
            self._cancel(symbol)
        return len(orders)

    def _look(self) -> list[dict[str, Any]]:
        if not self._by_symbol:
            listed = self._sure("open orders", lambda: self._venue.ask("GET", "/api/v3/openOrders"))
            if listed is not None:
                return _orders(listed)
            self._by_symbol = True
            if not self._symbols:
                raise Stop("the venue wants symbols named; give them with --symbol or --symbols-from")
        found: list[dict[str, Any]] = []
        for symbol in list(self._symbols):
            ask = lambda symbol=symbol: self._venue.ask("GET", "/api/v3/openOrders", symbol=symbol)  # noqa: E731
            found += _orders(self._sure(f"open orders of {symbol}", ask))
        return found

    def _cancel(self, symbol: str) -> None:
        ask = lambda: self._venue.ask("DELETE", "/api/v3/openOrders", symbol=symbol)  # noqa: E731
        for order in _orders(self._sure(f"cancel of {symbol}", ask)):
            name = f"{symbol} {order.get('orderId', '')}"
            if name not in self.canceled:
                self._tell("canceled", symbol=symbol, order=str(order.get("orderId", "")))
            self.canceled[name] = None

    def _sure(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer; None: the venue knows no such symbol, or wants one named."""
        while True:
            try:
                return ask()
            except Refused as refused:
                if refused.code in (*NO_SUCH_SYMBOL, "700004"):
                    return None
                self._tell("refused", what=what, why=str(refused), waits_s=refused.retry_after_s)
                if refused.code in ("700003", "10073"):
                    self._sure("the venue's time", self._venue.set_clock)
                elif refused.code in ("10072", "700001", "700002", "602", "401", "402", "700006", "700007"):
                    raise Stop(f"{what}: {refused}. The key cannot do this: use another, or MEXC's own page") from None
                self._wait(max(refused.retry_after_s, AGAIN_S))
            except (OSError, http.client.HTTPException) as broken:
                self._tell("no answer", what=what, why=f"{type(broken).__name__}: {broken}")
                self._wait(AGAIN_S)

    def _wait(self, seconds: float) -> None:
        if self._ends is not None and time.monotonic() + seconds > self._ends:
            raise Stop(
                "given up: the venue did not let this finish. What is open there is NOT KNOWN; look at MEXC's own page"
            )
        time.sleep(seconds)


def _orders(told: Any) -> list[dict[str, Any]]:
    return [order for order in told if isinstance(order, dict) and "symbol" in order] if isinstance(told, list) else []


def read_key(file: Path) -> str:
    """Read one key from a file that only its owner may read.

    Raises:
        Stop: there is none, or others may read it.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}. --secrets names the folder with {ACCESS_KEY} and {SECRET_KEY}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Stop(f"{file}: others may read it; chmod 600 {file}")
    if not text or len(text.split()) != 1:
        raise Stop(f"{file}: holds no key")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Cancel everything; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="panic", description="Cancel every open order at MEXC, and prove that none is left."
    )
    parser.add_argument(
        "--secrets", metavar="DIR", default=os.environ.get("SECRETS_PATH", ""), help="Folder of the key's files."
    )
    parser.add_argument(
        "--symbol", metavar="SYMBOL", action="append", default=[], help="May be repeated; others are discovered."
    )
    parser.add_argument("--symbols-from", metavar="FILE", help="One symbol per line, as RUNS/accounts/ACCOUNT/symbols.")
    parser.add_argument(
        "--rest-url", metavar="URL", default=DEFAULT_URL, help="The venue; any host, for cancelling is no order."
    )
    parser.add_argument("--give-up", metavar="S", type=float, default=0.0, help="Stop after so long; 0: never.")
    parser.add_argument("--json", action="store_true", help="One JSON document on stdout at the end.")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def tell(what: str, /, **more: object) -> None:
        words = "  ".join(f"{name} {value}" for name, value in more.items() if value not in ("", 0.0))
        print(f"panic: {time.monotonic() - began:7.2f} s  {what}  {words}", file=sys.stderr)  # noqa: T201

    problem = ""
    panic: Panic | None = None
    code = 0
    try:
        symbols = list(options.symbol)
        if options.symbols_from:
            symbols += Path(options.symbols_from).read_text("utf-8", "replace").split()
        folder = Path(options.secrets)
        venue = Venue(options.rest_url, read_key(folder / ACCESS_KEY), read_key(folder / SECRET_KEY))
        panic = Panic(venue, symbols, tell, options.give_up)
        panic.run()
    except (Stop, OSError) as stop:
        problem, code = str(stop), 2 if panic is None else 1
    except KeyboardInterrupt:
        problem, code = "interrupted: what is open at the venue is NOT KNOWN", 130
    canceled = list(panic.canceled) if panic is not None else []
    seconds = round(time.monotonic() - began, 2)
    if problem:
        tell("STOPPED", why=problem)
    else:
        tell("proven empty", orders_canceled=len(canceled))
        tell("what is owned stays owned; nothing was sold")
    if options.json:
        told = {"proven_empty": not problem, "canceled": canceled, "seconds": seconds, "problem": problem}
        print(json.dumps(told))  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
