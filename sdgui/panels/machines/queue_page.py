"""The queue: training and queued runs in order, and the limit of parallel runs on machines that have no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import (
    QAbstractTableModel,
    QMimeData,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPoint,
    QSignalBlocker,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QStackedWidget, QTreeView, QWidget

from sdgui.panels.machines.model import QueueRow, move_entries
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, theme

_ABOUT = (
    "Queued runs start automatically: one per free GPU; on a computer that has no GPU, as many as the limit allows. "
    "Press Ctrl+Shift+Enter to queue a run."
)
_TO_FRONT, _TO_END = -(10**9), 10**9  # offsets that move a run to the start or the end of any queue
_REMOVE_TIP = "Remove from the queue (Delete)"


class QueuePage(QWidget):
    """The page of the queue. ``place_requested``: train runs on another machine."""

    limit_changed = Signal(int)  # number of parallel runs
    place_requested = Signal(list, str)  # run ids, machine ("" for this computer)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._machines: Sequence[tuple[str, str]] = ()  # name ("" for this computer), title
        self.title, self.line = PlainLabel("Queue", self, role="heading"), PlainLabel(self, role="muted")
        self.limit = NoWheelSpinBox(self, minimum=1, maximum=1000)
        text = "&Parallel runs on this computer"
        self._limit_label = PlainLabel(text, self, role="muted", buddy=self.limit)
        self.table = QueueTable(self)
        self.up = IconButton("ph.arrow-up", "Move up the queue (Alt+Up)", parent=self)
        self.down = IconButton("ph.arrow-down", "Move down the queue (Alt+Down)", parent=self)
        self.top = IconButton("ph.arrow-line-up", "Move to the front of the queue (Alt+Home)", parent=self)
        self.remove = IconButton("ph.x", _REMOVE_TIP, parent=self)
        self.empty = EmptyState("ph.queue", "No queued runs", _ABOUT, "Open Define", parent=self)
        self.stack = QStackedWidget(self)
        self._build()
        self.limit.valueChanged.connect(self.limit_changed)
        self.up.clicked.connect(lambda: self.table.shift(-1))
        self.down.clicked.connect(lambda: self.table.shift(1))
        self.top.clicked.connect(lambda: self.table.shift(_TO_FRONT))
        self.remove.clicked.connect(lambda: self.table.removal_requested.emit(self.table.selected_waiting_runs()))
        self.table.selectionModel().selectionChanged.connect(self._enable)
        self.table.customContextMenuRequested.connect(self._open_menu)

    def _build(self) -> None:
        self.limit.setFixedWidth(8 * SPACE)
        hide_spin_buttons(self.limit)
        self.limit.setToolTip(plain_tip("Number of queued runs that train at the same time; with GPUs, one per GPU"))
        texts = vbox(self.title, self.line, spacing=0)
        row = hbox((texts, 1), self._limit_label, self.limit, self.top, self.up, self.down, self.remove)
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.table)
        vbox(row, (self.stack, 1), into=self, margins=(2 * SPACE, SPACE, 2 * SPACE, 2 * SPACE))
        self._enable()

    def show_rows(self, rows: Sequence[QueueRow]) -> None:
        selected = self.table.selected_waiting_runs()
        previous_ids = [row.run_id for row in self.table.rows.rows]
        self.table.rows.show_rows(rows)
        if previous_ids != [row.run_id for row in rows]:
            self.table.choose(selected)
        waiting = sum(row.position is not None for row in rows)
        self.line.setText(f"{len(rows) - waiting} training, {waiting} waiting")
        self.stack.setCurrentWidget(self.table if rows else self.empty)
        for button in (self.top, self.up, self.down, self.remove):
            button.setVisible(bool(rows))
        self._enable()

    def show_limit(self, limit: int, gpus: int) -> None:
        """Show the limit of parallel local runs; hidden with GPUs, since each GPU has one run."""
        with QSignalBlocker(self.limit):
            self.limit.setValue(limit)
        for widget in (self.limit, self._limit_label):
            widget.setVisible(not gpus)

    def show_machines(self, machines: Sequence[tuple[str, str]]) -> None:
        """Set the machines that a waiting run can be moved to: name ("" for this computer) and title."""
        self._machines = machines

    def _enable(self) -> None:
        has_selection = bool(self.table.selected_waiting_runs())
        for button in (self.up, self.down, self.top):
            button.setEnabled(has_selection)
        refusal = self.table.refusal()
        self.remove.setEnabled(has_selection and not refusal)
        self.remove.set_tip(refusal or _REMOVE_TIP)

    def _open_menu(self, position: QPoint) -> None:
        selected = self.table.selected_waiting_runs()
        if not selected:
            return
        menu, refusal = QMenu(self), self.table.refusal()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(bool(refusal))
        menu.addAction("Move to the front of the queue", lambda: self.table.shift(_TO_FRONT))
        menu.addAction("Move to the end of the queue", lambda: self.table.shift(_TO_END))
        machine_menu = menu.addMenu("Train on")
        for name, title in self._machines:
            machine_menu.addAction(title.replace("&", "&&"), partial(self.place_requested.emit, selected, name))
        menu.addSeparator()
        leave = menu.addAction("Remove from the queue", lambda: self.table.removal_requested.emit(selected))
        for action in (machine_menu.menuAction(), leave):
            action.setEnabled(not refusal)
            action.setToolTip(plain_tip(refusal))
        menu.popup(self.table.viewport().mapToGlobal(position))


Index = QModelIndex | QPersistentModelIndex
_COLUMNS = ("", "Run", "Machine", "Devices", "State", "Owner")
_MIME_TYPE = "application/x-sdgui-queue"


class QueueModel(QAbstractTableModel):
    """The rows of the queue: training runs, then waiting runs. ``reordered``: the waiting runs in their new order."""

    reordered = Signal(list)  # run ids

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[QueueRow] = []

    def show_rows(self, rows: Sequence[QueueRow]) -> None:
        """Show ``rows``; selection and scroll position are kept if the runs and their order did not change."""
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
        """The row of the first waiting run."""
        return sum(row.position is None for row in self.rows)

    def waiting(self) -> list[int]:
        """The ids of waiting runs, in order."""
        return [row.run_id for row in self.rows if row.position is not None]

    def move(self, rows: Sequence[int], target: int) -> None:
        """Move the waiting runs at ``rows`` before the row ``target``."""
        first, order = self.first_waiting, self.waiting()
        waiting_rows = [row - first for row in rows if row >= first]
        new_order = move_entries(order, waiting_rows, min(max(0, target - first), len(order)))
        if new_order != order:
            by_id = {row.run_id: row for row in self.rows}
            self.show_rows(self.rows[:first] + [by_id[run_id] for run_id in new_order])
            self.reordered.emit(new_order)

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
        is_waiting = self.rows[index.row()].position is not None
        return usual | Qt.ItemFlag.ItemIsDragEnabled if is_waiting else usual

    def supportedDropActions(self) -> Qt.DropAction:
        return Qt.DropAction.MoveAction

    def mimeTypes(self) -> list[str]:
        return [_MIME_TYPE]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:
        data = QMimeData()
        rows = sorted({index.row() for index in indexes})
        data.setData(_MIME_TYPE, ",".join(str(self.rows[row].run_id) for row in rows).encode())
        return data

    def dropMimeData(self, data: QMimeData, action: Qt.DropAction, row: int, column: int, parent: Index) -> bool:
        if not data.hasFormat(_MIME_TYPE):
            return False
        ids = {int(part) for part in bytes(data.data(_MIME_TYPE).data()).split(b",")}
        target = row if row >= 0 else parent.row() if parent.isValid() else len(self.rows)
        self.move([number for number, queued in enumerate(self.rows) if queued.run_id in ids], target)
        return False  # the view must not remove the moved rows


class QueueTable(QTreeView):
    """The table of runs. ``removal_requested``: ids of runs to remove from the queue; ``run_opened``: a run to show."""

    removal_requested = Signal(list)
    run_opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = QueueModel(self)
        self.setModel(self.rows)
        self.setAccessibleName("Queue: training and waiting runs")
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

    def selected_waiting_runs(self) -> list[int]:
        """The ids of the selected waiting runs."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.rows.rows[row].run_id for row in rows if self.rows.rows[row].position is not None]

    def refusal(self) -> str:
        """Why the selected runs cannot be removed from the queue from here; "" if they can."""
        selected = set(self.selected_waiting_runs())
        return next((row.refusal for row in self.rows.rows if row.run_id in selected and row.refusal), "")

    def shift(self, offset: int) -> None:
        """Move the selected runs by ``offset`` places and keep them selected; a large offset moves them to an end."""
        ids = self.selected_waiting_runs()
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
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Home: _TO_FRONT, Qt.Key.Key_End: _TO_END}
        key = Qt.Key(event.key())
        if event.modifiers() & Qt.KeyboardModifier.AltModifier and key in steps:
            self.shift(steps[key])
        elif key == Qt.Key.Key_Delete and self.selected_waiting_runs():
            if not self.refusal():
                self.removal_requested.emit(self.selected_waiting_runs())
        else:
            super().keyPressEvent(event)
