"""Small markets and what a pipeline needs to trade them: instruments, trades, books, a source, an assembled run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

from msgspec import structs

from claire.adapters.config import Settings, load
from claire.engine.ports import Recorder, SourceInfo
from claire.model.books import Books, PortfolioSnapshot, Position
from claire.model.decisions import Fill, OrderEvent, Signal
from claire.model.instrument import Instrument
from claire.model.market import Mark, MarketEvent, Side, Trade
from claire.model.money import units_of
from claire.model.orders import OrderState
from claire.services.assembly import Assembly, assemble
from claire.stages.risk import RiskRules

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
T0: Final = 1_730_000_000 * SECOND_NS // DAY_NS * DAY_NS + 3_600 * SECOND_NS
"""One o'clock UTC of a day in 2024."""

SYMBOL: Final = "ABCUSDT"


def rules(
    symbol: str = SYMBOL, tick: str = "0.01", lot: str = "0.01", min_notional: str = "0", **more: Any
) -> Instrument:
    """An instrument; by default a lot is worth 1 USDT at 10,000 ticks (100 USDT)."""
    return Instrument.checked(symbol, Decimal(tick), Decimal(lot), min_notional=Decimal(min_notional), **more)


ABC: Final = rules()


def trade(at_s: float, ticks: int, lots: int = 100, side: Side = Side.BUY, symbol: str = SYMBOL, **more: Any) -> Trade:
    """A public trade so many seconds after `T0`."""
    return Trade(symbol, T0 + round(at_s * SECOND_NS), ticks, lots, side, **more)


def fill(side: Side, ticks: int, lots: int, at_s: float = 0, order_no: int = 1, **more: Any) -> Fill:
    """One execution of ours, free of charge unless told otherwise."""
    values: dict[str, Any] = {
        "order_no": order_no,
        "strategy_id": "s",
        "symbol": SYMBOL,
        "fee": Decimal(0),
        "fee_asset": "USDT",
        "fee_value": Decimal(0),
        "is_maker": False,
        "reduce_only": side is Side.SELL,
        "ts_event_ns": T0 + round(at_s * SECOND_NS),
    }
    return Fill(side=side, price_ticks=ticks, quantity_lots=lots, **values | more)


def order(
    side: Side, state: OrderState, lots: int = 100, filled: int = 0, at_s: float = 0, order_no: int = 1, **more: Any
) -> OrderEvent:
    """An order reached a state."""
    values: dict[str, Any] = {"strategy_id": "s", "symbol": SYMBOL, "reduce_only": side is Side.SELL}
    ts = T0 + round(at_s * SECOND_NS)
    return OrderEvent(
        order_no=order_no,
        side=side,
        state=state,
        quantity_lots=lots,
        filled_lots=filled,
        ts_event_ns=ts,
        **values | more,
    )


def signal(side: Side, ticks: int, at_s: float = 0, signal_no: int = 1, **more: Any) -> Signal:
    """A wish of strategy ``s``."""
    values: dict[str, Any] = {"strategy_id": "s", "symbol": SYMBOL, "reason": "entry" if side is Side.BUY else "exit"}
    ts = T0 + round(at_s * SECOND_NS)
    return Signal(signal_no=signal_no, side=side, ts_event_ns=ts, price_ticks=ticks, **values | more)


def books(
    capital: str = "1000", instruments: Sequence[Instrument] = (ABC,), marks: Mapping[str, int] | None = None
) -> Books:
    """Books that hold so much USDT; every symbol is marked at 10,000 ticks unless told otherwise."""
    prices = {instrument.symbol: 10_000 for instrument in instruments} | dict(marks or {})
    made = Books("USDT", {i.symbol: i for i in instruments}, {s: Mark(p, T0) for s, p in prices.items()})
    made.transfer(units_of(capital), T0)
    return made


class ListSource:
    """A market source over a list of events; `batch` events at a time."""

    def __init__(self, events: Iterable[MarketEvent], instruments: Sequence[Instrument] = (ABC,), batch: int = 0):
        self.events = list(events)
        self.batch = batch or len(self.events) or 1
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        times = [event.ts_event_ns for event in self.events] or [0]
        has_book = any(not isinstance(event, Trade) for event in self.events)
        self.info = SourceInfo(
            kind="synthetic",
            symbols=tuple(self.instruments),
            rows=len(self.events),
            first_ns=times[0],
            last_ns=times[-1],
            has_book=has_book,
        )

    def batches(self) -> Iterator[list[MarketEvent]]:
        for start in range(0, len(self.events), self.batch):
            yield self.events[start : start + self.batch]


PLAIN: Final = (
    "paper.latency_ms=0",
    "fees.asset=quote",
    "paper.slippage_ticks=1",
    "risk.profile=unlimited",
    "allocation.mode=full",
)
"""The market and the limits that a reference of thirty lines can follow."""


OFTEN: Final = (
    "risk.cooldown_s=0",
    "risk.stop_guard_exits=20",
    "risk.stop_guard_min=5",
    "risk.duplicate_window_ms=1000",
    "risk.max_entries_per_min=10",
    "risk.max_entries_per_h=60",
    "risk.max_entries_per_day=300",
    "risk.max_orders_per_s=10",
    "risk.max_orders_per_min=100",
    "risk.max_orders_per_day=2000",
)
"""The controls of how often something is done, as wide as their ceilings allow: for tests of something else."""


def at_any_pace(limits: RiskRules) -> RiskRules:
    """The same limits without those of how often something is done, which have ceilings: for tests of something else."""
    wide = dict.fromkeys(("max_entries_per_min", "max_entries_per_h", "max_entries_per_day"), 10**6)
    wide |= dict.fromkeys(("max_orders_per_s", "max_orders_per_min", "max_orders_per_day"), 10**6)
    wide |= dict.fromkeys(("stop_guard_exits", "max_rejects_in_row", "max_rejects_per_5_min"), 10**6)
    return structs.replace(limits, cooldown_s=0, duplicate_window_ms=0, **wide)


@cache
def settings(*assignments: str, symbols: tuple[str, ...] = (SYMBOL,), strategy: str = "momentum") -> Settings:
    """The configuration of a backtest with these assignments, and nothing from outside."""
    loaded = load(assignments=assignments, symbols=symbols, strategy=strategy, mode="backtest", environ={})
    return loaded.settings


def run(
    source: Any,
    *assignments: str,
    strategy: str = "momentum",
    symbols: tuple[str, ...] | None = None,
    recorders: Sequence[Recorder] = (),
    records_inputs: bool = False,
) -> Assembly:
    """Assemble a pipeline over a source and feed it every event."""
    chosen = settings(*assignments, symbols=symbols or tuple(source.instruments), strategy=strategy)
    assembly = assemble(chosen, source, recorders, records_inputs=records_inputs)
    for batch in source.batches():
        for event in batch:
            assembly.pipeline.feed(event)
    assembly.pipeline.flush()
    return assembly


class Listening:
    """A recorder that keeps everything it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.decided_at: list[tuple[int, Any]] = []
        self.numbered: list[tuple[int, Any]] = []

    def inputs(self, first_no: int, events: Sequence[Any]) -> None:
        self.numbered.extend(enumerate(events, first_no))

    def decided(self, input_no: int, event: Any) -> None:
        self.heard.append(event)
        self.decided_at.append((input_no, event))

    def candle(self, candle: Any) -> None:
        self.heard.append(candle)

    def postings(self, postings: Sequence[Any]) -> None:
        self.heard.extend(postings)

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        self.heard.append(snapshot)

    def of(self, kind: type) -> list[Any]:
        """What was heard of one kind."""
        return [event for event in self.heard if isinstance(event, kind)]
