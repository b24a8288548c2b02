"""Keeps one slot of channels connected: connects again after a failure, and hands over before the venue cuts at 24 h.

After a failure it waits, longer each time and never quite the same time, so that sixty connections do not come back in
step. A planned hand-over needs no gap: the new connection is up, and has shown every channel that still speaks on the
old one, before the old one is closed; what both bring is told apart behind them (decoder.py).
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from claire.adapters.venues.mexc.connection import Clocks, Connection, ConnectionSettings
from claire.adapters.venues.mexc.items import FeedCounters

SECOND: Final = 1_000_000_000


class ConnectPacer:
    """Spaces out the connects of all slots."""

    def __init__(self, per_s: float) -> None:
        """Allow `per_s` connects per second."""
        self._gap_s = 1.0 / per_s
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for the next connect's turn."""
        async with self._turn:
            await asyncio.sleep(self._gap_s)


class _Served:
    """A connection and the task that runs it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.task = asyncio.create_task(connection.run(), name=f"mexc-connection-{connection.number}")

    async def end(self, reason: str) -> str:
        await self.connection.close(reason)
        await asyncio.wait([self.task], timeout=3.0)
        self.task.cancel()
        await asyncio.wait([self.task])
        return reason


class SlotKeeper:
    """Keeps one slot connected for as long as `run` runs."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, Connection]],
        down: Callable[[Connection, str], None],
        clocks: Clocks,
        settings: ConnectionSettings,
        counters: FeedCounters,
        pacer: ConnectPacer,
        rng: random.Random,
    ) -> None:
        """Prepare.

        Args:
            make: Makes the next connection of this slot, not connected yet.
            down: Told of each connection that has ended, and why. During a hand-over the new one is up before.
            clocks: What time is read from.
            settings: Times.
            counters: Where connects and reconnects are counted.
            pacer: Shared by all slots.
            rng: For waits; seeded by the owner.
        """
        self._make = make
        self._down = down
        self._clocks = clocks
        self._settings = settings
        self._counters = counters
        self._pacer = pacer
        self._rng = rng
        self._failures = 0
        self._served: list[_Served] = []

    @property
    def current(self) -> Connection | None:
        """The connection that serves the slot; None while there is none."""
        return self._served[0].connection if self._served else None

    async def run(self) -> None:
        """Keep the slot connected until cancelled; then close what is open."""
        try:
            current = await self._start(serves=True)
            rotate_s = self._settings.max_age_s
            while True:
                await asyncio.wait([current.task], timeout=rotate_s * self._rng.uniform(0.98, 1.0))
                rotate_s = self._settings.max_age_s
                if not current.task.done():
                    old, current = current, await self._hand_over(current)
                    if current is old:
                        rotate_s = min(
                            rotate_s, 4 * self._settings.overlap_s
                        )  # called off: again, long before the 24 h
                if current.task.done():
                    self._ended(current)
                    await asyncio.sleep(self._wait_s(current.connection))
                    current = await self._start(serves=True)
                    self._counters.reconnects_total += 1
        finally:
            await self._end_all()

    async def _start(self, *, serves: bool) -> _Served:
        await self._pacer.turn()
        served = _Served(await self._make())
        served.connection.serves = serves
        self._served.append(served)
        self._counters.connects_total += 1
        return served

    async def _hand_over(self, old: _Served) -> _Served:
        """Bring up a successor; return whoever serves from now on. The old one stays where the new one is not as good."""
        new = await self._start(serves=False)
        deadline = asyncio.get_running_loop().time() + self._settings.overlap_s
        settled = asyncio.create_task(new.connection.settled.wait())
        try:
            await asyncio.wait(
                [old.task, new.task, settled], timeout=self._settings.overlap_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            settled.cancel()
        # what speaks on the old connection from here on has to speak on the new one too
        fresh = old.connection.table.listen_anew()
        await asyncio.sleep(self._settings.min_overlap_s)
        while not (old.task.done() or new.task.done()):
            table = new.connection.table
            if new.connection.settled.is_set() and all(table[name].heard for name in fresh()):
                break
            if asyncio.get_running_loop().time() > deadline:
                self._served.remove(new)
                reason = await new.end("the new connection did not show all that the old one does")
                self._down(new.connection, reason)
                self._counters.connect_failures_total += 1
                return old
            await asyncio.sleep(self._settings.tick_s / 4)
        if new.task.done():
            self._ended(new)
            return old
        self._served.remove(old)
        old.connection.serves, new.connection.serves = False, True
        was_planned = not old.task.done()
        reason = await old.end("planned hand-over") if was_planned else old.task.result()
        self._counters.rotations_total += was_planned
        self._down(old.connection, reason)
        return new

    def _ended(self, served: _Served) -> None:
        """Note that a connection has ended by itself."""
        self._served.remove(served)
        reason = served.task.result()
        if not served.connection.opened_ns:
            self._counters.connect_failures_total += 1
        self._counters.pings_unanswered_total += served.connection.unanswered_ping
        self._down(served.connection, reason)

    def _wait_s(self, connection: Connection) -> float:
        """Return how long to wait before the next connect."""
        first_s, longest_s = self._settings.backoff_s
        lived_ns = self._clocks.now_ns() - connection.opened_ns if connection.opened_ns else 0
        if lived_ns >= self._settings.steady_s * SECOND:
            self._failures = 0
        wait_s = min(longest_s, first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return wait_s * self._rng.uniform(0.5, 1.0)

    async def _end_all(self) -> None:
        for served in self._served:
            await served.end("closed")
            self._down(served.connection, "closed")
        self._served.clear()
