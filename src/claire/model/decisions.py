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
    UNKNOWN_STRATEGY = "UNKNOWN_STRATEGY"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    TRADING_STATE = "TRADING_STATE"
    DAILY_LOSS_LIMIT = "DAILY_LOSS_LIMIT"
    DRAWDOWN_LIMIT = "DRAWDOWN_LIMIT"
    STOP_GUARD = "STOP_GUARD"
    REJECTS = "REJECTS"
    ORDER_RATE = "ORDER_RATE"
    STALE_PRICE = "STALE_PRICE"
    BAD_BOOK = "BAD_BOOK"
    PRICE_JUMP = "PRICE_JUMP"
    PRICE_COLLAR = "PRICE_COLLAR"
    COOLING_DOWN = "COOLING_DOWN"
    ALLOCATION_ZERO = "ALLOCATION_ZERO"
    BELOW_LOT = "BELOW_LOT"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"
    ENTRY_TOO_SMALL_TO_EXIT = "ENTRY_TOO_SMALL_TO_EXIT"
    ORDER_VALUE_LIMIT = "ORDER_VALUE_LIMIT"
    ORDER_VOLUME_LIMIT = "ORDER_VOLUME_LIMIT"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    SELF_MATCH = "SELF_MATCH"
    SYMBOL_EXPOSURE_LIMIT = "SYMBOL_EXPOSURE_LIMIT"
    EXPOSURE_LIMIT = "EXPOSURE_LIMIT"
    OPEN_ORDERS_LIMIT = "OPEN_ORDERS_LIMIT"
    CASH_RESERVE = "CASH_RESERVE"
    INSUFFICIENT_CASH = "INSUFFICIENT_CASH"
    REPEATED_ENTRIES = "REPEATED_ENTRIES"
    THROTTLED = "THROTTLED"
    NOTHING_TO_SELL = "NOTHING_TO_SELL"


CODE_MEANING: dict[Code, str] = {
    Code.UNKNOWN_INSTRUMENT: "The symbol has no instrument rules in this run.",
    Code.UNKNOWN_STRATEGY: "No strategy of that name is configured, so nobody would own the order.",
    Code.SYMBOL_NOT_ALLOWED: "The symbol is not one that this run may enter (`risk.symbols`, or those of the strategies).",
    Code.TRADING_STATE: "The trading state allows no such order (REDUCE_ONLY, HALTED or KILLED).",
    Code.DAILY_LOSS_LIMIT: "Equity fell by `risk.max_daily_loss_pct` since 00:00 UTC; no entries until the lock is released.",
    Code.DRAWDOWN_LIMIT: "Equity fell by `risk.max_drawdown_pct` from its peak; no entries until the lock is released.",
    Code.STOP_GUARD: "Too many exits of the symbol lost money within `risk.stop_guard_min`; its entries stay off for as long.",
    Code.REJECTS: "The venue rejected too many orders of the strategy, or one for lack of balance; its entries stay off.",
    Code.ORDER_RATE: "The account made far more orders in a minute than it should; entries stay off until the lock is released.",
    Code.STALE_PRICE: "The last trade of the symbol is older than `risk.max_data_age_ms`, or there is none.",
    Code.BAD_BOOK: "The best bid and offer are crossed, or a side is empty.",
    Code.PRICE_JUMP: "The price differs by more than `risk.max_jump_pct` from the trade before, and no second trade confirms it.",
    Code.PRICE_COLLAR: "The price is further than `risk.collar_pct` from the last trade or the middle of the book.",
    Code.COOLING_DOWN: "A position in the symbol was left less than `risk.cooldown_s` ago.",
    Code.ALLOCATION_ZERO: "The allocation for the symbol's regime is 0.",
    Code.BELOW_LOT: "The quantity that the position size buys is less than one lot.",
    Code.BELOW_MIN_NOTIONAL: "The order is worth less than the venue's minimum notional.",
    Code.ENTRY_TOO_SMALL_TO_EXIT: "At the stop price the entry would be worth less than 1.5 × the minimum notional.",
    Code.ORDER_VALUE_LIMIT: "The order is worth more than `risk.max_order_pct` of equity.",
    Code.ORDER_VOLUME_LIMIT: "The quantity is more than twice what `risk.max_order_pct` buys at the median price of seven days.",
    Code.DUPLICATE_ORDER: "The same order (strategy, symbol, side, quantity, price) was made within `risk.duplicate_window_ms`.",
    Code.SELF_MATCH: "The order would meet one of our own in the book; an exit waits once for that one's cancel.",
    Code.SYMBOL_EXPOSURE_LIMIT: "Held and in flight in this symbol would exceed `risk.max_symbol_pct` of equity.",
    Code.EXPOSURE_LIMIT: "Held and in flight in all symbols would exceed `risk.max_gross_pct` of equity.",
    Code.OPEN_ORDERS_LIMIT: "`risk.max_open_orders` (in the symbol: `risk.max_symbol_orders`) are working, in flight or unknown.",
    Code.CASH_RESERVE: "Free cash after this order would fall below `risk.cash_reserve_pct` of equity.",
    Code.INSUFFICIENT_CASH: "Free cash does not pay for the order, its fees and its slippage.",
    Code.REPEATED_ENTRIES: "The strategy entered the symbol as often as `risk.max_entries_per_…` allows; no more of them there.",
    Code.THROTTLED: "As many entries were made as `risk.max_orders_per_…` allows (one strategy: half as many).",
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
    collar_ticks: int = 0
    """The worst price that a market order may fill at; 0: any."""


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


class RiskAlert(Struct, frozen=True, tag_field="event", tag="risk_alert"):
    """Something about risk that a person should look at; nothing was refused or locked."""

    control: str
    """Whose: ``C16``."""
    name: str
    """Of the limit, such as ``max_daily_loss_pct``."""
    value: Decimal
    limit: Decimal
    unit: str
    because: str
    ts_event_ns: int
    symbol: str = ""
    strategy_id: str = ""


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

Derived = (
    RegimeChanged | AllocationDecision | Reserved | PositionDusted | RoundTrip | ControlEvent | Adopted | RiskAlert
)
"""Also recorded in the journal; follows from inputs and decisions."""
