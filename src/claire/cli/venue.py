"""`claire symbols`, `claire data download` and the venue's part of `claire doctor`: what is asked of a real venue."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claire.cli.output import grouped, print_json, say
from claire.model.errors import ClaireError, ConfigError, UsageError, did_you_mean
from claire.model.money import plain_text

if TYPE_CHECKING:
    from claire.adapters.config import Settings
    from claire.adapters.venues.mexc.doctor import Finding
    from claire.adapters.venues.mexc.download import Downloaded, Wanted
    from claire.adapters.venues.mexc.history import History
    from claire.adapters.venues.mexc.symbols import Offer
    from claire.gateway.signer import Keys

SHOWN: Final = 40
"""Symbols in the table of a terminal; --json and --out have all of them."""

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (claire.toml).")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def symbols(
    venue: Annotated[str, typer.Option("--venue", metavar="VENUE", help="mexc.")] = "mexc",
    quote: Annotated[str, typer.Option("--quote", metavar="ASSET", help="Quote asset; empty: all.")] = "USDT",
    max_spread: Annotated[str, typer.Option("--max-spread", metavar="BPS", help="Widest spread, as 5bps.")] = "",
    min_volume: Annotated[
        str, typer.Option("--min-volume", metavar="AMOUNT", help="Least volume of 24 hours, in the quote asset.")
    ] = "",
    top: Annotated[int, typer.Option("--top", metavar="N", help="Only the N of the largest volume.")] = 0,
    include_closed: Annotated[
        bool, typer.Option("--all", help="Also those that the API does not trade, with the reason.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the choice as a dated file that a run can pin.")
    ] = None,
    config: Config = None,
    assignments: Assignments = None,
    json: Json = False,
) -> int:
    """List what a venue trades through the API: spread, least order, fees and volume; choose by rule."""
    import asyncio

    from claire.adapters.venues.mexc.symbols import Wanted, choose, selection_of, write_selection

    _require_venue(venue, ("mexc",))
    if top < 0:
        raise UsageError(f"--top {top}: give a number above 0")
    wanted = Wanted(
        quote=quote.upper(),
        max_spread_bps=_amount("--max-spread", max_spread.lower().removesuffix("bps").strip(), "5bps"),
        min_volume=_amount("--min-volume", min_volume.replace("_", ""), "1000000"),
        top=top or None,
        include_closed=include_closed,
    )
    if out is not None and out.exists():
        raise UsageError(f"{out}: exists already; a choice is never changed. Choose another name for a new one.")
    offers, now_ms = asyncio.run(_offers(_settings(config, assignments or ())))
    chosen = choose(offers, wanted)
    selection = selection_of(chosen, wanted, now_ms)
    if out is not None:
        if not chosen:
            raise ClaireError(f"no symbol fits these rules, so {out} is not written. Loosen them.")
        write_selection(selection, out)
    if json:
        print_json(selection)
        return 0
    _print_offers(chosen)
    closed = sum(1 for offer in offers if offer.closed)
    print(f"{grouped(len(chosen))} of {grouped(len(offers))} symbols ({grouped(closed)} are closed to the API)")
    if out is not None:
        print(f"wrote {out}")
    return 0


def download(
    target: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to write; its sidecar goes beside it.")],
    venue: Annotated[str, typer.Option("--venue", metavar="VENUE", help="mexc or binance (its public archive).")],
    symbol: Annotated[str, typer.Option("--symbol", metavar="SYMBOL", help="What to fetch, as BTCUSDT.")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day wanted (UTC), as 2026-11-01.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day wanted (UTC).")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="klines or aggTrades. Default: klines of mexc, aggTrades of binance."
        ),
    ] = "",
    interval: Annotated[str, typer.Option("--interval", metavar="SPAN", help="Length of the klines.")] = "1m",
    archive_url: Annotated[
        str, typer.Option("--archive-url", metavar="URL", help="A mirror of Binance's public archive.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that exist.")] = False,
    config: Config = None,
    assignments: Assignments = None,
    json: Json = False,
) -> int:
    """Fetch a venue's past as a market file. Run it again to go on where it was cut off; exit code 1: it needs cleaning."""
    import asyncio

    from claire.adapters.marketdata.checking import check
    from claire.adapters.venues.mexc.download import Wanted
    from claire.adapters.venues.mexc.history import CANDLES, TRADES
    from claire.adapters.venues.mexc.requests import INTERVALS

    _require_venue(venue, ("mexc", "binance"))
    kind = kind or (CANDLES if venue == "mexc" else TRADES)
    if kind not in (CANDLES, TRADES):
        raise UsageError(f"--kind {kind}: give {CANDLES} or {TRADES}.{did_you_mean(kind, (CANDLES, TRADES))}")
    if interval not in INTERVALS:
        raise UsageError(f"--interval {interval}: give one of {', '.join(INTERVALS)}")
    if archive_url and venue != "binance":
        raise UsageError("--archive-url is for --venue binance; where MEXC is, mexc.rest_url says")
    if not symbol.isalnum():
        raise UsageError(f"--symbol {symbol}: write it without a separator, as BTCUSDT")
    wanted = Wanted(symbol.upper(), kind, interval, _day("--from", first), _day("--to", last))
    settings = _settings(config, assignments or ())
    done = asyncio.run(_download(settings, venue, wanted, target, archive_url, force=force, quiet=json))
    report = check(target)
    if json:
        print_json({"download": done, "usable": report.usable, "markets": report.markets, "warnings": report.warnings})
    else:
        print(f"wrote {target}: {grouped(done.written.rows)} events of {done.days} days ({done.fetched} fetched now)")
        for warning in done.written.warnings:
            print(f"note: {warning}")
        verdict = "a run takes it as it is" if report.usable else f"a run refuses it: claire data check {target}"
        print(f"checked: {verdict}")
    return 0 if report.usable else 1


def examine(venue: str, settings: "Settings") -> list["Finding"]:
    """Look at a venue for `claire doctor`.

    Raises:
        UsageError: the venue is not known.
        ConfigError: its address is none.
    """
    import asyncio

    from claire.adapters.venues.mexc.doctor import Finding

    _require_venue(venue, ("mexc",))
    keys, fault = None, None
    if settings.secrets.path:
        from claire.adapters.venues.mexc.secrets import read_keys

        try:
            keys = read_keys(settings.secrets.path)
        except ConfigError as e:
            fault = Finding(
                "mexc secrets", ok=False, found=str(e), remedy="one file per secret, for its owner only (0600)"
            )
    findings = asyncio.run(_examine(settings, keys))
    return findings if fault is None else [fault, *findings]


async def _examine(settings: "Settings", keys: "Keys | None") -> list["Finding"]:
    from claire.adapters.venues.mexc.doctor import examine as look
    from claire.adapters.venues.mexc.opening import open_rest

    async with open_rest(settings.mexc, keys) as rest:
        return await look(rest, settings.symbols)


async def _offers(settings: "Settings") -> tuple[list["Offer"], int]:
    from claire.adapters.venues.mexc.opening import open_rest
    from claire.adapters.venues.mexc.symbols import read_offers

    async with open_rest(settings.mexc) as rest:
        await rest.sync_clock()
        return await read_offers(rest), rest.venue_ms()


async def _download(
    settings: "Settings", venue: str, wanted: "Wanted", target: Path, archive_url: str, *, force: bool, quiet: bool
) -> "Downloaded":
    import aiohttp

    from claire.adapters.venues.mexc.download import download as fetch
    from claire.adapters.venues.mexc.history import ARCHIVE, BinanceArchive, MexcHistory
    from claire.adapters.venues.mexc.instruments import HINT
    from claire.adapters.venues.mexc.opening import open_rest, read_listing

    total, done = len(wanted.days), 0

    def progress(days: int) -> None:
        nonlocal done
        done += days
        if not quiet:
            say(f"{done} of {total} days of {wanted.symbol}")

    if venue == "binance":
        async with aiohttp.ClientSession(trust_env=True) as session:
            archive: History = BinanceArchive(
                session, wanted.symbol, wanted.kind, wanted.interval, archive_url or ARCHIVE
            )
            return await fetch(archive, wanted, target, force=force, progress=progress)
    async with open_rest(settings.mexc) as rest:
        listing = await read_listing(rest, (wanted.symbol,))
        info = listing.infos.get(wanted.symbol)
        if info is None:
            known = did_you_mean(wanted.symbol, listing.infos)
            raise UsageError(
                f"--symbol {wanted.symbol}: MEXC lists no such symbol.{known} They are listed by {HINT} --all"
            )
        least = {
            "base": info.base_asset,
            "quote": info.quote_asset,
            "min_notional": plain_text(info.quote_amount_precision),
        }
        history = MexcHistory(rest, wanted.symbol, wanted.kind, wanted.interval)
        return await fetch(history, wanted, target, rules={wanted.symbol: least}, force=force, progress=progress)


def _settings(config: Path | None, assignments: Sequence[str]) -> "Settings":
    from claire.adapters.config import load

    return load(config=config, environ=os.environ, assignments=assignments).settings


def _require_venue(venue: str, known: Sequence[str]) -> None:
    if venue not in known:
        raise UsageError(f"--venue {venue}: give {' or '.join(known)}.{did_you_mean(venue, known)}")


def _amount(option: str, text: str, example: str) -> Decimal | None:
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise UsageError(f"{option} {text}: give a number of 0 or more, as {example}")
    return value


def _day(option: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise UsageError(f"{option} {text}: give a day (UTC), as 2026-11-01") from None


def _print_offers(offers: Sequence["Offer"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    right = ("spread bps", "ticks", "least order", "maker %", "taker %", "volume 24 h")
    for column in ("symbol", *right, "types", "note"):
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for offer in offers[:SHOWN]:
        table.add_row(
            offer.symbol,
            _shown(offer.spread_bps),
            "" if offer.spread_ticks is None else grouped(offer.spread_ticks),
            f"{plain_text(offer.min_notional)} {offer.quote}",
            _shown(offer.maker_pct),
            _shown(offer.taker_pct),
            "" if offer.volume is None else f"{offer.volume:,.0f} {offer.quote}",
            " ".join(offer.order_types),
            offer.closed,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
    if len(offers) > SHOWN:
        print(f"... and {grouped(len(offers) - SHOWN)} more: --top N, --json or --out FILE")


def _shown(value: Decimal | None) -> str:
    return "" if value is None else plain_text(value)
