"""Counts each execution of ours once, although it is heard of twice: from the private stream and from GET myTrades.

The stream repeats executions (once 40 minutes later), and whether both ways name an execution by the same id is not known:
the samples of each look different. So an execution is told by order, price and quantity as well: of equal ones, as many count
as the better informed way has named. That holds as long as what REST says of an order is complete, which `MexcQueries.fills`
makes sure of.

After a restart it is not known by which way the executions in the books were named, so they are taken as a count: as many
equal ones as are booked were counted, and only what some way names beyond that is new. Nothing can be counted twice that way,
for what is booked and what a way names are each different executions. A new execution that equals a booked one may be passed
over when the stream tells it first; the order's own total then says that more was executed than was counted (`counted`), and
a look by REST, which names them all, finds it.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from claire.adapters.venues.mexc.fees import exact_product


class Way(StrEnum):
    """How an execution became known."""

    STREAM = "stream"
    REST = "rest"


class _Equal(Struct):
    """Executions of one order at one price and of one quantity."""

    ways: dict[Way, dict[str, bool]] = {}
    """The ids by which each way has named them."""
    reported: dict[str, bool] = {}
    """The ids under which they were reported, one each."""


class FillBook(Struct):
    """What was counted, by order and then by price and quantity."""

    heard: dict[str, dict[tuple[Decimal, Decimal], _Equal]] = {}

    def count(self, way: Way, order_id: str, trade_id: str, price: Decimal, quantity: Decimal) -> str:
        """Take in one execution; return the id under which it is to be reported, empty when it was counted before.

        The id is not always the one just heard: where that is taken, another of the same way is, which was passed over before.
        """
        equal = self._equal(order_id, price, quantity)
        ids = equal.ways.setdefault(way, {})
        ids[trade_id] = True
        if len(ids) <= len(equal.reported):
            return ""
        name = trade_id if trade_id not in equal.reported else next(i for i in ids if i not in equal.reported)
        equal.reported[name] = True
        return name

    def restore(self, order_id: str, trade_id: str, price: Decimal, quantity: Decimal) -> None:
        """Take in an execution that was reported before a restart, under this id."""
        self._equal(order_id, price, quantity).reported[trade_id] = True

    def counted(self, order_id: str) -> Decimal:
        """Return how much of an order was counted, in base."""
        equals = self.heard.get(order_id, {})
        parts = (exact_product(quantity, Decimal(len(equal.reported))) for (_, quantity), equal in equals.items())
        return sum(parts, Decimal(0))

    def forget(self, order_id: str) -> None:
        """Drop an order that nothing more can be heard of (a day after it ended, say)."""
        self.heard.pop(order_id, None)

    def _equal(self, order_id: str, price: Decimal, quantity: Decimal) -> _Equal:
        return self.heard.setdefault(order_id, {}).setdefault((price.normalize(), quantity.normalize()), _Equal())
