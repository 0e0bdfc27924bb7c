"""The table's view with a frozen name column; keys and mouse sort, tick, expand and reorder.

Flow: keys and mouse -> signals -> ``RunTable``, which changes layout, ticks or selection.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from PySide6.QtCore import QEvent, QItemSelection, QItemSelectionModel, QModelIndex, QObject, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from sdgui.panels.runs.table.model import RunTableModel
from sdgui.panels.runs.table.name_column import Index, NameDelegate
from sdgui.panels.runs.table.value_column import ValueDelegate
from sdgui.shared.tables import style_table
from sdgui.widgets.style.theme import SPACE

_ROW_HEIGHT = 3 * SPACE + SPACE // 2  # height of a row in px
NAME_WIDTH = 25 * SPACE  # px


class _Table(QTableView):
    """The common base of the main and the frozen view."""

    def __init__(self, model: RunTableModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setModel(model)
        style_table(self)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setCornerButtonEnabled(False)
        rows = self.verticalHeader()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)  # Qt then does not query cells for their height
        rows.setMinimumSectionSize(_ROW_HEIGHT)
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        columns = self.horizontalHeader()
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        columns.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        columns.setSectionsClickable(True)
        columns.setStyleSheet("QHeaderView { border: none; border-radius: 0; }")  # frameless
        columns.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)


class _Covered(QStyledItemDelegate):
    """Paints nothing: the frozen view covers these cells."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Paint nothing."""


class RunTableView(_Table):
    """The view of all columns, covered by a frozen view of the first column that does not scroll sideways."""

    ticked = Signal(list, bool)  # run ids; tick or untick them
    group_ticked = Signal(int)  # group; its runs may not be loaded
    sort_requested = Signal(int)  # column
    header_menu_requested = Signal(int, QPoint)  # column, position on the screen
    rows_menu_requested = Signal(QPoint)  # position on the screen
    run_opened = Signal(int)  # run id
    copy_requested = Signal()

    def __init__(self, model: RunTableModel, parent: QWidget) -> None:
        super().__init__(model, parent)
        self._model = model
        self.setAccessibleName("Runs")
        self.names = NameDelegate(model, self)
        self.setItemDelegate(ValueDelegate(model, self))
        self.setItemDelegateForColumn(0, _Covered(self))
        self.setColumnWidth(0, NAME_WIDTH)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(
            lambda point: self.rows_menu_requested.emit(self.viewport().mapToGlobal(point))
        )
        header = self.horizontalHeader()
        header.setSectionsMovable(True)
        header.setFirstSectionMovable(False)
        header.sectionClicked.connect(self.sort_requested)
        header.customContextMenuRequested.connect(lambda point: self._header_menu(header, point))
        self._freeze()

    def _freeze(self) -> None:
        frozen = self._frozen = _Table(self._model, self)
        frozen.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        frozen.setAccessibleName("Run names")
        frozen.setFrameShape(QFrame.Shape.NoFrame)
        frozen.setStyleSheet("QTableView { border: none; border-radius: 0; }")
        frozen.setItemDelegateForColumn(0, self.names)
        frozen.setSelectionModel(self.selectionModel())
        frozen.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        frozen.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        frozen.viewport().installEventFilter(self)
        frozen.horizontalHeader().sectionClicked.connect(self.sort_requested)
        frozen.horizontalHeader().customContextMenuRequested.connect(
            lambda point: self._header_menu(frozen.horizontalHeader(), point)
        )
        frozen.horizontalHeader().sectionResized.connect(
            lambda column, _old, new: None if column else self.setColumnWidth(0, new)
        )
        self.verticalScrollBar().valueChanged.connect(frozen.verticalScrollBar().setValue)
        frozen.verticalScrollBar().valueChanged.connect(self.verticalScrollBar().setValue)
        self.horizontalHeader().sectionResized.connect(self._on_resized)
        self._model.modelReset.connect(self.update_frozen_columns)
        self.update_frozen_columns()
        frozen.show()

    def update_frozen_columns(self) -> None:
        """Show only the first column in the frozen view; needed after each change of columns."""
        for column in range(1, self._model.columnCount()):
            self._frozen.setColumnHidden(column, True)
        self._frozen.setColumnWidth(0, self.columnWidth(0))
        self._align_frozen()

    def _on_resized(self, column: int, _old: int, new: int) -> None:
        if column == 0:
            self._frozen.setColumnWidth(0, new)
            self._align_frozen()

    def _align_frozen(self) -> None:
        frame = self.frameWidth()
        height = self.viewport().height() + self.horizontalHeader().height()
        self._frozen.setGeometry(frame, frame, self.columnWidth(0), height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._align_frozen()

    def updateGeometries(self) -> None:
        super().updateGeometries()
        if hasattr(self, "_frozen"):
            self._frozen.horizontalHeader().setFixedHeight(self.horizontalHeader().height())
            self._align_frozen()

    # The mouse
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle clicks and wheel events of the frozen column in this view."""
        if not hasattr(self, "_frozen") or watched is not self._frozen.viewport():
            return super().eventFilter(watched, event)  # Qt also passes the events of its scroll bars to this filter
        if isinstance(event, QMouseEvent) and event.type() in (
            QEvent.Type.MouseButtonPress,
            QEvent.Type.MouseButtonDblClick,
        ):
            self.setFocus(Qt.FocusReason.MouseFocusReason)
            is_double = event.type() == QEvent.Type.MouseButtonDblClick
            if self._handle_press(event) or (is_double and self._open_run_at(event)):
                return True
        if event.type() == QEvent.Type.Wheel:
            return self.viewportEvent(event)
        return False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self._handle_press(event):
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if not self._open_run_at(event):
            super().mouseDoubleClickEvent(event)

    def _open_run_at(self, event: QMouseEvent) -> bool:
        """Open the double-clicked run; returns whether a run was hit."""
        row = self._model.row(self.indexAt(event.position().toPoint()))
        if row is None or row.run_id is None:
            return False
        self.run_opened.emit(row.run_id)
        return True

    def _handle_press(self, event: QMouseEvent) -> bool:
        """Handle a press on a check box or arrow; returns whether one was hit."""
        if event.button() != Qt.MouseButton.LeftButton:
            return False
        index = self._frozen.indexAt(event.position().toPoint()) if self._is_over_names(event) else QModelIndex()
        row = self._model.row(index)
        if row is None:
            return False
        cell = self._frozen.visualRect(index)
        point = event.position().toPoint()
        on_tick = self.names.tick_rect(cell, index).adjusted(-2, -4, 2, 4).contains(point)
        if row.run_id is None:
            if on_tick:
                self.group_ticked.emit(row.group or 0)
            elif self.names.arrow_rect(cell).adjusted(-4, -4, 1, 4).contains(point):
                self._model.toggle_group(index)
            else:
                return False
            return True
        if not on_tick:
            return False
        selected = self.selected_runs()
        run_ids = selected if row.run_id in selected else [row.run_id]
        self.ticked.emit(run_ids, row.run_id not in self._model.ticks)
        return True

    def _is_over_names(self, event: QMouseEvent) -> bool:
        return event.position().x() < self.columnWidth(0)

    def _header_menu(self, header: QHeaderView, point: QPoint) -> None:
        self.header_menu_requested.emit(header.logicalIndexAt(point), header.mapToGlobal(point))

    # The keyboard
    def keyPressEvent(self, event: QKeyEvent) -> None:
        index = self.currentIndex()
        row = self._model.row(index)
        if event.key() == Qt.Key.Key_Space and row is not None:
            self.tick_selected()
        elif row is not None and row.is_group and self._toggles_group(event, row.group or 0):
            self._model.toggle_group(index)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and row is not None and row.run_id is not None:
            self.run_opened.emit(row.run_id)
        elif event.matches(QKeySequence.StandardKey.Copy):
            self.copy_requested.emit()
        else:
            super().keyPressEvent(event)

    def _toggles_group(self, event: QKeyEvent, group: int) -> bool:
        """Whether the key expands or collapses a group."""
        is_open = self._model.rows.is_open(group)
        key = event.key()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return True
        return (key == Qt.Key.Key_Right and not is_open) or (key == Qt.Key.Key_Left and is_open)

    def tick_selected(self) -> None:
        """Tick the selected runs or the current group, or untick them if all are ticked."""
        selected, row = self.selected_runs(), self._model.row(self.currentIndex())
        if selected:
            self.ticked.emit(selected, not all(run_id in self._model.ticks for run_id in selected))
        elif row is not None and row.group is not None:
            self.group_ticked.emit(row.group)

    # Selection
    def selected_rows(self) -> list[int]:
        """The selected rows, top to bottom."""
        selection = self.selectionModel().selection()
        parts = [selection.at(number) for number in range(selection.size())]
        return sorted({row for part in parts for row in range(part.top(), part.bottom() + 1)})

    def selected_runs(self) -> list[int]:
        """The selected runs, including the runs of selected expanded groups."""
        run_ids: dict[int, None] = {}
        rows = self._model.rows
        for number in self.selected_rows():
            row = rows.at(number)
            if row.run_id is not None:
                run_ids[row.run_id] = None
            elif row.group is not None:
                inside = range(number + 1, number + 1 + rows.child_count(row.group))
                run_ids |= {run_id: None for row_index in inside if (run_id := rows.at(row_index).run_id) is not None}
        return list(run_ids)

    def select_run(self, run_id: int) -> None:
        """Make a run the current row, if it is listed."""
        number = self._model.rows.row_of(run_id)
        if number is not None:
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(self._model.index(number, 0), flags)  # also scrolls to the row

    def select_runs(self, run_ids: Iterable[int], current: int | None) -> None:
        """Select those of these runs that are listed, and make ``current`` the current row."""
        rows = sorted(row for run_id in run_ids if (row := self._model.rows.row_of(run_id)) is not None)
        selection, last = QItemSelection(), self._model.columnCount() - 1
        for _, block in groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):  # blocks of consecutive rows
            inside = [row for _, row in block]
            selection.select(self._model.index(inside[0], 0), self._model.index(inside[-1], last))
        flags = QItemSelectionModel.SelectionFlag
        current_row = self._model.rows.row_of(current) if current is not None else None
        if current_row is not None:
            self.selectionModel().setCurrentIndex(self._model.index(current_row, 0), flags.NoUpdate)
        self.selectionModel().select(selection, flags.ClearAndSelect)
