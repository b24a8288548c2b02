"""Crash points: one short story, told once for every boundary of the order path at which the power can go.

The reference is a few orders of every kind: at the market and resting, executed, cancelled, with answers that are lost. Each of
its boundaries is numbered; at each one the power goes once, and the run that goes on has to end with the venue's books. Then
the power goes at a boundary, and again at a boundary of the start that follows.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from claire.drill.campaign import outcomes
from claire.drill.simulation import Outcome, Plan, simulate
from claire.drill.weather import Climate

SEED: Final = 9

REFERENCE: Final = Plan(
    storm_s=20.0,
    healing_s=15.0,
    submits=4,
    patience_s=40.0,
    trades_per_s=4.0,
    symbols=2,
    threshold_pct=(0.03, 0.04),
    climate=Climate(unknown=(0.35, 0.35), ways=(0, 1, 2), others=False, crashes=0, disk=0.0, usurpers=0.0),
)
"""The story: half a minute in which answers to orders are lost, and as long again to come right."""

MOST_PAIRS: Final = 2_000
"""So many pairs are all run; of more, a sample of so many."""


class CrashPoints(Struct, kw_only=True):
    """What `claire drill crash-points --json` prints."""

    boundaries: int = 0
    by_name: dict[str, int] = {}
    """How many of them have each name."""
    submits: int = 0
    """Orders that the reference sends when nothing crashes."""
    failed: list[int] = []
    """Boundaries at which a crash left something wrong."""
    pairs: int = 0
    """Pairs of a boundary and one of the start that follows a crash there."""
    pairs_run: int = 0
    pairs_failed: list[tuple[int, int]] = []
    violations: list[str] = []
    """The first ones in words."""
    seconds: float = 0.0

    @property
    def coverage(self) -> float:
        """Share of the pairs that were run."""
        return self.pairs_run / self.pairs if self.pairs else 1.0


def try_boundaries(
    *,
    seed: int = SEED,
    pairs: int = MOST_PAIRS,
    every: int = 1,
    workers: int = 0,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> CrashPoints:
    """Crash at every boundary, then at pairs of them.

    Args:
        seed: Of the story.
        pairs: Most pairs that are run; 0: none.
        every: Only each so many-th boundary, for a quick look.
        workers: Processes; 0: as many as there are cores.
        tell: Called with how many stories are done, and of how many.
    """
    first = simulate(seed, msgspec.structs.replace(REFERENCE, traces=True))
    found = CrashPoints(
        boundaries=len(first.first_life), by_name=dict(sorted(Counter(first.first_life).items())), submits=first.submits
    )
    found.violations += [f"without a crash: {text}" for text in first.violations]
    points = range(1, len(first.first_life) + 1, every)
    starts: dict[int, int] = {}
    told = outcomes(_stories(seed, [(point,) for point in points]), workers)
    for done, (point, outcome) in enumerate(zip(points, told, strict=True), 1):
        starts[point] = outcome.recovery_steps
        if _judge(found, outcome, (point,)):
            found.failed.append(point)
        tell(done, len(points))
    chosen = [(point, again) for point, steps in starts.items() for again in range(1, steps + 1)]
    found.pairs = len(chosen)
    if len(chosen) > pairs:
        chosen = sorted(random.Random(f"{seed}:pairs").sample(chosen, pairs))
    for pair, outcome in zip(chosen, outcomes(_stories(seed, chosen), workers), strict=True):
        if _judge(found, outcome, pair):
            found.pairs_failed.append(pair)
        found.pairs_run += 1
        tell(found.pairs_run, len(chosen))
    return found


def _stories(seed: int, crashes: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, Plan]]:
    for crash_at in crashes:
        yield seed, msgspec.structs.replace(REFERENCE, crash_at=crash_at)


def _judge(found: CrashPoints, outcome: Outcome, crash_at: tuple[int, ...]) -> bool:
    """Take in one story; tell whether something was wrong."""
    found.seconds = round(found.seconds + outcome.seconds, 3)
    wrong = list(outcome.violations)
    if outcome.crashes < len(crash_at):
        wrong.append(f"crashed {outcome.crashes} times only: the story is not the same when it is told again")
    where = " and ".join(map(str, crash_at))
    found.violations += [f"crash at {where} ({', '.join(outcome.crashed_at)}): {text}" for text in wrong[:3]]
    return bool(wrong)
