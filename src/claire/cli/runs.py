"""The folder of runs: where it is, which run a person means, and what each one came to."""

import os
from pathlib import Path
from typing import Any

import msgspec

from claire.model.errors import UsageError, did_you_mean

SUMMARY = "summary.json"


def runs_folder(named: Path | None) -> Path:
    """The folder of `--runs`, else `runs` in CLAIRE_HOME, else `runs` in the working directory."""
    if named is not None:
        return named
    home = os.environ.get("CLAIRE_HOME")
    return Path(home) / "runs" if home else Path("runs")


def trouble(folder: Path, named: Path | None) -> str:
    """Why runs cannot be kept in a folder, as a message; empty where they can, as far as looking tells.

    Args:
        folder: as `runs_folder` has it.
        named: of `--runs`.
    """
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if _is_there(path))
        if not nearest.is_dir():
            return _trouble(folder, named, f"{nearest} is not a folder")
    except OSError as fault:
        return _trouble(folder, named, fault.strerror or str(fault))
    if not os.access(nearest, os.W_OK | os.X_OK):
        return _trouble(folder, named, f"{nearest} may not be written to")
    return ""


def check_runs_folder(named: Path | None) -> Path:
    """The folder of runs, after a look whether it is one or could be made.

    Raises:
        UsageError: naming the folder, where it was named, and the remedy.
    """
    folder = runs_folder(named)
    if says := trouble(folder, named):
        raise UsageError(says)
    return folder


def existing_runs(named: Path | None) -> Path:
    """The folder that runs are read from; it may be missing, or one that may not be written to.

    Raises:
        UsageError: it is no folder.
    """
    folder = runs_folder(named)
    return folder if folder.is_dir() else check_runs_folder(named)


def make_runs_folder(named: Path | None) -> Path:
    """The folder of runs, made if it is missing.

    Raises:
        UsageError: it cannot be made.
    """
    folder = runs_folder(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(_trouble(folder, named, fault.strerror or str(fault))) from None
    return folder


def _is_there(path: Path) -> bool:
    """Whether anything has this name, also a link that leads nowhere; below a file there is nothing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _trouble(folder: Path, named: Path | None, what: str) -> str:
    place = "--runs" if named is not None else "CLAIRE_HOME" if os.environ.get("CLAIRE_HOME") else "working directory"
    return f"runs cannot be kept in {folder} ({place}): {what}; choose another folder with --runs or CLAIRE_HOME"


def find_run(word: str, folder: Path) -> Path:
    """The run directory that a word means: a path, a run id, the end of one, or ``last``.

    Raises:
        UsageError: there is none, or several.
    """
    if is_run(Path(word)):
        return Path(word)
    runs = all_runs(folder)
    if word == "last" and runs:
        return runs[-1]
    matching = [run for run in runs if run.name == word] or [run for run in runs if run.name.endswith(word)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(
            f"{word} means {len(matching)} runs: {', '.join(run.name for run in matching)}. Give more of the id."
        )
    if not runs:
        raise UsageError(f"there are no runs in {folder}. Make one with claire run, or name the folder with --runs.")
    raise UsageError(
        f"there is no run {word} in {folder}.{did_you_mean(word, [run.name for run in runs])} claire history lists them."
    )


def all_runs(folder: Path) -> list[Path]:
    """Every run directory, oldest first: by the minute in its name, then by when its configuration was written."""
    return sorted(filter(is_run, folder.iterdir()), key=_age) if folder.is_dir() else []


def _age(run: Path) -> tuple[str, int, str]:
    config = run / "config.json"
    return run.name.rpartition("-")[0], config.stat().st_mtime_ns if config.exists() else 0, run.name


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run directory."""
    return (path / "journal").exists() or (path / SUMMARY).is_file()


def told(run: Path) -> dict[str, Any]:
    """What a run says about itself; only its name and state where it did not end or its summary is damaged."""
    try:
        document = msgspec.json.decode((run / SUMMARY).read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {"run_id": run.name, "state": "unfinished"}
    except (OSError, msgspec.MsgspecError) as fault:
        return {"run_id": run.name, "state": f"summary unreadable: {fault}"}
    return {
        "run_id": run.name,
        "state": "interrupted" if document.get("interrupted") else "finished",
        "summary": document,
    }
