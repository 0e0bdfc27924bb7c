"""The Curves tab: validation accuracy by C, and few-shot accuracy, updated as results arrive.

Flow: an `EvaluationResult` contains the C curve; the button -> ``few_shot_requested`` -> the panel asks the worker ->
``show_few_shot`` for each part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPushButton, QSplitter, QWidget

from sdgui.panels.classify.model import EvaluationResult, Target
from sdgui.panels.classify.tabs.point_plot import PointLine, PointPlot
from sdgui.widgets.formats import count, value
from sdgui.widgets.input_boxes import NoWheelSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons

_SHOTS = (1, 2, 4, 8, 16, 32)  # labels of the x axis: images per class
_KINDS = {"image": ("image-only probe", 0), "fused": ("fused probe", 1)}
_NO_CURVE = "Only linear and fused probes have a regularisation strength C. Evaluate a probe to see the curve."
_NO_SHOTS = "Accuracy of a probe trained on 1, 2, 4, 8 or 16 labelled images per class, over several random draws."


class CurvesTab(QWidget):
    """The C curve above, the few-shot curve below."""

    few_shot_requested = Signal(str, int)  # "image" or "fused", draws

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._target: Target | None = None
        self._lines: dict[tuple[Target, str], dict[str, Any]] = {}  # few-shot curves by target and kind of probe
        self._zero_shot: dict[Target, float] = {}  # data -> zero-shot accuracy
        self.c_curve = PointPlot("Accuracy by regularisation", "C", parent=self)
        self.shots = PointPlot("Few-shot accuracy", "images per class", count, _SHOTS, self)
        self.draws = NoWheelSpinBox(self)
        self.draws.setRange(1, 20)
        hide_spin_buttons(self.draws)
        self.draws.setValue(3)
        self.draws.setAccessibleName("Draws")
        self.draws.setToolTip("Number of random draws of the training images; intervals need at least 2")
        self.image = QPushButton("Evaluate the ima&ge-only probe", self)
        self.fused = QPushButton("Evaluate the fused &probe", self)
        self.notes = PlainLabel(self, wordWrap=True, role="small")
        label = PlainLabel("Dra&ws", self, role="muted", buddy=self.draws)
        row = hbox(self.image, self.fused, label, self.draws, None)
        below = QWidget(self)
        vbox((self.shots, 1), row, self.notes, into=below, spacing=SPACE // 2, margins=(0, SPACE, 0, 0))
        split = QSplitter(Qt.Orientation.Vertical, self)
        split.addWidget(self.c_curve)
        split.addWidget(below)
        split.setSizes([200, 260])
        vbox(split, into=self, margins=(SPACE, SPACE, 0, 0))
        for kind, button in (("image", self.image), ("fused", self.fused)):
            button.setToolTip("Fit probes on a few images per class and test them; results appear as they finish")
            button.clicked.connect(
                lambda _checked=False, kind=kind: self.few_shot_requested.emit(kind, self.draws.value())
            )

    def show_result(self, result: EvaluationResult) -> None:
        """Show a result's C curve, and the few-shot curves of its model and data."""
        self._target = result.evaluation.target
        curve = sorted(result.answer["curve"])
        selected_c = float(result.answer["C"]) if curve else None
        line = PointLine(result.title, [c for c, _ in curve], [share for _, share in curve], marked=selected_c)
        if result.evaluation.method == "zero-shot":
            self._zero_shot[self._target] = result.accuracy
        self.c_curve.set_lines([line] if curve else [], _NO_CURVE)
        if selected_c is not None:
            self.c_curve.readout.setText(
                f"C = {value(selected_c)} was selected on validation rows (dashed) from {len(curve)} values."
            )
        self._show_shots()

    def show_few_shot(self, target: Target, kind: str, answer: Mapping[str, Any]) -> None:
        """Show a complete or partial few-shot curve."""
        self._lines[target, kind] = dict(answer)
        if target == self._target:
            self._show_shots()

    def set_busy(self, busy: bool) -> None:
        """Disable the buttons while a request is running."""
        for button in (self.image, self.fused):
            button.setEnabled(not busy)

    def _show_shots(self) -> None:
        lines, notes = [], []
        for kind, (name, color) in _KINDS.items():
            answer = self._lines.get((self._target, kind)) if self._target is not None else None
            if answer is not None and answer["curve"]:
                points = answer["curve"]
                x, y, low, high = ([point[part] for point in points] for part in ("shots", "accuracy", "low", "high"))
                lines.append(PointLine(name, x, y, low, high, color))
                notes += [note for note in answer.get("notes", ()) if note not in notes]
        zero_shot = self._zero_shot.get(self._target) if self._target is not None else None
        if zero_shot is not None and lines:
            lines.append(PointLine("zero-shot", [1.0], [zero_shot], color=2, is_constant=True))
        self.shots.set_lines(lines, _NO_SHOTS)
        self.notes.setText(" ".join(notes))
        self.notes.setVisible(bool(notes))
