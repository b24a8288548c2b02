"""What must hold, as functions of Claire's books and the venue's own: each returns what is wrong, in words.

The venue here is the simulator's account itself, not what its protocol says of it: no fault can hide anything from these.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct

from claire.engine.pipeline import Pipeline
from claire.mexcsim.accounts import Account
from claire.mexcsim.orders import Fill, Order
from claire.model.books import Books
from claire.model.decisions import TradingState
from claire.model.money import decimal_of, plain_text, units_of
from claire.model.orders import Evidence, OrderState

VOID: Final = (Evidence.ABSENT, Evidence.REJECTED, Evidence.NOT_SENT)
"""What is said of orders that the venue does not have."""


class Kept(Struct, frozen=True):
    """One order as the SQL ledger has it."""

    order_no: int
    state: str
    """Of its last order event; empty: the intent alone."""


class Limits(Struct, frozen=True):
    """The risk limits of a run, as they must show on the venue's books."""

    capital: Decimal
    max_symbol_pct: Decimal
    max_gross_pct: Decimal
    max_open_orders: int
    slack_pct: Decimal = Decimal(4)
    """What prices may move between a decision and its fill, and equity since the start."""


def kept_order(ledger: Path, client_order_id: str) -> Kept | None:
    """Return what is committed of an order; None: not even its intent."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT i.order_no, COALESCE(o.state, '') FROM intents i"
            " LEFT JOIN orders o ON o.run_id = i.run_id AND o.order_no = i.order_no WHERE i.client_order_id = ?",
            (client_order_id,),
        ).fetchone()
    return None if row is None else Kept(row[0], row[1])


def recorded_before_sent(order: Order, kept: Kept | None) -> Iterator[str]:
    """An order at the venue has a durable intent, and it was on record that it is being sent (DESIGN rule 3)."""
    if kept is None:
        yield f"the venue has order {order.client_id}, and no intent of it is committed"
    elif kept.state in ("", OrderState.INTENT):
        yield f"the venue has order {order.client_id}, which the ledger does not call sent: {kept.state or 'intent only'}"


def sent_once(account: Account) -> Iterator[str]:
    """Per client order id there is at most one order at the venue, ever."""
    for client_id, orders in account.by_client_id.items():
        if len(orders) > 1:
            yield f"the venue has {len(orders)} orders of client order id {client_id}"


def alive_on_both_sides(pipeline: Pipeline, account: Account, now_ms: int, fence_ms: int) -> Iterator[str]:
    """No order is over here while it is open there, once the venue can take it no more (created before `now - fence`)."""
    open_there = {order.client_id: order for order in account.open_orders.values()}
    if not open_there:
        return
    for order in pipeline.stages.execution.orders.values():
        there = open_there.get(order.client_order_id)
        if there is not None and order.life.is_terminal and now_ms - there.created_ms > fence_ms:
            yield f"order {order.order_no} is {order.life.state} here and open at the venue"


def never_there(pipeline: Pipeline, account: Account) -> Iterator[str]:
    """What was called absent, refused or never sent is not at the venue, and never comes to be."""
    for order in pipeline.stages.execution.orders.values():
        for proof in VOID:
            if proof in order.life.evidence and order.client_order_id in account.by_client_id:
                yield f"order {order.order_no} was called {proof}, and the venue has it"


def nothing_stuck(pipeline: Pipeline) -> Iterator[str]:
    """A remainder that is too small to sell is dust, and its strategy is flat."""
    books = pipeline.stages.risk.state.books
    working = {(order.strategy_id, order.symbol): order.order_no for order in pipeline.stages.execution.live}
    for (strategy_id, symbol), position in books.positions.items():
        price, instrument = position.last_exit_ticks, books.instruments[symbol]
        lots = position.base_units // instrument.lot_units
        is_small = lots == 0 or instrument.notional(price, lots) < instrument.min_notional_units
        if price and (strategy_id, symbol) not in working and is_small:
            yield f"{strategy_id} {symbol}: what is left is too small to sell, and is no dust"


def limits_hold(account: Account, costs: Mapping[str, Decimal], limits: Limits) -> Iterator[str]:
    """Orders and exposure at the venue are within the limits, whatever Claire believed."""
    if len(account.open_orders) > limits.max_open_orders:
        yield f"{len(account.open_orders)} orders are open at the venue, {limits.max_open_orders} are allowed"
    exposure = dict(costs)
    for order in account.open_orders.values():
        if order.is_buy:
            worth = decimal_of(order.remaining * order.price * order.rule.unit_value)
            exposure[order.symbol] = exposure.get(order.symbol, Decimal(0)) + worth
    slack = (100 + limits.slack_pct) / 100
    for symbol, worth in exposure.items():
        if worth > limits.capital * limits.max_symbol_pct / 100 * slack:
            yield f"{symbol}: {plain_text(worth)} held and working at the venue, over {limits.max_symbol_pct} % of capital"
    total = sum(exposure.values(), Decimal(0))
    if total > limits.capital * limits.max_gross_pct / 100 * slack:
        yield f"{plain_text(total)} held and working at the venue, over {limits.max_gross_pct} % of capital"


class Costs(Struct):
    """What is held at the venue of each symbol, by what it cost there."""

    quantity: dict[str, int] = {}
    cost: dict[str, int] = {}
    seen: int = 0

    def follow(self, fills: list[Fill]) -> dict[str, Decimal]:
        """Take in what was executed since the last look; return the cost of what is held, by symbol."""
        for fill in fills[self.seen :]:
            symbol, lots = fill.order.symbol, fill.lots * fill.order.rule.lot_units
            held = self.quantity.get(symbol, 0)
            if fill.order.is_buy:
                self.quantity[symbol] = held + lots
                self.cost[symbol] = self.cost.get(symbol, 0) + fill.cost_units
            elif held > 0:
                gone = min(lots, held)
                self.cost[symbol] -= self.cost[symbol] * gone // held
                self.quantity[symbol] = held - gone
        self.seen = len(fills)
        return {symbol: decimal_of(units) for symbol, units in self.cost.items()}


def booked_once(ledger: Path, account: Account) -> Iterator[str]:
    """Each execution of the venue is in the ledger exactly once, with its quantity, price and fee; and nothing else is."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT i.client_order_id, f.trade_id, f.price, f.quantity, f.fee, f.fee_asset FROM fills f"
            " JOIN intents i ON i.run_id = f.run_id AND i.order_no = f.order_no"
        ).fetchall()
        count = connection.execute("SELECT count(*) FROM fills").fetchone()[0]
    if count != len(rows):
        yield f"{count - len(rows)} fills of the ledger belong to no intent"
    here = Counter((row[0], units_of(row[2]), units_of(row[3]), units_of(row[4])) for row in rows)
    ids = Counter(row[1] for row in rows)
    yield from (f"trade {name} is booked {times} times" for name, times in ids.items() if times > 1)
    there = Counter(
        (
            fill.order.client_id,
            fill.price * fill.order.rule.tick_units,
            fill.lots * fill.order.rule.lot_units,
            fill.fee_units,
        )
        for fill in account.fills
    )
    for only, words in ((there - here, "is missing here"), (here - there, "is booked and never was")):
        for (client_id, price, quantity, _), times in only.items():
            yield f"{decimal_of(quantity)} at {decimal_of(price)} of order {client_id} {words}, {times} times"


def balances_equal(books: Books, account: Account, opening: Mapping[str, int], capital: Decimal) -> Iterator[str]:
    """To the unit: what Claire's books hold of each asset is what the venue has of it, beside what was there before."""
    held: dict[str, int] = dict(books.cash)
    held[books.currency] = held.get(books.currency, 0) - units_of(capital)
    for (_, symbol), position in books.positions.items():
        base = books.instruments[symbol].base
        held[base] = held.get(base, 0) + position.base_units
    for symbol, dust in books.dust.items():
        base = books.instruments[symbol].base
        held[base] = held.get(base, 0) + dust.base_units
    assets = dict.fromkeys((*held, *account.balances))
    for asset in assets:
        balance = account.balances.get(asset)
        there = (balance.free + balance.locked if balance is not None else 0) - opening.get(asset, 0)
        if there != held.get(asset, 0):
            yield f"{asset}: {decimal_of(held.get(asset, 0))} here, {decimal_of(there)} at the venue beside what was there before"


def postings_balance(ledger: Path) -> Iterator[str]:
    """Every transaction of the ledger sums to zero for each asset."""
    totals: dict[tuple[str, int, str], int] = {}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        for run_id, number, asset, amount in connection.execute(
            "SELECT run_id, transaction_no, asset, amount FROM postings"
        ):
            key = (run_id, number, asset)
            totals[key] = totals.get(key, 0) + units_of(amount)
    yield from (f"transaction {number} is out of balance in {asset}" for (_, number, asset), n in totals.items() if n)


def converged(pipeline: Pipeline, account: Account) -> Iterator[str]:
    """After the faults: nothing is unknown, what is open here is open there, and trading goes on or says why it does not."""
    live = {order.client_order_id: order.life.state for order in pipeline.stages.execution.live}
    there = {order.client_id for order in account.open_orders.values()}
    for client_id, state in live.items():
        if state in (OrderState.UNKNOWN, OrderState.SENT, OrderState.INTENT):
            yield f"order {client_id} is still {state}"
        elif client_id not in there:
            yield f"order {client_id} is {state} here and not open at the venue"
    yield from (f"order {name} is open at the venue and not here" for name in sorted(there) if name not in live)
    risk = pipeline.stages.risk.state
    if risk.trading is not TradingState.ACTIVE and not risk.trading_reason:
        yield f"trading is {risk.trading} without a reason"
