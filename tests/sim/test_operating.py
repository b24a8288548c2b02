"""An operator and a live run: what is asked happens between two inputs, is on record, and a replay repeats it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.journal.entries import Commanded, Controlled
from claire.adapters.journal.reader import JournalReader
from claire.mexcsim import SimConfig, Simulator
from claire.mexcsim.limits import Limits
from claire.mexcsim.symbols import choose
from claire.model.errors import UsageError
from claire.model.market import Side
from claire.services.door import Request, knock
from claire.services.explaining import explain
from claire.services.recorded import recorded
from claire.services.replay import replay
from claire.stages.execution import Order
from tests.support.live import ACCESS, SECRET, Running, live_settings, running
from tests.support.mexc_live import LIQUID, until

pytestmark = pytest.mark.asyncio
PAIRS = ("BTCUSDT", "ETHUSDT")
OPEN = ("risk.cooldown_s=0", "risk.max_entries_per_min=10", "risk.stop_guard_exits=20", "risk.max_orders_per_s=10")
"""Limits on how often, as wide as they go."""
PATIENT = ("stop_loss_pct=5", "take_profit_pct=5", "max_hold_s=600")
"""Settings with which a position is kept until somebody says otherwise."""


class Operator:
    """Ada, at the door of a run."""

    def __init__(self, run: Running, runs_dir: Path) -> None:
        self.run = run
        (self.run_dir,) = (path for path in runs_dir.iterdir() if (path / "journal").exists())

    async def __call__(self, do: str, **more: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(knock, self.run_dir, Request(do, "ada", "because", **more))
        assert answer is not None
        assert (answer["run"], answer["running"]) == (self.run_dir.name, True)
        return answer

    async def owned(self) -> list[dict[str, Any]]:
        await until(lambda: self.run.pipeline.stages.portfolio.state.books.positions, 30, "a position")
        found = await self("positions")
        return list(found["positions"])


@asynccontextmanager
async def operated(tmp_path: Path, mode: str, *settings: str) -> AsyncIterator[Operator]:
    """A run with an operator; afterwards it has to replay to the same decisions."""
    config = SimConfig(symbols=choose(PAIRS), flow=LIQUID, past_minutes=30, limits=Limits(enabled=False))
    async with Simulator(config) as sim:
        sim.add_account(ACCESS, SECRET, balances={"USDT": 1500})
        async with running(
            sim, live_settings(PAIRS, mode, *OPEN, *settings), tmp_path, with_books=mode == "paper"
        ) as run:
            operator = Operator(run, tmp_path)
            yield operator
            run.stop()
        result = run.task.result()
    assert not (operator.run_dir / "control.sock").exists()
    again = replay(result.run_dir)
    assert again.identical, again.first_difference


async def test_a_pause_stops_entries_and_nothing_else_and_is_on_record(tmp_path: Path) -> None:
    async with operated(tmp_path, "testnet") as ask:
        portfolio = ask.run.pipeline.stages.portfolio.state
        await until(lambda: portfolio.round_trips >= 1, 30, "a round trip")
        paused = await ask("pause")
        assert (paused["trading"], paused["reason"]) == ("REDUCE_ONLY", "operator pause: ada: because")
        with pytest.raises(UsageError, match="paused already: ada: because"):
            await ask("pause")
        await until(lambda: not portfolio.books.positions and not ask.run.pipeline.stages.execution.live, 30, "exits")
        orders = ask.run.pipeline.stages.execution.last_no
        await asyncio.sleep(1)
        assert ask.run.pipeline.stages.execution.last_no == orders
        assert [lock["source"] for lock in (await ask("risk"))["locks"]] == ["operator pause"]
        assert (await ask("unpause"))["trading"] == "ACTIVE"
        with pytest.raises(UsageError, match="is not paused"):
            await ask("unpause")
        await until(lambda: ask.run.pipeline.stages.execution.last_no > orders, 30, "entries")
    said = [entry.event for entry in JournalReader(ask.run_dir) if isinstance(entry, Controlled)]
    assert [(one.state, one.operator, one.reason) for one in said] == [
        ("REDUCE_ONLY", "operator pause", "ada: because"),
        ("ACTIVE", "operator pause", "ada: because"),
    ]


async def test_a_position_is_closed_through_risk_and_its_order_can_be_explained(tmp_path: Path) -> None:
    async with operated(tmp_path, "testnet", *PATIENT) as ask:
        position, *_ = await ask.owned()
        symbol = position["symbol"]
        await ask("pause")
        (closing,) = (await ask("close", symbol=symbol.lower()))["closing"]
        assert closing["order"] > 0
        owners = ask.run.pipeline.stages.portfolio.state.books.positions
        await until(lambda: ("momentum-1", symbol) not in owners, 15, "sold")
        with pytest.raises(UsageError, match=f"no strategy owns any {symbol}"):
            await ask("close", symbol=symbol)
        with pytest.raises(UsageError, match="Did you mean"):
            await ask("close", symbol="BTCUDST")
    told = explain(ask.run_dir, str(closing["order"]))
    assert [line.what for line in told.lines if "asked" in line.what or line.what == "round trip"] == [
        "close asked",
        "round trip",
    ]
    assert "because: operator" in next(line.numbers for line in told.lines if line.what.startswith("signal"))
    (commanded,) = (entry.event for entry in JournalReader(ask.run_dir) if isinstance(entry, Commanded))
    assert (commanded.what, commanded.symbol, commanded.operator, commanded.reason) == (
        "close",
        symbol,
        "ada",
        "because",
    )


async def test_one_symbol_is_paused_and_the_others_go_on(tmp_path: Path) -> None:
    async with operated(tmp_path, "testnet") as ask:
        portfolio = ask.run.pipeline.stages.portfolio.state
        await until(lambda: portfolio.round_trips >= 1, 30, "a round trip")
        paused = await ask("pause", symbol="ethusdt")
        assert (paused["paused"], paused["trading"]) == ("ETHUSDT", "ACTIVE")
        (lock,) = (await ask("risk"))["locks"]
        assert (lock["source"], lock["symbol"]) == ("operator pause ETHUSDT", "ETHUSDT")
        before = ask.run.pipeline.stages.execution.last_no

        def entered() -> list[str]:
            orders = ask.run.pipeline.stages.execution.orders.values()
            return [order.symbol for order in orders if order.order_no > before and order.side is Side.BUY]

        await until(lambda: len(entered()) >= 2, 30, "entries elsewhere")
        assert set(entered()) == {"BTCUSDT"}
        assert (await ask("unpause", symbol="ETHUSDT"))["unpaused"] == "ETHUSDT"
        await until(lambda: "ETHUSDT" in entered(), 30, "entries here too")


async def test_a_halted_run_closes_nothing_and_says_why(tmp_path: Path) -> None:
    async with operated(tmp_path, "testnet", *PATIENT) as ask:
        position, *_ = await ask.owned()
        run = ask.run.pipeline
        assert ask.run.venue is not None
        ask.run.venue._lock_and_tell("an order that nobody knows of")
        await until(lambda: run.stages.risk.state.trading == "HALTED", 10, "halted")
        (closing,) = (await ask("close", symbol=position["symbol"]))["closing"]
        assert closing["order"] == 0
        assert "refused: trading is HALTED (venue orders" in closing["became"]
        assert (await ask("positions"))["positions"]


async def test_a_resting_order_is_cancelled_by_any_of_its_names(tmp_path: Path) -> None:
    settings = ("execution.entry_type=limit", "execution.entry_ttl_s=600")
    async with operated(tmp_path, "testnet", *settings) as ask:
        execution = ask.run.pipeline.stages.execution

        def resting() -> list[Order]:
            return [
                one
                for one in execution.live
                if one.venue_order_id and one.life.state == "OPEN" and one.side is Side.BUY
            ]

        while True:  # the market may be quicker than the operator
            await until(resting, 60, "a resting order")
            order = resting()[0]
            try:
                cancelled = await ask("cancel", order=order.venue_order_id)
            except UsageError:
                assert order.life.is_terminal
                continue
            assert (cancelled["order"], cancelled["client_order_id"]) == (order.order_no, order.client_order_id)
            break
        await until(lambda: order.life.is_terminal, 15, "over")
        with pytest.raises(UsageError, match="is over: it is"):
            await ask("cancel", order=str(order.order_no))
        with pytest.raises(UsageError, match="there is no order nobody"):
            await ask("cancel", order="nobody")


async def test_both_sides_are_shown_and_their_difference(tmp_path: Path) -> None:
    async with operated(tmp_path, "testnet", *PATIENT) as ask:
        await ask.owned()
        await ask("pause")
        await until(lambda: not ask.run.pipeline.stages.execution.live, 15, "rest")
        await asyncio.sleep(0.3)
        balance = await ask("balance", venue=True)
        assert {row["difference"] for row in balance["venue"]} == {"0"}
        assert balance["external"] == [{"asset": "USDT", "amount": "500"}]
        assert (await ask("orders", venue=True))["venue"] == []
        positions = await ask("positions", venue=True)
        assert {row["asset"] for row in positions["venue"]} == {row["asset"] for row in positions["positions"]}
        held = {row["asset"]: Decimal(row["total"]) for row in balance["balance"]}
    found = recorded(ask.run_dir)
    assert {row["asset"]: Decimal(row["total"]) for row in found.account.balance} == held
    assert [row["quantity"] for row in found.account.positions] == [row["quantity"] for row in positions["positions"]]
    assert [lock["source"] for lock in found.locks] == ["operator pause"]


async def test_paper_money_has_no_venue_to_ask_and_what_is_unknown_is_told(tmp_path: Path) -> None:
    async with operated(tmp_path, "paper") as ask:
        with pytest.raises(UsageError, match="there is no venue to ask"):
            await ask("balance", venue=True)
        with pytest.raises(UsageError, match="Did you mean pause"):
            await ask("puase")
        with pytest.raises(UsageError, match="--operator: write at most"):
            await asyncio.to_thread(knock, ask.run_dir, Request("pause", "a\nb"))
        with pytest.raises(UsageError, match="who asks"):
            await asyncio.to_thread(knock, ask.run_dir, Request("pause"))
        with pytest.raises(UsageError, match="says why"):
            await asyncio.to_thread(knock, ask.run_dir, Request("release", "ada", lock="feed"))
        with pytest.raises(UsageError, match="there is no such lock"):
            await ask("release", lock="feed")
        with pytest.raises(UsageError, match="claire rearm"):
            await ask("release", lock="kill switch")
        limits = {row["limit"]: row for row in (await ask("risk"))["limits"]}
        assert Decimal(limits["risk.max_gross_pct"]["allowed"]) > 0
