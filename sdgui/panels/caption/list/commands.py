"""The undo steps of the list of captions: edits, removals and re-captioning.

Flow: panel -> ``QUndoStack.push`` -> ``CaptionsModel``. A command keeps the entries before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtGui import QUndoCommand

from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import HAND_WRITTEN, SIDES, Entry
from sdgui.widgets.formats import count_with_unit

Text = tuple[str, str]  # text and author of an `Entry`


class WriteTexts(QUndoCommand):
    """Change the captions of some images."""

    def __init__(self, model: CaptionsModel, texts: Mapping[str, Text], title: str) -> None:
        super().__init__(title)
        self._model = model
        self._after = dict(texts)
        self._before = {e.path: (e.text, e.author) for path in texts if (e := model.entry(path)) is not None}
        if len(texts) == 1:
            self.setText(f"{title}: {Path(next(iter(texts))).name}")

    def redo(self) -> None:
        self._write(self._after)

    def undo(self) -> None:
        self._write(self._before)

    def _write(self, texts: Mapping[str, Text]) -> None:
        entries = [(self._model.entry(path), text) for path, text in texts.items()]
        self._model.update([entry.with_text(*text) for entry, text in entries if entry is not None])


class RemoveImages(QUndoCommand):
    """Remove images from the list; undo restores them in place.

    If an image was added again in the meantime, its new entry is kept, unless only the removed one was written by hand.
    """

    def __init__(self, model: CaptionsModel, paths: Sequence[str]) -> None:
        super().__init__(f"Remove {count_with_unit(len(paths), 'image')}")
        self._model = model
        self._paths = list(paths)
        self._entries: list[Entry] = []

    def redo(self) -> None:
        self._entries = [entry for path in self._paths if (entry := self._model.entry(path)) is not None]
        self._model.remove(self._paths)

    def undo(self) -> None:
        self._model.add([_entry_to_restore(entry, self._model.entry(entry.path)) for entry in self._entries])


def _entry_to_restore(removed: Entry, existing: Entry | None) -> Entry:
    """The entry to restore; prefers a caption written by hand. ``existing``: the image's new entry, if any."""
    if existing is None:
        return removed
    return (
        existing.with_text(removed.text, HAND_WRITTEN)
        if removed.author == HAND_WRITTEN and existing.author != HAND_WRITTEN
        else existing
    )


class ReplaceCandidates(QUndoCommand):
    """Replace candidates by new ones; push this when the list already shows the new ones."""

    def __init__(self, model: CaptionsModel, before: Sequence[Entry]) -> None:
        super().__init__(f"Re-caption {count_with_unit(len(before), 'image')}")
        self._model = model
        self._before = list(before)
        self._after = [entry for old_entry in before if (entry := model.entry(old_entry.path)) is not None]
        self._is_first = True  # the first ``redo``, by the undo stack itself, changes nothing

    def redo(self) -> None:
        if not self._is_first:
            self._restore_entries(self._after)
        self._is_first = False

    def undo(self) -> None:
        self._restore_entries(self._before)

    def _restore_entries(self, entries: Sequence[Entry]) -> None:
        """Restore candidates; captions written by hand in the meantime are kept."""
        restored = []
        for entry in entries:
            current = self._model.entry(entry.path)
            if current is not None:
                restored.append(
                    replace(entry, text=current.text, author=HAND_WRITTEN) if current.author == HAND_WRITTEN else entry
                )
        self._model.update(restored)


def typed_text(entry: Entry, text: str) -> Text:
    """The text that the user typed, and its author: the model if the text equals one of its candidates."""
    for side in SIDES:
        if side in entry.captions and any(candidate.text == text for candidate in entry.captions[side].candidates):
            return text, side
    return (text, HAND_WRITTEN) if text else ("", "")
