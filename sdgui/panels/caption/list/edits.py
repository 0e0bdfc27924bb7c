"""What a person does to captions: typing, taking candidates, replacing everywhere, removing; each one step of undo."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from sdgui.panels.caption.list.commands import RemovePictures, Text, WriteTexts, typed
from sdgui.panels.caption.list.replace import Finder
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import Entry, Side
from sdgui.widgets.formats import count
from sdgui.widgets.message import Remedy, ShowMessage, info


class CaptionEdits(QObject):
    """Works on the list's chosen entries; ``undo`` remembers."""

    def __init__(
        self, model: CaptionsModel, view: CaptionsList, undo: QUndoStack, show_message: ShowMessage, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._model, self._list, self._undo, self._show_message = model, view, undo, show_message
        model.edit_asked.connect(self.type)

    def type(self, path: str, text: str) -> None:
        """A person wrote ``text``."""
        entry = self._model.entry(path)
        if entry is not None and text != entry.text:
            self.write({path: typed(entry, text)}, "Edit")

    def write(self, texts: Mapping[str, Text], what: str) -> None:
        """Other captions, as one step."""
        if texts:
            self._undo.push(WriteTexts(self._model, texts, what))

    def take_best(self, side: Side) -> None:
        """The model's best candidate becomes the caption of each chosen picture."""
        texts: dict[str, Text] = {}
        for entry in self._list.selected():
            best = entry.captions[side].best if side in entry.captions else None
            if best is not None and (best.text, side) != (entry.text, entry.origin):
                texts[entry.path] = (best.text, side)
        self.write(texts, "Take the model's caption")

    def take_first(self) -> None:
        """The model's best."""
        self.take_best("a")

    def take_second(self) -> None:
        """The second model's best."""
        self.take_best("b")

    def changeable(self) -> list[Entry]:
        """What replacing works on: the chosen ones where several are, else all that are shown."""
        chosen = self._list.selected()
        return [entry for entry in (chosen if len(chosen) > 1 else self._model.shown()) if entry.text]

    def texts(self) -> list[str]:
        """Their captions."""
        return [entry.text for entry in self.changeable()]

    def replace_all(self, found: Finder) -> None:
        """Replace everywhere in ``changeable``, as one step."""
        texts: dict[str, Text] = {}
        places = 0
        for entry in self.changeable():
            text, number = found.replaced(entry.text)
            text = " ".join(text.split())
            if number and text != entry.text:
                places += number
                texts[entry.path] = typed(entry, text)
        self.write(texts, f"Replace in {count(len(texts))} captions")
        if texts:
            where = "1 caption" if len(texts) == 1 else f"{count(len(texts))} captions"
            self._show_message(info(f"Replaced {count(places)} in {where}.", remedy=Remedy("Undo", self._undo.undo)))

    def remove(self) -> None:
        """Take the chosen pictures out of the list; their files stay."""
        chosen = self._list.selected()
        if not chosen:
            return
        row = self._model.row(chosen[0].path)
        self._undo.push(RemovePictures(self._model, [entry.path for entry in chosen]))
        if self._model.rowCount():
            self._list.choose(self._model.at(min(row, self._model.rowCount() - 1)).path)
