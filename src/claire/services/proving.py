"""Proof that the books of an account are right, while nothing can be sent: what arming it again after a kill rests on.

The account's last run is opened as by ``claire run --continue``, behind a latch that is closed: its orders that were on their way
are looked for, what was missed is booked, and orders, executions and balances are compared with the venue's. Then the run ends in
order again. It sees no market and enters nothing, and what would be due by the clock meets the closed gate.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from claire.adapters.config.schema import Mode, Settings
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc.restored import UNKNOWN_ORDERS, VENUE_ORDERS
from claire.gateway.signer import Keys
from claire.latch.epoch import EPOCH
from claire.latch.page import PageLatch
from claire.model.decisions import TradingState
from claire.model.errors import SafetyRefusal, UsageError
from claire.services.account import LastRun, OpenAccount, last_run
from claire.services.connecting import COMPARE_S, connect
from claire.services.guarding import KILL_SWITCH
from claire.services.live import SETTLE_S, LiveRun
from claire.services.mexc import Universe, open_mexc
from claire.services.recovery import GoOn, continued, header_of, is_begun
from claire.services.summary import summarise


def run_to_prove(folder: Path, runs_dir: Path) -> tuple[LastRun, Path] | None:
    """Return the run whose books have to be right before an account is armed; None: no run of it ever began.

    Raises:
        SafetyRefusal: it left something behind, and its directory is gone; or nobody knows which run it was.
    """
    last = last_run(folder)
    if last is None:
        return None
    run_dir = runs_dir / last.run_id
    if not run_dir.exists():
        if not last.left:
            return None
        raise SafetyRefusal(
            f"account {folder.name}: run {last.run_id} left {last.left}, and its directory {run_dir} is gone, so there are no"
            " books to compare with the venue's. The account stays killed. Put the directory back and try again"
        )
    return (last, run_dir) if is_begun(run_dir) else None


async def prove(
    settings: Settings,
    go_on: GoOn,
    folder: Path,
    *,
    keys: Keys | None = None,
    machine: Machine = THIS_MACHINE,
) -> str:
    """Compare the books of a run with the venue's, and return in words what was found equal.

    The caller holds the account's lock (`latch.rearm.rearm` does), so nobody trades it meanwhile.

    Args:
        settings: What the run goes on with, see `recovery.settings_of`.
        go_on: The run, and what an operator says about it.
        folder: Of the account; its latch is closed.
        keys: Of the account; None: read from `secrets.path`.
        machine: The computer that this process runs on.

    Raises:
        SafetyRefusal: something differs; named one by one. Or the latch is open.
        ClaireError: the run cannot be opened, or the venue does not say what is there.
    """
    header = header_of(go_on.run_dir)
    if settings.mode is not Mode.TESTNET:
        raise UsageError(
            f"run {header.run_id} is one of mode {settings.mode}, which has no account at a venue; nothing is armed for it"
        )
    account = OpenAccount(folder, None, PageLatch(folder), machine.disk, header.run_id)
    why = _why_closed(account)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(
            open_mexc(
                settings,
                Universe(symbols=header.source.symbols),
                keys=keys,
                machine=machine,
                account=account,
                run_id=header.run_id,
                goes_on=True,
            )
        )
        outside = opened.outside
        if outside is None:
            raise AssertionError("mode testnet has a venue outside")
        opening = continued(
            go_on,
            settings,
            market=opened.market,
            now_ns=opened.now_ns,
            venue=opened.venue,
            epoch=_epoch(folder),
            disk=machine.disk,
            step=machine.step,
        )
        begun = stack.enter_context(account.noted(opening))
        pipeline = begun.assembly.pipeline
        run = LiveRun(pipeline, begun.kept, now_ns=opened.now_ns, step=machine.step)
        started = machine.monotonic_s()
        reconciliation = await connect(stack, outside, begun, run, go_on)
        run.control(KILL_SWITCH, TradingState.KILLED, why)
        run.release(go_on, reconciliation)
        await outside.venue.settle(SETTLE_S)
        differences = [mismatch.text for mismatch in await reconciliation.settle(COMPARE_S)]
        locks = pipeline.stages.risk.state.locks
        differences += [
            f"{source}: {locks[source].reason}" for source in (UNKNOWN_ORDERS, VENUE_ORDERS) if source in locks
        ]
        working = [number for number, order in pipeline.stages.execution.orders.items() if not order.life.is_terminal]
        pipeline.snapshot()
        books = pipeline.stages.portfolio.state.books
        summary = summarise(
            run_id=header.run_id,
            mode=settings.mode.value,
            risk_profile=settings.risk.profile.value,
            source=begun.market.info,
            pipeline=pipeline,
            tally=begun.assembly.tally,
            elapsed_s=machine.monotonic_s() - started,
            interrupted=False,
            warnings=[alert.text for alert in run.alerts],
        )
        begun.kept.finish(summary)
        account.ended(summary)
        _refuse(folder.name, go_on.run_dir.name, differences, working)
        orders = len(pipeline.stages.execution.orders)
        return (
            f"run {header.run_id}: {orders:,} orders, {summary.fills:,} executions and {len(books.positions)} positions on"
            f" record; {', '.join(reconciliation.counters.looks)} equal at the venue, no order open"
        )


def proof_of(prove_run: Callable[[LastRun, Path], str], folder: Path, runs_dir: Path) -> str:
    """Prove with the account's last run, where there is one; an account that nothing was ever begun for has no books.

    Raises:
        ClaireError: there is no proof.
    """
    found = run_to_prove(folder, runs_dir)
    return prove_run(*found) if found is not None else "no run of this account has anything on record"


def _why_closed(account: OpenAccount) -> str:
    """Return why nothing can be sent.

    Raises:
        SafetyRefusal: something could.
    """
    why = "" if account.latch is None else account.latch.why_closed()
    if not why:
        raise SafetyRefusal(f"{account.folder}: the latch is open; a proof is for an account that cannot send")
    return why


def _epoch(folder: Path) -> int:
    return int((folder / EPOCH).read_text())


def _refuse(account: str, run: str, differences: list[str], working: list[int]) -> None:
    """Refuse where the books are not right.

    Raises:
        SafetyRefusal: naming every difference.
    """
    if working:
        numbers = ", ".join(str(number) for number in working[:5])
        differences = [*differences, f"{len(working)} orders are not finished (number {numbers})"]
    if differences:
        listed = "".join(f"\n  {difference}" for difference in differences)
        raise SafetyRefusal(
            f"account {account} stays killed: the books of run {run} and the venue differ.{listed}\n"
            f"Orders that are open: claire sentinel --account {account} sweeps them. Amounts: look at the venue, then say what is"
            " right with --adjust (Claire's own) or --external (not Claire's). A lock of before that is settled: --release SOURCE"
        )
