"""What an operator may ask of a running process, and what becomes of it.

Whatever changes something is an input of the pipeline: it is journalled before the pipeline has it, under the name of
whoever asked, and a replay repeats it. Nothing here sends an order: a position is closed by a signal that passes risk like any
other exit, an order is cancelled by execution.

`operating` opens the door (`services.door`) of a live run; it is entered by the live loop, in the thread that decides.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from claire.engine.reconcile import holdings
from claire.model.decisions import TradingState
from claire.model.errors import UsageError, did_you_mean
from claire.model.money import decimal_of
from claire.services import views
from claire.services.door import Door, Request
from claire.services.limits import limits_of, locks_of
from claire.services.recovery import GoOn
from claire.stages.execution import Order
from claire.stages.risk_state import Lock, RiskState

if TYPE_CHECKING:
    from claire.services.live import LiveRun
    from claire.services.outside import Outside
    from claire.services.reconciliation import Reconciliation

PAUSE: Final = "operator pause"
"""Source of the lock that `claire pause` puts on the account, and any operator's `claire unpause` takes back."""

KILL_SWITCH: Final = "kill switch"
"""Source of the lock that follows the account's latch (`services.guarding`)."""

LONGEST: Final = 200
"""Characters of a name or a reason."""


@asynccontextmanager
async def operating(
    run: "LiveRun",
    run_dir: Path,
    *,
    mode: str,
    outside: "Outside | None" = None,
    reconciliation: "Reconciliation | None" = None,
) -> AsyncIterator[Door]:
    """Let the operator talk to a live run while inside. Call `check` of what this gives in the loop.

    Args:
        run: The run.
        run_dir: Its directory; this process holds its lock.
        mode: Of the run, for those who look.
        outside: Its venue; None: the paper venue.
        reconciliation: What holds its books against that venue's.
    """
    operations = Operations(run, run_dir.name, mode, outside, reconciliation)
    async with Door(run_dir, operations.answer) as door:
        yield door


class Operations:
    """Does what an operator asks of one run."""

    def __init__(
        self,
        run: "LiveRun",
        run_id: str,
        mode: str,
        outside: "Outside | None" = None,
        reconciliation: "Reconciliation | None" = None,
    ) -> None:
        """Take requests for a run."""
        self._run = run
        self._pipeline = run.pipeline
        self._outside = outside
        self._reconciliation = reconciliation
        self._about = {"run": run_id, "mode": mode, "running": True}
        self._do: dict[str, Callable[[Request], dict[str, Any]]] = {
            "ping": lambda _: {},
            "pause": self._pause,
            "unpause": self._unpause,
            "close": self._close,
            "cancel": self._cancel,
            "release": self._release,
            "positions": lambda _: {"positions": views.positions(self._pipeline)},
            "orders": lambda _: {"orders": views.orders(self._pipeline)},
            "balance": lambda _: self._balance(),
            "risk": lambda _: self._risk(),
        }

    async def answer(self, request: Request) -> dict[str, Any]:
        """Do what is asked and say what became of it.

        Raises:
            UsageError: it cannot be done; nothing has changed then.
            ClaireError: the venue does not say, or something cannot be kept.
        """
        do = self._do.get(request.do)
        if do is None:
            raise UsageError(f"there is no {request.do} here.{did_you_mean(request.do, self._do)}")
        for name, text in (("operator", request.operator), ("reason", request.reason)):
            if len(text) > LONGEST or not text.isprintable():
                raise UsageError(f"--{name}: write at most {LONGEST} printable characters")
        there = await self._ask_venue(request) if request.venue else {}
        # nothing is awaited from here on: what is done stands between two inputs
        return self._about | {"as_of_ns": self._run.now_ns()} | do(request) | there

    # -- what changes something ------------------------------------------------------------------------------------------

    def _pause(self, request: Request) -> dict[str, Any]:
        source = self._pause_of(request.symbol)
        if source in self._locks:
            raise UsageError(f"{_what(request.symbol)} is paused already: {self._locks[source].reason}")
        self._run.control(source, TradingState.REDUCE_ONLY, said(request), request.symbol.upper())
        return {"paused": request.symbol.upper() or "*", **self._trading()}

    def _unpause(self, request: Request) -> dict[str, Any]:
        source = self._pause_of(request.symbol)
        if source not in self._locks:
            others = "; ".join(f"{name}: {lock.state}" for name, lock in self._locks.items()) or "none"
            raise UsageError(
                f"{_what(request.symbol)} is not paused. Locks that are set: {others} (claire risk status)"
            )
        self._run.control(source, TradingState.ACTIVE, said(request), request.symbol.upper())
        return {"unpaused": request.symbol.upper() or "*", **self._trading()}

    def _close(self, request: Request) -> dict[str, Any]:
        symbol = self._symbol(request.symbol)
        owned = [owner for owner in self._pipeline.owners if owner[1] == symbol]
        if not owned:
            held = ", ".join(dict.fromkeys(of for _, of in self._pipeline.owners)) or "nothing"
            raise UsageError(f"no strategy owns any {symbol}; held: {held}")
        if not self._pipeline.marks[symbol].price_ticks:
            raise UsageError(f"{symbol}: no trade was seen yet, so there is no price to sell by; try again in a moment")
        signals, orders = self._pipeline.stages.signals, self._pipeline.stages.execution
        unwatched = [owner for owner in owned if not signals.has_desk(*owner)]
        if unwatched:
            raise UsageError(
                f"nobody watches {' '.join(unwatched[0])}; start again with --reduce-only-orphans or --adopt"
            )
        busy = {owner for owner in owned if not signals.desk_of(*owner).is_free}
        before = orders.last_no
        if len(busy) < len(owned):
            self._run.ask("close", _name(request), request.reason, symbol=symbol)
        made = [order.order_no for order in orders.orders.values() if order.order_no > before]
        found = {number: orders.orders[number] for number in made}
        closing = []
        for owner in owned:
            number = next((n for n, order in found.items() if (order.strategy_id, order.symbol) == owner), 0)
            if number:
                became = f"order {number}, {found[number].life.state}"
            elif owner in busy:
                became = "an order of it is live already"
            elif owner in self._pipeline.owners:
                became = self._why_not(*owner)
            else:
                became = "too small to sell; it became dust"
            closing.append({"strategy": owner[0], "symbol": symbol, "order": number, "became": became})
        return {"closing": closing}

    def _why_not(self, strategy_id: str, symbol: str) -> str:
        """Say why a position that was to be closed is not on its way out."""
        locks = self._risk_state.locks_on(strategy_id, symbol)
        if locks and locks[0][1].state in (TradingState.HALTED, TradingState.KILLED):
            why = "; ".join(f"{source}: {lock.reason}" for source, lock in locks)
            return f"refused: trading is {locks[0][1].state} ({why})"
        return f"not yet; claire explain s{self._pipeline.stages.signals.last_no} tells why"

    def _cancel(self, request: Request) -> dict[str, Any]:
        order = self._order(request.order)
        if order.life.is_terminal:
            raise UsageError(f"order {order.order_no} ({order.client_order_id}) is over: it is {order.life.state}")
        self._run.ask("cancel", _name(request), request.reason, order_no=order.order_no)
        return {
            "order": order.order_no,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "state": order.life.state.value,
        }

    def _release(self, request: Request) -> dict[str, Any]:
        if not request.reason.strip():
            raise UsageError(f"release {request.lock}: whoever takes back a lock says why: --reason TEXT")
        if request.lock == KILL_SWITCH:
            raise UsageError("the lock of the kill switch goes when the account is armed again: claire rearm")
        said_by = GoOn(Path(), releases=(request.lock,), operator=_name(request), reason=request.reason)
        self._run.release(said_by, self._reconciliation)
        return {"released": request.lock, **self._trading()}

    # -- what only looks -------------------------------------------------------------------------------------------------

    def _balance(self) -> dict[str, Any]:
        found = views.account(self._pipeline, self._external)
        external = [{"asset": asset, "amount": f"{amount:f}"} for asset, amount in found.external.items()]
        return {
            "balance": found.balance,
            "external": external,
            "currency": found.currency,
            "equity": found.equity,
        }

    def _risk(self) -> dict[str, Any]:
        risk = self._pipeline.stages.risk
        waiting = [{"strategy": owner, "symbol": symbol} for owner, symbol in self._pipeline.stages.signals.asking]
        return {
            **self._trading(),
            "locks": locks_of(risk),
            "limits": limits_of(risk, self._pipeline.now_ns),
            "asking": waiting,
        }

    def _trading(self) -> dict[str, Any]:
        state = self._risk_state
        return {"trading": state.trading.value, "reason": state.trading_reason}

    async def _ask_venue(self, request: Request) -> dict[str, Any]:
        if self._outside is None:
            raise UsageError("this run trades with paper money inside its process; there is no venue to ask")
        venue = self._outside.venue
        if request.do == "orders":
            listed = await venue.open_orders()
            return {"venue": views.orders_beside(views.orders(self._pipeline), listed)}
        there = await venue.balances()
        books = self._pipeline.stages.portfolio.state.books
        here = {asset: decimal_of(units) for asset, units in holdings(books).items()}
        external = {asset: decimal_of(units) for asset, units in self._external.items()}
        rows = views.beside(here, external, there)
        if request.do == "positions":
            bases = {books.instruments[symbol].base: None for _, symbol in self._pipeline.owners}
            rows = [row for row in rows if row["asset"] in bases or (row["asset"] != books.currency and _differs(row))]
        return {"venue": rows}

    # -- inside ----------------------------------------------------------------------------------------------------------

    @property
    def _risk_state(self) -> RiskState:
        return self._pipeline.stages.risk.state

    @property
    def _locks(self) -> dict[str, Lock]:
        return self._risk_state.locks

    @property
    def _external(self) -> dict[str, int]:
        return {} if self._reconciliation is None else self._reconciliation.externals.baseline

    def _pause_of(self, symbol: str) -> str:
        return f"{PAUSE} {self._symbol(symbol)}" if symbol else PAUSE

    def _symbol(self, word: str) -> str:
        known = self._pipeline.marks
        if word.upper() in known:
            return word.upper()
        raise UsageError(f"{word} is not a symbol of this run.{did_you_mean(word, known)} It has: {_few(list(known))}")

    def _order(self, word: str) -> Order:
        orders = self._pipeline.stages.execution.orders
        if word.isdigit() and int(word) in orders:
            return orders[int(word)]
        for order in orders.values():
            if word and word in (order.client_order_id, order.venue_order_id):
                return order
        live = self._pipeline.stages.execution.live
        known = [name for order in live for name in (order.client_order_id, order.venue_order_id) if name]
        listed = ", ".join(f"{order.order_no} ({order.client_order_id})" for order in live[:8]) or "none"
        raise UsageError(f"there is no order {word}.{did_you_mean(word, known)} Live: {listed}")


def said(request: Request) -> str:
    """Return who says so and why, as locks show it."""
    return f"{_name(request)}: {request.reason}" if request.reason else _name(request)


def _name(request: Request) -> str:
    if not request.operator.strip():
        raise UsageError("who asks? Give --operator NAME")
    return request.operator


def _what(symbol: str) -> str:
    return symbol or "this run"


def _differs(row: views.Row) -> bool:
    return Decimal(row["difference"]) != 0


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
