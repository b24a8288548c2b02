"""`claire risk`: which locks are set, and how much of each limit is used."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="risk",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[
    str, typer.Option("--run", metavar="RUN", help="Which run. Default: the one that is running, else the newest.")
]
Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs. Default: CLAIRE_HOME/runs, else ./runs.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def risk() -> None:
    """Ask risk what may be sent, and why not."""


@app.command()
def status(run: Run = "", runs: Runs = None, json: Json = False) -> int:
    """Show the trading state: each lock with its source, its reason, and since when it is set."""
    from claire.cli.operate import Asked, look

    return look(Asked("risk status", run, runs, json))


@app.command()
def limits(run: Run = "", runs: Runs = None, json: Json = False) -> int:
    """Show each limit with its use now."""
    from claire.cli.operate import Asked, look

    return look(Asked("risk limits", run, runs, json))


@app.command()
def release(
    lock: Annotated[str, typer.Argument(metavar="SOURCE", help="Which lock, as claire risk status names it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the journal.")] = "",
    operator: Annotated[str, typer.Option("--operator", metavar="NAME", help="Who says so. Default: the user.")] = "",
    run: Run = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Take back one lock of a running process; the others stay."""
    from claire.cli.operate import Asked, change

    return change(Asked("release", run, runs, json, operator=operator, reason=reason, lock=lock))
