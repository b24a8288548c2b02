"""Accounts, their balances to the unit, and the keys that open them."""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field

from claire.mexcsim.orders import BalanceChanged, Fill, Order
from claire.model.errors import ConfigError
from claire.model.money import units_of

TRADING_PERMISSIONS = ("SPOT_ACCOUNT_READ", "SPOT_ACCOUNT_WRITE", "SPOT_DEAL_READ", "SPOT_DEAL_WRITE")
"""What a key may do unless it is made with less."""


class FeeAsset(StrEnum):
    """What fees are paid in."""

    RECEIVED = "received"
    """Base for a buy, quote for a sell: the fee is kept back from what comes in."""
    QUOTE = "quote"
    """Quote for both; a buy pays it on top of its cost, and its order freezes it."""


class Balance(Struct):
    """One asset of one account, in units."""

    free: int = 0
    locked: int = 0


class Account(Struct, eq=False):
    """One trading account (a UID)."""

    uid: str
    balances: dict[str, Balance] = {}
    fee_asset: FeeAsset = FeeAsset.RECEIVED
    maker_rate: Decimal | None = None
    """This account's own rates; None: the symbol's."""
    taker_rate: Decimal | None = None
    mx_deduct: bool = False
    """Pay fees in MX (at a discount) while there is MX."""
    unlimited: bool = False
    """The house: it may owe, pays no fees and freezes nothing."""
    orders: dict[str, Order] = {}
    by_client_id: dict[str, list[Order]] = {}
    open_orders: dict[str, Order] = {}
    fills: list[Fill] = []
    listen_keys: dict[str, int] = {}
    """Listen key → when it ends, in ms."""

    def balance(self, asset: str) -> Balance:
        """The balance of an asset, made when it is first asked for."""
        found = self.balances.get(asset)
        if found is None:
            found = self.balances[asset] = Balance()
        return found

    def change(self, asset: str, free: int, locked: int, reason: str, at_ms: int) -> BalanceChanged:
        """Add to free and locked; return the change for the private stream."""
        balance = self.balance(asset)
        balance.free += free
        balance.locked += locked
        return BalanceChanged(self, asset, balance.free, free, balance.locked, locked, reason, at_ms)


class ApiKey(Struct):
    """One access key. `secret` never leaves the process and is not in its text form."""

    access_key: str
    secret: str
    account: Account
    permissions: frozenset[str] = frozenset(TRADING_PERMISSIONS)
    revoked: bool = False
    expires_ms: int | None = None
    symbols: frozenset[str] | None = None
    """Pairs it may trade; None: all but those that want to be named."""
    addresses: frozenset[str] = field(default_factory=frozenset)
    """Client addresses it may be used from; empty: any."""

    def __repr__(self) -> str:
        return f"ApiKey({self.access_key}, uid {self.account.uid}{', revoked' if self.revoked else ''})"

    def may(self, permission: str) -> bool:
        """Whether it has a permission; writing includes reading."""
        return permission in self.permissions or permission.replace("_READ", "_WRITE") in self.permissions


def account_of(uid: str, balances: dict[str, Decimal | int | str], **settings: object) -> Account:
    """Make an account.

    Raises:
        ConfigError: a balance is negative or no number with at most 18 decimals.
    """
    account = Account(uid, **settings)  # type: ignore[arg-type]
    for asset, amount in balances.items():
        try:
            units = units_of(amount)
        except ValueError as problem:
            raise ConfigError(f"balance {asset} = {amount!r}: {problem}; give a decimal number such as 10000") from None
        if units < 0:
            raise ConfigError(f"balance {asset} = {amount}: an account cannot begin with less than nothing")
        account.balance(asset).free = units
    return account
