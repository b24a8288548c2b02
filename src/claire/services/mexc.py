"""A live run on MEXC's protocol: opens the clients, chooses the symbols, and hands all of it to the live loop.

``paper``: live market data, the paper venue. ``testnet``: market data and signed orders over the wire, to a simulator on
this machine; signed orders go nowhere else, whatever is configured.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct, structs
from msgspec.structs import asdict

from claire.adapters.config import account_of, parameters
from claire.adapters.config.schema import Mode, Settings
from claire.adapters.machine import THIS_MACHINE, Machine
from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc import symbols as mexc_symbols
from claire.adapters.venues.mexc.channels import Channel, Speed, deals, depth
from claire.adapters.venues.mexc.connection import Clocks
from claire.adapters.venues.mexc.feedrest import MexcFeedRest
from claire.adapters.venues.mexc.instruments import Tradable, require_tradable
from claire.adapters.venues.mexc.items import FeedAlert, FeedCounters
from claire.adapters.venues.mexc.market import MexcMarketData
from claire.adapters.venues.mexc.opening import open_rest, read_listing
from claire.adapters.venues.mexc.private import PrivateStream
from claire.adapters.venues.mexc.replies import Account
from claire.adapters.venues.mexc.rest import MexcRest
from claire.adapters.venues.mexc.secrets import read_keys
from claire.adapters.venues.mexc.trading import MexcTrading, balances
from claire.adapters.venues.mexc.venue import MexcVenue
from claire.gateway.gate import Gate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys
from claire.model.errors import ConfigError, UsageError
from claire.model.instrument import Instrument
from claire.model.money import plain_text
from claire.model.orders import OrderType
from claire.services.account import OpenAccount
from claire.services.assembly import client_prefix, symbols_of
from claire.services.capital import check_capital, last_prices
from claire.services.feeding import LiveMarket, live_info
from claire.services.outside import Ears, Outside, OutsideVenue
from claire.strategies import load

MS: Final = 1_000_000
DEFAULT_SYMBOL: Final = "BTCUSDT"
MOST_SYMBOLS: Final = 2_000

FENCE_MARGIN_MS: Final = 1_000
"""How long after recvWindow a request counts as possible still (DESIGN 7)."""


class Universe(Struct, frozen=True):
    """Which symbols a run trades, where its strategies do not name them."""

    count: int = 0
    """So many of the largest volume in the quote asset, of those that the API trades."""
    file: Path | None = None
    """A choice made by ``claire symbols --out FILE``."""
    symbols: tuple[str, ...] = ()
    """Exactly these, whatever strategies name: those of a run that is gone on with."""

    @classmethod
    def of(cls, text: str) -> "Universe":
        """Understand `--symbols`: a number, or a file.

        Raises:
            UsageError: it is a number out of range.
        """
        if not text:
            return cls()
        if text.isdigit():
            if not 1 <= int(text) <= MOST_SYMBOLS:
                raise UsageError(
                    f"--symbols {text}: give 1 to {MOST_SYMBOLS} symbols, or a file of claire symbols --out"
                )
            return cls(count=int(text))
        return cls(file=Path(text))


class OpenMexc(Struct):
    """Everything that a live run needs, opened."""

    market: LiveMarket
    feed: MexcMarketData
    outside: Outside | None
    """Where orders go; None: the paper venue."""
    now_ns: Callable[[], int]
    keys: Keys | None
    """Of the account."""

    @property
    def venue(self) -> OutsideVenue | None:
        """Where orders go; None: the paper venue."""
        return None if self.outside is None else self.outside.venue

    @property
    def counters(self) -> FeedCounters:
        """What happened on the feed."""
        return self.feed.counters


@asynccontextmanager
async def open_mexc(
    settings: Settings,
    universe: Universe,
    *,
    keys: Keys | None = None,
    on_alert: Callable[[FeedAlert], None] | None = None,
    machine: Machine = THIS_MACHINE,
    account: OpenAccount | None = None,
    run_id: str = "",
    goes_on: bool = False,
) -> AsyncIterator[OpenMexc]:
    """Open REST, the market-data feed, and in ``testnet`` the account.

    Args:
        settings: The effective configuration; its mode tells what is opened.
        universe: Which symbols, where the strategies do not say.
        keys: Of the account; None in ``testnet``: read from `secrets.path`.
        on_alert: Called with what a person should know.
        machine: Where clocks and connections come from.
        account: The account that orders are for, locked for this process; None: nobody else can trade it.
        run_id: The run; its orders are known by it.
        goes_on: The run traded before, so part of its capital may be in positions.

    Raises:
        ClaireError: a symbol is closed to the API, the keys are refused, the account holds too little, the venue is not
            there, or orders would leave this machine.
    """
    is_testnet = settings.mode is Mode.TESTNET
    if is_testnet and keys is None:
        keys = read_keys(settings.secrets.path)
    async with AsyncExitStack() as stack:
        rest = await stack.enter_async_context(open_rest(settings.mexc, keys, machine=machine))
        await rest.sync_clock()
        sockets = machine.socket_session()
        if sockets is not None:
            await stack.enter_async_context(sockets)

        def now_ns() -> int:
            return rest.venue_ms() * MS

        chosen = await _choose(rest, settings, universe)
        listed = require_tradable(chosen, await read_listing(rest, chosen))
        tradables = {symbol: configured(tradable, settings) for symbol, tradable in listed.items()}
        instruments = {symbol: tradable.instrument for symbol, tradable in tradables.items()}
        outside: Outside | None = None
        if is_testnet and keys is not None:
            if not goes_on:
                await _check_capital(settings, rest, instruments)
                await _check_entries(settings, rest, instruments)
            opening = _Opening(settings, rest, keys, tradables, now_ns, machine, sockets, account, run_id)
            outside = await opening.open(stack, on_alert)
        lookback_s = _lookback_s(settings, instruments)
        feed = MexcMarketData(
            chosen,
            instruments,
            MexcFeedRest(rest),
            settings.mexc.ws_url,
            _channels(chosen, settings, with_books=not is_testnet),
            lookback_s=lookback_s,
            clocks=Clocks(now_ns, machine.monotonic_ns),
            session=sockets,
        )
        info = live_info(chosen, "mexc", now_ns(), with_history=lookback_s > 0, has_book=not is_testnet)
        yield OpenMexc(LiveMarket(instruments, info), feed, outside, now_ns, keys)


class _Opening(Struct):
    """What an account is opened with."""

    settings: Settings
    rest: MexcRest
    keys: Keys
    tradables: Mapping[str, Tradable]
    now_ns: Callable[[], int]
    machine: Machine
    sockets: aiohttp.ClientSession | None
    account: OpenAccount | None
    run_id: str

    async def open(self, stack: AsyncExitStack, on_alert: Callable[[FeedAlert], None] | None) -> Outside:
        """Open the client that sends, and try the order types; the venue itself is entered by the run."""
        settings, machine, rest, account = self.settings, self.machine, self.rest, self.account
        ears = Ears()
        gate = Gate(
            latch=None if account is None else account.latch,
            account=None if account is None else account.lock,
            epoch=0 if account is None else account.epoch,
            now_ns=self.now_ns,
            on_verdict=ears.verdict,
            on_dispatch=ears.dispatched,
        )
        window_ms = settings.mexc.recv_window_ms
        sender = await stack.enter_async_context(
            OrderSender(
                Endpoint.parse(settings.mexc.rest_url),
                self.keys,
                recv_window_ms=window_ms,
                make_session=machine.session,
                gate=gate,
                step=machine.step,
            )
        )
        trading = MexcTrading(rest, sender, self.tradables, step=machine.step, stand_in_ms=settings.exit.timeout_ms)
        entries = OrderType(settings.execution.entry_type.value.upper())
        for symbol in self.tradables:  # one after the other: the budget, not the venue's answers, is what takes time
            await trading.probe(symbol, entries=entries)
        instruments = {symbol: tradable.instrument for symbol, tradable in self.tradables.items()}

        def stream(number_of: Callable[[str, str], int | None]) -> PrivateStream:
            return PrivateStream(
                trading,
                settings.mexc.ws_url,
                instruments,
                number_of,
                book=trading.book,
                clocks=Clocks(machine.wall_ns, machine.monotonic_ns),
                session=self.sockets,
            )

        prefix = client_prefix(self.run_id)
        venue = MexcVenue(
            trading,
            stream,
            now_ns=self.now_ns,
            on_alert=on_alert,
            on_lock=ears.lock,
            is_ours=lambda name: name.startswith(prefix),
            on_foreign=ears.push,
            on_balance=ears.push,
        )
        return Outside(venue, gate, ears, lambda: rest.venue_ms() + window_ms + FENCE_MARGIN_MS, rest.venue_ms)


async def _check_capital(settings: Settings, rest: MexcRest, instruments: Mapping[str, Instrument]) -> None:
    """Refuse a capital that the account does not hold, or that could never open a position.

    Raises:
        ConfigError: naming what there is, and what it takes.
    """
    held = balances(await rest.get(requests.account(), Account))
    for quote in sorted({instrument.quote for instrument in instruments.values()}):
        capital = settings.account.capital or settings.paper.balance.get(quote)
        free = held[quote][0] if quote in held else Decimal(0)
        if capital is not None and capital > free:
            raise ConfigError(
                f"the account at {settings.mexc.rest_url} holds {plain_text(free)} {quote} free, less than the"
                f" {plain_text(capital)} {quote} to trade with; lower account.capital"
            )


async def _check_entries(settings: Settings, rest: MexcRest, instruments: Mapping[str, Instrument]) -> None:
    """Refuse a capital with which no entry could ever pass risk at today's prices.

    Raises:
        ConfigError: naming the smallest that would do, and what else would help.
    """
    prices = await last_prices(rest, instruments)
    account = account_of(settings, (instrument.quote for instrument in instruments.values()))
    check_capital(settings, instruments, prices, account.capital, account.currency).require()


async def _choose(rest: MexcRest, settings: Settings, universe: Universe) -> tuple[str, ...]:
    """Return the symbols to subscribe: those that strategies name, those of the file, the most traded, or one."""
    if universe.symbols:
        return universe.symbols
    if settings.symbols:
        return settings.symbols
    if universe.file is not None:
        return mexc_symbols.read_selection(universe.file).symbols
    if not universe.count:
        return (DEFAULT_SYMBOL,)
    wanted = mexc_symbols.Wanted(quote=settings.account.currency or "USDT", top=universe.count)
    offers = mexc_symbols.choose(await mexc_symbols.read_offers(rest), wanted)
    if len(offers) < universe.count:
        raise UsageError(f"--symbols {universe.count}: the API trades only {len(offers)} symbols in {wanted.quote}")
    return tuple(offer.symbol for offer in offers)


def configured(tradable: Tradable, settings: Settings) -> Tradable:
    """Return a symbol with what the configuration says about its rules, which wins over the venue.

    Raises:
        DataError: the rules do not go together.
    """
    rules = settings.instruments.get(tradable.instrument.symbol)
    given = {} if rules is None else rules.model_dump(exclude_none=True)
    if not given:
        return tradable
    instrument = Instrument.checked(**asdict(tradable.instrument.rules) | given | {"source": "configuration"})
    return structs.replace(
        tradable, instrument=instrument, min_notional=max(tradable.min_notional, instrument.min_notional)
    )


def _channels(symbols: Sequence[str], settings: Settings, *, with_books: bool) -> list[Channel]:
    """Trades of every symbol, and books where paper orders have to meet one, as often as `market.interval` says."""
    speed = Speed.MS_10 if settings.market.interval == "10ms" else Speed.MS_100
    found = [deals(symbol, speed) for symbol in symbols]
    return found + [depth(symbol, speed) for symbol in symbols] if with_books else found


def _lookback_s(settings: Settings, instruments: Mapping[str, Instrument]) -> float:
    """How much past the strategies need, in seconds."""
    longest = 0.0
    for strategy in settings.strategy:
        kind = load(strategy.kind)
        params = msgspec.convert(parameters(settings, strategy.id), kind.Params)
        for symbol in symbols_of(strategy, instruments):
            longest = max(longest, kind(params, instruments[symbol]).memory_s)
    return longest
