"""Drives a stage the way the engine does: every timer due at or before a trade fires before it, in order of (due, id)."""

from collections.abc import Iterable
from heapq import heappop, heappush

from claire.model.decisions import SetTimer
from claire.model.market import Candle, Timer, Trade
from claire.stages.candles import Candles


def closed_candles(stage: Candles, trades: Iterable[Trade], *, with_timers: bool) -> list[Candle]:
    """Return the candles that close while the trades pass, in order; without timers only trades close them."""
    closed: list[Candle] = []
    timers: list[tuple[int, str]] = []

    def keep(caused: Iterable[Candle | SetTimer]) -> None:
        for event in caused:
            if isinstance(event, Candle):
                closed.append(event)
            elif with_timers:
                heappush(timers, (event.due_ns, event.id))

    for trade in trades:
        while timers and timers[0][0] <= trade.ts_event_ns:
            keep(stage.on_timer(Timer(*heappop(timers))))
        keep(stage.on_trade(trade))
    return closed
