"""`claire run` on MEXC's protocol: ``--source mexc`` (live data, paper venue) and ``--mode testnet`` (the simulator)."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from claire.adapters.config.schema import FeeAsset, MexcSettings, Mode, Settings
from claire.adapters.venues.mexc.items import FeedAlert
from claire.cli.output import say
from claire.cli.screen import LiveScreen, Screen
from claire.model.errors import ConfigError
from claire.services.keeping import RunResult
from claire.services.live import run_live
from claire.services.mexc import Universe, open_mexc
from claire.services.quiet import quiet
from claire.services.simulator import started

SIMULATOR_SEED = 1


@quiet
def run_mexc(
    settings: Settings,
    universe: Universe,
    *,
    runs_dir: Path,
    duration_s: float | None,
    should_stop: Callable[[], bool],
) -> RunResult:
    """Run live until the end of `duration_s`, Ctrl-C, or a failure; return the result.

    Raises:
        ClaireError: something that the run needs is refused or not there.
    """
    return asyncio.run(_run(settings, universe, runs_dir, duration_s, should_stop))


async def _run(
    settings: Settings,
    universe: Universe,
    runs_dir: Path,
    duration_s: float | None,
    should_stop: Callable[[], bool],
) -> RunResult:
    is_testnet = settings.mode is Mode.TESTNET
    keys = None
    async with AsyncExitStack() as stack:
        if is_testnet and settings.mexc == MexcSettings():
            fee_asset = "quote" if settings.fees.asset is FeeAsset.QUOTE else "received"
            simulator = await stack.enter_async_context(started(settings.paper.balance, fee_asset, SIMULATOR_SEED))
            say(f"testnet: a simulator of MEXC at {simulator.rest_url}, started for this run")
            keys = simulator.keys
            mexc = MexcSettings(rest_url=simulator.rest_url, ws_url=simulator.ws_url)
            settings = settings.model_copy(update={"mexc": mexc})
        opened = await stack.enter_async_context(open_mexc(settings, universe, keys=keys, on_alert=_say_alert))
        symbols = opened.market.info.symbols
        listed = " ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")
        where = "simulated MEXC" if is_testnet else "live MEXC data, paper venue"
        title = f"{settings.mode.value.upper()} · {where} · {listed}"
        screen = (LiveScreen if sys.stderr.isatty() else Screen)(title, 0)
        with screen:
            return await run_live(
                settings,
                opened.market,
                opened.feed,
                runs_dir=runs_dir,
                mode=settings.mode.value,
                venue=opened.venue,
                duration_s=duration_s,
                now_ns=opened.now_ns,
                counters=opened.counters,
                observers=(screen,),
                on_progress=screen,
                on_alert=_say_alert,
                should_stop=should_stop,
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
