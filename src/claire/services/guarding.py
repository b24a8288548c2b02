"""What may stop a live run from outside, and how it shows that it lives: latch, heart and sentinel of its account."""

import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from claire.adapters.config.schema import Settings
from claire.gateway.gate import Verdict
from claire.gateway.signer import Keys
from claire.latch.page import PageLatch, read
from claire.model.decisions import TradingState
from claire.safety.folder import write_symbols
from claire.safety.heart import Heart
from claire.safety.starting import Watched, watched
from claire.services.account import OpenAccount
from claire.services.live import LiveRun

KILL_SWITCH: Final = "kill switch"
"""Source of the lock that follows the latch."""

RECOVERY_S: Final = 120.0
"""So long a run that is being opened counts as alive, though nothing trades yet."""
RECOVERY_BEAT_S: Final = 0.2

CHECK_S: Final = 1.0
"""How often it is looked whether the sentinel is still there."""


class Guard:
    """Shows the account's latch to the run, and the run's heart to the sentinel, where there is one."""

    def __init__(
        self, folder: Path, latch: PageLatch, heart: Heart | None = None, sentinel: Watched | None = None
    ) -> None:
        """Take over latch and heart of an account."""
        self._folder = folder
        self._latch = latch
        self._heart = heart
        self._sentinel = sentinel
        self._check_s = 0.0

    def sends(self, verdict: Verdict) -> None:
        """Note, before an order leaves, until when it may still arrive."""
        if self._heart is not None and not verdict.code:
            self._heart.sends(verdict.fence_ms)

    @contextmanager
    def recovering(self, limit_s: float = RECOVERY_S) -> Iterator[None]:
        """Show that the run lives while it is opened: a journal is read in one go, and orders in doubt take their time.

        A thread beats, for nothing else would get to it. No new order leaves before the end of this, and what had left before
        is what is being looked for: silence would have the sentinel kill the very process that cleans up.

        Args:
            limit_s: After so long silence counts again, for then something hangs.
        """
        heart = self._heart
        if heart is None:
            yield
            return
        is_over = threading.Event()

        def beat() -> None:
            ends_s = time.monotonic() + limit_s
            while time.monotonic() < ends_s and not is_over.wait(RECOVERY_BEAT_S):
                heart.beat(self._latch)

        thread = threading.Thread(target=beat, name="heart-while-recovering", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def beat(self, run: LiveRun, now_s: float) -> None:
        """Show that the run lives; let the trading state follow the latch.

        Raises:
            SafetyRefusal: the sentinel has ended, so nobody would clean up.
        """
        if self._heart is not None:
            self._heart.beat(self._latch)
        why = self._latch.why_closed()
        if why:
            run.control(KILL_SWITCH, TradingState.KILLED, why)
        elif KILL_SWITCH in run.pipeline.stages.risk.state.locks:
            flag = read(self._folder)
            run.control(KILL_SWITCH, TradingState.ACTIVE, f"armed again by {flag.who}: {flag.reason}")
        if self._sentinel is not None and now_s >= self._check_s:
            self._check_s = now_s + CHECK_S
            self._sentinel.check()


@asynccontextmanager
async def guarded(
    account: OpenAccount, symbols: Sequence[str], settings: Settings, keys: Keys | None, port: int | None
) -> AsyncIterator[Guard | None]:
    """Guard the account of a run.

    Args:
        account: The account.
        symbols: What the run trades.
        settings: Where its orders go, and how long its heart may be silent.
        keys: For the sentinel's cancels and queries.
        port: Of the sentinel's door; 0: a free one; None: there is no sentinel, as in a drill.

    Raises:
        ClaireError: the sentinel did not come up.
    """
    if account.folder is None or account.latch is None:
        yield None
        return
    folder, latch = account.folder, account.latch
    write_symbols(folder, symbols)
    if port is None or keys is None:
        yield Guard(folder, latch)
        return
    async with watched(
        folder,
        settings.mexc.rest_url,
        keys,
        recv_window_ms=settings.mexc.recv_window_ms,
        port=port,
        heart_s=settings.sentinel.heart_s,
    ) as sentinel:
        heart = Heart(folder)
        try:
            yield Guard(folder, latch, heart, sentinel)
        finally:
            heart.end()
