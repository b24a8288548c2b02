"""Instrument rules of recorded markets: given, from the sidecar of an import, or inferred from what was traded.

Inferred means: the tick is the finest step that the prices of the symbol show, the lot that of its quantities, over all
rows of the symbol, trailing zeros dropped; minimum notional 0. So the rules depend on symbol and values, never on the
file format. There is no built-in table: a venue changes its rules, and a stale table would make two files of one day differ.
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import numpy as np

from claire.adapters.marketdata.numbers import Ints, Mask, Scaled
from claire.model.errors import ConfigError, DataError, did_you_mean
from claire.model.instrument import Instrument, decimals_of
from claire.model.money import plain_text, units_of

Rules = Mapping[str, Mapping[str, "str | Decimal"]]
_AMOUNTS: Final = ("tick", "lot", "min_notional")
_COUNTS: Final = ("base_decimals", "quote_decimals")
_TEXTS: Final = ("base", "quote", "venue", "kind")
SIDECAR_SUFFIX: Final = ".instruments.json"
SIDECAR_FORMAT: Final = "claire-instruments-1"


def sidecar_of(path: Path) -> Path:
    """Return the path of a file's sidecar: the same name followed by ``.instruments.json``."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the sidecar of a market data file; empty where there is none.

    Raises:
        DataError: it cannot be read or is of another format.
    """
    sidecar = sidecar_of(path)
    if not sidecar.exists():
        return {}
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise DataError(f"{sidecar}: cannot be read ({e}). Import {path.name} again, or delete the sidecar.") from e
    if not isinstance(content, dict) or content.get("format") != SIDECAR_FORMAT:
        raise DataError(
            f"{sidecar}: is not of format {SIDECAR_FORMAT}. Import {path.name} again, or delete the sidecar."
        )
    return content


def instrument_fields(instrument: Instrument) -> dict[str, str | int]:
    """Return an instrument as plain values for a sidecar, from which `instrument_for` makes it again."""
    return {
        "symbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick": plain_text(instrument.tick),
        "lot": plain_text(instrument.lot),
        "min_notional": plain_text(instrument.min_notional),
        "base_decimals": instrument.base_decimals,
        "quote_decimals": instrument.quote_decimals,
        "venue": instrument.venue,
        "kind": instrument.kind,
        "source": instrument.source,
    }


def instrument_for(
    symbol: str,
    *,
    given: Rules,
    sidecar: Mapping[str, Any],
    venue: str,
    price_decimals: int,
    lot_decimals: int,
) -> Instrument:
    """Build the rules of one symbol: each rule from the first place that names it.

    Raises:
        ConfigError: a given rule is unknown or not a number.
        DataError: the rules contradict themselves (see `Instrument.checked`).
    """
    explicit = dict(given.get(symbol, {}))
    imported: Mapping[str, Any] = next((i for i in sidecar.get("instruments", ()) if i.get("symbol") == symbol), {})
    for name in explicit:
        if name not in (*_AMOUNTS, *_COUNTS, *_TEXTS):
            hint = did_you_mean(name, (*_AMOUNTS, *_COUNTS, *_TEXTS))
            raise ConfigError(f"instruments.{symbol}.{name} is not an instrument rule.{hint}")
    rules: dict[str, Any] = {**imported, **explicit}
    source = "configuration" if explicit else str(imported.get("source", "sidecar")) if imported else "inferred"
    return Instrument.checked(
        symbol,
        _amount(symbol, "tick", rules.get("tick", Decimal(1).scaleb(-price_decimals))),
        _amount(symbol, "lot", rules.get("lot", Decimal(1).scaleb(-lot_decimals))),
        base=str(rules.get("base", "")),
        quote=str(rules.get("quote", "")),
        min_notional=_amount(symbol, "min_notional", rules.get("min_notional", Decimal(0))),
        base_decimals=int(rules.get("base_decimals", 8)),
        quote_decimals=int(rules.get("quote_decimals", 8)),
        venue=str(rules.get("venue", "")) or venue,
        kind=str(rules.get("kind", "")) or "spot",
        source=source,
    )


def steps_of(numbers: Scaled, step: Decimal) -> tuple[Ints, Mask]:
    """Return a column as whole steps (ticks or lots), and which rows are no whole number of steps or too large."""
    steps, uneven, too_large = floored_steps(numbers, step)
    return steps, uneven | too_large


def floored_steps(numbers: Scaled, step: Decimal) -> tuple[Ints, Mask, Mask]:
    """Return a column as whole steps rounded down, which rows had to be rounded, and which are too large."""
    decimals = max(decimals_of(step), finest(numbers))
    scaled, too_large = numbers.at_scale(decimals)
    size = units_of(step) // 10 ** (18 - decimals)
    if size == 1:
        return scaled, np.zeros(len(numbers), dtype=np.bool_), too_large
    return scaled // size, scaled % size != 0, too_large


def finest(numbers: Scaled) -> int:
    """Return the most decimals that any number of a column needs."""
    return int(np.max(numbers.decimals, initial=0))


def _amount(symbol: str, name: str, value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(
            f'instruments.{symbol}.{name} = {value!r} is not a decimal number. Write it like "0.01".'
        ) from None
