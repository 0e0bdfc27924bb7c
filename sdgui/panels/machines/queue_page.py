"""The queue: training and queued runs in order, and how many run at once without a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QStackedWidget, QWidget

from sdgui.panels.machines.model import QueueRow
from sdgui.panels.machines.queue_table import QueueTable
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.still_boxes import StillSpinBox
from sdgui.widgets.style.theme import SPACE, hide_steps, set_role

_ABOUT = (
    "Queued runs start automatically, one on each free GPU; without a GPU, as many as the limit allows. "
    "Queue one with Ctrl+Shift+Enter."
)
_FIRST, _LAST = -(10**9), 10**9
_LEAVE = "Take out of the queue (Delete)"


class QueuePage(QWidget):
    """``limit_changed``: runs at once; ``place_asked``: runs that are to train on a machine."""

    limit_changed = Signal(int)
    place_asked = Signal(list, str)  # run ids, machine ("" for this computer)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._machines: Sequence[tuple[str, str]] = ()
        self.title, self.line = PlainLabel("Queue", self), PlainLabel(self)
        self.limit = StillSpinBox(self)
        self._limit_label = PlainLabel("Runs at &once here", self)
        self.table = QueueTable(self)
        self.up = IconButton("ph.arrow-up", "Start earlier (Alt+Up)", parent=self)
        self.down = IconButton("ph.arrow-down", "Start later (Alt+Down)", parent=self)
        self.top = IconButton("ph.arrow-line-up", "Move to the front of the queue (Alt+Home)", parent=self)
        self.leave = IconButton("ph.x", _LEAVE, parent=self)
        self.empty = EmptyState("ph.queue", "Nothing waits", _ABOUT, parent=self)
        self.stack = QStackedWidget(self)
        self._build()
        self.limit.valueChanged.connect(self.limit_changed)
        self.up.clicked.connect(lambda: self.table.shift(-1))
        self.down.clicked.connect(lambda: self.table.shift(1))
        self.top.clicked.connect(lambda: self.table.shift(_FIRST))
        self.leave.clicked.connect(lambda: self.table.leave_asked.emit(self.table.chosen()))
        self.table.selectionModel().selectionChanged.connect(self._enable)
        self.table.customContextMenuRequested.connect(self._menu)

    def _build(self) -> None:
        set_role(self.title, "heading")
        set_role(self.line, "muted")
        set_role(self._limit_label, "muted")
        self.limit.setRange(1, 1000)
        self.limit.setFixedWidth(8 * SPACE)
        hide_steps(self.limit)
        self.limit.setToolTip(plain_tip("How many queued runs train here at the same time; with GPUs it is one each"))
        self._limit_label.setBuddy(self.limit)
        texts = vbox(self.title, self.line, spacing=0)
        row = hbox((texts, 1), self._limit_label, self.limit, self.top, self.up, self.down, self.leave)
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.table)
        vbox(row, (self.stack, 1), into=self, margins=(2 * SPACE, SPACE, 2 * SPACE, 2 * SPACE))
        self._enable()

    def show_rows(self, rows: Sequence[QueueRow]) -> None:
        """Show training and queued runs."""
        selected = self.table.chosen()
        before = [row.run_id for row in self.table.rows.rows]
        self.table.rows.show_rows(rows)
        if before != [row.run_id for row in rows]:
            self.table.choose(selected)
        waiting = sum(row.position is not None for row in rows)
        self.line.setText(f"{len(rows) - waiting} training, {waiting} waiting")
        self.stack.setCurrentWidget(self.table if rows else self.empty)
        self._enable()

    def show_limit(self, limit: int, gpus: int) -> None:
        """How many run at once here; with GPUs there is nothing to choose."""
        self.limit.blockSignals(True)
        self.limit.setValue(limit)
        self.limit.blockSignals(False)
        for widget in (self.limit, self._limit_label):
            widget.setVisible(not gpus)

    def show_machines(self, machines: Sequence[tuple[str, str]]) -> None:
        """Name ("" for this computer) and title of those that a waiting run can be sent to."""
        self._machines = machines

    def _enable(self) -> None:
        some = bool(self.table.chosen())
        for button in (self.up, self.down, self.top):
            button.setEnabled(some)
        refusal = self.table.refusal()
        self.leave.setEnabled(some and not refusal)
        self.leave.set_tip(refusal or _LEAVE)

    def _menu(self, position: QPoint) -> None:
        selected = self.table.chosen()
        if not selected:
            return
        menu, refusal = QMenu(self), self.table.refusal()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(bool(refusal))
        menu.addAction("Move to the front of the queue", lambda: self.table.shift(_FIRST))
        menu.addAction("Move to the end of the queue", lambda: self.table.shift(_LAST))
        machine_menu = menu.addMenu("Train on")
        for name, title in self._machines:
            machine_menu.addAction(self._send_action(menu, selected, name, title))
        menu.addSeparator()
        leave = menu.addAction("Take out of the queue", lambda: self.table.leave_asked.emit(selected))
        for action in (machine_menu.menuAction(), leave):
            action.setEnabled(not refusal)
            action.setToolTip(plain_tip(refusal))
        menu.popup(self.table.viewport().mapToGlobal(position))

    def _send_action(self, menu: QMenu, run_ids: list[int], name: str, title: str) -> QAction:
        action = QAction(title.replace("&", "&&"), menu)
        action.triggered.connect(lambda: self.place_asked.emit(run_ids, name))
        return action
