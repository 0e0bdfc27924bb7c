"""The basket's part of the store: fixes of data sources that were found in panels and not applied yet.

Flow: ``sdgui.shared.basket`` -> ``put_fixes`` and ``take_fixes``; the next start reads ``fixes``. Like marks, they are
their user's own: beside a shared registry they stay in the file at home.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from core.spec.data.fixes import KINDS, Fix
from sdgui.store.sessions import Sessions, storable
from sdgui.store.tables import FixRow

_AT_ONCE = 100


@dataclass(frozen=True)
class StoredFix:
    """A fix in the basket. ``source``: the data that it is of; "" for whichever have its image.

    ``later``: the kind of one that a later version put in; it is kept and shown, and this version cannot apply it.
    """

    id: int
    source: str
    fix: Fix
    later: str = ""


@dataclass(frozen=True)
class Exchange:
    """What a change of the basket added and removed: undoing it swaps the two."""

    put: tuple[StoredFix, ...] = ()
    removed: tuple[StoredFix, ...] = ()


class FixRecords(Sessions):
    """Fixes: list, add, remove."""

    def fixes(self) -> tuple[StoredFix, ...]:
        """All, in the order in which they were put in."""
        with self._read_own() as session:
            return tuple(map(_record, session.scalars(select(FixRow).order_by(FixRow.id))))

    def fix_count(self) -> int:
        """The number of fixes."""
        with self._read_own() as session:
            return session.scalar(select(func.count()).select_from(FixRow)) or 0

    def put_fixes(self, source: str, fixes: Sequence[Fix]) -> Exchange:
        """Put them in, in place of those of the same pair, image or label; all or nothing.

        Returns the new entries, and those that they replaced.
        """
        last = {_key(source, fix): fix for fix in fixes}  # of two fixes of one subject the later counts
        with self._write_own() as session:
            replaced = _take(session, [_same(key) for key in last])
            rows = [_row(source, fix) for fix in last.values()]
            session.add_all(rows)
            session.flush()
            return Exchange(tuple(map(_record, rows)), replaced)

    def exchange_fixes(self, change: Exchange) -> Exchange:
        """Replace the entries of the images and pairs in ``change`` by ``change.put``, in one transaction."""
        with self._write_own() as session:  # by subject: a restored entry has another id
            removed = _take(
                session, [_same(_key(stored.source, stored.fix)) for stored in (*change.removed, *change.put)]
            )
            rows = [_row(stored.source, stored.fix, stored.later) for stored in change.put]
            session.add_all(rows)
            session.flush()
            return Exchange(tuple(map(_record, rows)), removed)

    def take_fixes(self, ids: Iterable[int]) -> Exchange:
        """Remove these entries."""
        with self._write_own() as session:
            return Exchange((), _take(session, [FixRow.id == fix_id for fix_id in ids]))


_Key = tuple[bytes, bytes, str, str]


def _key(source: str, fix: Fix) -> _Key:
    return os.fsencode(source), os.fsencode(fix.path), storable(fix.caption), storable(fix.label)


def _same(key: _Key) -> ColumnElement[bool]:
    source, path, caption, label = key
    return and_(FixRow.source == source, FixRow.path == path, FixRow.caption == caption, FixRow.label == label)


def _take(session: Session, conditions: Sequence[ColumnElement[bool]]) -> tuple[StoredFix, ...]:
    """Delete and return the rows that any of ``conditions`` is true of."""
    removed: list[StoredFix] = []
    for start in range(0, len(conditions), _AT_ONCE):
        rows = session.scalars(select(FixRow).where(or_(*conditions[start : start + _AT_ONCE]))).all()
        removed += map(_record, rows)
        session.execute(delete(FixRow).where(FixRow.id.in_([row.id for row in rows])))
    session.expunge_all()
    return tuple(removed)


def _row(source: str, fix: Fix, unknown_kind: str = "") -> FixRow:
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
    kind = next((known_kind for known_kind in KINDS if known_kind == row.kind), None)
    fix = Fix(
        kind=kind or "excluded",
        path=os.fsdecode(row.path),
        caption=row.caption,
        value=row.value,
        label=row.label,
        panel=row.panel,
        run=row.run,
        found=row.found,
    )
    return StoredFix(row.id, os.fsdecode(row.source), fix, "" if kind else row.kind)
