"""Everything that is asked about one account by signed REST: orders, executions, balances, listen keys. Nothing is sent here.

What REST says of an order becomes a `Look`: the executions that were not counted before, and the order's state. Its end is
told only together with all of its executions, for REST may tell the one before the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct, structs

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.errors import Call, MexcError, unreadable
from claire.adapters.venues.mexc.fees import USUAL, FeePrices, rounded
from claire.adapters.venues.mexc.fills import FillBook, Way
from claire.adapters.venues.mexc.instruments import Tradable
from claire.adapters.venues.mexc.privatedecoder import differs, unvalued
from claire.adapters.venues.mexc.replies import OrderInfo, OwnTrade
from claire.adapters.venues.mexc.rest import MexcRest
from claire.latch.steps import Step, no_step
from claire.model.decisions import VenueReport
from claire.model.instrument import Instrument
from claire.model.money import DECIMALS
from claire.model.orders import Evidence

LOOKS_S: Final = (0.3, 1.0, 2.0, 4.0)
"""Between two looks for an order that may or may not exist; then every 4 s."""
LISTEN_KEY_EVERY_S: Final = 1800.0
ABSENT: Final = ("-2013", "-2011")
CANCELED: Final = ("CANCELED", "PARTIALLY_CANCELED")
FINISHED: Final = ("FILLED", *CANCELED)
MOST_LOOKS: Final = 4
"""Looks under way at once; each is up to three requests, and more of them would only wait for the budget."""
LOOK_BACK_MS: Final = 60_000
"""How long before it was sent executions of an order are looked through: clocks differ."""


class Look(Struct, frozen=True):
    """What a query says about an order."""

    info: OrderInfo
    fills: tuple[VenueReport, ...]
    """Executions that were not counted before; they are counted now."""
    state: VenueReport
    """ACKNOWLEDGED or CANCELED."""
    executed_lots: int
    """How much the venue says was executed in all."""
    is_complete: bool
    """Whether the executions add up to what the order says was executed; False: the venue lags, look again."""

    @property
    def reports(self) -> tuple[VenueReport, ...]:
        """All that is news, the end last, and only once every execution is here."""
        is_end = self.state.evidence is Evidence.CANCELED
        tells = self.is_complete if is_end else not self.fills
        return (*self.fills, self.state) if tells else self.fills

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be heard."""
        return self.info.status in FINISHED and self.is_complete


class Seen(Struct, frozen=True):
    """What a complete look found of an order that may or may not exist."""

    exists: bool
    info: OrderInfo | None = None
    """None, although it exists: another way knows of it, and the query does not find it yet."""


class MexcQueries:
    """What is asked about one account."""

    def __init__(
        self,
        rest: MexcRest,
        tradables: Mapping[str, Tradable],
        *,
        book: FillBook | None = None,
        prices: FeePrices | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        step: Step = no_step,
    ) -> None:
        """Prepare.

        Args:
            rest: For queries, with keys.
            tradables: The rules of every symbol that is asked about.
            book: What was counted already; shared with the private stream.
            prices: Of third assets that fees are taken in; shared with the private stream.
            sleep: How to wait.
            step: Called at the boundaries ``look.before``, ``look.after``.
        """
        self.rest = rest
        self.tradables = tradables
        self.book = FillBook() if book is None else book
        self.fee_prices = FeePrices(rest.gate.monotonic_ns) if prices is None else prices
        self.tell: Callable[[str], None] | None = None
        """Told what a person should know; each thing once."""
        self.step = step
        self._sleep = sleep
        self._slots = asyncio.Semaphore(MOST_LOOKS)
        self._said: dict[str, None] = {}

    # -- queries -----------------------------------------------------------------------------------------------------

    async def order(self, symbol: str, *, order_id: str = "", client_order_id: str = "") -> OrderInfo | None:
        """Query one order; None: the venue knows none, which right after sending proves nothing.

        Raises:
            MexcError: the venue did not say.
        """
        request = requests.query_order(symbol, order_id=order_id, client_order_id=client_order_id)
        try:
            return await self.rest.get(request, OrderInfo)
        except MexcError as e:
            if e.fault.code in ABSENT:
                return None
            raise

    async def open_orders(self, symbol: str = "") -> tuple[OrderInfo, ...]:
        """List the open orders, of one symbol or of all.

        Raises:
            MexcError: the venue did not say.
        """
        return await self.rest.get(requests.open_orders(symbol), tuple[OrderInfo, ...])

    async def fills(self, symbol: str, *, order_id: str = "", start_ms: int = 0) -> list[OwnTrade]:
        """List own executions, all of them, oldest first: of one order, or since a moment.

        Raises:
            MexcError: the venue did not say, or so many lie in one second that its pages cannot be told apart.
        """
        found: dict[str, OwnTrade] = {}
        end_ms = 0
        while True:
            request = requests.my_trades(
                symbol, order_id=order_id, start_ms=start_ms, limit=requests.MOST_OWN_TRADES, end_ms=end_ms
            )
            page = await self.rest.get(request, tuple[OwnTrade, ...])
            fresh = [trade for trade in page if str(trade.id) not in found]
            found |= {str(trade.id): trade for trade in fresh}
            if len(page) < requests.MOST_OWN_TRADES:
                return sorted(found.values(), key=lambda trade: (trade.time, str(trade.id)))
            if not fresh:
                raise MexcError(request.what, unreadable("its pages overlap wholly", Call.READ))
            oldest_ms = min(trade.time for trade in page)
            # Times may be cut to whole seconds, and whether endTime itself belongs to the range is not documented.
            end_ms = oldest_ms + (1 if oldest_ms % 1000 else 1000)

    async def look(self, order_no: int, symbol: str, client_order_id: str, at_ns: int) -> Look | None:
        """Query an order and its executions; None: the venue knows none.

        Args:
            order_no: The order's number in this run, for the reports.
            symbol: Of the order.
            client_order_id: Of the order.
            at_ns: Market time of the reports.

        Raises:
            MexcError: the venue did not say.
            DataError: what it said does not fit the symbol's rules.
        """
        async with self._slots:
            self.step("look.before")
            info = await self.order(symbol, client_order_id=client_order_id)
            look = None if info is None else await self.told(order_no, info, at_ns)
            self.step("look.after")
        return look

    async def told(self, order_no: int, info: OrderInfo, at_ns: int) -> Look:
        """Turn what the venue says about an order into reports; its executions are counted when this returns, never before.

        Raises:
            MexcError: the executions cannot be read.
            DataError: they do not fit the symbol's rules.
        """
        instrument = self.tradables[info.symbol].instrument
        executed_lots = instrument.lots(info.executed_qty)
        trades = await self.fills(info.symbol, order_id=info.id) if info.executed_qty else []
        told = [self.report_of(order_no, trade, instrument, at_ns) for trade in trades]
        # Counted only now that nothing can fail any more: an execution is counted where it is reported, or not at all.
        fills = tuple(
            structs.replace(report, trade_id=name)
            for report, trade in zip(told, trades, strict=True)
            if (name := self.book.count(Way.REST, info.id, report.trade_id, trade.price, trade.qty))
        )
        is_canceled = info.status in CANCELED
        state = VenueReport(
            order_no,
            at_ns,
            Evidence.CANCELED if is_canceled else Evidence.ACKNOWLEDGED,
            reason=(info.cancel_reason or "") if is_canceled else "",
            venue_order_id=info.id,
        )
        executed = sum((trade.qty for trade in trades), Decimal(0))
        return Look(info, fills, state, executed_lots, executed == info.executed_qty)

    def report_of(self, order_no: int, trade: OwnTrade, instrument: Instrument, at_ns: int) -> VenueReport:
        """Return one execution as a report.

        Raises:
            DataError: its price or quantity does not fit the symbol's rules: the venue changed them.
        """
        ticks, lots = instrument.ticks(trade.price), instrument.lots(trade.qty)
        fee_asset = trade.commission_asset or instrument.quote
        fee = rounded(Decimal(trade.commission), DECIMALS)
        value = self.fee_prices.value(fee, fee_asset, instrument, trade.price)
        if value is None:
            self._say(f"fee {fee_asset}", unvalued(fee, fee_asset, instrument.quote))
        if trade.quote_qty is not None and (words := differs(trade.symbol, trade.price, trade.qty, trade.quote_qty)):
            self._say(f"amount {trade.symbol}", words)
        return VenueReport(
            order_no=order_no,
            ts_event_ns=at_ns,
            trade_id=str(trade.id),
            price_ticks=ticks,
            quantity_lots=lots,
            fee=fee,
            fee_asset=fee_asset,
            fee_value=value or Decimal(0),
            is_maker=trade.is_maker,
            venue_order_id=str(trade.order_id),
        )

    async def complete_look(self, symbol: str, client_order_id: str, start_ms: int) -> Seen:
        """Look for an order everywhere: by query, among the open orders, among the executions.

        Raises:
            MexcError: the venue did not say, somewhere.
        """
        async with self._slots:
            self.step("look.before")
            seen = await self._everywhere(symbol, client_order_id, start_ms)
            self.step("look.after")
        return seen

    async def wait(self, number: int) -> None:
        """Wait as long as befits after look `number`, from 0 on."""
        await self._sleep(LOOKS_S[min(number, len(LOOKS_S) - 1)])

    async def resolve(
        self,
        symbol: str,
        client_order_id: str,
        fence_ms: int,
        *,
        since_ms: int = 0,
        is_heard: Callable[[], bool] = lambda: False,
        on_failure: Callable[[MexcError], None] | None = None,
    ) -> Seen:
        """Find out about an order that may or may not exist; return once it exists, or is proven absent.

        Absent means: two complete looks after the fence, with time between them, found it nowhere, and up to the moment of
        returning nobody else has heard of it. A look that fails counts for nothing.

        Args:
            symbol: Of the order.
            client_order_id: Of the order.
            fence_ms: Venue time from which on the venue can no longer take the order.
            since_ms: Executions before this are not looked through; 0: a minute before the fence.
            is_heard: Whether the stream, say, has heard of it: then it exists.
            on_failure: Told each look that fails.
        """
        start_ms = since_ms or fence_ms - LOOK_BACK_MS
        empty_looks = 0
        number = 0
        while not is_heard():
            if empty_looks == 2:
                return Seen(exists=False)
            await self.wait(number)
            number += 1
            if is_heard():
                break
            try:
                await self.rest.know_time()
                began_ms = self.rest.venue_ms()
                seen = await self.complete_look(symbol, client_order_id, start_ms)
            except MexcError as error:
                self.rest.counters["looks_failed"] += 1
                if on_failure is not None:
                    on_failure(error)
                continue
            if seen.exists:
                return seen
            empty_looks += began_ms > fence_ms
        return Seen(exists=True)

    async def account(self) -> replies.Account:
        """Read the balances.

        Raises:
            MexcError: the venue did not say.
        """
        return await self.rest.get(requests.account(), replies.Account)

    async def trade_fee(self, symbol: str) -> replies.TradeFee:
        """Read the account's own rates for a symbol.

        Raises:
            MexcError: the venue did not say.
        """
        return (await self.rest.get(requests.trade_fee(symbol), replies.TradeFeeReply)).data

    # -- listen keys -------------------------------------------------------------------------------------------------

    async def new_listen_key(self) -> str:
        """Make a listen key, good for an hour.

        Raises:
            MexcError: the venue made none.
        """
        return (await self.rest.get(requests.listen_key("POST"), replies.ListenKey)).listen_key

    async def renew_listen_key(self, key: str) -> bool:
        """Give a listen key another hour; False: the venue no longer knows it, make a new one.

        Raises:
            MexcError: the venue did not answer.
        """
        try:
            await self.rest.get(requests.listen_key("PUT", key), replies.ListenKey)
        except MexcError as e:
            if e.fault.code == "730708":
                return False
            raise
        return True

    async def keep_listen_key(self, key: str) -> None:
        """Renew a listen key every 30 minutes; return once the venue no longer knows it."""
        while True:
            await self._sleep(LISTEN_KEY_EVERY_S)
            try:
                if not await self.renew_listen_key(key):
                    return
            except MexcError:
                self.rest.counters["listen_key_renewals_failed"] += 1

    async def end_listen_key(self, key: str) -> None:
        """End a listen key and its streams.

        Raises:
            MexcError: the venue did not take it.
        """
        await self.rest.get(requests.listen_key("DELETE", key), replies.Nothing)

    # -- prices of fees ----------------------------------------------------------------------------------------------

    async def learn_fee_prices(self) -> None:
        """Ask for the prices by which fees in third assets are valued; what the venue does not tell stays as it was."""
        quotes = {tradable.instrument.quote: True for tradable in self.tradables.values()}
        for symbol in {USUAL + quote: None for quote in quotes} | self.fee_prices.wanted:
            try:
                ticker = await self.rest.get(requests.ticker_price(symbol), replies.PriceTicker)
            except MexcError:
                self.rest.counters["fee_prices_failed"] += 1
            else:
                self.fee_prices.put(symbol, Decimal(ticker.price))

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _everywhere(self, symbol: str, client_order_id: str, start_ms: int) -> Seen:
        found = await self.order(symbol, client_order_id=client_order_id)
        if found is not None:
            return Seen(True, found)
        for listed in await self.open_orders(symbol):
            if listed.client_order_id == client_order_id:
                return Seen(True, listed)
        for trade in await self.fills(symbol, start_ms=start_ms):
            if trade.client_order_id == client_order_id:
                return Seen(True, await self.order(symbol, order_id=str(trade.order_id)))
        return Seen(False)

    def _say(self, once: str, text: str) -> None:
        if once not in self._said and self.tell is not None:
            self._said[once] = None
            self.tell(text)
