"""An account at the simulator in virtual time: the venue adapter, the execution stage that hears it, one life after another."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp

from claire.adapters.venues.mexc.budget import Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.connection import Clocks
from claire.adapters.venues.mexc.instruments import Tradable, require_tradable
from claire.adapters.venues.mexc.items import FeedAlert
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.restored import Booked, Recovered, Restored, Standing
from claire.adapters.venues.mexc.trading import MexcTrading
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.drill.virtual import VirtualLoop, run_virtually
from claire.gateway.gate import Dispatch, Verdict
from claire.gateway.gate import Gate as LastGate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.latch.steps import Step, no_step
from claire.mexcsim import FlowSettings, SimConfig, Simulator
from claire.mexcsim.limits import Limits
from claire.mexcsim.orders import Kind
from claire.mexcsim.orders import Order as SimOrder
from claire.mexcsim.rules import NewOrder
from claire.mexcsim.symbols import SymbolRule
from claire.model.decisions import Cancel, ControlEvent, Fill, Intent, Submit, TradingState, VenueReport
from claire.model.market import Side
from claire.model.orders import Evidence, OrderState, OrderType
from claire.stages.execution import Execution, Order

EPOCH_NS: Final = 1_795_000_000_000_000_000
ACCESS, SECRET = "life-key", "life-secret"  # pragma: allowlist secret
SYMBOL: Final = "ABCUSDT"
WIDE: Final = {bucket: Limit(1e6, 1e6) for bucket in Bucket}
"""A budget that holds nothing back, for stories about something else; nor does the venue count."""
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

LIMIT, MARKET, IOC = OrderType.LIMIT, OrderType.MARKET, OrderType.IOC
BUY, SELL = Side.BUY, Side.SELL


class Crash(BaseException):
    """The process ends here."""


class Account:
    """What outlives a life: the simulator, the books (an execution stage and what it was told), and what was asked for."""

    def __init__(self, sim: Simulator, loop: VirtualLoop) -> None:
        self.sim = sim
        self.loop = loop
        self.execution = Execution()
        self.intents: dict[int, Intent] = {}
        self.reports: list[VenueReport] = []
        self.fills: list[Fill] = []
        self.locks: list[tuple[str, TradingState]] = []
        self.alerts: list[str] = []
        self.verdicts: list[Verdict] = []
        self.dispatches: list[Dispatch] = []
        self.steps: list[str] = []
        self.halts: list[ControlEvent] = []
        """What execution itself asked for."""
        self.venue: MexcVenue | None = None
        """Of the present life."""

    # -- the market --------------------------------------------------------------------------------------------------

    def offer(self, side: Side, ticks: int, lots: int) -> SimOrder:
        """Put an order of somebody else into the book."""
        exchange = self.sim.venue.exchange
        return exchange.rest_for_house(exchange.markets[SYMBOL], side, ticks, lots, self.sim.venue.market_ms())

    def take(self, side: Side, ticks: int, lots: int) -> None:
        """Let somebody else trade against what waits."""
        wanted = NewOrder(symbol=SYMBOL, side=side, kind=Kind.IOC, price=ticks, lots=lots)
        self.sim.venue.exchange.place_for_house(wanted, self.sim.venue.market_ms())
        self.sim.venue.settle()

    def theirs(self, number: int) -> list[SimOrder]:
        """What the venue has of an order of ours."""
        return self.sim.venue.exchange.keys[ACCESS].account.by_client_id.get(f"C1-{number}", [])

    # -- the books ---------------------------------------------------------------------------------------------------

    def ours(self, number: int) -> Order:
        return self.execution.orders[number]

    def state(self, number: int) -> OrderState:
        return self.ours(number).life.state

    def evidence(self, number: int) -> list[Evidence]:
        """What was reported of an order, but for executions."""
        return [each.evidence for each in self.reports if each.order_no == number and each.evidence is not None]

    def hear(self, report: VenueReport) -> None:
        self.reports.append(report)
        for output in self.execution.on_report(report):
            if isinstance(output, Fill):
                self.fills.append(output)
            elif isinstance(output, Cancel) and self.venue is not None:
                self.venue.cancel(output, output.ts_event_ns)
            elif isinstance(output, ControlEvent):
                self.halts.append(output)

    def agrees(self, number: int) -> bool:
        """Whether books and venue say the same of an order, and the books know it."""
        life = self.ours(number).life
        if life.state in (OrderState.SENT, OrderState.UNKNOWN):
            return False
        theirs = self.theirs(number)
        if not theirs:
            return life.is_terminal and not life.filled_lots
        (order,) = theirs
        return order.status.is_final is life.is_terminal and order.filled == life.filled_lots

    def check(self) -> None:
        """Hold what is true of every story: an order is at the venue once, and each of its executions in the books once."""
        for number in self.intents:
            theirs = self.theirs(number)
            assert len(theirs) <= 1, f"order {number} was sent {len(theirs)} times"
            booked = [(fill.price_ticks, fill.quantity_lots) for fill in self.fills if fill.order_no == number]
            real = [(fill.price, fill.lots) for order in theirs for fill in order.fills]
            for execution in booked:
                assert booked.count(execution) <= real.count(execution), f"order {number}: {booked} of {real}"

    def restored(self, *numbers: int, kinds: dict[int, Standing] | None = None) -> list[Restored]:
        """What recovery would tell the adapter of the orders."""
        return [self._restored(number, (kinds or {}).get(number)) for number in numbers or self.intents]

    def _restored(self, number: int, kind: Standing | None) -> Restored:
        order = self.ours(number)
        state = order.life.state
        fills = tuple(
            Booked(fill.trade_id, fill.price_ticks, fill.quantity_lots, fill.venue_order_id)
            for fill in self.fills
            if fill.order_no == number
        )
        if kind is None:
            kind = Standing.FINISHED if order.life.is_terminal else Standing.LIVE
            kind = Standing.RESOLVE if state in (OrderState.SENT, OrderState.UNKNOWN) else kind
        return Restored(self.intents[number], state, kind, fills, order.venue_order_id)


class Life:
    """One process."""

    def __init__(self, account: Account, venue: MexcVenue, trading: MexcTrading) -> None:
        self.account = account
        self.venue = venue
        self.trading = trading

    @property
    def gate(self) -> LastGate:
        return self.trading.gate

    def order(
        self,
        side: Side = BUY,
        kind: OrderType = MARKET,
        lots: int = 100,
        limit_ticks: int = 0,
        *,
        reduce_only: bool = False,
        collar_ticks: int = 0,
    ) -> int:
        """Decide upon an order and send it; return its number."""
        account = self.account
        number = len(account.intents) + 1
        now_ns = self.now_ns()
        intent = Intent(
            order_no=number,
            signal_no=number,
            account_id="main",
            venue="mexc",
            strategy_id="s",
            symbol=SYMBOL,
            side=side,
            type=kind,
            quantity_lots=lots,
            limit_ticks=limit_ticks,
            expires_ns=0,
            reduce_only=reduce_only,
            client_order_id=f"C1-{number}",
            ts_event_ns=now_ns,
            price_ticks=10_000,
            collar_ticks=collar_ticks,
        )
        account.intents[number] = intent
        for output in account.execution.on_intent(intent):
            if isinstance(output, Submit):
                self.venue.submit(output, now_ns)
        return number

    def cancel(self, number: int) -> None:
        """Ask for the end of an order."""
        self.account.ours(number).life.note(Evidence.CANCEL_REQUESTED)
        self.venue.cancel(Cancel(number, SYMBOL, self.now_ns()), self.now_ns())

    def now_ns(self) -> int:
        return EPOCH_NS + self.account.loop.now_ns()

    async def until(self, condition: Callable[[], object], deadline_s: float = 60.0) -> None:
        """Let time pass until something is true."""
        ends = self.account.loop.time() + deadline_s
        while not condition():
            self.venue.check()
            assert self.account.loop.time() < ends, f"not within {deadline_s} s; alerts: {self.account.alerts}"
            await asyncio.sleep(0.01)

    async def agreed(self, *numbers: int, deadline_s: float = 60.0) -> None:
        """Let time pass until books and venue say the same."""
        await self.until(lambda: all(self.account.agrees(number) for number in numbers), deadline_s)

    async def recover(self, patience_s: float = 60.0) -> Recovered:
        """Recover as the start of a run does."""
        await self.trading.rest.know_time()
        fence_ms = self.trading.rest.venue_ms() + 2_000 + 1_000
        return await self.venue.recover(fence_ms, patience_s=patience_s)


@asynccontextmanager
async def life(
    account: Account,
    restored: Iterable[Restored] = (),
    *,
    held: Decimal | None = None,
    step: Step = no_step,
    is_ours: Callable[[str], bool] | None = None,
    budget: Budget | None = None,
) -> AsyncIterator[Life]:
    """Run one process against the account until the block ends; orders at the venue stay as they are."""
    path = str(account.sim.config.unix_socket)
    endpoint, keys = Endpoint.parse(f"unix:{path}"), Keys(ACCESS, SECRET)
    loop = account.loop

    def passed(name: str) -> None:
        account.steps.append(name)
        step(name)

    def wall_ns() -> int:
        return EPOCH_NS + loop.now_ns()

    gate = LastGate(now_ns=wall_ns, on_verdict=account.verdicts.append, on_dispatch=account.dispatches.append)
    gate.seed({SYMBOL: held or Decimal(0)})
    rest = MexcRest(endpoint, Gate(budget or Budget(WIDE), loop.now_ns), signer=QuerySigner(keys), wall_ns=wall_ns)
    sender = OrderSender(endpoint, keys, gate=gate, step=passed)
    async with rest, sender, aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as sockets:
        tradables = account_rules if (account_rules := _RULES.get(path)) else await _rules(rest, path)
        trading = MexcTrading(rest, sender, tradables, step=passed)

        def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
            return PrivateStream(
                trading,
                "ws://localhost/ws",
                {SYMBOL: tradables[SYMBOL].instrument},
                number_of,
                clocks=Clocks(wall_ns, loop.now_ns),
                session=sockets,
            )

        venue = MexcVenue(
            trading,
            stream,
            now_ns=wall_ns,
            on_alert=lambda alert: _told(account, alert),
            on_lock=lambda source, state, _: account.locks.append((source, state)),
            is_ours=is_ours,
        )
        venue.restore(list(restored))
        venue.listen(account.hear)
        account.venue = venue
        async with venue:
            found = Life(account, venue, trading)
            await found.until(lambda: venue._stream.is_live or account.sim.venue.faults.listed(), 30)
            yield found


_RULES: dict[str, dict[str, Tradable]] = {}
"""Read once per simulator: a second life starts also where the venue is down."""


async def _rules(rest: MexcRest, path: str) -> dict[str, Tradable]:
    _RULES[path] = require_tradable([SYMBOL], await read_listing(rest, [SYMBOL]))
    return _RULES[path]


def _told(account: Account, alert: FeedAlert) -> None:
    account.alerts.append(alert.text)


def story(tell: Callable[[Account], Awaitable[None]], fee_asset: str = "quote") -> Account:
    """Run a story about an account from its beginning to its end, in virtual time, and check what is true of every story."""

    async def run(loop: VirtualLoop) -> Account:
        config = SimConfig(
            symbols=(RULE,),
            port=None,
            unix_socket=Path(folder) / "venue",
            clock=lambda: (EPOCH_NS + loop.now_ns()) // 1_000_000,
            flow=FlowSettings(events_per_s=0),
            limits=Limits(enabled=False),
            past_minutes=0,
            beat_ms=10,
        )
        async with Simulator(config) as sim:
            sim.add_account(ACCESS, SECRET, balances={"USDT": 1_000_000, "ABC": 1_000}, fee_asset=fee_asset)
            account = Account(sim, loop)
            _clear(sim)
            await tell(account)
            account.check()
        return account

    with tempfile.TemporaryDirectory() as folder:
        return run_virtually(run)


def _clear(sim: Simulator) -> None:
    """Take the market that the simulator begins with out of the book."""
    exchange = sim.venue.exchange
    book = exchange.markets[SYMBOL].book
    for half in (book.bids, book.asks):
        for level in list(half.top(10_000)):
            for order in list(level.orders):
                exchange.cancel(order, sim.venue.market_ms())
