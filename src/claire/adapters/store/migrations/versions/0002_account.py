"""What orders hold, what operators change, what is not Claire's; one execution once, two reasons at one moment."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from claire.adapters.store.tables import Money

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Go one step forward."""
    op.create_table(
        "adjustments",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("operator", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("strategy_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_adjustments_run_id_runs")),
        sa.PrimaryKeyConstraint(
            "run_id", "ts_event_ns", "asset", "operator", "strategy_id", "symbol", name=op.f("pk_adjustments")
        ),
    )
    op.create_table(
        "adoptions",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_adoptions_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "owner_id", "symbol", "ts_event_ns", name=op.f("pk_adoptions")),
    )
    op.create_table(
        "externals",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("evidence_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_externals_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "asset", "evidence_id", name=op.f("pk_externals")),
    )
    op.create_table(
        "reservations",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("order_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("cash_asset", sa.Text(), nullable=False),
        sa.Column("cash", Money(), nullable=False),
        sa.Column("exposure", Money(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=False),
        sa.Column("released_ns", sa.BigInteger(), nullable=True),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("input_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_reservations_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "order_no", name=op.f("pk_reservations")),
    )
    with op.batch_alter_table("fills", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("idx_fills_run_id_symbol_side_trade_id"), ["run_id", "symbol", "side", "trade_id"], unique=True
        )
    with op.batch_alter_table("control", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("pk_control"), type_="primary")
        batch_op.create_primary_key(batch_op.f("pk_control"), ["run_id", "ts_event_ns", "state", "operator", "reason"])


def downgrade() -> None:
    """Go one step back; of several reasons at one moment the first stays."""
    op.execute(
        "DELETE FROM control WHERE reason > (SELECT min(o.reason) FROM control o WHERE o.run_id = control.run_id"
        " AND o.ts_event_ns = control.ts_event_ns AND o.state = control.state AND o.operator = control.operator)"
    )
    with op.batch_alter_table("control", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("pk_control"), type_="primary")
        batch_op.create_primary_key(batch_op.f("pk_control"), ["run_id", "ts_event_ns", "state", "operator"])
    with op.batch_alter_table("fills", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("idx_fills_run_id_symbol_side_trade_id"))
    op.drop_table("reservations")
    op.drop_table("externals")
    op.drop_table("adoptions")
    op.drop_table("adjustments")
