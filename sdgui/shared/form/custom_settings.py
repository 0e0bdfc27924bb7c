"""Settings of custom objectives as fields below their row, parsed from the source files.

Flow: the row's JSON -> `CustomSettings.show_rows` -> a field for each setting -> edited -> the row's JSON again.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFormLayout, QLineEdit, QWidget

from core.spec.errors import UserError
from core.spec.extending.references import parse_reference
from core.spec.extending.signatures import Setting, settings_of
from core.spec.reading import UnreadableError, parse_json
from sdgui.shared.form.row import FormRow
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

FIELD = "objectives.custom"
_WEIGHT = Setting("weight", "float", 1.0)
_MAX_SETTINGS = 40  # per objective


class CustomSettings(QWidget):
    """The fields below the row ``objectives.custom``."""

    def __init__(self, row: FormRow) -> None:
        super().__init__(row)
        self._row = row
        self.lines: dict[tuple[str, str], QLineEdit] = {}  # field by (reference, setting)
        self._shown = ""
        self._form = QFormLayout(self)
        self._form.setContentsMargins(3 * SPACE, 0, 0, 0)
        row.editor.edited.connect(self.show_rows)
        QTimer.singleShot(0, self, self.show_rows)  # delayed until the row has its text

    def show_rows(self) -> None:
        """Show the settings of the class or function in the row."""
        text = self._row.text()
        if text != self._shown:
            self._shown = text
            self._make_rows(text)
        for line in self.lines.values():
            line.setReadOnly(self._row.read_only)

    def _make_rows(self, text: str) -> None:
        while self._form.rowCount():
            self._form.removeRow(0)
        self.lines.clear()
        for key, values in _objectives(text).items():
            self._add(key, values)
        self.setVisible(bool(self._form.rowCount()))

    def _add(self, key: str, values: dict[str, Any]) -> None:
        reference = parse_reference(key)
        if reference is None:
            return
        title = PlainLabel(reference.name, self, role="title")
        title.setToolTip(plain_tip(key))
        self._form.addRow(title)
        try:
            settings = [_WEIGHT, *settings_of(reference)[:_MAX_SETTINGS]]
        except UserError as error:
            self._form.addRow(PlainLabel(str(error), self, role="error"))
            return
        for setting in settings:
            line = QLineEdit(self)
            line.setText(_text(values[setting.name]) if setting.name in values else "")
            line.setPlaceholderText("required" if setting.required else _text(setting.default))
            line.setAccessibleName(f"{reference.name} {setting.name}")
            line.setToolTip(plain_tip(setting.kind))
            line.editingFinished.connect(partial(self._on_edited, key, setting.name))
            self.lines[key, setting.name] = line
            self._form.addRow(PlainLabel(setting.name, self), line)

    def _on_edited(self, key: str, name: str) -> None:
        """Write the typed value to the row; an empty field means the default."""
        objectives = _objectives(self._row.text())
        values = objectives.get(key)
        typed = self.lines[key, name].text().strip()
        if values is None or typed == (_text(values[name]) if name in values else ""):
            return
        if typed:
            values[name] = _value(typed)
        else:
            values.pop(name, None)
        self._shown = json.dumps(objectives, ensure_ascii=False)
        self._row.editor.set_text(self._shown)
        self._row.editor.edited.emit()


def _objectives(text: str) -> dict[str, dict[str, Any]]:
    """The objectives in the row's JSON; {} if it is invalid."""
    value = _value(text)
    objectives = value.items() if isinstance(value, dict) else ()
    return {key: settings for key, settings in objectives if isinstance(settings, dict)}


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(text: str) -> Any:
    """``text`` as JSON; the text itself if it is not JSON."""
    try:
        return parse_json(text, "it")
    except UnreadableError:
        return text
