"""Runs Claire and the reference over one source and holds one against the other."""

from typing import Any

from claire.model.market import Trade
from claire.model.money import units_of
from tests.parity.reference import backtest
from tests.support.markets import PLAIN, run


def compare(
    source: Any, lookback_s: float, threshold_pct: float, stop_pct: float, target_pct: float, hold_s: float
) -> tuple[list[Any], int]:
    """Return the round trips and the final equity in units, which are the same for both to the last tick and unit."""
    made = run(
        source,
        *PLAIN,
        f"lookback_s={lookback_s}",
        f"threshold_pct={threshold_pct}",
        f"stop_loss_pct={stop_pct}",
        f"take_profit_pct={target_pct}",
        f"max_hold_s={hold_s}",
    )
    (instrument,) = source.instruments.values()
    trips, equity = backtest(
        [(t.ts_event_ns, t.price_ticks) for batch in source.batches() for t in batch if isinstance(t, Trade)],
        instrument.unit_value,
        units_of(1_000),
        lookback=round(lookback_s * 10**9),
        threshold=threshold_pct,
        stop=str(stop_pct),
        target=str(target_pct),
        hold=round(hold_s * 10**9),
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
