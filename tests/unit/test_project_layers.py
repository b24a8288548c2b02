"""import-linter really fails when a package imports against the direction, brings a library into the core, or is not listed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import BIN, CHECKOUT, PACKAGE, pyproject

ROOMS = [room.strip("()") for room in pyproject()["tool"]["importlinter"]["contracts"][0]["layers"]]


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    """Judge a little house of the same name by the project's own contracts."""
    command = [str(BIN / "lint-imports"), "--no-cache", "--no-logo", "--config", str(CHECKOUT / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": str(house)}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package `claire` with every room, each importing the one below it."""
    below = None
    for room in reversed(ROOMS):
        folder = tmp_path / "claire" / room
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "thing.py").write_text(f"import claire.{below}.thing\n" if below else "")
        below = room
    (tmp_path / "claire" / "__init__.py").touch()
    return tmp_path


def test_a_house_in_order_passes(house: Path):
    done = lint(house)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("model", "import claire.stages.thing"),
        ("stages", "import claire.engine.thing"),
        ("stages", "import claire.adapters.thing"),
        ("engine", "from claire.adapters import thing"),
        ("adapters", "import claire.cli.thing"),
        ("stages", "import sqlalchemy"),
        ("model", "import pydantic"),
        ("strategies", "import polars"),
        ("indicators", "import numpy"),
        ("latch", "import typer"),
    ],
)
def test_a_planted_violation_fails(house: Path, room: str, line: str):
    (house / "claire" / room / "planted.py").write_text(f"{line}\n")
    done = lint(house)
    assert done.returncode == 1, done.stdout
    assert f"claire.{room}.planted" in done.stdout


def test_a_room_that_nobody_listed_fails(house: Path):
    (house / "claire" / "attic").mkdir()
    (house / "claire" / "attic" / "__init__.py").touch()
    done = lint(house)
    assert done.returncode != 0
    assert "attic" in done.stdout + done.stderr


def test_every_room_that_exists_is_listed():
    here = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert here <= set(ROOMS)
