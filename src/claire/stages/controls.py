"""Order-entry controls (C02–C15): each looks at one entry and answers with a denial that carries its numbers, or with None.

`ENTRY_CONTROLS` names them in the order of asking; the first that refuses is the answer. Each fails closed: what it would have
to know and does not, denies. Orders that reduce are exempt from all of them (DESIGN 7); what holds for those is in `risk.py`.

What an entry comes near to (80 % of a limit) is noted in `Ask.near` on the way.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from claire.model.decisions import Code, Denial, RiskAlert, Signal
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.money import decimal_of, plain_text
from claire.model.orders import OrderType
from claire.stages.controls_base import percent, ratio
from claire.stages.risk_state import SOFT_PCT, Account, Ask

ENTRY_OVER_MIN_NOTIONAL: Final = Fraction(3, 2)
"""An entry must be worth this many minimum notionals at its stop price (DESIGN 7)."""

VOLUME_OVER_VALUE: Final = 2
"""An order's quantity is at most what so many largest orders buy at the median price of seven days (C04)."""

HOURS_KEPT: Final = 168
"""Of the price, for that median."""

Control = Callable[[Account, Ask], Denial | None]


def quantity_lots(
    position_pct: Decimal, fraction: Decimal, equity: int, price_ticks: int, instrument: Instrument
) -> int:
    """Return floor(position_pct / 100 · allocation · equity / price / lot), exactly."""
    share_pct, pct_parts = ratio(position_pct)
    share, share_parts = ratio(fraction)
    one_lot = price_ticks * instrument.unit_value
    return max(0, share_pct * share * equity // (100 * pct_parts * share_parts * one_lot))


# -- who and what (C14, C15) -------------------------------------------------------------------------------------------


def _known_strategy(account: Account, ask: Ask) -> Denial | None:
    if account.knows(ask.signal.strategy_id):
        return None
    because = f"no strategy {ask.signal.strategy_id or '(without a name)'} is configured"
    return denial_of(ask.signal, Code.UNKNOWN_STRATEGY, 0, 1, "strategies", because)


def _allowed_symbol(account: Account, ask: Ask) -> Denial | None:
    allowed = account.rules.symbols
    if not allowed or ask.signal.symbol in allowed:
        return None
    because = f"{ask.signal.symbol} is not among the symbols that may be entered: {', '.join(allowed)}"
    return denial_of(ask.signal, Code.SYMBOL_NOT_ALLOWED, 0, 1, "symbols", because)


# -- the price (C02, C13) ----------------------------------------------------------------------------------------------


def _fresh_price(account: Account, ask: Ask) -> Denial | None:
    mark, limit_ms = account.state.books.marks[ask.signal.symbol], account.rules.max_data_age_ms
    age_ms = max(0, ask.signal.ts_event_ns - mark.ts_event_ns) // 1_000_000
    if mark.price_ticks and age_ms <= limit_ms:
        return None
    because = f"{ask.signal.symbol}: the last trade is {age_ms} ms old" if mark.price_ticks else "no trade was seen yet"
    return denial_of(ask.signal, Code.STALE_PRICE, age_ms, limit_ms, "ms", because)


def _confirmed_price(account: Account, ask: Ask) -> Denial | None:
    mark = account.state.books.marks[ask.signal.symbol]
    before, now = mark.before_ticks, mark.price_ticks
    limit, parts = ratio(account.rules.max_jump_pct)
    if not before or abs(now - before) * 100 * parts <= limit * before:
        return None
    because = (
        f"{ask.signal.symbol}: {ask.instrument.price_text(before)} → {ask.instrument.price_text(now)} in one trade"
    )
    jump = _ratio_pct(now - before, before)
    return denial_of(ask.signal, Code.PRICE_JUMP, jump, account.rules.max_jump_pct, "%", because)


def _whole_book(account: Account, ask: Ask) -> Denial | None:
    """A book that is known has two sides that do not cross; where none is known, the last trade has to do."""
    mark = account.state.books.marks[ask.signal.symbol]
    if not mark.book_ns or 0 < mark.bid_ticks < mark.ask_ticks:
        return None
    bid, offer = ask.instrument.price_text(mark.bid_ticks), ask.instrument.price_text(mark.ask_ticks)
    because = f"{ask.signal.symbol}: best bid {bid}, best offer {offer} (0: that side is empty)"
    value, limit = ask.instrument.price(mark.bid_ticks), ask.instrument.price(mark.ask_ticks)
    return denial_of(ask.signal, Code.BAD_BOOK, value, limit, ask.instrument.quote, because)


def _within_collar(account: Account, ask: Ask) -> Denial | None:
    """The price is near the last trade and, where a fresh book is known, near its middle."""
    signal, mark = ask.signal, account.state.books.marks[ask.signal.symbol]
    limit, parts = ratio(account.rules.collar_pct)
    references = [("the last trade", 2 * mark.price_ticks)]
    if mark.book_ns and signal.ts_event_ns - mark.book_ns <= account.rules.max_data_age_ms * 1_000_000:
        references.append(("the middle of the book", mark.bid_ticks + mark.ask_ticks))
    for name, twice in references:
        apart = abs(2 * signal.price_ticks - twice)
        if apart * 100 * parts > limit * twice:
            price, reference = ask.instrument.price_text(signal.price_ticks), Decimal(twice) * ask.instrument.tick / 2
            because = f"{signal.symbol}: {price} is too far from {name}, {plain_text(reference)}"
            value = _ratio_pct(apart, twice)
            return denial_of(signal, Code.PRICE_COLLAR, value, account.rules.collar_pct, "%", because)
    return None


# -- behaviour that is no latch (C07, C08, C18) ------------------------------------------------------------------------


def _cooled_down(account: Account, ask: Ask) -> Denial | None:
    left_ns = account.state.left_ns.get(ask.signal.symbol)
    if left_ns is None:
        return None
    passed_ms, limit_ms = (ask.signal.ts_event_ns - left_ns) // 1_000_000, account.rules.cooldown_s * 1_000
    if passed_ms >= limit_ms:
        return None
    because = f"{ask.signal.symbol}: a position was left {passed_ms / 1000:.1f} s ago"
    return denial_of(ask.signal, Code.COOLING_DOWN, passed_ms, limit_ms, "ms", because)


def _no_duplicate(account: Account, ask: Ask) -> Denial | None:
    signal = ask.signal
    last = account.state.last_entry.get((signal.strategy_id, signal.symbol))
    if last is None or (ask.lots, signal.price_ticks) != last[1:]:
        return None
    age_ms, limit_ms = (signal.ts_event_ns - last[0]) // 1_000_000, account.rules.duplicate_window_ms
    if age_ms >= limit_ms:
        return None
    because = f"{signal.strategy_id} made the same order for {signal.symbol} {age_ms} ms ago"
    return denial_of(signal, Code.DUPLICATE_ORDER, age_ms, limit_ms, "ms", because)


def _no_self_match(account: Account, ask: Ask) -> Denial | None:
    worst = account.worst_ticks(ask.signal.price_ticks)
    met = own_orders_met(account, Side.BUY, ask.signal.symbol, worst)
    if not met:
        return None
    because = f"{ask.signal.symbol}: order {met[0]} of our own is in the book at that price or a better one"
    return denial_of(ask.signal, Code.SELF_MATCH, len(met), 0, "orders", because)


def own_orders_met(account: Account, side: Side, symbol: str, price_ticks: int) -> list[int]:
    """Return the resting orders of our own that an order with this worst price could meet."""
    return [
        order_no
        for order_no, one in account.state.reservations.items()
        if one.rests
        and one.side is not side
        and one.symbol == symbol
        and (one.worst_ticks <= price_ticks if side is Side.BUY else one.worst_ticks >= price_ticks)
    ]


# -- size (C03, C04, the venue's rules) --------------------------------------------------------------------------------


def _allocation(account: Account, ask: Ask) -> Denial | None:
    if ask.fraction > 0:
        return None
    because = f"{ask.signal.symbol}: no share of the capital is allocated to this regime"
    return denial_of(ask.signal, Code.ALLOCATION_ZERO, ask.fraction, 0, "fraction", because)


def _whole_lot(account: Account, ask: Ask) -> Denial | None:
    if ask.lots > 0:
        return None
    wanted = Fraction(account.rules.position_pct) * Fraction(ask.fraction) * ask.equity / 100
    one_lot = ask.instrument.notional(ask.signal.price_ticks, 1)
    because = (
        f"{ask.signal.symbol}: the position size does not buy one lot of {ask.instrument.lot} {ask.instrument.base}"
    )
    return _money_denial(ask, Code.BELOW_LOT, int(wanted), one_lot, because)


def _min_notional(account: Account, ask: Ask) -> Denial | None:
    if ask.value >= ask.instrument.min_notional_units:
        return None
    because = f"{ask.signal.symbol}: the venue takes no order this small"
    return _money_denial(ask, Code.BELOW_MIN_NOTIONAL, ask.value, ask.instrument.min_notional_units, because)


def _can_exit_at_the_stop(account: Account, ask: Ask) -> Denial | None:
    at_stop = ask.instrument.notional(account.stop_ticks(ask.signal), ask.lots)
    needed = ENTRY_OVER_MIN_NOTIONAL * ask.instrument.min_notional_units
    if at_stop >= needed:
        return None
    because = f"{ask.signal.symbol}: worth too little at its stop price to be sold there"
    return _money_denial(ask, Code.ENTRY_TOO_SMALL_TO_EXIT, at_stop, int(needed), because)


def _order_value(account: Account, ask: Ask) -> Denial | None:
    limit = percent(ask.equity, account.rules.max_order_pct)
    if ask.value <= limit:
        _near(ask, "C03", "max_order_pct", ask.value, limit)
        return None
    because = f"{ask.signal.symbol}: above {account.rules.max_order_pct} % of equity"
    return _money_denial(ask, Code.ORDER_VALUE_LIMIT, ask.value, limit, because)


def _order_volume(account: Account, ask: Ask) -> Denial | None:
    usual = usual_ticks(account, ask.signal.symbol) or ask.signal.price_ticks
    limit = volume_limit_lots(account, ask.equity, ask.instrument, usual)
    if ask.lots <= limit:
        return None
    because = f"{ask.signal.symbol}: too much even at its usual price, {ask.instrument.price_text(usual)} (median of seven days)"
    asked, allowed = ask.instrument.quantity(ask.lots), ask.instrument.quantity(limit)
    return denial_of(ask.signal, Code.ORDER_VOLUME_LIMIT, asked, allowed, ask.instrument.base, because)


def volume_limit_lots(account: Account, equity: int, instrument: Instrument, usual_ticks: int) -> int:
    """Return the most lots of an order, whatever its price: so a wrong price cannot hide a wrong size."""
    value = VOLUME_OVER_VALUE * percent(equity, account.rules.max_order_pct)
    return max(0, value // instrument.notional(usual_ticks, 1))


def usual_ticks(account: Account, symbol: str) -> int:
    """Return the median of the hourly prices of seven days; 0: no hour is over yet."""
    return account.state.usual.get(symbol, 0)


# -- what is held and in flight (C09, C10, C11) ------------------------------------------------------------------------


def _open_orders(account: Account, ask: Ask) -> Denial | None:
    live, limit = account.open_orders(), account.rules.max_open_orders
    if live >= limit:
        because = f"{live} orders are working, in flight or unknown"
        return denial_of(ask.signal, Code.OPEN_ORDERS_LIMIT, live + 1, limit, "orders", because)
    here, limit = account.open_orders(ask.signal.symbol), account.rules.max_symbol_orders
    if here >= limit:
        because = f"{here} orders for {ask.signal.symbol} are working, in flight or unknown"
        return denial_of(ask.signal, Code.OPEN_ORDERS_LIMIT, here + 1, limit, "orders", because)
    return None


def _symbol_exposure(account: Account, ask: Ask) -> Denial | None:
    limit = percent(ask.equity, account.rules.max_symbol_pct)
    return _exposure(ask, Code.SYMBOL_EXPOSURE_LIMIT, "max_symbol_pct", ask.signal.symbol, ask.held, limit)


def _gross_exposure(account: Account, ask: Ask) -> Denial | None:
    limit = percent(ask.equity, account.rules.max_gross_pct)
    return _exposure(ask, Code.EXPOSURE_LIMIT, "max_gross_pct", "all symbols", ask.held_in_all, limit)


def _exposure(ask: Ask, code: Code, name: str, where: str, held: int, limit: int) -> Denial | None:
    if held + ask.worst <= limit:
        _near(ask, "C10", name, held + ask.worst, limit)
        return None
    because = f"{where}: {decimal_of(held)} held and in flight + {decimal_of(ask.worst)} asked"
    return _money_denial(ask, code, held + ask.worst, limit, because)


def _cash_reserve(account: Account, ask: Ask) -> Denial | None:
    left, reserve = ask.free - ask.worst, percent(ask.equity, account.rules.cash_reserve_pct)
    if left >= reserve:
        return None
    because = f"the order would leave {decimal_of(left)} free"
    return _money_denial(ask, Code.CASH_RESERVE, left, reserve, because)


def _cash(account: Account, ask: Ask) -> Denial | None:
    if ask.worst <= ask.free:
        return None
    because = f"{ask.signal.symbol}: with fees and slippage more than the free cash"
    return _money_denial(ask, Code.INSUFFICIENT_CASH, ask.worst, ask.free, because)


# -- how often (C05, C06) ----------------------------------------------------------------------------------------------


def _not_repeated(account: Account, ask: Ask) -> Denial | None:
    signal = ask.signal
    rate = account.state.entries.exhausted(signal.strategy_id, signal.symbol, signal.ts_event_ns, account.repetition)
    if rate is None:
        return None
    because = f"{signal.strategy_id} entered {signal.symbol} {rate.count} times within one {rate.word}"
    return denial_of(signal, Code.REPEATED_ENTRIES, rate.count + 1, rate.count, "entries", because)


def _not_too_often(account: Account, ask: Ask) -> Denial | None:
    signal = ask.signal
    found = account.state.throttle.exhausted(signal.strategy_id, signal.ts_event_ns, account.throttle)
    if found is None:
        return None
    whose, rate = found
    because = f"{whose} made {rate.count} entries within one {rate.word}"
    return denial_of(signal, Code.THROTTLED, rate.count + 1, rate.count, "orders", because)


VENUE_AND_CASH_CONTROLS: Final[tuple[Control, ...]] = (_allocation, _whole_lot, _min_notional, _cash)
"""What even an unlimited backtest obeys."""

ENTRY_CONTROLS: Final[tuple[Control, ...]] = (
    _known_strategy,
    _allowed_symbol,
    _fresh_price,
    _confirmed_price,
    _whole_book,
    _within_collar,
    _allocation,
    _cooled_down,
    _whole_lot,
    _min_notional,
    _can_exit_at_the_stop,
    _order_value,
    _order_volume,
    _no_duplicate,
    _no_self_match,
    _symbol_exposure,
    _gross_exposure,
    _open_orders,
    _cash_reserve,
    _cash,
    _not_repeated,
    _not_too_often,
)
"""Every control of an entry, in the order of asking."""


def denial_of(
    signal: Signal, code: Code, value: Decimal | int, limit: Decimal | int, unit: str, because: str
) -> Denial:
    """Return a denial of a signal."""
    return Denial(
        signal_no=signal.signal_no,
        strategy_id=signal.strategy_id,
        symbol=signal.symbol,
        side=signal.side,
        code=code,
        ts_event_ns=signal.ts_event_ns,
        value=Decimal(value),
        limit=Decimal(limit),
        unit=unit,
        because=because,
    )


def entry_of(account: Account, signal: Signal, instrument: Instrument) -> Ask:
    """Return what an entry signal asks for: size, value, and what it may cost at most."""
    rules, books = account.rules, account.state.books
    fraction = account.state.fractions.get(signal.symbol, Decimal(0))
    equity, held, held_in_all = account.worth(signal.symbol)
    price = signal.price_ticks
    lots = quantity_lots(rules.position_pct, fraction, equity, price, instrument)
    worst = instrument.notional(account.worst_ticks(price), lots)
    dearest = price if rules.unlimited else max(price, books.marks[signal.symbol].price_ticks)
    return Ask(
        signal=signal,
        instrument=instrument,
        equity=equity,
        fraction=fraction,
        lots=lots,
        value=instrument.notional(dearest, lots),
        worst=worst + percent(worst, rules.taker_bps / 100),
        held=held,
        held_in_all=held_in_all,
        free=account.free_cash(),
        near=[],
    )


def refuse(account: Account, ask: Ask) -> Denial | None:
    """Take an entry through the controls; return the first no, or None."""
    controls: Sequence[Control] = VENUE_AND_CASH_CONTROLS if account.rules.unlimited else ENTRY_CONTROLS
    for control in controls:
        denial = control(account, ask)
        if denial is not None:
            return denial
    return None


def rests(order_type: OrderType) -> bool:
    """Whether an order of this type stays in the book."""
    return order_type in (OrderType.LIMIT, OrderType.LIMIT_MAKER)


def _near(ask: Ask, control: str, name: str, value: int, limit: int) -> None:
    if 100 * value < SOFT_PCT * limit:
        return
    because = f"{ask.signal.symbol}: {decimal_of(value)} of {decimal_of(limit)} {ask.instrument.quote}"
    ask.near.append(
        RiskAlert(
            control=control,
            name=name,
            value=decimal_of(value),
            limit=decimal_of(limit),
            unit=ask.instrument.quote,
            because=because,
            ts_event_ns=ask.signal.ts_event_ns,
            symbol="" if name == "max_gross_pct" else ask.signal.symbol,
        )
    )


def _ratio_pct(part: int, whole: int) -> Decimal:
    """`part` in percent of `whole`, to four decimals, for people."""
    return (Decimal(100) * abs(part) / whole).quantize(Decimal("0.0001"))


def _money_denial(ask: Ask, code: Code, value: int, limit: int, because: str) -> Denial:
    return denial_of(ask.signal, code, decimal_of(value), decimal_of(limit), ask.instrument.quote, because)
