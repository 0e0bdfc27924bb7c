"""Sessions on the database, and helpers for rows and records.

Flow: the record classes of ``Store`` inherit from ``Sessions``; no other code opens a session. A writing session takes
the write lock at its start, so that two windows on one database wait for each other instead of failing half-way.

In a shared registry, a folder is stored together with its computer: ``HOST::/path``.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, select
from sqlalchemy.orm import Session

from sdgui.store.engine import BUSY_SECONDS, Database
from sdgui.store.records import ChangedElsewhereError, StoreError
from sdgui.store.tables import RunRow, TagRow

NAME_LENGTH = 120
ON_HOST = "::"
_Item = TypeVar("_Item")


class Sessions:
    """The location of the data, and transactions on it."""

    def __init__(self, home: Path, database: Database, local: Database) -> None:
        """``local``: the local database of per-user tables, such as caption lists; without a registry, ``database``."""
        self.home = home
        self.runs_folder = home / "runs"
        self._normal_runs_folder = Path(os.path.normpath(self.runs_folder))
        self.user = f"{_user()}@{platform.node()}"
        self._database, self._local = database, local
        self._sessions_changed, self._open_sessions, self._closed = threading.Condition(), 0, False
        self._examined_names: set[str] = set()  # folders in the runs folder that ``import_logged`` need not read again
        self._logged_stamp = 0  # modification time of the runs folder when ``import_logged`` last read all of it

    @property
    def local_file(self) -> Path:
        """The local database file. With a shared registry, it contains only the per-user tables."""
        return Path(str(self._local.location))

    @property
    def location(self) -> str:
        """The database file or address, for display."""
        return str(self._database.location)

    @property
    def shared(self) -> bool:
        """Whether people on other computers may be using the database."""
        return self._database.shared

    def close(self) -> None:
        """Wait for sessions of other threads, then close the file or the connections; later use raises StoreError."""
        with self._sessions_changed:
            self._closed = True
            self._sessions_changed.wait_for(lambda: self._open_sessions == 0, timeout=BUSY_SECONDS)
        for database in (self._database, self._local):
            database.reader.dispose()
            database.recorder.dispose()  # ``writer`` shares the connections of ``reader``

    @contextmanager
    def _session(self, database: Database, engine: Engine, writes: bool = True) -> Iterator[Session]:
        """Open a session that `close` waits for; otherwise its connection would never be closed."""
        with self._sessions_changed:
            if self._closed:
                raise StoreError("The database has been closed.")
            self._open_sessions += 1
        try:
            with (
                database.translating_errors(),
                Session(engine, info={"who": self.user}) as session,
                session.begin() if writes else nullcontext(),
            ):
                yield session
        finally:
            with self._sessions_changed:
                self._open_sessions -= 1
                self._sessions_changed.notify_all()

    def _read(self) -> AbstractContextManager[Session]:
        return self._session(self._database, self._database.reader, writes=False)

    def _write(self) -> AbstractContextManager[Session]:
        return self._session(self._database, self._database.writer)

    def _read_local(self) -> AbstractContextManager[Session]:
        return self._session(self._local, self._local.reader, writes=False)

    def _write_local(self) -> AbstractContextManager[Session]:
        return self._session(self._local, self._local.writer)

    def _write_one_run(self) -> AbstractContextManager[Session]:
        """Open a write session for the rows of a single run; in a registry, it takes no lock on other rows."""
        return self._session(self._database, self._database.recorder)

    def _folder_text(self, folder: Path) -> str:
        """The stored text of a run folder: relative to the runs folder if it is inside home, so that home can be moved.

        For example, a study's run is ``../studies/NAME/runs/ARM-s0``.
        """
        folder = folder.absolute()
        if self.shared:
            return f"{platform.node()}{ON_HOST}{os.path.normpath(folder)}"
        if not folder.is_relative_to(self.home.absolute()):
            return str(folder)
        return Path(os.path.relpath(folder, self.runs_folder.absolute())).as_posix()

    def _folder_path(self, text: str) -> Path:
        path = text.partition(ON_HOST)[2] if ON_HOST in text else text
        folder = self._normal_runs_folder / path  # an absolute path is not changed
        return Path(os.path.normpath(folder)) if ".." in path else folder

    @property
    def _local_prefix(self) -> str:
        """The prefix of stored folders on this computer."""
        return f"{platform.node()}{ON_HOST}" if self.shared else ""


def owner_host_of(text: str) -> str:
    """The computer of a stored folder; "" for the computer with the database."""
    return text.partition(ON_HOST)[0] if ON_HOST in text else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user name, as in a container
        return "someone"


def batches(items: Sequence[_Item], size: int = 500) -> Iterator[Sequence[_Item]]:
    """Split ``items``, since SQLite limits the number of values in one statement."""
    return (items[start : start + size] for start in range(0, len(items), size))


def tags_by_run(session: Session, *selected: ColumnElement[bool]) -> dict[int, list[str]]:
    """The tags of the selected runs that have any, by run id."""
    tags = defaultdict[int, list[str]](list)
    query = select(RunRow.id, TagRow.name).join(RunRow.tags).where(*selected).order_by(TagRow.name)
    for run_id, tag in session.execute(query):
        tags[run_id].append(tag)
    return tags


def tag_rows(session: Session, names: Iterable[str]) -> list[TagRow]:
    """The rows of these tags; missing ones are created.

    "Ähnlich" and "ähnlich" are the same tag. Python compares them, since SQLite only knows the case of ASCII letters.
    """
    by_key: dict[str, str] = {}
    for name in names:
        if clean := clean_line(name):
            by_key.setdefault(clean.casefold(), clean)
    exact = session.scalars(select(TagRow).where(TagRow.name.in_(by_key.values()))) if by_key else ()
    existing = {row.name.casefold(): row for row in exact}
    if len(existing) < len(by_key):
        existing = {row.name.casefold(): row for row in session.scalars(select(TagRow))}
    rows = [existing.get(key) or TagRow(name=name) for key, name in by_key.items()]
    session.add_all(rows)
    return rows


def merged_tags(before: Iterable[str], theirs: Iterable[str], yours: Iterable[str]) -> list[str]:
    """``theirs`` with the additions and removals from ``before`` to ``yours``, ignoring case."""
    keys_before, your_keys = {tag.casefold() for tag in before}, {tag.casefold() for tag in yours}
    merged = [tag for tag in theirs if tag.casefold() in your_keys or tag.casefold() not in keys_before]
    merged_keys = {tag.casefold() for tag in merged}
    return merged + [tag for tag in yours if tag.casefold() not in merged_keys | keys_before]


def check_unedited(
    subject: str, before: str | None, stored: str, new: str, content: Callable[[str], object] = str
) -> None:
    """Raise ChangedElsewhereError if someone else changed the text: ``stored`` equals neither ``before`` nor ``new``.

    Texts are compared by their ``content``. If ``before`` is None, nothing is checked.
    """
    if before is not None and content(stored) not in (content(before), content(new)):
        raise ChangedElsewhereError(subject, stored)


def clean_line(text: str) -> str:
    """Clean a text to one storable line: collapse white space, remove control characters, replace lone surrogates."""
    text = "".join(" " if char.isspace() else char for char in text if char.isspace() or ord(char) >= 32)
    return " ".join(storable(text).split())


def storable(text: str) -> str:
    """``text`` without characters that SQLite cannot store."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in ``text``, which another program may have written; None for anything else."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def clean_name(name: str) -> str:
    """Remove control characters from a name. Raises StoreError if the result is empty or too long."""
    clean = clean_line(name)
    if not clean:
        raise StoreError("The name is empty; enter at least one character.")
    if len(clean) > NAME_LENGTH:
        raise StoreError(f"The name has {len(clean)} characters; shorten it to {NAME_LENGTH}.")
    return clean
