"""The table of DESIGN 7, walked: in which trading state an entry, an exit, a cancel and a flatten may happen, and who says so."""

from decimal import Decimal
from typing import Any

import pytest

from claire.gateway.gate import GATE_LATCH, Approval, Gate
from claire.model.decisions import Asked, Cancel, Code, ControlEvent, Denial, Intent, Submit, TradingState
from claire.model.market import Side
from claire.stages.execution import Execution
from claire.stages.risk import Risk
from tests.support.markets import SECOND_NS, SYMBOL, T0
from tests.unit.test_risk import BUY, SELL, asked, hold, risk

STATES = TradingState
ENTRY, EXIT, CANCEL, FLATTEN = "entry", "exit", "cancel", "flatten"
TABLE = {
    (STATES.ACTIVE, ENTRY): True, (STATES.ACTIVE, EXIT): True, (STATES.ACTIVE, CANCEL): True, (STATES.ACTIVE, FLATTEN): True,
    (STATES.REDUCE_ONLY, ENTRY): False, (STATES.REDUCE_ONLY, EXIT): True,
    (STATES.REDUCE_ONLY, CANCEL): True, (STATES.REDUCE_ONLY, FLATTEN): True,
    (STATES.HALTED, ENTRY): False, (STATES.HALTED, EXIT): False,
    (STATES.HALTED, CANCEL): True, (STATES.HALTED, FLATTEN): True,
    (STATES.KILLED, ENTRY): False, (STATES.KILLED, EXIT): False,
    (STATES.KILLED, CANCEL): True, (STATES.KILLED, FLATTEN): True,
}  # fmt: skip
"""What DESIGN 7 says. A flatten is the sentinel's: its orders pass no risk stage, but a gate of its own."""


class Closed:
    """The latch of a killed account, as the trading process reads it."""

    def why_closed(self) -> str:
        return "killed by a drill"


class Opened:
    """The latch as the sentinel reads it during a confirmed flatten: its own authority, not the trading process's."""

    def why_closed(self) -> str:
        return ""


def in_state(state: TradingState) -> tuple[Risk, Execution]:
    """An account with a position and a live order, then locked."""
    made, execution = risk(), Execution()
    hold(made, 100, owner="s2")
    intent = asked(made)
    assert isinstance(intent, Intent)
    assert any(isinstance(output, Submit) for output in execution.on_intent(intent))
    made.on_control(ControlEvent(state, "a drill", "drill", T0))
    return made, execution


def approval(side: Side) -> Approval:
    return Approval(1, "C1", SYMBOL, side, Decimal(1), "MARKET", None, side is SELL, 0, T0)


def checked(gate: Gate, one: Approval) -> str:
    """Return the code with which a gate refuses an order; empty: it passes."""
    params = [
        ("symbol", SYMBOL),
        ("side", one.side.value),
        ("type", "MARKET"),
        ("quantity", "1"),
        ("newClientOrderId", "C1"),
    ]
    return gate.check("/api/v3/order", params, [one], ts_ms=1, fence_ms=2)[0]


@pytest.mark.parametrize(("state", "act"), list(TABLE), ids=str)
def test_what_each_state_lets_pass(state: TradingState, act: str) -> None:
    made, execution = in_state(state)
    allowed = TABLE[state, act]
    answer: Any
    if act in (ENTRY, EXIT):
        answer = asked(made, BUY if act == ENTRY else SELL, strategy_id="s3" if act == ENTRY else "s2")
        assert isinstance(answer, Intent) is allowed
        if isinstance(answer, Denial):
            assert (answer.code, answer.because) == (Code.TRADING_STATE, f"trading is {state.value} (drill: a drill)")
    elif act == CANCEL:
        outputs = execution.on_asked(Asked("cancel", "operator", "a drill", T0 + SECOND_NS, SYMBOL, 1))
        assert any(isinstance(output, Cancel) for output in outputs) is allowed
    else:
        gate = Gate(latch=Opened(), now_ns=lambda: T0)
        gate.seed({SYMBOL: Decimal(1)})
        assert (checked(gate, approval(SELL)) == "") is allowed
        assert checked(gate, approval(BUY)) != ""  # a flatten reduces, or nothing


@pytest.mark.parametrize("side", [BUY, SELL])
def test_where_the_latch_is_closed_the_trading_processs_gate_lets_nothing_pass(side: Side) -> None:
    gate = Gate(latch=Closed(), now_ns=lambda: T0)
    gate.seed({SYMBOL: Decimal(1)})
    assert checked(gate, approval(side)) == GATE_LATCH


@pytest.mark.parametrize("state", [STATES.REDUCE_ONLY, STATES.HALTED])
def test_a_lock_of_one_symbol_or_one_strategy_leaves_the_others_alone(state: TradingState) -> None:
    made = risk()
    for owner in ("s", "s2"):
        hold(made, 50, owner=owner)
    made.on_control(ControlEvent(state, "looked strange", f"pause {SYMBOL}", T0, symbol=SYMBOL))
    assert made.state.trading is STATES.ACTIVE
    assert isinstance(asked(made), Denial)
    assert isinstance(asked(made, symbol="XYZUSDT"), Intent)
    made.on_control(ControlEvent(STATES.ACTIVE, "fine", f"pause {SYMBOL}", T0, symbol=SYMBOL))
    made.on_control(ControlEvent(state, "too many rejects", "rejects (s)", T0, strategy_id="s"))
    assert isinstance(asked(made, symbol="XYZUSDT"), Denial)
    assert isinstance(asked(made, SELL), Intent) is (state is STATES.REDUCE_ONLY)
    assert isinstance(asked(made, SELL, strategy_id="s2"), Intent)


def test_the_most_severe_of_the_locks_that_hold_decides_and_names_all_of_its_severity() -> None:
    made = risk()
    made.on_control(ControlEvent(STATES.REDUCE_ONLY, "slow", "feed", T0))
    made.on_control(ControlEvent(STATES.HALTED, "odd", "pause", T0, symbol=SYMBOL))
    made.on_control(ControlEvent(STATES.HALTED, "off", "clock skew", T0))
    denial = asked(made)
    assert denial.because == "trading is HALTED (pause: odd; clock skew: off)"
    assert asked(made, symbol="XYZUSDT").because == "trading is HALTED (clock skew: off)"


def test_the_report_lists_each_lock_its_length_and_the_entries_that_it_cost() -> None:
    made = risk()
    made.on_control(ControlEvent(STATES.REDUCE_ONLY, "slow", "feed", T0))
    for at_s in (0, 1):
        asked(made, at_s=at_s)
    made.on_control(ControlEvent(STATES.HALTED, "slower", "feed", T0 + SECOND_NS))
    asked(made, at_s=1)
    asked(made, SELL, at_s=1)
    made.on_control(ControlEvent(STATES.ACTIVE, "back", "feed", T0 + 2 * SECOND_NS))
    first, second = made.state.latched
    assert (first.state, first.signals_lost, first.ended_ns) == (STATES.REDUCE_ONLY, 2, T0 + SECOND_NS)
    assert (second.state, second.signals_lost, second.ended_ns) == (STATES.HALTED, 1, T0 + 2 * SECOND_NS)
