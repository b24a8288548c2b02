"""Scenario files: faults in TOML, one ``[[fault]]`` table each.

[[fault]]
kind = "stall"            # the socket stays open, the data stops
channel = "aggre.deals"
symbol = "BTCUSDT"
after_ms = 10_000
for_ms = 5_000
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from claire.mexcsim.faults import AnyFault, Fault
from claire.model.errors import ConfigError, did_you_mean


def kinds() -> dict[str, type[Fault]]:
    """Every kind of fault by its name."""
    return {str(kind.__struct_config__.tag): kind for kind in AnyFault.__args__}


def fault_of(table: dict[str, Any], place: str) -> Fault:
    """Read one fault.

    Raises:
        ConfigError: an unknown kind, an unknown field, or a value of the wrong type; the message names the place.
    """
    kind = table.get("kind", "")
    known = kinds()
    if kind not in known:
        raise ConfigError(
            f"{place}: kind {kind!r} is no fault.{did_you_mean(str(kind), known)} Kinds: {', '.join(known)}"
        )
    try:
        return msgspec.convert(table, known[kind])
    except msgspec.ValidationError as problem:
        fields = ", ".join(known[kind].__struct_fields__)
        raise ConfigError(f"{place}: {kind}: {problem}. Its fields: {fields}") from None


def load(path: Path) -> tuple[Fault, ...]:
    """Read a scenario file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or holds anything but faults.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}; name a scenario file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: no TOML: {problem}") from None
    tables = content.pop("fault", [])
    if content or not isinstance(tables, list):
        raise ConfigError(
            f"{path}: a scenario holds [[fault]] tables only, not {', '.join(content) or 'fault as a value'}"
        )
    return tuple(fault_of(table, f"{path}, fault {number}") for number, table in enumerate(tables, 1))
