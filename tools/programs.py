"""What `./dev bench` and `./dev evidence` share: they find a program by name, run it, and know the machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent


def names_in(folder: Path) -> list[str]:
    """The programs of a folder, by name; a file that starts with an underscore is not one."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.name.startswith("_"))


def choose(folder: Path, arguments: list[str], command: str) -> Path:
    """Return the program that the first argument names (``-`` is as good as ``_``); without one, or with an unknown one, list
    them and exit 0 or 2.
    """
    names = names_in(folder)
    listing = "\n".join(f"  {name}" for name in names) or "  (none yet)"
    if not arguments:
        print(f"usage: ./dev {command} NAME [ARGS ...]\n{listing}")
        raise SystemExit(0)
    name = arguments[0].replace("-", "_")
    if name not in names:
        print(
            f"{command}: there is no '{arguments[0]}' in {folder.relative_to(CHECKOUT)}/:\n{listing}", file=sys.stderr
        )
        raise SystemExit(2)
    return folder / f"{name}.py"


def commit() -> tuple[str, bool]:
    """Return the commit of the checkout and whether tracked files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True, text=True
        ).stdout.strip()

    return git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no") != ""


def machine() -> dict[str, object]:
    """Facts that a figure depends on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mib": memory_bytes // 2**20,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
