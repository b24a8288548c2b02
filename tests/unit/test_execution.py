"""Execution: every intent is on record before it is sent, is sent once, and has one life."""

from decimal import Decimal

import pytest

from claire.model.decisions import (
    Cancel,
    ControlEvent,
    Fill,
    Intent,
    OrderEvent,
    SetTimer,
    Submit,
    TradingState,
    VenueReport,
)
from claire.model.market import Side, Timer
from claire.model.orders import Evidence, IllegalTransition, OrderState, OrderType
from claire.stages.execution import Execution
from tests.contract.venue_desk import intent

S, E = OrderState, Evidence
DAY_NS = 24 * 3_600 * 1_000_000_000


def ask(order_no: int = 1, kind: OrderType = OrderType.MARKET, *, at_ns: int = 100, expires_ns: int = 0) -> Intent:
    return intent(
        order_no, Side.BUY, kind, 10, 0 if kind is OrderType.MARKET else 500, at_ns=at_ns, expires_ns=expires_ns
    )


def heard(evidence: Evidence, order_no: int = 1, *, at_ns: int = 200, code: str = "", reason: str = "") -> VenueReport:
    return VenueReport(order_no, at_ns, evidence, code=code, reason=reason, venue_order_id=f"V{order_no}")


def traded(trade_id: str, lots: int, order_no: int = 1, *, at_ns: int = 200) -> VenueReport:
    return VenueReport(order_no, at_ns, None, trade_id, 500, lots, Decimal("0.1"), "USDT", Decimal("0.1"))


def states(outputs: object) -> list[OrderState]:
    assert isinstance(outputs, tuple)
    return [output.state for output in outputs if isinstance(output, OrderEvent)]


class TestSending:
    def test_an_intent_is_on_record_as_sent_before_it_is_sent(self) -> None:
        made = ask()
        recorded, sent, submit = Execution().on_intent(made)
        assert isinstance(recorded, OrderEvent)
        assert isinstance(sent, OrderEvent)
        assert (recorded.state, submit, sent.state) == (S.INTENT, Submit(made), S.SENT)
        assert (recorded.ts_event_ns, recorded.client_order_id) == (100, "c1")

    def test_an_intent_is_sent_once(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        with pytest.raises(ValueError, match="order 1 was sent before"):
            execution.on_intent(ask())

    def test_an_intent_past_its_expiry_is_not_sent(self) -> None:
        execution = Execution()
        execution.on_intent(ask(1, at_ns=1_000))
        outputs = execution.on_intent(ask(2, at_ns=900, expires_ns=999))
        assert states(outputs) == [S.INTENT, S.NOT_SENT]
        assert len(outputs) == 2

    def test_an_intent_may_be_sent_at_its_expiry(self) -> None:
        outputs = Execution().on_intent(ask(at_ns=100, expires_ns=100))
        assert states(outputs) == [S.INTENT, S.SENT]


class TestReports:
    def test_a_life_is_told_by_its_changes_only(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        assert states(execution.on_report(heard(E.ACKNOWLEDGED))) == [S.OPEN]
        assert execution.on_report(heard(E.ACKNOWLEDGED)) == ()
        first = execution.on_report(traded("a", 4))
        assert states(first) == [S.PARTIALLY_FILLED]
        second = execution.on_report(traded("b", 2))
        assert states(second) == [S.PARTIALLY_FILLED]
        last = execution.on_report(traded("c", 4))
        assert states(last) == [S.FILLED]
        assert execution.live == ()

    def test_a_fill_comes_before_the_order_that_it_changes(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        fill, order = execution.on_report(traded("a", 4, at_ns=321))
        assert fill == Fill(
            order_no=1,
            strategy_id="test",
            symbol="ABCUSDT",
            side=Side.BUY,
            price_ticks=500,
            quantity_lots=4,
            fee=Decimal("0.1"),
            fee_asset="USDT",
            fee_value=Decimal("0.1"),
            is_maker=False,
            reduce_only=False,
            ts_event_ns=321,
            trade_id="a",
        )
        assert isinstance(order, OrderEvent)
        assert (order.filled_lots, order.quantity_lots, order.ts_event_ns) == (4, 10, 321)

    def test_a_repeated_execution_is_booked_once_even_after_the_end(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        execution.on_report(traded("a", 4))
        assert execution.on_report(traded("a", 4)) == ()
        execution.on_report(traded("b", 6))
        assert execution.on_report(traded("a", 4, at_ns=10**12)) == ()

    def test_a_refusal_carries_the_venues_code(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        (event,) = execution.on_report(heard(E.REJECTED, code="30002", reason="too small"))
        assert isinstance(event, OrderEvent)
        assert (event.state, event.code, event.reason, event.venue_order_id) == (S.REJECTED, "30002", "too small", "V1")

    def test_a_late_fill_is_booked_and_marked(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        execution.on_report(heard(E.CANCELED))
        fill, order = execution.on_report(traded("a", 4))
        assert isinstance(fill, Fill)
        assert isinstance(order, OrderEvent)
        assert (order.state, order.filled_lots, order.reason) == (S.CANCELED, 4, "late fill")

    def test_a_report_may_hold_an_execution_and_an_end(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        both = VenueReport(1, 200, E.CANCELED, "a", 500, 4)
        fill, order = execution.on_report(both)
        assert isinstance(fill, Fill)
        assert isinstance(order, OrderEvent)
        assert (order.state, order.filled_lots, order.reason) == (S.CANCELED, 4, "")

    @pytest.mark.parametrize("order_no", [0, 2, 9])
    def test_a_report_on_an_order_that_was_never_sent_raises(self, order_no: int) -> None:
        execution = Execution()
        execution.on_intent(ask(1))
        with pytest.raises(ValueError, match=f"reports on order {order_no} .*, which was never sent"):
            execution.on_report(heard(E.ACKNOWLEDGED, order_no))

    def test_a_report_that_says_nothing_raises(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        with pytest.raises(ValueError, match="neither evidence nor an execution"):
            execution.on_report(VenueReport(1, 200))

    def test_more_than_the_order_is_booked_and_halts(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        fill, order, halt = execution.on_report(traded("a", 11))
        assert isinstance(fill, Fill)
        assert isinstance(order, OrderEvent)
        assert (fill.quantity_lots, order.state, order.filled_lots) == (11, S.FILLED, 11)
        assert halt == ControlEvent(
            TradingState.HALTED, "order 1 (c1) executed 11 lots of 10 (trade a)", "overfill", 200
        )
        assert execution.on_report(traded("a", 11)) == ()

    def test_a_report_against_the_table_raises(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        execution.on_report(heard(E.ACKNOWLEDGED))
        with pytest.raises(IllegalTransition):
            execution.on_report(heard(E.NOT_SENT))


class TestLateLive:
    """An order that is found alive after it was proven not to be."""

    def absent(self) -> Execution:
        execution = Execution()
        execution.on_intent(ask())
        execution.on_report(heard(E.UNKNOWN))
        assert states(execution.on_report(heard(E.ABSENT))) == [S.ABSENT]
        return execution

    def test_it_stays_absent_is_canceled_and_trading_halts(self) -> None:
        execution = self.absent()
        order, cancel, halt = execution.on_report(heard(E.ACKNOWLEDGED, at_ns=300))
        assert isinstance(order, OrderEvent)
        assert (order.state, order.reason, order.venue_order_id) == (S.ABSENT, "late live", "V1")
        assert cancel == Cancel(1, "ABCUSDT", 300)
        assert halt == ControlEvent(
            TradingState.HALTED, "order 1 (test: BUY ABCUSDT, c1) is alive; it was taken for ABSENT", "late live", 300
        )
        assert execution.on_report(heard(E.ACKNOWLEDGED)) == ()

    def test_its_fills_are_booked_and_it_halts_once(self) -> None:
        execution = self.absent()
        fill, order, cancel, halt = execution.on_report(traded("a", 4))
        assert isinstance(fill, Fill)
        assert isinstance(order, OrderEvent)
        assert (order.state, order.filled_lots, order.reason) == (S.ABSENT, 4, "late live")
        assert isinstance(cancel, Cancel)
        assert isinstance(halt, ControlEvent)
        fill, order = execution.on_report(traded("b", 6))
        assert isinstance(fill, Fill)
        assert isinstance(order, OrderEvent)
        assert (order.state, order.reason) == (S.FILLED, "late fill")

    def test_one_that_filled_at_once_cannot_be_canceled_and_halts_all_the_same(self) -> None:
        outputs = self.absent().on_report(traded("a", 10))
        assert [type(output) for output in outputs] == [Fill, OrderEvent, ControlEvent]
        assert states(outputs) == [S.FILLED]

    def test_an_order_that_is_open_when_its_absence_is_reported_is_as_strange(self) -> None:
        execution = Execution()
        execution.on_intent(ask())
        execution.on_report(heard(E.ACKNOWLEDGED))
        outputs = execution.on_report(heard(E.ABSENT))
        assert [type(output) for output in outputs] == [OrderEvent, Cancel, ControlEvent]
        assert states(outputs) == [S.ABSENT]
        assert execution.live == ()


class TestExpiry:
    @pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.LIMIT_MAKER])
    def test_a_resting_order_asks_to_be_woken_at_its_expiry(self, kind: OrderType) -> None:
        outputs = Execution().on_intent(ask(kind=kind, expires_ns=5_000))
        assert outputs[-1] == SetTimer(5_000, "expire:1")

    @pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.IOC, OrderType.FOK])
    def test_an_order_that_does_not_rest_needs_no_timer(self, kind: OrderType) -> None:
        assert len(Execution().on_intent(ask(kind=kind, expires_ns=5_000))) == 3

    def test_an_order_that_is_live_at_its_expiry_is_canceled(self) -> None:
        execution = Execution()
        execution.on_intent(ask(kind=OrderType.LIMIT, expires_ns=5_000))
        execution.on_report(heard(E.ACKNOWLEDGED))
        order, cancel = execution.on_timer(Timer(5_000, "expire:1"))
        assert isinstance(order, OrderEvent)
        assert (order.state, order.reason) == (S.PENDING_CANCEL, "expired")
        assert cancel == Cancel(1, "ABCUSDT", 5_000)

    def test_an_order_without_an_answer_yet_is_canceled_all_the_same(self) -> None:
        execution = Execution()
        execution.on_intent(ask(kind=OrderType.LIMIT, expires_ns=5_000))
        assert execution.on_timer(Timer(5_000, "expire:1")) == (Cancel(1, "ABCUSDT", 5_000),)

    def test_a_finished_order_is_left_alone(self) -> None:
        execution = Execution()
        execution.on_intent(ask(kind=OrderType.LIMIT, expires_ns=5_000))
        execution.on_report(traded("a", 10))
        assert execution.on_timer(Timer(5_000, "expire:1")) == ()

    def test_timers_of_other_stages_are_none_of_its_business(self) -> None:
        assert Execution().on_timer(Timer(5_000, "candles:1")) == ()


class TestMemory:
    def test_with_a_venue_outside_nothing_is_ever_forgotten(self) -> None:
        execution = Execution(remember_ns=None)
        execution.on_intent(ask(1))
        execution.on_report(traded("a", 10))
        execution.on_intent(ask(2, at_ns=400 * DAY_NS))
        assert execution.on_report(traded("a", 10, at_ns=401 * DAY_NS)) == ()
        assert (list(execution.orders), len(execution.finished)) == ([1, 2], 0)

    def test_finished_orders_are_forgotten_after_a_day_and_live_ones_never(self) -> None:
        execution = Execution()
        execution.on_intent(ask(1))
        execution.on_intent(ask(2))
        execution.on_report(traded("a", 10, at_ns=200))
        execution.on_intent(ask(3, at_ns=200 + DAY_NS))
        assert list(execution.orders) == [1, 2, 3]
        execution.on_intent(ask(4, at_ns=201 + DAY_NS))
        assert list(execution.orders) == [2, 3, 4]
        assert execution.on_report(heard(E.CANCELED, at_ns=202 + DAY_NS)) == ()
        (halt,) = execution.on_report(traded("a", 10, at_ns=202 + DAY_NS))
        assert isinstance(halt, ControlEvent)
        assert (halt.state, halt.operator) == (TradingState.HALTED, "forgotten order")
        assert halt.reason.startswith("order 1 executed (trade a) long after it had finished")
        with pytest.raises(ValueError, match="an intent is sent once"):
            execution.on_intent(ask(1, at_ns=203 + DAY_NS))

    def test_an_expiry_timer_of_a_forgotten_order_does_nothing(self) -> None:
        execution = Execution()
        execution.on_intent(ask(kind=OrderType.LIMIT, expires_ns=3 * DAY_NS))
        execution.on_report(traded("a", 10))
        assert execution.on_timer(Timer(3 * DAY_NS, "expire:1")) == ()
        assert execution.orders == {}

    def test_a_long_run_keeps_a_small_state(self) -> None:
        execution = Execution(remember_ns=1_000)
        for order_no in range(1, 2_001):
            at_ns = 100 * order_no
            execution.on_intent(ask(order_no, at_ns=at_ns))
            execution.on_report(traded(f"t{order_no}", 10, order_no, at_ns=at_ns))
        assert len(execution.orders) == len(execution.finished) == 11
