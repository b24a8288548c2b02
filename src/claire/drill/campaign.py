"""Many seeds, over as many processes as there are cores, and what they add up to."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Final

from msgspec import Struct

from claire.drill.simulation import Outcome, Plan, simulate

AHEAD: Final = 3
"""Seeds per worker that are handed out before the first of them is back."""


class Totals(Struct, kw_only=True):
    """What `claire drill sim --json` prints, field by field."""

    seeds: int = 0
    virtual_hours: float = 0.0
    submits: int = 0
    """Orders that were sent."""
    unknown_outcomes: int = 0
    """Of these, those to which no answer came: the venue may have taken them, or not."""
    crashes: int = 0
    duplicates: int = 0
    """Orders at the venue beyond one per intent."""
    lost: int = 0
    """Orders and executions at the venue that Claire does not have, or calls over while they are open."""
    violations: int = 0
    """All that was not as it must be, duplicates and lost ones too."""
    fault_state_pairs: int = 0
    """Different pairs of a kind of fault and the state of a live order that it met."""
    seconds: float = 0.0
    """Real time, all workers together."""


class Campaign:
    """Adds up outcomes in the order of their seeds."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Add one."""
        self.outcomes.append(outcome)
        self.pairs.update(outcome.fault_state_pairs)

    @property
    def totals(self) -> Totals:
        """What it adds up to so far."""
        done = self.outcomes
        return Totals(
            seeds=len(done),
            virtual_hours=round(sum(outcome.virtual_s for outcome in done) / 3600, 3),
            submits=sum(outcome.submits for outcome in done),
            unknown_outcomes=sum(outcome.unknown_outcomes for outcome in done),
            crashes=sum(outcome.crashes for outcome in done),
            duplicates=sum(outcome.duplicates for outcome in done),
            lost=sum(outcome.lost for outcome in done),
            violations=sum(len(outcome.violations) for outcome in done),
            fault_state_pairs=len(self.pairs),
            seconds=round(sum(outcome.seconds for outcome in done), 1),
        )

    def least_unknown_share(self, window: int = 60) -> float:
        """The smallest share of unknown outcomes over any `window` seeds in a row (over all, where there are fewer)."""
        done = self.outcomes
        window = min(window, len(done))
        shares = []
        for start in range(len(done) - window + 1):
            part = done[start : start + window]
            submits = sum(outcome.submits for outcome in part)
            shares.append(sum(outcome.unknown_outcomes for outcome in part) / submits if submits else 0.0)
        return min(shares, default=0.0)

    @property
    def failed(self) -> list[Outcome]:
        """The seeds with violations."""
        return [outcome for outcome in self.outcomes if outcome.violations]


def cores() -> int:
    """How many processes can work at once on this machine."""
    return len(os.sched_getaffinity(0))


def run_seeds(
    seeds: Sequence[int],
    plan: Plan | None = None,
    *,
    workers: int = 0,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Campaign:
    """Run seeds; outcomes are told and added in the order of the seeds, however many processes work.

    Args:
        seeds: Which ones.
        plan: How they are made.
        workers: Processes; 0: as many as there are cores; 1: this one alone.
        tell: Called with each outcome.
    """
    campaign = Campaign()
    plan = plan or Plan()
    for outcome in outcomes(((seed, plan) for seed in seeds), workers):
        campaign.add(outcome)
        tell(outcome)
    return campaign


def outcomes(stories: Iterable[tuple[int, Plan]], workers: int = 0) -> Iterator[Outcome]:
    """Run seeds by plans in processes; yield what became of each, in their order.

    Args:
        stories: Seeds and plans.
        workers: Processes; 0: as many as there are cores; 1: this one alone.
    """
    workers = workers or cores()
    if workers == 1:
        for seed, plan in stories:
            yield simulate(seed, plan)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        left = iter(stories)
        under_way: deque[Future[Outcome]] = deque(pool.submit(simulate, *one) for one in islice(left, AHEAD * workers))
        while under_way:
            outcome = under_way.popleft().result()
            under_way.extend(pool.submit(simulate, *one) for one in islice(left, 1))
            yield outcome
