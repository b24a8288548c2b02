"""The order life: one table of legal changes, and a state that follows from what was heard."""

from itertools import permutations

import pytest

from claire.model.orders import TERMINAL, TRANSITIONS, Evidence, IllegalTransition, OrderLife, OrderState, state_of

E, S = Evidence, OrderState


def life(*evidence: Evidence, quantity_lots: int = 10) -> OrderLife:
    made = OrderLife(quantity_lots)
    for one in evidence:
        made.note(one)
    return made


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(S)


def test_a_terminal_state_never_leads_back_to_a_live_one() -> None:
    for state in TERMINAL:
        assert all(after in TERMINAL for after in TRANSITIONS[state])


def test_filled_is_the_end() -> None:
    assert TRANSITIONS[S.FILLED] == ()


def test_every_state_but_the_first_can_be_reached() -> None:
    reached = {S.INTENT}
    for _ in S:
        reached |= {after for state in S if state in reached for after in TRANSITIONS[state]}
    assert reached == set(S)


def test_an_ordinary_order_is_sent_opened_and_filled() -> None:
    order = life(E.SENT)
    assert (order.state, order.leaves_lots) == (S.SENT, 10)
    assert order.note(E.ACKNOWLEDGED)
    assert order.state is S.OPEN
    assert order.fill("a", 4)
    assert (order.state, order.leaves_lots) == (S.PARTIALLY_FILLED, 6)
    assert order.fill("b", 6)
    assert (order.state, order.leaves_lots, order.is_terminal) == (S.FILLED, 0, True)


def test_a_fill_is_counted_once() -> None:
    order = life(E.SENT)
    assert order.fill("a", 4)
    assert not order.fill("a", 4)
    assert order.filled_lots == 4


@pytest.mark.parametrize("quantity_lots", [0, -1])
def test_a_fill_of_nothing_raises(quantity_lots: int) -> None:
    with pytest.raises(ValueError, match=r"fill a of .* lots is none"):
        life(E.SENT).fill("a", quantity_lots)


def test_what_a_venue_executes_beyond_the_order_is_counted_for_it_happened() -> None:
    order = life(E.SENT)
    order.fill("a", 10)
    assert not order.is_overfilled
    assert order.fill("b", 1)
    assert (order.state, order.filled_lots, order.leaves_lots, order.is_overfilled) == (S.FILLED, 11, 0, True)


def test_a_fill_before_the_acknowledgement_opens_the_order() -> None:
    order = life(E.SENT)
    order.fill("a", 4)
    assert order.state is S.PARTIALLY_FILLED
    assert not order.note(E.ACKNOWLEDGED)


def test_a_cancel_asked_for_is_pending_until_it_is_answered() -> None:
    order = life(E.SENT)
    states = []
    for heard in (E.CANCEL_REQUESTED, E.ACKNOWLEDGED, E.CANCEL_REFUSED):
        order.note(heard)
        states.append(order.state)
    assert states == [S.SENT, S.PENDING_CANCEL, S.OPEN]


def test_a_lost_answer_is_unknown_until_the_venue_is_heard_or_absence_is_proven() -> None:
    assert life(E.SENT, E.UNKNOWN).state is S.UNKNOWN
    assert life(E.SENT, E.UNKNOWN, E.ACKNOWLEDGED).state is S.OPEN
    assert life(E.SENT, E.UNKNOWN, E.ABSENT).state is S.ABSENT


def test_an_order_found_alive_after_its_absence_was_proven_stays_absent_and_its_fills_count() -> None:
    order = life(E.SENT, E.UNKNOWN, E.ABSENT, E.ACKNOWLEDGED)
    assert order.fill("a", 4)
    assert (order.state, order.filled_lots) == (S.ABSENT, 4)
    order.fill("b", 6)
    assert order.state is S.FILLED


@pytest.mark.parametrize("void", [(E.ABSENT,), (E.UNKNOWN, E.ABSENT), (E.NOT_SENT,), (E.REJECTED,)])
@pytest.mark.parametrize("lots", [0, 4, 10])
def test_an_order_that_never_was_and_is_heard_of_alive_is_marked(void: tuple[Evidence, ...], lots: int) -> None:
    order = life(E.SENT, *void)
    state = order.state
    assert not order.late_live
    if lots:
        assert order.fill("a", lots)
    else:
        assert not order.note(E.ACKNOWLEDGED)
    assert order.late_live
    assert order.state is (S.FILLED if lots == 10 else state)
    assert order.may_work is (lots < 10)


@pytest.mark.parametrize("heard", list(permutations([E.UNKNOWN, E.ACKNOWLEDGED, E.ABSENT])))
def test_the_proof_of_absence_is_wrong_whether_it_comes_before_or_after_the_sign_of_life(
    heard: tuple[Evidence, ...],
) -> None:
    order = life(E.SENT, *heard)
    assert (order.state, order.late_live, order.may_work) == (S.ABSENT, True, True)


def test_an_order_that_the_venue_took_in_and_then_refused_is_nothing_strange() -> None:
    order = life(E.SENT, E.ACKNOWLEDGED, E.REJECTED)
    assert (order.state, order.late_live) == (S.REJECTED, False)


def test_a_late_end_ends_what_was_late_alive_and_the_mark_stays() -> None:
    order = life(E.SENT, E.ABSENT, E.ACKNOWLEDGED, E.CANCELED)
    assert (order.state, order.late_live, order.may_work) == (S.CANCELED, True, False)


def test_an_end_heard_of_an_order_that_was_absent_is_no_sign_of_life() -> None:
    assert not life(E.SENT, E.UNKNOWN, E.ABSENT, E.CANCELED).late_live


def test_a_late_fill_counts_and_a_complete_one_wins_over_the_cancel() -> None:
    order = life(E.SENT, E.ACKNOWLEDGED, E.CANCELED)
    assert order.fill("a", 4)
    assert (order.state, order.filled_lots, order.leaves_lots) == (S.CANCELED, 4, 0)
    order.fill("b", 6)
    assert order.state is S.FILLED


@pytest.mark.parametrize("heard", list(permutations([E.CANCELED, E.EXPIRED, E.REJECTED])))
def test_the_strongest_end_wins_in_whatever_order_it_is_heard(heard: tuple[Evidence, ...]) -> None:
    assert life(E.SENT, *heard).state is S.CANCELED


@pytest.mark.parametrize("heard", [(E.NOT_SENT,), (E.SENT, E.NOT_SENT)])
def test_an_order_that_never_left_ends_there(heard: tuple[Evidence, ...]) -> None:
    order = life(*heard)
    assert (order.state, order.is_terminal) == (S.NOT_SENT, True)


@pytest.mark.parametrize(
    ("heard", "impossible"),
    [
        ((), E.ACKNOWLEDGED),
        ((), E.CANCELED),
        ((), E.UNKNOWN),
        ((E.SENT, E.ACKNOWLEDGED), E.NOT_SENT),
        ((E.SENT, E.UNKNOWN), E.NOT_SENT),
    ],
)
def test_what_the_table_does_not_list_raises(heard: tuple[Evidence, ...], impossible: Evidence) -> None:
    order = life(*heard)
    before = order.state
    with pytest.raises(IllegalTransition, match=f"an order cannot go from {before} to"):
        order.note(impossible)
    assert order.state is before


def test_a_fill_of_an_order_that_was_never_sent_raises() -> None:
    with pytest.raises(IllegalTransition):
        life().fill("a", 1)


def test_lives_do_not_share_what_they_heard() -> None:
    first, second = life(E.SENT), OrderLife(10)
    first.fill("a", 1)
    assert (second.evidence, second.trade_ids) == ({}, {})


def test_the_state_is_a_function_of_quantity_fill_and_evidence() -> None:
    assert state_of(0, 10, {}) is S.INTENT
    assert state_of(10, 10, {E.CANCELED: True}) is S.FILLED
