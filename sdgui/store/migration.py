"""Runs alembic's revisions from the package, without an ini file.

Flow: ``database.open_database`` and ``registry.server`` load this when a database is new or older than the program.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from sdgui.store.engine import WRITE, make_engine
from sdgui.store.records import StoreError


def upgrade(path: Path, scripts: Path) -> None:
    """Bring the database to the newest revision among ``scripts``; all of it or, on an error, nothing.

    Foreign keys are off meanwhile, since moving a table would delete rows that refer to it; they are checked at the
    end.
    References that were broken before, by another program, are no reason to keep a database from being opened.
    """
    engine = make_engine(path, foreign_keys=False)
    try:
        with engine.connect().execution_options(**WRITE) as connection, connection.begin():
            before = _broken(connection)
            run_revisions(connection, scripts)
            broken = _broken(connection) - before
            if broken:
                raise StoreError(f"Migrating {path} left {broken.total()} broken references, so it was not migrated.")
    finally:
        engine.dispose()


def _broken(connection: Connection) -> Counter[tuple[str, str]]:
    """How many rows of a table refer to no row of another: (table, the other) -> rows."""
    return Counter((row[0], row[2]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))


def run_revisions(connection: Connection, scripts: Path) -> None:
    """Run the revisions that the database lacks, over a connection and in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
