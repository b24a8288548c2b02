"""Counts each execution of ours once, although it is heard of twice: from the private stream and from GET myTrades.

The stream repeats executions (once 40 minutes later), and whether both ways name an execution by the same id is not known:
the samples of each look different. So an execution is told by order, price and quantity as well: of equal ones, as many count
as the better informed way has named. That holds as long as what REST says of an order is complete, which `MexcTrading.fills`
makes sure of.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class Way(StrEnum):
    """How an execution became known."""

    STREAM = "stream"
    REST = "rest"


_Same = tuple[Decimal, Decimal]


class FillBook(Struct):
    """What was counted, by order and then by price and quantity."""

    heard: dict[str, dict[_Same, dict[Way, dict[str, bool]]]] = {}

    def is_new(self, way: Way, order_id: str, trade_id: str, price: Decimal, quantity: Decimal) -> bool:
        """Take in one execution; return whether it has not been counted yet."""
        ways = self.heard.setdefault(order_id, {}).setdefault((price.normalize(), quantity.normalize()), {})
        is_known = any(trade_id in ids for ids in ways.values())
        counted = max((len(ids) for ids in ways.values()), default=0)
        ids = ways.setdefault(way, {})
        ids[trade_id] = True
        return not is_known and len(ids) > counted

    def forget(self, order_id: str) -> None:
        """Drop an order that nothing more can be heard of (a day after it ended, say)."""
        self.heard.pop(order_id, None)
