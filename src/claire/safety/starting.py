"""Starts the sentinel beside a run, as a program of its own, and ends it with the run."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from claire.gateway.signer import Keys, to_child
from claire.model.errors import ClaireError, SafetyRefusal
from claire.safety.door import PORT
from claire.safety.heart import HEART_S

START_S: Final = 30.0
"""Longest time that it may take to come up."""
END_S: Final = 20.0
"""How long the end of a run waits for a sweep that is going on; after that it goes on by itself."""

_left: list["subprocess.Popen[bytes]"] = []
"""Sentinels that were still sweeping when their run ended."""


class _Hello(Struct):
    event: str
    pid: int
    port: int
    trouble: str


class Watched(Struct, frozen=True):
    """A sentinel that is up."""

    pid: int
    port: int
    """Of its door; 0: it has none."""
    trouble: str
    """Why it has none."""
    process: "subprocess.Popen[bytes]"

    def check(self) -> None:
        """Hold that it is still there.

        Raises:
            SafetyRefusal: it is not, so nobody would clean up.
        """
        code = self.process.poll()
        if code is not None:
            raise SafetyRefusal(
                f"the sentinel (process {self.pid}) has ended with {code}; nothing would be cancelled after a kill"
            )


@asynccontextmanager
async def watched(
    folder: Path,
    rest_url: str,
    keys: Keys,
    *,
    recv_window_ms: int = 2000,
    port: int = PORT,
    heart_s: float = HEART_S,
) -> AsyncIterator[Watched]:
    """Start ``claire sentinel`` for an account.

    Args:
        folder: Of the account; it has a latch.
        rest_url: The venue.
        keys: For cancels and queries; best a key of its own.
        recv_window_ms: As the run's.
        port: Of its door; 0: a free one.
        heart_s: Longest silence of the trading process's heart.

    Raises:
        ClaireError: it did not come up.
    """
    limits = ["--recv-window-ms", str(recv_window_ms), "--heart-s", f"{heart_s:g}"]
    words = ["sentinel", "--folder", str(folder.absolute()), "--rest-url", rest_url, "--keys-from-stdin", "--json"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "claire.cli.main", *words, "--port", str(port), *limits],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C at the terminal is the run's
    )
    try:
        hello = await asyncio.wait_for(asyncio.to_thread(_greet, process, keys), START_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        yield Watched(hello.pid, hello.port, hello.trouble, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.to_thread(process.wait, END_S)
        except subprocess.TimeoutExpired:
            _left.append(process)


def _greet(process: "subprocess.Popen[bytes]", keys: Keys) -> _Hello:
    """Give it its keys, and hear that it watches. Then nobody reads what it says: its log has it."""
    if process.stdin is None or process.stdout is None:
        raise ClaireError("the sentinel has no input or output")
    with process.stdin, process.stdout:
        try:
            process.stdin.write(to_child(keys))
            process.stdin.flush()
            hello = msgspec.json.decode(process.stdout.readline(), type=_Hello)
        except (OSError, msgspec.MsgspecError):
            raise ClaireError("the sentinel did not come up; start it by hand to see why: claire sentinel") from None
    return hello
