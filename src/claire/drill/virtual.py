"""An event loop in which time is a number: it stands still while anything can be done, and jumps when nothing can.

Sockets are real (aiohttp's client and server run unchanged), but only Unix sockets: what was written to one can be read
from the other end at once, so "nothing is ready" means that nothing is on its way. Loopback TCP may deliver a moment later.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

NS_PER_S: Final = 1_000_000_000


class Deadlock(Exception):
    """Every task waits, no descriptor is ready, and no timer is set: nothing can ever happen again."""


class _Selector(selectors.EpollSelector):
    """Polls without waiting, in the order in which descriptors were registered; time passes where it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._registered: dict[int, int] = {}
        self._registrations = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Register, and remember in which order."""
        key = super().register(fileobj, events, data)
        self._registrations += 1
        self._registered[key.fd] = self._registrations
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; if nothing is, let the time pass that it would have waited.

        Raises:
            Deadlock: nothing is ready, and no timer is set.
        """
        ready = super().select(0)
        if ready:
            if len(ready) > 1:
                ready.sort(key=self._rank)
            return ready
        if timeout is None:
            raise Deadlock(f"at {self.now_s:.6f} s every task waits for another one, and no timer is set")
        if timeout > 0:
            self.now_s += timeout
        return ready

    def _rank(self, ready: tuple[selectors.SelectorKey, int]) -> int:
        return self._registered[ready[0].fd]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop over virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now_s

    def now_ns(self) -> int:
        """Virtual nanoseconds since the loop was made."""
        return round(self._virtual.now_s * NS_PER_S)


def run_virtually(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop of its own; tasks that it leaves behind are cancelled.

    Raises:
        Deadlock: nothing could ever happen again.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        try:
            return loop.run_until_complete(work(loop))
        finally:
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
