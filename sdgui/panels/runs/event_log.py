"""The event log of a run: starts, checkpoints, validations, warnings and the end; newest at the bottom."""

from __future__ import annotations

import time

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QListView, QWidget

from sdgui.panels.runs.model import LogLine, event_lines
from sdgui.runs.history import RunHistory
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

_ICONS = {"warning": ("ph.warning-fill", "warning"), "error": ("ph.x-circle-fill", "error")}


class EventLogModel(QAbstractListModel):
    """The lines with their time, and their level as an icon."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[LogLine] = []

    def set_lines(self, lines: list[LogLine]) -> None:
        """Show ``lines``; if only the end differs, append the new lines."""
        old = len(self._lines)
        if lines[:old] == self._lines:
            if len(lines) > old:
                self.beginInsertRows(QModelIndex(), old, len(lines) - 1)
                self._lines = lines
                self.endInsertRows()
            return
        self.beginResetModel()
        self._lines = lines
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._lines)

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        moment, level, sentence = self._lines[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{time.strftime('%H:%M:%S', time.localtime(moment))}   {sentence}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))}\n{sentence}")
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{level}: {sentence}"
        if role == Qt.ItemDataRole.DecorationRole and level in _ICONS:
            return theme().icon(*_ICONS[level])
        return None


class EventLog(QListView):
    """The list, which stays scrolled to its end; Ctrl+C copies the selected lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Event log")
        self._events = EventLogModel(self)
        self.setModel(self._events)
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(14, 14))
        self.setStyleSheet("QListView::item { height: 20px; padding: 0 4px; }")
        self.setWordWrap(False)

    def show_history(self, history: RunHistory | None) -> None:
        """Show the events of a history; None clears the list."""
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        self._events.set_lines(event_lines(history) if history is not None else [])
        if at_end:
            self.scrollToBottom()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            selected = sorted(self.selectedIndexes(), key=QModelIndex.row)
            QGuiApplication.clipboard().setText("\n".join(str(index.data()) for index in selected))
            return
        super().keyPressEvent(event)
