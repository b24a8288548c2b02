"""What an operator may correct by hand: the books, or what of the account is external. Both need a name and a reason.

A difference with the venue is never repaired by the program. Who knows where it comes from says so, with one of these, when the
run goes on: ``claire run --continue RUN --adjust … --operator NAME --reason TEXT``.
"""

import re
from decimal import Decimal
from typing import Final

from claire.engine.externals import ExternalMove, MoveKind
from claire.model.books import Books
from claire.model.decisions import Adjustment
from claire.model.errors import UsageError
from claire.model.money import units_of

DUST: Final = "dust"
"""Names the dust of a symbol, in place of a strategy."""
LONGEST: Final = 200
"""Characters of a name or a reason."""
_ASSET: Final = re.compile(r"[A-Z0-9]{1,20}")
_AMOUNT: Final = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,18})?")


def adjustment_of(text: str, operator: str, reason: str, books: Books, ts_event_ns: int) -> Adjustment:
    """Understand ``--adjust``: ``USDT=-3.5`` (cash), ``momentum-1/BTCUSDT=-0.001`` (a position), ``dust/BTCUSDT=0.00001``.

    Args:
        text: What to correct, and by how much; positive: it comes to the books.
        operator: Who says so.
        reason: Why.
        books: The books as they are.
        ts_event_ns: Market time of the correction.

    Raises:
        UsageError: it cannot be read, has no name or reason, or does not fit the books.
    """
    what, amount = _parts("--adjust", text, operator, reason)
    owner, slash, symbol = what.partition("/")
    if not slash:
        if not _ASSET.fullmatch(what):
            raise UsageError(f"--adjust {text}: {what!r} is no asset; write USDT=-3.5 or STRATEGY/SYMBOL=-0.001")
        made = Adjustment(what, amount, operator, reason, ts_event_ns)
    else:
        known = books.instruments.get(symbol)
        base = known.base if known is not None else ""
        made = Adjustment(base, amount, operator, reason, ts_event_ns, "" if owner == DUST else owner, symbol)
    fault = books.why_not(made)
    if fault:
        raise UsageError(f"--adjust {text}: {fault}")
    return made


def external_of(text: str, operator: str, reason: str, ts_event_ns: int) -> ExternalMove:
    """Understand ``--external``: ``USDT=250`` says that 250 USDT came which are not Claire's; ``USDT=-250``, that they went.

    Args:
        text: What came or went.
        operator: Who says so.
        reason: Why.
        ts_event_ns: When it is said.

    Raises:
        UsageError: it cannot be read, or has no name or reason.
    """
    asset, amount = _parts("--external", text, operator, reason)
    if not _ASSET.fullmatch(asset):
        raise UsageError(f"--external {text}: {asset!r} is no asset; write USDT=250 or USDT=-250")
    if not amount:
        raise UsageError(f"--external {text}: nothing came and nothing went")
    evidence = f"by {operator} at {ts_event_ns}: {reason}"
    return ExternalMove(MoveKind.TRANSFER, asset, units_of(amount), evidence, ts_event_ns)


def _parts(option: str, text: str, operator: str, reason: str) -> tuple[str, Decimal]:
    for name, value, example in (("--operator", operator, "ada"), ("--reason", reason, '"deposit of 20 November"')):
        if not value.strip() or len(value) > LONGEST or not value.isprintable():
            raise UsageError(
                f"{option} {text} needs {name}: who corrects books says so and why, as in {name} {example}"
            )
    what, equals, amount = text.partition("=")
    if not equals or not _AMOUNT.fullmatch(amount):
        raise UsageError(
            f"{option} {text}: write WHAT=AMOUNT with a plain number of at most 18 decimals, as in USDT=-3.5"
        )
    return what, Decimal(amount)
