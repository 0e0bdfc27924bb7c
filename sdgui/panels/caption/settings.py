"""Generation settings in a sheet over the list; the form is generated from ``GenerationSettings``.

Flow: stored settings -> sheet -> ``changed(GenerationSettings)`` as soon as the input is valid. Fields that the
selected search does not use are hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QWidget

from core.spec.config import field_errors
from core.spec.generation import GenerationSettings
from sdgui.shared.form.fields import groups_of, parse, text_of
from sdgui.shared.form.row import FormRow
from sdgui.shared.stored_json import parse_stored
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.style.theme import SPACE, set_role

DEFAULTS = GenerationSettings(captions=3)
_SEARCH_OF_FIELD = {  # fields that only one search method reads
    **dict.fromkeys(("beams", "beam_stop", "length_penalty"), "beam"),
    **dict.fromkeys(("temperature", "top_k", "top_p", "seed"), "sample"),
}


def _uses(search: str, field: str) -> bool:
    """Whether the search method uses a field; greedy search makes only one caption."""
    return _SEARCH_OF_FIELD.get(field, search) == search and not (search == "greedy" and field == "captions")


class CaptionSettings(QFrame):
    """The form. ``settings`` holds the last valid settings; an invalid field shows its error and changes nothing."""

    changed = Signal(object)  # GenerationSettings

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAccessibleName("Generation settings")
        self.settings = DEFAULTS
        self._rows: dict[str, FormRow] = {}  # field -> its row

    @property
    def rows(self) -> dict[str, FormRow]:
        """The form's rows by field; created on first use, so that the panel appears sooner."""
        if not self._rows:
            self._build()
        return self._rows

    def _build(self) -> None:
        area = QScrollArea(self)
        page = QWidget(area.viewport())
        page.setProperty("role", "page")
        specs = groups_of(GenerationSettings, "")[0].fields
        self._rows = {spec.path: FormRow(spec, page) for spec in specs}
        self._more = QPushButton("&More", page)
        self._more.setCheckable(True)
        self._more.setToolTip("Show advanced settings")
        self._more.toggled.connect(lambda _on: self._update_visible())
        set_role(self._more, "flat")
        rows = (self._rows[spec.path] for spec in sorted(specs, key=lambda spec: spec.advanced))
        more = (self._more, 0, Qt.AlignmentFlag.AlignLeft)
        vbox(*rows, more, None, into=page, spacing=SPACE // 2, margins=(0, 0, SPACE, 0))
        area.setWidget(page)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        reset = QPushButton("&Reset all", self)
        set_role(reset, "flat")
        reset.clicked.connect(lambda: self.set_settings(DEFAULTS, emit=True))
        close = QPushButton("&Close", self)
        close.clicked.connect(self.hide)
        vbox((area, 1), hbox(reset, None, close), into=self, spacing=STYLE_SPACING, margins=SPACE)
        for row in self._rows.values():
            row.edited.connect(lambda _path: self._read_rows())
        self.set_settings(self.settings)

    def set_settings(self, settings: GenerationSettings, emit: bool = False) -> None:
        """Show ``settings``; with ``emit``, ``changed`` is emitted if they differ from the current ones."""
        if not self._rows:
            self.settings = settings
            return
        base = DEFAULTS.model_dump()
        for name, value in settings.model_dump().items():
            self.rows[name].set_base(text_of(base[name]))
            self.rows[name].set_text(text_of(value))
        self._read_rows(emit)

    def open_at(self, corner: QPoint, room: int) -> None:
        """Show the sheet with its top right corner at a screen position, at most ``room`` px high."""
        first = self.rows["search"]
        self.resize(74 * SPACE, min(room, 64 * SPACE))
        self.move(corner - QPoint(self.width(), 0))
        self.show()
        first.editor.setFocus(Qt.FocusReason.PopupFocusReason)

    def _read_rows(self, emit: bool = True) -> None:
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for name, row in self.rows.items():
            try:
                values[name] = parse(row.spec, row.text())
            except ValueError as error:
                errors[name] = str(error)
        search = self.rows["search"].text()
        for name in self.rows:  # unused fields need not be valid
            if not _uses(search, name):
                values[name] = 1 if name == "captions" else getattr(DEFAULTS, name)
                errors.pop(name, None)
        if not errors:
            errors = self._validate(values, emit)
        base = DEFAULTS.model_dump()
        for name, row in self.rows.items():
            row.set_error(errors.get(name, ""))
            row.set_differs(name in errors or (_uses(search, name) and values.get(name) != base[name]))
        self._update_visible()

    def _update_visible(self) -> None:
        """Show the fields of the selected search; advanced fields only on request, or if changed or invalid."""
        search = self.rows["search"].text()
        for name, row in self.rows.items():
            is_rare = row.spec.advanced and name != "seed"  # sampling always shows its seed
            is_needed = not is_rare or self._more.isChecked() or row.differs or bool(row.error)
            row.setVisible(is_needed and _uses(search, name))

    def _validate(self, values: Mapping[str, Any], emit: bool) -> dict[str, str]:
        try:
            settings = GenerationSettings.model_validate(values)
        except ValidationError as error:
            return {name or "captions": text for name, text in field_errors(error).items()}
        changed, self.settings = settings != self.settings, settings
        if changed and emit:
            self.changed.emit(settings)
        return {}


def settings_text(settings: GenerationSettings) -> str:
    """The settings as a button's text, such as ``beam 6 · 3 captions``."""
    decoding = {"beam": f"beam {settings.beams}", "greedy": "greedy", "sample": f"sample, seed {settings.seed}"}
    return f"{decoding[settings.search]} · {count_with_unit(settings.captions, 'caption')}"


def read_settings(text: object) -> GenerationSettings:
    """The stored settings; the defaults if they are invalid."""
    try:
        return GenerationSettings.model_validate({**DEFAULTS.model_dump(), **parse_stored(text, dict)})
    except ValidationError:
        return DEFAULTS
