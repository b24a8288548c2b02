"""Snapshots: the state of a run, in a file of its own, so that going on with a long run need not execute all of it again.

A snapshot is a shortcut and never an authority: the journal is. What is wrong with one in any way (missing, another hash,
another program's, not readable) makes it one that is not used, and that is said; the run is then executed from an older one,
or from its start, to the same state.

A snapshot is a pickle, and a pickle can run code when it is loaded. It is loaded only while a run is continued (never by a
replay, which is what one does with somebody else's run), only by the version of the program that wrote it, and only after
its SHA-256 was found in the verified journal of the same run. So what is loaded is byte for byte what this program wrote. Who
could change file and journal together, hashes and all, may write in this user's folders, and could change the program itself.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Any, Final

from claire.adapters.journal.disk import REAL_DISK, Disk, write_durably
from claire.adapters.journal.entries import Snapped
from claire.adapters.journal.writer import JournalWriter
from claire.latch.steps import Step, no_step
from claire.model.errors import JournalError

SNAPSHOTS: Final = "snapshots"
"""Folder of the snapshots, in a run directory."""
SNAPSHOT: Final = ".snap"
KEPT: Final = 2
"""Snapshots that stay: the newest, and one before it in case the newest cannot be read."""


def save_snapshot(
    run_dir: Path,
    journal: JournalWriter,
    state: object,
    *,
    code: str,
    disk: Disk = REAL_DISK,
    step: Step = no_step,
) -> Snapped:
    """Keep the state that follows from all entries of the journal so far, and note it there; older snapshots go.

    Args:
        run_dir: the run directory.
        journal: its journal.
        state: anything that can be pickled; it must not change meanwhile.
        code: version and commit of this program.
        disk: where it is written.
        step: called before and after.

    Raises:
        JournalError: it cannot be written. The journal is closed then: a disk that refused once is not to be trusted with
            the next order.
    """
    step("snapshot.before")
    journal.sync()  # so that no later snapshot can get an earlier name
    folder = run_dir / SNAPSHOTS
    data = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
    name = f"{journal.entries + 1:06d}{SNAPSHOT}"
    try:
        disk.make_folder(folder)
        write_durably(folder / name, data, disk)
        disk.sync_folder(run_dir)
    except OSError as error:
        journal.abandon()
        raise JournalError(
            f"{folder / name}: cannot be written: {error.strerror}. The run stops, for its journal is on the same disk. Free"
            f" space, then go on with `claire run --continue {run_dir.name}`."
        ) from error
    snapped = Snapped(name, hashlib.sha256(data).hexdigest(), code)
    journal.snapped(snapped.name, snapped.sha256, snapped.code)
    step("snapshot.after")
    for path in _snapshots(folder)[:-KEPT]:
        disk.remove(path)
    return snapped


def snapshot_bytes(run_dir: Path, entry: Snapped, code: str) -> bytes | str:
    """Return the bytes of the snapshot that a verified entry names, or why it cannot be used."""
    path = run_dir / SNAPSHOTS / entry.name
    if entry.code != code:
        return f"{path.name}: written by claire {entry.code}, this is claire {code}"
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        return f"{path.name}: its bytes are not those that the journal names"
    return data


def first_snapshot(run_dir: Path) -> int:
    """Return the entry number in the name of the oldest snapshot that is there; 0 without one. Nothing is verified."""
    folder = run_dir / SNAPSHOTS
    numbers = [path.name.removesuffix(SNAPSHOT) for path in _snapshots(folder)] if folder.is_dir() else []
    return min((int(number) for number in numbers if number.isascii() and number.isdigit()), default=0)


def state_of(data: bytes) -> Any:
    """Return the state in bytes that `snapshot_bytes` returned, once the whole journal was verified."""
    return pickle.loads(data)  # noqa: S301  # the module says why this is safe


def _snapshots(folder: Path) -> list[Path]:
    """Return the snapshots of a run, oldest first; number by number, however many digits they have."""
    found = [path for path in folder.iterdir() if path.name.endswith(SNAPSHOT)]
    return sorted(found, key=lambda path: (len(path.name), path.name))
