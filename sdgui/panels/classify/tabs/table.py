"""A table of the Classify panel, sorted by any column, filtered by words, with bars for proportions.

Flow: a tab defines `Column`s and rows -> ``ClassTable`` -> ``row_activated`` (Enter, double click) and
``current_changed`` with the index of the row in the given rows. Ctrl+C copies the selected rows with their header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QWidget

from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share, ShareDelegate
from sdgui.shared.tables import CopyingTable, HeadedModel
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_Index = QModelIndex | QPersistentModelIndex
Row = Any


@dataclass(frozen=True)
class Column:
    """A column: a row's ``text``, ``sort`` key (default: the text), and ``share`` if it has a bar."""

    title: str
    text: Callable[[Row], str]
    sort: Callable[[Row], Any] | None = None
    share: Callable[[Row], Share] | None = None
    tip: str = ""


class RowsModel(HeadedModel):
    """The sorted and filtered rows."""

    def __init__(self, columns: Sequence[Column], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.columns = list(columns)
        self.rows: list[Row] = []
        self.visible_rows: list[int] = []  # indices into ``rows``, top to bottom
        # Column and order; without a column (-1), rows keep the order in which they were set.
        self._sorting: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)
        self._words: list[str] = []

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Replace all rows."""
        self.rows = list(rows)
        self._update_visible()

    def set_filter(self, text: str) -> None:
        """Show the rows whose first column contains every word of ``text``."""
        self._words = text.casefold().split()
        self._update_visible()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by ``column``; the sort is stable."""
        self._sorting = column, order
        self._update_visible()

    def _update_visible(self) -> None:
        self.beginResetModel()
        first, (number, order) = self.columns[0].text, self._sorting
        names = (first(row).casefold() for row in self.rows) if self._words else iter(())
        matching = [i for i, name in enumerate(names) if all(word in name for word in self._words)]
        self.visible_rows = matching if self._words else list(range(len(self.rows)))
        if 0 <= number < len(self.columns):
            column = self.columns[number]
            key = column.sort or (lambda row: column.text(row).casefold())
            self.visible_rows.sort(key=lambda i: key(self.rows[i]), reverse=order == Qt.SortOrder.DescendingOrder)
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.visible_rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.columns)

    def heading(self, column: int, role: int) -> object:
        shown_column = self.columns[column]
        if role == Qt.ItemDataRole.DisplayRole:
            return shown_column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return shown_column.tip or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(shown_column)
        return None

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row, column = self.rows[self.visible_rows[index.row()]], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return " ".join(column.text(row).split())
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(column.text(row))
        if role == SHARE_ROLE and column.share is not None:
            return column.share(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(column)
        return None

    @staticmethod
    def _alignment(column: Column) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column.sort is not None else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter


class ClassTable(QWidget):
    """A filter box with ``filter_hint`` as its placeholder, the table, and the count of visible rows."""

    row_activated = Signal(int)  # index into ``rows()``, on Enter or double click
    current_changed = Signal(int)  # -1 if no row is current

    def __init__(self, name: str, columns: Sequence[Column], filter_hint: str = "", parent: QWidget | None = None):
        super().__init__(parent)
        self.model = RowsModel(columns, self)
        self.filter_box = QLineEdit(self, placeholderText=filter_hint, clearButtonEnabled=True)
        self.filter_box.setAccessibleName(filter_hint)
        self.filter_box.setVisible(bool(filter_hint))
        self.view = CopyingTable(name, self)
        self.count_label = PlainLabel(self, role="small")
        self._build()
        vbox(self.filter_box, (self.view, 1), self.count_label, into=self, spacing=SPACE // 2)
        self.filter_box.textChanged.connect(self._filter)
        self.filter_box.returnPressed.connect(self.view.setFocus)
        self.view.selectionModel().currentRowChanged.connect(lambda *_: self.current_changed.emit(self.current()))
        self.view.doubleClicked.connect(lambda _index: self.row_activated.emit(self.current()))
        self.model.modelAboutToBeReset.connect(self._remember_current)
        self.model.modelReset.connect(self._restore_current)
        self._current_before_reset = -1
        self.setFocusProxy(self.view)

    def _remember_current(self) -> None:
        self._current_before_reset = self.current() if self.current() < len(self.model.rows) else -1

    def _build(self) -> None:
        view = self.view
        view.setModel(self.model)
        view.horizontalHeader().setSortIndicator(
            -1, Qt.SortOrder.AscendingOrder
        )  # unsorted until the user clicks a header
        view.setSortingEnabled(True)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        head = view.horizontalHeader()
        head.setStyleSheet("QHeaderView::section { padding-left: 4px; padding-right: 12px; }")  # for the sort arrow
        titles = (self.fontMetrics().horizontalAdvance(column.title) for column in self.model.columns)
        head.setMinimumSectionSize(max(titles) + 2 * SPACE)
        for number, column in enumerate(self.model.columns):
            stretch = column.sort is None or column.share is not None
            head.setSectionResizeMode(
                number, QHeaderView.ResizeMode.Stretch if stretch else QHeaderView.ResizeMode.Interactive
            )
            if column.share is not None:
                view.setItemDelegateForColumn(number, ShareDelegate(view))
            elif not stretch:
                text = max(column.title, "100.0 %", key=len)
                view.setColumnWidth(number, self.fontMetrics().horizontalAdvance(text) + 5 * SPACE // 2)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            shortcut = QShortcut(QKeySequence(key), view)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(self._activate_current)

    # Rows
    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show ``rows`` without a current row; sorting and filter are kept."""
        self.view.setCurrentIndex(QModelIndex())
        self.model.set_rows(rows)
        self._show_count()

    def rows(self) -> list[Row]:
        """All rows, in their original order."""
        return list(self.model.rows)

    def sort_by(self, column: int, descending: bool = False) -> None:
        """Sort by a column, like a click on its header."""
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.view.sortByColumn(column, order)

    def current(self) -> int:
        """Index of the current row in ``rows()``; -1 if there is none."""
        index = self.view.currentIndex()
        return self.model.visible_rows[index.row()] if index.isValid() else -1

    def set_current(self, row: int) -> None:
        """Make ``row`` (an index into ``rows()``) current; ignored if the filter hides the row."""
        if row in self.model.visible_rows:
            index = self.model.index(self.model.visible_rows.index(row), 0)
            self.view.setCurrentIndex(index)
            self.view.scrollTo(index)

    def visible_rows(self) -> list[int]:
        """Indices of the displayed rows, top to bottom."""
        return list(self.model.visible_rows)

    def _activate_current(self) -> None:
        if self.current() >= 0:
            self.row_activated.emit(self.current())

    def _restore_current(self) -> None:
        """Restore the current row after a reset of the model."""
        if self._current_before_reset >= 0:
            self.set_current(self._current_before_reset)

    def _filter(self, text: str) -> None:
        self.model.set_filter(text)
        self._show_count()

    def _show_count(self) -> None:
        shown_count, total = self.model.rowCount(), len(self.model.rows)
        self.count_label.setText(f"{count(shown_count)} of {count(total)}")
        self.count_label.setVisible(shown_count != total)
