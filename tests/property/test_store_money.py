"""What goes into the ledger comes out again, to the last digit."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import StatementError

from claire.adapters.store.tables import Money
from claire.model.money import plain_text

box = sa.Table("box", sa.MetaData(), sa.Column("amount", Money), sa.Column("at_ns", sa.BigInteger))

hostile = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=18),
    st.sampled_from(["65000.123456789", "0.1", "-0", "1E+30", "1E-30", "9007199254740993", "0.30000000000000004",
                     "123456789012345678901234567890.123456789012345678901234567890", "100", "1E2", "1.10"]).map(Decimal),
)  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    box.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def round_trip(connection: sa.Connection, amount: Decimal, at_ns: int) -> tuple[Decimal, int]:
    connection.execute(sa.delete(box))
    connection.execute(sa.insert(box).values(amount=amount, at_ns=at_ns))
    found, found_ns = connection.execute(sa.select(box.c.amount, box.c.at_ns)).one()
    return found, found_ns


@given(amount=hostile, at_ns=st.integers(-(2**63), 2**63 - 1))
def test_decimals_and_nanoseconds_are_exact(connection: sa.Connection, amount: Decimal, at_ns: int):
    found, found_ns = round_trip(connection, amount, at_ns)
    assert isinstance(found, Decimal)
    assert found == amount
    assert found_ns == at_ns


@given(amount=hostile)
def test_equal_amounts_have_one_text_and_no_float_touches_it(connection: sa.Connection, amount: Decimal):
    round_trip(connection, amount, 0)
    text, kind = connection.execute(sa.text("SELECT amount, typeof(amount) FROM box")).one()
    assert kind == "text"
    assert "E" not in text
    assert text == plain_text(Decimal(f"{amount:f}"))


@pytest.mark.parametrize("wrong", [1.5, 1, "2.5", Decimal("NaN"), Decimal("Infinity")])
def test_only_finite_decimals_are_money(connection: sa.Connection, wrong):
    with pytest.raises(StatementError, match="money"):
        round_trip(connection, wrong, 0)
