"""The list of evaluation results beside the tabs, and the buttons for probes.

Flow: the panel adds a `Measured` -> ``chosen`` with the one to show -> the tabs.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from sdgui.panels.classify.model import Measure, Measured, between, method_title
from sdgui.widgets.formats import percent
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

MOST = 40  # the worker remembers few more


class ResultList(QWidget):
    """Newest first; Delete removes one."""

    chosen = Signal(object)  # Measured, None when there is none
    added = Signal(object)  # Measured
    removed = Signal(object)  # Measured, by the user

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._results: list[Measured] = []
        self.list = QListWidget(self)
        self.list.setAccessibleName("Results")
        self.list.setToolTip("Evaluation results, newest first; Delete removes one")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.save_probe = QPushButton("Sa&ve probe …", self)
        self.load_probe = QPushButton("Loa&d probe …", self)
        self.apply = QPushButton("Appl&y to a folder …", self)
        title = PlainLabel("Results", self)
        set_role(title, "title")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, SPACE, SPACE, 0)
        column.setSpacing(SPACE // 2)
        column.addWidget(title)
        column.addWidget(self.list, 1)
        for button, tip in (
            (self.save_probe, "Save the probe to a file, with a JSON description next to it"),
            (self.load_probe, "Load a saved probe to evaluate, try or apply it"),
            (self.apply, "Classify every picture in a folder and write a CSV file"),
        ):
            button.setToolTip(plain_tip(tip))
            column.addWidget(button)
        self.list.currentRowChanged.connect(lambda _row: self._emit_chosen())
        remove = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self.remove_current)
        self._emit_chosen()

    def results(self) -> list[Measured]:
        """All, newest first."""
        return list(self._results)

    def current(self) -> Measured | None:
        """The one that is shown."""
        row = self.list.currentRow()
        return self._results[row] if 0 <= row < len(self._results) else None

    def of(self, measure: Measure) -> Measured | None:
        """The result of a measure."""
        return next((found for found in self._results if found.measure == measure), None)

    def add(self, found: Measured, show: bool = True) -> None:
        """Put it first, replacing a previous result of the same evaluation, and show it."""
        kept = self.current()
        rest = [one for one in self._results if one.measure != found.measure]
        self._fill([found, *rest][:MOST], found if show or kept is None else kept)
        self.added.emit(found)

    def replace(self, former: Measured | None, found: Measured, show: bool = True) -> None:
        """Put a result in the place of one of the same kind that it makes out of date; the former is gone."""
        kept = self.current()
        gone = former is not None and former in self._results and former.measure != found.measure
        rest = [one for one in self._results if one.measure != found.measure and one is not former]
        self._fill([found, *rest][:MOST], found if show or kept is None or kept is former else kept)
        if gone:
            self.removed.emit(former)
        self.added.emit(found)

    def restore(self, results: Sequence[Measured]) -> None:
        """Show results of earlier times below those that there are."""
        there = {found.measure for found in self._results}
        earlier = [found for found in results if found.measure not in there]
        if earlier:
            whole = [*self._results, *earlier][:MOST]
            self._fill(whole, self.current() or whole[0])

    def choose(self, measure: Measure) -> None:
        """Show a result that is in the list."""
        found = self.of(measure)
        if found is not None:
            self.list.setCurrentRow(self._results.index(found))

    def remove_current(self) -> None:
        """Remove the shown one."""
        row = self.list.currentRow()
        if row >= 0:
            gone = self._results[row]
            rest = self._results[:row] + self._results[row + 1 :]
            self._fill(rest, rest[min(row, len(rest) - 1)] if rest else None)
            self.removed.emit(gone)

    def _fill(self, results: Sequence[Measured], shown: Measured | None) -> None:
        self.list.blockSignals(True)
        self._results = list(results)
        self.list.clear()
        for found in self._results:
            target = found.measure.target
            model = " · ".join(part for part in (target.weights, target.title) if part)  # the differing part first
            text = f"{percent(found.accuracy)}  {method_title(found.measure)}\n{model}"
            item = QListWidgetItem(text)
            lines = [
                text,
                f"95 %: {between(found.answer['accuracy'])}",
                f"{target.data}, label {target.label or 'the only column'}",
            ]
            item.setToolTip(plain_tip("\n".join(lines)))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(lines).replace("\n", ", "))
            self.list.addItem(item)
        self.list.setCurrentRow(next((row for row, one in enumerate(self._results) if one is shown), -1))
        self.list.blockSignals(False)
        self._emit_chosen()

    def _emit_chosen(self) -> None:
        self.chosen.emit(self.current())
