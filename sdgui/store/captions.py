"""The captions' part of the store: the list of the Caption panel, saved as it changes.

Flow: Caption panel -> thread -> ``keep_captions`` and ``forget_captions``; the next start reads ``captions`` in parts.
An image is known by its path; keeping it again replaces what was kept. The list is its user's own: beside a shared
registry it stays in the file at home, and so do the marks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from sdgui.store.sessions import Sessions, storable
from sdgui.store.tables import CaptionedImageRow, CaptionOriginRow

_AT_ONCE = 400  # values in one statement; SQLite has a limit
_ROWS_AT_ONCE = 60


@dataclass(frozen=True)
class KeptCaption:
    """An image of the list. ``made`` is JSON's plain data: model's side -> its captions."""

    path: str
    position: int  # the list is sorted by it
    text: str = ""
    origin: str = ""  # who wrote ``text``
    refused: str = ""  # why it cannot be captioned
    made: Mapping[str, Any] = field(default_factory=dict)


class CaptionRecords(Sessions):
    """The caption list: saved, removed, read back."""

    def captions(
        self, after: tuple[int, int] = (-1, -1), limit: int = 500
    ) -> tuple[list[KeptCaption], tuple[int, int]]:
        """The next ``limit`` entries after ``(position, id)``, and the ``(position, id)`` of the last one."""
        row = CaptionedImageRow
        is_later = (row.position > after[0]) | ((row.position == after[0]) & (row.id > after[1]))
        with self._read_own() as session:
            rows = session.scalars(select(row).where(is_later).order_by(row.position, row.id).limit(limit)).all()
            return [_record(entry) for entry in rows], ((rows[-1].position, rows[-1].id) if rows else after)

    def caption_origins(self) -> dict[str, Mapping[str, Any]]:
        """Key -> which model, weights and settings."""
        with self._read_own() as session:
            return {row.key: _object(row.content) for row in session.scalars(select(CaptionOriginRow))}

    def keep_captions(self, entries: Sequence[KeptCaption], origins: Mapping[str, Mapping[str, Any]]) -> None:
        """Insert or update these entries, and the origins that they name; all or nothing."""
        with self._write_own() as session:
            for key, content in origins.items():
                session.merge(CaptionOriginRow(key=key, content=_json(content)))
            for start in range(0, len(entries), _ROWS_AT_ONCE):
                part = entries[start : start + _ROWS_AT_ONCE]
                new = insert(CaptionedImageRow).values([_values(entry) for entry in part])
                updates = {name: new.excluded[name] for name in ("position", "text", "origin", "refused", "made")}
                session.execute(new.on_conflict_do_update(index_elements=["path"], set_=updates))

    def forget_captions(self, paths: Iterable[str]) -> None:
        """Remove these from the list."""
        keys = [os.fsencode(path) for path in paths]
        with self._write_own() as session:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                session.execute(delete(CaptionedImageRow).where(CaptionedImageRow.path.in_(part)))


def _values(entry: KeptCaption) -> dict[str, object]:
    return {
        "path": os.fsencode(entry.path),
        "position": entry.position,
        "text": storable(entry.text),
        "origin": entry.origin,
        "refused": storable(entry.refused),
        "made": _json(entry.made),
    }


def _record(row: CaptionedImageRow) -> KeptCaption:
    return KeptCaption(os.fsdecode(row.path), row.position, row.text, row.origin, row.refused, _object(row.made))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content)  # ASCII, so that anything can be stored


def _object(text: str) -> Mapping[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):  # written by another program
        return {}
    return raw if isinstance(raw, dict) else {}
