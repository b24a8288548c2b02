"""Instruments: their steps, what they are worth, and which rules cannot be."""

from decimal import Decimal

import pytest

from claire.model.errors import DataError
from claire.model.instrument import Instrument, decimals_of, split_symbol

PEPE = Instrument.checked("PEPEUSDT", Decimal("0.00000001"), Decimal(1), min_notional=Decimal(1))


def test_prices_and_quantities_are_whole_steps() -> None:
    assert (PEPE.ticks(Decimal("0.00001234")), PEPE.lots(Decimal("5E+6"))) == (1_234, 5_000_000)
    assert (PEPE.price_text(1_234), PEPE.quantity_text(5_000_000)) == ("0.00001234", "5000000")
    assert (PEPE.price(1_230), PEPE.quantity(7)) == (Decimal("0.0000123"), Decimal(7))


def test_notional_is_price_times_quantity() -> None:
    assert PEPE.notional(1_234, 5_000_000) == 61_700_000_000_000_000_000  # 61.7 USDT
    assert PEPE.min_notional_units == 10**18


def test_a_value_is_exact_for_whole_lots_and_rounded_for_parts_of_one() -> None:
    abc = Instrument.checked("ABCUSDT", Decimal("0.01"), Decimal("0.1"))
    assert abc.value_of(3 * abc.lot_units, 12_345) == abc.notional(12_345, 3)
    assert abc.value_of(1, 12_345) == 0
    assert abc.value_of(10**8, 12_345) == 10**10  # 123.45 × 10⁻¹⁰, at 8 decimals
    assert abc.value_of(3 * abc.lot_units + 10**8, 12_345) == abc.notional(12_345, 3) + 10**10


@pytest.mark.parametrize("price", [Decimal("0.000000001"), Decimal("0.0000000155")])
def test_a_price_off_the_tick_is_refused(price: Decimal) -> None:
    with pytest.raises(DataError, match=r"PEPEUSDT: price 0\.\d+ is not a multiple of 0\.00000001"):
        PEPE.ticks(price)


def test_a_quantity_off_the_lot_is_refused() -> None:
    with pytest.raises(DataError, match=r"PEPEUSDT: quantity 1\.5 is not a multiple of 1"):
        PEPE.lots(Decimal("1.5"))


def test_steps_lose_their_trailing_zeros() -> None:
    padded = Instrument.checked("BTCUSDT", Decimal("0.0100"), Decimal("1E+1"))
    assert (str(padded.tick), str(padded.lot)) == ("0.01", "10")


def test_scales_are_never_coarser_than_the_steps() -> None:
    fine = Instrument.checked("PEPEUSDT", Decimal("1E-10"), Decimal("1E-8"), base_decimals=2, quote_decimals=2)
    assert (fine.base_decimals, fine.quote_decimals) == (8, 18)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"tick": Decimal(0)}, "tick 0 is not a positive number; set instruments.BTCUSDT.tick"),
        ({"lot": Decimal(-1)}, "lot -1 is not a positive number; set instruments.BTCUSDT.lot"),
        ({"tick": Decimal("NaN")}, "tick NaN is not a positive number"),
        ({"lot": Decimal("Infinity")}, "lot Infinity is not a positive number"),
        ({"min_notional": Decimal(-1)}, "min_notional -1 is not zero or more"),
        ({"min_notional": Decimal("1E-19")}, "min_notional 1E-19 has more than 18 decimals"),
        ({"tick": Decimal("1E-10"), "lot": Decimal("1E-9")}, "more than 18 decimals together"),
        ({"base_decimals": 19}, "base_decimals 19 is not 0–18"),
        ({"quote_decimals": -1}, "quote_decimals -1 is not 0–18"),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(rules: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Instrument.checked("BTCUSDT", **{"tick": Decimal("0.01"), "lot": Decimal("0.01"), **rules})  # type: ignore[arg-type]


REAL_MARKETS = {
    "USDT": "BTC PEPE 1000SHIB OP T USD1 USDE TUSD FDUSD DAI",
    "USDC": "ETH W",
    "USDE": "ENA",
    "USD1": "BTC",
    "USD": "BTC ETH XRP SOL USDC FDUSD DAI EUR GBP TUSD STETH WBTC T BAT DOT GRT APT ANT BNT QNT SNT MNT GMT FTT "
    "BTT HNT XBT WBT LIT HT USDT UST FXT IOST DENT SWEAT PNUT GOAT BLAST BNB ARB TRB SHIB DGB MOB "
    "1000SHIB",
    "TUSD": "BTC ETH SOL PEPE XRP ADA ARB DOGE USDC BNB BUSD SUI",
    "BUSD": "BTC ETH BNB SHIB SOL FTM MATIC USDT TUSD DOT BAT 1000SHIB",
    "FDUSD": "BTC ETH USDC",
    "EUR": "BTC",
    "GBP": "ETH",
    "TRY": "USDT",
    "BRL": "BTC",
    "DAI": "USDT",
    "BTC": "ETH WBTC BAT",
    "ETH": "STETH XRP BNB",
    "BNB": "ADA",
}
"""Base assets by the quote asset that they are traded against."""


@pytest.mark.parametrize(
    ("base", "quote"), [(base, quote) for quote, bases in REAL_MARKETS.items() for base in bases.split()]
)
def test_a_symbol_of_a_real_market_is_split_into_base_and_quote(base: str, quote: str) -> None:
    assert split_symbol(base + quote) == (base, quote)


@pytest.mark.parametrize(
    ("symbol", "pair"), [("BTC/EUR", ("BTC", "EUR")), ("BTC-USD", ("BTC", "USD")), ("XRP_ETH", ("XRP", "ETH"))]
)
def test_a_separator_tells_base_from_quote(symbol: str, pair: tuple[str, str]) -> None:
    assert split_symbol(symbol) == pair


@pytest.mark.parametrize("symbol", ["USDT", "BTCXYZ", ""])
def test_a_symbol_without_a_known_quote_says_what_to_set(symbol: str) -> None:
    with pytest.raises(DataError, match=r"set instruments\..*\.base and instruments\..*\.quote"):
        split_symbol(symbol)


def test_base_and_quote_may_be_given() -> None:
    odd = Instrument.checked("ODDXYZ", Decimal(1), Decimal(1), base="ODD", quote="XYZ")
    assert (odd.base, odd.quote) == ("ODD", "XYZ")


@pytest.mark.parametrize(
    ("symbol", "given", "pair"),
    [
        ("BTCUSDT", {"base": "XBT"}, ("XBT", "USDT")),
        ("BTCUSDT", {"quote": "USD"}, ("BTC", "USD")),
        ("OPBUSD", {"base": "OP"}, ("OP", "BUSD")),
        ("OPBUSD", {"quote": "BUSD"}, ("OP", "BUSD")),
        ("ODDXYZ", {"base": "ODD"}, ("ODD", "XYZ")),
        ("ODDXYZ", {"quote": "XYZ"}, ("ODD", "XYZ")),
        ("ODD/XYZ", {"base": "ODD"}, ("ODD", "XYZ")),
        ("ODD-XYZ", {"quote": "XYZ"}, ("ODD", "XYZ")),
        ("BTCUSDT", {"base": "BTCUSDT"}, ("BTCUSDT", "USDT")),
    ],
)
def test_one_asset_given_wins_and_the_symbol_tells_the_other(
    symbol: str, given: dict[str, str], pair: tuple[str, str]
) -> None:
    made = Instrument.checked(symbol, Decimal(1), Decimal(1), **given)  # type: ignore[arg-type]
    assert (made.base, made.quote) == pair


@pytest.mark.parametrize("given", [{"base": "ODD"}, {"quote": "XYZ"}])
def test_one_asset_given_of_a_symbol_that_tells_nothing_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"set instruments\.ABCDEF\.base and instruments\.ABCDEF\.quote"):
        Instrument.checked("ABCDEF", Decimal(1), Decimal(1), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("symbol", "given"), [("BTCUSDT", {"base": "USDT"}), ("BTCUSDT", {"quote": "BTC"}), ("USDTUSDT", {})]
)
def test_an_asset_is_not_traded_against_itself(symbol: str, given: dict[str, str]) -> None:
    with pytest.raises(DataError, match=rf"{symbol}: base and quote are both \w+; set instruments\.{symbol}\.base"):
        Instrument.checked(symbol, Decimal(1), Decimal(1), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "decimals"), [("1", 0), ("1E+2", 0), ("0.10", 1), ("1E-8", 8)])
def test_decimals_are_those_that_are_needed(value: str, decimals: int) -> None:
    assert decimals_of(Decimal(value)) == decimals
