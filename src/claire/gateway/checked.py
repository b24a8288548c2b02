"""A client whose requests can be checked once more when there is a connection, right before the first byte."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection

before_write: Final[ContextVar[Callable[[], None] | None]] = ContextVar("before_write", default=None)
"""What the request of this task calls before it is written; what that raises ends the request unwritten."""


class Stopped(Exception):
    """Raised by what is called before the write: the request is not to be written."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class CheckedRequest(ClientRequest):
    """A request of aiohttp that has its last check once it has a connection.

    Where the boundary is: between the check and the write to the transport nothing gives up the event loop (a request without
    a body has its head written out in one piece; only if the transport is full does a task of its own write it, later).
    What lies beyond the transport, its own buffer, the kernel's, the wire, nobody can call back.
    """

    async def send(self, conn: Connection) -> ClientResponse:
        """Check, then write."""
        check = before_write.get()
        if check is not None:
            check()
        return await super().send(conn)


def is_checked(session: aiohttp.ClientSession) -> bool:
    """Whether the requests of a session are such ones."""
    kind = getattr(session, "_request_class", None)
    return isinstance(kind, type) and issubclass(kind, CheckedRequest)
