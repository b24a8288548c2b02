"""The control endpoint: ``/sim/...`` on the same port, for what a test or a demonstration wants while the simulator runs.

==================================  =======================================================================================
``GET /sim``                        what runs: seed, symbols, clocks, counts
``GET /sim/faults``                 the faults that are set
``POST /sim/faults``                set one: a JSON object as in a scenario file; answers ``{"number": n}``
``DELETE /sim/faults[?number=n]``   take back one or all
``POST /sim/step[?count=n]``        lockstep: play the next trade(s); answers the last one and whether there are more
``POST /sim/accounts``              another key: ``{"access_key", "secret", "balances": {"USDT": "1000"}, ...}``
``GET /sim/accounts/ACCESS_KEY``    the account of a key as the venue knows it: balances, every order and fill ever
``GET /sim/log[?after=n&limit=m]``  what happened
==================================  =======================================================================================

Only loopback reaches it, for the simulator listens nowhere else.
"""

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from claire.mexcsim.audit import audit
from claire.mexcsim.scenario import fault_of
from claire.model.errors import ClaireError, ConfigError

if TYPE_CHECKING:
    from claire.mexcsim.server import Simulator


class _NewAccount(msgspec.Struct, forbid_unknown_fields=True):
    access_key: str
    secret: str
    balances: dict[str, str] | None = None
    uid: str = ""
    fee_asset: str = "received"
    mx_deduct: bool = False
    permissions: list[str] | None = None
    symbols: list[str] | None = None


class Control:
    """Answers ``/sim/...``."""

    def __init__(self, simulator: "Simulator") -> None:
        self._sim = simulator

    def add_routes(self, app: web.Application) -> None:
        """Hang the endpoints into an application."""
        for method, path, handler in (
            ("GET", "/sim", self._about),
            ("GET", "/sim/faults", self._faults),
            ("POST", "/sim/faults", self._set_fault),
            ("DELETE", "/sim/faults", self._clear_faults),
            ("POST", "/sim/step", self._step),
            ("POST", "/sim/accounts", self._add_account),
            ("GET", "/sim/accounts/{access_key}", self._account),
            ("GET", "/sim/log", self._log),
        ):
            app.router.add_route(method, path, _guarded(handler))

    async def _about(self, request: web.Request) -> Any:
        venue = self._sim.venue
        return {
            "seed": venue.config.seed,
            "symbols": list(venue.exchange.markets),
            "clock_ms": venue.clock(),
            "server_ms": venue.server_ms(),
            "market_ms": venue.market_ms(),
            "lockstep": venue.config.lockstep,
            "connections": len(self._sim.connections),
            "pushed": self._sim.pushed,
            "counts": {what.value: count for what, count in venue.log.counts.items()},
        }

    async def _faults(self, request: web.Request) -> Any:
        return [{"number": number, **_plain(fault)} for number, fault in self._sim.venue.faults.listed()]

    async def _set_fault(self, request: web.Request) -> Any:
        table = msgspec.json.decode(await request.read())
        if not isinstance(table, dict):
            raise ConfigError("a fault is a JSON object with its kind")
        return {"number": self._sim.fault(fault_of(table, "fault"))}

    async def _clear_faults(self, request: web.Request) -> Any:
        number = request.query.get("number")
        return {"cleared": self._sim.clear_faults(None if number is None else int(number))}

    async def _step(self, request: web.Request) -> Any:
        trade = self._sim.step(int(request.query.get("count", "1")))
        row = None
        if trade is not None:
            rule = self._sim.venue.exchange.markets[trade.symbol].rule
            row = {
                "ts_ms": trade.ts_ms,
                "symbol": trade.symbol,
                "price": rule.price_text(trade.price),
                "quantity": rule.quantity_text(trade.lots),
                "side": trade.side.value,
            }
        return {"trade": row, "steps": self._sim.steps, "more": self._sim.has_more}

    async def _add_account(self, request: web.Request) -> Any:
        wanted = msgspec.json.decode(await request.read(), type=_NewAccount)
        key = self._sim.add_account(
            wanted.access_key,
            wanted.secret,
            balances=wanted.balances,
            uid=wanted.uid,
            fee_asset=wanted.fee_asset,
            mx_deduct=wanted.mx_deduct,
            permissions=wanted.permissions,
            symbols=wanted.symbols,
        )
        return {"uid": key.account.uid}

    async def _account(self, request: web.Request) -> Any:
        name = request.match_info["access_key"]
        key = self._sim.venue.exchange.keys.get(name)
        if key is None:
            raise ConfigError(f"there is no access key {name}; the simulator prints its keys when it starts")
        self._sim.venue.catch_up()
        self._sim.venue.settle()
        return audit(key.account)

    async def _log(self, request: web.Request) -> Any:
        entries = list(self._sim.log)
        after, limit = int(request.query.get("after", "0")), int(request.query.get("limit", "1000"))
        return {"total": len(entries), "entries": entries[after : after + limit]}


def _plain(fault: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(fault)
    return plain


def _guarded(handler: Any) -> Any:
    """Answer JSON; what was asked wrongly is answered with 400 and the reason."""

    async def answer(request: web.Request) -> web.Response:
        try:
            status, value = 200, await handler(request)
        except (ClaireError, msgspec.DecodeError, ValueError) as problem:
            status, value = 400, {"error": str(problem)}
        return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")

    return answer
