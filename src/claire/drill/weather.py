"""What goes wrong in one seed: faults, disconnects, crashes and disk failures, each kind on or off with a rate of its own.

Swarm testing: a seed in which everything fails a little finds less than many seeds in each of which a few things fail often.
"""

import random
from typing import Any, Final, Literal

from msgspec import Struct

from claire.mexcsim import faults as f

FENCE_MS: Final = 3_000
"""recvWindow and one second: later than this after its timestamp the venue takes no order."""

TIMEOUT_MS: Final = 5_000
"""How long the gateway waits for the answer to an order."""


class Outage(Struct, frozen=True):
    """The disk, for a while."""

    at_s: float
    for_s: float
    """0: the next fsync fails; else the disk is full so long."""


class Weather(Struct, frozen=True):
    """The plan of one seed, in virtual seconds since the venue came up."""

    faults: tuple[f.Fault, ...]
    crashes: tuple[tuple[float, int, float], ...]
    """When a crash is armed, how many boundaries it then still passes (0: at once, between two), how long the computer is off."""
    outages: tuple[Outage, ...]
    skew_ms: int
    """How far the computer's clock is ahead."""
    usurpers: tuple[float, ...]
    """When another process takes the account over, without the lock: this one may send no more."""
    loses_requests: tuple[bool, ...]
    """Of each crash: whether what was on its way to the venue is lost with it."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of faults that are on."""
        return tuple(dict.fromkeys(fault.name for fault in self.faults))


class Climate(Struct, frozen=True, kw_only=True):
    """From what the weather of seeds is drawn."""

    unknown: tuple[float, float] = (0.34, 0.64)
    """Least and largest chance that the answer to an order is lost, one way or the other."""
    crashes: int = 4
    """Most crashes of a seed."""
    disk: float = 0.25
    """Chance of each kind of disk failure."""
    ways: tuple[int, ...] = ()
    """Ways to lose an answer, as numbered in `_orders`; empty: some are drawn."""
    others: bool = True
    """Whether anything else goes wrong."""
    usurpers: float = 0.15
    """Chance that another process takes the account over for a while."""
    accept_late_ms: tuple[int, int] = (100, 2_400)
    """How late an order is accepted whose answer was lost."""


def draw(rng: random.Random, climate: Climate, storm_s: float) -> Weather:
    """Draw the weather of one seed; after `storm_s` nothing goes wrong any more."""
    storm_ms = round(storm_s * 1000)
    kinds = _orders(rng, climate, storm_ms)
    if climate.others:
        kinds += [*_calls(rng, storm_ms), *_streams(rng, storm_ms)]
    crashes = sorted(
        (rng.uniform(5.0, storm_s), rng.choice((0, rng.randint(1, 8), rng.randint(1, 60))), rng.uniform(0.2, 20.0))
        for _ in range(rng.randint(0, climate.crashes))
    )
    outages = []
    if rng.random() < climate.disk:
        outages.append(Outage(rng.uniform(5.0, storm_s - 20), rng.uniform(1.0, 15.0)))
    if rng.random() < climate.disk:
        outages.append(Outage(rng.uniform(5.0, storm_s), 0.0))
    return Weather(
        tuple(kinds),
        tuple(crashes),
        tuple(sorted(outages, key=lambda outage: outage.at_s)),
        rng.randint(-80, 80),
        (rng.uniform(20.0, storm_s - 20),) if rng.random() < climate.usurpers else (),
        tuple(rng.random() < 0.5 for _ in crashes),
    )


def _orders(rng: random.Random, climate: Climate, storm_ms: int) -> list[f.Fault]:
    """Lost answers to orders: a chance for the seed, shared out among the ways that are on."""
    chance = rng.uniform(*climate.unknown)
    ways = climate.ways or rng.sample(range(7), rng.randint(2, 5))
    weights = [rng.uniform(0.2, 1.0) for _ in ways]
    faults: list[f.Fault] = []
    for way, weight in zip(ways, weights, strict=True):
        p = chance * weight / sum(weights)
        on: dict[str, Any] = {"method": "POST", "path": "order", "probability": p, "for_ms": storm_ms}
        if way == 0:
            faults.append(f.DropRequest(**on))
        elif way == 1:
            faults.append(f.DropReply(**on))
        elif way == 2:
            delay_ms = rng.randint(*climate.accept_late_ms)
            faults.append(f.AcceptLate(**on, delay_ms=delay_ms, answer=rng.choice(("drop", "504"))))
        elif way == 3:
            faults.append(f.ServerError(**on, status=rng.choice((500, 502, 503, 504)), accepted=True))
        elif way == 4:
            faults.append(f.ServerError(**on, status=rng.choice((500, 502, 503, 504)), accepted=False))
        else:
            faults.append(f.Hang(**on, ms=rng.choice((1_500, TIMEOUT_MS + 2_000)), accepted=way == 5))
    return faults


def _calls(rng: random.Random, storm_ms: int) -> list[f.Fault]:
    """What goes wrong with other calls, and with all of them."""
    faults: list[f.Fault] = []

    def is_on(chance: float = 0.5) -> bool:
        return rng.random() < chance

    if is_on(0.8):
        faults.append(f.Latency(ms=rng.randint(1, 40), jitter_ms=rng.randint(0, 80), for_ms=storm_ms))
    if is_on():
        p = rng.uniform(0.01, 0.1)
        faults.append(f.Latency(stage="reply", ms=rng.randint(1, 60), jitter_ms=1_500, probability=p, for_ms=storm_ms))
    if is_on():
        faults.append(f.ReadLag(ms=rng.randint(50, 2_500), probability=rng.uniform(0.1, 0.6), for_ms=storm_ms))
    for method in ("GET", "DELETE"):
        kinds: tuple[type[f.RestFault], ...] = (f.DropRequest, f.DropReply, f.ServerError)
        on = [kind for kind in kinds if is_on(0.35)]
        faults += [kind(method=method, probability=rng.uniform(0.01, 0.12), for_ms=storm_ms) for kind in on]
    if is_on(0.3):
        p = rng.uniform(0.002, 0.02)
        faults.append(f.TooMany(retry_after_s=rng.randint(1, 4), probability=p, for_ms=storm_ms))
    if is_on(0.2):
        at_ms = rng.randint(storm_ms // 10, storm_ms - 20_000)
        faults.append(f.Banned(retry_after_s=rng.randint(2, 8), times=1, after_ms=at_ms, for_ms=15_000))
    if is_on(0.2):
        at_ms = rng.randint(storm_ms // 10, storm_ms - 20_000)
        faults.append(f.Maintenance(after_ms=at_ms, for_ms=rng.randint(1_000, 12_000)))
    if is_on(0.25):
        skew_ms, at_ms = rng.randint(-250, 250), rng.randint(0, storm_ms // 2)
        faults.append(f.ClockSkew(ms=skew_ms, after_ms=at_ms, for_ms=storm_ms // 2))
    return faults


_Which = Literal["all", "public", "private"]

_DISCONNECTS: Final[tuple[tuple[_Which, float, int, int], ...]] = (
    ("private", 0.6, 15, 90),
    ("public", 0.4, 30, 200),
    ("all", 0.3, 60, 300),
)
"""Which sockets, the chance that a seed disconnects them, and the least and longest time between, in seconds."""


def _streams(rng: random.Random, storm_ms: int) -> list[f.Fault]:
    """What goes wrong with pushes and sockets."""
    faults: list[f.Fault] = []
    on: dict[str, Any] = {"channel": "private", "for_ms": storm_ms}
    if rng.random() < 0.5:
        faults.append(f.Duplicate(**on, probability=rng.uniform(0.05, 0.4), delay_ms=rng.choice((0, 200, 4_000))))
    if rng.random() < 0.5:
        faults.append(f.Late(**on, probability=rng.uniform(0.05, 0.3), delay_ms=rng.randint(50, 3_000)))
    if rng.random() < 0.4:
        faults.append(f.Reorder(**on, probability=rng.uniform(0.05, 0.4)))
    if rng.random() < 0.5:
        faults.append(f.Lose(**on, probability=rng.uniform(0.03, 0.25)))
    if rng.random() < 0.3:
        faults.append(f.SlowPush(**on, ms=rng.randint(50, 1_500), probability=rng.uniform(0.1, 0.5)))
    for which, chance, least_s, most_s in _DISCONNECTS:
        if rng.random() < chance:
            at_ms = rng.randint(least_s * 1000, most_s * 1000)
            while at_ms < storm_ms:
                how: Literal["cut", "close"] = "cut" if rng.random() < 0.5 else "close"
                faults.append(f.Disconnect(which=which, how=how, after_ms=at_ms))
                at_ms += rng.randint(least_s * 1000, most_s * 1000)
    if rng.random() < 0.3:
        faults.append(f.ExpireListenKeys(after_ms=rng.randint(10_000, storm_ms)))
    return faults
