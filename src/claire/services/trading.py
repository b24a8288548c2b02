"""One live run on MEXC's protocol from its account's lock to its summary: what `claire run` does, and what a drill does."""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from claire.adapters.config.schema import Mode, Settings
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc.items import FeedAlert
from claire.engine.pipeline import Pipeline
from claire.engine.ports import Recorder
from claire.gateway.signer import Keys
from claire.services.account import ACCOUNTS, no_account, opened_account
from claire.services.beginning import fresh
from claire.services.guarding import guarded
from claire.services.keeping import RunResult, new_run_id
from claire.services.live import run_live
from claire.services.mexc import OpenMexc, Universe, open_mexc
from claire.services.recovery import GoOn, continued


class Watching(Struct, frozen=True):
    """Who looks on."""

    observers: Sequence[Recorder] = ()
    on_account: Callable[[Path], None] | None = None
    """Called with the folder of the account that is traded, where there is one outside."""
    on_open: Callable[[OpenMexc], None] | None = None
    on_progress: Callable[[Pipeline], None] | None = None
    on_alert: Callable[[FeedAlert], None] | None = None


async def trade_live(
    settings: Settings,
    universe: Universe,
    *,
    runs_dir: Path,
    accounts_dir: Path | None = None,
    run_id: str = "",
    keys: Keys | None = None,
    starts_anew: bool = False,
    go_on: GoOn | None = None,
    duration_s: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    watching: Watching | None = None,
    machine: Machine = THIS_MACHINE,
    snapshot_s: float | None = None,
    sentinel_port: int | None = None,
) -> RunResult:
    """Trade until the end of `duration_s`, until asked to stop, or until something fails.

    Args:
        settings: The effective configuration; of a run that is gone on with, see `recovery.settings_of`.
        universe: Which symbols, where the strategies do not say.
        runs_dir: The folder of runs.
        accounts_dir: Where lies what outlives the runs of an account; None: in the folder of runs.
        starts_anew: Leave to its owner what an earlier run of the account left at the venue.
        run_id: Name of a new run; empty: after the time.
        keys: Of the account; None in ``testnet``: read from `secrets.path`.
        go_on: The run to go on with, and how; None: a new one.
        duration_s: Longest time to run, in seconds of the clock.
        should_stop: Asked now and then; the run then ends in order.
        watching: Who looks on.
        machine: The computer that this process runs on.
        snapshot_s: How often the pipeline's state is saved; 0: never; None: as `settings` say.
        sentinel_port: Of the door of the account's sentinel; 0: a free one; None: no sentinel is started.

    Raises:
        SafetyRefusal: another process trades the account, or an earlier run left something behind.
        ClaireError: something that the run needs is refused or not there.
    """
    watching = watching or Watching()
    run_id = go_on.run_dir.name if go_on is not None else run_id or new_run_id(runs_dir)
    is_outside = settings.mode is Mode.TESTNET
    opening_account = (
        opened_account(
            (accounts_dir or runs_dir / ACCOUNTS) / settings.account.id,
            runs_dir,
            run_id,
            starts_anew=starts_anew,
            disk=machine.disk,
            step=machine.step,
        )
        if is_outside
        else no_account()
    )
    with opening_account as account:
        if watching.on_account is not None and account.folder is not None:
            watching.on_account(account.folder)
        async with (
            open_mexc(
                settings,
                universe,
                keys=keys,
                on_alert=watching.on_alert,
                machine=machine,
                account=account,
                run_id=run_id,
                goes_on=go_on is not None,
            ) as opened,
            guarded(account, opened.market.info.symbols, settings, opened.keys, sentinel_port) as guard,
        ):
            if watching.on_open is not None:
                watching.on_open(opened)
            if go_on is None:
                opening = fresh(
                    settings,
                    opened.market,
                    runs_dir=runs_dir,
                    venue=opened.venue,
                    observers=watching.observers,
                    run_id=run_id,
                    machine=machine,
                )
            else:
                opening = continued(
                    go_on,
                    settings,
                    market=opened.market,
                    now_ns=opened.now_ns,
                    venue=opened.venue,
                    epoch=account.epoch,
                    observers=watching.observers,
                    disk=machine.disk,
                    step=machine.step,
                )
            if opened.outside is not None and guard is not None:
                opened.outside.ears.before_send = guard.sends
            result = await run_live(
                account.noted(opening),
                opened.feed,
                outside=opened.outside,
                guard=guard,
                now_ns=opened.now_ns,
                machine=machine,
                snapshot_s=float(settings.journal.snapshot_s) if snapshot_s is None else snapshot_s,
                go_on=go_on,
                duration_s=duration_s,
                counters=opened.counters,
                on_progress=watching.on_progress,
                on_alert=watching.on_alert,
                should_stop=should_stop,
            )
            account.ended(result.summary)
            return result
