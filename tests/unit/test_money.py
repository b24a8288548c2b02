"""Exact amounts: in and out of units without losing anything, rounding only where it is said."""

from decimal import Decimal, localcontext

import pytest

from claire.model.money import (
    ONE,
    decimal_of,
    decimal_text,
    divide_half_even,
    plain_text,
    round_units,
    step_of,
    units_of,
)


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ("1", ONE),
        ("-0.5", -ONE // 2),
        ("1e-18", 1),
        ("-0", 0),
        (Decimal("1E+3"), 1_000 * ONE),
        ("0.1000000000000000000000", ONE // 10),
        (7, 7 * ONE),
    ],
)
def test_an_amount_becomes_whole_units(value: Decimal | int | str, units: int) -> None:
    assert units_of(value) == units


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("NaN", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("1e-19", "more than 18 decimals"),
        ("12 apples", "not a decimal number"),
        ("", "not a decimal number"),
    ],
)
def test_what_is_no_exact_amount_is_refused(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units_of(value)


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (0, "0"),
        (ONE, "1"),
        (-1, "-0.000000000000000001"),
        (1_500 * ONE, "1500"),
        (-ONE // 4, "-0.25"),
        (10**40, "1" + "0" * 22),
    ],
)
def test_an_amount_has_one_text(units: int, text: str) -> None:
    assert decimal_text(units) == text


def test_amounts_do_not_depend_on_the_active_decimal_context() -> None:
    with localcontext(prec=3):
        assert decimal_of(units_of("123456.789")) == Decimal("123456.789")
        assert units_of(Decimal("123456.789")) == 123_456_789 * ONE // 1_000


@pytest.mark.parametrize(
    ("numerator", "quotient"),
    [(5, 0), (15, 2), (25, 2), (26, 3), (-5, 0), (-15, -2), (-25, -2), (-26, -3), (14, 1), (20, 2)],
)
def test_halves_are_rounded_to_even(numerator: int, quotient: int) -> None:
    assert divide_half_even(numerator, 10) == quotient


def test_an_amount_is_rounded_at_the_scale_asked_for() -> None:
    assert round_units(units_of("0.125"), 2) == units_of("0.12")
    assert round_units(units_of("0.135"), 2) == units_of("0.14")
    assert round_units(units_of("-2.5"), 0) == units_of("-2")
    assert round_units(units_of("0.123456789012345678"), 18) == units_of("0.123456789012345678")


def test_a_step_is_the_smallest_amount_of_its_scale() -> None:
    assert (step_of(18), step_of(8), step_of(0)) == (1, 10**10, ONE)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+3", "1000"), ("1.500", "1.5"), ("-0.00", "0"), ("0", "0"), ("100", "100"), ("-1E-7", "-0.0000001")],
)
def test_a_decimal_has_one_plain_text(value: str, text: str) -> None:
    assert plain_text(Decimal(value)) == text
