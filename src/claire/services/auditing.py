"""Verifies the chains of records: of runs, and of what operators decided about accounts. It says what that does not prove."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.journal.entries import Decided, Ruled, RuleUsed, counted
from claire.adapters.journal.frames import JOURNAL
from claire.adapters.journal.reader import JournalReader
from claire.adapters.store import tables
from claire.adapters.store.database import read_ledger
from claire.model.errors import JournalError, LedgerError, UsageError
from claire.services.keeping import LEDGER, SUMMARY

EVERY: Final = 65_536

REWRITTEN: Final = (
    "somebody who may write these files can write the whole chain anew, from an edited entry to its end: compare the head with"
    " one that was noted elsewhere (--expect ENTRIES:HEAD)"
)
NO_END: Final = (
    "entries may be missing from the end: the run did not end in order, so nothing says which entry was the last (its ledger"
    " vouches for those up to its last commit)"
)
OUTSIDE: Final = (
    "that all that happened was written; only that what was written stayed as it was (what the venue says:"
    " claire balance --venue)"
)


class Verified(Struct, frozen=True):
    """What a complete reading of one chain found."""

    name: str
    path: str
    entries: int = 0
    """Whole entries that are as they were written."""
    head: str = ""
    """Chain hash of the last of them, hexadecimal."""
    ended: bool = False
    """Whether it ended in order, so that a missing tail shows."""
    operator_entries: int = 0
    """What operators said, asked for, and decided."""
    decisions: int = 0
    cut_off: str = ""
    """What of its end is missing."""
    problem: str = ""
    """The first place that is not what was written; empty: there is none."""
    not_proven: list[str] = []
    """What this reading cannot tell."""

    @property
    def is_intact(self) -> bool:
        """Whether everything that was read is as it was written."""
        return not self.problem


def verify(run_dir: Path, expect: str = "", on_progress: Callable[[int], None] | None = None) -> Verified:
    """Read a chain from its first entry to its last.

    Args:
        run_dir: A run directory, or the folder of an account's decisions.
        expect: ``ENTRIES:HEAD``, as it was noted before; the entry of that number has to have that hash.
        on_progress: Called now and then with the number of entries read.

    Raises:
        UsageError: `expect` cannot be read.
    """
    number_expected, head_expected = _expected(expect)
    name = run_dir.resolve().name if run_dir.name != "decisions" else f"decisions of {run_dir.resolve().parent.name}"
    entries = operators = decisions = 0
    head, ended = b"", False
    heads: dict[int, str] = {}
    noted, problem = _noted_by_ledger(run_dir)
    wanted = {number_expected, noted[0]}
    reader: JournalReader | None = None
    try:
        reader = JournalReader(run_dir)
        for number, chain, entry in reader.walk():
            entries, head = number, chain
            if number in wanted:
                heads[number] = chain.hex()
            if isinstance(entry, Decided):
                decisions += 1
            else:
                operators += counted(entry)[0] in ("controlled", "adjusted", "commanded") or isinstance(
                    entry, Ruled | RuleUsed
                )
            if on_progress is not None and not number % EVERY:
                on_progress(number)
        ended = reader.state.has_ended if entries else False
    except JournalError as error:
        problem = str(error)
    cut_off = str(reader.truncated) if reader is not None and reader.truncated is not None else ""
    if not problem and (reader is None or reader.truncated is None) and not ended and (run_dir / SUMMARY).exists():
        problem = f"{SUMMARY} says that the run ended in order, but the end of its journal is gone"
    if not problem and reader is not None and reader.truncated is not None and reader.truncated.entries_missing:
        problem = f"the run ended in order, and its end is gone: {cut_off}"
    if not problem:
        problem = _compare(heads, entries, noted, "the ledger noted, at its last commit,")
    if not problem and expect:
        problem = _compare(heads, entries, (number_expected, head_expected), "as it was noted before,")
    not_proven = [*([] if expect else [REWRITTEN]), *([] if ended else [NO_END]), OUTSIDE]
    return Verified(
        name,
        str(run_dir),
        entries,
        head.hex(),
        ended,
        operators,
        decisions,
        cut_off,
        problem,
        not_proven,
    )


def chains(runs_dir: Path) -> list[Path]:
    """Return every folder with a chain: runs, oldest first, then what was decided about accounts."""
    if not runs_dir.is_dir():
        return []
    runs = sorted(path.parent for path in runs_dir.glob(f"*/{JOURNAL}"))
    return runs + sorted(path.parent for path in runs_dir.glob(f"accounts/*/decisions/{JOURNAL}"))


def _expected(text: str) -> tuple[int, str]:
    if not text:
        return 0, ""
    number, _, head = text.partition(":")
    if not number.isdigit() or len(head) < 8 or any(c not in "0123456789abcdef" for c in head):
        raise UsageError(f"--expect {text}: write ENTRIES:HEAD as claire audit verify prints it, as in 1234:9f02c1d7…")
    return int(number), head


def _compare(heads: dict[int, str], entries: int, noted: tuple[int, str], who: str) -> str:
    number, head = noted
    if not number:
        return ""
    if number > entries:
        return f"{who} {number} entries were there; {number - entries} are missing from the end"
    if not heads.get(number, "").startswith(head):
        here = heads.get(number, "")[:16]
        return f"{who} entry {number} had the hash {head[:16]}…, but it has {here}…: the chain was written anew"
    return ""


def _noted_by_ledger(run_dir: Path) -> tuple[tuple[int, str], str]:
    """Return what the ledger noted of the journal at its last commit, and what is wrong with the ledger."""
    if not (run_dir / LEDGER).exists():
        return (0, ""), ""
    runs = tables.runs.c
    try:
        with read_ledger(run_dir / LEDGER) as connection:
            query = sa.select(runs.journal_entries, runs.journal_head).where(runs.run_id == run_dir.resolve().name)
            row = connection.execute(query).first()
    except LedgerError as error:
        return (0, ""), str(error)
    return ((row[0] or 0, row[1] or "") if row is not None else (0, "")), ""
