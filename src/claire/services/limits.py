"""What risk allows now: the locks that are set, and each limit with how much of it is used."""

from decimal import Decimal

from claire.model.money import decimal_of, decimal_text, plain_text
from claire.services.views import Row
from claire.stages.risk import Risk

SOFT_PCT = 80
"""Use of a limit from which on a person should look (DESIGN 7)."""


def locks_of(risk: Risk) -> list[Row]:
    """Return the locks of the trading state: who set each, why, and since when."""
    return [
        {"source": source, "state": lock.state.value, "reason": lock.reason, "since_ns": lock.since_ns}
        for source, lock in risk.state.locks.items()
    ]


def limits_of(risk: Risk) -> list[Row]:
    """Return each limit with its use: exact amounts in the account's currency, counts, or percent."""
    rules, books = risk.rules, risk.state.books
    equity, unit = books.equity_units, books.currency
    state = risk.state
    lost = max(0, state.day_start_equity - equity) if state.day >= 0 else 0
    rows = [
        _money("max_daily_loss_pct", rules.max_daily_loss_pct, lost, state.day_start_equity, unit),
        _money("max_gross_pct", rules.max_gross_pct, risk.held_and_in_flight(), equity, unit),
        _row("max_open_orders", Decimal(len(state.reservations)), Decimal(rules.max_open_orders), "orders"),
        _money("max_order_pct", rules.max_order_pct, None, equity, unit),
        _money("position_pct", rules.position_pct, None, equity, unit),
    ]
    held = dict.fromkeys(symbol for _, symbol in books.positions)
    for symbol in dict.fromkeys((*held, *(one.symbol for one in state.reservations.values()))):
        used = risk.held_and_in_flight(symbol)
        rows.append(_money("max_symbol_pct", rules.max_symbol_pct, used, equity, unit) | {"symbol": symbol})
    reserve = _percent(equity, rules.cash_reserve_pct)
    free = risk.free_cash()
    rows.append(
        {
            "limit": "risk.cash_reserve_pct",
            "used": decimal_text(free),
            "allowed": decimal_text(reserve),
            "unit": f"{unit} free, at least",
            "used_pct": None,
            "warns": free < reserve,
        }
    )
    return rows


def _money(name: str, pct: Decimal, used: int | None, base: int, unit: str) -> Row:
    allowed = decimal_of(_percent(base, pct))
    return _row(name, None if used is None else decimal_of(used), allowed, unit) | {"setting_pct": plain_text(pct)}


def _row(name: str, used: Decimal | None, allowed: Decimal, unit: str) -> Row:
    used_pct = float(100 * used / allowed) if used is not None and allowed else None
    return {
        "limit": f"risk.{name}",
        "used": "" if used is None else plain_text(used),
        "allowed": plain_text(allowed),
        "unit": unit,
        "used_pct": used_pct,
        "warns": used_pct is not None and used_pct >= SOFT_PCT,
    }


def _percent(units: int, pct: Decimal) -> int:
    numerator, denominator = pct.as_integer_ratio()
    return units * numerator // (100 * denominator)
