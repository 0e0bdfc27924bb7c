"""The Confusion tab: the matrix, the most confused pairs as a list beside it, and the pictures of the chosen cell.

Flow: a `Measured` is shown -> a cell is chosen in the matrix or in the list -> ``cell_asked`` -> the panel asks the
worker -> ``show_cell``. More pictures are asked for as one scrolls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QSplitter, QVBoxLayout, QWidget

from sdgui.panels.classify.model import Integers, Measured
from sdgui.panels.classify.prompts.editor import PromptEditor
from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix
from sdgui.panels.classify.tabs.table import ClassTable, Column
from sdgui.shared.time_travel import StepSlider
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.message import Message
from sdgui.widgets.no_wheel_combo_box import StillComboBox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

PAGE = 200  # pictures of a cell asked for at a time
_PAIRS = 500  # listed; the matrix holds all
_ORDERS = (("original order", "given"), ("lowest accuracy first", "worst"), ("most pictures first", "most"))


class MatrixTab(QWidget):
    """Matrix on the left, pairs and pictures on the right."""

    cell_asked = Signal(int, int, int)  # classes: true, predicted; from which picture on
    stepped = Signal(int)  # the step of the run whose matrix is to be shown
    prompts_edited = Signal(str)  # to be tried
    prompts_saved = Signal(str)  # path
    message_requested = Signal(Message)

    def __init__(self, cache: Path, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._found: Measured | None = None
        self._cell: tuple[int, int] | None = None
        self._total = 0
        self._asked = 0  # pictures asked for so far
        self.matrix = ConfusionMatrix(self)
        self.readout = ElidedLabel("", self)
        self.find_box = QLineEdit(self)
        self.order = StillComboBox(self)
        self.mistakes_only = QCheckBox("Mista&kes only", self)
        self.time = StepSlider(self)
        self.time.export.hide()  # of the results of a search
        self.time.hide()
        self.pairs = ClassTable("Most confused pairs", _pair_columns(), "", self)
        self.title = PlainLabel(self, wordWrap=True)
        self.gallery = Gallery(cache, "Select a cell or a pair to see its pictures.", self)
        self._tools()
        self._arrange()
        self._connect()

    def _tools(self) -> None:
        self.find_box.setPlaceholderText("Find …")
        self.find_box.setAccessibleName("Find a class")
        self.find_box.setToolTip("Enter jumps to the next class with a matching name")
        self.find_box.setClearButtonEnabled(True)
        self.order.setAccessibleName("Order of the classes")
        self.order.setToolTip("Order of the classes")
        self.order.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.order.setMinimumContentsLength(9)
        self.find_box.setMinimumWidth(10 * SPACE)
        for text, key in _ORDERS:
            self.order.addItem(text, key)
        self.mistakes_only.setToolTip("Hide correct predictions")
        self.larger = IconButton("ph.magnifying-glass-plus", "Zoom in", parent=self)
        self.smaller = IconButton("ph.magnifying-glass-minus", "Zoom out", parent=self)
        self.whole = IconButton("ph.corners-out", "Show the whole matrix", parent=self)
        self.prompts = IconButton(
            "ph.text-aa",
            "Edit the prompts of zero-shot, live on the matrix",
            text="Prompts",
            checkable=True,
            parent=self,
        )
        self.following = IconButton("ph.caret-right", "Next mistake", parent=self)
        for button, key in ((self.larger, "+"), (self.smaller, "−"), (self.whole, "0"), (self.following, "N")):
            button.setToolTip(plain_tip(f"{button.accessibleName()} ({key} in the matrix)"))
        set_role(self.readout, "small")

    def _arrange(self) -> None:
        tools = QHBoxLayout()
        tools.setSpacing(SPACE // 2)
        tools.addWidget(self.find_box, 1)
        for tool in (
            self.prompts,
            self.order,
            self.mistakes_only,
            self.following,
            self.smaller,
            self.larger,
            self.whole,
        ):
            tools.addWidget(tool)
        left, right = QWidget(self), QWidget(self)
        first, second = QVBoxLayout(left), QVBoxLayout(right)
        for column in (first, second):
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(SPACE // 2)
        first.addLayout(tools)
        first.addWidget(self.matrix, 1)
        first.addWidget(self.readout)
        first.addWidget(self.time)
        second.addWidget(self.title)
        second.addWidget(self.gallery, 1)
        self.gallery.set_thumbnail_size(72)
        self.beside = QSplitter(Qt.Orientation.Vertical, self)
        self.beside.addWidget(self.pairs)
        self.beside.addWidget(right)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.split.addWidget(left)
        self.split.addWidget(self.beside)
        self.split.setStretchFactor(0, 1)
        self.split.setSizes([430, 320])
        self.beside.setMinimumWidth(40 * SPACE)  # for the whole heads of its table
        self.split.setChildrenCollapsible(False)
        for name, split in (("classify/matrix", self.split), ("classify/beside", self.beside)):
            state = self._settings.value(name)
            if state is not None:
                split.restoreState(state)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(SPACE, SPACE, 0, 0)
        outer.addWidget(self.split)

    def _connect(self) -> None:
        self.matrix.cell_chosen.connect(self.ask_cell)
        self.matrix.current_changed.connect(lambda *_: self.readout.setText(self.matrix.sentence()))
        self.pairs.chosen.connect(self._pair)
        self.pairs.current_changed.connect(self._pair)
        self.larger.clicked.connect(lambda: self.matrix.zoom(1.5))
        self.smaller.clicked.connect(lambda: self.matrix.zoom(1 / 1.5))
        self.whole.clicked.connect(self.matrix.fit)
        self.following.clicked.connect(lambda: self.matrix.next_mistake())
        self.mistakes_only.toggled.connect(self.matrix.set_mistakes_only)
        self.order.activated.connect(lambda _row: self._order())
        self.prompts.toggled.connect(self._edit_prompts)
        self.time.moved.connect(self.stepped)
        self.find_box.returnPressed.connect(self._find)
        self.gallery.view.verticalScrollBar().valueChanged.connect(lambda _value: self._more())

    def save(self) -> None:
        """Remember the sizes, without the editor's."""
        if self.split.count() > 2:
            return
        self._settings.setValue("classify/matrix", self.split.saveState())
        self._settings.setValue("classify/beside", self.beside.saveState())

    # What is shown
    def show_result(self, found: Measured) -> None:
        """Show a result; the chosen cell stays where the classes are the same."""
        same = self._found is not None and self._found.classes == found.classes
        kept = self.matrix.current() if same else None
        self._found, self._cell = found, None
        cells = found.confusion
        self.matrix.set_matrix(found.classes, *_cells(found))
        self._order()
        totals, wrong = self.matrix.cells.totals, cells.wrong()
        pairs = zip(wrong.true[:_PAIRS].tolist(), wrong.predicted[:_PAIRS].tolist(), strict=True)
        numbers = wrong.count[:_PAIRS].tolist()
        names = found.classes
        self.pairs.set_rows(
            [
                {"true": t, "predicted": p, "count": n, "of": int(totals[t]), "names": (names[t], names[p])}
                for (t, p), n in zip(pairs, numbers, strict=True)
            ]
        )
        self.gallery.set_items([])
        self.title.clear()
        if kept is not None:
            self.matrix.set_current(*kept)
        self.readout.setText(self.matrix.sentence())
        if self.prompts.isChecked():
            self._begin_prompts(found)

    def offer_steps(self, steps: Sequence[int], step: int) -> None:
        """The kept checkpoints of the result's run, which is of ``step``; () for none."""
        self.time.setVisible(bool(steps))
        if steps:
            self.time.set_steps(steps, step)

    def show_step(self, found: Measured, step: int, own: bool) -> None:
        """The same evaluation at a step of the run; ``own``: that of the result that is chosen in the list."""
        self.show_result(found)
        told = f"{self.matrix.sentence()} · step {count(step)}: {percent(found.accuracy)}"
        self.readout.setText(told if not own else self.matrix.sentence())

    @cached_property
    def editor(self) -> PromptEditor:
        """The prompts beside the matrix; made when first asked for."""
        editor = PromptEditor(self.split)
        self.split.insertWidget(0, editor)
        self.split.setStretchFactor(0, 0)
        self.split.setStretchFactor(1, 1)
        sizes = self.split.sizes()
        room = 34 * SPACE
        self.split.setSizes([room, max(room, sizes[1] - room), *sizes[2:]])
        editor.edited.connect(self.prompts_edited)
        editor.saved.connect(self.prompts_saved)
        editor.message_requested.connect(self.message_requested)
        return editor

    def _edit_prompts(self, on: bool) -> None:
        if on and self._found is not None:
            self._begin_prompts(self._found)
            self.editor.templates.setFocus(Qt.FocusReason.OtherFocusReason)
        if on or is_made(self, "editor"):
            self.editor.setVisible(on)
        self.beside.setMinimumWidth((27 if on else 36) * SPACE)  # a window may be narrow

    def _begin_prompts(self, found: Measured) -> None:
        by_prompts = found.measure.method in ("zero-shot", "fused")
        if by_prompts or not self.editor.names.classes:
            self.editor.begin(found.measure.settings.templates, found.classes, found.accuracy)

    def show_trial(self, found: Measured) -> None:
        """The matrix of the first of the edited templates, until all are encoded."""
        self.matrix.set_matrix(found.classes, *_cells(found))
        self._order()
        self.editor.show_accuracy(found.accuracy, whole=False)

    def show_class(self, index: int) -> None:
        """Go to a class on the diagonal."""
        self.matrix.set_current(index, index)
        self.matrix.setFocus()

    def _order(self) -> None:
        cells, kind = self.matrix.cells, self.order.currentData()
        order = np.arange(cells.size)
        if kind == "worst":
            right = np.zeros(cells.size)
            on = cells.true == cells.predicted
            right[cells.true[on]] = cells.share[on]
            order = np.lexsort((right, cells.totals == 0))
        elif kind == "most":
            order = np.argsort(-cells.totals, kind="stable")
        self.matrix.set_order(order.tolist())

    def _find(self) -> None:
        """Go to the next displayed class whose name contains the text."""
        words, size = self.find_box.text().casefold().strip(), len(self.matrix.classes)
        if not words or not size:
            return
        start = (self.matrix.scene().current or (0, 0))[0]
        for step in range(1, size + 1):
            index = int(self.matrix.cells.order[(start + step) % size])
            if words in self.matrix.classes[index].casefold():
                self.matrix.set_current(index, index)
                return
        self.readout.setText(f"No class has “{self.find_box.text().strip()}” in its name.")

    # Cells
    def _pair(self, row: int) -> None:
        if row >= 0:
            pair = self.pairs.rows()[row]
            self.matrix.set_current(pair["true"], pair["predicted"])
            self.ask_cell(pair["true"], pair["predicted"])

    def ask_cell(self, true: int, predicted: int) -> None:
        """Show a cell's pictures, by its classes."""
        if self._cell == (true, predicted):
            return
        self._cell = true, predicted
        self._total, self._asked = self.matrix.cells.count_at(true, predicted), PAGE
        self.title.setText(self.matrix.sentence((true, predicted)))
        self.gallery.set_items([])
        if self._total:
            self.cell_asked.emit(true, predicted, 0)

    def show_cell(self, answer: Mapping[str, Any]) -> None:
        """Show the pictures of a cell; ``answer`` of ``classify_cell``."""
        true, predicted = answer["true"], answer["predicted"]
        if self._cell is None or [true, predicted] != [self.matrix.classes[i] for i in self._cell]:
            return  # another cell was chosen meanwhile
        self.gallery.model.append(
            [
                GalleryItem(
                    Path(one["image"]),
                    str(predicted),
                    float(one["probability"]),
                    correct=true == predicted,
                    detail=f"true: {true}, predicted: {predicted} with {percent(one['probability'])}",
                )
                for one in answer["pictures"]
            ]
        )

    def cell_failed(self) -> None:
        """The request failed: choosing the cell, or scrolling on, asks again."""
        self._asked = self.gallery.model.rowCount()
        if not self._asked:
            self._cell = None

    def _more(self) -> None:
        bar = self.gallery.view.verticalScrollBar()
        there = self.gallery.model.rowCount()
        near = bar.value() >= bar.maximum() - bar.pageStep()
        if self._cell is not None and near and there == self._asked and there < self._total:
            self._asked += PAGE
            self.cell_asked.emit(*self._cell, there)


def _cells(found: Measured) -> tuple[Integers, Integers, Integers]:
    cells = found.confusion
    return cells.true, cells.predicted, cells.count


def _pair_columns() -> list[Column]:
    return [
        Column("True", lambda row: str(row["names"][0])),
        Column("Predicted", lambda row: str(row["names"][1])),
        Column(
            "Pictures",
            lambda row: count(row["count"]),
            lambda row: row["count"],
            tip="Number of test pictures with this mistake",
        ),
        Column(
            "Share",
            lambda row: percent(row["count"] / max(1, row["of"])),
            lambda row: row["count"] / max(1, row["of"]),
            tip="Share of the true class's pictures",
        ),
    ]
