"""The checkout as the tests about the project itself see it."""

import sys
import tomllib
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGE: Final = CHECKOUT / "src" / "claire"
BIN: Final = Path(sys.executable).parent

# The packages of DESIGN rule 1: no clock, file, network, environment, randomness, threads, iteration over sets.
CORE: Final = ("model", "indicators", "latch", "strategies", "stages")


def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def core_files(*more: str) -> list[Path]:
    """Every module of the core, and of the packages named besides."""
    return sorted(path for package in (*CORE, *more) for path in (PACKAGE / package).rglob("*.py"))
