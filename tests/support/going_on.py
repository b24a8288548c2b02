"""A run over several processes, in virtual time: a market that goes where a test says, and a computer that can lose its power.

What trades is the start-up path of `claire run` and `claire run --continue`, over the simulator's wire protocol.
"""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from claire.adapters.config import Settings, load
from claire.adapters.journal.entries import Entry
from claire.adapters.journal.reader import JournalReader
from claire.drill.host import Host, SimCrash, make_task
from claire.drill.virtual import VirtualLoop, run_virtually
from claire.engine.pipeline import Pipeline
from claire.gateway.signer import Keys
from claire.mexcsim import FlowSettings, SimConfig, Simulator
from claire.mexcsim.accounts import Account
from claire.mexcsim.limits import Limits
from claire.mexcsim.orders import Kind
from claire.mexcsim.rules import NewOrder
from claire.mexcsim.symbols import SymbolRule
from claire.model.market import Side
from claire.model.money import decimal_of
from claire.services.keeping import RunResult
from claire.services.mexc import Universe
from claire.services.recovery import GoOn, header_of, settings_of
from claire.services.replay import ReplayResult, replay
from claire.services.trading import Watching, trade_live

EPOCH_NS: Final = 1_795_000_000_000_000_000
ACCESS, SECRET = "on-key", "on-secret"  # pragma: allowlist secret
SYMBOL: Final = "ABCUSDT"
RULE: Final = SymbolRule(
    symbol=SYMBOL,
    base="ABC",
    quote="USDT",
    price_decimals=2,
    quantity_decimals=2,
    start_price=Decimal(100),
    min_notional=Decimal(5),
    min_notional_market=Decimal(5),
)
"""100 lots are 1 ABC; at 10,000 ticks (100 USDT) one lot is worth 1 USDT."""
CAPITAL: Final = Decimal(1000)
PARAMETERS: Final = {
    "lookback_s": "2",
    "threshold_pct": "0.5",
    "stop_loss_pct": "1",
    "take_profit_pct": "2",
    "max_hold_s": "0",
    "allocation.mode": "full",
    "account.capital": str(CAPITAL),
    "risk.max_data_age_ms": "5000",
    "risk.cooldown_s": "0",
}
"""A rise of half a percent within two seconds is bought; the position is left one percent below or two above."""
EVERY_S: Final = 0.25
"""How often somebody trades."""
SPREAD: Final = 1
STEP_TICKS: Final = 60
"""How far the price goes from one trade to the next: less than a collar allows."""


class Market:
    """Everybody else: quotes on both sides of a price, and one small trade there every `EVERY_S`."""

    def __init__(self, sim: Simulator) -> None:
        self.ticks = self.goal = 10_000
        self.is_open = True
        self.ask_lots = 1_000_000
        """What can be bought at once; 0: only what whoever trades just now takes."""
        self._sim = sim
        self._quotes: list[Any] = []
        book = sim.venue.exchange.markets[SYMBOL].book
        for half in (book.bids, book.asks):  # the market that the simulator begins with
            for level in list(half.top(10_000)):
                for order in list(level.orders):
                    sim.venue.exchange.cancel(order, sim.venue.market_ms())

    async def run(self) -> None:
        """Trade for ever."""
        while True:
            if self.is_open:
                self.trade()
            await asyncio.sleep(EVERY_S)

    def trade(self) -> None:
        """Quote at the price, and let somebody buy a little."""
        exchange, now_ms = self._sim.venue.exchange, self._sim.venue.market_ms()
        self.ticks += max(-STEP_TICKS, min(STEP_TICKS, self.goal - self.ticks))
        market = exchange.markets[SYMBOL]
        for order in self._quotes:
            if not order.status.is_final:
                exchange.cancel(order, now_ms)
        self._quotes = [
            exchange.rest_for_house(market, side, self.ticks + offset, lots, now_ms)
            for side, offset, lots in ((Side.BUY, -SPREAD, 1_000_000), (Side.SELL, SPREAD, self.ask_lots or 3))
        ]
        wanted = NewOrder(symbol=SYMBOL, side=Side.BUY, kind=Kind.IOC, price=self.ticks + SPREAD, lots=3)
        exchange.place_for_house(wanted, now_ms)
        self._sim.venue.settle()

    async def move(self, percent: float, *, wait_s: float = 3.0) -> None:
        """Go to another price, by and by."""
        self.goal = round(self.goal * (1 + percent / 100))
        await asyncio.sleep(wait_s)


class Life:
    """One process that trades."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.pipeline: Pipeline | None = None
        self.alerts: list[str] = []
        self.is_over = False
        self.task: asyncio.Task[RunResult] | None = None

    @property
    def is_trading(self) -> bool:
        """Whether its pipeline is there and its start is over."""
        return self.pipeline is not None and self.host.passed["recover.done"] > 0

    def positions(self) -> dict[tuple[str, str], Any]:
        """What is owned, by strategy and symbol."""
        assert self.pipeline is not None
        return dict(self.pipeline.stages.portfolio.state.books.positions)

    def locks(self) -> dict[str, str]:
        """Locks of the trading state, by source."""
        assert self.pipeline is not None
        return {source: lock.state.value for source, lock in self.pipeline.stages.risk.state.locks.items()}


class World:
    """A venue with its market, and one computer after the other on the same disk."""

    def __init__(self, loop: VirtualLoop, sim: Simulator, folder: Path, mode: str) -> None:
        self.loop = loop
        self.sim = sim
        self.market = Market(sim)
        self.mode = mode
        self.runs = folder / "runs"
        self.runs.mkdir()
        self.lives: list[Life] = []
        self._folder = folder
        self._rng = random.Random(1)

    # -- the run -----------------------------------------------------------------------------------------------------

    @property
    def run_dir(self) -> Path:
        """Of the newest run."""
        return sorted(path for path in self.runs.iterdir() if (path / "journal").is_dir())[-1]

    @property
    def words(self) -> dict[str, str]:
        """What is configured, unless a test says otherwise."""
        return {
            "mexc.rest_url": f"unix:{self._folder / 'venue'}",
            "mexc.ws_url": "ws://localhost/ws",
            **PARAMETERS,
        }

    def settings(self, *more: str, **changed: str) -> Settings:
        """The configuration, with these changes."""
        assignments = [f"{name}={value}" for name, value in (self.words | changed).items()]
        return load(
            assignments=[*assignments, *more], symbols=[SYMBOL], strategy="momentum", mode=self.mode, environ={}
        ).settings

    def entries(self, run_dir: Path | None = None) -> list[Entry]:
        """The journal of a run."""
        return list(JournalReader(run_dir or self.run_dir))

    def replayed(self) -> ReplayResult:
        """Replay the newest run."""
        return replay(self.run_dir)

    @property
    def account(self) -> Account:
        """The account at the venue."""
        return self.sim.venue.exchange.keys[ACCESS].account

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(
        self,
        settings: Settings | None = None,
        go_on: GoOn | None = None,
        *,
        snapshot_s: float = 0.0,
        starts_anew: bool = False,
        crash_at: int = 0,
        assignments: Sequence[str] = (),
    ) -> Life:
        """Start a process: a new run, or one that goes on; the settings of a run that goes on are those of before."""
        host = Host(self.loop, self.runs, self._folder / "venue", self._rng, epoch_ns=EPOCH_NS)
        host.crash_at = crash_at
        life = Life(host)
        self.lives.append(life)
        if go_on is None:
            universe, settings = Universe(), settings or self.settings()
        else:
            universe = Universe(symbols=header_of(go_on.run_dir).source.symbols)
            settings = settings_of(go_on.run_dir, settings, assignments)

        def see(pipeline: Pipeline) -> None:
            life.pipeline = pipeline

        work = trade_live(
            settings,
            universe,
            runs_dir=self.runs,
            run_id="" if go_on is not None else f"20261120-10{len(self.lives):02d}-run",
            keys=Keys(ACCESS, SECRET) if self.mode == "testnet" else None,
            starts_anew=starts_anew,
            go_on=go_on,
            should_stop=lambda: life.is_over,
            watching=Watching(on_progress=see, on_alert=lambda alert: life.alerts.append(alert.text)),
            machine=host.machine,
            snapshot_s=snapshot_s,
        )
        life.task = host.start(work)
        return life

    def go_on(
        self, *, settings: Settings | None = None, snapshot_s: float = 0.0, crash_at: int = 0, **said: Any
    ) -> Life:
        """Start a process that goes on with the newest run."""
        assignments = said.pop("assignments", ())
        return self.start(
            settings, GoOn(self.run_dir, **said), snapshot_s=snapshot_s, crash_at=crash_at, assignments=assignments
        )

    async def traded(self, life: Life, *, patience_s: float = 120.0) -> Life:
        """Wait until a process has begun to trade; raise what it says instead."""
        ends = self.loop.time() + patience_s
        assert life.task is not None
        while not life.is_trading:
            if life.task.done():
                life.task.result()
            assert self.loop.time() < ends, f"it does not begin: {life.alerts}"
            await asyncio.sleep(0.05)
        return life

    async def until(
        self, condition: Callable[[], object], what: str, patience_s: float = 30.0, *, of: Life | None = None
    ) -> None:
        """Wait until something is true, in the newest process or another one."""
        ends = self.loop.time() + patience_s
        while not condition():
            life = of or self.lives[-1]
            if life.task is not None and life.task.done():
                life.task.result()
            assert self.loop.time() < ends, f"not within {patience_s} s: {what}; {life.alerts}"
            await asyncio.sleep(0.05)

    async def end(self, life: Life) -> RunResult:
        """Ask a process to end, and let it."""
        life.is_over = True
        assert life.task is not None
        await asyncio.wait((life.task,), timeout=60)
        await life.host.bury()
        return life.task.result()

    async def crash(self, life: Life) -> None:
        """Let the power go."""
        assert life.task is not None
        life.host.power_off()
        await life.host.bury()
        await asyncio.wait((life.task,))

    async def died(self, life: Life, patience_s: float = 120.0) -> bool:
        """Wait until the power went at the boundary that was asked for; False: the process ended, or runs on."""
        assert life.task is not None
        died = asyncio.ensure_future(life.host.died.wait())
        await asyncio.wait((life.task, died), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if life.host.is_off:
            await life.host.bury()
            return True
        return False

    async def refused(self, life: Life) -> Exception:
        """Wait until a process refuses to start; return what it says."""
        assert life.task is not None
        await asyncio.wait((life.task,), timeout=120)
        error = life.task.exception() if life.task.done() else None
        await life.host.bury()
        assert isinstance(error, Exception), f"it was not refused: {error!r}"
        return error

    async def rise(self, life: Life) -> None:
        """Have the price rise, and wait until a position is there and its order is over."""
        await asyncio.sleep(3.0)  # what a strategy remembers has to be there first
        before = len(life.positions())
        await self.market.move(1.0, wait_s=0.0)
        await self.until(lambda: len(life.positions()) > before, "a position", of=life)
        await asyncio.sleep(3.0)


def story(tell: Callable[[World], Awaitable[None]], mode: str = "testnet", fee_asset: str = "quote") -> None:
    """Tell a story in virtual time."""
    shm = Path("/dev/shm")  # noqa: S108 - files that are worth nothing afterwards
    folder = Path(tempfile.mkdtemp(prefix="claire-on-", dir=shm if shm.is_dir() else None))

    async def run(loop: VirtualLoop) -> None:
        loop.set_task_factory(make_task)
        unhandled: list[str] = []

        def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not isinstance(context.get("exception"), SimCrash):
                unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")

        loop.set_exception_handler(note)
        config = SimConfig(
            symbols=(RULE,),
            port=None,
            unix_socket=folder / "venue",
            clock=lambda: (EPOCH_NS + loop.now_ns()) // 1_000_000,
            flow=FlowSettings(events_per_s=0),
            limits=Limits(enabled=False),
            past_minutes=5,
            beat_ms=50,
        )
        async with Simulator(config) as sim:
            sim.add_account(ACCESS, SECRET, balances={"USDT": 2_000, "ABC": 5}, fee_asset=fee_asset)
            world = World(loop, sim, folder, mode)
            trading = loop.create_task(world.market.run())
            try:
                await tell(world)
            finally:
                trading.cancel()
                for life in world.lives:
                    if life.task is not None and not life.task.done():
                        life.host.power_off()
                        await life.host.bury()
        assert not unhandled, unhandled

    try:
        run_virtually(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def plain(value: Any) -> Any:
    """A struct as plain values, for comparison."""
    return msgspec.to_builtins(value)


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


def segment(run_dir: Path) -> Path:
    """The last segment of a run's journal."""
    return max((run_dir / "journal").glob("*.jrn"))
