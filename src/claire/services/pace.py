"""Makes data time pass at a chosen speed by sleeping; what is decided does not depend on it."""

import time
from collections.abc import Callable

_NAP_S = 0.1
"""Longest sleep before looking whether to stop."""


class WallPacer:
    """A `Pacer` over the machine's monotonic clock."""

    def __init__(
        self, speed: float, should_stop: Callable[[], bool], begins: Callable[[], bool] = lambda: True
    ) -> None:
        """Let `speed` market seconds (above 0) pass in each second, from the first event on at which `begins` is true."""
        self._begins = begins
        self._speed = speed
        self._should_stop = should_stop
        self._first_ns = 0
        self._started = 0.0

    def wait_until(self, ts_event_ns: int) -> bool:
        """Sleep until `ts_event_ns` has come; False as soon as the run should stop."""
        if not self._first_ns:
            if not self._begins():
                return not self._should_stop()
            self._first_ns, self._started = ts_event_ns, time.monotonic()
        due = self._started + (ts_event_ns - self._first_ns) / 1e9 / self._speed
        while not self._should_stop():
            left = due - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _NAP_S))
        return False
