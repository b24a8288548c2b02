"""Through execution, a venue may say things twice and in any order: the books come out the same."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from claire.model.decisions import Cancel, ControlEvent, Fill, OrderEvent, TradingState, VenueReport
from claire.model.market import Side
from claire.model.orders import TRANSITIONS, Evidence, OrderState, OrderType
from claire.stages.execution import LATE_LIVE, Execution
from tests.contract.venue_desk import PaperDesk, intent

ENDS = st.sampled_from([None, Evidence.CANCELED, Evidence.EXPIRED, Evidence.REJECTED, Evidence.ABSENT])


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, list[VenueReport]]:
    """Draw an order's quantity and what a venue reports of it."""
    quantity_lots = draw(st.integers(1, 20))
    sizes = draw(st.lists(st.integers(1, 8), max_size=5))
    reports = [VenueReport(1, 200, Evidence.ACKNOWLEDGED, venue_order_id="V1")]
    left = quantity_lots
    for number, size in enumerate(sizes):
        lots = min(size, left)
        if lots:
            reports.append(VenueReport(1, 200, None, f"trade-{number}", 500 + number, lots))
        left -= lots
    end = draw(ENDS)
    if end is not None:
        reports.append(VenueReport(1, 200, end))
    return quantity_lots, reports


def live_through(
    quantity_lots: int, reports: Sequence[VenueReport]
) -> tuple[OrderState, int, list[tuple[str, int, int]]]:
    """Return the final state, the cumulative fill and the fills booked, by trade id; check every change on the way."""
    execution = Execution()
    events = [*execution.on_intent(intent(1, Side.BUY, OrderType.LIMIT, quantity_lots, 500))]
    for report in reports:
        events += execution.on_report(report)
    told = [event for event in events if isinstance(event, OrderEvent)]
    for before, after in pairwise(told):
        assert after.state is before.state or after.state in TRANSITIONS[before.state]
        assert (after.state, after.filled_lots) != (before.state, before.filled_lots) or after.reason == LATE_LIVE
        assert after.filled_lots >= before.filled_lots
    fills = sorted(
        (event.trade_id, event.price_ticks, event.quantity_lots) for event in events if isinstance(event, Fill)
    )
    life = execution.orders[1].life
    halts = [event for event in events if isinstance(event, ControlEvent)]
    assert len(halts) == life.late_live
    assert all((halt.state, halt.operator) == (TradingState.HALTED, LATE_LIVE) for halt in halts)
    assert sum(isinstance(event, Cancel) for event in events) <= len(halts)
    assert (told[-1].state, told[-1].filled_lots) == (life.state, life.filled_lots)
    assert sum(lots for _, _, lots in fills) == life.filled_lots <= quantity_lots
    return life.state, life.filled_lots, fills


@given(stories(), st.data())
def test_the_same_reports_in_any_order_and_number_leave_the_same_order_and_fills(
    story: tuple[int, list[VenueReport]], data: st.DataObject
) -> None:
    quantity_lots, reports = story
    repeated = data.draw(st.lists(st.sampled_from(reports), max_size=6))
    shuffled = data.draw(st.permutations([*reports, *repeated]))
    assert live_through(quantity_lots, reports) == live_through(quantity_lots, shuffled)


@given(st.lists(st.tuples(st.integers(9_990, 10_010), st.integers(1, 80)), min_size=3, max_size=12), st.data())
def test_the_paper_venues_own_reports_may_come_in_any_order_and_twice(
    market: list[tuple[int, int]], data: st.DataObject
) -> None:
    desk = PaperDesk()
    desk.depth({9_995: 50}, {10_005: 50})
    order_no = desk.order(Side.BUY, OrderType.LIMIT, 120, 10_005)
    for price_ticks, lots in market:
        desk.trade(price_ticks, lots, Side.SELL)
    if data.draw(st.booleans()):
        desk.cancel(order_no)
        desk.settle()
    reports = [report for report in desk.reports if report.evidence is not Evidence.CANCEL_REFUSED]
    shuffled = data.draw(st.permutations([*reports, *reports]))
    assert live_through(120, reports) == live_through(120, shuffled)
