"""One field of the form: title, editor, unit, a mark and a reset button where it differs, its error below."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from sdgui.widgets.field_editors import FieldEditor, editor_for
from sdgui.widgets.form_fields import FieldSpec
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.theme import SPACE, set_role

_TITLE_WIDTH = 22 * SPACE
_EDITOR_WIDTH = 52 * SPACE


class FormRow(QWidget):
    """``edited(path)``: the user changed the value, typing or resetting. ``focused(path)``: it has the focus."""

    edited = Signal(str)
    focused = Signal(str)

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(parent)
        self.spec = spec
        self.error = ""
        self.differs = False
        self._base = ""
        self._read_only = False
        self._reset: IconButton | None = None
        self._sentence: QLabel | None = None
        self.editor: FieldEditor = editor_for(spec, self)
        self.editor.setMaximumWidth(_EDITOR_WIDTH)
        self.editor.edited.connect(self._edited)
        self.editor.control.installEventFilter(self)
        self._title = QLabel(spec.title, self)
        self._title.setFixedWidth(_TITLE_WIDTH)
        self._title.setWordWrap(True)
        self._title.setToolTip(spec.help)
        self._title.setBuddy(self.editor)
        self._dot = QLabel(self)
        set_role(self._dot, "accent")
        self._dot.setFixedWidth(SPACE + SPACE // 2)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACE)
        self._grid.setVerticalSpacing(2)
        self._grid.addWidget(self._dot, 0, 0)
        self._grid.addWidget(self._title, 0, 1)
        self._grid.addWidget(self.editor, 0, 2)
        self._grid.setColumnStretch(2, 100)
        self._grid.setColumnMinimumWidth(3, 4 * SPACE)
        self._grid.setColumnStretch(4, 1)

    def text(self) -> str:
        """What was typed or chosen."""
        return self.editor.text()

    def set_text(self, text: str) -> None:
        """Show ``text`` without ``edited``."""
        self.editor.set_text(text)

    def set_base(self, text: str) -> None:
        """What resetting goes back to."""
        self._base = text

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing."""
        self._read_only = read_only
        self.editor.set_read_only(read_only)
        self.set_differs(self.differs)

    def set_differs(self, differs: bool) -> None:
        """Mark the row, and offer to reset it."""
        self.differs = differs
        self._dot.setText("●" if differs else "")
        tip = f"Differs from the preset: {self._base or 'empty'}"
        self._dot.setToolTip(tip if differs else "")
        self._dot.setAccessibleName(tip if differs else "")
        if self._reset is None and differs:
            self._reset = IconButton("ph.arrow-counter-clockwise", "", parent=self)
            self._reset.clicked.connect(self._reset_it)
            self._grid.addWidget(self._reset, 0, 3)
        if self._reset is not None:
            self._reset.set_tip(f"Reset {self.spec.title.lower()} to {self._base or 'empty'}")
            self._reset.setVisible(differs and not self._read_only)

    def set_error(self, sentence: str) -> None:
        """Show what is wrong under the field; "" when nothing is."""
        if sentence == self.error:
            return
        self.error = sentence
        self.editor.set_invalid(bool(sentence))
        if self._sentence is None:
            self._sentence = QLabel(self)
            self._sentence.setWordWrap(True)
            self._sentence.setTextFormat(Qt.TextFormat.PlainText)
            set_role(self._sentence, "error")
            self._grid.addWidget(self._sentence, 1, 2, 1, 2)
        self._sentence.setText(sentence)
        self._sentence.setVisible(bool(sentence))
        self.editor.control.setAccessibleDescription(f"Error: {sentence}" if sentence else self.spec.help)

    def matches(self, words: list[str]) -> bool:
        """Whether every word is in the title, description or dotted name."""
        text = f"{self.spec.title} {self.spec.description} {self.spec.path}".lower()
        return all(word in text for word in words)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notices the focus."""
        if event.type() == QEvent.Type.FocusIn:
            self.focused.emit(self.spec.path)
        return super().eventFilter(watched, event)

    def _edited(self) -> None:
        self.edited.emit(self.spec.path)

    def _reset_it(self) -> None:
        self.set_text(self._base)
        self.editor.setFocus()
        self.edited.emit(self.spec.path)
