"""A client of MEXC made from settings, and the listing that everything else starts from."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from claire.adapters.config.schema import MexcSettings
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.budget import Budget, Gate
from claire.adapters.venues.mexc.clock import ClockLimits, VenueClock
from claire.adapters.venues.mexc.errors import MexcError
from claire.adapters.venues.mexc.instruments import Listing
from claire.adapters.venues.mexc.replies import ExchangeInfo, Names
from claire.adapters.venues.mexc.rest import MexcRest, Observer
from claire.gateway.hosts import Endpoint
from claire.gateway.signer import Keys, QuerySigner

MOST_NAMED: Final = 50
"""Up to this many symbols are asked for by name; more, and the whole list is quicker."""


@asynccontextmanager
async def open_rest(
    settings: MexcSettings,
    keys: Keys | None = None,
    *,
    limits: ClockLimits | None = None,
    observe: Observer | None = None,
    machine: Machine = THIS_MACHINE,
) -> AsyncIterator[MexcRest]:
    """Open a client with a budget and a clock of its own: one per process.

    Raises:
        ConfigError: the address is none.
    """
    rest = MexcRest(
        Endpoint.parse(settings.rest_url),
        Gate(Budget(), machine.monotonic_ns),
        VenueClock(limits),
        None if keys is None else QuerySigner(keys),
        recv_window_ms=settings.recv_window_ms,
        observe=observe,
        wall_ns=machine.wall_ns,
        make_session=machine.session,
    )
    async with rest:
        yield rest


async def read_listing(rest: MexcRest, symbols: Sequence[str] = ()) -> Listing:
    """Ask which symbols there are, which of them the API trades, and, with keys, which of them this key may trade.

    Args:
        rest: The client.
        symbols: Only these; empty: all.

    Raises:
        MexcError: the venue did not say.
    """
    named = symbols if len(symbols) <= MOST_NAMED else ()
    try:
        info = await rest.get(requests.exchange_info(named), ExchangeInfo)
    except MexcError as e:
        if not named or not e.fault.is_final:
            raise
        # One name that the venue does not know makes it refuse the question; the whole list tells which one that is.
        info = await rest.get(requests.exchange_info(), ExchangeInfo)
    listed = await rest.get(requests.default_symbols(), Names)
    own = await rest.get(requests.self_symbols(), Names) if rest.is_signed else None
    return Listing(
        {entry.symbol: entry for entry in info.symbols},
        dict.fromkeys(listed.data, True),
        dict.fromkeys(own.data, True) if own is not None else None,
    )
