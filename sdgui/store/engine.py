"""An open database, and SQLite's engine: pragmas, waiting for writers, error messages."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sdgui.store.records import StoreError, StoreUnavailableError

BUSY_SECONDS = 10.0
_OUTAGE_SECONDS = 10.0  # time after a failed request in which the main thread does not try the server

WRITE_LOCK = {"sqlite_begin": "IMMEDIATE"}  # execution option: take the write lock at BEGIN, and wait for it


class ServerGoneError(StoreUnavailableError):
    """The server is unreachable; try again later."""


class Outage:
    """Whether a server was recently unreachable; the main thread then does not wait for it."""

    def __init__(self) -> None:
        self._sentence, self._recorded_at = "", 0.0

    def raise_if_recent(self) -> None:
        """Raise ServerGoneError in the main thread, for a while after an outage."""
        is_recent = time.monotonic() - self._recorded_at < _OUTAGE_SECONDS
        if self._sentence and is_recent and threading.current_thread() is threading.main_thread():
            raise ServerGoneError(self._sentence)

    def record(self, error: StoreError | None) -> None:
        """Record whether the last request succeeded."""
        self._sentence = str(error) if isinstance(error, ServerGoneError) else ""
        self._recorded_at = time.monotonic()


@dataclass(frozen=True)
class Database:
    """An open database, with one engine per purpose. ``location``: file path, or address without the password."""

    location: object
    reader: Engine  # a transaction sees one snapshot
    writer: Engine  # serialises all writers
    recorder: Engine  # writes one run's progress; on a server it waits only for writers of the same run
    explain: Callable[[Exception], StoreError]
    shared: bool = False  # used by people on several computers
    outage: Outage | None = None  # set for a server

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn the database's own errors into StoreError."""
        if self.outage is not None:
            self.outage.raise_if_recent()
        reported: StoreError | None = None
        try:
            yield
        except SQLAlchemyError as error:
            reported = self.explain(error)
            raise reported from error
        finally:
            if self.outage is not None:
                self.outage.record(reported)


def sqlite_database(path: Path) -> Database:
    """Open the SQLite database in a file."""
    engine = make_engine(path)
    writer = engine.execution_options(**WRITE_LOCK)
    return Database(path, engine, writer, writer, lambda error: store_error(error, path))


def make_engine(path: Path, foreign_keys: bool = True) -> Engine:
    """Make an engine that sends BEGIN explicitly, also before DDL."""
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # Python's sqlite3 must not begin or commit on its own
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.create_function("casefold", 1, _casefold, deterministic=True)  # SQLite's lower() only handles ASCII

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _casefold(text: Any) -> Any:
    return text.casefold() if isinstance(text, str) else text


def store_error(error: Exception, path: Path) -> StoreError:
    """Convert a database or file error to a message for the user."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).lower()
    if "not a database" in text or "malformed" in text:
        remedy = "Rebuild it from the run folders with --rebuild, or start with --home and another folder."
        return StoreError(f"The database {path} is damaged ({cause}). {remedy}")
    if "locked" in text:
        return StoreUnavailableError(f"The database {path} is locked by another program. Close it and try again.")
    if "full" in text or getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailableError(f"The disk with {path} is full. Free some space and try again.")
    if "readonly" in text or "unable to open" in text or isinstance(cause, PermissionError):
        return StoreUnavailableError(
            f"The database {path} cannot be written ({cause}). Fix its permissions or use --home."
        )
    return StoreUnavailableError(f"The database {path} cannot be used: {cause}.")
