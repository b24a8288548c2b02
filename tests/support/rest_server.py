"""A REST server on this machine that answers as it is told and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], web.StreamResponse] | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    raw_query: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Server:
    """The address, and what was asked."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [seen.path for seen in self.seen]


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[Server]:
    """Serve on a free port. An answer is a JSON value, a handler, a list of these (one after the other), or ``hang``."""
    server = Server()
    left = {path: list(given) if isinstance(given, Line) else [given] for path, given in answers.items()}
    released = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        raw_query = request.raw_path.partition("?")[2]
        server.seen.append(Seen(request.method, request.path, raw_query, request.query, request.headers, body))
        waiting = left.get(request.path)
        if waiting is None:
            return web.Response(status=404)
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer == "hang":
            await released.wait()
            return web.Response()
        if callable(answer):
            made = answer(request)
            response: web.StreamResponse = await made if asyncio.iscoroutine(made) else made
            return response
        return web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        released.set()
        await runner.cleanup()


class Line(list[Any]):
    """Answers given one after the other; the last one again and again."""


def complaint(status: int, code: int | str, msg: str = "", **headers: str) -> Callable[[web.Request], web.Response]:
    """An answer with MEXC's kind of error."""
    return lambda _: web.json_response({"code": code, "msg": msg}, status=status, headers=headers)
