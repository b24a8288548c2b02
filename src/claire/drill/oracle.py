"""Watches one simulated venue and the Claire that trades on it, and notes at once what must not be."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from claire.drill import invariants
from claire.drill.invariants import Costs, Limits
from claire.drill.weather import FENCE_MS
from claire.engine.pipeline import Pipeline
from claire.mexcsim import Simulator
from claire.mexcsim.accounts import Account
from claire.mexcsim.log import Entry, What

MOST_NOTED: Final = 50
"""Violations of one seed that are kept in words."""

GRACE_MS: Final = 2_000
"""Beyond the fence: what an answer that says "over" may take longer than the push that it is not."""


class Oracle:
    """Holds what happens against what must hold."""

    def __init__(self, sim: Simulator, account: Account, limits: Limits, *, exceeds_fence: bool = False) -> None:
        """Begin to watch; the account's balances are what was there before.

        Where the venue takes orders after the fence, against its own rules, absence cannot be proven, and neither that nor the
        limits are held to.
        """
        self.sim = sim
        self.account = account
        self.violations: list[str] = []
        self.duplicates = 0
        self.lost = 0
        self.pairs: dict[tuple[str, str], None] = {}
        """Kinds of faults, and the state of a live order that each has met."""
        self.unanswered: dict[str, None] = {}
        """Client order ids of orders whose answer did not come."""
        self.pipeline: Pipeline | None = None
        """Of the Claire that runs now."""
        self.ledger: Path | None = None
        self._limits = limits
        self._exceeds_fence = exceeds_fence
        self._costs = Costs()
        self._opening = {asset: balance.free + balance.locked for asset, balance in account.balances.items()}
        self._noted: dict[str, None] = {}
        sim.log.listeners.append(self._hear)

    def look(self) -> None:
        """Check what can be wrong at any moment (called each virtual second)."""
        self._hold_limits()
        if self.pipeline is not None:
            now_ms, fence_ms = self.sim.venue.clock(), FENCE_MS + GRACE_MS
            found = list(invariants.alive_on_both_sides(self.pipeline, self.account, now_ms, fence_ms))
            self.lost += self._note(found)
            if not self._exceeds_fence:
                self.lost += self._note(invariants.never_there(self.pipeline, self.account))

    def judge(self, ledger: Path, pipeline: Pipeline, capital: Decimal) -> None:
        """Check what must hold once everything has come to rest."""
        self.look()
        self.duplicates += self._note(invariants.sent_once(self.account))
        self._note(invariants.converged(pipeline, self.account))
        self._note(invariants.nothing_stuck(pipeline))
        self.lost += self._note(invariants.booked_once(ledger, self.account))
        self._note(invariants.balances_equal(pipeline.stages.risk.state.books, self.account, self._opening, capital))
        self._note(invariants.postings_balance(ledger))

    def note(self, text: str) -> None:
        """Note what somebody else found."""
        self._note((text,))

    def _hear(self, entry: Entry) -> None:
        if entry.what is What.ACCEPTED:
            self._accepted(str(entry.detail["order"]))
        elif entry.what is What.REQUEST:
            status, client_id = entry.detail["status"], entry.detail.get("client_id")
            if client_id and isinstance(status, int) and not 0 < status < 500:
                self.unanswered[str(client_id)] = None
        elif entry.what is What.FAULT_STRUCK:
            states = _states(self.pipeline)
            for state in states or ("no live order",):
                self.pairs[str(entry.detail["fault"]), state] = None
        elif entry.what is What.FILLED:
            self._hold_limits()

    def _hold_limits(self) -> None:
        costs = self._costs.follow(self.account.fills)
        if not self._exceeds_fence:  # beyond it, an order that was let go of works beside the next one
            self._note(invariants.limits_hold(self.account, costs, self._limits))

    def _accepted(self, order_id: str) -> None:
        order = self.account.orders[order_id]
        if len(self.account.by_client_id.get(order.client_id, ())) > 1:
            self.duplicates += self._note((f"the venue has a second order of client order id {order.client_id}",))
        kept = None
        if self.ledger is not None and self.ledger.exists():
            kept = invariants.kept_order(self.ledger, order.client_id)
        self.lost += self._note(invariants.recorded_before_sent(order, kept))

    def _note(self, found: Iterable[str]) -> int:
        """Note each new finding once, with the virtual time; return how many are new."""
        new = 0
        for text in found:
            if text in self._noted:
                continue
            self._noted[text] = None
            new += 1
            if len(self.violations) < MOST_NOTED:
                at_s = (self.sim.venue.clock() - self.sim.venue.started_ms) / 1000
                self.violations.append(f"{at_s:.3f} s: {text}")
        return new


def _states(pipeline: Pipeline | None) -> Mapping[str, None]:
    return {} if pipeline is None else dict.fromkeys(str(order.life.state) for order in pipeline.stages.execution.live)
