"""What every test run has in common: which tests are collected, where recorded data lies, how hard hypothesis tries.

`./dev test` collects what needs only pip. `tests/recorded` also needs the shared folder of recordings, and `tests/ci` what
`.ci/run` installs. Where those are missing their tests are not collected, and the summary says so; nothing is skipped.
"""

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import configuration, settings

TESTS: Final = Path(__file__).resolve().parent
CHECKOUT: Final = TESTS.parent

TIER: Final = os.environ.get("CLAIRE_TIER", "test")
NAMED: Final = Path(os.environ.get("CLAIRE_SHARED") or CHECKOUT.parent / "shared")
SHARED: Final = NAMED.resolve() if (NAMED / "data").is_dir() else None

collect_ignore: list[str] = []
if SHARED is None:
    collect_ignore.append("recorded")
if TIER == "test":
    collect_ignore.append("ci")

configuration.set_hypothesis_home_dir(CHECKOUT / ".cache" / "hypothesis")
# The same examples in every run: a red test means that the code changed. Evidence runs look further, and elsewhere each time.
settings.register_profile("claire", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("evidence", deadline=None, derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile("evidence" if TIER == "evidence" else "claire")


def pytest_configure() -> None:
    """Refuse what the environment asks for and this machine cannot give."""
    if TIER not in {"test", "ci", "evidence"}:
        raise pytest.UsageError(f"CLAIRE_TIER={TIER}: there is no such tier. Use test, ci or evidence.")
    if SHARED is None and os.environ.get("CLAIRE_REQUIRE_SHARED") == "1":
        raise pytest.UsageError(
            f"CLAIRE_REQUIRE_SHARED=1, but {NAMED} holds no folder data/."
            " Give the recordings with CLAIRE_SHARED=/path/to/shared."
        )


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings, read only; only tests under `tests/recorded` and `tests/ci` may ask for it."""
    if SHARED is None:
        raise pytest.UsageError(
            "A test outside tests/recorded asks for recorded data. Move it there, so that it is collected only where data is."
        )
    return SHARED


_OUTCOMES: Final[dict[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of each test."""
    if report.when == "call" or report.outcome != "passed":
        _OUTCOMES[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep the results of the tests that controls name, for `claire audit controls`."""
    if _OUTCOMES and not hasattr(session.config, "workerinput"):
        from claire.safety.controls import keep_results

        keep_results(_OUTCOMES, CHECKOUT)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last what was not collected, and how to change that."""
    if SHARED is None and (TESTS / "recorded").is_dir():
        terminalreporter.write_line(
            "Not collected: tests/recorded, for there are no recordings here. Give them with CLAIRE_SHARED=/path/to/shared"
        )
