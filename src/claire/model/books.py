"""Books: cash, positions, dust, fees and profit of one account, as double-entry postings per asset.

Every change of the books is a transaction whose postings sum to zero for each asset, and at any moment

    equity(t) - equity(0) = realised + unrealised - fees + transfers

holds exactly, in units (see `money`). Amounts are integers of 10⁻¹⁸ of an asset.
"""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field

from claire.model.decisions import Adjustment, Fill, OrderEvent
from claire.model.instrument import Instrument
from claire.model.market import Mark, Side
from claire.model.money import DECIMALS, decimal_text, divide_half_even, units_of
from claire.model.orders import TERMINAL


class Posting(Struct, frozen=True):
    """One line of a transaction: `units` of `asset` enter (positive) or leave `account`."""

    transaction_no: int
    account: str
    """``cash``, ``market``, ``fees``, ``capital``, ``adjustments``, ``position/STRATEGY/SYMBOL`` or ``dust/SYMBOL``."""
    asset: str
    units: int
    ts_event_ns: int
    cause: str
    """What happened: ``transfer``, ``order 7 fill PAPER-T-9``, ``dust``, ``adjustment by NAME: REASON``."""


class Transaction(Struct, frozen=True):
    """Postings that belong together: for each asset they sum to zero."""

    postings: list[Posting]


class Position(Struct):
    """What one strategy owns of one symbol, since it was last flat.

    Cost is a total without fees; a partial exit takes `cost · q / quantity`, rounded half-even at the quote scale.
    """

    base_units: int = 0
    cost_units: int = 0
    entry_ns: int = 0
    """Time of the first entry fill; 0 when flat."""
    bought_lots: int = 0
    bought_value: int = 0
    """Σ price ticks × lots of the entries; with `bought_lots` the exact average entry price."""
    sold_lots: int = 0
    sold_value: int = 0
    last_exit_ticks: int = 0
    """Price of the last exit fill; what a remainder is judged at."""
    realised_units: int = 0
    fee_units: int = 0
    """Fees since the entry, valued in the quote asset."""

    def apply(self, fill: Fill, instrument: Instrument, missing_cost: int | None = None) -> int:
        """Take in one fill; return the profit that it realises, in quote units and without fees.

        A fill that sells more than is owned (a late one, of an order that was thought to be over) sells all of it; what
        is `missing` comes from elsewhere, at `missing_cost` or else at the fill's own price.
        """
        notional = instrument.notional(fill.price_ticks, fill.quantity_lots)
        base = fill.quantity_lots * instrument.lot_units
        fee_value = units_of(fill.fee_value)
        fee_base = units_of(fill.fee) if fill.fee_asset == instrument.base else 0
        fee_cost = fee_value if fee_base else 0
        self.fee_units += fee_value
        if fill.side is Side.BUY:
            if not self.entry_ns:
                self.entry_ns = fill.ts_event_ns
            self.base_units += base - fee_base
            self.cost_units += notional - fee_cost
            self.bought_lots += fill.quantity_lots
            self.bought_value += fill.price_ticks * fill.quantity_lots
            return 0
        gone = base + fee_base
        missing = self.missing(fill, instrument)
        if missing:
            self.base_units += missing
            value = instrument.value_of(missing, fill.price_ticks)
            self.cost_units += value if missing_cost is None else missing_cost
        cost = self._cost_of(gone, instrument)
        self.base_units -= gone
        self.cost_units -= cost
        self.sold_lots += fill.quantity_lots
        self.sold_value += fill.price_ticks * fill.quantity_lots
        self.last_exit_ticks = fill.price_ticks
        realised = notional + fee_cost - cost
        self.realised_units += realised
        return realised

    def missing(self, fill: Fill, instrument: Instrument) -> int:
        """Return how much more a fill sells than is owned, its fee in base included; 0 for a buy."""
        if fill.side is Side.BUY:
            return 0
        fee_base = units_of(fill.fee) if fill.fee_asset == instrument.base else 0
        return max(0, fill.quantity_lots * instrument.lot_units + fee_base - self.base_units)

    def join(self, other: "Position") -> None:
        """Take over another position in the same symbol, its history included."""
        self.entry_ns = min(self.entry_ns or other.entry_ns, other.entry_ns or self.entry_ns)
        self.last_exit_ticks = other.last_exit_ticks or self.last_exit_ticks
        self.base_units += other.base_units
        self.cost_units += other.cost_units
        self.bought_lots += other.bought_lots
        self.bought_value += other.bought_value
        self.sold_lots += other.sold_lots
        self.sold_value += other.sold_value
        self.realised_units += other.realised_units
        self.fee_units += other.fee_units

    def sellable_lots(self, instrument: Instrument) -> int:
        """Whole lots owned."""
        return self.base_units // instrument.lot_units

    def is_dust(self, instrument: Instrument, price_ticks: int) -> bool:
        """Whether what is left is too small to sell at this price: below a lot, or below the minimum notional."""
        lots = self.sellable_lots(instrument)
        return lots == 0 or instrument.notional(price_ticks, lots) < instrument.min_notional_units

    def has_ended(self, event: OrderEvent, instrument: Instrument) -> bool:
        """Whether this order event ends the round trip: an exit is over, and what it left is dust at its price."""
        if event.side is not Side.SELL or event.state not in TERMINAL or not self.last_exit_ticks:
            return False
        return self.is_dust(instrument, self.last_exit_ticks)

    @property
    def is_flat(self) -> bool:
        """Whether nothing was bought since the last round trip ended."""
        return self.bought_lots == 0

    def _cost_of(self, base_units: int, instrument: Instrument) -> int:
        return _share(self.cost_units, base_units, self.base_units, instrument)


def _share(cost_units: int, part_units: int, base_units: int, instrument: Instrument) -> int:
    """What a part of a holding cost, rounded half-even at the quote scale; all of it cost everything."""
    if part_units == base_units:
        return cost_units
    step: int = 10 ** (DECIMALS - instrument.quote_decimals)
    return divide_half_even(cost_units * part_units, base_units * step) * step


class Dust(Struct):
    """Remainders of one symbol too small to sell, and what they cost.

    Both are negative where late fills sold more than the account's books ever held: coins that were there before. They
    were sold at what the fills brought, and are owed at today's price.
    """

    base_units: int = 0
    cost_units: int = 0


class PortfolioSnapshot(Struct, frozen=True):
    """The account at one moment, in its currency."""

    ts_event_ns: int
    equity: Decimal
    cash: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    drawdown_pct: float
    open_positions: int


class Books(Struct):
    """One account's books. All of its symbols are quoted in `currency`."""

    currency: str
    instruments: Mapping[str, Instrument]
    marks: Mapping[str, Mark]
    """The last trade price of each symbol, kept up to date by the owner."""
    cash: dict[str, int] = field(default_factory=dict)
    """Units per asset; assets other than `currency` hold only fees paid in them."""
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    """By (strategy id, symbol); only those that are not flat."""
    dust: dict[str, Dust] = field(default_factory=dict)
    realised_units: int = 0
    fee_units: int = 0
    foreign_fee_units: int = 0
    """Of `fee_units`, those paid in an asset that the account does not hold as base or currency."""
    transfer_units: int = 0
    transactions: int = 0

    def transfer(self, units: int, ts_event_ns: int) -> list[Posting]:
        """Book a deposit (or a withdrawal, when negative) of the account's currency."""
        self.cash[self.currency] = self.cash.get(self.currency, 0) + units
        self.transfer_units += units
        return self._post("transfer", ts_event_ns, ("cash", self.currency, units), ("capital", self.currency, -units))

    def adjust(self, adjustment: Adjustment) -> list[Posting]:
        """Book an operator's correction: of cash, of a position, or of dust. What it is worth counts as a transfer.

        What leaves a position leaves at its average cost; what comes to one comes at the mark.

        Raises:
            ValueError: it does not fit these books (`why_not`); nothing has changed then.
        """
        fault = self.why_not(adjustment)
        if fault:
            raise ValueError(fault)
        units, asset = units_of(adjustment.amount), adjustment.asset
        if not adjustment.symbol:
            self.cash[asset] = self.cash.get(asset, 0) + units
            if asset == self.currency:
                self.transfer_units += units
            owner = "cash"
        else:
            owner = self._adjust_held(adjustment, units)
        cause = f"adjustment by {adjustment.operator}: {adjustment.reason}"
        return self._post(cause, adjustment.ts_event_ns, (owner, asset, units), ("adjustments", asset, -units))

    def why_not(self, adjustment: Adjustment) -> str:
        """Return why a correction does not fit these books, as a sentence; empty: it does."""
        symbol, units = adjustment.symbol, units_of(adjustment.amount)
        if not units:
            return "a correction of 0 changes nothing"
        if not symbol:
            return ""
        if symbol not in self.instruments:
            return f"{symbol} is not a symbol of this run"
        held = self._held(adjustment.strategy_id, symbol)
        base = self.instruments[symbol].base
        if adjustment.asset != base:
            return f"{symbol} is held in {base}, not in {adjustment.asset}"
        if held is None and adjustment.strategy_id:
            return f"{adjustment.strategy_id} holds no {symbol}; what nobody owns is booked as dust/{symbol}"
        has = held.base_units if held is not None else 0
        return f"only {decimal_text(has)} {base} are held there" if units < 0 and has + units < 0 else ""

    def _adjust_held(self, adjustment: Adjustment, units: int) -> str:
        symbol, strategy_id = adjustment.symbol, adjustment.strategy_id
        held = self._held(strategy_id, symbol) or Dust()
        instrument = self.instruments[symbol]
        worth = (
            self._value(symbol, units) if units > 0 else -_share(held.cost_units, -units, held.base_units, instrument)
        )
        self.transfer_units += worth
        if not strategy_id:
            self._add_dust(symbol, units, worth)
            return f"dust/{symbol}"
        held.base_units += units
        held.cost_units += worth
        return f"position/{strategy_id}/{symbol}"

    def _held(self, strategy_id: str, symbol: str) -> "Position | Dust | None":
        return self.positions.get((strategy_id, symbol)) if strategy_id else self.dust.get(symbol)

    def apply(self, fill: Fill) -> list[Posting]:
        """Book one fill: the exchange of quote for base, and its fee in whatever asset it was charged.

        Every fill that happened can be booked. What a late one sells beyond its strategy's position comes from the dust of
        the symbol, which may fall below 0.
        """
        instrument = self.instruments[fill.symbol]
        key = (fill.strategy_id, fill.symbol)
        position = self.positions.get(key)
        if position is None:
            position = self.positions[key] = Position()
        missing = position.missing(fill, instrument)
        missing_cost = self._from_dust(instrument, missing, fill.price_ticks) if missing else 0
        self.realised_units += position.apply(fill, instrument, missing_cost)
        if position.is_flat:
            del self.positions[key]  # a late sale of somebody who owns nothing any more
        sign = 1 if fill.side is Side.BUY else -1
        base = sign * fill.quantity_lots * instrument.lot_units
        quote = -sign * instrument.notional(fill.price_ticks, fill.quantity_lots)
        owner = f"position/{fill.strategy_id}/{fill.symbol}"
        fee = units_of(fill.fee)
        fee_value = units_of(fill.fee_value)
        self.fee_units += fee_value
        self.cash[self.currency] = self.cash.get(self.currency, 0) + quote
        lines = [
            (owner, instrument.base, base),
            ("market", instrument.base, -base),
            ("cash", instrument.quote, quote),
            ("market", instrument.quote, -quote),
        ]
        if missing:
            lines += [(owner, instrument.base, missing), (f"dust/{fill.symbol}", instrument.base, -missing)]
        if fee:
            payer = owner if fill.fee_asset == instrument.base else "cash"
            lines += [(payer, fill.fee_asset, -fee), ("fees", fill.fee_asset, fee)]
            if payer == "cash":
                self.cash[fill.fee_asset] = self.cash.get(fill.fee_asset, 0) - fee
                if fill.fee_asset != self.currency:
                    self.foreign_fee_units += fee_value
        return self._post(f"order {fill.order_no} fill {fill.trade_id}".rstrip(), fill.ts_event_ns, *lines)

    def to_dust(self, strategy_id: str, symbol: str, ts_event_ns: int) -> list[Posting]:
        """Move what is left of a position to the account's dust; the strategy is flat afterwards."""
        position = self.positions.pop((strategy_id, symbol))
        if not position.base_units:
            return []
        self._add_dust(symbol, position.base_units, position.cost_units)
        base = self.instruments[symbol].base
        owner = f"position/{strategy_id}/{symbol}"
        return self._post(
            "dust", ts_event_ns, (owner, base, -position.base_units), (f"dust/{symbol}", base, position.base_units)
        )

    def adopt(self, owner_id: str, strategy_id: str, symbol: str, ts_event_ns: int) -> list[Posting]:
        """Move a position from one strategy to another, which may hold one of the symbol itself.

        Raises:
            KeyError: `owner_id` owns none of the symbol.
        """
        position = self.positions.pop((owner_id, symbol))
        self.positions.setdefault((strategy_id, symbol), Position()).join(position)
        base, units = self.instruments[symbol].base, position.base_units
        lines = ((f"position/{owner_id}/{symbol}", base, -units), (f"position/{strategy_id}/{symbol}", base, units))
        return self._post("adopted", ts_event_ns, *lines) if units else []

    def value_of(self, symbol: str) -> int:
        """Value of all positions in one symbol at its mark, without dust, in quote units."""
        mark = self.marks[symbol].price_ticks
        instrument = self.instruments[symbol]
        return sum(
            instrument.value_of(position.base_units, mark)
            for (_, held), position in self.positions.items()
            if held == symbol
        )

    @property
    def unrealised_units(self) -> int:
        """Value minus cost of all positions and dust."""
        total = 0
        for (_, symbol), position in self.positions.items():
            total += self._value(symbol, position.base_units) - position.cost_units
        for symbol, dust in self.dust.items():
            total += self._value(symbol, dust.base_units) - dust.cost_units
        return total

    @property
    def equity_units(self) -> int:
        """Cash, positions and dust at their marks, less fees paid in other assets as they were valued when booked."""
        total = self.cash.get(self.currency, 0) - self.foreign_fee_units
        for (_, symbol), position in self.positions.items():
            total += self._value(symbol, position.base_units)
        for symbol, dust in self.dust.items():
            total += self._value(symbol, dust.base_units)
        return total

    @property
    def is_at_rest(self) -> bool:
        """Whether equity cannot change with prices (nothing held)."""
        return not self.positions and not self.dust

    def _from_dust(self, instrument: Instrument, base_units: int, price_ticks: int) -> int:
        """Take what a late fill lacks out of the dust; return its cost: the dust's, and the fill's price beyond it."""
        dust = self.dust.get(instrument.symbol, Dust())
        here = min(base_units, max(0, dust.base_units))
        cost = _share(dust.cost_units, here, dust.base_units, instrument) if here else 0
        cost += instrument.value_of(base_units - here, price_ticks)
        self._add_dust(instrument.symbol, -base_units, -cost)
        return cost

    def _add_dust(self, symbol: str, base_units: int, cost_units: int) -> None:
        """Change the dust of a symbol. When none is left, nothing can be unrealised any more: what it cost is realised."""
        dust = self.dust.setdefault(symbol, Dust())
        dust.base_units += base_units
        dust.cost_units += cost_units
        if not dust.base_units:
            self.realised_units -= dust.cost_units
            del self.dust[symbol]

    def _value(self, symbol: str, base_units: int) -> int:
        return self.instruments[symbol].value_of(base_units, self.marks[symbol].price_ticks)

    def _post(self, cause: str, ts_event_ns: int, *lines: tuple[str, str, int]) -> list[Posting]:
        self.transactions += 1
        return [
            Posting(self.transactions, account, asset, units, ts_event_ns, cause) for account, asset, units in lines
        ]
