"""The door of a running process: a Unix socket in its run directory, through which its operator talks to it.

RUN/control.sock    the socket, for its owner alone (0600); one request and one answer per line, as JSON
RUN/control.path    where it lies instead, when the run directory's path is too long for a socket

Who connects has to be the user that runs the process (or root), as the kernel says. `Door` is the process's side,
`knock` that of who asks.
"""

import asyncio
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from claire.model.errors import ClaireError, SafetyRefusal, UsageError

SOCKET: Final = "control.sock"
PLACE: Final = "control.path"
LONGEST_PATH: Final = 107
"""Bytes that the kernel takes as a socket's path."""
LONGEST_LINE: Final = 1 << 16
"""Bytes of a request."""
PATIENCE_S: Final = 5.0
"""How long a connection may say nothing."""
MOST: Final = 16
"""Connections at a time."""
ANSWER_S: Final = 30.0
"""How long `knock` waits for an answer."""
_CREDENTIALS: Final = struct.Struct("3i")


class Request(Struct, frozen=True, omit_defaults=True):
    """What an operator asks of a running process."""

    do: str
    """A word of `services.operating`: ``pause``, ``positions`` …"""
    operator: str = ""
    reason: str = ""
    symbol: str = ""
    order: str = ""
    lock: str = ""
    """The source of a lock."""
    venue: bool = False
    """Ask the venue too."""


class Answer(Struct, frozen=True, omit_defaults=True):
    """What a process says."""

    result: dict[str, Any] = {}
    error: str = ""
    exit_code: int = 0
    """As a command ends with (DESIGN 13)."""


Handle = Callable[[Request], Awaitable[dict[str, Any]]]
"""Does what is asked; raises ClaireError for what is refused."""


class Door:
    """The process's side. Entered, it answers; its work is done between two inputs of the pipeline."""

    def __init__(self, run_dir: Path, handle: Handle) -> None:
        """Prepare the door of a run that this process holds the lock of."""
        self._run_dir = run_dir
        self._handle = handle
        self._socket: socket.socket | None = None
        self._place = Path()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong while something was done that was asked for: the journal is full, say.

        Raises:
            Exception: that.
        """
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            OSError: the run directory cannot hold a socket.
        """
        leave(self._run_dir)
        self._place = _place(self._run_dir)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            os.fchmod(opened.fileno(), 0o600)  # before it has a name: nobody else can ever open it
            opened.bind(os.fspath(self._place))
            self._place.chmod(0o600)
            opened.listen(MOST)
        except BaseException:
            opened.close()
            raise
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._accept, opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; who still waits for an answer gets none."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        leave(self._run_dir)

    def _accept(self, opened: socket.socket) -> None:
        try:
            connection, _ = opened.accept()
        except (BlockingIOError, ConnectionError):
            return  # who knocked is gone again
        if len(self._tasks) >= MOST or not is_ours(connection):
            connection.close()
            return
        connection.setblocking(False)
        task = self._spawn(self._serve(connection), "operator")
        task.add_done_callback(lambda _: connection.close())  # also of one that was cancelled before it began

    async def _serve(self, connection: socket.socket) -> None:
        loop, waiting = asyncio.get_running_loop(), b""
        with suppress(TimeoutError, ConnectionError):
            while True:
                while b"\n" not in waiting:
                    if len(waiting) > LONGEST_LINE:
                        return
                    async with asyncio.timeout(PATIENCE_S):
                        came = await loop.sock_recv(connection, 4096)
                    if not came:
                        return
                    waiting += came
                line, _, waiting = waiting.partition(b"\n")
                answer = msgspec.json.encode(await self._answer(line)) + b"\n"
                async with asyncio.timeout(PATIENCE_S):
                    await loop.sock_sendall(connection, answer)

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Answer(error=f"this is no request: {error}", exit_code=UsageError.exit_code)
        try:
            return Answer(result=await self._handle(request))
        except (UsageError, SafetyRefusal) as refused:
            return Answer(error=str(refused), exit_code=refused.exit_code)
        except ClaireError as error:
            if request.do not in ASKING:
                self._failure = error  # what cannot be kept ends the run, whoever asked for it
            return Answer(error=str(error), exit_code=error.exit_code)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error


ASKING: Final = ("ping", "positions", "orders", "balance", "risk")
"""Requests that change nothing: one that fails, because the venue does not answer, stops nothing."""


def is_ours(connection: socket.socket) -> bool:
    """Whether the user at the other end is the one that runs this process, or root."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(found)
    return uid in (os.geteuid(), 0)


def leave(run_dir: Path) -> None:
    """Take the door of a run away, also one that a process left that was killed."""
    place = door_of(run_dir)
    if place is not None:
        place.unlink(missing_ok=True)
        if place.parent != run_dir:
            with suppress(OSError):
                place.parent.rmdir()
    (run_dir / PLACE).unlink(missing_ok=True)


def door_of(run_dir: Path) -> Path | None:
    """Return where the socket of a run lies, or lay; None: there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return Path((run_dir / PLACE).read_text("utf-8").rstrip("\n"))
    place = run_dir / SOCKET
    return place if place.is_socket() else None


def _place(run_dir: Path) -> Path:
    """Choose where the socket shall lie, and note it where that is somewhere else."""
    place = run_dir.absolute() / SOCKET
    if len(os.fsencode(place)) <= LONGEST_PATH:
        return place
    place = Path(tempfile.mkdtemp(prefix="claire-")) / SOCKET
    (run_dir / PLACE).write_text(f"{place}\n", "utf-8")
    return place


def knock(run_dir: Path, request: Request, *, patience_s: float = ANSWER_S) -> dict[str, Any] | None:
    """Ask the process that runs a run; None: none does, or it has no door.

    Raises:
        UsageError, SafetyRefusal, ClaireError: it refused, as its own exit code says, or did not answer.
    """
    place = door_of(run_dir)
    if place is None:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience_s)
        try:
            connection.connect(_near(place))
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # who left it there is gone
        except OSError as error:
            raise ClaireError(f"{place}: {error.strerror}. The run belongs to another user; ask as that one") from None
        try:
            if not is_ours(connection):
                raise SafetyRefusal(f"{place}: another user answers there; nothing was asked")
            connection.sendall(msgspec.json.encode(request) + b"\n")
            line = _line(connection)
        except TimeoutError:
            raise ClaireError(
                f"run {run_dir.name}: its process does not answer within {patience_s:g} s. claire kill stops its orders"
                " without asking it"
            ) from None
        except ConnectionError:
            line = b""
    if not line:
        raise ClaireError(f"run {run_dir.name}: its process ended before it answered; look at claire history")
    answer = msgspec.json.decode(line, type=Answer)
    if answer.error:
        kinds = {UsageError.exit_code: UsageError, SafetyRefusal.exit_code: SafetyRefusal}
        raise kinds.get(answer.exit_code, ClaireError)(answer.error)
    return answer.result


def _near(place: Path) -> str:
    """Return a name of a socket that is short enough to connect to."""
    text = os.fspath(place)
    near = os.path.relpath(text)
    return text if len(os.fsencode(text)) <= LONGEST_PATH else near


def _line(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        came = connection.recv(1 << 16)
        if not came:
            break
        found += came
    return found
