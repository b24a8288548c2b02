"""The smallest capital: one unit less is denied by risk, and with the number itself an entry passes."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from claire.model.instrument import Instrument
from claire.model.money import ONE
from claire.services.capital import Entry, refusal, smallest_capital
from claire.stages.risk import RiskRules
from tests.support.markets import rules as instrument


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    tick, lot = draw(st.sampled_from(("0.01", "0.0001", "1"))), draw(st.sampled_from(("0.00001", "0.37", "1", "1000")))
    notional = draw(st.decimals(0, 20, places=2))
    return instrument(tick=tick, lot=lot, min_notional=str(notional))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    return Entry(
        instrument=draw(instruments()),
        price_ticks=draw(st.integers(1, 10_000_000)),
        stop_pct=draw(st.sampled_from((0.0, 0.5, 2.0, 7.3, 50.0))),
        fraction=Decimal(draw(st.sampled_from(("1", "0.5", "0.25", "0.333")))),
    )


@st.composite
def limits(draw: st.DrawFn) -> RiskRules:
    position = draw(st.decimals("0.1", 10, places=1))
    return RiskRules(
        unlimited=draw(st.booleans()),
        position_pct=position,
        max_order_pct=max(position, draw(st.decimals(1, 10, places=1))),
        max_symbol_pct=max(position, draw(st.decimals(5, 20, places=1))),
        max_gross_pct=max(position, draw(st.decimals(5, 60, places=1))),
        cash_reserve_pct=draw(st.decimals(0, 90, places=1)),
        taker_bps=draw(st.sampled_from((Decimal(0), Decimal(5), Decimal(20)))),
        slippage_ticks=draw(st.integers(0, 3)),
    )


@given(rules=limits(), entry=entries())
def test_one_unit_below_the_smallest_capital_is_denied_and_the_number_itself_passes(
    rules: RiskRules, entry: Entry
) -> None:
    smallest = smallest_capital(rules, entry)
    if smallest is None:
        return
    assert refusal(rules, entry, smallest) is None
    assert refusal(rules, entry, smallest - 1) is not None


@given(rules=limits(), entry=entries(), capital=st.integers(1, 10**7))
def test_no_capital_below_the_smallest_passes(rules: RiskRules, entry: Entry, capital: int) -> None:
    units = capital * ONE // 100
    smallest = smallest_capital(rules, entry)
    if smallest is None or units < smallest:
        assert refusal(rules, entry, units) is not None
