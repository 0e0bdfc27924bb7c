"""Summaries in the order of run and metric, without SQLite's own row numbers: one look finds a value instead of two.

PostgreSQL keeps its rows apart from its indexes in any case, and its table is left as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _copy(with_rowid=False)


def downgrade() -> None:
    _copy(with_rowid=True)


def _copy(with_rowid: bool) -> None:
    """Move the rows to a table that is stored the other way."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.drop_index(op.f("ix_summaries_metric"), table_name="summaries")
    op.rename_table("summaries", "former_summaries")
    op.create_table(
        "summaries",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("last", sa.Double(), nullable=True),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("best", sa.Double(), nullable=True),
        sa.Column("best_step", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_summaries_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "metric", name=op.f("pk_summaries")),
        sqlite_with_rowid=with_rowid,
    )
    columns = "run_id, metric, last, last_step, best, best_step"
    op.execute(f"INSERT INTO summaries ({columns}) SELECT {columns} FROM former_summaries ORDER BY run_id, metric")
    op.drop_table("former_summaries")
    op.create_index(op.f("ix_summaries_metric"), "summaries", ["metric"], unique=False)
