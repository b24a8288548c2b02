"""The smallest capital at the venue's own rules and prices."""

import time
from decimal import Decimal

import pytest

from claire.adapters.config import load
from claire.adapters.venues.mexc.budget import Budget, Gate
from claire.adapters.venues.mexc.instruments import require_tradable
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.rest import MexcRest
from claire.gateway.hosts import Endpoint
from claire.mexcsim import SimConfig, Simulator
from claire.mexcsim.symbols import choose
from claire.services.capital import check_capital, last_prices

pytestmark = pytest.mark.asyncio
PAIRS = ("BTCUSDT", "ETHUSDT")


async def test_accounts_of_20_100_and_1000_usdt_are_told_at_the_venues_rules_and_prices() -> None:
    settings = load(symbols=PAIRS, strategy="momentum", environ={}).settings
    config = SimConfig(symbols=choose((*PAIRS, "MXUSDT")), past_minutes=0)
    async with (
        Simulator(config) as sim,
        MexcRest(Endpoint.parse(sim.rest_url), Gate(Budget(), time.monotonic_ns)) as rest,
    ):
        tradables = require_tradable(PAIRS, await read_listing(rest, PAIRS))
        instruments = {symbol: tradable.instrument for symbol, tradable in tradables.items()}
        prices = await last_prices(rest, instruments)
        last = {symbol: sim.venue.exchange.markets[symbol].tape.last_price for symbol in PAIRS}
    assert set(prices) == set(PAIRS)
    assert all(abs(prices[symbol] - last[symbol]) < last[symbol] // 1000 for symbol in PAIRS)  # it may have moved since
    found = {
        capital: check_capital(settings, instruments, prices, Decimal(capital), "USDT") for capital in (20, 100, 1000)
    }
    assert [check.can_trade for check in found.values()] == [False, True, True]
    smallest = found[20].smallest
    assert smallest is not None
    assert 30 < smallest / 10**18 < 33
