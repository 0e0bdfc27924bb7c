"""The ranked pairs as a table; gallery and table show the same pairs in the same order."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QWidget

from sdgui.panels.clean.model import Pair, RankedPairs, Sorting
from sdgui.shared.tables import CopyingTable, HeadedModel
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.items import row_ranges
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

Index = QModelIndex | QPersistentModelIndex
MARKS = {True: "✗", False: "✓", None: ""}
CORRECTED = "✎"
CAPTION, _MARK = 1, 5  # numbers of columns
_COLUMNS: tuple[tuple[str, Sorting, str], ...] = (
    ("Rank", "rank", "Rank 1 has the lowest match score"),
    ("Caption", "caption", "Caption of the pair; press F2 to edit"),
    ("Suggestion", "suggestion", "Best-fitting other caption in the data; press S to use"),
    ("Match score", "rank", "How well the caption fits the image compared with the other pairs, from 0 to 1"),
    (
        "P(clean)",
        "clean_probability",
        "Probability that the caption is correct. Empty if the match scores do not split into two groups",
    ),
    ("Mark", "mark", "Your mark: X mismatched, Space correct, U removes the mark"),
    ("Shuffled", "shuffled", "Whether the caption is marked as shuffled in the data"),
)


class PairsModel(HeadedModel):
    """Rows are the shown pairs, in order."""

    corrected = Signal(int, str)  # row, the new caption

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._ranked: RankedPairs | None = None
        self._indices: Sequence[int] = ()  # index in ``_ranked.pairs`` of each row

    def show_pairs(self, ranked_pairs: RankedPairs | None, indices: Sequence[int]) -> None:
        """Show the pairs at ``indices`` of ``ranked_pairs.pairs``."""
        self.beginResetModel()
        self._ranked, self._indices = ranked_pairs, indices
        self.endResetModel()

    def pair(self, row: int) -> Pair:
        assert self._ranked is not None
        return self._ranked.pairs[self._indices[row]]

    def refresh_rows(self, rows: Sequence[int]) -> None:
        """Update rows after their marks have changed."""
        for first, last in row_ranges(rows):
            self.dataChanged.emit(self.index(first, 0), self.index(last, self.columnCount() - 1))

    @property
    def has_suggestions(self) -> bool:
        return self._ranked is not None and any(pair.suggestion for pair in self._ranked.pairs)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._indices)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        has_shuffled = self._ranked is not None and self._ranked.shuffled is not None
        return 0 if parent.isValid() else len(_COLUMNS) - (not has_shuffled)

    def heading(self, column: int, role: int) -> object:
        title, _, tip = _COLUMNS[column]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column or 1)  # "Rank" is left-aligned, since the sort arrow is on the right
        return {int(Qt.ItemDataRole.DisplayRole): title, int(Qt.ItemDataRole.ToolTipRole): tip}.get(role)

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        pair, column = self.pair(index.row()), index.column()
        assert self._ranked is not None
        mark, is_corrected = self._ranked.marks.get(pair.key), pair.key in self._ranked.corrections
        if role == Qt.ItemDataRole.DisplayRole:
            shuffled = "" if pair.shuffled is None else "yes" if pair.shuffled else "no"
            numbers = (f"{pair.match_score:.3f}", _probability(pair))
            shown_mark = CORRECTED if is_corrected else MARKS[mark]
            texts = (count(pair.rank), self._ranked.caption(pair), pair.suggestion, *numbers, shown_mark, shuffled)
            return texts[column]
        if role == Qt.ItemDataRole.EditRole:
            return self._ranked.caption(pair)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == Qt.ItemDataRole.AccessibleTextRole and column == _MARK:
            spoken = {True: "marked mismatched", False: "marked correct", None: "not marked"}[mark]
            return "corrected" if is_corrected else spoken
        if role == Qt.ItemDataRole.ToolTipRole:
            suggestion = f"\nSuggestion: {pair.suggestion}" if pair.suggestion else ""
            return plain_tip(f"{pair.caption}{suggestion}\n{pair.path}")
        if role == Qt.ItemDataRole.ForegroundRole and not is_corrected:
            if column == _MARK and mark is not None:
                return theme().color("error" if mark else "good")
            return theme().color("muted") if self._ranked.is_excluded(pair) else None
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        editable = Qt.ItemFlag.ItemIsEditable if index.column() == CAPTION else Qt.ItemFlag.NoItemFlags
        return super().flags(index) | editable

    def setData(self, index: Index, value: object, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        if role != Qt.ItemDataRole.EditRole:
            return False
        self.corrected.emit(index.row(), str(value))
        return True


def _probability(pair: Pair) -> str:
    return "–" if pair.clean_probability is None else f"{pair.clean_probability:.3f}"


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in (0, 3, 4) else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


class PairsTable(CopyingTable):
    """The table. ``sort_requested``: a header was clicked; the panel sorts gallery and table together."""

    sort_requested = Signal(str, bool)  # Sorting, descending
    rows_selected = Signal(list)  # rows

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Ranked pairs", parent)
        self.pairs = PairsModel(self)
        self.setModel(self.pairs)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        # the panel starts editing, since F2 works in the gallery too
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        head = self.horizontalHeader()
        # A separate, empty selection: otherwise Qt checks for each header whether its whole column is selected.
        head.setSelectionModel(QItemSelectionModel(self.pairs, head))
        head.setSectionsClickable(True)
        head.setSortIndicatorShown(True)
        head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        head.sortIndicatorChanged.connect(self._sort)
        self._quiet = False  # whether rows are selected without emitting ``rows_selected``
        self.selectionModel().selectionChanged.connect(self._on_selection_changed)
        self.pairs.modelReset.connect(self._fit_columns)

    def _fit_columns(self) -> None:
        head = self.horizontalHeader()
        if self.pairs.columnCount() < 2:
            return
        head.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column in range(self.pairs.columnCount()):
            title, sorting, _ = _COLUMNS[column]
            self.setColumnHidden(column, sorting == "suggestion" and not self.pairs.has_suggestions)
            if sorting in ("caption", "suggestion"):
                head.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            else:
                head.resizeSection(column, head.fontMetrics().horizontalAdvance(title) + 3 * SPACE)

    def _sort(self, column: int, order: Qt.SortOrder) -> None:
        self.sort_requested.emit(_COLUMNS[column][1], order == Qt.SortOrder.DescendingOrder)

    def sorting(self) -> tuple[Sorting, bool]:
        """The sort key from the header, and whether it is descending."""
        head = self.horizontalHeader()
        descending = head.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        return _COLUMNS[head.sortIndicatorSection()][1], descending

    def commit_edit(self) -> None:
        """Take over the caption that is being edited, if any."""
        if (editor := self.indexWidget(self.currentIndex().siblingAtColumn(CAPTION))) is not None:
            self.commitData(editor)

    def select_rows(self, rows: Sequence[int], current: int) -> None:
        """Select these rows without emitting a signal."""
        self._quiet = True
        selection = QItemSelection()
        for first, last in row_ranges(rows):
            selection.select(self.pairs.index(first, 0), self.pairs.index(last, self.pairs.columnCount() - 1))
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().select(selection, flags.ClearAndSelect)
        if current >= 0:
            self.selectionModel().setCurrentIndex(self.pairs.index(current, 0), flags.NoUpdate)
            self.scrollTo(self.pairs.index(current, 0))
        self._quiet = False

    def _on_selection_changed(self, *_: object) -> None:
        if not self._quiet:
            self.rows_selected.emit(sorted({index.row() for index in self.selectionModel().selectedRows()}))
