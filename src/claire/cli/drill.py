"""`claire drill`: failures practised, the whole system in simulated time against the venue's own books."""

import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from claire.cli.output import grouped, print_json, say
from claire.model.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from claire.drill.killswitch.trouble import Trouble
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


@app.command("kill-switch")
def kill_switch(
    trials: Annotated[
        int,
        typer.Option("--trials", metavar="N", min=0, help="Full trials per fault, until nothing is left at the venue."),
    ] = 3,
    gate_trials: Annotated[
        int, typer.Option("--gate-trials", metavar="N", min=0, help="Short ones per fault, at 500 orders a second.")
    ] = 0,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="NAME|all", help="What goes wrong; may be repeated.")
    ] = None,
    symbols: Annotated[
        int, typer.Option("--symbols", metavar="K", min=1, max=60, help="Pairs with orders when the kill comes.")
    ] = 3,
    recv_window_ms: Annotated[
        int, typer.Option("--recv-window-ms", metavar="MS", min=100, max=60_000, help="As mexc.recv_window_ms.")
    ] = 2000,
    hold: Annotated[
        float, typer.Option("--hold", metavar="S", help="How long a slow, refusing or cut venue lasts after the kill.")
    ] = 3.0,
    at_once: Annotated[
        int,
        typer.Option("--at-once", metavar="N", min=1, max=3, help="Stands at the same time: faster, and less exact."),
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the moments that are drawn.")] = 1,
    json: Json = False,
) -> int:
    """Kill a trading process in every trouble, and have the venue's clock say when its last order left."""
    from claire.drill.killswitch import figures
    from claire.drill.killswitch.trials import Plan, try_all

    troubles = _troubles(fault or ["all"])
    plan = Plan(trials, gate_trials, symbols, recv_window_ms, hold, seed, at_once)
    total = len(troubles) * (trials + gate_trials)
    if not total:
        raise UsageError("nothing is tried: give --trials or --gate-trials")
    done = itertools.count(1)
    with _Counter(total, "trials") as counter:
        rows = try_all(troubles, plan, lambda: counter.show(next(done), total))
    for line in figures.remarks(rows):
        say(line)
    if json:
        print_json(figures.document(rows))
    else:
        for line in figures.table(rows):
            print(line)
    return 1 if figures.is_failed(rows) else 0


def _troubles(names: Sequence[str]) -> "list[Trouble]":
    from claire.drill.killswitch.trouble import Trouble

    known = [trouble.value for trouble in Trouble]
    for name in names:
        if name not in (*known, "all"):
            raise UsageError(
                f"--fault {name}: there is no such one.{did_you_mean(name, known)} There are {', '.join(known)}"
            )
    return [trouble for trouble in Trouble if "all" in names or trouble.value in names]


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
