"""One seed: a venue, a computer, a Claire on it, weather; and whether everything held.

Everything runs in one event loop over virtual time: the simulated venue behind its real wire protocol, and the production
path from the sockets to the SQL ledger. Nothing depends on the real clock, so a seed is the same whenever it is run.
"""

import asyncio
import gc
import hashlib
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from claire.adapters.config import Settings, load
from claire.adapters.venues.mexc.items import FeedAlert
from claire.drill.host import Host, SimCrash, make_task
from claire.drill.invariants import Limits
from claire.drill.life import Life, live_once
from claire.drill.oracle import Oracle
from claire.drill.virtual import Deadlock, VirtualLoop, run_virtually
from claire.drill.weather import Climate, Outage, Weather, draw
from claire.engine.pipeline import Pipeline
from claire.gateway.signer import Keys
from claire.latch.epoch import EPOCH
from claire.mexcsim import SimConfig, Simulator
from claire.mexcsim.flow import FlowSettings
from claire.mexcsim.symbols import BUILT_IN, SymbolRule
from claire.model.decisions import TradingState
from claire.model.errors import ClaireError
from claire.model.orders import Evidence
from claire.services.account import ACCOUNTS
from claire.services.keeping import LEDGER
from claire.services.replay import replay

EPOCH_NS: Final = 1_790_000_000_000_000_000
"""UTC when the virtual time of every seed begins."""

CAPITAL: Final = Decimal(1000)
HELD: Final = Decimal(2000)
"""What the account holds; the rest of it is none of Claire's business."""

ACCESS, SECRET = "drill-key", "drill-secret"  # pragma: allowlist secret

LEAST_S: Final = 12.0
"""How long a life lasts at least."""

BUSY: Final = {
    "risk.max_drawdown_pct": 30,
    "risk.duplicate_window_ms": 1_000,
    "risk.max_orders_per_s": 10,
    "risk.max_orders_per_min": 100,
    "risk.max_orders_per_day": 2_000,
    "risk.max_entries_per_min": 10,
    "risk.max_entries_per_h": 60,
    "risk.max_entries_per_day": 300,
    "risk.cooldown_s": 0,
    "risk.stop_guard_exits": 20,
    "risk.stop_guard_min": 5,
    "risk.max_rejects_in_row": 20,
    "risk.max_rejects_per_5_min": 50,
}
"""The controls that slow a strategy down, as wide as they go: here orders are wanted, many of them."""

PRICES: Final = ("3600", "240", "18")
"""Where the pairs begin."""

MOST_RELAPSES: Final = 3
"""How often it may stop in good weather before nobody waits for it any more."""

USURPED_S: Final = 8.0
"""How long a process that was replaced goes on trying."""

RESTART_S: Final = 2.0
"""How long a process that stopped by itself stays down."""


class Plan(Struct, frozen=True, kw_only=True):
    """How seeds are made."""

    storm_s: float = 520.0
    """Least time during which things go wrong."""
    healing_s: float = 80.0
    """Time after the last fault in which everything has to come right."""
    submits: int = 20
    """The storm goes on until there are so many orders …"""
    patience_s: float = 1_800.0
    """… or this long."""
    trades_per_s: float = 20.0
    symbols: int = 3
    threshold_pct: tuple[float, float] = (0.15, 0.3)
    climate: Climate = Climate()
    exceeds_fence: bool = False
    """Whether the venue takes orders later than it may."""
    crash_at: tuple[int, ...] = ()
    """At which boundary each of the first lives crashes, beside what the weather says."""
    traces: bool = False
    """Whether the boundaries of the first life are listed."""


DENSE: Final = Plan(threshold_pct=(0.05, 0.12), submits=100)
"""Many orders per seed."""

BEYOND_THE_FENCE: Final = Plan(
    climate=Climate(
        unknown=(0.2, 0.3), ways=(2,), accept_late_ms=(12_000, 20_000), others=False, crashes=0, disk=0.0, usurpers=0.0
    ),
    exceeds_fence=True,
    storm_s=200.0,
    submits=3,
)
"""A venue that takes orders seconds after it may no longer: absence cannot be proven there, only be made good."""


class Outcome(Struct, kw_only=True):
    """What became of one seed."""

    seed: int
    virtual_s: float = 0.0
    submits: int = 0
    unknown_outcomes: int = 0
    crashes: int = 0
    stops: int = 0
    """How often the process ended by itself, and was started again."""
    duplicates: int = 0
    lost: int = 0
    violations: list[str] = []
    fault_state_pairs: list[tuple[str, str]] = []
    faults: list[str] = []
    digest: str = ""
    """Over the decisions of the run and the venue's own books."""
    steps: dict[str, int] = {}
    """Boundaries passed, by name, over all lives."""
    first_life: list[str] = []
    """Boundaries of the first life in order, where the plan asks for them."""
    recovery_steps: int = 0
    """Boundaries of the start of the second life."""
    crashed_at: list[str] = []
    late_live: int = 0
    """Orders that were alive after they had been called absent."""
    halted: str = ""
    """Why no more orders go out at the end; empty: they do."""
    alerts: dict[str, int] = {}
    seconds: float = 0.0
    """Real time that it took."""


def simulate(seed: int, plan: Plan | None = None) -> Outcome:
    """Run one seed.

    Raises:
        OSError: the folder for its files cannot be made.
    """
    plan = plan or Plan()
    shm = Path("/dev/shm")  # noqa: S108 - files that are worth nothing after the seed
    folder = Path(tempfile.mkdtemp(prefix="claire-drill-", dir=shm if shm.is_dir() else None))
    began = time.perf_counter()
    was_collecting = gc.isenabled()
    gc.disable()
    story = _Story(seed, plan, folder)
    try:
        run_virtually(story.tell)
    except Deadlock as deadlock:
        story.outcome.violations.append(f"deadlock: {deadlock}")
    finally:
        if was_collecting:
            gc.enable()
        gc.collect()
        shutil.rmtree(folder, ignore_errors=True)
    story.outcome.seconds = time.perf_counter() - began
    return story.outcome


class _Story:
    """One seed, told once."""

    def __init__(self, seed: int, plan: Plan, folder: Path) -> None:
        self.outcome = Outcome(seed=seed)
        self._seed = seed
        self._plan = plan
        self._folder = folder
        self._socket = folder / "venue"
        self._runs = folder / "runs"
        self._runs.mkdir()
        self._rng = random.Random(f"{seed}:drill")
        self._weather: Weather = draw(random.Random(f"{seed}:weather"), plan.climate, plan.storm_s)
        self._passed: Counter[str] = Counter()
        self._alerts: Counter[str] = Counter()
        self._storm_ended_s = 0.0
        self._relapses = 0

    async def tell(self, loop: VirtualLoop) -> None:
        """Run it."""
        self._loop = loop
        loop.set_task_factory(make_task)
        rng, plan = self._rng, self._plan
        rules = [coarse(rule, start) for rule, start in zip(BUILT_IN[: plan.symbols], PRICES, strict=False)]
        self._settings = self._configure([rule.symbol for rule in rules])
        config = SimConfig(
            symbols=tuple(rules),
            seed=self._seed,
            port=None,
            unix_socket=self._socket,
            clock=lambda: (EPOCH_NS + loop.now_ns()) // 1_000_000,
            flow=FlowSettings(
                events_per_s=plan.trades_per_s / len(rules),
                taker_share=1.0,
                levels=3,
                volatility_bps=rng.uniform(3.0, 6.0),
                burst_every_s=rng.uniform(12.0, 30.0),
                burst_pct=0.5,
                level_quote=rng.choice((30.0, 300.0, 2_000.0)),
            ),
            past_minutes=10,
            beat_ms=100,
        )
        fee_asset = rng.choice(("received", "quote"))
        async with Simulator(config) as sim:
            key = sim.add_account(ACCESS, SECRET, balances={"USDT": HELD, "MX": 3}, fee_asset=fee_asset)
            risk = self._settings.risk
            limits = Limits(CAPITAL, risk.max_symbol_pct, risk.max_gross_pct, risk.max_open_orders)
            self._oracle = Oracle(sim, key.account, limits, exceeds_fence=plan.exceeds_fence)
            loop.set_exception_handler(self._unhandled)
            for fault in self._weather.faults:
                sim.fault(fault)
            watch = loop.create_task(self._watch(sim))
            try:
                await self._lives(sim)
            finally:
                watch.cancel()
                await asyncio.wait((watch,))
        self._close(sim)

    # -- the computer --------------------------------------------------------------------------------------------------

    async def _lives(self, sim: Simulator) -> None:
        """Start Claire, again and again, until one of its lives reaches the end of the story."""
        crashes = list(zip(self._weather.crashes, self._weather.loses_requests, strict=True))
        number = 0
        plan = self._plan
        life = Life(self._settings, Keys(ACCESS, SECRET), self._runs, self._is_over, self._see, self._alert)
        while True:
            host = self._boot()
            number += 1
            host.trace = [] if plan.traces and number == 1 else None
            if number <= len(plan.crash_at):
                host.crash_at = plan.crash_at[number - 1]
            elif crashes:
                (at_s, steps, _), _ = crashes[0]
                self._loop.call_at(max(at_s, self._loop.time() + 0.5), _arm, host, steps)
            work = host.start(live_once(host, life))
            died = asyncio.ensure_future(host.died.wait())
            await asyncio.wait((work, died), return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            off_s = RESTART_S
            if host.is_off:
                self._oracle.pipeline = None
                self.outcome.crashes += 1
                self.outcome.crashed_at.append(host.crashed_at)
                if crashes and number > len(plan.crash_at):
                    (_, _, off_s), is_lost = crashes.pop(0)
                    if is_lost:
                        sim.lose_requests()
            await host.bury()
            self._count(host, number)
            if not host.is_off and self._ended(work):
                return
            self._oracle.pipeline = None
            if self._loop.time() > self._plan.patience_s + 10 * self._plan.healing_s:
                self._oracle.note("Claire does not come back")
                return
            await asyncio.sleep(off_s)

    def _count(self, host: Host, number: int) -> None:
        """Take in what a life leaves behind."""
        self._passed.update(host.passed)
        host.passed.clear()
        if host.sent_in_vain:
            self._oracle.note(f"{host.sent_in_vain} orders were sent by a process that a newer one had replaced")
        if number == 1 and host.trace is not None:
            self.outcome.first_life = host.trace
        if number == 2:
            self.outcome.recovery_steps = host.recovery_steps or host.steps

    def _boot(self) -> Host:
        self._booted_s = self._loop.time()
        self._host = Host(
            self._loop,
            self._runs,
            self._socket,
            random.Random(self._rng.getrandbits(64)),
            epoch_ns=EPOCH_NS,
            skew_ns=self._weather.skew_ms * 1_000_000,
        )
        return self._host

    def _ended(self, work: "asyncio.Task[Any]") -> bool:
        """Whether a life that was not cut off ended in order; one that stopped by itself is told, and started again."""
        error = work.exception()
        if error is None:
            return True
        if not isinstance(error, ClaireError):
            self._oracle.note(f"Claire ended with {type(error).__name__}: {error}")
            return True
        elif self._storm_ended_s and self._loop.time() > self._storm_ended_s + self._plan.healing_s / 2:
            self._oracle.note(f"Claire stops in good weather: {error}")
            self._relapses += 1
            if self._relapses > MOST_RELAPSES:
                return True
        self.outcome.stops += 1
        self._alerts[f"stopped: {type(error).__name__}"] += 1
        return False

    def _see(self, pipeline: Pipeline, run_dir: Path) -> None:
        self._oracle.pipeline = pipeline
        self._oracle.ledger = run_dir / LEDGER

    def _alert(self, alert: FeedAlert) -> None:
        self._alerts[str(alert.kind)] += 1

    def _is_over(self) -> bool:
        """Whether a life may end: the story is over, and it has had time to come right."""
        if not self._storm_ended_s or self._oracle.pipeline is None:
            return False
        now_s = self._loop.time()
        return now_s >= self._storm_ended_s + self._plan.healing_s and now_s >= self._booted_s + LEAST_S

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Note what a callback or a forgotten task raised (of a dead computer nothing counts)."""
        error = context.get("exception")
        if not self._host.is_off and not isinstance(error, SimCrash):
            self._oracle.note(f"unhandled: {context.get('message')}: {type(error).__name__}: {error}")

    # -- the weather ---------------------------------------------------------------------------------------------------

    async def _watch(self, sim: Simulator) -> None:
        """Each virtual second: let the weather happen, and look."""
        outages = list(self._weather.outages)
        usurpers = list(self._weather.usurpers)
        full: Outage | None = None
        while True:
            await asyncio.sleep(1.0)
            now_s = self._loop.time()
            if self._oracle.pipeline is not None:
                self.outcome.submits, _ = _outcomes(self._oracle.pipeline, self._oracle.unanswered)
            if not self._storm_ended_s and (
                (now_s >= self._plan.storm_s and self.outcome.submits >= self._plan.submits)
                or now_s >= self._plan.patience_s
            ):
                self._storm_ended_s = now_s
                sim.clear_faults()
            while outages and now_s >= outages[0].at_s:
                outage = outages.pop(0)
                if outage.for_s:
                    full = outage
                else:
                    self._host.disk.failing_syncs = 1
            if usurpers and now_s >= usurpers[0] and self._oracle.pipeline is not None:
                usurpers.pop(0)
                self._usurp()
            is_full = full is not None and now_s < full.at_s + full.for_s and not self._storm_ended_s
            self._host.disk.is_full = is_full
            if self._storm_ended_s:
                self._host.disk.failing_syncs = 0
            self._oracle.look()

    def _usurp(self) -> None:
        """Let another process begin the account's next epoch; after a while this one's computer is switched off."""
        epoch = self._runs / ACCOUNTS / self._settings.account.id / EPOCH
        epoch.write_bytes(b"%d\n" % (int(epoch.read_bytes()) + 1))
        self._host.is_usurped = True
        self._loop.call_later(USURPED_S, self._host.power_off)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _close(self, sim: Simulator) -> None:
        outcome, oracle = self.outcome, self._oracle
        outcome.virtual_s = self._loop.time()
        ledger, pipeline = oracle.ledger, oracle.pipeline
        if ledger is None or pipeline is None:
            oracle.note("Claire never traded")
        else:
            oracle.judge(ledger, pipeline, CAPITAL)
            outcome.submits, outcome.unknown_outcomes = _outcomes(pipeline, oracle.unanswered)
            outcome.late_live = sum(order.life.late_live for order in pipeline.stages.execution.orders.values())
            risk = pipeline.stages.risk.state
            outcome.halted = risk.trading_reason if risk.trading is TradingState.HALTED else ""
            outcome.digest = self._replayed(ledger.parent)
        for failure in sim.venue.failures:
            oracle.note(f"the venue failed: {type(failure).__name__}: {failure}")
        outcome.violations += oracle.violations
        outcome.duplicates, outcome.lost = oracle.duplicates, oracle.lost
        outcome.fault_state_pairs = sorted(oracle.pairs)
        outcome.faults = list(self._weather.kinds)
        outcome.steps = dict(sorted(self._passed.items()))
        outcome.alerts = dict(sorted(self._alerts.items()))

    def _replayed(self, run_dir: Path) -> str:
        """Replay the whole run; return its digest together with the venue's books."""
        try:
            result = replay(run_dir)
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed has failed and says so
            self._oracle.note(f"the journal does not replay: {type(error).__name__}: {error}")
            return ""
        if not result.identical:
            self._oracle.note(f"the journal replays otherwise: {result.first_difference}")
        account = self._oracle.account
        books = [
            (order.client_id, order.status.name, order.filled, order.cost_units, order.updated_ms)
            for order in account.orders.values()
        ]
        return hashlib.sha256(repr((result.decision_digest, books)).encode()).hexdigest()

    def _configure(self, symbols: list[str]) -> Settings:
        rng = self._rng
        entry = rng.choice(("market", "market", "limit"))
        words = {
            "mexc.rest_url": f"unix:{self._socket}",
            "mexc.ws_url": "ws://localhost/ws",
            "account.capital": CAPITAL,
            "lookback_s": rng.choice((1, 2, 4)),
            "threshold_pct": round(rng.uniform(*self._plan.threshold_pct), 3),
            "stop_loss_pct": 0.3,
            "take_profit_pct": 0.3,
            "max_hold_s": rng.choice((4, 8, 15)),
            "allocation.mode": "full",
            "risk.position_pct": rng.choice((4, 8, 10)),
            "risk.max_symbol_pct": 12,
            "risk.max_gross_pct": 22,
            "risk.max_daily_loss_pct": 10,
            **BUSY,
            "execution.entry_type": entry,
            "execution.entry_ttl_s": rng.choice((2, 5)),
        }
        assignments = [f"{name}={value}" for name, value in words.items()]
        return load(assignments=assignments, symbols=symbols, strategy="momentum", mode="testnet", environ={}).settings


def coarse(rule: SymbolRule, start: str) -> SymbolRule:
    """Return a pair with a tick of some basis points: quotes stay where they are for a while, and prices come again."""
    price = Decimal(start)
    return structs.replace(rule, start_price=price, price_decimals=max(0, 3 - price.adjusted()))


def _arm(host: Host, steps: int) -> None:
    """Let the power go now, or so many boundaries later."""
    if steps and not host.is_off:
        host.crash_at = host.steps + steps
    else:
        host.power_off()


def _outcomes(pipeline: Pipeline, unanswered: Mapping[str, None]) -> tuple[int, int]:
    """How many orders were sent, and of how many the outcome was unknown: no answer came, or nobody was left to hear it."""
    lives = {order.client_order_id: order.life.evidence for order in pipeline.stages.execution.orders.values()}
    sent = {name: heard for name, heard in lives.items() if Evidence.SENT in heard and Evidence.NOT_SENT not in heard}
    return len(sent), sum(Evidence.UNKNOWN in heard or name in unanswered for name, heard in sent.items())
