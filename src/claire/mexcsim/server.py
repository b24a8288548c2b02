"""The simulator as a server, and as a fixture:

    async with Simulator(SimConfig(seed=7)) as sim:
        sim.add_account("my-key", "my-secret", balances={"USDT": "1000"})
        ...  # point a client at sim.rest_url and sim.ws_url
        sim.fault(Stall(channel="aggre.deals", for_ms=5_000))
        assert sim.log.of(What.ACCEPTED)

Everything runs in the caller's event loop; the matching core is plain calls in between.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web

from claire.mexcsim import deeds
from claire.mexcsim.accounts import TRADING_PERMISSIONS, ApiKey, FeeAsset, account_of
from claire.mexcsim.book import Book
from claire.mexcsim.config import DEFAULT_BALANCES, SimConfig
from claire.mexcsim.connection import Connection
from claire.mexcsim.control import Control
from claire.mexcsim.faults import Fault
from claire.mexcsim.flow import RecordedTrade
from claire.mexcsim.hub import Hub
from claire.mexcsim.log import SimLog, What
from claire.mexcsim.rest import Rest
from claire.mexcsim.state import Venue
from claire.mexcsim.stream import Streams
from claire.model.errors import ClaireError, ConfigError

CATCH_UP = 2_000
"""Recorded trades played in one beat at most, so that sockets are served in between."""

_logger = logging.getLogger("claire.mexcsim")


class Simulator:
    """A MEXC-compatible venue on loopback. Use it as an async context manager."""

    def __init__(self, config: SimConfig | None = None) -> None:
        self.config = (config or SimConfig()).checked()
        self.venue = Venue(self.config)
        self._hub = Hub(self.venue)
        self._streams = Streams(self.venue, self._hub)
        self._rest = Rest(self.venue)
        self.venue.settle = self._settle
        self.venue.flush = self._hub.flush
        self._runner: web.AppRunner | None = None
        self._beating: asyncio.Task[None] | None = None
        self.port = 0
        self.steps = 0
        """Recorded trades played so far."""
        self._watched_ms = 0
        self._played_from: tuple[int, int] | None = None

    # -- what a user of the fixture asks -----------------------------------------------------------------------------

    @property
    def rest_url(self) -> str:
        """Base URL of REST, without a path."""
        return f"http://{self._host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket; private streams add ``?listenKey=…``."""
        return f"ws://{self._host}:{self.port}/ws"

    @property
    def log(self) -> SimLog:
        """What happened, with times."""
        return self.venue.log

    @property
    def books(self) -> Mapping[str, Book]:
        """The books by symbol, live."""
        return {symbol: market.book for symbol, market in self.venue.exchange.markets.items()}

    @property
    def connections(self) -> list[Connection]:
        """The open WebSockets."""
        return self._streams.connections

    @property
    def pushed(self) -> int:
        """Binary frames queued so far, over all connections."""
        return self._hub.pushed

    @property
    def has_more(self) -> bool:
        """Whether the recording has another trade."""
        return self.venue.recorded is not None and self.venue.recorded.next_ms is not None

    def add_account(
        self,
        access_key: str,
        secret: str,
        *,
        balances: Mapping[str, Decimal | int | str] | None = None,
        uid: str = "",
        fee_asset: str = "received",
        mx_deduct: bool = False,
        maker_rate: Decimal | None = None,
        taker_rate: Decimal | None = None,
        permissions: Iterable[str] | None = None,
        symbols: Iterable[str] | None = None,
        expires_ms: int | None = None,
        addresses: Iterable[str] = (),
    ) -> ApiKey:
        """Add a key; with the `uid` of an existing account it is another key of that account.

        Raises:
            ConfigError: the key is taken, or a balance or the fee asset is not understood.
        """
        exchange = self.venue.exchange
        if not access_key or access_key in exchange.keys:
            raise ConfigError(f"access key {access_key!r} is empty or taken; choose another")
        uid = uid or str(10_000_001 + len(exchange.accounts))
        account = exchange.accounts.get(uid)
        if account is None:
            if fee_asset not in list(FeeAsset):
                raise ConfigError(f"fee_asset {fee_asset!r}: choose {' or '.join(FeeAsset)}; MX is mx_deduct")
            account = account_of(
                uid,
                dict(DEFAULT_BALANCES if balances is None else balances),
                fee_asset=FeeAsset(fee_asset),
                mx_deduct=mx_deduct,
                maker_rate=maker_rate,
                taker_rate=taker_rate,
            )
            exchange.accounts[uid] = account
        key = exchange.keys[access_key] = ApiKey(
            access_key,
            secret,
            account,
            permissions=frozenset(TRADING_PERMISSIONS if permissions is None else permissions),
            symbols=None if symbols is None else frozenset(symbols),
            expires_ms=expires_ms,
            addresses=frozenset(addresses),
        )
        return key

    def fault(self, fault: Fault) -> int:
        """Set a fault; return the number by which `clear_faults` takes it back.

        Raises:
            ConfigError: it names a symbol or key that is not there, or impossible times.
        """
        deeds.check(self.venue, fault)
        number = self.venue.faults.add(fault, self.venue.clock())
        self._perform_deeds()
        self._streams.watch(self.venue.clock())
        return number

    def clear_faults(self, number: int | None = None) -> int:
        """Take back one fault or all that are set; return how many. Deeds stay done."""
        cleared = self.venue.faults.clear(number)
        self._streams.watch(self.venue.clock())
        return cleared

    def step(self, count: int = 1) -> RecordedTrade | None:
        """Play the next trade(s) of the recording and push what follows at once; return the last one played.

        Raises:
            ConfigError: the simulator plays no recording.
        """
        if self.venue.recorded is None:
            raise ConfigError("step: the simulator plays no recording; give it one (SimConfig.recording)")
        played = None
        for _ in range(count):
            trade = self._play()
            if trade is None:
                break
            played = trade
            self._settle()
            self._hub.flush()
        if played is not None:
            self.log.add(What.STEPPED, played.symbol, steps=self.steps)
        return played

    def lose_requests(self) -> None:
        """Lose what is on its way from clients, read or not, and their connections with it: nobody waits there any more."""
        self._rest.lose()
        server = None if self._runner is None else self._runner.server
        for handler in () if server is None else server.connections:
            if handler.transport is not None:
                handler.transport.abort()

    # -- life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if problem is None and self.venue.failures:
            raise self.venue.failures[0]

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the port or the socket's path cannot be had.
        """
        app = web.Application(client_max_size=1 << 20)
        Control(self).add_routes(app)
        app.router.add_get("/ws", self._streams.serve)
        app.router.add_route("*", "/{path:.*}", self._rest.serve)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            if self.config.port is not None:
                await web.TCPSite(self._runner, self.config.host, self.config.port).start()
                self.port = self._runner.addresses[0][1]
            if self.config.unix_socket is not None:
                await web.UnixSite(self._runner, str(self.config.unix_socket)).start()
        except OSError as problem:
            await self._runner.cleanup()
            tcp = "" if self.config.port is None else f"{self.config.host}:{self.config.port}"
            places = [place for place in (tcp, str(self.config.unix_socket or "")) if place]
            raise ConfigError(
                f"cannot listen on {' and '.join(places)}: {problem.strerror};"
                " choose another port (0: a free one) or socket"
            ) from None
        for fault in self.config.scenario:
            self.fault(fault)
        self.log.add(What.STARTED, port=self.port, seed=self.config.seed)
        self._beating = asyncio.create_task(self._beat_for_ever())

    async def stop(self) -> None:
        """Close every connection and end every task."""
        tasks = [task for task in (self._beating, *self.venue.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._streams.connections:
            connection.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self.config.unix_socket is not None:
            with contextlib.suppress(FileNotFoundError):
                self.config.unix_socket.unlink()
        self.log.add(What.STOPPED)

    # -- time --------------------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Do what is due by the clock: recorded or drawn orders, pushes, faults, closes."""
        now = self.venue.clock()
        self._perform_deeds()
        self.venue.catch_up()
        if self.venue.recorded is not None and not self.config.lockstep:
            self._play_due(now)
        self._settle()
        self._hub.beat(now)
        if now - self._watched_ms >= 50:
            self._watched_ms = now
            self._streams.watch(now)

    async def _beat_for_ever(self) -> None:
        pause_s = self.config.beat_ms / 1000
        while True:
            try:
                self.beat()
            except (ClaireError, ArithmeticError, LookupError, TypeError, ValueError) as problem:
                self.venue.failures.append(problem)
                _logger.exception("the simulator stops: its market cannot go on")
                return
            await asyncio.sleep(pause_s)

    def _play_due(self, now_ms: int) -> None:
        recorded = self.venue.recorded
        assert recorded is not None  # noqa: S101 - the caller looked
        for _ in range(CATCH_UP):
            due = recorded.next_ms
            if due is None:
                return
            if self._played_from is None:
                self._played_from = now_ms, due
            began, first = self._played_from
            if self.config.speed is not None and (due - first) / self.config.speed > now_ms - began:
                return
            self._play()
            self._settle()

    def _play(self) -> RecordedTrade | None:
        recorded = self.venue.recorded
        assert recorded is not None and recorded.next_ms != 0  # noqa: S101, PT018 - the callers looked
        if recorded.next_ms is None:
            return None
        if self.config.recorded_times:
            self.venue.recorded_ms = recorded.next_ms
        self.steps += 1
        return recorded.step(self.venue.market_ms())

    def _perform_deeds(self) -> None:
        for fault in self.venue.faults.due(self.venue.clock()):
            deeds.perform(self.venue, self._streams, fault)

    def _settle(self) -> None:
        out = self.venue.exchange.out
        if out:
            happenings = list(out)
            out.clear()
            self._hub.tell(happenings)

    @property
    def _host(self) -> str:
        return f"[{self.config.host}]" if ":" in self.config.host else self.config.host
