"""A stall is told from a quiet market, soon where a stream is lively."""

import random

import pytest

from claire.adapters.venues.mexc.watchdog import CEILING_NS, VerdictKind, Watchdog

SECOND = 1_000_000_000
TICK = SECOND // 4


class Street:
    """A stream with a clock of its own."""

    def __init__(self, per_s: float, seed: int = 1) -> None:
        self.dog = Watchdog()
        self.now = 0
        self.rhythm = self.dog.watch("stream", 0)
        self.rng = random.Random(seed)
        self.per_s = per_s
        self.verdicts: list[tuple[int, VerdictKind]] = []

    def flow(self, seconds: float, *, answer: bool | None = None) -> None:
        """Let messages come at random; answer each suspicion, as REST would."""
        end = self.now + round(seconds * SECOND)
        due = self.now + self.gap()
        while self.now < end:
            self.now += TICK
            while due <= self.now:
                self.rhythm.hear(due)
                due += self.gap()
            self.look(answer)

    def silence(self, seconds: float, *, answer: bool | None = None) -> None:
        """Let nothing come."""
        end = self.now + round(seconds * SECOND)
        while self.now < end:
            self.now += TICK
            self.look(answer)

    def gap(self) -> int:
        return round(self.rng.expovariate(self.per_s) * SECOND)

    def look(self, answer: bool | None) -> None:
        for verdict in self.dog.check(self.now):
            self.verdicts.append((self.now, verdict.kind))
            if verdict.kind is VerdictKind.SUSPECT:
                self.dog.asked("stream", self.now)
                if answer is not None:
                    settled = self.dog.evidence("stream", answer, self.now)
                    if settled is not None:
                        self.verdicts.append((self.now, settled.kind))

    def stalls(self) -> list[int]:
        return [at for at, kind in self.verdicts if kind is VerdictKind.STALLED]


@pytest.mark.parametrize("per_s", [8.0, 20.0, 200.0])
def test_a_lively_stream_that_falls_silent_has_stalled_within_3_s(per_s):
    street = Street(per_s)
    street.flow(60, answer=False)
    assert not street.stalls()
    began = street.now
    street.silence(5, answer=True)
    assert street.stalls()[0] - began <= 3 * SECOND


def test_without_an_answer_a_lively_stream_counts_as_stalled():
    street = Street(20)
    street.flow(30, answer=False)
    began = street.now
    street.silence(5)
    assert street.stalls()[0] - began <= 3 * SECOND + TICK


@pytest.mark.parametrize("per_s", [0.05, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("seed", range(5))
def test_an_hour_of_a_market_at_its_own_rhythm_is_no_stall(per_s, seed):
    street = Street(per_s, seed)
    street.flow(3_600, answer=False)
    assert not street.stalls()
    assert len(street.verdicts) < 3_600 * 0.2, "nor are there many questions"


def test_a_market_that_calms_down_is_cleared_by_evidence():
    street = Street(50)
    street.flow(120, answer=False)
    street.per_s = 0.5
    street.flow(300, answer=False)
    assert not street.stalls()
    assert street.rhythm.allowed_ns > 3 * SECOND, "the new rhythm is learnt"


def test_a_quiet_stream_is_looked_after_at_the_latest_after_a_minute():
    street = Street(0.2)
    street.flow(600, answer=False)
    asked = len(street.verdicts)
    street.silence(CEILING_NS / SECOND + 1, answer=True)
    assert len(street.verdicts) > asked
    assert street.stalls()


def test_pauses_that_are_usual_raise_no_suspicion():
    street = Street(1)
    for _ in range(60):
        for _ in range(50):
            street.rhythm.hear(street.now)
        street.look(None)
        street.silence(2.5, answer=False)
    learnt_at = 20 * 2.5 * SECOND
    assert not [at for at, _ in street.verdicts if at > learnt_at], "bursts every 2.5 s are this stream's rhythm"


def test_a_burst_at_the_beginning_is_no_rhythm():
    street = Street(1)
    for number in range(100):
        street.rhythm.hear(number)
    street.silence(5)
    assert not street.stalls()
    assert not street.verdicts


def test_a_stream_whose_connection_is_down_is_left_alone_and_keeps_its_rhythm():
    street = Street(20)
    street.flow(30, answer=False)
    street.dog.pause("stream")
    street.silence(100)
    assert not street.verdicts
    street.dog.watch("stream", street.now)
    street.silence(3, answer=True)
    assert street.stalls()


def test_a_message_settles_a_suspicion():
    street = Street(20)
    street.flow(30, answer=False)
    street.silence(1.75)
    assert [kind for _, kind in street.verdicts] == [VerdictKind.SUSPECT]
    street.rhythm.hear(street.now)
    assert street.dog.evidence("stream", True, street.now) is None
    street.look(None)
    assert not street.stalls()
