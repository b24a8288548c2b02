"""On recorded crashes the loss limits trip in the very minute in which the loss is there, hold, survive a restart, and let the
stops sell.

Three strategies each hold a tenth of 1,000 in one symbol from the first bar on, so three tenths of every fall are lost. The
minute is worked out a second time below from the bars and the fills alone.
"""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from msgspec import Struct, structs

from claire.adapters.config import load
from claire.adapters.marketdata import open_source
from claire.engine.saving import from_bytes, to_bytes
from claire.model.decisions import Code, ControlEvent, Denial, Fill, RoundTrip, TradingState
from claire.model.market import Side
from claire.services.assembly import Assembly, assemble
from tests.support.markets import SECOND_NS, Listening

HOLDS: Final = '''
from claire.strategies import Opinion, Strategy


class Holds(Strategy):
    """Is for buying, except at half past: so it asks again once an hour."""

    def on_trade(self, trade):
        return Opinion.NO_ENTRY if trade.ts_event_ns // 60_000_000_000 % 60 == 30 else Opinion.ENTER
'''
OWNERS: Final = ("one", "two", "three")
LATCHED: Final = {"daily loss": Code.DAILY_LOSS_LIMIT, "drawdown": Code.DRAWDOWN_LIMIT}


class Crash(Struct, frozen=True):
    """A recorded crash, and what has to happen in it."""

    file: str
    symbol: str
    begins: str
    ends: str
    bar_s: int
    stop_pct: float
    """Of each strategy."""
    limit: str
    """The setting that has to trip."""
    source: str
    """Of its lock."""
    trips: str
    """The bar in which."""
    lost: str
    """What it says."""
    stops: str
    """The bar in which the stops sell."""
    sold: str
    """The price of that, as the fills say."""


CRASHES: Final = (
    Crash(
        "binance_spot_BTC_ETH_1m_2024-07-26_2024-08-25.parquet", "ETHUSDT", "2024-08-05 00:00", "2024-08-05 03:00", 60, 15,
        "risk.max_daily_loss_pct=3", "daily loss", "2024-08-05 01:07", "32.00926341", "2024-08-05 01:10", "2110.99",
    ),
    Crash(
        "bitfinex_spot_BTCUSD_1m_2017-2019.parquet", "BTCUSD", "2017-03-10 20:00", "2017-03-10 22:40", 60, 15,
        "risk.max_daily_loss_pct=3", "daily loss", "2017-03-10 21:02", "40.06215287", "2017-03-10 21:03", "999.99",
    ),
    Crash(
        "binance_spot_4sym_15m.parquet", "DOGEUSDT", "2025-10-10 18:00", "2025-10-10 23:00", 900, 25,
        "risk.max_daily_loss_pct=4", "daily loss", "2025-10-10 21:00", "49.31377425", "2025-10-10 21:15", "0.09499",
    ),
    Crash(
        "binance_spot_4sym_1h.parquet", "SOLUSDT", "2022-11-07 00:00", "2022-11-10 00:00", 3600, 45,
        "risk.max_drawdown_pct=8", "drawdown", "2022-11-08 18:00", "94.09554", "2022-11-09 08:00", "17.54",
    ),
)  # fmt: skip


def bars_of(crash: Crash, shared: Path) -> pl.DataFrame:
    """The bars of the crash."""
    frame = pl.read_parquet(shared / "data" / "candles" / crash.file)
    begins, ends = (
        round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
        for text in (crash.begins, crash.ends)
    )
    frame = frame.filter((pl.col("ts_ms") >= begins) & (pl.col("ts_ms") < ends))
    if "symbol" in frame.columns:
        return frame.filter(pl.col("symbol") == crash.symbol)
    return frame.with_columns(pl.lit(crash.symbol).alias("symbol"))


class Told(Struct):
    """A run over a crash."""

    source: Any
    assembly: Assembly
    heard: Listening

    def of(self, kind: type) -> list[Any]:
        return self.heard.of(kind)


def prepared(crash: Crash, shared: Path, folder: Path, *more: str) -> Told:
    """A pipeline over a crash, before its first bar."""
    file, strategy = folder / "bars.parquet", folder / "holds.py"
    bars_of(crash, shared).write_parquet(file)
    strategy.write_text(HOLDS)
    exits = f"stop_loss_pct = {crash.stop_pct}\ntake_profit_pct = 0\nmax_hold_s = 0\n"
    tables = [
        f'[[strategy]]\nid = "{owner}"\nkind = "{strategy}"\nsymbols = ["{crash.symbol}"]\n{exits}' for owner in OWNERS
    ]
    config = folder / "claire.toml"
    config.write_text("config_version = 1\n" + "\n".join(tables))
    assignments = (
        "allocation.mode=full", "risk.position_pct=10", "risk.max_symbol_pct=40", "risk.cooldown_s=0", crash.limit,
        "risk.backtest_release=never", "paper.latency_ms=0", "paper.balance.USD=1000", "paper.balance.USDT=1000",
        *(["risk.max_daily_loss_pct=10"] if crash.source == "drawdown" else []), *more,
    )  # fmt: skip
    settings = load(config=config, assignments=assignments, mode="backtest", environ={}).settings
    source, heard = open_source(file), Listening()
    return Told(source, assemble(settings, source, (heard,)), heard)


def fed(told: Told, *, restarts_at: str = "") -> Told:
    """Feed every trade; with `restarts_at` the process dies right after that lock was set, and another one goes on."""
    pipeline = told.assembly.pipeline
    for batch in told.source.batches():
        for event in batch:
            pipeline.feed(event)
            if restarts_at in pipeline.stages.risk.state.locks and pipeline is told.assembly.pipeline:
                kept = to_bytes(pipeline.save(with_venue=True))
                pipeline = assemble(told.assembly.settings, told.source, (told.heard,)).pipeline
                pipeline.load(from_bytes(kept))
    told.assembly.pipeline = pipeline
    return told


def bar(crash: Crash, ts_ns: int) -> str:
    """The bar in which a moment lies."""
    begin_s = ts_ns // SECOND_NS // crash.bar_s * crash.bar_s
    return datetime.fromtimestamp(begin_s, UTC).strftime("%Y-%m-%d %H:%M")


class Expected(Struct):
    """What the bars alone say."""

    trips: str = ""
    lost: Fraction = Fraction(0)
    stops: str = ""
    sold: Fraction = Fraction(0)


def expected(crash: Crash, shared: Path, buys: list[Fill], tick: Fraction) -> Expected:
    """Follow three holdings through the bars by hand: opened at these fills, four prices a bar, marked at each of them."""
    found = Expected()
    quantity = sum((Fraction(fill.quantity_lots) for fill in buys), Fraction(0))
    spent = sum((Fraction(fill.quantity_lots) * fill.price_ticks * tick for fill in buys), Fraction(0))
    fees = sum((Fraction(fill.fee) for fill in buys), Fraction(0))
    limit = Fraction(crash.limit.partition("=")[2]) / 100
    entry = Fraction(buys[0].price_ticks) * tick
    stop = entry * (1 - Fraction(str(crash.stop_pct)) / 100)
    start = peak = Fraction(1_000)
    paid = fees * 2_000  # the fees were 5 bps of it
    for row in bars_of(crash, shared).sort("ts_ms").iter_rows(named=True):
        for name in ("open", "low", "high", "close"):
            price = Fraction(str(row[name]))
            equity = start - fees - paid + paid * (price * quantity) / spent
            peak = max(peak, equity)
            fall = (peak if crash.source == "drawdown" else start) - equity
            bound = limit * (peak if crash.source == "drawdown" else start)
            if fall >= bound and not found.trips:
                found.trips, found.lost = bar(crash, row["ts_ms"] * 1_000_000), fall
            if price <= stop and not found.stops:
                found.stops, found.sold = bar(crash, row["ts_ms"] * 1_000_000), price - tick
                return found
    return found


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.begins)
def test_the_limit_trips_in_the_very_bar_and_holds_while_the_stops_sell(
    crash: Crash, shared: Path, tmp_path: Path
) -> None:
    told = fed(prepared(crash, shared, tmp_path))
    instrument = told.source.instruments[crash.symbol]
    tick, fills = Fraction(instrument.tick), told.of(Fill)
    buys, sales = ([fill for fill in fills if fill.side is side] for side in Side)
    by_hand = expected(crash, shared, buys, tick)

    event = next(event for event in told.of(ControlEvent) if event.operator == crash.source)
    assert (event.state, event.until_ns, event.symbol) == (TradingState.REDUCE_ONLY, 0, "")
    assert bar(crash, event.ts_event_ns) == by_hand.trips == crash.trips
    assert crash.lost in event.reason
    assert abs(by_hand.lost - Fraction(crash.lost)) < Fraction(1, 1000)

    assert len(buys) == len(sales) == 3
    assert {bar(crash, fill.ts_event_ns) for fill in sales} == {by_hand.stops} == {crash.stops}
    assert {instrument.price(fill.price_ticks) for fill in sales} == {Decimal(crash.sold)}
    assert by_hand.sold == Fraction(crash.sold)
    assert all(fill.ts_event_ns > event.ts_event_ns for fill in sales)
    assert {trip.reason for trip in told.of(RoundTrip)} == {"stop_loss"}

    assert not [denial for denial in told.of(Denial) if denial.ts_event_ns <= event.ts_event_ns]
    later = [denial for denial in told.of(Denial) if denial.ts_event_ns > event.ts_event_ns]
    assert {denial.code for denial in later} == {LATCHED[crash.source]}
    risk = told.assembly.pipeline.stages.risk.state
    assert risk.trading is TradingState.REDUCE_ONLY
    (latched,) = [one for one in risk.latched if one.source == crash.source]
    assert (latched.ended_ns, latched.signals_lost) == (0, len(later))


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.begins)
def test_a_restart_right_after_the_trip_changes_nothing(crash: Crash, shared: Path, tmp_path: Path) -> None:
    whole = fed(prepared(crash, shared, tmp_path))
    parted = fed(prepared(crash, shared, tmp_path), restarts_at=crash.source)
    assert parted.heard.decided_at == whole.heard.decided_at
    one, other = (told.assembly.pipeline.stages.risk.state for told in (whole, parted))
    assert (one.locks, one.latched, one.daily, one.drawdown) == (
        other.locks,
        other.latched,
        other.daily,
        other.drawdown,
    )
    assert crash.source in other.locks


def test_in_a_backtest_the_lock_ends_with_the_day_and_is_in_the_report(shared: Path, tmp_path: Path) -> None:
    crash = structs.replace(CRASHES[0], ends="2024-08-06 01:00")
    told = fed(prepared(crash, shared, tmp_path, "risk.backtest_release=next_day"))
    events = [event for event in told.of(ControlEvent) if event.operator == "daily loss"]
    assert [(bar(crash, event.ts_event_ns), event.state) for event in events][:2] == [
        ("2024-08-05 01:07", TradingState.REDUCE_ONLY),
        ("2024-08-06 00:00", TradingState.ACTIVE),
    ]
    midnight_ns = events[1].ts_event_ns
    assert min(fill.ts_event_ns for fill in told.of(Fill)[6:]) >= midnight_ns  # entries resume then, not before
