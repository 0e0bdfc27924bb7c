"""One field of the form: title, editor, unit, difference mark, reset button, and its error below.

``FoldRow`` is the first line of an optional group that is enabled by a number: its title folds the group.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QWidget

from sdgui.shared.form.editors import FieldEditor, editor_for
from sdgui.shared.form.fields import FieldGroup, FieldSpec
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role, theme

_TITLE_WIDTH = 22 * SPACE
_EDITOR_WIDTH = 52 * SPACE


class FormRow(QWidget):
    """A field's row. ``edited(path)``: the user has typed or reset the value. ``focused(path)``: it has the focus.
    ``menu_requested(path, position)``: a right click next to the editor, with the screen position.
    """

    edited = Signal(str)
    focused = Signal(str)
    menu_requested = Signal(str, object)

    def __init__(self, spec: FieldSpec, parent: QWidget, indent: int = 0) -> None:
        """``indent``: indentation of the title in pixels."""
        super().__init__(parent)
        self.spec = spec
        self._indent = indent
        self.error = ""
        self.differs = False
        self._base = ""
        self._read_only = False
        self._reset: IconButton | None = None
        self._error_label: QLabel | None = None
        self.editor: FieldEditor = editor_for(spec, self)
        self.editor.setMaximumWidth(_EDITOR_WIDTH)
        self.editor.edited.connect(self._on_edited)
        self.editor.control.installEventFilter(self)
        self._dot = PlainLabel(self, role="accent")
        self._dot.setFixedWidth(SPACE + SPACE // 2)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACE)
        self._grid.setVerticalSpacing(2)
        self._grid.addWidget(self._dot, 0, 0)
        self._grid.addWidget(self._make_title(), 0, 1)
        self._grid.addWidget(self.editor, 0, 2)
        self._grid.setColumnMinimumWidth(3, 4 * SPACE)
        self._stretch()

    def _make_title(self) -> QWidget:
        title = PlainLabel(self.spec.title, self)
        title.setFixedWidth(_TITLE_WIDTH)
        title.setWordWrap(True)
        title.setContentsMargins(self._indent, 0, 0, 0)
        title.setToolTip(plain_tip(self.spec.help))
        title.setBuddy(self.editor)
        return title

    def _stretch(self) -> None:
        self._grid.setColumnStretch(2, 100)
        self._grid.setColumnStretch(4, 1)

    def add_below(self, widget: QWidget) -> None:
        """Add ``widget`` below the field and its error."""
        widget.setMaximumWidth(_EDITOR_WIDTH)
        self._grid.addWidget(widget, 2, 2, 1, 3)

    def text(self) -> str:
        """The typed or selected text."""
        return self.editor.text()

    def set_text(self, text: str) -> None:
        """Show ``text`` without ``edited``."""
        self.editor.set_text(text)

    def set_base(self, text: str) -> None:
        """Set the text that resetting restores."""
        self._base = text

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing."""
        if read_only == self._read_only:
            return
        self._read_only = read_only
        self.editor.set_read_only(read_only)
        self._show_mark()

    @property
    def read_only(self) -> bool:
        """Whether the row cannot be edited."""
        return self._read_only

    def set_differs(self, differs: bool) -> None:
        """Mark the row as different, and offer to reset it."""
        if differs or self.differs:
            self.differs = differs
            self._show_mark()

    def _show_mark(self) -> None:
        self._dot.setText("●" if self.differs else "")
        tip = f"Differs from the preset: {self._base or 'empty'}" if self.differs else ""
        self._dot.setToolTip(plain_tip(tip))
        self._dot.setAccessibleName(tip)
        if self._reset is None and self.differs:
            self._reset = IconButton("ph.arrow-counter-clockwise", "", parent=self)
            self._reset.clicked.connect(self._reset_it)
            self._grid.addWidget(self._reset, 0, 3)
        if self._reset is not None:
            self._reset.set_tip(f"Reset {self.spec.title.lower()} to {self._base or 'empty'}")
            self._reset.setVisible(self.differs and not self._read_only)

    def set_error(self, sentence: str) -> None:
        """Show an error below the field; "" for none."""
        if sentence == self.error:
            return
        self.error = sentence
        self.editor.set_invalid(bool(sentence))
        if self._error_label is None:
            self._error_label = PlainLabel(self, role="error", wordWrap=True)
            self._grid.addWidget(self._error_label, 1, 2, 1, 3)
        self._error_label.setText(sentence)
        self._error_label.setVisible(bool(sentence))
        self.editor.control.setAccessibleDescription(f"Error: {sentence}" if sentence else self.spec.help)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Emit ``focused`` when the editor gets the focus."""
        if event.type() == QEvent.Type.FocusIn:
            self.focused.emit(self.spec.path)
        return super().eventFilter(watched, event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_requested.emit(self.spec.path, event.globalPos())

    def _on_edited(self) -> None:
        self.edited.emit(self.spec.path)

    def _reset_it(self) -> None:
        self.set_text(self._base)
        self.editor.setFocus()
        self.edited.emit(self.spec.path)


class FoldRow(FormRow):
    """The heading row of an optional group: its foldable name, the number that enables it, and its purpose."""

    fold_requested = Signal()

    def __init__(self, spec: FieldSpec, group: FieldGroup, parent: QWidget) -> None:
        self._group = group
        self._folded: bool | None = None
        super().__init__(spec, parent)
        self.editor.setFixedWidth(15 * SPACE)
        control = self.editor.control
        control.setAccessibleName(f"{group.title}: {spec.title.lower()}")
        self.about = ElidedLabel(group.description, self, role="small")
        self._grid.addWidget(self.about, 0, 4)
        theme().changed.connect(self._restyle)

    def _make_title(self) -> QWidget:
        self.button = QPushButton(self._group.title, self)
        set_role(self.button, "flat")
        self.button.setProperty("align", "left")
        self.button.setFixedWidth(_TITLE_WIDTH)
        self.button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.button.setToolTip(plain_tip(self._group.description))
        self.button.clicked.connect(self.fold_requested)
        return self.button

    def _stretch(self) -> None:
        self._grid.setColumnStretch(4, 1)

    def set_folded(self, folded: bool) -> None:
        """Set the direction of the arrow."""
        if folded == self._folded:
            return
        self._folded = folded
        self.button.setAccessibleName(f"{self._group.title}, {'collapsed' if folded else 'expanded'}")
        self._restyle()

    def _restyle(self) -> None:
        self.button.setIcon(theme().icon("ph.caret-right" if self._folded else "ph.caret-down", "muted"))
