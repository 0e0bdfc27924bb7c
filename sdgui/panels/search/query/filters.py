"""The filter form: folder, label, file size, modification date, grouping of near-identical images.

Flow: worker ``search_facets`` -> ``set_facets``; the user's choice -> ``changed`` -> ``filters()`` for the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLineEdit, QPushButton, QWidget

from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_FIELDS = {
    "min_size": ("at least", "Minimum file size, such as 200 KB or 1.5 MB"),
    "max_size": ("at most", "Maximum file size, such as 200 KB or 1.5 MB"),
    "after": ("from", "Modified on this day or later, such as 2024-05-31"),
    "before": ("before", "Modified before this day, such as 2024-06-30"),
}


class FilterForm(QWidget):
    """The form with one row per filter. ``changed``: the user changed a filter."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._labels: Mapping[str, Sequence[str]] = {}
        self.folder = self._box("Folder", "Only images in this folder and its subfolders")
        self.label = self._box("Label", "Only images with this label column")
        self.value = self._box("Label value", "Only images with this value of the label")
        self.fields = {name: self._field(*texts) for name, texts in _FIELDS.items()}
        self.group = QCheckBox("Group near-identical", self)
        self.group.setToolTip("Group near-identical images under the best match, marked +1, +2,…")
        self.group.setChecked(True)
        self.clear_button = QPushButton("Clear", self)
        self.clear_button.setToolTip("Clear all filters")
        set_role(self.clear_button, "flat")
        self._arrange()
        self.folder.activated.connect(lambda _row: self.changed.emit())
        self.label.activated.connect(self._on_label_chosen)
        self.value.activated.connect(lambda _row: self.changed.emit())
        self.group.toggled.connect(lambda _on: self.changed.emit())
        self.clear_button.clicked.connect(self._clear)
        self.set_facets({"folders": [], "labels": {}})

    def _arrange(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACE)
        size, date = ("min_size", "max_size"), ("after", "before")
        lines: tuple[tuple[str, list[QWidget]], ...] = (
            ("Folder", [self.folder]),
            ("Label", [self.label, self.value]),
            ("Size", [self.fields[name] for name in size]),
            ("Modified", [self.fields[name] for name in date]),
        )
        for row, (text, widgets) in enumerate(lines):
            grid.addWidget(PlainLabel(text, self, role="muted", buddy=widgets[0]), row, 0)
            for column, widget in enumerate(widgets, start=1):
                grid.addWidget(widget, row, column, 1, 3 - len(widgets))
        grid.addWidget(self.group, len(lines), 1)
        grid.addWidget(self.clear_button, len(lines), 2, Qt.AlignmentFlag.AlignRight)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)

    def _box(self, name: str, tip: str) -> ListOnlyComboBox:
        box = ListOnlyComboBox(self)
        box.setAccessibleName(name)
        box.setToolTip(plain_tip(tip))
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(12)
        return box

    def _field(self, hint: str, tip: str) -> QLineEdit:
        line = QLineEdit(self, placeholderText=hint)
        line.setAccessibleName(tip.partition(", such as")[0])
        line.setToolTip(plain_tip(tip))
        line.editingFinished.connect(self._on_edited)
        return line

    # Options
    def set_facets(self, facets: Mapping[str, Any]) -> None:
        """Set the folders and labels to choose from. The current choice is kept, even if it is not listed."""
        filters = self.filters()
        self.folder.clear()
        self.folder.addItem("Any folder", "")
        for folder in facets["folders"]:
            self.folder.addItem(Path(folder).name or folder, folder)
            self.folder.setItemData(self.folder.count() - 1, plain_tip(folder), Qt.ItemDataRole.ToolTipRole)
        self._labels = facets["labels"]
        self.label.clear()
        self.label.addItem("Any label", "")
        for name in self._labels:
            self.label.addItem(name, name)
        self._show(filters)

    # Selection
    def filters(self) -> dict[str, Any]:
        """The worker's arguments; {} if no filter is set."""
        filters: dict[str, Any] = {}
        if folder := self.folder.currentData():
            filters["folders"] = [folder]
        if (name := self.label.currentData()) and (value := self.value.currentData()):
            filters["labels"] = {name: [value]}
        filters |= {name: line.text().strip() for name, line in self.fields.items() if line.text().strip()}
        return filters

    def set_filters(self, filters: Mapping[str, Any], group: bool) -> None:
        """Set the filters without emitting ``changed``."""
        self.group.blockSignals(True)
        self.group.setChecked(group)
        self.group.blockSignals(False)
        self._show(filters)

    def _show(self, filters: Mapping[str, Any]) -> None:
        folders = filters.get("folders")
        self._choose(self.folder, _first(folders), Path(_first(folders)).name)
        labels = filters.get("labels")
        name, values = next(iter(labels.items()), ("", ())) if isinstance(labels, Mapping) else ("", ())
        value = _first(values)
        self._choose(self.label, str(name) if value else "")
        self.label.setEnabled(self.label.count() > 1)
        self._fill_values()
        self._choose(self.value, value)
        self.value.setEnabled(self.value.count() > 1)
        for field, line in self.fields.items():
            line.setText(str(filters.get(field, "")))
            line.setModified(False)

    def _choose(self, box: ListOnlyComboBox, data: str, text: str = "") -> None:
        """Select a value; a value that no image has is added, since its filter is active."""
        if data and box.findData(data) < 0:
            box.addItem(text or data, data)
            text = f"{data} (no images)"
            box.setItemData(box.count() - 1, plain_tip(text), Qt.ItemDataRole.ToolTipRole)
        box.setCurrentIndex(max(0, box.findData(data)))

    def _fill_values(self) -> None:
        self.value.clear()
        self.value.addItem("Any value", "")
        for value in self._labels.get(str(self.label.currentData()), ()):
            if value:
                self.value.addItem(value, value)
        self.value.setEnabled(self.value.count() > 1)

    def _on_label_chosen(self, _row: int) -> None:
        had_value = bool(self.value.currentData())
        self._fill_values()
        if had_value:
            self.changed.emit()

    def _on_edited(self) -> None:
        if any(line.isModified() for line in self.fields.values()):
            for line in self.fields.values():
                line.setModified(False)
            self.changed.emit()

    def _clear(self) -> None:
        self.set_filters({}, True)
        self.changed.emit()


def _first(values: object) -> str:
    """The first folder or value of a filter; "" if there is none."""
    return values[0] if isinstance(values, (list, tuple)) and values and isinstance(values[0], str) else ""
