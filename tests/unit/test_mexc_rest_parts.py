"""The parts of MEXC's REST that need no server: secrets, clock, budget, tickets, fills."""

import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.adapters.venues.mexc import requests
from claire.adapters.venues.mexc.budget import (
    KEPT_BACK,
    LIMITS,
    NS_PER_S,
    Bucket,
    Budget,
    Cost,
    Gate,
    Urgency,
    cost,
)
from claire.adapters.venues.mexc.clock import ClockLimits, ClockState, Sample, VenueClock
from claire.adapters.venues.mexc.fees import FeePrices
from claire.adapters.venues.mexc.fills import FillBook, Way
from claire.adapters.venues.mexc.requests import OrderTicket
from claire.adapters.venues.mexc.secrets import read_keys, read_secret
from claire.adapters.venues.mexc.trading import collared
from claire.gateway.signer import QuerySigner, signature
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.orders import OrderType

MS = 1_000_000

# -- secrets ----------------------------------------------------------------------------------------------------------


def secret(folder: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def test_keys_are_read_one_file_each_without_the_line_end(tmp_path: Path) -> None:
    secret(tmp_path, "mexc_access_key", "mx0vgl123\n")
    secret(tmp_path, "mexc_secret_key", " abc \r\n")
    signer = QuerySigner(read_keys(tmp_path))
    assert signer.headers["X-MEXC-APIKEY"] == "mx0vgl123"  # pragma: allowlist secret
    query = signer.sign("GET", "/api/v3/account", (), timestamp_ms=1, recv_window_ms=2)
    assert query == f"timestamp=1&recvWindow=2&signature={signature('abc', 'timestamp=1&recvWindow=2')}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644, 0o777])
def test_a_secret_that_others_may_use_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    file = secret(tmp_path, "mexc_secret_key", "planted", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600 {file}") as caught:
        read_secret(file)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("two words", "more than one word"),
        (b"\xff\xfe", "more than one word"),
        ("x" * 2000, "more than one word"),
        ("a\nb", "more than one word"),
        ("a\0b", "more than one word"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(tmp_path: Path, content: str, says: str) -> None:
    file = secret(tmp_path, "mexc_secret_key", content)
    with pytest.raises(ConfigError, match=says) as caught:
        read_secret(file)
    assert "two words" not in str(caught.value)


def test_a_secret_that_is_missing_or_no_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*chmod 600"):
        read_keys(tmp_path)
    (tmp_path / "mexc_access_key").mkdir()
    with pytest.raises(ConfigError, match=r"chmod 600|is not a file"):
        read_keys(tmp_path)
    with pytest.raises(ConfigError, match="SECRETS_PATH"):
        read_keys("")


def test_a_fifo_is_not_a_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    end = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(ConfigError, match="is not a file"):
        read_secret(tmp_path / "pipe")
    os.close(end)


# -- clock ------------------------------------------------------------------------------------------------------------


def sample(sent_ms: float, back_ms: float, server_ms: int, wall_ms: float) -> Sample:
    return Sample(round(sent_ms * MS), round(back_ms * MS), server_ms, round(wall_ms * MS))


def test_venue_time_is_what_the_venue_said_plus_half_the_way() -> None:
    clock = VenueClock()
    clock.take([sample(1000, 1100, 50_000, 50_050)])
    assert clock.now_ms(1100 * MS) == 50_050
    assert clock.now_ms(2100 * MS) == 51_050


def test_the_quickest_answer_counts() -> None:
    clock = VenueClock()
    clock.take([sample(0, 400, 9_000, 0), sample(1000, 1010, 50_000, 50_005), sample(2000, 2900, 1, 0)])
    assert clock.now_ms(1010 * MS) == 50_005


def test_setting_the_machines_clock_does_not_move_venue_time() -> None:
    clock = VenueClock()
    clock.take([sample(1000, 1010, 50_000, 50_005)])
    before = clock.now_ms(5000 * MS)
    clock.take([sample(1000, 1010, 50_000, 99_999)])
    assert clock.now_ms(5000 * MS) == before


@pytest.mark.parametrize(
    ("off_ms", "state"),
    [
        (0, "ok"),
        (90, "ok"),
        (-90, "ok"),
        (120, "warn"),
        (-120, "warn"),
        (480, "warn"),
        (520, "block"),
        (-2000, "block"),
    ],
)
def test_a_clock_that_is_off_warns_and_then_stops_new_orders(off_ms: int, state: str) -> None:
    clock = VenueClock()
    clock.take([sample(1000, 1001, 50_000, 50_000 - off_ms)])
    reading = clock.reading(1001 * MS)
    assert reading.state is ClockState(state)
    assert f"{'ahead of' if off_ms < 0 else 'behind'} the venue's" in reading.because
    if state == "block":
        assert "timedatectl set-ntp true" in reading.because


def test_an_offset_within_the_uncertainty_of_a_slow_answer_proves_nothing() -> None:
    clock = VenueClock()
    clock.take([sample(1000, 2400, 50_000, 50_100)])
    assert clock.reading(2400 * MS).state is ClockState.OK


def test_a_clock_never_read_or_read_long_ago_stops_new_orders() -> None:
    clock = VenueClock()
    assert clock.reading(0).state is ClockState.BLOCK
    with pytest.raises(RuntimeError, match="sync first"):
        clock.now_ms(0)
    clock.take([sample(0, 0, 50_000, 50_000)])
    assert clock.reading(299 * NS_PER_S).state is ClockState.OK
    assert clock.reading(301 * NS_PER_S).state is ClockState.BLOCK


def test_a_venue_with_a_time_of_its_own_does_not_stop_orders() -> None:
    clock = VenueClock(ClockLimits(block_ms=None))
    clock.take([sample(0, 1, 1_000, 50_000)])
    assert clock.reading(MS).state is ClockState.OK


# -- budget -----------------------------------------------------------------------------------------------------------

ORDER = cost(1, signed=True, urgency=Urgency.ORDINARY, also=(Bucket.ORDERS,))
CANCEL = cost(1, signed=True, urgency=Urgency.URGENT, also=(Bucket.ORDERS,))
VENUE = {
    (Bucket.REQUESTS, 1.0): 20, (Bucket.IP, 10.0): 300, (Bucket.UID, 10.0): 500, (Bucket.ORDERS, 1.0): 12,
    (Bucket.BATCH, 1.0): 2, (Bucket.ACCOUNT, 1.0): 2,
}  # fmt: skip
"""What the venue allows in a window of so many seconds, by the lowest number found."""


def test_no_window_of_time_can_hold_more_than_the_venue_allows() -> None:
    for (bucket, seconds), allowed in VENUE.items():
        assert LIMITS[bucket].most_in(seconds) <= allowed
    assert {bucket for bucket, _ in VENUE} == set(LIMITS)


COSTS = st.builds(
    lambda weight, signed, urgency, also: cost(weight, signed=signed, urgency=urgency, also=also),
    st.sampled_from([1, 2, 3, 5, 10, 20, 25]),
    st.booleans(),
    st.sampled_from(Urgency),
    st.sampled_from([(), (Bucket.ORDERS,), (Bucket.ACCOUNT,), (Bucket.ORDERS, Bucket.BATCH)]),
)


@given(asked=st.lists(st.tuples(COSTS, st.integers(0, 400)), max_size=120))
def test_whatever_is_asked_for_the_venues_limits_hold_in_every_window(asked: list[tuple[Cost, int]]) -> None:
    budget, now_ns = Budget(), 0
    taken: list[tuple[int, Bucket, float]] = []
    for wanted, pause_ms in asked:
        now_ns += pause_ms * MS
        wait_ns = budget.wait_ns(wanted, now_ns)
        if not budget.take(wanted, now_ns):
            assert wait_ns > 0
            assert budget.take(wanted, now_ns + wait_ns) or wait_ns > 3 * NS_PER_S
            now_ns += wait_ns
        taken += [(now_ns, bucket, amount) for bucket, amount in wanted.takes]
    for (bucket, seconds), allowed in VENUE.items():
        times = [(at, amount) for at, which, amount in taken if which is bucket]
        for first, _ in times:
            assert sum(a for at, a in times if first <= at < first + seconds * NS_PER_S) <= allowed


def test_a_download_leaves_room_for_orders_and_orders_for_cancels() -> None:
    budget = Budget()
    idle = cost(1, signed=False, urgency=Urgency.IDLE)
    while budget.take(idle, 0):
        pass
    assert budget.take(ORDER, 0)
    while budget.take(ORDER, 0):
        pass
    assert not budget.take(ORDER, 0)
    assert budget.take(CANCEL, 0)
    assert KEPT_BACK[Urgency.URGENT] == 0


def test_orders_used_up_leave_a_cancel_and_a_query() -> None:
    budget, sent = Budget(), 0
    while budget.take(ORDER, 0):
        sent += 1
    assert sent == 3
    assert budget.take(CANCEL, 0)
    assert budget.take(requests.query_order("BTCUSDT", order_id="1").cost, 0)


@pytest.mark.parametrize(
    ("status", "retry_after_s", "is_json", "pause_s"),
    [
        (429, 7.0, True, 7),
        (429, None, True, 10),
        (418, 120.0, True, 120),
        (418, None, True, 120),
        (403, None, False, 90),
        (403, 5.0, False, 90),
        (429, None, False, 90),
        (510, None, True, 10),
        (429, 10.0**8, True, 3 * 86_400),
        (429, 0.0, True, 1),
    ],
)
def test_a_complaint_stops_every_call_for_as_long_as_it_says(
    status: int, retry_after_s: float | None, is_json: bool, pause_s: float
) -> None:
    budget = Budget()
    assert budget.complained(status, retry_after_s, 0, is_json=is_json) == pause_s
    assert not budget.take(CANCEL, round(pause_s * NS_PER_S) - 1)
    assert budget.take(CANCEL, round(pause_s * NS_PER_S))


def test_a_shorter_complaint_does_not_end_a_longer_one_and_bans_grow() -> None:
    budget = Budget()
    assert budget.complained(418, None, 0) == 120
    budget.complained(429, 1.0, 0)
    assert budget.paused_until_ns == 120 * NS_PER_S
    assert [budget.complained(418, None, 0) for _ in range(3)] == [240, 480, 960]


@pytest.mark.asyncio
async def test_the_gate_waits_as_long_as_patience_goes_and_takes_nothing_after() -> None:
    now = [0]
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += round(seconds * NS_PER_S)

    budget = Budget()
    gate = Gate(budget, lambda: now[0], sleep)
    for _ in range(4):
        assert await gate.enter(CANCEL, 1.0) == 0
    assert await gate.enter(CANCEL, 0.05) > 0.05
    assert not waited
    assert await gate.enter(CANCEL, 1.0) == 0
    assert waited[0] == pytest.approx(0.125, abs=1e-6)


# -- tickets ----------------------------------------------------------------------------------------------------------


def test_amounts_are_written_without_exponent_and_trailing_zeros() -> None:
    ticket = OrderTicket("PEPEUSDT", Side.BUY, OrderType.LIMIT, "a-1", Decimal("1E+7"), price=Decimal("0.00000100"))
    assert requests.new_order(ticket).query == (
        "symbol=PEPEUSDT&side=BUY&type=LIMIT&quantity=10000000&price=0.000001&newClientOrderId=a-1"
    )


@pytest.mark.parametrize("client_id", ["x" * 33, "a b", "a/b", "ä", "a\n"])
def test_a_client_order_id_outside_the_safe_set_is_never_sent(client_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        _ = OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, client_id, Decimal(1)).params


@pytest.mark.parametrize(
    "ticket",
    [
        OrderTicket("BTCUSDT", Side.BUY, OrderType.LIMIT, "a", Decimal(1)),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a", Decimal(1), price=Decimal(1)),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a"),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a", Decimal(1), Decimal(1)),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.IOC, "a", None, Decimal(1), Decimal(1)),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a", Decimal(0)),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a", Decimal("NaN")),
        OrderTicket("BTCUSDT", Side.BUY, OrderType.LIMIT, "a", Decimal(1), price=Decimal(-1)),
    ],
)
def test_a_ticket_that_contradicts_itself_is_never_sent(ticket: OrderTicket) -> None:
    with pytest.raises(ValueError, match="BTCUSDT"):
        requests.new_order(ticket)


def test_a_batch_is_of_one_symbol_and_at_most_twenty() -> None:
    one = OrderTicket("BTCUSDT", Side.BUY, OrderType.MARKET, "a", Decimal(1))
    for tickets in ([], [one] * 21, [one, OrderTicket("ETHUSDT", Side.BUY, OrderType.MARKET, "b", Decimal(1))]):
        with pytest.raises(ValueError, match="batch"):
            requests.batch(tickets)


@given(price_ticks=st.integers(1, 10**12))
def test_what_stands_in_for_a_market_order_stays_within_its_collar(price_ticks: int) -> None:
    high, low = collared(Side.BUY, price_ticks), collared(Side.SELL, price_ticks)
    assert price_ticks * 100 <= high * 100 <= price_ticks * 101
    assert low >= 1
    assert low * 100 >= price_ticks * 99


# -- fills ------------------------------------------------------------------------------------------------------------

PRICE, LOTS = Decimal("1.50"), Decimal(2)


def heard(book: FillBook, *told: tuple[Way, str]) -> int:
    return sum(bool(book.count(way, "order", trade_id, PRICE, LOTS)) for way, trade_id in told)


def test_an_execution_heard_twice_by_one_way_counts_once() -> None:
    assert heard(FillBook(), (Way.STREAM, "a"), (Way.STREAM, "a"), (Way.STREAM, "b")) == 2


def test_an_execution_heard_by_both_ways_counts_once_whatever_they_call_it() -> None:
    assert heard(FillBook(), (Way.STREAM, "a"), (Way.REST, "a")) == 1
    assert heard(FillBook(), (Way.STREAM, "a"), (Way.REST, "x"), (Way.STREAM, "b"), (Way.REST, "y")) == 2
    assert heard(FillBook(), (Way.REST, "x"), (Way.REST, "y"), (Way.STREAM, "a"), (Way.STREAM, "b")) == 2


def test_equal_prices_are_equal_however_they_are_written_and_other_orders_are_others() -> None:
    book = FillBook()
    assert book.count(Way.STREAM, "order", "a", Decimal("1.50"), Decimal("2.0"))
    assert not book.count(Way.REST, "order", "x", Decimal("1.5"), Decimal(2))
    assert book.count(Way.REST, "other", "x", Decimal("1.5"), Decimal(2))
    assert book.count(Way.REST, "order", "z", Decimal("1.6"), Decimal(2))
    book.forget("order")
    assert book.count(Way.STREAM, "order", "a", Decimal("1.50"), Decimal(2))


@given(
    executions=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2)), max_size=6),
    data=st.data(),
    same_ids=st.booleans(),
)
def test_once_rest_is_complete_every_execution_counts_exactly_once(
    executions: list[tuple[int, int]], data: st.DataObject, same_ids: bool
) -> None:
    stream = [(Way.STREAM, f"s{n}", *e) for n, e in enumerate(executions)]
    heard_by_stream = data.draw(st.lists(st.sampled_from(stream), max_size=10)) if stream else []
    rest = [(Way.REST, f"s{n}" if same_ids else f"r{n}", *e) for n, e in enumerate(executions)]
    told = data.draw(st.permutations([*heard_by_stream, *rest]))
    book = FillBook()
    reported = [(book.count(way, "o", name, Decimal(p), Decimal(q)), p, q) for way, name, p, q in told]
    counted = [(name, p, q) for name, p, q in reported if name]
    assert sorted((p, q) for _, p, q in counted) == sorted(executions)
    assert len({name: True for name, _, _ in counted}) == len(counted), "an id reported twice would be passed over"


@given(
    executions=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), st.booleans()), max_size=7),
    data=st.data(),
    same_ids=st.booleans(),
)
def test_after_a_restart_every_execution_counts_once_whichever_way_the_booked_ones_were_named(
    executions: list[tuple[int, int, bool]], data: st.DataObject, same_ids: bool
) -> None:
    """Some are booked already, under the id of either way; the stream tells any of them, again or anew, and REST tells all."""
    book = FillBook()
    names = {n: (f"s{n}", f"s{n}" if same_ids else f"r{n}") for n in range(len(executions))}
    booked = [n for n, (_, _, is_booked) in enumerate(executions) if is_booked]
    for n in booked:
        price, quantity, _ = executions[n]
        book.restore("o", data.draw(st.sampled_from(names[n])), Decimal(price), Decimal(quantity))
    stream = [(Way.STREAM, n) for n in range(len(executions))]
    told = data.draw(st.lists(st.sampled_from(stream), max_size=12)) if stream else []
    whole = data.draw(st.permutations([*told, *((Way.REST, n) for n in range(len(executions)))]))
    counted: list[tuple[int, int]] = []
    for way, n in whole:
        price, quantity, _ = executions[n]
        if book.count(way, "o", names[n][way is Way.REST], Decimal(price), Decimal(quantity)):
            counted.append((price, quantity))
    before = [executions[n][:2] for n in booked]
    assert sorted(before + counted) == sorted((price, quantity) for price, quantity, _ in executions)
    assert book.counted("o") == sum(quantity for _, quantity, _ in executions)


# -- fees -------------------------------------------------------------------------------------------------------------


def test_a_fee_is_valued_at_once_at_a_price_that_is_not_too_old_and_else_counts_as_unvalued() -> None:
    now_ns = 0
    prices = FeePrices(lambda: now_ns, oldest_s=600)
    rules = Instrument.checked("ABCUSDT", Decimal("0.01"), Decimal("0.01"), base="ABC", quote="USDT")
    assert prices.value(Decimal("0.5"), "USDT", rules, PRICE) == Decimal("0.5")
    assert prices.value(Decimal("0.5"), "ABC", rules, PRICE) == Decimal("0.75")
    assert prices.value(Decimal("0.5"), "MX", rules, PRICE) is None
    assert (prices.unvalued_total, list(prices.wanted)) == (1, ["MXUSDT"])
    prices.put("MXUSDT", Decimal(2))
    now_ns = 600 * 10**9
    assert prices.value(Decimal("0.5"), "MX", rules, PRICE) == 1
    now_ns += 1
    assert prices.value(Decimal("0.5"), "MX", rules, PRICE) is None
    assert prices.value(Decimal(0), "MX", rules, PRICE) == 0
    assert prices.unvalued_total == 2
