"""Finds strategies by kind: the shipped ones by name, a user's own by file.

A kind is ``momentum``, ``ema_cross``, or the path of a Python file outside the package, optionally with the class:
``my_strategy.py`` or ``my_strategy.py:Breakout``.
"""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from claire.model.errors import ConfigError, did_you_mean
from claire.strategies.base import Strategy

SHIPPED = {
    "ema_cross": "claire.strategies.ema_cross",
    "momentum": "claire.strategies.momentum",
}
"""Kind → module that holds one strategy class."""

USER_MODULE = "claire_user_strategy_"
"""How the module that a user's file becomes is named, before what is made of its path."""


def known_kinds() -> tuple[str, ...]:
    """Return the kinds that ship with Claire."""
    return tuple(SHIPPED)


def load(kind: str) -> type[Strategy]:
    """Return the strategy class of a kind.

    Raises:
        ConfigError: no such kind; the file is missing or does not import; it holds no strategy, or several.
    """
    path, _, class_name = kind.partition(":")
    if path.endswith(".py"):
        return _the_strategy(_import_file(path), path, class_name)
    if kind not in SHIPPED:
        raise ConfigError(
            f"strategy kind {kind!r} is not known.{did_you_mean(kind, SHIPPED)}"
            f" Known: {', '.join(SHIPPED)}, or the path of a Python file."
        )
    return _the_strategy(import_module(SHIPPED[kind]), kind, "")


def _import_file(path: str) -> ModuleType:
    name = USER_MODULE + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in path)
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"strategy file {path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # where annotations that are text (`from __future__ import annotations`) are looked up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        if isinstance(e, FileNotFoundError) and e.filename == spec.origin:
            raise ConfigError(f"strategy file {path} does not exist") from None
        raise ConfigError(f"strategy file {path} does not import: {type(e).__name__}: {e}") from e
    return module


def _the_strategy(module: ModuleType, where: str, class_name: str) -> type[Strategy]:
    found = {
        name: thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, Strategy) and thing.__module__ == module.__name__
    }
    if class_name:
        if class_name not in found:
            raise ConfigError(f"{where} has no strategy {class_name!r}.{did_you_mean(class_name, found)}")
        return found[class_name]
    if len(found) != 1:
        listed = ", ".join(sorted(found)) or "none"
        raise ConfigError(f"{where} must hold exactly one strategy class, found: {listed}; name it as {where}:CLASS")
    return next(iter(found.values()))
