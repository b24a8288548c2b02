"""What fees in other assets are worth. One rule for stream and REST: a fill is booked at once, and its fee with it.

A fee in a third asset (MX) is valued at the last price known of it, if that is not too old. Where none is known, its value
is 0, which is counted and told: nothing waits for a price, and none is invented. The fee itself is booked in its own asset
either way.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from claire.model.instrument import Instrument
from claire.model.money import DECIMALS

OLDEST_S: Final = 600.0
"""Age of a price from which on it is none."""

USUAL: Final = "MX"
"""The asset that fees are taken in at a discount."""


class FeePrices:
    """Last prices of the assets that fees are taken in, and what a fee is worth by them."""

    def __init__(self, monotonic_ns: Callable[[], int], oldest_s: float = OLDEST_S) -> None:
        """Start without any price; `monotonic_ns` tells how old they get."""
        self.unvalued_total = 0
        """Fees that had no price, and so the value 0."""
        self.wanted: dict[str, None] = {}
        """Pairs that a fee has needed so far; whoever asks for prices asks for these."""
        self._monotonic_ns = monotonic_ns
        self._oldest_ns = round(oldest_s * 1e9)
        self._known: dict[str, tuple[int, Decimal]] = {}

    def put(self, symbol: str, price: Decimal) -> None:
        """Take in the price of a pair, as of now."""
        self._known[symbol] = self._monotonic_ns(), price

    def price(self, symbol: str) -> Decimal | None:
        """Return the last price of a pair; None: there is none, or it is too old."""
        known = self._known.get(symbol)
        if known is None or self._monotonic_ns() - known[0] > self._oldest_ns:
            return None
        return known[1]

    def value(self, fee: Decimal, asset: str, instrument: Instrument, price: Decimal) -> Decimal | None:
        """Return what a fee is worth in the quote asset; None: nobody knows, so it counts as 0.

        Args:
            fee: In its asset.
            asset: Of the fee.
            instrument: Of the execution.
            price: Of the execution: it values a fee in base.
        """
        if not fee or asset == instrument.quote:
            return fee
        rate: Decimal | None = price
        if asset != instrument.base:
            self.wanted[asset + instrument.quote] = None
            rate = self.price(asset + instrument.quote)
        if rate is None:
            self.unvalued_total += 1
            return None
        return rounded(fee * rate, min(instrument.quote_decimals, DECIMALS))


def rounded(value: Decimal, decimals: int) -> Decimal:
    """Return an amount in so many decimals, half to even."""
    with localcontext() as context:
        context.prec = 80
        return value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def exact_product(price: Decimal, quantity: Decimal) -> Decimal:
    """Return price × quantity without rounding."""
    with localcontext() as context:
        context.prec = 100
        return price * quantity
