"""Values of metrics at the steps that tables of runs ask for; they are read from the run folders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sdgui.store.tables import Large

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "step_values",
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("at_step", Large, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("measured", Large, nullable=False),
        sa.Column("offset", Large, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_step_values_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("metric", "at_step", "run_id", name=op.f("pk_step_values")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_step_values_run_id"), "step_values", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_table("step_values")
