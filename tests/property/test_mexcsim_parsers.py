"""Whatever a client sends, the simulator answers in the venue's terms: it reads it, or refuses it with a code."""

import ast
import sys
from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import claire.mexcsim
from claire.mexcsim.channels import Kind, topic_of
from claire.mexcsim.rules import Rejection, order_of
from claire.mexcsim.signing import parameters, sign, without_signature
from claire.mexcsim.stream import acknowledgement
from claire.mexcsim.symbols import BUILT_IN, choose

RULE = choose(["XRPUSDT"])[0]
NUMBERS = st.one_of(
    st.text(max_size=12),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.sampled_from(["1", "0.5", "1e400", "-0", "١", "1_000", " 1", "0x10", "1e-400"]),
)
ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "side": st.sampled_from(["BUY", "SELL", "buy", ""]),
        "type": st.sampled_from(["LIMIT", "MARKET", "LIMIT_MAKER", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL", "IOC", ""]),
        "price": NUMBERS,
        "quantity": NUMBERS,
        "quoteOrderQty": NUMBERS,
        "newClientOrderId": st.text(max_size=40),
        "stpMode": st.sampled_from(["", "cancel_maker", "CANCEL_MAKER"]),
        "timeInForce": st.text(max_size=3),
    },
)


@given(ORDERS)
def test_an_order_is_read_or_refused_with_a_code(params):
    code: int | str | None = None
    try:
        order = order_of(params, RULE)
    except Rejection as refused:
        code = refused.code
    else:
        assert order.lots > 0 or order.quote_units > 0
        assert (order.price > 0) != order.is_market
        if not order.is_market:
            assert Decimal(params["price"]) == Decimal(RULE.price_text(order.price))
            assert Decimal(params["quantity"]) == Decimal(RULE.quantity_text(order.lots))
    assert code in {None, 400, 10096, 10102, 30041, 33333, 700004, 700008, -1128}


@given(st.text(max_size=80))
def test_a_channel_name_is_known_or_it_is_none(name):
    assert topic_of(name) is None


@given(
    st.sampled_from(Kind),
    st.lists(st.sampled_from(["10ms", "100ms", "BTCUSDT", "5", "Min1", "24H", "UTC+8", ""]), max_size=3),
)
def test_a_channel_that_is_known_keeps_its_name(kind, parts):
    name = "@".join([f"{kind}.v3.api.pb", *parts])
    topic = topic_of(name)
    if topic is not None:
        assert topic.name == name
        assert topic.event_type.startswith(str(kind))
        assert (topic.symbol == "") == (kind.is_private or kind is Kind.MINIS)


@given(st.text(max_size=60), st.text(max_size=60))
def test_signing_leaves_out_the_signature_and_nothing_else(query, body):
    assert len(sign("secret", query, body)) == 64
    assert isinstance(parameters(query, body), dict)
    plain = without_signature(query)
    assert without_signature(f"{plain}&signature=abc") == plain


@given(st.lists(st.text(min_size=1, max_size=5)), st.lists(st.text(min_size=1, max_size=5)))
def test_success_shows_only_outside_the_refusal(accepted, refused):
    said = acknowledgement(accepted, refused)
    assert ("Blocked" in said) == bool(refused)
    outside = said.split("Not Subscribed successfully!")[0]
    assert all(name in outside for name in accepted)


@given(st.sampled_from(BUILT_IN), st.integers(1, 10**12))
def test_trimmed_and_padded_numbers_are_the_same_numbers(rule, steps):
    assert Decimal(rule.price_text(steps)) == Decimal(rule.padded_price(steps))
    assert Decimal(rule.quantity_text(steps)) == Decimal(rule.padded_quantity(steps))
    assert rule.ticks(Decimal(rule.padded_price(steps))) == steps


def test_it_stands_alone_on_the_model_and_the_wire():
    allowed = {"claire.mexcsim", "claire.model", "claire.wire", "aiohttp", "msgspec", "google.protobuf"}
    for file in Path(claire.mexcsim.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                known = name.split(".")[0] in sys.stdlib_module_names
                assert known or any(name == room or name.startswith(f"{room}.") for room in allowed), (file.name, name)
