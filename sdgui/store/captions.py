"""Caption records of the store: the list of the Caption panel, saved when it changes.

Flow: Caption panel -> thread -> ``save_captions`` and ``delete_captions``; the next start reads ``captions`` in parts.
An image is identified by its path; saving it again replaces the saved entry. The list belongs to one user: like marks,
it stays in the local file when a shared registry is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from sdgui.store.sessions import Sessions, batches, parse_object, storable
from sdgui.store.tables import CaptionedImageRow, CaptionOriginRow

_ROWS_PER_BATCH = 60  # each row has six values


@dataclass(frozen=True)
class StoredCaption:
    """An image in the caption list. ``made`` is JSON-compatible: side of the model -> captions."""

    path: str
    position: int  # sort key of the list
    text: str = ""
    origin: str = ""  # who wrote ``text``
    refused: str = ""  # why it cannot be captioned
    made: Mapping[str, Any] = field(default_factory=dict)


class CaptionRecords(Sessions):
    """Reads and writes the caption list."""

    def captions(
        self, after: tuple[int, int] = (-1, -1), limit: int = 500
    ) -> tuple[list[StoredCaption], tuple[int, int]]:
        """The next ``limit`` entries after ``(position, id)``, and the ``(position, id)`` of the last one."""
        row = CaptionedImageRow
        is_later = (row.position > after[0]) | ((row.position == after[0]) & (row.id > after[1]))
        with self._read_local() as session:
            rows = session.scalars(select(row).where(is_later).order_by(row.position, row.id).limit(limit)).all()
            return [_record(entry) for entry in rows], ((rows[-1].position, rows[-1].id) if rows else after)

    def caption_origins(self) -> dict[str, Mapping[str, Any]]:
        """The model, weights and settings of captions, by origin key."""
        with self._read_local() as session:
            return {row.key: parse_object(row.content) or {} for row in session.scalars(select(CaptionOriginRow))}

    def save_captions(self, entries: Sequence[StoredCaption], origins: Mapping[str, Mapping[str, Any]]) -> None:
        """Insert or update entries with their origins, all or nothing."""
        with self._write_local() as session:
            for key, content in origins.items():
                session.merge(CaptionOriginRow(key=key, content=_json(content)))
            for part in batches(entries, _ROWS_PER_BATCH):
                statement = insert(CaptionedImageRow).values([_values(entry) for entry in part])
                updates = {name: statement.excluded[name] for name in ("position", "text", "origin", "refused", "made")}
                session.execute(statement.on_conflict_do_update(index_elements=["path"], set_=updates))

    def delete_captions(self, paths: Iterable[str]) -> None:
        """Remove images from the list."""
        with self._write_local() as session:
            for part in batches([os.fsencode(path) for path in paths]):
                session.execute(delete(CaptionedImageRow).where(CaptionedImageRow.path.in_(part)))


def _values(entry: StoredCaption) -> dict[str, object]:
    return {
        "path": os.fsencode(entry.path),
        "position": entry.position,
        "text": storable(entry.text),
        "origin": entry.origin,
        "refused": storable(entry.refused),
        "made": _json(entry.made),
    }


def _record(row: CaptionedImageRow) -> StoredCaption:
    made = parse_object(row.made) or {}
    return StoredCaption(os.fsdecode(row.path), row.position, row.text, row.origin, row.refused, made)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content)  # ASCII, so that anything can be stored
