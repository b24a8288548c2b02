"""Turns events into rows: ticks and lots become exact decimals, everything else stays what it is."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from claire.adapters.journal.entries import Adjusted, External
from claire.adapters.store import tables
from claire.engine.ports import Recorded
from claire.model.books import PortfolioSnapshot, Posting
from claire.model.decisions import (
    Adopted,
    AllocationDecision,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    RegimeChanged,
    Reserved,
    RiskAlert,
    RoundTrip,
    Signal,
)
from claire.model.errors import LedgerError
from claire.model.instrument import Instrument
from claire.model.market import Candle
from claire.model.money import decimal_of, units_of

Row = dict[str, Any]

HELD: Final = "held"
RELEASED: Final = "released"

_decimal: Final = lru_cache(maxsize=4096)(decimal_of)
"""Exact decimals of units; the same quantity appears in an intent, its order, its fill and their postings."""


class Rows:
    """Makes the rows of one run."""

    def __init__(self, run_id: str, account_id: str, venue: str, instruments: Mapping[str, Instrument]) -> None:
        """Remember what all rows of a run share."""
        self._run_id = run_id
        self._account_id = account_id
        self._venue = venue
        self._steps = {name: (units_of(rules.tick), rules.lot_units) for name, rules in instruments.items()}

    def of(self, event: Recorded, input_no: int, decision_no: int) -> tuple[sa.Table, Row]:
        """Return the table and the row of one decision."""
        table, make = _MAKERS[type(event)]
        row = make(self, event)
        row["run_id"] = self._run_id
        if table is tables.alerts:
            return table, row
        row["input_no"] = input_no
        if table is tables.orders:
            row["decision_no"] = decision_no
        return table, row

    def candle(self, e: Candle) -> Row:
        """Return the row of a closed candle."""
        tick, lot = self._step(e.symbol)
        return {
            "run_id": self._run_id, "symbol": e.symbol, "open_ns": e.open_ns, "close_ns": e.close_ns, "venue": self._venue,
            "open": _decimal(tick * e.open_ticks), "high": _decimal(tick * e.high_ticks),
            "low": _decimal(tick * e.low_ticks), "close": _decimal(tick * e.close_ticks),
            "volume": _decimal(lot * e.volume_lots), "trades": e.trades, "is_empty": e.empty,
        }  # fmt: skip

    def posting(self, e: Posting, line_no: int) -> Row:
        """Return the row of one line of a transaction."""
        return {
            "run_id": self._run_id, "transaction_no": e.transaction_no, "line_no": line_no, "account_id": self._account_id,
            "book": e.account, "asset": e.asset, "amount": _decimal(e.units), "cause": e.cause,
            "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def snapshot(self, e: PortfolioSnapshot) -> Row:
        """Return the row of one look at the account."""
        return {
            "run_id": self._run_id, "account_id": self._account_id, "ts_event_ns": e.ts_event_ns, "equity": e.equity,
            "cash": e.cash, "realised_pnl": e.realised_pnl, "unrealised_pnl": e.unrealised_pnl, "fees": e.fees,
            "drawdown_pct": e.drawdown_pct, "open_positions": e.open_positions,
        }  # fmt: skip

    def position(self, strategy_id: str, symbol: str, base_units: int, cost_units: int, ts_event_ns: int) -> Row:
        """Return the row of what one strategy owns of one symbol."""
        return {
            "run_id": self._run_id, "account_id": self._account_id, "strategy_id": strategy_id, "symbol": symbol,
            "quantity": _decimal(base_units), "cost": _decimal(cost_units), "ts_event_ns": ts_event_ns,
        }  # fmt: skip

    def alert(self, ts_event_ns: int, severity: str, code: str, text: str) -> Row:
        """Return the row of an alert."""
        return {
            "run_id": self._run_id, "account_id": self._account_id, "ts_event_ns": ts_event_ns, "severity": severity,
            "code": code, "text": text,
        }  # fmt: skip

    def adjusted(self, e: Adjusted) -> Row:
        """Return the row of an operator's adjustment."""
        return {
            "run_id": self._run_id, "ts_event_ns": e.ts_ns, "asset": e.asset, "operator": e.operator,
            "strategy_id": e.strategy_id, "symbol": e.symbol, "account_id": self._account_id,
            "amount": amount_of(e.units, f"the adjustment by {e.operator}"), "reason": e.reason,
        }  # fmt: skip

    def external(self, e: External) -> Row:
        """Return the row of coins that are not Claire's."""
        return {
            "run_id": self._run_id, "asset": e.asset, "evidence_id": e.evidence_id, "account_id": self._account_id,
            "kind": e.kind, "amount": amount_of(e.amount, f"the external {e.kind} {e.evidence_id}"), "ts_event_ns": e.ts_ns,
        }  # fmt: skip

    # -- one per kind of decision --------------------------------------------------------------------------------------

    def _signal(self, e: Signal) -> Row:
        return {
            "signal_no": e.signal_no, "account_id": self._account_id, "strategy_id": e.strategy_id, "symbol": e.symbol,
            "side": e.side.value, "price": self._price(e.symbol, e.price_ticks), "reason": e.reason, "strength": e.strength,
            "pct_change": e.pct_change, "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _intent(self, e: Intent) -> Row:
        return {
            "order_no": e.order_no, "signal_no": e.signal_no, "account_id": e.account_id, "venue": e.venue,
            "strategy_id": e.strategy_id, "symbol": e.symbol, "side": e.side.value, "type": e.type.value,
            "quantity": self._quantity(e.symbol, e.quantity_lots),
            "limit_price": self._price(e.symbol, e.limit_ticks) if e.limit_ticks else None, "expires_ns": e.expires_ns,
            "reduce_only": e.reduce_only, "client_order_id": e.client_order_id,
            "price": self._price(e.symbol, e.price_ticks), "instrument_kind": e.kind, "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _order(self, e: OrderEvent) -> Row:
        return {
            "order_no": e.order_no, "account_id": self._account_id, "venue": self._venue, "strategy_id": e.strategy_id,
            "symbol": e.symbol, "side": e.side.value, "state": e.state.value,
            "quantity": self._quantity(e.symbol, e.quantity_lots),
            "filled_quantity": self._quantity(e.symbol, e.filled_lots), "reduce_only": e.reduce_only, "code": e.code,
            "reason": e.reason, "client_order_id": e.client_order_id, "order_id": e.venue_order_id,
            "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _fill(self, e: Fill) -> Row:
        if not e.trade_id:
            raise LedgerError(
                f"order {e.order_no}: a fill of {e.quantity_lots} lots has no trade id, so it cannot be told from its"
                f" repetition. The venue's adapter has to name every execution."
            )
        return {
            "order_no": e.order_no, "trade_id": e.trade_id, "account_id": self._account_id, "venue": self._venue,
            "strategy_id": e.strategy_id, "symbol": e.symbol, "side": e.side.value,
            "price": self._price(e.symbol, e.price_ticks), "quantity": self._quantity(e.symbol, e.quantity_lots),
            "fee": e.fee, "fee_asset": e.fee_asset, "fee_value": e.fee_value, "is_maker": e.is_maker,
            "reduce_only": e.reduce_only, "order_id": e.venue_order_id, "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _denial(self, e: Denial) -> Row:
        return {
            "signal_no": e.signal_no, "code": e.code.value, "account_id": self._account_id, "strategy_id": e.strategy_id,
            "symbol": e.symbol, "side": e.side.value, "value": e.value, "limit_value": e.limit, "unit": e.unit,
            "because": e.because, "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _regime(self, e: RegimeChanged) -> Row:
        return {
            "symbol": e.symbol, "ts_event_ns": e.ts_event_ns, "before": e.before.value, "after": e.after.value,
            "adx": e.adx, "atr_pct": e.atr_pct,
        }  # fmt: skip

    def _allocation(self, e: AllocationDecision) -> Row:
        return {"symbol": e.symbol, "ts_event_ns": e.ts_event_ns, "reason": e.reason, "fraction": e.fraction}

    def _round_trip(self, e: RoundTrip) -> Row:
        return {
            "strategy_id": e.strategy_id, "symbol": e.symbol, "exit_ns": e.exit_ns, "entry_ns": e.entry_ns,
            "account_id": self._account_id, "bought": self._quantity(e.symbol, e.bought_lots),
            "sold": self._quantity(e.symbol, e.sold_lots), "entry_price": e.entry_price, "exit_price": e.exit_price,
            "realised_pnl": e.realised_pnl, "fees": e.fees, "reason": e.reason,
        }  # fmt: skip

    def _dust(self, e: PositionDusted) -> Row:
        return {
            "strategy_id": e.strategy_id, "symbol": e.symbol, "ts_event_ns": e.ts_event_ns, "account_id": self._account_id,
            "quantity": e.quantity, "price": self._price(e.symbol, e.price_ticks),
        }  # fmt: skip

    def _control(self, e: ControlEvent) -> Row:
        return {
            "ts_event_ns": e.ts_event_ns, "state": e.state.value, "operator": e.operator, "account_id": self._account_id,
            "reason": e.reason,
        }  # fmt: skip

    def _risk_alert(self, e: RiskAlert) -> Row:
        text = f"{e.control} {e.name}: {e.because}"
        return self.alert(e.ts_event_ns, "warning", "risk", text)

    def _reserved(self, e: Reserved) -> Row:
        return {
            "order_no": e.order_no, "account_id": self._account_id, "strategy_id": e.strategy_id, "symbol": e.symbol,
            "side": e.side.value, "cash_asset": e.cash_asset, "cash": e.cash, "exposure": e.exposure,
            "quantity": self._quantity(e.symbol, e.leaves_lots), "state": HELD, "released_by": "", "released_ns": None,
            "ts_event_ns": e.ts_event_ns,
        }  # fmt: skip

    def _adopted(self, e: Adopted) -> Row:
        return {
            "owner_id": e.owner_id, "symbol": e.symbol, "ts_event_ns": e.ts_event_ns, "account_id": self._account_id,
            "strategy_id": e.strategy_id, "quantity": e.quantity, "operator": e.operator, "reason": e.reason,
        }  # fmt: skip

    def _price(self, symbol: str, ticks: int) -> Decimal:
        return _decimal(self._step(symbol)[0] * ticks)

    def _quantity(self, symbol: str, lots: int) -> Decimal:
        return _decimal(self._step(symbol)[1] * lots)

    def _step(self, symbol: str) -> tuple[int, int]:
        """Return the units of a tick and of a lot."""
        try:
            return self._steps[symbol]
        except KeyError:
            raise LedgerError(
                f"{symbol}: run {self._run_id} has no instrument rules for it, so its ticks and lots mean nothing. Add"
                f" instruments.{symbol} to the configuration."
            ) from None


def amount_of(text: str, what: str) -> Decimal:
    """Return the amount in decimal text.

    Raises:
        LedgerError: it is none.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise LedgerError(f"{what}: {text!r} is not an amount of money; give a decimal number such as -0.5.")
    return amount


_MAKERS: Final[dict[type, tuple[sa.Table, Callable[[Rows, Any], Row]]]] = {
    Signal: (tables.signals, Rows._signal),
    Intent: (tables.intents, Rows._intent),
    Reserved: (tables.reservations, Rows._reserved),
    OrderEvent: (tables.orders, Rows._order),
    Fill: (tables.fills, Rows._fill),
    Denial: (tables.denials, Rows._denial),
    RegimeChanged: (tables.regimes, Rows._regime),
    AllocationDecision: (tables.allocations, Rows._allocation),
    RoundTrip: (tables.round_trips, Rows._round_trip),
    PositionDusted: (tables.dust, Rows._dust),
    ControlEvent: (tables.control, Rows._control),
    RiskAlert: (tables.alerts, Rows._risk_alert),
    Adopted: (tables.adoptions, Rows._adopted),
}
