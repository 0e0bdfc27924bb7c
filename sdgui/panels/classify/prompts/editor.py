"""The prompt editor next to the confusion matrix: templates above, class names below.

Flow: typing -> (after a pause) ``PromptDraft`` -> ``edited`` with the prompts as the worker takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QHeaderView, QPlainTextEdit, QSplitter, QTableView, QWidget

from core.spec.errors import UserError
from core.spec.files import write_whole
from sdgui.panels.classify.model import Target
from sdgui.panels.classify.prompts.draft import PromptDraft
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.widgets.file_dialogs import ask_open, ask_save
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import Message, error, info
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_Index = QModelIndex | QPersistentModelIndex
_TYPING_PAUSE_MS = 250  # pause in typing after which the prompts are evaluated
_FILES = "Prompts (*.json *.txt)"


class NamesModel(QAbstractTableModel):
    """Labels and class names; the second column can be edited."""

    named = Signal(str, str)  # label, comma-separated names

    def __init__(self, draft: PromptDraft, parent: QWidget) -> None:
        super().__init__(parent)
        self._draft = draft
        self.classes: list[str] = []

    def set_classes(self, classes: Sequence[str]) -> None:
        """Set the classes of the shown result."""
        if list(classes) != self.classes:
            self.beginResetModel()
            self.classes = list(classes)
            self.endResetModel()

    def refresh(self) -> None:
        """Update after a change of the draft."""
        if self.classes:
            self.dataChanged.emit(self.index(0, 1), self.index(len(self.classes) - 1, 1))

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self.classes)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 2

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return ("Label", "Class name")[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        label = self.classes[index.row()]
        names = self._draft.typed.names.get(label, "")
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(f"{label}: {names}" if names else label)
        if index.column() == 0:
            return label if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.EditRole:
            return names or label
        return names if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: _Index) -> Qt.ItemFlag:
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == 1 else flags

    def setData(self, index: _Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.EditRole or index.column() != 1:
            return False
        self.named.emit(self.classes[index.row()], str(value))
        return True


class _Templates(QPlainTextEdit):
    """The templates. Undo and redo are handled by the editor, which has one history for templates and names."""

    undo_requested = Signal()
    redo_requested = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Undo):
            self.undo_requested.emit()
        elif event.matches(QKeySequence.StandardKey.Redo):
            self.redo_requested.emit()
        else:
            super().keyPressEvent(event)


class PromptEditor(QWidget):
    """The editor. ``edited``: changed prompts can be evaluated; ``saved``: the prompts were written to a file."""

    edited = Signal(str)  # prompts as JSON
    saved = Signal(str)  # path
    message_requested = Signal(Message)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.draft = PromptDraft()
        self.templates = _Templates(self, undoRedoEnabled=False, tabChangesFocus=True)
        self.names = NamesModel(self.draft, self)
        self.table = QTableView(self)
        self.status = PlainLabel("", self, wordWrap=True, role="small")
        self._target: Target | None = None
        self._initial_accuracy: float | None = None  # accuracy on ``_target`` before the first edit
        self._tasks = BackgroundTasks(self)
        self._pause = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._build()
        self._pause.timeout.connect(self.apply)
        self.templates.textChanged.connect(self._pause.start)
        self.names.named.connect(self._rename_class)
        self._show_draft()

    def _build(self) -> None:
        self.templates.setAccessibleName("Prompt templates")
        self.templates.setToolTip("One template per line, with {} in place of the class name")
        self.templates.undo_requested.connect(self.undo)
        self.templates.redo_requested.connect(self.redo)
        self.templates.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.table.setModel(self.names)
        self.table.setAccessibleName("Class names")
        self.table.setToolTip("Double-click to rename a class. Separate synonyms with commas; embeddings are averaged")
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setTabKeyNavigation(False)
        title = PlainLabel("Prompts", self, role="title")
        self.undo_button = IconButton("ph.arrow-counter-clockwise", "Undo (Ctrl+Z)", parent=self)
        self.redo_button = IconButton("ph.arrow-clockwise", "Redo (Ctrl+Shift+Z)", parent=self)
        self.reset_button = IconButton("ph.eraser", "Reset to the prompts before the edits", parent=self)
        self.open_button = IconButton("ph.folder-open", "Open a prompt file", parent=self)
        self.save_button = IconButton("ph.floppy-disk", "Save for sdgui-core evaluate --templates", parent=self)
        row = hbox((title, 1), spacing=SPACE // 2)
        for button, act in (
            (self.undo_button, self.undo),
            (self.redo_button, self.redo),
            (self.reset_button, self.reset),
            (self.open_button, self.ask_open),
            (self.save_button, self.ask_save),
        ):
            button.clicked.connect(act)
            row.addWidget(button)
        self.split = QSplitter(Qt.Orientation.Vertical, self, childrenCollapsible=False)
        self.split.addWidget(self.templates)
        self.split.addWidget(self.table)
        vbox(row, (self.split, 1), self.status, into=self, spacing=SPACE // 2, margins=(0, 0, SPACE, 0))

    # Display
    def begin(self, source: str, classes: Sequence[str], target: Target, accuracy: float | None) -> None:
        """Edit the prompts of the shown result of ``target``, without evaluating them again.

        ``accuracy``: None if the result is not zero-shot, so that its accuracy is not the prompts'.
        """
        self.names.set_classes(classes)
        try:
            changed = self.draft.begin(source)
        except UserError as problem:
            self.message_requested.emit(error(str(problem)))
            return
        if changed or target != self._target:
            self._target, self._initial_accuracy = target, None
        if changed:  # otherwise keep the text being typed
            self._show_draft()
        self.status.clear()
        if accuracy is not None:
            if self._initial_accuracy is None:
                self._initial_accuracy = accuracy
            self.show_accuracy(accuracy)

    def show_accuracy(self, accuracy: float, complete: bool = True) -> None:
        """Show the prompts' accuracy; not ``complete`` while some templates are not encoded yet."""
        text = f"Accuracy {100 * accuracy:.1f} %"
        if self._initial_accuracy is not None and abs(accuracy - self._initial_accuracy) >= 5e-4:
            text += f", {100 * (accuracy - self._initial_accuracy):+.1f} points since the first edit"
        self.status.setText(text if complete else f"{text} (some templates are still being encoded)")

    def show_problem(self, sentence: str) -> None:
        """Show why the prompts could not be evaluated."""
        self.status.setText(sentence)

    def _show_draft(self) -> None:
        """Show the draft in the fields."""
        if self.templates.toPlainText() != self.draft.typed.templates:
            with QSignalBlocker(self.templates):
                self.templates.setPlainText(self.draft.typed.templates)
        self.names.refresh()
        self.undo_button.setEnabled(bool(self.draft.undo_stack))
        self.redo_button.setEnabled(bool(self.draft.redo_stack))

    # Edits
    def apply(self) -> None:
        """Apply the typed text and request its evaluation."""
        self._pause.stop()
        self._show_edit(self.draft.put_templates(self.templates.toPlainText()))

    def _rename_class(self, label: str, names: str) -> None:
        typed = self._record_typed_text()
        self._show_edit(self.draft.put_names(label, names) or typed)

    def undo(self) -> None:
        """Undo the last edit."""
        self._record_typed_text()
        self._show_edit(self.draft.undo())

    def redo(self) -> None:
        """Redo the last undone edit."""
        self._record_typed_text()
        self._show_edit(self.draft.redo())

    def reset(self) -> None:
        """Reset to the prompts before the edits; can be undone."""
        self._record_typed_text()
        self._show_edit(self.draft.reset())

    def _record_typed_text(self) -> bool:
        """Record pending text as a separate edit; returns whether there was any."""
        self._pause.stop()
        return self.draft.put_templates(self.templates.toPlainText())

    def _show_edit(self, changed: bool) -> None:
        self._show_draft()
        if not changed:
            return
        if problem := self.draft.problem:
            self.show_problem(problem)
        else:
            self.status.setText("Testing the prompts…")
            self.edited.emit(self.draft.source)

    # Files
    def ask_open(self) -> None:
        """Choose and open a prompt file."""
        if path := ask_open(self, "Prompts", _FILES):
            self.open_file(str(path))

    def open_file(self, path: str) -> None:
        """Edit the prompts in the file ``path``."""
        try:
            changed = self.draft.begin(path)
        except UserError as problem:
            self.message_requested.emit(error(str(problem)))
            return
        self._show_edit(changed)

    def ask_save(self) -> None:
        """Choose a file and save the prompts."""
        if problem := self.draft.problem:
            self.message_requested.emit(error(problem))
            return
        if file := ask_save(self, "Save the prompts", "prompts.json", "Prompts (*.json)", ".json"):
            self.save_to(file.path)

    def save_to(self, path: Path) -> None:
        """Write the prompts as JSON."""
        content = self.draft.source.encode()

        def done(_: object) -> None:
            self.saved.emit(str(path))
            text = f"Saved as {path}. Use the file with sdgui-core evaluate --templates."
            self.message_requested.emit(info(text))

        self._tasks.run(
            lambda: write_whole(path, content), done, lambda sentence: self.message_requested.emit(error(sentence))
        )
