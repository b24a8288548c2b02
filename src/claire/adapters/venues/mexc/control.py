"""Control texts of MEXC's WebSocket: requests to build, answers to understand.

An answer says what happened in its words, not in its code: a refusal also comes with code 0. A channel is on only if its name
stands in an answer outside of any "Not Subscribed successfully!" clause; whatever is not understood accepts nothing.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from claire.adapters.venues.mexc.channels import Channel
from claire.model.errors import UsageError

CHANNELS_PER_CONNECTION: Final = 30
"""The venue refuses the thirty-first."""
LONGEST_REQUEST: Final = 1024
"""Bytes of a request that the venue is known to take."""
LONGEST_ANSWER: Final = 65_536
"""Characters of an answer that is looked into."""
PING: Final = '{"method":"PING"}'
"""Keeps the connection from being closed while nothing trades; the answer is `Pong`."""

SUBSCRIBE: Final = "SUBSCRIPTION"
UNSUBSCRIBE: Final = "UNSUBSCRIPTION"


class Request(Struct, frozen=True):
    """One text to send, and what it asks for."""

    text: str
    id: int
    """Comes back in the answer."""
    channels: tuple[str, ...]


class Answer(Struct, frozen=True):
    """An answer to a request, channel by channel. What stands in neither list was not answered."""

    id: int
    """Of the request; 0 if that had none."""
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reason: str = ""
    """Of the refusal, in the venue's words: ``Blocked!`` for a retired name, an unknown or unlisted symbol, a full connection."""


class AlreadyOn(Struct, frozen=True):
    """An empty answer: what was asked for was on before, on this connection."""

    id: int


class NotOn(Struct, frozen=True):
    """An answer to an end of a subscription that there was not."""

    id: int
    text: str


class Pong(Struct, frozen=True):
    """The answer to `PING`. It proves a live connection, not a flow of data."""


class BadRequest(Struct, frozen=True):
    """The venue could not read a request."""

    id: int
    text: str


class InvalidListenKey(Struct, frozen=True):
    """The listen key in the connection's address is unknown or has expired: get a new one and connect again."""


class Unknown(Struct, frozen=True):
    """A text that means nothing to this version; it accepts nothing."""

    text: str
    """Its beginning."""


Control = Answer | AlreadyOn | NotOn | Pong | BadRequest | InvalidListenKey | Unknown


def subscribe(channels: Iterable[Channel | str], first_id: int = 1) -> list[Request]:
    """Build the requests that turn channels on: as many as it takes, each at most 1024 bytes, numbered from `first_id`.

    Raises:
        UsageError: there are more channels than one connection takes, one stands there twice, or one alone is too long.
    """
    names = [_name(channel) for channel in channels]
    if len(names) > CHANNELS_PER_CONNECTION:
        raise UsageError(
            f"{len(names)} channels: one connection takes {CHANNELS_PER_CONNECTION}; open more connections for the rest"
        )
    return _requests(SUBSCRIBE, names, first_id)


def unsubscribe(channels: Iterable[Channel | str], first_id: int = 1) -> list[Request]:
    """Build the requests that turn channels off, as `subscribe` does.

    Raises:
        UsageError: a channel stands there twice, or one alone is too long.
    """
    return _requests(UNSUBSCRIBE, [_name(channel) for channel in channels], first_id)


def parse(text: str) -> Control:
    """Understand one text of the venue. Never fails: what is not understood is `Unknown`."""
    if text.strip().lower() == "invalid listen key":
        return InvalidListenKey()
    if len(text) > LONGEST_ANSWER:
        return Unknown(text[:_SHOWN])
    try:
        answer = msgspec.json.decode(text, type=_Message)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Unknown(text[:_SHOWN])
    said = answer.msg.strip()
    lowered = said.lower()
    if answer.code != 0:
        # No such answer is documented but that to an unreadable request; it cannot mean that something was accepted.
        return BadRequest(answer.id, said) if _BAD in lowered else Unknown(text[:_SHOWN])
    if not said:
        return AlreadyOn(answer.id)
    if lowered == "pong":
        return Pong()
    if _BAD in lowered:
        return BadRequest(answer.id, said)
    if lowered.startswith("no subscription"):
        return NotOn(answer.id, said)
    if lowered == "invalid listen key":
        return InvalidListenKey()
    names = _names(said)
    if names and all(name.startswith("spot@") and not _SPACE.search(name) for name in names):
        return Answer(answer.id, accepted=tuple(names))
    return _clauses(answer.id, said) or Unknown(text[:_SHOWN])


class _Message(Struct):
    """The JSON of every answer."""

    msg: str
    id: int = 0
    code: int = 0


_SHOWN: Final = 200
_BAD: Final = "msg format invalid"
_SPACE: Final = re.compile(r"\s")
_CLAUSE: Final = re.compile(r"(not\s+)?subscribed\s+successful(?:ly)?\s*[!！]?\s*\[([^\[\]]*)\]", re.IGNORECASE)
_REASON: Final = re.compile(r"reason\s*[:：]\s*(.*)", re.IGNORECASE)


def _clauses(request_id: int, said: str) -> Answer | None:
    """Read sentences with lists in brackets: what was accepted, what was refused, and why."""
    accepted: list[str] = []
    refused: list[str] = []
    for clause in _CLAUSE.finditer(said):
        (refused if clause[1] else accepted).extend(_names(clause[2]))
    if not accepted and not refused:
        return None
    reason = _REASON.search(said)
    return Answer(
        request_id,
        tuple(name for name in accepted if name not in refused),
        tuple(refused),
        reason[1].strip() if reason else "",
    )


def _name(channel: Channel | str) -> str:
    return channel if isinstance(channel, str) else channel.name


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _requests(method: str, names: Sequence[str], first_id: int) -> list[Request]:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice} is asked for twice; ask for each channel once")
    requests: list[Request] = []
    group: list[str] = []
    for name in names:
        if group and _size(method, [*group, name], first_id + len(requests)) > LONGEST_REQUEST:
            requests.append(_request(method, group, first_id + len(requests)))
            group = []
        group.append(name)
        if len(group) == 1 and _size(method, group, first_id + len(requests)) > LONGEST_REQUEST:
            raise UsageError(
                f"{name[:_SHOWN]}: this name alone is longer than a request may be ({LONGEST_REQUEST} bytes)"
            )
    if group:
        requests.append(_request(method, group, first_id + len(requests)))
    return requests


def _request(method: str, names: Sequence[str], request_id: int) -> Request:
    return Request(_text(method, names, request_id), request_id, tuple(names))


def _size(method: str, names: Sequence[str], request_id: int) -> int:
    return len(_text(method, names, request_id).encode())


def _text(method: str, names: Sequence[str], request_id: int) -> str:
    return msgspec.json.encode({"method": method, "params": names, "id": request_id}).decode()
