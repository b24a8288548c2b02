"""Instruments: what can be traded, in which steps, and how much of it is worth how much."""

from decimal import Decimal
from typing import Self

from msgspec import Struct
from msgspec.structs import asdict

from claire.model.errors import DataError
from claire.model.money import DECIMALS, ONE, decimal_text, divide_half_even, plain_text, step_of, units_of

QUOTES = (
    "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD1", "USDE", "DAI", "USD", "EUR", "GBP", "TRY", "BRL", "BTC", "ETH", "BNB",
)  # fmt: skip
"""Quote assets by which a bare symbol is split, longest names of a family first."""
SEPARATORS = "/-_"
"""What may stand between base and quote in a symbol."""
SHORTEST_BASE = 3
"""Letters that a base asset has where a symbol can be split in two ways."""
ENDING_LIKE_A_QUOTE = (
    "USDT", "IOST", "DENT", "STPT", "SWEAT", "PNUT", "GOAT", "BLAST", "SHIB",
)  # fmt: skip
"""Assets of four letters and more that, before ``USD``, look like another asset before ``TUSD`` or ``BUSD``."""


class InstrumentRules(Struct, frozen=True):
    """The trading rules of one spot pair, as they are kept and sent.

    Prices are whole `tick`s, quantities whole `lot`s; both steps are positive and their decimals add up to
    at most 18, so that price × quantity is exact in units (see `money`).
    """

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_notional: Decimal = Decimal(0)
    base_decimals: int = 8
    quote_decimals: int = 8
    venue: str = ""
    kind: str = "spot"
    source: str = "configuration"
    """Where the rules come from: ``configuration``, ``sidecar``, ``venue``, ``built-in`` or ``inferred``."""

    def instrument(self) -> "Instrument":
        """Return the instrument with these rules.

        Raises:
            DataError: as `Instrument.checked`.
        """
        return Instrument.checked(**asdict(self))


class Instrument(InstrumentRules, frozen=True):
    """One spot pair and one version of its trading rules, with what follows from them.

    What follows are integers that may not fit 64 bits: keep and send the `rules`, never these.
    """

    unit_value: int = 0
    """Quote units that one lot is worth at a price of one tick; set by `checked`."""
    tick_units: int = 0
    """Quote units in one tick; set by `checked`."""
    lot_units: int = 0
    """Base units in one lot; set by `checked`."""
    min_notional_units: int = 0

    @classmethod
    def checked(
        cls,
        symbol: str,
        tick: Decimal,
        lot: Decimal,
        *,
        base: str = "",
        quote: str = "",
        min_notional: Decimal = Decimal(0),
        base_decimals: int = 8,
        quote_decimals: int = 8,
        venue: str = "",
        kind: str = "spot",
        source: str = "configuration",
    ) -> Self:
        """Build an instrument from its rules.

        A base or quote that is given wins; the symbol tells what is not given.

        Raises:
            DataError: a step is not a positive finite number, the minimum notional is negative, the steps or the
                scales are too fine for exact arithmetic, the symbol cannot be split into base and quote, or the two
                are the same asset.
        """
        for name, value in (("tick", tick), ("lot", lot)):
            if not value.is_finite() or value <= 0:
                raise DataError(f"{symbol}: {name} {value} is not a positive number; set instruments.{symbol}.{name}")
        if not min_notional.is_finite() or min_notional < 0:
            raise DataError(
                f"{symbol}: min_notional {min_notional} is not zero or more; set instruments.{symbol}.min_notional"
            )
        for name, decimals in (("base_decimals", base_decimals), ("quote_decimals", quote_decimals)):
            if not 0 <= decimals <= DECIMALS:
                raise DataError(f"{symbol}: {name} {decimals} is not 0–{DECIMALS}; set instruments.{symbol}.{name}")
        if decimals_of(min_notional) > DECIMALS:
            raise DataError(f"{symbol}: min_notional {min_notional} has more than {DECIMALS} decimals")
        tick, lot = Decimal(plain_text(tick)), Decimal(plain_text(lot))
        if decimals_of(tick) + decimals_of(lot) > DECIMALS:
            raise DataError(
                f"{symbol}: tick {tick} and lot {lot} have more than {DECIMALS} decimals together, too fine for exact money;"
                f" set instruments.{symbol}.tick and .lot"
            )
        base, quote = assets_of(symbol, base, quote)
        return cls(
            symbol=symbol,
            base=base,
            quote=quote,
            tick=tick,
            lot=lot,
            min_notional=min_notional,
            base_decimals=max(base_decimals, decimals_of(lot)),
            quote_decimals=max(quote_decimals, decimals_of(tick) + decimals_of(lot)),
            venue=venue,
            kind=kind,
            source=source,
            unit_value=units_of(tick) * units_of(lot) // ONE,
            tick_units=units_of(tick),
            lot_units=units_of(lot),
            min_notional_units=units_of(min_notional),
        )

    @property
    def rules(self) -> InstrumentRules:
        """The rules alone."""
        return InstrumentRules(*(getattr(self, name) for name in InstrumentRules.__struct_fields__))

    def notional(self, price_ticks: int, quantity_lots: int) -> int:
        """Return price × quantity in quote units, exactly."""
        return price_ticks * quantity_lots * self.unit_value

    def value_of(self, base_units: int, price_ticks: int) -> int:
        """Return what `base_units` are worth at a price, in quote units, rounded half-even at the quote scale.

        Exact (nothing is rounded) when `base_units` are whole lots.
        """
        whole_lots, rest = divmod(base_units, self.lot_units)
        exact = price_ticks * whole_lots * self.unit_value
        if not rest:
            return exact
        step = step_of(self.quote_decimals)
        return exact + divide_half_even(price_ticks * self.unit_value * rest, self.lot_units * step) * step

    def price(self, ticks: int) -> Decimal:
        """Return a price in quote per base."""
        return Decimal(self.price_text(ticks))

    def quantity(self, lots: int) -> Decimal:
        """Return a quantity in base."""
        return Decimal(self.quantity_text(lots))

    def price_text(self, ticks: int) -> str:
        """Return a price as canonical decimal text."""
        return decimal_text(self.tick_units * ticks)

    def quantity_text(self, lots: int) -> str:
        """Return a quantity as canonical decimal text."""
        return decimal_text(self.lot_units * lots)

    def ticks(self, price: Decimal) -> int:
        """Return a price as whole ticks.

        Raises:
            DataError: the price is not a whole number of ticks.
        """
        return _steps(self.symbol, "price", price, self.tick)

    def lots(self, quantity: Decimal) -> int:
        """Return a quantity as whole lots.

        Raises:
            DataError: the quantity is not a whole number of lots.
        """
        return _steps(self.symbol, "quantity", quantity, self.lot)


def decimals_of(value: Decimal) -> int:
    """Return how many decimals a finite number needs (0 for a whole number)."""
    text = plain_text(value)
    return len(text.partition(".")[2])


def split_symbol(symbol: str) -> tuple[str, str]:
    """Split a symbol such as ``BTCUSDT`` or ``BTC/USDT`` into base and quote.

    The longest known quote asset at the end wins (``BTCTUSD`` is BTC/TUSD), unless it leaves no likely base: less than
    three letters (``BATUSD`` is BAT/USD, ``BNBUSD`` BNB/USD), a currency (``USDTUSD`` is USDT/USD), or a known longer
    asset without its last letter (``SHIBUSD`` is SHIB/USD). Where only one quote asset fits, any base will do. What
    is split wrongly by this rule (``OPBUSD``) is set as ``instruments.OPBUSD.quote``.

    Raises:
        DataError: no known quote asset ends the symbol.
    """
    for separator in SEPARATORS:
        base, found, quote = symbol.partition(separator)
        if found and base and quote:
            return base, quote
    splits = [(symbol[: -len(quote)], quote) for quote in QUOTES if symbol.endswith(quote) and symbol != quote]
    if splits:
        return next((split for split in splits if _is_likely(*split)), splits[-1])
    raise DataError(
        f"{symbol}: cannot tell base from quote asset; set instruments.{symbol}.base and instruments.{symbol}.quote"
    )


def _is_likely(base: str, quote: str) -> bool:
    """Whether a base is one that is traded against a quote, as far as names tell."""
    letters = base.lstrip("0123456789")
    return len(base) >= SHORTEST_BASE and letters != "USD" and letters + quote[0] not in ENDING_LIKE_A_QUOTE


def assets_of(symbol: str, base: str, quote: str) -> tuple[str, str]:
    """Return base and quote: one that is given (not empty) wins, the symbol tells the other.

    Raises:
        DataError: the symbol does not tell, or both are the same asset.
    """
    if base and not quote and symbol.startswith(base):
        quote = symbol[len(base) :].strip(SEPARATORS)
    elif quote and not base and symbol.endswith(quote):
        base = symbol[: -len(quote)].strip(SEPARATORS)
    if not base or not quote:
        split = split_symbol(symbol)
        base, quote = base or split[0], quote or split[1]
    if base == quote:
        raise DataError(f"{symbol}: base and quote are both {base}; set instruments.{symbol}.base or .quote to another")
    return base, quote


def _steps(symbol: str, what: str, value: Decimal, step: Decimal) -> int:
    count, rest = divmod(units_of(value), units_of(step))
    if rest:
        raise DataError(f"{symbol}: {what} {plain_text(value)} is not a multiple of {plain_text(step)}")
    return count
