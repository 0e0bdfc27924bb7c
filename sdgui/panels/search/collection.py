"""The images to search: a run's validation split, a folder or table, or for each model an index on disk.

Flow: the user's choice or a dropped folder -> ``changed(side)`` -> `sdgui.panels.search.source` creates the targets.
"""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QSizePolicy, QWidget

from core.spec.shards import may_exist
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.widgets.file_dialogs import ask_folder
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import set_role

HELD_OUT, DATA, INDEX = "held-out", "data", "index"
_INDEXES = "search/indexes"
_MAX_RECENT = 8  # indexes to choose from


class CollectionBox(QWidget):
    """The content of the popover *Search in*. Side 0 is the first model, side 1 the second."""

    changed = Signal(int)  # side whose collection changed; -1: both
    folder_chosen = Signal()
    sheet_toggled = Signal(bool)  # show or hide the index sheet
    close_requested = Signal()  # close the popover: a dialog opens, or the choice is made

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = services.settings
        self._comparing = False
        self.kind_box = ListOnlyComboBox(self)
        self.data = DataPicker(services, images_only=True, parent=self)
        self.indexes = (self._index_box("Index"), self._index_box("Second model's index"))
        self.browse = IconButton("ph.folder-open", "Choose an index on disk", parent=self)
        self.facts = PlainLabel("No images are open yet.", self, wordWrap=True)
        self.folder_button = QPushButton("Search a folder…", self)
        self.sheet_button = QPushButton("Index…", self)
        self._build()
        self.kind_box.activated.connect(lambda _row: self._emit_changed())
        self.data.changed.connect(lambda _source: self._emit_changed())
        for side, box in enumerate(self.indexes):
            box.activated.connect(lambda _row, side=side: self._emit_changed(side))
        self.browse.clicked.connect(self.ask_index)
        self.folder_button.clicked.connect(self.ask_folder)
        self.sheet_button.toggled.connect(self.sheet_toggled)
        self._show()

    def _index_box(self, name: str) -> ListOnlyComboBox:
        box = ListOnlyComboBox(self)
        box.setAccessibleName(name)
        box.setPlaceholderText("Choose an index")
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(12)
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for folder in self._recent():
            box.addItem(short_folder(folder), folder)
        box.setCurrentIndex(-1)
        return box

    def _build(self) -> None:
        self.kind_box.addItem("Validation split of the run", HELD_OUT)
        self.kind_box.addItem("A folder or a table", DATA)
        self.kind_box.addItem("An index on disk", INDEX)
        self.kind_box.setAccessibleName("Images to search")
        self.kind_box.setToolTip("A run's validation split, a table or folder, or an index on disk")
        self.folder_button.setToolTip("Choose and search a folder of images (Ctrl+Alt+O)")
        self.sheet_button.setCheckable(True)
        self.sheet_button.setToolTip("Build, refresh or relocate an index")
        set_role(self.facts, "muted")
        indexes = hbox(*((box, 1) for box in self.indexes), self.browse)
        buttons = hbox(self.folder_button, self.sheet_button, None)
        vbox(self.kind_box, self.data, indexes, self.facts, buttons, into=self)

    # Selection
    @property
    def kind(self) -> str:
        """HELD_OUT, DATA or INDEX."""
        return str(self.kind_box.currentData())

    def index(self, side: int) -> str:
        """The folder of this side's index; "" if none is chosen."""
        return str(self.indexes[side].currentData() or "")

    def title(self) -> str:
        """The title of the collection, such as ``Validation split``."""
        if self.kind == DATA:
            return Path(self.data.source()).name or "Choose images"
        if self.kind == INDEX:
            return short_folder(self.index(0)) if self.index(0) else "Choose an index"
        return "Validation split"

    def set_kind(self, kind: str) -> None:
        """Select the kind of collection without emitting ``changed``."""
        self.kind_box.setCurrentIndex(max(0, self.kind_box.findData(kind)))
        self._show()

    def set_comparing(self, comparing: bool) -> None:
        """Show or hide the choice of the second model's index."""
        self._comparing = comparing
        self._show()

    def search_folder(self, folder: str) -> None:
        """Search a folder of images or a table."""
        same = self.kind == DATA and self.data.source() == folder
        self._set_data(folder)
        self.set_kind(DATA)
        if not same:
            self.changed.emit(-1)
        self.folder_chosen.emit()

    def show_index(self, side: int, folder: str) -> None:
        """Choose an index for a side, and add it to the recent indexes."""
        older = [recent for recent in self._recent() if recent != folder]
        self._settings.setValue(_INDEXES, json.dumps([folder, *older][:_MAX_RECENT]))
        for box in self.indexes:
            if box.findData(folder) < 0:
                box.insertItem(0, short_folder(folder), folder)
        self.indexes[side].setCurrentIndex(self.indexes[side].findData(folder))
        changes_both = self.kind != INDEX  # the other side changes too
        self.set_kind(INDEX)
        self.changed.emit(-1 if changes_both else side)

    def _set_data(self, source: str) -> None:
        with QSignalBlocker(self.data):
            self.data.set_source(source)

    def _emit_changed(self, side: int = -1) -> None:
        self._show()
        self.changed.emit(side)

    def _show(self) -> None:
        self.data.setVisible(self.kind == DATA)
        self.indexes[0].setVisible(self.kind == INDEX)
        self.indexes[1].setVisible(self.kind == INDEX and self._comparing)
        self.browse.setVisible(self.kind == INDEX)

    # Dialogs
    def ask_folder(self) -> None:
        """Choose a folder of images in a dialog."""
        self.close_requested.emit()
        if folder := ask_folder(self, "Folder of images to search", self.data.source()):
            self.search_folder(str(folder))

    def ask_index(self) -> None:
        """Choose an index in a dialog: for the second side if only this side has none, otherwise for the first."""
        side = int(self._comparing and bool(self.index(0)) and not self.index(1))
        if folder := ask_folder(self, "Index folder (contains manifest.json)"):
            self.show_index(side, str(folder))

    # Saved choices
    def state(self) -> dict[str, object]:
        """The choices to restore at the next start."""
        return {
            "where": self.kind,
            "data": self.data.source(),
            "indexes": [str(box.currentData() or "") for box in self.indexes],
        }

    def restore(self, state: dict[str, object]) -> None:
        """Restore the choices from ``state()`` without emitting ``changed``; missing sources are ignored."""
        data = str(state.get("data") or "")
        if may_exist(data):
            self._set_data(data)
        indexes = state.get("indexes")
        for box, folder in zip(self.indexes, indexes if isinstance(indexes, list) else [], strict=False):
            box.setCurrentIndex(box.findData(str(folder)) if folder else -1)
        self.set_kind(str(state.get("where")))

    def _recent(self) -> list[str]:
        return [folder for folder in parse_stored(self._settings.value(_INDEXES), list) if isinstance(folder, str)]


def short_folder(folder: str) -> str:
    """A folder's short name ``parent/name``."""
    path = Path(folder)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name
