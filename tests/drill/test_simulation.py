"""The whole pipeline under faults and crashes: nothing lost, nothing doubled, and the same every time."""

import json
import os
import subprocess
import sys

import msgspec
import pytest

from claire.drill.campaign import Campaign, run_seeds
from claire.drill.crashpoints import REFERENCE, SEED, try_boundaries
from claire.drill.simulation import BEYOND_THE_FENCE, Outcome, Plan, simulate

TOTALS = [
    "seeds", "virtual_hours", "submits", "unknown_outcomes", "crashes", "duplicates", "lost", "violations",
    "fault_state_pairs", "seconds",
]  # fmt: skip

REGRESSIONS = {
    "a full disk while the account's note is written": 5,
    "a ban in the middle of a restart": 9,
    "four crashes and a hundred orders": 4,
}
"""Seeds that once failed, or came close, by what happens in them."""


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_seed_that_once_failed_holds(name: str) -> None:
    outcome = simulate(REGRESSIONS[name])
    assert outcome.violations == []
    assert outcome.submits >= 20
    assert outcome.virtual_s >= 600


def test_a_seed_is_the_same_in_another_process_with_another_hash_seed() -> None:
    plan = Plan(storm_s=100.0, healing_s=30.0, submits=5)
    here = simulate(4, plan)
    code = (
        "import msgspec, sys; from claire.drill.simulation import Plan, simulate;"
        "o = simulate(4, Plan(storm_s=100.0, healing_s=30.0, submits=5)); o.seconds = 0.0;"
        "sys.stdout.write(msgspec.json.encode(o).decode())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "4711"},
    ).stdout
    here.seconds = 0.0
    told = json.loads(there)
    assert here.digest
    assert told["digest"] == here.digest
    assert told["steps"] == here.steps
    assert told["crashed_at"] == here.crashed_at


def test_beyond_the_fence_an_order_that_lives_after_all_is_marked_booked_and_halts() -> None:
    outcomes = [simulate(seed, BEYOND_THE_FENCE) for seed in (2, 3)]
    for outcome in outcomes:
        assert outcome.violations == []
        assert outcome.late_live > 0
        assert outcome.halted.startswith("late live")
        assert "it was taken for ABSENT" in outcome.halted


def test_what_the_command_prints() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "claire.cli.main", "drill", "sim", "--seeds", "2", "--first-seed", "22", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    totals = json.loads(done.stdout)
    assert list(totals) == TOTALS
    assert totals["seeds"] == 2
    assert totals["submits"] >= 40
    assert totals["duplicates"] == totals["lost"] == totals["violations"] == 0


def test_a_crash_at_a_boundary_and_at_one_of_the_start_that_follows_leaves_nothing_wrong() -> None:
    found = try_boundaries(pairs=4, every=90, workers=1)
    assert found.violations == []
    assert found.boundaries > 300
    assert found.pairs_run == 4
    assert {"journal.fsync.before", "ledger.commit.after", "gate.before", "send.after", "report.before"} <= set(
        found.by_name
    )
    assert found.submits >= REFERENCE.submits
    assert SEED


@pytest.mark.parametrize("point", range(18, 40, 3))
def test_a_crash_while_the_account_is_taken_in_for_the_first_time_leaves_journal_and_ledger_equal(point: int) -> None:
    outcome = simulate(SEED, msgspec.structs.replace(REFERENCE, crash_at=(point,)))
    assert outcome.crashes == 1
    assert outcome.violations == []


def test_shares_are_counted_over_every_window() -> None:
    campaign = Campaign()
    for seed in range(10):
        campaign.add(Outcome(seed=seed, submits=10, unknown_outcomes=5 if seed < 5 else 1))
    assert campaign.least_unknown_share(5) == 0.1
    assert campaign.least_unknown_share(60) == 0.3
    assert campaign.totals.submits == 100


def test_outcomes_come_in_the_order_of_seeds_whoever_is_quicker() -> None:
    plan = Plan(storm_s=60.0, healing_s=15.0, submits=1)
    told: list[int] = []
    run_seeds(range(3), plan, workers=2, tell=lambda outcome: told.append(outcome.seed))
    assert told == [0, 1, 2]
