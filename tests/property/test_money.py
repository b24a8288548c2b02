"""Money is exact: what goes in comes out, and rounding is what Decimal says half-even is."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from claire.model.instrument import Instrument
from claire.model.money import decimal_of, decimal_text, divide_half_even, plain_text, round_units, units_of

UNITS = st.integers(-(10**30), 10**30)


@given(UNITS)
def test_units_survive_the_way_through_text(units: int) -> None:
    assert units_of(decimal_text(units)) == units
    assert units_of(decimal_of(units)) == units
    assert plain_text(decimal_of(units)) == decimal_text(units)


@given(UNITS, UNITS)
def test_sums_are_exact(first: int, second: int) -> None:
    assert Fraction(decimal_text(first)) + Fraction(decimal_text(second)) == Fraction(decimal_text(first + second))


@given(st.integers(-(10**20), 10**20), st.integers(0, 18))
def test_rounding_is_half_even(units: int, decimals: int) -> None:
    assert decimal_of(round_units(units, decimals)) == decimal_of(units).quantize(
        Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN
    )


@given(UNITS, st.integers(1, 10**12))
def test_division_is_never_off_by_more_than_half(numerator: int, denominator: int) -> None:
    quotient = divide_half_even(numerator, denominator)
    assert quotient == round(Fraction(numerator, denominator))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**12), st.integers(0, 10**12))
def test_price_times_quantity_is_exact(tick_decimals: int, lot_decimals: int, ticks: int, lots: int) -> None:
    tick, lot = Decimal(5).scaleb(-tick_decimals), Decimal(1).scaleb(-lot_decimals)
    instrument = Instrument.checked("ABCUSDT", tick, lot)
    exact = Fraction(tick) * ticks * Fraction(lot) * lots
    assert Fraction(decimal_text(instrument.notional(ticks, lots))) == exact
    assert instrument.value_of(lots * instrument.lot_units, ticks) == instrument.notional(ticks, lots)
    assert instrument.ticks(instrument.price(ticks)) == ticks
    assert instrument.lots(instrument.quantity(lots)) == lots


@given(st.integers(0, 10**25), st.integers(1, 10**9))
def test_a_value_of_less_than_a_lot_is_rounded_half_even_at_the_quote_scale(base_units: int, ticks: int) -> None:
    instrument = Instrument.checked("ABCUSDT", Decimal("0.01"), Decimal("0.001"))
    exact = Fraction(base_units, 10**18) * Fraction(ticks, 100)
    whole = Fraction(instrument.notional(ticks, base_units // instrument.lot_units), 10**18)
    assert Fraction(instrument.value_of(base_units, ticks), 10**18) == whole + Fraction(
        round((exact - whole) * 10**8), 10**8
    )
