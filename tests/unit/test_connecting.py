"""What the gate is told of positions after a recovery."""

from decimal import Decimal

import msgspec

from claire.adapters.marketdata import SyntheticMarket, SynthSettings
from claire.engine.pipeline import Pipeline
from claire.gateway.gate import Gate, Known
from claire.model.books import Position
from claire.model.market import Side
from claire.services.assembly import assemble
from claire.services.connecting import held
from tests.support.live import live_settings

SYMBOL = "BTCUSDT"


def pipeline() -> Pipeline:
    return assemble(live_settings((SYMBOL,), "paper"), SyntheticMarket(SynthSettings(seed=1, trades=1))).pipeline


def test_a_position_that_was_sold_while_recovering_leaves_no_debt_at_the_gate() -> None:
    gate = Gate()
    gate.seed({}, [Known("C-1", SYMBOL, Side.SELL, Decimal(2), Decimal(0), reduce_only=True, is_live=True)])
    gate.filled("C-1", Decimal(2))
    assert gate.held(SYMBOL) == -2  # what it sold was bought before this process
    gate.seed(held(pipeline()))
    assert gate.held(SYMBOL) == 0


def test_the_gate_is_told_what_all_strategies_hold_of_a_symbol() -> None:
    one = pipeline()
    positions = one.stages.portfolio.state.books.positions
    units = 3 * one.stages.portfolio.state.books.instruments[SYMBOL].lot_units
    positions["a", SYMBOL] = Position(base_units=units)
    positions["b", SYMBOL] = msgspec.structs.replace(positions["a", SYMBOL])
    lot = one.stages.portfolio.state.books.instruments[SYMBOL].lot
    assert held(one) == {SYMBOL: 6 * lot}
