"""The basket of fixes, and the last results of panels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fixes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("panel", sa.String(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("found", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fixes")),
        sa.UniqueConstraint("source", "path", "caption", "label", name=op.f("uq_fixes_source")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "panel_results",
        sa.Column("panel", sa.String(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("made", sa.Double(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("panel", "subject", "data", name=op.f("pk_panel_results")),
    )
    op.create_index(op.f("ix_panel_results_made"), "panel_results", ["made"], unique=False)


def downgrade() -> None:
    for table in ("panel_results", "fixes"):
        op.drop_table(table)
