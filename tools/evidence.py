"""`./dev evidence NAME`: run bench/evidence/NAME.py and write docs/evidence/NAME.json.

The program prints one JSON object on stdout (its figures); what it says to people goes to stderr. The file adds what the
figures depend on: the commit, whether the tree differed from it, how long it took, the Python and the machine. A program that
fails or prints anything else leaves the file as it was.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tools.programs import CHECKOUT, choose, commit, machine


def gather(program: Path, arguments: list[str]) -> dict[str, object]:
    """Run the program and return the whole document; ends the process with a message if there are no figures."""
    sha, dirty = commit()
    begun = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    started = time.perf_counter()
    environment = os.environ | {"CLAIRE_TIER": "evidence"}
    done = subprocess.run(
        [sys.executable, str(program), *arguments], check=False, stdout=subprocess.PIPE, text=True, env=environment
    )
    duration_s = round(time.perf_counter() - started, 1)
    if done.returncode != 0:
        raise SystemExit(f"evidence: {program.name} exited {done.returncode}; nothing is written.")
    try:
        figures = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(
            f"evidence: {program.name} must print one JSON object on stdout, not: {done.stdout[:200]!r}"
        ) from None
    if not isinstance(figures, dict):
        raise SystemExit(f"evidence: {program.name} must print one JSON object, not a {type(figures).__name__}.")
    return {
        "name": program.stem,
        "arguments": arguments,
        "commit": sha,
        "dirty": dirty,
        "begun": begun.isoformat(),
        "duration_s": duration_s,
        "python": platform.python_version(),
        "machine": machine(),
        "figures": figures,
    }


def main(arguments: list[str]) -> None:
    """Run the named evidence program and keep its figures."""
    program = choose(CHECKOUT / "bench" / "evidence", arguments, "evidence")
    document = gather(program, arguments[1:])
    target = CHECKOUT / "docs" / "evidence" / f"{program.stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".json.partial")
    partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(target)
    print(f"evidence: {target.relative_to(CHECKOUT)} ({document['duration_s']} s)", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
