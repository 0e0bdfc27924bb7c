"""The marks' part of the store: the marks of the Clean panel on the pairs of a data source.

Flow: Clean panel -> ``mark_pairs``; the next ranking of the same data, by whatever model, reads ``pair_marks``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from sdgui.store.sessions import Sessions, storable
from sdgui.store.tables import PairMarkRow

_AT_ONCE = 100

Pair = tuple[str, str]  # path of the image, caption


class MarkRecords(Sessions):
    """Marks: read, set, removed."""

    def pair_marks(self, source: str) -> dict[Pair, bool]:
        """Pair -> whether it was marked mismatched (else right)."""
        query = select(PairMarkRow).where(PairMarkRow.source == os.fsencode(source))
        with self._read_own() as session:
            return {(os.fsdecode(row.path), row.caption): row.wrong for row in session.scalars(query)}

    def mark_pairs(self, source: str, marks: Mapping[Pair, bool | None]) -> None:
        """Mark pairs wrong (True) or right (False), or remove their mark (None); all or nothing."""
        key = os.fsencode(source)
        entries = [((os.fsencode(path), storable(caption)), mark) for (path, caption), mark in marks.items()]
        with self._write_own() as session:
            for start in range(0, len(entries), _AT_ONCE):
                part = entries[start : start + _AT_ONCE]
                pairs = [pair for pair, _ in part]
                matches = tuple_(PairMarkRow.path, PairMarkRow.caption).in_(pairs)
                session.execute(delete(PairMarkRow).where(PairMarkRow.source == key, matches))
                rows = [
                    {"source": key, "path": path, "caption": caption, "wrong": mark}
                    for (path, caption), mark in part
                    if mark is not None
                ]
                if rows:
                    session.execute(insert(PairMarkRow), rows)
