"""The account's own stream against the simulator: reports once each, keys kept alive, and a look by REST after every loss."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from claire.adapters.venues.mexc.budget import Bucket, Budget, Gate, Limit
from claire.adapters.venues.mexc.errors import MexcError
from claire.adapters.venues.mexc.fees import FeePrices
from claire.adapters.venues.mexc.fills import FillBook
from claire.adapters.venues.mexc.instruments import require_tradable
from claire.adapters.venues.mexc.items import FeedAlert, LinkChange
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.privatedecoder import Foreign, PrivateDecoder, PrivateEvent, PrivateItem, Reconcile
from claire.adapters.venues.mexc.pushes import BalancePush
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.trading import MexcTrading
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, QuerySigner
from claire.mexcsim import SimConfig, Simulator, What, faults
from claire.mexcsim.symbols import choose
from claire.model.decisions import Intent, VenueReport
from claire.model.market import Side
from claire.model.orders import Evidence, OrderType
from tests.support.mexc_live import LIQUID, QUICK, until

pytestmark = pytest.mark.asyncio

BTC = "BTCUSDT"
ACCESS, SECRET = "stream-key", "stream-secret"  # pragma: allowlist secret
WIDE = {bucket: Limit(1e6, 1e6) for bucket in Bucket}


class Account:
    """An account at the simulator, its trading client, its stream, and what that gave so far."""

    def __init__(self, sim: Simulator, trading: MexcTrading, stream: PrivateStream, numbers: dict[str, int]) -> None:
        self.sim = sim
        self.trading = trading
        self.stream = stream
        self.numbers = numbers
        self.reader: asyncio.Task[None]
        self.items: list[PrivateItem] = []
        self.events: list[PrivateEvent] = []

    async def order(self, lots: int = 10_000, kind: OrderType = OrderType.MARKET, limit_ticks: int = 0) -> int:
        """Buy; return the order's number."""
        number = len(self.numbers) + 1
        name = f"clr-{number}"
        self.numbers[name] = number
        await self.trading.submit(
            Intent(
                order_no=number,
                signal_no=number,
                account_id="a",
                venue="mexc",
                strategy_id="s",
                symbol=BTC,
                side=Side.BUY,
                type=kind,
                quantity_lots=lots,
                limit_ticks=limit_ticks,
                expires_ns=0,
                reduce_only=False,
                client_order_id=name,
                ts_event_ns=1,
                price_ticks=8_427_001,
            )
        )
        return number

    def reports(self, number: int) -> list[VenueReport]:
        """What was reported of one order."""
        return [each for each in self.events if isinstance(each, VenueReport) and each.order_no == number]

    def filled(self, number: int) -> int:
        """Lots reported as executed."""
        return sum(report.quantity_lots for report in self.reports(number))

    def reconciles(self) -> list[Reconcile]:
        """How often the caller was asked to look."""
        return [each for each in self.events if isinstance(each, Reconcile)]


@asynccontextmanager
async def account(keep_alive_s: float = 600.0, access: str = ACCESS) -> AsyncIterator[Account]:
    """Open all of it; at the end no execution may have been reported twice, and a replay has to give the same."""
    rules = choose((BTC, "MXUSDT"))
    keys = Keys(access, SECRET)
    async with Simulator(SimConfig(symbols=rules, flow=LIQUID)) as sim:
        sim.add_account(ACCESS, SECRET, balances={"USDT": 1_000_000, "BTC": 1})
        endpoint = Endpoint.parse(sim.rest_url)
        gate = Gate(Budget(WIDE), time.monotonic_ns)
        async with MexcRest(endpoint, gate, signer=QuerySigner(keys)) as rest, OrderSender(endpoint, keys) as sender:
            tradables = require_tradable([BTC], await read_listing(rest)) if access == ACCESS else {}
            trading = MexcTrading(rest, sender, tradables)
            known = {name: each.instrument for name, each in tradables.items()}
            numbers: dict[str, int] = {}
            stream = PrivateStream(
                trading,
                sim.ws_url,
                known,
                lambda client, _: numbers.get(client),
                settings=QUICK,
                keep_alive_s=keep_alive_s,
            )
            found = Account(sim, trading, stream, numbers)
            async with stream:
                reader = found.reader = asyncio.create_task(_read(found))
                try:
                    if access == ACCESS:
                        await until(lambda: stream.is_live, 5, "a private stream")
                    yield found
                finally:
                    await stream.close()
                    await asyncio.wait([reader])
            reader.result()
    ids = [event.trade_id for event in found.events if isinstance(event, VenueReport) and event.trade_id]
    assert len(set(ids)) == len(ids)
    again = PrivateDecoder(known, lambda client, _: numbers.get(client), FillBook(), FeePrices(time.monotonic_ns))
    assert [again.take(item.input) for item in found.items] == [item.events for item in found.items]


async def _read(found: Account) -> None:
    async for item in found.stream:
        found.items.append(item)
        found.events += item.events


async def test_a_market_order_is_acknowledged_and_executed_once_each():
    async with account() as found:
        number = await found.order(20_000)
        await until(lambda: found.filled(number) == 20_000, 5, "the executions")
        reports = found.reports(number)
        assert [report.evidence for report in reports].count(Evidence.ACKNOWLEDGED) == 1
        assert all(report.fee_asset and report.fee_value >= 0 for report in reports if report.trade_id)
        assert any(isinstance(event, BalancePush) for event in found.events)


async def test_a_canceled_order_ends_after_its_last_execution():
    async with account() as found:
        number = await found.order(10_000, OrderType.LIMIT, 4_000_000)
        await until(lambda: found.reports(number), 5, "the acknowledgement")
        await found.trading.cancel_all(BTC)
        await until(lambda: found.reports(number)[-1].evidence is Evidence.CANCELED, 5, "the end")
        ioc = await found.order(500_000_000, OrderType.IOC, 8_500_000)
        await until(
            lambda: found.reports(ioc) and found.reports(ioc)[-1].evidence is Evidence.CANCELED, 5, "the end of the IOC"
        )
        info = await found.trading.order(BTC, client_order_id=f"clr-{ioc}")
        assert info is not None
        rules = found.trading.tradables[BTC].instrument
        assert rules.quantity(found.filled(ioc)) == info.executed_qty, "all of it was told before the end"


async def test_the_stream_and_rest_together_count_an_execution_once():
    async with account() as found:
        found.stream.share(found.trading.book, found.trading.fee_prices)
        number = await found.order(20_000)
        await until(lambda: found.filled(number) == 20_000, 5, "the executions")
        look = await found.trading.look(number, BTC, f"clr-{number}", 1)
        assert look is not None
        assert not [report for report in look.reports if report.trade_id]


async def test_repeated_executions_count_once_and_every_new_connection_asks_for_a_look():
    async with account() as found:
        assert len(found.reconciles()) == 1
        found.sim.fault(faults.Duplicate(channel="private.deals", delay_ms=50))
        number = await found.order(20_000)
        await until(lambda: found.stream.counters.duplicate_trades_total > 0, 5, "a repeated execution")
        await until(lambda: found.filled(number) == 20_000, 5, "the executions")
        found.sim.fault(faults.Disconnect(which="private"))
        await until(lambda: len(found.reconciles()) == 2, 8, "another look")
        changes = [item.input for item in found.items if isinstance(item.input, LinkChange)]
        assert [bool(change.channels) for change in changes] == [True, False, True]


async def test_executions_that_do_not_come_are_asked_for():
    async with account() as found:
        found.sim.fault(faults.Lose(channel="private.deals"))
        number = await found.order(20_000)
        await until(lambda: any(number in each.order_nos for each in found.reconciles()), 8, "the question")
        look = await found.trading.look(number, BTC, f"clr-{number}", 1)
        assert look is not None
        assert sum(report.quantity_lots for report in look.reports) == 20_000


async def test_an_expired_listen_key_is_replaced_by_a_new_one():
    async with account(keep_alive_s=0.3) as found:
        first = found.stream._key
        found.sim.fault(faults.ExpireListenKeys())
        await until(lambda: found.stream._key not in ("", first), 8, "a new key")
        await until(lambda: found.stream.is_live, 8, "a connection with it")
        number = await found.order(20_000)
        await until(lambda: found.filled(number) == 20_000, 5, "the executions")
        assert len(found.reconciles()) >= 2


async def test_a_listen_key_is_prolonged_in_time_and_ended_at_the_end():
    async with account(keep_alive_s=0.2) as found:
        await until(lambda: _calls(found.sim, "PUT") >= 2, 5, "two renewals")
    assert _calls(found.sim, "DELETE") == 1


def _calls(sim: Simulator, method: str) -> int:
    """How often the simulator was asked something about listen keys."""
    return sum(
        entry.detail.get("method") == method and "userDataStream" in str(entry.detail.get("path"))
        for entry in sim.log.of(What.REQUEST)
    )


async def test_an_order_of_somebody_else_on_this_account_is_told_apart():
    async with account() as found:
        number = await found.order(20_000)
        del found.numbers[f"clr-{number}"]
        await until(lambda: any(isinstance(event, Foreign) for event in found.events), 5, "a foreign order")


async def test_an_unknown_private_message_stops_entries_and_asks_for_a_look():
    async with account() as found:
        found.sim.fault(faults.UnknownMessage(channel="private", times=1))
        await found.order(20_000)
        await until(
            lambda: [each for each in found.events if isinstance(each, FeedAlert) and each.stops_entries], 5, "an alert"
        )
        assert found.reconciles()[-1].order_nos == ()


async def test_a_wrong_key_is_an_error_with_a_remedy():
    with pytest.raises(MexcError) as caught:
        async with account(access="wrong-key") as found:
            await asyncio.wait([found.reader], timeout=5)
    assert "secrets" in str(caught.value) or "key" in str(caught.value)
