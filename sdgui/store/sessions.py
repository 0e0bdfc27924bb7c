"""Sessions on the database, and helpers for rows and records.

Flow: the parts of ``Store`` inherit from ``Sessions``; nobody else opens a session. A writing session takes the
write lock at its start, so that two windows on one database wait for each other instead of failing half-way.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sdgui.store.engine import WRITE, sentences
from sdgui.store.records import StoreError
from sdgui.store.tables import TagRow

NAME_LENGTH = 120


class Sessions:
    """The location of the data, and transactions on it."""

    def __init__(self, home: Path, database: Path, engine: Engine) -> None:
        self.home = home
        self.database = database
        self.runs_folder = home / "runs"
        self._engine = engine
        self._writer = engine.execution_options(**WRITE)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with sentences(self.database), Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with sentences(self.database), Session(self._writer) as session, session.begin():
            yield session

    def _folder_text(self, folder: Path) -> str:
        """A run's folder as it is stored: relative to the runs folder when it is inside home, which may move.

        A study's run is ``../studies/NAME/runs/ARM-s0``.
        """
        folder = folder.absolute()
        if not folder.is_relative_to(self.home.absolute()):
            return str(folder)
        return Path(os.path.relpath(folder, self.runs_folder.absolute())).as_posix()

    def _folder_path(self, text: str) -> Path:
        return Path(os.path.normpath(self.runs_folder / text))  # an absolute text stays as it is


def tag_rows(session: Session, names: Iterable[str]) -> list[TagRow]:
    """The rows of these tags, made where new; "Draft" and "draft" are one tag."""
    wanted: dict[str, str] = {}
    for name in names:
        if clean := clean_line(name):
            wanted.setdefault(clean.casefold(), clean)
    rows = []
    for name in wanted.values():
        row = session.scalar(select(TagRow).where(TagRow.name == name))
        if row is None:
            row = TagRow(name=name)
            session.add(row)
        rows.append(row)
    return rows


def clean_line(text: str) -> str:
    """One line of storable text: white space folded, control characters gone, half surrogates replaced."""
    text = "".join(" " if char.isspace() else char for char in text if char.isspace() or ord(char) >= 32)
    return " ".join(storable(text).split())


def storable(text: str) -> str:
    """``text`` as SQLite can hold it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def clean_name(name: str) -> str:
    """A name as it will be shown; StoreError when nothing is left of it or it is too long."""
    clean = clean_line(name)
    if not clean:
        raise StoreError("An experiment needs a name; enter at least one character.")
    if len(clean) > NAME_LENGTH:
        raise StoreError(f"The name has {len(clean)} characters; keep it to {NAME_LENGTH}.")
    return clean


def slug(name: str) -> str:
    """A part of a folder's name that every file system takes, in lower case."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:40].strip("-") or "run"
