"""Puts the embedded topology together: stages, paper venue and books for one configuration and one market source."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec
from msgspec import Struct

from claire.adapters.config import account_of, parameters
from claire.adapters.config.schema import BacktestRelease, Mode, RiskProfile, Settings, StrategySettings
from claire.adapters.venues.paper import PaperRules, PaperVenue
from claire.engine.pipeline import Pipeline, Stages
from claire.engine.ports import Recorder, SourceInfo, Venue
from claire.engine.tally import Tally
from claire.model.books import Books, Posting
from claire.model.errors import ConfigError, StrategyError, did_you_mean
from claire.model.instrument import Instrument
from claire.model.market import Mark
from claire.model.money import units_of
from claire.model.orders import OrderType
from claire.stages.allocation import AllocationMode, AllocationRules, Allocations
from claire.stages.candles import Candles
from claire.stages.execution import REMEMBER_NS, Execution
from claire.stages.portfolio import Portfolio
from claire.stages.regime import RegimeRules, Regimes
from claire.stages.risk import Identity, Risk, RiskRules
from claire.stages.risk_state import Release
from claire.stages.signal import Desk, Signals
from claire.strategies import load

PAPER_VENUE = "paper"


class Assembly(Struct):
    """One assembled pipeline, ready for its first event."""

    pipeline: Pipeline
    tally: Tally
    symbols: tuple[str, ...]
    """The symbols that strategies trade, in order of first mention."""
    opening: list[Posting]
    """The postings that put the capital into the books."""
    settings: Settings
    """What it was built from, or goes by now."""
    market: "Market"
    run_id: str


class Market(Protocol):
    """What is known of a market before its first event."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The rules of every symbol."""

    @property
    def info(self) -> SourceInfo:
        """Where the events come from."""


def assemble(
    settings: Settings,
    source: Market,
    recorders: Sequence[Recorder] = (),
    *,
    run_id: str = "",
    venue: Venue | None = None,
    records_inputs: bool = False,
) -> Assembly:
    """Build the pipeline that `settings` describe over `source`.

    Args:
        settings: The effective configuration.
        source: The market, as far as it is known before its first event.
        recorders: Who is told of what is decided.
        run_id: Names the client order ids.
        venue: Where orders go; the paper venue unless told otherwise.
        records_inputs: Tell the recorders of every input too.

    Raises:
        ConfigError: a strategy trades a symbol that the source does not hold, its quote asset is not the account's
            currency, or the account holds nothing of it.
    """
    instruments = source.instruments
    owners = [(strategy, symbols_of(strategy, instruments)) for strategy in settings.strategy]
    symbols = tuple(dict.fromkeys(symbol for _, traded in owners for symbol in traded))
    traded = {symbol: instruments[symbol] for symbol in symbols}
    account = account_of(settings, (instrument.quote for instrument in traded.values()))
    _check_quotes(traded, account.currency)
    marks = {symbol: Mark() for symbol in instruments}
    first_ns = source.info.first_ns
    portfolio_books, opening = _books(account.currency, account.capital, instruments, marks, first_ns)
    risk_books, _ = _books(account.currency, account.capital, instruments, marks, first_ns)
    allocations = Allocations(allocation_rules(settings))
    desks = [_desk(settings, strategy, instruments[symbol]) for strategy, traded in owners for symbol in traded]
    stages = Stages(
        candles=Candles(),
        regimes=Regimes(RegimeRules(high_vol_atr_pct=float(settings.regime.high_vol_atr_pct))),
        allocations=allocations,
        signals=Signals(desks),
        risk=Risk(
            risk_rules(settings, symbols),
            risk_books,
            Identity(settings.account.id, PAPER_VENUE if venue is None else "mexc", client_prefix(run_id)),
            {desk.strategy_id: desk.strategy.params.stop_loss_pct for desk in desks},
            {symbol: allocations.initial(symbol) for symbol in symbols},
        ),
        # what a venue outside says may come at any time; a recorded market's venue says everything in time
        execution=Execution(remember_ns=REMEMBER_NS if venue is None else None),
        portfolio=Portfolio(portfolio_books),
    )
    tally = Tally(instruments)
    pipeline = Pipeline(
        stages,
        venue or PaperVenue(instruments, _paper_rules(settings), settings.paper.balance),
        marks,
        (tally, *recorders),
        valuation_ns=settings.portfolio.valuation_s * 1_000_000_000,
        keeps_book=source.info.has_book,
        records_inputs=records_inputs,
    )
    return Assembly(pipeline, tally, symbols, opening, settings, source, run_id)


def client_prefix(run_id: str) -> str:
    """Return how the client order ids of a run begin: derived from its id, so that recovery knows them without a table."""
    return f"C{run_id.replace('-', '')}-"


def symbols_of(strategy: StrategySettings, instruments: Mapping[str, Instrument]) -> tuple[str, ...]:
    """Return what a strategy trades of a source: its symbols, or all of them where it names none.

    Raises:
        ConfigError: it names a symbol that the source does not hold.
    """
    for symbol in strategy.symbols:
        if symbol not in instruments:
            raise ConfigError(
                f"strategy {strategy.id} trades {symbol}, which the market source does not hold."
                f"{did_you_mean(symbol, instruments)} It holds: {', '.join(sorted(instruments))}."
            )
    return strategy.symbols or tuple(sorted(instruments))


def _desk(settings: Settings, strategy: StrategySettings, instrument: Instrument) -> Desk:
    kind = load(strategy.kind)
    params = msgspec.convert(parameters(settings, strategy.id), kind.Params)
    try:
        made = kind(params, instrument)
        return Desk(strategy.id, made, settings.risk.max_data_age_ms * 1_000_000)
    except (Exception, SystemExit) as e:
        raise StrategyError(
            f"strategy {strategy.id} ({strategy.kind}) cannot be set up for {instrument.symbol}: {type(e).__name__}: {e}"
            " (its __init__ has to call super().__init__(params, instrument) first)"
        ) from e


def _check_quotes(traded: Mapping[str, Instrument], currency: str) -> None:
    for instrument in traded.values():
        if instrument.quote != currency:
            raise ConfigError(
                f"{instrument.symbol} is quoted in {instrument.quote}, the account counts in {currency}."
                f" Trade symbols of one quote asset in one run, or set account.currency={instrument.quote}."
            )


def _books(
    currency: str, capital: Decimal, instruments: Mapping[str, Instrument], marks: Mapping[str, Mark], first_ns: int
) -> tuple[Books, list[Posting]]:
    books = Books(currency, instruments, marks)
    return books, books.transfer(units_of(capital), first_ns)


def allocation_rules(settings: Settings) -> AllocationRules:
    """Return the fraction of each regime that `settings` describe."""
    mode = AllocationMode(settings.allocation.mode.value)
    return AllocationRules(mode=mode, cooldown_h=settings.allocation.cooldown_h)


def risk_rules(settings: Settings, traded: Sequence[str] = ()) -> RiskRules:
    """Return the limits that `settings` describe.

    Args:
        settings: The effective configuration.
        traded: The symbols of the strategies; what of them may be entered follows. Empty: nothing is said about symbols.

    Raises:
        ConfigError: `risk.symbols` leaves nothing that may be entered.
    """
    risk = settings.risk
    symbols = tuple(symbol for symbol in traded if not risk.symbols or symbol in risk.symbols)
    if traded and not symbols:
        raise ConfigError(
            f"risk.symbols = {', '.join(risk.symbols)}: none of them is traded, so nothing could ever be entered."
            f" Traded: {', '.join(traded)}"
        )
    entry_type = OrderType(settings.execution.entry_type.value.upper())
    releases_by_day = settings.mode is Mode.BACKTEST and risk.backtest_release is BacktestRelease.NEXT_DAY
    return RiskRules(
        unlimited=risk.profile is RiskProfile.UNLIMITED,
        symbols=symbols,
        position_pct=risk.position_pct,
        max_order_pct=risk.max_order_pct,
        max_symbol_pct=risk.max_symbol_pct,
        max_gross_pct=risk.max_gross_pct,
        cash_reserve_pct=risk.cash_reserve_pct,
        max_open_orders=risk.max_open_orders,
        max_symbol_orders=risk.max_symbol_orders,
        max_daily_loss_pct=risk.max_daily_loss_pct,
        max_drawdown_pct=risk.max_drawdown_pct,
        max_data_age_ms=risk.max_data_age_ms,
        max_jump_pct=risk.max_jump_pct,
        collar_pct=risk.collar_pct,
        duplicate_window_ms=risk.duplicate_window_ms,
        max_orders_per_s=risk.max_orders_per_s,
        max_orders_per_min=risk.max_orders_per_min,
        max_orders_per_day=risk.max_orders_per_day,
        max_entries_per_min=risk.max_entries_per_min,
        max_entries_per_h=risk.max_entries_per_h,
        max_entries_per_day=risk.max_entries_per_day,
        cooldown_s=risk.cooldown_s,
        stop_guard_exits=risk.stop_guard_exits,
        stop_guard_min=risk.stop_guard_min,
        max_rejects_in_row=risk.max_rejects_in_row,
        max_rejects_per_5_min=risk.max_rejects_per_5_min,
        release=Release.NEXT_DAY if releases_by_day else Release.OPERATOR,
        entry_type=entry_type,
        entry_ttl_ns=int(settings.execution.entry_ttl_s * 1_000_000_000),
        taker_bps=settings.fees.taker_bps,
        slippage_ticks=settings.paper.slippage_ticks,
    )


def _paper_rules(settings: Settings) -> PaperRules:
    return PaperRules(
        feed_latency_ns=settings.paper.feed_ms * 1_000_000,
        entry_latency_ns=settings.paper.entry_ms * 1_000_000,
        response_latency_ns=settings.paper.response_ms * 1_000_000,
        slippage_ticks=settings.paper.slippage_ticks,
        taker_bps=settings.fees.taker_bps,
        maker_bps=settings.fees.maker_bps,
        fee_asset=settings.fees.asset.value,
    )
