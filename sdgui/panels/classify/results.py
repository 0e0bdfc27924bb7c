"""The list of evaluation results, and the buttons for probes.

Flow: the panel adds an `EvaluationResult` -> ``result_selected`` with the result to show -> the tabs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QWidget

from core.spec.run.model_names import parse_interpolated
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Target, interval_text, method_title
from sdgui.widgets.formats import percent
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

MAX_RESULTS = 40  # the worker caches about as many


class ResultList(QWidget):
    """The list of results, newest first; Delete removes the selected result."""

    result_selected = Signal(object)  # EvaluationResult | None
    added = Signal(object)  # EvaluationResult
    removed = Signal(object)  # EvaluationResult that the user removed

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._results: list[EvaluationResult] = []
        self.list = QListWidget(self)
        self.list.setAccessibleName("Results")
        self.list.setToolTip("Evaluation results, newest first; press Delete to remove the selected result")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.save_probe = QPushButton("Sa&ve probe…", self)
        self.load_probe = QPushButton("Loa&d probe…", self)
        self.apply_probe = QPushButton("Appl&y to a folder…", self)
        title = PlainLabel("Results", self, role="title")
        column = vbox(title, (self.list, 1), into=self, spacing=SPACE // 2, margins=(0, SPACE, SPACE, 0))
        for button, tip in (
            (self.save_probe, "Save the probe to a file, with a JSON description next to it"),
            (self.load_probe, "Load a saved probe to evaluate, try or apply it"),
            (self.apply_probe, "Classify every image in a folder and write a CSV file"),
        ):
            button.setToolTip(plain_tip(tip))
            column.addWidget(button)
        self.list.currentRowChanged.connect(lambda _row: self._emit_selected())
        remove = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self.remove_current)
        self._emit_selected()

    def results(self) -> list[EvaluationResult]:
        """All results, newest first."""
        return list(self._results)

    def current(self) -> EvaluationResult | None:
        """The shown result."""
        row = self.list.currentRow()
        return self._results[row] if 0 <= row < len(self._results) else None

    def result_of(self, evaluation: Evaluation) -> EvaluationResult | None:
        """The result of ``evaluation``; None if there is none."""
        return next((result for result in self._results if result.evaluation == evaluation), None)

    def add(self, added: EvaluationResult, show: bool = True, previous: EvaluationResult | None = None) -> None:
        """Add a result at the top; it replaces an earlier result of the same evaluation, and ``previous``."""
        current, evaluation = self.current(), added.evaluation
        others = [result for result in self._results if result.evaluation != evaluation and result is not previous]
        removed = [result for result in self._results if result.evaluation != evaluation and result is previous]
        show = show or (current is not None and current is previous)
        self._fill([added, *others][:MAX_RESULTS], added if show else current)
        for result in removed:
            self.removed.emit(result)
        self.added.emit(added)

    def restore(self, results: Sequence[EvaluationResult]) -> None:
        """Append the results of an earlier session."""
        known_evaluations = {result.evaluation for result in self._results}
        restored = [result for result in results if result.evaluation not in known_evaluations]
        if restored:
            self._fill([*self._results, *restored][:MAX_RESULTS], self.current())

    def choose(self, evaluation: Evaluation) -> None:
        """Show the listed result of ``evaluation``."""
        result = self.result_of(evaluation)
        if result is not None:
            self.list.setCurrentRow(self._results.index(result))

    def choose_first(self, is_wanted: Callable[[EvaluationResult], bool]) -> None:
        """Show the newest result that ``is_wanted``, if there is one."""
        self.list.setCurrentRow(next((row for row, result in enumerate(self._results) if is_wanted(result)), -1))

    def deselect(self) -> None:
        """Show no result."""
        self.list.setCurrentRow(-1)

    def remove_current(self) -> None:
        """Remove the shown result."""
        row = self.list.currentRow()
        if row >= 0:
            removed = self._results[row]
            others = self._results[:row] + self._results[row + 1 :]
            self._fill(others, others[min(row, len(others) - 1)] if others else None)
            self.removed.emit(removed)

    def _fill(self, results: Sequence[EvaluationResult], current: EvaluationResult | None) -> None:
        self.list.blockSignals(True)
        self._results = list(results)
        self.list.clear()
        for result in self._results:
            target = result.evaluation.target
            text = f"{percent(result.accuracy)}  {method_title(result.evaluation)}\n{_model_lines(target)}"
            item = QListWidgetItem(text)
            lines = [
                text,
                f"95 %: {interval_text(result.answer['accuracy'])}",
                f"{target.data}, label {target.label or 'the only column'}",
            ]
            item.setToolTip(plain_tip("\n".join(lines)))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(lines).replace("\n", ", "))
            self.list.addItem(item)
        self.list.setCurrentRow(next((row for row, listed in enumerate(self._results) if listed is current), -1))
        self.list.blockSignals(False)
        self._emit_selected()

    def _emit_selected(self) -> None:
        self.result_selected.emit(self.current())


def _model_lines(target: Target) -> str:
    """The model, and below it a run's weights: ``sd-clip demo · run 1``, ``student · best, step 234``.

    The title of a run ends with its checkpoint, alpha and network (`ModelChip.choice`); its name may contain " · ".
    """
    run, interpolated = target.title.removesuffix(f" · {target.weights}"), parse_interpolated(target.model)
    alpha = ""
    if interpolated is not None:
        run, start, other_model = run.rpartition(f" · alpha {interpolated.alpha:g}")
        alpha = start.removeprefix(" · ") + other_model
    if not target.weights:
        return run
    run, _, checkpoint = run.rpartition(" · ")
    return "\n".join(filter(None, (run, " · ".join(filter(None, (alpha, target.weights, checkpoint))))))
