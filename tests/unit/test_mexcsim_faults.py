"""Every fault of the simulator does what it says, is logged with its time, and ends when it should."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from google.protobuf.message import DecodeError

from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator, What, scenario
from claire.mexcsim import faults as f
from claire.model.errors import ConfigError
from claire.wire import PushDataV3ApiWrapper
from tests.support.sim import DEALS, DEPTH, KEY, SECRET, ManualClock, SimClient, Socket, eventually

pytestmark = pytest.mark.asyncio
LIMIT = {"quantity": "0.001", "price": "80000"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def client(clock: ManualClock) -> AsyncIterator[SimClient]:
    config = SimConfig(
        seed=3, flow=FlowSettings(events_per_s=0), limits=Limits(enabled=False), clock=clock, past_minutes=0
    )
    async with Simulator(config) as sim, SimClient(sim) as client:
        sim.add_account(KEY, SECRET)
        yield client


def struck(client: SimClient) -> list[str]:
    return [str(entry.detail["fault"]) for entry in client.sim.log.of(What.FAULT_STRUCK)]


async def trade(client: SimClient, *, wait: bool = True) -> None:
    """One public trade, pushed."""
    assert (await client.order("BUY", "MARKET", quantity="0.0001")).status == 200
    client.sim.venue.clock.advance(10)  # type: ignore[attr-defined]
    if wait:
        client.sim.beat()


async def open_orders(client: SimClient) -> int:
    return len((await client.signed("GET", "openOrders")).json)


class TestRest:
    async def test_drop_before_accept_leaves_nothing(self, client: SimClient):
        client.sim.fault(f.DropRequest(path="order", method="POST", times=1))
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", "LIMIT", **LIMIT)
        assert await open_orders(client) == 0
        assert (await client.order("BUY", "LIMIT", **LIMIT)).status == 200
        assert struck(client) == ["drop_request"]

    async def test_accept_then_drop_leaves_an_order_that_nobody_was_told_of(self, client: SimClient):
        client.sim.fault(f.DropReply(path="order", times=1))
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", "LIMIT", **LIMIT, newClientOrderId="lost")
        found = await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="lost")
        assert found.json["status"] == "NEW"

    @pytest.mark.parametrize("delay_ms", [2_000, 20_000])
    async def test_an_order_can_be_accepted_late_within_and_beyond_the_fence(self, client, clock, delay_ms):
        client.sim.fault(f.AcceptLate(path="order", delay_ms=delay_ms, answer="504", times=1))
        assert (await client.order("BUY", "LIMIT", **LIMIT, newClientOrderId="late")).status == 504
        clock.advance(delay_ms - 500)
        await asyncio.sleep(0.02)
        assert (await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="late")).json["code"] == -2013
        clock.advance(500)
        await eventually(lambda: client.sim.log.counts[What.ACCEPTED] == 1)
        assert await open_orders(client) == 1

    async def test_late_acceptance_may_also_drop_the_answer(self, client: SimClient):
        client.sim.fault(f.AcceptLate(path="order", delay_ms=0, times=1))
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", "LIMIT", **LIMIT)
        await eventually(lambda: client.sim.log.counts[What.ACCEPTED] == 1)

    @pytest.mark.parametrize(("accepted", "orders"), [(False, 0), (True, 1)])
    async def test_a_5xx_tells_nothing_about_the_order(self, client, accepted, orders):
        client.sim.fault(f.ServerError(path="order", status=503, accepted=accepted, times=1))
        assert (await client.order("BUY", "LIMIT", **LIMIT)).status == 503
        assert await open_orders(client) == orders

    async def test_429_418_and_403_look_like_the_venues(self, client: SimClient):
        client.sim.fault(f.TooMany(retry_after_s=3, times=1))
        client.sim.fault(f.Banned(skip=1, times=1))
        client.sim.fault(f.Firewall(skip=2, times=1))
        answers = [await client.public("ping") for _ in range(4)]
        assert {answer.status for answer in answers[:3]} == {403, 418, 429}
        assert answers[3].status == 200
        by_status = {answer.status: answer for answer in answers}
        assert by_status[429].headers["Retry-After"] == "3"
        assert by_status[418].headers["Retry-After"] == "120"
        assert by_status[403].body.startswith(b"<html>")

    async def test_any_error_code_can_be_answered(self, client: SimClient):
        client.sim.fault(f.Refuse(path="order", code="98765", text="news", status=400, times=1))
        assert (await client.order("BUY", "LIMIT", **LIMIT)).json == {"code": "98765", "msg": "news"}

    @pytest.mark.parametrize(("accepted", "orders"), [(False, 0), (True, 1)])
    async def test_a_hanging_call_ends_without_an_answer(self, client, clock, accepted, orders):
        client.sim.fault(f.Hang(path="order", ms=30_000, accepted=accepted, times=1))
        waiting = asyncio.create_task(client.order("BUY", "LIMIT", **LIMIT))
        await eventually(lambda: struck(client) == ["hang"])
        assert not waiting.done()
        clock.advance(30_000)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert await open_orders(client) == orders

    @pytest.mark.parametrize("stage", ["request", "reply"])
    async def test_each_stage_can_take_time(self, client, clock, stage):
        client.sim.fault(f.Latency(stage=stage, ms=400, jitter_ms=100, path="order", times=1))
        waiting = asyncio.create_task(client.order("BUY", "LIMIT", **LIMIT))
        await eventually(lambda: struck(client) == ["latency"])
        assert client.sim.log.counts[What.ACCEPTED] == (1 if stage == "reply" else 0)
        clock.advance(500)
        assert (await waiting).status == 200

    async def test_latency_can_carry_a_call_out_of_its_window(self, client, clock):
        client.sim.fault(f.Latency(ms=6_000, path="order", times=1))
        waiting = asyncio.create_task(client.order("BUY", "LIMIT", **LIMIT))
        await eventually(lambda: struck(client) == ["latency"])
        clock.advance(6_000)
        assert (await waiting).json["code"] == 700003

    async def test_a_new_order_can_be_invisible_for_a_while(self, client, clock):
        client.sim.fault(f.ReadLag(ms=2_000, times=1))
        await client.order("BUY", "LIMIT", **LIMIT, newClientOrderId="shy")
        assert (await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="shy")).json["code"] == -2013
        assert await open_orders(client) == 0
        clock.advance(2_000)
        assert await open_orders(client) == 1

    async def test_a_skewed_clock_shows_and_refuses(self, client: SimClient):
        mine = client.sim.venue.server_ms()
        client.sim.fault(f.ClockSkew(ms=-2_000))
        assert (await client.public("time")).json["serverTime"] == mine - 2_000
        query = f"timestamp={mine}"
        refused = await client.raw("GET", "account", query=f"{query}&signature={client.signature(query)}")
        assert refused.json["code"] == 700003

    async def test_maintenance_answers_503_and_closes_sockets(self, client, clock):
        socket = await client.socket(DEALS)
        client.sim.fault(f.Maintenance(for_ms=60_000))
        assert await socket.ended() == 1001
        assert (await client.public("time")).status == 503
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.socket()
        clock.advance(60_000)
        assert (await client.public("time")).status == 200

    async def test_a_revoked_key_is_unknown(self, client: SimClient):
        client.sim.fault(f.RevokeKey(key=KEY))
        assert (await client.signed("GET", "account")).json["code"] == "10072"


class TestSockets:
    @pytest.mark.parametrize(("how", "code"), [("cut", 1006), ("close", 1001)])
    async def test_sockets_are_cut_or_closed(self, client, how, code):
        public, private = await client.socket(DEALS), await client.private()
        client.sim.fault(f.Disconnect(which="public", how=how))
        assert await public.ended() == code
        assert [bool(connection.listen_key) for connection in client.sim.connections] == [True]
        client.sim.fault(f.Disconnect(which="private", how=how))
        assert await private.ended() == code

    async def test_the_24_hours_can_be_over_at_once(self, client: SimClient):
        socket = await client.socket(DEALS)
        client.sim.fault(f.EndOfLife())
        assert await socket.ended() == 1006

    async def test_a_stall_stops_the_data_of_one_channel_and_answers_pings(self, client, clock):
        stalled, other = await client.socket(DEALS), await client.socket(DEALS.replace("10ms", "100ms"))
        client.sim.fault(f.Stall(channel="deals.v3.api.pb@10ms", symbol="BTCUSDT", for_ms=5_000))
        await trade(client)
        clock.advance(100)
        assert len(await other.push()) == 1
        await stalled.send({"method": "PING"})
        assert "PONG" in await stalled.text()
        assert stalled.pushes == []
        clock.advance(5_000)
        await trade(client)
        assert len(await stalled.push()) == 1

    async def test_a_half_open_socket_says_nothing_at_all(self, client: SimClient):
        socket = await client.socket(DEALS)
        number = client.sim.fault(f.HalfOpen())
        await socket.send({"method": "PING"})
        await trade(client)
        assert await socket.silent_for(0.05)
        assert len(socket.texts) == 1
        client.sim.clear_faults(number)
        assert "PONG" in await socket.text()

    async def test_a_subscription_is_refused(self, client: SimClient):
        client.sim.fault(f.RefuseSubscription(channel="aggre.deals", times=1))
        socket = await client.socket()
        assert "Blocked" in await socket.subscribe(DEALS)
        assert await socket.subscribe(DEALS) == DEALS

    async def test_subscriptions_old_and_new_are_lost_without_a_word(self, client: SimClient):
        old = await client.socket(DEALS)
        number = client.sim.fault(f.LoseSubscription(channel="aggre.deals"))
        new = await client.socket(DEALS)
        await trade(client)
        assert await old.silent_for(0.03)
        assert await new.silent_for(0.03)
        client.sim.clear_faults(number)
        await trade(client)
        assert await old.silent_for(0.03)

    async def test_listen_keys_end_and_their_streams_with_them(self, client, clock):
        private = await client.private()
        client.sim.fault(f.ExpireListenKeys(key=KEY))
        assert await private.ended() == 1006
        assert (await client.signed("GET", "userDataStream")).json == {"listenKey": []}


class TestFrames:
    async def ready(self, client: SimClient, *names: str) -> Socket:
        return await client.socket(*(names or (DEALS,)))

    async def test_twice(self, client, clock):
        socket = await self.ready(client)
        client.sim.fault(f.Duplicate(channel="deals", delay_ms=40 * 60_000, times=1))
        await trade(client)
        first = (await socket.push())[0]
        clock.advance(40 * 60_000)
        await socket.send({"method": "PING"})
        assert (await socket.push())[0] == first

    async def test_a_private_fill_twice(self, client: SimClient):
        private = await client.private()
        client.sim.fault(f.Duplicate(channel="private.deals", times=1))
        await trade(client)
        await private.until(lambda: sum(push.HasField("private_deals") for push in private.pushes) == 2)
        deals = [push.private_deals.trade_id for push in private.pushes if push.HasField("private_deals")]
        assert deals[0] == deals[1]

    async def test_late_after_those_that_followed(self, client, clock):
        socket = await self.ready(client)
        client.sim.fault(f.Late(channel="deals", delay_ms=300, times=1))
        await trade(client)
        await trade(client)
        clock.advance(300)
        times = [push.public_aggre_deals.deals[0].time for push in await socket.push(2)]
        assert times[0] > times[1]

    async def test_slowly_but_in_order(self, client, clock):
        socket = await self.ready(client)
        client.sim.fault(f.SlowPush(channel="deals", ms=200, jitter_ms=100))
        for _ in range(3):
            await trade(client)
        assert await socket.silent_for(0.03)
        clock.advance(400)
        times = [push.public_aggre_deals.deals[0].time for push in await socket.push(3)]
        assert times == sorted(times)

    async def test_in_the_wrong_order(self, client: SimClient):
        socket = await self.ready(client)
        client.sim.fault(f.Reorder(channel="deals", times=1))
        await trade(client)
        await trade(client)
        times = [push.public_aggre_deals.deals[0].time for push in await socket.push(2)]
        assert times[0] > times[1]

    @pytest.mark.parametrize("fault", [f.DepthGap(symbol="BTCUSDT"), f.Lose(channel="aggre.depth", times=1)])
    async def test_a_gap_in_the_depth(self, client, fault):
        socket = await self.ready(client, DEPTH)
        await trade(client)
        before = (await socket.push())[0].public_aggre_depths
        client.sim.fault(fault)
        await trade(client)
        await trade(client)
        after = (await socket.push())[0].public_aggre_depths
        assert int(after.from_version) > int(before.to_version) + 1

    @pytest.mark.parametrize("how", ["cut", "flip", "noise"])
    async def test_bytes_that_are_damaged(self, client, how):
        socket = await self.ready(client)
        await trade(client)
        await socket.push()
        client.sim.fault(f.Corrupt(channel="deals", how=how, times=1))
        await trade(client)
        damaged = await socket.socket.receive_bytes()
        if how == "noise":
            with pytest.raises(DecodeError):
                PushDataV3ApiWrapper.FromString(damaged)
        elif how == "flip":
            assert len(damaged) == len(socket.frames[0])
        else:
            assert len(damaged) < len(socket.frames[0])

    @pytest.mark.parametrize(("how", "wrong"), [("nan", "NaN"), ("negative", "-84"), ("off_tick", "0000000000001")])
    async def test_numbers_that_are_none(self, client, how, wrong):
        socket = await self.ready(client)
        client.sim.fault(f.Corrupt(channel="deals", how=how, times=1))
        await trade(client)
        assert wrong in (await socket.push())[0].public_aggre_deals.deals[0].price

    async def test_fields_and_messages_that_no_schema_has(self, client: SimClient):
        socket = await self.ready(client)
        client.sim.fault(f.UnknownField(channel="deals", times=1))
        client.sim.fault(f.UnknownMessage(channel="deals", skip=1, times=1))
        await trade(client)
        await trade(client)
        known, unknown = await socket.push(2)
        assert known.WhichOneof("body") == "public_aggre_deals"
        assert socket.frames[0].endswith(b"later")
        assert unknown.WhichOneof("body") is None
        assert unknown.channel == DEALS


class TestPairs:
    async def test_a_delisted_pair_is_gone(self, client: SimClient):
        await client.order("BUY", "LIMIT", **LIMIT)
        client.sim.fault(f.Delist(symbol="BTCUSDT"))
        assert await open_orders(client) == 0
        assert (await client.order("BUY", "LIMIT", **LIMIT)).json["code"] == 30016
        assert "BTCUSDT" not in [row["symbol"] for row in (await client.public("exchangeInfo")).json["symbols"]]
        assert {"symbol": "BTCUSDT", "state": 3} in (await client.public("symbol/offline")).json["data"]
        socket = await client.socket()
        assert "Blocked" in await socket.subscribe(DEALS)

    async def test_a_paused_pair_keeps_its_orders(self, client: SimClient):
        await client.order("BUY", "LIMIT", **LIMIT)
        client.sim.fault(f.Pause(symbol="BTCUSDT"))
        assert (await client.order("BUY", "LIMIT", **LIMIT)).json["code"] == 30000
        assert await open_orders(client) == 1

    async def test_changed_rules_hold_at_once(self, client: SimClient):
        await client.order("BUY", "LIMIT", **LIMIT)
        client.sim.fault(f.ChangeRules(symbol="BTCUSDT", min_notional="50"))
        assert (await client.order("BUY", "LIMIT", quantity="0.0001", price="80000")).json["code"] == 30002
        assert await open_orders(client) == 1
        client.sim.fault(f.ChangeRules(symbol="BTCUSDT", price_decimals=1))
        assert await open_orders(client) == 0
        assert (await client.order("BUY", "LIMIT", quantity="0.001", price="80000.55")).json["code"] == 400
        account = (await client.signed("GET", "account")).json["balances"]
        assert all(Decimal(row["locked"]) == 0 for row in account)


class TestWhen:
    async def test_after_for_times_and_skip(self, client, clock):
        client.sim.fault(f.Refuse(code=1, path="ping", after_ms=100, for_ms=200, skip=1, times=2))
        codes = []
        for _ in range(8):
            codes.append((await client.public("ping")).status)
            clock.advance(40)
        assert codes == [200, 200, 200, 200, 400, 400, 200, 200]
        assert client.sim.log.of(What.FAULT_OVER)

    async def test_chance_comes_from_the_seed(self, clock):
        async def run(seed: int) -> list[int]:
            async with Simulator(SimConfig(seed=seed, clock=clock, past_minutes=0)) as sim, SimClient(sim) as client:
                sim.fault(f.Refuse(code=1, path="ping", probability=0.5))
                return [(await client.public("ping")).status for _ in range(20)]

        first = await run(1)
        assert set(first) == {200, 400}
        assert await run(1) == first
        assert await run(2) != first

    async def test_faults_are_set_listed_and_cleared_over_the_wire(self, client: SimClient):
        body = msgspec.json.encode({"kind": "refuse", "code": 7, "path": "ping"}).decode()
        number = (await client.raw("POST", "/sim/faults", body=body)).json["number"]
        listed = (await client.raw("GET", "/sim/faults")).json
        assert [(row["number"], row["kind"], row["code"]) for row in listed] == [(number, "refuse", 7)]
        assert (await client.public("ping")).json["code"] == 7
        assert (await client.raw("DELETE", "/sim/faults", query=f"number={number}")).json == {"cleared": 1}
        assert (await client.public("ping")).status == 200
        assert (await client.raw("GET", "/sim")).json["counts"]["fault struck"] == 1
        assert (await client.raw("GET", "/sim/log", query="after=1&limit=2")).json["total"] >= 3

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ('{"kind":"stal"}', "Did you mean stall?"),
            ('{"kind":"stall","chanel":"x"}', "its fields: "),
            ('{"kind":"latency"}', "missing required field `ms`"),
            ('{"kind":"delist","symbol":"BTCUST"}', "Did you mean BTCUSDT?"),
            ('{"kind":"revoke_key","key":"x"}', "there is no key x"),
            ('{"kind":"stall","probability":2}', "not within 0 and 1"),
            ('{"kind":"stall","for_ms":-1}', "cannot be negative"),
            ("[]", "a JSON object"),
            ("{", "truncated"),
        ],
    )
    async def test_a_fault_that_makes_no_sense_is_answered_with_the_reason(self, client, body, said):
        refused = await client.raw("POST", "/sim/faults", body=body)
        assert refused.status == 400
        assert said.lower() in refused.json["error"].lower()


async def test_a_scenario_file_sets_faults_from_the_start(tmp_path: Path):
    file = tmp_path / "bad-day.toml"
    file.write_text('[[fault]]\nkind = "too_many"\npath = "time"\n\n[[fault]]\nkind = "pause"\nsymbol = "ETHUSDT"\n')
    async with Simulator(SimConfig(scenario=scenario.load(file))) as sim, SimClient(sim) as client:
        assert (await client.public("time")).status == 429
        assert (await client.public("exchangeInfo", symbol="ETHUSDT")).json["symbols"][0]["status"] == "2"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[fault]]\nkind = 'x'\n", "fault 1"),
        ("speed = 3\n", "not speed"),
        ("[[fault]\n", "no TOML"),
        (None, "No such file"),
    ],
)
async def test_a_scenario_file_that_is_wrong_is_named(tmp_path: Path, content: str | None, said: str):
    file = tmp_path / "scenario.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        scenario.load(file)
    assert str(file) in str(caught.value)


async def test_every_kind_of_fault_is_known_to_scenario_files():
    made = {kind for kind in vars(f).values() if isinstance(kind, type) and issubclass(kind, f.Fault)}
    assert set(scenario.kinds().values()) == made - {f.Fault, f.RestFault, f.StreamFault, f.Deed}


async def test_the_last_push_in_old_steps_comes_before_the_rules_change(client: SimClient):
    socket = await client.socket(DEPTH)
    client.sim.fault(f.ChangeRules(symbol="BTCUSDT", price_decimals=1))
    (push,) = await socket.push()
    levels = [*push.public_aggre_depths.asks, *push.public_aggre_depths.bids]
    assert {level.quantity for level in levels} == {"0"}
    assert all(Decimal(80_000) < Decimal(level.price) < Decimal(90_000) for level in levels)
    assert len(client.sim.books["BTCUSDT"].bids) == 0


async def test_a_market_goes_on_in_its_new_steps():
    config = SimConfig(
        seed=3, flow=FlowSettings(events_per_s=200), symbols=SimConfig().symbols[:1], limits=Limits(enabled=False)
    )
    async with Simulator(config) as sim:
        sim.add_account(KEY, SECRET)
        sim.fault(f.ChangeRules(symbol="BTCUSDT", price_decimals=1, min_notional="5"))
        tape = sim.venue.exchange.markets["BTCUSDT"].tape
        await eventually(lambda: tape.count > 5)
        assert (
            Decimal(80_000)
            < Decimal(sim.venue.exchange.markets["BTCUSDT"].rule.price_text(tape.last_price))
            < Decimal(90_000)
        )


async def test_the_manual_names_every_fault_and_every_field_of_its_own(checkout: Path):
    manual = (checkout / "docs" / "mexc-sim.md").read_text(encoding="utf-8")
    rows = {text.split("`")[1]: text for text in manual.splitlines() if text.startswith("| `")}
    shared = {*f.RestFault.__struct_fields__, *f.StreamFault.__struct_fields__}
    for name, kind in scenario.kinds().items():
        assert name in rows, f"docs/mexc-sim.md does not tell of {name}"
        if kind is not f.ChangeRules:
            assert all(f"`{field}`" in rows[name] for field in set(kind.__struct_fields__) - shared), name
