"""The ban on clocks, files, randomness and threads in the core really fires, for every banned name and in every core package."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import BIN, CHECKOUT, CORE, PACKAGE, core_files, pyproject

BANNED = sorted(pyproject()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
MODULES = {name for name in BANNED if name in sys.stdlib_module_names or name == "numpy.random"}


def banned_lines(source: str, filename: str) -> set[int]:
    """Run ruff over `source` as if it lay at `filename`; return the lines that break the ban (TID251)."""
    command = [str(BIN / "ruff"), "check", "--no-cache", "--output-format=json", "--stdin-filename", filename, "-"]
    done = subprocess.run(command, cwd=CHECKOUT, input=source, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return {found["location"]["row"] for found in json.loads(done.stdout) if found["code"] == "TID251"}


def use_of(name: str) -> str:
    """One line that uses the banned name, in the plainest way."""
    if name in MODULES:
        return f"import {name}"
    module, _, rest = name.partition(".")
    return f"import {module}; {module}.{rest}()"


@pytest.fixture(scope="module")
def caught() -> set[int]:
    return banned_lines("\n".join(use_of(name) for name in BANNED), "src/claire/stages/planted.py")


@pytest.mark.parametrize("name", BANNED)
def test_each_banned_name_is_caught_in_a_stage(name: str, caught: set[int]):
    assert BANNED.index(name) + 1 in caught, use_of(name)


def test_the_names_that_matter_most_are_banned():
    must = {
        "time",
        "random",
        "threading",
        "uuid.uuid4",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "os.environ",
        "secrets",
    }
    assert must <= set(BANNED)


@pytest.mark.parametrize(
    "source",
    [
        "from time import perf_counter as tick",
        "from time import time_ns",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as dt\ndt.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "from uuid import uuid4",
        "from os import environ",
        "import numpy as np\nnp.random.default_rng()",
        "from concurrent.futures import ThreadPoolExecutor",
        "from pathlib import Path",
        "def f():\n    import threading\n    return threading",
    ],
)
def test_another_way_to_write_it_is_caught_too(source: str):
    assert banned_lines(source, "src/claire/stages/planted.py")


@pytest.mark.parametrize("package", [*CORE, "engine", "a_new_room"])
def test_the_ban_holds_in_every_core_package_and_in_any_new_one(package: str):
    assert banned_lines("import time", f"src/claire/{package}/planted.py")
    assert banned_lines("import time", f"src/claire/{package}/deeper/planted.py")


@pytest.mark.parametrize("package", ["adapters", "cli"])
def test_the_outside_may_read_clocks(package: str):
    assert not banned_lines("import time", f"src/claire/{package}/planted.py")


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_core_module_lets_itself_off_the_ban(path: Path):
    text = path.read_text(encoding="utf-8")
    assert "TID251" not in text
    assert "ruff: noqa" not in text


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_core_imports_the_standard_library_msgspec_and_claire_only(path: Path):
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").partition(".")[0])
    allowed = sys.stdlib_module_names | {"claire"} | ({"msgspec"} if PACKAGE / "latch" not in path.parents else set())
    assert roots <= allowed, sorted(roots - allowed)


# Beyond ruff's reach, for they need no import. `hash` of text and `id` differ from process to process.
BUILTINS = {"__import__", "breakpoint", "eval", "exec", "hash", "id", "input", "open", "print"}


def builtin_calls(source: str) -> list[str]:
    """Calls of builtins that reach outside, or whose result is another one in the next process."""
    return [
        f"line {node.lineno}: {node.func.id}()"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS
    ]


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_a_planted_builtin_is_found(name: str):
    assert builtin_calls(f"def f(x):\n    return {name}(x)") == [f"line 2: {name}()"]


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_core_calls_no_builtin_that_reaches_outside(path: Path):
    assert not builtin_calls(path.read_text(encoding="utf-8"))
