"""Alembic's environment and revisions; run by ``sdgui.store.migration``."""
