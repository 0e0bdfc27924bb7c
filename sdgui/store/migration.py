"""Runs the package's alembic revisions without an ini file.

Flow: ``database.open_database`` and ``registry.server`` load this when a database is new or older than the program.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from sdgui.store.engine import WRITE_LOCK, make_engine
from sdgui.store.records import StoreError


def upgrade(path: Path, scripts: Path) -> None:
    """Upgrade the database to the newest revision in ``scripts``; on an error nothing changes.

    Foreign keys are off during the migration, since moving a table would delete rows that refer to it, and are checked
    at the end. References that another program had already broken do not prevent the database from being opened.
    """
    engine = make_engine(path, foreign_keys=False)
    try:
        with engine.connect().execution_options(**WRITE_LOCK) as connection, connection.begin():
            broken_before = _broken(connection)
            run_revisions(connection, scripts)
            broken = _broken(connection) - broken_before
            if broken:
                raise StoreError(f"Migrating {path} left {broken.total()} broken references, so it was not migrated.")
    finally:
        engine.dispose()


def _broken(connection: Connection) -> Counter[tuple[str, str]]:
    """Number of rows with a broken reference, by (table, referenced table)."""
    return Counter((row[0], row[2]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))


def run_revisions(connection: Connection, scripts: Path) -> None:
    """Run the missing revisions on a connection, in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
