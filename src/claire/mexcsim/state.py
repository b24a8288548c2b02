"""What REST, streams and control share: the exchange, its clocks, its log, its faults, and what is to be done after a change."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from claire.mexcsim.config import SimConfig
from claire.mexcsim.exchange import Exchange
from claire.mexcsim.faults import ClockSkew, Faults
from claire.mexcsim.flow import RecordedFlow, SeededFlow
from claire.mexcsim.limits import Budget
from claire.mexcsim.log import SimLog

MANY_PAIRS = 100
PAST_BARS = 100_000
"""Of many pairs: minutes of the past over all of them, a second of work if somebody asks for all at once."""


def system_ms() -> int:
    """The system's clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def system_us() -> int:
    """The system's clock, in microseconds since 1970."""
    return time.time_ns() // 1_000


class Venue:
    """One simulated venue, without its sockets."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config.checked()
        self.clock = config.clock or system_ms
        self.clock_us: Callable[[], int] = system_us if config.clock is None else lambda: self.clock() * 1000
        """The same clock in microseconds, where it is the system's."""
        self.log = SimLog(self.clock)
        self.faults = Faults(self.log, config.seed)
        self.budget = Budget(config.limits)
        self.started_ms = self.clock()
        self._caught_up_ms = self.started_ms
        self.recorded_ms: int | None = None
        """The time of the latest recorded trade, where trades carry their recorded times."""
        self.recorded: RecordedFlow | None = None
        self.seeded: SeededFlow | None = None
        self.exchange = self._make_exchange()
        self.settle: Callable[[], None] = _nothing
        """Delivers what the exchange has told; the server sets it."""
        self.flush: Callable[[], None] = _nothing
        """Sends what waits for its window; the server sets it."""
        self.tasks: dict[asyncio.Task[None], None] = {}
        self.failures: list[BaseException] = []

    def _make_exchange(self) -> Exchange:
        config = self.config
        exchange = Exchange(
            config.symbols,
            config.habits,
            seed=config.seed,
            now_ms=self.started_ms,
            past_minutes=self._past_minutes(),
            past_volatility_bps=config.flow.past_volatility_bps,
        )
        if config.recording is not None:
            self.recorded = RecordedFlow(
                exchange, config.recording, lockstep=config.lockstep, slippage_ticks=config.slippage_ticks
            )
            if config.recorded_times:
                self.recorded_ms = self.recorded.next_ms
        else:
            self.seeded = SeededFlow(exchange, config.flow, config.seed, self.started_ms)
        return exchange

    def _past_minutes(self) -> int:
        """How far back each pair goes: among hundreds of pairs less, and a recording has no invented past."""
        config, pairs = self.config, len(self.config.symbols)
        if config.recording is not None:
            return 0
        return config.past_minutes if pairs <= MANY_PAIRS else min(config.past_minutes, PAST_BARS // pairs)

    def catch_up(self) -> None:
        """Let what the seeded market does by now happen first, so that the times of trades never fall."""
        if self.seeded is not None:
            self._caught_up_ms = self.clock()
            self.seeded.advance(self._caught_up_ms)

    def server_ms(self) -> int:
        """The venue's own clock, with the skew that a fault gives it."""
        now = self.clock()
        skew = self.faults.holds(ClockSkew, now)
        return now + skew.ms if skew else now

    def market_ms(self) -> int:
        """The time that trades and orders carry."""
        if self.recorded_ms is not None:
            return self.recorded_ms
        return self.clock() if self.seeded is None else self._caught_up_ms

    async def sleep(self, ms: int) -> None:
        """Wait until the clock has moved on by `ms` (a virtual clock may do that at once)."""
        until = self.clock() + ms
        while (left := until - self.clock()) > 0:
            await asyncio.sleep(min(left, self.config.beat_ms if self.config.clock else left) / 1000)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something beside; it is cancelled when the simulator stops, and its failure is not forgotten."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.pop(task, None)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.failures.append(problem)


def _nothing() -> None:
    """Before the server is there, nobody listens."""
