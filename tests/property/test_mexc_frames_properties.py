"""Frames that nobody thought of: any message, any order of fields, any cut, any mutation. Never a crash, never a bad number."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire import wire
from claire.adapters.venues.mexc import control
from claire.adapters.venues.mexc.channels import Kind
from claire.adapters.venues.mexc.frames import FrameDecoder, decode
from claire.adapters.venues.mexc.pushes import Decoded, DecodeError, DepthUpdate, Push
from claire.model.instrument import Instrument
from claire.model.market import Depth, MarketEvent, Side, TopOfBook, Trade
from tests.support.mexc import (
    INSTRUMENTS,
    content_of,
    corpus,
    deals_frame,
    examples,
    fields_of,
    levels,
    number_field,
    text_field,
    wrapped,
)

MS = 1_000_000
FRAMES = corpus()
KNOWN = sorted(set(examples()) - {"retired"})
LATEST_MS = (2**63 - 1) // MS

instruments = st.builds(
    lambda tick, tick_scale, lot, lot_scale: Instrument.checked(
        "BTCUSDT", Decimal(tick).scaleb(-tick_scale), Decimal(lot).scaleb(-lot_scale)
    ),
    tick=st.sampled_from([1, 2, 5, 25]),
    tick_scale=st.integers(0, 9),
    lot=st.sampled_from([1, 2, 5, 25]),
    lot_scale=st.integers(0, 9),
)
steps = st.one_of(st.integers(1, 10_000), st.integers(1, 2**63 - 1))
paddings = st.integers(0, 3)
times_ms = st.integers(1, LATEST_MS)


def padded(text: str, zeros: int) -> str:
    """The same number, with zeros at its end."""
    return text if not zeros else (text if "." in text else f"{text}.") + "0" * zeros


@st.composite
def deals_of(draw: st.DrawFn) -> tuple[Instrument, bytes, list[Trade]]:
    instrument = draw(instruments)
    sent = draw(times_ms)
    trades = draw(
        st.lists(
            st.builds(
                Trade,
                symbol=st.just("BTCUSDT"),
                ts_event_ns=times_ms.map(lambda ms: ms * MS),
                price_ticks=steps,
                quantity_lots=steps,
                side=st.sampled_from(Side),
                trade_id=st.text(max_size=50),
                ts_recv_ns=st.just(3),
            ),
            max_size=6,
        )
    )
    body = wire.PublicAggreDeals(
        deals=[
            wire.PublicAggreDeal(
                price=padded(instrument.price_text(trade.price_ticks), draw(paddings)),
                quantity=padded(instrument.quantity_text(trade.quantity_lots), draw(paddings)),
                trade_type=1 if trade.side is Side.BUY else 2,
                time=trade.ts_event_ns // MS,
                trade_id=trade.trade_id,
            )
            for trade in trades
        ]
    )
    wrapper = wrapped(f"{Kind.DEALS}@10ms@BTCUSDT", body, symbol=draw(st.sampled_from(["", "BTCUSDT"])), sent_ms=sent)
    return instrument, wrapper.SerializeToString(), trades


@given(deals_of())
def test_trades_come_back_as_they_were_written(case: tuple[Instrument, bytes, list[Trade]]):
    instrument, data, trades = case
    assert list(decode(data, {"BTCUSDT": instrument}, 3).events) == trades


@given(
    instruments,
    st.lists(st.tuples(steps, st.integers(0, 10_000)), max_size=8),
    st.lists(st.tuples(steps, st.integers(0, 10_000)), max_size=8),
    st.integers(0, 10**17),
    st.integers(0, 100),
    times_ms,
)
def test_changes_of_the_book_come_back_as_they_were_written(
    instrument: Instrument,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    first: int,
    further: int,
    sent: int,
):
    def written(side: list[tuple[int, int]]) -> list[wire.DepthLevel]:
        return levels(*((instrument.price_text(price), instrument.quantity_text(lots)) for price, lots in side))

    body = wire.PublicAggreDepths(
        bids=written(bids), asks=written(asks), from_version=str(first), to_version=str(first + further)
    )
    data = wrapped(f"{Kind.DEPTH}@10ms@BTCUSDT", body, sent_ms=sent).SerializeToString()
    assert decode(data, {"BTCUSDT": instrument}).pushes == (
        DepthUpdate("BTCUSDT", sent * MS, first, first + further, tuple(bids), tuple(asks)),
    )


@given(instruments, st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=11))
def test_a_price_is_a_whole_number_of_ticks_or_refused_never_rounded(instrument: Instrument, price: Decimal):
    data = deals_frame(
        wire.PublicAggreDeal(price=f"{price:f}", quantity=instrument.quantity_text(1), trade_type=1, time=1)
    )
    whole = price > 0 and price % instrument.tick == 0
    try:
        (event,) = decode(data, {"BTCUSDT": instrument}).events
    except DecodeError:
        assert not whole
    else:
        assert whole
        assert isinstance(event, Trade)
        assert instrument.price(event.price_ticks) == price


@given(st.sampled_from(KNOWN), st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(name: str, random: Random) -> None:
    def shuffled(data: bytes, depth: int) -> bytes:
        fields = fields_of(data)
        if depth:
            fields = [
                (number, text_field(number, shuffled(content_of(field), depth - 1)))
                if number > 300
                else (number, field)
                for number, field in fields
            ]
        numbers = [number for number, _ in fields]
        random.shuffle(numbers)
        # Fields of one number keep their order: that is the order of a list.
        waiting = {number: [field for held, field in fields if held == number] for number in numbers}
        return b"".join(waiting[number].pop(0) for number in numbers)

    assert decode(shuffled(FRAMES[name], 1), INSTRUMENTS, 1) == decode(FRAMES[name], INSTRUMENTS, 1)


@given(st.sampled_from(KNOWN), st.integers(30, 299), st.integers(0, 2**64 - 1), st.binary(max_size=20), st.booleans())
def test_fields_beyond_the_schema_change_no_event(name: str, number: int, value: int, content: bytes, inside: bool):
    extra = number_field(number, value) + text_field(number + 1, content)
    fields = fields_of(FRAMES[name])
    if inside:
        fields = [
            (held, text_field(held, content_of(field) + extra)) if held > 300 else (held, field)
            for held, field in fields
        ]
        extra = b""
    decoder = FrameDecoder(INSTRUMENTS)
    decoded = decoder.decode(b"".join(field for _, field in fields) + extra, 1)
    plain = decode(FRAMES[name], INSTRUMENTS, 1)
    assert (decoded.events, decoded.pushes, decoded.version) == (plain.events, plain.pushes, plain.version)
    assert [held for _, held in decoded.new_fields] == [number, number + 1]
    assert sum(decoder.unknown_fields.values()) == 2


@pytest.mark.parametrize("name", KNOWN)
def test_a_frame_cut_anywhere_is_refused(name: str):
    for length in range(len(FRAMES[name])):
        with pytest.raises(DecodeError):
            decode(FRAMES[name][:length], INSTRUMENTS)


# -- fuzzing --------------------------------------------------------------------------------------------------------------


def numbers_of(value: MarketEvent | Push) -> list[int | Decimal]:
    """Every number of an event, however deep."""
    found: list[int | Decimal] = []
    waiting = [getattr(value, name) for name in value.__struct_fields__]
    while waiting:
        held = waiting.pop()
        if isinstance(held, tuple):
            waiting.extend(held)
        elif isinstance(held, int | Decimal):
            found.append(held)
        else:
            assert held is None or isinstance(held, str)  # no float anywhere
    return found


def checked(data: bytes) -> None:
    """Decode, and hold what comes out to what the core may be given."""
    try:
        decoded = decode(data, INSTRUMENTS, 1)
    except DecodeError as refused:
        error = refused
    else:
        assert_sound(decoded)
        return
    assert len(str(error)) < 600


def assert_sound(decoded: Decoded) -> None:
    for push in (*decoded.events, *decoded.pushes):
        assert all(
            number.is_finite() if isinstance(number, Decimal) else -(2**63) <= number < 2**63
            for number in numbers_of(push)
        )
    for event in decoded.events:
        assert event.ts_event_ns > 0
        match event:
            case Trade():
                assert event.price_ticks > 0 < event.quantity_lots
            case TopOfBook():
                assert (event.bid_ticks > 0) is (event.bid_lots > 0)
                assert (event.ask_ticks > 0) is (event.ask_lots > 0)
            case Depth():
                assert all(price > 0 < lots for price, lots in event.bids + event.asks)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A frame of the corpus with a few bytes changed, lost, put in, or continued by another frame."""
    data = bytearray(FRAMES[draw(st.sampled_from(sorted(FRAMES)))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case 2:
                data[at:at] = draw(st.binary(max_size=8))
            case 3:
                data[at:] = FRAMES[draw(st.sampled_from(sorted(FRAMES)))][at:]
            case _:
                data[at : at + 1] = bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) if data else b""
    return bytes(data)


@settings(max_examples=10 * settings().max_examples)
@given(spoiled())
def test_a_spoiled_frame_is_decoded_or_refused(data: bytes):
    checked(data)


@settings(max_examples=5 * settings().max_examples)
@given(st.binary(max_size=400))
def test_any_bytes_are_decoded_or_refused(data: bytes):
    checked(data)


numbers = st.one_of(
    st.text(alphabet="0123456789.-+eEnNaA_ ", max_size=45),
    st.floats().map(repr),
    st.sampled_from(["", "0", "NaN", "sNaN", "Infinity", "-0", "1e-400", "١", "0" * 40]),
)


@settings(max_examples=5 * settings().max_examples)
@given(numbers, numbers, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_text_for_a_number_is_read_or_refused(price: str, quantity: str, time_ms: int, kind: int):
    deal = wire.PublicAggreDeal(price=price, quantity=quantity, trade_type=kind % 4, time=abs(time_ms) // 2)
    checked(deals_frame(deal))
    own = wire.PrivateDeals(
        price=price,
        quantity=quantity,
        fee_amount=price,
        trade_type=1,
        trade_id="1",
        order_id="1",
        fee_currency="MX",
        time=time_ms,
    )
    checked(wrapped(Kind.PRIVATE_DEALS, own, sent_ms=time_ms).SerializeToString())
    account = wire.PrivateAccount(vcoin_name="A", balance_amount=price, frozen_amount=quantity, time=time_ms)
    checked(wrapped(Kind.PRIVATE_ACCOUNT, account).SerializeToString())
    top = wire.PublicAggreBookTicker(
        bid_price=price, bid_quantity=quantity, version=price, last_order_create_time=time_ms
    )
    checked(wrapped(f"{Kind.BOOK_TICKER}@10ms@BTCUSDT", top).SerializeToString())


@given(st.lists(st.one_of(spoiled(), st.sampled_from(list(FRAMES.values()))), max_size=12))
def test_what_came_before_changes_no_event(stream: list[bytes]):
    decoder = FrameDecoder(INSTRUMENTS)
    for data in stream:
        try:
            warm: tuple[object, ...] | str = seen(decoder.decode(data, 1))
        except DecodeError as error:
            warm = str(error)
        try:
            cold: tuple[object, ...] | str = seen(decode(data, INSTRUMENTS, 1))
        except DecodeError as error:
            cold = str(error)
        assert warm == cold
    assert decoder.decoded_total + decoder.errors_total == len(stream)


def seen(decoded: Decoded) -> tuple[object, ...]:
    """All of a decoded frame but which unknown fields are new, which is news by its nature."""
    return tuple(getattr(decoded, name) for name in decoded.__struct_fields__ if name != "new_fields")


@settings(max_examples=5 * settings().max_examples)
@given(
    st.one_of(
        st.text(max_size=100),
        st.builds(
            lambda msg, code: f'{{"id":0,"code":{code},"msg":"{msg}"}}',
            st.text(alphabet="Not Subscribed successfully! [spot@a,b].  Reason：: Blocked! PONG", max_size=80),
            st.integers(0, 1),
        ),
    )
)
def test_any_control_text_is_understood_or_unknown(text: str):
    answer = control.parse(text)
    assert isinstance(answer, control.Control)
    if isinstance(answer, control.Answer):
        assert not {*answer.accepted} & {*answer.refused}
        assert all(name in text for name in answer.accepted)
