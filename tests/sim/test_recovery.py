"""A run that was stopped goes on: after a crash anywhere, after an orderly end, with paper and with orders at a venue."""

import asyncio
import os
import random
import re
import shutil
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from claire.adapters.config import Settings, load
from claire.adapters.journal.entries import Adjusted, Commanded, Controlled, Resumed, Snapped
from claire.adapters.journal.snapshots import SNAPSHOTS
from claire.adapters.store.committed import mark_in
from claire.cli.report import summary_text
from claire.model.decisions import TradingState
from claire.model.errors import JournalError, LedgerError, ReplayError, SafetyRefusal, UsageError
from claire.model.money import decimal_of, units_of
from claire.services.account import ACCOUNTS, LastRun
from claire.services.feeding import LiveMarket
from claire.services.keeping import LEDGER, RunResult
from claire.services.recovery import GoOn, continued, header_of, settings_of
from claire.services.reexecution import Reexecution
from claire.services.replay import replay
from claire.services.silent import SilentVenue
from claire.strategies.base import Opinion
from claire.strategies.momentum import Momentum
from tests.support.going_on import EPOCH_NS, RULE, SYMBOL, Life, World, story

BOTH = pytest.mark.parametrize("mode", ["testnet", "paper"])


def agree(world: World, life: Life) -> None:
    """Hold the books against the venue's, where it is one outside; 5 ABC and half of the money are not Claire's."""
    assert life.pipeline is not None
    if world.mode != "testnet":
        return
    books = life.pipeline.stages.portfolio.state.books
    owned = sum((decimal_of(position.base_units) for position in books.positions.values()), Decimal(0))
    dust = sum((decimal_of(each.base_units) for each in books.dust.values()), Decimal(0))
    theirs = {asset: decimal_of(balance.free + balance.locked) for asset, balance in world.account.balances.items()}
    assert theirs["ABC"] == 5 + owned + dust
    assert theirs["USDT"] == 1000 + decimal_of(books.cash["USDT"])


@BOTH
def test_a_run_that_lost_its_power_goes_on_with_its_position_and_sells_it_at_its_stop(mode):
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        position = life.positions()
        await world.crash(life)
        assert "cut off" not in str(life.alerts)
        life = await world.traded(world.go_on())
        assert life.positions() == position
        await asyncio.sleep(3)
        assert life.positions() == position
        await world.market.move(-2)
        assert life.positions() == {}
        result = await world.end(life)
        agree(world, life)
        assert (result.summary.fills, result.summary.round_trips, result.summary.open_positions) == (2, 1, 0)
        replayed = world.replayed()
        assert (replayed.identical, replayed.decision_digest) == (True, result.summary.decision_digest)

    story(tell, mode)


@BOTH
def test_a_run_that_ended_in_order_goes_on_as_often_as_one_likes(mode):
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        result = await world.end(life)
        assert result.summary.open_positions == 1
        for number in range(3):
            life = await world.traded(world.go_on())
            await asyncio.sleep(4)
            await world.market.move(-2 if number % 2 else 3)
            if number % 2 == 0 and number:
                await asyncio.sleep(3)
            result = await world.end(life)
            agree(world, life)
            replayed = world.replayed()
            assert (replayed.identical, replayed.decision_digest) == (True, result.summary.decision_digest)
        assert sum(isinstance(entry, Resumed) for entry in world.entries()) == 3

    story(tell, mode)


@BOTH
def test_a_position_beyond_its_stop_is_sold_with_the_first_price_that_comes(mode):
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        await world.crash(life)
        await world.market.move(-5)
        life = await world.traded(world.go_on())
        await world.until(lambda: not life.positions(), "sold", 5)
        await asyncio.sleep(3)
        result = await world.end(life)
        agree(world, life)
        assert world.replayed().identical
        assert result.summary.orders == 2

    story(tell, mode)


@BOTH
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_power_that_goes_again_and_again_loses_nothing(mode, seed):
    rng = random.Random(seed)

    async def tell(world: World) -> None:
        life = await world.traded(world.start(snapshot_s=2.0))
        await asyncio.sleep(3)
        for number in range(12):
            await asyncio.sleep(rng.choice((0, 3, 5)))
            life.host.crash_at = life.host.steps + rng.randint(1, 60)
            await world.market.move((2, -3, 1)[number % 3], wait_s=0)
            assert await world.died(life, 60)
            life = world.go_on(snapshot_s=2.0)
            if number % 3 == 0:
                life.host.crash_at = rng.randint(1, 25)
                if await world.died(life, 20):
                    life = world.go_on(snapshot_s=2.0)
            await world.traded(life)
        await asyncio.sleep(10)
        result = await world.end(life)
        agree(world, life)
        assert len(world.lives) > 12
        assert result.summary.fills > 2
        replayed = world.replayed()
        assert (replayed.identical, replayed.decision_digest) == (True, result.summary.decision_digest)

    story(tell, mode)


@BOTH
@pytest.mark.parametrize("snapshot_s", [0.0, 2.0])
def test_what_is_counted_is_of_the_whole_run_and_says_what_is_not(mode, snapshot_s):
    async def tell(world: World) -> None:
        life = await world.traded(world.start(snapshot_s=snapshot_s))
        await world.rise(life)
        await asyncio.sleep(70)
        await world.crash(life)
        life = await world.traded(world.go_on(snapshot_s=snapshot_s))
        await asyncio.sleep(70)
        first = await world.end(life)
        life = await world.traded(world.go_on(snapshot_s=snapshot_s))
        await world.market.move(-2)
        summary = (await world.end(life)).summary
        assert (first.summary.continued, summary.continued) == (1, 2)
        assert (summary.signals, summary.orders, summary.fills, summary.round_trips) == (2, 2, 2, 1)
        assert summary.candles >= first.summary.candles >= 2
        assert summary.trades_in > first.summary.trades_in > 500
        assert sum(summary.suppressed.values()) + summary.signals == summary.trades_in
        assert summary.market_s > 140
        assert summary.elapsed_s < 10
        assert summary.trades_per_s == pytest.approx(4, abs=1)
        assert "gone on with 2 times" in summary_text(summary, "")

    story(tell, mode)


# -- snapshots ---------------------------------------------------------------------------------------------------------


def remembered(value: Any, seen: dict[int, bool] | None = None) -> Any:
    """All that an object holds, as plain values; functions are left out."""
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return {str(key): remembered(each, seen) for key, each in value.items()}
    if isinstance(value, list | tuple | deque):
        return [remembered(each, seen) for each in value]
    fields = getattr(value, "__struct_fields__", None) or getattr(value, "__slots__", None) or vars_of(value)
    if callable(value) or not fields:
        return "" if callable(value) else repr(value)
    if id(value) in seen:
        return "seen"
    seen[id(value)] = True
    return {name: remembered(getattr(value, name), seen) for name in fields if hasattr(value, name)}


def vars_of(value: Any) -> tuple[str, ...]:
    """The names of an object's attributes."""
    return tuple(getattr(value, "__dict__", ()))


def recovered(run_dir: Path, mode: str) -> tuple[Any, str]:
    """Open a run again without a venue; return all that its pipeline remembers, and its digest."""
    header = header_of(run_dir)
    market = LiveMarket(header.instruments, header.source)
    venue = SilentVenue() if mode == "testnet" else None
    settings = settings_of(run_dir, None, ())
    with continued(GoOn(run_dir), settings, market=market, now_ns=lambda: EPOCH_NS, venue=venue) as begun:
        return remembered(begun.assembly.pipeline.save(with_venue=mode == "paper")), begun.assembly.tally.digest


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The entries that recoveries (and replays) execute again."""
    found: list[Any] = []
    take = Reexecution.take

    def counted(self: Reexecution, entry: Any) -> None:
        found.append(entry)
        take(self, entry)

    monkeypatch.setattr(Reexecution, "take", counted)
    return found


@pytest.fixture
def one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program stays the same while the test runs, whoever commits meanwhile."""
    for module in ("keeping", "recovery", "replay"):
        monkeypatch.setattr(f"claire.services.{module}.code_version", lambda _: "1.0 test")


@BOTH
def test_a_snapshot_is_used_and_comes_to_the_same_as_the_whole_journal(mode, taken, one_program):
    async def tell(world: World) -> None:
        life = await world.traded(world.start(snapshot_s=2.0))
        await world.rise(life)
        await asyncio.sleep(6)
        await world.crash(life)
        copies = [Path(shutil.copytree(world.run_dir, world.runs.parent / name / world.run_dir.name)) for name in "ab"]
        shutil.rmtree(copies[1] / SNAPSHOTS)
        taken.clear()
        short = recovered(copies[0], mode)
        in_short = len(taken)
        long = recovered(copies[1], mode)
        assert short == long
        assert in_short < (len(taken) - in_short) / 3
        taken.clear()
        life = await world.traded(world.go_on())
        assert len(taken) == in_short
        await world.market.move(-3, wait_s=4)
        result = await world.end(life)
        agree(world, life)
        assert result.summary.round_trips == 1
        assert world.replayed().decision_digest == result.summary.decision_digest

    story(tell, mode)


@pytest.mark.parametrize("harm", ["altered", "gone", "another program's"])
def test_a_snapshot_that_cannot_be_used_costs_only_time(harm, taken, one_program, monkeypatch):
    async def tell(world: World) -> None:
        life = await world.traded(world.start(snapshot_s=2.0))
        await world.rise(life)
        await world.crash(life)
        snapshots = sorted((world.run_dir / SNAPSHOTS).iterdir())
        assert len(snapshots) == 2
        if harm == "altered":
            snapshots[-1].write_bytes(snapshots[-1].read_bytes()[:-1] + b"x")
        elif harm == "gone":
            snapshots[-1].unlink()
        else:
            monkeypatch.setattr("claire.services.recovery.code_version", lambda _: "1.1 test")
        entries = world.entries()
        last = max(number for number, entry in enumerate(entries, 1) if isinstance(entry, Snapped))
        taken.clear()
        life = await world.traded(world.go_on())
        assert len(taken) > len(entries) - last + 1
        assert (len(taken) == len(entries)) is (harm == "another program's")
        await world.market.move(-3, wait_s=4)
        result = await world.end(life)
        agree(world, life)
        replayed = world.replayed()
        assert (replayed.identical, replayed.decision_digest) == (True, result.summary.decision_digest)

    story(tell)


# -- what is refused ---------------------------------------------------------------------------------------------------


def refused(
    spoil: Callable[[World], None], kind: type[Exception], said: str, mode: str = "testnet", **go_on: Any
) -> None:
    """Have a run stop with a position, change something, and have it go on: it is refused, and nothing was sent."""

    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        await world.crash(life)
        spoil(world)
        orders = len(world.account.orders)
        error = await world.refused(world.go_on(**go_on))
        assert type(error) is kind, repr(error)
        assert re.search(said, str(error)), str(error)
        assert len(world.account.orders) == orders

    story(tell, mode)


def nothing(_: World) -> None:
    """Spoil nothing."""


def without_ledger(world: World) -> None:
    """Remove the ledger."""
    for path in world.run_dir.glob("ledger.sqlite*"):
        path.unlink()


@BOTH
def test_a_run_without_its_ledger_is_refused(mode):
    refused(without_ledger, LedgerError, "its ledger does not know the run", mode)


def test_a_run_with_the_ledger_of_another_is_refused():
    async def tell(world: World) -> None:
        for _ in range(2):
            life = await world.traded(world.start(starts_anew=True))
            await world.rise(life)
            await world.crash(life)
            await world.market.move(-1)
        without_ledger(world)
        for path in sorted(world.runs.glob("2*"))[0].glob("ledger.sqlite*"):
            shutil.copy(path, world.run_dir / path.name)
        error = await world.refused(world.go_on())
        assert "its ledger does not know the run" in str(error)

    story(tell)


def test_a_ledger_older_than_the_journal_is_refused():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await asyncio.sleep(3)
        for path in world.run_dir.glob("ledger.sqlite*"):
            shutil.copy(path, world.runs.parent / path.name)
        await world.rise(life)
        await world.crash(life)
        without_ledger(world)
        for path in world.runs.parent.glob("ledger.sqlite*"):
            shutil.copy(path, world.run_dir / path.name)
        error = await world.refused(world.go_on())
        assert isinstance(error, LedgerError)
        assert "older than" in str(error)

    story(tell)


@pytest.mark.parametrize(
    ("opinion", "said"),
    [
        (Opinion.NO_ENTRY, r"Decision 1, signal, is not decided any more"),
        (Opinion.ENTER, r"First at decision 1 \(input \d+\), signal: .*price_ticks \d+ → \d+"),
    ],
)
def test_a_program_that_decides_otherwise_is_refused_with_the_first_difference(monkeypatch, opinion, said):
    def spoil(_: World) -> None:
        monkeypatch.setattr(Momentum, "on_trade", lambda *_: opinion)

    refused(spoil, ReplayError, rf"this program decides otherwise than .* journal \(.*\)\. {said}.*Nothing was sent")


@BOTH
def test_a_replay_with_other_parameters_names_the_first_difference_also_where_nothing_is_decided(mode):
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        await world.rise(life)
        await world.end(life)
        for word, first in (("threshold_pct=50", 1), ("risk.position_pct=1", 2)):
            result = replay(world.run_dir, overrides=[word])
            assert not result.identical
            assert result.first_difference is not None
            assert result.first_difference.decision == first

    story(tell, mode)


@BOTH
def test_rules_that_the_venue_changed_are_named(mode):
    def spoil(world: World) -> None:
        rule = msgspec.structs.replace(RULE, min_notional=Decimal(6), min_notional_market=Decimal(6))
        world.sim.venue.exchange.change_rule(rule, world.sim.venue.market_ms())

    refused(spoil, UsageError, r"the venue changed the rules of ABCUSDT \(min_notional 5 → 6\)", mode)


@BOTH
def test_a_symbol_that_is_not_traded_any_more_is_named(mode):
    def spoil(world: World) -> None:
        rule = msgspec.structs.replace(RULE, api_trading=False)
        world.sim.venue.exchange.change_rule(rule, world.sim.venue.market_ms())

    refused(spoil, UsageError, "ABCUSDT", mode)


@pytest.mark.parametrize("said", [{"adjustments": ("USDT=1",)}, {"externals": ("USDT=1",)}])
def test_what_a_paper_run_cannot_be_told_is_refused(said):
    refused(nothing, UsageError, "trades on paper", "paper", operator="ada", reason="to try", **said)


def test_a_second_process_is_refused_and_told_of_the_first():
    async def tell(world: World) -> None:
        life = await world.traded(world.start())
        for second in (world.start(), world.start(starts_anew=True), world.go_on()):
            error = await world.refused(second)
            assert isinstance(error, SafetyRefusal)
            assert str(os.getpid()) in str(error)
        await world.rise(life)
        await world.market.move(-2)
        result = await world.end(life)
        agree(world, life)
        assert result.summary.fills == 2

    story(tell)


def test_two_processes_do_not_go_on_with_one_paper_run():
    async def tell(world: World) -> None:
        await world.traded(world.start())
        error = await world.refused(world.go_on())
        assert f"process {os.getpid()}" in str(error)

    story(tell, "paper")


# -- other settings ----------------------------------------------------------------------------------------------------


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


async def with_position(world: World, **more: Any) -> None:
    """Have a run that lost its power while it held a position."""
    life = await world.traded(world.start(**more))
    await world.rise(life)
    await world.crash(life)


async def finished(world: World, life: Life) -> RunResult:
    """End a process; its books are the venue's, and its journal replays."""
    result = await world.end(life)
    agree(world, life)
    replayed = world.replayed()
    assert (replayed.identical, replayed.decision_digest) == (True, result.summary.decision_digest)
    return result


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


def segment(run_dir: Path) -> Path:
    """The last segment of a run's journal."""
    return max((run_dir / "journal").glob("*.jrn"))


@BOTH
def test_an_end_that_was_cut_off_is_read_as_far_as_it_reaches_and_gone_on_with(mode):
    """Also where what is left of it is nonsense, as after a power cut."""

    async def tell(world: World) -> None:
        await with_position(world)
        mark = mark_in(world.run_dir / LEDGER, world.run_dir.name)
        assert mark is not None
        whole = segment(world.run_dir).read_bytes()
        cut = len(whole)
        for cut in range(len(whole) - 1, 0, -30):
            segment(world.run_dir).write_bytes(whole[:cut])
            if len(world.entries()) < mark.entries:
                break
            for tail in (b"", b"\xff" * 50, whole[cut + 1 :]):
                segment(world.run_dir).write_bytes(whole[:cut] + tail)
                result = world.replayed()
                assert result.identical, (cut, tail)
                assert result.truncated, (cut, tail)
        segment(world.run_dir).write_bytes(whole[: cut + 30] + b"\xff" * 50)
        life = await world.traded(world.go_on())
        assert len(life.positions()) == 1
        (resumed,) = [entry for entry in world.entries() if isinstance(entry, Resumed)]
        assert resumed.cut_bytes >= 50
        await world.market.move(-2)
        assert not life.positions()
        await finished(world, life)

    story(tell, mode)


def test_a_journal_that_ends_before_its_ledger_is_told_by_a_replay_and_refused_to_go_on():
    async def tell(world: World) -> None:
        await with_position(world)
        path = segment(world.run_dir)
        path.write_bytes(path.read_bytes()[:-900])
        result = world.replayed()
        assert result.identical
        assert any("more was lost than a crash can lose" in note for note in result.notes)
        error = await world.refused(world.go_on())
        assert isinstance(error, JournalError)
        assert "Orders may have been sent that the journal lost" in str(error)

    story(tell)


@pytest.mark.parametrize("left", ["nothing", "half an entry", "no journal"])
def test_a_run_that_never_began_is_not_gone_on_with_and_a_new_one_may_begin(left):
    async def tell(world: World) -> None:
        assert await world.died(world.start(crash_at=1))
        run_dir = world.runs / "20261120-1001-run"
        run_dir.mkdir()
        note = LastRun(run_dir.name, "whatever a process that was stopped leaves")
        (world.runs / ACCOUNTS / "paper" / "run").write_bytes(msgspec.json.encode(note))
        if left != "no journal":
            (run_dir / "journal").mkdir()
            (run_dir / "journal" / "000001.jrn").write_bytes(b"" if left == "nothing" else b"CLAIRE")
        with pytest.raises(JournalError, match=r"[Ss]tart a new run"):
            world.start(go_on=GoOn(run_dir))
        life = await world.traded(world.start())
        await finished(world, life)

    story(tell)
