"""Instruments of the simulated venue: precisions, limits, fees, and what each refuses.

The fields are those of ``exchangeInfo`` under names that say what they mean (sheet 3.3: ``quotePrecision`` is the price's
decimals, ``baseSizePrecision`` the smallest quantity, ``quoteAmountPrecision`` the smallest notional). `LIQUID` are pairs as
one meets them; `SPECIAL` has one pair of every kind that refuses something, because a client has to meet those too.
"""

import hashlib
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from claire.model.errors import ConfigError, did_you_mean
from claire.model.instrument import Instrument, decimals_of
from claire.model.money import DECIMALS, decimal_text, units_of

LISTED_TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER")
"""The only order types that the venue ever lists; IMMEDIATE_OR_CANCEL and FILL_OR_KILL work without being listed."""

ONLINE, PAUSED, OFFLINE = "1", "2", "3"


class SymbolRule(Struct, frozen=True, kw_only=True):
    """One pair and its rules (one version of them)."""

    symbol: str
    base: str
    quote: str
    price_decimals: int
    """Decimals of a price; the tick is 10⁻ⁿ."""
    quantity_decimals: int
    """Decimals of a quantity; the lot is 10⁻ⁿ."""
    start_price: Decimal
    """Where the seeded flow begins, in quote per base."""
    min_quantity: Decimal = Decimal(0)
    min_notional: Decimal = Decimal(1)
    max_notional: Decimal = Decimal(2_000_000)
    min_notional_market: Decimal = Decimal(1)
    max_notional_market: Decimal = Decimal(100_000)
    base_fee_decimals: int = 8
    quote_fee_decimals: int = 8
    maker_rate: Decimal = Decimal(0)
    taker_rate: Decimal = Decimal("0.0005")
    status: str = ONLINE
    api_trading: bool = True
    """``isSpotTradingAllowed``: false closes the pair to orders through the API."""
    side_rule: int = 1
    """``tradeSideType``: 1 both sides, 2 buys only, 3 sells only, 4 closed."""
    special_treatment: bool = False
    order_types: tuple[str, ...] = LISTED_TYPES
    refuses: tuple[str, ...] = ()
    """Order types refused although the listing does not tell (code 30041; a MARKET order 30019)."""
    by_permission: bool = False
    """Only keys that name the pair may trade it (codes 30020 otherwise)."""
    price_band: Decimal | None = None
    """Fraction m of PERCENT_PRICE_BY_SIDE: buys up to last × (1+m), sells down to last × (1−m), else code 30087."""

    @property
    def tick_units(self) -> int:
        """Quote units in one tick."""
        units: int = 10 ** (DECIMALS - self.price_decimals)
        return units

    @property
    def lot_units(self) -> int:
        """Base units in one lot."""
        units: int = 10 ** (DECIMALS - self.quantity_decimals)
        return units

    @property
    def unit_value(self) -> int:
        """Quote units that one lot is worth at a price of one tick."""
        units: int = 10 ** (DECIMALS - self.price_decimals - self.quantity_decimals)
        return units

    @property
    def symbol_id(self) -> str:
        """The 32 hexadecimal digits by which pushes name the pair; derived, so every run has the same."""
        return hashlib.sha256(self.symbol.encode()).hexdigest()[:32]

    def price_text(self, ticks: int) -> str:
        """A price as most pushes write it: trimmed."""
        return decimal_text(ticks * self.tick_units)

    def quantity_text(self, lots: int) -> str:
        """A quantity as most pushes write it: trimmed."""
        return decimal_text(lots * self.lot_units)

    def padded_price(self, ticks: int) -> str:
        """A price as limit depth and REST depth write it: with all its decimals."""
        return padded(ticks, self.price_decimals)

    def padded_quantity(self, lots: int) -> str:
        """A quantity as limit depth and REST depth write it: with all its decimals."""
        return padded(lots, self.quantity_decimals)

    def ticks(self, price: Decimal) -> int | None:
        """A price in ticks, or None if it has too many decimals."""
        return _steps(price, self.price_decimals)

    def lots(self, quantity: Decimal) -> int | None:
        """A quantity in lots, or None if it has too many decimals."""
        return _steps(quantity, self.quantity_decimals)

    def checked(self) -> "SymbolRule":
        """Return itself.

        Raises:
            ConfigError: precisions too fine for exact money, or a start price that is no price.
        """
        if (
            min(self.price_decimals, self.quantity_decimals) < 0
            or self.price_decimals + self.quantity_decimals > DECIMALS
        ):
            raise ConfigError(
                f"{self.symbol}: price and quantity decimals {self.price_decimals} and {self.quantity_decimals} must be"
                f" at least 0 and at most {DECIMALS} together"
            )
        if not self.start_price.is_finite() or not self.ticks_near(self.start_price):
            raise ConfigError(
                f"{self.symbol}: start price {self.start_price} is below one tick or no number; give it more decimals"
            )
        return self

    def ticks_near(self, price: Decimal) -> int:
        """The whole ticks of a price, rounded down."""
        return int(price.scaleb(self.price_decimals))


def padded(steps: int, decimals: int) -> str:
    """Return a count of steps of 10⁻ⁿ as text with all n decimals."""
    if not decimals:
        return str(steps)
    whole, rest = divmod(steps, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}"


def _steps(value: Decimal, decimals: int) -> int | None:
    numerator, denominator = value.as_integer_ratio()
    steps, rest = divmod(numerator * int(10**decimals), denominator)
    return None if rest else steps


def _pair(base: str, quote: str, price: str, price_decimals: int, quantity_decimals: int) -> SymbolRule:
    return SymbolRule(
        symbol=base + quote,
        base=base,
        quote=quote,
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
        start_price=Decimal(price),
        base_fee_decimals=max(quantity_decimals, 8),
        quote_fee_decimals=max(price_decimals, 8),
        min_notional=Decimal(1) if quote in ("USDT", "USDC") else Decimal("0.0001"),
        min_notional_market=Decimal(1) if quote in ("USDT", "USDC") else Decimal("0.0001"),
    )


LIQUID: tuple[SymbolRule, ...] = (
    _pair("BTC", "USDT", "84270.01", 2, 8),
    _pair("ETH", "USDT", "3219.58", 2, 5),
    _pair("SOL", "USDT", "148.33", 2, 3),
    _pair("XRP", "USDT", "2.1043", 4, 2),
    _pair("BNB", "USDT", "871.2", 2, 4),
    _pair("DOGE", "USDT", "0.15821", 5, 1),
    _pair("ADA", "USDT", "0.4673", 4, 2),
    _pair("TRX", "USDT", "0.27418", 5, 2),
    _pair("AVAX", "USDT", "14.52", 3, 2),
    _pair("LINK", "USDT", "13.417", 3, 2),
    _pair("LTC", "USDT", "88.06", 2, 3),
    _pair("DOT", "USDT", "2.693", 3, 2),
    _pair("SUI", "USDT", "1.5218", 4, 2),
    _pair("TON", "USDT", "1.613", 3, 2),
    _pair("NEAR", "USDT", "2.104", 3, 2),
    _pair("ATOM", "USDT", "2.581", 3, 2),
    _pair("PEPE", "USDT", "0.000004731", 9, 0),
    _pair("KAS", "USDT", "0.04416", 6, 2),
    _pair("MX", "USDT", "2.0814", 4, 2),
    _pair("ATLAS", "USDT", "0.0004542", 7, 0),
    _pair("BTC", "USDC", "84262.4", 2, 6),
    _pair("ETH", "BTC", "0.038205", 6, 4),
    _pair("XRP", "ETH", "0.00065361", 8, 2),
)
"""Pairs that refuse nothing."""


def _special(base: str, **changes: object) -> SymbolRule:
    plain = _pair(base, "USDT", "1.25", 4, 2)
    return SymbolRule(**{name: getattr(plain, name) for name in plain.__struct_fields__} | changes)


SPECIAL: tuple[SymbolRule, ...] = (
    _special("NOAPI", api_trading=False),
    _special("BUYONLY", side_rule=2),
    _special("SELLONLY", side_rule=3),
    _special("CLOSED", side_rule=4),
    _special("PAUSED", status=PAUSED),
    _special("NOMARKET", order_types=("LIMIT", "LIMIT_MAKER")),
    _special("HUSHMARKET", refuses=("MARKET",)),
    _special("NOIOC", refuses=("IMMEDIATE_OR_CANCEL", "FILL_OR_KILL")),
    _special("INVITED", by_permission=True),
    _special("RISKY", special_treatment=True),
    _special("BANDED", price_band=Decimal("0.05")),
    _special("龙虾"),
)
"""One pair of each kind that refuses something, and one whose name is not ASCII."""

BUILT_IN: tuple[SymbolRule, ...] = LIQUID + SPECIAL


def generate(count: int, quote: str = "USDT") -> tuple[SymbolRule, ...]:
    """Make `count` ordinary pairs ``C0000USDT``, ``C0001USDT``, … of varied price and precision, always the same ones.

    For load: the real venue lists about 2,000.
    """
    pairs = []
    for index in range(count):
        digest = int.from_bytes(hashlib.sha256(f"{quote}:{index}".encode()).digest()[:8], "big")
        exponent = digest % 7 - 3  # prices from 0.001 to 9999
        price_decimals = 6 - exponent if exponent > -3 else 8
        price = Decimal(1000 + digest // 7 % 9000).scaleb(exponent - 3)
        pairs.append(_pair(f"C{index:04d}", quote, f"{price:f}", min(price_decimals, 8), 2 if exponent < 1 else 4))
    return tuple(pairs)


def choose(names: Iterable[str], rules: Iterable[SymbolRule] = BUILT_IN) -> tuple[SymbolRule, ...]:
    """Pick rules by symbol, in the order of the names.

    Raises:
        ConfigError: there is no such symbol.
    """
    known = {rule.symbol: rule for rule in rules}
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigError(
            f"{missing[0]}: the simulator has no such symbol.{did_you_mean(missing[0], known)} It has {', '.join(known)}"
        )
    return tuple(known[name] for name in names)


def rule_of(
    instrument: Instrument, *, maker_rate: Decimal = Decimal(0), taker_rate: Decimal = Decimal("0.0005")
) -> SymbolRule:
    """Make the rule of a pair that is known as an instrument (of a recording, say).

    Raises:
        ConfigError: its tick or lot is not a power of ten, and the venue knows no other steps.
    """
    price_decimals, quantity_decimals = decimals_of(instrument.tick), decimals_of(instrument.lot)
    for name, step, decimals in (("tick", instrument.tick, price_decimals), ("lot", instrument.lot, quantity_decimals)):
        if step != Decimal(1).scaleb(-decimals):
            raise ConfigError(
                f"{instrument.symbol}: {name} {step} is not a power of ten; the simulated venue has only such steps;"
                f" set instruments.{instrument.symbol}.{name}"
            )
    return SymbolRule(
        symbol=instrument.symbol,
        base=instrument.base,
        quote=instrument.quote,
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
        start_price=Decimal(1).scaleb(max(0, 2 - price_decimals)),
        min_notional=instrument.min_notional,
        min_notional_market=instrument.min_notional,
        max_notional=Decimal(10**15),
        max_notional_market=Decimal(10**15),
        base_fee_decimals=instrument.base_decimals,
        quote_fee_decimals=instrument.quote_decimals,
        maker_rate=maker_rate,
        taker_rate=taker_rate,
    ).checked()


def minimum_units(rule: SymbolRule, *, market: bool) -> tuple[int, int]:
    """The smallest and the largest notional of an order, in quote units."""
    low = rule.min_notional_market if market else rule.min_notional
    high = rule.max_notional_market if market else rule.max_notional
    return units_of(low), units_of(high)
