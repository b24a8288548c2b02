"""Whatever a venue says, and however late: everything is booked, and desk, risk and portfolio hold the same."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from claire.engine.pipeline import NEVER, Pipeline, Stages
from claire.model.books import Position, Posting
from claire.model.decisions import Cancel, ControlEvent, Fill, OrderEvent, Submit, TradingState, VenueReport
from claire.model.market import Mark, MarketEvent, Side, Trade
from claire.model.money import decimal_of
from claire.model.orders import TERMINAL, Evidence, OrderState
from claire.stages.allocation import AllocationMode, AllocationRules, Allocations
from claire.stages.candles import Candles
from claire.stages.execution import LATE_LIVE, OVERFILL, Execution
from claire.stages.portfolio import Portfolio
from claire.stages.regime import Regimes
from claire.stages.risk import Identity, Risk, RiskRules
from claire.stages.signal import Desk, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support.markets import ABC, SECOND_NS, SYMBOL, T0, Listening, books

E = Evidence
RULES = RiskRules(unlimited=True, position_pct=Decimal(10))
ENDS = ((), (E.CANCELED,), (E.EXPIRED,), (E.REJECTED,), (E.UNKNOWN, E.ABSENT), (E.UNKNOWN, E.ABSENT, E.CANCELED))


class Eager(Strategy):
    """Enters whenever it may, and leaves at every other trade."""

    trades = 0

    def on_trade(self, trade: Trade) -> Opinion:
        self.trades += 1
        return Opinion.EXIT if self.trades % 3 == 0 else Opinion.ENTER


class Outside:
    """A venue outside: it keeps what it is told, and the test says what it says, when."""

    is_idle = True
    next_due_ns = NEVER

    def __init__(self) -> None:
        self.submitted: list[Submit] = []
        self.canceled: list[Cancel] = []

    def submit(self, command: Submit, now_ns: int) -> None:
        self.submitted.append(command)

    def cancel(self, command: Cancel, now_ns: int) -> None:
        self.canceled.append(command)

    def before(self, ts_event_ns: int) -> None: ...

    def after(self, event: MarketEvent) -> None: ...

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        return ()


def built(venue: Outside, heard: Listening) -> Pipeline:
    marks = {SYMBOL: Mark()}
    accounts = [books("1000"), books("1000")]
    for account in accounts:
        account.marks = marks
    params = StrategyParams(stop_loss_pct=2, take_profit_pct=2, max_hold_s=0)
    desks = [Desk(owner, Eager(params, ABC), 10**10) for owner in ("a", "b")]
    risk = Risk(RULES, accounts[0], Identity("paper", "outside", "c"), {"a": 2.0, "b": 2.0}, {SYMBOL: Decimal(1)})
    allocations = Allocations(AllocationRules(mode=AllocationMode.FULL))
    stages = Stages(
        Candles(), Regimes(), allocations, Signals(desks), risk, Execution(remember_ns=None), Portfolio(accounts[1])
    )
    return Pipeline(stages, venue, marks, (heard,))


def check(pipeline: Pipeline, heard: Listening) -> None:
    """Hold the three that follow the fills against each other, and the books against themselves."""
    stages = pipeline.stages
    risk, portfolio = stages.risk.state.books, stages.portfolio.state.books
    for name in ("cash", "positions", "dust", "realised_units", "fee_units", "foreign_fee_units", "transactions"):
        assert getattr(risk, name) == getattr(portfolio, name)
    explained = portfolio.realised_units + portfolio.unrealised_units - portfolio.fee_units + portfolio.transfer_units
    assert portfolio.equity_units == explained
    for desk in stages.signals.desks:
        owned = portfolio.positions.get((desk.strategy_id, SYMBOL), Position())
        assert desk.position.base_units == owned.base_units >= 0
        assert (desk.position.bought_lots, desk.position.sold_lots) == (owned.bought_lots, owned.sold_lots)
        assert desk.position.is_flat is ((desk.strategy_id, SYMBOL) not in portfolio.positions)
    posted: Counter[tuple[str, str]] = Counter()
    per_transaction: Counter[tuple[int, str]] = Counter()
    for posting in heard.of(Posting):
        posted[posting.account, posting.asset] += posting.units
        per_transaction[posting.transaction_no, posting.asset] += posting.units
    assert not any(per_transaction.values())
    dust = portfolio.dust[SYMBOL].base_units if SYMBOL in portfolio.dust else 0
    assert posted[f"dust/{SYMBOL}", "ABC"] == dust
    for owner in ("a", "b"):
        owned = portfolio.positions.get((owner, SYMBOL), Position())
        assert posted[f"position/{owner}/{SYMBOL}", "ABC"] == owned.base_units


@given(st.data())
def test_reports_may_come_in_any_order_and_at_any_time_and_all_that_executed_is_booked(data: st.DataObject):
    venue, heard = Outside(), Listening()
    pipeline = built(venue, heard)
    pool: list[VenueReport] = []
    told, now = 0, T0

    def story(command: Submit) -> None:
        """Put into the pool what will be said of an order, some day."""
        intent, left = command.intent, command.intent.quantity_lots
        evidence = [*data.draw(st.sampled_from(ENDS)), *data.draw(st.sampled_from([(), (E.ACKNOWLEDGED,)]))]
        pool.extend(VenueReport(intent.order_no, 0, one, venue_order_id=f"V{intent.order_no}") for one in evidence)
        for number in range(data.draw(st.integers(0, 2))):
            lots = data.draw(st.sampled_from([1, left // 3, left - 1, left, left + 2]))
            if lots > 0:
                left = max(0, left - lots)
                in_base = number == 1 and intent.side is Side.BUY
                fee = decimal_of(lots * ABC.lot_units // 1000 if in_base else 10**15 * lots)
                pool.append(
                    VenueReport(
                        intent.order_no,
                        0,
                        trade_id=f"{intent.order_no}-{number}",
                        price_ticks=intent.price_ticks + data.draw(st.integers(-300, 300)),
                        quantity_lots=lots,
                        fee=fee,
                        fee_asset="ABC" if in_base else "USDT",
                        fee_value=fee * 100 if in_base else fee,
                    )
                )

    for _ in range(data.draw(st.integers(5, 40))):
        now += SECOND_NS
        if len(pool) > 0 and data.draw(st.booleans()):
            report = data.draw(st.sampled_from(pool))
            if data.draw(st.booleans()):
                pool.remove(report)  # or it is said again some day
            pipeline.report(
                VenueReport(**{f: getattr(report, f) for f in report.__struct_fields__} | {"ts_event_ns": now})
            )
            check(pipeline, heard)
        else:
            pipeline.feed(Trade(SYMBOL, now, 10_000 + data.draw(st.integers(-400, 400)), 100, Side.BUY))
        if data.draw(st.integers(0, 3)) == 0:
            pipeline.control(ControlEvent(TradingState.ACTIVE, "looked at", LATE_LIVE, now))
        for command in venue.submitted[told:]:
            story(command)
        told = len(venue.submitted)
    for report in data.draw(st.permutations(pool)):
        pipeline.report(VenueReport(**{f: getattr(report, f) for f in report.__struct_fields__} | {"ts_event_ns": now}))
        check(pipeline, heard)

    fills: Counter[int] = Counter()
    for fill in heard.of(Fill):
        fills[fill.order_no] += fill.quantity_lots
    trade_ids = [fill.trade_id for fill in heard.of(Fill)]
    assert len(trade_ids) == len(set(trade_ids))
    last: dict[int, OrderEvent] = {event.order_no: event for event in heard.of(OrderEvent)}
    assert all(event.filled_lots == fills[number] for number, event in last.items())
    orders = pipeline.stages.execution.orders
    late_live = {number for number, order in orders.items() if order.life.late_live}
    halts = Counter(event.operator for event in heard.of(ControlEvent) if event.state is TradingState.HALTED)
    assert halts[LATE_LIVE] == len(late_live)
    assert bool(halts[OVERFILL]) is any(order.life.is_overfilled for order in orders.values())
    for number in late_live:
        life = orders[number].life
        canceled = any(command.order_no == number for command in venue.canceled)
        assert canceled or life.state in (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED)
    assert {number for number, event in last.items() if event.state in TERMINAL}.isdisjoint(
        pipeline.stages.risk.state.reservations
    )
