"""The sentinel: a process beside the trading process that notices every way of killing, and cleans up at the venue.

It looks fifty times a second at the latch, at the file ``kill`` and at the heart of the trading process, and listens on its
door. Once the latch is closed it cancels (`claire.safety.sweep`), and watches that the trading process has seen it: one that has
not within 500 ms is ended by SIGKILL, which reaches a process that is blocked or stopped too. It has a connection, a key and a
budget of its own, needs neither database nor ledger, and never sells.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio loads it when it is first used, and that would be the kill
import contextlib
import fcntl
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import msgspec

from claire.latch.kill import kill
from claire.latch.latch import KILL
from claire.latch.page import Flag, read
from claire.model.errors import SafetyRefusal
from claire.safety import heart
from claire.safety.door import PORT, Door
from claire.safety.folder import read_symbols
from claire.safety.heart import HEART_S
from claire.safety.sweep import AGAIN_S, Sweeper

LOOK_S: Final = 0.02
OBEY_S: Final = 0.5
"""How long the trading process may take to show that it has seen the latch closed."""
DISK_S: Final = 0.5
"""How long the disk may take before the sweep begins without it."""
DIE_S: Final = 5.0
"""How long the kernel may take to end a process."""
ASLEEP_S: Final = 1.0
"""A longer pause between two looks: this process was not running, so silence meanwhile means nothing."""
FRESH_S: Final = 60.0
"""An older kill is swept for again, but its time is not what this sweep is measured from."""
LOG: Final = "sentinel.jsonl"
LOCK: Final = "sentinel.lock"
TAKE_OVER_S: Final = 3.0
MS: Final = 1_000_000


class Book:
    """What the sentinel says: one JSON object per line, in the account's folder and on standard output.

    That a line cannot be written stops nothing; it is told once on standard error.
    """

    def __init__(self, folder: Path, out: IO[bytes] | None) -> None:
        """Write below a folder, and to `out`."""
        self._file = folder / LOG
        self._out = out
        self._is_told = False

    def __call__(self, what: str, numbers: dict[str, object]) -> None:
        """Say one thing."""
        line = msgspec.json.encode({"event": what, "at_ms": time.time_ns() // MS, **numbers}) + b"\n"
        if self._out is not None:
            try:
                self._out.write(line)
                self._out.flush()
            except OSError:
                self._out = None  # the reader went away, which is how a parent says that it has heard enough
        try:
            with self._file.open("ab") as opened:
                opened.write(line)
        except OSError as error:
            if not self._is_told:
                sys.stderr.write(f"claire sentinel: {self._file}: {error.strerror}; it goes on without\n")
                self._is_told = True


class Sentinel:
    """Watches one account until it is asked to end."""

    def __init__(
        self,
        folder: Path,
        sweeper: Sweeper,
        tell: Callable[[str, dict[str, object]], None],
        *,
        heart_s: float = HEART_S,
    ) -> None:
        """Watch.

        Args:
            folder: Of the account.
            sweeper: Open.
            tell: Called with what happens.
            heart_s: Longest silence of a heart.
        """
        self._folder = folder
        self._sweeper = sweeper
        self._tell = tell
        self._heart_s = heart_s
        self._known: tuple[str, ...] = ()
        self._pulse: heart.Pulse | None = None
        self._is_watched = False
        self._beat_ns = self._looked_ns = time.monotonic_ns()
        self._asked_ns = 0
        self._is_unwritable = False
        self.state = "armed"

    async def kill(self, who: str, reason: str) -> dict[str, object]:
        """Close the latch; return what became of that. A disk that does not answer holds nothing up but durability."""
        began_ns = self._asked_ns = time.monotonic_ns()
        closing = asyncio.create_task(
            asyncio.to_thread(kill, self._folder, who=who, reason=reason, now_ns=time.time_ns())
        )
        await asyncio.wait((closing,), timeout=DISK_S)
        if not closing.done():
            self._tell(
                "problem", {"because": f"the disk has not answered for {DISK_S:g} s; what is closed may not be durable"}
            )
            flag = read(self._folder)
            self._is_unwritable = flag.is_armed
            return {"closed": not flag.is_armed, "durable": False, "why": flag.why}
        done = closing.result()
        if not done.is_closed:
            # the gate stays open, so whoever stands behind it has to go
            self._is_unwritable = True
            self._tell("problem", {"because": "the latch cannot be closed", "problems": done.problems})
        return {
            "closed": done.is_closed,
            "durable": done.is_durable,
            "was_closed": done.was_closed,
            "why": done.flag.why,
            "problems": done.problems,
            "latch_us": (time.monotonic_ns() - began_ns) // 1000,
        }

    def status(self) -> dict[str, object]:
        """Return how things stand."""
        flag, pulse = read(self._folder), heart.read(self._folder)
        return {
            "state": self.state,
            "armed": flag.is_armed,
            "why": flag.why,
            "generation": flag.generation,
            "symbols": self._symbols(),
            "trading_process": pulse.pid if pulse is not None and pulse.is_alive else 0,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`; a sweep that has begun is brought to its end first."""
        swept: int | None = None
        while True:
            flag = read(self._folder)
            if flag.is_armed and not self._is_unwritable:
                self.state, swept = "armed", None
                reason = self._heart_trouble(flag)
                if reason:
                    await self.kill("sentinel", reason)
                    continue
            elif swept != flag.generation:
                try:
                    swept = await self._stop_everything(flag)
                except Exception:  # noqa: BLE001 - told in full, and tried again: nobody else would clean up
                    self._tell("fault", {"traceback": traceback.format_exc()})
                    await asyncio.sleep(AGAIN_S)
                    continue
            if stop.is_set():
                return
            await asyncio.sleep(LOOK_S)

    # -- noticing ------------------------------------------------------------------------------------------------------

    def _heart_trouble(self, flag: Flag) -> str:
        """Return why the heart is a reason to kill; empty: it is none."""
        now_ns = time.monotonic_ns()
        if now_ns - self._looked_ns > ASLEEP_S * 1e9:
            self._beat_ns = now_ns
        self._looked_ns = now_ns
        pulse = heart.read(self._folder)
        if pulse is None or pulse.has_ended:
            self._is_watched = False
            return ""
        if pulse.obeyed >= 0 and pulse.obeyed == flag.generation:
            return "the trading process found the latch closed"
        if pulse != self._pulse:
            self._is_watched = self._pulse is not None or pulse.is_alive
            self._pulse, self._beat_ns = pulse, now_ns
        elif self._is_watched and now_ns - self._beat_ns > self._heart_s * 1e9:
            how = "there, and stopped or stuck" if pulse.is_alive else "gone"
            return f"no heartbeat for {self._heart_s:g} s; trading process {pulse.pid} is {how}"
        return ""

    def _symbols(self) -> tuple[str, ...]:
        """What may be traded: the list as it is now, else as it was."""
        try:
            self._known = read_symbols(self._folder) or self._known
        except OSError as error:
            self._tell("problem", {"because": f"the list of symbols cannot be read ({error.strerror})"})
        return self._known

    # -- stopping ------------------------------------------------------------------------------------------------------

    async def _stop_everything(self, flag: Flag) -> int:
        """Cancel all, and see to it that the trading process sends no more; return the generation that this was for."""
        self.state = "sweeping"
        t0_ns = self._began_ns(flag)
        if (
            flag.problem and not self._is_unwritable
        ):  # whatever it is, it shall last until somebody arms the account again
            await self.kill("sentinel", flag.problem)
            flag = read(self._folder)
        self._tell(
            "killed",
            {"ms": _ms(time.monotonic_ns() - t0_ns), "why": flag.why or "asked for", "generation": flag.generation},
        )
        fence: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        closing = asyncio.create_task(self._close_gate(flag.generation, fence, t0_ns), name="sentinel-gate")
        try:
            swept = await self._sweeper.sweep(self._symbols, fence, t0_ns=t0_ns)
            await closing
        finally:
            closing.cancel()
            await asyncio.wait((closing,))
        self._tell("proven_empty", msgspec.structs.asdict(swept))
        self.state = "killed, proven empty"
        self._is_watched, self._asked_ns = False, 0
        return flag.generation

    def _began_ns(self, flag: Flag) -> int:
        """Return the monotonic time of the trigger: what the page says, else the file, else now."""
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        if self._asked_ns:
            return self._asked_ns
        at_ns = flag.ts_ns
        if flag.problem:
            try:
                at_ns = os.lstat(self._folder / KILL).st_mtime_ns
            except OSError:
                at_ns = wall_ns  # no file: the page itself is what is wrong, and nobody knows since when
        age_ns = wall_ns - at_ns
        return now_ns - age_ns if 0 <= age_ns <= FRESH_S * 1e9 else now_ns

    async def _close_gate(self, generation: int, fence: "asyncio.Future[int]", t0_ns: int) -> None:
        """Wait until the trading process has seen the latch closed, or is no more; then say which moment ends all doubt."""
        fence_ms = 0
        try:
            is_certain, how = await self._answer(generation)
            fence_ms = self._fence_ms(is_certain=is_certain)
            self._tell("gate_closed", {"ms": _ms(time.monotonic_ns() - t0_ns), "how": how, "fence_ms": fence_ms})
        finally:
            if not fence.done():
                fence.set_result(fence_ms or self._fence_ms(is_certain=False))

    async def _answer(self, generation: int) -> tuple[bool, str]:
        """Wait for the trading process; return whether it certainly sends no more, and why."""
        deadline_ns = time.monotonic_ns() + round(OBEY_S * 1e9)
        while True:
            pulse = heart.read(self._folder)
            if pulse is None or pulse.has_ended or not pulse.is_alive:
                return pulse is not None, "no trading process"
            if pulse.obeyed == generation:
                return True, "the trading process has seen it"
            if self._is_unwritable or time.monotonic_ns() >= deadline_ns:
                return await _end(pulse)
            await asyncio.sleep(LOOK_S / 2)

    def _fence_ms(self, *, is_certain: bool) -> int:
        """Return the venue time from which on nothing can be accepted: as the heart says, else as if it had sent just now."""
        latest_ms = self._sweeper.venue_ms() + self._sweeper.recv_window_ms + 1000
        pulse = heart.read(self._folder)
        return min(pulse.fence_ms, latest_ms) if is_certain and pulse is not None and pulse.fence_ms > 0 else latest_ms


async def _end(pulse: heart.Pulse) -> tuple[bool, str]:
    """End a process that does not answer; return whether it is no more, and what became of it."""
    name = f"trading process {pulse.pid}"
    try:
        descriptor = os.pidfd_open(pulse.pid)
    except OSError as error:
        return not pulse.is_alive, f"{name} cannot be held ({error.strerror})"
    try:
        if not pulse.is_alive:
            return True, f"{name} is not there any more"
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except OSError as error:
            return (
                False,
                f"{name} does not answer and cannot be ended ({error.strerror}); its gate still looks at the latch",
            )
        deadline_ns = time.monotonic_ns() + round(DIE_S * 1e9)
        while time.monotonic_ns() < deadline_ns:
            if select.select((descriptor,), (), (), 0)[0]:
                return (
                    True,
                    f"{name} did not show within {OBEY_S * 1000:g} ms that it has seen it, and was ended (SIGKILL)",
                )
            await asyncio.sleep(LOOK_S / 2)
        return False, f"{name} was sent SIGKILL and hangs in the kernel"
    finally:
        os.close(descriptor)


def take_over(folder: Path) -> int:
    """Become the account's sentinel; one of before is asked to end, unless it is in the middle of a sweep.

    Returns:
        The lock's descriptor, to be kept.

    Raises:
        SafetyRefusal: the other one is sweeping.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + TAKE_OVER_S
    is_asked = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            other = int(os.pread(lock, 20, 0).strip() or b"0")
            if other and not is_asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other, signal.SIGTERM)
                is_asked = True
            if time.monotonic() > deadline:
                os.close(lock)
                raise SafetyRefusal(
                    f"{folder}: another sentinel (process {other}) is sweeping this account; let it finish: {folder / LOG}"
                ) from None
            time.sleep(0.02)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


async def serve(
    folder: Path, sweeper: Sweeper, *, port: int = PORT, out: IO[bytes] | None = None, heart_s: float = HEART_S
) -> None:
    """Be the sentinel of an account until SIGTERM or Ctrl-C.

    Args:
        folder: Of the account.
        sweeper: Not yet open.
        port: Of the door on 127.0.0.1; 0: a free one. A port that is taken is told, and the other triggers work without.
        out: Where lines go beside the log.
        heart_s: Longest silence of the trading process's heart.

    Raises:
        SafetyRefusal: another sentinel is sweeping the account.
    """
    lock = take_over(folder)
    tell = Book(folder, out)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        sweeper.listen(tell)
        async with sweeper:
            sentinel = Sentinel(folder, sweeper, tell, heart_s=heart_s)
            door = Door(sentinel.kill, sentinel.status)
            trouble = ""
            try:
                await door.open(port)
            except OSError as error:
                trouble = f"no door on 127.0.0.1:{port}: {error.strerror}; the other triggers work"
            warm = asyncio.create_task(sweeper.keep_warm(), name="sentinel-warm")
            try:
                tell("watching", {"pid": os.getpid(), "port": door.port, "folder": str(folder), "trouble": trouble})
                await sentinel.run(stop)
            finally:
                warm.cancel()
                await asyncio.wait((warm,))
                await door.close()
        tell("ended", {"state": sentinel.state})
    finally:
        os.close(lock)


def _ms(ns: int) -> float:
    return round(ns / MS, 1)
