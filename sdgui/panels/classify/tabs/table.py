"""A table of the Classify panel, sorted by any column, filtered by words, with bars for proportions.

Flow: a tab defines `Column`s and rows -> ``ClassTable`` -> ``row_activated`` (Enter, double click) and
``current_changed`` with the index of the row in the given rows. Ctrl+C copies the selected rows with their header.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QWidget

from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, ShareDelegate
from sdgui.shared.tables import Column, CopyingTable, Row, RowsModel
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE


class ClassTable(QWidget):
    """A filter box with ``filter_hint`` as its placeholder, the table, and the count of visible rows."""

    row_activated = Signal(int)  # index into ``model.rows``, on Enter or double click
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
        self.view.activated.connect(lambda _index: self.row_activated.emit(self.current()))
        self.model.modelAboutToBeReset.connect(self._remember_current)
        self.model.modelReset.connect(self._restore_current)
        self._current_before_reset = -1
        self.setFocusProxy(self.view)

    def _remember_current(self) -> None:
        self._current_before_reset = self.current() if self.current() < len(self.model.rows) else -1

    def _build(self) -> None:
        view = self.view
        view.setModel(self.model)
        head = view.horizontalHeader()
        head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # unsorted until the user clicks a header
        view.setSortingEnabled(True)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        head.setStyleSheet("QHeaderView::section { padding-left: 4px; padding-right: 12px; }")  # for the sort arrow
        titles = (self.fontMetrics().horizontalAdvance(column.title) for column in self.model.columns)
        head.setMinimumSectionSize(max(titles) + 2 * SPACE)
        for number, column in enumerate(self.model.columns):
            stretch = column.sort is None or SHARE_ROLE in column.roles
            head.setSectionResizeMode(
                number, QHeaderView.ResizeMode.Stretch if stretch else QHeaderView.ResizeMode.Interactive
            )
            if SHARE_ROLE in column.roles:
                view.setItemDelegateForColumn(number, ShareDelegate(view))
            elif not stretch:
                text = max(column.title, "100.0 %", key=len)
                view.setColumnWidth(number, self.fontMetrics().horizontalAdvance(text) + 5 * SPACE // 2)

    # Rows
    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show ``rows`` without a current row; sorting and filter are kept."""
        self.view.setCurrentIndex(QModelIndex())
        self.model.set_rows(rows)
        self._show_count()

    def sort_by(self, column: int, descending: bool = False) -> None:
        """Sort by a column, like a click on its header."""
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.view.sortByColumn(column, order)

    def current(self) -> int:
        """Index of the current row in ``model.rows``; -1 if there is none."""
        index = self.view.currentIndex()
        return self.model.visible_rows[index.row()] if index.isValid() else -1

    def set_current(self, row: int) -> None:
        """Make ``row`` (an index into ``model.rows``) current; ignored if the filter hides the row."""
        if row in self.model.visible_rows:
            index = self.model.index(self.model.visible_rows.index(row), 0)
            self.view.setCurrentIndex(index)
            self.view.scrollTo(index)

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
