"""Claire and a reference of thirty lines that shares no code with it: the same round trips, the same money to the last unit."""

import random

import pytest

from claire.model.instrument import Instrument
from claire.model.market import Trade
from claire.model.money import units_of
from tests.parity.held_against import compare
from tests.support.markets import ABC, SYMBOL, T0, ListSource, rules, trade

COINS = rules(tick="0.00000001", lot="1")
BITCOIN = rules(tick="0.01", lot="0.00001")


def walk(seed: int, trades: int, start: int, volatility: float) -> list[Trade]:
    """A seeded market with bursts and many trades at one time."""
    draw = random.Random(seed)
    now, price, made = T0, float(start), []
    for _ in range(trades):
        now += draw.choice((0, 0, 1, 250, 900, 4_000)) * 1_000_000
        price *= 1 + draw.gauss(0, volatility)
        made.append(Trade(SYMBOL, now, max(1, round(price)), draw.randint(1, 500), trade(0, 1).side))
    return made


@pytest.mark.parametrize(
    ("instrument", "start", "volatility", "params"),
    [
        (ABC, 10_000, 0.0008, (30, 0.5, 1, 1.5, 300)),
        (ABC, 10_000, 0.0020, (0, 0.3, 0.7, 0.9, 60)),
        (COINS, 1_000, 0.0010, (60, 1, 1.3, 2.1, 900)),
        (BITCOIN, 6_500_000, 0.0004, (5.5, 0.1, 0.33, 0.21, 45.5)),
    ],
    ids=["thirty seconds", "trade by trade", "coins of little worth", "bitcoin"],
)
def test_the_same_round_trips_and_the_same_money(
    instrument: Instrument, start: int, volatility: float, params: tuple[float, float, float, float, float]
):
    trips, _ = compare(ListSource(walk(7, 20_000, start, volatility), [instrument]), *params)
    assert len(trips) >= 20


def test_a_position_that_is_open_at_the_end_is_marked_at_the_last_price():
    trips, equity = compare(ListSource([trade(0, 10_000), trade(1, 10_100), trade(2, 10_050)]), 0, 1, 5, 5, 99)
    assert trips == []
    # 49 lots bought at 101.01 USDT, fee 0.05 %, marked at 100.50 USDT
    assert equity == units_of(1_000) - 49 * units_of("1.0101") - units_of("0.02474745") + 49 * units_of("1.005")
