"""The places that settings come from, each read into a `Layer`: what it says, and where exactly it says so.

Lowest first: the file, the environment (`CLAIRE_…` and four aliases), `--set KEY=VALUE`. Each layer finds all of its faults.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from claire.adapters.config import keys
from claire.adapters.config.schema import Mode
from claire.adapters.config.words import shown
from claire.model.errors import ConfigError, did_you_mean

PREFIX = "CLAIRE_"

PROCESS_VARIABLES = {
    "CLAIRE_CONFIG": "the configuration file",
    "CLAIRE_HOME": "the folder that runs are kept in",
    "CLAIRE_SHARED": "the folder of recordings, for tests",
    "CLAIRE_REQUIRE_SHARED": "1: tests fail where there are no recordings",
    "CLAIRE_TIER": "which tests are collected",
}
"""Variables with our prefix that are no settings."""

EACH = "*"
"""Stands for the id of each strategy in a path."""

ALIASES: dict[str, tuple[str, ...]] = {
    "WS_SOURCE": ("market", "source"),
    "MEXC_SYMBOL": ("strategy", EACH, "symbols"),
    "MEXC_INTERVAL": ("market", "interval"),
    "SECRETS_PATH": ("secrets", "path"),
}
"""Variables without the prefix, kept from earlier days. The same setting with the prefix wins."""

Path_ = tuple[str, ...]


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with the configuration."""

    says: str
    """What is wrong with what, and what to write instead."""
    place: str
    """Where it stands; empty where it stands nowhere."""

    def __str__(self) -> str:
        """The fault as a person reads it."""
        return f"{self.says}   ({self.place})" if self.place else self.says


class Layer(msgspec.Struct):
    """What one place says: values by path, and the place of each path in words."""

    values: dict[Path_, Any] = {}
    """Leaves by path. Strategies of a file stand in `strategies`; overrides of theirs under ``("strategy", …)``."""
    places: dict[Path_, str] = {}
    strategies: list[dict[str, Any]] | None = None
    """The `[[strategy]]` tables of a file, as they stand there."""
    faults: list[Fault] = []

    def put(self, path: Path_, value: Any, place: str) -> None:
        """Note a value and where it stands."""
        self.values[path] = value
        self.places[path] = place


# -- the file ---------------------------------------------------------------------------------------------------------


def read_file(file: Path) -> Layer:
    """Read a TOML file.

    Raises:
        ConfigError: it is missing, cannot be read, or is not TOML.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {file}. claire.example.toml in the repository is one to start from."
        ) from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{file} is not UTF-8 text (byte {fault.start}); write TOML") from None
    except OSError as fault:
        raise ConfigError(f"cannot read the configuration file {file}: {fault.strerror}") from None
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (
        ValueError,
        RecursionError,
    ) as fault:  # besides TOMLDecodeError: an integer of thousands of digits, deep nesting
        raise ConfigError(f"{file} is not TOML: {fault}") from None

    layer = Layer()
    lines = key_lines(text)
    strategies = document.pop("strategy", None)
    if strategies is not None:
        if isinstance(strategies, list) and all(isinstance(table, dict) for table in strategies):
            layer.strategies = strategies
        else:
            place = f"{file}, line {lines[('strategy',)]}"
            layer.faults.append(
                Fault("strategy: write each strategy as a table of its own, headed [[strategy]]", place)
            )
    layer.places = {path: f"{file}, line {line}" for path, line in lines.items()}
    for path, value in leaves(document):
        layer.values[path] = value
    return layer


def key_lines(text: str) -> dict[Path_, int]:
    """Return the line (from 1) of each key and table of a valid TOML text; the tables of an array are numbered from 0."""
    found: dict[Path_, int] = {}
    counts: dict[Path_, int] = {}
    prefix: Path_ = ()
    for line, statement in _statements(text):
        table = tomllib.loads(statement)
        if not statement.lstrip().startswith("["):
            for inner, _ in leaves(table):
                for end in range(1, len(inner) + 1):
                    found.setdefault(prefix + inner[:end], line)
            continue
        *outer, last = _header(table)
        prefix = ()
        for part in outer:
            prefix = (*prefix, part)
            if prefix in counts:
                prefix = (*prefix, str(counts[prefix]))
        prefix = (*prefix, last)
        found.setdefault(prefix, line)
        if statement.lstrip().startswith("[["):
            counts[prefix] = counts.get(prefix, -1) + 1
            prefix = (*prefix, str(counts[prefix]))
            found[prefix] = line
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Split valid TOML into headers and assignments, each with the number of its first line."""
    pending, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        pending += line + "\n"
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        yield first, pending
        pending = ""


def _header(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of the name of a header's table, outermost first."""
    inner: Any = table
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        yield name


def leaves(table: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield every value of nested tables with its path; an empty table is a value."""
    for name, value in table.items():
        here = (*path, name)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, here)
        else:
            yield here, value


# -- the environment --------------------------------------------------------------------------------------------------


def read_environment(environ: Mapping[str, str]) -> Layer:
    """Read `CLAIRE_SECTION__KEY` variables and the aliases. Unknown variables with the prefix are faults."""
    layer = Layer()
    for variable, path in ALIASES.items():
        if environ.get(variable):
            layer.put(path, environ[variable], variable)
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in PROCESS_VARIABLES:
            continue
        path = _path_of(variable)
        if path[0] == "strategy" or keys.find(path) is not None:
            layer.put(path, environ[variable], variable)
        elif keys.is_table(path):
            layer.faults.append(
                Fault(f"{variable} names a whole table; set {variable}__KEY for one of its keys", variable)
            )
        else:
            known = [*map(variable_of, keys.settings_keys()), *PROCESS_VARIABLES]
            fault = f"{variable} is not a setting.{did_you_mean(variable, known)}"
            layer.faults.append(Fault(fault, "environment; claire reads every variable that starts with CLAIRE_"))
    return layer


def variable_of(path: Path_) -> str:
    """The environment variable of a key."""
    return PREFIX + "__".join(part.upper() for part in path)


def _path_of(variable: str) -> Path_:
    """The key of a variable: lower case, but for assets and symbols, which stand as they are."""
    parts = variable.removeprefix(PREFIX).split("__")
    path: Path_ = ()
    for part in parts:
        path = (*path, part if path in keys.OPEN else part.lower())
    return path


# -- the command line -------------------------------------------------------------------------------------------------


def read_assignments(assignments: Sequence[str]) -> Layer:
    """Read `--set KEY=VALUE` arguments. A key without a dot is a parameter of the only strategy, or a key at the top.

    Of two values for one key the later one wins, as on any command line.
    """
    layer = Layer()
    for assignment in assignments:
        place = f"--set {assignment}"
        name, equals, value = assignment.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not equals or not all(path):
            layer.faults.append(Fault(f"'{assignment}' is not KEY=VALUE, as in risk.position_pct=4", place))
        elif path[0] == "strategy" or keys.find(path) is not None:
            layer.put(path, value.strip(), place)
        elif keys.is_table(path):
            layer.faults.append(Fault(f"{name} is a table of settings, not one; set {name}.KEY=VALUE", place))
        elif len(path) == 1:
            layer.put(("strategy", name.strip()), value.strip(), place)
        else:
            layer.faults.append(Fault(unknown(".".join(path)), place))
    return layer


def put_mode(layer: Layer, below: Sequence[Layer], mode: str) -> None:
    """Note in the command line's layer which mode the command itself asks for.

    Args:
        layer: the command line.
        below: what it is laid over, lowest first.
        mode: of ``--mode``, or ``backtest`` for that command: a place that names another mode than paper is then a fault.
    """
    path = ("mode",)
    if mode == Mode.BACKTEST:
        named = next((one for one in (layer, *reversed(below)) if path in one.values), None)
        if named is not None and named.values[path] not in (Mode.PAPER, Mode.BACKTEST):
            says = f"mode = {shown(named.values[path])} contradicts claire backtest, which trades a recording and nothing else."
            layer.faults.append(Fault(f"{says} Leave it out, or use claire run.", named.places[path]))
        layer.put(path, mode, "claire backtest")
    else:
        _put_once(layer, path, mode, f"--mode {mode}")


def _put_once(layer: Layer, path: Path_, value: str, place: str) -> None:
    if layer.values.get(path, value) != value:
        says = f"{layer.places[path]} and {place} give one setting two values; leave one of them out"
        layer.faults.append(Fault(says, "command line"))
    layer.put(path, value, place)


def unknown(name: str, parameters: Sequence[str] = ()) -> str:
    """Say that a name is no setting, and which one it resembles."""
    known = [key.name for key in keys.settings_keys().values()]
    short = [full for full in known if full.rpartition(".")[2] == name.rpartition(".")[2]]
    hint = f" Did you mean {short[0]}?" if len(short) == 1 else did_you_mean(name, [*known, *parameters])
    hint = hint or " claire doctor lists every setting."
    parts = tuple(name.split("."))
    for table, word in keys.OPEN.items():
        if parts[: len(table)] == table and len(parts) > len(table):
            hint = hint.replace(f".{word}", f".{parts[len(table)]}")
    return f"{name} is not a setting.{hint}"
