"""Table classes: a model with column headings, and a view that copies cells as text."""

from __future__ import annotations

from PySide6.QtCore import QAbstractTableModel, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QTableView, QWidget

from sdgui.widgets.style.theme import SPACE


class HeadedModel(QAbstractTableModel):
    """A table model; subclasses provide the column headings."""

    def heading(self, column: int, role: int) -> object:
        """The ``headerData`` of a column."""
        raise NotImplementedError

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        return self.heading(section, role) if orientation == Qt.Orientation.Horizontal else None


class CopyingTable(QTableView):
    """A table without grid lines; Ctrl+C copies the selected cells with headings, or all if fewer than two."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + SPACE)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().sortIndicatorChanged.connect(self._fit_sorted)

    def fit_columns(self) -> None:
        """Make each column as wide as its texts; Qt's headers would add a third, and reserve room for a sort arrow."""
        model, metrics = self.model(), self.fontMetrics()
        for column in range(model.columnCount()):
            texts = (str(model.index(row, column).data()) for row in range(model.rowCount()))
            heading = str(model.headerData(column, Qt.Orientation.Horizontal)).splitlines()
            self.setColumnWidth(column, max(map(metrics.horizontalAdvance, (*heading, *texts))) + 2 * SPACE)
        self._fit_sorted(self.horizontalHeader().sortIndicatorSection())

    def _fit_sorted(self, column: int) -> None:
        """Make room for the sort arrow beside the heading of ``column`` (-1: none)."""
        if column >= 0 and self.isSortingEnabled():
            heading = str(self.model().headerData(column, Qt.Orientation.Horizontal)).splitlines()
            needed = max(map(self.fontMetrics().horizontalAdvance, heading)) + 4 * SPACE
            self.setColumnWidth(column, max(self.columnWidth(column), needed))

    def copy(self) -> None:
        """Copy cells as text with tabs."""
        model = self.model()
        selected = self.selectionModel().selectedIndexes()
        copies_all = len(selected) < 2
        rows = range(model.rowCount()) if copies_all else sorted({index.row() for index in selected})
        columns = range(model.columnCount()) if copies_all else sorted({index.column() for index in selected})
        heads = [str(model.headerData(column, Qt.Orientation.Horizontal)).replace("\n", " ") for column in columns]
        lines = ["\t".join(str(model.index(row, column).data()) for column in columns) for row in rows]
        QGuiApplication.clipboard().setText("\n".join(["\t".join(heads), *lines]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)
