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

from claire.adapters.journal.entries import Resumed, Snapped
from claire.adapters.journal.snapshots import SNAPSHOTS
from claire.adapters.store.committed import mark_in
from claire.cli.report import summary_text
from claire.model.errors import JournalError, LedgerError, ReplayError, SafetyRefusal, UsageError
from claire.services.account import ACCOUNTS, LastRun
from claire.services.feeding import LiveMarket
from claire.services.keeping import LEDGER
from claire.services.recovery import GoOn, continued, header_of, settings_of
from claire.services.reexecution import Reexecution
from claire.services.replay import replay
from claire.services.silent import SilentVenue
from claire.strategies.base import Opinion
from claire.strategies.momentum import Momentum
from tests.support.going_on import EPOCH_NS, RULE, World, agree, finished, segment, story, with_position

BOTH = pytest.mark.parametrize("mode", ["testnet", "paper"])


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
