"""How `claire` speaks: results and one JSON document on stdout, everything else on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

INDENT = " " * 8
"""Under ``claire: ``, so that several lines read as one message."""


class Watched:
    """A stream that remembers why nothing more could be written to it: a full disk, say."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self.stream = stream
        self.fault: OSError | None = None

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            OSError: the stream takes nothing more.
        """
        with self._watching():
            return self.stream.write(text)

    def flush(self) -> None:
        """Hand over what was written.

        Raises:
            OSError: the stream takes nothing more.
        """
        with self._watching():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self.stream, name)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            self.fault = fault
            raise


def print_json(document: Any) -> None:
    """Print one JSON document on one line of stdout."""
    import msgspec

    print(msgspec.json.encode(document).decode())


def say(text: str) -> None:
    """Tell the person at the terminal something that is no result."""
    print(f"claire: {text}", file=sys.stderr)


def complain(message: str, exit_code: int, *, as_json: bool) -> int:
    """Print an error as a person reads it (and as JSON where that was asked for); return the exit code."""
    say(message.replace("\n", f"\n{INDENT}"))
    if as_json:
        print_json({"error": message, "exit_code": exit_code})
    return exit_code


def grouped(number: int) -> str:
    """A count with thousands separators."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """A duration in its two largest units, as in ``2 h 14 min``."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, name, below, below_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name} {rest} {below_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def utc(ts_ns: int) -> str:
    """A moment as ``2026-01-01 00:12:31`` (UTC)."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def money(amount: str, currency: str) -> str:
    """A decimal text as money: thousands separated, cents for currencies, eight places for coins, never rounded to 0."""
    places = 2 if currency.startswith(("USD", "EUR", "GBP", "DAI", "FDUSD", "TUSD", "BUSD")) else 8
    value = Decimal(amount)
    rounded = round(value, places)
    return f"{rounded:,f}" if rounded or not value else f"{Decimal(f'{value:.1e}'):f}"


def percent(value: Decimal | float) -> str:
    """A change in percent, with its sign; what rounds to nothing has none."""
    shown = f"{value:+.2f} %"
    return "0.00 %" if shown in ("+0.00 %", "-0.00 %") else shown
