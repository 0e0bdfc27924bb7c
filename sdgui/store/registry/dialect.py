"""What SQLite and PostgreSQL write differently: an INSERT that updates the row that is there already."""

from __future__ import annotations

import importlib
from typing import cast

from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

from sdgui.store.tables import Base


def insert(session: Session, table: type[Base]) -> sqlite.Insert:
    """An INSERT into ``table`` with ``on_conflict_do_update``; PostgreSQL's takes the same arguments."""
    if session.get_bind().dialect.name != "postgresql":
        return sqlite.insert(table)
    return cast(sqlite.Insert, importlib.import_module("sqlalchemy.dialects.postgresql").insert(table))
