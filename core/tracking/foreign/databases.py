"""Reads untrusted SQLite files: read-only, with bounded values and time, and an authorizer that allows only SELECT."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.spec.reading import MEGABYTE, excerpt, open_regular
from core.tracking.foreign.runs import ForeignError

_MAGIC = b"SQLite format 3\0"
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_QUERY_SECONDS = 60.0
_INSTRUCTIONS = 10_000  # instructions of SQLite's virtual machine between two checks of the time
_MAX_VALUE_BYTES = 4 * MEGABYTE
_MAX_BYTES = 32 * MEGABYTE
_MAX_TABLES = 500
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}
_FUNCTIONS = {"max", "min"}


def database_files(files: set[str]) -> list[str]:
    """The names that a SQLite file in a folder may have; a file that the user selected may have any name."""
    return sorted(files) if len(files) == 1 else sorted(name for name in files if name.endswith(_ENDINGS))


def sqlite_tables(path: Path, root: Path) -> dict[str, set[str]]:
    """The columns of each table in ``path``; {} if it is not a SQLite file.

    Views, virtual tables and generated columns are left out: they are code.
    """
    try:
        with open_regular(path, root=root, error=ForeignError) as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return {}
    except (OSError, ForeignError):
        return {}
    tables: dict[str, set[str]] = {}
    sql = (
        "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' LIMIT ?"
    )
    try:
        rows = query(path, sql, (_MAX_TABLES * 20,))
    except ForeignError:
        return {}
    for table, column in rows:
        tables.setdefault(str(table), set()).add(str(column))
    return tables


def query(path: Path, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a SELECT, up to `_MAX_BYTES`. Raises ForeignError for a damaged, locked or slow file."""
    rows, size = [], 0
    try:
        with _open_database(path) as connection:
            for row in connection.execute(sql, values):
                rows.append(row)
                size += 100 + sum(len(value) for value in row if isinstance(value, (str, bytes)))
                if size > _MAX_BYTES:
                    break
    except (sqlite3.Error, ValueError, OverflowError) as error:
        raise ForeignError(f"{excerpt(str(path))} cannot be read: {excerpt(str(error))}; check the file.") from error
    return rows


@contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    # Without a journal nobody writes to the file, and "immutable" opens it without creating files beside it. With a
    # journal, its writer has already created these files.
    mode = "mode=ro" if _has_journal(path) else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=1.0)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "query_only = ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_authorizer(_authorize)
        until = time.monotonic() + _QUERY_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, _INSTRUCTIONS)
        yield connection
    finally:
        connection.close()


def _has_journal(path: Path) -> bool:
    """Whether a journal exists, which a writer left or is using. Raises ForeignError if it is not a regular file."""
    exists = False
    for ending in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + ending)
        try:
            mode = beside.lstat().st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            raise ForeignError(f"{excerpt(str(beside))} is not a regular file; remove it or import a copy of {path}.")
        exists = exists or ending == "-wal" or beside.stat().st_size > 0
    return exists


def _authorize(action: int, first: str | None, second: str | None, *_rest: object) -> int:
    allowed = action in _ALLOWED or (
        (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS | {"like"})
        or (action == sqlite3.SQLITE_PRAGMA and first == "table_info")
        or (action == sqlite3.SQLITE_CREATE_VTABLE)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
