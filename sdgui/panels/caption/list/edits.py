"""Edits of captions: typing, accepting candidates, find and replace, removing; each is one undo step."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from sdgui.panels.caption.list.commands import RemoveImages, Text, WriteTexts, typed_text
from sdgui.panels.caption.list.replace import Finder
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import Entry, Side
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.message import Message, Remedy, ShowMessage, info


class CaptionEdits(QObject):
    """Edits the selected entries of the list through the undo stack."""

    def __init__(
        self, model: CaptionsModel, view: CaptionsList, undo: QUndoStack, show_message: ShowMessage, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._model, self._list, self._undo, self._show_message = model, view, undo, show_message
        self.replace_message: Message | None = None  # reports the last replacement and offers to undo it
        model.edit_requested.connect(self.set_typed_text)

    def set_typed_text(self, path: str, text: str) -> None:
        """Set the caption that the user typed."""
        entry = self._model.entry(path)
        if entry is not None and text != entry.text:
            self.write({path: typed_text(entry, text)}, "Edit")

    def write(self, texts: Mapping[str, Text], title: str) -> None:
        """Change captions in one undo step."""
        if texts:
            self._undo.push(WriteTexts(self._model, texts, title))

    def accept_best(self, side: Side) -> None:
        """Use the model's best candidate as the caption of each selected image."""
        texts: dict[str, Text] = {}
        for entry in self._list.selected():
            best = entry.captions[side].best if side in entry.captions else None
            if best is not None and (best.text, side) != (entry.text, entry.author):
                texts[entry.path] = (best.text, side)
        self.write(texts, "Accept the model's caption")

    def entries_to_edit(self) -> list[Entry]:
        """The entries that replacing changes: the selected ones if several are selected, otherwise all shown."""
        selected = self._list.selected()
        return [entry for entry in (selected if len(selected) > 1 else self._model.visible_entries()) if entry.text]

    def texts(self) -> list[str]:
        """The captions that replacing changes."""
        return [entry.text for entry in self.entries_to_edit()]

    def replace_all(self, finder: Finder) -> None:
        """Replace in all ``entries_to_edit``, in one undo step."""
        texts: dict[str, Text] = {}
        match_count = 0
        for entry in self.entries_to_edit():
            text, number = finder.replaced(entry.text)
            text = " ".join(text.split())
            if number and text != entry.text:
                match_count += number
                texts[entry.path] = typed_text(entry, text)
        self.write(texts, f"Replace in {count_with_unit(len(texts), 'caption')}")
        if texts:
            text = f"Replaced {count(match_count)} in {count_with_unit(len(texts), 'caption')}."
            self.replace_message = info(text, remedy=Remedy("Undo", self._undo.undo))
            self._show_message(self.replace_message)

    def remove(self) -> None:
        """Remove the selected images from the list; the image files are kept."""
        selected = self._list.selected()
        if not selected:
            return
        row = self._model.row(selected[0].path)
        self._undo.push(RemoveImages(self._model, [entry.path for entry in selected]))
        if self._model.rowCount():
            self._list.choose(self._model.entry_at(min(row, self._model.rowCount() - 1)).path)
