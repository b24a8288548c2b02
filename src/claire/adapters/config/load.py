"""Loads the configuration: default < file < environment < command line, and remembers where each value came from."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from claire.adapters.config import checks, keys, layers, strategies
from claire.adapters.config.layers import Fault, Layer, Path_
from claire.adapters.config.schema import Settings
from claire.adapters.config.words import does_not_fit, shown
from claire.model.errors import ConfigError, did_you_mean
from claire.model.money import plain_text

FILE = "claire.toml"
"""The file that is read when none is named."""

DEFAULT = "default"
"""The source of a value that nobody set."""


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and where it came from."""

    settings: Settings
    sources: dict[str, str]
    """Dotted name of every effective value → ``default``, file and line, variable, or argument."""
    file: Path | None = None

    def rows(self) -> list[tuple[str, str, str]]:
        """Every effective value as (name, text, source), in the order of the reference."""
        values = _flat(self.settings) | _derived(self.settings)
        return [(name, keys.text_of(values[name]), source) for name, source in self.sources.items()]


def load(
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
    symbols: Sequence[str] = (),
    strategy: str = "",
    mode: str = "",
    folder: Path | None = None,
) -> Loaded:
    """Load the configuration of a run.

    Args:
        config: the file of ``--config``; else ``claire.toml`` in `folder`, else the one that CLAIRE_CONFIG names, else none.
        environ: the environment (default: this process's).
        assignments: arguments of ``--set``, as ``KEY=VALUE``.
        symbols: of ``--symbol``; they replace the symbols of every strategy.
        strategy: of ``--strategy``: id or kind of the only strategy that trades.
        mode: what the command itself says about the mode; wins over every other place. ``backtest`` goes with no other
            mode than ``paper`` in those places.
        folder: where ``claire.toml`` is looked for (default: the working directory).

    Raises:
        ConfigError: with every fault that was found, each with its place and remedy.
    """
    environ = os.environ if environ is None else environ
    file = _file(config, environ, folder)
    base = layers.read_file(file) if file else Layer()
    environment = layers.read_environment(environ)
    command = layers.read_assignments(assignments)
    if mode:
        layers.put_mode(command, (base, environment), mode)
    loaded = _assemble([base, environment, command], symbols, strategy)
    return msgspec.structs.replace(loaded, file=file)


def restore(text: str, assignments: Sequence[str] = ()) -> Loaded:
    """Load a configuration back from its canonical text, with changes laid over it.

    Raises:
        ConfigError: the text is no configuration of this version, or a change does not fit.
    """
    place = "recorded configuration"
    try:
        document = json.loads(text)
        tables = [{**table.pop("params"), **table} for table in document.pop("strategy")]
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"the {place} cannot be read: {type(fault).__name__}: {fault}") from None
    base = Layer(strategies=tables)
    for path, value in layers.leaves(document):
        base.put(path, value, place)
    for index, table in enumerate(tables):
        base.places |= {("strategy", str(index), name): place for name in table}
    return _assemble([base, layers.read_assignments(assignments)], (), "", replaying=True)


def canonical(settings: Settings) -> str:
    """Return the effective settings as canonical JSON: sorted keys, numbers that count as text, nothing unset."""
    return json.dumps(_plain(settings.model_dump()), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(settings: Settings) -> str:
    """Return the SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()


def parameters(settings: Settings, strategy_id: str) -> dict[str, Any]:
    """Return the parameters of one strategy in plain types, ready for `msgspec.convert(…, Params)`."""
    return next(dict(strategy.params) for strategy in settings.strategy if strategy.id == strategy_id)


class _LayerSource(PydanticBaseSettingsSource):
    """A layer as pydantic-settings wants it: one of several sources that it lays over each other."""

    def __init__(self, layer: dict[str, Any]) -> None:
        super().__init__(Settings)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._layer.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._layer


def _file(config: Path | None, environ: Mapping[str, str], folder: Path | None) -> Path | None:
    if config is not None:
        return config
    usual = (folder or Path()) / FILE
    if usual.is_file():
        return usual
    named = environ.get("CLAIRE_CONFIG")
    return Path(named) if named else None


def _assemble(stack: list[Layer], symbols: Sequence[str], strategy: str, *, replaying: bool = False) -> Loaded:
    """Lay the layers over each other, lowest first, check everything, and raise all faults at once."""
    faults = [fault for layer in stack for fault in layer.faults]
    for layer in stack:
        faults += _unknown_keys(layer)
    resolved = strategies.resolve(stack[0], stack[1:], symbols, strategy)
    faults += resolved.faults
    try:
        sources = tuple(_LayerSource(_nested(layer)) for layer in reversed(stack))
        build: Callable[..., Settings] = Settings
        settings = build(_build_sources=(sources, {}))
    except ValidationError as error:
        faults += [_fault(detail["loc"], stack) for detail in error.errors()]
        raise _refusal(faults) from None
    if resolved.strategies:
        settings = settings.model_copy(update={"strategy": tuple(resolved.strategies)})
    for finding in checks.findings(settings):
        if replaying and finding.path == ("risk", "profile"):
            continue  # what was recorded in one mode may be replayed without limits
        faults.append(Fault(finding.says, _place(finding.path, stack)))
    faults += _untraded(settings, stack[-1])
    if faults:
        raise _refusal(faults)
    return Loaded(settings, _sources(settings, stack, resolved.sources))


def _refusal(faults: list[Fault]) -> ConfigError:
    return ConfigError("\n".join(dict.fromkeys(map(str, faults))))


def _untraded(settings: Settings, command: Layer) -> list[Fault]:
    """Rules that were set for symbols that nobody trades; a file may hold rules of more symbols than one run trades."""
    traded = settings.symbols
    names = {*traded, *(re.sub("[/_-]", "", symbol.upper()) for symbol in traded)}
    found = []
    for path in command.values:
        if path[0] == "instruments" and traded and path[1] not in names:
            hint = did_you_mean(path[1], traded) or f" Traded: {', '.join(traded)}."
            found.append(Fault(f"{'.'.join(path)}: {path[1]} is not traded.{hint}", command.places[path]))
    return found


def _unknown_keys(layer: Layer) -> list[Fault]:
    found = []
    for path, value in layer.values.items():
        if path[0] == "strategy" or keys.find(path) is not None or (value == {} and keys.is_table(path)):
            continue
        name = ".".join(path)
        if keys.is_table(path):
            says = f"{name} = {shown(value)}: {name} is a table; write its keys under [{name}]"
        elif keys.find(path[:-1]) is not None:
            says = f"{'.'.join(path[:-1])} is one value, not a table; {name} is not a setting."
        else:
            says = layers.unknown(name)
        found.append(Fault(says, _place(path, [layer])))
    return found


def _nested(layer: Layer) -> dict[str, Any]:
    """The layer's settings as nested tables; what is no setting is left out, for it has been reported."""
    root: dict[str, Any] = {}
    for path, value in layer.values.items():
        if path[0] == "strategy" or keys.find(path) is None:
            continue
        table = root
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    return root


def _place(path: Path_, stack: list[Layer]) -> str:
    """Where the effective value of a path stands: the highest layer that has it, at the longest part of the path known."""
    for layer in reversed(stack):
        if path in layer.values or any(known[: len(path)] == path for known in layer.values):
            for end in range(len(path), 0, -1):
                if path[:end] in layer.places:
                    return layer.places[path[:end]]
    return ""


def _fault(location: tuple[int | str, ...], stack: list[Layer]) -> Fault:
    """Say what pydantic found, in our words."""
    is_key = location[-1] == "[key]"
    path: Path_ = tuple(str(part) for part in location if part != "[key]")
    while keys.find(path) is None and len(path) > 1:
        path = path[:-1]
    name = ".".join(path)
    place = _place(path, stack)
    if is_key:
        wanted = f" Write {'.'.join(path[:-1])}.{path[-1].upper()}." if path[-1].upper() != path[-1] else ""
        return Fault(
            f"{name}: {path[-1]} is no name of {'an asset' if path[0] == 'paper' else 'a symbol'}.{wanted}", place
        )
    value = next((layer.values[path] for layer in reversed(stack) if path in layer.values), None)
    key = keys.find(path)
    allowed = key.allowed if key else "something else"
    if path[:-1] in keys.OPEN:
        allowed = allowed.replace(keys.OPEN[path[:-1]], path[-1])
    if path == ("config_version",):
        return Fault(f"config_version = {shown(value)}: this Claire reads version 1", place)
    says = does_not_fit(name, value, allowed, ceiling=bool(key and key.ceiling))
    if allowed.startswith("one of ") and isinstance(value, str):
        says += did_you_mean(value, allowed.removeprefix("one of ").split(", "))
    return Fault(says, place)


def _sources(settings: Settings, stack: list[Layer], strategy_sources: dict[Path_, str]) -> dict[str, str]:
    found = {}
    ours = [tuple(name.split("\0")) for name in _flat(settings, "\0")]
    order = {path: number for number, path in enumerate(keys.settings_keys())}
    for path in sorted(ours, key=lambda path: order.get(keys.generic(path), len(order))):
        source = strategy_sources.get(path) if path[0] == "strategy" else _place(path, stack)
        found[".".join(path)] = source or DEFAULT
    return found


def _flat(settings: Settings, dot: str = ".") -> dict[str, Any]:
    """Every value by dotted name; strategies by id, their parameters beside id and kind."""
    document = settings.model_dump()
    tables = document.pop("strategy")
    flat = {dot.join(path): value for path, value in layers.leaves(document) if value != {}}
    for table in tables:
        for name, value in ({**table, **table["params"]}).items():
            if name != "params":
                flat[dot.join(("strategy", table["id"], name))] = value
    return flat


def _derived(settings: Settings) -> dict[str, Any]:
    """What the settings come to that follow from others where nobody set them."""
    account, paper = checks.account_of(settings, checks.configured_quotes(settings)), settings.paper
    return {
        "account.currency": account.currency,
        "account.capital": account.capital,
        "paper.feed_latency_ms": paper.feed_ms,
        "paper.entry_latency_ms": paper.entry_ms,
        "paper.response_latency_ms": paper.response_ms,
    }


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return plain_text(value)
        case Enum():
            return value.value
        case Mapping():
            return {key: _plain(part) for key, part in value.items() if part is not None}
        case list() | tuple():
            return [_plain(part) for part in value]
    return value
