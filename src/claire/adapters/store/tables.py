"""The ledger's tables, one definition for SQLite and PostgreSQL.

Every row belongs to a run and has a natural key, so that writing the same decision twice adds nothing. Prices, quantities
and amounts are `Money`; times are int64 nanoseconds since 1970 (UTC); ``input_no`` is the input that caused the row.
Changing anything here needs a new migration: a test compares the two.
"""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Dialect, Float, ForeignKey, Index, MetaData, Numeric, Table, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from claire.model.money import plain_text

HEAD_REVISION: Final = "0002"
"""The migration that leads to these tables."""

NAMING: Final = {
    "ix": "idx_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Money(TypeDecorator[Decimal]):
    """An exact decimal: canonical text in SQLite (whose NUMERIC goes through float), NUMERIC in PostgreSQL.

    In SQLite it must be compared and summed outside SQL, for text sorts by digits: '10' < '9'.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """Turn a Decimal into what the database keeps.

        Raises:
            TypeError: it is no Decimal (a float has lost digits already).
            ValueError: it is not finite.
        """
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise TypeError(f"{value!r} is a {type(value).__name__}; money is a Decimal")
        if not value.is_finite():
            raise ValueError(f"{value} is not an amount of money")
        return value if dialect.name == "postgresql" else plain_text(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        """Turn what the database kept into a Decimal."""
        return None if value is None else Decimal(value)


metadata: Final = MetaData(naming_convention=NAMING)


def _key(name: str, kind: type[TypeEngine[Any]] = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _column(name: str, kind: type[TypeEngine[Any]] = Text, *, optional: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=optional)


def _table(name: str, *columns: Column[Any] | Index) -> Table:
    run = Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True)
    return Table(name, metadata, run, *columns)


runs: Final = Table(
    "runs",
    metadata,
    _key("run_id"),
    _column("account_id"),
    _column("venue"),
    _column("mode"),
    _column("code"),
    _column("created_at"),
    _column("config_sha256"),
    _column("config_json"),
    _column("source_kind"),
    _column("source_path"),
    _column("source_sha256"),
    _column("symbols"),
    _column("journal_entries", BigInteger),
    _column("journal_head"),
    _column("decision_digest", optional=True),
    _column("summary_json", optional=True),
)
"""One row per run. `journal_entries` and `journal_head` name the state of the journal at the last commit; the digest and
the summary are there once the run ended in order."""

signals: Final = _table(
    "signals",
    _key("signal_no", BigInteger),
    _column("account_id"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("price", Money),
    _column("reason"),
    _column("strength", Float),
    _column("pct_change", Float, optional=True),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
)

intents: Final = _table(
    "intents",
    _key("order_no", BigInteger),
    _column("signal_no", BigInteger),
    _column("account_id"),
    _column("venue"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("type"),
    _column("quantity", Money),
    _column("limit_price", Money, optional=True),
    _column("expires_ns", BigInteger),
    _column("reduce_only", Boolean),
    _column("client_order_id"),
    _column("price", Money),
    _column("instrument_kind"),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
    Index(None, "client_order_id"),
)

orders: Final = _table(
    "orders",
    _key("order_no", BigInteger),
    _column("account_id"),
    _column("venue"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("state"),
    _column("quantity", Money),
    _column("filled_quantity", Money),
    _column("reduce_only", Boolean),
    _column("code"),
    _column("reason"),
    _column("client_order_id"),
    _column("order_id"),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
    _column("decision_no", BigInteger),
    Index(None, "order_id"),
)
"""The last state of each order. `order_id` is the venue's (empty until it is known); `decision_no` is the ordinal, within
the run, of the decision that led to the state, so that an older one cannot replace it."""

fills: Final = _table(
    "fills",
    _key("order_no", BigInteger),
    _key("trade_id"),
    _column("account_id"),
    _column("venue"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("price", Money),
    _column("quantity", Money),
    _column("fee", Money),
    _column("fee_asset"),
    _column("fee_value", Money),
    _column("is_maker", Boolean),
    _column("reduce_only", Boolean),
    _column("order_id"),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
    Index(None, "run_id", "symbol", "side", "trade_id", unique=True),
)
"""One execution belongs to one order: a venue's trade id is booked once in a run. The side is part of it because two orders
of ours that meet each other share their trade id. Across runs it is not unique: orders belong to runs, a new run books no
older order's executions, and a simulated venue counts its trades from 1 in every run."""

reservations: Final = _table(
    "reservations",
    _key("order_no", BigInteger),
    _column("account_id"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("cash_asset"),
    _column("cash", Money),
    _column("exposure", Money),
    _column("quantity", Money),
    _column("state"),
    _column("released_by"),
    _column("released_ns", BigInteger, optional=True),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
)
"""What each order may still do to the account, entered in the transaction of its intent. `state` is ``held`` until the order
reached its first terminal state, then ``released``; `released_by` is that state."""

adjustments: Final = _table(
    "adjustments",
    _key("ts_event_ns", BigInteger),
    _key("asset"),
    _key("operator"),
    _key("strategy_id"),
    _key("symbol"),
    _column("account_id"),
    _column("amount", Money),
    _column("reason"),
)
"""What operators changed by hand, because books and venue disagreed. `strategy_id` and `symbol` are empty for cash."""

externals: Final = _table(
    "externals",
    _key("asset"),
    _key("evidence_id"),
    _column("account_id"),
    _column("kind"),
    _column("amount", Money),
    _column("ts_event_ns", BigInteger),
)
"""Coins of the account that are not Claire's: what was there (``baseline``), and what came or went by another hand since
(``trade``, ``transfer``). `evidence_id` is the venue's own name of the change."""

adoptions: Final = _table(
    "adoptions",
    _key("owner_id"),
    _key("symbol"),
    _key("ts_event_ns", BigInteger),
    _column("account_id"),
    _column("strategy_id"),
    _column("quantity", Money),
    _column("operator"),
    _column("reason"),
    _column("input_no", BigInteger),
)
"""Positions that changed their owner, because an operator said so."""

postings: Final = _table(
    "postings",
    _key("transaction_no", BigInteger),
    _key("line_no", BigInteger),
    _column("account_id"),
    _column("book"),
    _column("asset"),
    _column("amount", Money),
    _column("cause"),
    _column("ts_event_ns", BigInteger),
)
"""Double entry: the amounts of a transaction add up to zero for each asset. `book` is ``cash``, ``position/…`` and so on."""

positions: Final = _table(
    "positions",
    _key("account_id"),
    _key("strategy_id"),
    _key("symbol"),
    _column("quantity", Money),
    _column("cost", Money),
    _column("ts_event_ns", BigInteger),
)
"""What each strategy owns at the last snapshot."""

denials: Final = _table(
    "denials",
    _key("signal_no", BigInteger),
    _key("code"),
    _column("account_id"),
    _column("strategy_id"),
    _column("symbol"),
    _column("side"),
    _column("value", Money),
    _column("limit_value", Money),
    _column("unit"),
    _column("because"),
    _column("ts_event_ns", BigInteger),
    _column("input_no", BigInteger),
)

portfolio_snapshots: Final = _table(
    "portfolio_snapshots",
    _key("account_id"),
    _key("ts_event_ns", BigInteger),
    _column("equity", Money),
    _column("cash", Money),
    _column("realised_pnl", Money),
    _column("unrealised_pnl", Money),
    _column("fees", Money),
    _column("drawdown_pct", Float),
    _column("open_positions", BigInteger),
)
"""The account over time; of several snapshots at one moment the last."""

candles: Final = _table(
    "candles",
    _key("symbol"),
    _key("open_ns", BigInteger),
    _key("close_ns", BigInteger),
    _column("venue"),
    _column("open", Money),
    _column("high", Money),
    _column("low", Money),
    _column("close", Money),
    _column("volume", Money),
    _column("trades", BigInteger),
    _column("is_empty", Boolean),
)

regimes: Final = _table(
    "regimes",
    _key("symbol"),
    _key("ts_event_ns", BigInteger),
    _column("before"),
    _column("after"),
    _column("adx", Float),
    _column("atr_pct", Float),
    _column("input_no", BigInteger),
)

allocations: Final = _table(
    "allocations",
    _key("symbol"),
    _key("ts_event_ns", BigInteger),
    _key("reason"),
    _column("fraction", Money),
    _column("input_no", BigInteger),
)

round_trips: Final = _table(
    "round_trips",
    _key("strategy_id"),
    _key("symbol"),
    _key("exit_ns", BigInteger),
    _key("entry_ns", BigInteger),
    _column("account_id"),
    _column("bought", Money),
    _column("sold", Money),
    _column("entry_price", Money),
    _column("exit_price", Money),
    _column("realised_pnl", Money),
    _column("fees", Money),
    _column("reason"),
    _column("input_no", BigInteger),
)

dust: Final = _table(
    "dust",
    _key("strategy_id"),
    _key("symbol"),
    _key("ts_event_ns", BigInteger),
    _column("account_id"),
    _column("quantity", Money),
    _column("price", Money),
    _column("input_no", BigInteger),
)

alerts: Final = _table(
    "alerts",
    _key("ts_event_ns", BigInteger),
    _key("code"),
    _key("text"),
    _column("account_id"),
    _column("severity"),
)

control: Final = _table(
    "control",
    _key("ts_event_ns", BigInteger),
    _key("state"),
    _key("operator"),
    _column("account_id"),
    _key("reason"),
    _column("input_no", BigInteger),
)
