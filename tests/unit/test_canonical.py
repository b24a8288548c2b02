"""The decision digest: equal for equal decisions, whatever carried them; different for any that differs."""

from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256

import msgspec
import pytest

from claire.model.canonical import DecisionDigest, canonical_bytes
from claire.model.decisions import Code, Decision, Denial, Fill, OrderEvent, Signal
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.orders import OrderState, OrderType
from tests.contract.venue_desk import ABC, SYMBOL, intent

RULES = {SYMBOL: ABC}
SIGNAL = Signal(1, "momentum", SYMBOL, Side.BUY, 1_000, 10_000, "entry", strength=0.5, pct_change=3.25)
INTENT = intent(1, Side.BUY, OrderType.LIMIT, 120, 10_050, at_ns=1_000)
DENIAL = Denial(
    2, "momentum", SYMBOL, Side.BUY, Code.CASH_RESERVE, 2_000, Decimal("5.10"), Decimal("1E+1"), "USDT", "why"
)
ORDER = OrderEvent(1, "momentum", SYMBOL, Side.BUY, OrderState.OPEN, 120, 0, False, 3_000, client_order_id="c1")
FILL = Fill(
    1,
    "momentum",
    SYMBOL,
    Side.BUY,
    10_050,
    120,
    Decimal("0.10"),
    "USDT",
    Decimal("0.1"),
    False,
    False,
    4_000,
    "PAPER-1-1",
)
ALL: tuple[Decision, ...] = (SIGNAL, INTENT, DENIAL, ORDER, FILL)


def digest(*decisions: Decision) -> str:
    made = DecisionDigest(RULES)
    for decision in decisions:
        made.add(decision)
    return made.text


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        (SIGNAL, b'["signal",1,"momentum","ABCUSDT","BUY",1000,"100","entry"]\n'),
        (INTENT, b'["intent",1,1,"test","ABCUSDT","BUY","LIMIT","1.2","100.5",false,1000]\n'),
        (DENIAL, b'["denial",2,"momentum","ABCUSDT","BUY","CASH_RESERVE","5.1","10","USDT",2000]\n'),
        (ORDER, b'["order",1,"OPEN","1.2","0","",3000]\n'),
        (FILL, b'["fill",1,"BUY","100.5","1.2","0.1","USDT",false,4000]\n'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_decision_has_one_line(decision: Decision, line: bytes) -> None:
    assert canonical_bytes(decision, RULES) == line


def test_the_digest_is_sha256_over_the_lines() -> None:
    lines = b"".join(canonical_bytes(decision, RULES) for decision in ALL)
    assert digest(*ALL) == f"d1:{sha256(lines).hexdigest()}"
    assert digest() == f"d1:{sha256().hexdigest()}"


def test_the_digest_does_not_depend_on_ids_of_the_outside() -> None:
    renamed: Decision = msgspec.structs.replace(FILL, trade_id="other", venue_order_id="other")
    resent: Decision = msgspec.structs.replace(INTENT, client_order_id="other", account_id="other", venue="other")
    told: Decision = msgspec.structs.replace(ORDER, client_order_id="other", venue_order_id="other", reason="other")
    assert digest(FILL, INTENT, ORDER) == digest(renamed, resent, told)


def test_the_digest_does_not_depend_on_the_steps_that_a_price_is_counted_in() -> None:
    finer = {SYMBOL: Instrument.checked(SYMBOL, Decimal("0.001"), Decimal("0.001"))}
    rescaled = msgspec.structs.replace(FILL, price_ticks=100_500, quantity_lots=1_200)
    assert canonical_bytes(FILL, RULES) == canonical_bytes(rescaled, finer)


CHANGES: list[tuple[str, Callable[[], Decision], Decision]] = [
    ("signal price", lambda: msgspec.structs.replace(SIGNAL, price_ticks=10_001), SIGNAL),
    ("signal reason", lambda: msgspec.structs.replace(SIGNAL, reason="exit"), SIGNAL),
    ("intent quantity", lambda: msgspec.structs.replace(INTENT, quantity_lots=121), INTENT),
    ("intent type", lambda: msgspec.structs.replace(INTENT, type=OrderType.IOC), INTENT),
    ("intent reduces", lambda: msgspec.structs.replace(INTENT, reduce_only=True), INTENT),
    ("denial code", lambda: msgspec.structs.replace(DENIAL, code=Code.BELOW_LOT), DENIAL),
    ("denial value", lambda: msgspec.structs.replace(DENIAL, value=Decimal("5.11")), DENIAL),
    ("order state", lambda: msgspec.structs.replace(ORDER, state=OrderState.CANCELED), ORDER),
    ("order code", lambda: msgspec.structs.replace(ORDER, code="30002"), ORDER),
    ("fill price", lambda: msgspec.structs.replace(FILL, price_ticks=10_051), FILL),
    ("fill fee", lambda: msgspec.structs.replace(FILL, fee=Decimal("0.11")), FILL),
    ("fill time", lambda: msgspec.structs.replace(FILL, ts_event_ns=4_001), FILL),
]


@pytest.mark.parametrize(("changed", "original"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_the_digest_changes_with_any_decision(changed: Callable[[], Decision], original: Decision) -> None:
    assert digest(changed()) != digest(original)


def test_the_digest_depends_on_the_order_of_decisions() -> None:
    assert digest(SIGNAL, FILL) != digest(FILL, SIGNAL)


def test_a_denial_of_an_unknown_symbol_needs_no_instrument() -> None:
    unknown = msgspec.structs.replace(DENIAL, symbol="NOSUCH", code=Code.UNKNOWN_INSTRUMENT)
    assert canonical_bytes(unknown, {}).startswith(b'["denial",2,"momentum","NOSUCH"')
