"""What a run keeps: its directory with configuration, journal, SQL ledger and summary.

RUN/config.json       the effective configuration, canonical
RUN/journal/          the hash-chained journal: inputs (or the recording's hash), decisions
RUN/ledger.sqlite     the SQL ledger: orders, fills, postings, positions …
RUN/summary.json      the result
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import choice
from string import ascii_lowercase, digits

import msgspec
from msgspec import Struct

from claire.adapters.config import canonical
from claire.adapters.config.schema import Settings
from claire.adapters.journal.disk import Disk
from claire.adapters.journal.entries import Header
from claire.adapters.journal.retention import prune_runs
from claire.adapters.journal.writer import JournalWriter, Policy
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.store.ledger import SqlLedger
from claire.engine.ports import SourceInfo
from claire.model.instrument import Instrument
from claire.services.assembly import PAPER_VENUE
from claire.services.code import code_version
from claire.services.summary import Summary

CONFIG = "config.json"
CONFIG_NOW = "config-now.json"
"""What a run that was gone on with otherwise goes by now; `CONFIG` stays what it began with."""
LEDGER = "ledger.sqlite"
SUMMARY = "summary.json"
_ALPHABET = ascii_lowercase + digits


class RunResult(Struct, frozen=True):
    """A finished run."""

    summary: Summary
    run_dir: Path


class Keeping(Struct):
    """An open run directory."""

    run_id: str
    run_dir: Path
    journal: JournalWriter
    ledger: SqlLedger
    code: str
    """The program that writes it."""
    settings_json: str
    """The effective configuration, canonical."""
    disk: Disk

    def finish(self, summary: Summary) -> RunResult:
        """End the run in order: ledger first, then the journal's last word, then the summary for people.

        Raises:
            JournalError, LedgerError: the end could not be kept.
        """
        text = msgspec.json.encode(summary).decode()
        self.ledger.finish(text, summary.decision_digest)
        self.journal.finish(text, summary.decision_digest)
        _write_durably(self.run_dir / SUMMARY, text)
        return RunResult(summary, self.run_dir)


@contextmanager
def keeping(  # the run is made of so many things, all named
    settings: Settings,
    info: SourceInfo,
    instruments: Mapping[str, Instrument],
    traded: Sequence[str],
    *,
    run_id: str,
    runs_dir: Path,
    mode: str,
    venue: str = PAPER_VENUE,
    embeds_inputs: bool,
    in_batches: bool,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Keeping]:
    """Open the directory of a new run; without `Keeping.finish` it stays as that of a stopped process.

    Raises:
        JournalError, LedgerError: the directory cannot be written.
    """
    run_dir = runs_dir / run_id
    run_dir.mkdir(parents=True)
    text = canonical(settings)
    code = code_version([strategy.kind for strategy in settings.strategy])
    (run_dir / CONFIG).write_text(text + "\n")
    header = Header.of(
        run_id=run_id,
        mode=mode,
        code=code,
        config_json=text,
        source=info,
        instruments=instruments,
        created_at=datetime.fromtimestamp(machine.wall_ns() // 1_000_000_000, UTC).isoformat(),
        record=settings.journal.record.value,
        embed_inputs=embeds_inputs,
        traded=traded,
    )
    policy: Policy = "batch" if in_batches else "decision"
    segment_bytes = settings.journal.segment_mb << 20
    with (
        JournalWriter(
            run_dir, header, fsync=policy, segment_bytes=segment_bytes, disk=machine.disk, step=machine.step
        ) as journal,
        closing(
            SqlLedger(
                run_dir / LEDGER,
                header,
                account_id=settings.account.id,
                venue=venue,
                commit=policy,
                journal=journal,
                step=machine.step,
            )
        ) as ledger,
    ):
        yield Keeping(run_id, run_dir, journal, ledger, code, text, machine.disk)
    if settings.journal.keep_days:
        prune_runs(runs_dir, now_ns=machine.wall_ns(), keep_days=settings.journal.keep_days)


def new_run_id(runs_dir: Path) -> str:
    """Name a run after the minute of its start; three characters keep two of one minute apart."""
    while True:
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M}-{''.join(choice(_ALPHABET) for _ in range(3))}"
        if not (runs_dir / run_id).exists():
            return run_id


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
