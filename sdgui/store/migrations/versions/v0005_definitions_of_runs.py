"""The definitions that runs were launched with, and indexes to list runs by them and by metrics.

The table is filled from the run folders when the store is next opened.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sdgui.store.tables import Document

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "definitions",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("config", Document, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_definitions")),
    )
    op.create_index(op.f("ix_definitions_recipe"), "definitions", ["recipe"], unique=False)
    op.create_index(op.f("ix_runs_digest"), "runs", ["digest"], unique=False)
    op.create_index(op.f("ix_summaries_metric"), "summaries", ["metric"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_summaries_metric"), table_name="summaries")
    op.drop_index(op.f("ix_runs_digest"), table_name="runs")
    op.drop_table("definitions")
