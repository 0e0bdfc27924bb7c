"""Edits tags and notes of many runs together; each change returns its inverse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from sdgui.store.registry.activity import record_activity
from sdgui.store.sessions import Sessions, batches, clean_line, storable, tag_rows
from sdgui.store.tables import RunRow


@dataclass(frozen=True)
class TagChange:
    """Tags to add to a run and to remove from it."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class TaggingRecords(Sessions):
    """Edits many runs in one transaction."""

    def change_tags(self, changes: Mapping[int, TagChange]) -> dict[int, TagChange]:
        """Add and remove tags of runs; returns the inverse changes of the runs that did change.

        Tags that others have added in the meantime are kept. Deleted runs are skipped.
        """
        undo: dict[int, TagChange] = {}
        with self._write() as session:
            added = (name for change in changes.values() for name in change.add)
            new_tags = {tag.name.casefold(): tag for tag in tag_rows(session, added)}
            for row in self._rows(session, changes):
                change = changes[row.id]
                current = {tag.name.casefold(): tag for tag in row.tags}
                new = {key for name in change.add if (key := clean_line(name).casefold()) and key not in current}
                removed = {clean_line(name).casefold() for name in change.remove} & current.keys()
                if not new and not removed:
                    continue
                undo[row.id] = TagChange(
                    tuple(current[key].name for key in removed), tuple(new_tags[key].name for key in new)
                )
                row.tags = [tag for key, tag in current.items() if key not in removed] + [new_tags[key] for key in new]
                record_activity(session, "tagged", row)
        return undo

    def change_notes(self, notes: Mapping[int, str]) -> dict[int, str]:
        """Replace the notes of runs; returns the previous notes of runs whose note changed."""
        undo: dict[int, str] = {}
        with self._write() as session:
            for row in self._rows(session, notes):
                note = storable(notes[row.id])
                if note != row.note:
                    undo[row.id] = row.note
                    record_activity(session, "wrote the note of", row, row.note)
                    row.note = note
        return undo

    @staticmethod
    def _rows(session: Session, run_ids: Iterable[int]) -> Iterator[RunRow]:
        for part in batches(sorted(run_ids)):
            yield from session.scalars(select(RunRow).where(RunRow.id.in_(part)))
