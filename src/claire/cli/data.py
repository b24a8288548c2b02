"""`claire data import|info|check|synth|download`: market data files, looked at and made.

numpy and polars are imported inside the commands: `claire --help` must not wait for them.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from claire.cli.output import grouped, print_json, utc
from claire.cli.venue import download
from claire.model.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from claire.adapters.marketdata.checking import MarketReport, Report
    from claire.adapters.marketdata.converting import Written

app = typer.Typer(
    name="data",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="Market data of any known format (docs/market-data.md).")]
Target = Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to write; its sidecar goes beside it.")]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol; may be repeated.")
]
Venue = Annotated[
    str, typer.Option("--venue", metavar="VENUE", help="Whose trades, where a file holds several venues.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def data() -> None:
    """Market data files: what is in them, what is wrong with them, and making new ones."""


@app.command("import")
def import_(
    file: File,
    target: Target,
    symbol: Symbols = None,
    venue: Venue = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A rule, as instruments.BTCUSDT.min_notional=5; may be repeated."
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Write a recording as Claire's own Parquet; reading that gives the same events and instruments."""
    from claire.adapters.marketdata.converting import import_file

    rules = _rules(assignments or ())
    with _working(f"importing {file.name}", as_json=json):
        written = import_file(file, target, symbols=symbol or (), venue=venue or None, rules=rules, force=force)
    _tell_written(written, as_json=json)
    return 0


@app.command()
def info(file: File, symbol: Symbols = None, json: Json = False) -> int:
    """Say what a file holds: kind, rows, range, symbols, venues, instrument rules and where they come from, hash."""
    from claire.adapters.marketdata.checking import check as look

    with _working(f"reading {file.name}", as_json=json):
        report = look(file, symbols=symbol or ())
    if json:
        print_json(_info_document(report))
        return 0
    _print_head(report)
    rows = [
        (
            market.symbol or "(not told)",
            market.venue or "(not told)",
            grouped(market.rows),
            utc(market.first_ns),
            utc(market.last_ns),
            *_rules_cells(market),
        )
        for market in report.markets
    ]
    columns = ("symbol", "venue", "rows", "from (UTC)", "to (UTC)", "tick", "lot", "min notional", "rules")
    _print_table(columns, rows, right=(2, 5, 6, 7))
    for market in report.markets:
        if market.latency is not None:
            late = market.latency
            print(
                f"{market.symbol} {market.venue}: received {late.median_ms:,.1f} ms after the event"
                f" ({late.min_ms:,.1f} to {late.max_ms:,.1f}; negative: the recorder's clock ran behind)"
            )
    _print_remarks(report)
    return 0


@app.command()
def check(
    file: File,
    symbol: Symbols = None,
    venue: Venue = "",
    gap_s: Annotated[float, typer.Option("--gap-s", metavar="SECONDS", help="Silence that counts as a gap.")] = 60.0,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="CLEAN.parquet", help="Write a copy without the bad rows, and a log of them."),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Look for gaps, duplicates, disorder, zero and absurd prices. Exit code 1: a run would refuse the file as it is."""
    from claire.adapters.marketdata.checking import check as look
    from claire.adapters.marketdata.converting import write_clean

    if gap_s <= 0:
        raise UsageError(f"--gap-s {gap_s:g}: give a number of seconds above 0")
    written = None
    with _working(f"checking {file.name}", as_json=json):
        report = look(file, symbols=symbol or (), gap_s=gap_s)
        if write is not None:
            written = write_clean(file, write, symbols=symbol or (), venue=venue or None, force=force)
    if json:
        print_json(_check_document(report, written))
    else:
        _print_check(report)
        if written is not None:
            print(f"\nwrote {written.path}: {grouped(written.rows)} events")
            print(f"dropped {grouped(written.dropped)} rows, listed in {written.log}")
    return 0 if report.usable or written is not None else 1


@app.command()
def synth(
    target: Target,
    symbol: Annotated[str, typer.Option(metavar="SYMBOL", help="What to call it.")] = "BTCUSDT",
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed makes the same market.")] = 1,
    trades: Annotated[int, typer.Option(metavar="N", help="Stop after so many trades.")] = 0,
    duration_s: Annotated[int, typer.Option("--duration-s", metavar="SECONDS", help="Market time. Default: 3600.")] = 0,
    rate: Annotated[float, typer.Option(metavar="N", help="Trades per second, on average.")] = 5.0,
    book: Annotated[
        str, typer.Option(metavar="none|top|depth", help="With best bid and offer, or ten levels.")
    ] = "none",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting (start_price, tick, moves_per_hour ...)."),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> int:
    """Write a synthetic market: seeded, with bursts, clustering volatility, jumps and moves."""
    import msgspec

    from claire.adapters.marketdata import SyntheticMarket, SynthSettings
    from claire.adapters.marketdata.converting import write_synthetic

    values: dict[str, object] = dict(_assignments(assignments or ()))
    known = SynthSettings.__struct_fields__
    for name in values:
        if name not in known:
            raise ConfigError(f"synth.{name} is not a setting.{did_you_mean(name, known)} Settings: {', '.join(known)}")
    values |= {"symbol": symbol, "seed": seed, "rate": rate, "book": book}
    values |= {"trades": trades, "duration_s": duration_s if duration_s or trades else 3600}
    try:
        settings = msgspec.convert(values, SynthSettings, strict=False)
    except msgspec.ValidationError as e:
        raise ConfigError(f"a synthetic market cannot be made of that: {e}") from e
    total = settings.trades or round(settings.duration_s * settings.rate)
    with _working(f"making {settings.symbol}", as_json=json, total=total) as progress:
        written = write_synthetic(SyntheticMarket(settings), target, force=force, progress=progress)
    _tell_written(written, as_json=json)
    return 0


app.command("download")(download)


def _rules(assignments: Sequence[str]) -> dict[str, dict[str, str]]:
    """Turn `instruments.SYMBOL.RULE=VALUE` into rules by symbol."""
    rules: dict[str, dict[str, str]] = {}
    for key, value in _assignments(assignments).items():
        parts = key.split(".")
        if len(parts) != 3 or parts[0] != "instruments":
            raise UsageError(f"--set {key}={value}: an import takes only instruments.SYMBOL.RULE=VALUE")
        rules.setdefault(parts[1], {})[parts[2]] = value
    return rules


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {text}: is not KEY=VALUE")
        found[key.strip()] = value.strip()
    return found


def _info_document(report: "Report") -> dict[str, object]:
    markets = report.markets
    return {
        "path": report.path,
        "sha256": report.sha256,
        "kind": "recorded",
        "format": report.format,
        "rows": report.rows,
        "first_ns": min((m.first_ns for m in markets if m.rows), default=0),
        "last_ns": max((m.last_ns for m in markets if m.rows), default=0),
        "symbols": list(dict.fromkeys(m.symbol for m in markets)),
        "venues": list(dict.fromkeys(m.venue for m in markets)),
        "synthetic_trades": report.synthetic_trades,
        "markets": [
            {
                "symbol": m.symbol,
                "venue": m.venue,
                "rows": m.rows,
                "first_ns": m.first_ns,
                "last_ns": m.last_ns,
                "instrument": m.instrument,
                "latency_ms": m.latency,
                "refusal": m.refusal,
            }
            for m in markets
        ],
        "usable": report.usable,
        "warnings": report.warnings,
    }


def _check_document(report: "Report", written: "Written | None") -> dict[str, object]:
    markets = report.markets
    faults: dict[str, int] = {}
    for market in markets:
        for code, count in market.faults_by_code.items():
            faults[code] = faults.get(code, 0) + count
    return {
        "path": report.path,
        "sha256": report.sha256,
        "format": report.format,
        "usable": report.usable,
        "rows": report.rows,
        "faults": faults,
        "gaps": sum(m.time_gaps for m in markets),
        "gap_s": report.gap_s,
        "id_gaps": sum(m.id_gaps or 0 for m in markets),
        "duplicates": sum(m.duplicates for m in markets),
        "conflicts": sum(m.conflicts for m in markets),
        "disorder": sum(m.disorder for m in markets),
        "sides_missing": sum(m.sides_missing for m in markets),
        "depth_gaps": sum(m.depth_gaps or 0 for m in markets),
        "markets": markets,
        "examples": report.examples,
        "warnings": report.warnings,
        "written": written,
    }


def _print_head(report: "Report") -> None:
    print(f"{report.path}")
    print(f"{report.format}, {grouped(report.rows)} rows, sha256 {report.sha256}")


def _print_check(report: "Report") -> None:
    _print_head(report)
    rows = []
    for market in report.markets:
        longest = f"{market.longest_gaps[0].seconds:,.0f} s" if market.longest_gaps else ""
        rows.append(
            (
                market.symbol or "(not told)",
                market.venue or "(not told)",
                grouped(market.rows),
                grouped(sum(market.faults.values())),
                grouped(market.duplicates),
                grouped(market.conflicts),
                grouped(market.disorder),
                grouped(market.sides_missing),
                grouped(market.time_gaps),
                longest,
                "" if market.id_gaps is None else grouped(market.id_gaps),
                "" if market.depth_gaps is None else grouped(market.depth_gaps),
            )
        )
    columns = (
        "symbol",
        "venue",
        "rows",
        "faults",
        "repeated",
        "conflicts",
        "disorder",
        "no side",
        f"gaps > {report.gap_s:g} s",
    )
    _print_table((*columns, "longest", "id gaps", "depth gaps"), rows, right=range(2, 12))
    for market in report.markets:
        for reason, count in market.faults.items():
            print(f"{market.symbol}: {grouped(count)} × {reason}")
    for example in report.examples:
        print(f"  {example}")
    _print_remarks(report)
    if report.usable:
        print("A run takes this file as it is.")
    else:
        print("A run refuses this file as it is; --write CLEAN.parquet makes a copy that it takes.")


def _print_remarks(report: "Report") -> None:
    for market in report.markets:
        if market.refusal:
            print(f"note: {market.refusal}")
    for warning in report.warnings:
        print(f"note: {warning}")


def _rules_cells(market: "MarketReport") -> tuple[str, str, str, str]:
    rules = market.instrument
    if rules is None:
        return "", "", "", "refused" if market.refusal else ""
    return str(rules["tick"]), str(rules["lot"]), str(rules["min_notional"]), str(rules["source"])


def _tell_written(written: "Written", *, as_json: bool) -> None:
    if as_json:
        print_json(written)
        return
    print(f"wrote {written.path}: {grouped(written.rows)} events of {', '.join(written.symbols)}")
    print(f"      {written.sidecar}")
    for warning in written.warnings:
        print(f"note: {warning}")


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


@contextmanager
def _working(text: str, *, as_json: bool, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal while something works; gives a function that is told of progress."""
    if as_json or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)
