"""The Accuracy tab: accuracy with its interval, other metrics, and a sortable table of classes.

Flow: the panel shows an `EvaluationResult`; ``class_chosen`` shows a class in the confusion matrix.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from sdgui.panels.classify.model import METRICS, EvaluationResult, interval_text
from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share
from sdgui.panels.classify.tabs.table import ClassTable
from sdgui.shared.tables import Column
from sdgui.widgets.formats import count, percent, value
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, theme


def class_columns() -> list[Column]:
    """The columns: class, images, accuracy with its interval."""
    return [
        Column("Class", lambda row: str(row["class"])),
        Column(
            "Images", lambda row: count(row["rows"]), lambda row: row["rows"], tip="Number of test images of the class"
        ),
        Column(
            "Accuracy",
            lambda row: percent(row["accuracy"]),
            lambda row: row["accuracy"],
            "Share of the class's images classified correctly, with Wilson's 95 % interval",
            {SHARE_ROLE: lambda row: Share(row["accuracy"], row["low"], row["high"])},
        ),
    ]


class AccuracyTab(QWidget):
    """Metrics above, the table of classes below."""

    class_chosen = Signal(int)  # index of the class among all classes

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.accuracy_label = PlainLabel(self)  # the accuracy, in a large font
        self.interval_label = PlainLabel(self, role="muted")
        self.metrics_label = PlainLabel(self, wordWrap=True, role="muted")
        for label in (self.accuracy_label, self.interval_label, self.metrics_label):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.table = ClassTable("Accuracy of each class", class_columns(), "Filter classes", self)
        self.table.setToolTip("Press Enter to show the class in the confusion matrix")
        middle = Qt.AlignmentFlag.AlignVCenter
        labels = ((self.interval_label, 0, middle), (self.metrics_label, 1, middle))
        large = hbox(self.accuracy_label, *labels, spacing=2 * SPACE)
        vbox(large, (self.table, 1), into=self, margins=(SPACE, SPACE, 0, 0))
        self.table.row_activated.connect(lambda row: self.class_chosen.emit(int(self.table.model.rows[row]["index"])))
        self.table.sort_by(2)
        theme().changed.connect(self._restyle)
        self._restyle()

    def show_result(self, result: EvaluationResult) -> None:
        """Show the accuracies of a result."""
        answer = result.answer
        accuracy: dict[str, Any] = answer["accuracy"]
        self.accuracy_label.setText(percent(result.accuracy))
        self.accuracy_label.setAccessibleName(f"Accuracy {percent(result.accuracy)}")
        self.interval_label.setText(f"95 % interval\n{interval_text(accuracy)}")
        parts = [f"majority class {percent(result.majority)}", f"macro-F1 {percent(result.macro_f1)}"]
        parts += [
            f"{METRICS.get(name, name)} {percent(metric['value'])}"
            for name, metric in answer["metrics"].items()
            if name != "acc1"
        ]
        parts.append(f"{count(answer['samples'])} test images, {count(len(answer['per_class']))} classes")
        if answer["C"] is not None:
            parts.append(f"C {value(float(answer['C']))}")
        self.metrics_label.setText(" · ".join(parts))
        self.table.set_rows(answer["per_class"])

    def _restyle(self) -> None:
        font = theme().font("heading")
        font.setPointSizeF(font.pointSizeF() * 1.9)
        self.accuracy_label.setFont(font)
        self.accuracy_label.setStyleSheet(f"font-size: {font.pointSizeF():.1f}pt; font-weight: 600;")
