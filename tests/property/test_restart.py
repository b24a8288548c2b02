"""A pipeline that was saved, pickled and loaded goes on as if nothing had happened: at any point, on any market."""

import pickle
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from random import Random
from types import MethodType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.adapters.config import StrategySettings
from claire.engine.pipeline import Pipeline, Saved
from claire.engine.saving import from_bytes, to_bytes
from claire.model.errors import StrategyError
from claire.model.market import MarketEvent
from claire.services.assembly import Assembly, assemble
from tests.property.test_pipeline import SYMBOLS, A, B, choices, market_of, moves
from tests.support import markets
from tests.support.markets import Listening, ListSource

USERS = '''
from collections import deque
from random import Random

from claire.strategies import Opinion, Strategy


class Dice(Strategy):
    """Rolls dice of its own and remembers the last prices, in whatever Python has to remember with."""

    wants_candles = True

    def __init__(self, params, instrument):
        super().__init__(params, instrument)
        self.dice = Random(7)
        self.prices = deque(maxlen=5)
        self.seen = {"candles": 0}
        self.said = self.no

    def no(self):
        return Opinion.NO_ENTRY

    def yes(self):
        return Opinion.ENTER

    def on_candle(self, candle):
        self.seen["candles"] += 1

    def on_trade(self, trade):
        self.prices.append(trade.price_ticks)
        rolled = self.dice.random() + (self.seen["candles"] % 2) / 10
        self.said = self.yes if rolled > 0.6 else self.no
        return self.said() if trade.price_ticks >= min(self.prices) else Opinion.EXIT
'''


@pytest.fixture(scope="module")
def users_strategy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strategy in a file of a user's."""
    path = tmp_path_factory.mktemp("strategies") / "dice.py"
    path.write_text(USERS)
    return path


def assembled(source: ListSource, chosen: dict[str, Any], heard: Listening, users: Path) -> Assembly:
    """Three strategies on both symbols."""
    base = markets.settings(*(f"{name}={value}" for name, value in chosen.items()), symbols=SYMBOLS)
    exits = {"stop_loss_pct": 0.8, "take_profit_pct": 1.0, "max_hold_s": 20.0}
    momentum = {"lookback_s": 2.0, "threshold_pct": 0.3, "min_volume_quote": 0.0}
    three = (
        StrategySettings(id="mom", kind="momentum", symbols=SYMBOLS, params=exits | momentum),
        StrategySettings(id="ema", kind="ema_cross", symbols=SYMBOLS, params=exits | {"fast": 1, "slow": 2}),
        StrategySettings(id="dice", kind=str(users), symbols=SYMBOLS, params=exits),
    )
    return assemble(base.model_copy(update={"strategy": three}), source, (heard,), records_inputs=True)


def feed(pipeline: Pipeline, events: list[MarketEvent]) -> None:
    for event in events:
        pipeline.feed(event)


def values(thing: Any) -> Any:
    """Everything in an object as plain values, so that two can be compared whatever their identity."""
    if isinstance(thing, str | int | float | Decimal | Fraction | Enum | type | None):
        return thing
    if isinstance(thing, Random):
        return thing.getstate()
    if isinstance(thing, MethodType):
        return thing.__qualname__
    if isinstance(thing, Mapping):
        return [(values(key), values(value)) for key, value in thing.items()]
    if isinstance(thing, Iterable):
        return [values(part) for part in thing]
    names = getattr(thing, "__struct_fields__", None) or getattr(thing, "__slots__", None) or vars(thing)
    return type(thing).__qualname__, {name: values(getattr(thing, name)) for name in names}


@given(moves, choices, st.lists(st.floats(0, 1), min_size=1, max_size=4))
@settings(max_examples=25)
def test_a_run_that_was_saved_and_loaded_anywhere_decides_what_the_whole_run_decides(
    users_strategy, steps, chosen, cuts
):
    events = market_of(steps)
    source, whole_heard = ListSource(events, (A, B)), Listening()
    whole = assembled(source, chosen, whole_heard, users_strategy)
    feed(whole.pipeline, events)
    whole.pipeline.flush()

    heard = Listening()
    part = assembled(source, chosen, heard, users_strategy)
    done = 0
    for cut in sorted(round(share * len(events)) for share in cuts):
        feed(part.pipeline, events[done:cut])
        done = cut
        kept = to_bytes(part.pipeline.save(with_venue=True))
        del part
        part = assembled(source, chosen, heard, users_strategy)
        part.pipeline.load(from_bytes(kept))
        for input_no, event in heard.decided_at:  # the tally is rebuilt from what is on record
            part.tally.decided(input_no, event)
    feed(part.pipeline, events[done:])
    part.pipeline.flush()

    assert part.tally.digest == whole.tally.digest
    assert heard.decided_at == whole_heard.decided_at
    assert heard.heard == whole_heard.heard
    assert heard.numbered == whole_heard.numbered
    assert part.pipeline.input_no == whole.pipeline.input_no
    assert values(part.pipeline.save(with_venue=True)) == values(whole.pipeline.save(with_venue=True))
    books = part.pipeline.stages.portfolio.state.books
    assert books == whole.pipeline.stages.portfolio.state.books == part.pipeline.stages.risk.state.books
    assert all(books.marks[symbol] is part.pipeline.marks[symbol] for symbol in SYMBOLS)


def test_a_pipeline_remembers_nothing_that_is_not_saved():
    made = markets.run(ListSource([markets.trade(0, 10_000)]))
    wired = {"_routes", "_candles_on_trade", "_signals_on_trade"}
    built = {"_recorders", "_valuation_ns", "_keeps_book", "_records_inputs"}
    follows = {"_venue_busy", "_unrecorded"}
    left = {name.removeprefix("_") for name in set(vars(made.pipeline)) - wired - built - follows}
    assert left == set(Saved.__struct_fields__)


def test_only_a_new_pipeline_takes_over_a_saved_state():
    made = markets.run(ListSource([markets.trade(0, 10_000)]))
    with pytest.raises(ValueError, match="this pipeline took 1 inputs"):
        made.pipeline.load(made.pipeline.save(with_venue=True))


def test_without_the_venue_the_loaded_pipeline_keeps_its_own():
    source = ListSource([markets.trade(0, 10_000)])
    made, other = markets.run(source), markets.run(ListSource([], (markets.ABC,)))
    kept = to_bytes(made.pipeline.save(with_venue=False))
    venue = other.pipeline.venue
    other.pipeline.load(from_bytes(kept))
    assert other.pipeline.venue is venue
    assert other.pipeline.now_ns == made.pipeline.now_ns


def test_a_strategy_with_something_that_cannot_be_kept_is_named():
    made = markets.run(ListSource([markets.trade(0, 10_000)]))
    strategy: Any = made.pipeline.stages.signals.desks[0].strategy
    strategy.handle = lambda: None
    with pytest.raises(StrategyError, match=r"cannot be kept .* strategies \(Momentum\)"):
        to_bytes(made.pipeline.save(with_venue=True))


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps({"stages": 1})])
def test_what_is_no_saved_state_is_refused(data: bytes):
    with pytest.raises(StrategyError, match=r"a saved state .* [Rr]eplay the journal from the start"):
        from_bytes(data)
