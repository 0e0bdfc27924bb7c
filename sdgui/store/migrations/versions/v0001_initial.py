"""All tables of the first version, as ``sdgui.store.tables`` declares them.

Before the first release, freeze them here with alembic's autogenerate: later revisions build on them.
"""

from __future__ import annotations

from alembic import op

from sdgui.store.tables import Base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # SQLite's NOCASE under the same name: words that differ only in case are equal.
        same = "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        op.execute(f'CREATE COLLATION IF NOT EXISTS "NOCASE" {same}')
    Base.metadata.create_all(op.get_bind())
