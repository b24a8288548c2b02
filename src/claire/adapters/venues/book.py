"""The local order book of one symbol: what the venue shows, less what our own orders took from it.

Depth is believed from a snapshot on and until a gap (`Depth.valid`); without it the top of book serves, for its
quantity. An own order that took from a level does not find that quantity again until the level has changed: nobody
put it back.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from claire.model.market import Depth, Side, TopOfBook


class BookSide(Struct):
    """The levels of one side, price in ticks → quantity in lots."""

    levels: dict[int, int] = {}
    taken: dict[int, int] = {}
    """What own orders took from a level since it last changed."""

    def change(self, price_ticks: int, quantity_lots: int) -> None:
        """Set a level; quantity 0 removes it. A level that comes again unchanged keeps what was taken from it."""
        if self.levels.get(price_ticks, 0) != quantity_lots:
            self.taken.pop(price_ticks, None)
        if quantity_lots:
            self.levels[price_ticks] = quantity_lots
        else:
            self.levels.pop(price_ticks, None)

    def replace(self, levels: Mapping[int, int]) -> None:
        """Set the whole side."""
        before = self.levels
        self.levels = {price: lots for price, lots in levels.items() if lots}
        self.taken = {price: lots for price, lots in self.taken.items() if self.levels.get(price) == before[price]}

    def left(self, price_ticks: int) -> int:
        """Return what a level still offers."""
        return self.levels[price_ticks] - self.taken.get(price_ticks, 0)


class LocalBook:
    """The book of one symbol."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._depth = {Side.BUY: BookSide(), Side.SELL: BookSide()}
        self._top = {Side.BUY: BookSide(), Side.SELL: BookSide()}
        self._has_depth = False
        self._has_top = False

    def apply(self, event: Depth | TopOfBook) -> None:
        """Take in a change of the book."""
        if isinstance(event, TopOfBook):
            self._has_top = True
            self._top[Side.BUY].replace({event.bid_ticks: event.bid_lots})
            self._top[Side.SELL].replace({event.ask_ticks: event.ask_lots})
            return
        bids, asks = self._depth[Side.BUY], self._depth[Side.SELL]
        if not event.valid:
            self._has_depth = False
            bids.replace({})
            asks.replace({})
        elif event.snapshot:
            self._has_depth = True
            bids.replace(dict(event.bids))
            asks.replace(dict(event.asks))
        elif self._has_depth:
            for price, lots in event.bids:
                bids.change(price, lots)
            for price, lots in event.asks:
                asks.change(price, lots)

    @property
    def is_visible(self) -> bool:
        """Whether there is depth to be trusted, or else a top of book."""
        return self._has_depth or self._has_top

    def best(self, side: Side) -> int:
        """Return the best bid (BUY) or offer (SELL) as shown; 0 when that side is empty."""
        levels = self._visible[side].levels
        if not levels:
            return 0
        return max(levels) if side is Side.BUY else min(levels)

    def offers(self, taker: Side, quantity_lots: int, limit_ticks: int = 0) -> Sequence[tuple[int, int]]:
        """Return the (price_ticks, quantity_lots) that a taker would get, best price first.

        At most `quantity_lots`, and (with a limit) nothing beyond `limit_ticks`; less where the visible book ends.
        """
        side = self._visible[_opposite(taker)]
        found: list[tuple[int, int]] = []
        for price in sorted(side.levels, reverse=taker is Side.SELL):
            if quantity_lots <= 0 or (limit_ticks and is_beyond(price, taker, limit_ticks)):
                break
            lots = min(quantity_lots, side.left(price))
            if lots:
                found.append((price, lots))
                quantity_lots -= lots
        return found

    def take(self, taker: Side, price_ticks: int, quantity_lots: int) -> None:
        """Remember that an own order took this quantity from a level."""
        taken = self._visible[_opposite(taker)].taken
        taken[price_ticks] = taken.get(price_ticks, 0) + quantity_lots

    def queue(self, side: Side, price_ticks: int) -> int | None:
        """Return how many lots would stand before a new order at this price; None beyond the visible book."""
        levels = self._visible[side].levels
        if price_ticks in levels:
            return levels[price_ticks]
        if not levels:
            return 0
        worst = min(levels) if side is Side.BUY else max(levels)
        return None if is_beyond(price_ticks, _opposite(side), worst) else 0

    @property
    def _visible(self) -> dict[Side, BookSide]:
        return self._depth if self._has_depth else self._top


def is_beyond(price_ticks: int, taker: Side, limit_ticks: int) -> bool:
    """Tell whether a price is worse for a taker than the limit: above it for a buyer, below it for a seller."""
    return price_ticks > limit_ticks if taker is Side.BUY else price_ticks < limit_ticks


def _opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY
