"""What concerns two settings at once: an entry must fit the limits, the capital the balance."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from claire.adapters.config.layers import Path_
from claire.adapters.config.schema import InstrumentSettings, Mode, RiskProfile, Settings
from claire.model.errors import ConfigError, DataError
from claire.model.instrument import QUOTES, assets_of
from claire.model.money import plain_text

FALLBACK_CURRENCY = "USDT"
"""What equity is counted in where the symbols do not tell."""


class Finding(NamedTuple):
    """Two settings that do not go together, and the one that a person would change."""

    path: Path_
    says: str


class Account(NamedTuple):
    """What Claire trades with."""

    currency: str
    capital: Decimal
    """In the currency, more than 0."""


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what does not go together."""
    yield from _sizes(settings)
    unlimited = settings.risk.profile is RiskProfile.UNLIMITED
    if unlimited and settings.mode is not Mode.BACKTEST:
        yield Finding(
            ("risk", "profile"),
            f"risk.profile = unlimited is for backtest and replay only; this is mode {settings.mode.value}."
            " Leave it out, or use claire backtest.",
        )
    try:
        account_of(settings, configured_quotes(settings))
    except ConfigError as fault:
        path = ("account", "capital") if "account.capital" in str(fault) else ("account", "currency")
        yield Finding(path, str(fault))


def _sizes(settings: Settings) -> Iterator[Finding]:
    """An entry must fit every limit; in profile `unlimited` its own range (at most 100) is all that holds."""
    risk = settings.risk
    if risk.profile is RiskProfile.UNLIMITED:
        return
    bounds = (
        ("risk.max_order_pct", risk.max_order_pct),
        ("risk.max_symbol_pct", risk.max_symbol_pct),
        ("risk.max_gross_pct", risk.max_gross_pct),
        ("100 - risk.cash_reserve_pct", 100 - risk.cash_reserve_pct),
    )
    exceeded = [f"{name} = {plain_text(bound)}" for name, bound in bounds if risk.position_pct > bound]
    if exceeded:
        yield Finding(
            ("risk", "position_pct"),
            f"risk.position_pct = {plain_text(risk.position_pct)}: every entry would be denied, for it is more than"
            f" {' and '.join(exceeded)} (% of equity). Lower it, or raise the limit as far as its ceiling allows.",
        )


def configured_quotes(settings: Settings) -> tuple[str, ...]:
    """The quote assets of the configured symbols, as far as configuration and names tell."""
    quotes: dict[str, bool] = {}
    for symbol in settings.symbols:
        rules = settings.instruments.get(symbol, InstrumentSettings())
        try:
            quote = assets_of(symbol, rules.base or "", rules.quote or "")[1]
        except DataError:
            quote = ""
        if not quote or (not rules.base and not rules.quote and quote not in QUOTES):
            return ()  # the market source will tell, or fail with a message about this symbol
        quotes[quote] = True
    return tuple(quotes)


def account_of(settings: Settings, quotes: Iterable[str]) -> Account:
    """Return currency and capital of the account, where the traded symbols have these quote assets.

    Raises:
        ConfigError: there is no balance in the currency, or the capital is more than the balance.
    """
    distinct = tuple(dict.fromkeys(quotes))
    currency = settings.account.currency or (distinct[0] if len(distinct) == 1 else FALLBACK_CURRENCY)
    balance = settings.paper.balance.get(currency, Decimal(0))
    if balance <= 0:
        has = (
            ", ".join(f"{plain_text(amount)} {asset}" for asset, amount in settings.paper.balance.items()) or "nothing"
        )
        raise ConfigError(
            f"the paper account has no {currency} to trade with (it has {has}); give it some, as in"
            f" --set paper.balance.{currency}=10, or set account.currency to an asset that it has"
        )
    capital = settings.account.capital
    if capital is not None and capital > balance:
        raise ConfigError(
            f"account.capital = {plain_text(capital)} is more than the balance paper.balance.{currency} = {plain_text(balance)};"
            " lower the one or raise the other"
        )
    return Account(currency, balance if capital is None else capital)
