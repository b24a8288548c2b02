"""`claire audit`: are the records what was written, and which controls are built and tested?"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from claire.cli.output import grouped, print_json, say

app = typer.Typer(
    name="audit",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs. Default: CLAIRE_HOME/runs, else ./runs.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def audit() -> None:
    """Verify the records, and show the table of controls."""


@app.command()
def verify(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run id, the end of one, a directory, or last.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every run, and what was decided about every account.")] = False,
    expect: Annotated[
        str, typer.Option("--expect", metavar="ENTRIES:HEAD", help="A head that was noted elsewhere before.")
    ] = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Read a chain of records from its start, and name the first place that is not what was written.

    Exit 0: intact. Exit 1: edited, removed, exchanged, or cut off after it had ended.
    """
    from claire.cli.runs import existing_runs, find_run
    from claire.model.errors import UsageError
    from claire.services.auditing import chains
    from claire.services.auditing import verify as check

    folder = existing_runs(runs)
    if every and (run or expect):
        raise UsageError("--all verifies every chain there is; leave out RUN and --expect")
    places = chains(folder) if every else [find_run(run or "last", folder)]
    found = []
    for number, place in enumerate(places, 1):
        with _Line(f"{number} of {len(places)}: {place.name}") as line:
            found.append(check(place, expect, line))
    is_intact = all(one.is_intact for one in found)
    if json:
        print_json({"intact": is_intact, "chains": found})
    else:
        for one in found:
            end = "ended in order" if one.ended else "did not end in order (or goes on)"
            print(f" {one.name}: {'INTACT' if one.is_intact else 'ALTERED'}, {grouped(one.entries)} entries, {end}")
            print(
                f"   {grouped(one.decisions)} decisions, {grouped(one.operator_entries)} entries of operators and checks"
            )
            if one.problem:
                print(f"   {one.problem}")
            elif one.cut_off:
                print(f"   {one.cut_off}")
            if one.head:
                print(f"   to note elsewhere: {one.entries}:{one.head}")
        print("\n Not proven by this:" if found else f" there is nothing to verify in {folder}")
        for text in dict.fromkeys(text for one in found for text in one.not_proven):
            print(f" - {text}")
    return 0 if is_intact else 1


@app.command()
def controls(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (claire.toml).")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where a control is called built and its tests did not pass.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page.")] = False,
    json: Json = False,
) -> int:
    """Show every control: its code, its tests and their last result, its default and the limit in effect."""
    import os

    from claire.adapters.config import load
    from claire.safety.controls import assess, unproven

    settings = load(config=config, environ=os.environ, assignments=assignments or ()).settings
    rows = assess(settings)
    bad = unproven(rows)
    if json:
        print_json({"controls": rows, "unproven": bad})
    elif markdown:
        for line in _page(rows):
            print(line)
    else:
        from claire.cli.operate import print_rows

        print_rows([_brief(row) for row in rows], ("control", "name", "status", "result", "limit_in_effect", "code"))
    for text in bad:
        say(text)
    return 1 if strict and bad else 0


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "control": row["id"],
        "name": row["name"],
        "status": row["status"] if not row["reason"] else f"{row['status']}: {row['reason']}",
        "result": row["result"],
        "limit_in_effect": ", ".join(f"{one['value']} {one['unit']}".strip() for one in row["limits"]),
        "code": row["code"],
    }


def _page(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| control | what | status | code | tests | last result | default | in effect |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        tests = "<br>".join(f"`{test}`" for test in row["tests"])
        default = "<br>".join(f"`{one['key']}` {one['default']}" for one in row["limits"])
        effect = "<br>".join(f"{one['value']} {one['unit']}".strip() for one in row["limits"])
        status = row["status"] if not row["reason"] else f"{row['status']}: {row['reason']}"
        code = f"`{row['code']}`" if row["code"] else ""
        lines.append(
            f"| {row['id']} | {row['name']} | {status} | {code} | {tests} | {row['result']} | {default} | {effect} |"
        )
    return lines


class _Line:
    """A line on the terminal that says how far a reading is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> "_Line":
        self(0)
        return self

    def __call__(self, entries: int) -> None:
        if self._is_shown:
            print(f"\r\033[K{self._what}, {grouped(entries)} entries", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
