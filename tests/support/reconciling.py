"""An account at the simulator that a pipeline trades and reconciliation watches, all in one loop over virtual time."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import Struct, structs

from claire.adapters.config import Settings, load
from claire.adapters.machine import Machine
from claire.adapters.venues.mexc.connection import Clocks
from claire.adapters.venues.mexc.instruments import require_tradable
from claire.adapters.venues.mexc.items import FeedAlert
from claire.adapters.venues.mexc.opening import open_rest, read_listing
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.privatedecoder import Foreign
from claire.adapters.venues.mexc.pushes import BalancePush
from claire.adapters.venues.mexc.trading import MexcTrading
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.drill.virtual import VirtualLoop, run_virtually
from claire.engine.externals import ExternalMove, Externals
from claire.engine.pipeline import Pipeline
from claire.gateway.gate import Gate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys
from claire.mexcsim import SimConfig, Simulator
from claire.mexcsim.accounts import ApiKey
from claire.mexcsim.faults import Fault
from claire.mexcsim.flow import FlowSettings
from claire.mexcsim.limits import Limits
from claire.mexcsim.orders import Kind, Order
from claire.mexcsim.rules import NewOrder
from claire.mexcsim.symbols import choose
from claire.model.decisions import ControlEvent, TradingState, VenueReport
from claire.model.market import Side, Trade
from claire.model.money import units_of
from claire.model.orders import OrderState
from claire.services.assembly import assemble, client_prefix
from claire.services.feeding import LiveMarket, live_info
from claire.services.ownrecord import OwnRecord
from claire.services.reconciliation import Reconciliation
from tests.support import puppet
from tests.support.markets import at_any_pace

EPOCH_NS: Final = 1_790_000_000_000_000_000
BTC: Final = "BTCUSDT"
RUN_ID: Final = "20261120-1200-abc"
ACCESS, SECRET = "watched-key", "watched-secret"  # pragma: allowlist secret
STILL: Final = FlowSettings(events_per_s=0)
BEAT_S: Final = 0.05


class Said(Struct, frozen=True):
    """A lock, and when it was said (virtual seconds)."""

    at_s: float
    state: TradingState
    reason: str


class Watched:
    """The account, what trades it and what watches it."""

    def __init__(
        self, loop: VirtualLoop, sim: Simulator, key: ApiKey, pipeline: Pipeline, venue: MexcVenue, record: OwnRecord
    ) -> None:
        self.loop = loop
        self.sim = sim
        self.key = key
        self.account = key.account
        self.other = sim.add_account("by-hand", "by-hand-secret", uid=key.account.uid)
        self.stranger = sim.add_account("stranger", "stranger-secret", balances={"USDT": 10**6, "BTC": 100})
        self.pipeline = pipeline
        self.venue = venue
        self.record = record
        self.locks: list[Said] = []
        self.notes: list[str] = []
        self.moves: list[ExternalMove] = []
        self.deafened = False
        """Reports are lost between the venue adapter and the pipeline."""
        self.reconciliation: Reconciliation

    # -- what Claire does ------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return (EPOCH_NS + self.loop.now_ns()) // 1_000_000

    @property
    def market(self) -> Any:
        return self.sim.venue.exchange.markets[BTC]

    @property
    def last_ticks(self) -> int:
        return int(self.market.tape.last_price)

    @property
    def ask_ticks(self) -> int:
        """Where an entry fills at once."""
        return int(self.market.book.opposite(Side.BUY).best_price())

    @property
    def bid_ticks(self) -> int:
        """Where an entry rests, as the best bid."""
        return self.ask_ticks - 1

    def trade(self, ticks: int, lots: int) -> None:
        """Let the pipeline see a trade."""
        at_ns = max(EPOCH_NS + self.loop.now_ns(), self.pipeline.now_ns)
        self.pipeline.feed(Trade(BTC, at_ns, ticks, lots, Side.BUY))

    async def enter(self, ticks: int | None = None) -> int:
        """Have an entry sent at a price (a limit order, unless configured otherwise); return its number."""
        before = self.pipeline.stages.risk.state.orders
        self.trade(ticks or self.ask_ticks, 1)
        self.trade(ticks or self.ask_ticks, puppet.ENTER_LOTS)
        assert self.pipeline.stages.risk.state.orders == before + 1
        await self.until(lambda: self.state(before + 1) is not OrderState.SENT, 5)
        return before + 1

    async def leave(self) -> int:
        """Have the position sold; return the order's number."""
        before = self.pipeline.stages.risk.state.orders
        self.trade(self.last_ticks, puppet.EXIT_LOTS)
        assert self.pipeline.stages.risk.state.orders == before + 1
        await self.until(lambda: self.state(before + 1) is OrderState.FILLED, 5)
        return before + 1

    def lots_worth(self, usdt: int) -> int:
        """How many lots are worth so much."""
        one_lot: int = self.last_ticks * self.market.rule.unit_value
        return -(-units_of(usdt) // one_lot)

    def fault(self, fault: Fault) -> None:
        """Let something go wrong at the venue, until `heal`."""
        self.sim.fault(fault)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.sim.clear_faults()

    def state(self, order_no: int) -> OrderState:
        return self.pipeline.stages.execution.orders[order_no].life.state

    def filled(self, order_no: int) -> int:
        return self.pipeline.stages.execution.orders[order_no].life.filled_lots

    def report(self, report: VenueReport) -> None:
        if not self.deafened:
            at_ns = max(EPOCH_NS + self.loop.now_ns(), self.pipeline.now_ns)
            self.pipeline.report(structs.replace(report, ts_event_ns=at_ns))

    def hear(self, told: FeedAlert | Foreign | BalancePush) -> None:
        if isinstance(told, FeedAlert):
            self.notes.append(f"{told.kind}: {told.text}")
        elif isinstance(told, Foreign):
            self.reconciliation.foreign_seen(told.push.symbol)
        else:
            self.reconciliation.balance_changed(told)

    def lock(self, source: str, state: TradingState, reason: str) -> None:
        self.locks.append(Said(self.loop.time(), state, reason))
        self.pipeline.control(ControlEvent(state, reason, source, EPOCH_NS + self.loop.now_ns()))

    # -- what others do --------------------------------------------------------------------------------------------------

    def theirs(self, order_no: int) -> Order:
        """The venue's own side of an order."""
        (order,) = self.account.by_client_id[f"{client_prefix(RUN_ID)}{order_no}"]
        return order

    def place(self, key: ApiKey, side: Side, kind: Kind, lots: int, price: int = 0, client_id: str = "") -> Order:
        """Place an order at the venue past every wire."""
        wanted = NewOrder(symbol=BTC, side=side, kind=kind, price=price, lots=lots, client_id=client_id)
        order = self.sim.venue.exchange.place(key, wanted, self.sim.venue.market_ms())
        self.sim.venue.settle()
        return order

    def change(self, asset: str, amount: str, cause: str) -> None:
        """Change a balance, as the venue does for a deposit; told on the private stream."""
        happening = self.account.change(asset, units_of(amount), 0, cause, self.sim.venue.market_ms())
        self.sim.venue.exchange.out.append(happening)
        self.sim.venue.settle()

    def steal(self, asset: str, amount: str) -> None:
        """Change a balance without a word."""
        self.account.balance(asset).free -= units_of(amount)

    # -- what is seen ----------------------------------------------------------------------------------------------------

    @property
    def trading(self) -> TradingState:
        return self.pipeline.stages.risk.state.trading

    async def until(self, condition: Callable[[], object], within_s: float) -> float:
        """Wait until something is true; return how long that took."""
        began = self.loop.time()
        while not condition():
            assert self.loop.time() - began < within_s, (
                f"not within {within_s} s; locks {self.locks}, notes {self.notes}"
            )
            await asyncio.sleep(0.01)
        return self.loop.time() - began

    async def stays(self, state: TradingState, for_s: float) -> None:
        """Wait, and see that what may be sent does not change."""
        count = len(self.locks)
        await asyncio.sleep(for_s)
        assert self.locks[count:] == []
        assert self.trading is state

    async def beat(self) -> None:
        """Let happen what the clock says is due."""
        while True:
            await asyncio.sleep(BEAT_S)
            now_ns = EPOCH_NS + self.loop.now_ns()
            if self.pipeline.now_ns and now_ns >= self.pipeline.next_due_ns:
                self.pipeline.advance(now_ns)


def settings_for(socket: Path, *more: str) -> Settings:
    """A configuration whose strategy does as it is told."""
    words = (
        f"mexc.rest_url=unix:{socket}",
        "mexc.ws_url=ws://localhost/ws",
        "account.capital=1000",
        "allocation.mode=full",
        "risk.position_pct=10",
        "stop_loss_pct=0",
        "take_profit_pct=0",
        "max_hold_s=0",
        "execution.entry_type=limit",
        "execution.entry_ttl_s=3600",
        "risk.max_data_age_ms=60000",
        *more,
    )
    kind = str(Path(puppet.__file__))
    return load(assignments=list(words), symbols=(BTC,), strategy=kind, mode="testnet", environ={}).settings


@asynccontextmanager
async def watched(
    loop: VirtualLoop,
    *more: str,
    flow: FlowSettings = STILL,
    fee_asset: str = "received",
    mx_deduct: bool = False,
    externals: Externals | None = None,
    starts: bool = True,
) -> AsyncIterator[Watched]:
    """Open all of it, settled and running."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claire-")))
        socket = folder / "venue"
        config = SimConfig(
            symbols=choose((BTC, "MXUSDT")),
            port=None,
            unix_socket=socket,
            clock=lambda: (EPOCH_NS + loop.now_ns()) // 1_000_000,
            flow=flow,
            past_minutes=0,
            beat_ms=50,
            limits=Limits(enabled=False),
        )
        sim = await stack.enter_async_context(Simulator(config))
        held = {"USDT": Decimal(2000), "MX": Decimal(5)}
        key = sim.add_account(ACCESS, SECRET, balances=held, fee_asset=fee_asset, mx_deduct=mx_deduct)
        settings = settings_for(socket, *more)
        machine = Machine(wall_ns=lambda: EPOCH_NS + loop.now_ns(), monotonic_ns=lambda: 10**9 + loop.now_ns())
        keys = Keys(ACCESS, SECRET)
        rest = await stack.enter_async_context(open_rest(settings.mexc, keys, machine=machine))
        await rest.sync_clock()
        gate = Gate(now_ns=lambda: rest.venue_ms() * 1_000_000)
        endpoint = Endpoint.parse(settings.mexc.rest_url)
        sender = await stack.enter_async_context(OrderSender(endpoint, keys, gate=gate))
        tradables = require_tradable((BTC,), await read_listing(rest, (BTC,)))
        instruments = {BTC: tradables[BTC].instrument}
        trading = MexcTrading(rest, sender, tradables)
        sockets = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))))
        made: list[Watched] = []

        def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
            clocks = Clocks(machine.wall_ns, machine.monotonic_ns)
            return PrivateStream(
                trading, settings.mexc.ws_url, instruments, number_of, book=trading.book, clocks=clocks, session=sockets
            )

        def now_ns() -> int:
            return rest.venue_ms() * 1_000_000

        def hear(told: FeedAlert | Foreign | BalancePush) -> None:
            made[0].hear(told)

        def lock(source: str, state: TradingState, why: str) -> None:
            made[0].lock(source, state, why)

        venue = MexcVenue(
            trading,
            stream,
            now_ns=now_ns,
            on_alert=hear,
            on_lock=lock,
            is_ours=lambda name: name.startswith(client_prefix(RUN_ID)),
            on_foreign=hear,
            on_balance=hear,
        )
        record = OwnRecord()
        info = live_info((BTC,), "mexc", now_ns(), with_history=False, has_book=False)
        pipeline = assemble(settings, LiveMarket(instruments, info), (record,), run_id=RUN_ID, venue=venue).pipeline
        pipeline.stages.risk.go_by(at_any_pace(pipeline.stages.risk.rules))
        record.attach(pipeline)
        found = Watched(loop, sim, key, pipeline, venue, record)
        made.append(found)
        venue.listen(found.report)
        found.reconciliation = Reconciliation(
            record,
            venue,
            symbols=(BTC,),
            prefix=client_prefix(RUN_ID),
            now_ms=rest.venue_ms,
            on_lock=found.lock,
            on_external=found.moves.append,
            on_note=found.notes.append,
            look=venue.look,
            externals=externals,
        )
        await stack.enter_async_context(venue)
        found.trade(found.last_ticks, 1)
        tasks = [loop.create_task(found.beat())]
        if starts:
            assert await found.reconciliation.settle(30) == []
            tasks.append(loop.create_task(found.reconciliation.run()))
        try:
            yield found
            for task in tasks:
                assert not task.done(), task.exception()
            venue.check()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def virtually(story: Callable[[VirtualLoop], Awaitable[None]]) -> None:
    """Run a story over virtual time."""

    async def told(loop: VirtualLoop) -> None:
        await story(loop)

    run_virtually(told)
