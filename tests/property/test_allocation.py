"""What holds of the allocation whatever the regimes do: only legal fractions, and chaos is remembered for its whole time."""

from decimal import Decimal
from heapq import heappop, heappush
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from claire.model.decisions import AllocationDecision, Regime, RegimeChanged, SetTimer
from claire.model.market import Timer
from claire.stages.allocation import HOUR_NS, AllocationRules, Allocations

COOLDOWN_NS = 72 * HOUR_NS
LEGAL = {Decimal(0), Decimal("0.25"), Decimal("0.5"), Decimal(1)}

histories = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 100 * HOUR_NS), st.sampled_from([0, 1, COOLDOWN_NS - 1, COOLDOWN_NS, COOLDOWN_NS + 1])
        ),
        st.sampled_from(list(Regime)),
    ),
    max_size=30,
)


def allowed_at(ts_event_ns: int, history: list[tuple[int, Regime]], rules: AllocationRules) -> Decimal:
    """Return the fraction by looking back: 0 within 72 h of any chaos, else what the latest regime allows."""
    past = [(at, regime) for at, regime in history if at <= ts_event_ns]
    if any(regime is Regime.HIGH_VOL_CHAOTIC and ts_event_ns < at + COOLDOWN_NS for at, regime in past):
        return Decimal(0)
    return rules.fraction(past[-1][1] if past else Regime.UNKNOWN)


@given(histories, st.booleans())
def test_the_fraction_is_legal_at_all_times_and_0_within_72_hours_of_chaos(steps, money_can_move):
    rules = AllocationRules(money_can_move=money_can_move)
    allocations = Allocations(rules)
    timers: list[tuple[int, str]] = []
    history: list[tuple[int, Regime]] = []
    decided: list[AllocationDecision] = []
    now = 0

    def take(events) -> None:
        for event in events:
            if isinstance(event, SetTimer):
                heappush(timers, (event.due_ns, event.id))
            else:
                decided.append(event)
                assert event.fraction == allocations.fraction("X")

    for wait, regime in steps:
        now += wait
        while timers and timers[0][0] <= now:
            due_ns, timer_id = heappop(timers)
            take(allocations.on_timer(Timer(due_ns, timer_id)))
            assert allocations.fraction("X") == allowed_at(due_ns, history, rules)
        history.append((now, regime))
        take(allocations.on_regime(RegimeChanged("X", Regime.UNKNOWN, regime, 0.0, 0.0, now)))
        assert allocations.fraction("X") == allowed_at(now, history, rules)

    fractions = [allocations.initial("X"), *(decision.fraction for decision in decided)]
    assert LEGAL.issuperset(fractions)
    assert all(before != after for before, after in pairwise(fractions))
    assert fractions[-1] == allocations.fraction("X")
    assert [decision.ts_event_ns for decision in decided] == sorted(decision.ts_event_ns for decision in decided)
