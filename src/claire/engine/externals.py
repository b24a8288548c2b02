"""Externals: what lies on the account and is not Claire's, and how it came to change. Pure.

Claire trades `account.capital`; coins that were there before, deposits, withdrawals and trades by another hand are external. The
baseline of an asset is the sum of its moves, so whoever keeps the moves can restore it, and a move is counted once, by the
venue's own evidence of it.

Amounts are units of 10⁻¹⁸ of their asset.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from claire.engine.reconcile import TheirFill
from claire.model.market import Side
from claire.model.money import decimal_text

MS: Final = 1_000_000

TRADING_CAUSES: Final = ("ENTRUST", "TRADE_FEE")
"""What the causes of balance changes begin with that come from orders, whoever made them: those are counted by execution."""


class MoveKind(StrEnum):
    """How an external amount came about."""

    BASELINE = "baseline"
    """There at the account's first start."""
    TRADE = "trade"
    """An execution of an order that is not Claire's."""
    TRANSFER = "transfer"
    """A deposit, a withdrawal, an airdrop; or a change of an asset that Claire has nothing to do with."""


class ExternalMove(Struct, frozen=True):
    """One change of what is external of one asset."""

    kind: MoveKind
    asset: str
    units: int
    """What came; negative: what went."""
    evidence_id: str
    """What tells this change from any other; with the asset it is counted once."""
    ts_ns: int

    @property
    def text(self) -> str:
        """The move as a sentence."""
        sign = "+" if self.units > 0 else ""
        return f"external {self.kind}: {sign}{decimal_text(self.units)} {self.asset} ({self.evidence_id})"


class Externals(Struct):
    """The external part of an account."""

    baseline: dict[str, int] = {}
    seen: dict[tuple[str, str], bool] = {}
    """(asset, evidence) of every move that counted."""
    opened_ns: int = 0
    """When the baseline was taken; what happened before is in it."""

    @classmethod
    def restored(cls, moves: Iterable[ExternalMove]) -> "Externals":
        """Return what moves that were kept come to."""
        found = cls()
        for move in moves:
            found.take(move)
        return found

    def is_opened(self, currency: str) -> bool:
        """Whether the baseline is complete: its last move is that of the currency."""
        return (currency, _opening(currency)) in self.seen

    def take(self, move: ExternalMove) -> bool:
        """Count a move; return False when it was counted before (nothing changes then)."""
        key = (move.asset, move.evidence_id)
        if key in self.seen:
            return False
        self.seen[key] = True
        if move.kind is MoveKind.BASELINE:
            self.opened_ns = max(self.opened_ns, move.ts_ns)
        self.baseline[move.asset] = self.baseline.get(move.asset, 0) + move.units
        return True


def _opening(asset: str) -> str:
    return f"opening {asset}"


def opening_moves(ours: Mapping[str, int], theirs: Mapping[str, int], currency: str, ts_ns: int) -> list[ExternalMove]:
    """Return the baseline of every asset: what is there beyond what the books hold. At rest only.

    The currency comes last: moves are kept one by one, and where a crash comes between them the rest is taken at the next start.

    Args:
        ours: What the books hold (`reconcile.holdings`).
        theirs: What the venue holds, free and locked together.
        currency: Of the account.
        ts_ns: When the venue said so.
    """
    assets = [asset for asset in dict.fromkeys((*ours, *theirs)) if asset != currency]
    return [
        ExternalMove(MoveKind.BASELINE, asset, theirs.get(asset, 0) - ours.get(asset, 0), _opening(asset), ts_ns)
        for asset in (*assets, currency)
    ]


def moves_of_fill(fill: TheirFill, base: str, quote: str) -> list[ExternalMove]:
    """Return what an execution by another hand moved, one move for each asset."""
    sign = 1 if fill.side is Side.BUY else -1
    changes = {base: sign * fill.quantity, quote: -sign * fill.value}
    if fill.fee:
        changes[fill.fee_asset] = changes.get(fill.fee_asset, 0) - fill.fee
    evidence = f"{fill.symbol} {fill.venue_order_id} {fill.trade_id}"
    return [
        ExternalMove(MoveKind.TRADE, asset, units, evidence, fill.ts_ms * MS)
        for asset, units in changes.items()
        if units
    ]


def move_of_transfer(asset: str, cause: str, units: int, evidence_id: str, ts_ns: int) -> ExternalMove | None:
    """Return what a balance change that the venue told of moved; None: it came from an order, or moved nothing.

    Args:
        asset: Of the balance.
        cause: As the venue names it. The list of names is open: what does not come from orders is a transfer.
        units: Change of free and locked together.
        evidence_id: What tells this change from any other.
        ts_ns: When it happened.
    """
    if not units or cause.startswith(TRADING_CAUSES):
        return None
    return ExternalMove(MoveKind.TRANSFER, asset, units, f"{cause} {evidence_id}", ts_ns)


def outside_moves(
    watched: Sequence[str], theirs: Mapping[str, int], externals: Externals, ts_ns: int
) -> list[ExternalMove]:
    """Return what changed of the assets that the books have nothing to do with: all of it is external."""
    found = []
    for asset in dict.fromkeys((*theirs, *externals.baseline)):
        if asset not in watched:
            units = theirs.get(asset, 0) - externals.baseline.get(asset, 0)
            if units:
                found.append(ExternalMove(MoveKind.TRANSFER, asset, units, f"seen {asset} {ts_ns}", ts_ns))
    return found
