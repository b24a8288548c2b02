"""Writes a journal: appends entries, chains them, makes them durable, and stops for ever at the first error.

An error of write or fsync is never retried: after a failed fsync the kernel may have dropped the pages, and a second call
that succeeds would prove nothing. What was written before stays readable to its last whole entry.
"""

import fcntl
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from claire.adapters.journal.entries import Decided, End, Entry, Fed, Header, Inputs, Note, Passed, Report, encode
from claire.adapters.journal.frames import (
    ANCHOR,
    FRAME,
    HEAD,
    JOURNAL,
    LOCK,
    PLAIN,
    Anchor,
    chained,
    compress_segment,
    genesis,
    head_bytes,
    length_check,
    segment_name,
    sync_folder,
    write_durably,
)
from claire.engine.ports import Input, Recorded
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Intent, VenueReport
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

    def __init__(
        self,
        run_dir: Path,
        header: Header,
        *,
        fsync: Policy = "decision",
        segment_bytes: int = 32 << 20,
        sync_entries: int = 4096,
    ) -> None:
        """Start the journal of a run.

        Args:
            run_dir: the run directory; made if it is missing.
            header: the first entry.
            fsync: when entries become durable.
            segment_bytes: a segment that has grown to this size is closed and compressed.
            sync_entries: entries between two fsyncs of the policy ``batch``.

        Raises:
            JournalError: the run directory holds a journal already, another process writes it, or it cannot be written.
        """
        self._folder = run_dir / JOURNAL
        self._header = header
        self._traded = dict.fromkeys(header.traded)
        self._live = fsync == "decision"
        self._segment_bytes = segment_bytes
        self._sync_entries = sync_entries
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
        self._fd = -1
        self._over = ""
        self._failure = ""
        self._packer: ThreadPoolExecutor | None = None
        self._packing: Future[Path] | None = None
        self._lock = -1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take_lock(run_dir)
            if any(self._folder.iterdir()):
                raise JournalError(f"{self._folder}: holds a journal already. Choose another run directory.")
            self._open_segment()
            self._append(header)
            self._write()
            self._fsync()
            sync_folder(run_dir)
        except OSError as error:
            raise self._failed(error) from error
        except JournalError:
            self._release("was never opened")
            raise

    # -- Recorder ------------------------------------------------------------------------------------------------------

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Keep inputs, numbered from `first_no`, as far as the header says that they are kept.

        Raises:
            JournalError: the journal cannot be written, or is over.
        """
        self._check_open()
        self._last_input = max(self._last_input, first_no + len(events) - 1)
        if not self._header.embed_inputs:
            return
        if self._header.record == "all" and not any(type(event) is VenueReport for event in events):
            self._take(first_no, events)  # type: ignore[arg-type]  # no VenueReport: checked one line above
        else:
            for number, event in enumerate(events, first_no):
                if type(event) is VenueReport:
                    self._flush_inputs()
                    self._append(Report(number, event))
                    self._count("reports", 1)
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
        self._count(str(event.__struct_config__.tag), 1)
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
        self._check_open()
        self._flush_inputs()
        self._append(Fed(data))
        self._count("fed", 1)
        if self._live:
            self.flush()

    def passed(self, ts_ns: int) -> None:
        """Keep that market time passed without an event."""
        self._check_open()
        self._flush_inputs()
        self._append(Passed(ts_ns))
        self._count("passed", 1)
        if self._live:
            self.flush()

    def note(self, kind: str, text: str) -> None:
        """Keep a remark for the reader."""
        self._check_open()
        self._flush_inputs()
        self._append(Note(kind, text))
        if self._live:
            self.flush()

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
        try:
            self._fsync()
        except OSError as error:
            raise self._failed(error) from error

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
            write_durably(self._folder / ANCHOR, anchor.to_bytes())
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
        self.sync()
        try:
            self._await_packing()
        except OSError as error:
            raise self._failed(error) from error
        self._release("was closed")

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
            self._count("inputs", len(events))

    def _append(self, entry: Entry) -> None:
        body = encode(entry)
        self._entries += 1
        self._chain = chained(self._chain, body)
        frame = FRAME.pack(len(body), length_check(self._entries, len(body)))
        self._buffer += frame + body + self._chain
        self._size += len(frame) + len(body) + len(self._chain)
        self._unsynced += 1
        if len(self._buffer) >= BUFFER_BYTES:
            self._write_or_fail()
        if self._size >= self._segment_bytes:
            self._rotate()
        elif not self._live and self._unsynced >= self._sync_entries:
            self._write_or_fail()
            try:
                self._fsync()
            except OSError as error:
                raise self._failed(error) from error

    def _count(self, kind: str, events: int) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + events

    def _rotate(self) -> None:
        try:
            self._write()
            self._fsync()
            full = self._path
            os.close(self._fd)
            self._fd = -1
            self._open_segment()
            self._await_packing()
        except OSError as error:
            raise self._failed(error) from error
        if self._packer is None:
            self._packer = ThreadPoolExecutor(1, thread_name_prefix="journal-packer")
        self._packing = self._packer.submit(compress_segment, full)

    def _await_packing(self) -> None:
        if self._packing is not None:
            packing, self._packing = self._packing, None
            packing.result()

    def _open_segment(self) -> None:
        self._segment += 1
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._buffer += head_bytes(self._segment, self._entries + 1, self._chain)
        self._size = HEAD.size
        self._write()
        self._fsync()
        sync_folder(self._folder)

    @property
    def _path(self) -> Path:
        return self._folder / segment_name(self._segment, PLAIN)

    def _write_or_fail(self) -> None:
        try:
            self._write()
        except OSError as error:
            raise self._failed(error) from error

    def _write(self) -> None:
        with memoryview(self._buffer) as view:
            done = 0
            while done < len(view):
                done += os.write(self._fd, view[done:])
        self._buffer.clear()

    def _fsync(self) -> None:
        os.fsync(self._fd)
        self._unsynced = 0

    def _take_lock(self, run_dir: Path) -> None:
        self._lock = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{run_dir}: another process writes this run. Choose another run directory.") from None

    def _check_open(self) -> None:
        if self._failure:
            raise JournalError(self._failure)  # what went wrong first is what matters, however often it is met again
        if self._over:
            raise JournalError(f"{self._folder}: the journal {self._over}; nothing can be added to it.")

    def _failed(self, error: OSError) -> JournalError:
        place = self._path if self._segment else self._folder
        self._release("was closed by an error")
        self._failure = (
            f"{place}: cannot write the journal: {error.strerror}. Trading stops here, for what is not recorded must not"
            f" happen. What was written before stays readable. Free space on that disk or choose another one, then start"
            f" a new run."
        )
        return JournalError(self._failure)

    def _release(self, why: str) -> None:
        """Let go of files, thread and lock, for ever; writes nothing."""
        self._over = why
        self._buffer.clear()
        self._pending = []
        if self._packer is not None:
            self._packer.shutdown()
        for descriptor in (self._fd, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._lock = -1
