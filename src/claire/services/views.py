"""What an operator is shown of an account: positions, orders and balances, with each number as exact decimal text.

The same documents are made from a running pipeline (here) and from the ledger of a run that nobody runs
(`services.recorded`), and both can be held against what the venue says (`beside`).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from claire.adapters.venues.mexc.replies import OrderInfo
from claire.engine.pipeline import Pipeline
from claire.engine.reconcile import holdings
from claire.model.market import Side
from claire.model.money import decimal_of, decimal_text, plain_text

Row = dict[str, Any]
"""One line of a table, and one object of the JSON."""

Holdings = Mapping[str, tuple[Decimal, Decimal]]
"""Free and locked amounts by asset, as a venue says."""


class Account(Struct, frozen=True):
    """What is on record of one account."""

    positions: list[Row]
    orders: list[Row]
    """Those that are not finished."""
    balance: list[Row]
    """By asset: cash, what is in positions, and dust."""
    external: dict[str, Decimal]
    """Coins of the account that are not Claire's."""
    currency: str
    equity: str
    """In `currency`; positions at their last price."""


def account(pipeline: Pipeline, external: Mapping[str, int] | None = None) -> Account:
    """Return what a pipeline holds.

    Args:
        pipeline: Between two inputs.
        external: Units by asset that are not Claire's.
    """
    books = pipeline.stages.portfolio.state.books
    outside = {asset: decimal_of(units) for asset, units in (external or {}).items() if units}
    return Account(
        positions(pipeline),
        orders(pipeline),
        _balance(pipeline),
        outside,
        books.currency,
        decimal_text(books.equity_units),
    )


def positions(pipeline: Pipeline) -> list[Row]:
    """Return what each strategy owns."""
    books = pipeline.stages.portfolio.state.books
    selling = {
        (order.strategy_id, order.symbol): order.order_no
        for order in pipeline.stages.execution.live
        if order.side is Side.SELL
    }
    rows = []
    for (strategy_id, symbol), position in books.positions.items():
        instrument, mark = books.instruments[symbol], books.marks[symbol]
        value = instrument.value_of(position.base_units, mark.price_ticks)
        rows.append(
            {
                "strategy": strategy_id,
                "symbol": symbol,
                "asset": instrument.base,
                "quantity": decimal_text(position.base_units),
                "cost": decimal_text(position.cost_units),
                "price": plain_text(instrument.price(mark.price_ticks)),
                "value": decimal_text(value),
                "unrealised_pnl": decimal_text(value - position.cost_units),
                "since_ns": position.entry_ns,
                "selling_order": selling.get((strategy_id, symbol), 0),
            }
        )
    return rows


def orders(pipeline: Pipeline) -> list[Row]:
    """Return the orders that are not finished, oldest first."""
    books = pipeline.stages.portfolio.state.books
    reserved = pipeline.stages.risk.state.reservations
    rows = []
    for order in pipeline.stages.execution.live:
        instrument = books.instruments[order.symbol]
        reservation = reserved.get(order.order_no)
        rows.append(
            {
                "order": order.order_no,
                "client_order_id": order.client_order_id,
                "venue_order_id": order.venue_order_id,
                "strategy": order.strategy_id,
                "symbol": order.symbol,
                "side": order.side.value,
                "state": order.life.state.value,
                "quantity": plain_text(instrument.quantity(order.life.quantity_lots)),
                "filled": plain_text(instrument.quantity(order.life.filled_lots)),
                "worst_price": plain_text(instrument.price(reservation.worst_ticks)) if reservation else "",
                "reduce_only": order.reduce_only,
            }
        )
    return rows


def _balance(pipeline: Pipeline) -> list[Row]:
    books, risk = pipeline.stages.portfolio.state.books, pipeline.stages.risk
    dust: dict[str, int] = {}
    for symbol, rest in books.dust.items():
        base = books.instruments[symbol].base
        dust[base] = dust.get(base, 0) + rest.base_units
    rows = []
    for asset, units in holdings(books).items():
        cash, small = books.cash.get(asset, 0), dust.get(asset, 0)
        row = {
            "asset": asset,
            "total": decimal_text(units),
            "cash": decimal_text(cash),
            "positions": decimal_text(units - cash - small),
            "dust": decimal_text(small),
        }
        row["free"] = decimal_text(risk.free_cash()) if asset == books.currency else row["cash"]
        rows.append(row)
    return rows


def beside(here: Mapping[str, Decimal], external: Mapping[str, Decimal], there: Holdings) -> list[Row]:
    """Return both sides of each asset and their difference: 0 where books and what is external come to what the venue has."""
    rows = []
    for asset in sorted({**here, **external, **there}):
        ours, outside = here.get(asset, Decimal(0)), external.get(asset, Decimal(0))
        free, locked = there.get(asset, (Decimal(0), Decimal(0)))
        gap = free + locked - ours - outside
        if ours or outside or free or locked:
            rows.append(
                {
                    "asset": asset,
                    "books": plain_text(ours),
                    "external": plain_text(outside),
                    "venue_free": plain_text(free),
                    "venue_locked": plain_text(locked),
                    "difference": plain_text(gap),
                }
            )
    return rows


def orders_beside(here: Iterable[Row], there: Iterable[OrderInfo]) -> list[Row]:
    """Return each order that is live here or open there, and what differs; empty where nothing does.

    The two sides are looked at one after the other, so an order on its way may differ for a moment.
    """
    found = {info.client_order_id or info.id: info for info in there}
    rows = []
    for row in here:
        info = found.pop(row["client_order_id"], None) or found.pop(row["venue_order_id"], None)
        rows.append(_pair(row, info))
    return rows + [_pair(None, info) for info in found.values()]


def _pair(row: Row | None, info: OrderInfo | None) -> Row:
    pair = {
        "order": 0 if row is None else row["order"],
        "client_order_id": row["client_order_id"] if row is not None else (info.client_order_id if info else "") or "",
        "venue_order_id": info.id if info is not None else "" if row is None else row["venue_order_id"],
        "symbol": row["symbol"] if row is not None else info.symbol if info else "",
        "side": row["side"] if row is not None else info.side.lower() if info else "",
        "quantity": row["quantity"] if row is not None else plain_text(info.quantity) if info else "",
        "here": "" if row is None else row["state"],
        "here_filled": "" if row is None else row["filled"],
        "venue": "" if info is None else info.status,
        "venue_filled": "" if info is None else plain_text(info.executed_qty),
    }
    if row is None:
        pair["difference"] = "only at the venue"
    elif info is None:
        pair["difference"] = "not open at the venue"
    elif info.executed_qty != Decimal(row["filled"]):
        pair["difference"] = "filled otherwise"
    else:
        pair["difference"] = ""
    return pair
