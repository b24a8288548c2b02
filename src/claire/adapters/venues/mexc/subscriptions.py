"""Subscriptions: which channels go on which connection, and what became of what was asked for (control.py asks).

Pure: times come in. A subscription is active after its acknowledgement *and* its first message; a refusal comes with
code 0 and is known by its text alone (fact sheet 1.2). At most 30 subscriptions fit on a connection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from claire.adapters.venues.mexc.control import CHANNELS_PER_CONNECTION


class Assignment:
    """Which channels go on which connection slot.

    Stable: adding or removing channels moves no other channel. The channels of one group (one symbol) go on the same
    slot where they fit.
    """

    def __init__(self, per_slot: int = CHANNELS_PER_CONNECTION) -> None:
        """Start with no slot."""
        self._per_slot = per_slot
        self._slots: list[dict[str, None]] = []
        self._slot_of: dict[str, int] = {}
        self._first_with_room = 0

    def add(self, group: Sequence[str]) -> None:
        """Give each new channel of a group its slot: the first with room for all of them, else a new one."""
        fresh = [name for name in dict.fromkeys(group) if name not in self._slot_of]
        for start in range(0, len(fresh), self._per_slot):
            self._place(fresh[start : start + self._per_slot])

    def remove(self, name: str) -> None:
        """Free a channel's place."""
        slot = self._slot_of.pop(name)
        del self._slots[slot][name]
        self._first_with_room = min(self._first_with_room, slot)

    @property
    def slots(self) -> tuple[tuple[str, ...], ...]:
        """The channels of each slot, in the order of adding."""
        return tuple(tuple(slot) for slot in self._slots)

    def slot_of(self, name: str) -> int:
        """Return the slot of a channel."""
        return self._slot_of[name]

    def _place(self, names: Sequence[str]) -> None:
        while self._first_with_room < len(self._slots) and len(self._slots[self._first_with_room]) >= self._per_slot:
            self._first_with_room += 1
        for number in range(self._first_with_room, len(self._slots)):
            if len(self._slots[number]) + len(names) <= self._per_slot:
                break
        else:
            number = len(self._slots)
            self._slots.append({})
        for name in names:
            self._slots[number][name] = None
            self._slot_of[name] = number


class State(StrEnum):
    """Where a subscription is in its life."""

    WANTED = "wanted"
    """Not asked for yet."""
    REQUESTED = "requested"
    ACKNOWLEDGED = "acknowledged"
    """The venue said yes; no message yet."""
    ACTIVE = "active"
    """Acknowledged, and a message came."""
    REFUSED = "refused"
    LOST = "lost"
    """Neither yes nor no in time."""


class Subscription(Struct):
    """One channel on one connection. Times are nanoseconds of a clock that only rises."""

    channel: str
    state: State = State.WANTED
    requested_ns: int = 0
    attempts: int = 0
    text: str = ""
    """What the venue said when it refused."""
    heard: bool = False
    """A message came (it may come before the acknowledgement)."""


class SubscriptionTable:
    """The subscriptions of one connection."""

    def __init__(self, channels: Iterable[str], *, ack_timeout_ns: int = 5_000_000_000, max_attempts: int = 3) -> None:
        """Want these channels; each request is answered within `ack_timeout_ns` or asked again, `max_attempts` times."""
        self._all = {name: Subscription(name) for name in channels}
        self._requests: dict[int, tuple[str, ...]] = {}
        self._ack_timeout_ns = ack_timeout_ns
        self._max_attempts = max_attempts
        self.unheard: dict[str, None] = dict.fromkeys(self._all)
        """Channels without a message so far; empty on a connection in full flow."""

    def __getitem__(self, name: str) -> Subscription:
        """Return one subscription."""
        return self._all[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether a channel belongs to this connection."""
        return name in self._all

    @property
    def all(self) -> Mapping[str, Subscription]:
        """Every subscription by its channel."""
        return self._all

    def count(self, state: State) -> int:
        """Return how many subscriptions are in a state."""
        return sum(1 for each in self._all.values() if each.state is state)

    def requested(self, request_id: int, channels: Sequence[str], now_ns: int) -> None:
        """Note that channels were asked for in one message."""
        self._requests[request_id] = tuple(channels)
        for name in channels:
            each = self._all[name]
            each.state, each.requested_ns = State.REQUESTED, now_ns
            each.attempts += 1

    def answered(self, request_id: int, accepted: Sequence[str], refused: Sequence[str], text: str) -> list[str]:
        """Take in an answer; return the channels that it refuses.

        An answer that names nothing says that all channels of its request were on before (an empty `msg`). An answer to
        a request that is not open says nothing (the answer to an end of a subscription looks just like one to its begin).
        """
        asked = self._requests.pop(request_id, None)
        if asked is None and request_id:
            return []
        if not accepted and not refused:
            accepted = asked or ()
        for name in accepted:
            each = self._all.get(name)
            if each is not None and each.state is not State.REFUSED:
                each.state = State.ACTIVE if each.heard else State.ACKNOWLEDGED
        no = [name for name in refused if name in self._all]
        for name in no:
            each = self._all[name]
            each.state, each.text = State.REFUSED, text
            self.unheard.pop(name, None)
        return no

    def heard(self, name: str) -> None:
        """Note a channel's first message on this connection."""
        self.unheard.pop(name, None)
        each = self._all.get(name)
        if each is not None:
            each.heard = True
            if each.state is State.ACKNOWLEDGED:
                each.state = State.ACTIVE

    def listen_anew(self) -> Callable[[], list[str]]:
        """Forget which channels were heard; return a function that lists those heard since."""
        self.unheard = {name: None for name, each in self._all.items() if each.state is not State.REFUSED}
        waiting = tuple(self.unheard)
        return lambda: [name for name in waiting if name not in self.unheard]

    def forgotten(self, name: str) -> None:
        """Start a channel again from nothing: its stream fell silent, it will be asked for once more."""
        each = self._all[name]
        each.state, each.heard = State.WANTED, False
        self.unheard[name] = None

    def overdue(self, now_ns: int) -> tuple[list[str], list[str]]:
        """Return (channels to ask for again, channels given up as lost) at this moment."""
        again: list[str] = []
        lost: list[str] = []
        for name, each in self._all.items():
            if each.state is State.REQUESTED and now_ns - each.requested_ns >= self._ack_timeout_ns:
                if each.attempts < self._max_attempts:
                    again.append(name)
                else:
                    each.state = State.LOST
                    lost.append(name)
        return again, lost

    @property
    def is_settled(self) -> bool:
        """Whether every subscription was answered or given up."""
        return all(each.state not in (State.WANTED, State.REQUESTED) for each in self._all.values())
