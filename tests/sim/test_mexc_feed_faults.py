"""What the venue does wrong, the feed notices, counts, and gets over; and nothing is told from what is not to be trusted.

At the end of each test `desk` holds what every run promises: no trade twice, event times never fall, a change of a book
only while it is valid, and the same inputs give the same events again.
"""

import asyncio
import time
from functools import partial
from itertools import pairwise

import pytest
from msgspec.structs import replace

from claire.adapters.venues.mexc import watchdog
from claire.adapters.venues.mexc.channels import book_ticker, deals, depth
from claire.adapters.venues.mexc.items import LinkChange, WarmUp
from claire.adapters.venues.mexc.market import FeedState
from claire.mexcsim import SimConfig, StreamRules, What, faults
from claire.mexcsim.symbols import choose, generate
from claire.model.market import Depth, Side, TopOfBook
from tests.support.mexc_live import LIQUID, QUICK, Desk, desk, until

pytestmark = pytest.mark.asyncio

BTC, ETH = "BTCUSDT", "ETHUSDT"
BOTH = (BTC, ETH)
ALL_OF_BTC = (deals(BTC), depth(BTC), book_ticker(BTC))


def book_is_right(found: Desk, symbol: str = BTC) -> bool:
    """Whether the client's book is the venue's, level for level."""
    book, theirs = found.feed.decoder.books.get(symbol), found.sim.books[symbol]
    if book is None or not book.valid or book.version != theirs.version:
        return False
    sides = ((book.bids, theirs.half(Side.BUY)), (book.asks, theirs.half(Side.SELL)))
    assert all(mine.lots == {level.price: level.lots for level in half.top(9_999)} for mine, half in sides)
    return True


def has_book_gaps(found: Desk, count: int) -> bool:
    """Whether the client has counted so many gaps of books."""
    return found.feed.counters.book_gaps_total == count


async def gap_and_recovery(found: Desk, symbol: str = BTC, deadline_s: float = 8.0) -> None:
    """Wait until a gap was opened and closed again."""
    await until(lambda: len(found.gaps(symbol)) >= 2, deadline_s, f"a gap of {symbol}, opened and closed")
    opened, closed = found.gaps(symbol)[-2:]
    assert opened.to_ns == 0
    assert opened.from_ns == closed.from_ns < closed.to_ns


# -- connections -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "close"])
async def test_a_lost_connection_is_a_gap_until_the_next_one_brings_trades(how):
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)]) as found:
        await found.flows()
        found.sim.fault(faults.Disconnect(how=how))
        await gap_and_recovery(found, BTC)
        await gap_and_recovery(found, ETH)
        await until(lambda: book_is_right(found), 5, "a book that is the venue's again")
        await found.flows()
        assert found.feed.counters.reconnects_total == 1
        assert found.feed.counters.book_gaps_total == 1
        assert found.feed.counters.resyncs_total == 2
        assert [event.valid for event in found.events if isinstance(event, Depth)].count(False) == 1


async def test_before_its_24_hours_are_over_a_connection_hands_over_without_a_gap():
    settings = replace(QUICK, max_age_s=1.0, min_overlap_s=0.4)
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)], settings=settings) as found:
        await until(lambda: found.feed.counters.rotations_total >= 2, 15, "two planned hand-overs")
        assert not found.gaps()
        assert found.feed.counters.book_gaps_total == 0
        assert found.feed.counters.reconnects_total == 0
        assert found.feed.counters.duplicate_trades_total > 0, "both connections bring the same trades meanwhile"
        assert found.feed.counters.duplicate_pushes_total > 0
        await until(lambda: book_is_right(found), 3, "a book that is the venue's")
        assert len(found.sim.connections) <= 2
        assert found.missed() == 0, "not one trade is lost on the way from one connection to the next"


async def test_a_hand_over_to_a_connection_that_shows_nothing_is_called_off():
    settings = replace(QUICK, max_age_s=1.5, overlap_s=1.0)
    async with desk(settings=settings) as found:
        await found.flows(20)
        found.sim.fault(faults.RefuseSubscription(channel="aggre.deals"))
        await until(lambda: found.sim.log.counts[What.SUBSCRIPTION_REFUSED] >= 1, 6, "a refused successor")
        await found.flows(20)
        assert not found.gaps()


async def test_the_venues_cut_at_24_hours_is_got_over():
    async with desk() as found:
        await found.flows()
        found.sim.fault(faults.EndOfLife())
        await gap_and_recovery(found)
        assert found.feed.counters.reconnects_total == 1


async def test_maintenance_is_waited_out_with_growing_pauses():
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)]) as found:
        await found.flows()
        number = found.sim.fault(faults.Maintenance())
        await until(lambda: found.feed.counters.connect_failures_total >= 3, 8, "three attempts")
        assert found.feed.state(BTC) is FeedState.GAP
        assert found.feed.counters.ws_connected == 0
        found.sim.clear_faults(number)
        await gap_and_recovery(found)
        await until(lambda: book_is_right(found), 15, "a book that is the venue's again")
        assert found.feed.state(BTC) is FeedState.LIVE


# -- silence -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["aggre.deals", ""], ids=["one stream", "the whole connection"])
async def test_a_silent_stall_of_a_liquid_symbol_is_noticed_within_3_s(channel):
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)]) as found:
        await found.flows(130)
        assert not found.gaps()
        began = time.monotonic()
        number = found.sim.fault(faults.Stall(channel=channel, symbol=BTC if channel else ""))
        await until(lambda: found.gaps(BTC), 3.0, "the stall to be noticed")
        noticed_s = time.monotonic() - began
        assert noticed_s < 3.0
        assert found.feed.counters.stalls_total >= 1
        assert found.alerts("stalled")
        found.sim.clear_faults(number)
        await gap_and_recovery(found)
        await found.flows()
        if channel:
            assert not found.gaps(ETH), "one silent stream is no reason to doubt another"


async def test_a_half_open_connection_is_noticed_within_3_s_and_replaced():
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)]) as found:
        await found.flows(130)
        number = found.sim.fault(faults.HalfOpen())
        await until(lambda: found.gaps(BTC), 3.0, "the silence to be noticed")
        found.sim.clear_faults(number)
        await gap_and_recovery(found, deadline_s=12)
        await found.flows()


async def test_a_connection_that_does_not_answer_pings_is_replaced_though_its_market_is_quiet():
    quiet = SimConfig(symbols=choose(BOTH), flow=replace(LIQUID, events_per_s=0.0))
    async with desk(BOTH, config=quiet) as found:
        await until(lambda: found.feed.state(BTC) is FeedState.LIVE, 5, "a subscription")
        number = found.sim.fault(faults.HalfOpen())
        await until(lambda: found.feed.counters.pings_unanswered_total, 8, "an unanswered ping")
        found.sim.clear_faults(number)
        await until(lambda: found.feed.counters.ws_connected, 8, "a new connection")


async def test_a_quiet_market_is_not_taken_for_a_stall(monkeypatch):
    monkeypatch.setattr(watchdog, "UNHEARD_NS", 300_000_000)
    quiet = SimConfig(symbols=choose(BOTH), flow=replace(LIQUID, events_per_s=0.0))
    async with desk(BOTH, config=quiet) as found:
        await until(lambda: found.feed.state(BTC) is FeedState.LIVE, 5, "a subscription")
        asked = found.sim.log.counts[What.REQUEST]
        await until(lambda: found.sim.log.counts[What.REQUEST] >= asked + 4, 8, "somebody to look elsewhere")
        assert found.feed.counters.stalls_total == 0
        assert found.feed.counters.reconnects_total == 0


# -- subscriptions -------------------------------------------------------------------------------------------------------------


async def test_a_refused_subscription_is_told_though_its_code_is_0():
    def refuse(sim):
        sim.fault(faults.RefuseSubscription(symbol=ETH))

    async with desk(BOTH, prepare=refuse) as found:
        await until(lambda: found.trades(BTC), 5, "trades of the other symbol")
        assert found.feed.state(ETH) is FeedState.REFUSED
        assert found.feed.state(BTC) is FeedState.LIVE
        (alert,) = found.alerts("refused")
        assert alert.symbol == ETH
        assert "Blocked!" in alert.text
        assert "claire symbols" in alert.text
        await until(lambda: found.feed.counters.subscriptions_refused == 1, 2, "the count")


async def test_a_subscription_that_the_venue_forgets_is_asked_for_again():
    async with desk(BOTH) as found:
        await found.flows(130)
        found.sim.fault(faults.LoseSubscription(channel="aggre.deals", symbol=BTC, for_ms=1_000))
        await until(lambda: found.gaps(BTC), 4.0, "the lost subscription to be noticed")
        await gap_and_recovery(found, deadline_s=15)
        assert found.feed.counters.subscriptions_lost_total >= 1
        assert not found.gaps(ETH)


async def test_a_subscription_that_never_delivers_is_found_out_by_rest(monkeypatch):
    monkeypatch.setattr(watchdog, "UNHEARD_NS", 500_000_000)

    def lose(sim):
        sim.fault(faults.LoseSubscription(channel="aggre.deals", symbol=BTC, for_ms=1_500))

    async with desk(BOTH, prepare=lose) as found:
        await until(lambda: found.trades(ETH), 5, "trades of the other symbol")
        await until(lambda: found.trades(BTC), 15, "trades after the subscription was asked for again")
        assert found.feed.counters.subscriptions_lost_total >= 1


async def test_thirty_subscriptions_a_connection_and_as_many_connections_as_it_takes():
    rules = generate(65)
    config = SimConfig(symbols=rules, flow=replace(LIQUID, events_per_s=2.0))
    async with desk(rules=rules, config=config) as found:
        await until(lambda: len({trade.symbol for trade in found.trades()}) == 65, 20, "trades of 65 symbols")
        assert len(found.sim.connections) == 3
        assert found.sim.log.counts[What.SUBSCRIPTION_REFUSED] == 0


# -- frames ----------------------------------------------------------------------------------------------------------------------


async def test_repeated_late_and_reordered_trades_count_once():
    async with desk() as found:
        await found.flows()
        found.sim.fault(faults.Duplicate(channel="aggre.deals", probability=0.4))
        found.sim.fault(faults.Late(channel="aggre.deals", delay_ms=350, probability=0.2))
        found.sim.fault(faults.Reorder(channel="aggre.deals", probability=0.2))
        await until(lambda: found.feed.counters.duplicate_trades_total >= 5, 10, "repeated trades")
        await until(lambda: found.feed.counters.late_trades_total >= 3, 10, "late trades")
        found.sim.clear_faults()
        await found.flows()
        assert found.missed() == 0


async def test_a_repeated_change_of_the_book_is_ignored_and_a_reordered_one_resynchronises():
    async with desk(channels=ALL_OF_BTC) as found:
        await until(lambda: book_is_right(found), 5, "a book")
        number = found.sim.fault(faults.Duplicate(channel="aggre.depth", probability=0.5))
        await until(lambda: found.feed.counters.duplicate_pushes_total >= 3, 10, "repeated changes")
        found.sim.clear_faults(number)
        assert found.feed.counters.book_gaps_total == 0
        found.sim.fault(faults.Reorder(channel="aggre.depth", times=1))
        await until(lambda: found.feed.counters.book_gaps_total == 1, 10, "a gap")
        await until(lambda: book_is_right(found), 10, "a book that is the venue's again")


async def test_a_gap_in_the_versions_makes_the_book_invalid_until_a_snapshot():
    async with desk(channels=ALL_OF_BTC) as found:
        await until(lambda: book_is_right(found), 5, "a book")
        for count in (1, 2, 3):
            found.sim.fault(faults.DepthGap(symbol=BTC))
            await until(partial(has_book_gaps, found, count), 8, f"gap {count}")
            await until(lambda: book_is_right(found), 10, "a book that is the venue's again")
        states = [
            event.valid for event in found.events if isinstance(event, Depth) and (event.snapshot or not event.valid)
        ]
        assert states == [True, False, True, False, True, False, True]
        assert any(isinstance(event, TopOfBook) for event in found.events)
        assert not found.gaps(), "trades are none the worse for it"


@pytest.mark.parametrize("how", ["cut", "noise", "nan", "negative", "off_tick"])
async def test_a_damaged_frame_is_counted_and_opens_a_gap_where_trades_may_be_lost(how):
    async with desk(channels=ALL_OF_BTC) as found:
        await found.flows()
        found.sim.fault(faults.Corrupt(channel="aggre.deals", how=how, times=1))
        await until(lambda: found.feed.counters.decode_errors_total == 1, 8, "the damage")
        await gap_and_recovery(found)
        await found.flows()
        assert found.feed.counters.decode_errors_total == 1
        assert len(found.alerts("decode_error")) == 1


@pytest.mark.parametrize("how", ["cut", "nan", "off_tick"])
async def test_a_damaged_change_of_the_book_costs_the_book_until_it_is_whole_again(how):
    async with desk(channels=ALL_OF_BTC) as found:
        await until(lambda: book_is_right(found), 5, "a book")
        found.sim.fault(faults.Corrupt(channel="aggre.depth", how=how, times=1))
        await until(lambda: found.feed.counters.book_gaps_total >= 1, 8, "the gap")
        await until(lambda: book_is_right(found), 10, "a book that is the venue's again")


async def test_flipped_bits_never_stop_the_feed():
    async with desk(channels=ALL_OF_BTC) as found:
        await found.flows()
        number = found.sim.fault(faults.Corrupt(how="flip", probability=0.3))
        await until(lambda: found.feed.counters.decode_errors_total >= 3, 15, "some damage")
        found.sim.clear_faults(number)
        await found.flows()
        await until(lambda: book_is_right(found), 15, "a book that is the venue's again")


async def test_a_clock_that_is_off_is_told_once_and_counted():
    async with desk() as found:
        await found.flows()
        number = found.sim.fault(faults.ClockSkew(ms=3_000))
        await until(lambda: found.feed.counters.skewed_frames_total >= 5, 8, "skewed frames")
        (alert,) = found.alerts("clock_skew")
        assert "claire doctor" in alert.text
        found.sim.clear_faults(number)
        await found.flows(10)
        skewed = found.feed.counters.skewed_frames_total
        await found.flows(10)
        assert found.feed.counters.skewed_frames_total == skewed


async def test_an_unknown_field_is_told_once_and_does_no_harm():
    async with desk() as found:
        await found.flows()
        found.sim.fault(faults.UnknownField(channel="aggre.deals"))
        await found.flows()
        (alert,) = found.alerts("unknown_field")
        assert not alert.stops_entries
        assert found.feed.counters.unknown_fields_total >= 1
        assert found.feed.counters.decode_errors_total == 0


async def test_an_unknown_message_stops_entries():
    async with desk() as found:
        await found.flows()
        found.sim.fault(faults.UnknownMessage(channel="aggre.deals", times=1))
        await until(lambda: found.alerts("unknown_message"), 8, "the alert")
        assert found.alerts("unknown_message")[0].stops_entries
        await found.flows()


# -- the client itself -----------------------------------------------------------------------------------------------------------


async def test_history_comes_first_and_the_symbol_says_that_it_is_warming():
    async with desk(lookback_s=90) as found:
        seen = set()

        def live():
            seen.add(found.feed.state(BTC))
            return found.feed.state(BTC) is FeedState.LIVE

        await until(live, 8, "a live symbol")
        assert FeedState.WARMING in seen
        warm = [event for event in found.events if isinstance(event, WarmUp)]
        candles = [candle for each in warm for candle in each.candles]
        assert len(candles) > 60
        assert all(later.open_ns == earlier.close_ns for earlier, later in pairwise(candles))
        await found.flows(10)


async def test_a_past_with_more_trades_than_an_answer_holds_is_told_whole_once_and_in_order(monkeypatch):
    monkeypatch.setattr("claire.adapters.venues.mexc.lookups.TRADES_LIMIT", 9)
    monkeypatch.setattr("claire.adapters.venues.mexc.feedrest.TRADES_LIMIT", 9)
    async with desk(lookback_s=900) as found:
        await until(lambda: found.feed.state(BTC) is FeedState.LIVE, 15, "a live symbol")
        past = found.sim.venue.exchange.markets[BTC].tape.past
        answers = [item.input for item in found.items if getattr(item.input, "what", None) == "aggTrades"]
        (warm,) = [event for event in found.events if isinstance(event, WarmUp) and event.trades]
    assert len(answers) > 8
    times = [trade.ts_event_ns // 1_000_000 for trade in warm.trades]
    assert times == sorted(times)
    wanted = [trade for trade in past.trades(times[0], past.ends_ms) if trade.at_ms >= times[0]]
    assert [(trade.at_ms, trade.price, trade.lots) for trade in wanted] == [
        (at_ms, trade.price_ticks, trade.quantity_lots)
        for at_ms, trade in zip(times, warm.trades, strict=True)
        if at_ms < past.ends_ms
    ]
    assert len(wanted) >= 4 * 14


async def test_nothing_is_left_running_after_the_feed_is_closed():
    before = asyncio.all_tasks()
    async with desk(BOTH, [*ALL_OF_BTC, deals(ETH)]) as found:
        await found.flows(10)
    await asyncio.sleep(0)
    left = [task.get_name() for task in asyncio.all_tasks() - before]
    assert not [name for name in left if name.startswith("mexc")]


async def test_a_reader_that_is_behind_stops_the_connection_and_loses_nothing():
    async with desk(queue_items=2, reads_every_s=0.25) as found:
        await found.flows(60)
        assert found.feed.counters.queue_waits_total > 0
        assert not found.gaps()
        assert found.missed() == 0


async def test_every_change_of_a_connection_is_an_input_of_its_own():
    async with desk() as found:
        await found.flows(10)
        found.sim.fault(faults.Disconnect())
        await gap_and_recovery(found)
        changes = [item.input for item in found.items if isinstance(item.input, LinkChange)]
        assert [bool(change.channels) for change in changes] == [True, False, True]


async def test_a_longer_silence_than_the_watch_allows_needs_a_stream_of_its_own_rules():
    rules = StreamRules(quiet_ms=600)
    config = SimConfig(symbols=choose((BTC,)), flow=replace(LIQUID, events_per_s=0.0), stream=rules)
    async with desk(config=config) as found:
        await until(lambda: found.feed.state(BTC) is FeedState.LIVE, 5, "a subscription")
        await asyncio.sleep(1.5)  # the venue cuts what is silent for 0.6 s; pings every 0.3–0.5 s keep it alive
        assert found.feed.counters.reconnects_total == 0
