"""Watchdog: tells a stream that has stalled from a market that is quiet. Answered pings prove nothing.

Every stream (a channel of a symbol; also a whole connection) has a rhythm of its own, learnt while it flows: the mean
time between messages, and the widest recent silence. A stream that is silent for longer than its rhythm allows is
suspect: somebody has to look elsewhere (a REST answer) whether something happened that the stream did not tell. Then
`evidence` settles it; where the question stays unanswered, a stream with a learnt rhythm has stalled.

For a stream of n messages per second that come independently, a silence of 12/n seconds happens by chance once in
160,000 gaps, and then evidence clears it. A stream of ten messages a second is suspect after 1.5 s.

Pure: the time comes in, in nanoseconds of a clock that only rises.
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

EVIDENCE_NS: Final = 1_000_000_000
"""How long the answer about a stream with a learnt rhythm may take; without it the stream counts as stalled."""

MEANS: Final = 12
"""Silence allowed, in mean gaps."""

WIDEST: Final = 1.5
"""Silence allowed, in widest recent gaps."""

LEARNT: Final = 20
LEARNT_NS: Final = 3 * SECOND
"""A rhythm is known after so many messages in no less than so much time: a burst at the beginning tells nothing."""

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
    """One stream: when it was last heard, and how it usually sounds."""

    last_ns: int
    count: int = 0
    counted: int = 0
    looked_ns: int = 0
    heard_ns: int = 0
    """`last_ns` at the last look."""
    weight: float = 0.0
    """Messages remembered, decaying."""
    span_ns: float = 0.0
    """Time in which they came, decaying likewise."""
    widest_ns: float = 0.0
    paused: bool = False
    """Nothing is expected of it now (its connection is down, and known to be)."""
    suspect: bool = False
    asked_ns: int = 0
    """When somebody began to look elsewhere; 0: nobody yet."""
    quiet_until_ns: int = 0
    """Evidence said that nothing happened; asked again only after this."""
    stalled: bool = False

    @property
    def is_learnt(self) -> bool:
        """Whether enough messages came to judge a silence."""
        return self.count >= LEARNT and self.span_ns >= LEARNT_NS

    @property
    def allowed_ns(self) -> int:
        """How long this stream may be silent."""
        if not self.is_learnt:
            return CEILING_NS if self.count else UNHEARD_NS
        mean = self.span_ns / self.weight if self.weight else float(CEILING_NS)
        return round(min(CEILING_NS, max(FLOOR_NS, MEANS * mean, WIDEST * self.widest_ns)))

    def hear(self, now_ns: int) -> None:
        """Note one message. The hot path writes `last_ns` and `count` itself."""
        self.last_ns = now_ns
        self.count += 1

    def look(self, now_ns: int) -> None:
        """Learn from what came since the last look; silences are known to the length of a look."""
        seen, elapsed = self.count - self.counted, now_ns - self.looked_ns
        if elapsed <= 0:
            return
        keep = 0.5 ** (elapsed / HALF_LIFE_NS)
        self.weight = self.weight * keep + seen
        self.span_ns = self.span_ns * keep + elapsed
        self.widest_ns *= 0.5 ** (elapsed / WIDEST_HALF_LIFE_NS)
        if not self.stalled:
            self.widest_ns = max(self.widest_ns, float(self.last_ns - self.heard_ns))
        self.counted, self.looked_ns, self.heard_ns = self.count, now_ns, self.last_ns


class Watchdog:
    """Watches streams by key. The owner calls `check` a few times per second, and `Rhythm.hear` on each message."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._streams: dict[str, Rhythm] = {}

    @property
    def streams(self) -> Mapping[str, Rhythm]:
        """All streams by key."""
        return self._streams

    def watch(self, key: str, now_ns: int) -> Rhythm:
        """Start to watch a stream, or go on after a pause or a stall (what is known of its rhythm stays)."""
        rhythm = self._streams.get(key)
        if rhythm is None:
            rhythm = self._streams[key] = Rhythm(last_ns=now_ns)
        rhythm.last_ns = rhythm.looked_ns = rhythm.heard_ns = now_ns
        rhythm.counted = rhythm.count
        rhythm.asked_ns = rhythm.quiet_until_ns = 0
        rhythm.suspect = rhythm.stalled = rhythm.paused = False
        return rhythm

    def pause(self, key: str) -> None:
        """Expect nothing of a stream until it is watched again."""
        rhythm = self._streams.get(key)
        if rhythm is not None:
            rhythm.paused = True

    def check(self, now_ns: int) -> list[Verdict]:
        """Look at every stream; return those whose silence has become too long since the last look."""
        verdicts: list[Verdict] = []
        for key, rhythm in self._streams.items():
            if rhythm.paused:
                continue
            if rhythm.count != rhythm.counted:
                rhythm.look(now_ns)
                rhythm.suspect = rhythm.stalled = False
                rhythm.asked_ns = rhythm.quiet_until_ns = 0
            elif rhythm.suspect:
                if rhythm.asked_ns and rhythm.is_learnt and now_ns - rhythm.asked_ns > EVIDENCE_NS:
                    verdicts.append(self._stall(key, rhythm, now_ns))
            elif not rhythm.stalled and now_ns >= rhythm.quiet_until_ns:
                # what was learnt before this silence judges it; it is learnt from only once it has been judged
                silent, allowed = now_ns - rhythm.last_ns, rhythm.allowed_ns
                if silent > allowed:
                    rhythm.suspect = True
                    verdicts.append(Verdict(VerdictKind.SUSPECT, key, silent, allowed))
        return verdicts

    def asked(self, key: str, now_ns: int) -> bool:
        """Note that somebody begins to look elsewhere; False: the stream is not suspect any more."""
        rhythm = self._streams.get(key)
        if rhythm is None or not rhythm.suspect or rhythm.paused or rhythm.count != rhythm.counted:
            return False
        rhythm.asked_ns = now_ns
        return True

    def evidence(self, key: str, happened: bool | None, now_ns: int) -> Verdict | None:
        """Say whether something happened that a suspect stream did not tell (None: nobody can tell).

        Return the verdict that follows. Where nothing happened the market is quiet: the silence becomes part of the
        rhythm. Where nobody can tell, a stream with a learnt rhythm has stalled, and others are left alone for a while.
        """
        rhythm = self._streams.get(key)
        if rhythm is None or not rhythm.suspect or rhythm.paused or rhythm.count != rhythm.counted:
            return None
        if happened is None:
            happened = rhythm.is_learnt
        if happened:
            return self._stall(key, rhythm, now_ns)
        rhythm.suspect = False
        rhythm.asked_ns = 0
        rhythm.widest_ns = max(rhythm.widest_ns, float(now_ns - rhythm.last_ns))
        rhythm.quiet_until_ns = now_ns + max(FLOOR_NS, rhythm.allowed_ns // 2)
        return None

    @staticmethod
    def _stall(key: str, rhythm: Rhythm, now_ns: int) -> Verdict:
        rhythm.stalled, rhythm.suspect, rhythm.asked_ns = True, False, 0
        return Verdict(VerdictKind.STALLED, key, now_ns - rhythm.last_ns, rhythm.allowed_ns)


def connection_key(slot: int) -> str:
    """Return the key under which the whole connection of a slot is watched."""
    return f"{CONNECTION}:{slot}"
