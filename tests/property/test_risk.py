"""What holds of risk whatever a strategy wishes and a venue does: no limit is passed, no cash is spent twice, and a strategy
gets out of what it got into."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from claire.engine.pipeline import Pipeline, Stages
from claire.engine.tally import Tally
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Fill, Intent, OrderEvent, RoundTrip
from claire.model.instrument import Instrument
from claire.model.market import Candle, Mark, Side, Trade
from claire.model.money import ONE, units_of
from claire.model.orders import TERMINAL
from claire.stages.allocation import AllocationMode, AllocationRules, Allocations
from claire.stages.candles import Candles
from claire.stages.execution import Execution
from claire.stages.portfolio import Portfolio
from claire.stages.regime import Regimes
from claire.stages.risk import Identity, Risk, RiskRules, quantity_lots
from claire.stages.signal import Desk, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support.chaos import ChaosVenue, Step
from tests.support.markets import T0, books, rules

A = rules("AAAUSDT", tick="0.01", lot="0.01", min_notional="5")
B = rules("BBBUSDT", tick="0.0001", lot="0.37", min_notional="5")
INSTRUMENTS = {instrument.symbol: instrument for instrument in (A, B)}
START = {"AAAUSDT": 10_000, "BBBUSDT": 10_000}
RULES = RiskRules(
    position_pct=Decimal(5),
    max_order_pct=Decimal(5),
    max_symbol_pct=Decimal(11),
    max_gross_pct=Decimal(17),
    cash_reserve_pct=Decimal(84),
    max_open_orders=3,
    max_daily_loss_pct=Decimal(10),
    max_data_age_ms=10_000,
    taker_bps=Decimal(20),
    slippage_ticks=3,
)
EXITS = StrategyParams(stop_loss_pct=2, take_profit_pct=2, max_hold_s=30)


class Told(Strategy):
    """Says what the test put down for it."""

    words: Sequence[Opinion] = ()

    def on_trade(self, trade: Trade) -> Opinion:
        said = self.words[0]
        self.words = self.words[1:] or (Opinion.EXIT,)
        return said


class Watch:
    """A recorder with books of its own: at every entry it holds the account against each limit."""

    def __init__(self, marks: dict[str, Mark], capital: int) -> None:
        self.marks = marks
        self.cash = Fraction(capital)
        self.owned: dict[tuple[str, str], Fraction] = {}
        self.live: dict[int, tuple[Intent, int]] = {}
        self.intents = 0
        self.per_asset: dict[str, int] = {}
        self.trips: list[RoundTrip] = []

    def decided(self, input_no: int, event: object) -> None:
        if isinstance(event, Intent):
            self.intents += 1
            self.live[event.order_no] = (event, event.quantity_lots)
            (self.entry if event.side is Side.BUY else self.leave)(event)
        elif isinstance(event, Fill):
            self.fill(event)
        elif isinstance(event, OrderEvent) and event.state in TERMINAL:
            self.live.pop(event.order_no, None)
        elif isinstance(event, RoundTrip):
            self.trips.append(event)

    def entry(self, intent: Intent) -> None:
        worth = {symbol: self.held(symbol) + self.asked(symbol) for symbol in INSTRUMENTS}
        equity = self.cash + sum(self.held(symbol) for symbol in INSTRUMENTS)
        instrument = INSTRUMENTS[intent.symbol]
        slack = Fraction(1, 10**6) * ONE  # what rounding to the quote scale can hide
        percent = equity / 100
        assert instrument.notional(intent.price_ticks, intent.quantity_lots) <= 5 * percent + slack
        assert worth[intent.symbol] <= 11 * percent + slack
        assert sum(worth.values()) <= 17 * percent + slack
        assert self.cash - sum(self.asked(symbol) for symbol in INSTRUMENTS) >= 84 * percent - slack
        assert len(self.live) <= 3

    def leave(self, intent: Intent) -> None:
        key = (intent.strategy_id, intent.symbol)
        selling = sum(
            left for one, left in self.live.values() if one.side is Side.SELL and (one.strategy_id, one.symbol) == key
        )
        assert 0 < selling * INSTRUMENTS[intent.symbol].lot_units <= self.owned[key]

    def held(self, symbol: str) -> Fraction:
        instrument = INSTRUMENTS[symbol]
        base = sum((units for (_, s), units in self.owned.items() if s == symbol), Fraction(0))
        return base / instrument.lot_units * self.marks[symbol].price_ticks * instrument.unit_value

    def asked(self, symbol: str) -> Fraction:
        worst = sum(
            (one.price_ticks + RULES.slippage_ticks) * left
            for one, left in self.live.values()
            if one.symbol == symbol and one.side is Side.BUY
        )
        return Fraction(worst * INSTRUMENTS[symbol].unit_value) * Fraction(10_020, 10_000)

    def fill(self, event: Fill) -> None:
        instrument = INSTRUMENTS[event.symbol]
        key = (event.strategy_id, event.symbol)
        sign = 1 if event.side is Side.BUY else -1
        base = sign * event.quantity_lots * instrument.lot_units
        self.cash -= sign * instrument.notional(event.price_ticks, event.quantity_lots)
        if event.fee_asset == instrument.base:
            base -= units_of(event.fee)
        else:
            self.cash -= units_of(event.fee)
        self.owned[key] = self.owned.get(key, Fraction(0)) + base
        assert self.cash >= 0
        assert self.owned[key] >= 0
        intent, left = self.live[event.order_no]
        self.live[event.order_no] = (intent, left - event.quantity_lots)

    def postings(self, postings: Sequence[Posting]) -> None:
        totals: dict[str, int] = {}
        for posting in postings:
            totals[posting.asset] = totals.get(posting.asset, 0) + posting.units
        assert not any(totals.values())

    def inputs(self, first_no: int, events: Sequence[object]) -> None: ...

    def candle(self, candle: Candle) -> None: ...

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        explained = snapshot.realised_pnl + snapshot.unrealised_pnl - snapshot.fees
        assert snapshot.equity == Decimal(1_000) + explained


def pipeline_for(words: dict[tuple[str, str], Sequence[Opinion]], venue: ChaosVenue) -> tuple[Pipeline, Watch]:
    marks = {symbol: Mark() for symbol in INSTRUMENTS}
    accounts = []
    for _ in range(2):
        made = books("1000", tuple(INSTRUMENTS.values()))
        made.marks = marks
        accounts.append(made)
    desks = []
    for (owner, symbol), said in words.items():
        strategy = Told(EXITS, INSTRUMENTS[symbol])
        strategy.words = said
        desks.append(Desk(owner, strategy, 10**10))
    ones = dict.fromkeys(INSTRUMENTS, Decimal(1))
    stages = Stages(
        Candles(),
        Regimes(),
        Allocations(AllocationRules(mode=AllocationMode.FULL)),
        Signals(desks),
        Risk(RULES, accounts[0], Identity("paper", "chaos"), {"x": 2.0, "y": 2.0, "z": 2.0}, ones),
        Execution(),
        Portfolio(accounts[1]),
    )
    watch = Watch(marks, units_of(1_000))
    return Pipeline(stages, venue, marks, (watch,)), watch


opinions = st.sampled_from([Opinion.ENTER, Opinion.ENTER, Opinion.NO_ENTRY, Opinion.EXIT, Opinion.WARMING_UP])
owners = [("x", "AAAUSDT"), ("x", "BBBUSDT"), ("y", "AAAUSDT"), ("z", "AAAUSDT"), ("z", "BBBUSDT")]
scripts = st.tuples(*[st.lists(opinions, min_size=1, max_size=40) for _ in owners])
plan = st.lists(
    st.tuples(
        st.sampled_from(["acknowledge", "fill", "fill", "cancel", "reject"]),
        st.sampled_from([0, 1, 300_000_000, 1_000_000_000, 2_500_000_000]),
        st.sampled_from([1, 2, 3, 5, 8, 9, 21, 50, 66, 97, 100]),
    ),
    max_size=4,
)
market = st.lists(
    st.tuples(st.sampled_from(["AAAUSDT", "BBBUSDT"]), st.integers(0, 3) | st.just(0), st.integers(-150, 150)),
    min_size=10,
    max_size=60,
)


@given(scripts, st.lists(plan, max_size=25), market, st.integers(0, 20))
def test_no_limit_is_passed_and_every_strategy_becomes_flat(said, plans, steps, fee_bps):
    told: Sequence[Sequence[Step]] = plans
    venue = ChaosVenue(INSTRUMENTS, iter(told), RULES.slippage_ticks, fee_bps)
    pipeline, watch = pipeline_for(dict(zip(owners, said, strict=True)), venue)
    prices, now = dict(START), T0

    def feed(symbol: str, step_s: int, move: int) -> None:
        nonlocal now
        now += step_s * 1_000_000_000
        prices[symbol] = max(1_000, prices[symbol] + move)
        pipeline.feed(Trade(symbol, now, prices[symbol], 100, Side.BUY))

    for one in steps:
        feed(*one)
    # The market goes on quietly, strategies want out, and from here on the venue fills what is left of its plans.
    for desk in pipeline.stages.signals.desks:
        strategy = desk.strategy
        assert isinstance(strategy, Told)
        strategy.words = (Opinion.EXIT,)
    for _ in range(30):
        for symbol in INSTRUMENTS:
            feed(symbol, 3, 0)

    assert not watch.live
    risk, portfolio = pipeline.stages.risk.state.books, pipeline.stages.portfolio.state.books
    assert all(desk.position.is_flat for desk in pipeline.stages.signals.desks)
    assert risk.positions == portfolio.positions == {}
    assert (risk.cash, risk.dust, risk.equity_units) == (portfolio.cash, portfolio.dust, portfolio.equity_units)
    assert risk.cash["USDT"] == watch.cash
    for symbol in INSTRUMENTS:
        rest = sum(units for (_, s), units in watch.owned.items() if s == symbol)
        assert rest == (portfolio.dust[symbol].base_units if symbol in portfolio.dust else 0)
    assert portfolio.foreign_fee_units == 0
    assert pipeline.stages.portfolio.state.round_trips == len(watch.trips)
    assert (
        portfolio.equity_units
        == units_of(1_000) + portfolio.realised_units + portfolio.unrealised_units - portfolio.fee_units
    )


@given(
    st.decimals("0.01", 100, places=4),
    st.sampled_from([Decimal(1), Decimal("0.5"), Decimal("0.25"), Decimal(0)]),
    st.integers(-(10**18), 10**26),
    st.integers(1, 10**9),
    st.sampled_from([A, B, rules("PEPEUSDT", "0.00000001", "1"), rules("BTCUSDT", "0.01", "0.00001")]),
)
def test_an_entry_is_the_written_formula_rounded_down_to_a_lot(pct, fraction, equity, ticks, instrument: Instrument):
    price, lot = Fraction(instrument.tick) * ticks, Fraction(instrument.lot)
    exact = Fraction(pct) / 100 * Fraction(fraction) * Fraction(equity, ONE) / price / lot
    assert quantity_lots(pct, fraction, equity, ticks, instrument) == max(0, floor(exact))


def test_the_limits_that_the_property_watches_bind():
    venue = ChaosVenue(INSTRUMENTS, iter([[("acknowledge", 10**9, 1)]] * 9), RULES.slippage_ticks, 20)
    pipeline, watch = pipeline_for(dict.fromkeys(owners, (Opinion.ENTER,) * 9), venue)
    tally = Tally(INSTRUMENTS)
    pipeline._recorders = (watch, tally)
    for symbol in INSTRUMENTS:
        pipeline.feed(Trade(symbol, T0, START[symbol], 1, Side.BUY))
    assert watch.intents == 3
    assert tally.denials == {"SYMBOL_EXPOSURE_LIMIT": 1, "EXPOSURE_LIMIT": 1}
