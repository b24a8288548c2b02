"""What holds of candles whatever the trades: nothing is lost, nothing is missing, and how they closed does not matter."""

from itertools import groupby, pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from claire.model.market import Candle, Side, Timer, Trade
from claire.stages.candles import Candles
from tests.support.timers import closed_candles

S = 1_000_000_000
INTERVAL = 10 * S
START = 1_730_030_400 * S

amounts = st.integers(min_value=1, max_value=10**12)
# Many trades within a candle, some exactly on its border, some after many candles.
waits = st.one_of(
    st.integers(min_value=0, max_value=3 * S),
    st.sampled_from([0, 1, 2 * S, INTERVAL - 1, INTERVAL, INTERVAL + 1, INTERVAL + 2 * S, 7 * INTERVAL]),
    st.integers(min_value=0, max_value=20 * INTERVAL),
)


@st.composite
def recordings(draw) -> list[Trade]:
    """Draw trades in order of time, as a source gives them."""
    ts_event_ns = START + draw(st.integers(min_value=0, max_value=INTERVAL))
    trades = []
    steps = st.tuples(waits, amounts, amounts, st.booleans())
    for wait, price, lots, on_the_border in draw(st.lists(steps, min_size=1, max_size=40)):
        ts_event_ns += wait
        if on_the_border:
            ts_event_ns += -ts_event_ns % INTERVAL
        trades.append(Trade("BTCUSDT", ts_event_ns, price, lots, Side.SELL))
    return trades


def stage(grace_ns: int = 2 * S) -> Candles:
    return Candles(interval_ns=INTERVAL, grace_ns=grace_ns)


def grouped(trades: list[Trade]) -> list[tuple[int, ...]]:
    """Group trades by interval, the plain way: start, OHLC, volume and number of each interval that has trades."""
    bars: list[tuple[int, ...]] = []
    for number, group in groupby(trades, key=lambda trade: trade.ts_event_ns // INTERVAL):
        members = list(group)
        prices = [trade.price_ticks for trade in members]
        volume = sum(trade.quantity_lots for trade in members)
        bars.append((number * INTERVAL, prices[0], max(prices), min(prices), prices[-1], volume, len(members)))
    return bars


def bar(candle: Candle) -> tuple[int, ...]:
    prices = (candle.open_ticks, candle.high_ticks, candle.low_ticks, candle.close_ticks)
    return (candle.open_ns, *prices, candle.volume_lots, candle.trades)


@given(recordings(), st.booleans())
def test_candles_with_trades_are_what_grouping_by_interval_gives(trades, with_timers):
    candles = closed_candles(stage(), trades, with_timers=with_timers)
    assert [bar(candle) for candle in candles if not candle.empty] == [
        expected for expected in grouped(trades) if expected[0] + INTERVAL <= trades[-1].ts_event_ns
    ]


@given(recordings(), st.booleans())
def test_no_interval_is_missing_between_the_first_and_the_last(trades, with_timers):
    candles = closed_candles(stage(), trades, with_timers=with_timers)
    first = trades[0].ts_event_ns // INTERVAL
    last = trades[-1].ts_event_ns // INTERVAL
    assert [candle.open_ns for candle in candles] == [number * INTERVAL for number in range(first, last)]
    assert all(candle.close_ns == candle.open_ns + INTERVAL for candle in candles)


@given(recordings(), st.booleans())
def test_an_empty_candle_repeats_the_close_before_it_and_holds_nothing(trades, with_timers):
    candles = closed_candles(stage(), trades, with_timers=with_timers)
    for before, candle in pairwise(candles):
        if candle.empty:
            assert bar(candle)[1:] == (*4 * (before.close_ticks,), 0, 0)


@given(recordings(), st.sampled_from([0, 1, 2 * S, 3 * INTERVAL]))
def test_the_candles_are_the_same_whether_timers_or_later_trades_close_them(trades, grace_ns):
    by_timer = closed_candles(stage(grace_ns), trades, with_timers=True)
    by_trade = closed_candles(stage(grace_ns), trades, with_timers=False)
    timeless = [msgspec.structs.replace(candle, ts_event_ns=0) for candle in by_timer]
    assert timeless == [msgspec.structs.replace(candle, ts_event_ns=0) for candle in by_trade]
    for timed, traded in zip(by_timer, by_trade, strict=True):
        assert timed.close_ns <= timed.ts_event_ns <= timed.close_ns + grace_ns
        assert timed.ts_event_ns <= traded.ts_event_ns


@given(st.lists(st.one_of(st.just("timer"), st.tuples(st.integers(0, 30 * S), amounts, amounts)), max_size=60))
def test_volume_and_trades_are_conserved_even_when_trades_come_late(happenings):
    """Trades in any order of time, and timers as early as they may fire: live, a timer can overtake trades."""
    candles = stage()
    volume = count = late = applied = 0
    closed: list[Candle] = []
    due: Timer | None = None
    open_ns = START
    for happening in happenings:
        if isinstance(happening, tuple):
            offset, price, lots = happening
            is_late = due is not None and START + offset < open_ns
            count, late = count + 1, late + is_late
            applied += 0 if is_late else lots
            caused = candles.on_trade(Trade("BTCUSDT", START + offset, price, lots, Side.BUY))
        elif due is not None:
            caused = candles.on_timer(due)
        else:
            continue
        for event in caused:
            if isinstance(event, Candle):
                closed.append(event)
            else:
                due = Timer(event.due_ns, event.id)
                open_ns = event.due_ns - 2 * S - INTERVAL
    volume = sum(candle.volume_lots for candle in closed)
    trades = sum(candle.trades for candle in closed)
    if count:
        still_open = candles.symbols["BTCUSDT"]
        volume, trades = volume + still_open.volume_lots, trades + still_open.trades
    assert candles.late("BTCUSDT") == late
    assert trades + late == count
    assert volume == applied
    for candle in closed:
        assert candle.low_ticks <= min(candle.open_ticks, candle.close_ticks)
        assert candle.high_ticks >= max(candle.open_ticks, candle.close_ticks)
        assert candle.empty == (candle.trades == 0)
