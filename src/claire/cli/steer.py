"""The commands with which an operator looks at a run and steers it: their options; what they do is in `operate`, `explain`."""

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs. Default: CLAIRE_HOME/runs, else ./runs.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Run = Annotated[
    str, typer.Option("--run", metavar="RUN", help="Which run. Default: the one that is running, else the newest.")
]
Operator = Annotated[str, typer.Option("--operator", metavar="NAME", help="Who asks. Default: the user.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the journal.")]
AskVenue = Annotated[bool, typer.Option("--venue", help="Ask the venue too; show both sides and the difference.")]


def pause(
    symbol: Annotated[str, typer.Argument(metavar="[SYMBOL]", help="Only this one. Default: the whole run.")] = "",
    operator: Operator = "",
    reason: Reason = "",
    run: Run = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Make no new entries, until unpause; exits, stops and cancels go on. It survives a restart."""
    from claire.cli.operate import Asked, change

    return change(Asked("pause", run, runs, json, symbol, operator=operator, reason=reason))


def unpause(
    symbol: Annotated[str, typer.Argument(metavar="[SYMBOL]", help="Only this one. Default: the whole run.")] = "",
    operator: Operator = "",
    reason: Reason = "",
    run: Run = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Take a pause back. Locks that others set stay."""
    from claire.cli.operate import Asked, change

    return change(Asked("unpause", run, runs, json, symbol, operator=operator, reason=reason))


def close(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="What to sell.")],
    operator: Operator = "",
    reason: Reason = "",
    run: Run = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Sell what strategies own of a symbol, through risk like any other exit."""
    from claire.cli.operate import Asked, change

    return change(Asked("close", run, runs, json, symbol, operator=operator, reason=reason))


def cancel(
    order: Annotated[str, typer.Argument(metavar="ID", help="Its number, client order id, or the venue's id.")],
    operator: Operator = "",
    reason: Reason = "",
    run: Run = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Cancel one order."""
    from claire.cli.operate import Asked, change

    return change(Asked("cancel", run, runs, json, order=order, operator=operator, reason=reason))


def positions(venue: AskVenue = False, run: Run = "", runs: Runs = None, json: Json = False) -> int:
    """Show what each strategy owns."""
    from claire.cli.operate import Asked, look

    return look(Asked("positions", run, runs, json, venue=venue))


def orders(venue: AskVenue = False, run: Run = "", runs: Runs = None, json: Json = False) -> int:
    """Show the orders that are not finished."""
    from claire.cli.operate import Asked, look

    return look(Asked("orders", run, runs, json, venue=venue))


def balance(venue: AskVenue = False, run: Run = "", runs: Runs = None, json: Json = False) -> int:
    """Show what the account holds: cash, what is in positions, dust, and what is not Claire's."""
    from claire.cli.operate import Asked, look

    return look(Asked("balance", run, runs, json, venue=venue))


def explain(
    what: Annotated[
        str, typer.Argument(metavar="ID", help="An order (7, its client id or the venue's), or a signal (s12).")
    ],
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Which run. Default: the newest.")] = "last",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Tell why a signal was refused or an order made, and what became of it, with every number."""
    from claire.cli.explain import explain as do

    return do(what, run, runs, as_json=json)


COMMANDS = (pause, unpause, close, cancel, positions, orders, balance, explain)
"""In the order of `claire --help`."""
