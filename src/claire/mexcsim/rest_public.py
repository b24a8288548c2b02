"""Public REST endpoints (sheet 3.2 and 3.3), with the weights of the documentation of 2026."""

from decimal import Decimal
from itertools import islice
from typing import Any

from claire.mexcsim.calls import Call, Endpoint
from claire.mexcsim.encode import fraction
from claire.mexcsim.exchange import Market
from claire.mexcsim.orders import PublicTrade
from claire.mexcsim.rules import Rejection, mandatory
from claire.mexcsim.symbols import OFFLINE, ONLINE, PAUSED, SymbolRule
from claire.mexcsim.tape import INTERVALS_MS
from claire.model.market import Side
from claire.model.money import decimal_text, plain_text

MOST_LEVELS = 2_000
MOST_KLINES = 500
MOST_TRADES = 1_000
HOUR_MS = 3_600_000


def ping(call: Call) -> Any:
    """Nothing, quickly."""
    return {}


def time(call: Call) -> Any:
    """The venue's clock."""
    return {"serverTime": call.now_ms}


def default_symbols(call: Call) -> Any:
    """Pairs that are open to the API, in the envelope of real replies."""
    names = [market.rule.symbol for market in call.venue.exchange.markets.values() if _open_to_api(market.rule)]
    return {"data": names, "code": 0, "msg": "success", "timestamp": call.now_ms}


def offline(call: Call) -> Any:
    """Pairs that are suspended (2) or delisted (3)."""
    rules = [market.rule for market in call.venue.exchange.markets.values()]
    return {"data": [{"symbol": rule.symbol, "state": int(rule.status)} for rule in rules if rule.status != ONLINE]}


def exchange_info(call: Call) -> Any:
    """All pairs, one, or some, with their rules."""
    exchange = call.venue.exchange
    if call.params.get("symbols"):
        markets = [exchange.market(name) for name in call.params["symbols"].split(",")]
    elif call.params.get("symbol"):
        markets = [call.market()]
    else:
        markets = list(exchange.markets.values())
    return {
        "timezone": "CST",
        "serverTime": call.now_ms,
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [symbol_row(market.rule) for market in markets if market.rule.status != OFFLINE],
    }


def symbol_row(rule: SymbolRule) -> dict[str, Any]:
    """One pair as exchangeInfo lists it."""
    band = (
        {}
        if rule.price_band is None
        else {"bidMultiplierUp": str(rule.price_band), "askMultiplierDown": str(rule.price_band)}
    )
    return {
        "symbol": rule.symbol,
        "status": rule.status,
        "baseAsset": rule.base,
        "baseAssetPrecision": rule.quantity_decimals,
        "quoteAsset": rule.quote,
        "quotePrecision": rule.price_decimals,
        "quoteAssetPrecision": rule.price_decimals,
        "baseCommissionPrecision": rule.base_fee_decimals,
        "quoteCommissionPrecision": rule.quote_fee_decimals,
        "orderTypes": list(rule.order_types),
        "isSpotTradingAllowed": rule.api_trading,
        "isMarginTradingAllowed": False,
        "quoteAmountPrecision": plain_text(rule.min_notional),
        "baseSizePrecision": plain_text(rule.min_quantity),
        "permissions": ["SPOT"],
        "filters": [{"filterType": "PERCENT_PRICE_BY_SIDE", **band}] if band else [],
        "maxQuoteAmount": plain_text(rule.max_notional),
        "makerCommission": plain_text(rule.maker_rate),
        "takerCommission": plain_text(rule.taker_rate),
        "quoteAmountPrecisionMarket": plain_text(rule.min_notional_market),
        "maxQuoteAmountMarket": plain_text(rule.max_notional_market),
        "fullName": rule.base,
        "tradeSideType": rule.side_rule,
        "contractAddress": "",
        "conceptPlateIds": [],
        "st": rule.special_treatment,
    }


def depth(call: Call) -> Any:
    """The book, with all decimals; never more than 2,000 levels a side, whatever was asked."""
    market = call.market()
    rule, count = market.rule, call.limit(100, MOST_LEVELS)
    return {
        "lastUpdateId": market.book.version,
        "bids": [
            [rule.padded_price(level.price), rule.padded_quantity(level.lots)] for level in market.book.bids.top(count)
        ],
        "asks": [
            [rule.padded_price(level.price), rule.padded_quantity(level.lots)] for level in market.book.asks.top(count)
        ],
        "timestamp": call.now_ms,
    }


def trades(call: Call) -> Any:
    """The latest trades, newest first; without ids."""
    market = call.market()
    rule = market.rule
    return [
        {
            "id": None,
            "price": rule.price_text(trade.price),
            "qty": rule.quantity_text(trade.lots),
            "quoteQty": decimal_text(trade.price * trade.lots * rule.unit_value),
            "time": trade.at_ms,
            "isBuyerMaker": trade.side is Side.SELL,
            "isBestMatch": True,
            "tradeType": "BID" if trade.side is Side.BUY else "ASK",
        }
        for trade in islice(reversed(market.tape.trades), call.limit(500, MOST_TRADES))
    ]


def agg_trades(call: Call) -> Any:
    """Trades of a time span, oldest first, or the latest, newest first; without ids, in whole seconds."""
    market = call.market()
    start, end = call.whole("startTime"), call.whole("endTime")
    limit = call.limit(500, MOST_TRADES)
    if (start is None) != (end is None):
        raise Rejection(-1128, "Combination of optional parameters invalid: startTime and endTime go together")
    chosen: list[PublicTrade]
    if start is None or end is None:
        chosen = list(islice(reversed(market.tape.trades), limit))
    else:
        if end < start:
            raise Rejection(400, "start time cannot be later than end time")
        past = market.tape.past.trades(start, min(end, market.tape.past.ends_ms - 1))
        lived = (trade for trade in market.tape.trades if start <= trade.at_ms <= end)
        chosen = list(islice(_chained(past, lived), limit))
    rule = market.rule
    return [
        {
            "a": None,
            "f": None,
            "l": None,
            "p": rule.price_text(trade.price),
            "q": rule.quantity_text(trade.lots),
            "T": trade.at_ms // 1000 * 1000,
            "m": trade.side is Side.SELL,
            "M": True,
        }
        for trade in chosen
    ]


def _chained(*parts: Any) -> Any:
    for part in parts:
        yield from part


def klines(call: Call) -> Any:
    """Candles, oldest first, at most 500."""
    market = call.market()
    interval = mandatory(call.params, "interval")
    if interval not in INTERVALS_MS:
        raise Rejection(-1121, "Invalid interval.")
    start, end = call.whole("startTime"), call.whole("endTime")
    if start is not None and end is not None and end < start:
        raise Rejection(400, "start time cannot be later than end time")
    rule = market.rule
    return [
        [
            bar.start_ms,
            rule.price_text(bar.open),
            rule.price_text(bar.high),
            rule.price_text(bar.low),
            rule.price_text(bar.close),
            rule.quantity_text(bar.lots),
            bar_end,
            decimal_text(bar.quote_units),
        ]
        for bar, bar_end in market.tape.bars(interval, start, end, call.limit(MOST_KLINES, MOST_KLINES))
    ]


def avg_price(call: Call) -> Any:
    """The volume-weighted price of five minutes."""
    market = call.market()
    rule = market.rule
    bars = list(market.tape.all_minutes(call.venue.market_ms() - 5 * 60_000))
    lots = sum(bar.lots for bar in bars)
    worth = sum(bar.quote_units for bar in bars)
    ticks = worth // (lots * rule.unit_value) if lots else market.tape.last_price
    return {"mins": 5, "price": rule.price_text(ticks)}


def ticker_24hr(call: Call) -> Any:
    """The last 24 hours of one pair or of all; percentages are fractions."""
    return _one_or_all(call, _day)


def _day(call: Call, market: Market) -> Any:
    rule, day, book = market.rule, market.tape.day(call.venue.market_ms()), market.book
    bid, ask = book.bids.best, book.asks.best
    change = Decimal(day.close - day.open).scaleb(-rule.price_decimals)
    return {
        "symbol": rule.symbol,
        "priceChange": plain_text(change),
        "priceChangePercent": fraction(day.close - day.open, day.open),
        "prevClosePrice": rule.price_text(day.open),
        "lastPrice": rule.price_text(day.close),
        "bidPrice": rule.price_text(bid.price if bid else 0),
        "bidQty": rule.quantity_text(bid.lots if bid else 0),
        "askPrice": rule.price_text(ask.price if ask else 0),
        "askQty": rule.quantity_text(ask.lots if ask else 0),
        "openPrice": rule.price_text(day.open),
        "highPrice": rule.price_text(day.high),
        "lowPrice": rule.price_text(day.low),
        "volume": rule.quantity_text(day.lots),
        "quoteVolume": decimal_text(day.quote_units),
        "openTime": day.open_ms,
        "closeTime": day.close_ms,
        "count": None,
    }


def ticker_price(call: Call) -> Any:
    """The last price of one pair or of all."""
    return _one_or_all(
        call, lambda _, market: {"symbol": market.rule.symbol, "price": market.rule.price_text(market.tape.last_price)}
    )


def ticker_book(call: Call) -> Any:
    """Best bid and ask of one pair or of all."""
    return _one_or_all(call, _best)


def _best(call: Call, market: Market) -> Any:
    rule, bid, ask = market.rule, market.book.bids.best, market.book.asks.best
    return {
        "symbol": rule.symbol,
        "bidPrice": rule.price_text(bid.price if bid else 0),
        "bidQty": rule.quantity_text(bid.lots if bid else 0),
        "askPrice": rule.price_text(ask.price if ask else 0),
        "askQty": rule.quantity_text(ask.lots if ask else 0),
    }


def _one_or_all(call: Call, row: Any) -> Any:
    if call.params.get("symbol"):
        return row(call, call.market())
    return [row(call, market) for market in call.venue.exchange.markets.values() if market.rule.status != OFFLINE]


def contract_detail(call: Call) -> Any:
    """The list of perpetual contracts, which this venue does not have; some clients always ask."""
    return {"success": True, "code": 0, "data": []}


def _open_to_api(rule: SymbolRule) -> bool:
    return rule.api_trading and rule.status not in (PAUSED, OFFLINE)


PUBLIC: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/ping"): Endpoint(ping),
    ("GET", "/api/v3/time"): Endpoint(time),
    ("GET", "/api/v3/defaultSymbols"): Endpoint(default_symbols),
    ("GET", "/api/v3/symbol/offline"): Endpoint(offline, weight=10),
    ("GET", "/api/v3/exchangeInfo"): Endpoint(exchange_info, weight=25),
    ("GET", "/api/v3/depth"): Endpoint(depth, weight=3),
    ("GET", "/api/v3/trades"): Endpoint(trades, weight=5),
    ("GET", "/api/v3/historicalTrades"): Endpoint(trades, weight=5),
    ("GET", "/api/v3/aggTrades"): Endpoint(agg_trades),
    ("GET", "/api/v3/klines"): Endpoint(klines),
    ("GET", "/api/v3/avgPrice"): Endpoint(avg_price),
    ("GET", "/api/v3/ticker/24hr"): Endpoint(ticker_24hr, weight=25),
    ("GET", "/api/v3/ticker/price"): Endpoint(ticker_price, weight=10),
    ("GET", "/api/v3/ticker/bookTicker"): Endpoint(ticker_book, weight=10),
    ("GET", "/api/v1/contract/detail"): Endpoint(contract_detail),
}
"""What can be called without a key."""
