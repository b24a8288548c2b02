"""What the venue itself says of an account, asked with the account's own keys, while no process trades it."""

import asyncio
from pathlib import Path

from claire.adapters.config import Mode
from claire.adapters.config.schema import Settings
from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.opening import open_rest
from claire.adapters.venues.mexc.replies import Account as Balances
from claire.adapters.venues.mexc.replies import OrderInfo
from claire.adapters.venues.mexc.secrets import read_keys
from claire.adapters.venues.mexc.trading import balances
from claire.gateway.signer import Keys
from claire.model.errors import UsageError
from claire.services.recorded import total
from claire.services.recovery import settings_of
from claire.services.views import Account, Holdings, Row, beside, orders_beside


def ask_venue(do: str, run_dir: Path, account: Account) -> list[Row]:
    """Return both sides of what a run's account holds, or of its open orders.

    Args:
        do: ``positions``, ``orders`` or ``balance``.
        run_dir: The run, whose settings say where the venue and the keys are.
        account: What is on record.

    Raises:
        UsageError: the run has no venue outside, or there are no keys.
        ClaireError: the venue does not say.
    """
    settings = settings_of(run_dir, None, ())
    if settings.mode is not Mode.TESTNET:
        raise UsageError(f"run {run_dir.name} traded with paper money inside its process; there is no venue to ask")
    keys = read_keys(settings.secrets.path)
    if do == "orders":
        return orders_beside(account.orders, asyncio.run(_orders(settings, keys)))
    rows = beside(total(account), account.external, asyncio.run(_balances(settings, keys)))
    if do == "positions":
        owned = {position["asset"]: None for position in account.positions}
        rows = [row for row in rows if row["asset"] in owned or (row["asset"] != account.currency and _differs(row))]
    return rows


async def _orders(settings: Settings, keys: Keys) -> tuple[OrderInfo, ...]:
    async with open_rest(settings.mexc, keys) as rest:
        await rest.sync_clock()
        return await rest.get(requests.open_orders(), tuple[OrderInfo, ...])


async def _balances(settings: Settings, keys: Keys) -> Holdings:
    async with open_rest(settings.mexc, keys) as rest:
        await rest.sync_clock()
        return balances(await rest.get(requests.account(), Balances))


def _differs(row: Row) -> bool:
    return bool(row["difference"] != "0")
