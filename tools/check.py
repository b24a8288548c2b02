"""`./dev check`: everything about the tree that can be judged without running Claire.

Each step prints its name, verdict and time; all run, so that one look shows all that is wrong. Exit 1 if any failed.
`DEV_REQUIRE_ALL=1` (set by .ci/run) turns a tool that is not installed into a failure.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

CHECKOUT: Final = Path(__file__).resolve().parent.parent
BASELINE: Final = ".secrets.baseline"

TYPE_CHECKED: Final = [name for name in ("src", "tests", "tools", "bench") if any((CHECKOUT / name).rglob("*.py"))]


class Failed(Exception):
    """A step's verdict: what is wrong and what to do about it."""


def git_files() -> list[str]:
    """Every file that git tracks or would track (new ones that are not ignored), relative to the checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listed.split("\0") if name and (CHECKOUT / name).is_file())


def tool(*command: str) -> Callable[[], str]:
    """Make a step of a program that says what is wrong by itself and exits non-zero."""

    def step() -> str:
        done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
        said = (done.stdout + done.stderr).strip()
        if done.returncode != 0:
            raise Failed(said)
        return said.splitlines()[-1] if said else ""

    return step


def secrets() -> str:
    """Compare what detect-secrets finds in the tree with what the committed baseline has judged harmless."""
    judged = baseline.load_from_file(str(CHECKOUT / BASELINE))
    known = {(found.filename, found.secret_hash) for _, found in baseline.load(judged)}
    # The locks are nothing but digests, and the baseline holds the digests of what it knows.
    names = [name for name in git_files() if name != BASELINE and not name.startswith("requirements/")]
    collection = SecretsCollection(root=str(CHECKOUT))
    with transient_settings({key: judged[key] for key in ("plugins_used", "filters_used")}):
        collection.scan_files(*names)
    new = sorted(
        f"{found.filename}:{found.line_number}: {found.type}"
        for _, found in collection
        if (found.filename, found.secret_hash) not in known
    )
    if new:
        raise Failed(
            "\n".join(new)
            + "\nA secret goes into a file outside the tree. What only looks like one: mark its line `pragma: allowlist secret`."
        )
    return f"{len(names)} files"


def shell_scripts() -> str:
    """Shellcheck every shell script of the tree, known by its first line."""
    scripts = []
    for name in git_files():
        with (CHECKOUT / name).open("rb") as file:
            first = file.readline(64)
        if first.startswith(b"#!") and (b"/sh" in first or b"bash" in first):
            scripts.append(name)
    if shutil.which("shellcheck") is None:
        if os.environ.get("DEV_REQUIRE_ALL") == "1":
            raise Failed("shellcheck is not installed (Debian: apt-get install shellcheck).")
        return "not run: shellcheck is not installed here; .ci/run installs it"
    tool("shellcheck", "--external-sources", *scripts)()
    return " ".join(scripts)


def locks() -> str:
    """Hold the locks free of addresses, so that no file of the tree names a package registry."""
    held = sorted((CHECKOUT / "requirements").glob("*.lock"))
    addressed = [file.name for file in held if "://" in file.read_text(encoding="utf-8")]
    if addressed:
        raise Failed(f"requirements/: {', '.join(addressed)} hold an address. Make them again: ./dev lock")
    stray = [name for name in git_files() if Path(name).name == "uv.lock"]
    if stray:
        raise Failed(
            f"{', '.join(stray)}: uv.lock records the registry's host. Delete it; the locks are in requirements/."
        )
    return f"{len(held)} locks"


def generated() -> str:
    """Compare the generated documents (denials, order life, settings) with what the code would generate now."""
    if importlib.util.find_spec("claire.cli") is None or importlib.util.find_spec("claire.cli.generate") is None:
        return "nothing is generated yet (no claire.cli.generate)"
    return tool(sys.executable, "-m", "claire.cli.generate", "--check")()


def wire() -> str:
    """Make the protobuf classes again in a temporary folder and compare them with the committed ones."""
    return tool(sys.executable, "-m", "tools.generate_wire", "--check")()


STEPS: Final[dict[str, Callable[[], str]]] = {
    "ruff check": tool("ruff", "check", "--quiet", "--output-format=concise", "."),
    "ruff format": tool("ruff", "format", "--check", "--quiet", "--output-format=concise", "."),
    "mypy": tool("mypy", "--strict", *TYPE_CHECKED),
    "layers": tool("lint-imports", "--no-logo", "--cache-dir", ".cache/import_linter"),
    "secrets": secrets,
    "shellcheck": shell_scripts,
    "locks": locks,
    "generated": generated,
    "wire": wire,
}


def main(names: list[str]) -> int:
    """Run the named steps (all, without names) and return the exit code."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"check: there is no step {', '.join(unknown)}. Steps: {', '.join(STEPS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or STEPS:
        started = time.perf_counter()
        try:
            verdict, note = "ok", STEPS[name]()
        except Failed as failure:
            verdict, note = "FAILED", ""
            failed.append(name)
            print(failure)
        print(f"check: {name:<12} {verdict:<6} {time.perf_counter() - started:5.1f} s  {note}", flush=True)
    if failed:
        print(f"check: {', '.join(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
