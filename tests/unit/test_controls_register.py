"""The register of controls: what is called built is there, is tested, and its tests passed."""

from pathlib import Path

import pytest

from claire.adapters.config import load
from claire.adapters.config.keys import settings_keys
from claire.safety import controls, register
from claire.safety.controls import Result, Results, assess, keep_results, read_results, result_of, unproven
from claire.safety.register import CONTROLS, Control, Status

TESTED = Control(
    "C99", "A control", "Does something.", code="a.py::A", tests=("tests/t.py::test_a", "tests/t.py::test_b")
)


def test_every_control_that_is_called_built_names_code_and_tests_that_exist(checkout):
    assert controls.missing(checkout) == []


def test_all_controls_are_there_once_in_order_and_what_is_not_built_says_why():
    assert [control.id for control in CONTROLS] == [f"C{number:02}" for number in range(1, 36)]
    assert all(control.reason for control in CONTROLS if control.status is not Status.BUILT)
    assert all(control.keys or control.fixed for control in CONTROLS if control.status is Status.BUILT)
    assert {key for control in CONTROLS for key in control.keys} <= {key.name for key in settings_keys().values()}


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (
            {"tests/t.py::test_a": "passed", "tests/t.py::test_b[1]": "passed", "tests/t.py::test_b[2]": "passed"},
            "passed",
        ),
        (
            {"tests/t.py::test_a": "passed", "tests/t.py::test_b[1]": "passed", "tests/t.py::test_b[2]": "failed"},
            "failed",
        ),
        ({"tests/t.py::test_a": "passed"}, "not run: tests/t.py::test_b"),
        ({"tests/t.py::test_a": "passed", "tests/t.py::test_b": "skipped"}, "failed"),
        ({}, "not run: tests/t.py::test_a"),
    ],
)
def test_a_built_control_is_proven_only_where_all_of_its_tests_passed(results, says):
    found = Results({name: Result(outcome, "2026-11-20T00:00:00Z") for name, outcome in results.items()})
    result = result_of(TESTED, found)
    assert result.startswith(says)
    row = {"id": "C99", "name": "A control", "status": "built", "result": result}
    assert bool(unproven([row])) is (says != "passed")
    assert unproven([row | {"status": "planned"}]) == []


def test_results_are_kept_for_the_tests_that_controls_name_and_a_later_run_replaces_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(controls, "CONTROLS", (TESTED,))
    assert read_results(tmp_path) == Results()
    keep_results({"tests/other.py::test_x": "passed"}, tmp_path)
    assert not (tmp_path / controls.RESULTS).exists()
    keep_results({"tests/t.py::test_a": "passed", "tests/t.py::test_b[1]": "failed"}, tmp_path)
    keep_results({"tests/t.py::test_b[2]": "passed"}, tmp_path)  # the case [1] is gone
    found = {name: one.outcome for name, one in read_results(tmp_path).tests.items()}
    assert found == {"tests/t.py::test_a": "passed", "tests/t.py::test_b[2]": "passed"}


def test_what_is_named_and_not_there_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(controls, "CONTROLS", (TESTED, Control("C98", "Untested", "Nothing.", code="a.py::B")))
    (tmp_path / "a.py").write_text("A: int = 1\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "t.py").write_text("def test_a(): ...\n")
    assert controls.missing(tmp_path) == [
        "C99: tests/t.py has no test_b",
        "C98: is called built and names no test",
        "C98: a.py has no B",
    ]


def test_the_limit_in_effect_is_shown_beside_its_default():
    rows = {row["id"]: row for row in assess(load(assignments=["risk.max_order_pct=7.5"], environ={}).settings, Path())}
    (limit,) = rows["C03"]["limits"]
    assert (limit["key"], limit["default"], limit["value"]) == ("risk.max_order_pct", "10", "7.5")
    assert rows["C21"]["status"] == register.Status.NOT_APPLICABLE
