"""Which markets of a file a run gets: the wanted symbols, one venue each, nothing that spot trading cannot replay."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from claire.adapters.marketdata import names
from claire.adapters.marketdata.raw import RawTrades
from claire.model.errors import DataError, UsageError, did_you_mean


def asked_symbols(symbols: Iterable[str]) -> list[str]:
    """Return the wanted symbols as Claire writes them, without repetition."""
    return list(dict.fromkeys(names.normal_symbol(symbol) for symbol in symbols))


def name_unnamed(trades: RawTrades, asked: Sequence[str]) -> None:
    """Give the trades of a file that does not tell its symbol the one that was asked for.

    Raises:
        UsageError: not exactly one was asked for.
    """
    if all(not symbol for _, symbol in trades.markets):
        if len(asked) != 1:
            raise UsageError(
                f"{trades.path}: neither a column nor the file's name tells the symbol. Give exactly one with --symbol."
            )
        trades.markets = [(venue, asked[0]) for venue, _ in trades.markets]


def present_symbols(trades: RawTrades) -> list[str]:
    """Return the symbols of a file, sorted."""
    return sorted({symbol: True for _, symbol in trades.markets if symbol})


def choose_markets(parts: Sequence[RawTrades], symbols: Iterable[str], venue: str | None) -> list[RawTrades]:
    """Keep the rows of the wanted symbols at one venue each, under common codes (sorted by symbol).

    Raises:
        DataError: a symbol is in no file, or is an inverse contract; a file holds none of the wanted symbols.
        UsageError: a choice is missing: a symbol is there for several venues; a file holds several symbols and none was
            chosen; or nothing tells the symbol.
    """
    asked = asked_symbols(symbols)
    for part in parts:
        name_unnamed(part, asked)
        present = present_symbols(part)
        if not asked and len(present) > 1:
            raise UsageError(f"{part.path}: holds {len(present)} symbols: {', '.join(present)}. Choose with --symbol.")
        if asked and not any(symbol in asked for symbol in present):
            wanted = " or ".join(asked)
            hint = did_you_mean(asked[0], present)
            raise DataError(f"{part.path}: holds no {wanted}.{hint} It holds {', '.join(present)}.")
    everything = {market: True for part in parts for market in part.markets if market[1]}
    wanted_symbols = asked or sorted({symbol: True for _, symbol in everything})
    place = parts[0].path if len(parts) == 1 else f"{parts[0].path} and {len(parts) - 1} more"
    chosen = sorted(
        (_market_for(place, symbol, list(everything), venue) for symbol in wanted_symbols), key=lambda m: m[1]
    )
    for market_venue, symbol in chosen:
        names.refuse_inverse(parts[0].path, symbol, market_venue)
    return [_keep(part, chosen, venue) for part in parts]


def _keep(part: RawTrades, chosen: list[tuple[str, str]], venue: str | None) -> RawTrades:
    wanted = np.array([market in chosen for market in part.markets], dtype=np.bool_)
    if not wanted.all():
        part = part.take(wanted[part.codes])
    recode = np.array([chosen.index(market) if market in chosen else -1 for market in part.markets], dtype=np.int32)
    part.codes = recode[part.codes]
    named = names.canonical_venue(venue) if venue else ""
    part.markets = [(market_venue or named, symbol) for market_venue, symbol in chosen]
    return part


def _market_for(
    place: Path | str, symbol: str, markets: Sequence[tuple[str, str]], venue: str | None
) -> tuple[str, str]:
    venues = sorted({v: True for v, s in markets if s == symbol})
    if not venues:
        present = sorted({s: True for _, s in markets})
        raise DataError(f"{place}: holds no {symbol}.{did_you_mean(symbol, present)} It holds {', '.join(present)}.")
    listed = ", ".join(v or "unnamed" for v in venues)
    if venue is None:
        if len(venues) > 1:
            raise UsageError(f"{place}: holds {symbol} for {len(venues)} venues: {listed}. Choose with --venue.")
        return venues[0], symbol
    wanted = names.canonical_venue(venue)
    alike = [v for v in venues if wanted in (v, v.partition("_")[2])]
    if len(alike) == 1:
        return alike[0], symbol
    if venues == [""]:
        return "", symbol
    raise DataError(f"{place}: holds no {symbol} of {wanted}.{did_you_mean(wanted, venues)} It holds it for {listed}.")
