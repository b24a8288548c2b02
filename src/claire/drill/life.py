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
from claire.services.mexc import Universe
from claire.services.recovery import GoOn, header_of, is_begun, settings_of
from claire.services.trading import Watching, trade_live


class Life(Struct):
    """What all lives of a seed have in common."""

    settings: Settings
    keys: Keys
    runs_dir: Path
    is_over: Callable[[], bool]
    see: Callable[[Pipeline, Path], None]
    alert: Callable[[FeedAlert], None]
    runs: int = 0
    """How many runs were started."""

    def run_dir(self) -> Path:
        """Of the run that is traded now; the name of one that never began is not used again."""
        return self.runs_dir / f"20260921-1426-d{self.runs:02d}"


async def live_once(host: Host, life: Life) -> RunResult:
    """Run Claire until it is told to stop, stops by itself, or the power goes; go on where the life before began a run.

    Raises:
        ClaireError: it refused to start, or stopped.
    """
    if life.runs and is_begun(life.run_dir()):
        run_dir = life.run_dir()
        go_on: GoOn | None = GoOn(run_dir)
        settings = settings_of(run_dir, None, ())
        universe = Universe(symbols=header_of(run_dir).source.symbols)
    else:
        life.runs += 1
        go_on, settings, universe, run_dir = None, life.settings, Universe(), life.run_dir()

    seen: Pipeline | None = None

    def see(pipeline: Pipeline) -> None:
        nonlocal seen
        if pipeline is not seen:
            seen = pipeline
            life.see(pipeline, run_dir)

    return await trade_live(
        settings,
        universe,
        runs_dir=life.runs_dir,
        run_id=run_dir.name,
        keys=life.keys,
        go_on=go_on,
        should_stop=life.is_over,
        watching=Watching(on_progress=see, on_alert=life.alert),
        machine=host.machine,
    )
