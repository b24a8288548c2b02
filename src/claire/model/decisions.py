"""What the pipeline decides and what becomes of it: signals, intents, denials, order events, fills and the rest.

All are frozen values. Prices are ticks, quantities lots of the symbol's instrument; amounts of money are Decimals.
Orders and signals are named by their ordinal within the run (1, 2, 3 …); ids for the outside are derived from those.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from claire.model.market import Side
from claire.model.orders import Evidence, OrderState, OrderType


class Signal(Struct, frozen=True, tag_field="event", tag="signal"):
    """A strategy's wish. Never a size."""

    signal_no: int
    strategy_id: str
    symbol: str
    side: Side
    ts_event_ns: int
    price_ticks: int
    """The trade price that it was decided at."""
    reason: str
    """Why, as a word: ``entry``, ``stop_loss``, ``take_profit``, ``max_hold``, ``exit``, or ``operator`` (asked to close)."""
    strength: float = 1.0
    """0–1."""
    pct_change: float | None = None


class Code(StrEnum):
    """Why risk says no. The table in the docs is generated from these and `CODE_MEANING`."""

    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    TRADING_STATE = "TRADING_STATE"
    STALE_PRICE = "STALE_PRICE"
    DAILY_LOSS_LIMIT = "DAILY_LOSS_LIMIT"
    ALLOCATION_ZERO = "ALLOCATION_ZERO"
    BELOW_LOT = "BELOW_LOT"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"
    ENTRY_TOO_SMALL_TO_EXIT = "ENTRY_TOO_SMALL_TO_EXIT"
    ORDER_VALUE_LIMIT = "ORDER_VALUE_LIMIT"
    SYMBOL_EXPOSURE_LIMIT = "SYMBOL_EXPOSURE_LIMIT"
    EXPOSURE_LIMIT = "EXPOSURE_LIMIT"
    OPEN_ORDERS_LIMIT = "OPEN_ORDERS_LIMIT"
    CASH_RESERVE = "CASH_RESERVE"
    INSUFFICIENT_CASH = "INSUFFICIENT_CASH"
    NOTHING_TO_SELL = "NOTHING_TO_SELL"


CODE_MEANING: dict[Code, str] = {
    Code.UNKNOWN_INSTRUMENT: "The symbol has no instrument rules in this run.",
    Code.TRADING_STATE: "The trading state allows no such order (REDUCE_ONLY, HALTED or KILLED).",
    Code.STALE_PRICE: "The last trade of the symbol is older than `risk.max_data_age_ms`, or there is none.",
    Code.DAILY_LOSS_LIMIT: "Equity fell by `risk.max_daily_loss_pct` since 00:00 UTC; entries stay off until the next day.",
    Code.ALLOCATION_ZERO: "The allocation for the symbol's regime is 0.",
    Code.BELOW_LOT: "The quantity that the position size buys is less than one lot.",
    Code.BELOW_MIN_NOTIONAL: "The order is worth less than the venue's minimum notional.",
    Code.ENTRY_TOO_SMALL_TO_EXIT: "At the stop price the entry would be worth less than 1.5 × the minimum notional.",
    Code.ORDER_VALUE_LIMIT: "The order is worth more than `risk.max_order_pct` of equity.",
    Code.SYMBOL_EXPOSURE_LIMIT: "Held and in flight in this symbol would exceed `risk.max_symbol_pct` of equity.",
    Code.EXPOSURE_LIMIT: "Held and in flight in all symbols would exceed `risk.max_gross_pct` of equity.",
    Code.OPEN_ORDERS_LIMIT: "As many orders are working or in flight as `risk.max_open_orders` allows.",
    Code.CASH_RESERVE: "Free cash after this order would fall below `risk.cash_reserve_pct` of equity.",
    Code.INSUFFICIENT_CASH: "Free cash does not pay for the order, its fees and its slippage.",
    Code.NOTHING_TO_SELL: "The strategy owns nothing of the symbol that is not being sold already.",
}


class Denial(Struct, frozen=True, tag_field="event", tag="denial"):
    """Risk's no, with the numbers compared."""

    signal_no: int
    strategy_id: str
    symbol: str
    side: Side
    code: Code
    ts_event_ns: int
    value: Decimal
    """What was asked or found."""
    limit: Decimal
    """What is allowed or needed."""
    unit: str
    """Of both numbers: an asset, ``ms``, ``orders``, ``lots`` …"""
    because: str


class Intent(Struct, frozen=True, tag_field="event", tag="intent"):
    """An order that risk approved: what execution may send, once."""

    order_no: int
    signal_no: int
    account_id: str
    venue: str
    strategy_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity_lots: int
    limit_ticks: int
    """0 for a market order."""
    expires_ns: int
    """Market time after which it may not be sent any more (0: never)."""
    reduce_only: bool
    client_order_id: str
    ts_event_ns: int
    price_ticks: int
    """The price that it was decided at."""
    kind: str = "spot"


class Reserved(Struct, frozen=True, tag_field="event", tag="reserved"):
    """What an approved order may still do to the account: set aside from its intent until it is proven to have ended."""

    order_no: int
    strategy_id: str
    symbol: str
    side: Side
    cash_asset: str
    """What `cash` and `exposure` are counted in: the quote asset."""
    cash: Decimal
    """What it may cost at most, fees and slippage included; 0 for a sell."""
    exposure: Decimal
    """The value that it may add to what is held; 0 for a sell."""
    leaves_lots: int
    """How much of it is still to be filled: all of it, at its intent."""
    ts_event_ns: int


class OrderEvent(Struct, frozen=True, tag_field="event", tag="order"):
    """An order reached a state."""

    order_no: int
    strategy_id: str
    symbol: str
    side: Side
    state: OrderState
    quantity_lots: int
    filled_lots: int
    reduce_only: bool
    ts_event_ns: int
    code: str = ""
    """The venue's own error code where it refused."""
    reason: str = ""
    client_order_id: str = ""
    venue_order_id: str = ""


class Fill(Struct, frozen=True, tag_field="event", tag="fill"):
    """One execution of ours."""

    order_no: int
    strategy_id: str
    symbol: str
    side: Side
    price_ticks: int
    quantity_lots: int
    fee: Decimal
    """In `fee_asset`, 0 or more (a rebate would be negative)."""
    fee_asset: str
    fee_value: Decimal
    """What the fee was worth in the quote asset when booked."""
    is_maker: bool
    reduce_only: bool
    ts_event_ns: int
    trade_id: str = ""
    venue_order_id: str = ""


class PositionDusted(Struct, frozen=True, tag_field="event", tag="dusted"):
    """What is left of a position is too small to sell: the round trip ends, the quantity goes to the account's dust."""

    strategy_id: str
    symbol: str
    quantity: Decimal
    """In base."""
    ts_event_ns: int
    price_ticks: int


class VenueReport(Struct, frozen=True, tag_field="event", tag="report"):
    """What a venue says about an order of ours: evidence, or an execution when `trade_id` is set."""

    order_no: int
    ts_event_ns: int
    """When it reaches the pipeline, in market time."""
    evidence: Evidence | None = None
    trade_id: str = ""
    price_ticks: int = 0
    quantity_lots: int = 0
    fee: Decimal = Decimal(0)
    fee_asset: str = ""
    fee_value: Decimal = Decimal(0)
    is_maker: bool = False
    code: str = ""
    reason: str = ""
    venue_order_id: str = ""


class Submit(Struct, frozen=True, tag_field="event", tag="submit"):
    """Execution's command to the venue: send this intent, once."""

    intent: Intent


class Cancel(Struct, frozen=True, tag_field="event", tag="cancel"):
    """Execution's command to the venue: cancel this order."""

    order_no: int
    symbol: str
    ts_event_ns: int


class SetTimer(Struct, frozen=True, tag_field="event", tag="set_timer"):
    """A stage asks for a `Timer` at `due_ns`."""

    due_ns: int
    id: str


class Regime(StrEnum):
    """What kind of market a symbol is in."""

    UNKNOWN = "UNKNOWN"
    TREND = "TREND"
    RANGE = "RANGE"
    HIGH_VOL_CHAOTIC = "HIGH_VOL_CHAOTIC"


class RegimeChanged(Struct, frozen=True, tag_field="event", tag="regime"):
    """A symbol's regime really changed."""

    symbol: str
    before: Regime
    after: Regime
    adx: float
    atr_pct: float
    ts_event_ns: int


class AllocationDecision(Struct, frozen=True, tag_field="event", tag="allocation"):
    """The fraction of the ordinary entry size that a symbol may take now."""

    symbol: str
    fraction: Decimal
    """0–1."""
    reason: str
    ts_event_ns: int


class TradingState(StrEnum):
    """What may be sent (DESIGN 7), from the mildest to the most severe."""

    ACTIVE = "ACTIVE"
    REDUCE_ONLY = "REDUCE_ONLY"
    HALTED = "HALTED"
    KILLED = "KILLED"


class ControlEvent(Struct, frozen=True, tag_field="event", tag="control"):
    """An operator or a breaker locks the trading state, or takes its own lock back.

    Each source holds one lock; what is in force is the most severe of all. So nobody undoes what another one did.
    """

    state: TradingState
    """ACTIVE: the source's lock is taken back."""
    reason: str
    operator: str
    """The source: ``feed``, ``reconciliation``, ``late live``, ``operator:NAME``, ``daily loss`` …"""
    ts_event_ns: int
    symbol: str = ""
    """The lock holds for this symbol alone; empty: for all."""
    strategy_id: str = ""
    """The lock holds for this strategy alone; empty: for all."""
    until_ns: int = 0
    """Market time at which the lock is over by itself; 0: until its source or an operator takes it back."""


class Adopted(Struct, frozen=True, tag_field="event", tag="adopted"):
    """A position changed its owner, because an operator said so."""

    owner_id: str
    """The strategy that owned it."""
    strategy_id: str
    """The strategy that owns it now."""
    symbol: str
    quantity: Decimal
    """In base."""
    operator: str
    reason: str
    ts_event_ns: int


class Adjustment(Struct, frozen=True, tag_field="event", tag="adjustment"):
    """An operator corrects the books by hand, because they and the venue disagree. An input: a replay has it too."""

    asset: str
    amount: Decimal
    """What comes to the books; negative: what leaves them."""
    operator: str
    reason: str
    ts_event_ns: int
    strategy_id: str = ""
    """Whose position it is; empty: cash, or the dust of `symbol`."""
    symbol: str = ""
    """Of the position or the dust; empty: cash."""


class Asked(Struct, frozen=True, tag_field="event", tag="asked"):
    """An operator asks for something about a position or an order. An input: a replay has it too."""

    what: Literal["close", "cancel", "release"]
    """``close``: every position in `symbol` is to be sold, through risk like any other exit; ``cancel``: the order `order_no`;
    ``release``: positions in `symbol` (empty: all) that were found beyond their stop at a restart are to be left, as ever."""
    operator: str
    reason: str
    ts_event_ns: int
    symbol: str = ""
    order_no: int = 0


class RoundTrip(Struct, frozen=True, tag_field="event", tag="round_trip"):
    """A strategy was flat, held a position, and is flat again."""

    strategy_id: str
    symbol: str
    entry_ns: int
    exit_ns: int
    bought_lots: int
    sold_lots: int
    entry_price: Decimal
    """Average, without fees."""
    exit_price: Decimal
    realised_pnl: Decimal
    """Without fees, in the quote asset."""
    fees: Decimal
    """Valued in the quote asset."""
    reason: str
    """Of the exit."""
    ts_event_ns: int


Decision = Signal | Intent | Denial | OrderEvent | Fill
"""What the decision digest covers."""

Derived = RegimeChanged | AllocationDecision | Reserved | PositionDusted | RoundTrip | ControlEvent | Adopted
"""Also recorded in the journal; follows from inputs and decisions."""
