"""ccxt's own `mexc` and `ccxt.pro` clients, unmodified but for their addresses, against the simulator.

Runs in the environment of requirements/conformance.lock, where nothing of Claire is. Every function named ``rest_…`` or
``stream_…`` is one behaviour: it passes if what the client makes of the simulator's answers is what its user would expect.

Left out on purpose, for ccxt 4.5.90 gets them wrong against the real venue too: `watch_order_book` (drops the push that
straddles its snapshot and never looks for gaps), `watch_bids_asks` (never resolves), trade ids of `watch_trades` (its schema is
older).
"""

import asyncio
import json
import sys
import time
import traceback
import urllib.request
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import ccxt
import ccxt.pro

PAIR = "BTC/USDT"
PATIENCE_S = 30


class Venue:
    """The two clients that everything is asked of, and where they point."""

    def __init__(self, rest_url: str, ws_url: str, key: str, other_key: str, secret: str) -> None:
        self.rest_url = rest_url
        self.urls = {
            "api": {
                "spot": {"public": rest_url, "private": rest_url},
                "contract": {"public": f"{rest_url}/api/v1/contract"},
                "ws": {"spot": ws_url},
            }
        }
        self.key, self.other_key, self.secret = key, other_key, secret
        self.rest = ccxt.mexc(self.settings(key))
        self.pro = ccxt.pro.mexc(self.settings(other_key))

    def settings(self, key: str, secret: str | None = None) -> dict[str, Any]:
        """A constructor's settings: addresses and keys."""
        return {"urls": self.urls, "apiKey": key, "secret": self.secret if secret is None else secret}

    def best(self) -> tuple[float, float]:
        """Best bid and ask now."""
        book = self.rest.fetch_order_book(PAIR, 5)
        return book["bids"][0][0], book["asks"][0][0]


def expect(condition: object, what: object) -> None:
    """Hold something to be true.

    Raises:
        AssertionError: it is not; `what` was seen.
    """
    if not condition:
        raise AssertionError(what)


# -- markets and market data ---------------------------------------------------------------------------------------------


def rest_markets_have_their_precisions_limits_and_permissions(venue: Venue) -> None:
    markets = venue.rest.load_markets()
    pair = markets[PAIR]
    expect(pair["active"] and pair["spot"], pair)
    expect((pair["precision"]["price"], pair["precision"]["amount"]) == (0.01, 1e-8), pair["precision"])
    expect(pair["limits"]["cost"]["min"] == 1, pair["limits"])
    expect(pair["taker"] == 0.0005, pair["taker"])
    expect(not markets["NOAPI/USDT"]["active"] and not markets["PAUSED/USDT"]["active"], "closed pairs are active")


def rest_the_venues_clock_is_read(venue: Venue) -> None:
    expect(abs(venue.rest.fetch_time() - time.time() * 1000) < 1000, "more than a second off")


def rest_the_venue_is_up(venue: Venue) -> None:
    expect(venue.rest.fetch_status()["status"] == "ok", "not ok")


def rest_a_book_is_sorted_and_not_crossed(venue: Venue) -> None:
    book = venue.rest.fetch_order_book(PAIR, 10)
    bids, asks = [level[0] for level in book["bids"]], [level[0] for level in book["asks"]]
    expect(len(bids) == len(asks) == 10, (len(bids), len(asks)))
    expect(bids == sorted(bids, reverse=True) and asks == sorted(asks) and bids[0] < asks[0], book)
    expect(book["nonce"] > 80_000_000_000, book["nonce"])


def rest_public_trades_have_price_amount_side_and_time(venue: Venue) -> None:
    trades = venue.rest.fetch_trades(PAIR, limit=20)
    expect(len(trades) > 3, len(trades))
    expect({trade["side"] for trade in trades} <= {"buy", "sell"}, trades[0])
    expect(all(trade["price"] > 0 and trade["amount"] > 0 and trade["timestamp"] for trade in trades), trades[0])


def rest_candles_are_in_order_and_pageable(venue: Venue) -> None:
    candles = venue.rest.fetch_ohlcv(PAIR, "1m", limit=50)
    expect(len(candles) == 50, len(candles))
    steps = {later[0] - earlier[0] for earlier, later in pairwise(candles)}
    expect(steps == {60_000}, steps)
    expect(all(low <= min(o, c) <= max(o, c) <= high for _, o, high, low, c, _ in candles), "a candle is inside out")
    again = venue.rest.fetch_ohlcv(PAIR, "1m", since=candles[10][0], limit=5)
    expect(again == candles[10:15], (again, candles[10:15]))
    expect(venue.rest.fetch_ohlcv(PAIR, "1h", limit=3)[0][0] % 3_600_000 == 0, "an hour begins within an hour")


def rest_tickers_of_one_and_of_all(venue: Venue) -> None:
    one = venue.rest.fetch_ticker(PAIR)
    expect(one["bid"] < one["ask"] and one["last"] > 0 and one["high"] >= one["low"], one)
    every = venue.rest.fetch_tickers()
    expect(PAIR in every and len(every) > 20, len(every))
    sides = venue.rest.fetch_bids_asks()
    expect(sides[PAIR]["bid"] < sides[PAIR]["ask"], sides[PAIR])


# -- account -------------------------------------------------------------------------------------------------------------


def rest_a_balance_adds_up(venue: Venue) -> None:
    balance = venue.rest.fetch_balance()
    expect(balance["USDT"] == {"free": 50_000, "used": 0, "total": 50_000}, balance["USDT"])


def rest_a_trading_fee_is_the_accounts(venue: Venue) -> None:
    fee = venue.rest.fetch_trading_fee(PAIR)
    expect((fee["maker"], fee["taker"]) == (0, 0.0005), fee)


# -- orders --------------------------------------------------------------------------------------------------------------


def rest_a_limit_order_opens_is_found_and_cancelled(venue: Venue) -> None:
    bid, _ = venue.best()
    made = venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(bid * 0.9, 2))
    found = venue.rest.fetch_order(made["id"], PAIR)
    expect((found["status"], found["filled"], found["remaining"]) == ("open", 0, 0.001), found)
    expect([order["id"] for order in venue.rest.fetch_open_orders(PAIR)] == [made["id"]], "not among the open ones")
    expect(venue.rest.fetch_balance()["USDT"]["used"] > 0, "nothing is frozen")
    venue.rest.cancel_order(made["id"], PAIR)
    gone = venue.rest.fetch_order(made["id"], PAIR)
    expect((gone["status"], gone["filled"]) == ("canceled", 0), gone)
    expect(
        made["id"] in [order["id"] for order in venue.rest.fetch_canceled_orders(PAIR)], "not among the canceled ones"
    )
    expect(venue.rest.fetch_balance()["USDT"]["used"] == 0, "something stays frozen")


def rest_an_order_is_found_and_cancelled_by_its_client_id(venue: Venue) -> None:
    bid, _ = venue.best()
    name = f"conf-{int(time.time())}"
    venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(bid * 0.9, 2), {"clientOrderId": name})
    expect(venue.rest.fetch_order("", PAIR, {"clientOrderId": name})["clientOrderId"] == name, name)
    venue.rest.cancel_order("", PAIR, {"clientOrderId": name})
    expect(venue.rest.fetch_open_orders(PAIR) == [], "still open")


def rest_a_market_buy_by_cost_spends_it(venue: Venue) -> None:
    made = venue.rest.create_market_buy_order_with_cost(PAIR, 40)
    found = venue.rest.fetch_order(made["id"], PAIR)
    expect(found["status"] == "closed" and 39.9 < found["cost"] <= 40, found)


def rest_a_market_buy_by_amount_fills(venue: Venue) -> None:
    made = venue.rest.create_order(PAIR, "market", "buy", 0.002)
    found = venue.rest.fetch_order(made["id"], PAIR)
    expect((found["status"], found["filled"], found["type"]) == ("closed", 0.002, "market"), found)


def rest_a_market_sell_fills_and_its_trades_carry_the_fee(venue: Venue) -> None:
    made = venue.rest.create_order(PAIR, "market", "sell", 0.002)
    trades = [trade for trade in venue.rest.fetch_my_trades(PAIR) if trade["order"] == made["id"]]
    expect(abs(sum(trade["amount"] for trade in trades) - 0.002) < 1e-12, trades)
    expect({trade["takerOrMaker"] for trade in trades} == {"taker"}, trades)
    fees, cost = sum(trade["fee"]["cost"] for trade in trades), sum(trade["cost"] for trade in trades)
    expect(abs(fees - cost * 0.0005) < 1e-6 and trades[0]["fee"]["currency"] == "USDT", trades)
    expect(len({trade["id"] for trade in trades}) == len(trades), "trade ids repeat")


def rest_immediate_or_cancel_leaves_nothing_in_the_book(venue: Venue) -> None:
    _, ask = venue.best()
    made = venue.rest.create_order(PAIR, "limit", "buy", 0.3, ask, {"timeInForce": "IOC"})
    found = venue.rest.fetch_order(made["id"], PAIR)
    expect(found["status"] in ("canceled", "closed"), found)
    expect(venue.rest.fetch_open_orders(PAIR) == [], "it rests")


def rest_fill_or_kill_does_all_or_nothing(venue: Venue) -> None:
    bid, ask = venue.best()
    none = venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(bid * 0.9, 2), {"timeInForce": "FOK"})
    expect(venue.rest.fetch_order(none["id"], PAIR)["filled"] == 0, none)
    whole = venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(ask * 1.02, 2), {"timeInForce": "FOK"})
    expect(venue.rest.fetch_order(whole["id"], PAIR)["filled"] == 0.001, whole)


def rest_post_only_rests_or_is_canceled_and_never_takes(venue: Venue) -> None:
    bid, ask = venue.best()
    resting = venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(bid * 0.9, 2), {"postOnly": True})
    expect(venue.rest.fetch_order(resting["id"], PAIR)["status"] == "open", resting)
    venue.rest.cancel_order(resting["id"], PAIR)
    crossing = venue.rest.create_order(PAIR, "limit", "buy", 0.001, round(ask * 1.02, 2), {"postOnly": True})
    found = venue.rest.fetch_order(crossing["id"], PAIR)
    expect((found["status"], found["filled"]) == ("canceled", 0), found)


def rest_several_orders_go_in_one_call_and_out_in_one(venue: Venue) -> None:
    bid, _ = venue.best()
    wanted = [
        {"symbol": PAIR, "type": "limit", "side": "buy", "amount": 0.001, "price": round(bid * share, 2)}
        for share in (0.9, 0.91)
    ]
    made = venue.rest.create_orders(wanted)
    expect(len({order["id"] for order in made}) == 2, made)
    venue.rest.cancel_all_orders(PAIR)
    expect(venue.rest.fetch_open_orders(PAIR) == [], "still open")


def rest_past_orders_are_listed(venue: Venue) -> None:
    orders = venue.rest.fetch_orders(PAIR)
    expect(len(orders) >= 8, len(orders))
    expect(
        {order["status"] for order in orders} <= {"open", "closed", "canceled"}, {order["status"] for order in orders}
    )


def rest_mistakes_become_the_errors_they_are(venue: Venue) -> None:
    bid, _ = venue.best()
    for wanted, call in (
        (ccxt.InsufficientFunds, lambda: venue.rest.create_order(PAIR, "limit", "buy", 20, bid)),
        (ccxt.InvalidOrder, lambda: venue.rest.create_order(PAIR, "limit", "buy", 0.00001, 10_000)),
        (ccxt.BadSymbol, lambda: venue.rest.spotPublicGetDepth({"symbol": "NOPEUSDT"})),
        (ccxt.BadRequest, lambda: venue.rest.cancel_order("C02__1", PAIR)),
        (ccxt.ExchangeError, lambda: venue.rest.fetch_order("C02__1", PAIR)),  # ccxt has no own name for -2013
        (ccxt.AuthenticationError, lambda: ccxt.mexc(venue.settings(venue.key, "wrong")).fetch_balance()),
    ):
        try:
            call()
        except wanted:
            continue
        except ccxt.BaseError as other:
            raise AssertionError(f"{wanted.__name__} expected, {type(other).__name__} came: {other}") from other
        raise AssertionError(f"{wanted.__name__} expected, nothing came")


# -- streams -------------------------------------------------------------------------------------------------------------


async def within(awaitable: Awaitable[Any]) -> Any:
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


async def subscribed(venue: Venue, *channels: str) -> None:
    """Wait until the simulator's log says that channels are on; ccxt sends its subscriptions in its own time."""
    missing = set(channels)
    ends = time.monotonic() + PATIENCE_S
    while missing:
        expect(time.monotonic() < ends, f"never subscribed: {missing}")
        await asyncio.sleep(0.1)
        entries = json.loads(urllib.request.urlopen(f"{venue.rest_url}/sim/log?limit=100000").read())["entries"]  # noqa: S310
        on = [entry["detail"]["channel"] for entry in entries if entry["what"] == "subscribed"]
        missing = {channel for channel in missing if not any(channel in name for name in on)}


async def stream_trades_arrive(venue: Venue) -> None:
    trades = await within(venue.pro.watch_trades(PAIR))
    expect(all(trade["price"] > 0 and trade["side"] in ("buy", "sell") for trade in trades), trades)


async def stream_best_prices_arrive(venue: Venue) -> None:
    ticker = await within(venue.pro.watch_ticker(PAIR))
    expect(0 < ticker["bid"] < ticker["ask"], ticker)


async def stream_candles_arrive(venue: Venue) -> None:
    candle = (await within(venue.pro.watch_ohlcv(PAIR, "1m")))[-1]
    expect(candle[0] % 60_000 == 0 and candle[3] <= candle[4] <= candle[2], candle)


async def stream_an_order_its_fill_and_the_balance_are_told(venue: Venue) -> None:
    orders = asyncio.ensure_future(venue.pro.watch_orders(PAIR))
    trades = asyncio.ensure_future(venue.pro.watch_my_trades(PAIR))
    balance = asyncio.ensure_future(venue.pro.watch_balance())
    await subscribed(venue, "private.orders", "private.deals", "private.account")
    made = await within(venue.pro.create_order(PAIR, "market", "buy", 0.001))
    (trade,) = [trade for trade in await within(trades) if trade["order"] == made["id"]][:1]
    expect((trade["side"], trade["symbol"]) == ("buy", PAIR), trade)
    seen = await within(orders)
    for _ in range(10):
        if any(order["id"] == made["id"] and order["status"] == "closed" for order in seen):
            break
        seen = await within(venue.pro.watch_orders(PAIR))
    else:
        raise AssertionError(seen)
    told = await within(balance)
    expect(told["USDT"]["total"] is not None, told)


def behaviours(names: list[str]) -> list[tuple[str, Callable[[Venue], Any]]]:
    """All behaviours, in the order of this file, or those whose names hold one of the words given."""
    found = [(name, thing) for name, thing in globals().items() if name.startswith(("rest_", "stream_"))]
    return [(name, thing) for name, thing in found if not names or any(word in name for word in names)]


async def main(arguments: list[str]) -> int:
    """Try each behaviour; return the exit code."""
    venue = Venue(*arguments[:5])
    failed = []
    chosen = behaviours(arguments[5:])
    venue.rest.load_markets()
    for name, behaviour in chosen:
        started = time.perf_counter()
        try:
            outcome = behaviour(venue)
            if outcome is not None:
                await outcome
            verdict = "pass"
        except Exception:  # noqa: BLE001 - whatever a foreign client raises is a failure of this behaviour
            failed.append(name)
            verdict = "FAIL"
            traceback.print_exc()
        print(
            f"conformance: {verdict}  {name.replace('_', ' '):<68} {time.perf_counter() - started:5.1f} s", flush=True
        )
    await venue.pro.close()
    print(f"conformance: ccxt {ccxt.__version__}: {len(chosen) - len(failed)} of {len(chosen)} behaviours pass")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
