"""The beginning of a live run: its directory opened, its pipeline built, before anything has come."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from claire.adapters.config.schema import Settings
from claire.adapters.journal.entries import External, Resumed
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.store.ledger import LedgerCursor
from claire.adapters.venues.mexc.restored import Restored
from claire.engine.ports import Recorder, Venue
from claire.services.assembly import PAPER_VENUE, Assembly, assemble
from claire.services.feeding import LiveMarket, awaits_history
from claire.services.keeping import Keeping, keeping, new_run_id


class Begun(Struct):
    """An open run, ready for its next event."""

    kept: Keeping
    assembly: Assembly
    market: LiveMarket
    settings: Settings
    recorders: tuple[Recorder, ...]
    """Who is told of what is decided from now on."""
    orders: tuple[Restored, ...] = ()
    """Of an earlier process of the run: what the venue has to be asked about, and what it may still tell of."""
    externals: tuple[External, ...] = ()
    """Coins of the account that are not Claire's, as an earlier process of the run kept it."""
    continued: int = 0
    """How many times the run was gone on with, this one included."""
    resumed: Resumed | None = None
    """To be journalled before anything else comes, where the run is gone on with."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read back: an end that was cut off, a snapshot that could not be used."""


class Saved(Struct):
    """A state snapshot: what a process needs to go on behind it."""

    pipeline: bytes
    """Of `engine.saving`."""
    decoder: Any
    ledger: LedgerCursor
    settings_json: str


@contextmanager
def fresh(
    settings: Settings,
    market: LiveMarket,
    *,
    runs_dir: Path,
    venue: Venue | None = None,
    observers: Sequence[Recorder] = (),
    run_id: str = "",
    machine: Machine = THIS_MACHINE,
) -> Iterator[Begun]:
    """Open a new run.

    Args:
        settings: The effective configuration.
        market: The rules of every symbol, and what is known of the feed.
        runs_dir: Where the run directory is made.
        venue: Where orders go; None: the paper venue.
        observers: Further recorders, such as a screen.
        run_id: Its name; empty: a new one, from the time.
        machine: The computer that this process runs on.

    Raises:
        ClaireError: the configuration does not fit the market, or the directory cannot be written.
    """
    run_id = run_id or new_run_id(runs_dir)
    traded = assemble(settings, market, run_id=run_id, venue=venue).symbols
    with keeping(
        settings,
        market.info,
        market.instruments,
        traded,
        run_id=run_id,
        runs_dir=runs_dir,
        mode=settings.mode.value,
        venue=PAPER_VENUE if venue is None else market.info.venue,
        embeds_inputs=True,
        in_batches=False,
        machine=machine,
    ) as kept:
        assembly = assemble(settings, market, run_id=run_id, venue=venue)
        recorders: tuple[Recorder, ...] = (assembly.tally, kept.journal, kept.ledger, *observers)
        kept.ledger.postings(assembly.opening)
        if awaits_history(market.info):
            for symbol in assembly.symbols:
                assembly.pipeline.stages.signals.await_history(symbol)
        assembly.pipeline.record_to(recorders)
        yield Begun(kept, assembly, market, settings, recorders)
