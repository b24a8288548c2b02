"""Proof before an account is armed again: the last run's books against the venue's, with nothing sent, in virtual time."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.journal.entries import Controlled, Gated
from claire.drill.host import Host
from claire.gateway.signer import Keys
from claire.latch.kill import kill
from claire.latch.page import read
from claire.latch.rearm import rearm
from claire.mexcsim import faults
from claire.mexcsim.orders import Kind
from claire.mexcsim.rules import NewOrder
from claire.model.decisions import TradingState
from claire.model.errors import ClaireError, SafetyRefusal, UsageError
from claire.model.market import Side
from claire.model.money import units_of
from claire.services.account import ACCOUNTS, last_run
from claire.services.guarding import KILL_SWITCH
from claire.services.proving import proof_of, prove, run_to_prove
from claire.services.recovery import GoOn, settings_of
from tests.support.going_on import ACCESS, EPOCH_NS, SECRET, SYMBOL, Life, World, story


def folder_of(world: World) -> Path:
    (folder,) = (world.runs / ACCOUNTS).iterdir()
    return folder


def killed(world: World) -> Path:
    """Close the latch, as `claire kill` does."""
    folder = folder_of(world)
    assert kill(folder, who="ann", reason="a test", now_ns=EPOCH_NS + world.loop.now_ns()).is_closed
    return folder


async def proved(world: World, **said: Any) -> str:
    """Prove on a computer of its own."""
    host = Host(world.loop, world.runs, world._folder / "venue", world._rng, epoch_ns=EPOCH_NS)
    go_on = GoOn(world.run_dir, **said)
    settings = settings_of(go_on.run_dir, None, ())
    task = host.start(prove(settings, go_on, folder_of(world), keys=Keys(ACCESS, SECRET), machine=host.machine))
    await asyncio.wait((task,))
    await host.bury()
    return str(task.result())


def arm(world: World, proof: str) -> None:
    flag = rearm(
        folder_of(world),
        operator="ann",
        reason="mended",
        prove=lambda: proof,
        now_ns=lambda: EPOCH_NS + world.loop.now_ns(),
        pid=1,
    )
    assert flag.is_armed


def sent(world: World) -> int:
    return len(world.account.orders)


async def with_position(world: World) -> Life:
    life = await world.traded(world.start())
    await world.rise(life)
    assert life.positions()
    return life


@pytest.mark.parametrize("ends", ["by a crash", "in order"])
def test_a_killed_account_is_armed_after_proof_and_its_run_trades_on(ends):
    async def tell(world: World) -> None:
        life = await with_position(world)
        await (world.crash(life) if ends == "by a crash" else world.end(life))
        folder = killed(world)
        refusal = await world.refused(world.go_on())
        assert "claire rearm" in str(refusal)
        before = sent(world)
        proof = await proved(world, operator="ann", reason="mended")
        assert "1 orders, 1 executions and 1 positions on record" in proof
        assert "no order open" in proof
        assert sent(world) == before
        assert not read(folder).is_armed, "a proof arms nothing"
        last = last_run(folder)
        assert last is not None
        assert last.left == "1 open positions"
        arm(world, proof)
        life = await world.traded(world.go_on())
        assert KILL_SWITCH not in life.locks()
        await world.market.move(-3)
        await world.until(lambda: not life.positions(), "the position sold at its stop")
        result = await world.end(life)
        assert result.summary.open_positions == 0
        controls = [
            entry.event.state
            for entry in world.entries()
            if isinstance(entry, Controlled) and entry.event.operator == KILL_SWITCH
        ]
        assert controls == [TradingState.KILLED, TradingState.ACTIVE]
        assert world.replayed().identical

    story(tell)


def missing_money(world: World) -> Callable[[], None]:
    balance = world.account.balances["USDT"]
    taken = units_of(Decimal(900))
    balance.free -= taken

    def give_back() -> None:
        balance.free += taken

    return give_back


def an_open_order(world: World) -> Callable[[], None]:
    exchange, now_ms = world.sim.venue.exchange, world.sim.venue.market_ms()
    name = next(iter(world.account.orders.values())).client_id[:-1] + "9"
    wanted = NewOrder(symbol=SYMBOL, side=Side.BUY, kind=Kind.LIMIT, price=5_000, lots=100, client_id=name)
    order = exchange.place(exchange.keys[ACCESS], wanted, now_ms)
    return lambda: exchange.cancel(order, world.sim.venue.market_ms())


@pytest.mark.parametrize(
    ("plant", "named", "lock"), [(missing_money, "USDT", "reconciliation"), (an_open_order, "9", "venue orders")]
)
def test_what_differs_is_named_and_the_account_stays_killed(plant, named, lock):
    async def tell(world: World) -> None:
        life = await with_position(world)
        await world.crash(life)
        folder = killed(world)
        undo = plant(world)
        await asyncio.sleep(10)
        before = sent(world)
        with pytest.raises(SafetyRefusal) as refusal:
            await proved(world)
        assert "stays killed" in str(refusal.value)
        assert named in str(refusal.value)
        assert (sent(world), read(folder).is_armed) == (before, False)
        with pytest.raises(SafetyRefusal, match=named):
            await proved(
                world, releases=(lock,), operator="ann", reason="looked at it"
            )  # the word alone changes nothing
        undo()
        await asyncio.sleep(10)
        assert "equal at the venue" in await proved(world)
        assert sent(world) == before

    story(tell)


def test_an_operator_says_what_is_right_and_the_proof_goes_through():
    async def tell(world: World) -> None:
        life = await with_position(world)
        await world.crash(life)
        killed(world)
        world.account.balances["USDT"].free += units_of(Decimal(300))
        await asyncio.sleep(10)
        with pytest.raises(SafetyRefusal, match="USDT"):
            await proved(world)
        word = {"operator": "ann", "reason": "paid in"}
        proof = await proved(world, externals=("USDT=300",), releases=("reconciliation",), **word)
        assert "equal at the venue" in proof
        arm(world, proof)
        life = await world.traded(world.go_on())
        await asyncio.sleep(5)
        assert life.locks() == {}
        await world.end(life)

    story(tell)


def test_an_order_that_was_on_its_way_is_settled_by_the_proof():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await asyncio.sleep(3.0)
        world.sim.fault(faults.DropReply(path="order", method="POST", times=1))
        await world.market.move(1.0, wait_s=0.0)
        await world.until(lambda: sent(world) > 0, "an order at the venue")
        await world.crash(life)
        killed(world)
        await asyncio.sleep(5)
        proof = await proved(world)
        assert "1 orders, 1 executions and 1 positions" in proof
        arm(world, proof)
        life = await world.traded(world.go_on())
        assert len(life.positions()) == 1
        await world.end(life)
        assert world.replayed().identical

    story(tell)


def test_what_is_due_by_the_clock_meets_the_closed_gate():
    async def tell(world: World) -> None:
        life = await world.traded(world.start(world.settings(max_hold_s="20")))
        await world.rise(life)
        assert life.positions()
        await world.crash(life)
        killed(world)
        await asyncio.sleep(60)
        before = sent(world)
        await proved(world)
        assert sent(world) == before
        gated = [entry.verdict for entry in world.entries() if isinstance(entry, Gated)]
        assert [verdict for verdict in gated if verdict.startswith("GATE_")] in ([], ["GATE_LATCH"])

    story(tell)


def test_a_proof_needs_a_closed_latch_and_a_venue_that_answers():
    async def tell(world: World) -> None:
        life = await with_position(world)
        await world.crash(life)
        with pytest.raises(SafetyRefusal, match="the latch is open"):
            await proved(world)
        killed(world)
        world.sim.fault(faults.Maintenance(for_ms=600_000))
        with pytest.raises(ClaireError):
            await proved(world)
        world.sim.clear_faults()
        assert "equal at the venue" in await proved(world)

    story(tell)


def test_books_that_are_gone_prove_nothing_and_an_account_without_a_run_has_none(tmp_path):
    async def tell(world: World) -> None:
        life = await with_position(world)
        await world.crash(life)
        folder, run_dir = killed(world), world.run_dir
        assert run_to_prove(folder, world.runs) == (last_run(folder), run_dir)
        aside = run_dir.rename(run_dir.parent / "aside")
        with pytest.raises(SafetyRefusal, match="is gone"):
            run_to_prove(folder, world.runs)
        aside.rename(run_dir)
        empty = tmp_path / "other"
        empty.mkdir()
        assert run_to_prove(empty, world.runs) is None
        assert "no run" in proof_of(lambda *_: "unused", empty, world.runs)

    story(tell)


def test_a_paper_run_has_no_account_to_arm():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.end(life)
        go_on = GoOn(world.run_dir)
        with pytest.raises(UsageError, match="no account at a venue"):
            await prove(settings_of(world.run_dir, None, ()), go_on, world.runs)

    story(tell, "paper")
