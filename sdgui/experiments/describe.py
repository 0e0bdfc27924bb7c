"""A sheet over the tree for tags and note of an experiment or a run; saves when it closes, Escape cancels."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QStringListModel, Qt, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QCompleter, QFrame, QLineEdit, QPlainTextEdit, QWidget

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.popovers.placing import move_within
from sdgui.widgets.style.theme import SPACE


class DescribeSheet(QFrame):
    """The sheet for tags and note. ``described``: ``target``, the changed tags and note, and their previous values.

    The sheet closes on Ctrl+Enter or a click elsewhere; the selection may have changed by then.
    """

    described = Signal(object, list, str, object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Tags and note")
        self._target: object = None
        self._before: tuple[list[str], str] = ([], "")
        self._is_cancelled = False
        self.title = PlainLabel(self, role="title")
        self.tags = QLineEdit(self)
        self.tags.setPlaceholderText("Tags, separated by commas")
        self.tags.setAccessibleName("Tags, separated by commas")
        self._tag_choices = QStringListModel(self)
        completer = QCompleter(self._tag_choices, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.tags.setCompleter(completer)
        self.note = QPlainTextEdit(self)
        self.note.setPlaceholderText("Note")
        self.note.setAccessibleName("Note")
        self.note.setTabChangesFocus(True)
        hint = PlainLabel("Ctrl+Enter saves, Esc cancels", self, role="small")
        vbox(self.title, self.tags, self.note, hint, into=self, margins=SPACE)
        self.tags.returnPressed.connect(self.hide)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(keys), self).activated.connect(self.hide)

    def open(
        self,
        target: object,
        title: str,
        tags: Sequence[str],
        note: str,
        tag_choices: Sequence[str],
        position: QPoint,
    ) -> None:
        """Show the sheet at the screen position ``position``; ``tag_choices``: tags to choose from."""
        self.hide()  # first saves edits of another target
        self._target = target
        self._before, self._is_cancelled = (list(tags), note), False
        self.title.setText(title)
        self.tags.setText(", ".join(tags))
        self.note.setPlainText(note)
        self._tag_choices.setStringList(list(tag_choices))
        self.resize(44 * SPACE, 28 * SPACE)
        move_within(self, position)
        self.show()
        self.tags.setFocus(Qt.FocusReason.PopupFocusReason)

    def values(self) -> tuple[list[str], str]:
        """The tags (trimmed, without duplicates) and the note."""
        typed = (tag.strip().lstrip("#") for tag in self.tags.text().split(","))
        return list(dict.fromkeys(tag for tag in typed if tag)), self.note.toPlainText()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self._is_cancelled = True
        super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        tags, note = self.values()
        if not self._is_cancelled and (tags, note) != self._before:
            values_before, self._before = self._before, (tags, note)
            self.described.emit(self._target, tags, note, values_before)
