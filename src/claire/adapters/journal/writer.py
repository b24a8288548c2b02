"""Writes a journal: appends entries, chains them, makes them durable, and stops for ever at the first error.

An error of write or fsync is never retried: after a failed fsync the kernel may have dropped the pages, and a second call
that succeeds would prove nothing. What was written before stays readable to its last whole entry.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from claire.adapters.journal.disk import REAL_DISK, Disk, write_all, write_durably
from claire.adapters.journal.entries import (
    Adjusted,
    Commanded,
    Controlled,
    Decided,
    End,
    Entry,
    External,
    Fed,
    Gated,
    Header,
    Inputs,
    Note,
    Passed,
    Report,
    Resumed,
    Ruled,
    RuleUsed,
    Snapped,
    counted,
    encode,
    last_input,
)
from claire.adapters.journal.frames import (
    ANCHOR,
    FRAME,
    HEAD,
    JOURNAL,
    PLAIN,
    Anchor,
    chained,
    compress_segment,
    genesis,
    head_bytes,
    length_check,
    segment_name,
)
from claire.adapters.journal.reader import JournalReader, JournalState
from claire.adapters.journal.resuming import leftovers, prepare
from claire.adapters.journal.runlock import RunLock
from claire.engine.ports import Input, Recorded
from claire.latch.steps import Step, no_step
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Asked, ControlEvent, Intent, VenueReport
from claire.model.errors import JournalError
from claire.model.market import Candle, Depth, Timer, TopOfBook, Trade

Policy = Literal["decision", "batch"]
"""``decision``: every call reaches the operating system, and everything up to and including an intent the disk, before
the call returns (live and paper trading). ``batch``: every `sync_entries` entries and at the end (backtest)."""

INPUTS_PER_ENTRY: Final = 4096
BUFFER_BYTES: Final = 1 << 18


class JournalWriter:
    """A `Recorder` that appends to the journal of one run.

    It locks the run directory while it is open. `finish` ends the run in order; `close` alone leaves a journal that
    reads like one of a stopped process, without an End.
    """

    _lock: RunLock | None

    def __init__(
        self,
        run_dir: Path,
        header: Header,
        *,
        fsync: Policy = "decision",
        segment_bytes: int = 32 << 20,
        sync_entries: int = 4096,
        disk: Disk = REAL_DISK,
        step: Step = no_step,
    ) -> None:
        """Start the journal of a run.

        Args:
            run_dir: the run directory; made if it is missing.
            header: the first entry.
            fsync: when entries become durable.
            segment_bytes: a segment that has grown to this size is closed and compressed.
            sync_entries: entries between two fsyncs of the policy ``batch``.
            disk: where it is written.
            step: called before each write, and before and after each fsync.

        Raises:
            JournalError: the run directory holds a journal already, another process writes it, or it cannot be written.
        """
        self._set_up(run_dir, header, fsync, segment_bytes, sync_entries, disk, step)
        try:
            disk.make_folder(self._folder)
            self._lock = RunLock(run_dir)
            if any(self._folder.iterdir()):
                raise JournalError(f"{self._folder}: holds a journal already. Choose another run directory.")
            self._open_segment()
            self._append(header)
            self._write()
            self._fsync()
            disk.sync_folder(run_dir)
            disk.sync_folder(run_dir.parent)
        except OSError as error:
            raise self._failed(error) from error
        except BaseException:
            self._release("was never opened")
            raise

    @classmethod
    def resume(
        cls,
        run_dir: Path,
        state: JournalState | None = None,
        *,
        lock: RunLock | None = None,
        fsync: Policy = "decision",
        segment_bytes: int = 32 << 20,
        sync_entries: int = 4096,
        disk: Disk = REAL_DISK,
        step: Step = no_step,
    ) -> Self:
        """Go on with the journal of a run that was stopped, or ended in order: cut what is unfinished, then append where it ends.

        Call `resumed` next. Until then nothing was added, so that stopping in between leaves the run as it was.

        Args:
            run_dir: the run directory.
            state: where a complete reading came to (`JournalReader.state`), when the caller has read it under the lock;
                None: it is read, and so verified, here.
            lock: the run's lock, when the caller holds it already; it goes with the journal from here on.
            fsync: as for a new journal.
            segment_bytes: as for a new journal.
            sync_entries: as for a new journal.
            disk: as for a new journal.
            step: as for a new journal; also called before and after the cut.

        Raises:
            JournalError: the journal was altered, is another one than the one that was read, is written by
                another process, or cannot be written.
        """
        journal = cls.__new__(cls)
        held = RunLock(run_dir) if lock is None else lock
        try:
            if state is None:
                reader = JournalReader(run_dir)
                for _ in reader.walk():
                    pass
                state = reader.state
            journal._set_up(run_dir, state.header, fsync, segment_bytes, sync_entries, disk, step)
        except BaseException:
            held.release()
            raise
        journal._lock = held
        try:
            journal._go_on(state)
        except OSError as error:
            raise journal._failed(error) from error
        except BaseException:
            journal._release("was never opened")
            raise
        return journal

    def _set_up(
        self,
        run_dir: Path,
        header: Header,
        fsync: Policy,
        segment_bytes: int,
        sync_entries: int,
        disk: Disk,
        step: Step,
    ) -> None:
        self._folder = run_dir / JOURNAL
        self._header = header
        self._traded = dict.fromkeys(header.traded)
        self._live = fsync == "decision"
        self._segment_bytes = segment_bytes
        self._sync_entries = sync_entries
        self._disk = disk
        self._step = step
        self._buffer = bytearray()
        self._pending: list[Trade | TopOfBook | Depth | Timer] = []
        self._pending_no = 0
        self._last_input = 0
        self._counts: dict[str, int] = {}
        self._entries = 0
        self._unsynced = 0
        self._segment = 0
        self._size = 0
        self._chain = genesis()
        self._cut_bytes = 0
        self._fd = -1
        self._over = ""
        self._failure = ""
        self._packer: ThreadPoolExecutor | None = None
        self._packing: Future[None] | None = None
        self._lock = None

    def _go_on(self, state: JournalState) -> None:
        prepare(self._folder, state)
        self._entries, self._chain, self._last_input = state.entries, state.chain, state.last_input
        self._counts = dict(state.counts)
        self._segment, self._cut_bytes = state.segments, state.cut_bytes
        if not state.is_plain:
            self._cut_bytes = 0
            self._open_segment()
        else:
            self._fd = self._disk.open(self._path, os.O_WRONLY | os.O_APPEND)
            self._size = state.offset
            self._step("journal.cut.before")
            if state.cut_bytes:
                self._disk.truncate(self._fd, state.offset)
            if not state.offset:
                self._write_head()
            self._disk.fsync(self._fd)  # also what the stopped process wrote and did not sync: it counts from here on
            self._disk.sync_folder(self._folder)
            self._step("journal.cut.after")
        self._disk.remove(self._folder / ANCHOR)  # of a run that ended in order: it has not, any more
        self._disk.sync_folder(self._folder)
        self._pack(leftovers(self._folder, self._segment, self._disk))

    # -- Recorder ------------------------------------------------------------------------------------------------------

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Keep inputs, numbered from `first_no`, as far as the header says that they are kept.

        Raises:
            JournalError: the journal cannot be written, or is over.
        """
        self._check_open()
        self._last_input = max(self._last_input, first_no + len(events) - 1)  # also those that are not kept
        if not self._header.embed_inputs:
            return
        if self._header.record == "all" and not any(type(event) is VenueReport for event in events):
            self._take(first_no, events)  # type: ignore[arg-type]  # no VenueReport: checked one line above
        else:
            for number, event in enumerate(events, first_no):
                if type(event) is VenueReport:
                    self._flush_inputs()
                    self._append(Report(number, event))
                elif self._keeps(event):
                    self._take(number, (event,))  # type: ignore[arg-type]  # not a VenueReport: the branch above
        if self._live:
            self.flush()

    def decided(self, input_no: int, event: Recorded) -> None:
        """Keep a decision; under the policy ``decision`` an intent is durable when this returns.

        Raises:
            JournalError: the journal cannot be written, or is over.
        """
        self._check_open()
        self._flush_inputs()
        self._append(Decided(input_no, event))
        if self._live:
            self.sync() if type(event) is Intent else self.flush()

    def candle(self, candle: Candle) -> None:
        """Keep nothing: candles follow from the inputs."""

    def postings(self, postings: Sequence[Posting]) -> None:
        """Keep nothing: postings follow from the fills."""

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Keep nothing: the account follows from the fills and the marks."""

    # -- beside the Recorder -------------------------------------------------------------------------------------------

    def fed(self, data: bytes) -> None:
        """Keep what a live feed brought, before anything is made of it."""
        self._keep(Fed(data))

    def passed(self, ts_ns: int) -> None:
        """Keep that market time passed without an event."""
        self._keep(Passed(ts_ns))

    def controlled(self, event: ControlEvent) -> None:
        """Keep a change of the trading state from outside the feed, before the pipeline has it; durable when this returns.

        A halt that a power cut took back would let a run trade on that somebody, or a check, had stopped.
        """
        self._keep(Controlled(event), durably=True)

    def commanded(self, event: Asked) -> None:
        """Keep what an operator asks for, before the pipeline has it; it is durable when this returns."""
        self._keep(Commanded(event), durably=True)

    def ruled(self, entry: Ruled | RuleUsed) -> None:
        """Keep an operator's decision, or that it was acted on; it is durable when this returns."""
        self._keep(entry, durably=True)

    def gated(self, order_no: int, verdict: str, ts_ms: int, fence_ms: int) -> None:
        """Keep what the gateway said about an order, or how its sending went."""
        self._keep(Gated(order_no, verdict, ts_ms, fence_ms))

    def adjusted(self, entry: Adjusted) -> None:
        """Keep an operator's adjustment of the books; it is durable when this returns."""
        self._keep(entry, durably=True)

    def external(self, entry: External) -> None:
        """Keep what is known of coins that are not Claire's; it is durable when this returns."""
        self._keep(entry, durably=True)

    def snapped(self, name: str, sha256: str, code: str) -> None:
        """Keep that the state so far lies in a file; it is durable when this returns."""
        self._keep(Snapped(name, sha256, code), durably=True)

    def resumed(
        self,
        at_ns: int,
        code: str,
        epoch: int,
        settings_json: str = "",
        *,
        orphans: str = "",
        operator: str = "",
        reason: str = "",
    ) -> None:
        """Keep that another process goes on from here, and what was cut off; it is durable when this returns."""
        entry = Resumed(at_ns, code, epoch, self._cut_bytes, settings_json, orphans, operator, reason)
        self._keep(entry, durably=True)

    def note(self, kind: str, text: str) -> None:
        """Keep a remark for the reader."""
        self._keep(Note(kind, text))

    def flush(self) -> None:
        """Hand everything to the operating system: it survives a crash of this process, not of the machine."""
        self._check_open()
        self._flush_inputs()
        self._write_or_fail()

    def sync(self) -> None:
        """Make everything durable.

        Raises:
            JournalError: the journal cannot be written, or is over.
        """
        self.flush()
        if self._unsynced:
            self._fsync_or_fail()

    def finish(self, summary_json: str, decision_digest: str) -> None:
        """End the run in order: the End, then the anchor, then the lock goes.

        Raises:
            JournalError: the journal cannot be written, or is over.
        """
        self._check_open()
        self._flush_inputs()
        self._append(End(summary_json, decision_digest, self._last_input, dict(self._counts)))
        self.sync()
        anchor = Anchor.of(self._entries, self._segment, self._chain)
        try:
            self._await_packing()
            write_durably(self._folder / ANCHOR, anchor.to_bytes(), self._disk)
        except OSError as error:
            raise self._failed(error) from error
        self._release("is finished")

    def close(self) -> None:
        """Stop writing. After `finish` or an error this does nothing; otherwise it makes durable what there is.

        Raises:
            JournalError: the journal cannot be written.
        """
        if self._over:
            return
        try:
            self.sync()
            self._await_packing()
        except OSError as error:
            raise self._failed(error) from error
        except BaseException:  # a crash in a simulation, or Ctrl-C: what is not written stays so
            self.abandon()
            raise
        self._release("was closed")

    def abandon(self) -> None:
        """Let go of everything at once and write nothing, as the end of the process would."""
        if not self._over:
            self._release("was abandoned")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether entries can still be added: it was not finished, closed, or stopped by an error."""
        return not self._over

    @property
    def entries(self) -> int:
        """How many entries the journal has."""
        return self._entries

    @property
    def head(self) -> str:
        """Chain hash of the last entry, hexadecimal: with `entries` it names a state of the journal."""
        return self._chain.hex()

    @property
    def cut_bytes(self) -> int:
        """Bytes of an unfinished entry that were removed when the journal was resumed."""
        return self._cut_bytes

    def fileno(self) -> int:
        """Return the descriptor of the open segment."""
        return self._fd

    # -- inside --------------------------------------------------------------------------------------------------------

    def _keeps(self, event: Input) -> bool:
        if type(event) is Timer or self._header.record == "all":
            return True
        return self._header.record == "traded" and getattr(event, "symbol", "") in self._traded

    def _take(self, first_no: int, events: Sequence[Trade | TopOfBook | Depth | Timer]) -> None:
        if self._pending and first_no != self._pending_no + len(self._pending):
            self._flush_inputs()
        if not self._pending:
            self._pending_no = first_no
        self._pending += events
        if len(self._pending) >= INPUTS_PER_ENTRY:
            self._flush_inputs()

    def _flush_inputs(self) -> None:
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), INPUTS_PER_ENTRY):
            events = pending[start : start + INPUTS_PER_ENTRY]
            self._append(Inputs(self._pending_no + start, events))

    def _keep(self, entry: Entry, *, durably: bool = False) -> None:
        self._check_open()
        self._flush_inputs()
        self._append(entry)
        if durably:
            self.sync()
        elif self._live:
            self.flush()

    def _append(self, entry: Entry) -> None:
        body = encode(entry)
        self._entries += 1
        self._chain = chained(self._chain, body)
        frame = FRAME.pack(len(body), length_check(self._entries, len(body)))
        self._buffer += frame + body + self._chain
        self._size += len(frame) + len(body) + len(self._chain)
        self._unsynced += 1
        name, events = counted(entry)
        if name:
            self._counts[name] = self._counts.get(name, 0) + events
            self._last_input = max(self._last_input, last_input(entry))
        if len(self._buffer) >= BUFFER_BYTES:
            self._write_or_fail()
        if self._size >= self._segment_bytes:
            self._rotate()
        elif not self._live and self._unsynced >= self._sync_entries:
            self._write_or_fail()
            self._fsync_or_fail()

    def _rotate(self) -> None:
        try:
            self._write()
            self._fsync()
            full = self._path
            self._disk.close(self._fd)
            self._fd = -1
            self._open_segment()
            self._await_packing()
        except OSError as error:
            raise self._failed(error) from error
        self._pack([full])

    def _pack(self, segments: Sequence[Path]) -> None:
        """Compress closed segments, beside the run."""
        if not segments:
            return
        if self._packer is None:
            self._packer = ThreadPoolExecutor(1, thread_name_prefix="journal-packer")

        def pack() -> None:
            for segment in segments:
                compress_segment(segment, self._disk)

        self._packing = self._packer.submit(pack)

    def _await_packing(self) -> None:
        if self._packing is not None:
            packing, self._packing = self._packing, None
            packing.result()

    def _open_segment(self) -> None:
        self._segment += 1
        self._fd = self._disk.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self._write_head()
        self._fsync()
        self._disk.sync_folder(self._folder)

    def _write_head(self) -> None:
        self._buffer += head_bytes(self._segment, self._entries + 1, self._chain)
        self._size = HEAD.size
        self._write()

    @property
    def _path(self) -> Path:
        return self._folder / segment_name(self._segment, PLAIN)

    def _write_or_fail(self) -> None:
        try:
            self._write()
        except OSError as error:
            raise self._failed(error) from error

    def _fsync_or_fail(self) -> None:
        try:
            self._fsync()
        except OSError as error:
            raise self._failed(error) from error

    def _write(self) -> None:
        if self._buffer:
            self._step("journal.write")
            write_all(self._disk, self._fd, self._buffer)
            self._buffer.clear()

    def _fsync(self) -> None:
        self._step("journal.fsync.before")
        self._disk.fsync(self._fd)
        self._unsynced = 0
        self._step("journal.fsync.after")

    def _check_open(self) -> None:
        if self._failure:
            raise JournalError(self._failure)  # what went wrong first is what matters, however often it is met again
        if self._over:
            raise JournalError(f"{self._folder}: the journal {self._over}; nothing can be added to it.")

    def _failed(self, error: OSError) -> JournalError:
        place = self._path if self._segment else self._folder
        self._release("was closed by an error")
        remedy = (
            f"go on with the run (`claire run --continue {self._folder.parent.name}`)" if self._live else "run it again"
        )
        self._failure = (
            f"{place}: cannot write the journal: {error.strerror}. Trading stops here, for what is not recorded must not"
            f" happen. What was written before stays readable. Free space on that disk, then {remedy}."
        )
        return JournalError(self._failure)

    def _release(self, why: str) -> None:
        """Let go of files, thread and lock, for ever; writes nothing."""
        self._over = why
        self._buffer = bytearray()  # a failed write may still be looking at the old one
        self._pending = []
        if self._packer is not None:
            self._packer.shutdown()
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            self._disk.close(descriptor)
        if self._lock is not None:
            self._lock.release()
