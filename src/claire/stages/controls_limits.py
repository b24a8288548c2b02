"""Every limit in force: what it is, its ceiling, and how much of it is used now. For people."""

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct, structs

from claire.latch import ceilings
from claire.model.money import decimal_of
from claire.stages.controls import usual_ticks, volume_limit_lots
from claire.stages.controls_base import Window, percent
from claire.stages.controls_behaviour import MINUTE_NS, REJECT_SPAN_NS
from claire.stages.risk_state import Account


class Limit(Struct, frozen=True):
    """One limit, as it holds now."""

    control: str
    """``C03``."""
    name: str
    """Its key under ``[risk]``."""
    value: Decimal
    """As configured."""
    unit: str
    """Of `value` and `ceiling`."""
    ceiling: Decimal | None
    """Furthest that configuration may go; None: there is no ceiling."""
    used: Decimal | None = None
    """How much of it is used, in `used_unit`; None: it is looked at order by order."""
    allowed: Decimal | None = None
    """What it allows, in `used_unit`."""
    used_unit: str = ""
    scope: str = ""
    """Symbol or strategy that the use is of; empty: the account."""
    enforced: bool = True
    """False: the risk profile is unlimited."""


def limits(account: Account, now_ns: int) -> tuple[Limit, ...]:
    """Return every limit with its use at a market time; what is counted by symbol or strategy has a line for each."""
    found = tuple(_limits(account, now_ns))
    if account.rules.unlimited:
        return tuple(structs.replace(limit, enforced=False) for limit in found)
    return found


def _limits(account: Account, now_ns: int) -> Iterator[Limit]:
    yield from _of_an_order(account)
    yield from _of_how_often(account, now_ns)
    yield from _of_what_is_held(account)
    yield from _of_losses(account)
    yield from _of_behaviour(account, now_ns)


def _of_an_order(account: Account) -> Iterator[Limit]:
    rules, books = account.rules, account.state.books
    equity = books.equity_units
    yield _plain("C02", "collar_pct", rules.collar_pct, ceilings.MAX_COLLAR_PCT, "%")
    yield _share(account, "C03", "max_order_pct", rules.max_order_pct, ceilings.MAX_ORDER_PCT, None)
    for symbol, instrument in books.instruments.items():
        usual = usual_ticks(account, symbol) or books.marks[symbol].price_ticks
        if usual:
            most = instrument.quantity(volume_limit_lots(account, equity, instrument, usual))
            yield Limit("C04", "max_order_pct", most, instrument.base, None, None, most, instrument.base, symbol)
    yield _plain("C07", "duplicate_window_ms", rules.duplicate_window_ms, None, "ms")
    yield _plain("C13", "max_data_age_ms", rules.max_data_age_ms, ceilings.MAX_DATA_AGE_MS, "ms")
    yield _plain("C13", "max_jump_pct", rules.max_jump_pct, ceilings.MAX_JUMP_PCT, "%")


def _of_how_often(account: Account, now_ns: int) -> Iterator[Limit]:
    state = account.state
    tops = (ceilings.MAX_ORDERS_PER_S, ceilings.MAX_ORDERS_PER_MIN, ceilings.MAX_ORDERS_PER_DAY)
    for rate, top in zip(account.throttle, tops, strict=True):
        used = state.throttle.account.count(now_ns, rate.span_ns)
        yield _count("C05", f"max_orders_per_{rate.word}", rate.count, top, used, "orders")
    tops = (ceilings.MAX_ENTRIES_PER_MIN, ceilings.MAX_ENTRIES_PER_H, ceilings.MAX_ENTRIES_PER_DAY)
    made = [(f"{strategy} {symbol}", window) for (strategy, symbol), window in state.entries.made.items()]
    for rate, top in zip(account.repetition, tops, strict=True):
        for scope, window in made or [("", Window())]:
            used = window.count(now_ns, rate.span_ns)
            yield _count("C06", f"max_entries_per_{rate.word}", rate.count, top, used, "entries", scope)


def _of_what_is_held(account: Account) -> Iterator[Limit]:
    rules, books = account.rules, account.state.books
    live, top = account.open_orders(), ceilings.MAX_OPEN_ORDERS
    yield _count("C09", "max_open_orders", rules.max_open_orders, top, live, "orders")
    for symbol in books.instruments:
        live, top = account.open_orders(symbol), ceilings.MAX_SYMBOL_ORDERS
        yield _count("C09", "max_symbol_orders", rules.max_symbol_orders, top, live, "orders", symbol)
    for symbol in books.instruments:
        used, top_pct = account.held_and_in_flight(symbol), ceilings.MAX_SYMBOL_PCT
        yield _share(account, "C10", "max_symbol_pct", rules.max_symbol_pct, top_pct, used, symbol)
    gross, top_pct = account.held_and_in_flight(), ceilings.MAX_GROSS_PCT
    yield _share(account, "C10", "max_gross_pct", rules.max_gross_pct, top_pct, gross)
    free, top_pct = account.free_cash(), ceilings.MAX_CASH_RESERVE_PCT
    yield _share(account, "C11", "cash_reserve_pct", rules.cash_reserve_pct, top_pct, free)


def _of_losses(account: Account) -> Iterator[Limit]:
    rules, state = account.rules, account.state
    daily, peak, currency = state.daily, state.drawdown.peak, state.books.currency
    equity = state.books.equity_units
    lost, most = decimal_of(max(0, daily.start - equity)), decimal_of(daily.start - daily.floor)
    pct, top = rules.max_daily_loss_pct, ceilings.MAX_DAILY_LOSS_PCT
    yield Limit("C16", "max_daily_loss_pct", pct, "% of the day's start", top, lost, most, currency)
    pct, top = rules.max_drawdown_pct, ceilings.MAX_DRAWDOWN_PCT
    fall, most = decimal_of(max(0, peak - equity)), decimal_of(percent(peak, pct))
    yield Limit("C17", "max_drawdown_pct", pct, "% of the peak", top, fall, most, currency)


def _of_behaviour(account: Account, now_ns: int) -> Iterator[Limit]:
    rules, state = account.rules, account.state
    yield _plain("C18", "cooldown_s", rules.cooldown_s, None, "s")
    top = ceilings.MAX_STOP_GUARD_EXITS
    for symbol in state.books.instruments:
        lost = state.stops.losses.get(symbol, Window()).count(now_ns, rules.stop_guard_min * MINUTE_NS)
        yield _count("C18", "stop_guard_exits", rules.stop_guard_exits, top, lost, "exits", symbol)
    rejects, top = state.rejects, ceilings.MAX_REJECTS_IN_ROW
    row = max(rejects.in_row.values(), default=0)
    yield _count("C19", "max_rejects_in_row", rules.max_rejects_in_row, top, row, "rejects")
    lately = max((window.count(now_ns, REJECT_SPAN_NS) for window in rejects.recent.values()), default=0)
    top = ceilings.MAX_REJECTS_PER_5_MIN
    yield _count("C19", "max_rejects_per_5_min", rules.max_rejects_per_5_min, top, lately, "rejects")


def _share(
    account: Account, control: str, name: str, pct: Decimal, top: Decimal, used: int | None, scope: str = ""
) -> Limit:
    """A limit in percent of equity."""
    books = account.state.books
    allowed = decimal_of(percent(books.equity_units, pct))
    spent = None if used is None else decimal_of(used)
    return Limit(control, name, pct, "% of equity", top, spent, allowed, books.currency, scope)


def _count(control: str, name: str, value: int, top: int, used: int, unit: str, scope: str = "") -> Limit:
    """A limit that counts."""
    return Limit(control, name, Decimal(value), unit, Decimal(top), Decimal(used), Decimal(value), unit, scope)


def _plain(control: str, name: str, value: Decimal | int, top: Decimal | int | None, unit: str) -> Limit:
    """A limit that is looked at order by order."""
    return Limit(control, name, Decimal(value), unit, None if top is None else Decimal(top))
