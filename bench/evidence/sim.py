"""Evidence: a hundred thousand orders in simulated time while everything fails; none lost, none doubled.

    ./dev evidence sim [--submits 100000] [--first-seed 10000] [--pairs 2000] [--workers N]

Dense seeds (at least 100 orders each), one after the other until enough orders were sent. If none of n orders was lost or
doubled, the chance of losing or doubling one is below 3/n with 95 % confidence, as far as the simulated faults go. Beside that:
a venue that takes orders beyond the fence, a crash at every boundary of the order path and at pairs of boundaries, and how
many times faster than the clock one core goes through a market of 20 trades a second.

Prints one JSON document; exits 1 if anything was not as it must be.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from msgspec import structs

from claire.drill.campaign import Campaign, cores, outcomes
from claire.drill.crashpoints import try_boundaries
from claire.drill.simulation import BEYOND_THE_FENCE, DENSE, Outcome, Plan, simulate

BATCH = 24
"""Seeds between two looks at whether it is enough."""

CALM_SEEDS = (1, 2, 3)


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def dense(submits: int, first_seed: int, workers: int) -> Campaign:
    """Run dense seeds until so many orders were sent."""
    campaign = Campaign()
    started = time.monotonic()
    seed = first_seed
    while campaign.totals.submits < submits:
        batch = range(seed, seed + BATCH)
        seed = batch.stop
        for outcome in outcomes(((each, DENSE) for each in batch), workers):
            campaign.add(outcome)
            for violation in outcome.violations:
                say(f"claire drill sim --dense --first-seed {outcome.seed} --seeds 1: {violation}")
        totals = campaign.totals
        left_s = (time.monotonic() - started) * max(0, submits - totals.submits) / max(1, totals.submits)
        say(
            f"{totals.seeds} seeds, {totals.submits:,} orders, {totals.violations} violations; {left_s / 60:.0f} min left"
        )
    return campaign


def beyond(seeds: range, workers: int) -> dict[str, Any]:
    """What becomes of orders that the venue takes later than it may."""
    done = list(outcomes(((seed, BEYOND_THE_FENCE) for seed in seeds), workers))
    late = [outcome for outcome in done if outcome.late_live]
    return {
        "seeds": len(done),
        "orders_alive_after_absent": sum(outcome.late_live for outcome in late),
        "seeds_with_such_orders": len(late),
        "of_these_halted": sum(outcome.halted.startswith("late live") for outcome in late),
        "violations": [text for outcome in done for text in outcome.violations],
    }


def speed() -> Iterator[float]:
    """Virtual seconds per second of one core, 20 trades a second, everything checked and replayed."""
    for seed in CALM_SEEDS:
        began = time.process_time()
        outcome: Outcome = simulate(seed, Plan())
        yield outcome.virtual_s / (time.process_time() - began)


def main() -> int:
    """Do all of it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--submits", type=int, default=100_000)
    words.add_argument("--first-seed", type=int, default=10_000)
    words.add_argument(
        "--pairs", type=int, default=2_000, help="pairs of crashes; 0: no crash points (claire drill crash-points)"
    )
    words.add_argument("--workers", type=int, default=0)
    given = words.parse_args()
    workers = given.workers or cores()
    factors = [round(factor) for factor in speed()]
    campaign = dense(given.submits, given.first_seed, workers)
    totals = campaign.totals
    fence = beyond(range(1, 25), workers)
    points = try_boundaries(pairs=given.pairs, workers=workers) if given.pairs else None
    least = min(campaign.outcomes, key=lambda outcome: outcome.submits)
    document = {
        **structs.asdict(totals),
        "first_seed": given.first_seed,
        "unknown_share": round(totals.unknown_outcomes / max(1, totals.submits), 4),
        "least_unknown_share_of_60_seeds_in_a_row": round(campaign.least_unknown_share(), 4),
        "least_submits_of_a_seed": least.submits,
        "upper_bound_95": 3 / max(1, totals.submits),
        "times_real_time_on_one_core": factors,
        "pairs_met": sorted(f"{fault} × {state}" for fault, state in campaign.pairs),
        "beyond_the_fence": fence,
        "crash_points": points and structs.asdict(points) | {"coverage": round(points.coverage, 4)},
    }
    print(json.dumps(document, ensure_ascii=False))
    return 1 if totals.violations or fence["violations"] or (points and points.violations) else 0


if __name__ == "__main__":
    sys.exit(main())
