"""REST: one door for all calls. In this order: faults before acceptance, the firewall and bans, the key and its signature,
budgets, the deed, faults after it.
"""

from typing import Any

import msgspec
from aiohttp import web

from claire.mexcsim import faults as f
from claire.mexcsim import signing
from claire.mexcsim.calls import Call, Endpoint
from claire.mexcsim.limits import FirewallPage, Limited
from claire.mexcsim.log import What
from claire.mexcsim.rest_account import ACCOUNT
from claire.mexcsim.rest_public import PUBLIC
from claire.mexcsim.rest_trading import TRADING
from claire.mexcsim.rules import Rejection
from claire.mexcsim.state import Venue

ENDPOINTS: dict[tuple[str, str], Endpoint] = {**PUBLIC, **TRADING, **ACCOUNT}
API = "/api/v3/"
PAGE = (
    "<html><head><title>Access Denied</title></head><body><h1>Access Denied</h1>"
    "<p>You don't have permission to access this server.</p></body></html>"
)


class _CutOff(Exception):
    """The connection shall end without an answer."""


class Rest:
    """All REST calls of a venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._losses = 0

    def lose(self) -> None:
        """Lose every call that is on its way to the venue."""
        self._losses += 1

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, or do not."""
        arrived_us = self._venue.clock_us()
        body = (await request.read()).decode("utf-8", "replace")
        scope = {
            "method": request.method,
            "path": request.path.removeprefix(API),
            "key": request.headers.get("X-MEXC-APIKEY", ""),
        }
        try:
            response = await self._answer(request, body, scope)
        except _CutOff:
            response = web.Response(status=500)
            if request.transport is not None:
                request.transport.abort()
            self._note(request, scope, 0, arrived_us)
            return response
        self._note(request, scope, response.status, arrived_us)
        return response

    def _note(self, request: web.Request, scope: dict[str, str], status: int, arrived_us: int) -> None:
        self._venue.log.add(
            What.REQUEST,
            request.query.get("symbol", ""),
            scope["key"],
            method=request.method,
            path=scope["path"],
            status=status,
            arrived_us=arrived_us,
            **({"client_id": client_id} if (client_id := request.query.get("newClientOrderId", "")) else {}),
        )

    async def _answer(self, request: web.Request, body: str, scope: dict[str, str]) -> web.Response:
        try:
            losses = self._losses
            await self._take_time("request", scope)
            if self._losses != losses:
                raise _CutOff
            self._before(scope)
            address = request.remote or "unix"
            self._venue.budget.enter(address, self._venue.clock())
            endpoint = ENDPOINTS.get((request.method, request.path))
            if endpoint is None:
                raise Rejection(404, "Not Found", 404)
            call = self._identify(request, body, endpoint, address)
            return await self._act(call, endpoint, scope)
        except FirewallPage:
            self._venue.log.add(What.LIMITED, why="firewall")
            return web.Response(status=403, text=PAGE, content_type="text/html")
        except Limited as limited:
            self._venue.log.add(What.LIMITED, key=scope["key"], why=limited.text, status=limited.status)
            return _json({"code": limited.code, "msg": limited.text}, limited.status, limited.retry_after_s)
        except Rejection as refused:
            return _json({"code": refused.code, "msg": refused.text}, refused.status)

    # -- before ----------------------------------------------------------------------------------------------------

    def _before(self, scope: dict[str, str]) -> None:
        venue, faults = self._venue, self._venue.faults
        now = venue.clock()
        if faults.strike(f.Maintenance, now):
            raise Rejection(503, "Service unavailable: maintenance", 503)
        if faults.strike(f.DropRequest, now, **scope):
            raise _CutOff
        if faults.strike(f.Firewall, now, **scope):
            raise FirewallPage
        banned = faults.strike(f.Banned, now, **scope)
        if banned:
            raise Limited(418, banned.retry_after_s)
        many = faults.strike(f.TooMany, now, **scope)
        if many:
            raise Limited(429, many.retry_after_s)
        refuse = faults.strike(f.Refuse, now, **scope)
        if refuse:
            raise Rejection(refuse.code, refuse.text, refuse.status)

    async def _take_time(self, stage: str, scope: dict[str, str]) -> None:
        faults = self._venue.faults
        latency = faults.strike(f.Latency, self._venue.clock(), **scope, stage=stage)
        if latency:
            await self._venue.sleep(latency.ms + faults.pick(latency.jitter_ms + 1))

    def _identify(self, request: web.Request, body: str, endpoint: Endpoint, address: str) -> Call:
        venue = self._venue
        query = request.raw_path.partition("?")[2]
        params = signing.parameters(query, body)
        call = Call(venue, request.method, request.path, params, venue.server_ms())
        uid = None
        if endpoint.permission:
            name = request.headers.get("X-MEXC-APIKEY", "")
            if not name:
                raise Rejection(400, "api key required")
            signing.check_content_type(request.method, request.headers.get("Content-Type", ""))
            key = venue.exchange.keys.get(name)
            call.key = signing.check_signature(key, query, body, params, call.now_ms)
            if call.key.addresses and address not in call.key.addresses:
                raise Rejection(700006, f"IP [{address}] not in the ip white list")
            if not call.key.may(endpoint.permission):
                raise Rejection(700007, "No permission to access the endpoint.")
            uid = call.key.account.uid
        venue.budget.spend(address, uid, request.path, endpoint.weight, endpoint.counted_as, venue.clock())
        return call

    # -- the deed and after ----------------------------------------------------------------------------------------

    async def _act(self, call: Call, endpoint: Endpoint, scope: dict[str, str]) -> web.Response:
        venue, faults = self._venue, self._venue.faults
        now = venue.clock()
        late = faults.strike(f.AcceptLate, now, **scope)
        if late:
            venue.spawn(self._act_later(call, endpoint, late.delay_ms))
            if late.answer == "504":
                raise Rejection(504, "Gateway timeout", 504)
            raise _CutOff
        error = faults.strike(f.ServerError, now, **scope)
        hang = faults.strike(f.Hang, now, **scope)
        if (error and not error.accepted) or (hang and not hang.accepted):
            answer: Any = None
        else:
            venue.catch_up()
            answer = endpoint.handler(call)
            venue.settle()
        if hang:
            await venue.sleep(hang.ms)
            raise _CutOff
        if error:
            raise Rejection(error.status, "Internal error; the state of the request is unknown", error.status)
        if faults.strike(f.DropReply, venue.clock(), **scope):
            raise _CutOff
        await self._take_time("reply", scope)
        return _json(answer, 200)

    async def _act_later(self, call: Call, endpoint: Endpoint, delay_ms: int) -> None:
        await self._venue.sleep(delay_ms)
        self._venue.catch_up()
        try:
            endpoint.handler(call)
        except Rejection:
            return  # nobody waits for the answer; the log has the refusal
        self._venue.settle()


def _json(value: Any, status: int, retry_after_s: int | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers
    )
