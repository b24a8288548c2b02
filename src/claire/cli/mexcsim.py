"""`claire mexc-sim`: the venue's simulator as a program, with its keys, its faults and a picture of what happens."""

import asyncio
import hashlib
import signal
import sys
import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from claire.cli.output import grouped, say
from claire.model.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from claire.mexcsim import Entry, SimConfig, Simulator

DEFAULT_PORT = 8790
FRAME_S = 0.25
ROWS = 14
"""Symbols and log entries shown at once."""

Names = Annotated[list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this pair; may be repeated.")]
Balances = Annotated[
    list[str] | None,
    typer.Option("--balance", metavar="ASSET=AMOUNT", help="What each account holds; may be repeated."),
]


def mexc_sim(
    port: Annotated[int, typer.Option("--port", help="TCP port on 127.0.0.1; 0: a free one.")] = DEFAULT_PORT,
    unix: Annotated[
        Path | None, typer.Option("--unix", metavar="PATH", help="Also listen on this Unix socket.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the market, of keys, and of whatever faults leave to chance.")
    ] = 1,
    symbol: Names = None,
    generate: Annotated[int, typer.Option("--generate", metavar="N", help="N made-up pairs instead, for load.")] = 0,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", metavar="FILE", help="Faults to set at the start (TOML).")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="FILE", help="Play this recording; may be repeated.")
    ] = None,
    speed: Annotated[str, typer.Option("--speed", metavar="Nx|max", help="How fast a recording plays.")] = "1x",
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="The recording's next trade only after POST /sim/step.")
    ] = False,
    slippage_ticks: Annotated[
        int, typer.Option("--slippage-ticks", metavar="N", help="In lockstep: the book stands at last ± N ticks.")
    ] = 1,
    keys: Annotated[int, typer.Option("--keys", metavar="N", help="Accounts with a key each.")] = 1,
    balance: Balances = None,
    fee_asset: Annotated[
        str, typer.Option("--fee-asset", metavar="received|quote", help="What fees are paid in.")
    ] = "received",
    events: Annotated[float, typer.Option("--events", metavar="N", help="Drawn orders per second and pair.")] = 5.0,
    lively: Annotated[
        bool,
        typer.Option(
            "--lively",
            help="A market with the large moves that a demonstration needs: volatility, bursts, a past to match.",
        ),
    ] = False,
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", metavar="DIR", help="Write the first key as files that SECRETS_PATH can name."),
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Request budgets, bans and the firewall.")
    ] = True,
    duration: Annotated[
        float, typer.Option("--duration", metavar="S", help="End after this many seconds; 0: never.")
    ] = 0.0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON line with addresses and keys, then one for each thing that happens."),
    ] = False,
) -> None:
    """Run a local venue that speaks MEXC spot's wire protocol, and misbehaves when told to."""
    import msgspec

    from claire.mexcsim import FlowSettings, Limits, SimConfig
    from claire.mexcsim.flow import LIVELY
    from claire.mexcsim.scenario import load

    if lively and data:
        raise UsageError("--lively is about the drawn market; a recording brings its own moves. Leave one of them out")
    rules, recording = _market(symbol or [], generate, data or [])
    config = SimConfig(
        symbols=rules,
        seed=seed,
        port=port,
        unix_socket=unix,
        flow=msgspec.structs.replace(LIVELY if lively else FlowSettings(), events_per_s=events),
        recording=recording,
        speed=_speed(speed),
        lockstep=lockstep,
        slippage_ticks=slippage_ticks,
        limits=Limits(enabled=limits),
        scenario=load(scenario) if scenario is not None else (),
    )
    if secrets is not None:
        _write_key(secrets, seed)
    asyncio.run(_serve(config, keys, _balances(balance or []), fee_asset, duration, as_json=as_json))


def _write_key(folder: Path, seed: int) -> None:
    """Write the first key as a run reads it: one word in a file, readable by its owner only.

    Raises:
        UsageError: the folder cannot be written.
    """
    from claire.adapters.venues.mexc.secrets import ACCESS_KEY, SECRET_KEY

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, word in zip((ACCESS_KEY, SECRET_KEY), made_up_key(seed, 1), strict=True):
            place = folder / name
            place.unlink(missing_ok=True)
            place.touch(mode=0o600)
            place.write_text(word)
    except OSError as fault:
        raise UsageError(f"--secrets {folder}: {fault.strerror}; name a folder that can be written") from None


def _market(names: Sequence[str], generate: int, data: Sequence[Path]) -> tuple[Any, Any]:
    """The pairs, and the recording if one was named."""
    from claire.mexcsim import symbols
    from claire.mexcsim.flow import recording_of

    if data and generate:
        raise UsageError(
            "--generate makes pairs for the drawn market; a recording brings its own. Leave one of them out"
        )
    if data:
        from claire.adapters.marketdata import open_sources

        source = open_sources(list(data), symbols=list(names))
        rules = tuple(symbols.rule_of(instrument) for instrument in source.instruments.values())
        return rules, recording_of(source.batches(), source.instruments)
    known = symbols.generate(generate) if generate else symbols.BUILT_IN
    return symbols.choose(names, known) if names else known, None


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text.removesuffix("x"))
    except ValueError:
        raise UsageError(f"--speed {text}: give a multiple such as 1x or 60x, or max") from None


def _balances(pairs: Sequence[str]) -> dict[str, Decimal] | None:
    found = {}
    for pair in pairs:
        asset, _, amount = pair.partition("=")
        try:
            found[asset] = Decimal(amount)
        except InvalidOperation:
            raise UsageError(f"--balance {pair}: give an asset and an amount, for example USDT=10000") from None
    return found or None


def made_up_key(seed: int, number: int) -> tuple[str, str]:
    """An access key and its secret, the same for the same seed: they open nothing but a simulator."""
    digest = hashlib.sha256(f"claire mexc-sim {seed} {number}".encode()).hexdigest()
    return f"sim{digest[:13]}", digest[32:]


async def _serve(
    config: "SimConfig",
    keys: int,
    balances: dict[str, Decimal] | None,
    fee_asset: str,
    duration: float,
    *,
    as_json: bool,
) -> None:
    from claire.mexcsim import Simulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(config) as sim:
        made = [made_up_key(config.seed, number) for number in range(1, keys + 1)]
        for access_key, secret in made:
            sim.add_account(access_key, secret, balances=balances, fee_asset=fee_asset)
        if as_json:
            _print_lines(sim, made)
        else:
            _introduce(sim, made)
        ends = time.monotonic() + duration if duration else None
        await (_watch_lines(stop, sim, ends) if as_json or not sys.stderr.isatty() else _watch_table(stop, sim, ends))
        if not as_json:
            say(f"{grouped(sim.pushed)} pushes, {', '.join(f'{what} {n}' for what, n in sim.log.counts.items())}")


def _introduce(sim: "Simulator", made: Sequence[tuple[str, str]]) -> None:
    say(f"a MEXC spot simulator: {len(sim.books)} pairs, seed {sim.config.seed}; made-up money, loopback only")
    say(f"REST  {sim.rest_url}     WebSocket  {sim.ws_url}")
    for access_key, secret in made:
        say(f"key   {access_key}     secret  {secret}")
    say(f'faults: curl -X POST {sim.rest_url}/sim/faults -d \'{{"kind":"stall","for_ms":5000}}\'     Ctrl-C ends it')


def _print_lines(sim: "Simulator", made: Sequence[tuple[str, str]]) -> None:
    import msgspec

    def write(document: object) -> None:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        sys.stdout.flush()

    write(
        {
            "rest_url": sim.rest_url,
            "ws_url": sim.ws_url,
            "seed": sim.config.seed,
            "symbols": list(sim.books),
            "keys": [{"access_key": access_key, "secret": secret} for access_key, secret in made],
        }
    )
    sim.log.listeners.append(write)


def _over(stop: asyncio.Event, sim: "Simulator", ends: float | None) -> bool:
    return stop.is_set() or bool(sim.venue.failures) or (ends is not None and time.monotonic() >= ends)


async def _watch_lines(stop: asyncio.Event, sim: "Simulator", ends: float | None) -> None:
    while not _over(stop, sim, ends):
        await asyncio.sleep(FRAME_S)


async def _watch_table(stop: asyncio.Event, sim: "Simulator", ends: float | None) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        while not _over(stop, sim, ends):
            live.update(picture(sim), refresh=True)
            await asyncio.sleep(FRAME_S)


def picture(sim: "Simulator") -> "RenderableType":
    """What happens, for a terminal: the busiest pairs, the counts, the latest entries of the log."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    markets = sorted(sim.venue.exchange.markets.values(), key=lambda market: -market.tape.count)[:ROWS]
    table = Table(box=None, pad_edge=False)
    for name in ("pair", "last", "bid", "ask", "trades"):
        table.add_column(name, justify="left" if name == "pair" else "right")
    for market in markets:
        rule, book = market.rule, market.book
        prices = (market.tape.last_price, book.bids.best_price(), book.asks.best_price())
        table.add_row(rule.symbol, *(rule.padded_price(price) for price in prices), grouped(market.tape.count))
    counts = "   ".join(f"{what} {grouped(n)}" for what, n in sorted(sim.log.counts.items()))
    latest = [line(entry) for entry in list(sim.log)[-ROWS:]]
    head = f"{len(sim.connections)} sockets   {grouped(sim.pushed)} pushes   {counts}"
    return Group(table, Text(""), Text(head), Text(""), *(Text(text, no_wrap=True) for text in latest))


def line(entry: "Entry") -> str:
    """One log entry as a person reads it."""
    at = time.strftime("%H:%M:%S", time.gmtime(entry.at_ms / 1000))
    detail = "  ".join(f"{name} {value}" for name, value in entry.detail.items() if value != "")
    return f"{at}.{entry.at_ms % 1000:03d}  {entry.what:<20} {entry.symbol:<12} {detail}"
