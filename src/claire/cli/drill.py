"""`claire drill`: failures practised, the whole system in simulated time against the venue's own books."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from claire.cli.output import grouped, print_json, say

if TYPE_CHECKING:
    from claire.drill.simulation import Outcome

app = typer.Typer(
    name="drill",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Seeds = Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds.")]
First = Annotated[int, typer.Option("--first-seed", metavar="M", min=0, help="The first of them.")]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=0, help="Processes; 0: as many as there are cores.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def drill() -> None:
    """Practise failures: the production code against a simulated venue, network, disk and power supply."""


@app.command()
def sim(
    seeds: Seeds = 20,
    first_seed: First = 1,
    dense: Annotated[
        bool, typer.Option("--dense", help="At least 100 orders per seed, instead of 20; takes longer.")
    ] = False,
    workers: Workers = 0,
    json: Json = False,
) -> int:
    """Trade in simulated time while everything fails; count orders lost, doubled, or booked wrongly.

    A seed is at least ten minutes of trading with its own faults, crashes and restarts. The same seed is the same every time.
    """
    from claire.drill.campaign import run_seeds
    from claire.drill.simulation import DENSE, Plan

    plan = DENSE if dense else Plan()
    options = " --dense" if dense else ""
    with _Counter(seeds) as counter:

        def tell(outcome: "Outcome") -> None:
            counter.done(outcome)
            if outcome.violations:
                say(
                    f"seed {outcome.seed} failed; to see it alone:"
                    f" claire drill sim --first-seed {outcome.seed} --seeds 1{options}"
                )
                for violation in outcome.violations[:10]:
                    say(f"  {violation}")

        campaign = run_seeds(range(first_seed, first_seed + seeds), plan, workers=workers, tell=tell)
    totals = campaign.totals
    if json:
        print_json(totals)
    else:
        share = 100 * totals.unknown_outcomes / totals.submits if totals.submits else 0.0
        print(
            f" {grouped(totals.seeds)} seeds, {totals.virtual_hours:.1f} virtual hours in {totals.seconds:.1f} s of work"
        )
        print(
            f" {grouped(totals.submits)} orders sent, {grouped(totals.unknown_outcomes)} outcomes unknown ({share:.0f} %)"
        )
        print(f" {grouped(totals.crashes)} crashes, {totals.fault_state_pairs} pairs of fault and order state")
        print(f" {totals.duplicates} doubled, {totals.lost} lost, {totals.violations} violations")
    return 1 if totals.violations else 0


@app.command("crash-points")
def crash_points(
    pairs: Annotated[
        int, typer.Option("--pairs", metavar="N", min=0, help="Most pairs of crashes; of more, a sample.")
    ] = 2000,
    every: Annotated[
        int, typer.Option("--every", metavar="N", min=1, help="Only each N-th boundary, for a quick look.")
    ] = 1,
    workers: Workers = 0,
    json: Json = False,
) -> int:
    """Cut the power at every boundary of the order path, then again during the start that follows."""
    from msgspec.structs import asdict

    from claire.drill.crashpoints import try_boundaries

    with _Counter(0, "crashes") as counter:
        found = try_boundaries(pairs=pairs, every=every, workers=workers, tell=counter.show)
    for violation in found.violations[:20]:
        say(violation)
    if json:
        print_json(asdict(found) | {"coverage": round(found.coverage, 4)})
    else:
        print(f" {grouped(found.boundaries)} boundaries, {len(found.failed)} at which a crash left something wrong")
        for name, count in found.by_name.items():
            print(f"   {name:24} {grouped(count)}")
        share = 100 * found.coverage
        print(
            f" {grouped(found.pairs_run)} of {grouped(found.pairs)} pairs ({share:.1f} %), {len(found.pairs_failed)} failed"
        )
        print(f" {found.seconds:.1f} s of work")
    return 1 if found.violations else 0


class _Counter:
    """How many seeds are done: a line that is written over on a terminal, a line now and then elsewhere."""

    LINES_APART = 20

    def __init__(self, total: int, what: str = "seeds") -> None:
        self._total = total
        self._what = what
        self._done = 0
        self._failed = 0
        self._terminal = sys.stderr.isatty()

    def done(self, outcome: "Outcome") -> None:
        """Count one seed."""
        self._done += 1
        self._failed += bool(outcome.violations)
        self.show(self._done, self._total, f", {self._failed} failed")

    def show(self, done: int, total: int, more: str = "") -> None:
        """Show how far it is."""
        words = f"{done} of {total} {self._what}{more}"
        if self._terminal:
            filled = round(30 * done / total)
            print(f"\r\033[K[{'#' * filled}{'.' * (30 - filled)}] {words}", end="", file=sys.stderr, flush=True)
        elif done % self.LINES_APART == 0:
            say(words)

    def __enter__(self) -> "_Counter":
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
