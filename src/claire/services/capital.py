"""The smallest capital: from how much on can an entry ever pass risk, under these settings, at this price.

The venue takes no order below its minimum notional, an entry has to stay worth selling at its stop, and a position is only a
share of the capital. Together they ask for a capital below which a run would deny every entry for ever; better to say so at the
start.
The controls are not repeated here: risk itself is asked, with an account that holds nothing but cash.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final

import msgspec
from msgspec import Struct, structs

from claire.adapters.config import account_of, parameters
from claire.adapters.config.schema import AllocationMode, Settings
from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.replies import PriceTicker
from claire.adapters.venues.mexc.rest import MexcRest
from claire.latch import ceilings
from claire.model.books import Books
from claire.model.decisions import Denial, Intent, Regime, Signal
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.market import Mark, Side
from claire.model.money import decimal_of, decimal_text, plain_text, units_of
from claire.services.assembly import Assembly, allocation_rules, risk_rules, symbols_of
from claire.stages.risk import ENTRY_OVER_MIN_NOTIONAL, Identity, Risk, RiskRules, quantity_lots
from claire.strategies import load

PCT_STEP: Final = Decimal("0.1")
"""A position size that would help is named in steps of so many percent."""
MOST_LOTS_TRIED: Final = 4
"""Lots above the fewest that are tried where a limit leaves no room for those."""

MOST_TOLD: Final = 5
"""Symbols that a result names."""


class Entry(Struct, frozen=True):
    """What a strategy would buy of one symbol."""

    instrument: Instrument
    price_ticks: int
    stop_pct: float
    fraction: Decimal
    """0–1: the largest share of the ordinary size that allocation ever gives."""


class SymbolCapital(Struct, frozen=True):
    """Whether one strategy can trade one symbol with a capital. Amounts are units of the currency."""

    strategy_id: str
    symbol: str
    fraction: Decimal
    """The share of the ordinary size that was reckoned with: the largest that allocation ever gives."""
    can_trade: bool
    smallest: int | None
    """The smallest capital with which it can; None: it can with this one, or a limit always denies it."""
    denial: Denial | None = None
    """Why it cannot."""


class CapitalCheck(Struct, frozen=True):
    """Which symbols a capital is enough for."""

    currency: str
    capital: int
    symbols: tuple[SymbolCapital, ...]
    advice: str = ""
    """What would help, where no symbol can be traded."""

    @property
    def too_small(self) -> tuple[SymbolCapital, ...]:
        """The symbols that cannot be traded."""
        return tuple(each for each in self.symbols if not each.can_trade)

    @property
    def can_trade(self) -> bool:
        """Whether at least one symbol can be traded."""
        return not self.symbols or any(each.can_trade for each in self.symbols)

    @property
    def smallest(self) -> int | None:
        """The smallest capital above this one with which some symbol can be traded; None: more capital does not help."""
        larger = [each.smallest for each in self.symbols if each.smallest is not None]
        return min((smallest for smallest in larger if smallest > self.capital), default=None)

    def warnings(self) -> list[str]:
        """Return what a result should say, one sentence for each symbol that cannot be traded."""
        return [self._says(each) for each in self.too_small]

    def require(self) -> None:
        """Refuse a run that could never trade.

        Raises:
            ConfigError: no symbol can be traded.
        """
        if not self.can_trade:
            has = f"account.capital = {decimal_text(self.capital)} {self.currency} is too small to ever trade."
            raise ConfigError(" ".join((has, *self.warnings(), self.advice)).strip())

    def _says(self, each: SymbolCapital) -> str:
        because = f"{each.denial.code}: {each.denial.because}" if each.denial is not None else ""
        share = "" if each.fraction == 1 else f" at the allocation of {plain_text(each.fraction)}"
        if (
            each.smallest is None or each.smallest <= self.capital
        ):  # a limit as tight as the position: no matter how much
            has = f"{decimal_text(self.capital)} {self.currency}"
            return f"{each.strategy_id} cannot enter {each.symbol} with {has}{share}, and more is no help ({because})."
        needed = f"{shown(each.smallest)} {self.currency}"
        return f"{each.strategy_id} cannot enter {each.symbol} with less than {needed}{share} ({because})."


def check_capital(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    prices: Mapping[str, int],
    capital: Decimal,
    currency: str,
) -> CapitalCheck:
    """Find out which symbols a capital is enough for.

    Args:
        settings: The effective configuration.
        instruments: The rules of every symbol.
        prices: Last price of each symbol in ticks; a symbol without one is left out.
        capital: What may be traded, in the currency.
        currency: Of the account.
    """
    rules, units = risk_rules(settings), units_of(capital)
    fraction = largest_fraction(settings)
    entries: list[Entry] = []
    found: list[SymbolCapital] = []
    for strategy in settings.strategy:
        kind = load(strategy.kind)
        stop_pct = msgspec.convert(parameters(settings, strategy.id), kind.Params).stop_loss_pct
        for symbol in symbols_of(strategy, instruments):
            if not prices.get(symbol):
                continue
            entry = Entry(instruments[symbol], prices[symbol], stop_pct, fraction)
            denial = refusal(rules, entry, units)
            smallest = None if denial is None else smallest_capital(rules, entry)
            found.append(SymbolCapital(strategy.id, symbol, fraction, denial is None, smallest, denial))
            entries.append(entry)
    check = CapitalCheck(currency, units, tuple(found))
    return check if check.can_trade else structs.replace(check, advice=_advice(rules, entries, check, settings))


def capital_warnings(assembly: Assembly) -> list[str]:
    """Say at the end of a run what its capital was too small for, at the last prices; of very many symbols the first few."""
    settings, marks = assembly.settings, assembly.pipeline.marks
    instruments = {symbol: assembly.market.instruments[symbol] for symbol in assembly.symbols}
    prices = {symbol: marks[symbol].price_ticks for symbol in assembly.symbols}
    account = account_of(settings, (instrument.quote for instrument in instruments.values()))
    check = check_capital(settings, instruments, prices, account.capital, account.currency)
    told = [f"at the last price, {text}" for text in check.warnings()]
    more = [f"the capital is too small for {len(told) - MOST_TOLD} more symbols too"] if len(told) > MOST_TOLD else []
    return [*told[:MOST_TOLD], *more, *([check.advice] if check.advice else [])]


async def last_prices(rest: MexcRest, instruments: Mapping[str, Instrument]) -> dict[str, int]:
    """Ask the venue for the last price of each symbol, in whole ticks (rounded down); for `check_capital` before a live run.

    Raises:
        MexcError: the venue did not say.
    """
    tickers = await rest.get(requests.ticker_price(), tuple[PriceTicker, ...])
    return {
        ticker.symbol: units_of(Decimal(ticker.price)) // instruments[ticker.symbol].tick_units
        for ticker in tickers
        if ticker.symbol in instruments
    }


def largest_fraction(settings: Settings) -> Decimal:
    """Return the largest share of the ordinary entry size that allocation gives in any regime."""
    rules = allocation_rules(settings)
    return max(rules.fraction(regime) for regime in Regime)


def refusal(rules: RiskRules, entry: Entry, capital: int) -> Denial | None:
    """Return why risk denies an entry to an account that holds nothing but this capital; None: it does not."""
    instrument = entry.instrument
    books = Books(
        instrument.quote,
        {instrument.symbol: instrument},
        {instrument.symbol: Mark(entry.price_ticks, 1)},
        cash={instrument.quote: capital},
    )
    risk = Risk(rules, books, Identity("", ""), {"": entry.stop_pct}, {instrument.symbol: entry.fraction})
    answers = risk.on_signal(Signal(1, "", instrument.symbol, Side.BUY, 1, entry.price_ticks, "entry"))
    if any(isinstance(answer, Intent) for answer in answers):
        return None
    return next(answer for answer in answers if isinstance(answer, Denial))


def smallest_capital(rules: RiskRules, entry: Entry) -> int | None:
    """Return the smallest capital with which risk approves an entry, to the unit; None: there is none.

    The fewest lots that the venue's minimum allows ask for a capital that buys so many; where a limit leaves no room for them
    there (a position as large as its limit, say), the capital grows until it does, or until it buys a lot more.
    """
    if entry.fraction <= 0:
        return None
    lots = _fewest_lots(rules, entry)
    for wanted in range(lots, lots + MOST_LOTS_TRIED):
        low, high = _capital_of(rules, entry, wanted), _capital_of(rules, entry, wanted + 1) - 1
        if refusal(rules, entry, low) is None:
            return low
        if refusal(rules, entry, high) is not None:
            continue
        while high - low > 1:  # denied at low, approved at high; between them only the limits grow
            middle = (low + high) // 2
            low, high = (low, middle) if refusal(rules, entry, middle) is None else (middle, high)
        return high
    return None


def shown(units: int) -> str:
    """Return an amount rounded up to what a person would type."""
    return plain_text(decimal_of(units).quantize(Decimal("0.01"), rounding=ROUND_CEILING))


def _fewest_lots(rules: RiskRules, entry: Entry) -> int:
    """The fewest lots that the venue takes, and takes back at the stop."""
    instrument = entry.instrument
    needed = instrument.min_notional_units
    lots = max(1, -(-needed // instrument.notional(entry.price_ticks, 1)))
    if rules.unlimited:
        return lots
    asked = Signal(1, "", instrument.symbol, Side.BUY, 1, entry.price_ticks, "entry")
    books = Books(instrument.quote, {instrument.symbol: instrument}, {instrument.symbol: Mark(entry.price_ticks, 1)})
    stop_ticks = Risk(rules, books, Identity("", ""), {"": entry.stop_pct}, {}).stop_ticks(asked)
    if not stop_ticks:
        return lots
    at_stop = instrument.notional(stop_ticks, 1)
    over, parts = ENTRY_OVER_MIN_NOTIONAL.as_integer_ratio()
    return max(lots, -(-needed * over // (parts * at_stop)))


def _capital_of(rules: RiskRules, entry: Entry, lots: int) -> int:
    """The smallest capital of which the position size buys so many lots."""
    percent, percent_parts = rules.position_pct.as_integer_ratio()
    share, share_parts = entry.fraction.as_integer_ratio()
    value = entry.instrument.notional(entry.price_ticks, lots)
    capital = -(-value * 100 * percent_parts * share_parts // (percent * share))
    bought = quantity_lots(rules.position_pct, entry.fraction, capital, entry.price_ticks, entry.instrument)
    if bought < lots:
        raise ValueError(f"{capital} units should buy {lots} lots and buy {bought}")
    return capital


def _advice(rules: RiskRules, entries: Sequence[Entry], check: CapitalCheck, settings: Settings) -> str:
    """Say what would let this capital trade."""
    sizes = _larger_positions(rules, entries, check.capital)
    ways = [f"set {sizes[0][1]}"] if sizes else []
    if settings.allocation.mode is AllocationMode.REGIME and largest_fraction(settings) < 1:
        ways.append("set allocation.mode=full")
    if check.smallest is not None:
        ways.append(f"raise account.capital to {shown(check.smallest)} {check.currency}")
    ways.append("choose a symbol with a smaller minimum notional or a smaller lot")
    return f"What helps: {', or '.join(ways)}."


def _larger_positions(rules: RiskRules, entries: Sequence[Entry], capital: int) -> list[tuple[Decimal, str]]:
    """The smallest position size with which each entry would pass, and the settings that make it; the smallest first."""
    found = []
    for entry in entries:
        for steps in range(int(rules.position_pct / PCT_STEP) + 1, int(ceilings.MAX_ORDER_PCT / PCT_STEP) + 1):
            size = steps * PCT_STEP
            order = max(rules.max_order_pct, size)
            if refusal(structs.replace(rules, position_pct=size, max_order_pct=order), entry, capital) is None:
                limit = f" and risk.max_order_pct={plain_text(order)}" if order != rules.max_order_pct else ""
                found.append((size, f"risk.position_pct={plain_text(size)}{limit}"))
                break
    return sorted(found)
