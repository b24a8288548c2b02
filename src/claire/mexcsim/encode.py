"""Pushes as bytes, with the venue's habits (sheet 1.6): which fields, which numbers padded, what is left out.

Wrapper fields are channel, symbol, sendTime; candles have symbolId and createTime instead of sendTime.
"""

from decimal import Decimal

from claire.mexcsim.book import Book, DepthWindow, Level
from claire.mexcsim.channels import Topic
from claire.mexcsim.exchange import Market
from claire.mexcsim.orders import BalanceChanged, Fill, Kind, OrderChanged, PublicTrade
from claire.mexcsim.symbols import SymbolRule
from claire.mexcsim.tape import Bar, DayStats
from claire.model.market import Side
from claire.model.money import ONE, decimal_text
from claire.wire import (
    DepthLevel,
    PrivateAccount,
    PrivateDeals,
    PrivateOrders,
    PublicAggreBookTicker,
    PublicAggreDeal,
    PublicAggreDeals,
    PublicAggreDepths,
    PublicBookTicker,
    PublicBookTickerBatch,
    PublicLimitDepths,
    PublicMiniTicker,
    PublicMiniTickers,
    PublicSpotKline,
    PushDataV3ApiWrapper,
)

BUY, SELL = 1, 2


def deals(topic: Topic, rule: SymbolRule, trades: list[PublicTrade], send_ms: int) -> bytes:
    """Every execution of one window."""
    body = PublicAggreDeals(
        deals=[
            PublicAggreDeal(
                price=rule.price_text(trade.price),
                quantity=rule.quantity_text(trade.lots),
                trade_type=BUY if trade.side is Side.BUY else SELL,
                time=trade.at_ms,
                trade_id=trade.trade_id,
            )
            for trade in trades
        ],
        event_type=topic.event_type,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_aggre_deals=body)
    )


def depth(topic: Topic, market: Market, window: DepthWindow, send_ms: int) -> bytes:
    """The levels that changed in one window, with their quantities now; 0 deletes."""
    rule, book = market.rule, market.book

    def changed(side: Side, prices: dict[int, None]) -> list[DepthLevel]:
        return [
            DepthLevel(price=rule.price_text(price), quantity=rule.quantity_text(book.lots_at(side, price)))
            for price in prices
        ]

    body = PublicAggreDepths(
        asks=changed(Side.SELL, window.asks),
        bids=changed(Side.BUY, window.bids),
        event_type=topic.event_type,
        from_version=str(window.from_version),
        to_version=str(book.version),
        last_order_create_time=book.last_order_ms,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_aggre_depths=body)
    )


def limit_depth(topic: Topic, market: Market, send_ms: int) -> bytes:
    """The best levels, with all decimals."""
    rule, book, count = market.rule, market.book, int(topic.argument)

    def padded(levels: list[Level]) -> list[DepthLevel]:
        return [
            DepthLevel(price=rule.padded_price(level.price), quantity=rule.padded_quantity(level.lots))
            for level in levels
        ]

    body = PublicLimitDepths(
        asks=padded(list(book.asks.top(count))),
        bids=padded(list(book.bids.top(count))),
        event_type=topic.event_type,
        version=str(book.version),
        last_order_create_time=book.last_order_ms,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_limit_depths=body)
    )


def _best(rule: SymbolRule, book: Book) -> tuple[str, str, str, str]:
    bid, ask = book.bids.best, book.asks.best
    return (
        rule.price_text(bid.price) if bid else "0",
        rule.quantity_text(bid.lots) if bid else "0",
        rule.price_text(ask.price) if ask else "0",
        rule.quantity_text(ask.lots) if ask else "0",
    )


def book_ticker(topic: Topic, market: Market, send_ms: int) -> bytes:
    """Best bid and ask."""
    bid, bid_lots, ask, ask_lots = _best(market.rule, market.book)
    body = PublicAggreBookTicker(
        bid_price=bid,
        bid_quantity=bid_lots,
        ask_price=ask,
        ask_quantity=ask_lots,
        version=str(market.book.version),
        last_order_create_time=market.book.last_order_ms,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_aggre_book_ticker=body)
    )


def ticker_batch(topic: Topic, market: Market, send_ms: int) -> bytes:
    """Best bid and ask, as a list of one."""
    bid, bid_lots, ask, ask_lots = _best(market.rule, market.book)
    body = PublicBookTickerBatch(
        items=[PublicBookTicker(bid_price=bid, bid_quantity=bid_lots, ask_price=ask, ask_quantity=ask_lots)],
        version=str(market.book.version),
        last_order_create_time=market.book.last_order_ms,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_book_ticker_batch=body)
    )


def kline(topic: Topic, rule: SymbolRule, bar: Bar, end_ms: int, now_ms: int) -> bytes:
    """The open candle; its times are seconds."""
    body = PublicSpotKline(
        interval=topic.argument,
        window_start=bar.start_ms // 1000,
        opening_price=rule.price_text(bar.open),
        closing_price=rule.price_text(bar.close),
        highest_price=rule.price_text(bar.high),
        lowest_price=rule.price_text(bar.low),
        volume=rule.quantity_text(bar.lots),
        amount=decimal_text(bar.quote_units),
        window_end=end_ms // 1000,
    )
    return _bytes(
        PushDataV3ApiWrapper(
            channel=topic.name,
            symbol=topic.symbol,
            symbol_id=rule.symbol_id,
            create_time=now_ms,
            public_spot_kline=body,
        )
    )


def _mini(rule: SymbolRule, day: DayStats) -> PublicMiniTicker:
    rate = fraction(day.close - day.open, day.open)
    return PublicMiniTicker(
        symbol=rule.symbol,
        price=rule.price_text(day.close),
        rate=rate,
        zoned_rate=rate,
        high=rule.price_text(day.high),
        low=rule.price_text(day.low),
        volume=decimal_text(day.quote_units),
        quantity=rule.quantity_text(day.lots),
        last_close_rate=rate,
        last_close_zoned_rate=rate,
        last_close_high=rule.price_text(day.high),
        last_close_low=rule.price_text(day.low),
    )


def mini_ticker(topic: Topic, rule: SymbolRule, day: DayStats, send_ms: int) -> bytes:
    """The last 24 hours of one pair."""
    body = _mini(rule, day)
    return _bytes(
        PushDataV3ApiWrapper(channel=topic.name, symbol=topic.symbol, send_time=send_ms, public_mini_ticker=body)
    )


def mini_tickers(topic: Topic, days: list[tuple[SymbolRule, DayStats]], send_ms: int) -> bytes:
    """The last 24 hours of all pairs."""
    body = PublicMiniTickers(items=[_mini(rule, day) for rule, day in days])
    return _bytes(PushDataV3ApiWrapper(channel=topic.name, send_time=send_ms, public_mini_tickers=body))


def private_deal(channel: str, fill: Fill, send_ms: int) -> bytes:
    """One execution, to its account."""
    rule = fill.order.rule
    body = PrivateDeals(
        price=rule.price_text(fill.price),
        quantity=rule.quantity_text(fill.lots),
        amount=decimal_text(fill.cost_units),
        trade_type=BUY if fill.order.is_buy else SELL,
        is_maker=fill.is_maker,
        is_self_trade=fill.is_self_trade,
        trade_id=fill.trade_id,
        client_order_id=fill.order.client_id,
        order_id=fill.order.order_id,
        fee_amount=decimal_text(fill.fee_units),
        fee_currency=fill.fee_asset,
        time=fill.at_ms,
    )
    return _bytes(PushDataV3ApiWrapper(channel=channel, symbol=rule.symbol, send_time=send_ms, private_deals=body))


def private_order(channel: str, changed: OrderChanged, send_ms: int) -> bytes:
    """An order as it is now, to its account. A market buy shows its protective limit as price and no amount."""
    order = changed.order
    rule = order.rule
    filled = order.lots - changed.remaining
    average = changed.cost_units * rule.tick_units // (filled * rule.unit_value) if filled else 0
    amount = 0 if order.kind is Kind.MARKET else order.lots * order.price * rule.unit_value
    left = changed.frozen if order.is_buy else changed.remaining * order.price * rule.unit_value
    body = PrivateOrders(
        id=order.order_id,
        client_id=order.client_id,
        price=rule.price_text(order.price),
        quantity=rule.quantity_text(order.lots),
        amount=decimal_text(amount),
        avg_price=_cut(average, rule.price_decimals),
        order_type=order.kind.code,
        trade_type=BUY if order.is_buy else SELL,
        is_maker=changed.is_maker,
        remain_amount=decimal_text(left),
        remain_quantity=rule.quantity_text(changed.remaining),
        cumulative_quantity=rule.quantity_text(filled),
        cumulative_amount=decimal_text(changed.cost_units),
        status=int(changed.status),
        create_time=order.created_ms,
    )
    if changed.last_lots:
        body.last_deal_quantity = rule.quantity_text(changed.last_lots)
    return _bytes(PushDataV3ApiWrapper(channel=channel, symbol=rule.symbol, send_time=send_ms, private_orders=body))


def private_account(channel: str, changed: BalanceChanged, coin_id: str, send_ms: int) -> bytes:
    """A balance as it is now, to its account."""
    body = PrivateAccount(
        vcoin_name=changed.asset,
        coin_id=coin_id,
        balance_amount=decimal_text(changed.free),
        balance_amount_change=decimal_text(changed.free_change),
        frozen_amount=decimal_text(changed.locked),
        frozen_amount_change=decimal_text(changed.locked_change),
        type=changed.reason,
        time=changed.at_ms,
    )
    return _bytes(
        PushDataV3ApiWrapper(channel=channel, create_time=changed.at_ms, send_time=send_ms, private_account=body)
    )


def fraction(part: int, whole: int) -> str:
    """A rate as the venue writes it: a fraction with four decimals."""
    return f"{Decimal(part) / Decimal(whole):.4f}" if whole else "0"


def _cut(units: int, decimals: int) -> str:
    step = ONE // int(10**decimals)
    return decimal_text(units // step * step)


def _bytes(push: PushDataV3ApiWrapper) -> bytes:
    return bytes(push.SerializeToString())
