"""Differences between SQLite and PostgreSQL: INSERT with an update on conflict."""

from __future__ import annotations

import importlib
from typing import cast

from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

from sdgui.store.tables import Base


def is_postgres(session: Session) -> bool:
    """Whether the session is on a registry."""
    return session.get_bind().dialect.name == "postgresql"


def insert(session: Session, table: type[Base]) -> sqlite.Insert:
    """An INSERT into ``table`` with ``on_conflict_do_update``; PostgreSQL's takes the same arguments."""
    if not is_postgres(session):
        return sqlite.insert(table)
    return cast(sqlite.Insert, importlib.import_module("sqlalchemy.dialects.postgresql").insert(table))
