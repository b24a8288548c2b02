"""`claire decision`: what an operator decided, on record before the machine acts on it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from claire.cli.output import print_json, say, utc

if TYPE_CHECKING:
    from claire.services.deciding import Standing

app = typer.Typer(
    name="decision",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AccountId = Annotated[
    str, typer.Option("--account", metavar="ID", help="About which account. Default: the only one there is.")
]
Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs. Default: CLAIRE_HOME/runs, else ./runs.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def decision() -> None:
    """Put on record what an operator decided, and why, in a chain that nobody edits unnoticed."""


@app.command()
def add(
    decision: Annotated[str, typer.Option("--decision", metavar="TEXT", help="What was decided.")],
    rationale: Annotated[str, typer.Option("--rationale", metavar="TEXT", help="Why.")],
    impact: Annotated[str, typer.Option("--impact", metavar="TEXT", help="What it changes; what it may cost.")],
    reversibility: Annotated[
        str, typer.Option("--reversibility", metavar="WORD", help="reversible, costly or irreversible.")
    ],
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="TEXT", help="What it rests on: a run, an entry, a page.")
    ],
    operator: Annotated[str, typer.Option("--operator", metavar="NAME", help="Who decided.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="What it allows: adjustment, limits, rearm, release or other.")
    ] = "other",
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="How long it holds, as 90m or 12h. Default: 24h.")
    ] = "24h",
    account: AccountId = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Put a decision on record. One decision allows one act, until it expires."""
    from claire.cli.market import parse_window
    from claire.services.deciding import add_decision

    made = add_decision(
        _account(runs, account),
        kind=kind,
        decision=decision,
        rationale=rationale,
        impact=impact,
        reversibility=reversibility,
        evidence=evidence,
        operator=operator,
        now_ns=time.time_ns(),
        expires_s=round(parse_window("", "", expires).duration_s or 0),
    )
    if json:
        print_json(_told(made))
    else:
        ruled = made.ruled
        print(f" decision {ruled.number} ({ruled.kind}) by {ruled.operator}, until {utc(ruled.expires_ns)} UTC")
        print(f" entry {made.entry} of the account's chain, head {made.head}")
    return 0


@app.command("list")
def list_(account: AccountId = "", runs: Runs = None, json: Json = False) -> int:
    """List what was decided, oldest first, and what became of it."""
    from claire.cli.operate import print_rows
    from claire.services.deciding import decisions_of

    found = decisions_of(_account(runs, account))
    if json:
        print_json({"decisions": [_told(one) for one in found]})
        return 0
    now_ns = time.time_ns()
    rows = []
    for one in found:
        used = one.used
        state = f"used {utc(used.ts_ns)}: {used.purpose}" if used else "holds" if one.holds(now_ns) else "expired"
        ruled = one.ruled
        rows.append(
            {
                "number": ruled.number,
                "when": utc(ruled.ts_ns),
                "kind": ruled.kind,
                "operator": ruled.operator,
                "decision": ruled.decision,
                "until": utc(ruled.expires_ns),
                "state": state,
            }
        )
    if rows:
        print_rows(rows, ("number", "when", "kind", "operator", "decision", "until", "state"))
    else:
        say("nothing was decided yet")
    return 0


def _told(one: "Standing") -> dict[str, Any]:
    """Return a decision with its fields by name: in the chain they are a list."""
    from msgspec.structs import asdict

    used = None if one.used is None else asdict(one.used)
    return {**asdict(one.ruled), "used": used, "entry": one.entry, "head": one.head}


def _account(runs: Path | None, account: str) -> Path:
    from claire.cli.runs import existing_runs
    from claire.model.errors import UsageError
    from claire.safety.folder import account_folder, account_folders

    folder = existing_runs(runs)
    known = account_folders(folder)
    if account or len(known) != 1:
        if not account and known:
            raise UsageError(
                f"there are several accounts; say which: --account {' | '.join(one.name for one in known)}"
            )
        return account_folder(folder, account or "main")
    return known[0]
