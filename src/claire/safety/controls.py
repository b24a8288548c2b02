"""The register of controls: what each is for, where its code is, which tests prove it, and what it is set to.

`assess` joins it with the last results of those tests (a file that a test run writes) and with the effective settings. A
control that is called built and whose tests did not all pass is `unproven`, and fails the build. The numbers C01–C35 are
those of the design's table of controls, drawn up after FIA's best practices, RTS 6 and SEC rule 15c3-5 ("designed after").
"""

import ast
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from claire.adapters.config.keys import settings_keys
from claire.adapters.config.schema import Settings
from claire.model.money import plain_text
from claire.safety.register import CONTROLS, Control, Status

CHECKOUT: Final = Path(__file__).resolve().parents[3]
RESULTS: Final = Path(".cache") / "control-tests.json"
"""Where a test run notes the results of the tests that controls name, below the checkout."""


class Outcome(StrEnum):
    """What became of a control's tests when they last ran."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


class Result(Struct, frozen=True):
    """One test's last result."""

    outcome: str
    """Of pytest: ``passed``, ``failed`` …"""
    at: str
    """When (ISO 8601, UTC)."""


class Results(Struct):
    """The last results of the tests that controls name, by test id."""

    tests: dict[str, Result] = {}


def assess(settings: Settings, checkout: Path = CHECKOUT) -> list[dict[str, Any]]:
    """Return one row for each control: code, tests, last result, default, and limit in effect.

    Args:
        settings: The effective ones.
        checkout: Where tests and their results lie.
    """
    results, keys = read_results(checkout), {key.name: key for key in settings_keys().values()}
    rows = []
    for control in CONTROLS:
        limits = [
            {"key": name, "default": keys[name].default, "value": _effective(settings, name), "unit": keys[name].unit}
            for name in control.keys
        ]
        limits += [{"key": "in code", "default": text, "value": text, "unit": ""} for text in control.fixed]
        rows.append(
            {
                "id": control.id,
                "name": control.name,
                "what": control.what,
                "status": control.status.value,
                "reason": control.reason,
                "code": control.code,
                "tests": list(control.tests),
                "result": result_of(control, results),
                "limits": limits,
            }
        )
    return rows


def unproven(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with controls that are called built, a sentence each; none: all are proven."""
    return [
        f"{row['id']} ({row['name']}) is called built, but its tests are: {row['result'] or 'none'}"
        for row in rows
        if row["status"] == Status.BUILT and not row["result"].startswith(Outcome.PASSED)
    ]


def result_of(control: Control, results: Results) -> str:
    """Return the last result of a control's tests, all of them together, in words; empty where it has none."""
    if not control.tests:
        return ""
    latest = ""
    for test in control.tests:
        found = [one for name, one in results.tests.items() if name == test or name.startswith(f"{test}[")]
        failed = [one for one in found if one.outcome != Outcome.PASSED]
        if failed:
            return f"{Outcome.FAILED}: {test} ({failed[0].at})"
        if not found:
            return f"{Outcome.NOT_RUN}: {test}"
        latest = max(latest, *(one.at for one in found))
    return f"{Outcome.PASSED} {latest}"


def missing(checkout: Path = CHECKOUT) -> list[str]:
    """Return what the register names and the checkout does not have: code and tests of controls that are called built."""
    found = []
    for control in CONTROLS:
        if control.status is not Status.BUILT:
            continue
        if not control.tests:
            found.append(f"{control.id}: is called built and names no test")
        for name in (control.code, *control.tests):
            file, _, symbol = name.partition("::")
            if not (checkout / file).is_file():
                found.append(f"{control.id}: there is no file {file}")
            elif symbol and symbol.partition("::")[0].partition(".")[0] not in _defined(checkout / file):
                found.append(f"{control.id}: {file} has no {symbol}")
    return found


def read_results(checkout: Path = CHECKOUT) -> Results:
    """Return the last results; none where no test run left any."""
    try:
        return msgspec.json.decode((checkout / RESULTS).read_bytes(), type=Results)
    except (FileNotFoundError, NotADirectoryError):
        return Results()


def keep_results(outcomes: Mapping[str, str], checkout: Path = CHECKOUT) -> None:
    """Keep the results of a test run as far as controls name the tests; others stay as they were.

    Args:
        outcomes: By test id: ``passed``, ``failed``, ``skipped`` …
        checkout: Where they are kept.
    """
    named = dict.fromkeys(test for control in CONTROLS for test in control.tests)
    ours = {name: outcome for name, outcome in outcomes.items() if name.partition("[")[0] in named}
    if not ours:
        return
    results, at = read_results(checkout), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    run_whole = dict.fromkeys(name.partition("[")[0] for name in ours)
    kept = {
        name: one
        for name, one in results.tests.items()
        if name.partition("[")[0] in named and name.partition("[")[0] not in run_whole
    }
    kept |= {name: Result(outcome, at) for name, outcome in ours.items()}
    place = checkout / RESULTS
    place.parent.mkdir(exist_ok=True)
    temporary = place.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(Results(dict(sorted(kept.items())))))
    temporary.replace(place)


def _effective(settings: Settings, name: str) -> str:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return plain_text(value) if hasattr(value, "as_tuple") else str(getattr(value, "value", value))


@cache
def _defined(file: Path) -> dict[str, None]:
    """Return the names that a file defines at its top level."""
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return dict.fromkeys(names)
