"""What a run did, in sentences: starts, checkpoints, validations, warnings, its end. Newest at the bottom."""

from __future__ import annotations

import time

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QListView, QWidget

from core.spec.run.events import RunFailed, RunFinished
from sdgui.runs.history import RunHistory
from sdgui.widgets.formats import count, value
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

Line = tuple[float, str, str]  # time, level, sentence

_ICONS = {"warning": ("ph.warning-fill", "warning"), "error": ("ph.x-circle-fill", "error")}


def event_lines(history: RunHistory) -> list[Line]:
    """Everything but the metrics, in order of time."""
    lines: list[Line] = [(log.time, log.level, log.message) for log in history.logs]
    for number, start in enumerate(history.starts):
        what = "Training started" if number == 0 else f"Resumed at step {count(start.step)}"
        lines.append((start.time, "info", f"{what} on {start.device or 'an unknown device'}, {start.precision}."))
    for saved in history.checkpoints:
        best = ", best so far" if saved.best else ""
        lines.append((saved.time, "info", f"Saved checkpoint {saved.name} at step {count(saved.step)}{best}."))
    for row in history.evaluated:
        split = "test" if any(name.startswith("test/") for name in row.values) else "val"
        recalls = [
            f"{who} {value(row.values[name], '%')}"
            for who in ("student", "teacher")
            if (name := f"{split}/{who}/mean_recall") in row.values
        ]
        done = "Tested" if split == "test" else "Validated"
        found = f": mean recall of {', '.join(recalls)}" if recalls else ""
        lines.append((row.time, "info", f"{done} at step {count(row.step)}{found}."))
    end = history.terminal
    if isinstance(end, RunFinished):
        lines.append((end.time, "info", f"Ended at step {count(end.step)}: {end.outcome}."))
    elif isinstance(end, RunFailed):
        lines.append((end.time, "error", f"Failed at step {count(end.step)}: {end.message}"))
    lines.sort(key=lambda line: line[0])
    return lines


class EventLogModel(QAbstractListModel):
    """The lines, with time before and level as icon."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[Line] = []

    def set_lines(self, lines: list[Line]) -> None:
        """Show ``lines``; those that only follow are added at the end."""
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
    """A list that stays at its end while one is there; Ctrl+C copies the chosen lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Event log")
        self.setModel(EventLogModel(self))
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(14, 14))
        self.setStyleSheet("QListView::item { height: 20px; padding: 0 4px; }")
        self.setWordWrap(False)

    def show_history(self, history: RunHistory | None) -> None:
        """The lines of a history as it is now; None for none."""
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        model = self.model()
        if isinstance(model, EventLogModel):
            model.set_lines(event_lines(history) if history is not None else [])
        if at_end:
            self.scrollToBottom()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            rows = sorted(index.row() for index in self.selectedIndexes())
            model = self.model()
            QGuiApplication.clipboard().setText("\n".join(str(model.index(row, 0).data()) for row in rows))
            return
        super().keyPressEvent(event)
