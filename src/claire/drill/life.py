"""One life of Claire on a simulated computer: what `claire run`, and after a crash `claire run --continue`, does."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.adapters.config import Settings
from claire.adapters.venues.mexc.items import FeedAlert
from claire.drill.host import Host
from claire.engine.pipeline import Pipeline
from claire.gateway.signer import Keys
from claire.services.keeping import RunResult
from claire.services.mexc import Universe
from claire.services.recovery import GoOn, header_of, is_begun, settings_of
from claire.services.trading import Watching, trade_live

SNAPSHOT_S: Final = 30.0
"""How often the state is saved; often, so that lives begin with a snapshot as well as without."""


class Life(Struct):
    """What is known before, and what becomes known."""

    settings: Settings
    keys: Keys
    runs_dir: Path
    run_id: str
    is_over: Callable[[], bool]
    see: Callable[[Pipeline, Path], None]
    alert: Callable[[FeedAlert], None]


async def live_once(host: Host, life: Life) -> RunResult:
    """Run Claire until it is told to stop, stops by itself, or the power goes.

    Raises:
        ClaireError: it refused to start, or stopped.
    """

    def see(pipeline: Pipeline) -> None:
        life.see(pipeline, life.runs_dir / life.run_id)

    run_dir = life.runs_dir / life.run_id
    if run_dir.exists() and not is_begun(run_dir):
        shutil.rmtree(run_dir)  # it was stopped before its first entry, so there is nothing to go on with
    go_on = GoOn(run_dir) if run_dir.exists() else None
    return await trade_live(
        life.settings if go_on is None else settings_of(run_dir, None, ()),
        Universe() if go_on is None else Universe(symbols=header_of(run_dir).source.symbols),
        runs_dir=life.runs_dir,
        run_id=life.run_id,
        keys=life.keys,
        go_on=go_on,
        should_stop=life.is_over,
        watching=Watching(on_progress=see, on_alert=life.alert),
        machine=host.machine,
        snapshot_s=SNAPSHOT_S,
    )
