"""What closes the latch from inside: a signal, a breaker, a clock that is wrong. Each is a call that lasts microseconds.

A heart that stopped, a file, HTTP and the operator's command are the sentinel's to notice (`claire.safety.sentinel`).
"""

import os
import signal
import time
from types import FrameType
from typing import Final

from claire.latch.kill import Killed, kill

SIGNAL: Final = signal.SIGUSR1
"""`kill -USR1 PID` closes the latch of a trading process."""


def on_signal(folder: str | os.PathLike[str], number: signal.Signals = SIGNAL) -> None:
    """Close the latch when a signal comes. To be called in the main thread.

    The handler runs between two steps of the interpreter, whatever the event loop is blocked by.
    """

    def handle(received: int, _frame: FrameType | None) -> None:
        name = signal.Signals(received).name
        kill(folder, who=f"signal {name}", reason=f"process {os.getpid()} was sent {name}", now_ns=time.time_ns())

    signal.signal(number, handle)


def breaker(folder: str | os.PathLike[str], control: str, reason: str) -> Killed:
    """Close the latch because a control of the trading process tripped for good.

    Args:
        folder: Of the account.
        control: Which, as ``C19 reject breaker``.
        reason: With the numbers compared.
    """
    return kill(folder, who=f"breaker {control}", reason=reason, now_ns=time.time_ns())


def clock_fault(folder: str | os.PathLike[str], reason: str) -> Killed:
    """Close the latch because time is not to be trusted: no age and no expiry means anything then."""
    return kill(folder, who="clock", reason=reason, now_ns=time.time_ns())
