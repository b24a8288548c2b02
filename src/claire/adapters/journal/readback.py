"""Reads a stopped run back, in one pass: all of its journal verified, its newest usable snapshot, and what came after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from claire.adapters.journal.entries import Decided, Entry, Snapped
from claire.adapters.journal.reader import JournalReader, JournalState, Mark
from claire.adapters.journal.snapshots import KEPT, first_snapshot, snapshot_bytes, state_of
from claire.model.errors import JournalError, LedgerError


class ReadBack(Struct):
    """A stopped run."""

    end: JournalState
    """Where its journal ends; for `JournalWriter.resume`."""
    snapshot: Any | None
    """The newest state that can be used; None: the run has to be executed from its start."""
    snapshot_no: int
    """Number of the entry that names it; 0 without one."""
    entries: list[tuple[int, Entry]]
    """Number and entry, of all behind the snapshot."""
    notes: list[str]
    """What a person should know: snapshots that could not be used, an end that was cut off."""


def read_back(
    run_dir: Path,
    *,
    code: str,
    mark: Mark | None,
    with_snapshots: bool = True,
    see: Callable[[Entry], None] | None = None,
) -> ReadBack:
    """Read a stopped run; hold its `RunLock` meanwhile.

    Args:
        run_dir: the run directory.
        code: version and commit of this program.
        mark: the state of the journal that the run's ledger follows; it is durable and has to be here. None: the ledger
            knows nothing of the run, so that nothing can have been decided.
        with_snapshots: False: return all entries, whatever snapshots there are.
        see: called with every entry, in order, also with those before the snapshot.

    Raises:
        JournalError: there is no journal, it was altered, it is not the one that the ledger follows or ends before the
            mark, or nothing of the run is known.
        LedgerError: the ledger knows nothing of the run, though something was decided.
    """
    relied_on = mark.entries if mark is not None else 0
    reader = JournalReader(run_dir, relied_on=relied_on)
    entries: list[tuple[int, Entry]] = []
    notes: list[str] = []
    snapshot, snapshot_no, number = b"", 0, 0
    kept_from = first_snapshot(run_dir) if with_snapshots else 0  # a long run's past is not held in memory for nothing
    for number, chain, entry in reader.walk():
        if see is not None:
            see(entry)
        if number == relied_on or (mark is None and type(entry) is Decided):
            _check_mark(run_dir, mark, chain)
        if type(entry) is Snapped and with_snapshots:
            found = snapshot_bytes(run_dir, entry, code)
            if isinstance(found, bytes):
                snapshot, snapshot_no, entries, notes = found, number, [], []
                continue
            notes = [*notes, f"snapshot {found}; not used"][-KEPT:]
        if number >= kept_from:
            entries.append((number, entry))
    if number < relied_on:
        raise JournalError(
            f"{run_dir}: its ledger follows entry {relied_on} of the journal, which ends with entry {number}. Orders may have"
            f" been sent that the journal lost; do not trade on. Restore the run from a backup, and look at the venue's open"
            f" orders."
        )
    end = reader.state
    if reader.truncated is not None:
        notes.append(str(reader.truncated))
    if snapshot_no:
        try:
            return ReadBack(end, state_of(snapshot), snapshot_no, entries, notes)
        except Exception as error:  # noqa: BLE001  # a pickle can fail in any way; the journal is what counts
            notes.append(
                f"snapshot at entry {snapshot_no}: cannot be loaded ({type(error).__name__}: {error}); not used"
            )
    elif not kept_from:
        return ReadBack(end, None, 0, entries, notes)
    again = read_back(run_dir, code=code, mark=mark, with_snapshots=False)
    again.notes[:0] = [note for note in notes if note not in again.notes]
    return again


def _check_mark(run_dir: Path, mark: Mark | None, chain: bytes) -> None:
    """Hold an entry's chain hash against the one that the ledger noted for it."""
    if mark is None:
        raise LedgerError(
            f"{run_dir}: its journal has decisions, but its ledger does not know the run. Orders may have been sent; do not"
            f" trade on. Restore the ledger from a backup, and look at the venue's open orders."
        )
    if mark.head != chain.hex():
        raise JournalError(
            f"{run_dir}: its ledger follows another journal: at entry {mark.entries} it noted {mark.head[:16]}…, but here is"
            f" {chain.hex()[:16]}…. One of the two was exchanged; restore both from one backup."
        )
