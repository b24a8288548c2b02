"""Exact amounts: integers of 10⁻¹⁸ of an asset inside a run, canonical decimal text outside.

An amount of any asset is a plain `int` counting `units` of 10⁻¹⁸ of that asset. Sums, differences and
products with whole lots and ticks are then exact by construction; only a division rounds, and it says so
at the place where it happens. Python's integers do not overflow.
"""

from decimal import Decimal, InvalidOperation

DECIMALS = 18
"""How many decimals of an asset a unit resolves."""

ONE: int = 10**DECIMALS
"""Units in one whole of an asset."""


def step_of(decimals: int) -> int:
    """Return the units in the smallest step that `decimals` (0–18) decimals resolve."""
    step: int = 10 ** (DECIMALS - decimals)
    return step


def units_of(value: Decimal | int | str) -> int:
    """Return the units in a decimal amount.

    Raises:
        ValueError: `value` is not finite, is not a number, or has more than 18 decimals.
    """
    try:
        numerator, denominator = Decimal(value).as_integer_ratio()
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a decimal number") from None
    except (OverflowError, ValueError):
        raise ValueError(f"{value!r} is not a finite number") from None
    units, rest = divmod(numerator * ONE, denominator)
    if rest:
        raise ValueError(f"{value} has more than {DECIMALS} decimals")
    return units


def decimal_text(units: int) -> str:
    """Return the canonical text of an amount: no exponent, no trailing zeros, ``0`` for nothing."""
    whole, fraction = divmod(abs(units), ONE)
    text = f"{whole}.{fraction:018d}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def decimal_of(units: int) -> Decimal:
    """Return an amount as an exact Decimal (whatever the active decimal context is)."""
    return Decimal(decimal_text(units))


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide two integers and round half to even. `denominator` must be positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def round_units(units: int, decimals: int) -> int:
    """Round an amount half-even to `decimals` (0–18) decimals; the result is in units again."""
    step = step_of(decimals)
    return divide_half_even(units, step) * step


def plain_text(value: Decimal) -> str:
    """Return the canonical text of a finite Decimal: no exponent, no trailing zeros, no negative zero."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
