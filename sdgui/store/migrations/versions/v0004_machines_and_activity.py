"""On which machine and devices a run trains, whose it is, and who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ADDED = ("host", "devices_asked", "devices", "owner")


def upgrade() -> None:
    for name in _ADDED:
        op.add_column("runs", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.create_table(
        "activity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_activity_experiment_id"), "activity", ["experiment_id"], unique=False)
    op.create_index(op.f("ix_activity_run_id"), "activity", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_table("activity")
    for name in reversed(_ADDED):
        op.drop_column("runs", name)
