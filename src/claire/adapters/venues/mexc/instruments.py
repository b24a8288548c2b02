"""Which symbols of MEXC may be traded, and by which rules.

A symbol is closed for one of these reasons, and each has words: it is not listed, not online, not open to the API, closed on a
side, not among the API's symbols, not among this key's. The venue lists order types that it then refuses, and takes some that
it never lists, so IOC (and LIMIT where that is refused) is tried with the test endpoint, once per symbol, and remembered.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.adapters.venues.mexc.replies import SymbolInfo
from claire.model.errors import DataError, UsageError, did_you_mean
from claire.model.instrument import Instrument
from claire.model.orders import OrderType

ONLINE: Final = ("1", "ENABLED")
"""`status` of a symbol that trades; very old answers used the word."""

STATUS: Final = {"2": "paused", "3": "offline"}
SIDES: Final = {"2": "open to buyers only", "3": "open to sellers only", "4": "closed on both sides"}
HINT: Final = "claire symbols --venue mexc"


class Listing(Struct, frozen=True):
    """What the venue says about the API's symbols."""

    infos: Mapping[str, SymbolInfo]
    api_symbols: Collection[str] | None = None
    """GET defaultSymbols; None: not asked."""
    key_symbols: Collection[str] | None = None
    """GET selfSymbols: what this key may trade; None: not asked, or the key is not bound to symbols."""


class Tradable(Struct, frozen=True):
    """A symbol that may be traded, and its rules."""

    instrument: Instrument
    min_quantity: Decimal
    """In base; 0: none."""
    min_notional: Decimal
    """Of a limit order, in quote."""
    min_notional_market: Decimal
    max_notional: Decimal | None
    max_notional_market: Decimal | None
    listed_types: tuple[str, ...]
    maker_rate: Decimal | None
    """The listing's own, as a fraction; the account's is GET tradeFee."""
    taker_rate: Decimal | None


def closed_because(symbol: str, listing: Listing) -> str:
    """Return why a symbol cannot be traded through the API; empty: it can."""
    info = listing.infos.get(symbol)
    if info is None:
        return f"MEXC lists no symbol {symbol}.{did_you_mean(symbol, listing.infos)}"
    status, side = str(info.status), str(info.trade_side_type)
    if status not in ONLINE:
        return f"{symbol} is {STATUS.get(status, 'not online')} at MEXC (status {status})"
    if not info.is_spot_trading_allowed:
        return f"MEXC refuses orders for {symbol} through the API (isSpotTradingAllowed = false)"
    if side in SIDES:
        return f"{symbol} is {SIDES[side]} at MEXC (tradeSideType {side})"
    if listing.api_symbols is not None and symbol not in listing.api_symbols:
        return f"{symbol} is not among the symbols that MEXC trades through the API (defaultSymbols)"
    if listing.key_symbols is not None and symbol not in listing.key_symbols:
        return f"this key may not trade {symbol} (selfSymbols); add it on MEXC's page of API keys"
    return ""


def require_tradable(symbols: Sequence[str], listing: Listing) -> dict[str, Tradable]:
    """Return the rules of symbols that may all be traded.

    Raises:
        UsageError: one may not, with the reason of each.
        DataError: a symbol's rules cannot be held exactly.
    """
    reasons = [reason for symbol in symbols if (reason := closed_because(symbol, listing))]
    if reasons:
        raise UsageError("\n".join((*reasons, f"Choose another symbol: {HINT}")))
    return {symbol: tradable(listing.infos[symbol]) for symbol in symbols}


def tradable(info: SymbolInfo) -> Tradable:
    """Return the rules of one symbol, open or not.

    Raises:
        DataError: they cannot be held exactly (see `Instrument.checked`).
    """
    decimals = info.quote_precision
    if info.quote_asset_precision is not None and info.quote_asset_precision != decimals:
        raise DataError(
            f"{info.symbol}: MEXC names two numbers of price decimals, {decimals} and {info.quote_asset_precision};"
            f" which is the tick is not known. Set instruments.{info.symbol}.tick, or choose another: {HINT}"
        )
    market = info.quote_amount_precision_market
    least_market = info.quote_amount_precision if market is None else market
    instrument = Instrument.checked(
        info.symbol,
        Decimal(1).scaleb(-decimals),
        Decimal(1).scaleb(-info.base_asset_precision),
        base=info.base_asset,
        quote=info.quote_asset,
        # One number for all order types: an exit goes at market, whatever the entry was.
        min_notional=Decimal(max(info.quote_amount_precision, least_market)),
        base_decimals=info.base_commission_precision,
        quote_decimals=info.quote_commission_precision,
        venue="mexc",
        source="venue",
    )
    return Tradable(
        instrument=instrument,
        min_quantity=Decimal(info.base_size_precision),
        min_notional=Decimal(info.quote_amount_precision),
        min_notional_market=Decimal(least_market),
        max_notional=_plain(info.max_quote_amount),
        max_notional_market=_plain(info.max_quote_amount_market),
        listed_types=info.order_types,
        maker_rate=_plain(info.maker_commission),
        taker_rate=_plain(info.taker_commission),
    )


def _plain(value: Decimal | None) -> Decimal | None:
    return None if value is None else Decimal(value)


class TypeMemory:
    """Which order types symbols refused when they were tried, by symbol; kept in a file where one is named."""

    def __init__(self, file: Path | None = None) -> None:
        """Remember what `file` says, if it exists.

        Raises:
            DataError: the file cannot be read.
        """
        self._file = file
        self._known: dict[str, dict[str, str]] = {}
        if file is not None and file.exists():
            try:
                loaded = json.loads(file.read_text(encoding="utf-8"))
                self._known = {str(s): {str(t): str(c) for t, c in types.items()} for s, types in loaded.items()}
            except (OSError, ValueError, AttributeError) as e:
                raise DataError(f"{file}: cannot be read ({e}); delete it, and the order types are tried again") from e

    def knows(self, symbol: str, kind: OrderType) -> bool:
        """Whether the type was tried."""
        return kind.value in self._known.get(symbol, {})

    def refusal(self, symbol: str, kind: OrderType) -> str:
        """The code with which the symbol refused the type; empty: it takes it, or was not tried."""
        return self._known.get(symbol, {}).get(kind.value, "")

    def put(self, symbol: str, kind: OrderType, code: str) -> None:
        """Remember what came of trying (an empty code: it takes the type)."""
        self._known.setdefault(symbol, {})[kind.value] = code
        if self._file is not None:
            partial = self._file.with_name(self._file.name + ".partial")
            partial.write_text(json.dumps(self._known, sort_keys=True, indent=1) + "\n", encoding="utf-8")
            partial.replace(self._file)

    def require_way_out(self, symbol: str) -> None:
        """Make sure that a position can be sold, by one type or the other.

        Raises:
            UsageError: the symbol refuses both IOC and LIMIT.
        """
        ioc, limit = self.refusal(symbol, OrderType.IOC), self.refusal(symbol, OrderType.LIMIT)
        if ioc and limit:
            raise UsageError(
                f"{symbol} takes neither IMMEDIATE_OR_CANCEL (code {ioc}) nor LIMIT (code {limit}) through the API,"
                f" so a position could not be left.\nChoose another symbol: {HINT}"
            )
