"""One HTTP exchange, once: what came back, or what is known about why nothing did."""

from collections.abc import Callable
from typing import Final

import aiohttp
from msgspec import Struct
from yarl import URL

from claire.gateway.checked import Stopped, is_checked
from claire.gateway.checked import before_write as to_be_called
from claire.gateway.hosts import Endpoint

MAX_BYTES: Final = 16 * 1024 * 1024
"""Longest answer that is read; all of a venue's symbols are a tenth of it."""


class Answer(Struct, frozen=True):
    """The venue answered."""

    status: int
    body: bytes
    content_type: str = ""
    retry_after_s: float | None = None


class NoAnswer(Struct, frozen=True):
    """The request went out, wholly or in part, and no whole answer came: the venue may have carried it out."""

    reason: str


class NeverSent(Struct, frozen=True):
    """Not a byte went out: the venue saw nothing."""

    reason: str
    code: str = ""
    """Of the gate, where it refused (`claire.gateway.gate.CODES`)."""


Exchange = Answer | NoAnswer | NeverSent


async def exchange(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    method: str,
    target: str,
    *,
    headers: dict[str, str] | None = None,
    timeout_s: float,
    max_bytes: int = MAX_BYTES,
    before_write: Callable[[], None] | None = None,
) -> Exchange:
    """Send one request and read its answer. Nothing is sent twice, no redirect is followed.

    The reasons name the host, never the query: it may hold a signature.

    Args:
        session: Of the endpoint.
        endpoint: Where to.
        method: GET, POST, PUT or DELETE.
        target: Path and query, encoded; these bytes go out as they are.
        headers: Beside the usual ones.
        timeout_s: For everything: connecting, sending and reading.
        max_bytes: A longer answer counts as none.
        before_write: Called once there is a connection, right before the first byte; a `Stopped` that it raises ends all.
            Where nothing was written, whatever went wrong, the answer is `NeverSent`.

    Raises:
        RuntimeError: the session cannot call anything before it writes; one of `Endpoint.session` can.
    """
    if before_write is not None and not is_checked(session):
        raise RuntimeError("the session has no last check; its request class has to be CheckedRequest")
    is_written = before_write is None

    def check() -> None:
        nonlocal is_written
        if before_write is not None:
            before_write()
        is_written = True

    token = to_be_called.set(check if before_write is not None else None)
    try:
        result = await _exchange(session, endpoint, method, target, headers, timeout_s, max_bytes)
    except Stopped as stopped:
        return NeverSent(stopped.reason, stopped.code)
    finally:
        to_be_called.reset(token)
    return NeverSent(result.reason) if isinstance(result, NoAnswer) and not is_written else result


async def _exchange(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: dict[str, str] | None,
    timeout_s: float,
    max_bytes: int,
) -> Exchange:
    url = URL(endpoint.base + target, encoded=True)
    limits = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 2)
    try:
        async with session.request(method, url, headers=headers, timeout=limits, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > max_bytes:
                    return NoAnswer(f"{endpoint.host} answered with more than {max_bytes:,} bytes")
            return Answer(
                response.status, bytes(body), response.content_type, _seconds(response.headers.get("Retry-After"))
            )
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
        return NeverSent(f"{endpoint.host} cannot be reached ({_plain(e)})")
    except (TimeoutError, aiohttp.ServerTimeoutError):
        return NoAnswer(f"{endpoint.host} did not answer within {timeout_s:g} s")
    except (aiohttp.ClientError, OSError) as e:
        return NoAnswer(f"{endpoint.host} broke off before it had answered ({_plain(e)})")


def _plain(error: BaseException) -> str:
    """What went wrong in a few words, without the address that was asked for."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; None where there is none that can be read."""
    if text is None or not text.strip().isdigit() or len(text.strip()) > 9:
        return None
    return float(text)
