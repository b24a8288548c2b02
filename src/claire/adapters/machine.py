"""What a live process takes from the computer that it runs on: clocks, connections, the disk.

Everything on the live path gets them from here, so that a simulation can be another computer: with a clock of its own, a
network that loses things, and a plug that can be pulled.
"""

import time
from collections.abc import Callable
from typing import Final

import aiohttp
from msgspec import Struct

from claire.adapters.journal.disk import REAL_DISK, Disk
from claire.gateway.hosts import Endpoint
from claire.latch.steps import Step, no_step


def no_session() -> aiohttp.ClientSession | None:
    """Let each stream open a client of its own."""
    return None


class Machine(Struct, frozen=True):
    """The outside of one process."""

    wall_ns: Callable[[], int] = time.time_ns
    """UTC, in nanoseconds; may be set while the process runs."""
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    """Only rises, in nanoseconds."""
    session: Callable[[Endpoint], aiohttp.ClientSession] = Endpoint.session
    """Opens a REST client for an address."""
    socket_session: Callable[[], aiohttp.ClientSession | None] = no_session
    """Opens a client for WebSockets; None: the streams open their own."""
    beat_s: float = 0.02
    """How often the clock is looked at for something due."""
    disk: Disk = REAL_DISK
    """Where everything is written that has to survive."""
    step: Step = no_step
    """Called at every boundary of the order path (latch/steps.py)."""

    has_operator: bool = False
    """Whether somebody may talk to the process, through a socket in its run directory."""

    def monotonic_s(self) -> float:
        """Monotonic time in seconds, for durations."""
        return self.monotonic_ns() / 1e9


THIS_MACHINE: Final = Machine(has_operator=True)
"""The computer that this process runs on."""
