"""What an experiment changes of its preset: a list of fields with both values; choosing one goes to its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from sdgui.shared.form.texts import field_title, value_text
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role


class Differences(QWidget):
    """``field_chosen``: a dotted field was activated in the list."""

    field_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = PlainLabel(self)
        set_role(self.title, "title")
        self._hint = PlainLabel(self, wordWrap=True)
        set_role(self._hint, "muted")
        self.list = QTreeWidget(self)
        self.list.setAccessibleName("Differences from the preset")
        self.list.setHeaderLabels(["Field", "Preset", "This experiment"])
        self.list.setRootIsDecorated(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            self.list.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.list.header().setStretchLastSection(False)
        self.list.itemActivated.connect(self._choose)
        self.list.itemClicked.connect(self._choose)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE, 0, 0, 0)
        layout.setSpacing(SPACE)
        layout.addWidget(self.title)
        layout.addWidget(self._hint)
        layout.addWidget(self.list, 1)

    def show_changes(self, changes: Mapping[str, tuple[Any, Any]], preset: str) -> None:
        """List ``changes`` (dotted field -> preset's value, ours) to the preset called ``preset``."""
        self.list.clear()
        for field, (theirs, ours) in changes.items():
            item = QTreeWidgetItem([field_title(field), value_text(theirs), value_text(ours)])
            item.setData(0, Qt.ItemDataRole.UserRole, field)
            for column in range(3):
                item.setToolTip(
                    column, plain_tip(f"{field}\npreset: {value_text(theirs)}\nthis experiment: {value_text(ours)}")
                )
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.list.addTopLevelItem(item)
        number = len(changes)
        self.title.setText(f"{number} difference{'s' if number > 1 else ''}")
        self._hint.setText(f"from the settings of {preset}")
        self.setVisible(bool(number))

    def _choose(self, item: QTreeWidgetItem) -> None:
        self.field_chosen.emit(item.data(0, Qt.ItemDataRole.UserRole))
