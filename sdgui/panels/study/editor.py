"""The form for a new study (size, steps, seeds, data, noise, arms, evaluation), or to extend a study.

Flow: fields -> ``study()`` (validated like a study file) -> ``submitted(Study, experiments)``. Errors are shown below
the fields while typing. To extend a study, only seeds and arms can be added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QTreeWidget,
    QWidget,
)

from core.spec.presets import SIZES
from core.spec.study import Arm, Measure, NoiseSpec, Study
from sdgui.panels.study.arms import ArmsList, fill_arms
from sdgui.store.records import Experiment
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.formats import free_name
from sdgui.widgets.input_boxes import NoWheelComboBox, NoWheelDoubleSpinBox, NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.form_labels import align_labels
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role

DEMO_DATA = {"train": "demo:train.csv", "val": "demo:val.csv", "test": "demo:test.csv"}
_MEASURES = (
    ("Retrieval on the test data", Measure(name="test", task="retrieval", data="test", keep=["R@1", "R@10"])),
    (
        "Zero-shot classification",
        Measure(name="zero-shot", task="zero-shot", data="test", label="concept", keep=["acc1"]),
    ),
    ("Detection of shuffled captions", Measure(name="noise", task="noise", data="noisy")),
)


class StudyEditor(QWidget):
    """The form. ``submitted``: the study, and the experiments of its new arms."""

    submitted = Signal(object, object)  # Study, dict: arm -> Experiment
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._extended_study: Study | None = None  # the study being extended
        self.name, self.about, self.seeds = QLineEdit(self), QLineEdit(self), QLineEdit("0, 1, 2", self)
        self.label, self.budgets = QLineEdit("concept", self), QLineEdit(self, placeholderText="for example 230, 600")
        self.size_box, self.steps, self.noise = NoWheelComboBox(self), NoWheelSpinBox(self), NoWheelDoubleSpinBox(self)
        self.size_box.addItems(list(SIZES))
        self.size_box.setCurrentText("demo")
        self.steps.setRange(1, 10_000_000)
        self.steps.setValue(468)
        self.noise.setRange(0, 90)
        self.noise.setDecimals(0)
        self.noise.setSuffix(" %")
        for number in (self.steps, self.noise):
            hide_spin_buttons(number)
        self.data = {name: QLineEdit(path, self) for name, path in DEMO_DATA.items()}
        self.arms = ArmsList(self)
        self.differences = QTreeWidget(self)
        self.measures = [QCheckBox(text, self) for text, _ in _MEASURES]
        self.heading, self.problem = PlainLabel(self, role="title"), PlainLabel(self, wordWrap=True, role="error")
        self.submit = QPushButton("Create the stud&y", self)
        set_role(self.submit, "primary")
        self.cancel = QPushButton("&Cancel", self)
        self._build()
        self._connect()

    def _build(self) -> None:
        scroll = QScrollArea(self, widgetResizable=True)
        form_side = QWidget(scroll.viewport())
        form = self.form = QFormLayout(form_side)
        form.setHorizontalSpacing(2 * SPACE)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        rows: list[tuple[str, QWidget, str]] = [
            ("&Name", self.name, "Name of the study and of its folder"),
            ("A&bout", self.about, "One-sentence description"),
            ("Si&ze", self.size_box, "Model size of the presets"),
            ("S&teps", self.steps, "Optimiser steps per run"),
            ("Bud&gets", self.budgets, "Training seconds instead of steps; each arm is trained once per budget"),
            ("See&ds", self.seeds, "Each arm is trained once per seed; use 3 or more seeds for intervals"),
            (
                "Training data",
                self.data["train"],
                "A table or folder of pairs, such as demo:train.csv for the demo data",
            ),
            ("Validation data", self.data["val"], "A table or folder of pairs"),
            ("Test data", self.data["test"], "Data for evaluation"),
            ("Shuffled captions", self.noise, "Fraction of training captions to shuffle"),
            ("Label", self.label, "Label column of the test data, for zero-shot classification"),
        ]
        for text, widget, tip in rows:
            widget.setToolTip(plain_tip(tip))
            widget.setAccessibleName(text.replace("&", ""))
            form.addRow(text, widget)
        self._seeds_row = next(row for row, (_, widget, _) in enumerate(rows) if widget is self.seeds)
        for box in self.measures[:2]:
            box.setChecked(True)
        form.addRow("Evaluation", vbox(*self.measures))
        align_labels(form)
        self.differences.setHeaderLabels(["Arm and changed settings", "First arm", "This arm"])
        self.differences.setAccessibleName("Settings of each arm that differ from the first arm")
        right = vbox()
        scroll.setWidget(form_side)
        scroll.setMinimumWidth(44 * SPACE)
        for text, widget in (("Arms: select presets and experiments", self.arms), ("Differences", self.differences)):
            right.addWidget(PlainLabel(text, self, role="title"))
            right.addWidget(widget, 1)
        body = hbox((scroll, 1), (right, 1), spacing=2 * SPACE)
        foot = hbox((self.problem, 1), self.cancel, self.submit)
        vbox(self.heading, (body, 1), foot, into=self)

    def _connect(self) -> None:
        lines = (self.name, self.about, self.seeds, self.label, self.budgets, *self.data.values())
        edits = [*(line.textChanged for line in lines), *(box.toggled for box in self.measures)]
        edits += [self.size_box.currentIndexChanged, self.arms.itemChanged]
        for edit in (*edits, self.steps.valueChanged, self.noise.valueChanged):
            edit.connect(lambda _value: self.check())
        self.cancel.clicked.connect(self.cancelled)
        self.submit.clicked.connect(self._make)
        leave = QShortcut(QKeySequence("Esc"), self)
        leave.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        leave.activated.connect(self.cancelled)

    def begin(self, experiments: Sequence[Experiment], ticked: set[int], used_names: set[str]) -> None:
        """Start a new study. ``experiments``: possible arms; ``ticked``: ids of selected experiments."""
        self._show_form_for(None)
        self.arms.begin(experiments, ticked)
        self.name.setText(free_name("study", used_names))
        self.seeds.setText("0, 1, 2")
        self.budgets.clear()
        self.check()

    def extend(self, study: Study, experiments: Sequence[Experiment]) -> None:
        """Start adding seeds and arms to ``study``; all other fields are fixed."""
        self._show_form_for(study)
        self.arms.extend(study.arms, experiments)
        self.seeds.setText(", ".join(map(str, study.seeds)))
        self.check()

    def _show_form_for(self, study: Study | None) -> None:
        self._extended_study = study
        self.heading.setText("" if study is None else f"Add seeds or arms to “{study.name}”")
        self.heading.setVisible(study is not None)
        for row in range(self.form.rowCount()):
            self.form.setRowVisible(row, study is None or row == self._seeds_row)
        self.submit.setText("Create the stud&y" if study is None else "&Add to the study")
        self.submit.setToolTip(
            "Create the study; press Start to train its runs"
            if study is None
            else "Finished runs are kept; press Start to train the new runs"
        )

    # The study
    def study(self) -> Study:
        """The typed study. Raises ValueError with a message that starts with the field."""
        arms = [arm for arm, _ in self.arms.ticked()]
        try:
            seeds = [int(part) for part in re.split(r"[,\s]+", self.seeds.text().strip()) if part]
        except ValueError:
            raise ValueError(f"Seeds: {self.seeds.text()!r} must be whole numbers such as 0, 1, 2.") from None
        if self._extended_study is not None:
            return _extended(self._extended_study, arms, seeds)
        budgets = _budgets(self.budgets.text())
        if len(arms) < 2:
            raise ValueError("Arms: select at least two presets or experiments to compare.")
        data = {name: line.text().strip() for name, line in self.data.items()}
        for name, path in data.items():
            if not path:
                raise ValueError(f"{self.data[name].accessibleName()}: enter the path of a table or folder.")
            if not path.startswith("demo:") and existing_path(path) is None:
                raise ValueError(f"{self.data[name].accessibleName()}: {path} does not exist.")
        noise = NoiseSpec(of="train", share=self.noise.value() / 100) if self.noise.value() else None
        measures = [measure for box, (_, measure) in zip(self.measures, _MEASURES, strict=True) if box.isChecked()]
        measures = [
            measure.model_copy(update={"label": self.label.text().strip()}) if measure.label else measure
            for measure in measures
        ]
        if noise is None and any(measure.task == "noise" for measure in measures):
            raise ValueError(
                "Evaluation: to evaluate the detection of shuffled captions, set Shuffled captions above 0."
            )
        if not measures:
            raise ValueError("Evaluation: select at least one task.")
        fields = {
            "name": self.name.text().strip(),
            "about": self.about.text().strip(),
            "size": self.size_box.currentText(),
            "steps": 0 if budgets else self.steps.value(),
            "budgets": budgets,
            "seeds": seeds,
            "data": data,
            "noise": noise,
            "train": "noisy" if noise else "train",
            "arms": arms,
            "measures": measures,
        }
        return _checked(fields)

    def check(self) -> bool:
        """Show errors and the differences of the arms; returns whether the study can be created."""
        try:
            study, problem = self.study(), ""
        except ValueError as error:
            study, problem = None, str(error)
        self.steps.setEnabled(not self.budgets.text().strip())
        if study is not None and len(study.seeds) == 1:
            problem = "With one seed there are no intervals and no tests; use three or more seeds."
        set_role(self.problem, "error" if study is None else "muted")
        self.problem.setText(problem)
        self.submit.setEnabled(study is not None)
        if study is not None:
            # new arms from experiments have no config file yet, so that they cannot be compared
            from_experiments = {arm.name for arm, experiment in self.arms.ticked() if experiment is not None}
            comparable_arms = [arm for arm in study.arms if arm.name not in from_experiments]
            self.differences.clear()  # stays visible, so that the list above does not move under the mouse
            if comparable_arms:
                fill_arms(self.differences, study.model_copy(update={"arms": comparable_arms}))
        return study is not None

    def _make(self) -> None:
        if self.check():
            ticked = self.arms.ticked()
            experiments = {arm.name: experiment for arm, experiment in ticked if experiment is not None}
            self.submitted.emit(self.study(), experiments)


def _budgets(typed: str) -> list[float]:
    """Parse typed seconds. Raises ValueError for invalid numbers."""
    try:
        return [float(part) for part in re.split(r"[,;\s]+", typed.strip()) if part]
    except ValueError:
        raise ValueError(f"Budgets: {typed!r} must be seconds such as 230, 600.") from None


def _extended(existing: Study, arms: list[Arm], seeds: list[int]) -> Study:
    """``existing`` with new ``arms``, each compared with the first arm, and new ``seeds``."""
    if not set(existing.seeds) <= set(seeds):
        used_seed = next(seed for seed in existing.seeds if seed not in seeds)
        raise ValueError(f"Seeds: {used_seed} is already in the study. Enter other seeds after it.")
    if not arms and set(seeds) == set(existing.seeds):
        raise ValueError("Add a seed, or select another arm.")
    pairs = [*existing.compare, *((arm.name, existing.arms[0].name) for arm in arms)] if existing.compare else []
    return _checked(dict(existing) | {"seeds": seeds, "arms": [*existing.arms, *arms], "compare": pairs})


def _checked(fields: dict[str, Any]) -> Study:
    try:
        return Study.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "study"
        raise ValueError(f"{field}: {first['msg'].removeprefix('Value error, ')}.") from error
