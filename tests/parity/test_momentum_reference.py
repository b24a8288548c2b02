"""Claire and a reference of thirty lines that shares no code with it: the same round trips, the same money to the last unit."""

import random
from typing import Any

import pytest

from claire.model.market import Trade
from claire.model.money import units_of
from tests.parity.reference import backtest
from tests.support.markets import ABC, PLAIN, SYMBOL, T0, ListSource, rules, run, trade


def compare(source: Any, **params: float) -> tuple[list[Any], int]:
    """Run both and hold one against the other; return the round trips and the final equity."""
    made = run(source, *PLAIN, *(f"{name}={value}" for name, value in params.items()))
    (instrument,) = source.instruments.values()
    trips, equity = backtest(
        [(t.ts_event_ns, t.price_ticks) for batch in source.batches() for t in batch if isinstance(t, Trade)],
        instrument.unit_value,
        units_of(1_000),
        lookback=round(params["lookback_s"] * 10**9),
        threshold=params["threshold_pct"],
        stop=str(params["stop_loss_pct"]),
        target=str(params["take_profit_pct"]),
        hold=round(params["max_hold_s"] * 10**9),
        scale=10 ** (18 - instrument.quote_decimals),
    )
    tick = instrument.tick
    claires = [
        (t.entry_ns, t.exit_ns, int(t.entry_price / tick), int(t.exit_price / tick), t.bought_lots, t.sold_lots)
        for t in made.tally.round_trips
    ]
    assert claires == [(*trip, trip[-1]) for trip in trips]
    assert made.pipeline.stages.portfolio.state.books.equity_units == equity
    return trips, equity


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
        (ABC, 10_000, 0.0008, {"lookback_s": 30, "threshold_pct": 0.5, "stop_loss_pct": 1, "take_profit_pct": 1.5, "max_hold_s": 300}),
        (ABC, 10_000, 0.0020, {"lookback_s": 0, "threshold_pct": 0.3, "stop_loss_pct": 0.7, "take_profit_pct": 0.9, "max_hold_s": 60}),
        (rules(tick="0.00000001", lot="1"), 1_000, 0.0010, {"lookback_s": 60, "threshold_pct": 1, "stop_loss_pct": 1.3, "take_profit_pct": 2.1, "max_hold_s": 900}),
        (rules(tick="0.01", lot="0.00001"), 6_500_000, 0.0004, {"lookback_s": 5.5, "threshold_pct": 0.1, "stop_loss_pct": 0.33, "take_profit_pct": 0.21, "max_hold_s": 45.5}),
    ],
)  # fmt: skip
def test_the_same_round_trips_and_the_same_money(instrument, start: int, volatility: float, params: dict[str, float]):
    trips, _ = compare(ListSource(walk(7, 20_000, start, volatility), [instrument]), **params)
    assert len(trips) >= 20


def test_a_position_that_is_open_at_the_end_is_marked_at_the_last_price():
    events = [trade(0, 10_000), trade(1, 10_100), trade(2, 10_050)]
    params = {"lookback_s": 0, "threshold_pct": 1, "stop_loss_pct": 5, "take_profit_pct": 5, "max_hold_s": 99}
    trips, equity = compare(ListSource(events), **params)
    assert trips == []
    # 49 lots bought at 101.01 USDT, fee 0.05 %, marked at 100.50 USDT
    assert equity == units_of(1_000) - 49 * units_of("1.0101") - units_of("0.02474745") + 49 * units_of("1.005")
