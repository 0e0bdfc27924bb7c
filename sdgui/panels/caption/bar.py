"""The two rows above the list of captions: models, generation settings and actions; filter and edits.

Flow: clicks -> the panel's actions; filter -> ``filter_changed`` with a predicate on entries.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QLineEdit, QMenu, QSizePolicy, QStackedWidget, QToolButton, QWidget

from sdgui.panels.caption.model import SIDES, Entry, Side
from sdgui.shared.pickers.interpolation import InterpolationSlider
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.services import Services
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.style.theme import SPACE

_TYPING_PAUSE_MS = 120
_BESIDE = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
EntryFilter = Callable[[Entry], bool]
STATES: tuple[tuple[str, EntryFilter | None], ...] = (
    ("All images", None),
    ("Without a caption", lambda entry: entry.state == "waiting"),
    ("Captioned", lambda entry: bool(entry.text)),
    ("Edited by hand", lambda entry: entry.state == "edited"),
    ("Failed", lambda entry: bool(entry.error)),
    ("Captions differ between models", lambda entry: entry.differs()),
)


class CaptionsBar(QWidget):
    """Model pickers, buttons and the filter; the panel connects the buttons."""

    filter_changed = Signal(object)  # EntryFilter, or None for all entries

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pickers: dict[Side, ModelChip] = {side: ModelChip(services, "caption", self) for side in SIDES}
        self.pickers["b"].setAccessibleName("Second model")
        self.interpolations = {side: InterpolationSlider(picker, self) for side, picker in self.pickers.items()}
        self.filter_row = QWidget(self)
        self.compare = IconButton("ph.columns", "Compare with a second model", "", "", True, self)
        self.settings_button = IconButton("ph.sliders-horizontal", "Generation settings", text="beam", parent=self)
        self.add = IconButton("ph.plus", "Add images to the list", text="Add", parent=self)
        self.caption_button = IconButton("ph.arrows-clockwise", "Caption images", text="Caption", parent=self)
        self.undo = IconButton("ph.arrow-counter-clockwise", "Undo", parent=self)
        self.redo = IconButton("ph.arrow-clockwise", "Redo", parent=self)
        self.filter_box = QLineEdit(self, placeholderText="Filter captions and names", clearButtonEnabled=True)
        self.filter_box.setAccessibleName(self.filter_box.placeholderText())
        self.state = NoWheelComboBox(self)
        self.state.setAccessibleName("Which images are shown")
        self.state.addItems([title for title, _ in STATES])
        self.replace = IconButton("ph.swap", "Find and replace in captions", parent=self)
        tip = "Export captions, or save them as training data"
        self.export = IconButton("ph.export", tip, text="Export", parent=self)
        for button in (self.add, self.caption_button, self.export):
            button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
            button.setMenu(QMenu(button))
        self._arrange()
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing.timeout.connect(self._emit_filter)
        self.filter_box.textChanged.connect(lambda _text: self._typing.start())
        self.state.activated.connect(lambda _row: self._emit_filter())
        self.compare.toggled.connect(self.pickers["b"].setVisible)
        self.compare.toggled.connect(self.interpolations["b"].set_available)
        for slider in self.interpolations.values():
            self.compare.toggled.connect(slider.set_compact)
        self.pickers["b"].hide()
        self.interpolations["b"].set_available(False)

    def _arrange(self) -> None:
        for button in (self.settings_button, self.add, self.caption_button, self.export):
            button.setToolButtonStyle(_BESIDE)
            button.setProperty("hasText", True)
        first = ((self.pickers["a"], 3), self.interpolations["a"], self.compare)
        second = ((self.pickers["b"], 3), self.interpolations["b"], self.settings_button)
        top = hbox(*first, *second, None, self.add, self.caption_button, self.export, spacing=SPACE // 2)
        edits = (self.replace, self.undo, self.redo)
        hbox((self.filter_box, 1), self.state, *edits, into=self.filter_row, spacing=SPACE // 2)
        self.second_row = QStackedWidget(self)
        self.second_row.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.second_row.addWidget(self.filter_row)
        vbox(top, self.second_row, into=self)

    def entry_filter(self) -> EntryFilter | None:
        """The filter as a predicate on entries; None if all are shown."""
        words = self.filter_box.text().casefold().split()
        matches = STATES[max(0, self.state.currentIndex())][1]
        if not words:
            return matches

        def matches_words_too(entry: Entry) -> bool:
            text = f"{entry.text}\n{entry.name}".casefold()
            return all(word in text for word in words) and (matches is None or matches(entry))

        return matches_words_too

    def _emit_filter(self) -> None:
        self._typing.stop()
        self.filter_changed.emit(self.entry_filter())

    def show_state(self, title: str) -> None:
        """Select a filter by its title."""
        self.state.setCurrentIndex(self.state.findText(title))
        self._emit_filter()
