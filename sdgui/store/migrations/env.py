"""Alembic's environment: migrates on the connection that it receives, in its transaction."""

from __future__ import annotations

from alembic import context

from sdgui.store.tables import Base


def run() -> None:
    """Run the revisions in batch mode, since SQLite cannot alter a column in place."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    context.run_migrations()


run()
