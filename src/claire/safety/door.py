"""The sentinel's door: ``POST /kill`` and ``GET /status`` on this machine.

Whoever may run a program here may stop the trading, so there is no password. A web page that is open in a browser on
this machine may not: it cannot send the header and the content type without asking first, which is never allowed, and its name
is not one of ours.

    curl -X POST http://127.0.0.1:8011/kill -H 'Content-Type: application/json' -H 'X-Claire: kill' -d '{"reason": "why"}'
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

PORT: Final = 8011
HEADER: Final = "X-Claire"
MAX_BODY: Final = 4096
_OWN_SITES: Final = ("", "none", "same-origin")


class Order(Struct, forbid_unknown_fields=True):
    """What ``POST /kill`` is given."""

    reason: str = ""
    who: str = ""


class Door:
    """Answers on 127.0.0.1."""

    def __init__(self, kill: Callable[[str, str], Awaitable[object]], status: Callable[[], object]) -> None:
        """Prepare.

        Args:
            kill: Closes the latch, given who and why; returns what to answer.
            status: Returns how things stand.
        """
        self._kill = kill
        self._status = status
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/kill", self._on_kill)
        app.router.add_get("/status", self._on_status)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _on_kill(self, request: web.Request) -> web.Response:
        refused = self._refuse(request)
        if refused:
            return _json({"error": refused}, 403)
        if request.content_type != "application/json" or request.headers.get(HEADER) != "kill":
            return _json({"error": f"send Content-Type: application/json and {HEADER}: kill"}, 415)
        try:
            order = msgspec.json.decode(await request.read() or b"{}", type=Order)
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        return _json(await self._kill(f"HTTP {order.who}".strip(), order.reason or "asked for over HTTP"), 200)

    async def _on_status(self, request: web.Request) -> web.Response:
        refused = self._refuse(request)
        return _json({"error": refused}, 403) if refused else _json(self._status(), 200)

    def _refuse(self, request: web.Request) -> str:
        """Return why a request is not taken: it came by another name, or from a web page of somebody else."""
        names = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        if request.headers.get("Host", "") not in names:
            return f"ask for {names[0]}"
        if request.headers.get("Origin", "") not in ("", *(f"http://{name}" for name in names)):
            return "web pages of others may not ask"
        if request.headers.get("Sec-Fetch-Site", "") not in _OWN_SITES:
            return "web pages of others may not ask"
        return ""


def _json(value: object, status: int) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value) + b"\n", content_type="application/json")
