"""The program `claire`: its commands, their options, and what becomes of errors.

Everything heavy is imported inside a command, so `--help` answers in a tenth of a second.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from typer.core import TyperGroup

from claire import __version__
from claire.cli import plan
from claire.cli.mexcsim import mexc_sim
from claire.cli.output import Watched, complain, print_json, say
from claire.cli.steer import COMMANDS
from claire.cli.venue import symbols
from claire.model.errors import ClaireError, UsageError, did_you_mean

NOBODY_READS = 1
"""Exit code when the reader of our output went away; typer's own, where it notices first."""


GROUPS = {"audit": "audit", "data": "data", "decision": "decide", "drill": "drill", "risk": "risk"}
"""Commands that have commands of their own, and the modules that define them, imported when they are asked for."""


class Interrupted(ClaireError):
    """Ctrl-C where nothing could be ended in order; the exit code is what shells have for it."""

    exit_code = 130


class Commands(TyperGroup):
    """The commands, by group; a planned or mistyped one is answered in a sentence."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command.

        Raises:
            UsageError: it is planned, or there is none of that name.
        """
        if cmd_name in GROUPS and cmd_name not in self.commands:
            self.add_command(typer.main.get_command(import_module(f"claire.cli.{GROUPS[cmd_name]}").app), cmd_name)
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        if cmd_name in plan.PLANNED:
            raise UsageError(
                f"claire {cmd_name} ({plan.PLANNED[cmd_name]}) is planned, see ROADMAP.md; it is not built yet"
            )
        known = [name for group in plan.GROUPS.values() for name in group]
        hint = did_you_mean(cmd_name, known) or did_you_mean(cmd_name, plan.PLANNED)
        raise UsageError(f"there is no command {cmd_name}.{hint} claire --help lists them")

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Interrupted: Ctrl-C, which typer would pass over in silence.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of `claire` itself; that of each command is made from its options."""
        for line in help_lines():
            formatter.write(line + "\n")


def help_lines() -> list[str]:
    """The help text: commands by group, what is planned, and how the ways of stopping differ."""
    bold = (lambda text: f"\033[1m{text}\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else str
    lines = [
        "Usage: claire COMMAND [OPTIONS]     claire COMMAND --help tells its options",
        "",
        "A crypto trading system that decides, checks, trades, remembers everything, and can prove afterwards why.",
    ]
    for title, commands in plan.GROUPS.items():
        lines += ["", bold(title), *(f"  {name:<10} {meaning}" for name, meaning in commands.items())]
    lines += ["", bold("Planned (ROADMAP.md)"), *_wrapped(sorted(plan.PLANNED))]
    lines += ["", bold("How to stop, and what becomes of")]
    widths = [max(len(row[column]) for row in plan.STOPPING) for column in range(5)]
    for row in plan.STOPPING:
        cells = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {cells}".rstrip())
    lines += [f"  {plan.STOPPING_NOTE}", ""]
    lines += [
        "claire COMMAND --json prints one JSON document on stdout; so does claire --version --json, but not --help.",
        "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused for safety, 130 after Ctrl-C.",
        "Settings: docs/configuration.md. --version tells the version.",
    ]
    return lines


def _wrapped(words: Sequence[str]) -> list[str]:
    lines = [" "]
    for word in words:
        if len(lines[-1]) + len(word) > 96:
            lines.append(" ")
        lines[-1] += f" {word}"
    return lines


app = typer.Typer(
    name="claire",
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,  # rich takes 0.2 s to import, more than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (claire.toml).")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting or strategy parameter; may be repeated."),
]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", metavar="SYMBOL", help="What to trade; may be repeated. Wins over the file."),
]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy", metavar="KIND", help="Kind or id of the only strategy, or a file: my_file.py[:ClassName]."
    ),
]
Venue = Annotated[
    str, typer.Option("--venue", metavar="VENUE", help="Whose trades, where a file holds several venues.")
]
Source = Annotated[
    str,
    typer.Option("--source", metavar="SOURCE", help="synth[:KEY=VALUE,...] (seed, rate, ...), recorded:FILE, or mexc."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", metavar="FILE", help="As --source recorded:FILE; repeat it for days that follow each other."
    ),
]
Runs = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs. Default: CLAIRE_HOME/runs, else ./runs.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Start = Annotated[str, typer.Option("--start", metavar="TIME", help="First moment wanted (UTC), as 2024-10-27T06:30.")]
End = Annotated[str, typer.Option("--end", metavar="TIME", help="Moment to stop before (UTC).")]
Span = Annotated[str, typer.Option("--duration", metavar="SPAN", help="Market time to cover, as 90m or 1.5h.")]


@app.callback(invoke_without_command=True)
def claire(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    json: Json = False,
) -> int:
    """A crypto trading system that proves its decisions."""
    if version:
        if json:
            print_json({"version": __version__})
        else:
            print(f"claire {__version__}")
        raise typer.Exit
    if json:
        command = context.invoked_subcommand or "history"
        raise UsageError(f"--json stands after the command, as in claire {command} --json")
    return 0


@app.command()
def run(
    source: Source = "",
    data: Data = None,
    speed: Annotated[
        str,
        typer.Option(metavar="max|Nx", help="Market seconds per second. Default: 120x for synth, max for recordings."),
    ] = "",
    duration: Span = "",
    start: Start = "",
    end: End = "",
    mode: Annotated[
        str,
        typer.Option(metavar="MODE", help="paper, or testnet (over the wire, to a simulator of the venue)."),
    ] = "",
    universe: Annotated[
        str,
        typer.Option(
            "--symbols", metavar="N|FILE", help="Live: the N most traded, or a choice of claire symbols --out."
        ),
    ] = "",
    symbol: Symbols = None,
    venue: Venue = "",
    strategy: StrategyName = "",
    config: Config = None,
    assignments: Assignments = None,
    again: Annotated[
        str, typer.Option("--continue", metavar="RUN", help="Go on with a run that was stopped, however it was.")
    ] = "",
    adopt: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Continue: the strategy that takes over positions whose own is not configured."
        ),
    ] = "",
    orphans: Annotated[
        bool, typer.Option("--reduce-only-orphans", help="Continue: positions whose strategy is gone are only sold.")
    ] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE", help="Continue: take back a lock of the trading state (or: restart); repeatable."
        ),
    ] = None,
    adjust: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSET=AMOUNT", help="Continue: correct the books by so much; may be repeated."),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ASSET=AMOUNT", help="Continue: coins that came (or went) and are not Claire's; repeatable."
        ),
    ] = None,
    operator: Annotated[str, typer.Option(metavar="NAME", help="Who says so (--release, --adjust, --external).")] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why (--release, --adjust, --external).")] = "",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Testnet: leave to yourself what the account's last run left behind.")
    ] = False,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Trade with paper money over a synthetic market (the default), a recorded or a live one.

    --source mexc: live market data of MEXC. --mode testnet: signed orders over the wire, to a simulator on this machine
    that is started for the run. Both go on until Ctrl-C or --duration.

    Ctrl-C ends the run in order: journal, ledger and summary are complete. A second Ctrl-C ends it at once.

    --continue goes on with a run from where it was stopped, by Ctrl-C, kill -9 or a power cut: docs/orders.md.
    """
    from claire.cli.trading import Again, Request
    from claire.cli.trading import run as do

    return do(
        Request(
            config=config,
            assignments=assignments or (),
            symbols=symbol or (),
            strategy=strategy,
            venue=venue,
            source=source,
            data=data or (),
            runs=runs,
            as_json=json,
            mode=mode,
            universe=universe,
            again=Again(
                again,
                adopt,
                orphans,
                fresh,
                tuple(release or ()),
                tuple(adjust or ()),
                operator,
                reason,
                tuple(external or ()),
            ),
            speed=speed,
            start=start,
            end=end,
            span=duration,
        )
    )


@app.command()
def rearm(
    account: Annotated[str, typer.Option("--account", metavar="ID", help="Which account.")],
    operator: Annotated[str, typer.Option("--operator", metavar="NAME", help="Who wants it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is right to trade again; kept.")],
    adjust: Annotated[
        list[str] | None,
        typer.Option("--adjust", metavar="ASSET=AMOUNT", help="Correct the books first, as with run --continue."),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option("--external", metavar="ASSET=AMOUNT", help="What came or went that is not Claire's."),
    ] = None,
    release: Annotated[
        list[str] | None, typer.Option("--release", metavar="SOURCE", help="Take back this lock of the trading state.")
    ] = None,
    config: Config = None,
    assignments: Assignments = None,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Allow orders again after a kill, once the books of the account's last run and the venue agree.

    It needs a decision on record (claire decision add --kind rearm). Nothing that was approved before can ever be sent.
    """
    from claire.cli.rearm import rearm as do

    return do(
        account=account,
        operator=operator,
        reason=reason,
        config=config,
        assignments=assignments or (),
        adjustments=adjust or (),
        externals=external or (),
        releases=release or (),
        runs=runs,
        as_json=json,
    )


@app.command()
def backtest(
    data: Data = None,
    source: Source = "",
    start: Start = "",
    end: End = "",
    duration: Span = "",
    symbol: Symbols = None,
    venue: Venue = "",
    strategy: StrategyName = "",
    config: Config = None,
    assignments: Assignments = None,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Run a strategy over a recording as fast as it goes."""
    from claire.cli.trading import Request
    from claire.cli.trading import backtest as do

    return do(
        Request(
            config=config,
            assignments=assignments or (),
            symbols=symbol or (),
            strategy=strategy,
            venue=venue,
            source=source,
            data=data or (),
            runs=runs,
            as_json=json,
            start=start,
            end=end,
            span=duration,
        )
    )


@app.command()
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id, the end of one, a run directory, or last.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Where the recording lies now; it must be the same bytes."),
    ] = None,
    assignments: Assignments = None,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Decide a run again from its journal and compare every decision: exit 0 identical, 1 different.

    With --set: what would have been decided otherwise, and where first?
    """
    from claire.cli.checking import replay as do

    return do(run, data or (), assignments or (), runs, as_json=json)


@app.command()
def history(runs: Runs = None, json: Json = False) -> int:
    """List the runs and how they ended, oldest first."""
    from claire.cli.checking import history as do

    return do(runs, as_json=json)


@app.command()
def kill(
    account: Annotated[
        str,
        typer.Option(
            "--account", metavar="ID", help="Only this account. Default: every account in the folder of runs."
        ),
    ] = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept, and shown to whoever arms it.")
    ] = "",
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Stop sending orders, at once and until an operator arms the account again. The sentinel cancels what is open.

    Nothing is sold. Without Python: printf K > RUNS/accounts/ACCOUNT/kill
    """
    from claire.cli.kill import command as do

    return do(account=account, reason=reason, runs=runs, as_json=json)


@app.command()
def panic(
    secrets: Annotated[
        str,
        typer.Option("--secrets", metavar="DIR", help="Folder of mexc_access_key and mexc_secret_key (SECRETS_PATH)."),
    ] = "",
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", metavar="SYMBOL", help="Cancel here too; may be repeated. Others are discovered."),
    ] = None,
    symbols_from: Annotated[
        str, typer.Option("--symbols-from", metavar="FILE", help="One symbol per line: RUNS/accounts/ACCOUNT/symbols.")
    ] = "",
    rest_url: Annotated[str, typer.Option("--rest-url", metavar="URL", help="The venue. Default: MEXC itself.")] = "",
    give_up: Annotated[float, typer.Option("--give-up", metavar="S", help="Stop after so long; 0: never.")] = 0.0,
    json: Json = False,
) -> int:
    """Cancel every open order at the venue and prove that none is left. It needs nothing else of Claire.

    The same without Claire: python3 src/claire/safety/panic.py --secrets DIR
    """
    from claire.cli.panic import panic as do

    return do(
        secrets=secrets,
        symbols=symbol or (),
        symbols_from=symbols_from,
        rest_url=rest_url,
        give_up_s=give_up,
        as_json=json,
    )


@app.command()
def sentinel(
    rest_url: Annotated[str, typer.Option("--rest-url", metavar="URL", help="The venue.")],
    account: Annotated[str, typer.Option("--account", metavar="ID", help="Which account to watch.")] = "",
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="The account's folder, instead of --account.")
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(
            "--secrets", metavar="DIR", help="Folder of the keys (SECRETS_PATH); its folder sentinel comes first."
        ),
    ] = None,
    keys_from_stdin: Annotated[
        bool, typer.Option("--keys-from-stdin", help="Read both keys from one line of standard input.")
    ] = False,
    port: Annotated[int, typer.Option("--port", metavar="N", help="Of its door on 127.0.0.1; 0: a free one.")] = 8011,
    heart_s: Annotated[
        float, typer.Option("--heart-s", metavar="S", min=1, max=60, help="As sentinel.heart_s of the run.")
    ] = 10.0,
    recv_window_ms: Annotated[
        int, typer.Option("--recv-window-ms", metavar="MS", help="As mexc.recv_window_ms of the run.")
    ] = 2000,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Watch an account; once it is killed, cancel its orders until it is proven that none is left. Never sells."""
    from claire.cli.sentinel import sentinel as do

    return do(
        account=account,
        folder=folder,
        rest_url=rest_url,
        secrets=secrets,
        keys_from_stdin=keys_from_stdin,
        port=port,
        heart_s=heart_s,
        recv_window_ms=recv_window_ms,
        runs=runs,
        as_json=json,
    )


@app.command()
def doctor(
    venue: Annotated[
        str,
        typer.Option("--venue", metavar="VENUE", help="Also look at this venue: clock, key, symbols, budget (mexc)."),
    ] = "",
    config: Config = None,
    assignments: Assignments = None,
    runs: Runs = None,
    json: Json = False,
) -> int:
    """Check this machine, and show every setting that would be in force with the place that it comes from."""
    from claire.cli.doctor import doctor as do

    return do(config, assignments or (), runs, venue=venue, as_json=json)


for command in COMMANDS:
    app.command()(command)
app.command("symbols")(symbols)
app.command("mexc-sim")(mexc_sim)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `claire` with these arguments (default: the process's own) and return the exit code.

    Errors that a person can act on are said without a traceback; unexpected ones keep theirs.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json = "--json" in arguments
    stdout = Watched(sys.stdout)
    watched = sys.stdout = cast(TextIO, stdout)
    try:
        code = _answer(arguments, as_json=as_json)
        stdout.flush()
    except BrokenPipeError:
        _leave_stdout()
        return NOBODY_READS
    except Exception as fault:
        if stdout.fault is not None:
            _leave_stdout()
            say(f"cannot write the result to standard output: {stdout.fault.strerror}")
            return ClaireError.exit_code
        if as_json:
            complain(
                f"{type(fault).__name__}: {fault} (a fault of Claire; the traceback is on stderr)", 1, as_json=True
            )
        raise
    finally:
        if sys.stdout is watched:
            sys.stdout = stdout.stream
    return code


def _answer(arguments: Sequence[str], *, as_json: bool) -> int:
    """Do what was asked; say what a person did wrong or can mend, and return the exit code."""
    try:
        return int(app(args=list(arguments), prog_name="claire", standalone_mode=False) or 0)
    except ClaireError as fault:
        return complain(str(fault), fault.exit_code, as_json=as_json)
    except typer.TyperException as fault:
        return complain(_usage(fault.format_message(), arguments), UsageError.exit_code, as_json=as_json)


def _leave_stdout() -> None:
    """Let nothing more be written to stdout: Python flushes it once more at exit, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(message: str, arguments: Sequence[str]) -> str:
    """A complaint about options, with the command whose help would explain it."""
    known = [name for group in plan.GROUPS.values() for name in group]
    command = next((word for word in arguments if word in known), "")
    return f"{message} See {' '.join(filter(None, ('claire', command, '--help')))}"


if __name__ == "__main__":
    sys.exit(main())
