"""The trading client of MEXC: orders through the gateway, cancels, and everything about them by signed REST (queries.py).

An order is sent once. What became of it is one of four things (`Submitted`): taken, refused for good, never sent, or not known,
and then the venue is asked (`resolve`) until it is found or proven absent by two complete looks after its fence (DESIGN 7).
States come from queries, never from the answer to a cancel: that one tells the state before (sheet 3.4).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, structs

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.clock import ClockState
from claire.adapters.venues.mexc.errors import Call, Fault, Kind, MexcError, fault_of, rejected, unreadable
from claire.adapters.venues.mexc.fees import FeePrices
from claire.adapters.venues.mexc.fills import FillBook
from claire.adapters.venues.mexc.instruments import Tradable, TypeMemory
from claire.adapters.venues.mexc.queries import MexcQueries
from claire.adapters.venues.mexc.replies import OrderInfo, ReplyError, read
from claire.adapters.venues.mexc.requests import OrderTicket, Request
from claire.adapters.venues.mexc.rest import MexcRest
from claire.gateway.answers import Answer
from claire.gateway.gate import Approval, Gate
from claire.gateway.send import OrderSender, Sent
from claire.latch.steps import Step, no_step
from claire.model.decisions import Cancel, Intent, VenueReport
from claire.model.market import Side
from claire.model.orders import Evidence, OrderType

ORDER_PATIENCE_S: Final = 0.25
"""How long an order waits for the budget; after that the market is another one, and the order is not sent."""
REDUCING_PATIENCE_S: Final = 2.0
COLLAR_BPS: Final = 100
"""How far from the decision's price an order may fill that stands in for a market order, where its intent does not say."""
STAND_IN_MS: Final = 2_000
"""How long a limit order rests that stands in for one that does not rest."""
TYPE_REFUSED: Final = ("30018", "30019", "30051", "30041")
"""Codes of a symbol that does not take the order's type."""


class Taken(Struct, frozen=True):
    """The venue has the order."""

    venue_order_id: str
    transact_ms: int


class Refused(Struct, frozen=True):
    """The venue refused the order, for good."""

    fault: Fault


class NotSent(Struct, frozen=True):
    """The order never left."""

    fault: Fault


class Unknown(Struct, frozen=True):
    """Whether the order exists is not known."""

    fault: Fault
    fence_ms: int
    """Venue time from which on the venue can no longer take it."""


Submitted = Taken | Refused | NotSent | Unknown


class MexcTrading(MexcQueries):
    """Orders, cancels and queries of one account."""

    def __init__(
        self,
        rest: MexcRest,
        sender: OrderSender | None,
        tradables: Mapping[str, Tradable],
        *,
        types: TypeMemory | None = None,
        book: FillBook | None = None,
        prices: FeePrices | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        step: Step = no_step,
        stand_in_ms: int = STAND_IN_MS,
    ) -> None:
        """Open a desk.

        Args:
            rest: For queries and cancels, with keys.
            sender: For orders; without one none can be sent.
            tradables: The rules of every symbol that may be ordered.
            types: Which types the symbols refuse, as `probe` found.
            book: What was counted already; shared with the private stream.
            prices: Of third assets that fees are taken in; shared with the private stream.
            sleep: How to wait.
            step: Called at the boundaries ``look.before``, ``look.after``, ``cancel.before``, ``cancel.after``.
            stand_in_ms: How long a limit order may rest that stands in for one that does not (`stands_in`).
        """
        super().__init__(rest, tradables, book=book, prices=prices, sleep=sleep, step=step)
        self.types = TypeMemory() if types is None else types
        self.gate = Gate() if sender is None else sender.gate
        """Of the sender: whoever hears of executions and ends tells it."""
        self.stand_in_s = stand_in_ms / 1000
        self._sender = sender
        self._prices: dict[str, tuple[int, Decimal]] = {}

    # -- orders ------------------------------------------------------------------------------------------------------

    def approve(self, intent: Intent) -> Approval:
        """Return the approval that an intent stands for, as of now: every field that is to be signed.

        Raises:
            KeyError: the intent's symbol has no rules here.
        """
        instrument = self.tradables[intent.symbol].instrument
        kind, limit_ticks = self._sent_as(intent)
        gate = self.gate
        return Approval(
            order_no=intent.order_no,
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            quantity=instrument.quantity(intent.quantity_lots),
            type=requests.TYPES[kind],
            price=None if kind is OrderType.MARKET else instrument.price(limit_ticks),
            reduce_only=intent.reduce_only,
            epoch=gate.epoch,
            approved_ns=gate.now_ns(),
            expires_ns=intent.expires_ns,
        )

    async def submit(self, intent: Intent, approval: Approval | None = None) -> Submitted:
        """Send an order, once.

        Args:
            intent: What to send.
            approval: Of when it was decided; None: as of now.

        Raises:
            SafetyRefusal: the venue is not on this machine.
            KeyError: the intent's symbol has no rules here.
            ValueError: its client order id is not one that Claire sends.
        """
        approvals = (approval or self.approve(intent),)
        request = requests.new_order(self.ticket(intent), reduces=intent.reduce_only)
        fault = await self._unready(request, is_exempt=intent.reduce_only)
        if fault is not None:
            return NotSent(fault)
        sent = await self._send(request, approvals)
        return _submitted(sent, await self._judge(sent))

    async def submit_batch(
        self, intents: Sequence[Intent], approvals: Sequence[Approval] | None = None
    ) -> list[Submitted]:
        """Send up to 20 orders of one symbol in one request, once; return what became of each.

        The gate lets all of them pass or none.

        Raises:
            SafetyRefusal, KeyError, ValueError: as `submit`.
        """
        approvals = [self.approve(intent) for intent in intents] if approvals is None else approvals
        request = requests.batch([self.ticket(intent) for intent in intents])
        fault = await self._unready(request, is_exempt=all(intent.reduce_only for intent in intents))
        if fault is not None:
            return [NotSent(fault)] * len(intents)
        sent = await self._send(request, approvals)
        fault = await self._judge(sent)
        if fault is not None or not isinstance(sent.result, Answer):
            return [_submitted(sent, fault)] * len(intents)
        try:
            answers = read(sent.result.body, tuple[replies.BatchReply, ...])
        except ReplyError as e:
            return [Unknown(unreadable(str(e), Call.CREATE), sent.fence_ms)] * len(intents)
        if len(answers) != len(intents):
            fault = unreadable(f"{len(answers)} answers to {len(intents)} orders", Call.CREATE)
            return [Unknown(fault, sent.fence_ms)] * len(intents)
        return [_of_batch(answer, intent, sent) for answer, intent in zip(answers, intents, strict=True)]

    async def test(self, ticket: OrderTicket) -> Fault | None:
        """Have the venue look at an order without making it; return what it finds wrong."""
        request = requests.test_order(ticket)
        fault = await self._unready(request, is_exempt=True)
        if fault is not None:
            return fault
        return await self._judge(await self._send(request))

    def ticket(self, intent: Intent) -> OrderTicket:
        """Return what is sent for an intent. For a market order with a worst price that is a limit order there (`_sent_as`).

        Raises:
            KeyError: the intent's symbol has no rules here.
        """
        instrument = self.tradables[intent.symbol].instrument
        kind, limit_ticks = self._sent_as(intent)
        return OrderTicket(
            symbol=intent.symbol,
            side=intent.side,
            type=kind,
            client_order_id=intent.client_order_id,
            quantity=instrument.quantity(intent.quantity_lots),
            price=None if kind is OrderType.MARKET else instrument.price(limit_ticks),
        )

    def stands_in(self, intent: Intent) -> bool:
        """Whether what is sent for an intent rests although the intent does not: it has to be cancelled in time."""
        return intent.type is OrderType.MARKET and self._sent_as(intent)[0] is OrderType.LIMIT

    async def probe(self, symbol: str, *, entries: OrderType = OrderType.MARKET) -> None:
        """Try with the test endpoint whether a symbol takes the orders that it will be sent, where that is not known yet.

        Those are IOC, which market orders leave as, and LIMIT where that is refused or what entries are.

        Args:
            symbol: To be ordered.
            entries: The type of orders that open a position.

        Raises:
            UsageError: it takes neither IOC nor LIMIT.
            MexcError: the venue did not say.
        """
        for kind in (OrderType.IOC, OrderType.LIMIT):
            is_needed = kind in (OrderType.IOC, entries) or bool(self.types.refusal(symbol, OrderType.IOC))
            if self.types.knows(symbol, kind) or not is_needed:
                continue
            fault = await self.test(await self._smallest(symbol, kind))
            if fault is None:
                self.types.put(symbol, kind, "")
            elif fault.code in TYPE_REFUSED:
                self.types.put(symbol, kind, fault.code)
            elif not fault.is_final or fault.kind is Kind.CONFIGURATION:
                raise MexcError(f"trying a {kind} order for {symbol}", fault)
            # Any other refusal (no money, say) is not about the type: it stays untried and is sent as it is.
        self.types.require_way_out(symbol)

    async def cancel(self, command: Cancel, client_order_id: str) -> Fault | None:
        """Cancel an order; None: the venue has taken the cancel, and `look` tells the final state.

        A fault with code -2011 says that there is no such open order: it is finished, or never was.
        """
        self.step("cancel.before")
        fault = None
        try:
            await self.rest.get(requests.cancel(command.symbol, client_order_id=client_order_id), OrderInfo)
        except MexcError as e:
            fault = e.fault
        self.step("cancel.after")
        return fault

    async def cancel_all(self, symbol: str = "") -> tuple[OrderInfo, ...]:
        """Cancel all open orders, of one symbol or of all; return what the venue says they were.

        Raises:
            MexcError: the venue did not take it.
        """
        request = requests.cancel_symbol(symbol) if symbol else requests.cancel_everything()
        if symbol:
            return await self.rest.get(request, tuple[OrderInfo, ...])
        await self.rest.get(request, replies.Nothing)
        return ()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _unready(self, request: Request, *, is_exempt: bool) -> Fault | None:
        """Return why an order cannot go out now."""
        if self._sender is None:
            return Fault(Kind.NOT_SENT, "", "no order can be sent without keys", "set SECRETS_PATH or secrets.path")
        try:
            await self.rest.know_time()
        except MexcError as e:
            return structs.replace(e.fault, kind=Kind.NOT_SENT)
        reading = self.rest.clock.reading(self.rest.gate.monotonic_ns())
        if reading.state is ClockState.BLOCK and not is_exempt:
            return Fault(Kind.NOT_SENT, "", reading.because, "no new order goes out until the clock is right")
        patience_s = REDUCING_PATIENCE_S if is_exempt else ORDER_PATIENCE_S
        missing_s = await self.rest.enter(request.cost, patience_s)
        if missing_s:
            because = self.rest.gate.budget.paused_because or "the request budget is used up"
            return Fault(
                Kind.NOT_SENT, "", f"{because}; {missing_s:,.1f} s too long to wait", "the strategy may decide anew"
            )
        return None

    async def _send(self, request: Request, approvals: Sequence[Approval] = ()) -> Sent:
        if self._sender is None:
            raise AssertionError("_unready comes first")
        return await self._sender.send(
            request.path, request.params, timestamp_ms=self.rest.venue_ms(), approvals=approvals
        )

    def _sent_as(self, intent: Intent) -> tuple[OrderType, int]:
        """The type and limit that go out for an intent.

        A market order leaves as a limit at its worst price that does not rest; where the pair refuses that, as one that
        rests and is cancelled in time. One without a worst price leaves as it is, where the pair takes it.
        """
        if intent.type is not OrderType.MARKET:
            return intent.type, intent.limit_ticks
        if not intent.collar_ticks and not self.types.refusal(intent.symbol, OrderType.MARKET):
            return intent.type, intent.limit_ticks
        worst = intent.collar_ticks or collared(intent.side, intent.price_ticks)
        return (OrderType.LIMIT if self.types.refusal(intent.symbol, OrderType.IOC) else OrderType.IOC), worst

    async def _judge(self, sent: Sent) -> Fault | None:
        """Say what is wrong with an answer, and let budget and clock know."""
        fault = fault_of(sent.result, Call.CREATE)
        if fault is None:
            return None
        self.rest.counters[f"faults.{fault.kind}"] += 1
        self.rest.complained(fault)
        if fault.is_clock:
            try:
                await self.rest.sync_clock()
            except MexcError:
                self.rest.counters["clock_syncs_failed"] += 1
        return fault

    async def _smallest(self, symbol: str, kind: OrderType) -> OrderTicket:
        """A purchase about as small as the symbol's rules allow."""
        rules = self.tradables[symbol]
        lot = rules.instrument.lot
        price = await self._price(symbol, with_all_others=True)
        worth = 2 * max(rules.instrument.min_notional, Decimal(1))
        lots = max(worth // (price * lot) + 1, rules.min_quantity // lot + 1)
        limit = None if kind is OrderType.MARKET else price
        return OrderTicket(symbol, Side.BUY, kind, "", quantity=lots * lot, price=limit)

    async def _price(self, symbol: str, *, with_all_others: bool = False) -> Decimal:
        """The last price of a pair, at most a minute old. All pairs cost the venue's budget no more than one."""
        now_ns = self.rest.gate.monotonic_ns()
        known = self._prices.get(symbol)
        if known is None or now_ns - known[0] > 60_000_000_000:
            if with_all_others:
                tickers = await self.rest.get(requests.ticker_price(), tuple[replies.PriceTicker, ...])
                self._prices |= {ticker.symbol: (now_ns, Decimal(ticker.price)) for ticker in tickers}
            if symbol not in self._prices or not with_all_others:
                ticker = await self.rest.get(requests.ticker_price(symbol), replies.PriceTicker)
                self._prices[symbol] = now_ns, Decimal(ticker.price)
        return self._prices[symbol][1]


def collared(side: Side, price_ticks: int) -> int:
    """Return the worst price that an order standing in for a market order may fill at."""
    if side is Side.BUY:
        return price_ticks * (10_000 + COLLAR_BPS) // 10_000
    return max(1, -(-price_ticks * (10_000 - COLLAR_BPS) // 10_000))


def report_of_submit(order_no: int, submitted: Submitted, at_ns: int) -> VenueReport:
    """Return what became of a send as evidence."""
    match submitted:
        case Taken(venue_order_id):
            return VenueReport(order_no, at_ns, Evidence.ACKNOWLEDGED, venue_order_id=venue_order_id)
        case Refused(fault):
            return VenueReport(order_no, at_ns, Evidence.REJECTED, code=fault.code, reason=fault.reason)
        case NotSent(fault):
            return VenueReport(order_no, at_ns, Evidence.NOT_SENT, code=fault.code, reason=fault.reason)
        case Unknown(fault):
            return VenueReport(order_no, at_ns, Evidence.UNKNOWN, code=fault.code, reason=fault.reason)


def balances(account: replies.Account) -> dict[str, tuple[Decimal, Decimal]]:
    """Return free and locked amounts by asset."""
    return {balance.asset: (Decimal(balance.free), Decimal(balance.locked)) for balance in account.balances}


def _submitted(sent: Sent, fault: Fault | None) -> Submitted:
    if fault is not None:
        if fault.kind is Kind.NOT_SENT:
            return NotSent(fault)
        return Refused(fault) if fault.is_final else Unknown(fault, sent.fence_ms)
    if not isinstance(sent.result, Answer):
        raise AssertionError("no answer without a fault")
    try:
        reply = read(sent.result.body, replies.OrderReply)
    except ReplyError as e:
        return Unknown(unreadable(str(e), Call.CREATE, sent.result.status), sent.fence_ms)
    if not str(reply.order_id):
        return Unknown(unreadable("an empty order id", Call.CREATE, sent.result.status), sent.fence_ms)
    return Taken(str(reply.order_id), reply.transact_time)


def _of_batch(answer: replies.BatchReply, intent: Intent, sent: Sent) -> Submitted:
    if answer.new_client_order_id not in (None, "", intent.client_order_id):
        what = f"{answer.new_client_order_id} where {intent.client_order_id} was asked for"
        return Unknown(unreadable(what, Call.CREATE), sent.fence_ms)
    if str(answer.order_id):
        return Taken(str(answer.order_id), 0)
    if answer.code is None:
        return Unknown(unreadable("neither an order id nor a code", Call.CREATE), sent.fence_ms)
    fault = rejected(str(answer.code), answer.msg or "")
    return Refused(fault) if fault.is_final else Unknown(fault, sent.fence_ms)
