"""The Compare tab: how two results on the same images differ, overall, by class and by image.

Flow: two results are chosen, or a second model is evaluated (``evaluation_requested``) -> ``compare_requested`` ->
the panel asks the worker -> ``show_difference``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QPushButton, QSplitter, QWidget

from sdgui.panels.classify.model import METRICS, Evaluation, EvaluationResult, method_title
from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share
from sdgui.panels.classify.tabs.table import ClassTable
from sdgui.shared.pickers.model_chip import ModelChip, ModelChoice
from sdgui.shared.services import Services
from sdgui.shared.tables import Column
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_OTHER_NETWORK = {"student": "teacher", "teacher": "student"}


class CompareTab(QWidget):
    """Two boxes, a summary, a table of classes, and the images that only one result classifies correctly."""

    compare_requested = Signal(object, object)  # Evaluation, Evaluation
    evaluation_requested = Signal(object)  # the Evaluation to compare with the first

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings: QSettings = services.settings
        self._results: list[EvaluationResult] = []
        self._compared: tuple[object, object] | None = None  # what ``compare_requested`` last asked for
        self.a, self.b = ListOnlyComboBox(self), ListOnlyComboBox(self)
        self.summary = PlainLabel(self, wordWrap=True, role="title")
        self.details = PlainLabel(self, wordWrap=True, role="muted")
        self.probe, self.network = QPushButton(self), QPushButton(self)
        self.other_model = ModelChip(services, parent=self)
        self.evaluate_other = QPushButton("Evaluate", self)
        self.table = ClassTable("Difference by class", _columns(), "Filter classes", self)
        self.only_a = Gallery(services.store.home / "thumbnails", "No images.", self)
        self.only_b = Gallery(services.store.home / "thumbnails", "No images.", self)
        first_title, second_title = (PlainLabel(self, wordWrap=True, role="muted") for _ in range(2))
        self.titles = first_title, second_title
        self._arrange()
        self._connect()
        self._update_buttons()

    def _arrange(self) -> None:
        for box, name in ((self.a, "First result"), (self.b, "Second result")):
            box.setAccessibleName(name)
            box.setToolTip(plain_tip(f"{name}. Differences are first minus second"))
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(12)
        selection_row = hbox((self.a, 1), PlainLabel("vs.", self), (self.b, 1))
        other = ((self.other_model, 1), self.evaluate_other)
        evaluation_row = hbox(self.probe, self.network, PlainLabel("or", self), *other)
        self.evaluate_other.setToolTip("Evaluate the other model in the same way and compare")
        images = QSplitter(Qt.Orientation.Horizontal, self)
        for title, gallery in zip(self.titles, (self.only_a, self.only_b), strict=True):
            side = QWidget(self)
            gallery.set_thumbnail_size(72)
            vbox(title, (gallery, 1), into=side, spacing=SPACE // 2)
            images.addWidget(side)
        self.split = QSplitter(Qt.Orientation.Vertical, self, childrenCollapsible=False)
        self.split.addWidget(self.table)
        self.split.addWidget(images)
        remember_sizes(self.split, self._settings, "classify/compare")
        texts = (self.summary, self.details)
        vbox(selection_row, evaluation_row, *texts, (self.split, 1), into=self, margins=(SPACE, SPACE, 0, 0))
        self.table.sort_by(4)

    def _connect(self) -> None:
        self.a.activated.connect(lambda _row: self._compare_selected())
        self.b.activated.connect(lambda _row: self._compare_selected())
        self.probe.clicked.connect(lambda: self._compare_with(self._other_probe()))
        self.network.clicked.connect(lambda: self._compare_with(self._other_network()))
        self.evaluate_other.clicked.connect(lambda: self._compare_with(self._of_model(self.other_model.choice())))

    # Choosing the results
    def set_results(self, results: Sequence[EvaluationResult], current: EvaluationResult | None) -> None:
        """Offer these results; the first box follows the current one, the second keeps its result or takes another."""
        previous = self.b.currentData()
        self._results = list(results)
        for box in (self.a, self.b):
            box.clear()
            for result in self._results:
                box.addItem(f"{result_title(result.evaluation)} · {percent(result.accuracy)}", result.evaluation)
        if current is not None:
            self.a.setCurrentIndex(self._row(current.evaluation))
        self.b.setCurrentIndex(self._second_row(previous))
        self._update_buttons()
        if self.isVisible():
            self._compare_new()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._compare_new()

    def _second_row(self, previous: object) -> int:
        """The row of ``previous`` if comparable with the first result, else of the newest comparable result, or -1."""
        first = self.first()
        rows = {
            row: result.evaluation
            for row, result in enumerate(self._results)
            if first is not None
            and result.evaluation != first
            and (result.evaluation.target.data, result.evaluation.target.label)
            == (first.target.data, first.target.label)
        }
        return next((row for row, evaluation in rows.items() if evaluation == previous), next(iter(rows), -1))

    def _compare_new(self) -> None:
        """Compare the selected results, unless they are already compared."""
        if (self.a.currentData(), self.b.currentData()) != self._compared:
            self._compare_selected()

    def choose(self, a: Evaluation, b: Evaluation) -> None:
        """Compare two of the listed results."""
        self.a.setCurrentIndex(self._row(a))
        self.b.setCurrentIndex(self._row(b))
        self._compare_selected()

    def _row(self, evaluation: object) -> int:
        return next((row for row, result in enumerate(self._results) if result.evaluation == evaluation), -1)

    def first(self) -> Evaluation | None:
        """The evaluation selected in the first box; None if there is none."""
        evaluation = self.a.currentData()
        return evaluation if isinstance(evaluation, Evaluation) else None

    def _compare_selected(self) -> None:
        a, b = self.a.currentData(), self.b.currentData()
        self._update_buttons()
        self._compared = a, b
        self._clear()
        if isinstance(a, Evaluation) and isinstance(b, Evaluation) and a != b:
            self.summary.setText("Comparing…")
            self.compare_requested.emit(a, b)

    def _clear(self) -> None:
        """Remove the previous difference."""
        for label in (self.details, *self.titles):
            label.clear()
        self.table.set_rows([])
        for gallery in (self.only_a, self.only_b):
            gallery.set_items([])

    def _other_probe(self) -> Evaluation | None:
        first = self.first()
        if first is None:
            return None
        return Evaluation(first.target, "image" if first.method == "fused" else "fused", first.settings)

    def _other_network(self) -> Evaluation | None:
        first = self.first()
        network = _OTHER_NETWORK.get(first.target.weights) if first is not None else None
        if first is None or not network:
            return None
        title = first.target.title.removesuffix(first.target.weights)  # a run's name may contain "student" too
        return first.with_target(weights=network, title=f"{title}{network}")

    def _of_model(self, choice: ModelChoice | None) -> Evaluation | None:
        first = self.first()
        if first is None or choice is None:
            return None
        return first.with_target(model=choice.model, weights=choice.network, title=choice.title)

    def _compare_with(self, evaluation: Evaluation | None) -> None:
        first = self.first()
        if evaluation is None or first is None:
            return
        if self._row(evaluation) >= 0:
            self.choose(first, evaluation)
        else:
            self.evaluation_requested.emit(evaluation)

    def _update_buttons(self) -> None:
        """Update the texts of buttons and hint."""
        first = self.first()
        fused = first is not None and first.method == "fused"
        self.probe.setText("With image-only" if fused else "With fused")
        self.probe.setToolTip("Evaluate this probe on the same data and compare")
        self.probe.setEnabled(first is not None)
        other_network = self._other_network()
        self.network.setText(
            f"With the {other_network.target.weights}"
            if other_network is not None
            else "Compare with the other network"
        )
        self.network.setEnabled(other_network is not None)
        self.network.setToolTip(
            "Evaluate the run's other network in the same way and compare"
            if other_network is not None
            else "The model has only one network"
        )
        self.evaluate_other.setEnabled(first is not None)
        if first is None:
            self.summary.setText("Evaluate a model first. Then compare two results here.")
        elif self.b.currentIndex() < 0 or self.b.currentData() == first:
            self.summary.setText("Choose a second result, or evaluate another model, to compare with the first.")

    # The answer
    def show_difference(self, a: Evaluation, b: Evaluation, answer: Mapping[str, Any]) -> None:
        """Show the difference of A and B, unless other results are chosen by now.

        ``answer``: the answer of ``classify_compare``.
        """
        if (a, b) != self._compared:
            return
        main = answer["differences"]["acc1"]
        self.summary.setText(difference_sentence(main, result_title(a), result_title(b)))
        parts = [
            f"{METRICS.get(name, name)} {points(difference['value'])} ({_interval_text(difference)})"
            for name, difference in answer["differences"].items()
            if name != "acc1"
        ]
        only_a, only_b = answer["only_a"], answer["only_b"]
        parts.append(f"both correct {count(answer['both_right'])}, both wrong {count(answer['both_wrong'])}")
        self.details.setText(" · ".join(parts))
        self.table.set_rows(answer["per_class"])
        for label, name in zip(self.titles, (a, b), strict=True):
            label.setText(f"Only {result_title(name)} is correct")
        self.only_a.set_items(_items(only_a, "b"))
        self.only_b.set_items(_items(only_b, "a"))

    def show_failure(self, a: Evaluation, b: Evaluation) -> None:
        """Show that the comparison of A and B failed; the message bar shows why."""
        if (a, b) == self._compared:
            self.summary.setText("These results could not be compared.")


def _items(images: Sequence[Mapping[str, Any]], wrong: str) -> list[GalleryItem]:
    return [
        GalleryItem(
            Path(image["image"]),
            f"{image['true']} (other result: {image[wrong]})",
            detail=f"true: {image['true']}; the other result predicts {image[wrong]}",
        )
        for image in images
    ]


def result_title(evaluation: Evaluation) -> str:
    """A result's title, such as ``Linear probe · sd-clip demo · run 1 · best, step 234 · teacher``."""
    return f"{method_title(evaluation)} · {evaluation.target.title}"


def points(difference: float) -> str:
    """A difference as text, such as ``+3.2 points``."""
    return f"{100 * difference:+.1f} points".replace("-", "−")


def _interval_text(difference: Mapping[str, Any]) -> str:
    if not difference["interval"]:
        return "no interval: a single image"
    low, high = difference["interval"]["low"], difference["interval"]["high"]
    return f"95 %: {100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")


def difference_sentence(difference: Mapping[str, Any], a: str, b: str) -> str:
    """A sentence on the difference of two accuracies with its paired interval."""
    gap = difference["value"]
    if not difference["interval"]:
        return f"{a} minus {b} is {points(gap)} ({_interval_text(difference)})."
    if not difference["significant"]:
        return (
            f"No significant difference: {a} minus {b} is {points(gap)} ({_interval_text(difference)}); "
            "the paired bootstrap interval includes 0."
        )
    better, worse, sign = (a, b, 1) if gap > 0 else (b, a, -1)
    low, high = sorted(sign * 100 * difference["interval"][end] for end in ("low", "high"))
    interval = f"95 %: {low:.1f} to {high:.1f}".replace("-", "−")
    return f"{better} is better than {worse} by {100 * abs(gap):.1f} points ({interval}, paired)."


def _columns() -> list[Column]:
    return [
        Column("Class", lambda row: str(row["class"])),
        Column("Images", lambda row: count(row["rows"]), lambda row: row["rows"]),
        Column("First", lambda row: percent(row["a"]), lambda row: row["a"]),
        Column("Second", lambda row: percent(row["b"]), lambda row: row["b"]),
        Column(
            "Difference",
            lambda row: f"{100 * (row['a'] - row['b']):+.1f}".replace("-", "−"),
            lambda row: row["a"] - row["b"],
            "First minus second, in points",
            {SHARE_ROLE: lambda row: Share(row["a"] - row["b"], signed=True)},
        ),
    ]
