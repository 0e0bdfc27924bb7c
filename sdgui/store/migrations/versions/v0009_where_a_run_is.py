"""Where the folder of a run that trains elsewhere is: a colleague may reach that machine too, and see its curves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("there", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("runs", "there")
