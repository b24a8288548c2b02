"""A desk at MEXC as the pipeline meets it: orders over REST, what becomes of them from the private stream."""

import asyncio
from collections.abc import Callable

from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.model.decisions import Cancel, Submit
from claire.model.market import Side
from claire.model.orders import Evidence, OrderType
from tests.contract.mexc_desk import ACCESS, MexcDesk
from tests.contract.venue_desk import SYMBOL, intent

DEADLINE_S = 5.0


class MexcStreamDesk(MexcDesk):
    """As `MexcDesk`, with `MexcVenue` between desk and trading client."""

    async def _open(self, fee_asset: str, taker_rate: str) -> None:
        await super()._open(fee_asset, taker_rate)
        instruments = {symbol: rules.instrument for symbol, rules in self.trading.tradables.items()}

        def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
            return PrivateStream(self.trading, self.sim.ws_url, instruments, number_of, book=self.trading.book)

        self.venue = MexcVenue(self.trading, stream, now_ns=lambda: 0)
        self.venue.listen(self._hear)
        await self._stack.enter_async_context(self.venue)

    def order(self, side: Side, kind: OrderType, lots: int = 100, limit_ticks: int = 0, symbol: str = SYMBOL) -> int:
        """Send an order and wait for what the venue first says of it, so that orders arrive one after the other."""
        self._orders += 1
        made = intent(self._orders, side, kind, lots, limit_ticks, symbol=symbol)
        (submit,) = (output for output in self.execution.on_intent(made) if isinstance(output, Submit))
        self.run(self._asked(lambda: self.venue.submit(submit, 0)))
        return made.order_no

    def cancel(self, order_no: int) -> None:
        order = self.execution.orders.get(order_no)
        if order is not None:
            order.life.note(Evidence.CANCEL_REQUESTED)
        self.run(self._asked(lambda: self.venue.cancel(Cancel(order_no, order.symbol if order else SYMBOL, 0), 0)))

    def settle(self) -> None:
        """Wait until what was heard is what the venue did."""
        self.run(self._until(self._is_settled))

    def _is_settled(self) -> bool:
        by_client_id = self.sim.venue.exchange.keys[ACCESS].account.by_client_id
        for order_no, order in self.execution.orders.items():
            for theirs in by_client_id.get(f"c{order_no}", ()):
                if order.life.filled_lots != theirs.lots - theirs.remaining:
                    return False
                if order.life.is_terminal is not theirs.status.is_final:
                    return False
        return True

    async def _asked(self, ask: Callable[[], None]) -> None:
        """Ask, and wait for the first answer."""
        heard = len(self.reports)
        ask()
        await self._until(lambda: len(self.reports) > heard)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                self.venue.check()
                await asyncio.sleep(0.005)
