"""Studies with their arms, and marks on pairs of data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("folder", name=op.f("uq_studies_folder")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "study_arms",
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_study_arms_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_arms_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_study_arms")),
    )
    op.create_index(op.f("ix_study_arms_study_id"), "study_arms", ["study_id"], unique=False)
    op.create_table(
        "pair_marks",
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("wrong", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source", "path", "caption", name=op.f("pk_pair_marks")),
    )


def downgrade() -> None:
    for table in ("pair_marks", "study_arms", "studies"):
        op.drop_table(table)
