"""The ledger: runs, decisions, orders, money."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from claire.adapters.store.tables import Money

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Go one step forward."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=False),
        sa.Column("symbols", sa.Text(), nullable=False),
        sa.Column("journal_entries", sa.BigInteger(), nullable=False),
        sa.Column("journal_head", sa.Text(), nullable=False),
        sa.Column("decision_digest", sa.Text(), nullable=True),
        sa.Column("summary_json", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    op.create_table(
        "alerts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_alerts_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "ts_event_ns", "code", "text", name=op.f("pk_alerts")),
    )
    op.create_table(
        "allocations",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("fraction", Money(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_allocations_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "symbol", "ts_event_ns", "reason", name=op.f("pk_allocations")),
    )
    op.create_table(
        "candles",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("open_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("close_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("open", Money(), nullable=False),
        sa.Column("high", Money(), nullable=False),
        sa.Column("low", Money(), nullable=False),
        sa.Column("close", Money(), nullable=False),
        sa.Column("volume", Money(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("is_empty", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_candles_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "symbol", "open_ns", "close_ns", name=op.f("pk_candles")),
    )
    op.create_table(
        "control",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("operator", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_control_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "ts_event_ns", "state", "operator", name=op.f("pk_control")),
    )
    op.create_table(
        "denials",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("signal_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("value", Money(), nullable=False),
        sa.Column("limit_value", Money(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_denials_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "signal_no", "code", name=op.f("pk_denials")),
    )
    op.create_table(
        "dust",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_dust_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "strategy_id", "symbol", "ts_event_ns", name=op.f("pk_dust")),
    )
    op.create_table(
        "fills",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("order_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("trade_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("fee", Money(), nullable=False),
        sa.Column("fee_asset", sa.Text(), nullable=False),
        sa.Column("fee_value", Money(), nullable=False),
        sa.Column("is_maker", sa.Boolean(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_fills_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "order_no", "trade_id", name=op.f("pk_fills")),
    )
    op.create_table(
        "intents",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("order_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("signal_no", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("limit_price", Money(), nullable=True),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("instrument_kind", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_intents_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "order_no", name=op.f("pk_intents")),
    )
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("idx_intents_client_order_id"), ["client_order_id"], unique=False)

    op.create_table(
        "orders",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("order_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("filled_quantity", Money(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.Column("decision_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_orders_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "order_no", name=op.f("pk_orders")),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("idx_orders_order_id"), ["order_id"], unique=False)

    op.create_table(
        "portfolio_snapshots",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("equity", Money(), nullable=False),
        sa.Column("cash", Money(), nullable=False),
        sa.Column("realised_pnl", Money(), nullable=False),
        sa.Column("unrealised_pnl", Money(), nullable=False),
        sa.Column("fees", Money(), nullable=False),
        sa.Column("drawdown_pct", sa.Float(), nullable=False),
        sa.Column("open_positions", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_portfolio_snapshots_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "account_id", "ts_event_ns", name=op.f("pk_portfolio_snapshots")),
    )
    op.create_table(
        "positions",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("strategy_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("cost", Money(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_positions_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "account_id", "strategy_id", "symbol", name=op.f("pk_positions")),
    )
    op.create_table(
        "postings",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("transaction_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_postings_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "transaction_no", "line_no", name=op.f("pk_postings")),
    )
    op.create_table(
        "regimes",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("adx", sa.Float(), nullable=False),
        sa.Column("atr_pct", sa.Float(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_regimes_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "symbol", "ts_event_ns", name=op.f("pk_regimes")),
    )
    op.create_table(
        "round_trips",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("exit_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("bought", Money(), nullable=False),
        sa.Column("sold", Money(), nullable=False),
        sa.Column("entry_price", Money(), nullable=False),
        sa.Column("exit_price", Money(), nullable=False),
        sa.Column("realised_pnl", Money(), nullable=False),
        sa.Column("fees", Money(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_round_trips_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "strategy_id", "symbol", "exit_ns", "entry_ns", name=op.f("pk_round_trips")),
    )
    op.create_table(
        "signals",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("signal_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("strength", sa.Float(), nullable=False),
        sa.Column("pct_change", sa.Float(), nullable=True),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_signals_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "signal_no", name=op.f("pk_signals")),
    )


def downgrade() -> None:
    """Go one step back."""
    op.drop_table("signals")
    op.drop_table("round_trips")
    op.drop_table("regimes")
    op.drop_table("postings")
    op.drop_table("positions")
    op.drop_table("portfolio_snapshots")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("idx_orders_order_id"))

    op.drop_table("orders")
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("idx_intents_client_order_id"))

    op.drop_table("intents")
    op.drop_table("fills")
    op.drop_table("dust")
    op.drop_table("denials")
    op.drop_table("control")
    op.drop_table("candles")
    op.drop_table("allocations")
    op.drop_table("alerts")
    op.drop_table("runs")
