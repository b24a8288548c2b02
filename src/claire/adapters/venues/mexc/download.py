"""`claire data download`: a venue's past as a market file of ours. Goes on where it was cut off, and is checked at the end.

Each day is fetched into a folder beside the target, with its SHA-256; a day that is there and matches is not fetched again. When
all days are there they become one Parquet file with its sidecar, and the folder goes.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from claire.adapters.venues.mexc.history import CHUNK, History
from claire.model.errors import DataError, UsageError

if TYPE_CHECKING:
    from claire.adapters.marketdata.converting import Written

MOST_DAYS: Final = 3700


class Wanted(Struct, frozen=True):
    """What to fetch."""

    symbol: str
    kind: str
    """``klines`` or ``aggTrades``."""
    interval: str
    first: date
    last: date
    """Included."""

    @property
    def days(self) -> list[date]:
        """Every day, in order."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


class Downloaded(Struct, frozen=True):
    """What was fetched and written."""

    written: "Written"
    days: int
    fetched: int
    """Days that were not there already."""


async def download(
    history: History,
    wanted: Wanted,
    target: Path,
    *,
    rules: Mapping[str, Mapping[str, str]] | None = None,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Downloaded:
    """Fetch days and write them as one market file.

    Args:
        history: Where the days come from.
        wanted: Symbol, kind and days.
        target: The Parquet file; the days lie in a folder named after it until it is written.
        rules: Instrument rules that go before the inferred ones.
        force: Write over an existing file.
        progress: Is told of each day that is there.

    Raises:
        UsageError: the days are none, or not over yet.
        DataError: the target exists or cannot be written, a day cannot be had, or the data cannot be used.
        ClaireError: the venue does not answer.
    """
    from claire.adapters.marketdata.converting import import_file

    await _require_past(history, wanted)
    if target.suffix != ".parquet":
        raise DataError(f"{target}: the file to write is Parquet; give it a name that ends in .parquet")
    if target.exists() and not force:
        raise DataError(f"{target}: exists already. Choose another name, or give --force to write over it.")
    span = wanted.interval if wanted.kind == "klines" else wanted.kind
    name = f"{history.venue}-{wanted.symbol}-{span}"
    folder = target.with_name(f"{target.name}.parts")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise DataError(f"{folder}: cannot be made ({e.strerror}). Choose another place.") from e
    parts, fetched = [], 0
    for day in wanted.days:
        part = folder / f"{name}-{day}.csv"
        if not is_whole(part):
            await _fetch(history, day, part)
            fetched += 1
        parts.append(part)
        progress(1)
    together = folder / f"{name}.csv"
    _join(parts, together)
    written = import_file(
        together, target, symbols=(wanted.symbol,), venue=history.venue, rules=rules or {}, force=force
    )
    shutil.rmtree(folder)
    return Downloaded(written, len(parts), fetched)


def is_whole(part: Path) -> bool:
    """Whether a day is there as it was fetched."""
    note = part.with_name(part.name + ".sha256")
    if not part.exists() or not note.exists():
        return False
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == note.read_text(encoding="ascii").strip()


async def _require_past(history: History, wanted: Wanted) -> None:
    if wanted.last < wanted.first:
        raise UsageError(f"--from {wanted.first} --to {wanted.last}: is no span of days; --to is the last day wanted")
    if len(wanted.days) > MOST_DAYS:
        raise UsageError(
            f"--from {wanted.first} --to {wanted.last}: are {len(wanted.days):,} days; at most {MOST_DAYS:,} at once"
        )
    today = await history.today()
    if wanted.last >= today:
        raise UsageError(
            f"--to {wanted.last}: is not over yet at the venue; the last full day is {today - timedelta(days=1)}"
        )


async def _fetch(history: History, day: date, part: Path) -> None:
    """Fetch one day; it bears its name only once it is there, whole."""
    partial = part.with_name(part.name + ".partial")
    digest = await history.fetch(day, partial)
    part.with_name(part.name + ".sha256").write_text(digest + "\n", encoding="ascii")
    partial.replace(part)


def _join(parts: list[Path], together: Path) -> None:
    """Write the days one after the other, their common header once."""
    with together.open("wb") as out:
        for number, part in enumerate(parts):
            for piece in _pieces(part, without_header=number > 0):
                out.write(piece)


def _pieces(part: Path, *, without_header: bool) -> Iterator[bytes]:
    with part.open("rb") as file:
        first = file.readline(CHUNK)
        if not (without_header and first[:1].isalpha()):
            yield first
        while piece := file.read(CHUNK):
            yield piece
