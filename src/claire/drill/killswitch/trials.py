"""The trials: short ones that ask when the last order left, full ones that go on until nothing is left at the venue."""

import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from claire.drill.killswitch.processes import Arrival, TrialError
from claire.drill.killswitch.stand import Killing, Stand, Trigger, standing, wait_for_orders
from claire.drill.killswitch.trouble import RETRY_AFTER_S, Place, Trouble, around, during
from claire.gateway.gate import GATE_EPOCH, GATE_LATCH
from claire.model.errors import ClaireError

LATE_US: Final = 1_000_000
"""An order whose first byte comes later than this after T0 is late."""
PROBED_BEFORE: Final = 10
"""Orders at the venue before a short trial kills."""
SETTLE_S: Final = (0.005, 0.02)
"""How long a trouble lasts before the kill of a short trial; drawn, so that no phase of anything is always the same."""
WATCH_S: Final = 0.03
"""How long a short trial watches after T0 before the trouble is lifted."""
REFUSES_S: Final = 30.0
PROVEN_S: Final = 90.0

GATE_TRIGGERS: Final = (Trigger.PAGE, Trigger.FILE, Trigger.SIGNAL)
FULL_TRIGGERS: Final = (Trigger.COMMAND, Trigger.FILE, Trigger.HTTP)


class Trial(Struct):
    """What one trial has shown."""

    number: int
    trigger: Trigger
    t0_us: int
    start_up_ms: float | None = None
    lifted_us: int = 0
    """When the trouble was over; 0: it did not matter."""
    first_cancel_ms: float | None = None
    all_sent_ms: float | None = None
    proven_empty_ms: float | None = None
    closed_ms: float = 0.0
    late: int = 0
    asked_per_s: float | None = None


class Row(Struct):
    """All trials of one trouble."""

    trouble: Trouble
    gate: list[Trial] = field(default_factory=list)
    full: list[Trial] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What happened that may not, beside late orders."""
    notes: dict[str, None] = field(default_factory=dict)
    gate_s: float = 0.0
    full_s: float = 0.0
    """How long the trials took, without the start of the processes."""


class Plan(Struct, frozen=True):
    """How much is tried."""

    trials: int = 3
    gate_trials: int = 0
    symbols: int = 3
    recv_window_ms: int = 2000
    hold_s: float = 3.0
    """How long after T0 a trouble of the venue or the network lasts in a full trial."""
    seed: int = 1
    at_once: int = 1
    """Stands that work at the same time; more than one is faster, and disturbs the figures."""


def try_all(troubles: Sequence[Trouble], plan: Plan, tell: Callable[[], None]) -> list[Row]:
    """Run all trials of some troubles; `tell` is called after each trial. SIGTERM ends it like Ctrl-C, processes and all."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = {trouble: Row(trouble) for trouble in troubles}
    groups = [[row for row in rows.values() if row.trouble.place is place] for place in Place]
    work = [(group, is_full) for is_full in (False, True) for group in groups if group]
    stop = threading.Event()
    with ThreadPoolExecutor(plan.at_once) as pool:
        try:
            for done in [
                pool.submit(_try_group, group, plan, stop, is_full=is_full, tell=tell) for group, is_full in work
            ]:
                done.result()
        except BaseException:
            stop.set()  # the trials that are on come to their end, and with them every process that was started
            raise
    return list(rows.values())


def _try_group(
    group: Sequence[Row], plan: Plan, stop: threading.Event, *, is_full: bool, tell: Callable[[], None]
) -> None:
    """Run the short or the full trials of troubles that share a stand; one that could not be tried to its end says so."""
    if not (plan.trials if is_full else plan.gate_trials):
        return
    left = list(group)
    while left and not stop.is_set():  # a stand after another, where a trial left its stand as nothing can go on with
        with (
            tempfile.TemporaryDirectory(prefix="claire-drill-") as folder,
            standing(
                Path(folder),
                left[0].trouble.place,
                symbols=plan.symbols,
                is_full=is_full,
                recv_window_ms=plan.recv_window_ms,
            ) as stand,
        ):
            tried: list[Trial] = []
            try:
                while left:
                    _try_row(stand, left[0], plan, tried, stop, is_full=is_full, tell=tell)
                    left.pop(0)
            except ClaireError as error:
                row = left.pop(0)
                row.violations.append(f"{row.trouble}: no more could be tried after trial {len(tried)}: {error}")
            time.sleep(LATE_US / 1e6 + 0.2)  # what comes now would be late
            judge(tried, stand.arrivals)
            group[0].notes |= stand.notes


def _try_row(
    stand: Stand,
    row: Row,
    plan: Plan,
    tried: list[Trial],
    stop: threading.Event,
    *,
    is_full: bool,
    tell: Callable[[], None],
) -> None:
    began = time.monotonic()
    dice = random.Random(f"{plan.seed}:{row.trouble}:{is_full}")
    try:
        with around(row.trouble):
            for number in range(plan.trials if is_full else plan.gate_trials):
                if stop.is_set():
                    return
                if is_full:
                    trial = _full(stand, row, FULL_TRIGGERS[number % len(FULL_TRIGGERS)], plan, dice)
                    row.full.append(trial)
                else:
                    trial = _gate(stand, row, GATE_TRIGGERS[number % len(GATE_TRIGGERS)], dice)
                    row.gate.append(trial)
                tried.append(trial)
                tell()
    finally:
        spent = time.monotonic() - began
        row.full_s, row.gate_s = (spent, row.gate_s) if is_full else (row.full_s, spent)


def _gate(stand: Stand, row: Row, trigger: Trigger, dice: random.Random) -> Trial:
    """Kill while the gate is asked for hundreds of orders a second."""
    trouble = row.trouble
    number, going = stand.go()
    _check_old(row, going, number)
    trader = stand.trader
    since = len(trader.lines)
    wait_for_orders(stand, number, PROBED_BEFORE)
    with during(trouble, stand):
        time.sleep(dice.uniform(*SETTLE_S))
        killing = stand.kill(trigger)
        time.sleep(WATCH_S)
    try:
        trader.first(since, REFUSES_S, trial=number, gate=GATE_LATCH)
    except TrialError as error:
        row.violations.append(
            f"{trouble} trial {number}, {trigger}: the gate did not refuse with {GATE_LATCH}: {error}"
        )
    down = stand.down(number)
    trial = Trial(number, trigger, killing.t0_us)
    if down is not None:
        trial.asked_per_s = down["asked"] / down["seconds"]
    stand.arm()
    return trial


def _full(stand: Stand, row: Row, trigger: Trigger, plan: Plan, dice: random.Random) -> Trial:
    """Kill while orders wait at the venue, and wait until the sentinel has proven that none is left."""
    trouble = row.trouble
    number, going = stand.go()
    _check_old(row, going, number)
    wait_for_orders(stand, number, max(3, len(stand.symbols)))
    time.sleep(dice.uniform(0.0, 0.15))
    trader, sentinel = stand.trader, stand.sentinel
    if sentinel is None:
        raise AssertionError("a full trial has a sentinel")
    said, since = len(sentinel.lines), len(trader.lines)
    with ExitStack() as stack:
        stack.enter_context(during(trouble, stand))
        time.sleep(0.1)
        killing = stand.kill(trigger)
        trial = Trial(number, trigger, killing.t0_us, start_up_ms=killing.start_up_ms)
        if trouble.is_lifted:
            time.sleep(max(0.0, plan.hold_s - (time.time_ns() // 1000 - killing.t0_us) / 1e6))
            stack.close()
            trial.lifted_us = time.time_ns() // 1000
        proof = sentinel.first(said, PROVEN_S, event="proven_empty")
    gate = sentinel.first(said, event="gate_closed")
    trial.proven_empty_ms = (proof["at_ms"] * 1000 - killing.t0_us) / 1000
    trial.all_sent_ms = proof["all_sent_ms"]
    waiting = stand.venue.open_orders()
    if waiting:
        row.violations.append(f"{trouble} trial {number}: proven empty, and the venue has {', '.join(waiting[:5])}")
    if trouble in (Trouble.BLOCKED, Trouble.STOPPED):
        code = trader.process.wait(5)
        if code != -signal.SIGKILL:
            row.violations.append(f"{trouble} trial {number}: the trading process ended with {code}, not by SIGKILL")
    elif trader.is_alive:
        trader.first(since, REFUSES_S, trial=number, gate=GATE_LATCH)
    row.notes[f"gate: {''.join(letter for letter in gate['how'] if not letter.isdigit())}"] = None
    trial.first_cancel_ms = _first_cancel_ms(stand, trouble, trial)
    stand.down(number)
    _wait_until(killing, LATE_US)
    stand.arm()
    return trial


def _first_cancel_ms(stand: Stand, trouble: Trouble, trial: Trial) -> float:
    """Return when the first cancel left, after T0; behind a block, when the venue carried one out, after the block's end.

    A block by 429 ends when the venue's own Retry-After allows a call again.
    """
    if trouble in (Trouble.TOO_MANY, Trouble.CUT):
        known = stand.venue.arrivals
        lifted_us = trial.lifted_us
        if trouble is Trouble.TOO_MANY:
            told = [
                one.at_us for one in known if one.status == 429 and one.method == "DELETE" and one.at_us >= trial.t0_us
            ]
            lifted_us = max([lifted_us, *(at_us + RETRY_AFTER_S * 1_000_000 for at_us in told)])
        done = [one.at_us for one in known if one.method == "DELETE" and one.status == 200 and one.at_us >= trial.t0_us]
        return max(0, min(done) - lifted_us) / 1000
    left = [one.at_us for one in stand.arrivals if one.method == "DELETE" and one.at_us >= trial.t0_us]
    return (min(left) - trial.t0_us) / 1000


def _check_old(row: Row, going: dict[str, object], number: int) -> None:
    """An approval of before the account was armed again must not fire."""
    old = going["old_approval"]
    if old not in ("", GATE_EPOCH):
        row.violations.append(
            f"{row.trouble} trial {number}: an approval of before the rearm was {old}, not {GATE_EPOCH}"
        )


def _wait_until(killing: Killing, after_us: int) -> None:
    time.sleep(max(0.0, (killing.t0_us + after_us - time.time_ns() // 1000) / 1e6))


def judge(trials: Sequence[Trial], arrivals: Sequence[Arrival]) -> None:
    """Say of each trial when its last order left, and how many left late: orders carry the number of their trial."""
    by_number = {trial.number: trial for trial in trials}
    for arrival in arrivals:
        trial = by_number.get(_trial_of(arrival.client_id))
        if trial is None or arrival.method != "POST":
            continue
        after_us = arrival.at_us - trial.t0_us
        trial.closed_ms = max(trial.closed_ms, after_us / 1000)
        trial.late += after_us > LATE_US


def _trial_of(client_id: str) -> int:
    number, _, _ = client_id.removeprefix("k").partition("x")
    return int(number) if client_id.startswith("k") and number.isdigit() else 0
