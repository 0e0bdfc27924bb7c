"""Mark records of the store: the Clean panel's marks on the pairs of a data source.

Flow: Clean panel -> ``mark_pairs``; the next ranking of the same data, by any model, reads ``pair_marks``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from sdgui.store.sessions import Sessions, batches, storable
from sdgui.store.tables import PairMarkRow

Pair = tuple[str, str]  # image path, caption


class MarkRecords(Sessions):
    """Reads and writes marks."""

    def pair_marks(self, source: str) -> dict[Pair, bool]:
        """For each marked pair: True if marked mismatched, False if marked correct."""
        query = select(PairMarkRow).where(PairMarkRow.source == os.fsencode(source))
        with self._read_local() as session:
            return {(os.fsdecode(row.path), row.caption): row.wrong for row in session.scalars(query)}

    def mark_pairs(self, source: str, marks: Mapping[Pair, bool | None]) -> None:
        """Mark pairs as mismatched (True) or correct (False), or remove the mark (None); all or nothing."""
        key = os.fsencode(source)
        entries = [((os.fsencode(path), storable(caption)), mark) for (path, caption), mark in marks.items()]
        with self._write_local() as session:
            for part in batches(entries, 100):
                matches = tuple_(PairMarkRow.path, PairMarkRow.caption).in_([pair for pair, _ in part])
                session.execute(delete(PairMarkRow).where(PairMarkRow.source == key, matches))
                rows = [
                    {"source": key, "path": path, "caption": caption, "wrong": mark}
                    for (path, caption), mark in part
                    if mark is not None
                ]
                if rows:
                    session.execute(insert(PairMarkRow), rows)
