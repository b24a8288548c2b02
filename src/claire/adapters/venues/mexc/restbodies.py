"""REST answers that the feed depends on, bytes to values: a whole book, and history for the warm-up. Pure."""

from typing import Final

import msgspec
from msgspec import Struct

from claire.adapters.venues.mexc.items import Body, RestBody, WarmUp
from claire.adapters.venues.mexc.pushes import DecodeError, Levels, Reason
from claire.adapters.venues.mexc.scales import Fault, Scale, Scales, not_negative
from claire.model.instrument import Instrument
from claire.model.market import Candle, Side, Trade

MS: Final = 1_000_000
MINUTE_NS: Final = 60_000_000_000
MOST_CANDLES: Final = 2_000
"""Candles of one warm-up, the empty minutes between the venue's included."""


class _DepthBody(Struct, rename="camel"):
    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    timestamp: int | None = None


class _AggTrade(Struct):
    p: str
    q: str
    T: int
    m: bool


_Kline = tuple[int, str, str, str, str, str, int, str]
"""Open time (ms), open, high, low, close, volume in base, close time (ms), turnover in quote."""

_depth = msgspec.json.Decoder(_DepthBody)
_klines = msgspec.json.Decoder(list[_Kline])
_trades = msgspec.json.Decoder(list[_AggTrade])


def whole_book(body: RestBody, instrument: Instrument) -> tuple[int, Levels, Levels, int]:
    """Return (version, bids, asks, time in ns or 0 where it was not told) of a `depth` answer.

    Raises:
        DecodeError: it is no such answer, or a level is off the instrument's steps.
    """
    try:
        answer = _depth.decode(body.data)
        scales = Scales(instrument)
        bids, asks = _levels(scales, answer.bids), _levels(scales, answer.asks)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from None
    except Fault as fault:
        raise DecodeError(fault.reason, fault.what, f"REST {body.what}", body.symbol) from None
    return answer.last_update_id, bids, asks, max(0, answer.timestamp or 0) * MS


def warm_up(body: RestBody, instrument: Instrument, before_ns: int) -> WarmUp:
    """Return the history in a `klines` or `aggTrades` answer.

    Args:
        body: The answer.
        instrument: Rules of its symbol.
        before_ns: Event time of the stream's first trade, 0 if none came yet: only older trades are history.

    Raises:
        DecodeError: it is no such answer, or its numbers are impossible.
    """
    try:
        if body.what is Body.KLINES:
            rows = _klines.decode(body.data)
            return WarmUp(body.symbol, candles=_candles(body, Scales(instrument), rows))
        return WarmUp(body.symbol, trades=_history(body, Scales(instrument), _trades.decode(body.data), before_ns))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from None
    except Fault as fault:
        raise DecodeError(fault.reason, fault.what, f"REST {body.what}", body.symbol) from None


def _levels(scales: Scales, rows: list[tuple[str, str]]) -> Levels:
    ticks, lots = scales.ticks, scales.lots
    levels = tuple((ticks[price], lots[quantity]) for price, quantity in rows)
    if not all(price and quantity for price, quantity in levels):
        raise Fault(Reason.NOT_POSITIVE, f"{scales.instrument.symbol}: a level of a whole book is not positive")
    return levels


def _candles(body: RestBody, scales: Scales, rows: list[_Kline]) -> tuple[Candle, ...]:
    """Return the closed candles, oldest first; minutes that the venue leaves out are empty."""
    found: list[Candle] = []
    for row in sorted(rows):
        open_ns, close_ns = row[0] * MS, row[6] * MS
        if close_ns - open_ns != MINUTE_NS or open_ns % MINUTE_NS:
            raise Fault(Reason.ORDER, f"{body.symbol}: a candle from {row[0]} to {row[6]} ms is not a minute")
        if close_ns > body.ts_recv_ns:
            break
        if found and open_ns < found[-1].close_ns:
            continue
        opening, high, low, closing = (_positive(scales.ticks, text) for text in row[1:5])
        if not (low <= opening <= high and low <= closing <= high):
            raise Fault(Reason.ORDER, f"{body.symbol}: the candle of {row[0]} ms contradicts itself")
        if found and open_ns - found[-1].close_ns > MOST_CANDLES * MINUTE_NS:
            found.clear()
        while found and found[-1].close_ns < open_ns:
            found.append(_empty(found[-1]))
        lots = int(not_negative("volume", row[5]) // scales.instrument.lot)
        found.append(Candle(body.symbol, open_ns, close_ns, opening, high, low, closing, lots, 0, False, close_ns))
    return tuple(found[-MOST_CANDLES:])


def _empty(before: Candle) -> Candle:
    close = before.close_ticks
    end_ns = before.close_ns + MINUTE_NS
    return Candle(before.symbol, before.close_ns, end_ns, close, close, close, close, 0, 0, True, end_ns)


def _history(body: RestBody, scales: Scales, rows: list[_AggTrade], before_ns: int) -> tuple[Trade, ...]:
    """Return the trades before the stream's first one, oldest first; rows of one time keep their order."""
    if rows and rows[0].T > rows[-1].T:
        rows = rows[::-1]
    if before_ns and all(row.T % 1000 == 0 for row in rows):
        before_ns -= (
            before_ns % 1_000_000_000
        )  # times in whole seconds: the first trade's own second is left to the stream
    trades = []
    for row in sorted(rows, key=lambda row: row.T):
        at_ns = row.T * MS
        if at_ns <= 0 or at_ns > body.ts_recv_ns + MINUTE_NS:
            raise Fault(Reason.OUT_OF_RANGE, f"{body.symbol}: a trade of {row.T} ms")
        if before_ns and at_ns >= before_ns:
            break
        price, lots = _positive(scales.ticks, row.p), _positive(scales.lots, row.q)
        trades.append(
            Trade(body.symbol, at_ns, price, lots, Side.SELL if row.m else Side.BUY, ts_recv_ns=body.ts_recv_ns)
        )
    return tuple(trades)


def _positive(scale: Scale, text: str) -> int:
    value = scale[text]
    if not value:
        raise Fault(Reason.NOT_POSITIVE, f"a number of REST is {text}")
    return value


def _not_json(body: RestBody, error: Exception) -> DecodeError:
    return DecodeError(
        Reason.MISSING, f"{body.symbol}: the answer is not understood ({error})", f"REST {body.what}", body.symbol
    )
