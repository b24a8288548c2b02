"""One life of Claire on a simulated computer: what `claire run`, and after a crash `claire run --continue`, does."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from claire.adapters.config import Settings
from claire.adapters.venues.mexc.items import FeedAlert
from claire.drill.host import Host
from claire.engine.pipeline import Pipeline
from claire.gateway.signer import Keys
from claire.services.keeping import RunResult
from claire.services.live import run_live
from claire.services.mexc import Universe, open_mexc


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

    async with open_mexc(
        life.settings, Universe(), keys=life.keys, on_alert=life.alert, machine=host.machine
    ) as opened:
        return await run_live(
            life.settings,
            opened.market,
            opened.feed,
            runs_dir=life.runs_dir,
            mode=life.settings.mode.value,
            venue=opened.venue,
            now_ns=opened.now_ns,
            counters=opened.counters,
            on_progress=see,
            on_alert=life.alert,
            should_stop=life.is_over,
            run_id=life.run_id,
            machine=host.machine,
        )
