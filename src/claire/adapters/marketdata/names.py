"""What a file name, a symbol and a venue tell: which market this is, and whether Claire may replay it as spot."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

from claire.model.errors import DataError
from claire.model.instrument import QUOTES, split_symbol

_EXCHANGES: Final = (
    "binance",
    "bitfinex",
    "okcoin",
    "mexc",
    "okx",
    "bybit",
    "kraken",
    "coinbase",
    "kucoin",
    "gateio",
    "bitstamp",
)
_LINEAR: Final = ("um", "usdm", "futures", "swap", "perp", "linear")
_INVERSE: Final = ("cm", "coinm", "inverse")
_ALIASES: Final = {"usdm": "um", "coinm": "cm", "futures": "um"}


def canonical_venue(venue: str) -> str:
    """Return a venue under its one name (``binance_usdm`` and ``binance_um`` are the same)."""
    exchange, found, market = venue.strip().lower().partition("_")
    return f"{exchange}_{_ALIASES.get(market, market)}" if found else exchange


def venue_of_name(name: str) -> str:
    """Return the venue that a file name speaks of, such as ``binance_um``; empty where it does not say."""
    words = [word.lower() for word in re.split(r"[-_. ]+", name)]
    exchange = next((word for word in words if word in _EXCHANGES), "")
    market = next((word for word in words if word in ("spot", *_LINEAR, *_INVERSE)), "")
    if exchange:
        return canonical_venue(f"{exchange}_{market}" if market else exchange)
    return canonical_venue(f"binance_{market}") if market in (*_LINEAR, *_INVERSE) else ""


def symbol_of_name(name: str) -> str:
    """Return the symbol that a file name speaks of, such as ``BTCUSDT``; empty where it does not say."""
    words = [word for word in re.split(r"[-_. ]+", name) if word]
    for word, following in pairwise([*words, ""]):
        if not re.fullmatch(r"[A-Z0-9]{2,20}", word) or word.isdigit():
            continue
        if following in QUOTES and word not in QUOTES[:9]:
            return word + following
        if any(word.endswith(quote) and len(word) > len(quote) + 1 for quote in QUOTES):
            return f"{word}_PERP" if following == "PERP" else word
    return ""


def is_inverse(symbol: str, venue: str) -> bool:
    """Tell whether a contract is settled in its base asset (COIN-M): its quantity counts quote, not base."""
    market = canonical_venue(venue).partition("_")[2]
    return market in _INVERSE or bool(re.fullmatch(r"[A-Z0-9]+USD_(PERP|\d{6})", symbol))


def is_linear_contract(venue: str) -> bool:
    """Tell whether a venue trades contracts settled in the quote asset (USD-M)."""
    return canonical_venue(venue).partition("_")[2] in _LINEAR


def refuse_inverse(path: Path, symbol: str, venue: str) -> None:
    """Refuse an inverse contract.

    Raises:
        DataError: the contract is inverse.
    """
    if is_inverse(symbol, venue):
        raise DataError(
            f"{path}: {symbol}{f' ({venue})' if venue else ''} is an inverse contract: its quantity counts quote currency and its"
            " profit is paid in the base asset, so it cannot be replayed as spot. Choose a spot or USDT-margined symbol."
        )


def normal_symbol(symbol: str) -> str:
    """Return a symbol as Claire writes it: capitals, no separator between base and quote (``BTC/USDT`` → ``BTCUSDT``)."""
    text = symbol.strip().upper()
    if text.endswith("_PERP") or re.fullmatch(r"[A-Z0-9]+_\d{6}", text):
        return text
    text = text.partition(":")[0]
    if any(separator in text for separator in "/-_"):
        base, quote = split_symbol(text)
        return base + quote
    return text
