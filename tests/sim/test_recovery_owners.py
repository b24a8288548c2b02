"""Going on with a run: who owns its positions, what an operator may say, and what became of the account meanwhile."""

import asyncio
import re
from decimal import Decimal
from typing import Any

import pytest

from claire.adapters.config import Settings, load
from claire.adapters.journal.entries import Adjusted, Commanded, Controlled
from claire.model.decisions import TradingState
from claire.model.errors import SafetyRefusal, UsageError
from claire.model.money import units_of
from tests.support.going_on import SYMBOL, World, agree, finished, segment, story, with_position

BOTH = pytest.mark.parametrize("mode", ["testnet", "paper"])


def with_others(world: World, *strategies: str, **changed: str) -> Settings:
    """Settings of a file with these strategies (id and parameters)."""
    place = world.runs.parent / "claire.toml"
    tables = [
        f'[[strategy]]\nid = "{each.split()[0]}"\nkind = "momentum"\n' + "\n".join(each.split()[1:])
        for each in strategies
    ]
    place.write_text("\n".join(tables) + "\n")
    words = world.words | changed
    for name in ("lookback_s", "threshold_pct", "stop_loss_pct", "take_profit_pct", "max_hold_s"):
        words.pop(name)
    assignments = [f"{name}={value}" for name, value in words.items()]
    return load(config=place, assignments=assignments, symbols=[SYMBOL], mode=world.mode, environ={}).settings


EXITS = "lookback_s=2 threshold_pct=0.5 stop_loss_pct=4 take_profit_pct=9 max_hold_s=0"


@BOTH
@pytest.mark.parametrize("change", ["parameters", "strategy"])
def test_a_position_whose_strategy_changed_is_nobodys_until_somebody_says_whose(mode, change):
    async def tell(world: World) -> None:
        await with_position(world)
        other = world.settings(stop_loss_pct="4") if change == "parameters" else with_others(world, f"calm {EXITS}")
        error = await world.refused(world.go_on(settings=other))
        assert isinstance(error, SafetyRefusal)
        assert "momentum-1 owns ABCUSDT" in str(error)
        assert re.search("--adopt ID.*--reduce-only-orphans", str(error))
        error = await world.refused(world.go_on(settings=other, adopt="momentm-1"))
        assert "--adopt momentm-1: no such strategy trades ABCUSDT" in str(error)
        life = await world.traded(world.go_on())
        assert len(life.positions()) == 1
        await world.market.move(-2)
        assert not life.positions()
        await finished(world, life)

    story(tell, mode)


@BOTH
def test_another_strategy_adopts_a_position_and_its_exits_hold_from_then_on(mode):
    async def tell(world: World) -> None:
        await with_position(world)
        life = await world.traded(
            world.go_on(settings=with_others(world, f"calm {EXITS}"), adopt="calm", operator="ada")
        )
        assert [*life.positions()] == [("calm", SYMBOL)]
        await world.market.move(-2)
        assert [*life.positions()] == [("calm", SYMBOL)]
        await world.crash(life)
        life = await world.traded(world.go_on())
        assert [*life.positions()] == [("calm", SYMBOL)]
        await world.market.move(-3)
        assert not life.positions()
        assert (await finished(world, life)).summary.fills == 2

    story(tell, mode)


@BOTH
def test_a_strategy_with_other_parameters_adopts_its_own_position(mode):
    async def tell(world: World) -> None:
        await with_position(world)
        life = await world.traded(world.go_on(settings=world.settings(stop_loss_pct="4"), adopt="momentum-1"))
        await world.market.move(-2)
        assert len(life.positions()) == 1
        await world.market.move(-3)
        assert not life.positions()
        assert (await finished(world, life)).summary.fills == 2

    story(tell, mode)


@BOTH
@pytest.mark.parametrize("change", ["parameters", "strategy"])
def test_an_orphan_is_left_by_the_exits_that_it_had_and_nothing_is_entered_for_it(mode, change):
    async def tell(world: World) -> None:
        await with_position(world)
        quiet = EXITS.replace("0.5", "50")
        other = (
            world.settings(stop_loss_pct="4", threshold_pct="50")
            if change == "parameters"
            else with_others(world, f"calm {quiet}")
        )
        life = await world.traded(world.go_on(settings=other, reduces_orphans=True))
        assert [*life.positions()] == [("momentum-1", SYMBOL)]
        await world.crash(life)
        life = await world.traded(world.go_on())
        assert [*life.positions()] == [("momentum-1", SYMBOL)]
        await world.market.move(-0.5)
        assert [*life.positions()] == [("momentum-1", SYMBOL)]
        await world.market.move(-1)
        assert not life.positions()
        await world.market.move(1)
        await world.market.move(1)
        assert (await finished(world, life)).summary.signals == 2

    story(tell, mode)


def test_a_strategy_with_an_order_on_its_way_keeps_its_parameters():
    async def tell(world: World) -> None:
        resting = {"execution.entry_type": "limit", "execution.entry_ttl_s": "600"}
        life = await world.traded(world.start(world.settings(**resting)))
        await asyncio.sleep(3)
        world.market.ask_lots = 0
        await world.market.move(1)
        assert life.pipeline is not None
        assert [order.symbol for order in life.pipeline.stages.execution.live] == [SYMBOL]
        await world.crash(life)
        error = await world.refused(world.go_on(settings=world.settings(stop_loss_pct="4", **resting)))
        assert "order 1 of momentum-1 for ABCUSDT is not finished, so its parameters cannot be changed" in str(error)
        life = await world.traded(world.go_on())
        assert len([*life.pipeline.stages.execution.live]) == 1  # type: ignore[union-attr]  # it trades
        await finished(world, life)

    story(tell)


@pytest.mark.parametrize("word", ["account.capital=900", "account.id=other", "mode=paper"])
def test_what_the_books_began_with_cannot_be_changed(word):
    async def tell(world: World) -> None:
        await with_position(world)
        with pytest.raises(UsageError, match=f"{word.split('=')[0]} cannot be changed in a run that is gone on with"):
            world.go_on(assignments=[word])

    story(tell)


# -- an operator's word ------------------------------------------------------------------------------------------------


@BOTH
def test_a_position_beyond_its_stop_waits_for_a_word_where_one_is_wanted(mode):
    async def tell(world: World) -> None:
        await with_position(world, settings=world.settings("exit.on_restart=ask"))
        await world.market.move(-3)
        for _ in range(2):
            life = await world.traded(world.go_on(snapshot_s=2.0))
            await asyncio.sleep(5)
            assert len(life.positions()) == 1
            assert (
                sum("was found beyond its stop at the restart and is NOT sold" in alert for alert in life.alerts) == 1
            )
            await world.crash(life)
        life = await world.traded(world.go_on(releases=("restart",), operator="ada", reason="sell it"))
        await world.until(lambda: not life.positions(), "sold", 5)
        await asyncio.sleep(3)
        await finished(world, life)
        (said,) = [entry.event for entry in world.entries() if isinstance(entry, Commanded)]
        assert (said.what, said.operator, said.reason) == ("release", "ada", "sell it")

    story(tell, mode)


def test_a_price_that_came_back_above_the_stop_is_left_alone_until_it_falls_again():
    async def tell(world: World) -> None:
        await with_position(world, settings=world.settings("exit.on_restart=ask"))
        await world.market.move(-3)
        life = await world.traded(world.go_on())
        await world.market.move(3)
        assert len(life.positions()) == 1
        await world.market.move(-3)
        assert not life.positions()
        await finished(world, life)

    story(tell)


def test_books_are_corrected_by_a_word_that_is_kept_and_replayed():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        await world.end(life)
        words: dict[str, Any] = {"operator": "ada", "reason": "a fee that was not told"}
        world.account.balances["USDT"].free -= units_of(Decimal("1.5"))
        error = await world.refused(world.go_on(adjustments=("dust/XYZUSDT=1",), **words))
        assert isinstance(error, UsageError)
        life = await world.traded(world.go_on(adjustments=("USDT=-1.5",), **words))
        agree(world, life)
        await world.market.move(-2)
        assert not life.positions()
        await finished(world, life)
        assert len([entry for entry in world.entries() if isinstance(entry, Adjusted)]) == 1

    story(tell)


def test_a_lock_stays_over_processes_and_goes_by_a_word_that_is_kept_and_replayed():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await asyncio.sleep(3)
        world.account.balances["USDT"].free -= units_of(Decimal(50))
        await world.until(lambda: "HALTED" in life.locks().values(), "halted", 300)
        (source,) = life.locks()
        await world.crash(life)
        world.account.balances["USDT"].free += units_of(Decimal(50))
        life = await world.traded(world.go_on())
        assert life.locks() == {source: "HALTED"}
        await world.end(life)
        words: dict[str, Any] = {"operator": "ada", "reason": "it came back"}
        error = await world.refused(world.go_on(releases=("reconcilation",), **words))
        assert f"there is no such lock. Did you mean {source}?" in str(error)
        life = await world.traded(world.go_on(releases=(source,), **words))
        assert life.locks() == {}
        await world.rise(life)
        await finished(world, life)
        released = [entry.event for entry in world.entries() if isinstance(entry, Controlled)]
        assert released[-1].state is TradingState.ACTIVE
        assert "ada" in released[-1].reason

    story(tell)


# -- the account -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["in order", "by a crash"])
def test_an_account_with_something_left_is_not_traded_anew_unless_somebody_says_so(ends):
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        await (world.end(life) if ends == "in order" else world.crash(life))
        first = world.run_dir.name
        error = await world.refused(world.start())
        assert isinstance(error, SafetyRefusal)
        left = "1 open positions" if ends == "in order" else "whatever a process that was stopped leaves"
        assert f"run {first} left {left}" in str(error)
        assert re.search(f"claire run --continue {first}.*claire run --fresh", str(error))
        life = await world.traded(world.start(starts_anew=True))
        assert not life.positions()
        await world.end(life)
        assert world.run_dir.name != first
        life = await world.traded(world.start())
        await world.end(life)

    story(tell)


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_run_directory_that_is_gone_or_damaged_does_not_make_what_it_left_nobodys(harm):
    async def tell(world: World) -> None:
        await with_position(world)
        if harm == "gone":
            world.run_dir.rename(world.runs.parent / "elsewhere")
        else:
            data = bytearray(segment(world.run_dir).read_bytes())
            data[100] ^= 1
            segment(world.run_dir).write_bytes(data)
        error = await world.refused(world.start())
        assert isinstance(error, SafetyRefusal)
        assert ("is gone" in str(error)) is (harm == "gone")
        assert "claire run --fresh" in str(error)
        life = await world.traded(world.start(starts_anew=True))
        assert not life.positions()

    story(tell)


# -- ends that were cut off --------------------------------------------------------------------------------------------
