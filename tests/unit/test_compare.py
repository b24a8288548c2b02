"""Comparing a replay with its record: the first difference is found and named, wherever it lies."""

import msgspec

from claire.engine.compare import Comparison
from claire.engine.ports import Recorded
from claire.model.decisions import Denial, Fill, Intent, OrderEvent, Signal
from claire.model.market import Side
from tests.support.markets import Listening, ListSource, run, signal, trade


def decided() -> list[tuple[int, Recorded]]:
    """The decisions of a small run, each with the input that caused it."""
    heard = Listening()
    run(
        ListSource([trade(n, 10_000 + 100 * (n % 3)) for n in range(20)]),
        "lookback_s=0",
        "threshold_pct=0.5",
        "max_hold_s=2",
        "paper.latency_ms=0",
        recorders=(heard,),
    )
    kinds = Signal | Intent | Denial | OrderEvent | Fill
    return [(number, event) for number, event in heard.decided_at if isinstance(event, kinds)]


def replayed(record: list[tuple[int, Recorded]], now: list[tuple[int, Recorded]]) -> Comparison:
    comparison = Comparison(iter(record))
    for number, event in now:
        comparison.decided(number, event)
    comparison.finish()
    return comparison


def test_the_same_decisions_are_identical():
    record = decided()
    assert len(record) > 20
    comparison = replayed(record, decided())
    assert comparison.difference is None
    assert comparison.is_exhausted
    assert comparison.decisions == len(record)


def test_any_changed_field_of_any_decision_is_found_and_named():
    record = decided()
    for place, (number, event) in enumerate(record):
        altered = msgspec.structs.replace(event, ts_event_ns=event.ts_event_ns + 1)
        now = [*record[:place], (number, altered), *record[place + 1 :]]
        difference = replayed(record, now).difference
        assert difference is not None
        assert (difference.decision, difference.input_no) == (place + 1, number)
        assert difference.fields == ["ts_event_ns"]
        assert difference.recorded is not None
        assert difference.replayed is not None
        assert difference.replayed["ts_event_ns"] == difference.recorded["ts_event_ns"] + 1


def test_the_same_decision_at_another_input_is_a_difference():
    record = decided()
    now = [*record[:-1], (record[-1][0] + 1, record[-1][1])]
    difference = replayed(record, now).difference
    assert difference is not None
    assert difference.fields == ["input_no"]


def test_a_missing_decision_is_found():
    record = decided()
    difference = replayed(record, record[:-1]).difference
    assert difference is not None
    assert (difference.decision, difference.input_no, difference.replayed) == (len(record), 0, None)


def test_a_decision_too_many_is_found():
    record = decided()
    difference = replayed(record[:-1], record).difference
    assert difference is not None
    assert (difference.decision, difference.recorded) == (len(record), None)


def test_a_decision_of_another_kind_says_so():
    record = decided()
    denial_like = signal(Side.SELL, 1)
    place = next(n for n, (_, event) in enumerate(record) if isinstance(event, Intent))
    now = [*record[:place], (record[place][0], denial_like)]
    difference = replayed(record, now).difference
    assert difference is not None
    assert "event" in difference.fields


def test_only_the_first_difference_is_told():
    record = decided()
    comparison = Comparison(iter(record))
    comparison.decided(999, signal(Side.BUY, 1))
    first = comparison.difference
    for number, event in record:
        comparison.decided(number, event)
    comparison.finish()
    assert comparison.difference is first
    assert comparison.decisions == 0


def test_nothing_recorded_and_nothing_decided_is_identical():
    comparison = replayed([], [])
    assert comparison.is_exhausted
    assert comparison.difference is None
