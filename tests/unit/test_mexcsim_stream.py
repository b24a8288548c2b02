"""Streams of the simulator: control frames word for word, what pushes look like, books that can be followed, closes."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator, StreamRules
from claire.mexcsim.log import What
from tests.support.sim import DEALS, DEPTH, KEY, PRIVATE, SECRET, TICKER, ManualClock, SimClient

pytestmark = pytest.mark.asyncio
STILL = FlowSettings(events_per_s=0)
LIVELY = FlowSettings(events_per_s=50)
FREE = Limits(enabled=False)


def still(clock: Callable[[], int] | None = None, stream: StreamRules | None = None) -> Simulator:
    sim = Simulator(SimConfig(flow=STILL, limits=FREE, clock=clock, stream=stream or StreamRules()))
    sim.add_account(KEY, SECRET)
    return sim


class TestControlFrames:
    async def test_every_text_is_the_venues(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket()
            other = DEALS.replace("10ms", "100ms")
            retired = "spot@public.deals.v3.api.pb@BTCUSDT"
            for request, said in (
                ({"method": "SUBSCRIPTION", "params": [DEALS]}, f'{{"id":0,"code":0,"msg":"{DEALS}"}}'),
                ({"method": "SUBSCRIPTION", "params": [DEALS]}, '{"id":0,"code":0,"msg":""}'),
                (
                    {"method": "SUBSCRIPTION", "params": [DEPTH, other], "id": 7},
                    f'{{"id":7,"code":0,"msg":"{DEPTH},{other}"}}',
                ),
                (
                    {"method": "SUBSCRIPTION", "params": [retired]},
                    f'{{"id":0,"code":0,"msg":"Not Subscribed successfully! [{retired}].  Reason： Blocked! "}}',
                ),
                (
                    {"method": "SUBSCRIPTION", "params": [TICKER, retired]},
                    f'{{"id":0,"code":0,"msg":"Subscribed successful! [{TICKER}].'
                    f' Not Subscribed successfully! [{retired}]. Reason： Blocked! "}}',
                ),
                ({"method": "PING", "id": 5}, '{"id":0,"code":0,"msg":"PONG"}'),
                ({"method": "ping"}, '{"id":0,"code":0,"msg":"PONG"}'),
                ({"method": "UNSUBSCRIPTION", "params": [DEALS]}, f'{{"id":0,"code":0,"msg":"{DEALS}"}}'),
                (
                    {"method": "UNSUBSCRIPTION", "params": [DEALS]},
                    f'{{"id":0,"code":0,"msg":"no subscription {DEALS}"}}',
                ),
                ({"method": "DANCE"}, '{"id":0,"code":0,"msg":"msg format invalid"}'),
                ([1, 2], '{"id":0,"code":0,"msg":"msg format invalid"}'),
                ({"method": "SUBSCRIPTION", "params": "all"}, '{"id":0,"code":0,"msg":"msg format invalid"}'),
            ):
                await socket.send(request)
                assert await socket.text() == said

    @pytest.mark.parametrize(
        "name",
        [
            "spot@public.aggre.deals.v3.api.pb@100ms@btcusdt",
            "spot@public.aggre.deals.v3.api.pb@100ms@NOPEUSDT",
            "spot@public.aggre.deals.v3.api.pb@50ms@BTCUSDT",
            "spot@public.aggre.deals.v3.api@100ms@BTCUSDT",
            "spot@public.increase.depth.v3.api.pb@BTCUSDT",
            "spot@public.bookTicker.v3.api.pb@BTCUSDT",
            "spot@public.limit.depth.v3.api.pb@BTCUSDT@7",
            "spot@public.kline.v3.api.pb@BTCUSDT@Min3",
            "spot@public.miniTicker.v3.api.pb@BTCUSDT",
            "spot@public.miniTickers.v3.api.pb@UTC-9",
            "spot@private.deals.v3.api.pb",
            "rubbish",
        ],
    )
    async def test_what_the_venue_refuses_is_refused_with_code_0(self, name: str):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket()
            assert "Blocked" in await socket.subscribe(name)

    async def test_the_thirty_first_subscription_is_refused(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket()
            names = [f"spot@public.aggre.{kind}.v3.api.pb@{cadence}@{rule}" for kind in ("deals", "depth")
                     for cadence in ("10ms", "100ms") for rule in list(sim.books)[:8]]  # fmt: skip
            said = await socket.subscribe(*names)
            assert said.startswith("Subscribed successful! [")
            assert said.split("Not Subscribed")[1].count("spot@") == 2


class TestPushes:
    async def test_deals_are_trimmed_and_name_both_orders(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket(DEALS)
            await client.order("BUY", "MARKET", quantity="0.00100")
            (push,) = await socket.push()
            (deal,) = push.public_aggre_deals.deals
            assert (push.symbol, push.create_time, push.public_aggre_deals.event_type) == (
                "BTCUSDT",
                0,
                DEALS.rpartition("@")[0],
            )
            assert (deal.quantity, deal.trade_type) == ("0.001", 1)
            assert deal.trade_id.count("X") == 2

    async def test_a_book_followed_from_a_snapshot_equals_the_venues(self):
        async with Simulator(SimConfig(seed=5, flow=LIVELY, limits=FREE)) as sim, SimClient(sim) as client:
            socket = await client.socket(DEPTH)
            pushes = await socket.push(3)
            snapshot = (await client.public("depth", symbol="BTCUSDT", limit=5000)).json
            pushes += await socket.push(10)
            book = {side: {Decimal(p): Decimal(q) for p, q in snapshot[side]} for side in ("bids", "asks")}
            version = snapshot["lastUpdateId"]
            for push in pushes:
                body = push.public_aggre_depths
                if int(body.to_version) <= version:
                    continue
                assert int(body.from_version) <= version + 1
                version = int(body.to_version)
                for side in ("bids", "asks"):
                    for level in getattr(body, side):
                        book[side][Decimal(level.price)] = Decimal(level.quantity)
            live = sim.books["BTCUSDT"]
            if live.version == version:
                rule = sim.venue.exchange.markets["BTCUSDT"].rule
                venue = {
                    Decimal(rule.price_text(level.price)): Decimal(rule.quantity_text(level.lots))
                    for level in live.bids.top(999)
                }
                assert {price: lots for price, lots in book["bids"].items() if lots} == venue
            assert max(book["bids"]) > 0

    async def test_versions_of_depth_ticker_and_snapshot_are_one_counter(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket(TICKER, "spot@public.limit.depth.v3.api.pb@BTCUSDT@5", DEPTH)
            await client.order("BUY", "LIMIT", quantity="0.001", price="84271")
            await socket.until(lambda: any(push.HasField("public_aggre_depths") for push in socket.pushes))
            await socket.push(3)
            version = str((await client.public("depth", symbol="BTCUSDT")).json["lastUpdateId"])
            found = {push.public_aggre_book_ticker.version for push in socket.pushes} | {
                push.public_aggre_depths.to_version for push in socket.pushes
            }
            assert version in found

    async def test_limit_depth_is_padded_and_the_ticker_repeats_itself(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket("spot@public.limit.depth.v3.api.pb@BTCUSDT@5", TICKER)
            await socket.until(lambda: sum(push.HasField("public_aggre_book_ticker") for push in socket.pushes) >= 3)
            await socket.until(lambda: any(push.HasField("public_limit_depths") for push in socket.pushes))
            limited = next(push.public_limit_depths for push in socket.pushes if push.HasField("public_limit_depths"))
            assert len(limited.asks) == len(limited.bids) == 5
            assert all(len(level.price.split(".")[1]) == 2 for level in limited.asks)
            tickers = [
                push.public_aggre_book_ticker for push in socket.pushes if push.HasField("public_aggre_book_ticker")
            ]
            assert len({ticker.version for ticker in tickers}) == 1

    async def test_candles_count_seconds_and_have_no_send_time(self):
        async with still() as sim, SimClient(sim) as client:
            socket = await client.socket("spot@public.kline.v3.api.pb@BTCUSDT@Hour8")
            await client.order("BUY", "MARKET", quantity="0.001")
            (push,) = await socket.push()
            kline = push.public_spot_kline
            assert kline.window_end - kline.window_start == 8 * 3600
            assert (push.send_time, len(push.symbol_id), kline.interval) == (0, 32, "Hour8")

    async def test_tickers_of_all_pairs_come_every_three_seconds(self):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            socket = await client.socket(
                "spot@public.miniTickers.v3.api.pb@UTC+8", "spot@public.miniTicker.v3.api.pb@BTCUSDT@24H"
            )
            clock.advance(3_000)
            first, second = await socket.push(2)
            both = {push.WhichOneof("body"): push for push in (first, second)}
            assert len(both["public_mini_tickers"].public_mini_tickers.items) == len(sim.books)
            assert both["public_mini_ticker"].public_mini_ticker.symbol == "BTCUSDT"


class TestPrivate:
    async def test_an_order_tells_its_account_alone_what_became_of_it(self):
        async with still() as sim, SimClient(sim) as client, SimClient(sim, "other", "s") as other:
            sim.add_account("other", "s")
            mine, theirs = await client.private(), await other.private()
            made = (await client.order("BUY", "MARKET", quantity="0.001", newClientOrderId="me-1")).json
            await mine.until(lambda: any(push.private_orders.status == 2 for push in mine.pushes))
            (deal,) = [push.private_deals for push in mine.pushes if push.HasField("private_deals")]
            assert (deal.order_id, deal.client_order_id, deal.is_maker) == (made["orderId"], "me-1", False)
            assert deal.trade_id.split("X")[0] == made["orderId"].removeprefix("C02__")[:-3]
            final = [push.private_orders for push in mine.pushes if push.HasField("private_orders")][-1]
            assert (final.amount, final.order_type, final.remain_quantity) == ("0", 5, "0")
            assert Decimal(final.price) > Decimal(final.avg_price)
            assert Decimal(final.remain_amount) == Decimal(final.quantity) * Decimal(final.price) - Decimal(
                final.cumulative_amount
            )
            kinds = [push.private_account.type for push in mine.pushes if push.HasField("private_account")]
            assert kinds[0] == "ENTRUST_PLACE"
            assert "TRADE_FEE" in kinds
            assert await theirs.silent_for(0.05)

    async def test_a_dead_or_unknown_listen_key_is_told_so_in_bare_text(self):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            name = (await client.signed("POST", "userDataStream")).json["listenKey"]
            clock.advance(3_600_001)
            for key in (name, "never-made"):
                socket = await client.socket(listen_key=key)
                await socket.ended()
                assert socket.texts == ["Invalid listen key"]

    async def test_a_listen_key_carries_five_connections_and_ends_with_them(self):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            name = (await client.signed("POST", "userDataStream")).json["listenKey"]
            sockets = [await client.socket(*PRIVATE, listen_key=name) for _ in range(5)]
            sixth = await client.socket(listen_key=name)
            await sixth.ended()
            assert sixth.texts == ["Invalid listen key"]
            await client.signed("DELETE", "userDataStream", listenKey=name)
            clock.advance(60)
            assert [await socket.ended() for socket in sockets] == [1006] * 5


class TestCloses:
    @pytest.mark.parametrize(
        ("channels", "wait_ms", "why"),
        [
            ((), 30_000, "no subscription"),
            ((DEALS,), 60_000, "no data"),
            ((DEALS,), 86_400_000, "24 hours"),
        ],
    )
    async def test_idle_and_old_sockets_are_cut_without_a_close_frame(self, channels, wait_ms, why):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            socket = await client.socket(*channels)
            clock.advance(wait_ms - 100)
            if why == "24 hours":
                sim.connections[0].active_ms = clock()
            sim.beat()
            assert len(sim.connections) == 1
            clock.advance(100)
            assert await socket.ended() == 1006
            assert why in [entry.detail.get("why") for entry in sim.log.of(What.DISCONNECTED)]

    async def test_a_ping_keeps_a_quiet_socket_alive(self):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            socket = await client.socket(DEALS)
            for _ in range(4):
                clock.advance(50_000)
                await socket.send({"method": "PING"})
                assert "PONG" in await socket.text()
            assert len(sim.connections) == 1

    async def test_too_many_messages_in_a_second_end_the_socket(self):
        clock = ManualClock()
        async with still(clock=clock) as sim, SimClient(sim) as client:
            socket = await client.socket()
            for _ in range(101):
                await socket.send({"method": "PING"})
            assert await socket.ended() == 1006

    async def test_a_reader_that_falls_behind_is_cut(self):
        rules = StreamRules(outbox_frames=0)
        async with still(stream=rules) as sim, SimClient(sim) as client:
            socket = await client.socket(DEALS)
            await client.order("BUY", "MARKET", quantity="0.001")
            assert await socket.ended() == 1006
