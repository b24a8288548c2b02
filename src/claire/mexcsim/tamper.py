"""What faults make of a push: late, twice, out of order, damaged, or nothing."""

from collections.abc import Callable

from google.protobuf.message import Message

from claire.mexcsim.faults import (
    Corrupt,
    DepthGap,
    Duplicate,
    Faults,
    Late,
    Lose,
    Reorder,
    SlowPush,
    Stall,
    UnknownField,
    UnknownMessage,
)
from claire.wire import PushDataV3ApiWrapper

UNKNOWN_FIELD = b"\xba\x3e\x05later"
"""Field 999, five bytes of text: what a later schema might add to the wrapper."""
UNKNOWN_BODY = 316
"""A body number that no known schema has."""


class Held:
    """Pushes that wait for the next one of their channel, to change places with it."""

    def __init__(self) -> None:
        self.frames: dict[str, bytes] = {}
        self.last_due_ms: dict[str, int] = {}


def frames(faults: Faults, held: Held, channel: str, symbol: str, data: bytes, now_ms: int) -> list[tuple[int, bytes]]:
    """The frames to send instead of one push, each with its delay in ms."""
    scope = {"channel": channel, "symbol": symbol}
    if faults.strike(Stall, now_ms, **scope) or faults.strike(Lose, now_ms, **scope):
        return []
    if "aggre.depth" in channel and faults.strike(DepthGap, now_ms, symbol=symbol):
        return []
    data = _damaged(faults, scope, data, now_ms)
    if faults.strike(UnknownField, now_ms, **scope):
        data += UNKNOWN_FIELD
    if faults.strike(UnknownMessage, now_ms, **scope):
        data = unknown_message(data)
    delay = 0
    slow = faults.strike(SlowPush, now_ms, **scope)
    if slow:
        due = max(held.last_due_ms.get(channel, 0), now_ms + slow.ms + faults.pick(slow.jitter_ms + 1))
        held.last_due_ms[channel] = due
        delay = due - now_ms
    late = faults.strike(Late, now_ms, **scope)
    result = [(delay + (late.delay_ms if late else 0), data)]
    if faults.strike(Reorder, now_ms, **scope) and channel not in held.frames:
        held.frames[channel] = data
        return []
    if channel in held.frames:
        result.append((delay, held.frames.pop(channel)))
    again = faults.strike(Duplicate, now_ms, **scope)
    if again:
        result.append((delay + again.delay_ms, data))
    return result


def unknown_message(data: bytes) -> bytes:
    """The same wrapper with a body of an unknown number."""
    push = PushDataV3ApiWrapper.FromString(data)
    body = push.WhichOneof("body")
    if body is not None:
        push.ClearField(body)
    tag = UNKNOWN_BODY << 3 | 2
    return bytes(push.SerializeToString()) + bytes((tag & 0x7F | 0x80, tag >> 7)) + b"\x03new"


def _damaged(faults: Faults, scope: dict[str, str], data: bytes, now_ms: int) -> bytes:
    fault = faults.strike(Corrupt, now_ms, **scope)
    if fault is None:
        return data
    match fault.how:
        case "cut":
            return data[: max(1, len(data) - 1 - faults.pick(len(data) // 2))]
        case "flip":
            place = faults.pick(len(data))
            return data[:place] + bytes((data[place] ^ 1 << faults.pick(8),)) + data[place + 1 :]
        case "noise":
            return bytes(0x80 | faults.pick(128) for _ in range(24))
        case "nan":
            return _renumbered(data, lambda _: "NaN")
        case "negative":
            return _renumbered(data, lambda price: f"-{price}")
        case "off_tick":
            return _renumbered(data, lambda price: f"{price}{'' if '.' in price else '.'}0000000000001")


def _renumbered(data: bytes, change: Callable[[str], str]) -> bytes:
    """Change the first price of a well-formed push."""
    push = PushDataV3ApiWrapper.FromString(data)
    body = push.WhichOneof("body")
    if body is None:
        return data
    _change_first_price(getattr(push, body), change)
    return bytes(push.SerializeToString())


def _change_first_price(message: Message, change: Callable[[str], str]) -> bool:
    for field, value in message.ListFields():
        if field.message_type is not None:
            items = value if field.is_repeated else [value]
            if any(_change_first_price(item, change) for item in items):
                return True
        elif field.name in PRICES:
            setattr(message, field.name, change(value))
            return True
    return False


PRICES = frozenset(("price", "bid_price", "ask_price", "opening_price", "balance_amount"))
