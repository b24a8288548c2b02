"""The synthetic market: the same for the same settings, plausible, and refused where it cannot be made."""

import hashlib
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from claire.adapters.marketdata import SyntheticMarket, SynthSettings
from claire.adapters.marketdata.uniform import Uniform
from claire.model.errors import ConfigError
from claire.model.market import Depth, TopOfBook, Trade


def all_events(market):
    return [event for batch in market.batches() for event in batch]


def test_one_seed_makes_one_market_on_every_machine():
    market = SyntheticMarket(SynthSettings(trades=20_000, seed=7))
    encoded = msgspec.json.encode(all_events(market))
    assert encoded == msgspec.json.encode(all_events(market))
    assert int(hashlib.sha256(encoded).hexdigest()[:12], 16) == PINNED
    assert encoded != msgspec.json.encode(all_events(SyntheticMarket(SynthSettings(trades=20_000, seed=8))))


PINNED = 216701692509991
"""Changes only when the generator is changed on purpose; then say so in the changelog."""


def test_a_shorter_market_is_the_beginning_of_a_longer_one():
    long = all_events(SyntheticMarket(SynthSettings(trades=30_000)))
    assert long[:12_345] == all_events(SyntheticMarket(SynthSettings(trades=12_345)))
    by_time = all_events(SyntheticMarket(SynthSettings(duration_s=1000)))
    assert by_time == long[: len(by_time)]


def test_it_has_exactly_the_trades_asked_for_in_order_and_of_positive_size():
    events = all_events(SyntheticMarket(SynthSettings(trades=50_000)))
    assert len(events) == 50_000
    times = [event.ts_event_ns for event in events]
    assert times == sorted(times)
    assert min(event.price_ticks for event in events) > 0
    assert min(event.quantity_lots for event in events) > 0


def test_trades_come_in_bursts_and_volatility_clusters():
    ts, price = [], []
    for block in SyntheticMarket(SynthSettings(trades=200_000)).blocks():
        ts.append(block.trades.ts_ns)
        price.append(block.trades.ticks)
    seconds = (np.concatenate(ts) - ts[0][0]) // 10**9
    counts = np.bincount(seconds)
    assert counts.var() > 1.5 * counts.mean()
    assert abs(counts.mean() - 5.0) < 0.5
    prices = np.concatenate(price).astype(float)
    minute = prices[np.searchsorted(seconds, np.arange(0, seconds[-1], 60))]
    moves = np.abs(np.diff(np.log(minute)))
    calm, wild = np.quantile(moves, [0.5, 0.99])
    assert wild > 4 * calm


def test_a_momentum_strategy_finds_moves_a_few_times_an_hour():
    ts, price = [], []
    for block in SyntheticMarket(SynthSettings(duration_s=12 * 3600)).blocks():
        ts.append(block.trades.ts_ns)
        price.append(block.trades.ticks)
    times, prices = np.concatenate(ts), np.concatenate(price).astype(float)
    reference = np.searchsorted(times, times - 60 * 10**9, side="right") - 1
    change = np.where(reference >= 0, prices / prices[np.maximum(reference, 0)] - 1.0, 0.0) * 100.0
    above = times[np.flatnonzero((change[1:] >= 0.3) & (change[:-1] < 0.3))]
    episodes = 1 + int((np.diff(above) > 120 * 10**9).sum())
    assert 12 <= episodes <= 72


def test_a_book_goes_with_the_trades_and_is_never_crossed():
    market = SyntheticMarket(SynthSettings(duration_s=600, book="depth"))
    events = all_events(market)
    assert len(events) == market.info.rows
    assert market.info.has_book
    tops = [event for event in events if isinstance(event, TopOfBook)]
    depths = [event for event in events if isinstance(event, Depth)]
    assert len(tops) == len(depths) == 600
    assert all(top.bid_ticks < top.ask_ticks for top in tops)
    assert all(depth.snapshot and len(depth.bids) == len(depth.asks) == 10 for depth in depths)
    trades = [event for event in events if isinstance(event, Trade)]
    assert trades == all_events(SyntheticMarket(SynthSettings(duration_s=600)))


def test_its_info_says_that_it_is_made_up_and_how_to_make_it_again():
    info = SyntheticMarket(SynthSettings(trades=100, seed=3)).info
    assert (info.kind, info.synthetic_trades, info.rows) == ("synthetic", True, 100)
    assert "STUB" in info.warnings[0]
    again = msgspec.convert(info.parameters, SynthSettings, strict=False)
    assert again == SynthSettings(trades=100, seed=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs an end"),
        ({"trades": 1, "rate": 0.0}, "synth.rate"),
        ({"trades": 1, "seed": -1}, "synth.seed"),
        ({"trades": 1, "book": "deep"}, "none, top or depth"),
        ({"trades": 1, "start_price": Decimal("0.5")}, "choose a finer tick"),
        ({"trades": 1, "volatility_bps": float("nan")}, "synth.volatility_bps"),
    ],
)
def test_settings_that_make_no_market_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SynthSettings(**settings)


def test_the_streams_of_random_numbers_have_their_shape():
    draws = Uniform(1, 0)
    uniform, normal, waiting = draws.uniform(100_000), draws.normal(100_000), draws.exponential(100_000)
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.02
    assert abs(normal.var() - 1.0) < 0.03
    assert abs(waiting.mean() - 1.0) < 0.02
    assert waiting.min() >= 0
