"""The simulator's market: the same for the same seed, and a recording played at its pace, faster, or step by step."""

import asyncio
import hashlib
import re
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from claire.mexcsim import FlowSettings, Limits, SimConfig, Simulator
from claire.mexcsim.exchange import Exchange
from claire.mexcsim.flow import LIVELY, Recording, SeededFlow
from claire.mexcsim.orders import PublicTrade
from claire.mexcsim.symbols import LIQUID, choose, generate
from claire.model.errors import ConfigError, DataError, SafetyRefusal
from tests.support.sim import DEALS, DEPTH, KEY, SECRET, TICKER, ManualClock, SimClient, eventually

START_MS = 1_795_000_000_000
FREE = Limits(enabled=False)


def history(seed: int, steps_ms: list[int]) -> str:
    """A digest of everything that a seeded market does in ten seconds, looked at in steps of these lengths."""
    exchange = Exchange(choose(["BTCUSDT", "PEPEUSDT", "ETHBTC"]))
    flow = SeededFlow(exchange, FlowSettings(events_per_s=30), seed, START_MS)
    now, turn = START_MS, 0
    while now < START_MS + 10_000:
        now = min(now + steps_ms[turn % len(steps_ms)], START_MS + 10_000)
        turn += 1
        flow.advance(now)
    trades = [repr(event) for event in exchange.out if isinstance(event, PublicTrade)]
    assert len(trades) > 100
    return hashlib.sha256("\n".join(trades).encode()).hexdigest()


class TestSeeded:
    def test_the_same_seed_gives_the_same_market_however_often_the_clock_is_looked_at(self):
        assert history(1, [5]) == history(1, [1, 700, 30]) == history(1, [10_000])
        assert history(1, [5]) != history(2, [5])

    def test_the_book_stays_two_sided_and_uncrossed_through_bursts(self):
        exchange = Exchange(LIQUID)
        settings = FlowSettings(events_per_s=20, burst_every_s=2, burst_pct=5)
        flow = SeededFlow(exchange, settings, 4, START_MS)
        for now in range(START_MS, START_MS + 20_000, 500):
            flow.advance(now)
            for market in exchange.markets.values():
                assert 0 < market.book.bids.best_price() < market.book.asks.best_price()
                assert len(market.book.bids) <= settings.levels
        moved = [
            market
            for market in exchange.markets.values()
            if market.tape.day(START_MS + 20_000).high > market.tape.day(START_MS).open
        ]
        assert moved

    @pytest.mark.parametrize("seed", range(5))
    def test_a_lively_market_moves_percents_in_a_quarter_of_an_hour_and_did_so_before_the_start(self, seed):
        exchange = Exchange(
            LIQUID, seed=seed, now_ms=START_MS, past_minutes=120, past_volatility_bps=LIVELY.past_volatility_bps
        )
        before = [market.tape.past.bars() for market in exchange.markets.values()]
        rises = [bar.high / bars[at - 15].close - 1 for bars in before for at, bar in enumerate(bars) if at >= 15]
        assert max(rises) > 0.03
        ranges = [sum((bar.high - bar.low) / bar.close for bar in bars) / len(bars) for bars in before]
        assert max(ranges) < 0.015, "wilder than this, and entries are off as in a chaotic market"
        flow = SeededFlow(exchange, LIVELY, seed, START_MS)
        starts = {symbol: market.tape.last_price for symbol, market in exchange.markets.items()}
        moved = dict.fromkeys(starts, 0.0)
        for now in range(START_MS, START_MS + 60_000, 1_000):
            flow.advance(now)
            for symbol, market in exchange.markets.items():
                moved[symbol] = max(moved[symbol], abs(market.tape.last_price / starts[symbol] - 1))
        assert max(moved.values()) > 0.025

    def test_two_thousand_pairs_can_be_made(self):
        rules = generate(2_000)
        assert len({rule.symbol for rule in rules}) == 2_000
        assert all(rule.checked() for rule in rules)
        assert rules == generate(2_000)
        assert len({rule.price_decimals for rule in rules}) > 2

    def test_an_unknown_pair_is_named_with_the_nearest(self):
        with pytest.raises(ConfigError, match="Did you mean BTCUSDT"):
            choose(["BTCUSD"])


def recording(*rows: tuple[int, str, str, str]) -> Recording:
    return [(START_MS + ms, "XRPUSDT", Decimal(price), Decimal(qty), side) for ms, side, price, qty in rows]


ROWS = recording(
    (0, "BUY", "2.1000", "10"), (400, "SELL", "2.0950", "3"), (400, "BUY", "2.0960", "4"), (60_000, "SELL", "2.2", "1")
)
CHANNELS = tuple(name.replace("BTCUSDT", "XRPUSDT") for name in (DEALS, TICKER))


@pytest.mark.asyncio
class TestRecorded:
    async def test_in_lockstep_a_market_order_gets_the_last_price_and_its_slippage(self):
        config = SimConfig(recording=ROWS, lockstep=True, slippage_ticks=2, limits=FREE)
        async with Simulator(config) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET, balances={"USDT": 1_000_000, "XRP": 1_000_000})
            socket = await client.socket(*CHANNELS)
            for price, side in (("2.1000", 1), ("2.0950", 2)):
                step = (await client.raw("POST", "/sim/step")).json
                assert (step["trade"]["price"], step["more"]) == (price.rstrip("0"), True)
                await socket.until(lambda: any(push.HasField("public_aggre_deals") for push in socket.pushes))
                (deals,) = [
                    push.public_aggre_deals.deals for push in socket.pushes if push.HasField("public_aggre_deals")
                ]
                socket.pushes.clear()
                assert [(deal.price, deal.trade_type, deal.time) for deal in deals] == [
                    (step["trade"]["price"], side, step["trade"]["ts_ms"])
                ]
                fills = []
                for wanted in ("BUY", "SELL"):
                    made = (await client.order(wanted, "MARKET", symbol="XRPUSDT", quantity="40000")).json
                    order = (await client.signed("GET", "order", symbol="XRPUSDT", orderId=made["orderId"])).json
                    assert (order["status"], order["time"]) == ("FILLED", step["trade"]["ts_ms"])
                    fills.append(Decimal(order["cummulativeQuoteQty"]) / 40_000)
                assert fills == [Decimal(price) + Decimal("0.0002"), Decimal(price) - Decimal("0.0002")]
                socket.pushes.clear()

    async def test_in_lockstep_nothing_moves_until_it_is_told_and_the_end_is_told_too(self):
        async with Simulator(SimConfig(recording=ROWS, lockstep=True)) as sim, SimClient(sim) as client:
            socket = await client.socket(CHANNELS[0])
            assert await socket.silent_for(0.05)
            last = sim.step(4)
            assert last is not None
            assert (last.ts_ms, sim.steps, sim.has_more) == (START_MS + 60_000, 4, False)
            assert sim.step() is None
            assert (await client.raw("POST", "/sim/step")).json == {"trade": None, "steps": 4, "more": False}

    async def test_a_resting_order_is_filled_when_the_level_comes_to_it(self):
        async with Simulator(SimConfig(recording=ROWS, lockstep=True, limits=FREE)) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET, balances={"USDT": 1000})
            sim.step()
            made = (await client.order("BUY", "LIMIT", symbol="XRPUSDT", quantity="20", price="2.0970")).json
            sim.step()
            order = (await client.signed("GET", "order", symbol="XRPUSDT", orderId=made["orderId"])).json
            assert (order["status"], order["cummulativeQuoteQty"]) == ("FILLED", "41.94")

    async def test_at_its_own_pace_trades_come_when_they_came(self):
        clock = ManualClock()
        async with Simulator(SimConfig(recording=ROWS, clock=clock, speed=10)) as sim:
            sim.beat()
            assert sim.steps == 1
            clock.advance(40)
            sim.beat()
            assert sim.steps == 3
            clock.advance(5_959)
            sim.beat()
            assert sim.steps == 3
            clock.advance(1)
            sim.beat()
            assert sim.steps == 4

    async def test_as_fast_as_it_goes_and_the_public_sees_the_recorded_trades(self):
        config = SimConfig(recording=ROWS, speed=None, past_minutes=30)
        async with Simulator(config) as sim, SimClient(sim) as client:
            await eventually(lambda: not sim.has_more)
            trades = (await client.public("trades", symbol="XRPUSDT")).json
            seen = [(row["time"] - START_MS, row["tradeType"], row["price"], row["qty"]) for row in reversed(trades)]
            assert seen == [
                (0, "BID", "2.1", "10"),
                (400, "ASK", "2.095", "3"),
                (400, "BID", "2.096", "4"),
                (60_000, "ASK", "2.2", "1"),
            ]
            minutes = (await client.public("klines", symbol="XRPUSDT", interval="1m", limit=2)).json
            assert [(row[1], row[4]) for row in minutes] == [("2.1", "2.096"), ("2.2", "2.2")]

    async def test_who_waits_at_a_recorded_price_is_served_first(self):
        config = SimConfig(recording=ROWS, clock=ManualClock(), limits=FREE)
        async with Simulator(config) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET, balances={"USDT": 1000})
            sim.beat()
            made = (await client.order("BUY", "LIMIT", symbol="XRPUSDT", quantity="5", price="2.0955")).json
            sim.venue.clock.advance(400)  # type: ignore[attr-defined]
            sim.beat()
            order = (await client.signed("GET", "order", symbol="XRPUSDT", orderId=made["orderId"])).json
            assert Decimal(order["executedQty"]) >= 3
            assert Decimal(order["cummulativeQuoteQty"]) <= Decimal(order["executedQty"]) * Decimal("2.0955")

    async def test_a_price_off_the_pairs_steps_is_named(self):
        rows = recording((0, "BUY", "2.10001", "10"))
        with pytest.raises(DataError, match=re.escape("trade 1 of XRPUSDT: price 2.10001")):
            Simulator(SimConfig(recording=rows))


@pytest.mark.asyncio
class TestServer:
    async def test_a_unix_socket_serves_the_same_venue(self, tmp_path: Path):
        path = tmp_path / "sim.sock"
        async with Simulator(SimConfig(unix_socket=path)) as sim:
            http = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
            async with http, http.get("http://localhost/api/v3/time") as answer:
                assert abs((await answer.json())["serverTime"] - sim.venue.clock()) < 1000
        assert not path.exists()

    async def test_it_listens_on_loopback_only(self):
        with pytest.raises(SafetyRefusal, match="loopback only"):
            Simulator(SimConfig(host="0.0.0.0"))  # noqa: S104

    async def test_a_port_that_is_taken_is_named(self):
        async with Simulator(SimConfig()) as sim:
            with pytest.raises(ConfigError, match=re.escape(f"127.0.0.1:{sim.port}")):
                await Simulator(SimConfig(port=sim.port)).start()

    async def test_nothing_is_left_running(self):
        before = asyncio.all_tasks()
        async with Simulator(SimConfig()) as sim, SimClient(sim) as client:
            await client.socket(DEALS, DEPTH)
        assert asyncio.all_tasks() == before

    async def test_a_market_that_cannot_go_on_is_not_kept_secret(self):
        rows = [*ROWS[:1], (START_MS + 1, "XRPUSDT", Decimal(-1), Decimal(1), "BUY")]  # type: ignore[index]
        with pytest.raises(DataError, match="trade 2"):
            async with Simulator(SimConfig(recording=rows, speed=None)) as sim:
                await eventually(lambda: bool(sim.venue.failures))

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"symbols": ()}, "at least one"),
            ({"symbols": LIQUID[:1] * 2}, "given once"),
            ({"lockstep": True}, "needs a recording"),
            ({"speed": 0}, "more than 0"),
            ({"beat_ms": 0}, "beat_ms"),
        ],
    )
    async def test_impossible_settings_are_refused(self, settings, said):
        with pytest.raises(ConfigError, match=said):
            Simulator(SimConfig(**settings))

    async def test_accounts_can_be_added_over_the_wire(self):
        async with Simulator(SimConfig()) as sim, SimClient(sim, "new", "s") as client:
            body = '{"access_key":"new","secret":"s","balances":{"USDT":"12.5"},"fee_asset":"quote"}'
            assert (await client.raw("POST", "/sim/accounts", body=body)).status == 200
            rows = (await client.signed("GET", "account")).json["balances"]
            assert rows == [{"asset": "USDT", "free": "12.5", "locked": "0", "available": "12.5"}]
            again = await client.raw("POST", "/sim/accounts", body=body)
            assert (again.status, "taken" in again.json["error"]) == (400, True)
            for wrong in (
                '{"access_key":"a","secret":"s","balances":{"USDT":"-1"}}',
                '{"access_key":"a"}',
                '{"access_key":"a","secret":"s","fee_asset":"x"}',
            ):
                assert (await client.raw("POST", "/sim/accounts", body=wrong)).status == 400

    async def test_an_account_is_shown_whole_to_the_last_digit(self):
        quiet = SimConfig(flow=FlowSettings(events_per_s=0), symbols=LIQUID[:1], limits=FREE, past_minutes=0)
        async with Simulator(quiet) as sim, SimClient(sim) as client:
            sim.add_account(KEY, SECRET, balances={"USDT": 1000})
            bought = await client.order("BUY", "MARKET", quantity="0.001", newClientOrderId="mine-1")
            waits = await client.order("BUY", "LIMIT", quantity="0.002", price="50000", newClientOrderId="mine-2")
            shown = (await client.raw("GET", f"/sim/accounts/{KEY}")).json
            rows = (await client.signed("GET", "account")).json["balances"]
            unknown = await client.raw("GET", "/sim/accounts/nobody")
        assert shown["balances"] == {row["asset"]: {"free": row["free"], "locked": row["locked"]} for row in rows}
        first, second = shown["orders"]
        assert (first["client_id"], first["order_id"], first["type"]) == ("mine-1", bought.json["orderId"], "MARKET")
        assert (first["price"], first["quantity"], first["executed"], first["status"]) == (
            None,
            "0.001",
            "0.001",
            "FILLED",
        )
        assert (second["client_id"], second["order_id"], second["type"]) == ("mine-2", waits.json["orderId"], "LIMIT")
        assert (second["price"], second["quantity"], second["executed"], second["status"]) == (
            "50000",
            "0.002",
            "0",
            "NEW",
        )
        (fill,) = shown["fills"]
        assert (fill["client_id"], fill["quantity"], fill["is_maker"]) == ("mine-1", "0.001", False)
        usdt = shown["balances"]["USDT"]
        assert Decimal(usdt["free"]) + 100 == 1000 - Decimal(fill["price"]) * Decimal("0.001")
        base = Decimal(shown["balances"]["BTC"]["free"])
        assert (base, fill["fee_asset"]) == (Decimal("0.001") - Decimal(fill["fee"]), "BTC")
        assert usdt["locked"] == "100"
        assert (unknown.status, "no access key nobody" in unknown.json["error"]) == (400, True)


@pytest.mark.asyncio
async def test_the_times_of_trades_never_fall_though_clients_trade_between_beats():
    config = SimConfig(
        seed=2, flow=FlowSettings(events_per_s=400, taker_share=1.0), symbols=LIQUID[:1], limits=FREE, beat_ms=50
    )
    async with Simulator(config) as sim, SimClient(sim) as client:
        sim.add_account(KEY, SECRET, balances={"USDT": 10**6})
        for _ in range(30):
            assert (await client.order("BUY", "MARKET", quantity="0.0001")).status == 200
        times = [trade.at_ms for trade in sim.venue.exchange.markets["BTCUSDT"].tape.trades]
    assert len(times) > 30
    assert times == sorted(times)
