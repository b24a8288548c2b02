"""`claire doctor --venue mexc`: whether the venue can be reached, what time it is there, and what key and symbols allow."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from claire.adapters.venues.mexc import replies, requests
from claire.adapters.venues.mexc.clock import ClockState
from claire.adapters.venues.mexc.errors import MexcError
from claire.adapters.venues.mexc.instruments import HINT, closed_because
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.rest import MexcRest

KEY_LIFE: Final = "MEXC does not tell how long a key lives: one without a bound address ends 90 days after it was made"


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


async def examine(rest: MexcRest, symbols: Sequence[str]) -> list[Finding]:
    """Look at everything; what cannot be reached is found, not raised."""
    try:
        await rest.get(requests.ping(), replies.Nothing)
        await rest.sync_clock()
    except MexcError as e:
        return [Finding("mexc", ok=False, found=f"{rest.endpoint.host}: {e.fault.reason}", remedy=e.fault.remedy)]
    findings = [Finding("mexc", ok=True, found=f"{rest.endpoint.host} answers"), _clock(rest)]
    findings += [await _key(rest)] if rest.is_signed else [_no_key()]
    if symbols:
        findings.append(await _symbols(rest, symbols))
    findings.append(_budget(rest))
    return findings


def _clock(rest: MexcRest) -> Finding:
    reading = rest.clock.reading(rest.gate.monotonic_ns())
    remedy = "set this machine's clock: timedatectl set-ntp true; with more than 500 ms no new order goes out"
    return Finding("mexc clock", ok=reading.state is ClockState.OK, found=reading.because, remedy=remedy)


def _no_key() -> Finding:
    return Finding("mexc key", ok=True, found="none: SECRETS_PATH is not set, so only public data can be read")


async def _key(rest: MexcRest) -> Finding:
    """Read what the account may do. The venue has no call that tells a key's own permissions."""
    try:
        account = await rest.get(requests.account(), replies.Account)
    except MexcError as e:
        return Finding("mexc key", ok=False, found=e.fault.reason, remedy=e.fault.remedy)
    may = {"trade": account.can_trade, "withdraw": account.can_withdraw, "deposit": account.can_deposit}
    told = ", ".join(f"{verb} {_word(allowed)}" for verb, allowed in may.items())
    held = sum(1 for balance in account.balances if balance.free + balance.locked > Decimal(0))
    found = f"accepted; the account may: {told}; {held} assets held\n{KEY_LIFE}"
    if account.can_trade is False:
        return Finding("mexc key", ok=False, found=found, remedy="log in at MEXC and see why the account may not trade")
    if account.can_withdraw:
        remedy = (
            "give the key SPOT_ACCOUNT_READ, SPOT_DEAL_READ and SPOT_DEAL_WRITE and take everything else away, withdrawals"
            " first (MEXC does not tell whether this is said of the key or of the account)"
        )
        return Finding("mexc key", ok=False, found=found, remedy=remedy)
    return Finding("mexc key", ok=True, found=found)


def _word(allowed: bool | None) -> str:
    return "not told" if allowed is None else "yes" if allowed else "no"


async def _symbols(rest: MexcRest, symbols: Sequence[str]) -> Finding:
    try:
        listing = await read_listing(rest, symbols)
    except MexcError as e:
        return Finding("mexc symbols", ok=False, found=e.fault.reason, remedy=e.fault.remedy)
    closed = [reason for symbol in symbols if (reason := closed_because(symbol, listing))]
    if closed:
        return Finding("mexc symbols", ok=False, found="\n".join(closed), remedy=f"choose others: {HINT}")
    return Finding(
        "mexc symbols", ok=True, found=", ".join(symbols) + (" is" if len(symbols) == 1 else " are") + " open"
    )


def _budget(rest: MexcRest) -> Finding:
    left = rest.gate.budget.left(rest.gate.monotonic_ns())
    words = ", ".join(f"{bucket} {max(0.0, share):.0%}" for bucket, share in left.items())
    complaints = rest.gate.budget.complaints
    ok = complaints == 0 and min(left.values()) >= 0
    found = f"left: {words}" + (f"; the venue complained {complaints} times" if complaints else "")
    return Finding(
        "mexc budget", ok=ok, found=found, remedy="wait, and stop other programs at this address that ask MEXC"
    )
