"""`claire drill kill-switch`: a few trials of every trouble, judged by the venue; the evidence makes thousands."""

import json
import signal
import subprocess

import pytest

from claire.drill.killswitch import figures
from claire.drill.killswitch.processes import Arrival
from claire.drill.killswitch.stand import Trigger
from claire.drill.killswitch.trials import Row, Trial, judge
from claire.drill.killswitch.trouble import MEANING, Trouble
from tests.support.cli import Claire
from tests.support.stopping import is_alive, until

FULL, SHORT = 3, 6


def test_in_every_trouble_no_order_is_late_and_the_venue_is_proven_empty(tmp_path):
    words = ["--trials", str(FULL), "--gate-trials", str(SHORT), "--recv-window-ms", "500", "--hold", "2"]
    process = Claire(tmp_path).start("drill", "kill-switch", *words, "--at-once", "3", "--json")
    out, said = process.communicate(timeout=400)
    print(said)
    assert process.returncode == 0, said
    told = json.loads(out)
    assert list(told) == ["faults"]
    assert list(told["faults"]) == [trouble.value for trouble in Trouble] == [trouble.value for trouble in MEANING]
    for name, row in told["faults"].items():
        print(name, json.dumps(row))
        assert (row["trials"], row["late_orders"]) == (FULL + SHORT, 0)
        assert row["gate_closed_ms"]["max"] <= 1000
        assert row["first_cancel_ms"]["max"] <= 1000
        assert row["proven_empty_ms"]["p50"] > 1000  # recvWindow and a second have to pass
    asked = [line for line in said.splitlines() if "orders a second" in line]
    assert asked, said


def test_a_trouble_that_there_is_not_is_refused(tmp_path):
    code, _, said = Claire(tmp_path)("drill", "kill-switch", "--fault", "idel")
    assert code == 2
    assert "Did you mean idle?" in said
    code, _, said = Claire(tmp_path)("drill", "kill-switch", "--trials", "0")
    assert code == 2
    assert "nothing is tried" in said


def trial(number: int, t0_us: int = 1_000_000) -> Trial:
    return Trial(number, Trigger.PAGE, t0_us)


def test_an_order_counts_for_the_trial_whose_number_it_carries():
    first, second = trial(1), trial(2, 1_200_000)
    judge(
        [first, second],
        [
            Arrival(999_000, "POST", "k1x1", 200),  # before the kill
            Arrival(1_004_500, "POST", "k1x2", 200),
            Arrival(1_250_000, "POST", "k1x3", 200),  # while the second trial was on already
            Arrival(1_201_000, "DELETE", "k2x1", 200),
            Arrival(2_200_001, "POST", "k2x2", 429),  # refused by the venue, and still sent
            Arrival(5_000_000, "POST", "b2x2", 200),
            Arrival(5_000_000, "POST", "", 200),
        ],
    )
    assert (first.closed_ms, first.late) == (250.0, 0)
    assert (second.closed_ms, second.late) == (1000.001, 1)


@pytest.mark.parametrize(
    ("closed_ms", "late", "violations", "is_failed"),
    [(0.0, 0, [], False), (1000.0, 0, [], False), (1000.1, 0, [], True), (3.0, 1, [], True), (3.0, 0, ["x"], True)],
)
def test_late_orders_a_slow_gate_and_what_may_not_happen_fail_a_drill(closed_ms, late, violations, is_failed):
    one = trial(1)
    one.closed_ms, one.late = closed_ms, late
    assert figures.is_failed([Row(Trouble.IDLE, gate=[one], violations=violations)]) is is_failed


def test_quantiles_are_measured_values_and_nothing_is_none():
    assert figures.spread([float(ms) for ms in range(1000)]) == {
        "p50": 500.0,
        "p99": 990.0,
        "p999": 999.0,
        "max": 999.0,
    }
    assert figures.spread([]) == {"p50": None, "p99": None, "p999": None, "max": None}
    assert figures.spread([None, 2.0]) == {"p50": 2.0, "p99": 2.0, "p999": 2.0, "max": 2.0}


def children(pid: int) -> list[int]:
    """Processes that a process started, those that were not buried yet among them."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines()[1:])
    return [int(child) for child, parent in rows if int(parent) == pid]


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGINT])
def test_a_drill_that_ends_or_is_stopped_leaves_no_process_behind(tmp_path, number):
    trials = ("--trials", "50") if number else ("--trials", "0", "--gate-trials", "2")
    process = Claire(tmp_path).start("drill", "kill-switch", *trials, "--fault", "sigstop")
    seen: dict[int, None] = {}

    def has_two() -> bool:
        seen.update(dict.fromkeys(children(process.pid)))
        return len(seen) >= 2

    until(has_two, "a venue and a trading process", 60)
    if number:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number else 0), said
    assert not [pid for pid in seen if is_alive(pid)]
