"""One life of the computer on which Claire runs: its clocks, its network, its disk, and the end of it.

Tasks that are started inside a life belong to it. When the power goes, its files are as the disk kept them, its connections
end, and whatever its tasks still do while they are cancelled reaches neither file nor wire.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from claire.adapters.machine import Machine
from claire.drill.disk import SimDisk
from claire.drill.virtual import VirtualLoop
from claire.gateway.checked import CheckedRequest

T = TypeVar("T")

BEAT_S: Final = 0.1

SENDING: Final = "send.before"
"""The boundary behind which an order is on the wire."""

STARTED: Final = "recover.done"
"""The boundary behind which a life trades."""

DYING_S: Final = 120.0
"""Virtual time that the tasks of a dead computer may take to notice."""

_life: ContextVar["Host | None"] = ContextVar("life", default=None)


class SimCrash(BaseException):
    """The power goes, right here. Not an Exception: nothing in production may catch it."""


class Host:
    """One life."""

    def __init__(
        self,
        loop: VirtualLoop,
        folder: Path,
        socket: Path,
        rng: random.Random,
        *,
        epoch_ns: int,
        skew_ns: int = 0,
        on_crash: Callable[[], None] = lambda: None,
    ) -> None:
        """Boot.

        Args:
            loop: Where everything happens.
            folder: What survives: the runs.
            socket: Of the venue.
            rng: Draws what a crash leaves.
            epoch_ns: UTC when the loop began.
            skew_ns: How far this computer's clock is ahead.
            on_crash: Called when the power has gone.
        """
        self.folder = folder
        self.disk = SimDisk(random.Random(rng.getrandbits(64)))
        self.is_off = False
        self.died = asyncio.Event()
        self.steps = 0
        """Boundaries passed so far."""
        self.passed: Counter[str] = Counter()
        """The same by name."""
        self.recovery_steps = 0
        """Boundaries passed when the start was over."""
        self.trace: list[str] | None = None
        """Their names in order, where somebody wants to know."""
        self.is_usurped = False
        """Whether a newer process trades the account."""
        self.sent_in_vain = 0
        """Orders that were written all the same."""
        self.crash_at = 0
        """The boundary at which the power goes; 0: at none."""
        self.crashed_at = ""
        """The boundary at which it went."""
        self._on_crash = on_crash
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._transports: list[asyncio.Transport] = []
        self._kept: dict[Path, bytes] = {}
        self._is_buried = False
        since_boot_ns = rng.randrange(10**9, 10**15)
        boot_ns = loop.now_ns()
        self.machine = Machine(
            wall_ns=lambda: epoch_ns + loop.now_ns() + skew_ns,
            monotonic_ns=lambda: since_boot_ns + loop.now_ns() - boot_ns,
            session=lambda endpoint: self._session(Path(endpoint.unix_path)),
            socket_session=lambda: self._session(socket),
            beat_s=BEAT_S,
            disk=self.disk,
            step=self.step,
        )

    # -- what production calls -------------------------------------------------------------------------------------------

    def step(self, name: str) -> None:
        """Pass a boundary of the order path, or die at it.

        Raises:
            SimCrash: this is the one, or the power is off already.
        """
        if self.is_off:
            raise SimCrash(name)
        self.steps += 1
        self.passed[name] += 1
        if self.trace is not None:
            self.trace.append(name)
        if name == STARTED:
            self.recovery_steps = self.steps
        elif name == SENDING and self.is_usurped:
            self.sent_in_vain += 1
        if self.steps == self.crash_at:
            self.power_off(name)
            raise SimCrash(name)

    def _session(self, socket: Path) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=_Plug(self, str(socket), limit=0), request_class=CheckedRequest)

    # -- what the simulation does ----------------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something on this computer."""
        token = _life.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _life.reset(token)

    def power_off(self, where: str = "between two steps") -> None:
        """Pull the plug: files are as they are durable, connections end, nothing has an effect any more."""
        if self.is_off or self._is_buried:
            return
        self.is_off = True
        self.crashed_at = where
        self.disk.power_off()
        self._kept = {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        for transport in self._transports:
            transport.abort()
        self._on_crash()
        self.died.set()

    async def bury(self) -> None:
        """Wait until every task of this life has ended, then put the files back as they were when the power went.

        Raises:
            TimeoutError: a task does not end though it was cancelled.
        """
        async with asyncio.timeout(DYING_S):
            while self._tasks:
                tasks = tuple(self._tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=1.0)
                await asyncio.sleep(0)
        self.disk.release()
        self._is_buried = True
        if self.is_off:
            for path in sorted(self.folder.rglob("*")):
                if path.is_file():
                    path.unlink()
            for path, content in self._kept.items():
                path.write_bytes(content)
            self._kept.clear()

    def attach(self, transport: asyncio.Transport) -> None:
        """Note a connection of this computer; one that came up as the power went is none."""
        if self.is_off:
            transport.abort()
            return
        self._transports = [each for each in self._transports if not each.is_closing()]
        self._transports.append(transport)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Note a task of this computer."""
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if self.is_off and not task.cancelled():
            task.exception()  # whatever a dying task says is heard by nobody


def make_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T] | Generator[Any, None, T], **named: Any
) -> "asyncio.Task[T]":
    """Make a task that belongs to the life in which it was started (a task factory for the loop)."""
    task: asyncio.Task[T] = asyncio.Task(work, loop=loop, **named)
    host = _life.get()
    if host is not None:
        host.adopt(task)
    return task


class _Plug(aiohttp.UnixConnector):
    """Connects to the venue while the power is on."""

    def __init__(self, host: Host, path: str, limit: int) -> None:
        # aiohttp ages idle connections by the real clock: here only the venue, by virtual time, ends them
        super().__init__(path, limit=limit, keepalive_timeout=1e6)
        self._host = host

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if self._host.is_off:
            raise aiohttp.ClientConnectionError("the power is off")
        made = await super()._create_connection(req, traces, timeout)
        if made.transport is not None:
            self._host.attach(made.transport)
        return made
