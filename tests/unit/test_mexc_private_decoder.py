"""Reports on our orders from private frames: once each, and an order's end after its executions, in whatever order they come."""

from decimal import Decimal
from itertools import permutations

import pytest

from claire.adapters.venues.mexc.channels import Kind
from claire.adapters.venues.mexc.fees import FeePrices
from claire.adapters.venues.mexc.fills import FillBook, Way
from claire.adapters.venues.mexc.items import FeedAlert
from claire.adapters.venues.mexc.privatedecoder import Foreign, PrivateDecoder, PrivateEvent, Reconcile
from claire.model.decisions import VenueReport
from claire.model.orders import Evidence
from claire.wire import PushDataV3ApiWrapper
from tests.support.mexc_feed import START_MS, SYMBOL, instrument

RECV = 1_790_000_000_000_000_000
SECOND = 1_000_000_000


def decoder(prices: dict[str, Decimal] | None = None) -> PrivateDecoder:
    ours = {"c1": 1, "c2": 2}
    known = FeePrices(lambda: 0)
    for symbol, price in (prices or {}).items():
        known.put(symbol, price)
    return PrivateDecoder({SYMBOL: instrument()}, lambda client, _: ours.get(client), FillBook(), known)


def deal(
    trade_id: str,
    quantity: str = "0.5",
    client: str = "c1",
    fee: str = "0.1",
    asset: str = "USDT",
    price: str = "100.00",
) -> bytes:
    wrapper = PushDataV3ApiWrapper(channel=Kind.PRIVATE_DEALS, symbol=SYMBOL, send_time=START_MS)
    body = wrapper.private_deals
    body.price, body.quantity, body.amount, body.trade_type = price, quantity, "50", 1
    body.trade_id, body.client_order_id, body.order_id = trade_id, client, "C02__1"
    body.fee_amount, body.fee_currency, body.time = fee, asset, START_MS
    return wrapper.SerializeToString()


def order(status: int, filled: str = "0", client: str = "c1") -> bytes:
    wrapper = PushDataV3ApiWrapper(channel=Kind.PRIVATE_ORDERS, symbol=SYMBOL, send_time=START_MS)
    body = wrapper.private_orders
    body.id, body.client_id, body.price, body.quantity, body.order_type, body.trade_type = (
        "C02__1",
        client,
        "100.00",
        "2",
        1,
        1,
    )
    body.cumulative_quantity, body.cumulative_amount, body.status, body.create_time = filled, "0", status, START_MS
    return wrapper.SerializeToString()


def take(core: PrivateDecoder, *frames: bytes) -> list[PrivateEvent]:
    return [event for frame in frames for event in core.feed(frame, RECV)]


def reports(events: list[PrivateEvent]) -> list[VenueReport]:
    return [event for event in events if isinstance(event, VenueReport)]


def test_an_execution_is_reported_with_its_fee_and_what_that_is_worth():
    (report,) = reports(take(decoder(), deal("T1")))
    assert (report.order_no, report.price_ticks, report.quantity_lots) == (1, 10_000, 500_000)
    assert (report.fee, report.fee_asset, report.fee_value) == (Decimal("0.1"), "USDT", Decimal("0.1"))
    assert report.ts_event_ns == RECV


@pytest.mark.parametrize(
    ("asset", "worth"),
    [("BTC", Decimal(10)), ("MX", Decimal("0.2")), ("USDT", Decimal("0.1"))],
    ids=["base", "third", "quote"],
)
def test_a_fee_in_any_asset_is_valued_in_the_quote(asset, worth):
    core = decoder({"MXUSDT": Decimal(2)})
    (report,) = reports(take(core, deal("T1", asset=asset)))
    assert report.fee_value == worth


def test_a_fee_without_a_price_is_told():
    events = take(decoder(), deal("T1", asset="MX"))
    assert [type(event) for event in events] == [FeedAlert, VenueReport]


def test_a_fee_with_more_decimals_than_the_books_hold_is_rounded():
    (report,) = reports(take(decoder(), deal("T1", fee="0.0003998377369698171234567")))
    assert report.fee == Decimal("0.000399837736969817")


def test_an_order_ends_after_its_executions_in_whatever_order_they_are_told():
    frames = [order(1), deal("T1"), deal("T2"), order(5, "1.0")]
    for told in permutations(frames):
        found = reports(take(decoder(), *told, *told))
        assert sorted(report.trade_id for report in found if report.trade_id) == ["T1", "T2"]
        evidence = [report.evidence for report in found if report.evidence]
        assert sorted(evidence) == [Evidence.ACKNOWLEDGED, Evidence.CANCELED]
        canceled = next(place for place, report in enumerate(found) if report.evidence is Evidence.CANCELED)
        assert all(not report.trade_id for report in found[canceled:]), "nothing is executed after the end"


def test_executions_that_are_missing_at_the_end_are_asked_for_once():
    core = decoder()
    take(core, deal("T1"), order(5, "1.0"))
    assert core.overdue(RECV + SECOND) == ()
    assert core.overdue(RECV + 3 * SECOND) == (1,)
    assert core.overdue(RECV + 4 * SECOND) == ()


def test_a_filled_order_needs_no_end():
    found = reports(take(decoder(), order(1), deal("T1", "2"), order(2, "2")))
    assert [report.evidence for report in found] == [Evidence.ACKNOWLEDGED, None]


def test_orders_of_others_and_states_of_nobody_are_told_apart():
    (foreign,) = take(decoder(), order(1, client="somebody"))
    assert isinstance(foreign, Foreign)
    alert, look = take(decoder(), order(77))
    assert isinstance(alert, FeedAlert)
    assert alert.stops_entries
    assert isinstance(look, Reconcile)
    assert look.order_nos == (1,)


def test_what_cannot_be_read_or_does_not_fit_the_rules_is_looked_up():
    for frame, named in ((b"\xff\xff", ()), (deal("T1", price="100.001"), (1,))):
        alert, look = take(decoder(), frame)
        assert isinstance(alert, FeedAlert)
        assert alert.stops_entries
        assert isinstance(look, Reconcile)
        assert look.order_nos == named


def test_an_execution_of_a_resting_order_that_is_missing_is_asked_for_too():
    core = decoder()
    take(core, order(1), deal("T1"), order(3, "0.5"))
    assert core.overdue(RECV + 9 * SECOND) == ()
    take(core, order(3, "1.0"))
    assert core.overdue(RECV + SECOND) == ()
    assert core.overdue(RECV + 3 * SECOND) == (1,)
    assert core.overdue(RECV + 4 * SECOND) == ()
    take(core, order(3, "1.5"))
    assert core.overdue(RECV + 3 * SECOND) == (1,)


def test_an_end_waits_for_no_execution_that_rest_has_told():
    core = decoder()
    book = FillBook()
    core.share(book, FeePrices(lambda: 0))
    book.count(Way.REST, "C02__1", "77", Decimal("100.00"), Decimal("0.5"))
    assert [report.evidence for report in reports(take(core, order(5, "0.5"), deal("T1")))] == [
        Evidence.ACKNOWLEDGED,
        Evidence.CANCELED,
    ]


def test_an_amount_that_is_not_price_times_quantity_is_told_with_both_numbers():
    (alert, _) = take(decoder(), deal("T1", quantity="0.6"))
    assert isinstance(alert, FeedAlert)
    assert "makes 60.000" in alert.text
    assert "moved 50" in alert.text
