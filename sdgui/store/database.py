"""Opens the database file: refuses a newer or damaged database, migrates an older one.

Flow: ``Store.open`` gets an engine here, and knows nothing about files, versions or pragmas.
"""

from __future__ import annotations

import importlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sdgui.store.engine import BUSY_SECONDS, Database, sqlite_database, store_error
from sdgui.store.records import StoreError
from sdgui.store.tables import SCHEMA_VERSION

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(path: Path, scripts: Path = MIGRATIONS, newest: str = SCHEMA_VERSION) -> Database:
    """Open the database at ``path``; it is first created or upgraded to version ``newest`` if needed.

    Raises StoreError if the database is newer (it is left untouched), damaged or not writable.
    """
    version = read_version(path)
    if version is not None and not _is_known(version, newest):
        raise StoreError(
            f"The database {path} has version {version}, but this sdgui supports versions up to {newest}. "
            "Use the newer sdgui that wrote it, or start with --home and another folder."
        )
    if version != newest:
        _migrate(path, version, scripts)
    _use_write_ahead_log(path)
    return sqlite_database(path)


def _use_write_ahead_log(path: Path) -> None:
    """Switch to write-ahead logging, in which readers and a writer do not wait for each other."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as file:
                file.execute("PRAGMA journal_mode=WAL")
                return
        except sqlite3.Error as error:  # this switch alone does not wait for another window's
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise store_error(error, path) from error
            time.sleep(0.02)


def read_version(path: Path) -> str | None:
    """The version of the database at ``path``, read without changing a byte; None if there is no database yet."""
    try:
        if not path.exists() or path.stat().st_size == 0:
            return None
        log = path.with_name(path.name + "-wal")
        # Without a log there is nothing else to read, and "immutable" keeps SQLite from leaving files.
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS)) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                if tables:
                    raise StoreError(f"{path} belongs to another program; start with --home and another folder.")
                return None
            row = file.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except (sqlite3.Error, OSError) as error:
        raise store_error(error, path) from error


def _is_known(version: str, newest: str) -> bool:
    return version.isdigit() and int(version) <= int(newest)


def _migrate(path: Path, version: str | None, scripts: Path) -> None:
    # imported only to migrate: alembic would add a tenth of a second to every start
    migration = importlib.import_module("sdgui.store.migration")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if version is not None:
            back_up(path, version)
        migration.upgrade(path, scripts)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise store_error(error, path) from error


def back_up(path: Path, version: str) -> Path:
    """Copy the database, with its write-ahead log, to a file next to it."""
    copy = path.with_name(f"{path.stem}-version-{version}-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy
