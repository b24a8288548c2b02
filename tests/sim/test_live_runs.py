"""Whole live runs on MEXC's protocol: what they decide, what they keep, and that both replay from raw bytes."""

import time
from pathlib import Path

import pytest

from claire.adapters.journal.reader import JournalReader
from claire.adapters.marketdata import SyntheticMarket, SynthSettings
from claire.mexcsim import SimConfig, Simulator, faults
from claire.mexcsim.flow import recording_of
from claire.mexcsim.limits import Limits
from claire.mexcsim.symbols import choose, rule_of
from claire.model.decisions import Intent, TradingState
from claire.model.market import Trade
from claire.services.assembly import assemble
from claire.services.keeping import RunResult
from claire.services.replay import replay
from tests.support.live import ACCESS, SECRET, live_settings, running
from tests.support.mexc_live import LIQUID, until

pytestmark = pytest.mark.asyncio
PAIRS = ("BTCUSDT", "ETHUSDT")


def simulator(**more: object) -> Simulator:
    config = SimConfig(symbols=choose(PAIRS), flow=LIQUID, past_minutes=30, limits=Limits(enabled=False), **more)  # type: ignore[arg-type]
    return Simulator(config)


async def test_live_data_with_paper_money_trades_and_replays_from_raw_frames(tmp_path: Path) -> None:
    async with simulator() as sim:
        sim.add_account(ACCESS, SECRET)
        async with running(sim, live_settings(PAIRS, "paper"), tmp_path, lookback_s=5, with_books=True) as run:
            await until(lambda: run.pipeline.stages.portfolio.state.round_trips >= 2, 30, "two round trips")
            run.stop()
        result = run.task.result()
    assert result.summary.decode_errors_total == 0
    assert result.summary.decoded_messages_total > 0
    assert result.summary.source.has_book
    again = replay(result.run_dir)
    assert again.identical, again.first_difference
    assert (again.inputs, again.decision_digest) == ("the journal's raw frames", result.summary.decision_digest)


async def test_orders_over_the_wire_fill_and_the_books_equal_the_venues(tmp_path: Path) -> None:
    async with simulator() as sim:
        key = sim.add_account(ACCESS, SECRET, balances={"USDT": 1000})
        async with running(sim, live_settings(PAIRS, "testnet"), tmp_path) as run:
            await until(lambda: run.pipeline.stages.portfolio.state.round_trips >= 3, 30, "three round trips")
            run.stop()
        result = run.task.result()
        books = run.pipeline.stages.portfolio.state.books
        held = {asset: balance.free + balance.locked for asset, balance in key.account.balances.items()}
    assert books.cash["USDT"] == held["USDT"]
    for symbol in PAIRS:
        owned = sum(p.base_units for (_, name), p in books.positions.items() if name == symbol)
        owned += books.dust[symbol].base_units if symbol in books.dust else 0
        assert owned == held.get(symbol.removesuffix("USDT"), 0)
    assert result.summary.order_states == {"FILLED": result.summary.orders}
    again = replay(result.run_dir)
    assert again.identical, again.first_difference


async def test_in_lockstep_with_a_recording_testnet_decides_what_paper_decides(tmp_path: Path) -> None:
    source = SyntheticMarket(SynthSettings(seed=11, trades=400))
    symbol = "BTCUSDT"
    trades = [event for batch in source.batches() for event in batch if isinstance(event, Trade)]
    config = SimConfig(
        symbols=(rule_of(source.instruments[symbol]),),
        recording=recording_of(source.batches(), source.instruments),
        lockstep=True,
        limits=Limits(enabled=False),
        past_minutes=0,
    )
    clock = [trades[0].ts_event_ns]
    async with Simulator(config) as sim:
        sim.add_account(ACCESS, SECRET, balances={"USDT": 1000}, fee_asset="quote")
        settings = live_settings((symbol,), "testnet", "risk.max_data_age_ms=60000")
        async with running(sim, settings, tmp_path, wall_ns=lambda: clock[0], is_silent=True) as run:
            venue = run.venue
            assert venue is not None
            for number, trade in enumerate(trades, 1):
                clock[0] = trade.ts_event_ns
                sim.step()
                await until(lambda n=number: run.pipeline.trades_in == n, 5, f"trade {number}")  # type: ignore[misc]
                assert await venue.settle(5)
            run.stop()
    wire = _sequence(run.task.result())
    intents = Intents()
    paper = assemble(live_settings((symbol,), "paper", "paper.latency_ms=0"), source, (intents,))
    for trade in trades:
        paper.pipeline.feed(trade)
    assert len(wire) >= 20
    assert wire == intents.sequence


class Intents:
    """A recorder that keeps what was to be ordered."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}
        self.sequence: list[tuple[str, str, int, str]] = []

    def decided(self, input_no: int, event: object) -> None:
        if type(event).__name__ == "Signal":
            self.reasons[event.signal_no] = event.reason  # type: ignore[attr-defined]
        if isinstance(event, Intent):
            self.sequence.append((event.symbol, event.side, event.quantity_lots, self.reasons[event.signal_no]))

    def inputs(self, *_: object) -> None: ...
    def candle(self, *_: object) -> None: ...
    def postings(self, *_: object) -> None: ...
    def snapshot(self, *_: object) -> None: ...


def _sequence(result: RunResult) -> list[tuple[str, str, int, str]]:
    intents = Intents()
    for entry in JournalReader(result.run_dir).decisions():
        intents.decided(entry.input_no, entry.event)
    return intents.sequence


async def test_a_message_of_an_unknown_type_stops_entries_and_so_does_its_replay(tmp_path: Path) -> None:
    async with simulator() as sim:
        sim.add_account(ACCESS, SECRET)
        async with running(sim, live_settings(PAIRS, "paper"), tmp_path) as run:
            await until(lambda: run.pipeline.stages.portfolio.state.round_trips >= 1, 30, "a round trip")
            sim.fault(faults.UnknownMessage(times=1))
            state = run.pipeline.stages.risk.state
            await until(lambda: state.trading is TradingState.REDUCE_ONLY, 10, "reduce-only")
            await until(lambda: not run.pipeline.stages.portfolio.state.books.positions, 20, "exits go on")
            end = time.monotonic() + 1.5
            await until(lambda: time.monotonic() > end, 5, "a while passes")
            run.stop()
        result = run.task.result()
    assert result.summary.denials.get("TRADING_STATE", 0) > 0
    assert any("unknown_message" in warning for warning in result.summary.warnings)
    again = replay(result.run_dir)
    assert again.identical, again.first_difference
