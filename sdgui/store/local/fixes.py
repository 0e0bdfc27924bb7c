"""Basket records of the store: data fixes collected in panels and not applied yet.

Flow: ``sdgui.shared.basket`` -> ``add_fixes`` and ``remove_fixes``; the next start reads ``fixes``. Like marks, they
belong to one user and stay in the local file when a shared registry is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from core.spec.data.fixes import FIX_KINDS, Fix
from sdgui.store.sessions import Sessions, batches, storable
from sdgui.store.tables import FixRow

_BATCH_SIZE = 100  # SQLite limits the depth of an expression


@dataclass(frozen=True)
class StoredFix:
    """A fix in the basket. ``source``: the data source to fix; "" for every source that contains the image.

    ``unknown_kind``: the kind of a fix from a later version, which this version keeps and shows but cannot apply.
    """

    id: int
    source: str
    fix: Fix
    unknown_kind: str = ""


@dataclass(frozen=True)
class BasketChange:
    """Entries that a change of the basket added and removed; swap them to undo it."""

    added: tuple[StoredFix, ...] = ()
    removed: tuple[StoredFix, ...] = ()


class FixRecords(Sessions):
    """Reads and writes the fixes in the basket."""

    def fixes(self) -> tuple[StoredFix, ...]:
        """All fixes in the basket, oldest first."""
        with self._read_local() as session:
            return tuple(map(_record, session.scalars(select(FixRow).order_by(FixRow.id))))

    def fix_count(self) -> int:
        """The number of fixes in the basket."""
        with self._read_local() as session:
            return session.scalar(select(func.count()).select_from(FixRow)) or 0

    def add_fixes(self, source: str, fixes: Sequence[Fix]) -> BasketChange:
        """Add fixes, replacing earlier fixes of the same pair, image or label; all or nothing.

        Returns the added and the replaced entries.
        """
        last = {_key(source, fix): StoredFix(0, source, fix) for fix in fixes}  # the last fix of each subject
        return self.change_basket(BasketChange(added=tuple(last.values())))

    def change_basket(self, change: BasketChange) -> BasketChange:
        """Replace the entries for the images and pairs in ``change`` with ``change.added``, in one transaction."""
        with self._write_local() as session:  # matched by subject, because a restored entry gets a new id
            subjects = (_key(stored.source, stored.fix) for stored in (*change.removed, *change.added))
            removed = _take(session, [_has_key(key) for key in subjects])
            rows = [_row(stored.source, stored.fix, stored.unknown_kind) for stored in change.added]
            session.add_all(rows)
            session.flush()
            return BasketChange(tuple(map(_record, rows)), removed)

    def remove_fixes(self, ids: Iterable[int]) -> BasketChange:
        """Remove entries from the basket."""
        with self._write_local() as session:
            return BasketChange((), _take(session, [FixRow.id == fix_id for fix_id in ids]))


_Key = tuple[bytes, bytes, str, str]


def _key(source: str, fix: Fix) -> _Key:
    return os.fsencode(source), os.fsencode(fix.path), storable(fix.caption), storable(fix.label)


def _has_key(key: _Key) -> ColumnElement[bool]:
    source, path, caption, label = key
    return and_(FixRow.source == source, FixRow.path == path, FixRow.caption == caption, FixRow.label == label)


def _take(session: Session, conditions: Sequence[ColumnElement[bool]]) -> tuple[StoredFix, ...]:
    """Delete and return the rows that match any of ``conditions``."""
    removed: list[StoredFix] = []
    for part in batches(conditions, _BATCH_SIZE):
        rows = session.scalars(select(FixRow).where(or_(*part))).all()
        removed += map(_record, rows)
        session.execute(delete(FixRow).where(FixRow.id.in_([row.id for row in rows])))
    session.expunge_all()
    return tuple(removed)


def _row(source: str, fix: Fix, unknown_kind: str) -> FixRow:
    source_bytes, path, caption, label = _key(source, fix)
    return FixRow(
        source=source_bytes,
        path=path,
        caption=caption,
        label=label,
        kind=unknown_kind or fix.kind,
        value=storable(fix.value),
        panel=fix.panel,
        run=storable(fix.run),
        found=fix.found or time.time(),
    )


def _record(row: FixRow) -> StoredFix:
    kind = next((known_kind for known_kind in FIX_KINDS if known_kind == row.kind), None)
    same = {name: getattr(row, name) for name in ("caption", "value", "label", "panel", "run", "found")}
    fix = Fix(kind=kind or "excluded", path=os.fsdecode(row.path), **same)
    return StoredFix(row.id, os.fsdecode(row.source), fix, "" if kind else row.kind)
