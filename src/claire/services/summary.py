"""What a run says at its end, for people and (`--json`) for machines."""

import resource
import sys
from collections.abc import Mapping, Sequence

from msgspec import Struct

from claire.engine.pipeline import Pipeline
from claire.engine.ports import SourceInfo
from claire.engine.tally import Tally
from claire.model.books import Books
from claire.model.money import decimal_text

PUBLIC_COUNTERS = ("decoded_messages_total", "decode_errors_total", "ws_connected", "last_message_ts_ms")
"""Counters of a feed that have a name of their own in the summary."""


class LatchLine(Struct, frozen=True):
    """A lock of the trading state that was set in a run."""

    source: str
    state: str
    reason: str
    begin_ms: int
    """Market time, Unix milliseconds."""
    end_ms: int
    """0: it holds still."""
    length_s: float
    """Until its end, or until the end of the run."""
    signals_lost: int
    """Entries that it denied."""
    symbol: str = ""
    """The lock held for this symbol alone; empty: for all."""
    strategy_id: str = ""


class Summary(Struct, frozen=True):
    """The result of a run. Counts are integers, money is decimal text, rates are numbers."""

    run_id: str
    mode: str
    strategies: list[str]
    symbols: list[str]
    risk_profile: str
    """``default`` or ``unlimited``; an unlimited result says nothing about trading within limits."""
    source: SourceInfo
    market_events: int
    """Market events taken: trades, and books where there are any."""
    trades_in: int
    signals: int
    suppressed: dict[str, int]
    """Reason → trades that brought no signal, over all strategies."""
    intents: int
    denials: dict[str, int]
    orders: int
    order_states: dict[str, int]
    """Orders by the last state that they reached."""
    fills: int
    round_trips: int
    round_trips_won: int
    open_positions: int
    currency: str
    start_equity: str
    final_equity: str
    """Positions still open are valued at the last price."""
    realised_pnl: str
    unrealised_pnl: str
    fees_paid: str
    """In `currency`, fees in other assets as they were valued when booked."""
    slippage: str
    """In `currency`: paid beyond the decision prices."""
    dust: dict[str, str]
    """Asset → quantity too small to sell; part of equity."""
    max_drawdown_pct: float
    decision_digest: str
    decisions: int
    candles: int
    market_s: float
    """Market time covered, in seconds."""
    elapsed_s: float
    """Without loading and reading; of the last process only, as the next two, `warnings` about a feed, and `feed` are."""
    trades_per_s: float
    peak_rss_mb: float
    interrupted: bool = False
    warnings: list[str] = []
    latches: list[LatchLine] = []
    """Locks of the trading state, in the order of setting; of very many the last thousand."""
    decoded_messages_total: int = 0
    """Frames of a live feed that were understood; this and what follows are 0 where the market was not live."""
    decode_errors_total: int = 0
    ws_connected: int = 0
    """Connections that were open at the end."""
    last_message_ts_ms: int = 0
    feed: dict[str, int] = {}
    """Everything that was counted on a live feed."""
    continued: int = 0
    """How many times the run was gone on with; counts, money and digest are of the whole run all the same."""


def summarise(
    *,
    run_id: str,
    mode: str,
    risk_profile: str,
    source: SourceInfo,
    pipeline: Pipeline,
    tally: Tally,
    elapsed_s: float,
    interrupted: bool,
    feed: Mapping[str, int] | None = None,
    warnings: Sequence[str] = (),
    continued: int = 0,
    trades_before: int = 0,
) -> Summary:
    """Gather the result of a run from the pipeline's state and its tally.

    Args:
        run_id: The run.
        mode: What it traded with.
        risk_profile: The limits that it had.
        source: The market.
        pipeline: With all that it remembers, from the run's start.
        tally: Of all decisions of the run.
        elapsed_s: Seconds that this process took.
        interrupted: Somebody ended it.
        feed: What this process counted on a live feed.
        warnings: What this process told a person.
        continued: How many times the run was gone on with.
        trades_before: Trades that other processes of the run had taken.
    """
    desks = pipeline.stages.signals.desks
    suppressed: dict[str, int] = {}
    for desk in desks:
        for reason, count in desk.suppressed.items():
            suppressed[reason] = suppressed.get(reason, 0) + count
    portfolio = pipeline.stages.portfolio
    books = portfolio.state.books
    return Summary(
        run_id=run_id,
        mode=mode,
        strategies=list(dict.fromkeys(desk.strategy_id for desk in desks)),
        symbols=sorted(pipeline.stages.signals.by_symbol),
        risk_profile=risk_profile,
        source=source,
        market_events=pipeline.market_events,
        trades_in=pipeline.trades_in,
        signals=tally.signals,
        suppressed=suppressed,
        intents=tally.intents,
        denials=dict(sorted(tally.denials.items())),
        orders=tally.intents,
        order_states={state: count for state, count in sorted(tally.orders.items()) if count},
        fills=tally.fills,
        round_trips=portfolio.state.round_trips,
        round_trips_won=portfolio.state.won,
        open_positions=len(books.positions),
        currency=books.currency,
        start_equity=decimal_text(portfolio.state.start_units),
        final_equity=decimal_text(books.equity_units),
        realised_pnl=decimal_text(books.realised_units),
        unrealised_pnl=decimal_text(books.unrealised_units),
        fees_paid=decimal_text(books.fee_units),
        slippage=decimal_text(tally.slippage_units),
        dust=_dust(books),
        max_drawdown_pct=portfolio.max_drawdown_pct,
        decision_digest=tally.digest,
        decisions=tally.decisions,
        candles=pipeline.candles,
        market_s=max(0.0, (pipeline.now_ns - pipeline.first_ns) / 1e9),
        elapsed_s=elapsed_s,
        trades_per_s=(pipeline.trades_in - trades_before) / elapsed_s if elapsed_s > 0 else 0.0,
        peak_rss_mb=peak_rss_mb(),
        interrupted=interrupted,
        warnings=[*source.warnings, *warnings],
        latches=_latches(pipeline),
        feed=dict(feed or {}),
        continued=continued,
        **{name: feed[name] for name in PUBLIC_COUNTERS} if feed else {},
    )


def peak_rss_mb() -> float:
    """Return the largest resident memory that this process has had, in MB (10⁶ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1 if sys.platform == "darwin" else 1024) / 1e6


def _latches(pipeline: Pipeline) -> list[LatchLine]:
    return [
        LatchLine(
            source=one.source,
            state=one.state.value,
            reason=one.reason,
            begin_ms=one.since_ns // 1_000_000,
            end_ms=one.ended_ns // 1_000_000,
            length_s=((one.ended_ns or max(one.since_ns, pipeline.now_ns)) - one.since_ns) / 1e9,
            signals_lost=one.signals_lost,
            symbol=one.symbol,
            strategy_id=one.strategy_id,
        )
        for one in pipeline.stages.risk.state.latched
    ]


def _dust(books: Books) -> dict[str, str]:
    held: dict[str, int] = {}
    for symbol, dust in sorted(books.dust.items()):
        base = books.instruments[symbol].base
        held[base] = held.get(base, 0) + dust.base_units
    return {asset: decimal_text(units) for asset, units in held.items() if units}
