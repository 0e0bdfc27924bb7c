"""Shows the samples that a script logged: images, tables and texts by name.

Flow: ``Sample`` "logged" of a run's events -> ``show_content`` -> names on the left, images, table or text of the
selected name on the right. Imported events may contain anything; what `core.tracking.media` does not write is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QListWidget,
    QPlainTextEdit,
    QSplitter,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from core.spec.reading import excerpt
from core.spec.report.logged import is_outside_folder
from sdgui.shared.tables import style_table
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem

_MAX_NAMES, _MAX_IMAGES, _MAX_ROWS, _MAX_COLUMNS, _MAX_TEXT_LENGTH = 200, 100, 1000, 100, 20_000


class LoggedSamples(QSplitter):
    """The samples of one step, with a list of names."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._content: Mapping[str, Any] = {}
        self._folder = Path()
        self.names = QListWidget(self)
        self.names.setAccessibleName("Sample names")
        self._pages = QStackedWidget(self)
        self.gallery = Gallery(empty_text="", parent=self._pages)
        self.table = QTableWidget(0, 0, self._pages)
        self.table.setAccessibleName("Logged table")
        style_table(self.table)
        self.text = QPlainTextEdit(self._pages, readOnly=True)
        self.text.setAccessibleName("Logged text")
        for page in (self.gallery, self.table, self.text):
            self._pages.addWidget(page)
        self.setSizes([240, 640])
        self.names.currentTextChanged.connect(self._show_sample)

    def show_content(self, content: Mapping[str, Any], folder: Path) -> None:
        """Show the samples of a step. ``folder``: the run's folder; image paths are relative to it."""
        self._content, self._folder = dict(list(content.items())[:_MAX_NAMES]), folder
        names, current = list(self._content), self.names.currentItem()
        selected_name = current.text() if current is not None else ""
        if names != [self.names.item(row).text() for row in range(self.names.count())]:
            with QSignalBlocker(self.names):
                self.names.clear()
                self.names.addItems(names)
                self.names.setCurrentRow(names.index(selected_name) if selected_name in names else 0)
        item = self.names.currentItem()
        self._show_sample(item.text() if item is not None else "")

    def _show_sample(self, name: str) -> None:
        sample = self._content.get(name)
        sample = sample if isinstance(sample, Mapping) else {}
        kind = sample.get("type")
        if kind == "table":
            self._show_table(_list(sample.get("columns")), _list(sample.get("rows")))
        elif kind == "text":
            self.text.setPlainText(str(sample.get("text", ""))[:_MAX_TEXT_LENGTH])
            self._pages.setCurrentWidget(self.text)
        else:
            images = [item for item in _list(sample.get("images"))[:_MAX_IMAGES] if isinstance(item, Mapping)]
            images = [image for image in images if not is_outside_folder(str(image.get("image")))]
            self.gallery.set_items([self._item(image) for image in images])
            self._pages.setCurrentWidget(self.gallery)

    def _item(self, image: Mapping[str, Any]) -> GalleryItem:
        path, caption = image.get("image"), image.get("caption")
        return GalleryItem(
            self._folder / (path if isinstance(path, str) else ""),
            excerpt(caption, 1000) if isinstance(caption, str) else "",
        )

    def _show_table(self, columns: list[Any], rows: list[Any]) -> None:
        columns, rows = columns[:_MAX_COLUMNS], rows[:_MAX_ROWS]
        self.table.setColumnCount(len(columns))
        self.table.setHorizontalHeaderLabels([excerpt(str(column), 200) for column in columns])
        self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, cell in enumerate(_list(row)[: len(columns)]):
                self.table.setItem(number, column, QTableWidgetItem("" if cell is None else str(cell)[:1000]))
        self._pages.setCurrentWidget(self.table)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
