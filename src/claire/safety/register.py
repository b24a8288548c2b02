"""The controls C01–C35, as data (`claire.safety.controls` says what is done with it)."""

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Status(StrEnum):
    """How far a control is."""

    BUILT = "built"
    PLANNED = "planned"
    NOT_APPLICABLE = "not applicable"


class Control(Struct, frozen=True):
    """One control."""

    id: str
    name: str
    what: str
    """What it does, in a sentence."""
    status: Status = Status.BUILT
    reason: str = ""
    """Why it is not built."""
    code: str = ""
    """``file::name``, below the checkout."""
    tests: tuple[str, ...] = ()
    """Ids of pytest without parameters: every case has to pass."""
    keys: tuple[str, ...] = ()
    """Settings that tighten it."""
    fixed: tuple[str, ...] = ()
    """Limits that are constants."""


_RISK: Final = "tests/unit/test_risk.py::"
_GATE: Final = "tests/unit/test_gate.py::"
_RECONCILE: Final = "tests/unit/test_reconcile.py::"
_PAGE: Final = "tests/unit/test_latch_page.py::"
_CONTROLS: Final = "tests/unit/test_controls.py::"


def _planned(number: str, name: str, what: str, reason: str) -> Control:
    return Control(number, name, what, Status.PLANNED, reason)


CONTROLS: Final[tuple[Control, ...]] = (
    Control(
        "C01",
        "One last-hop gate",
        "Only the gateway signs orders, and only exactly what risk approved, in time, in this epoch, with the latch open.",
        code="src/claire/gateway/gate.py::Gate",
        tests=(
            _GATE + "test_whatever_is_changed_after_the_approval_is_refused",
            _GATE + "test_latch_and_epoch_are_read_anew_each_time",
            _GATE + "test_an_approval_has_its_time",
            "tests/unit/test_gateway.py::test_the_gate_is_asked_when_there_is_a_connection_and_what_it_refuses_is_never_written",
        ),
        fixed=("approvals are good for 1 s",),
    ),
    Control(
        "C02",
        "Price collar",
        "No order further from the reference price than the collar.",
        code="src/claire/stages/controls.py::_within_collar",
        tests=(
            _CONTROLS + "test_a_price_beyond_the_collar_from_the_middle_of_a_fresh_book_is_refused",
            _CONTROLS + "test_a_market_entry_says_its_worst_price_and_counts_at_it",
            _CONTROLS + "test_the_collar_of_an_exit_widens_with_each_attempt_and_then_a_person_is_told",
        ),
        keys=("risk.collar_pct",),
        fixed=("exits: 1 %, 2 %, 5 %",),
    ),
    Control(
        "C03",
        "Largest order value",
        "An entry is worth at most a share of equity.",
        code="src/claire/stages/controls.py::_order_value",
        tests=(_RISK + "test_an_order_may_be_worth_its_limit_and_not_a_lot_more",),
        keys=("risk.max_order_pct",),
    ),
    Control(
        "C04",
        "Largest order volume",
        "A cap in base that does not depend on the price of the moment.",
        code="src/claire/stages/controls.py::_order_volume",
        tests=(_CONTROLS + "test_a_quantity_is_too_large_at_the_usual_price_even_if_todays_price_makes_it_cheap",),
        fixed=("2 × risk.max_order_pct at the median price of 7 days",),
    ),
    Control(
        "C05",
        "Message throttle",
        "At most so many entries per second, minute and day.",
        code="src/claire/stages/controls_behaviour.py::Throttle",
        tests=(
            _CONTROLS + "test_entries_of_the_account_are_throttled_and_exits_are_not",
            _CONTROLS + "test_a_window_never_holds_more_than_its_count_wherever_it_begins",
        ),
        keys=(
            "risk.max_orders_per_s",
            "risk.max_orders_per_min",
            "risk.max_orders_per_day",
        ),
    ),
    Control(
        "C06",
        "Repeated-execution throttle",
        "A strategy that enters the same symbol too often is latched off.",
        code="src/claire/stages/controls_behaviour.py::Entries",
        tests=(_CONTROLS + "test_repeated_entries_lock_strategy_and_symbol_until_an_operator_says_otherwise",),
        keys=(
            "risk.max_entries_per_min",
            "risk.max_entries_per_h",
            "risk.max_entries_per_day",
        ),
    ),
    Control(
        "C07",
        "Duplicate guard",
        "The same order within a window is refused.",
        code="src/claire/stages/controls.py::_no_duplicate",
        tests=(_CONTROLS + "test_the_same_entry_within_the_window_is_a_duplicate",),
        keys=("risk.duplicate_window_ms",),
    ),
    Control(
        "C08",
        "Self-match prevention",
        "An order that would meet one of our own is refused.",
        code="src/claire/stages/controls.py::_no_self_match",
        tests=(_CONTROLS + "test_an_exit_that_would_meet_our_own_resting_order_has_it_cancelled_and_waits_once",),
        fixed=("always",),
    ),
    Control(
        "C09",
        "Open-order cap",
        "At most so many orders working, in flight or unknown.",
        code="src/claire/stages/controls.py::_open_orders",
        tests=(
            _RISK + "test_so_many_open_orders_and_no_more",
            _CONTROLS + "test_so_many_orders_in_one_symbol_and_no_more_unknown_ones_included",
        ),
        keys=("risk.max_open_orders", "risk.max_symbol_orders"),
    ),
    Control(
        "C10",
        "Exposure cap",
        "What is held and what is in flight, at its worst, is at most a share of equity, in a symbol and in all.",
        code="src/claire/stages/controls.py::_exposure",
        tests=(
            _RISK + "test_a_symbol_may_be_held_up_to_its_limit_and_not_a_lot_more",
            _RISK + "test_all_symbols_may_be_held_up_to_the_limit_and_not_a_lot_more",
            _RISK + "test_orders_in_flight_count_as_if_they_were_filled_at_their_worst",
        ),
        keys=("risk.max_symbol_pct", "risk.max_gross_pct"),
    ),
    Control(
        "C11",
        "Capital reserve",
        "Free cash, less all that live orders may cost, stays above a share of equity.",
        code="src/claire/stages/controls.py::_cash_reserve",
        tests=(
            _RISK + "test_the_cash_reserve_may_be_reached_and_not_touched",
            _RISK + "test_cash_of_orders_in_flight_is_spent_already_fees_and_slippage_included",
        ),
        keys=("risk.cash_reserve_pct",),
    ),
    Control(
        "C12",
        "Reduce-only",
        "An exit sells at most what is owned and not being sold; the gate counts for itself.",
        code="src/claire/gateway/gate.py::Gate",
        tests=(
            _GATE + "test_orders_that_reduce_never_sell_more_than_was_bought",
            _RISK + "test_what_is_being_sold_already_is_not_sold_twice",
        ),
        fixed=("always, for exits",),
    ),
    Control(
        "C13",
        "Data quality",
        "No entry on a price that is stale, crossed, or jumped without a second trade.",
        code="src/claire/stages/controls.py::_confirmed_price",
        tests=(
            _CONTROLS + "test_a_jump_has_to_be_confirmed_by_a_second_trade",
            _CONTROLS + "test_a_book_that_is_crossed_or_one_sided_allows_no_entry_and_every_exit",
            "tests/unit/test_risk.py::test_a_price_is_stale_beyond_its_age",
        ),
        keys=(
            "risk.max_data_age_ms",
            "risk.max_jump_pct",
        ),
    ),
    Control(
        "C14",
        "Allowed instruments",
        "Entries only in symbols that are named, open to the API, with known rules.",
        code="src/claire/stages/controls.py::_allowed_symbol",
        tests=(
            _CONTROLS + "test_only_symbols_on_the_list_are_entered_and_all_can_be_left",
            "tests/unit/test_risk.py::test_an_unknown_instrument",
        ),
        fixed=("risk.symbols, else those of the strategies",),
    ),
    Control(
        "C15",
        "Attribution",
        "Every order names strategy, run and account; the journal names code and configuration.",
        code="src/claire/model/decisions.py::Intent",
        tests=(_RISK + "test_an_intent_says_what_execution_needs",),
        fixed=("mandatory",),
    ),
    Control(
        "C16",
        "Daily loss",
        "A loss since 00:00 UTC takes entries off; exits and stops go on.",
        code="src/claire/stages/controls_behaviour.py::DailyLoss",
        tests=(
            _RISK + "test_the_daily_loss_limit_stops_entries_when_it_is_reached",
            _RISK + "test_exits_pass_when_the_daily_loss_limit_is_reached",
            _CONTROLS + "test_the_daily_loss_is_a_lock_with_numbers_that_outlasts_the_day_without_an_operator",
        ),
        keys=("risk.max_daily_loss_pct",),
    ),
    Control(
        "C17",
        "Drawdown from the peak",
        "A fall from the highest equity ever takes entries off.",
        code="src/claire/stages/controls_behaviour.py::Drawdown",
        tests=(_CONTROLS + "test_the_drawdown_is_measured_from_the_highest_equity_and_holds_over_days",),
        keys=("risk.max_drawdown_pct",),
    ),
    Control(
        "C18",
        "Stop-loss guard and cool-down",
        "Losing exits in a row, or one just now, keep a symbol from being entered.",
        code="src/claire/stages/controls_behaviour.py::StopGuard",
        tests=(
            _CONTROLS + "test_losing_exits_in_a_row_lock_the_symbol_for_a_while",
            _CONTROLS + "test_a_symbol_cools_down_after_a_position_was_left",
        ),
        keys=(
            "risk.stop_guard_exits",
            "risk.stop_guard_min",
            "risk.cooldown_s",
        ),
    ),
    Control(
        "C19",
        "Reject breaker",
        "Rejects in a row, or too many, take a strategy off.",
        code="src/claire/stages/controls_behaviour.py::Rejects",
        tests=(
            _CONTROLS + "test_rejects_in_a_row_lock_the_strategy",
            _CONTROLS + "test_many_rejects_within_minutes_lock_the_strategy_even_if_some_orders_pass",
        ),
        keys=(
            "risk.max_rejects_in_row",
            "risk.max_rejects_per_5_min",
        ),
    ),
    Control(
        "C20",
        "Kill switch",
        "A flag that every send reads; a sentinel that sweeps until the venue shows nothing.",
        code="src/claire/latch/page.py::PageLatch",
        tests=(
            _PAGE + "test_a_kill_closes_running_readers_at_once_and_survives",
            _PAGE + "test_a_page_torn_at_any_byte_is_the_old_one_the_new_one_or_killed",
            _PAGE + "test_a_kill_that_races_with_arming_is_never_lost",
            "tests/unit/test_cli_kill.py::test_every_account_is_killed_with_who_and_why",
        ),
        fixed=("gate closed within 100 ms (p99.9), 1 s at most",),
    ),
    Control(
        "C21",
        "Dead-man switch at the venue",
        "The venue cancels when nobody renews.",
        Status.NOT_APPLICABLE,
        "MEXC's spot API offers none; C22 stands in for it",
    ),
    Control(
        "C22",
        "Local watchdog",
        "A separate process sweeps and ends a trading process that shows no heartbeat.",
        code="src/claire/safety/heart.py::Heart",
        tests=(
            "tests/unit/test_safety_heart.py::test_a_heart_beats_and_ends",
            "tests/unit/test_safety_heart.py::test_a_number_that_is_used_again_is_another_process",
        ),
        fixed=("10 s without a beat",),
    ),
    Control(
        "C23",
        "Stop at the venue",
        "A stop order that rests at the venue.",
        Status.NOT_APPLICABLE,
        "MEXC's spot API has no stop orders; while Claire is dead nothing protects a position",
    ),
    Control(
        "C24",
        "Reconciliation",
        "Books and venue are compared before the first order and ever after; a difference stops entries, one that stays halts.",
        code="src/claire/services/reconciliation.py::Reconciliation",
        tests=(
            _RECONCILE + "test_a_difference_takes_entries_off_at_once_and_its_end_gives_them_back",
            _RECONCILE + "test_three_in_a_row_halt_and_only_an_operator_releases_that",
            "tests/sim/test_reconciliation.py::test_a_difference_of_more_than_one_percent_of_equity_halts_at_once_and_stays_halted",
            "tests/sim/test_reconciliation.py::test_money_that_goes_missing_in_a_lively_run_is_missed",
        ),
        keys=("reconciliation.open_orders_s", "reconciliation.fills_s", "reconciliation.balances_s"),
    ),
    Control(
        "C25",
        "Unknown orders",
        "An order without a definite answer keeps its reservation and is asked about until it is found or proven absent.",
        code="src/claire/adapters/venues/mexc/orders.py::MexcOrders",
        tests=(
            "tests/sim/test_mexc_unknown_orders.py::test_many_orders_in_doubt_at_once_are_resolved_within_the_budget",
            "tests/sim/test_mexc_unknown_orders.py::test_an_order_with_a_name_of_ours_that_is_not_on_record_asks_for_a_halt",
        ),
        fixed=("two complete looks behind the fence (recvWindow + 1 s)",),
    ),
    _planned(
        "C26",
        "Alerts",
        "Every trip raises an alert that somebody has to acknowledge.",
        "alerts are kept and shown; nobody is called yet",
    ),
    _planned(
        "C27",
        "Post-trade check",
        "A daily comparison of ledger and the venue's trade list.",
        "comes with operation; C24 compares all the time",
    ),
    _planned(
        "C28",
        "Controlled deployment",
        "Hard-coded small limits for the first real money.",
        "comes with the ladder of modes",
    ),
    _planned(
        "C29",
        "Promotion token",
        "Evidence bound to commit, configuration and limits, for each step up.",
        "comes with the ladder of modes",
    ),
    _planned(
        "C30",
        "Fleet identity",
        "All processes of a start run the same build and configuration.",
        "comes with several processes",
    ),
    _planned(
        "C31",
        "No dormant code",
        "Flags have an owner and an expiry.",
        "unknown settings are refused already; there are no flags yet",
    ),
    _planned(
        "C32",
        "Stress test",
        "Twice the peak of six months through the whole pipeline.",
        "comes with the evidence for live data",
    ),
    Control(
        "C33",
        "Self-assessment",
        "This table: a control called built without a passing test fails the build.",
        code="src/claire/safety/controls.py::assess",
        tests=(
            "tests/unit/test_controls_register.py::test_every_control_that_is_called_built_names_code_and_tests_that_exist",
            "tests/unit/test_controls_register.py::test_a_built_control_is_proven_only_where_all_of_its_tests_passed",
        ),
        fixed=("each build",),
    ),
    _planned(
        "C34",
        "Limit-change governance",
        "Wider limits need a decision, expire, and go back by themselves.",
        "decisions are on record; limits do not expire yet",
    ),
    Control(
        "C35",
        "Continuity",
        "A stand-alone program that cancels everything and proves it, and a page that says how.",
        code="src/claire/safety/panic.py::main",
        tests=("tests/sim/test_panic.py::test_it_finds_cancels_and_proves_with_nothing_but_this_file",),
        fixed=("docs/runbooks/stop-everything.md",),
    ),
)
"""In the order of their numbers."""
