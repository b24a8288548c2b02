"""Every key as words: what it is called, what it may be, what it means. For faults, suggestions and the reference."""

import types
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from claire.adapters.config.schema import Settings, StrategySettings
from claire.model.money import plain_text

OPEN = {("paper", "balance"): "ASSET", ("instruments",): "SYMBOL"}
"""Tables whose keys the user chooses, and what they are called in the reference."""

UNITS = {
    "ns": "nanoseconds",
    "ms": "milliseconds",
    "s": "seconds",
    "h": "hours",
    "days": "days",
    "pct": "percent (0.25 means 0.25 %)",
    "bps": "bps (5 means 0.05 %)",
    "ticks": "ticks",
    "lots": "lots",
    "quote": "the quote asset",
}
"""What the end of a name says about its unit."""


class Key(msgspec.Struct, frozen=True):
    """One key of the configuration, or one parameter of a strategy."""

    path: tuple[str, ...]
    meaning: str
    allowed: str
    """As in ``a number from 0 to 1000, in bps``."""
    default: str
    """Canonical text; empty where there is none."""
    unit: str = ""
    ceiling: bool = False

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)


@cache
def settings_keys() -> dict[tuple[str, ...], Key]:
    """Every key outside `[[strategy]]`, in the order of the file."""
    return {key.path: key for key in _walk(Settings, ())}


@cache
def strategy_keys() -> dict[str, Key]:
    """The keys of `[[strategy]]` itself, without parameters."""
    fields = StrategySettings.model_fields
    return {name: _key(("strategy", name), info) for name, info in fields.items() if name != "params"}


def parameter_keys(params: type[msgspec.Struct]) -> dict[str, Key]:
    """The parameters that a strategy's `Params` class takes."""
    found = {}
    for field in msgspec.structs.fields(params):
        metas = [m for m in get_args(field.type)[1:] if isinstance(m, msgspec.Meta)] if is_annotated(field.type) else []
        bounds: dict[str, Any] = {}
        description = ""
        for meta in metas:
            bounds |= {
                name: getattr(meta, name) for name in ("gt", "ge", "lt", "le") if getattr(meta, name) is not None
            }
            description = meta.description or description
        unit = unit_of(field.name)
        default = "" if field.default is msgspec.NODEFAULT else text_of(field.default)
        allowed = _allowed(_bare(field.type), bounds, unit)
        found[field.name] = Key(("strategy", field.name), description, allowed, default, unit)
    return found


def find(path: tuple[str, ...]) -> Key | None:
    """The key at a path, where `paper.balance.BTC` stands for `paper.balance.ASSET`."""
    return settings_keys().get(generic(path))


def generic(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path with the user's own names replaced by what they stand for."""
    for table, word in OPEN.items():
        if path[: len(table)] == table and len(path) > len(table):
            return (*table, word, *path[len(table) + 1 :])
    return path


def is_table(path: tuple[str, ...]) -> bool:
    """Whether a path is a table of keys and not a key itself."""
    path = generic(path)
    return any(len(known) > len(path) and known[: len(path)] == path for known in settings_keys())


def unit_of(name: str) -> str:
    """The unit that a name ends in, in words; empty when it names none."""
    return UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""


def text_of(value: object) -> str:
    """A value as it is shown: canonical numbers, words without quotes, lists with commas."""
    match value:
        case bool():
            return str(value).lower()
        case Decimal():
            return plain_text(value) if value.is_finite() and abs(value.adjusted()) < 50 else str(value)
        case Enum():
            return str(value.value)
        case float():
            return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case list() | tuple():
            return ", ".join(text_of(part) for part in value)
        case Mapping():
            return "{" + ", ".join(f"{key} = {text_of(part)}" for key, part in value.items()) + "}"
        case None:
            return ""
    return str(value)


def is_annotated(annotation: Any) -> bool:
    """Whether a type carries constraints."""
    return get_origin(annotation) is Annotated


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        here = (*path, name)
        if here == ("strategy",):
            continue
        inner = _bare(info.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, here)
        elif here in OPEN:
            _, item = get_args(inner)
            if isinstance(item, type) and issubclass(item, BaseModel):
                yield from _walk(item, (*here, OPEN[here]))
            else:
                yield _key((*here, OPEN[here]), info, item)
        else:
            yield _key(here, info)


def _key(path: tuple[str, ...], info: FieldInfo, item: Any = None) -> Key:
    annotation = info.annotation if item is None else item
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    unit = str(extra.get("unit", ""))
    bounds = _bounds([*info.metadata, *_metadata(annotation)])
    default = "" if info.is_required() or info.default is None else text_of(info.default)
    if isinstance(info.default, dict):
        default = text_of(info.default)
    allowed = _allowed(_bare(annotation), bounds, unit)
    return Key(path, info.description or "", allowed, default, unit, bool(extra.get("ceiling")))


def _metadata(annotation: Any) -> list[Any]:
    """Constraints of a type, also of an optional one."""
    if is_annotated(annotation):
        inner, *own = get_args(annotation)
        return [*_metadata(inner), *own]
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for part in get_args(annotation) for found in _metadata(part)]
    return []


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for item in metadata:
        for constraint in item.metadata if isinstance(item, FieldInfo) else [item]:
            match constraint:
                case Gt(gt=bound):
                    bounds["gt"] = bound
                case Ge(ge=bound):
                    bounds["ge"] = bound
                case Lt(lt=bound):
                    bounds["lt"] = bound
                case Le(le=bound):
                    bounds["le"] = bound
                case MinLen():
                    bounds["some"] = True
    return bounds


def _bare(annotation: Any) -> Any:
    """The type without constraints and without `| None`."""
    while True:
        if is_annotated(annotation):
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def _allowed(bare: Any, bounds: dict[str, Any], unit: str) -> str:
    if isinstance(bare, type) and issubclass(bare, Enum):
        return "one of " + ", ".join(str(member.value) for member in bare)
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(bare))
    if bare is bool:
        return "true or false"
    if bare in (int, float, Decimal):
        if bounds.get("ge") == bounds.get("le") and "ge" in bounds:
            return text_of(bounds["ge"])
        words = ("a whole number" if bare is int else "a number") + _range(bounds)
        return f"{words}, in {unit}" if unit else words
    if get_origin(bare) in (tuple, list):
        return "a list of symbols"
    return unit or "text"


def _range(bounds: dict[str, Any]) -> str:
    low, high = bounds.get("ge"), bounds.get("le")
    if low is not None and high is not None:
        return f" from {text_of(low)} to {text_of(high)}"
    words = []
    if "gt" in bounds:
        words.append(f"more than {text_of(bounds['gt'])}")
    if low is not None:
        words.append(f"at least {text_of(low)}")
    if "lt" in bounds:
        words.append(f"less than {text_of(bounds['lt'])}")
    if high is not None:
        words.append(f"at most {text_of(high)}")
    return " " + " and ".join(words) if words else ""
