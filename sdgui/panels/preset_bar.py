"""The preset an experiment starts from: pick one and its size, read what it is and where it was published."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from core.config import RunConfig
from core.presets import PRESETS, SIZES, Size, preset_config
from sdgui.widgets.theme import SPACE, set_role

SIZE_TEXTS: dict[Size, str] = {
    "tiny": "tiny: seconds, for trying out",
    "demo": "demo: minutes on a CPU",
    "base": "base: a GPU",
}
_OWN = frozenset({"name", "preset", "data", "seed"})  # the experiment's own, whatever the preset


class PresetBar(QFrame):
    """Preset and size with a description; ``chosen`` when the user asks to start from them anew."""

    chosen = Signal(str, str)  # preset, size

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self.preset = QComboBox(self)
        self.preset.setAccessibleName("Preset")
        for preset in PRESETS.values():
            self.preset.addItem(preset.title, preset.name)
        self.size_box = QComboBox(self)
        self.size_box.setAccessibleName("Size")
        for size in SIZES:
            self.size_box.addItem(SIZE_TEXTS[size], size)
        self.apply = QPushButton("Start from this preset", self)
        self.apply.setToolTip("Take all settings from the preset; name, data and seed stay")
        self._description = QLabel(self, wordWrap=True)
        self._paper = QLabel(self, wordWrap=True)
        set_role(self._paper, "small")
        for label in (self._description, self._paper):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label = QLabel("&Preset", self)
        label.setBuddy(self.preset)
        set_role(label, "muted")
        row = QHBoxLayout()
        row.setSpacing(SPACE)
        row.addWidget(label)
        row.addWidget(self.preset)
        row.addWidget(self.size_box)
        row.addWidget(self.apply)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE * 3 // 2, SPACE, SPACE * 3 // 2, SPACE)
        layout.setSpacing(SPACE // 2)
        layout.addLayout(row)
        layout.addWidget(self._description)
        layout.addWidget(self._paper)
        self._shown = ("", "")
        self._differences = 0
        self._read_only = False
        self.preset.currentIndexChanged.connect(self._describe)
        self.size_box.currentIndexChanged.connect(self._describe)
        self.apply.clicked.connect(lambda: self.chosen.emit(self.preset.currentData(), self.size_box.currentData()))
        self._describe()

    def show_origin(self, preset: str, size: str, read_only: bool) -> None:
        """Point at what the definition started from; ``read_only``: a launched run's."""
        self._shown = (preset, size)
        if self.preset.findData(preset) >= 0:
            self.preset.setCurrentIndex(self.preset.findData(preset))
        if self.size_box.findData(size) >= 0:
            self.size_box.setCurrentIndex(self.size_box.findData(size))
        self._read_only = read_only
        for widget in (self.preset, self.size_box):
            widget.setEnabled(not read_only)
        self._describe()

    def show_differences(self, number: int) -> None:
        """How many settings are not the preset's; without any there is nothing to go back from."""
        self._differences = number
        self._describe()

    def _describe(self) -> None:
        preset = PRESETS[self.preset.currentData()]
        self._description.setText(preset.description)
        self._paper.setText(preset.paper)
        same = (preset.name, self.size_box.currentData()) == self._shown
        self.apply.setText("Back to the preset" if same else "Start from this preset")
        self.apply.setVisible(not self._read_only and (not same or self._differences > 0))


def flat(config: RunConfig) -> dict[str, Any]:
    """Dotted field -> value."""
    found: dict[str, Any] = {}

    def walk(values: dict[str, Any], prefix: str) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")
            else:
                found[prefix + name] = value

    walk(config.model_dump(mode="json"), "")
    return found


def origin(config: RunConfig) -> tuple[RunConfig, str] | None:
    """The preset's definition that ``config`` started from, and its size: the size with the fewest differences.

    Name, data and seed are the experiment's own and are taken over, so that they do not count as differences.
    None for an unknown preset.
    """
    if config.preset not in PRESETS:
        return None
    ours = flat(config)

    def distance(size: Size) -> int:
        theirs = flat(on_preset(config, config.preset, size))
        return sum(ours[name] != value for name, value in theirs.items())

    size = min(SIZES, key=distance)
    return on_preset(config, config.preset, size), size


def on_preset(config: RunConfig, preset: str, size: Size) -> RunConfig:
    """The preset's settings under the name, data and seed of ``config``."""
    kept = {name: getattr(config, name) for name in _OWN - {"preset"}}
    return preset_config(preset, size).model_copy(update=kept)
