"""Watchdog: tells a stream that has stalled from a market that is quiet. Answered pings prove nothing.

Every stream (a channel of a symbol; also a whole connection) has a rhythm of its own, learnt while it flows: the mean
time between messages, and the widest recent silence. When a stream is silent for longer than its rhythm allows

- and it is a whole connection, it has stalled;
- and it is one stream among others that flow, it is suspect: somebody has to look elsewhere (a REST answer) whether
  something happened that the stream did not tell. Then `evidence` settles it; without evidence in time it has stalled.

For a stream of n messages per second that come independently, a silence of 16/n seconds happens by chance once in nine
million gaps. So six messages per second and more are judged within 3 s. Pure: the time comes in, in nanoseconds of a
clock that only rises.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

SECOND: Final = 1_000_000_000

FLOOR_NS: Final = 1_500_000_000
"""No stream is suspected earlier."""

CEILING_NS: Final = 60 * SECOND
"""Every stream is suspected at the latest now: the venue itself closes a connection without data after 60 s."""

UNHEARD_NS: Final = 10 * SECOND
"""How long the first message after an acknowledgement may take before somebody looks elsewhere."""

EVIDENCE_NS: Final = 1_200_000_000
"""How long evidence about a stream with a learnt rhythm may take; without it the stream counts as stalled."""

MEANS: Final = 16
"""Silence allowed, in mean gaps."""

WIDEST: Final = 1.5
"""Silence allowed, in widest recent gaps."""

LEARNT: Final = 20
"""Messages from which on a rhythm is known."""

HALF_LIFE_NS: Final = 60 * SECOND
"""Of what is remembered about the mean."""

WIDEST_HALF_LIFE_NS: Final = 600 * SECOND

CONNECTION: Final = "connection"
"""Key prefix of whole connections; see `connection_key`."""


class VerdictKind(StrEnum):
    """What the watchdog thinks of a silent stream."""

    SUSPECT = "suspect"
    """Silent for longer than usual: look elsewhere, and say what was found (`Watchdog.evidence`)."""
    STALLED = "stalled"
    """Silent although there was something to say, or nobody can tell."""


class Verdict(Struct, frozen=True):
    """A stream that is silent for too long."""

    kind: VerdictKind
    key: str
    silent_ns: int
    allowed_ns: int


class Rhythm(Struct):
    """One stream: when it was last heard, and how it usually sounds. `last_ns` and `count` are written on each message."""

    last_ns: int
    count: int = 0
    alone: bool = False
    """A whole connection: nobody else can be asked."""
    counted: int = 0
    looked_ns: int = 0
    weight: float = 0.0
    """Messages remembered, decaying."""
    span_ns: float = 0.0
    """Time in which they came, decaying likewise."""
    widest_ns: float = 0.0
    suspect_ns: int = 0
    """Since when somebody looks elsewhere; 0: nobody."""
    quiet_until_ns: int = 0
    """Evidence said that nothing happened; asked again only after this."""
    stalled: bool = False

    @property
    def is_learnt(self) -> bool:
        """Whether enough messages came to judge a silence."""
        return self.count >= LEARNT

    @property
    def allowed_ns(self) -> int:
        """How long this stream may be silent."""
        if not self.is_learnt:
            return UNHEARD_NS if not self.count else CEILING_NS
        mean = self.span_ns / self.weight if self.weight else float(CEILING_NS)
        return round(min(CEILING_NS, max(FLOOR_NS, MEANS * mean, WIDEST * self.widest_ns)))

    def look(self, now_ns: int) -> None:
        """Learn from what came since the last look."""
        seen, elapsed = self.count - self.counted, now_ns - self.looked_ns
        if elapsed <= 0:
            return
        keep = 0.5 ** (elapsed / HALF_LIFE_NS)
        self.weight = self.weight * keep + seen
        self.span_ns = self.span_ns * keep + elapsed
        self.widest_ns *= 0.5 ** (elapsed / WIDEST_HALF_LIFE_NS)
        self.counted, self.looked_ns = self.count, now_ns


class Watchdog:
    """Watches streams by key. The owner calls `check` a few times per second and writes down each message."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._streams: dict[str, Rhythm] = {}

    @property
    def streams(self) -> Mapping[str, Rhythm]:
        """All streams by key."""
        return self._streams

    def watch(self, key: str, now_ns: int, *, alone: bool = False) -> Rhythm:
        """Start to watch a stream, or again after a reconnect (what is known of its rhythm stays)."""
        rhythm = self._streams.get(key)
        if rhythm is None:
            rhythm = self._streams[key] = Rhythm(last_ns=now_ns, looked_ns=now_ns, alone=alone)
        rhythm.last_ns = rhythm.looked_ns = now_ns
        rhythm.suspect_ns = rhythm.quiet_until_ns = 0
        rhythm.stalled = False
        return rhythm

    def forget(self, key: str) -> None:
        """Stop watching a stream (unsubscribed, refused, or its connection is down and known to be)."""
        self._streams.pop(key, None)

    def heard(self, key: str, now_ns: int) -> None:
        """Note one message. The hot path may write `last_ns` and `count` of the `Rhythm` itself."""
        rhythm = self._streams[key]
        if rhythm.count >= LEARNT:
            rhythm.widest_ns = max(rhythm.widest_ns, float(now_ns - rhythm.last_ns))
        rhythm.last_ns = now_ns
        rhythm.count += 1

    def check(self, now_ns: int) -> list[Verdict]:
        """Look at every stream; return those whose silence has become too long since the last look."""
        verdicts: list[Verdict] = []
        for key, rhythm in self._streams.items():
            silent = now_ns - rhythm.last_ns
            if rhythm.count != rhythm.counted:
                rhythm.suspect_ns = rhythm.quiet_until_ns = 0
                rhythm.stalled = False
            elif rhythm.stalled:
                continue
            elif not rhythm.suspect_ns and now_ns >= rhythm.quiet_until_ns:
                # the silence itself is no part of the rhythm: it is judged by what was learnt before it
                allowed = rhythm.allowed_ns
                if silent > allowed:
                    verdicts.append(self._judge(key, rhythm, silent, allowed, now_ns))
                    continue
            elif rhythm.suspect_ns and rhythm.is_learnt and now_ns - rhythm.suspect_ns > EVIDENCE_NS:
                rhythm.stalled = True
                verdicts.append(Verdict(VerdictKind.STALLED, key, silent, rhythm.allowed_ns))
                continue
            if not rhythm.suspect_ns:
                rhythm.look(now_ns)
        return verdicts

    def evidence(self, key: str, happened: bool, now_ns: int) -> Verdict | None:
        """Say whether something happened that a suspect stream did not tell; return the verdict that follows.

        Where nothing happened the market is quiet: the silence becomes part of the rhythm.
        """
        rhythm = self._streams.get(key)
        if rhythm is None or not rhythm.suspect_ns or rhythm.stalled or rhythm.count != rhythm.counted:
            return None
        silent = now_ns - rhythm.last_ns
        if happened:
            rhythm.stalled = True
            return Verdict(VerdictKind.STALLED, key, silent, rhythm.allowed_ns)
        rhythm.suspect_ns = 0
        rhythm.widest_ns = max(rhythm.widest_ns, float(silent))
        rhythm.quiet_until_ns = now_ns + max(FLOOR_NS, rhythm.allowed_ns // 2)
        return None

    @staticmethod
    def _judge(key: str, rhythm: Rhythm, silent: int, allowed: int, now_ns: int) -> Verdict:
        if rhythm.alone:
            rhythm.stalled = True
            return Verdict(VerdictKind.STALLED, key, silent, allowed)
        rhythm.suspect_ns = now_ns
        return Verdict(VerdictKind.SUSPECT, key, silent, allowed)


def connection_key(slot: int) -> str:
    """Return the key under which the whole connection of a slot is watched."""
    return f"{CONNECTION}:{slot}"
