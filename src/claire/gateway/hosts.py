"""Where a request may go: a venue's address, taken apart once, and whether it is this machine."""

import socket
from ipaddress import ip_address, ip_network
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from claire.gateway.checked import CheckedRequest
from claire.model.errors import ConfigError, SafetyRefusal

ORDER_HOSTS: Final = ("127.0.0.0/8", "::1", "localhost", "a Unix socket")
"""The only hosts that a signed order may go to. A constant on purpose: no setting reaches it."""

_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Endpoint(Struct, frozen=True):
    """The address of a venue's REST interface."""

    text: str
    """As it was given."""
    base: str
    """Scheme, host and port, without a slash at the end; a path is appended to it as it is."""
    host: str
    unix_path: str = ""
    """Of the Unix socket; empty for TCP."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take an address apart: ``https://HOST``, ``http://HOST:PORT`` or ``unix:/path/of/socket``.

        Raises:
            ConfigError: it is none of these, or holds a user, a path or a query.
        """
        example = "write it as https://api.mexc.com, http://127.0.0.1:8080 or unix:/path/of/socket"
        if url.startswith("unix:"):
            path = url.removeprefix("unix://").removeprefix("unix:")
            if not path.startswith("/"):
                raise ConfigError(f"{url}: the path of a Unix socket has to start with a slash; {example}")
            return cls(url, "http://localhost", "localhost", path)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as e:
            raise ConfigError(f"{url}: is not the address of a venue ({e}); {example}") from e
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{url}: is not the address of a venue; {example}")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(f"the address for {host} holds a user name or a password; {example}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigError(f"{url}: has a path behind the host; {example}")
        shown = f"[{host}]" if ":" in host else host
        return cls(url, f"{parts.scheme}://{shown}{f':{port}' if port else ''}", host)

    @property
    def is_loopback(self) -> bool:
        """Whether nothing sent there leaves this machine."""
        if self.unix_path or self.host == "localhost":
            return True
        try:
            address = ip_address(self.host)
        except ValueError:
            return False
        return any(address in network for network in _LOOPBACK)

    def session(self) -> aiohttp.ClientSession:
        """Open a client for this address. It follows no proxy; ``localhost`` means this machine whatever a resolver says."""
        if self.unix_path:
            return aiohttp.ClientSession(connector=aiohttp.UnixConnector(self.unix_path), request_class=CheckedRequest)
        resolver = LoopbackResolver() if self.is_loopback else None
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver), request_class=CheckedRequest)


class LoopbackResolver(AbstractResolver):
    """Resolves every name to this machine, and asks nobody."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer 127.0.0.1."""
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


def refuse_foreign(endpoint: Endpoint) -> None:
    """Refuse to send a signed order to any host but this machine.

    Raises:
        SafetyRefusal: the endpoint is elsewhere.
    """
    if not endpoint.is_loopback:
        raise SafetyRefusal(
            f"a signed order for {endpoint.host} is refused: until the ladder of modes is built, orders go only to"
            f" {', '.join(ORDER_HOSTS)}, by a constant in the code.\n"
            "Point mexc.rest_url at a simulator (claire mexc-sim), or run with --mode paper."
        )
