"""More options of the Classify panel: features, prompts, text of a fused probe, neighbours, standardising."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QCheckBox, QWidget

from core.spec.data.prompt_sets import bundled_templates, is_inline
from core.spec.run.model_names import default_prompts
from sdgui.panels.classify.model import DEFAULT_LAYER, Settings
from sdgui.shared.stored_json import parse_number
from sdgui.widgets.file_dialogs import ask_open
from sdgui.widgets.input_boxes import ListOnlyComboBox, NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons

_FILE = "from a file…"
_TEXTS = {"predicted": "the predicted class", "classes": "every class", "caption": "the image's caption"}


class OptionsRow(QWidget):
    """A row of options for the next evaluation."""

    def __init__(self, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._qsettings = settings
        self._layer, self._prompts = ListOnlyComboBox(self), ListOnlyComboBox(self)
        self._text = ListOnlyComboBox(self)
        self._k = NoWheelSpinBox(self)
        self._k.setRange(1, 1000)
        hide_spin_buttons(self._k)
        self._standardise = QCheckBox("&Standardise", self)
        self._build()
        self._restore()

    def _build(self) -> None:
        self._layer.addItem(DEFAULT_LAYER, DEFAULT_LAYER)
        self._layer.addItem("embedding", "embedding")
        for name in ("", *bundled_templates()):
            self._prompts.addItem(name, name)
        self._prompts.addItem(_FILE, _FILE)
        self.set_model("")
        for key, text in _TEXTS.items():
            self._text.addItem(text, key)
        self._row = FlowLayout(self)  # a window may be narrow
        for text, box, tip in (
            ("Features", self._layer, "Layer whose features probes and nearest neighbours use"),
            ("Prompts", self._prompts, "Prompt templates for zero-shot classification and fused probes"),
            ("Fuse with", self._text, "Text that a fused probe combines with the image"),
            ("Neighbours", self._k, "Number of nearest training images that vote"),
        ):
            box.setAccessibleName(text)
            box.setToolTip(plain_tip(tip))
            self.add_choice(text, box)
        self._standardise.setToolTip("Standardise features to mean 0 and variance 1")
        self._row.addWidget(self._standardise)
        self._prompts.activated.connect(self._on_prompts_chosen)

    def add_choice(self, text: str, box: QWidget) -> None:
        """Add ``box`` with the label ``text`` to the row."""
        pair, label = QWidget(self), PlainLabel(text, self, role="muted", buddy=box)
        hbox(label, box, into=pair, spacing=SPACE // 2, margins=(0, 0, SPACE, 0))
        self._row.addWidget(pair)

    def show_choice(self, box: QWidget, visible: bool) -> None:
        """Show or hide an added ``box`` with its label."""
        if (pair := box.parentWidget()) is not None:
            pair.setVisible(visible)

    # Selection
    def layer(self) -> str:
        """The selected layer."""
        return str(self._layer.currentData())

    def settings(self) -> Settings:
        """The settings for the next evaluation."""
        return Settings(
            templates=str(self._prompts.currentData() or self._default_prompts),
            text=str(self._text.currentData()),
            k=self._k.value(),
            standardise=self._standardise.isChecked(),
        )

    def set_layers(self, layers: Sequence[str]) -> None:
        """List the layers of the opened model; the selected layer is kept if the model has it."""
        previous = self.layer()
        self._layer.clear()
        for layer in layers:
            self._layer.addItem(layer, layer)
        self._layer.setCurrentIndex(max(0, self._layer.findData(previous)))

    def set_model(self, model: str) -> None:
        """Use the prompts that suit ``model`` unless the user has chosen others."""
        self._default_prompts = default_prompts(model)
        self._prompts.setItemText(self._prompts.findData(""), f"default ({self._default_prompts})")

    def set_prompts(self, source: str) -> None:
        """Select a bundled set by name, a file, or edited prompts, which replace earlier edited prompts."""
        if is_inline(source):
            for row in range(self._prompts.count()):
                if is_inline(self._prompts.itemData(row)):
                    self._prompts.setItemData(row, source)
        if self._prompts.findData(source) < 0:
            self._prompts.insertItem(0, "edited" if is_inline(source) else Path(source).name, source)
        self._prompts.setCurrentIndex(self._prompts.findData(source))

    def _on_prompts_chosen(self, _row: int) -> None:
        if self._prompts.currentData() != _FILE:
            return
        path = ask_open(self, "Open prompts: one per line, with {} for the class name", "Prompts (*.txt *.json)")
        self.set_prompts(str(path or ""))

    def _restore(self) -> None:
        value = self._qsettings.value
        prompts = str(value("classify/prompts") or "")
        is_available = self._prompts.findData(prompts) >= 0 or is_inline(prompts) or Path(prompts).is_file()
        self.set_prompts(prompts if is_available else "")
        self._text.setCurrentIndex(max(0, self._text.findData(str(value("classify/text") or ""))))
        self._k.setValue(parse_number(value("classify/k"), 20))
        self._standardise.setChecked(str(value("classify/standardise")) == "true")

    def save(self) -> None:
        """Save the settings, except the features, which depend on the model."""
        settings = self.settings()
        for name, value in (("prompts", self._prompts.currentData()), ("text", settings.text), ("k", str(settings.k))):
            self._qsettings.setValue(f"classify/{name}", value)
        self._qsettings.setValue("classify/standardise", "true" if settings.standardise else "false")
