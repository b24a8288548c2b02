"""The trading client against the simulator: every fault of REST is seen for what it is, and nothing is sent twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.budget import Budget, Gate
from claire.adapters.venues.mexc.clock import ClockState
from claire.adapters.venues.mexc.errors import Kind, MexcError
from claire.adapters.venues.mexc.instruments import TypeMemory, require_tradable
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.trading import MexcTrading, NotSent, Refused, Submitted, Taken, Unknown, collared
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator, faults
from claire.mexcsim.orders import Kind as SimKind
from claire.mexcsim.rules import NewOrder
from claire.model.decisions import Cancel, Intent
from claire.model.errors import SafetyRefusal, UsageError
from claire.model.market import Side
from claire.model.orders import Evidence, OrderType
from tests.contract.mexc_desk import WIDE
from tests.contract.venue_desk import intent

ACCESS, SECRET = "mx0-access", "planted-secret-of-the-simulator"  # pragma: allowlist secret
BTC = "BTCUSDT"
SYMBOLS = (BTC, "MXUSDT", "NOMARKETUSDT", "HUSHMARKETUSDT", "NOIOCUSDT")


@dataclass
class Desk:
    sim: Simulator
    trading: MexcTrading
    rest: MexcRest

    def intent(
        self, kind: OrderType = OrderType.MARKET, *, symbol: str = BTC, side: Side = Side.BUY, **over: Any
    ) -> Intent:
        """An order worth some 50 USDT at the market, or, with a limit, far below it."""
        self.orders = getattr(self, "orders", 0) + 1
        price = self.sim.venue.exchange.markets[symbol].tape.last_price
        instrument = self.trading.tradables[symbol].instrument
        lots = over.pop("lots", 50 * 10**18 // instrument.notional(price, 1) + 1)
        limit = 0 if kind is OrderType.MARKET else over.pop("limit_ticks", price * 98 // 100)
        made = intent(self.orders, side, kind, lots, limit, symbol=symbol)
        fields = {name: getattr(made, name) for name in made.__struct_fields__} | {"price_ticks": price} | over
        return Intent(**fields)

    async def send(self, **over: Any) -> Submitted:
        return await self.trading.submit(self.intent(**over))

    @property
    def placed(self) -> int:
        """How many orders the venue really has."""
        return len(self.sim.venue.exchange.keys[ACCESS].account.orders)


@asynccontextmanager
async def desk(
    access: str = ACCESS, secret: str = SECRET, *, budget: Budget | None = None, limits: bool = False, **account: Any
) -> AsyncIterator[Desk]:
    config = SimConfig(flow=FlowSettings(events_per_s=0), limits=Limits(enabled=limits), past_minutes=0)
    async with Simulator(config) as sim:
        account.setdefault("balances", {"USDT": 10_000, "BTC": 1})
        sim.add_account(ACCESS, SECRET, **account)
        keys, endpoint = Keys(access, secret), Endpoint.parse(sim.rest_url)
        gate = Gate(Budget(WIDE) if budget is None else budget, time.monotonic_ns)
        quick = MexcRest(endpoint, Gate(Budget(WIDE), time.monotonic_ns))
        async with quick:
            rules = require_tradable(SYMBOLS, await read_listing(quick, SYMBOLS))
        async with (
            MexcRest(endpoint, gate, signer=QuerySigner(keys), timeout_s=2.0) as rest,
            OrderSender(endpoint, keys, recv_window_ms=400, timeout_s=1.0) as sender,
        ):
            yield Desk(sim, MexcTrading(rest, sender, rules, sleep=lambda s: asyncio.sleep(s / 4)), rest)


# -- what a person did wrong: an error that names the remedy ----------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("access", "secret", "code", "remedy"),
    [
        ("mx0-other", SECRET, "10072", "write both files anew"),
        (ACCESS, "not-the-secret", "700002", "the secret does not belong to the access key"),
    ],
    ids=["wrong key", "wrong secret"],
)
async def test_wrong_keys_are_named_with_the_remedy(access: str, secret: str, code: str, remedy: str) -> None:
    async with desk(access, secret) as at:
        became = await at.send()
        assert isinstance(became, Refused)
        assert (became.fault.kind, became.fault.code) == (Kind.CONFIGURATION, code)
        with pytest.raises(MexcError, match=remedy) as caught:
            await at.trading.account()
        assert SECRET not in str(caught.value)
        assert "signature=" not in str(caught.value)
        assert at.placed == 0


@pytest.mark.asyncio
async def test_a_revoked_key_is_named_with_the_remedy() -> None:
    async with desk() as at:
        at.sim.fault(faults.RevokeKey(key=ACCESS))
        became = await at.send()
        assert isinstance(became, Refused)
        assert became.fault.kind is Kind.CONFIGURATION
        assert "revoked" in became.fault.remedy


@pytest.mark.asyncio
@pytest.mark.parametrize("skew_ms", [2000, -2000])
async def test_a_clock_two_seconds_off_stops_new_orders_and_says_how_to_set_it(skew_ms: int) -> None:
    async with desk() as at:
        at.sim.fault(faults.ClockSkew(ms=skew_ms))
        became = await at.send()
        assert isinstance(became, NotSent)
        assert f"{'behind' if skew_ms > 0 else 'ahead of'} the venue's" in became.fault.reason
        assert "timedatectl set-ntp true" in became.fault.reason
        # Queries, cancels and orders that reduce are stamped with venue time, and go on.
        await at.trading.account()
        at.trading.gate.seed({BTC: Decimal(1)})
        assert isinstance(await at.send(side=Side.SELL, reduce_only=True), Taken)


@pytest.mark.asyncio
async def test_a_clock_that_jumps_while_claire_runs_costs_one_order_and_is_read_again() -> None:
    async with desk() as at:
        await at.trading.account()
        at.sim.fault(faults.ClockSkew(ms=-2500))
        became = await at.send()
        assert isinstance(became, Refused)
        assert (became.fault.code, became.fault.kind) == ("700003", Kind.CONFIGURATION)
        assert at.rest.clock.syncs == 2
        assert at.rest.clock.reading(time.monotonic_ns()).state is ClockState.BLOCK
        assert at.placed == 0


@pytest.mark.asyncio
async def test_a_read_after_a_clock_jump_is_asked_again_with_the_right_time() -> None:
    async with desk() as at:
        await at.trading.account()
        at.sim.fault(faults.ClockSkew(ms=-2500))
        assert (await at.trading.account()).balances
        assert at.rest.clock.syncs == 2


@pytest.mark.asyncio
async def test_symbols_that_the_api_does_not_trade_are_refused_at_the_start_each_with_its_reason() -> None:
    async with desk() as at:
        listing = await read_listing(at.rest)
        closed = {
            "BTCUSTD": "lists no symbol BTCUSTD. Did you mean BTCUSDT?",
            "PAUSEDUSDT": "is paused",
            "NOAPIUSDT": "isSpotTradingAllowed = false",
            "BUYONLYUSDT": "open to buyers only",
            "SELLONLYUSDT": "open to sellers only",
            "CLOSEDUSDT": "closed on both sides",
            "INVITEDUSDT": "this key may not trade INVITEDUSDT",
        }
        with pytest.raises(UsageError) as caught:
            require_tradable([BTC, *closed], listing)
        for reason in closed.values():
            assert reason in str(caught.value)
        assert "BTCUSDT is" not in str(caught.value)
        assert str(caught.value).endswith("Choose another symbol: claire symbols --venue mexc")


@pytest.mark.asyncio
async def test_a_name_that_the_venue_does_not_know_is_found_out_from_the_whole_list() -> None:
    async with desk() as at:
        with pytest.raises(UsageError, match="Did you mean ETHUSDT"):
            require_tradable(["ETHUSTD"], await read_listing(at.rest, ["ETHUSTD"]))


@pytest.mark.asyncio
async def test_the_venue_refuses_a_price_off_tick_and_an_order_too_small_and_the_words_help() -> None:
    async with desk() as at:
        at.sim.fault(faults.ChangeRules(symbol=BTC, price_decimals=0))
        became = await at.send(kind=OrderType.LIMIT, limit_ticks=8_000_055)
        assert isinstance(became, Refused)
        assert "price scale is invalid" in became.fault.reason
        assert "start again to read them anew" in became.fault.remedy
        at.sim.fault(faults.ChangeRules(symbol="MXUSDT", min_notional="60"))
        small = await at.send(kind=OrderType.LIMIT, symbol="MXUSDT")
        assert isinstance(small, Refused)
        assert small.fault.code == "30002"
        assert "60USDT" in small.fault.reason
        assert "risk.position_pct" in small.fault.remedy


@pytest.mark.asyncio
async def test_without_a_sender_no_order_goes_out_and_a_foreign_venue_gets_no_sender() -> None:
    with pytest.raises(SafetyRefusal, match=r"api\.mexc\.com"):
        OrderSender(Endpoint.parse("https://api.mexc.com"), Keys(ACCESS, SECRET))
    async with desk() as at:
        without = MexcTrading(at.rest, None, at.trading.tradables)
        became = await without.submit(at.intent())
        assert isinstance(became, NotSent)
        assert "keys" in became.fault.reason


# -- faults on the way: unknown is unknown, and the venue is asked ----------------------------------------------------


async def resolved(at: Desk, became: Submitted) -> replies.OrderInfo | None:
    assert isinstance(became, Unknown)
    seen = await at.trading.resolve(BTC, f"c{at.orders}", became.fence_ms)
    if not seen.exists or seen.info is not None:
        return seen.info
    async with asyncio.timeout(5):  # known by its executions, and the query lags
        while (info := await at.trading.order(BTC, client_order_id=f"c{at.orders}")) is None:
            await at.trading.wait(0)
    return info


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "kind", "exists"),
    [
        (faults.DropRequest(path="order", method="POST", times=1), Kind.UNKNOWN, False),
        (faults.DropReply(path="order", method="POST", times=1), Kind.UNKNOWN, True),
        (faults.ServerError(path="order", method="POST", times=1), Kind.UNKNOWN, False),
        (faults.ServerError(path="order", method="POST", times=1, accepted=True), Kind.UNKNOWN, True),
        (faults.Hang(path="order", method="POST", times=1, ms=1500), Kind.UNKNOWN, False),
        (faults.Hang(path="order", method="POST", times=1, ms=1500, accepted=True), Kind.UNKNOWN, True),
        (faults.Refuse(path="order", method="POST", times=1, code=987654), Kind.UNKNOWN, False),
        (faults.Refuse(path="order", method="POST", times=1, code=-2013), Kind.UNKNOWN, False),
        (faults.AcceptLate(path="order", method="POST", times=1, delay_ms=800), Kind.UNKNOWN, True),
        (faults.AcceptLate(path="order", method="POST", times=1, delay_ms=800, answer="504"), Kind.UNKNOWN, True),
        (faults.TooMany(path="order", method="POST", times=1, retry_after_s=1), Kind.THROTTLED, False),
    ],
    ids=[
        "lost on the way there", "lost on the way back", "503", "503 and placed", "silence", "silence and placed",
        "an unknown code", "no such order", "placed later", "504 and placed later", "429",
    ],
)  # fmt: skip
async def test_what_is_not_a_final_answer_is_unknown_sent_once_and_found_out(
    fault: faults.Fault, kind: Kind, exists: bool
) -> None:
    async with desk() as at:
        at.sim.fault(fault)
        became = await at.send()
        assert isinstance(became, Unknown)
        assert became.fault.kind is kind
        assert not became.fault.may_ask_again
        found = await resolved(at, became)
        assert (found is not None) is exists
        assert at.placed == int(exists), "an order is sent once"
        if found is not None:
            assert found.status == "FILLED"


@pytest.mark.asyncio
async def test_absence_is_not_believed_before_the_fence() -> None:
    async with desk() as at:
        at.sim.fault(faults.DropReply(path="order", method="POST", times=1))
        at.sim.fault(faults.ReadLag(ms=1500))
        became = await at.send()
        assert isinstance(became, Unknown)
        assert await at.trading.order(BTC, client_order_id="c1") is None
        found = await resolved(at, became)
        assert found is not None
        assert found.status == "FILLED"


@pytest.mark.asyncio
async def test_an_order_is_never_sent_when_nobody_listens() -> None:
    async with desk() as at:
        await at.trading.account()
        await at.sim.stop()
        became = await at.send()
        assert isinstance(became, NotSent)
        assert "cannot be reached" in became.fault.reason


@pytest.mark.asyncio
async def test_reads_and_cancels_are_asked_again_through_passing_faults() -> None:
    async with desk() as at:
        for fault in (
            faults.DropRequest(times=1),
            faults.ServerError(times=1),
            faults.DropReply(times=1),
            faults.TooMany(times=1, retry_after_s=1),
        ):
            at.sim.fault(fault)
            assert (await at.trading.account()).balances
        assert isinstance(await at.send(kind=OrderType.LIMIT), Taken)
        at.sim.fault(faults.DropReply(path="order", method="DELETE", times=1))
        answer = await at.trading.cancel(Cancel(1, BTC, 0), "c1")
        # The first one was carried out, its answer lost; the second finds nothing to cancel. The look tells what is.
        assert answer is not None
        assert answer.code == "-2011"
        look = await at.trading.look(1, BTC, "c1", 0)
        assert look is not None
        assert [report.evidence for report in look.reports] == [Evidence.CANCELED]
        assert look.is_finished


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "kind", "pause_s"),
    [
        (faults.TooMany(times=1, retry_after_s=30), Kind.THROTTLED, 30),
        (faults.Banned(times=1, retry_after_s=300), Kind.BANNED, 300),
        (faults.Firewall(times=1), Kind.BANNED, 90),
    ],
    ids=["429", "418", "403 HTML"],
)
async def test_a_complaint_stops_everything_and_an_order_is_not_even_sent(
    fault: faults.Fault, kind: Kind, pause_s: int
) -> None:
    async with desk() as at:
        await at.trading.account()
        at.sim.fault(fault)
        with pytest.raises(MexcError) as caught:
            await at.rest.get(requests.open_orders(), tuple[replies.OrderInfo, ...])
        assert caught.value.fault.kind is Kind.NOT_SENT
        assert at.rest.counters[f"faults.{kind}"] == 1
        left_s = (at.rest.gate.budget.paused_until_ns - time.monotonic_ns()) / 1e9
        assert left_s == pytest.approx(pause_s, abs=2)
        became = await at.send(reduce_only=True, side=Side.SELL)
        assert isinstance(became, NotSent)
        assert at.placed == 0


@pytest.mark.asyncio
async def test_a_burst_of_calls_stays_below_every_limit_of_the_venue() -> None:
    async with desk(budget=Budget(), limits=True) as at:
        began = time.monotonic()
        calls: list[Callable[[], Any]] = [lambda: at.trading.open_orders(BTC)] * 15
        calls += [lambda: at.trading.cancel(Cancel(9, BTC, 0), "c9")] * 12 + [at.trading.account] * 2
        await asyncio.gather(*(call() for call in calls))
        assert at.rest.gate.budget.complaints == 0
        assert time.monotonic() - began > 1


# -- orders and what the venue says of them ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_batch_has_an_outcome_for_each_of_its_orders() -> None:
    async with desk() as at:
        good, small = at.intent(OrderType.LIMIT), at.intent(OrderType.LIMIT, lots=1)
        became = await at.trading.submit_batch([good, small, at.intent(OrderType.IOC)])
        assert [type(outcome) for outcome in became] == [Taken, Refused, Taken]
        assert isinstance(became[1], Refused)
        assert became[1].fault.code == "30002"
        at.sim.fault(faults.DropReply(path="batchOrders", times=1))
        lost = await at.trading.submit_batch([at.intent(OrderType.LIMIT), at.intent(OrderType.LIMIT)])
        assert [type(outcome) for outcome in lost] == [Unknown, Unknown]
        assert at.placed == 4


@pytest.mark.asyncio
async def test_limit_is_tried_only_where_it_is_to_be_sent() -> None:
    async with desk() as at:
        for symbol in (BTC, "HUSHMARKETUSDT", "NOIOCUSDT"):
            await at.trading.probe(symbol)
        tried = {
            symbol: [kind for kind in OrderType if at.trading.types.knows(symbol, kind)]
            for symbol in (BTC, "HUSHMARKETUSDT", "NOIOCUSDT")
        }
        ioc, both = [OrderType.IOC], [OrderType.LIMIT, OrderType.IOC]
        assert tried == {BTC: ioc, "HUSHMARKETUSDT": ioc, "NOIOCUSDT": both}


@pytest.mark.asyncio
async def test_what_a_pair_refuses_is_tried_once_and_remembered(tmp_path: Any) -> None:
    async with desk() as at:
        file = tmp_path / "types.json"
        at.trading.types = TypeMemory(file)
        for symbol in (BTC, "NOMARKETUSDT", "HUSHMARKETUSDT", "NOIOCUSDT"):
            await at.trading.probe(symbol, entries=OrderType.LIMIT)
        types = TypeMemory(file)
        assert types.refusal("NOIOCUSDT", OrderType.IOC) == "30041"
        for symbol, kind in ((BTC, OrderType.IOC), (BTC, OrderType.LIMIT), ("NOIOCUSDT", OrderType.LIMIT)):
            assert types.knows(symbol, kind)
            assert not types.refusal(symbol, kind)
        asked = at.rest.counters["requests"]
        await at.trading.probe("NOIOCUSDT")
        assert at.rest.counters["requests"] == asked
        assert at.placed == 0


@pytest.mark.asyncio
async def test_a_market_order_leaves_as_a_limit_at_its_worst_price_that_does_not_rest() -> None:
    async with desk() as at:
        for symbol in (BTC, "NOMARKETUSDT", "HUSHMARKETUSDT"):
            await at.trading.probe(symbol)
            made = at.intent(symbol=symbol)
            worst = structs.replace(made, collar_ticks=made.price_ticks + 7)
            ticket, approval = at.trading.ticket(worst), at.trading.approve(worst)
            assert ticket.type is OrderType.IOC
            assert ticket.price == approval.price == at.trading.tradables[symbol].instrument.price(worst.collar_ticks)
            assert not at.trading.stands_in(worst)
            assert isinstance(await at.trading.submit(worst, approval), Taken)


@pytest.mark.asyncio
async def test_a_pair_without_ioc_gets_a_limit_order_that_stands_in() -> None:
    async with desk() as at:
        await at.trading.probe("NOIOCUSDT")
        made = at.intent(symbol="NOIOCUSDT")
        worst = structs.replace(made, collar_ticks=made.price_ticks + 7)
        ticket = at.trading.ticket(worst)
        assert ticket.type is OrderType.LIMIT
        assert ticket.price == at.trading.tradables["NOIOCUSDT"].instrument.price(worst.collar_ticks)
        assert at.trading.stands_in(worst)
        assert isinstance(await at.trading.submit(worst), Taken)


@pytest.mark.asyncio
async def test_a_market_order_without_a_worst_price_gets_one_where_the_pair_refuses_it() -> None:
    async with desk() as at:
        at.trading.types.put("NOMARKETUSDT", OrderType.MARKET, "30018")
        made = at.intent(symbol="NOMARKETUSDT")
        ticket = at.trading.ticket(made)
        assert ticket.type is OrderType.IOC
        instrument = at.trading.tradables["NOMARKETUSDT"].instrument
        assert ticket.price == instrument.price(collared(Side.BUY, made.price_ticks))
        assert isinstance(await at.trading.submit(made), Taken)


def test_a_pair_without_a_way_out_is_refused() -> None:
    types = TypeMemory()
    types.put("XUSDT", OrderType.IOC, "30041")
    types.require_way_out("XUSDT")
    types.put("XUSDT", OrderType.LIMIT, "30041")
    with pytest.raises(UsageError, match="could not be left"):
        types.require_way_out("XUSDT")


@pytest.mark.asyncio
async def test_a_fee_in_mx_is_valued_at_the_price_of_mx() -> None:
    async with desk(balances={"USDT": 10_000, "MX": 100}, mx_deduct=True) as at:
        assert isinstance(await at.send(), Taken)
        await at.trading.learn_fee_prices()
        look = await at.trading.look(1, BTC, "c1", 0)
        assert look is not None
        (fill, *_) = look.reports
        assert fill.fee_asset == "MX"
        mx = Decimal(at.sim.venue.exchange.markets["MXUSDT"].tape.last_price).scaleb(-4)
        price = (await at.rest.get(requests.ticker_price("MXUSDT"), replies.PriceTicker)).price
        assert fill.fee > 0
        assert abs(fill.fee_value - fill.fee * price) < Decimal("0.00001")
        assert mx > 0


@pytest.mark.asyncio
async def test_looking_twice_reports_nothing_twice() -> None:
    async with desk() as at:
        assert isinstance(await at.send(), Taken)
        first = await at.trading.look(1, BTC, "c1", 0)
        again = await at.trading.look(1, BTC, "c1", 0)
        assert first is not None
        assert again is not None
        assert first.is_finished
        assert first.is_complete
        assert any(report.trade_id for report in first.reports)
        assert not any(report.trade_id for report in again.reports)


@pytest.mark.asyncio
async def test_everything_is_cancelled_at_once_of_one_symbol_or_of_all() -> None:
    async with desk() as at:
        for symbol in (BTC, BTC, "MXUSDT"):
            assert isinstance(await at.send(kind=OrderType.LIMIT, symbol=symbol), Taken)
        assert len(await at.trading.open_orders()) == 3
        assert len(await at.trading.cancel_all(BTC)) == 2
        assert [order.symbol for order in await at.trading.open_orders()] == ["MXUSDT"]
        await at.trading.cancel_all()
        assert await at.trading.open_orders() == ()


def trade_long_ago(at: Desk, count: int, apart_ms: int) -> None:
    """Let the account have executions, one order each, in the last minutes."""
    exchange = at.sim.venue.exchange
    now_ms = at.sim.venue.clock()
    lots = 10 * 10**18 // at.trading.tradables[BTC].instrument.notional(exchange.markets[BTC].tape.last_price, 1)
    for number in range(count):
        wanted = NewOrder(symbol=BTC, side=Side.BUY, kind=SimKind.MARKET, lots=lots, client_id=f"old{number}")
        exchange.place(exchange.keys[ACCESS], wanted, now_ms - (count - number) * apart_ms)


@pytest.mark.asyncio
async def test_executions_are_paged_to_the_end() -> None:
    async with desk(balances={"USDT": 1_000_000}) as at:
        trade_long_ago(at, 330, 30)
        account = at.sim.venue.exchange.keys[ACCESS].account
        trades = await at.trading.fills(BTC)
        assert len(trades) == len(account.fills) >= 330
        assert len({str(trade.id): True for trade in trades}) == len(trades)
        assert [trade.time for trade in trades] == sorted(trade.time for trade in trades)


@pytest.mark.asyncio
async def test_more_executions_in_one_second_than_a_page_holds_are_an_error_and_not_a_part_of_them() -> None:
    async with desk(balances={"USDT": 1_000_000}) as at:
        trade_long_ago(at, 230, 1)
        with pytest.raises(MexcError, match="overlap"):
            await at.trading.fills(BTC)


# -- listen keys ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_listen_key_is_made_renewed_and_ended() -> None:
    async with desk() as at:
        key = await at.trading.new_listen_key()
        assert len(key) == 64
        assert await at.trading.renew_listen_key(key)
        await at.trading.end_listen_key(key)
        assert not await at.trading.renew_listen_key(key)


@pytest.mark.asyncio
async def test_keeping_a_listen_key_ends_when_the_venue_has_forgotten_it() -> None:
    async with desk() as at:
        naps: list[float] = []

        async def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                at.sim.fault(faults.ExpireListenKeys())

        trading = MexcTrading(at.rest, None, {}, sleep=nap)
        await trading.keep_listen_key(await trading.new_listen_key())
        assert naps == [1800.0] * 3
