"""Editors of single values in the form. Each keeps the typed text and never clamps or drops it.

All editors ignore the mouse wheel, so that scrolling the form changes nothing.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QCheckBox, QCompleter, QLineEdit, QMenu, QWidget

from sdgui.shared.form.fields import FieldSpec
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.file_dialogs import ask_folder, ask_open
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE


class FieldEditor(QWidget):
    """The editor of a value, as text. ``edited`` is emitted when the user changes it, but not by ``set_text``."""

    edited = Signal()

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(parent)
        self.spec = spec
        self.row = hbox(into=self)

    def register_control(self, control: QWidget, stretch: int = 0) -> None:
        """Register the control that takes the focus, and describe it to screen readers."""
        self.control = control
        control.setAccessibleName(f"{self.spec.title} ({unit})" if (unit := self.spec.shown_unit) else self.spec.title)
        control.setAccessibleDescription(self.spec.help)
        control.setToolTip(plain_tip(self.spec.help))
        self.row.addWidget(control, stretch)
        self.setFocusProxy(control)

    def show_unit(self) -> None:
        """Show the unit next to the control."""
        if self.spec.shown_unit:
            self.row.addWidget(PlainLabel(self.spec.shown_unit, self, role="muted"))

    def text(self) -> str:
        """The typed or selected text."""
        raise NotImplementedError

    def set_text(self, text: str) -> None:
        """Show ``text``, valid or not."""
        raise NotImplementedError

    def set_read_only(self, read_only: bool) -> None:
        """Show without editing."""
        self.control.setEnabled(not read_only)

    def set_choices(self, choices: list[str], notes: list[str] | None = None) -> None:
        """Offer ``choices``, each with its note; editors without free text ignore this."""

    def set_invalid(self, invalid: bool) -> None:
        """Mark the control; the row shows the message."""
        if bool(self.control.property("invalid")) != invalid:
            self.control.setProperty("invalid", invalid)
            self.control.style().unpolish(self.control)
            self.control.style().polish(self.control)


class FlagEditor(FieldEditor):
    """A check box."""

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self._box = QCheckBox(self)
        self._box.clicked.connect(self.edited)
        self.register_control(self._box)
        self.row.addStretch(1)

    def text(self) -> str:
        return "true" if self._box.isChecked() else "false"

    def set_text(self, text: str) -> None:
        self._box.setChecked(text == "true")


class ChoiceEditor(FieldEditor):
    """A list of choices. Any other text is kept as an additional entry with an error; in an open field it may be
    typed.
    """

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self._box = NoWheelComboBox(self)
        self._box.addItems(list(spec.choices))
        self._box.setMinimumWidth(20 * SPACE)
        self._box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._box.activated.connect(lambda _: self.edited.emit())
        if spec.allows_text:
            line = QLineEdit(self._box)
            self._box.setLineEdit(line)
            self._box.setInsertPolicy(NoWheelComboBox.InsertPolicy.NoInsert)
            line.textEdited.connect(lambda _: self.edited.emit())
        self.register_control(self._box)
        self.row.addStretch(1)

    def text(self) -> str:
        return self._box.currentText()

    def set_text(self, text: str) -> None:
        if text == self._box.currentText():
            return
        if self._box.findText(text) < 0 and not self.spec.allows_text:
            self._box.addItem(text)
        self._box.setCurrentText(text)


class TextEditor(FieldEditor):
    """A line of free text, with suggestions if there are any."""

    line_class: type[QLineEdit] = QLineEdit

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self.line = self.line_class(self)
        self.line.textEdited.connect(lambda _: self.edited.emit())
        self.register_control(self.line, 1)
        self.show_unit()

    def text(self) -> str:
        return self.line.text()

    def set_text(self, text: str) -> None:
        if text != self.line.text():
            self.line.setText(text)
            self.line.setCursorPosition(0)

    def set_read_only(self, read_only: bool) -> None:
        self.line.setReadOnly(read_only)  # still selectable, for copying

    def set_choices(self, choices: list[str], notes: list[str] | None = None) -> None:
        completer = QCompleter(choices, self.line)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(12)
        completer.activated.connect(lambda _: self.edited.emit())
        self.line.setCompleter(completer)


class _NumberLine(QLineEdit):
    """A line in which Up and Down step the last typed digit: 5e-4 becomes 6e-4, 0.98 becomes 0.99."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()), 0)
        stepped = stepped_number(self.text(), step) if step and not self.isReadOnly() else None
        if stepped is None:
            super().keyPressEvent(event)
        else:
            self.setText(stepped)
            self.textEdited.emit(stepped)


def stepped_number(text: str, step: int) -> str | None:
    """``text`` with ``step`` added to its last digit, in the same notation; None if it is not a finite number."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):  # nan, inf
        return None
    mantissa, e, power = text.strip().lower().partition("e")
    if e:
        number = Decimal(mantissa)
        places = number.as_tuple().exponent
        stepped = number + step * Decimal(1).scaleb(places if isinstance(places, int) else 0)
        # below 1, continue with the next smaller power: 1e-4 goes to 9e-5, not to 0
        return f"9e{int(power) - 1}" if stepped == 0 and number == 1 else f"{stepped}e{power}"
    return str(number + step * Decimal(1).scaleb(exponent))


class NumberEditor(TextEditor):
    """A number; any notation is accepted."""

    line_class = _NumberLine

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self.line.setFixedWidth(14 * SPACE)
        self.line.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.row.addStretch(1)


class _DropLine(QLineEdit):
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and not self.isReadOnly():
            event.acceptProposedAction()
        else:
            super().dragEnterEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and not self.isReadOnly():
            self.setText(paths[0])
            self.textEdited.emit(paths[0])
            event.acceptProposedAction()
        else:
            super().dropEvent(event)


class PathEditor(TextEditor):
    """A path or a name, with a button to browse; accepts dropped files and folders."""

    line_class = _DropLine

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self._browse_button = IconButton("ph.folder-open", f"Browse for {spec.title.lower()}", parent=self)
        self._browse_button.clicked.connect(self._ask)
        self.row.addWidget(self._browse_button)

    def set_text(self, text: str) -> None:
        """Show ``text``, and its end if it is too long: the name of a file says more than its folder."""
        super().set_text(text)
        self.line.setCursorPosition(len(text))

    def set_read_only(self, read_only: bool) -> None:
        super().set_read_only(read_only)
        self._browse_button.setVisible(not read_only)

    def _ask(self) -> None:
        menu = QMenu(self)
        menu.addAction("File…").triggered.connect(lambda: self._browse_for(folder=False))
        menu.addAction("Folder…").triggered.connect(lambda: self._browse_for(folder=True))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self._browse_button.mapToGlobal(self._browse_button.rect().bottomLeft()))

    def _browse_for(self, folder: bool) -> None:
        path = existing_path(self.text()) or existing_path(str(Path(self.text()).parent)) if self.text() else None
        start = "" if path is None else path if path.is_dir() else path.parent
        selected = ask_folder(self, self.spec.title, start) if folder else ask_open(self, self.spec.title, start=start)
        if selected is not None:
            self.set_text(str(selected))
            self.edited.emit()


class ColumnEditor(TextEditor):
    """The name of a column, with a button that lists the columns of the data if they are known."""

    def __init__(self, spec: FieldSpec, parent: QWidget) -> None:
        super().__init__(spec, parent)
        self._columns: list[tuple[str, str]] = []
        self._read_only = False
        self.list_button = IconButton("ph.caret-down", f"Choose the {spec.title.lower()} from the data", parent=self)
        self.list_button.clicked.connect(self._open)
        self.list_button.hide()
        self.row.addWidget(self.list_button)

    def set_read_only(self, read_only: bool) -> None:
        super().set_read_only(read_only)
        self._read_only = read_only
        self._show_button()

    def set_choices(self, choices: list[str], notes: list[str] | None = None) -> None:
        super().set_choices(choices)
        self._columns = list(zip(choices, notes or [""] * len(choices), strict=True))
        self._show_button()

    def _show_button(self) -> None:
        self.list_button.setVisible(bool(self._columns) and not self._read_only)

    def menu(self) -> QMenu:
        """The columns, with the current one ticked, and an entry for none."""
        menu = QMenu(self)
        for name, note in [("", "none"), *self._columns]:
            action = menu.addAction(" · ".join(part for part in (name.replace("&", "&&"), note) if part))
            action.setCheckable(True)
            action.setChecked(name == self.text())
            action.triggered.connect(lambda _checked=False, name=name: self._choose(name))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        return menu

    def _open(self) -> None:
        self.menu().popup(self.list_button.mapToGlobal(self.list_button.rect().bottomLeft()))

    def _choose(self, name: str) -> None:
        if name != self.text():
            self.set_text(name)
            self.edited.emit()


def editor_for(spec: FieldSpec, parent: QWidget) -> FieldEditor:
    """The editor that fits a field."""
    if spec.kind == "flag":
        return FlagEditor(spec, parent)
    if spec.kind == "choice":
        return ChoiceEditor(spec, parent)
    if spec.kind in ("whole", "number"):
        return NumberEditor(spec, parent)
    if spec.widget == "column":
        return ColumnEditor(spec, parent)
    has_path = spec.widget in ("source", "folder", "architecture")
    return PathEditor(spec, parent) if has_path else TextEditor(spec, parent)
