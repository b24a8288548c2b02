"""`claire sentinel`: the process that cleans up after a kill."""

import asyncio
import os
import sys
from pathlib import Path
from typing import BinaryIO, cast

from claire.adapters.venues.mexc.secrets import read_keys
from claire.cli.output import say
from claire.cli.runs import runs_folder
from claire.gateway.hosts import Endpoint
from claire.gateway.signer import Keys, QuerySigner, from_parent
from claire.model.errors import UsageError
from claire.safety.folder import account_folder
from claire.safety.sentinel import LOG, serve
from claire.safety.sweep import Sweeper

OWN_KEYS = "sentinel"
"""Folder within the secrets that holds a key for the sentinel alone."""


def sentinel(
    *,
    account: str,
    folder: Path | None,
    rest_url: str,
    secrets: Path | None,
    keys_from_stdin: bool,
    port: int,
    heart_s: float,
    recv_window_ms: int,
    runs: Path | None,
    as_json: bool,
) -> int:
    """Watch an account until SIGTERM or Ctrl-C; return the exit code.

    Raises:
        ClaireError: the account or its keys are not there, or another sentinel is sweeping it.
    """
    if (folder is None) is (not account):
        raise UsageError("claire sentinel watches one account: --account ID, or --folder DIR")
    place = account_folder(runs_folder(runs), account) if folder is None else folder
    if not place.is_dir():
        raise UsageError(f"{place}: there is no such folder; a run makes it: claire run --mode testnet")
    sweeper = Sweeper(
        Endpoint.parse(rest_url), QuerySigner(_keys(secrets, from_stdin=keys_from_stdin)), recv_window_ms=recv_window_ms
    )
    if not as_json:
        say(f"watching {place}; what happens is in {place / LOG}. Ctrl-C ends the watch, not the trading")
    out = cast(BinaryIO, os.fdopen(os.dup(sys.stdout.fileno()), "wb")) if as_json else None
    asyncio.run(serve(place, sweeper, port=port, out=out, heart_s=heart_s))
    return 0


def _keys(secrets: Path | None, *, from_stdin: bool) -> Keys:
    if from_stdin:
        return from_parent(sys.stdin.buffer.readline())
    named = secrets or Path(os.environ.get("SECRETS_PATH", ""))
    own = named / OWN_KEYS
    return read_keys(own if str(named) != "." and own.is_dir() else named if str(named) != "." else "")
