"""A pipeline's saved state as bytes, and back: one graph of objects in which what was one object stays one.

The bytes are `pickle`'s. They are only as trustworthy as the place where they lie: whoever keeps them says by a hash in
the journal which bytes they were, and checks it before `from_bytes` has them.
"""

import pickle
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from claire.engine.pipeline import Saved
from claire.model.errors import StrategyError
from claire.strategies.registry import USER_MODULE

PROTOCOL: Final = 5
"""Of pickle; the same in all versions of Python that Claire runs on."""


def to_bytes(saved: Saved) -> bytes:
    """Return the state as bytes.

    Raises:
        StrategyError: a strategy holds something that cannot be kept, such as an open file or a lambda. A run with it is
            restored by replaying its journal from the start.
    """
    sink = _Sink()
    try:
        _Pickler(sink, PROTOCOL).dump(saved)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as e:
        kinds = ", ".join(dict.fromkeys(type(desk.strategy).__name__ for desk in saved.stages.signals.desks))
        raise StrategyError(
            f"the state of this run cannot be kept ({type(e).__name__}: {e}); one of its strategies ({kinds}) holds"
            " something that only this process has. Keep plain values in a strategy; until then a restart replays the"
            " whole journal."
        ) from e
    return bytes(sink.written)


def from_bytes(data: bytes) -> Saved:
    """Return the state that `to_bytes` made bytes of; the strategies of the run must have been loaded before.

    Raises:
        StrategyError: the bytes are no such state, or belong to other code than is loaded now.
    """
    try:
        saved = pickle.loads(data)  # noqa: S301  # whoever hands them over has checked their hash
    except Exception as e:
        raise StrategyError(
            f"a saved state cannot be read ({type(e).__name__}: {e}); it was kept by another version of Claire or of a"
            " strategy. Replay the journal from the start."
        ) from e
    if not isinstance(saved, Saved):
        raise StrategyError(f"a saved state holds a {type(saved).__name__}; replay the journal from the start")
    return saved


class _Sink:
    """What a pickler writes to."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: Any) -> int:
        """Take bytes in."""
        self.written += data
        return len(data)


class _Pickler(pickle.Pickler):
    """Names what a user's strategy file defines, however often that file was loaded: once for each of its symbols."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how to keep an object; the classes and functions of a user's file by their name."""
        if isinstance(obj, type | FunctionType) and obj.__module__.startswith(USER_MODULE):
            return _named, (obj.__module__, obj.__qualname__)
        return NotImplemented


def _named(module: str, qualified_name: str) -> Callable[..., Any]:
    """Return what a loaded file of a user's defines under a name."""
    found: Any = sys.modules[module]
    for part in qualified_name.split("."):
        found = getattr(found, part)
    made: Callable[..., Any] = found
    return made
