"""Corrections by hand, as an operator types them."""

from decimal import Decimal

import pytest

from claire.engine.externals import MoveKind
from claire.model.errors import UsageError
from claire.model.market import Side
from claire.model.money import units_of
from claire.services.adjusting import adjustment_of, external_of
from tests.support.markets import SYMBOL, T0, books, fill


def made(text: str, operator: str = "ada", reason: str = "a lost trade"):
    held = books()
    held.apply(fill(Side.BUY, 10_000, 100))
    return adjustment_of(text, operator, reason, held, T0)


def test_cash_positions_and_dust_can_be_corrected():
    cash = made("USDT=-3.5")
    assert (cash.asset, cash.amount, cash.symbol) == ("USDT", Decimal("-3.5"), "")
    position = made("s/ABCUSDT=-0.25")
    assert (position.asset, position.strategy_id, position.symbol) == ("ABC", "s", SYMBOL)
    dust = made("dust/ABCUSDT=0.001")
    assert (dust.asset, dust.strategy_id, dust.symbol) == ("ABC", "", SYMBOL)
    assert (cash.operator, cash.reason) == ("ada", "a lost trade")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("USDT", "WHAT=AMOUNT"),
        ("USDT=", "WHAT=AMOUNT"),
        ("USDT=1e3", "plain number"),
        ("USDT=1,5", "plain number"),
        ("USDT=0.0000000000000000001", "18 decimals"),
        ("usdt=1", "no asset"),
        ("USDT=0", "changes nothing"),
        ("t/ABCUSDT=1", "t holds no ABCUSDT"),
        ("s/XYZUSDT=1", "not a symbol of this run"),
        ("s/ABCUSDT=-2", "only 1 ABC are held"),
    ],
)
def test_what_cannot_be_booked_is_refused_with_the_reason(text: str, says: str):
    with pytest.raises(UsageError, match=says):
        made(text)


@pytest.mark.parametrize(
    ("operator", "reason"), [("", "why"), ("ada", ""), (" ", "why"), ("a\nb", "why"), ("a", "x" * 201)]
)
def test_nobody_corrects_books_without_a_name_and_a_reason(operator: str, reason: str):
    with pytest.raises(UsageError, match="says so and why"):
        made("USDT=1", operator, reason)
    with pytest.raises(UsageError, match="says so and why"):
        external_of("USDT=1", operator, reason, T0)


def test_what_came_from_outside_can_be_said():
    move = external_of("USDT=-250", "ada", "to the bank", T0)
    assert (move.kind, move.asset, move.units) == (MoveKind.TRANSFER, "USDT", units_of(-250))
    assert "ada" in move.text
    with pytest.raises(UsageError, match="no asset"):
        external_of("s/ABCUSDT=1", "ada", "why", T0)
    with pytest.raises(UsageError, match="nothing came"):
        external_of("USDT=0", "ada", "why", T0)
