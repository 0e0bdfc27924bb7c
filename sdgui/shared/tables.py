"""Table classes: models with column headings, and a view that copies cells as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QTableView, QWidget

from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE

_Index = QModelIndex | QPersistentModelIndex
Row = Any


class HeadedModel(QAbstractTableModel):
    """A table model; subclasses provide the column headings."""

    def heading(self, column: int, role: int) -> object:
        """The ``headerData`` of a column."""
        raise NotImplementedError

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        return self.heading(section, role) if orientation == Qt.Orientation.Horizontal else None


@dataclass(frozen=True)
class Column:
    """A column: a row's ``text`` and ``sort`` key (default: the text). ``roles``: further data of its cells by role."""

    title: str
    text: Callable[[Row], str]
    sort: Callable[[Row], Any] | None = None
    tip: str = ""
    roles: Mapping[int, Callable[[Row], object]] = field(default_factory=dict)

    @property
    def alignment(self) -> Qt.AlignmentFlag:
        """Numbers, which have a sort key, are right-aligned."""
        side = Qt.AlignmentFlag.AlignRight if self.sort is not None else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter


class RowsModel(HeadedModel):
    """Rows, sorted and filtered without a proxy model, which would query each cell (0.1 s for 2000 rows)."""

    def __init__(self, columns: Sequence[Column], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.columns = list(columns)
        self.rows: list[Row] = []
        self.visible_rows: list[int] = []  # indices into ``rows``, top to bottom
        # Column and order; without a column (-1), rows keep the order in which they were set.
        self._sorting: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)
        self._words: list[str] = []

    def set_rows(self, rows: Sequence[Row], columns: Sequence[Column] | None = None) -> None:
        """Replace all rows, and the columns if they are given."""
        self.beginResetModel()
        self.rows, self.columns = list(rows), self.columns if columns is None else list(columns)
        self._find_visible()
        self.endResetModel()

    def set_filter(self, text: str) -> None:
        """Show the rows whose first column contains every word of ``text``."""
        self.beginResetModel()
        self._words = text.casefold().split()
        self._find_visible()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by ``column``; the sort is stable."""
        self.beginResetModel()
        self._sorting = column, order
        self._find_visible()
        self.endResetModel()

    def _find_visible(self) -> None:
        first, (number, order) = self.columns[0].text, self._sorting
        names = (first(row).casefold() for row in self.rows) if self._words else iter(())
        matching = [i for i, name in enumerate(names) if all(word in name for word in self._words)]
        self.visible_rows = matching if self._words else list(range(len(self.rows)))
        if 0 <= number < len(self.columns):
            column = self.columns[number]
            key = column.sort or (lambda row: column.text(row).casefold())
            self.visible_rows.sort(key=lambda i: key(self.rows[i]), reverse=order == Qt.SortOrder.DescendingOrder)

    def row_at(self, index: _Index) -> Row:
        """The row of a cell."""
        return self.rows[self.visible_rows[index.row()]]

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.visible_rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.columns)

    def heading(self, column: int, role: int) -> object:
        shown = self.columns[column]
        texts = {int(Qt.ItemDataRole.DisplayRole): shown.title, int(Qt.ItemDataRole.ToolTipRole): shown.tip or None}
        return shown.alignment if role == Qt.ItemDataRole.TextAlignmentRole else texts.get(role)

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row, column = self.row_at(index), self.columns[index.column()]
        if role in column.roles:
            return column.roles[role](row)
        if role == Qt.ItemDataRole.DisplayRole:
            return " ".join(column.text(row).split())
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(column.text(row))
        return column.alignment if role == Qt.ItemDataRole.TextAlignmentRole else None


def style_table(table: QTableView) -> None:
    """Give ``table`` the look of all tables that only show rows: no grid, no row numbers; Tab leaves the table."""
    table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    table.setWordWrap(False)
    table.verticalHeader().hide()
    table.horizontalHeader().setHighlightSections(False)


class CopyingTable(QTableView):
    """A table without grid lines; Ctrl+C copies the selected cells with headings, or all if fewer than two."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        style_table(self)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectItems)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + SPACE)
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
