"""Orders of the simulated venue and what happens to them, as plain values.

Prices are whole ticks, quantities whole lots, money is integer units of 10⁻¹⁸ (`claire.model.money`), times are milliseconds.
"""

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from claire.mexcsim.symbols import SymbolRule
from claire.model.market import Side

if TYPE_CHECKING:
    from claire.mexcsim.accounts import Account


class Kind(StrEnum):
    """Order types, by the names that REST uses."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"
    IOC = "IMMEDIATE_OR_CANCEL"
    FOK = "FILL_OR_KILL"

    @property
    def code(self) -> int:
        """The number that the private streams use."""
        return _KIND_CODES[self]


_KIND_CODES = {Kind.LIMIT: 1, Kind.LIMIT_MAKER: 2, Kind.IOC: 3, Kind.FOK: 4, Kind.MARKET: 5}


class Status(IntEnum):
    """Order states, by the numbers that the private streams use; REST writes the names."""

    NEW = 1
    FILLED = 2
    PARTIALLY_FILLED = 3
    CANCELED = 4
    PARTIALLY_CANCELED = 5

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in (Status.FILLED, Status.CANCELED, Status.PARTIALLY_CANCELED)


class Fill(Struct, frozen=True):
    """One execution, as one side of it saw it."""

    order: "Order"
    trade_id: str
    price: int
    lots: int
    cost_units: int
    fee_units: int
    fee_asset: str
    is_maker: bool
    is_self_trade: bool
    at_ms: int


class Order(Struct, eq=False):
    """One order and what became of it."""

    number: int
    account: "Account"
    rule: SymbolRule
    """The pair's rules when it was made: its price and lots are in their steps."""
    side: Side
    kind: Kind
    price: int
    """The limit in ticks; a market order's is its protective limit."""
    lots: int
    client_id: str = ""
    stp_mode: str = ""
    quote_units: int = 0
    """What a market order by ``quoteOrderQty`` may spend or shall earn."""
    created_ms: int = 0
    updated_ms: int = 0
    remaining: int = 0
    cost_units: int = 0
    fee_reserve: int = 0
    frozen: int = 0
    status: Status = Status.NEW
    cancel_reason: str = ""
    fills: list[Fill] = []
    executions: int = 0
    shard: int = 0
    """The last three digits of the id; the venue's come from where it keeps the pair."""
    visible_from_ms: int = 0
    """Queries do not find it earlier (a fault: the venue's read lag)."""

    @property
    def symbol(self) -> str:
        """Its pair."""
        return self.rule.symbol

    @property
    def order_id(self) -> str:
        """The venue's id, shaped as the venue shapes it: its trades carry the same digits without the last three."""
        return f"C02__{self.number}{self.shard:03d}"

    def next_trade_id(self) -> str:
        """Name the next execution of this order."""
        self.executions += 1
        return f"{self.number}X{self.executions - 1}"

    @property
    def filled(self) -> int:
        """Executed lots."""
        return self.lots - self.remaining

    @property
    def is_buy(self) -> bool:
        """Whether it buys."""
        return self.side is Side.BUY


class PublicTrade(Struct, frozen=True, gc=False):
    """One execution as the public sees it; `side` is the taker's."""

    symbol: str
    price: int
    lots: int
    side: Side
    at_ms: int
    trade_id: str


class OrderChanged(Struct, frozen=True):
    """An order as it is now, copied, for the private orders stream."""

    account: "Account"
    order: Order
    status: Status
    remaining: int
    cost_units: int
    frozen: int
    last_lots: int
    is_maker: bool
    at_ms: int


class BalanceChanged(Struct, frozen=True):
    """A change of one asset, for the private account stream."""

    account: "Account"
    asset: str
    free: int
    free_change: int
    locked: int
    locked_change: int
    reason: str
    at_ms: int


Happening = PublicTrade | OrderChanged | BalanceChanged | Fill
"""What the matching core tells the outside."""
