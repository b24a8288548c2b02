"""`claire symbols --venue mexc`: what MEXC trades through the API, at which cost; and a choice by rule that a run can pin.

A choice is a dated file: the rules, the numbers that decided, and the symbols. A run that names the file trades the same symbols
tomorrow, whatever the venue lists by then.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.instruments import Listing, closed_because, tradable
from claire.adapters.venues.mexc.opening import read_listing
from claire.adapters.venues.mexc.replies import BookTicker, Ticker24h
from claire.adapters.venues.mexc.rest import MexcRest
from claire.model.errors import DataError
from claire.model.instrument import InstrumentRules

FORMAT: Final = "claire-symbols-1"
BPS: Final = Decimal("0.01")


class Offer(Struct, frozen=True):
    """One symbol as the venue offers it."""

    symbol: str
    base: str
    quote: str
    closed: str
    """Why the API does not trade it; empty: it does."""
    spread_bps: Decimal | None
    """Of the middle, right now; None: a side of the book is empty."""
    spread_ticks: int | None
    volume: Decimal | None
    """Of the last 24 hours, in the quote asset."""
    min_notional: Decimal
    maker_pct: Decimal | None
    """The listing's rate in percent; the account's own may differ (GET tradeFee)."""
    taker_pct: Decimal | None
    order_types: tuple[str, ...]
    rules: InstrumentRules | None
    """None: they cannot be held exactly, and the symbol counts as closed."""


class Wanted(Struct, frozen=True):
    """Rules of a choice."""

    quote: str = "USDT"
    max_spread_bps: Decimal | None = None
    min_volume: Decimal | None = None
    """In the quote asset, of the last 24 hours."""
    top: int | None = None
    """Only so many, those of the largest volume."""
    include_closed: bool = False


class Selection(Struct, frozen=True):
    """A choice, as it is written and pinned."""

    format: str
    venue: str
    ts_ms: int
    """Venue time of the choice."""
    wanted: Wanted
    symbols: tuple[str, ...]
    offers: tuple[Offer, ...]


async def read_offers(rest: MexcRest) -> list[Offer]:
    """Ask for everything that is offered, by name.

    Raises:
        MexcError: the venue did not say.
    """
    listing = await read_listing(rest)
    books = {row.symbol: row for row in await rest.get(requests.book_ticker(), tuple[BookTicker, ...])}
    days = {row.symbol: row for row in await rest.get(requests.ticker_24h(), tuple[Ticker24h, ...])}
    return [offer_of(symbol, listing, books.get(symbol), days.get(symbol)) for symbol in sorted(listing.infos)]


def offer_of(symbol: str, listing: Listing, book: BookTicker | None, day: Ticker24h | None) -> Offer:
    """Put together what is known of one listed symbol."""
    info = listing.infos[symbol]
    closed = closed_because(symbol, listing)
    rules, maker, taker = None, info.maker_commission, info.taker_commission
    min_notional = Decimal(info.quote_amount_precision)
    try:
        known = tradable(info)
        rules, min_notional = known.instrument.rules, known.instrument.min_notional
    except DataError as e:
        closed = closed or str(e)
    spread_bps = spread_ticks = None
    if book is not None and book.bid_price and book.ask_price:
        spread = book.ask_price - book.bid_price
        spread_bps = (spread * 20_000 / (book.ask_price + book.bid_price)).quantize(BPS)
        spread_ticks = int(spread / rules.tick) if rules is not None else None
    return Offer(
        symbol=symbol,
        base=info.base_asset,
        quote=info.quote_asset,
        closed=closed,
        spread_bps=spread_bps,
        spread_ticks=spread_ticks,
        volume=None if day is None or day.quote_volume is None else Decimal(day.quote_volume),
        min_notional=min_notional,
        maker_pct=None if maker is None else maker * 100,
        taker_pct=None if taker is None else taker * 100,
        order_types=info.order_types,
        rules=rules,
    )


def choose(offers: Sequence[Offer], wanted: Wanted) -> list[Offer]:
    """Return the offers that fit, those of the largest volume first; equal volumes by name."""
    fitting = [offer for offer in offers if _fits(offer, wanted)]
    fitting.sort(key=lambda offer: (-(offer.volume or Decimal(0)), offer.symbol))
    return fitting if wanted.top is None else fitting[: wanted.top]


def _fits(offer: Offer, wanted: Wanted) -> bool:
    if offer.closed and not wanted.include_closed:
        return False
    if wanted.quote and offer.quote != wanted.quote:
        return False
    if wanted.max_spread_bps is not None and (offer.spread_bps is None or offer.spread_bps > wanted.max_spread_bps):
        return False
    return wanted.min_volume is None or (offer.volume is not None and offer.volume >= wanted.min_volume)


def selection_of(chosen: Sequence[Offer], wanted: Wanted, ts_ms: int) -> Selection:
    """Return a choice as it is written."""
    return Selection(FORMAT, "mexc", ts_ms, wanted, tuple(offer.symbol for offer in chosen), tuple(chosen))


def write_selection(selection: Selection, file: Path) -> None:
    """Write a choice.

    Raises:
        DataError: the file exists or cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(selection), indent=1)
    try:
        with file.open("xb") as opened:
            opened.write(text + b"\n")
    except FileExistsError:
        raise DataError(
            f"{file}: exists already; a choice is never changed. Choose another name for a new one."
        ) from None
    except OSError as e:
        raise DataError(f"{file}: cannot be written ({e.strerror}). Choose another place.") from e


def read_selection(file: Path) -> Selection:
    """Read a choice that a run pins.

    Raises:
        DataError: the file is missing, broken, of another format or empty of symbols.
    """
    try:
        selection = msgspec.json.decode(file.read_bytes(), type=Selection)
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file. Make one: claire symbols --venue mexc --out {file}") from None
    except (OSError, msgspec.DecodeError) as e:
        raise DataError(
            f"{file}: is no choice of symbols ({e}). Make one: claire symbols --venue mexc --out FILE"
        ) from e
    if selection.format != FORMAT:
        raise DataError(f"{file}: is of format {selection.format}, and this Claire reads {FORMAT}. Make it again.")
    if not selection.symbols:
        raise DataError(f"{file}: chose no symbol. Loosen its rules: claire symbols --venue mexc --out FILE")
    return selection
