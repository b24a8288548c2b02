"""An order ends where what happened puts it, however often and in whatever order that is heard."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from claire.model.orders import TRANSITIONS, Evidence, OrderLife, OrderState, state_of

E = Evidence
FROM_VENUE = (E.ACKNOWLEDGED, E.CANCEL_REFUSED, E.CANCELED, E.EXPIRED, E.REJECTED)
OURS = (E.CANCEL_REQUESTED, E.UNKNOWN, E.ABSENT)
QUANTITY = 12

evidence = st.lists(st.sampled_from(FROM_VENUE + OURS), max_size=6)
cuts = st.lists(st.integers(1, 6), max_size=4).filter(lambda sizes: sum(sizes) <= QUANTITY)


def hear(order: OrderLife, events: list[Evidence | tuple[str, int]]) -> list[OrderState]:
    """Let an order hear events; return the states that it went through."""
    states = [order.state]
    for event in events:
        if isinstance(event, Evidence):
            order.note(event)
        else:
            order.fill(*event)
        states.append(order.state)
    return states


@given(evidence, cuts, st.data())
def test_the_final_order_depends_on_what_happened_not_on_the_order_of_hearing_it(
    heard: list[Evidence], sizes: list[int], data: st.DataObject
) -> None:
    events: list[Evidence | tuple[str, int]] = [*heard, *((f"trade-{k}", size) for k, size in enumerate(sizes))]
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    first, second = OrderLife(QUANTITY), OrderLife(QUANTITY)
    first.note(E.SENT)
    second.note(E.SENT)
    once = hear(first, events)
    shuffled = hear(second, data.draw(st.permutations([*events, *repeated])))
    assert (first.state, first.filled_lots) == (second.state, second.filled_lots)
    assert second.filled_lots == sum(sizes)
    assert first.leaves_lots == second.leaves_lots
    if E.REJECTED not in heard:
        alive = E.ACKNOWLEDGED in heard or bool(sizes)
        assert first.late_live is second.late_live is (alive and E.ABSENT in heard)
    for states in (once, shuffled):
        assert all(after is before or after in TRANSITIONS[before] for before, after in pairwise(states))


@given(st.integers(0, QUANTITY), st.lists(st.sampled_from(list(E)), unique=True))
def test_the_state_does_not_depend_on_the_order_of_the_evidence(filled_lots: int, heard: list[Evidence]) -> None:
    forwards = dict.fromkeys(heard, True)
    backwards = dict.fromkeys(reversed(heard), True)
    assert state_of(filled_lots, QUANTITY, forwards) is state_of(filled_lots, QUANTITY, backwards)
    assert (state_of(filled_lots, QUANTITY, forwards) is OrderState.FILLED) == (filled_lots == QUANTITY)
