"""What happened in the simulator and when: a typed log to assert on, to print, or to write as JSON lines."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

KEPT_ENTRIES = 100_000


class What(StrEnum):
    """Kinds of entries."""

    STARTED = "started"
    REQUEST = "request"
    LIMITED = "limited"
    ACCEPTED = "order accepted"
    REFUSED = "order refused"
    FILLED = "fill"
    ENDED = "order ended"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    SUBSCRIBED = "subscribed"
    SUBSCRIPTION_REFUSED = "subscription refused"
    UNSUBSCRIBED = "unsubscribed"
    LISTEN_KEY = "listen key"
    FAULT_SET = "fault set"
    FAULT_STRUCK = "fault struck"
    FAULT_OVER = "fault over"
    STEPPED = "stepped"
    STOPPED = "stopped"


class Entry(Struct, frozen=True, omit_defaults=True):
    """One thing that happened. `at_ms` is the time by the simulator's clock, without any skew that a fault adds."""

    at_ms: int
    what: What
    symbol: str = ""
    key: str = ""
    """The access key that was used."""
    detail: dict[str, str | int] = {}


class SimLog:
    """The latest entries, and how many there were of each kind since the beginning."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=KEPT_ENTRIES)
        self.counts: Counter[What] = Counter()
        self.listeners: list[Callable[[Entry], None]] = []

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, what: What, symbol: str = "", key: str = "", **detail: str | int) -> None:
        """Note something at the present time."""
        self.counts[what] += 1
        entry = Entry(self._clock(), what, symbol, key, detail)
        self._entries.append(entry)
        for listener in self.listeners:
            listener(entry)

    def of(self, *kinds: What) -> list[Entry]:
        """The entries of some kinds, oldest first."""
        return [entry for entry in self._entries if entry.what in kinds]
