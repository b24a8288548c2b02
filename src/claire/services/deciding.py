"""What operators decided: an account's own small journal, chained like that of a run.

RUNS/accounts/ACCOUNT/decisions/    what was decided, why, how long it holds, and what it was used for

What the machine may not decide (correcting books, wider limits, arming again after a kill) needs a decision on record. One
decision allows one act: `use_decision` finds the newest one of its kind that still holds and was not used, and notes what for.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.adapters.journal.entries import Header, Ruled, RuleUsed
from claire.adapters.journal.reader import JournalReader
from claire.adapters.journal.writer import JournalWriter
from claire.engine.ports import SourceInfo
from claire.model.errors import JournalError, SafetyRefusal, UsageError, did_you_mean
from claire.services.code import code_version

DECISIONS: Final = "decisions"
KINDS: Final = {
    "adjustment": "a correction of the books (claire run --continue RUN --adjust …)",
    "limits": "settings that let risk allow more than before",
    "rearm": "orders again after a kill (claire rearm)",
    "release": "a lock taken back that halts trading",
    "other": "nothing by itself: something to remember",
}
"""What a decision may allow."""

REVERSIBILITY: Final = ("reversible", "costly", "irreversible")

DAY_S: Final = 86_400
LONGEST_S: Final = 30 * DAY_S
"""No decision holds longer."""
LONGEST_TEXT: Final = 2_000
LOCK: Final = "decisions.lock"
PATIENCE_S: Final = 5.0
"""How long to wait for another process that writes decisions."""


class Standing(Struct, frozen=True):
    """A decision, and what became of it."""

    ruled: Ruled
    used: RuleUsed | None
    entry: int
    """Of the chain."""
    head: str
    """Chain hash up to it, hexadecimal."""

    def holds(self, now_ns: int) -> bool:
        """Whether it still allows what it says."""
        return self.used is None and now_ns < self.ruled.expires_ns


def add_decision(
    account: Path,
    *,
    kind: str,
    decision: str,
    rationale: str,
    impact: str,
    reversibility: str,
    evidence: str,
    operator: str,
    now_ns: int,
    expires_s: int = DAY_S,
) -> Standing:
    """Put a decision on record; it is durable when this returns.

    Args:
        account: The account's folder.
        kind: What it allows, one of `KINDS`.
        decision: What was decided.
        rationale: Why.
        impact: What it changes, and how much may be lost by it.
        reversibility: One of `REVERSIBILITY`.
        evidence: What it rests on: a run, an entry, a page.
        operator: Who decided.
        now_ns: UTC.
        expires_s: How long it holds.

    Raises:
        UsageError: something is missing, or is none of what is allowed.
        JournalError: the chain was altered, or cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: there is no such kind.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    if reversibility not in REVERSIBILITY:
        hint = did_you_mean(reversibility, REVERSIBILITY)
        raise UsageError(
            f"--reversibility {reversibility}: write {', '.join(REVERSIBILITY[:-1])} or {REVERSIBILITY[-1]}.{hint}"
        )
    texts = {"decision": decision, "rationale": rationale, "impact": impact, "evidence": evidence, "operator": operator}
    for name, text in texts.items():
        if not text.strip() or len(text) > LONGEST_TEXT or not text.isprintable():
            raise UsageError(f"--{name}: a decision needs it, in at most {LONGEST_TEXT} printable characters")
    if not 0 < expires_s <= LONGEST_S:
        raise UsageError(f"--expires: a decision holds for at most {LONGEST_S // DAY_S} days")
    if not account.is_dir():
        raise UsageError(f"{account}: there is no such account")
    with _chain(account, now_ns) as journal:
        number = 1 + max((one.ruled.number for one in decisions_of(account)), default=0)
        ruled = Ruled(
            number=number,
            kind=kind,
            decision=decision,
            rationale=rationale,
            impact=impact,
            reversibility=reversibility,
            evidence=evidence,
            operator=operator,
            ts_ns=now_ns,
            expires_ns=now_ns + expires_s * 1_000_000_000,
        )
        journal.ruled(ruled)
        return Standing(ruled, None, journal.entries, journal.head)


def decisions_of(account: Path) -> list[Standing]:
    """Return what was decided about an account, oldest first.

    Raises:
        JournalError: the chain was altered.
    """
    if not (account / DECISIONS).exists():
        return []
    found: dict[int, Standing] = {}
    for number, chain, entry in JournalReader(account / DECISIONS).walk():
        if isinstance(entry, Ruled):
            found[entry.number] = Standing(entry, None, number, chain.hex())
        elif isinstance(entry, RuleUsed):
            before = found[entry.number]
            found[entry.number] = Standing(before.ruled, entry, before.entry, before.head)
    return list(found.values())


def require_decision(account: Path, kind: str, *, now_ns: int | None = None) -> Standing:
    """Return the newest decision of a kind that still holds; nothing is written.

    Args:
        account: The account's folder.
        kind: What is to be done, one of `KINDS`.
        now_ns: UTC; None: now.

    Raises:
        SafetyRefusal: there is none; the message tells how to make one.
        JournalError: the chain was altered.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    known = [one for one in decisions_of(account) if one.ruled.kind == kind]
    for one in reversed(known):
        if one.holds(now_ns):
            return one
    last = known[-1] if known else None
    why = ""
    if last is not None:
        was = f"was used ({last.used.purpose})" if last.used is not None else "has expired"
        why = f" The last one, number {last.ruled.number}, {was}."
    raise SafetyRefusal(
        f"account {account.name}: this needs a decision on record of the kind {kind}: {KINDS[kind]}.{why}\n"
        f"claire decision add --account {account.name} --kind {kind} --decision TEXT --rationale TEXT --impact TEXT"
        " --reversibility costly --evidence TEXT --operator NAME"
    )


def use_decision(account: Path, kind: str, purpose: str, *, now_ns: int | None = None) -> Standing:
    """Use up the newest decision of a kind that still holds, before what it allows is done; it is durable when this returns.

    Args:
        account: The account's folder.
        kind: What is to be done, one of `KINDS`.
        purpose: The same in words, for those who ask later.
        now_ns: UTC; None: now.

    Raises:
        SafetyRefusal: there is none.
        JournalError: the chain was altered, or cannot be written.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    require_decision(account, kind, now_ns=now_ns)
    with _chain(account, now_ns) as journal:
        found = require_decision(account, kind, now_ns=now_ns)  # somebody may have used it before the chain was ours
        journal.ruled(RuleUsed(found.ruled.number, purpose, now_ns))
        return found


@contextmanager
def _chain(account: Path, now_ns: int) -> Iterator[JournalWriter]:
    """Open an account's chain to append to it; at the end it is closed with an anchor, so that a missing tail shows."""
    folder = account / DECISIONS
    with _alone(account), _opened(folder, account.name, now_ns) as journal:
        yield journal
        journal.finish("{}", "")


@contextmanager
def _alone(account: Path) -> Iterator[None]:
    """Wait until nobody else begins or writes the chain.

    Raises:
        JournalError: somebody does for too long.
    """
    account.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + PATIENCE_S
    with (account / LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise JournalError(
                        f"{account / DECISIONS}: another process writes decisions. Wait until it has ended, then try again."
                    ) from None
                time.sleep(0.02)
        yield


def _opened(folder: Path, account: str, now_ns: int) -> JournalWriter:
    if (folder / "journal").exists():
        return JournalWriter.resume(folder)
    header = Header.of(
        run_id=f"{DECISIONS}-{account}",
        mode=DECISIONS,
        code=code_version(()),
        config_json="{}",
        source=SourceInfo(kind=DECISIONS, symbols=(), rows=0, first_ns=now_ns, last_ns=now_ns),
        instruments={},
        created_at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now_ns // 1_000_000_000)),
    )
    return JournalWriter(folder, header)
