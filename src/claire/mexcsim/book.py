"""The order book of one symbol: price levels, first come first served within a level, one version for every change.

Depth pushes, book tickers, limit depth and REST depth all carry the same version counter (sheet 1.6).
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

from claire.mexcsim.orders import Order
from claire.model.market import Side


class Level:
    """The orders that wait at one price, oldest first."""

    __slots__ = ("lots", "orders", "price")

    def __init__(self, price: int) -> None:
        self.price = price
        self.lots = 0
        self.orders: deque[Order] = deque()


class Half:
    """One side of a book. Prices are kept so that the best is last, where a list is cheap."""

    __slots__ = ("_keys", "_sign", "levels")

    def __init__(self, side: Side) -> None:
        self._sign = 1 if side is Side.BUY else -1
        self._keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best(self) -> Level | None:
        """The level that trades first."""
        return self.levels[self._sign * self._keys[-1]] if self._keys else None

    def best_price(self) -> int:
        """The price that trades first; 0 if the side is empty."""
        return self._sign * self._keys[-1] if self._keys else 0

    def top(self, count: int) -> Iterator[Level]:
        """The best `count` levels, best first."""
        for key in self._keys[: -count - 1 : -1]:
            yield self.levels[self._sign * key]

    def add(self, order: Order) -> None:
        """Queue an order behind those at its price."""
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level(order.price)
            insort(self._keys, self._sign * order.price)
        level.orders.append(order)
        level.lots += order.remaining

    def remove(self, order: Order) -> None:
        """Take an order out."""
        level = self.levels[order.price]
        level.orders.remove(order)
        level.lots -= order.remaining
        self.drop_if_empty(level)

    def drop_if_empty(self, level: Level) -> None:
        """Forget a level at which nobody waits."""
        if not level.orders:
            del self.levels[level.price]
            del self._keys[bisect_left(self._keys, self._sign * level.price)]


class DepthWindow:
    """The levels that changed since the last push of one depth channel."""

    __slots__ = ("asks", "bids", "from_version")

    def __init__(self, from_version: int) -> None:
        self.from_version = from_version
        self.bids: dict[int, None] = {}
        self.asks: dict[int, None] = {}


class Book:
    """Both sides of one symbol, and who watches them."""

    def __init__(self, first_version: int) -> None:
        self.bids = Half(Side.BUY)
        self.asks = Half(Side.SELL)
        self.version = first_version
        self.last_order_ms = 0
        self.windows: dict[str, DepthWindow] = {}

    def half(self, side: Side) -> Half:
        """The side on which orders of `side` wait."""
        return self.bids if side is Side.BUY else self.asks

    def opposite(self, side: Side) -> Half:
        """The side that an order of `side` takes from."""
        return self.asks if side is Side.BUY else self.bids

    def watch(self, name: str) -> None:
        """Begin collecting changed levels under a name (a push interval)."""
        self.windows.setdefault(name, DepthWindow(self.version + 1))

    def rest(self, order: Order) -> None:
        """Let an order wait."""
        self.half(order.side).add(order)
        self._changed(order.side, order.price)

    def withdraw(self, order: Order) -> None:
        """Take a waiting order out."""
        self.half(order.side).remove(order)
        self._changed(order.side, order.price)

    def take(self, level: Level, maker: Order, lots: int) -> None:
        """Execute `lots` of the order that is first at a level."""
        maker.remaining -= lots
        level.lots -= lots
        if not maker.remaining:
            level.orders.popleft()
            self.half(maker.side).drop_if_empty(level)
        self._changed(maker.side, level.price)

    def lots_at(self, side: Side, price: int) -> int:
        """What waits at a price."""
        level = self.half(side).levels.get(price)
        return level.lots if level else 0

    def _changed(self, side: Side, price: int) -> None:
        self.version += 1
        for window in self.windows.values():
            (window.bids if side is Side.BUY else window.asks)[price] = None


def crosses(side: Side, limit: int, price: int) -> bool:
    """Whether an order of `side` with this limit trades at a price."""
    return price <= limit if side is Side.BUY else price >= limit


def fillable(half: Half, side: Side, limit: int, lots: int) -> int:
    """How many of `lots` would execute at once within the limit."""
    found = 0
    for level in half.top(len(half)):
        if found >= lots or not crosses(side, limit, level.price):
            break
        found += level.lots
    return min(found, lots)


def lots_for(half: Half, side: Side, limit: int, quote_units: int, unit_value: int) -> int:
    """How many lots an amount of quote buys, or must be sold for; what the book does not hold is counted at the limit."""
    lots, left = 0, quote_units
    for level in half.top(len(half)):
        if not crosses(side, limit, level.price):
            break
        affordable = min(level.lots, left // (level.price * unit_value))
        lots += affordable
        left -= affordable * level.price * unit_value
        if affordable < level.lots:
            return lots
    return lots + left // (limit * unit_value)
