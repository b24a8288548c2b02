"""A run goes on with other settings: what is kept, what is new, and what becomes of positions whose strategy is gone.

Every position has an owner. Where its strategy is not configured any more, or with other parameters, somebody has to say who
watches it: another strategy adopts it, or it is only got out of, by the exits that it had.
"""

from collections.abc import Sequence
from typing import Final

from claire.adapters.config import parameters
from claire.adapters.config.schema import Settings
from claire.engine.pipeline import Stages
from claire.model.errors import SafetyRefusal, did_you_mean
from claire.services.assembly import Assembly, assemble
from claire.stages.signal import Desk

REDUCE_ONLY: Final = "-reduce-only"
"""As `Resumed.orphans`: such positions are only got out of. No strategy can be called so."""

Owner = tuple[str, str]
"""Strategy id and symbol."""


def refuse_orphans(assembly: Assembly, settings: Settings, orphans: str) -> None:
    """Refuse to go on where nobody would watch a position.

    Args:
        assembly: The pipeline as it stands.
        settings: What it is to go on with.
        orphans: As `Resumed.orphans`.

    Raises:
        SafetyRefusal: a position would have no owner, the one named cannot be it, or an order of it is still on its way.
    """
    desks = {(desk.strategy_id, desk.instrument.symbol): desk for desk in _fresh(assembly, settings)}
    kept = _kept(assembly, settings, desks)
    for owner in assembly.pipeline.owners:
        strategy_id, symbol = owner
        if owner in kept:
            continue
        if not orphans:
            raise SafetyRefusal(
                f"{strategy_id} owns {symbol}, and the settings given have no such strategy with the parameters that it was"
                f" opened by. Nothing was started.\nLet another strategy watch it: --adopt ID. Or only get out of it, by the"
                f" exits that it had: --reduce-only-orphans. Or go on with the settings of before: leave out --config"
            )
        if orphans != REDUCE_ONLY and (orphans, symbol) not in desks:
            ids = [strategy.id for strategy in settings.strategy]
            raise SafetyRefusal(
                f"--adopt {orphans}: no such strategy trades {symbol}, which {strategy_id} owns."
                f"{did_you_mean(orphans, ids)} Configured: {', '.join(ids)}"
            )
    for order in assembly.pipeline.stages.execution.live:
        owner = (order.strategy_id, order.symbol)
        if owner in desks and owner not in kept:
            raise SafetyRefusal(
                f"order {order.order_no} of {order.strategy_id} for {order.symbol} is not finished, so its parameters cannot be"
                f" changed. Go on with the settings of before until it is, end the run, then change them"
            )


def change(assembly: Assembly, settings: Settings, orphans: str, operator: str, reason: str, now_ns: int) -> None:
    """Let a pipeline go on with other settings. Books, orders, candles, regimes and unchanged strategies stay as they are.

    Raises:
        SafetyRefusal: see `refuse_orphans`, which is asked before anything is put on record.
    """
    pipeline = assembly.pipeline
    fresh = assemble(settings, assembly.market, run_id=assembly.run_id, venue=pipeline.venue).pipeline.stages
    old, signals = pipeline.stages, pipeline.stages.signals
    desks = {(desk.strategy_id, desk.instrument.symbol): desk for desk in fresh.signals.desks}
    kept = _kept(assembly, settings, desks)
    seats = [kept.get(owner, desk) for owner, desk in desks.items()]
    gone = [desk for desk in signals.desks if _owner(desk) not in desks]
    for desk in gone:
        desk.orphan()
    replaced = {_owner(desk): desk for desk in signals.desks if _owner(desk) in desks and _owner(desk) not in kept}
    signals.reseat([*seats, *gone])
    fresh.risk.take_over(old.risk.state)
    for symbol in dict.fromkeys(desk.instrument.symbol for desk in seats):
        fresh.risk.state.fractions.setdefault(symbol, old.allocations.initial(symbol))
    old.allocations.rules, old.regimes.rules = fresh.allocations.rules, fresh.regimes.rules
    pipeline.replace(
        Stages(
            candles=old.candles,
            regimes=old.regimes,
            allocations=old.allocations,
            signals=signals,
            risk=fresh.risk,
            execution=old.execution,
            portfolio=old.portfolio,
        )
    )
    for owner, desk in replaced.items():
        if not desk.position.is_flat:
            if orphans == REDUCE_ONLY:
                desk.orphan()
                signals.reseat([desk if _owner(seat) == owner else seat for seat in signals.desks])
            else:
                signals.desk_of(*owner).take_over(desk.position)
    for strategy_id, symbol in pipeline.owners:
        is_orphan = (strategy_id, symbol) not in desks
        if is_orphan and orphans != REDUCE_ONLY:
            pipeline.adopt(strategy_id, orphans, symbol, operator=operator, reason=reason, now_ns=now_ns)
    assembly.settings = settings
    assembly.symbols = tuple(dict.fromkeys(desk.instrument.symbol for desk in signals.desks))


def _fresh(assembly: Assembly, settings: Settings) -> Sequence[Desk]:
    return assemble(
        settings, assembly.market, run_id=assembly.run_id, venue=assembly.pipeline.venue
    ).pipeline.stages.signals.desks


def _kept(assembly: Assembly, settings: Settings, desks: dict[Owner, Desk]) -> dict[Owner, Desk]:
    """Return the desks that stay: same strategy, same kind, same parameters."""
    same = {
        strategy.id
        for strategy in settings.strategy
        for before in assembly.settings.strategy
        if (strategy.id, strategy.kind) == (before.id, before.kind)
        and parameters(settings, strategy.id) == parameters(assembly.settings, strategy.id)
    }
    return {
        _owner(desk): desk
        for desk in assembly.pipeline.stages.signals.desks
        if desk.strategy_id in same and _owner(desk) in desks
    }


def _owner(desk: Desk) -> Owner:
    return desk.strategy_id, desk.instrument.symbol
