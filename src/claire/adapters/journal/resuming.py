"""What is looked at before a process goes on with a journal: is it the one that was read, and what did a crash leave about."""

from pathlib import Path
from typing import Final

from claire.adapters.journal.disk import Disk
from claire.adapters.journal.frames import ANCHOR, HASH_BYTES, PACKED, PART, PLAIN, Anchor, segment_name
from claire.adapters.journal.reader import JournalState
from claire.model.errors import JournalError

_AGAIN: Final = "Run the same command again; if this is said again, restore the run from a backup."


def prepare(folder: Path, state: JournalState) -> None:
    """Refuse a journal that cannot be gone on with.

    Raises:
        JournalError: the end of a run that ended in order is gone, or the last segment is not the one that was read.
        OSError: the last segment cannot be read.
    """
    anchor = folder / ANCHOR
    if anchor.exists() and Anchor.from_bytes(anchor.read_bytes(), anchor).entries != state.entries:
        raise JournalError(
            f"{folder.parent}: this run ended in order, but the end of its journal is gone. Restore the run from a backup."
        )
    if not state.is_plain:
        return
    last = folder / segment_name(state.segments)
    with last.open("rb") as file:
        size = file.seek(0, 2)
        if state.entries and state.offset > HASH_BYTES:
            file.seek(state.offset - HASH_BYTES)
            tail = file.read(HASH_BYTES)
        else:
            tail = state.chain
    if size != state.size or tail != state.chain or (folder / segment_name(state.segments + 1)).exists():
        raise JournalError(
            f"{last}: was written since it was read, by a process that did not hold the run's lock. {_AGAIN}"
        )


def leftovers(folder: Path, last: int, disk: Disk) -> list[Path]:
    """Remove what a crash left half done; return closed segments that are still to be compressed, in order.

    Of a segment that is there plain and compressed, the plain one was read and verified; its copy is made again.
    """
    plain = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(PART):
            disk.remove(path)
        elif path.name.endswith(PLAIN) and path.name < segment_name(last):
            disk.remove(path.with_name(path.name.removesuffix(PLAIN) + PACKED))
            plain.append(path)
    return plain
