"""ccxt.pro's `watch_trades` for bench/feed.py, in the environment of requirements/conformance.lock, where nothing of Claire is.

    python bench/feeds/ccxt_client.py WS_URL

Prints ``{"ready": true}`` after the first trade. Lines on stdin: ``count N`` answers, after N more trades, with the seconds
from the first ones to the last and how many came in them; ``stamps N`` with the delay of each (see bench/feeds/source.py).
"""

import asyncio
import json
import sys
import time

import ccxt.pro  # type: ignore[import-not-found]

SYMBOL = "BTC/USDT"
MARKET = {
    "id": "BTCUSDT",
    "symbol": SYMBOL,
    "base": "BTC",
    "quote": "USDT",
    "baseId": "BTC",
    "quoteId": "USDT",
    "type": "spot",
    "spot": True,
    "active": True,
    "precision": {"amount": 1e-8, "price": 0.01},
    "limits": {"amount": {}, "price": {}, "cost": {}},
    "info": {},
}


async def main() -> None:
    """Watch until stdin ends."""
    exchange = ccxt.pro.mexc(
        {
            "urls": {"api": {"ws": {"spot": sys.argv[1]}}},
            "enableRateLimit": False,
            "newUpdates": True,
            "options": {"tradesLimit": 1_000_000},
        }
    )
    exchange.set_markets([MARKET])
    await exchange.watch_trades(SYMBOL)
    print(json.dumps({"ready": True}), flush=True)
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        what, count = line[0], int(line[1])
        print(json.dumps({"listening": True}), flush=True)
        seen, first, delays, began, cpu = 0, 0, [], 0.0, 0.0
        while seen < count:
            trades = await exchange.watch_trades(SYMBOL)
            now = time.monotonic_ns()
            if not seen:
                began, cpu, first = time.perf_counter(), time.process_time(), len(trades)
            seen += len(trades)
            if what == "stamps":
                # microseconds were split at eight digits; a float holds all thirteen
                delays += [now // 1000 % 10**13 - round(trade["amount"] * 1e8) for trade in trades]
        seconds = time.perf_counter() - began
        print(
            json.dumps({"seen": seen - first, "seconds": seconds, "cpu_s": time.process_time() - cpu, "us": delays}),
            flush=True,
        )
    await exchange.close()


if __name__ == "__main__":
    asyncio.run(main())
