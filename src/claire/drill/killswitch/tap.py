"""A network between the processes and the venue that notes when calls come out of their sockets, and that can be cut."""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from claire.drill.killswitch.processes import PATIENCE_S, Arrival, TrialError

_CALL: Final = re.compile(rb"(POST|DELETE) /api/v3/(?:order|batchOrders|openOrders)\?(\S*)")
_NAME: Final = re.compile(rb"newClientOrderId=([^&\s]+)")


class Tap(threading.Thread):
    """Passes bytes on until it is cut: then they are lost without a word, and connections of before stay dead."""

    def __init__(self, url: str) -> None:
        """Prepare a network to the venue at `url`."""
        super().__init__(name="tap", daemon=True)
        parts = urlsplit(url)
        self._to = (str(parts.hostname), parts.port or 80)
        self._ready = threading.Event()
        self._is_cut = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.url = ""
        self.arrivals: list[Arrival] = []
        """Calls that place or cancel orders, as they came out of a socket; also those that are lost."""

    def cut(self) -> None:
        """Let nothing through."""
        self._is_cut = True

    def heal(self) -> None:
        """Let through what comes on connections without a loss."""
        self._is_cut = False

    def run(self) -> None:
        """Serve until `stop`."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Close everything."""
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        self.join(PATIENCE_S)

    def wait(self) -> None:
        """Wait until it listens.

        Raises:
            TrialError: it does not.
        """
        if not self._ready.wait(PATIENCE_S):
            raise TrialError("the network between gateway and venue did not come up")

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        self._ready.set()
        await self._over.wait()
        server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        lost = [self._is_cut]
        tasks = [
            asyncio.create_task(self._pass(reader, there_writer, lost, is_out=True)),
            asyncio.create_task(self._pass(there_reader, writer, lost, is_out=False)),
        ]
        self._tasks |= dict.fromkeys(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                self._tasks.pop(task, None)
            for one in (writer, there_writer):
                one.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: list[bool], *, is_out: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_out:
                    self._note(data, time.time_ns() // 1000)
                if self._is_cut or lost[0]:
                    lost[0] = True  # what was lost is never sent again here, so this connection is over
                    continue
                writer.write(data)
                await writer.drain()

    def _note(self, data: bytes, at_us: int) -> None:
        for found in _CALL.finditer(data):
            name = _NAME.search(found[2])
            self.arrivals.append(Arrival(at_us, found[1].decode(), name[1].decode() if name else "", 0))


@contextmanager
def tapped(url: str) -> Iterator[Tap]:
    """A network to a venue."""
    tap = Tap(url)
    tap.start()
    try:
        tap.wait()
        yield tap
    finally:
        tap.stop()
