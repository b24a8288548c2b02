"""What holds of whole runs on any small market, with the real paper venue: decisions repeat, counts add up, books agree."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from claire.adapters.config import StrategySettings
from claire.adapters.venues.paper import PaperVenue
from claire.model.books import Books, Posting
from claire.model.decisions import Denial, Fill, Intent, OrderEvent, RoundTrip, Signal
from claire.model.market import MarketEvent, Side, TopOfBook, Trade
from claire.model.orders import TERMINAL
from claire.services.assembly import Assembly, assemble
from claire.services.embedded import drive
from tests.support import markets
from tests.support.markets import T0, Listening, ListSource, rules

A: Final = rules("AAAUSDT", tick="0.01", lot="0.01", min_notional="5")
B: Final = rules("BBBUSDT", tick="0.0001", lot="0.37", min_notional="1")
SYMBOLS: Final = (A.symbol, B.symbol)

STEP: Final = (
    ["a", "a", "a", "b", "b", "top"],
    [0, 0, 1, 40_000_000, 1_000_000_000, 2_500_000_000, 9_000_000_000, 61_000_000_000],
    [0, 10, 30, 60, 110, 220, -10, -40, -70, -130, -250],
    [1, 7, 50, 120, 300],
    [Side.BUY, Side.SELL],
)
"""What a step is, how long after the one before, by how many basis points its price moves, its lots, its side."""


def busy(seed: int) -> list[tuple[Any, ...]]:
    """A market that is long enough for many round trips; without books for two seeds of three."""
    draw = random.Random(seed)
    steps = [tuple(draw.choice(part) for part in STEP) for _ in range(160)]
    return [step for step in steps if step[0] != "top" or seed % 3 == 0]


moves = st.lists(st.tuples(*[st.sampled_from(list[Any](part)) for part in STEP]), max_size=60) | st.integers(
    0, 10**6
).map(busy)
choices = st.fixed_dictionaries(
    {
        "paper.latency_ms": st.sampled_from([0, 0, 20, 900]),
        "paper.slippage_ticks": st.sampled_from([0, 1, 5]),
        "fees.asset": st.sampled_from(["quote", "base"]),
        "fees.taker_bps": st.sampled_from([0, 5, "7.3"]),
        "execution.entry_type": st.sampled_from(["market", "ioc", "limit"]),
        "execution.entry_ttl_s": st.sampled_from([1, 5]),
        "risk.profile": st.sampled_from(["default", "unlimited"]),
        "risk.position_pct": st.sampled_from([1, 5]),
        "risk.max_daily_loss_pct": st.sampled_from(["0.02", "3"]),
        "allocation.mode": st.sampled_from(["full", "full", "regime"]),
    }
)


def market_of(steps: Sequence[tuple[Any, ...]]) -> list[MarketEvent]:
    """A market of two symbols, with a top of book now and then, and a quiet end in which everything can finish."""
    prices, now = {"a": 10_000, "b": 20_000}, T0
    made: list[MarketEvent] = []
    for kind, gap_ns, move, lots, side in steps:
        now += gap_ns
        if kind == "top":
            at = prices["a"]
            made.append(TopOfBook(A.symbol, now, at - 1 - lots % 3, lots, at + 1 + lots % 3, lots))
            continue
        prices[kind] = max(2_000, prices[kind] + move * prices[kind] // 10_000)
        made.append(Trade(A.symbol if kind == "a" else B.symbol, now, prices[kind], lots, side))
    for number in range(30):  # falling slowly for five minutes: whoever is in gets out, and nobody enters at the end
        now += 10_000_000_000
        at = prices["a"] - number
        if any(kind == "top" for kind, *_ in steps):
            made.append(TopOfBook(A.symbol, now, at - 1, 10**6, at + 1, 10**6))
        made.append(Trade(A.symbol, now, at, 50, Side.BUY))
        made.append(Trade(B.symbol, now, prices["b"] - number, 50, Side.SELL))
    return made


def assembled(source: ListSource, chosen: dict[str, Any], recorder: Listening, **more: Any) -> Assembly:
    """Two strategies on both symbols."""
    base = markets.settings(*(f"{name}={value}" for name, value in chosen.items()), symbols=SYMBOLS)
    exits = {"stop_loss_pct": 0.8, "take_profit_pct": 1.0, "max_hold_s": 20.0}
    momentum = {"lookback_s": 2.0, "threshold_pct": 0.3, "min_volume_quote": 0.0}
    both = (
        StrategySettings(id="mom", kind="momentum", symbols=SYMBOLS, params=exits | momentum),
        StrategySettings(id="ema", kind="ema_cross", symbols=SYMBOLS, params=exits | {"fast": 1, "slow": 2}),
    )
    return assemble(base.model_copy(update={"strategy": both}), source, (recorder,), **more)


def played(
    events: list[MarketEvent], chosen: dict[str, Any], batch: int = 0, **more: Any
) -> tuple[Assembly, Listening]:
    """Run a market through the ordinary driver."""
    source, heard = ListSource(events, (A, B), batch), Listening()
    made = assembled(source, chosen, heard, **more)
    assert drive(made.pipeline, source)
    made.pipeline.flush()
    return made, heard


@given(moves, choices)
def test_decisions_repeat_and_depend_neither_on_batches_nor_on_who_listens(steps, chosen):
    events = market_of(steps)
    first, heard = played(events, chosen)
    again, heard_again = played(events, chosen, batch=3)
    watched, _ = played(events, chosen, batch=1, records_inputs=True)
    assert first.tally.digest == again.tally.digest == watched.tally.digest
    assert heard.heard == heard_again.heard
    assert first.pipeline.input_no == watched.pipeline.input_no


@given(moves, choices)
def test_counts_add_up_and_everything_ends_somewhere(steps, chosen):
    events = market_of(steps)
    made, heard = played(events, chosen)
    pipeline = made.pipeline
    seen = Counter(event.symbol for event in events if isinstance(event, Trade))
    for desk in pipeline.stages.signals.desks:
        assert desk.signals + sum(desk.suppressed.values()) == seen[desk.instrument.symbol]
    signals, answers = heard.of(Signal), [*heard.of(Intent), *heard.of(Denial)]
    assert sorted(answer.signal_no for answer in answers) == [signal.signal_no for signal in signals]
    assert [signal.signal_no for signal in signals] == list(range(1, len(signals) + 1))
    at_one_trade = Counter((s.strategy_id, s.symbol, number) for number, s in heard.decided_at if isinstance(s, Signal))
    assert not at_one_trade or max(at_one_trade.values()) == 1
    last: dict[int, OrderEvent] = {event.order_no: event for event in heard.of(OrderEvent)}
    assert list(last) == [intent.order_no for intent in heard.of(Intent)]
    live = {order.order_no for order in pipeline.stages.execution.live}
    assert all((event.state in TERMINAL) is (number not in live) for number, event in last.items())
    assert not live  # the end was quiet
    assert set(last) >= {fill.order_no for fill in heard.of(Fill)}
    filled: Counter[int] = Counter()
    for fill in heard.of(Fill):
        filled[fill.order_no] += fill.quantity_lots
    assert all(filled[number] == event.filled_lots for number, event in last.items())
    tally, intents = made.tally, {intent.order_no: intent for intent in heard.of(Intent)}
    assert (tally.signals, tally.intents, tally.fills) == (len(signals), len(intents), len(heard.of(Fill)))
    assert tally.denials == Counter(denial.code for denial in heard.of(Denial))
    assert +tally.orders == Counter(event.state for event in last.values())
    assert tally.round_trips == heard.of(RoundTrip)
    slipped = 0
    for fill in heard.of(Fill):
        worse = (fill.price_ticks - intents[fill.order_no].price_ticks) * (1 if fill.side is Side.BUY else -1)
        slipped += (A if fill.symbol == A.symbol else B).notional(worse, fill.quantity_lots)
    assert tally.slippage_units == slipped


@given(moves, choices)
def test_risk_portfolio_postings_and_venue_hold_the_same(steps, chosen):
    made, heard = played(market_of(steps), chosen)
    stages, venue = made.pipeline.stages, made.pipeline.venue
    assert isinstance(venue, PaperVenue)
    assert venue.is_idle
    risk, portfolio = stages.risk.state.books, stages.portfolio.state.books
    for name in ("cash", "positions", "dust", "realised_units", "fee_units", "transfer_units"):
        assert getattr(risk, name) == getattr(portfolio, name)
    assert stages.risk.state.reservations == {}
    assert venue.balances.total("USDT") == portfolio.cash["USDT"] == venue.balances.free("USDT")
    posted: Counter[tuple[str, str]] = Counter()
    for posting in (*made.opening, *heard.of(Posting)):
        posted[posting.account.partition("/")[0], posting.asset] += posting.units
    assert posted["cash", "USDT"] == portfolio.cash["USDT"]
    for instrument in (A, B):
        assert venue.balances.total(instrument.base) == base_of(portfolio, instrument.symbol)
        assert posted["position", instrument.base] + posted["dust", instrument.base] == base_of(
            portfolio, instrument.symbol
        )
    explained = portfolio.realised_units + portfolio.unrealised_units - portfolio.fee_units + portfolio.transfer_units
    assert portfolio.equity_units == explained
    for desk in stages.signals.desks:
        owned = portfolio.positions.get((desk.strategy_id, desk.instrument.symbol))
        assert desk.position.is_flat is (owned is None)
        assert owned is None or owned == desk.position


@given(moves, choices)
@settings(max_examples=25)
def test_inputs_are_numbered_without_gaps_and_come_before_what_they_caused(steps, chosen):
    events = market_of(steps)
    made, heard = played(events, chosen, records_inputs=True)
    assert [number for number, _ in heard.numbered] == list(range(1, made.pipeline.input_no + 1))
    entered = [event for _, event in heard.numbered]
    assert [event for event in entered if isinstance(event, Trade | TopOfBook)] == events
    assert all(1 <= number <= made.pipeline.input_no for number, _ in heard.decided_at)
    assert [number for number, _ in heard.decided_at] == sorted(number for number, _ in heard.decided_at)
    times = dict(heard.numbered)
    assert all(event.ts_event_ns >= times[number].ts_event_ns for number, event in heard.decided_at)


def base_of(books: Books, symbol: str) -> int:
    """What the books hold of a symbol's base asset."""
    rest = books.dust[symbol].base_units if symbol in books.dust else 0
    return rest + sum(position.base_units for (_, held), position in books.positions.items() if held == symbol)
