"""A desk at MEXC: the trading client over the wire, against a simulator on this machine, in lockstep.

The desk has an event loop of its own and lets it run only while something is asked for, so nothing happens in between.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Final, TypeVar

from claire.adapters.venues.mexc.budget import Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.instruments import Tradable, require_tradable
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.trading import MexcTrading, balances, report_of_submit
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.mexcsim import FlowSettings, SimConfig, Simulator, VenueHabits
from claire.mexcsim.limits import Limits
from claire.mexcsim.orders import Kind, Order
from claire.mexcsim.rules import NewOrder
from claire.mexcsim.symbols import SymbolRule
from claire.model.decisions import Cancel, Fill, OrderEvent, Submit, VenueReport
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.orders import Evidence, OrderState, OrderType
from claire.stages.execution import Execution
from tests.contract.venue_desk import ABC, SYMBOL, intent

T = TypeVar("T")
ACCESS, SECRET = "contract-key", "contract-secret"  # pragma: allowlist secret
WIDE: Final = {bucket: Limit(1e6, 1e6) for bucket in Bucket}
"""A budget that holds nothing back; the budget has tests of its own."""

ABC_RULE: Final = SymbolRule(
    symbol=SYMBOL,
    base="ABC",
    quote="USDT",
    price_decimals=2,
    quantity_decimals=2,
    start_price=Decimal(100),
    min_notional=Decimal(5),
    min_notional_market=Decimal(5),
)
NOBODYS: Final = Instrument.checked("NOSUCHUSDT", Decimal("0.01"), Decimal("0.01"), base="NOSUCH", quote="USDT")
"""A symbol that we have rules of and the venue does not know."""


class MexcDesk:
    """A `VenueDesk` (venue_desk.py) at the simulator."""

    def __init__(
        self, fee_asset: str = "received", taker_rate: str = "0.0005", post_only_cross: str = "refuse"
    ) -> None:
        self.reports: list[VenueReport] = []
        self.heard: list[OrderEvent | Fill] = []
        self.execution = Execution()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._house: list[Order] = []
        self._orders = 0
        config = SimConfig(
            symbols=(ABC_RULE,),
            flow=FlowSettings(events_per_s=0),
            habits=VenueHabits(post_only_cross=post_only_cross),
            limits=Limits(enabled=False),
            past_minutes=0,
        )
        self.sim = Simulator(config)
        self.trading: MexcTrading
        self.run(self._open(fee_asset, taker_rate))

    async def _open(self, fee_asset: str, taker_rate: str) -> None:
        await self._stack.enter_async_context(self.sim)
        self.sim.add_account(
            ACCESS, SECRET, balances={"USDT": 10_000, "ABC": 100}, fee_asset=fee_asset, taker_rate=Decimal(taker_rate)
        )
        keys, endpoint = Keys(ACCESS, SECRET), Endpoint.parse(self.sim.rest_url)
        gate = Gate(Budget(WIDE), time.monotonic_ns)
        rest = await self._stack.enter_async_context(MexcRest(endpoint, gate, signer=QuerySigner(keys)))
        sender = await self._stack.enter_async_context(OrderSender(endpoint, keys))
        rules = require_tradable([SYMBOL], await read_listing(rest, [SYMBOL]))
        assert rules[SYMBOL].instrument.notional(1, 1) == ABC.notional(1, 1)
        rules["NOSUCHUSDT"] = Tradable(NOBODYS, Decimal(0), Decimal(0), Decimal(0), None, None, (), None, None)
        self.trading = MexcTrading(rest, sender, rules)
        self._clear()

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._loop.close()

    def run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(asyncio.ensure_future(work, loop=self._loop))

    # -- the market ------------------------------------------------------------------------------------------------

    def depth(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> None:
        self._clear()
        market = self.sim.venue.exchange.markets[SYMBOL]
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for ticks, lots in levels.items():
                order = self.sim.venue.exchange.rest_for_house(market, side, ticks, lots, self.sim.venue.market_ms())
                self._house.append(order)

    def trade(self, price_ticks: int, lots: int = 100, side: Side = Side.BUY) -> None:
        """Let somebody take up to a price; what nobody offers is not traded."""
        wanted = NewOrder(symbol=SYMBOL, side=side, kind=Kind.IOC, price=price_ticks, lots=lots)
        self.sim.venue.exchange.place_for_house(wanted, self.sim.venue.market_ms())

    def _clear(self) -> None:
        """Take the rest of the market out of the book."""
        exchange = self.sim.venue.exchange
        book = exchange.markets[SYMBOL].book
        for half in (book.bids, book.asks):
            for level in list(half.top(10_000)):
                for order in list(level.orders):
                    if order.account is exchange.house:
                        exchange.cancel(order, self.sim.venue.market_ms())

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, side: Side, kind: OrderType, lots: int = 100, limit_ticks: int = 0, symbol: str = SYMBOL) -> int:
        self._orders += 1
        made = intent(self._orders, side, kind, lots, limit_ticks, symbol=symbol)
        for output in self.execution.on_intent(made):
            if isinstance(output, Submit):
                became = self.run(self.trading.submit(output.intent))
                self._hear(report_of_submit(made.order_no, became, 0))
        return made.order_no

    def cancel(self, order_no: int) -> None:
        order = self.execution.orders.get(order_no)
        if order is not None:
            order.life.note(Evidence.CANCEL_REQUESTED)
        fault = self.run(self.trading.cancel(Cancel(order_no, SYMBOL, 0), f"c{order_no}"))
        if fault is not None:
            refused = Evidence.CANCEL_REFUSED if fault.is_final else Evidence.UNKNOWN
            self._hear(VenueReport(order_no, 0, refused, code=fault.code, reason=fault.reason))

    def settle(self) -> None:
        """Look at every live order until looking tells nothing new."""
        for order in self.execution.live:
            look = self.run(self.trading.look(order.order_no, order.symbol, order.client_order_id, 0))
            for report in look.reports if look is not None else ():
                if report.evidence is not Evidence.ACKNOWLEDGED:  # heard when it was sent
                    self._hear(report)

    def _hear(self, report: VenueReport) -> None:
        self.reports.append(report)
        if report.order_no in self.execution.orders:
            outputs = self.execution.on_report(report)
            self.heard += [output for output in outputs if isinstance(output, OrderEvent | Fill)]

    # -- answers ---------------------------------------------------------------------------------------------------

    def state(self, order_no: int) -> OrderState:
        return self.execution.orders[order_no].life.state

    def fills(self, order_no: int) -> list[Fill]:
        return [event for event in self.heard if isinstance(event, Fill) and event.order_no == order_no]

    def code(self, order_no: int) -> str:
        return next((report.code for report in self.reports if report.order_no == order_no and report.code), "")

    def total(self, asset: str) -> Decimal:
        free, locked = self._balance(asset)
        return free + locked

    def free(self, asset: str) -> Decimal:
        return self._balance(asset)[0]

    def _balance(self, asset: str) -> tuple[Decimal, Decimal]:
        return balances(self.run(self.trading.account())).get(asset, (Decimal(0), Decimal(0)))
