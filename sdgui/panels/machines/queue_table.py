"""Training and queued runs, in order; queued runs are moved by dragging, or by Alt and the arrow keys."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractTableModel, QMimeData, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeView, QWidget

from sdgui.panels.machines.model import QueueRow, move_entries
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

Index = QModelIndex | QPersistentModelIndex
_COLUMNS = ("", "Run", "Machine", "Devices", "State", "Owner")
_MIME = "application/x-sdgui-queue"


class QueueModel(QAbstractTableModel):
    """``reordered``: the ids of the waiting runs in their new order."""

    reordered = Signal(list)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[QueueRow] = []

    def show_rows(self, rows: Sequence[QueueRow]) -> None:
        """Show these; the same runs in the same order keep selection and scroll."""
        if [row.run_id for row in rows] == [row.run_id for row in self.rows]:
            if list(rows) != self.rows:
                self.rows = list(rows)
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(_COLUMNS) - 1))
            return
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    @property
    def first_waiting(self) -> int:
        """The row of the first run that waits."""
        return sum(row.position is None for row in self.rows)

    def waiting(self) -> list[int]:
        """The ids of what waits, in order."""
        return [row.run_id for row in self.rows if row.position is not None]

    def move(self, rows: Sequence[int], target: int) -> None:
        """Put the waiting runs at ``rows`` before the row ``target``."""
        first, order = self.first_waiting, self.waiting()
        waiting_rows = [row - first for row in rows if row >= first]
        after = move_entries(order, waiting_rows, min(max(0, target - first), len(order)))
        if after != order:
            by_id = {row.run_id: row for row in self.rows}
            self.show_rows(self.rows[:first] + [by_id[run_id] for run_id in after])
            self.reordered.emit(after)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        horizontal = orientation == Qt.Orientation.Horizontal
        return _COLUMNS[section] if horizontal and role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row, column = self.rows[index.row()], index.column()
        state = f"{row.state.capitalize()} {row.progress}".strip()
        if role == Qt.ItemDataRole.DisplayRole:
            number = "" if row.position is None else str(row.position)
            return (number, row.name, row.machine, row.devices or "–", state, row.owner.partition("@")[0])[column]
        if role == Qt.ItemDataRole.DecorationRole and column == 4:
            return theme().state_icon(row.state)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(f"{row.name}\n{state} on {row.machine}")
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.ItemIsDropEnabled
        usual = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        waits = self.rows[index.row()].position is not None
        return usual | Qt.ItemFlag.ItemIsDragEnabled if waits else usual

    def supportedDropActions(self) -> Qt.DropAction:
        return Qt.DropAction.MoveAction

    def mimeTypes(self) -> list[str]:
        return [_MIME]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        data = QMimeData()
        rows = sorted({index.row() for index in indexes})
        data.setData(_MIME, ",".join(str(self.rows[row].run_id) for row in rows).encode())
        return data

    def dropMimeData(self, data: QMimeData, action: Qt.DropAction, row: int, column: int, parent: Index) -> bool:
        if not data.hasFormat(_MIME):
            return False
        ids = {int(part) for part in bytes(data.data(_MIME).data()).split(b",")}
        target = row if row >= 0 else parent.row() if parent.isValid() else len(self.rows)
        self.move([number for number, queued in enumerate(self.rows) if queued.run_id in ids], target)
        return False  # the view must not remove what was moved


class QueueTable(QTreeView):
    """``leave_asked``: the ids of runs that are to leave the queue; ``run_opened``: a run to show."""

    leave_asked = Signal(list)
    run_opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = QueueModel(self)
        self.setModel(self.rows)
        self.setAccessibleName("Queue: what trains and what waits")
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDragDropOverwriteMode(False)
        self.setDropIndicatorShown(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        head = self.header()
        head.setStretchLastSection(False)
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.activated.connect(lambda index: self.run_opened.emit(self.rows.rows[index.row()].run_id))

    def chosen(self) -> list[int]:
        """The ids of the selected runs that wait."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.rows.rows[row].run_id for row in rows if self.rows.rows[row].position is not None]

    def refusal(self) -> str:
        """Why the selected runs cannot be removed from the queue here; "" if they can."""
        selected = set(self.chosen())
        return next((row.refusal for row in self.rows.rows if row.run_id in selected and row.refusal), "")

    def shift(self, offset: int) -> None:
        """Move the selected runs up or down, to the front or the end for a large number; they stay selected."""
        ids = self.chosen()
        rows = [row for row, queued in enumerate(self.rows.rows) if queued.run_id in ids]
        if not rows:
            return
        target = rows[0] + offset if offset < 0 else rows[-1] + offset + 1
        self.rows.move(rows, target)
        self.choose(ids)

    def choose(self, ids: Sequence[int]) -> None:
        """Select these runs."""
        model = self.selectionModel()
        flags = model.SelectionFlag
        model.clearSelection()
        for row, queued in enumerate(self.rows.rows):
            if queued.run_id in ids:
                index = self.rows.index(row, 0)
                model.select(index, flags.Select | flags.Rows)
                model.setCurrentIndex(index, flags.NoUpdate)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Home: -(10**9), Qt.Key.Key_End: 10**9}
        key = Qt.Key(event.key())
        if event.modifiers() & Qt.KeyboardModifier.AltModifier and key in steps:
            self.shift(steps[key])
        elif key == Qt.Key.Key_Delete and self.chosen():
            self.leave_asked.emit(self.chosen())
        else:
            super().keyPressEvent(event)
