"""Everything the simulator can be told to do wrong, as typed values.

A fault is set by `Simulator.fault`, by a scenario file, or by ``POST /sim/faults`` while the simulator runs. Each has a `kind`,
says when it holds (`after_ms`, `for_ms`, `times`, `skip`, `probability`) and where (`path`, `symbol`, `channel`, …; empty means
everywhere). A strike is logged with its time; what is random comes from the simulator's seed.
"""

import random
from typing import Literal, TypeVar

from msgspec import Struct

from claire.mexcsim.log import SimLog, What
from claire.model.errors import ConfigError

F = TypeVar("F", bound="Fault")


class Fault(Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What all faults have: when they hold."""

    after_ms: int = 0
    """Begins this long after it was set."""
    for_ms: int = 0
    """Holds this long; 0: until it is cleared."""
    times: int = 0
    """Strikes this often, then is over; 0: without limit."""
    skip: int = 0
    """Lets this many occasions pass first."""
    probability: float = 1.0
    """Chance to strike on each occasion, drawn from the simulator's seed."""

    @property
    def name(self) -> str:
        """The kind, as scenario files write it."""
        return str(self.__struct_config__.tag)

    @property
    def at_once(self) -> bool:
        """Whether it is a deed that is done once when the fault begins, not a state."""
        return isinstance(self, Deed)

    def fits(self, scope: dict[str, str]) -> bool:
        """Whether an occasion is within its scope: each field of the scope that the fault sets must be found in it."""
        for name, value in scope.items():
            wanted = getattr(self, name, "")
            if wanted and wanted not in value if name == "channel" else wanted not in ("", value):
                return False
        return True


class RestFault(Fault, frozen=True, kw_only=True):
    """A fault of REST calls."""

    method: str = ""
    """``GET``, ``POST``, ``PUT`` or ``DELETE``."""
    path: str = ""
    """The path without ``/api/v3/``, for example ``order``."""
    key: str = ""
    """Only calls with this access key."""


class StreamFault(Fault, frozen=True, kw_only=True):
    """A fault of pushes or subscriptions."""

    channel: str = ""
    """Any part of the channel's name, for example ``aggre.deals``, ``private`` or ``@10ms``."""
    symbol: str = ""


class Deed(Fault, frozen=True, kw_only=True):
    """Something done once, when the fault begins."""


# -- REST --------------------------------------------------------------------------------------------------------------


class Latency(RestFault, frozen=True, kw_only=True, tag="latency"):
    """Time that a stage takes: ``request`` (before the venue sees the call) or ``reply`` (after it acted)."""

    stage: Literal["request", "reply"] = "request"
    ms: int
    jitter_ms: int = 0
    """Up to this much more, uniformly."""


class DropRequest(RestFault, frozen=True, kw_only=True, tag="drop_request"):
    """The connection ends before the venue accepts anything."""


class DropReply(RestFault, frozen=True, kw_only=True, tag="drop_reply"):
    """The venue acts, and the connection ends without an answer."""


class AcceptLate(RestFault, frozen=True, kw_only=True, tag="accept_late"):
    """The client gets nothing (or a 504) at once; the venue acts `delay_ms` later, whatever recvWindow says."""

    delay_ms: int
    answer: Literal["drop", "504"] = "drop"


class ServerError(RestFault, frozen=True, kw_only=True, tag="server_error"):
    """An HTTP 5xx; with `accepted` the venue has acted all the same."""

    status: int = 503
    accepted: bool = False


class Refuse(RestFault, frozen=True, kw_only=True, tag="refuse"):
    """An error reply of choice, for example 10098 (risk control) or a code that nobody has seen."""

    code: int | str
    text: str = "refused by a fault"
    status: int = 400


class TooMany(RestFault, frozen=True, kw_only=True, tag="too_many"):
    """HTTP 429 with Retry-After."""

    retry_after_s: int = 2


class Banned(RestFault, frozen=True, kw_only=True, tag="banned"):
    """HTTP 418 with Retry-After."""

    retry_after_s: int = 120


class Firewall(RestFault, frozen=True, kw_only=True, tag="firewall"):
    """HTTP 403 with an HTML page and without Retry-After, as the CDN answers."""


class Hang(RestFault, frozen=True, kw_only=True, tag="hang"):
    """No answer for `ms`, then the connection ends; with `accepted` the venue has acted."""

    ms: int = 30_000
    accepted: bool = False


class ReadLag(RestFault, frozen=True, kw_only=True, tag="read_lag"):
    """A new order is not found by queries (−2013) for `ms`."""

    ms: int = 2_000


class ClockSkew(Fault, frozen=True, kw_only=True, tag="clock_skew"):
    """The venue's clock is ahead of the simulator's by `ms` (negative: behind)."""

    ms: int


class Maintenance(Fault, frozen=True, kw_only=True, tag="maintenance"):
    """REST answers 503, sockets are closed and refused."""


# -- streams -----------------------------------------------------------------------------------------------------------


class SlowPush(StreamFault, frozen=True, kw_only=True, tag="slow_push"):
    """Pushes arrive `ms` late, in order."""

    ms: int
    jitter_ms: int = 0


class Stall(StreamFault, frozen=True, kw_only=True, tag="stall"):
    """The socket stays open and answers PING; the data stops."""


class HalfOpen(Fault, frozen=True, kw_only=True, tag="half_open"):
    """Sockets stay open; nothing is read, answered or pushed."""


class RefuseSubscription(StreamFault, frozen=True, kw_only=True, tag="refuse_subscription"):
    """``Not Subscribed successfully! … Blocked!`` with code 0."""


class LoseSubscription(StreamFault, frozen=True, kw_only=True, tag="lose_subscription"):
    """New subscriptions are acknowledged and never delivered; existing ones are forgotten without a word."""


class Duplicate(StreamFault, frozen=True, kw_only=True, tag="duplicate"):
    """A push comes twice, the second time `delay_ms` later."""

    delay_ms: int = 0


class Late(StreamFault, frozen=True, kw_only=True, tag="late"):
    """A push comes `delay_ms` late, after those that followed it."""

    delay_ms: int = 500


class Reorder(StreamFault, frozen=True, kw_only=True, tag="reorder"):
    """A push changes places with the next one of its channel."""


class Lose(StreamFault, frozen=True, kw_only=True, tag="lose"):
    """A push never comes; on a depth channel that is a gap in the versions."""


class DepthGap(Fault, frozen=True, kw_only=True, tag="depth_gap"):
    """The next depth push of a symbol never comes."""

    symbol: str = ""
    times: int = 1


class Corrupt(StreamFault, frozen=True, kw_only=True, tag="corrupt"):
    """A push is damaged: cut short, bits flipped, replaced by noise, or well-formed with a number that is none."""

    how: Literal["cut", "flip", "noise", "nan", "negative", "off_tick"] = "cut"


class UnknownField(StreamFault, frozen=True, kw_only=True, tag="unknown_field"):
    """A push carries a field that the schema does not have."""


class UnknownMessage(StreamFault, frozen=True, kw_only=True, tag="unknown_message"):
    """A push has a body of a type that the schema does not have."""


# -- deeds -------------------------------------------------------------------------------------------------------------


class Disconnect(Deed, frozen=True, kw_only=True, tag="disconnect"):
    """Sockets are closed, by a close frame or by cutting TCP."""

    which: Literal["all", "public", "private"] = "all"
    how: Literal["cut", "close"] = "cut"


class EndOfLife(Deed, frozen=True, kw_only=True, tag="end_of_life"):
    """Every socket has lived its 24 hours now."""


class ExpireListenKeys(Deed, frozen=True, kw_only=True, tag="expire_listen_keys"):
    """Listen keys of one access key's account (empty: of all) end; so do their streams."""

    key: str = ""


class RevokeKey(Deed, frozen=True, kw_only=True, tag="revoke_key"):
    """An access key stops being known."""

    key: str


class Delist(Deed, frozen=True, kw_only=True, tag="delist"):
    """A pair goes offline: orders are canceled, pushes end, subscriptions are refused, orders get 30016."""

    symbol: str


class Pause(Deed, frozen=True, kw_only=True, tag="pause"):
    """A pair is suspended (status 2): orders get 30000; waiting orders stay."""

    symbol: str


class ChangeRules(Deed, frozen=True, kw_only=True, tag="change_rules"):
    """A pair gets other rules; where steps change, waiting orders are canceled. What is not named stays."""

    symbol: str
    price_decimals: int | None = None
    quantity_decimals: int | None = None
    min_notional: str | None = None
    taker_rate: str | None = None
    side_rule: int | None = None
    api_trading: bool | None = None
    status: str | None = None


AnyFault = (
    Latency | DropRequest | DropReply | AcceptLate | ServerError | Refuse | TooMany | Banned | Firewall | Hang | ReadLag
    | ClockSkew | Maintenance | SlowPush | Stall | HalfOpen | RefuseSubscription | LoseSubscription | Duplicate | Late
    | Reorder | Lose | DepthGap | Corrupt | UnknownField | UnknownMessage | Disconnect | EndOfLife | ExpireListenKeys
    | RevokeKey | Delist | Pause | ChangeRules
)  # fmt: skip
"""All of them, for readers of scenario files."""


class _Set:
    """A fault that was set, and what is left of it."""

    __slots__ = ("fault", "left", "number", "since_ms", "skip", "until_ms")

    def __init__(self, number: int, fault: Fault, now_ms: int) -> None:
        self.number = number
        self.fault = fault
        self.since_ms = now_ms + fault.after_ms
        self.until_ms = self.since_ms + fault.for_ms if fault.for_ms else None
        self.left = fault.times
        self.skip = fault.skip


class Faults:
    """The faults that are set, and whether one of them strikes."""

    def __init__(self, log: SimLog, seed: int) -> None:
        self._log = log
        self._rng = random.Random(f"{seed}:faults")
        self._by_type: dict[type[Fault], list[_Set]] = {}
        self._deeds: list[_Set] = []
        self._next = 1
        self.on_frames = False
        """Whether any fault of pushes is set; pushes ask nothing else while none is."""

    def add(self, fault: Fault, now_ms: int) -> int:
        """Set a fault; return the number by which it can be cleared.

        Raises:
            ConfigError: its chance is not within 0–1, or a time or count is negative.
        """
        if not 0 <= fault.probability <= 1:
            raise ConfigError(f"fault {fault.name}: probability {fault.probability} is not within 0 and 1")
        if min(fault.after_ms, fault.for_ms, fault.times, fault.skip) < 0:
            raise ConfigError(f"fault {fault.name}: after_ms, for_ms, times and skip cannot be negative")
        entry = _Set(self._next, fault, now_ms)
        self._next += 1
        (self._deeds if fault.at_once else self._by_type.setdefault(type(fault), [])).append(entry)
        self._log.add(What.FAULT_SET, fault=fault.name, number=entry.number)
        self._note_frames()
        return entry.number

    def clear(self, number: int | None = None) -> int:
        """Take back one fault or all; return how many."""
        cleared = [entry for entry in self._all() if number in (None, entry.number)]
        for entry in cleared:
            self._over(entry)
        return len(cleared)

    def listed(self) -> list[tuple[int, Fault]]:
        """The faults that are set, with their numbers."""
        return sorted(((entry.number, entry.fault) for entry in self._all()), key=lambda pair: pair[0])

    def due(self, now_ms: int) -> list[Fault]:
        """The deeds whose time has come; each is returned once. Faults that have run out are forgotten."""
        for entries in list(self._by_type.values()):
            for entry in [entry for entry in entries if entry.until_ms is not None and now_ms >= entry.until_ms]:
                self._over(entry)
        ready = [entry for entry in self._deeds if now_ms >= entry.since_ms]
        for entry in ready:
            self._deeds.remove(entry)
            self._log.add(
                What.FAULT_STRUCK, getattr(entry.fault, "symbol", ""), fault=entry.fault.name, number=entry.number
            )
        return [entry.fault for entry in ready]

    def strike(self, kind: type[F], now_ms: int, /, **scope: str) -> F | None:
        """The first fault of a kind that strikes on this occasion."""
        for entry in self._by_type.get(kind, ()):
            fault = entry.fault
            if (
                now_ms < entry.since_ms
                or (entry.until_ms is not None and now_ms >= entry.until_ms)
                or not fault.fits(scope)
            ):
                continue
            if entry.skip:
                entry.skip -= 1
                continue
            if fault.probability < 1 and self._rng.random() >= fault.probability:
                continue
            self._log.add(What.FAULT_STRUCK, scope.get("symbol", ""), fault=fault.name, number=entry.number)
            if entry.left:
                entry.left -= 1
                if not entry.left:
                    self._over(entry)
            return fault  # type: ignore[return-value]
        return None

    def holds(self, kind: type[F], now_ms: int) -> F | None:
        """A fault of a kind that holds now, without counting this as a strike."""
        for entry in self._by_type.get(kind, ()):
            if entry.since_ms <= now_ms and (entry.until_ms is None or now_ms < entry.until_ms):
                return entry.fault  # type: ignore[return-value]
        return None

    def pick(self, below: int) -> int:
        """A number from 0 up to `below`, from the seed."""
        return self._rng.randrange(below) if below > 0 else 0

    def _all(self) -> list[_Set]:
        return [*self._deeds, *(entry for entries in self._by_type.values() for entry in entries)]

    def _over(self, entry: _Set) -> None:
        place = self._deeds if entry.fault.at_once else self._by_type[type(entry.fault)]
        place.remove(entry)
        self._log.add(What.FAULT_OVER, fault=entry.fault.name, number=entry.number)
        self._note_frames()

    def _note_frames(self) -> None:
        self.on_frames = any(
            entries and issubclass(kind, StreamFault | DepthGap) for kind, entries in self._by_type.items()
        )
