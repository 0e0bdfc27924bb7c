"""The event log of a run: starts, checkpoints, validations, warnings and the end; newest at the bottom."""

from __future__ import annotations

import time

from PySide6.QtCore import QModelIndex, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QListView, QListWidget, QListWidgetItem, QWidget

from sdgui.panels.runs.model import LogLine, event_lines
from sdgui.runs.history import RunHistory
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

_ICONS = {"warning": ("ph.warning-fill", "warning"), "error": ("ph.x-circle-fill", "error")}


class EventLog(QListWidget):
    """The list, which stays scrolled to its end; Ctrl+C copies the selected lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[LogLine] = []
        self.setAccessibleName("Event log")
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(14, 14))
        self.setStyleSheet("QListView::item { height: 20px; padding: 0 4px; }")
        self.setWordWrap(False)
        theme().changed.connect(self._show_icons)

    def show_history(self, history: RunHistory | None) -> None:
        """Show the events of a history; None clears the list."""
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        self.set_lines(event_lines(history) if history is not None else [])
        if at_end:
            self.scrollToBottom()

    def set_lines(self, lines: list[LogLine]) -> None:
        """Show ``lines``; if only the end differs, append the new lines."""
        if lines[: len(self._lines)] != self._lines:
            self.clear()
        for moment, level, sentence in lines[self.count() :]:
            item = QListWidgetItem(f"{time.strftime('%H:%M:%S', time.localtime(moment))}   {sentence}", self)
            item.setToolTip(plain_tip(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))}\n{sentence}"))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{level}: {sentence}")
        self._lines = lines
        self._show_icons()

    def _show_icons(self) -> None:
        for row, (_, level, _) in enumerate(self._lines):
            if level in _ICONS:
                self.item(row).setIcon(theme().icon(*_ICONS[level]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            selected = sorted(self.selectedIndexes(), key=QModelIndex.row)
            QGuiApplication.clipboard().setText("\n".join(str(index.data()) for index in selected))
            return
        super().keyPressEvent(event)
