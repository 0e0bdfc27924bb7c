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
        # The name of SQLite's collation. It orders tags; `tag_rows` determines which names are the same tag.
        op.execute("""CREATE COLLATION IF NOT EXISTS "NOCASE" (provider = icu, locale = 'und-u-ks-level2')""")
    Base.metadata.create_all(op.get_bind())
