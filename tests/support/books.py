"""Holds one run's books against the venue's: the ledger on disk, read as plain SQL, and the simulator's whole account.

Nothing here uses what it judges: no class of the ledger, no arithmetic of the books. Each difference is a sentence.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal, Inexact, localcontext
from pathlib import Path
from typing import Any, Final

LEDGER: Final = "ledger.sqlite"
STATES: Final = {
    "NEW": ("OPEN",),
    "PARTIALLY_FILLED": ("PARTIALLY_FILLED",),
    "FILLED": ("FILLED",),
    "CANCELED": ("CANCELED",),
    "PARTIALLY_CANCELED": ("CANCELED",),
}
"""What an order's state here is to be for each state there, when nothing is on its way."""
WITHOUT_ORDER: Final = ("NOT_SENT", "REJECTED", "ABSENT")
"""States here of an order that the venue does not have."""
OVER: Final = ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "ABSENT", "NOT_SENT")
CONTRADICTIONS: Final = ("GATE_POSITION", "GATE_REPEATED", "GATE_UNAPPROVED")
"""Refusals of the gate that have no place in a run whose books are right."""
TYPES: Final = {"IMMEDIATE_OR_CANCEL": "IOC", "FILL_OR_KILL": "FOK"}
Row = dict[str, Any]


def read_tables(run_dir: Path) -> dict[str, list[Row]]:
    """Return every table of a run's ledger, each row by its columns' names."""
    with closing(sqlite3.connect(f"{(run_dir / LEDGER).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        everything = {name: f'SELECT * FROM "{name}"' for name in names}  # noqa: S608 - the database's own names
        return {name: [dict(row) for row in connection.execute(query)] for name, query in everything.items()}


def differences(
    tables: Mapping[str, list[Row]], account: Mapping[str, Any], start: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Compare a run with the venue's account, both at rest; an empty list means that they are equal.

    Args:
        tables: Of the run's ledger (`read_tables`).
        account: What ``GET /sim/accounts/ACCESS_KEY`` answers.
        start: Its balances before the run.
    """
    with localcontext(prec=60) as exact:
        exact.traps[Inexact] = True
        return [
            *_orders(tables, account["orders"]),
            *_fills(tables, account["fills"]),
            *_balances(tables["postings"], account, start),
            *_reservations(tables),
            *_other_hands(tables),
            *_refusals(tables),
        ]


def standing_differences(tables: Mapping[str, list[Row]], account: Mapping[str, Any]) -> list[str]:
    """What no crash at no moment may bring about: said of a ledger as it lies after one, and the venue a moment later.

    Every order there is SENT here at least, and once; every fill booked here is there. The venue may be ahead in all else.
    """
    intents = {row["client_order_id"]: row for row in tables["intents"]}
    orders = {row["order_no"]: row["state"] for row in tables["orders"]}
    names = Counter(row["client_id"] for row in account["orders"])
    found = [f"{name}: {count} orders at the venue" for name, count in names.items() if count > 1]
    for name in names:
        state = orders.get(intents[name]["order_no"], "no order") if name in intents else "no intent"
        if state in ("INTENT", "no order", "no intent", *WITHOUT_ORDER):
            found.append(f"{name}: at the venue, and {state} here")
    clients = {row["order_no"]: row["client_order_id"] for row in tables["intents"]}
    fills = {(row["client_id"], row["trade_id"]): row for row in account["fills"]}
    for row in tables["fills"]:
        there = fills.get((clients.get(row["order_no"], ""), row["trade_id"]))
        if there is None or Decimal(there["quantity"]) != Decimal(row["quantity"]):
            found.append(f"order {row['order_no']}: fill {row['trade_id']} of {row['quantity']} is not at the venue")
    return found


# -- orders ------------------------------------------------------------------------------------------------------------


def _orders(tables: Mapping[str, list[Row]], there: Iterable[Row]) -> Iterator[str]:
    intents = {row["client_order_id"]: row for row in tables["intents"]}
    orders = {row["order_no"]: row for row in tables["orders"]}
    for name, count in Counter(row["client_order_id"] for row in tables["intents"]).items():
        if count > 1:
            yield f"{name}: {count} intents of this name"
    at_venue: dict[str, list[Row]] = defaultdict(list)
    for row in there:
        at_venue[row["client_id"]].append(row)
    for name, same in at_venue.items():
        ids = " and ".join(row["order_id"] for row in same)
        if len(same) > 1:
            yield f"{name}: {len(same)} orders at the venue ({ids})"
        if name not in intents:
            yield f"{name or 'an order without a client id'}: at the venue ({ids}), without an intent here"
            continue
        for row in same:
            yield from _order(name, intents[name], orders.get(intents[name]["order_no"]), row)
    for name, intent in intents.items():
        order = orders.get(intent["order_no"])
        if order is None:
            yield f"{name}: an intent without an order"
        elif name not in at_venue and order["state"] not in WITHOUT_ORDER:
            yield f"{name}: {order['state']} here, not at the venue"
    numbers = {row["order_no"] for row in tables["intents"]}
    yield from (f"order {number}: without an intent" for number in orders if number not in numbers)


def _order(name: str, intent: Row, order: Row | None, there: Row) -> Iterator[str]:
    pairs: list[tuple[str, object, object]] = [(what, intent[what], there[what]) for what in ("symbol", "side")]
    pairs += [
        ("quantity", _number(intent["quantity"]), _number(there["quantity"])),
    ]
    kind = TYPES.get(there["type"], there["type"])
    if intent["type"] == "MARKET" and kind in ("IOC", "LIMIT"):
        # a market order leaves as a limit at its worst price: at most so far from the price that it was decided at
        decided, limit = Decimal(intent["price"]), Decimal(there["price"])
        worse = limit - decided if intent["side"] == "BUY" else decided - limit
        pairs.append(("worst price within 5 %", True, 0 <= 20 * worse <= decided))
    else:
        pairs.append(("type", intent["type"], kind))
        pairs.append(("limit price", _number(intent["limit_price"]), _number(there["price"])))
    if order is not None:
        pairs += [
            ("executed", _number(order["filled_quantity"]), _number(there["executed"])),
            ("venue id", order["order_id"], there["order_id"]),
        ]
        if order["state"] not in STATES[there["status"]]:
            yield f"{name}: {order['state']} here, {there['status']} at the venue"
    yield from (f"{name}: {what} {here} here, {venue} at the venue" for what, here, venue in pairs if here != venue)


# -- fills -------------------------------------------------------------------------------------------------------------


def _fills(tables: Mapping[str, list[Row]], there: Iterable[Row]) -> Iterator[str]:
    names = {row["order_no"]: row["client_order_id"] for row in tables["intents"]}
    here: dict[tuple[str, str], list[Row]] = defaultdict(list)
    filled: dict[int, Decimal] = defaultdict(Decimal)
    for row in tables["fills"]:
        here[names.get(row["order_no"], f"order {row['order_no']}"), row["trade_id"]].append(row)
        filled[row["order_no"]] += Decimal(row["quantity"])
    venue = {(row["client_id"], row["trade_id"]): row for row in there}
    for (name, trade_id), row in venue.items():
        booked = here.pop((name, trade_id), [])
        if len(booked) != 1:
            yield f"{name}: fill {trade_id} ({row['quantity']} at {row['price']}) is booked {len(booked)} times"
        for one in booked:
            for what in ("symbol", "side", "price", "quantity", "fee", "fee_asset"):
                ours, theirs = one[what], row[what]
                if what in ("price", "quantity", "fee"):
                    ours, theirs = _number(ours), _number(theirs)
                if ours != theirs:
                    yield f"{name}: fill {trade_id}: {what} {ours} here, {theirs} at the venue"
    yield from (f"{name}: fill {trade_id} is booked, and not at the venue" for name, trade_id in here)
    for order in tables["orders"]:
        if filled[order["order_no"]] != Decimal(order["filled_quantity"]):
            yield (
                f"{order['client_order_id']}: {order['filled_quantity']} executed,"
                f" fills of {_text(filled[order['order_no']])}"
            )
    transactions = {row["transaction_no"]: row["cause"] for row in tables["postings"]}
    for cause, count in Counter(transactions.values()).items():
        if " fill " in cause and count > 1:
            yield f"{cause}: {count} transactions"


# -- money -------------------------------------------------------------------------------------------------------------


def _balances(
    postings: Iterable[Row], account: Mapping[str, Any], start: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    ours: dict[str, Decimal] = defaultdict(Decimal)
    sums: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    for row in postings:
        amount = Decimal(row["amount"])
        sums[row["transaction_no"], row["asset"]] += amount
        is_opening = row["cause"] == "transfer" and row["transaction_no"] == 1  # the share of the start that is traded
        if _is_owned(row["book"]) and not is_opening:
            ours[row["asset"]] += amount
    for (number, asset), total in sums.items():
        if total:
            yield f"transaction {number}: its postings leave {_text(total)} {asset}"
    held = account["balances"]
    for asset in sorted({*ours, *held, *start}):
        here = _total(start.get(asset)) + ours[asset]
        there = _total(held.get(asset))
        if here != there:
            yield f"{asset}: {_text(here)} here, {_text(there)} at the venue ({_text(there - here)} more there)"
    if all(row["status"] not in ("NEW", "PARTIALLY_FILLED") for row in account["orders"]):
        for asset, balance in held.items():
            if Decimal(balance["locked"]):
                yield f"{asset}: {balance['locked']} locked at the venue, where no order is open"


def _is_owned(book: str) -> bool:
    return book == "cash" or book.startswith(("position/", "dust/"))


def _reservations(tables: Mapping[str, list[Row]]) -> Iterator[str]:
    """What is still set aside belongs to orders that live, and each of those has something set aside."""
    if "reservations" not in tables:
        return
    states = {row["order_no"]: row["state"] for row in tables["orders"]}
    for row in tables["reservations"]:
        state = states.get(row["order_no"], "no order")
        if (row["released_ns"] is None) is (state in (*OVER, "no order")):
            kept = "kept" if row["released_ns"] is None else "released"
            yield f"order {row['order_no']}: {state}, and its reservation is {kept}"


def _other_hands(tables: Mapping[str, list[Row]]) -> Iterator[str]:
    """Nobody else trades here, and nobody corrected the books: what is called so was not understood."""
    for row in tables.get("externals", ()):
        if row["kind"] != "baseline":
            yield f"{row['asset']}: {row['amount']} taken for an external {row['kind']} ({row['evidence_id']})"
    for row in tables.get("adjustments", ()):
        yield f"{row['asset']}: the books were adjusted by {row['amount']}"


def _refusals(tables: Mapping[str, list[Row]]) -> Iterator[str]:
    """What the gate refused, though risk had approved it: the two see other positions or other orders."""
    for row in tables["orders"]:
        if row.get("code") in CONTRADICTIONS:
            yield f"{row['client_order_id']}: {row['side']}: the gate said {row['code']}: {row['reason']}"


def _total(balance: Mapping[str, str] | None) -> Decimal:
    return Decimal(0) if balance is None else Decimal(balance["free"]) + Decimal(balance["locked"])


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _text(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
