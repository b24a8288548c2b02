"""The gate: nothing passes that was not approved, nothing twice, nothing late, and no sale of what was not bought."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.gateway.gate import (
    CODES,
    GATE_EPOCH,
    GATE_EXPIRED,
    GATE_LATCH,
    GATE_POSITION,
    GATE_REPEATED,
    GATE_UNAPPROVED,
    Approval,
    Gate,
    Known,
    Verdict,
)
from claire.model.market import Side

NOW_NS = 1_795_000_000_000_000_000
MS = 1_000_000
ORDER, BATCH = "/api/v3/order", "/api/v3/batchOrders"


def approval(number: int = 1, **changes: Any) -> Approval:
    fields: dict[str, Any] = {
        "order_no": number,
        "client_order_id": f"C1-{number}",
        "symbol": "ABCUSDT",
        "side": Side.BUY,
        "quantity": Decimal("1.50"),
        "type": "LIMIT",
        "price": Decimal("99.5"),
        "reduce_only": False,
        "epoch": 7,
        "approved_ns": NOW_NS,
    }
    return Approval(**fields | changes)


def params(of: Approval, **changes: str) -> tuple[tuple[str, str], ...]:
    named = {"symbol": of.symbol, "side": of.side.value, "type": of.type, "quantity": str(of.quantity)}
    named |= {} if of.price is None else {"price": str(of.price)}
    return tuple((named | {"newClientOrderId": of.client_order_id} | changes).items())


class Closed:
    def __init__(self, why: str = "", *, is_current: bool = True) -> None:
        self.why = why
        self.current = is_current

    def why_closed(self) -> str:
        return self.why

    def is_current(self) -> bool:
        return self.current


def gate(**changes: Any) -> Gate:
    fields: dict[str, Any] = {"epoch": 7, "now_ns": lambda: NOW_NS}
    return Gate(**fields | changes)


def said(of: Gate, *approvals: Approval, signed: tuple[tuple[str, str], ...] | None = None) -> str:
    """The code that a request for these approvals gets."""
    if len(approvals) == 1:
        return of.check(ORDER, signed or params(approvals[0]), approvals, ts_ms=1, fence_ms=3_001)[0]
    listed = msgspec.json.encode([dict(params(each)) for each in approvals]).decode()
    return of.check(BATCH, signed or (("batchOrders", listed),), approvals, ts_ms=1, fence_ms=3_001)[0]


def test_an_approved_order_passes_once() -> None:
    at = gate()
    assert said(at, approval()) == ""
    assert said(at, approval()) == GATE_REPEATED
    assert said(at, approval(2), approval(3)) == ""
    assert said(at, approval(4), approval(3)) == GATE_REPEATED
    assert said(at, approval(4)) == "", "of a batch that was refused nothing counts as sent"
    assert said(at, approval(5), approval(5)) == GATE_REPEATED


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "ABDUSDT"},
        {"side": "SELL"},
        {"type": "MARKET"},
        {"quantity": "1.51"},
        {"quantity": "NaN"},
        {"quantity": "x"},
        {"price": "99.6"},
        {"newClientOrderId": "C1-2"},
        {"quoteOrderQty": "1000"},
        {"stpMode": "cancel_maker"},
    ],
    ids=lambda changes: "=".join(*changes.items()),
)
def test_whatever_is_changed_after_the_approval_is_refused(changes: dict[str, str]) -> None:
    assert said(gate(), approval(), signed=params(approval(), **changes)) == GATE_UNAPPROVED


def test_what_is_left_out_or_given_twice_is_refused() -> None:
    whole = params(approval())
    for number in range(len(whole)):
        assert said(gate(), approval(), signed=whole[:number] + whole[number + 1 :]) == GATE_UNAPPROVED
        assert said(gate(), approval(), signed=(*whole, whole[number])) == GATE_UNAPPROVED
    assert said(gate(), approval(client_order_id="")) == GATE_UNAPPROVED


def test_a_batch_is_approved_order_by_order() -> None:
    one, two = approval(1), approval(2)
    listed = [dict(params(one)), dict(params(two))]

    def signed(orders: object) -> tuple[tuple[str, str], ...]:
        return (("batchOrders", msgspec.json.encode(orders).decode()),)

    for other in (listed[:1], [*listed, listed[0]], listed[::-1], {"a": "b"}, []):
        assert said(gate(), one, two, signed=signed(other)) == GATE_UNAPPROVED
    assert said(gate(), one, two, signed=(*signed(listed), ("symbol", "ABCUSDT"))) == GATE_UNAPPROVED
    assert said(gate(), one, two, signed=(("batchOrders", "{"),)) == GATE_UNAPPROVED
    assert gate().check(BATCH, signed(listed), (), ts_ms=1, fence_ms=1)[0] == GATE_UNAPPROVED
    assert said(gate(), one, two, signed=signed(listed)) == ""


def test_a_test_order_needs_no_approval() -> None:
    assert gate().check("/api/v3/order/test", (), (), ts_ms=1, fence_ms=1) == ("", "")


def test_latch_and_epoch_are_read_anew_each_time() -> None:
    latch = Closed()
    at = gate(latch=latch, account=latch)
    assert said(at, approval(1)) == ""
    latch.why = "killed by hand"
    assert said(at, approval(2)) == GATE_LATCH
    latch.why, latch.current = "", False
    assert said(at, approval(2)) == GATE_EPOCH
    latch.current = True
    assert said(at, approval(2)) == ""
    assert said(at, approval(3, epoch=6)) == GATE_EPOCH


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"approved_ns": NOW_NS - 1_000 * MS}, ""),
        ({"approved_ns": NOW_NS - 1_001 * MS}, GATE_EXPIRED),
        ({"approved_ns": NOW_NS + 1_001 * MS}, GATE_EXPIRED),
        ({"expires_ns": NOW_NS}, ""),
        ({"expires_ns": NOW_NS - 1}, GATE_EXPIRED),
    ],
)
def test_an_approval_has_its_time(changes: dict[str, int], code: str) -> None:
    assert said(gate(), approval(**changes)) == code


def test_an_order_that_reduces_may_wait_longer() -> None:
    sale = {"side": Side.SELL, "reduce_only": True, "approved_ns": NOW_NS - 3_000 * MS}
    at = gate()
    at.seed({"ABCUSDT": Decimal(10)})
    assert said(at, approval(1, **sale)) == ""
    assert said(at, approval(2, **sale | {"approved_ns": NOW_NS - 3_001 * MS})) == GATE_EXPIRED


def test_a_purchase_that_claims_to_reduce_is_refused() -> None:
    assert said(gate(), approval(reduce_only=True)) == GATE_POSITION


def test_every_verdict_is_told_before_anything_can_be_written() -> None:
    told: list[Verdict] = []
    at = gate(on_verdict=told.append)
    said(at, approval(1))
    said(at, approval(1))
    assert [(each.order_no, each.code, each.ts_ms, each.fence_ms) for each in told] == [
        (1, "", 1, 3_001),
        (1, GATE_REPEATED, 1, 3_001),
    ]
    assert all(each.code in ("", *CODES) for each in told)


def test_what_cannot_be_told_stops_the_order() -> None:
    def full(_: Verdict) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        said(gate(on_verdict=full), approval())


class Books:
    """What is really held and on sale, beside a gate."""

    def __init__(self) -> None:
        self.gate = gate()
        self.held = Decimal(0)
        self.live: dict[str, tuple[Approval, Decimal]] = {}
        self.number = 0

    def send(self, side: Side, lots: int, *, reduces: bool) -> None:
        self.number += 1
        made = approval(self.number, side=side, quantity=Decimal(lots), reduce_only=reduces, type="MARKET", price=None)
        selling = sum((left for order, left in self.live.values() if order.reduce_only), Decimal(0))
        fits = not reduces or (side is Side.SELL and lots <= self.held - selling)
        assert (said(self.gate, made) == "") is fits
        if fits:
            self.live[made.client_order_id] = made, Decimal(lots)

    def fill(self, number: int, lots: int) -> None:
        name = f"C1-{number}"
        if name in self.live:
            order, left = self.live[name]
            lots = min(lots, int(left))
            if lots:
                self.gate.filled(name, Decimal(lots))
                self.live[name] = order, left - lots
                self.held += lots if order.side is Side.BUY else -lots

    def end(self, number: int, _: int = 0) -> None:
        self.live.pop(f"C1-{number}", None)
        self.gate.ended(f"C1-{number}")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 8), st.integers(1, 5)), max_size=60))
def test_orders_that_reduce_never_sell_more_than_was_bought(deeds: list[tuple[int, int, int]]) -> None:
    books = Books()
    acts: list[Callable[[int, int], None]] = [
        lambda _, lots: books.send(Side.BUY, lots, reduces=False),
        lambda _, lots: books.send(Side.SELL, lots, reduces=True),
        lambda _, lots: books.send(Side.BUY, lots, reduces=True),
        books.fill,
        books.end,
    ]
    for act, number, lots in deeds:
        acts[act](number, lots)
        assert books.gate.held("ABCUSDT") == books.held
        assert books.held >= 0


def test_a_restart_seeds_what_is_held_and_what_is_being_sold() -> None:
    at = gate()
    selling = Known("C1-1", "ABCUSDT", Side.SELL, Decimal(5), Decimal(2), reduce_only=True, is_live=True)
    done = Known("C1-2", "ABCUSDT", Side.BUY, Decimal(5), Decimal(5), reduce_only=False, is_live=False)
    at.seed({"ABCUSDT": Decimal(10)}, (selling, done))
    assert at.held("ABCUSDT") == 10
    assert at.reducing("ABCUSDT") == 3
    assert said(at, approval(1)) == said(at, approval(2)) == GATE_REPEATED
    sale = {"side": Side.SELL, "reduce_only": True}
    assert said(at, approval(3, **sale, quantity=Decimal("7.01"))) == GATE_POSITION
    assert said(at, approval(4, **sale, quantity=Decimal(7))) == ""
    at.filled("C1-1", Decimal(3))
    assert at.held("ABCUSDT") == 7
    assert at.reducing("ABCUSDT") == 7


def test_a_fee_in_base_is_not_there_to_be_sold() -> None:
    at = gate()
    assert said(at, approval(1)) == ""
    at.filled("C1-1", Decimal("1.5"), Decimal("0.0015"))
    sale = {"side": Side.SELL, "reduce_only": True}
    assert said(at, approval(2, **sale, quantity=Decimal("1.5"))) == GATE_POSITION
    assert said(at, approval(3, **sale, quantity=Decimal("1.49"))) == ""
