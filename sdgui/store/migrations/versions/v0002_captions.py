"""The list of the Caption panel: pictures with their captions, and what made them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "captioned_pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("refused", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captioned_pictures")),
        sa.UniqueConstraint("path", name=op.f("uq_captioned_pictures_path")),
    )
    op.create_index(op.f("ix_captioned_pictures_position"), "captioned_pictures", ["position"], unique=False)
    op.create_table(
        "caption_origins",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_caption_origins")),
    )


def downgrade() -> None:
    op.drop_table("caption_origins")
    op.drop_table("captioned_pictures")
