"""Starts the exchange simulator beside a run, as a program of its own, and ends it with the run."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from claire.gateway.signer import Keys
from claire.model.errors import ClaireError
from claire.model.money import plain_text

START_S: Final = 30.0
"""Longest time that it may take to come up."""


class _Key(Struct):
    access_key: str
    secret: str


class _Hello(Struct):
    rest_url: str
    ws_url: str
    keys: list[_Key]


class Started(Struct, frozen=True):
    """A simulator that is up."""

    rest_url: str
    ws_url: str
    keys: Keys


@asynccontextmanager
async def started(balances: Mapping[str, Decimal], fee_asset: str, seed: int) -> AsyncIterator[Started]:
    """Start ``claire mexc-sim`` on a free port of this machine, with a market that moves enough to trade in.

    Args:
        balances: What the account holds.
        fee_asset: ``received`` or ``quote``: what fees are paid in.
        seed: Of its market and its key.

    Raises:
        ClaireError: it did not come up.
    """
    words = ["mexc-sim", "--port", "0", "--json", "--lively", "--seed", str(seed), "--fee-asset", fee_asset]
    for asset, amount in balances.items():
        words += ["--balance", f"{asset}={plain_text(amount)}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "claire.cli.main",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # a Ctrl-C at the terminal is the run's: it ends the simulator when it has ended itself
        start_new_session=True,
    )
    if process.stdout is None:  # asked for two lines above; the type does not know
        raise ClaireError("the simulator has no output to read")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        try:
            hello = msgspec.json.decode(line, type=_Hello)
        except msgspec.DecodeError:
            raise ClaireError("the simulator did not come up; start it by hand to see why: claire mexc-sim") from None
        drain = asyncio.create_task(_drain(process.stdout), name="simulator-log")
        key = hello.keys[0]
        try:
            yield Started(hello.rest_url, hello.ws_url, Keys(key.access_key, key.secret))
        finally:
            drain.cancel()
            await asyncio.wait((drain,))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read its log away, so that it never waits for a reader."""
    while await stream.read(1 << 16):
        pass
