"""Balances as a venue keeps them: per asset what is free and what open orders have locked, in exact units."""

from collections.abc import Mapping
from decimal import Decimal

from claire.model.errors import ConfigError
from claire.model.money import decimal_text, units_of


class Balances:
    """Free and locked amounts per asset, in units (see model/money.py). Never negative."""

    def __init__(self, amounts: Mapping[str, Decimal]) -> None:
        """Start with `amounts` free.

        Raises:
            ConfigError: an amount is negative, not a number, or finer than 18 decimals.
        """
        self._free: dict[str, int] = {}
        self._locked: dict[str, int] = {}
        for asset, amount in amounts.items():
            try:
                units = units_of(amount)
            except ValueError as error:
                raise ConfigError(f"paper.balance.{asset}: {error}; give a decimal amount such as 1000") from None
            if units < 0:
                raise ConfigError(f"paper.balance.{asset} = {amount}: must be 0 or more")
            self._free[asset] = units

    def free(self, asset: str) -> int:
        """Return what new orders may use."""
        return self._free.get(asset, 0)

    def locked(self, asset: str) -> int:
        """Return what open orders hold."""
        return self._locked.get(asset, 0)

    def total(self, asset: str) -> int:
        """Return free and locked together."""
        return self.free(asset) + self.locked(asset)

    def assets(self) -> tuple[str, ...]:
        """Return every asset that was ever held, in alphabetical order."""
        return tuple(sorted({**self._free, **self._locked}))

    def lock(self, asset: str, units: int) -> None:
        """Set units aside for an order."""
        self._change(self._free, asset, -units)
        self._change(self._locked, asset, units)

    def release(self, asset: str, units: int) -> None:
        """Give back what an order does not need any more."""
        self._change(self._locked, asset, -units)
        self._change(self._free, asset, units)

    def pay(self, asset: str, units: int) -> None:
        """Pay out of what is locked."""
        self._change(self._locked, asset, -units)

    def receive(self, asset: str, units: int) -> None:
        """Book what an execution brought."""
        self._change(self._free, asset, units)

    def _change(self, amounts: dict[str, int], asset: str, units: int) -> None:
        after = amounts.get(asset, 0) + units
        if after < 0:
            raise ValueError(f"the balance of {asset} would fall to {decimal_text(after)}")
        amounts[asset] = after
