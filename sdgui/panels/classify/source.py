"""The choices above the results of the Classify panel: model, data, label, method and training data.

Flow: model, data, label, training data and method are chosen -> the button -> ``run_requested`` -> the panel reads
``evaluations()``. Choices are saved in the settings; ``problem()`` says what is still missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget

from core.spec.run.model_names import tuned_name
from core.spec.shards import may_exist
from sdgui.panels.classify.model import METHODS, SPLIT_OF_DATA, Evaluation, Method, Target
from sdgui.panels.classify.options import OptionsRow
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.pickers.interpolation import InterpolationSlider
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.shared.services import Services
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_NO_LABELS = "No labels"
_OWN, _OTHER, _ALL = "", "other", "all"  # the model's training data, other training data; all methods


class ClassifySource(QWidget):
    """Two pickers, and a row of boxes with the button; ``options`` are a third row, on request."""

    run_requested = Signal()
    model_changed = Signal()
    refused = Signal(str)  # why a model or data cannot be used

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = services.settings
        self.model = ModelChip(services, parent=self)
        self.interpolation = InterpolationSlider(self.model, self)
        self.data = DataPicker(services, compact=True, parent=self)
        self.label = ListOnlyComboBox(self)
        self.train = ListOnlyComboBox(self)
        self.train_data = DataPicker(services, compact=True, parent=self)
        self.train_label = ListOnlyComboBox(self)
        self.method = ListOnlyComboBox(self)
        self.options_button = IconButton("ph.sliders-horizontal", "More options", checkable=True, parent=self)
        self.classify_button = QPushButton("Classify", self)
        self.options = OptionsRow(services.settings, self)
        # the label to select once the data has been read
        self._wanted_label = str(services.settings.value("classify/label") or "")
        self._is_busy = False
        self._build()
        self._connect()
        self._update_button()

    def _build(self) -> None:
        for box, name, tip in (
            (self.label, "Label", "The label column to predict"),
            (self.train, "Train on", "Training data for probes and nearest neighbours"),
            (self.train_label, "Training label", "Label column of the training data"),
            (self.method, "Method", "Classification method"),
        ):
            box.setAccessibleName(name)
            box.setToolTip(plain_tip(tip))
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            box.setMinimumWidth(10 * SPACE)
        self.label.setPlaceholderText(_NO_LABELS)
        for text, key in (
            ("Its own training data", _OWN),
            ("80 % of this data", SPLIT_OF_DATA),
            ("Other data", _OTHER),
        ):
            self.train.addItem(text, key)
        for method, text in METHODS.items():
            self.method.addItem(text, method)
        self.method.addItem("All methods", _ALL)
        self.classify_button.setShortcut("F5")
        set_role(self.classify_button, "primary")
        self.train_data.hide()
        self.train_data.box.setAccessibleName("Training data")
        self.options.add_choice("Training label", self.train_label)
        self.options.show_choice(self.train_label, False)
        self.options.hide()
        model = hbox((self.model, 1), self.interpolation)
        model.setAlignment(Qt.AlignmentFlag.AlignTop)
        top = hbox((model, 1), (self.data, 1))
        named_boxes = (("&Label", self.label), ("Meth&od", self.method), ("Trai&n on", self.train))
        choices = [
            widget for text, box in named_boxes for widget in (PlainLabel(text, self, role="muted", buddy=box), box)
        ]
        self._gap = QWidget(self)  # in place of the training data
        below = hbox(*choices, (self.train_data, 1), (self._gap, 1), self.options_button, self.classify_button)
        vbox(top, below, self.options, into=self, spacing=SPACE)

    def _connect(self) -> None:
        self.classify_button.clicked.connect(self.run_requested)
        self.options_button.toggled.connect(self.options.setVisible)
        self.model.changed.connect(self._on_model_changed)
        self.data.described.connect(self._on_described)
        self.data.changed.connect(self._on_data_changed)
        self.data.refused.connect(lambda _sentence: self.label.setPlaceholderText(_NO_LABELS))
        for signal in (self.model.shown, self.data.changed, self.data.described, self.train_data.changed):
            signal.connect(lambda *_: self._update_button())
        self.train_data.described.connect(self._on_training_described)
        self.train.currentIndexChanged.connect(lambda _row: self._on_training_chosen())
        self.label.activated.connect(lambda _row: self._on_label_chosen())
        for picker in (self.model, self.data, self.train_data):
            picker.refused.connect(self.refused)

    # Saved choices
    def restore(self) -> None:
        """Restore the last choices."""
        value = self._settings.value
        if not self.model.restore_state(value("classify/model")):  # this panel's last model, otherwise any panel's
            self.model.restore()
        if (choice := self.model.choice()) is not None:
            self.options.set_model(choice.model)
        data = str(value("classify/data") or "")
        if may_exist(data):
            self.data.set_source(data)
        for box, name in ((self.train, "train"), (self.method, "method")):
            box.setCurrentIndex(max(0, box.findData(str(value(f"classify/{name}") or ""))))
        train_data = str(value("classify/train_data") or "")
        if may_exist(train_data):
            self.train_data.set_source(train_data)
        self.options_button.setChecked(str(value("classify/more")) == "true")

    def save(self) -> None:
        """Save the choices."""
        keep = self._settings.setValue
        if (model := self.model.state()) is not None:
            keep("classify/model", json.dumps(model))
        keep("classify/data", self.data.source())
        keep("classify/label", self.chosen_label() or self._wanted_label)
        keep("classify/train", self.train.currentData())
        keep("classify/train_data", self.train_data.source())
        keep("classify/method", self.method.currentData())
        keep("classify/more", "true" if self.options_button.isChecked() else "false")
        self.options.save()

    def set_busy(self, is_busy: bool) -> None:
        """Disable the button while a long request is running."""
        self._is_busy = is_busy
        if is_busy:
            self.classify_button.clearFocus()  # Qt would focus the next widget, which may cancel the request
        self._update_button()

    def _update_button(self) -> None:
        problem = self.problem()
        self.classify_button.setEnabled(not self._is_busy and not problem)
        self.classify_button.setToolTip(plain_tip(problem or "Encode the images and classify them (F5)"))

    # Choices
    def chosen_label(self) -> str:
        """The selected label column; "" if the data has no labels."""
        return str(self.label.currentData() or "")

    def set_label(self, name: str) -> None:
        """Choose a label column, now or once the data has been read."""
        self._wanted_label = name
        if self.label.findData(name) >= 0:
            self.label.setCurrentIndex(self.label.findData(name))

    def set_method(self, method: str) -> None:
        """Choose a method, or all methods with "all"."""
        self.method.setCurrentIndex(max(0, self.method.findData(method)))

    def set_training(self, train: str) -> None:
        """Choose the training data: "" for the model's training data, SPLIT_OF_DATA, or a source."""
        if train in (_OWN, SPLIT_OF_DATA):
            self.train.setCurrentIndex(self.train.findData(train))
        else:
            self.train.setCurrentIndex(self.train.findData(_OTHER))
            self.train_data.set_source(train)

    def problem(self) -> str:
        """What is missing to classify; "" if nothing is."""
        if self.model.choice() is None:
            return "Choose a model first: a run with a checkpoint, an open_clip name, or a folder."
        if not self.data.source():
            return "Choose labelled images: a table with a label column, or a folder with one subfolder per class."
        facts = self.data.facts()
        if facts is not None and not facts["labels"]:
            return (
                f"{Path(self.data.source()).name} has no labels. Choose a table with a label column, "
                "or a folder with one subfolder per class."
            )
        if self.train.currentData() == _OTHER and not self.train_data.source():
            return "Choose training data, or train on the model's training data."
        return ""

    def target(self) -> Target | None:
        """The chosen model and data; None if there is a ``problem``."""
        choice = self.model.choice()
        if choice is None or self.problem():
            return None
        train = str(self.train.currentData())
        uses_other_data = train == _OTHER
        return Target(
            model=choice.model,
            weights=choice.network,
            title=choice.title,
            data=self.data.source(),
            label=self.chosen_label() or self._wanted_label,
            train=self.train_data.source() if uses_other_data else train,
            train_label=str(self.train_label.currentData() or "") if uses_other_data else "",
            layer=self.options.layer(),
        )

    def matches(self, target: Target) -> bool:
        """Whether ``target`` is of the chosen model, weights, data and label; interpolated ones match their run's."""
        choice, data, label = self.model.choice(), self.data.source(), self.chosen_label()
        is_same_data = data in ("", target.data) and (not label or target.label in ("", label))
        return is_same_data and (
            choice is None or (tuned_name(choice.model), choice.network) == (tuned_name(target.model), target.weights)
        )

    def evaluations(self) -> list[Evaluation]:
        """The evaluations to start."""
        target, method_key = self.target(), str(self.method.currentData())
        if target is None:
            return []
        methods = list(METHODS) if method_key == _ALL else [cast(Method, method_key)]
        return [Evaluation(target, method, self.options.settings()) for method in methods]

    # Following
    def _on_model_changed(self, choice: ModelChoice) -> None:
        self.options.set_model(choice.model)
        self.model_changed.emit()

    def _on_data_changed(self, source: str) -> None:
        self.label.clear()
        self.label.setPlaceholderText("Reading…" if source else _NO_LABELS)

    def _on_described(self, facts: Mapping[str, Any]) -> None:
        self.label.setPlaceholderText(_NO_LABELS)
        _fill_labels(self.label, facts, self._wanted_label)
        if not facts["labels"]:
            self.refused.emit(self.problem() if self.model.choice() else f"{facts['source']} has no labels.")

    def _on_label_chosen(self) -> None:
        self._wanted_label = self.chosen_label()
        row = self.train_label.findData(self.chosen_label())
        if row >= 0:
            self.train_label.setCurrentIndex(row)

    def _on_training_described(self, facts: Mapping[str, Any]) -> None:
        """List the label columns; show the choice if none is called like the label to predict."""
        _fill_labels(self.train_label, facts, self.chosen_label())
        if facts["labels"] and self.train_label.findData(self.chosen_label()) < 0:
            self.options_button.setChecked(True)

    def _on_training_chosen(self) -> None:
        is_other = self.train.currentData() == _OTHER
        self.train_data.setVisible(is_other)
        self._gap.setVisible(not is_other)
        self.options.show_choice(self.train_label, is_other)
        self._update_button()


def _fill_labels(box: QComboBox, facts: Mapping[str, Any], selected: str) -> None:
    """List the label columns with their numbers of classes."""
    box.clear()
    for name, classes in facts["labels"].items():
        box.addItem(f"{name} ({count(classes)} classes)", name)
    box.setCurrentIndex(max(0, box.findData(selected)) if box.count() else -1)
