"""The `[[strategy]]` tables: which strategies trade, and with which parameters, each checked by the strategy itself."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from pydantic import ValidationError

from claire.adapters.config import keys
from claire.adapters.config.layers import EACH, Fault, Layer, Path_, unknown
from claire.adapters.config.schema import DEFAULT_STRATEGY, StrategySettings
from claire.adapters.config.values import PLAIN_NUMBER
from claire.adapters.config.words import does_not_fit, shown
from claire.model.errors import ClaireError, did_you_mean
from claire.strategies import load

HEAD = ("id", "kind", "symbols")
"""Keys of `[[strategy]]` that are no parameters."""


class Draft(msgspec.Struct):
    """One strategy while the layers are laid over each other."""

    head: Path_
    """Where the table stands in its layer."""
    values: dict[str, Any]
    places: dict[str, str]
    place: str = ""

    @property
    def id(self) -> str:
        """Its id, or what stands where the id should."""
        return str(self.values.get("id", ""))

    def put(self, name: str, value: Any, place: str) -> None:
        """Let a higher layer decide one key."""
        self.values[name] = value
        self.places[name] = place


class Resolved(msgspec.Struct):
    """The strategies that trade, where each of their values comes from, and what is wrong."""

    strategies: list[StrategySettings]
    sources: dict[Path_, str]
    faults: list[Fault]


def resolve(base: Layer, overrides: Sequence[Layer], symbols: Sequence[str], strategy: str) -> Resolved:
    """Lay the overrides over the configured strategies and check each.

    Args:
        base: the layer of the file (or journal); without strategies in it the default one trades.
        overrides: environment and command line, lowest first.
        symbols: of ``--symbol``; they replace the symbols of every strategy.
        strategy: of ``--strategy``: the id or kind of the only one that shall trade; empty for all.
    """
    faults: list[Fault] = []
    drafts = _drafts(base)
    if strategy:
        drafts = [_chosen(drafts, strategy)]
    for layer in overrides:
        for path, value in layer.values.items():
            if path[0] == "strategy":
                faults += _override(drafts, path, value, layer.places[path])
    if symbols:
        for draft in drafts:
            draft.put("symbols", list(symbols), "--symbol")

    resolved = Resolved([], {}, faults)
    for number, draft in enumerate(drafts, start=1):
        _finish(draft, number, resolved)
    names = [draft.id for draft in drafts if draft.id]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault(f"strategy id {name} is used {names.count(name)} times; ids are unique", ""))
    return resolved


def _drafts(base: Layer) -> list[Draft]:
    if base.strategies is None:
        return [Draft(("strategy", "0"), {"id": DEFAULT_STRATEGY.id, "kind": DEFAULT_STRATEGY.kind}, {})]
    drafts = []
    for index, table in enumerate(base.strategies):
        head = ("strategy", str(index))
        places = {name: base.places.get((*head, name), base.places.get(head, "")) for name in table}
        drafts.append(Draft(head, dict(table), places, base.places.get(head, "")))
    return drafts


def _chosen(drafts: list[Draft], strategy: str) -> Draft:
    """The one strategy of `--strategy`: a configured one by id, else by kind, else a new one of that kind."""
    for name in ("id", "kind"):
        matching = [draft for draft in drafts if draft.values.get(name) == strategy]
        if len(matching) == 1:
            return matching[0]
    place = f"--strategy {strategy}"
    stem = strategy.partition(".py")[0].replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in stem).strip("-") or "strategy"
    return Draft(("strategy", "0"), {"id": f"{name[:28]}-1", "kind": strategy}, {"id": place, "kind": place}, place)


def _override(drafts: list[Draft], path: Path_, value: Any, place: str) -> list[Fault]:
    """Apply ``("strategy", NAME)``, ``("strategy", ID, NAME)`` or ``("strategy", "*", NAME)``."""
    match path:
        case ("strategy", each, name) if each == EACH:
            targets = drafts
        case ("strategy", wanted, name):
            targets = [draft for draft in drafts if _plain(draft.id) == _plain(wanted)]
            if not targets:
                ids = [draft.id for draft in drafts]
                hint = did_you_mean(wanted, ids) or f" There is {', '.join(ids)}."
                return [Fault(f"there is no strategy {wanted}.{hint}", place)]
        case ("strategy", name) if len(drafts) == 1:
            targets = drafts
        case ("strategy", name):
            if name not in HEAD and not any(name in _parameters(draft) for draft in drafts):
                return [Fault(unknown(name, [p for draft in drafts for p in _parameters(draft)]), place)]
            choices = " or ".join(dict.fromkeys(f"strategy.{draft.id}.{name}" for draft in drafts))
            return [Fault(f"{name}: there are {len(drafts)} strategies; say which one: {choices}", place)]
        case _:
            return [Fault(f"{'.'.join(path)} is not a setting. A parameter is strategy.ID.NAME", place)]
    for draft in targets:
        draft.put(name, value, place)
    return []


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _parameters(draft: Draft) -> list[str]:
    try:
        return [field.name for field in msgspec.structs.fields(load(str(draft.values.get("kind"))).Params)]
    except ClaireError:
        return []  # the fault is reported where the strategy itself is checked


def _finish(draft: Draft, number: int, resolved: Resolved) -> None:
    """Check one strategy and add it, or its faults, to what is resolved."""
    faults = [
        Fault(f"strategy number {number} has no {name}; write {name} = {example}", draft.place)
        for name, example in (("id", '"momentum-1"'), ("kind", '"momentum"'))
        if name not in draft.values
    ]
    values: dict[str, Any] = {}
    if "kind" in draft.values:
        try:
            values = _checked_parameters(draft, load(str(draft.values["kind"])).Params, faults)
        except ClaireError as fault:
            faults.append(Fault(str(fault), draft.places.get("kind", "")))
    if not faults:
        head = {name: draft.values[name] for name in HEAD if name in draft.values}
        try:
            made = StrategySettings(**head, params=values)
        except ValidationError as error:
            for name in dict.fromkeys(str(detail["loc"][0]) for detail in error.errors()):
                says = does_not_fit(
                    f"strategy.{draft.id}.{name}", draft.values[name], keys.strategy_keys()[name].allowed
                )
                faults.append(Fault(says, draft.places.get(name, draft.place)))
        else:
            resolved.strategies.append(made)
            for name in (*HEAD, *values):
                resolved.sources[("strategy", made.id, name)] = draft.places.get(name, "default")
    resolved.faults += faults


def _checked_parameters(draft: Draft, params: type[msgspec.Struct], faults: list[Fault]) -> dict[str, Any]:
    """Return every parameter with its effective value, in plain types; add what is wrong to `faults`."""
    before = len(faults)
    known = keys.parameter_keys(params)
    types = {field.name: field.type for field in msgspec.structs.fields(params)}
    given: dict[str, Any] = {}
    for name, value in draft.values.items():
        if name in HEAD:
            continue
        place = draft.places.get(name, draft.place)
        if name not in known:
            faults.append(Fault(_unknown_parameter(draft, name, place, known), place))
            continue
        try:
            given[name] = convert(value, types[name])
        except ValueError:
            says = does_not_fit(f"strategy.{draft.id}.{name}", value, known[name].allowed)
            faults.append(Fault(says, place))
    if len(faults) > before:
        return {}
    try:
        plain: dict[str, Any] = msgspec.to_builtins(msgspec.convert(given, params))
    except msgspec.ValidationError as error:
        place = next(
            (draft.places[name] for name in reversed(draft.values) if name in given and name in draft.places), ""
        )
        faults.append(Fault(f"strategy {draft.id}: {error}", place or draft.place))
        return {}
    return plain


def _unknown_parameter(draft: Draft, name: str, place: str, known: dict[str, keys.Key]) -> str:
    """Say that a parameter is none. A bare ``--set`` may have meant a setting, so those are suggested too."""
    if place.startswith("--set") and f"strategy.{draft.id}" not in place:
        return unknown(name, [*known, *HEAD])
    kind = draft.values.get("kind")
    hint = did_you_mean(name, [*known, *HEAD]) or f" It takes {', '.join(known)}."
    return f"{name} is not a parameter of {kind} (strategy {draft.id}).{hint}"


def convert(value: Any, annotation: Any) -> Any:
    """Return a configured value as a parameter's type.

    Text that is plainly a number is taken for one; truth values and non-finite numbers never are.

    Raises:
        ValueError: it does not fit (msgspec's ValidationError is one).
    """
    bare = annotation.__origin__ if keys.is_annotated(annotation) else annotation
    if bare in (int, float, Decimal):
        value = _number(value, bare)
    elif bare is bool and isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    elif isinstance(value, Decimal):
        value = str(value)
    return msgspec.convert(value, annotation, strict=not isinstance(value, str))


def _number(value: Any, kind: type[int] | type[float] | type[Decimal]) -> int | float | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError(f"{shown(value)} is not a number")
    if isinstance(value, str) and not PLAIN_NUMBER.fullmatch(value.strip()):
        raise ValueError(f"{shown(value)} is not a number")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact.adjusted()) > 99:
        raise ValueError(f"{value} is not a number of a size that makes sense")
    if kind is int and exact != exact.to_integral_value():
        raise ValueError(f"{value} is not a whole number")
    return kind(exact)
