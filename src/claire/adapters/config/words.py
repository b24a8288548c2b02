"""Words for values that do not fit: what was given, what may be given, and the number that was probably meant."""

import re
from decimal import Decimal
from typing import Any

from claire.adapters.config import keys
from claire.adapters.config.values import PLAIN_NUMBER
from claire.model.money import plain_text

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|m|min|h|d|days?)")
_SECONDS = {
    "ms": "0.001",
    "s": "1",
    "sec": "1",
    "m": "60",
    "min": "60",
    "h": "3600",
    "d": "86400",
    "day": "86400",
    "days": "86400",
}
_UNIT_SECONDS = {"milliseconds": "0.001", "seconds": "1", "hours": "3600", "days": "86400"}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(%|pct|percent|bps|bp)")
_GROUPED = re.compile(r"[0-9]{1,3}([,_' ][0-9]{3})+(\.[0-9]+)?")


def does_not_fit(name: str, value: Any, allowed: str, *, ceiling: bool = False) -> str:
    """Say that a value does not fit, what would, and how the value is probably meant."""
    hint = meant(value, allowed) if isinstance(value, str) else ""
    why = " (the upper bound is a ceiling that no configuration exceeds)" if ceiling and _is_number(value) else ""
    return f"{name} = {shown(value)}: give {allowed}{why}.{hint}"


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and PLAIN_NUMBER.fullmatch(str(value)) is not None


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = keys.text_of(value)
    if isinstance(value, str) and (not text or text != text.strip() or not text.isprintable()):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def meant(value: str, allowed: str) -> str:
    """Guess the plain number behind a value with a unit or separators: `` 5m is 300 here.``, or nothing."""
    unit = allowed.partition(", in ")[2]
    number: Decimal | None = None
    if found := _DURATION.fullmatch(value):
        if of_unit := _UNIT_SECONDS.get(unit):
            number = Decimal(found[1]) * Decimal(_SECONDS[found[2]]) / Decimal(of_unit)
    elif found := _SHARE.fullmatch(value):
        in_bps = Decimal(found[1]) * (1 if found[2].startswith("bp") else 100)
        if unit.startswith("bps"):
            number = in_bps
        elif unit.startswith(("%", "percent")):
            number = in_bps / 100
    elif _GROUPED.fullmatch(value) and "number" in allowed:
        number = Decimal(re.sub(r"[,_' ]", "", value))
    return "" if number is None else f" {value} is {plain_text(number)} here."
