"""The held-out captions with the rank of each one's own picture, for student and teacher: filtered and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QLineEdit, QTableView, QVBoxLayout, QWidget

from sdgui.widgets.formats import count
from sdgui.widgets.theme import SPACE, set_role, theme

NETWORKS = ("student", "teacher")
_SORT = Qt.ItemDataRole.UserRole


class CaptionModel(QAbstractTableModel):
    """Rows are captions in the order of the data; columns are the caption and each network's rank."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.captions: Sequence[str] = ()
        self.ranks: dict[str, Sequence[int]] = {}

    def set_captions(self, captions: Sequence[str], ranks: Mapping[str, Sequence[int]]) -> None:
        """Replace everything; ``ranks``: network -> rank of each caption's picture, 1 is first."""
        self.beginResetModel()
        self.captions = captions
        self.ranks = {who: ranks[who] for who in NETWORKS if who in ranks}
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.captions)

    def columnCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else 1 + len(self.ranks)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Caption" if section == 0 else [*self.ranks][section - 1].capitalize()
        if role == Qt.ItemDataRole.ToolTipRole and section > 0:
            return "Rank at which the caption's own picture is found; 1 is first"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row, column = index.row(), index.column()
        if column == 0:
            texts = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, _SORT)
            return self.captions[row] if role in texts else None
        rank = [*self.ranks.values()][column - 1][row]
        if role == Qt.ItemDataRole.DisplayRole:
            return count(rank)
        if role == _SORT:
            return rank
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and rank == 1:
            return theme().color("good")
        return None


class CaptionTable(QWidget):
    """Filter box, table and count. ``chosen``: the caption's number in the data, -1 for none."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = CaptionModel(self)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self.model)
        self._proxy.setSortRole(_SORT)
        self._proxy.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.filter_box = QLineEdit(self)
        self.filter_box.setPlaceholderText("Filter captions")
        self.filter_box.setAccessibleName("Filter captions")
        self.filter_box.setClearButtonEnabled(True)
        self.table = QTableView(self)
        self.table.setAccessibleName("Held-out captions")
        self.table.setModel(self._proxy)
        self.table.setSortingEnabled(True)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.setTabKeyNavigation(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + SPACE)
        self.table.horizontalHeader().setHighlightSections(False)
        # Room for the arrow that shows the order, which would lie on right-aligned titles.
        self.table.horizontalHeader().setStyleSheet("QHeaderView::section { padding-right: 14px; }")
        self.found = QLabel(self)
        set_role(self.found, "small")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        layout.addWidget(self.filter_box)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.found)
        self.filter_box.textChanged.connect(self._filter)
        self.table.selectionModel().currentRowChanged.connect(self._current_changed)

    def set_captions(self, captions: Sequence[str], ranks: Mapping[str, Sequence[int]]) -> None:
        """Show them, those that the student finds worst first."""
        self.model.set_captions(captions, ranks)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        for column in range(1, self.model.columnCount()):
            header.resizeSection(column, header.fontMetrics().horizontalAdvance("Teacher") + 3 * SPACE)
        if self.model.columnCount():
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        if ranks:
            self.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
        self._count()

    def current(self) -> int:
        """The chosen caption's number in the data, -1 for none."""
        index = self._proxy.mapToSource(self.table.currentIndex())
        return index.row() if index.isValid() else -1

    def choose(self, caption: int) -> None:
        """Choose a caption by its number; nothing when the filter hides it."""
        index = self._proxy.mapFromSource(self.model.index(caption, 0))
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.table.selectionModel().setCurrentIndex(index, flags)
            self.table.scrollTo(index)

    def choose_first(self) -> None:
        """Choose the top row."""
        if self._proxy.rowCount():
            self.table.selectRow(0)
            self.table.setCurrentIndex(self._proxy.index(0, 0))

    def clear_choice(self) -> None:
        self.table.setCurrentIndex(QModelIndex())
        self.table.clearSelection()

    def _filter(self, text: str) -> None:
        self._proxy.setFilterFixedString(text)
        self._count()

    def _count(self) -> None:
        shown, total = self._proxy.rowCount(), self.model.rowCount()
        self.found.setText(
            f"{count(shown)} of {count(total)} captions" if shown != total else f"{count(total)} captions"
        )

    def _current_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        self.chosen.emit(self._proxy.mapToSource(current).row() if current.isValid() else -1)
