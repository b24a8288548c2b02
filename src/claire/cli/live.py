"""`claire run` on MEXC's protocol: ``--source mexc`` (live data, paper venue) and ``--mode testnet`` (the simulator)."""

import asyncio
import gc
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from claire.adapters.config.schema import FeeAsset, MexcSettings, Mode, Settings
from claire.adapters.venues.mexc.items import FeedAlert
from claire.cli.output import say
from claire.cli.screen import LiveScreen, Screen
from claire.model.errors import ConfigError, UsageError
from claire.safety.door import PORT
from claire.safety.triggers import on_signal
from claire.services.keeping import RunResult
from claire.services.mexc import OpenMexc, Universe
from claire.services.quiet import quiet
from claire.services.recovery import GoOn
from claire.services.simulator import started
from claire.services.trading import Watching, trade_live

SIMULATOR_SEED = 1


@quiet
def run_mexc(
    settings: Settings,
    universe: Universe,
    *,
    runs_dir: Path,
    duration_s: float | None,
    should_stop: Callable[[], bool],
    go_on: GoOn | None = None,
    starts_anew: bool = False,
) -> RunResult:
    """Run live until the end of `duration_s`, Ctrl-C, or a failure; return the result.

    Raises:
        ClaireError: something that the run needs is refused or not there.
    """
    return asyncio.run(_run(settings, universe, runs_dir, duration_s, should_stop, go_on, starts_anew))


async def _run(
    settings: Settings,
    universe: Universe,
    runs_dir: Path,
    duration_s: float | None,
    should_stop: Callable[[], bool],
    go_on: GoOn | None,
    starts_anew: bool,
) -> RunResult:
    is_testnet = settings.mode is Mode.TESTNET
    keys, accounts_dir = None, None
    if is_testnet and go_on is not None and not settings.secrets.path:  # its keys were the simulator's own
        raise UsageError(
            f"run {go_on.run_dir.name} traded at a simulator that was part of it and is gone, and with it the account; there is"
            " nothing to go on with. Start claire mexc-sim by itself and name it with mexc.rest_url and mexc.ws_url for runs that"
            " are to outlive a process"
        )
    async with AsyncExitStack() as stack:
        if is_testnet and settings.mexc == MexcSettings():
            fee_asset = "quote" if settings.fees.asset is FeeAsset.QUOTE else "received"
            simulator = await stack.enter_async_context(started(settings.paper.balance, fee_asset, SIMULATOR_SEED))
            say(f"testnet: a simulator of MEXC at {simulator.rest_url}, started for this run")
            keys = simulator.keys
            accounts_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claire-account-")))
            mexc = MexcSettings(rest_url=simulator.rest_url, ws_url=simulator.ws_url)
            settings = settings.model_copy(update={"mexc": mexc})
        screen = (LiveScreen if sys.stderr.isatty() else Screen)("", 0)

        def on_open(opened: OpenMexc) -> None:
            symbols = opened.market.info.symbols
            listed = " ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")
            where = "simulated MEXC" if is_testnet else "live MEXC data, paper venue"
            screen.title = f"{settings.mode.value.upper()} · {where} · {listed}"
            stack.enter_context(screen)
            gc.freeze()  # what is loaded by now stays for the whole run: the collector need not look at it again

        return await trade_live(
            settings,
            universe,
            runs_dir=runs_dir,
            accounts_dir=accounts_dir,
            keys=keys,
            starts_anew=starts_anew,
            go_on=go_on,
            duration_s=duration_s,
            should_stop=should_stop,
            sentinel_port=(0 if accounts_dir else PORT) if is_testnet else None,
            watching=Watching((screen,), on_signal, on_open, screen, _say_alert),
        )


def refuse_options(**given: object) -> None:
    """Refuse options that a live run does not know.

    Raises:
        ConfigError: naming the first.
    """
    for name, value in given.items():
        if value:
            raise ConfigError(f"--{name} {value} is for recorded and synthetic markets; a live run takes --duration")


def _say_alert(alert: FeedAlert) -> None:
    stops = " (no new entries rest on this feed)" if alert.stops_entries else ""
    say(f"{alert.kind}: {alert.text}{stops}")
