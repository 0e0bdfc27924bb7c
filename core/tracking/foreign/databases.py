"""Reads untrusted SQLite files: read-only, with bounded values and time, and an authorizer that allows only SELECT."""

from __future__ import annotations

import sqlite3
import stat
import sys
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
# For a file with a write-ahead log but without its shared index, so that nobody is writing: the index stays in memory.
_UNSHARED = "vfs=win32-none" if sys.platform == "win32" else "vfs=unix-none"


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
    options = _options(path)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&{options}", uri=True, timeout=1.0)
    try:
        if options == _UNSHARED:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
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


def _options(path: Path) -> str:
    """Options that let SQLite read the journal without creating files beside ``path``.

    Raises ForeignError for a journal that is not a regular file.
    """
    sizes: dict[str, int] = {}
    for ending in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + ending)
        try:
            status = beside.lstat()
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ForeignError(f"{excerpt(str(beside))} is not a regular file; remove it or import a copy of {path}.")
        sizes[ending] = status.st_size
    if "-wal" in sizes and "-shm" not in sizes:
        return _UNSHARED
    return "" if "-wal" in sizes or any(sizes.values()) else "immutable=1"


def _authorize(action: int, first: str | None, second: str | None, *_rest: object) -> int:
    allowed = action in _ALLOWED or (
        (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS | {"like"})
        or (action == sqlite3.SQLITE_PRAGMA and first == "table_info")
        or (action == sqlite3.SQLITE_CREATE_VTABLE)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
