"""What the values of a configuration may look like, and how a key of it is declared."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from claire.model.money import DECIMALS

PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
"""How a number is written: no unit, no thousands separators."""


def _number(value: object) -> object:
    """Let through what is plainly a number; a truth value is none, and neither is ``5 %``."""
    if isinstance(value, str):
        value = value.strip()
        if PLAIN_NUMBER.fullmatch(value):
            return Decimal(value)
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal(repr(value)) if isinstance(value, float) else value
    raise PydanticCustomError("not_a_number", "not a number")


def _whole_number(value: object) -> object:
    number = _number(value)
    if isinstance(number, Decimal):
        if not number.is_finite() or number != number.to_integral_value():
            raise PydanticCustomError("not_a_whole_number", "not a whole number")
        return int(number)
    return number


def _text(value: object) -> object:
    if isinstance(value, str):
        return value.strip()
    raise PydanticCustomError("not_text", "not text")


def as_list(value: object) -> object:
    """Take a list apart that was written as one text with commas; leave any other value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _short(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]+([._/:-][A-Za-z0-9]+)*", value) or len(value) > 40:
        raise PydanticCustomError("not_a_symbol", "not a symbol")
    return value


Number = Annotated[Decimal, BeforeValidator(_number), Field(decimal_places=DECIMALS)]
Count = Annotated[int, BeforeValidator(_whole_number)]
Text = Annotated[str, BeforeValidator(_text)]
Symbol = Annotated[str, BeforeValidator(_text), AfterValidator(_short)]
Asset = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[A-Z0-9]{1,20}$")]
Amount = Annotated[Number, Field(ge=0, le=10**15)]
Step = Annotated[Number, Field(gt=0, le=10**9)]


def key(default: Any, meaning: str, *, unit: str = "", ceiling: bool = False, **bounds: Any) -> Any:
    """Declare one key: default, meaning, unit, bounds; `ceiling` says that a bound is one of the latch's.

    That is the upper bound of what may be too much, and the lower one (where there is no other of the latch's) of what may
    be too little.
    """
    return Field(default, description=meaning, json_schema_extra={"unit": unit, "ceiling": ceiling}, **bounds)


class Section(BaseModel):
    """A table of the file. Unknown keys are errors; values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
