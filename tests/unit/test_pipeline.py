"""The pipeline: what happens in which order around a trade, and that nothing due is forgotten."""

import pytest

from claire.adapters.venues.paper import PaperVenue
from claire.model.books import Posting
from claire.model.decisions import Fill, Intent, OrderEvent, RoundTrip, Signal, VenueReport
from claire.model.errors import DataError
from claire.model.market import Candle, MarketEvent, Timer, TopOfBook, Trade
from claire.model.orders import OrderState
from tests.support.markets import DAY_NS, PLAIN, SECOND_NS, SYMBOL, T0, Listening, ListSource, run, trade

JUMP = ("lookback_s=0", "threshold_pct=1", "stop_loss_pct=1", "take_profit_pct=50", "max_hold_s=0")
MS_NS = 1_000_000


def test_with_no_latency_an_order_fills_at_the_trade_that_caused_it_a_tick_worse():
    heard = Listening()
    run(ListSource([trade(0, 10_000), trade(1, 10_200), trade(2, 9_000)]), *PLAIN, *JUMP, recorders=(heard,))
    entry, leave = heard.of(Fill)
    assert (entry.ts_event_ns, entry.price_ticks) == (T0 + SECOND_NS, 10_201)
    assert (leave.ts_event_ns, leave.price_ticks) == (T0 + 2 * SECOND_NS, 8_999)


def test_a_decision_is_followed_by_what_it_caused_in_this_order():
    heard = Listening()
    run(ListSource([trade(0, 10_000), trade(1, 10_200), trade(2, 9_000)]), *PLAIN, *JUMP, recorders=(heard,))
    story = [
        e.state.value if isinstance(e, OrderEvent) else type(e).__name__
        for e in heard.heard
        if not isinstance(e, Posting)
    ]
    per_order = ["Signal", "Reserved", "Intent", "INTENT", "SENT", "OPEN", "Fill", "FILLED"]
    found = [word for word in story if word != "PortfolioSnapshot"]
    assert found == [*per_order, *per_order, "RoundTrip"]


def test_a_strategy_learns_of_a_fill_before_the_next_trade_even_one_of_the_same_time():
    heard = Listening()
    run(ListSource([trade(0, 10_000), trade(1, 10_200), trade(1, 9_000)]), *PLAIN, *JUMP, recorders=(heard,))
    assert [signal.reason for signal in heard.of(Signal)] == ["entry", "stop_loss"]
    assert len(heard.of(RoundTrip)) == 1


def test_with_latency_an_order_fills_at_the_first_trade_after_its_arrival():
    heard = Listening()
    events = [trade(0, 10_000), trade(1, 10_200), trade(1.019, 10_300), trade(1.04, 10_400), trade(1.5, 10_500)]
    made = run(
        ListSource(events), *PLAIN, *JUMP, "paper.latency_ms=20", "paper.response_latency_ms=70", recorders=(heard,)
    )
    (entry,) = heard.of(Fill)
    assert entry.price_ticks == 10_401
    assert entry.ts_event_ns == T0 + 1_040 * MS_NS + 50 * MS_NS  # response less feed
    assert made.pipeline.stages.signals.desks[0].suppressed["order_live"] == 2


def test_the_mark_is_the_last_trade_when_risk_sizes_an_order():
    heard = Listening()
    run(ListSource([trade(0, 10_000), trade(1, 10_200)]), *PLAIN, *JUMP, recorders=(heard,))
    (intent,) = heard.of(Intent)
    assert intent.quantity_lots == 5_000 // 102


def test_inputs_are_numbered_as_they_enter_reports_and_timers_included():
    heard = Listening()
    made = run(
        ListSource([trade(0, 10_000), trade(1, 10_200), trade(120, 10_200)]),
        *PLAIN,
        *JUMP,
        recorders=(heard,),
        records_inputs=True,
    )
    numbers = [number for number, _ in heard.numbered]
    kinds = [type(event) for _, event in heard.numbered]
    assert numbers == list(range(1, made.pipeline.input_no + 1))
    assert kinds == [Trade, Trade, VenueReport, VenueReport, Timer, Trade]
    assert made.pipeline.trades_in == 3


def test_timers_due_before_a_trade_come_before_it_and_see_the_world_as_it_was():
    heard = Listening()
    run(ListSource([trade(0, 10_000), trade(200, 12_345)]), recorders=(heard,), records_inputs=True)
    candles = heard.of(Candle)
    assert [candle.close_ticks for candle in candles] == [10_000] * 3
    assert [candle.empty for candle in candles] == [False, True, True]
    assert [candle.ts_event_ns for candle in candles] == [T0 + n * SECOND_NS for n in (62, 122, 182)]
    assert [event.ts_event_ns for _, event in heard.numbered] == sorted(
        event.ts_event_ns for _, event in heard.numbered
    )


def test_a_resting_entry_is_cancelled_when_its_time_is_over():
    heard = Listening()
    events = [trade(0, 10_000), trade(1, 10_200), trade(1.5, 10_300), trade(9, 10_300), trade(10, 10_300)]
    made = run(
        ListSource(events),
        *PLAIN,
        *JUMP,
        "execution.entry_type=limit",
        "execution.entry_ttl_s=5",
        "paper.latency_ms=10",
        recorders=(heard,),
    )
    last = heard.of(OrderEvent)[-1]
    assert (last.state, last.filled_lots) == (OrderState.CANCELED, 0)
    assert T0 + 6 * SECOND_NS <= last.ts_event_ns < T0 + 9 * SECOND_NS
    assert made.pipeline.stages.execution.live == ()
    assert made.pipeline.stages.risk.state.reservations == {}


def test_equity_is_looked_at_on_a_grid_of_data_time_while_something_is_held():
    def fall(low_from_s: float, low_to_s: float) -> float:
        """Hold from second 1 on, with a low between two moments."""
        low = [trade(low_from_s, 10_110), trade(low_to_s, 10_200)]
        made = run(ListSource([trade(0, 10_000), trade(1, 10_200), *low, trade(6, 10_200)]), *PLAIN, *JUMP)
        return made.pipeline.stages.portfolio.max_drawdown_pct

    between, across, at_the_end, at_the_start = fall(2.1, 2.9), fall(2.1, 3.1), fall(2.1, 3), fall(3, 3.5)
    assert between == at_the_start  # a trade at a grid point comes after the look
    assert across == at_the_end > between


def test_the_day_turns_at_midnight_even_when_nothing_is_held():
    midnight_s = (T0 // DAY_NS * DAY_NS + DAY_NS - T0) / SECOND_NS
    made = run(ListSource([trade(0, 10_000), trade(midnight_s - 1, 10_000), trade(midnight_s, 10_000)]))
    assert made.pipeline.stages.risk.state.day == T0 // DAY_NS + 1


def test_a_loss_of_the_day_stops_entries_until_midnight_in_a_whole_run():
    midnight_s = round((T0 // DAY_NS * DAY_NS + DAY_NS - T0) / SECOND_NS)
    events = [trade(number, ticks) for number, ticks in enumerate([10_000, 10_200, 5_000, 5_000])]
    events += [
        trade(start + number, ticks)
        for start in (200, midnight_s - 10, midnight_s + 10)
        for number, ticks in enumerate([5_000, 5_100, 5_000, 5_000])
    ]
    heard = Listening()
    made = run(
        ListSource(events),
        "paper.latency_ms=0",
        "allocation.mode=full",
        "risk.max_daily_loss_pct=2",
        *JUMP,
        recorders=(heard,),
    )
    entries = [(s.ts_event_ns - T0) // SECOND_NS for s in heard.of(Fill) if not s.reduce_only]
    assert entries == [1, midnight_s + 11]
    assert made.tally.denials == {"DAILY_LOSS_LIMIT": 2}


def test_a_book_is_where_orders_go_when_there_is_one():
    heard = Listening()
    events: list[MarketEvent] = [
        TopOfBook(SYMBOL, T0, 9_990, 1_000, 10_010, 20),
        trade(1, 10_000),
        TopOfBook(SYMBOL, T0 + 2 * SECOND_NS, 10_190, 1_000, 10_230, 20),
        trade(3, 10_200),
        TopOfBook(SYMBOL, T0 + 4 * SECOND_NS, 9_000, 1_000, 9_020, 500),
        trade(5, 9_010),
        trade(6, 9_010),
    ]
    made = run(ListSource(events), *PLAIN, *JUMP, recorders=(heard,))
    assert made.pipeline.book_events == 3
    assert made.pipeline.trades_in == 4
    assert [(f.price_ticks, f.quantity_lots) for f in heard.of(Fill)] == [(10_230, 20), (9_000, 20)]
    venue = made.pipeline.venue
    assert isinstance(venue, PaperVenue)
    assert venue.is_idle


def test_a_jump_of_ages_is_refused_before_it_costs_anything():
    with pytest.raises(DataError, match=r"market time jumps from \d+ ns to \d+ ns, more than 366 days"):
        run(ListSource([trade(0, 10_000), trade(367 * 86_400, 10_000)]))
