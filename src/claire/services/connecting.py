"""Connects a live run with a venue outside, so that nothing is traded before both sides agree on what there is."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from claire.adapters.venues.mexc.restored import RECONCILIATION
from claire.engine.externals import ExternalMove, Externals, MoveKind
from claire.engine.pipeline import Pipeline
from claire.model.decisions import TradingState
from claire.model.money import decimal_of, units_of
from claire.services.adjusting import external_of
from claire.services.assembly import client_prefix
from claire.services.beginning import Begun
from claire.services.outside import Outside
from claire.services.ownrecord import OwnRecord
from claire.services.reconciliation import Pace, Reconciliation
from claire.services.recovery import GoOn

if TYPE_CHECKING:
    from claire.services.live import LiveRun

MS: Final = 1_000_000

COMPARE_S: Final = 60.0
"""How long a start may take to compare the books with the venue's."""


async def connect(
    stack: AsyncExitStack, outside: Outside, begun: Begun, run: "LiveRun", go_on: GoOn | None
) -> Reconciliation:
    """Let venue and run hear each other; settle what is open from before; compare the books, and go on comparing.

    Args:
        stack: Closes what is opened here.
        outside: The venue.
        begun: The run.
        run: The same, alive.
        go_on: What an operator says about it.

    Raises:
        ClaireError: the venue did not say what is there.
    """
    pipeline, since_ms = run.pipeline, run.pipeline.now_ns // MS
    venue = outside.venue
    fence_ms = outside.fence_ms()
    venue.restore(begun.orders)
    run.resume(begun)
    outside.ears.keep_verdicts(begun.kept.journal)
    venue.listen(run.report)
    outside.ears.hear_locks(run.control)
    await stack.enter_async_context(venue)
    if begun.resumed is not None:
        await venue.recover(fence_ms)
        run.step("recover.resolved")
    reconciliation = _reconciliation(outside, begun, run, since_ms)
    outside.ears.hear_others(reconciliation)
    if go_on is not None:
        run.correct(go_on)
        for text in go_on.externals:
            reconciliation.declare(external_of(text, go_on.operator, go_on.reason, outside.now_ms() * MS))
    outside.gate.seed(held(pipeline))  # now that late executions and corrections are in it
    await reconciliation.settle(COMPARE_S)
    task = asyncio.create_task(reconciliation.run(), name="reconciliation")
    stack.push_async_callback(_end, task)
    return reconciliation


def held(pipeline: Pipeline) -> dict[str, Decimal]:
    """Return what strategies hold, in base by symbol, also where that is nothing: what the gate lets be sold."""
    books = pipeline.stages.portfolio.state.books
    found = dict.fromkeys(books.instruments, Decimal(0))
    for (_, symbol), position in books.positions.items():
        found[symbol] += decimal_of(position.base_units)
    return found


def _reconciliation(outside: Outside, begun: Begun, run: "LiveRun", since_ms: int) -> Reconciliation:
    record = OwnRecord()
    record.attach(run.pipeline)
    run.pipeline.record_to((*begun.recorders, record))
    lock = run.pipeline.stages.risk.state.locks.get(RECONCILIATION)
    pace = begun.settings.reconciliation
    moves = (
        ExternalMove(MoveKind(entry.kind), entry.asset, units_of(Decimal(entry.amount)), entry.evidence_id, entry.ts_ns)
        for entry in begun.externals
    )
    return Reconciliation(
        record,
        outside.venue,
        symbols=begun.assembly.symbols,
        prefix=client_prefix(begun.kept.run_id),
        now_ms=outside.now_ms,
        on_lock=run.control,
        on_external=run.external,
        on_note=run.note,
        look=outside.venue.look,
        externals=Externals.restored(moves),
        since_ms=since_ms,
        pace=Pace(float(pace.open_orders_s), float(pace.fills_s), float(pace.balances_s)),
        halted=lock.reason if lock is not None and lock.state is TradingState.HALTED else "",
        locked=lock is not None and lock.state is TradingState.REDUCE_ONLY,
    )


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
