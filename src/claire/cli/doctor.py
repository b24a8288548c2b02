"""`claire doctor`: whether this machine can run Claire, and which settings would be in force, each with its source."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

import claire
from claire.cli.output import print_json
from claire.cli.runs import runs_folder, trouble
from claire.model.errors import ClaireError

CORE = ("aiohttp", "alembic", "msgspec", "protobuf", "pydantic", "pydantic-settings", "rich", "sqlalchemy", "typer")
EXTRA = ("numpy", "polars")
FREE_GB = 1.0
"""Less free disk space than this is a fault: a run of a day can write that much."""


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


class Setting(Struct, frozen=True):
    """One effective setting."""

    name: str
    value: str
    source: str


class Diagnosis(Struct, frozen=True):
    """All that doctor found."""

    ok: bool
    checks: list[Check]
    settings: list[Setting]


def doctor(
    config: Path | None, assignments: Sequence[str], runs: Path | None, *, venue: str = "", as_json: bool
) -> int:
    """Check everything, also a venue if one is named; return 0 if all is well, else 1 (2: only the configuration is wrong)."""
    folder = runs_folder(runs)
    checks = [_python(), _packages(CORE, "pip install claire"), _packages(EXTRA, "pip install 'claire[data]'")]
    checks += [_disk(folder), _writable(folder, runs)]
    configuration, settings = _configuration(config, assignments)
    if venue and configuration.ok:
        checks += _venue(venue, config, assignments)
    checks.append(configuration)
    diagnosis = Diagnosis(all(check.ok for check in checks), checks, settings)
    if as_json:
        print_json(diagnosis)
    else:
        for line in _lines(diagnosis):
            print(line)
    if diagnosis.ok:
        return 0
    return 2 if all(check.ok for check in checks[:-1]) else 1


def _python() -> Check:
    version = platform.python_version()
    found = f"claire {claire.__version__} on Python {version} ({sys.executable})"
    return Check("python", sys.version_info >= (3, 11), found, "Claire needs Python 3.11 or newer")


def _packages(names: Sequence[str], remedy: str) -> Check:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    words = ", ".join(found + [f"{name} MISSING" for name in missing])
    return Check("market data packages" if names is EXTRA else "packages", not missing, words, remedy)


def _disk(folder: Path) -> Check:
    here = _existing(folder)
    free_gb = shutil.disk_usage(here).free / 1e9
    return Check(
        "disk", free_gb >= FREE_GB, f"{free_gb:.1f} GB free at {here}", "free some space, or name another --runs"
    )


def _writable(folder: Path, named: Path | None) -> Check:
    if says := trouble(folder, named):
        return Check("runs", False, says, "see the line above")
    here = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as fault:
        remedy = "choose a folder that you may write to with --runs or CLAIRE_HOME"
        return Check("runs", False, f"cannot write in {here}: {fault.strerror}", remedy)
    return Check("runs", True, f"{folder.absolute()}" + ("" if folder.exists() else " (made by the first run)"))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _configuration(config: Path | None, assignments: Sequence[str]) -> tuple[Check, list[Setting]]:
    from claire.adapters.config import load

    try:
        loaded = load(config=config, environ=os.environ, assignments=assignments)
    except ClaireError as fault:
        return Check("configuration", False, str(fault), "see docs/configuration.md"), []
    words = str(loaded.file) if loaded.file else "no file; defaults, environment and arguments"
    return Check("configuration", True, words), [Setting(*row) for row in loaded.rows()]


def _venue(venue: str, config: Path | None, assignments: Sequence[str]) -> list[Check]:
    from claire.adapters.config import load
    from claire.cli.venue import examine

    settings = load(config=config, environ=os.environ, assignments=assignments).settings
    return [Check(found.name, found.ok, found.found, found.remedy) for found in examine(venue, settings)]


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    for check in diagnosis.checks:
        first, *rest = check.found.splitlines()
        yield f" {'ok    ' if check.ok else 'FAILED'}  {check.name:<21} {first}"
        yield from (f"{'':<31}{line}" for line in rest)
        if not check.ok:
            yield f"{'':<31}-> {check.remedy}"
    if diagnosis.settings:
        yield ""
        width: Callable[[str], int] = lambda field: max(len(getattr(row, field)) for row in diagnosis.settings)  # noqa: E731
        names, values = width("name"), min(width("value"), 40)
        for row in diagnosis.settings:
            yield f" {row.name:<{names}}  {row.value:<{values}}  {row.source}"
    yield ""
    yield " all is well" if diagnosis.ok else " something is wrong; see FAILED above"
