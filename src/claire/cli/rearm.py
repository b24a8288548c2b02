"""`claire rearm`: orders again after a kill, by an operator, on record, once books and venue agree."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from claire.adapters.config import load
from claire.adapters.config.schema import Settings
from claire.cli.output import print_json, say
from claire.cli.runs import existing_runs
from claire.latch.page import read
from claire.latch.rearm import rearm as arm
from claire.model.errors import UsageError
from claire.safety.folder import account_folder
from claire.services.account import LastRun
from claire.services.deciding import require_decision, use_decision
from claire.services.proving import proof_of, prove
from claire.services.quiet import quiet
from claire.services.recovery import GoOn, header_of, settings_of


def rearm(
    *,
    account: str,
    operator: str,
    reason: str,
    config: Path | None,
    assignments: Sequence[str],
    adjustments: Sequence[str] = (),
    externals: Sequence[str] = (),
    releases: Sequence[str] = (),
    runs: Path | None = None,
    as_json: bool = False,
) -> int:
    """Arm an account again; return the exit code.

    Raises:
        UsageError: who or why is missing, there is no such account, or it is armed.
        SafetyRefusal: nobody decided it on record, a process trades the account, its books and the venue differ, or it was
            killed again meanwhile.
        ClaireError: the venue does not say what is there.
    """
    runs_dir = existing_runs(runs)
    folder = account_folder(runs_dir, account)
    before = read(folder)
    if before.is_armed:
        raise UsageError(f"account {account} is armed (by {before.who}: {before.reason}); there is nothing to do")
    if not operator.strip() or not reason.strip():
        raise UsageError("arming an account again takes --operator NAME and --reason TEXT, for those who ask later")
    require_decision(folder, "rearm", now_ns=time.time_ns())
    if not as_json:
        say(f"account {account}: {before.why}. Comparing its books with the venue's; nothing can be sent meanwhile")
    proof = ""

    @quiet
    def proved(last: LastRun, run_dir: Path) -> str:
        settings = _settings(run_dir, config, assignments)
        because = reason
        if adjustments:
            used = use_decision(folder, "adjustment", f"claire rearm: run {last.run_id}: {', '.join(adjustments)}")
            because = f"{reason} [decision {used.ruled.number}, {used.head[:12]}]"
        go_on = GoOn(
            run_dir,
            releases=tuple(releases),
            adjustments=tuple(adjustments),
            operator=operator,
            reason=because,
            externals=tuple(externals),
        )
        return asyncio.run(prove(settings, go_on, folder))

    def prove_and_use() -> str:
        nonlocal proof
        proof = proof_of(proved, folder, runs_dir)
        used = use_decision(folder, "rearm", f"claire rearm by {operator}: {reason}")
        return f"{proof} [decision {used.ruled.number}, {used.head[:12]}]"

    flag = arm(folder, operator=operator, reason=reason, prove=prove_and_use, now_ns=time.time_ns, pid=os.getpid())
    if as_json:
        told = {"account": account, "armed": True, "epoch": flag.epoch, "proof": proof, "was": before.why}
        print_json(told | {"operator": operator, "reason": reason})
    else:
        say(f"account {account} is armed (epoch {flag.epoch}). {proof}")
        say("what was approved before can never be sent. Trade on: claire run --continue RUN")
    return 0


def _settings(run_dir: Path, config: Path | None, assignments: Sequence[str]) -> Settings:
    """Return what the run goes on with: the file that is named, else its last settings, with changes laid over them."""
    given = None
    if config is not None:
        loaded = load(config=config, environ=os.environ, assignments=assignments, mode=header_of(run_dir).mode)
        given = loaded.settings
    return settings_of(run_dir, given, assignments)
