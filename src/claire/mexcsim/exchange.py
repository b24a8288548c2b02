"""The venue itself: books, accounts, and matching by price and time. Pure and synchronous; time is an argument.

Orders are placed and cancelled by plain calls; whatever follows (executions, changed orders, changed balances) is appended to
`Exchange.out`, in the order in which it happened. The same calls with the same times give the same happenings.

Money is exact: over all accounts, the house and the collected fees, the units of each asset add up to what was deposited.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from claire.mexcsim.accounts import Account, ApiKey, FeeAsset
from claire.mexcsim.book import Book, crosses, fillable, lots_for
from claire.mexcsim.orders import Fill, Happening, Kind, Order, OrderChanged, PublicTrade, Status
from claire.mexcsim.rules import NewOrder, Rejection, check_key_for, check_order
from claire.mexcsim.symbols import OFFLINE, SymbolRule
from claire.mexcsim.tape import QUIET_BPS, Past, Tape
from claire.model.errors import ConfigError
from claire.model.market import Side
from claire.model.money import ONE, divide_half_even, round_units, step_of, units_of

FIRST_ORDER = 583_905_164_440_776_704
FIRST_VERSION = 82_164_153_436
MX_FEE_DECIMALS = 16


class VenueHabits(Struct, frozen=True, kw_only=True):
    """What the sheet leaves open or the venue may set, so that a client can be tried against either."""

    duplicate_client_ids: str = "accept"
    """``accept`` makes a second order (assume that), ``refuse`` answers code 400."""
    post_only_cross: str = "cancel"
    """What becomes of a LIMIT_MAKER that would trade: ``cancel`` at once, or ``refuse``."""
    market_protection_pct: Decimal = Decimal(5)
    """How far from the best price a market order may go; the rest of it is canceled."""
    open_orders_limit: int = 500
    mx_discount_pct: Decimal = Decimal(20)
    """What paying fees in MX saves."""

    def checked(self) -> "VenueHabits":
        """Return itself.

        Raises:
            ConfigError: a word or number that means nothing.
        """
        for name, value, words in (
            ("duplicate_client_ids", self.duplicate_client_ids, ("accept", "refuse")),
            ("post_only_cross", self.post_only_cross, ("cancel", "refuse")),
        ):
            if value not in words:
                raise ConfigError(f"{name} = {value}: choose {' or '.join(words)}")
        if not 0 < self.market_protection_pct < 100:
            raise ConfigError(
                f"market_protection_pct = {self.market_protection_pct}: choose more than 0 and less than 100"
            )
        return self


class Market(Struct):
    """One symbol: its rules, its book, its tape."""

    rule: SymbolRule
    book: Book
    tape: Tape


class Exchange:
    """All markets and all accounts."""

    def __init__(
        self,
        rules: Iterable[SymbolRule],
        habits: VenueHabits | None = None,
        *,
        seed: int = 0,
        now_ms: int = 0,
        past_minutes: int = 0,
        past_volatility_bps: float = QUIET_BPS,
    ) -> None:
        self.habits = (habits or VenueHabits()).checked()
        self.markets: dict[str, Market] = {}
        for rule in rules:
            past = Past(rule.checked(), seed, past_minutes, now_ms, past_volatility_bps)
            self.markets[rule.symbol] = Market(rule, Book(FIRST_VERSION), Tape(rule, past))
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, ApiKey] = {}
        self.house = Account("house", unlimited=True)
        self.fees: dict[str, int] = {}
        """Collected fees by asset, in units."""
        self.out: deque[Happening] = deque()
        self.prints = True
        """Whether executions are public. In lockstep only the recording is: what a client does there moves nobody."""
        self._next_order = FIRST_ORDER

    # -- looking up ------------------------------------------------------------------------------------------------

    def market(self, symbol: str) -> Market:
        """Return a market.

        Raises:
            Rejection: there is none (−1121).
        """
        found = self.markets.get(symbol)
        if found is None:
            raise Rejection(-1121, "Invalid symbol.")
        return found

    def find(self, account: Account, symbol: str, order_id: str, client_id: str) -> Order | None:
        """Find an order by the venue's id, or the latest with a client id."""
        if order_id:
            order = account.orders.get(order_id)
            return order if order is not None and order.symbol == symbol else None
        same = [order for order in account.by_client_id.get(client_id, ()) if order.symbol == symbol]
        return same[-1] if same else None

    # -- orders ----------------------------------------------------------------------------------------------------

    def check(self, key: ApiKey, wanted: NewOrder) -> None:
        """Everything that is looked at before an order is made.

        Raises:
            Rejection: the first rule that refuses it.
        """
        market = self.market(wanted.symbol)
        check_key_for(key, market.rule)
        check_order(wanted, market.rule, market.tape.last_price)
        account = key.account
        if len(account.open_orders) >= self.habits.open_orders_limit:
            raise Rejection(30029, f"Cannot exceed the maximum order limit: {self.habits.open_orders_limit}")
        if (
            wanted.client_id
            and self.habits.duplicate_client_ids == "refuse"
            and wanted.client_id in account.by_client_id
        ):
            raise Rejection(400, f"Duplicate client order id: {wanted.client_id}")
        self._priced(account, market, wanted)
        best = market.book.opposite(wanted.side).best_price()
        if (
            wanted.kind is Kind.LIMIT_MAKER
            and self.habits.post_only_cross == "refuse"
            and best
            and crosses(wanted.side, wanted.price, best)
        ):
            raise Rejection(30010, "no valid price: LIMIT_MAKER would trade at once")

    def place(self, key: ApiKey, wanted: NewOrder, now_ms: int) -> Order:
        """Accept an order and match it.

        Raises:
            Rejection: see `check`; nothing was changed then.
        """
        self.check(key, wanted)
        return self._enter(key.account, wanted, now_ms)

    def place_for_house(self, wanted: NewOrder, now_ms: int) -> Order:
        """Enter an order of the house (the rest of the market): no rules, no money, no private stream."""
        return self._enter(self.house, wanted, now_ms)

    def rest_for_house(self, market: Market, side: Side, price: int, lots: int, now_ms: int) -> Order:
        """Put an order of the house into the book without matching it (a recording's quote may lock its own other side)."""
        order = Order(
            self._next_order, self.house, market.rule, side, Kind.LIMIT, price, lots, remaining=lots, shard=43
        )
        self._next_order += 1
        market.book.last_order_ms = now_ms
        market.book.rest(order)
        return order

    def cancel(self, order: Order, now_ms: int, reason: str = "") -> None:
        """Cancel a waiting order. The caller has seen that it waits."""
        self.markets[order.symbol].book.withdraw(order)
        order.cancel_reason = reason
        self._end(order, now_ms)

    def cancel_all(self, account: Account, symbol: str | None, now_ms: int) -> list[Order]:
        """Cancel what waits, of one symbol or all; return the orders."""
        orders = [order for order in account.open_orders.values() if symbol in (None, order.symbol)]
        for order in orders:
            self.cancel(order, now_ms)
        return orders

    def change_rule(self, rule: SymbolRule, now_ms: int) -> None:
        """Put other rules in force. Where steps change or the pair goes offline, every waiting order is canceled."""
        market = self.markets[rule.checked().symbol]
        before = market.rule
        steps = (rule.price_decimals, rule.quantity_decimals) != (before.price_decimals, before.quantity_decimals)
        if steps or rule.status == OFFLINE:
            self.clear(rule.symbol, now_ms)
        if steps:
            price = Decimal(market.tape.last_price).scaleb(-before.price_decimals)
            tape = Tape(rule, Past(rule, 0, 0, now_ms))
            tape.last_price = max(1, rule.ticks_near(price))
            market.tape = tape
        market.rule = rule

    # -- matching --------------------------------------------------------------------------------------------------

    def _enter(self, account: Account, wanted: NewOrder, now_ms: int) -> Order:
        market = self.markets[wanted.symbol]
        price, lots, reserve = self._priced(account, market, wanted)
        order = Order(
            number=self._next_order,
            account=account,
            rule=market.rule,
            side=wanted.side,
            kind=wanted.kind,
            price=price,
            lots=lots,
            remaining=lots,
            client_id=wanted.client_id,
            stp_mode=wanted.stp_mode,
            quote_units=wanted.quote_units,
            created_ms=now_ms,
            updated_ms=now_ms,
            shard=43,
        )
        self._next_order += 1
        market.book.last_order_ms = now_ms
        if not account.unlimited:
            account.orders[order.order_id] = order
            account.open_orders[order.order_id] = order
            if order.client_id:
                account.by_client_id.setdefault(order.client_id, []).append(order)
            self._freeze(order, market.rule, reserve, now_ms)
            self._tell(order, 0, is_maker=False, at_ms=now_ms)
        self._match(order, market, now_ms)
        if order.status.is_final:
            return order
        if order.kind in (Kind.LIMIT, Kind.LIMIT_MAKER) and not order.cancel_reason:
            market.book.rest(order)
        else:
            self._end(order, now_ms)
        return order

    def _priced(self, account: Account, market: Market, wanted: NewOrder) -> tuple[int, int, int]:
        """Price, lots and what to freeze; refuses what cannot be priced or paid."""
        rule, book = market.rule, market.book
        price, lots = wanted.price, wanted.lots
        half = book.opposite(wanted.side)
        if wanted.is_market:
            best = half.best_price()
            if not best:
                raise Rejection(30025, "No counter order")
            price = protective_limit(best, wanted.side, self.habits.market_protection_pct)
            if wanted.quote_units:
                lots = lots_for(half, wanted.side, price, wanted.quote_units, rule.unit_value)
                if not lots:
                    raise Rejection(
                        30002, f"The minimum transaction volume cannot be less than：one lot of {rule.base}"
                    )
        if account.unlimited:
            return price, lots, 0
        if wanted.side is Side.SELL:
            asset, reserve = rule.base, lots * rule.lot_units
        else:
            asset, cost = rule.quote, wanted.quote_units or lots * price * rule.unit_value
            reserve = cost + self._fee_reserve(account, rule, cost)
        if account.balance(asset).free < reserve:
            raise Rejection(30004, "Insufficient position")
        return price, lots, reserve

    def _match(self, order: Order, market: Market, now_ms: int) -> None:
        book, half = market.book, market.book.opposite(order.side)
        if (
            order.kind is Kind.LIMIT_MAKER
            and half.best is not None
            and crosses(order.side, order.price, half.best_price())
        ):
            order.cancel_reason = "post_only"
            return
        if order.kind is Kind.FOK and fillable(half, order.side, order.price, order.remaining) < order.remaining:
            return
        while order.remaining:
            level = half.best
            if level is None or not crosses(order.side, order.price, level.price):
                return
            maker = level.orders[0]
            lots = min(order.remaining, maker.remaining)
            book.take(level, maker, lots)
            order.remaining -= lots
            self._execute(order, maker, level.price, lots, market, now_ms)

    def _execute(self, taker: Order, maker: Order, price: int, lots: int, market: Market, now_ms: int) -> None:
        buy_id, sell_id = taker.next_trade_id(), maker.next_trade_id()
        ids = (buy_id, sell_id) if taker.is_buy else (sell_id, buy_id)
        if self.prints:
            trade = PublicTrade(taker.symbol, price, lots, taker.side, now_ms, f"{ids[0]}_{ids[1]}")
            market.tape.add(trade)
            self.out.append(trade)
        same = taker.account is maker.account
        for order, name, is_maker in ((taker, buy_id, False), (maker, sell_id, True)):
            cost = price * lots * market.rule.unit_value
            order.cost_units += cost
            if order.account.unlimited:
                sign = 1 if order.is_buy else -1
                order.account.balance(market.rule.base).free += sign * lots * market.rule.lot_units
                order.account.balance(market.rule.quote).free -= sign * cost
                if not order.remaining:
                    order.status = Status.FILLED
            else:
                self._settle(
                    order, name, price, lots, cost, is_maker=is_maker, is_self=same, market=market, now_ms=now_ms
                )

    # -- money -----------------------------------------------------------------------------------------------------

    def _freeze(self, order: Order, rule: SymbolRule, reserve: int, now_ms: int) -> None:
        order.frozen = reserve
        asset = rule.quote if order.is_buy else rule.base
        self.out.append(order.account.change(asset, -reserve, reserve, "ENTRUST_PLACE", now_ms))

    def _settle(
        self,
        order: Order,
        name: str,
        price: int,
        lots: int,
        cost: int,
        *,
        is_maker: bool,
        is_self: bool,
        market: Market,
        now_ms: int,
    ) -> None:
        rule, account = market.rule, order.account
        given, gained = (cost, lots * rule.lot_units) if order.is_buy else (lots * rule.lot_units, cost)
        pays, gets = (rule.quote, rule.base) if order.is_buy else (rule.base, rule.quote)
        fee_asset, fee = self._fee(account, rule, order, cost, gained, is_maker=is_maker)
        order.frozen -= given
        self.out.append(account.change(pays, 0, -given, "ENTRUST", now_ms))
        self.out.append(account.change(gets, gained, 0, "ENTRUST", now_ms))
        if fee and order.is_buy and fee_asset == rule.quote:
            fee = self._fee_on_top(order, rule, fee, now_ms)
        elif fee:
            self.out.append(account.change(fee_asset, -fee, 0, "TRADE_FEE", now_ms))
        if fee:
            self.fees[fee_asset] = self.fees.get(fee_asset, 0) + fee
        order.updated_ms = now_ms
        fill = Fill(order, name, price, lots, cost, fee, fee_asset, is_maker, is_self, now_ms)
        order.fills.append(fill)
        account.fills.append(fill)
        self.out.append(fill)
        if order.remaining:
            order.status = Status.PARTIALLY_FILLED
            self._release(order, rule, self._still_needed(order, rule), now_ms)
            self._tell(order, lots, is_maker=is_maker, at_ms=now_ms)
        else:
            self._finish(order, Status.FILLED, lots, is_maker=is_maker, now_ms=now_ms)

    def _fee_on_top(self, order: Order, rule: SymbolRule, fee: int, now_ms: int) -> int:
        """A buy's fee in quote: out of what the order froze, and never more than that and what is free."""
        account = order.account
        ahead = order.remaining * order.price * rule.unit_value
        if order.quote_units:
            ahead = min(ahead, order.quote_units - order.cost_units)
        spare = max(0, order.frozen - ahead)
        locked = min(fee, spare)
        free = min(fee - locked, account.balance(rule.quote).free)
        order.frozen -= locked
        self.out.append(account.change(rule.quote, -free, -locked, "TRADE_FEE", now_ms))
        return locked + free

    def _fee(
        self, account: Account, rule: SymbolRule, order: Order, cost: int, gained: int, *, is_maker: bool
    ) -> tuple[str, int]:
        rate = units_of(self.rates(account, rule)[0 if is_maker else 1])
        if account.mx_deduct and rate:
            in_mx = self._fee_in_mx(rule.quote, cost, rate)
            if in_mx is not None and account.balance("MX").free >= in_mx:
                return "MX", in_mx
        if order.is_buy and account.fee_asset is FeeAsset.RECEIVED:
            return rule.base, round_units(divide_half_even(gained * rate, ONE), rule.base_fee_decimals)
        return rule.quote, round_units(divide_half_even(cost * rate, ONE), rule.quote_fee_decimals)

    def _fee_in_mx(self, quote: str, cost: int, rate: int) -> int | None:
        paid = units_of(100 - self.habits.mx_discount_pct)
        worth = divide_half_even(cost * rate * paid, ONE * ONE * 100)
        if quote == "MX":
            return round_units(worth, MX_FEE_DECIMALS)
        if quote != "USDT":
            bridge = self.markets.get(quote + "USDT")
            if bridge is None:
                return None
            worth = divide_half_even(worth * bridge.tape.last_price * bridge.rule.tick_units, ONE)
        market = self.markets.get("MXUSDT")
        if market is None:
            return None
        return round_units(
            divide_half_even(worth * ONE, market.tape.last_price * market.rule.tick_units), MX_FEE_DECIMALS
        )

    def rates(self, account: Account, rule: SymbolRule) -> tuple[Decimal, Decimal]:
        """The maker and the taker rate of an account on a pair, as fractions."""
        return (
            rule.maker_rate if account.maker_rate is None else account.maker_rate,
            rule.taker_rate if account.taker_rate is None else account.taker_rate,
        )

    def _fee_reserve(self, account: Account, rule: SymbolRule, cost: int) -> int:
        if account.fee_asset is not FeeAsset.QUOTE:
            return 0
        rate = units_of(max(self.rates(account, rule)))
        step = step_of(rule.quote_fee_decimals)
        return -(-cost * rate // (ONE * step)) * step

    def _still_needed(self, order: Order, rule: SymbolRule) -> int:
        if not order.is_buy:
            return order.remaining * rule.lot_units
        if order.kind is Kind.MARKET:
            return order.frozen  # what a market order did not spend comes back when it ends
        cost = order.remaining * order.price * rule.unit_value
        return cost + self._fee_reserve(order.account, rule, cost)

    def _release(
        self, order: Order, rule: SymbolRule, keep: int, now_ms: int, reason: str = "ENTRUST_UNFROZEN"
    ) -> None:
        back = order.frozen - keep
        if back > 0:
            order.frozen = keep
            asset = rule.quote if order.is_buy else rule.base
            self.out.append(order.account.change(asset, back, -back, reason, now_ms))

    # -- endings ---------------------------------------------------------------------------------------------------

    def _end(self, order: Order, now_ms: int) -> None:
        """End an order that is not filled whole."""
        if order.account.unlimited:
            order.status = Status.CANCELED
            return
        ending = Status.PARTIALLY_CANCELED if order.filled else Status.CANCELED
        self._finish(order, ending, 0, is_maker=False, now_ms=now_ms)

    def _finish(self, order: Order, status: Status, last_lots: int, *, is_maker: bool, now_ms: int) -> None:
        order.status = status
        order.updated_ms = now_ms
        del order.account.open_orders[order.order_id]
        self._tell(order, last_lots, is_maker=is_maker, at_ms=now_ms)
        reason = "ENTRUST_CANCEL" if status is not Status.FILLED else "ENTRUST_UNFROZEN"
        self._release(order, order.rule, 0, now_ms, reason)

    def _tell(self, order: Order, last_lots: int, *, is_maker: bool, at_ms: int) -> None:
        self.out.append(
            OrderChanged(
                order.account,
                order,
                order.status,
                order.remaining,
                order.cost_units,
                order.frozen,
                last_lots,
                is_maker,
                at_ms,
            )
        )

    def clear(self, symbol: str, now_ms: int) -> None:
        """Cancel every waiting order of a pair, the house's too."""
        market = self.markets[symbol]
        for half in (market.book.bids, market.book.asks):
            for order in [order for level in list(half.top(len(half))) for order in level.orders]:
                self.cancel(order, now_ms, "rules_changed")


def protective_limit(best: int, side: Side, protection_pct: Decimal) -> int:
    """The price in ticks beyond which a market order does not go: the best price and a percentage of it."""
    percent = units_of(protection_pct)
    if side is Side.BUY:
        return best * (100 * ONE + percent) // (100 * ONE)
    return max(1, -(-best * (100 * ONE - percent) // (100 * ONE)))
