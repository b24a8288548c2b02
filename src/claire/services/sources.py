"""Finds again the market that a run was made on: the recording by its hash, a synthetic market by its seed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from claire.engine.ports import MarketSource, SourceInfo
from claire.model.errors import ReplayError
from claire.model.instrument import Instrument
from claire.model.money import plain_text


def reopen(info: SourceInfo, instruments: Mapping[str, Instrument], moved: Sequence[Path] = ()) -> MarketSource:
    """Open the market that `info` describes, with the instrument rules that the run had.

    Args:
        info: The source as the journal names it.
        instruments: The rules of the run; they win over whatever lies beside the files today.
        moved: Where the recording's files lie now, if they were moved; found by their hashes, in any order.

    Raises:
        ReplayError: a file of the recording is missing, or is another one than then.
    """
    # numpy and polars take a quarter of a second, and a replay from the journal needs neither
    from claire.adapters.marketdata import SyntheticMarket, SynthSettings, open_sources

    wanted = info.parameters
    if info.kind == "synthetic":
        return SyntheticMarket(msgspec.convert(wanted, SynthSettings, strict=False))
    files = json.loads(wanted["files"]) if "files" in wanted else [{"path": info.path, "sha256": info.sha256}]
    places = {_sha256(path): path for path in moved}
    return open_sources(
        [_same_file(Path(file["path"]), file["sha256"], places) for file in files],
        symbols=wanted["symbols"].split(","),
        venue=wanted.get("venue"),
        rules={symbol: _rules(instrument) for symbol, instrument in instruments.items()},
        start=int(wanted.get("start") or 0),
        end=int(wanted["end"]) if wanted.get("end") else None,
    )


def _same_file(then: Path, sha256: str, places: Mapping[str, Path]) -> Path:
    """Return where a file of the recording lies now."""
    if sha256 in places:
        return places[sha256]
    if places:
        listed = ", ".join(map(str, places.values()))
        raise ReplayError(f"{listed}: not the recording of this run, which is {then.name} with SHA-256 {sha256}")
    if not then.exists():
        raise ReplayError(f"the recording {then} is not there any more; say where it lies now with --data FILE")
    if _sha256(then) != sha256:
        raise ReplayError(
            f"{then} has changed since the run and is not its recording any more (SHA-256 was {sha256});"
            " put the original back, or say where it lies with --data FILE"
        )
    return then


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise ReplayError(f"{path}: cannot be read: {e.strerror}") from e


def _rules(instrument: Instrument) -> dict[str, str]:
    """The rules of an instrument as configuration would give them."""
    return {
        "tick": plain_text(instrument.tick),
        "lot": plain_text(instrument.lot),
        "min_notional": plain_text(instrument.min_notional),
        "base": instrument.base,
        "quote": instrument.quote,
    }
