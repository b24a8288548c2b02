"""Which channels go on which connection, and what becomes of a subscription."""

from hypothesis import given
from hypothesis import strategies as st

from claire.adapters.venues.mexc.channels import book_ticker, deals, depth
from claire.adapters.venues.mexc.subscriptions import Assignment, State, SubscriptionTable

SECOND = 1_000_000_000
A, B, C = (deals(symbol).name for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))


def table() -> SubscriptionTable:
    """Three channels that were asked for in one message."""
    made = SubscriptionTable([A, B, C], ack_timeout_ns=SECOND, max_attempts=2)
    made.requested(1, [A, B, C], 0)
    return made


def test_two_thousand_symbols_take_67_connections():
    assignment = Assignment()
    for number in range(2_000):
        assignment.add([deals(f"C{number:04d}USDT").name])
    assert len(assignment.slots) == 67
    assert all(len(slot) <= 30 for slot in assignment.slots)


def test_the_channels_of_one_symbol_stay_together():
    assignment = Assignment(per_slot=7)
    for symbol in ("AUSDT", "BUSDT", "CUSDT", "DUSDT"):
        group = [make(symbol).name for make in (deals, depth, book_ticker)]
        assignment.add(group)
        assert len({assignment.slot_of(name) for name in group}) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120))
def test_adding_and_removing_moves_no_other_channel(steps):
    assignment = Assignment(per_slot=3)
    where: dict[str, int] = {}
    for adds, number in steps:
        name = deals(f"C{number}USDT").name
        if adds:
            assignment.add([name])
            where.setdefault(name, assignment.slot_of(name))
        elif name in where:
            assignment.remove(name)
            del where[name]
        assert {each: assignment.slot_of(each) for each in where} == where
        assert sorted(each for slot in assignment.slots for each in slot) == sorted(where)
        assert all(len(slot) <= 3 for slot in assignment.slots)


def test_a_subscription_is_active_after_its_acknowledgement_and_its_first_message_in_any_order():
    made = table()
    made.heard(A)
    assert made[A].state is State.REQUESTED
    made.answered(1, [A, B], [C], "Blocked!")
    assert [made[name].state for name in (A, B, C)] == [State.ACTIVE, State.ACKNOWLEDGED, State.REFUSED]
    made.heard(B)
    assert made[B].state is State.ACTIVE
    assert made[C].text == "Blocked!"
    assert made.is_settled
    assert not made.unheard


def test_an_empty_answer_says_that_all_was_on_before():
    made = table()
    made.answered(1, (), (), "")
    assert made.count(State.ACKNOWLEDGED) == 3


def test_an_answer_to_something_else_accepts_nothing():
    made = table()
    assert made.answered(99, [A], [], "") == []
    assert made.count(State.REQUESTED) == 3


def test_an_answer_without_an_id_counts_by_its_names():
    made = table()
    made.answered(0, [A], [], "")
    assert made[A].state is State.ACKNOWLEDGED


def test_what_is_not_answered_is_asked_for_again_and_then_lost():
    made = table()
    made.answered(1, [A], [], "")
    assert made.overdue(SECOND - 1) == ([], [])
    assert made.overdue(SECOND) == ([B, C], [])
    made.requested(2, [B, C], SECOND)
    assert made.overdue(2 * SECOND) == ([], [B, C])
    assert made[B].state is State.LOST
    assert made.is_settled


def test_a_refused_channel_stays_refused_until_it_is_asked_for_again():
    made = table()
    made.answered(1, [], [A], "Blocked!")
    made.answered(0, [A], [], "")
    assert made[A].state is State.REFUSED


def test_what_speaks_from_now_on_can_be_listened_for():
    made = table()
    made.answered(1, [A, B, C], [], "")
    for name in (A, B, C):
        made.heard(name)
    fresh = made.listen_anew()
    assert fresh() == []
    made.heard(B)
    assert fresh() == [B]
