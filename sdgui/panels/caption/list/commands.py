"""The undo steps of the list of captions: an edit, a replacement everywhere, a removal, a re-captioning.

Flow: panel -> ``QUndoStack.push`` -> ``CaptionsModel``. A command keeps the entries before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from PySide6.QtGui import QUndoCommand

from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import HAND, SIDES, Entry

Text = tuple[str, str]  # a caption and its author


class WriteTexts(QUndoCommand):
    """Change the captions of some pictures."""

    def __init__(self, model: CaptionsModel, texts: Mapping[str, Text], what: str) -> None:
        super().__init__(what)
        self._model = model
        self._after = dict(texts)
        self._before = {e.path: (e.text, e.origin) for path in texts if (e := model.entry(path)) is not None}
        if len(texts) == 1:
            self.setText(f"{what}: {next(iter(self._before), '').rpartition('/')[2]}")

    def redo(self) -> None:
        self._write(self._after)

    def undo(self) -> None:
        self._write(self._before)

    def _write(self, texts: Mapping[str, Text]) -> None:
        entries = [(self._model.entry(path), text) for path, text in texts.items()]
        self._model.update([entry.with_text(*text) for entry, text in entries if entry is not None])


class RemovePictures(QUndoCommand):
    """Remove pictures from the list; undo puts them back where they were.

    A picture added again in the meantime stays as it is, unless only the removed entry's caption was written by hand.
    """

    def __init__(self, model: CaptionsModel, paths: Sequence[str]) -> None:
        super().__init__("Remove 1 picture" if len(paths) == 1 else f"Remove {len(paths)} pictures")
        self._model = model
        self._paths = list(paths)
        self._entries: list[Entry] = []

    def redo(self) -> None:
        self._entries = [entry for path in self._paths if (entry := self._model.entry(path)) is not None]
        self._model.remove(self._paths)

    def undo(self) -> None:
        self._model.add([_restored(entry, self._model.entry(entry.path)) for entry in self._entries])


def _restored(removed: Entry, now: Entry | None) -> Entry:
    """The entry to put back, where ``now`` may be the same picture added again: no text written by hand is lost."""
    if now is None:
        return removed
    return now.with_text(removed.text, HAND) if removed.origin == HAND and now.origin != HAND else now


class CaptionedAgain(QUndoCommand):
    """Replace candidates by new ones, which are in the list already when this is pushed."""

    def __init__(self, model: CaptionsModel, before: Sequence[Entry]) -> None:
        count = len(before)
        super().__init__("Re-caption 1 picture" if count == 1 else f"Re-caption {count} pictures")
        self._model = model
        self._before = list(before)
        self._after = [entry for one in before if (entry := model.entry(one.path)) is not None]
        self._first = True

    def redo(self) -> None:
        if not self._first:
            self._put(self._after)
        self._first = False

    def undo(self) -> None:
        self._put(self._before)

    def _put(self, entries: Sequence[Entry]) -> None:
        """Restore candidates; captions written by hand in the meantime are kept."""
        put = []
        for entry in entries:
            now = self._model.entry(entry.path)
            if now is not None:
                put.append(replace(entry, text=now.text, origin=HAND) if now.origin == HAND else entry)
        self._model.update(put)


def typed(entry: Entry, text: str) -> Text:
    """A typed text and its author: typing a candidate's text makes it the model's caption again."""
    for side in SIDES:
        if side in entry.captions and any(one.text == text for one in entry.captions[side].candidates):
            return text, side
    return (text, HAND) if text else ("", "")
