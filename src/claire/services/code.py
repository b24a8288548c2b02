"""Says exactly which code runs: version, commit, changes on top of it, and the user's own strategy files."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import claire


def code_version(kinds: Sequence[str] = ()) -> str:
    """Return the version of this program, for example ``0.1.0 1f2e3d4c5b6a`` (``+changes`` when files were edited).

    Each strategy kind that is a file adds the SHA-256 of its bytes, so a changed strategy is another version.
    """
    files = [Path(kind.partition(":")[0]) for kind in kinds if ".py" in kind]
    hashes = [f"{path.name}={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" for path in files]
    return " ".join([claire.__version__, *_commit(), *hashes])


def _commit() -> list[str]:
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return []
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return ["unknown-commit"]
    return [f"{commit}+changes" if changed else commit]


def _git(root: Path, *words: str) -> str:
    command = (shutil.which("git") or "git", "-C", str(root), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - our words only
    return done.stdout.strip()
