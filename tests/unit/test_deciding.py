"""What operators decided: on record, good for one act, until it expires."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.config import load
from claire.cli.trading import Again, _decided
from claire.model.errors import JournalError, SafetyRefusal, UsageError
from claire.services.auditing import verify
from claire.services.deciding import DECISIONS, add_decision, decisions_of, require_decision, use_decision

NOW = 1_800_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "accounts" / "main"
    folder.mkdir(parents=True)
    return folder


def add(account: Path, **changes: Any) -> int:
    values: dict[str, Any] = {
        "kind": "adjustment",
        "decision": "book the fee",
        "rationale": "the venue charged it",
        "impact": "0.42 USDT",
        "reversibility": "reversible",
        "evidence": "run x, entry 7",
        "operator": "ada",
        "now_ns": NOW,
        "expires_s": 3600,
    }
    return add_decision(account, **values | changes).ruled.number


def test_without_a_decision_nothing_is_allowed_and_it_is_told_how_to_make_one(account):
    assert decisions_of(account) == []
    with pytest.raises(SafetyRefusal, match="claire decision add --account main --kind rearm"):
        require_decision(account, "rearm", now_ns=NOW)


def test_one_decision_allows_one_act_of_its_kind(account):
    assert [add(account), add(account, kind="rearm")] == [1, 2]
    assert use_decision(account, "adjustment", "run y: --adjust USDT=-0.42", now_ns=NOW + 1).ruled.number == 1
    with pytest.raises(SafetyRefusal, match=r"number 1, was used \(run y: --adjust USDT=-0.42\)"):
        use_decision(account, "adjustment", "again", now_ns=NOW + 2)
    assert require_decision(account, "rearm", now_ns=NOW).ruled.number == 2
    assert [one.used is not None for one in decisions_of(account)] == [True, False]


def test_the_newest_one_that_holds_is_used(account):
    assert [add(account), add(account), add(account, expires_s=60)] == [1, 2, 3]
    assert use_decision(account, "adjustment", "a", now_ns=NOW + HOUR_NS // 2).ruled.number == 2


def test_a_decision_expires(account):
    add(account)
    assert require_decision(account, "adjustment", now_ns=NOW + HOUR_NS - 1).holds(NOW)
    with pytest.raises(SafetyRefusal, match="number 1, has expired"):
        require_decision(account, "adjustment", now_ns=NOW + HOUR_NS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "adjustmet"}, "Did you mean adjustment"),
        ({"reversibility": "revesible"}, "Did you mean reversible"),
        ({"decision": " "}, "--decision: a decision needs it"),
        ({"operator": ""}, "--operator"),
        ({"evidence": "a\nb"}, "printable"),
        ({"rationale": "x" * 3000}, "at most 2000"),
        ({"expires_s": 0}, "at most 30 days"),
        ({"expires_s": 31 * 86_400}, "at most 30 days"),
    ],
)
def test_a_decision_that_lacks_something_is_refused_and_leaves_nothing(account, changes, says):
    with pytest.raises(UsageError, match=says):
        add(account, **changes)
    assert decisions_of(account) == []


def test_an_account_that_is_not_there_decides_nothing(tmp_path):
    with pytest.raises(UsageError, match="no such account"):
        add(tmp_path / "accounts" / "mian")


def test_decisions_of_several_hands_at_once_are_all_kept(account):
    hands = [threading.Thread(target=add, args=(account,)) for _ in range(5)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert sorted(one.ruled.number for one in decisions_of(account)) == [1, 2, 3, 4, 5]
    assert verify(account / DECISIONS).is_intact


def test_two_hands_cannot_use_the_same_decision(account):
    add(account)
    got: list[str] = []

    def use(name: str) -> None:
        try:
            use_decision(account, "adjustment", name, now_ns=NOW)
            got.append(name)
        except SafetyRefusal:
            pass

    hands = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert len(got) == 1
    (one,) = decisions_of(account)
    assert one.used is not None
    assert one.used.purpose == got[0]


def test_a_correction_of_books_at_a_venue_uses_a_decision_up_and_names_it(account):
    run_dir, again = account.parent.parent / "run", Again("run", adjustments=("USDT=-0.42",), reason="the fee")
    paper, testnet = (
        load(assignments=["account.id=main"], mode=mode, environ={}).settings for mode in ("paper", "testnet")
    )
    assert _decided(again, run_dir, paper) == "the fee"
    assert _decided(Again("run", reason="no correction"), run_dir, testnet) == "no correction"
    with pytest.raises(SafetyRefusal, match="--kind adjustment"):
        _decided(again, run_dir, testnet)
    add(account, now_ns=time.time_ns())
    (made,) = decisions_of(account)
    assert _decided(again, run_dir, testnet) == f"the fee [decision 1, {made.head[:12]}]"
    with pytest.raises(SafetyRefusal, match="was used"):
        _decided(again, run_dir, testnet)


def test_a_decision_that_was_edited_allows_nothing(account):
    add(account)
    (segment,) = (account / DECISIONS / "journal").glob("*.jrn")
    data = bytearray(segment.read_bytes())
    at = data.index(b"0.42 USDT")
    data[at] = ord("9")
    segment.write_bytes(data)
    with pytest.raises(JournalError, match="entry 2"):
        require_decision(account, "adjustment", now_ns=NOW)
    assert not verify(account / DECISIONS).is_intact


def test_a_decision_that_was_removed_from_the_end_is_missed(account):
    add(account)
    add(account)
    (segment,) = (account / DECISIONS / "journal").glob("*.jrn")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-200])
    found = verify(account / DECISIONS)
    assert not found.is_intact
    assert "its end is gone" in found.problem
