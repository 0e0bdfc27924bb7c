"""The experiment's preset: description, paper, requirements, and whether to train in stages."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QCheckBox, QPushButton, QWidget

from core.spec.presets import PRESETS, SIZES
from sdgui.shared.pickers.preset_facts import preset_needs, stage_count, stages
from sdgui.shared.pickers.presets import PresetChooser
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_MIN_WINDOW_HEIGHT = 800  # px; in a lower window, the description is hidden at first


class PresetBar(QWidget):
    """Preset and size on a button that opens the chooser. ``preset_chosen``: start from another preset."""

    preset_chosen = Signal(str, str)  # preset, size
    staged = Signal(bool)  # whether to train in stages instead of in one run

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chooser: PresetChooser | None = None  # created on first use
        self.preset = QPushButton(self)
        self.preset.setToolTip("Start from another preset")
        self.reset = QPushButton("Reset to preset", self)
        self.reset.setToolTip("Reset all settings to the preset; name, data and seed are kept")
        self.in_stages = QCheckBox(self)
        self.about = IconButton("ph.info", "About this preset", checkable=True, parent=self)
        self._description = PlainLabel(self, wordWrap=True)
        self._paper = PlainLabel(self, wordWrap=True, role="small")
        for text in (self._description, self._paper):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label = PlainLabel("&Preset", self, role="muted")
        label.setBuddy(self.preset)
        row = hbox(label, self.preset, self.reset, self.in_stages, None, self.about)
        vbox(row, self._description, self._paper, into=self, spacing=SPACE // 2)
        self._origin = ("", "")
        self._differences = 0
        self._read_only = self._was_shown = False
        self.preset.clicked.connect(self.open_chooser)
        self.about.toggled.connect(self._describe)
        self.reset.clicked.connect(lambda: self.preset_chosen.emit(*self._origin))
        self.in_stages.clicked.connect(self.staged)
        self._describe()

    def showEvent(self, event: QShowEvent) -> None:
        """When first shown, show the description if the window is high enough."""
        super().showEvent(event)
        if not self._was_shown:
            self._was_shown = True
            self.about.setChecked(self.window().height() >= _MIN_WINDOW_HEIGHT)

    def open_chooser(self) -> None:
        """Open the preset chooser at the current preset."""
        if self.chooser is None:
            self.chooser = PresetChooser(self, "Start from this preset")
            self.chooser.chosen.connect(self.preset_chosen)
        self.chooser.open(*self._origin)

    def show_origin(self, preset: str, size: str, read_only: bool, staged: bool = False) -> None:
        """Show the config's preset. ``read_only``: it was launched; ``staged``: it is trained in stages."""
        self._origin = (preset, size)
        self._read_only = read_only
        self.in_stages.setChecked(staged)
        self._describe()

    def show_differences(self, number: int) -> None:
        """Show how many settings differ from the preset; if none do, hide *Reset to preset*."""
        self._differences = number
        self._describe()

    def _describe(self, *_: object) -> None:
        name, size = self._origin
        preset = PRESETS.get(name)
        title = f"{preset.title} · {size}" if preset else "No preset"
        self.preset.setText(f"{title}  ▾")
        self.preset.setAccessibleName(f"Preset: {title}")
        self.preset.setEnabled(not self._read_only)
        self.reset.setVisible(preset is not None and not self._read_only and self._differences > 0)
        count = stage_count(name)
        self.in_stages.setVisible(count > 0 and not self._read_only)
        self.in_stages.setText(f"Train in {count} stages")
        self.in_stages.setToolTip(plain_tip(stages(name) if count else ""))
        for text in (self._description, self._paper):
            text.setVisible(preset is not None and self.about.isChecked())
        if preset is not None:
            self._description.setText(preset.description)
            requirements = [need.sentence for need in preset_needs(name, size if size in SIZES else "demo")]
            self._paper.setText("\n".join([preset.paper, *requirements]))
