"""What one decision costs in risk and at the gate, without the durable writes, beside a bare loop.

    ./dev bench risk [--decisions 5000] [--rounds 3] [--held 20]

A decision is a signal taken through every control to an intent and a reservation; the gate's share is the approval held
against the request's own parameters, the latch and the account's epoch. `bare_loop` computes the same size and looks at one
limit, so it is the floor of anything written in Python. The account holds positions in `--held` symbols and as many resting
orders as the limits allow, for a full account is what a decision costs most in. Times are the thread's processor time, so that
other programs on the machine do not count; garbage collection does. Prints one JSON document. Aim: p99 of risk and gate
together <= 200 us.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec import structs

from claire.gateway.gate import Approval, Gate
from claire.model.books import Books
from claire.model.decisions import Denial, Fill, Intent, OrderEvent, Signal
from claire.model.instrument import Instrument
from claire.model.market import Candle, Mark, Side
from claire.model.orders import OrderState
from claire.stages.risk import Identity, Risk, RiskRules

START_NS = 1_750_000_000_000_000_000
STEP_NS = 7_000_000_000
PRICE = 10_000
STRATEGIES = tuple(f"s{number}" for number in range(10))
RULES = RiskRules(
    position_pct=Decimal("0.2"),
    max_symbol_pct=Decimal(40),
    max_gross_pct=Decimal(100),
    max_open_orders=100,
    max_symbol_orders=20,
    max_orders_per_s=10,
    max_orders_per_min=100,
    max_orders_per_day=2_000,
    max_entries_per_min=10,
    max_entries_per_h=60,
    max_entries_per_day=300,
    cooldown_s=0,
    taker_bps=Decimal(5),
    slippage_ticks=1,
)


class Open:
    """A latch that is open, and an account that is ours: what reading them costs is the kill switch's bench."""

    def why_closed(self) -> str:
        """Nothing is closed."""
        return ""

    def is_current(self) -> bool:
        """Nobody else took the account."""
        return True


def instrument(number: int) -> Instrument:
    """One of many symbols."""
    return Instrument.checked(f"A{number:02}USDT", Decimal("0.01"), Decimal("0.0001"), min_notional=Decimal(1))


def full_account(held: int) -> Risk:
    """An account that holds something of many symbols, with a week of prices and a history of orders."""
    instruments = {one.symbol: one for one in map(instrument, range(held))}
    marks = {symbol: Mark(PRICE, START_NS, PRICE, PRICE - 1, PRICE + 1, START_NS) for symbol in instruments}
    books = Books("USDT", instruments, marks)
    books.transfer(100_000 * 10**18, START_NS)
    ones = dict.fromkeys(instruments, Decimal(1))
    risk = Risk(RULES, books, Identity("bench", "bench", "C"), dict.fromkeys(STRATEGIES, 2.0), ones)
    risk.on_valuation(START_NS)
    for symbol in instruments:
        for hour in range(168):
            close = START_NS - (168 - hour) * 3_600_000_000_000
            risk.on_candle(Candle(symbol, close - 60_000_000_000, close, PRICE, PRICE, PRICE, PRICE, 1, 1))
    for number, symbol in enumerate(instruments):
        risk.on_fill(fill_of(900_000 + number, STRATEGIES[-1], symbol, 20_000, START_NS))
    for number in range(40):  # orders that work, are in flight or unknown
        symbol = f"A{number % held:02}USDT"
        risk.on_signal(
            Signal(0, STRATEGIES[number % 9], symbol, Side.BUY, START_NS - STEP_NS * (50 - number), PRICE, "entry")
        )
    return risk


def fill_of(order_no: int, owner: str, symbol: str, lots: int, ts_ns: int) -> Fill:
    """An entry that was filled."""
    none = Decimal(0)
    return Fill(order_no, owner, symbol, Side.BUY, PRICE, lots, none, "USDT", none, False, False, ts_ns, f"t{order_no}")


def decisions(count: int, held: int) -> dict[str, list[float]]:
    """Time single decisions; each entry is over before the next one, so that the account stays as full as it was."""
    risk = full_account(held)
    gate = Gate(latch=Open(), account=Open(), now_ns=lambda: START_NS)
    live = len(risk.state.reservations)
    spent: dict[str, list[float]] = {"entry": [], "gate": [], "both": [], "exit": [], "denial": []}
    now_ns = START_NS
    for number in range(count):
        now_ns += STEP_NS
        symbol, owner = f"A{number % held:02}USDT", STRATEGIES[number % 9]
        mark = risk.state.books.marks[symbol]
        mark.ts_event_ns = mark.book_ns = now_ns
        signal = Signal(number, owner, symbol, Side.BUY, now_ns, PRICE, "entry")
        answer, took_us = timed(lambda signal=signal: risk.on_signal(signal))  # type: ignore[misc]
        intent = next((event for event in answer if isinstance(event, Intent)), None)
        if intent is None:
            spent["denial"].append(took_us)
            continue
        params, approval = request_of(intent, risk.state.books.instruments[symbol])
        verdict, gate_us = timed(
            lambda params=params, approval=approval: gate.check(
                "/api/v3/order", params, (approval,), ts_ms=1, fence_ms=2
            )  # type: ignore[misc]
        )
        if verdict != ("", ""):
            raise AssertionError(verdict)
        spent["entry"].append(took_us)
        spent["gate"].append(gate_us)
        spent["both"].append(took_us + gate_us)
        risk.on_order(ended(intent, now_ns))
        if len(risk.state.reservations) != live:
            raise AssertionError("the account filled up")
        leave = structs.replace(signal, side=Side.SELL, strategy_id=STRATEGIES[-1], reason="exit")
        answer, took_us = timed(lambda leave=leave: risk.on_signal(leave))  # type: ignore[misc]
        if not any(isinstance(event, Denial) for event in answer):
            spent["exit"].append(took_us)
            risk.on_order(ended(next(event for event in answer if isinstance(event, Intent)), now_ns))
    return spent


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work gives, and the processor time that it took in microseconds."""
    started = time.thread_time_ns()
    result = work()
    return result, (time.thread_time_ns() - started) / 1000


def ended(intent: Intent, now_ns: int) -> OrderEvent:
    """The order came to nothing."""
    return OrderEvent(
        intent.order_no, intent.strategy_id, intent.symbol, intent.side, OrderState.NOT_SENT, intent.quantity_lots, 0,
        intent.reduce_only, now_ns,
    )  # fmt: skip


def request_of(intent: Intent, rules: Instrument) -> tuple[list[tuple[str, str]], Approval]:
    """What is signed for an intent, and its approval."""
    price, quantity = rules.price(intent.collar_ticks), rules.quantity(intent.quantity_lots)
    name, kind = intent.client_order_id, "IMMEDIATE_OR_CANCEL"
    params = [
        ("symbol", intent.symbol), ("side", intent.side.value), ("type", kind), ("quantity", str(quantity)),
        ("price", str(price)), ("newClientOrderId", name),
    ]  # fmt: skip
    return params, Approval(1, name, intent.symbol, intent.side, quantity, kind, price, False, 0, START_NS)


def bare(count: int) -> list[float]:
    """The same size on plain integers, and one limit."""
    equity, spent, held = 100_000 * 10**18, [], 0
    for number in range(count):
        started = time.thread_time_ns()
        lots = 2 * equity // (1000 * PRICE * 10**12)
        value = lots * PRICE * 10**12
        passes = held + value <= equity * 60 // 100
        spent.append((time.thread_time_ns() - started) / 1000)
        held = value if passes and number % 2 else 0
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--held", type=int, default=20)
    options = parser.parse_args()
    gc.freeze()
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, spent in {**decisions(options.decisions, options.held), "bare_loop": bare(options.decisions)}.items():
            found.setdefault(name, []).extend(spent)
    result: dict[str, Any] = {"held_symbols": options.held, "rounds": options.rounds}
    for name, spent in found.items():
        if len(spent) > 1:
            cuts = statistics.quantiles(spent, n=1000)
            result[name] = {
                "decisions": len(spent),
                "p50_us": round(cuts[499], 2),
                "p99_us": round(cuts[989], 2),
                "p999_us": round(cuts[998], 2),
            }
    result["ratio_to_bare_loop"] = round(result["both"]["p50_us"] / result["bare_loop"]["p50_us"], 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
