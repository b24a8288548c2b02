"""Finds again the market that a run was made on: the recording by its hash, a synthetic market by its seed."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from claire.engine.ports import MarketSource, SourceInfo
from claire.model.errors import ReplayError
from claire.model.instrument import Instrument
from claire.model.money import plain_text


def reopen(info: SourceInfo, instruments: Mapping[str, Instrument], data: Path | None = None) -> MarketSource:
    """Open the market that `info` describes, with the instrument rules that the run had.

    Args:
        info: The source as the journal names it.
        instruments: The rules of the run; they win over whatever lies beside the file today.
        data: Where the recording lies now, if it was moved.

    Raises:
        ReplayError: the recording is missing, or is another one than then.
    """
    # numpy and polars take a quarter of a second, and a replay from the journal needs neither
    from claire.adapters.marketdata import open_source
    from claire.adapters.marketdata.synth import SyntheticMarket, SynthSettings

    parameters = info.parameters
    if info.kind == "synthetic":
        return SyntheticMarket(msgspec.convert(parameters, SynthSettings, strict=False))
    path = data or Path(info.path)
    if not path.exists():
        raise ReplayError(
            f"the recording {path} is not there any more; say where it lies now: claire replay RUN --data FILE"
            f" (sha256 {info.sha256})"
        )
    rules = {symbol: _rules(instrument) for symbol, instrument in instruments.items()}
    source = open_source(
        path,
        symbols=parameters["symbols"].split(","),
        venue=parameters.get("venue"),
        rules=rules,
        start=int(parameters.get("start") or 0),
        end=int(parameters["end"]) if parameters.get("end") else None,
    )
    if source.info.sha256 != info.sha256:
        raise ReplayError(
            f"{path} is not the recording of this run: its sha256 is {source.info.sha256}, the run used {info.sha256}"
        )
    return source


def _rules(instrument: Instrument) -> dict[str, str]:
    """The rules of an instrument as configuration would give them."""
    return {
        "tick": plain_text(instrument.tick),
        "lot": plain_text(instrument.lot),
        "min_notional": plain_text(instrument.min_notional),
        "base": instrument.base,
        "quote": instrument.quote,
    }
