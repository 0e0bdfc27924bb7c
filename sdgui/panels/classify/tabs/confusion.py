"""The Confusion tab: the matrix, the most confused pairs, and the images of the selected cell.

Flow: an `EvaluationResult` is shown -> a cell is chosen in the matrix or in the list -> ``cell_requested`` -> the panel
asks the worker -> ``show_cell``. Scrolling requests more images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSplitter, QWidget

from sdgui.panels.classify.model import EvaluationResult, Integers
from sdgui.panels.classify.prompts.editor import PromptEditor
from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix
from sdgui.panels.classify.tabs.mistakes import LOAD_MORE_AT, prediction_line
from sdgui.panels.classify.tabs.table import ClassTable
from sdgui.shared.tables import Column
from sdgui.shared.time_travel import StepSlider
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message import Message
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

PAGE = 200  # images of a cell per request
_MAX_PAIRS = 500  # listed pairs; the matrix shows all
_ORDERS = (("Original order", "given"), ("Lowest accuracy first", "worst"), ("Most images first", "most"))


class MatrixTab(QWidget):
    """Matrix on the left, pairs and images on the right."""

    cell_requested = Signal(int, int, int)  # true class, predicted class, index of the first image
    stepped = Signal(int)  # show the matrix of this step
    prompts_edited = Signal(str)  # prompts to evaluate
    prompts_saved = Signal(str)  # path
    message_requested = Signal(Message)

    def __init__(self, cache: Path, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._result: EvaluationResult | None = None
        self._cell: tuple[int, int] | None = None  # true and predicted class of the cell whose images are shown
        self._total = 0
        self._requested = 0  # images requested so far
        self.matrix = ConfusionMatrix(self)
        self.readout = ElidedLabel("", self, role="small")
        self.find_box = QLineEdit(self, placeholderText="Find…", clearButtonEnabled=True)
        self.order = NoWheelComboBox(self)
        self.mistakes_only = QCheckBox("Mista&kes only", self)
        self.time = StepSlider(self)
        self.time.export.hide()  # exports search results, which this tab does not have
        self.time.hide()
        self.pairs = ClassTable("Most confused pairs", _pair_columns(), "", self)
        self.title = PlainLabel(self, wordWrap=True)
        self.gallery = Gallery(cache, "Click a cell or a pair to see its images, or press Enter in a cell.", self)
        self._build_tools()
        self._arrange()
        self._connect()

    def _build_tools(self) -> None:
        self.find_box.setAccessibleName("Find a class")
        self.find_box.setToolTip("Press Enter to go to the next class with a matching name")
        self.order.setAccessibleName("Class order")
        self.order.setToolTip("Class order")
        self.order.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.order.setMinimumContentsLength(9)
        self.find_box.setMinimumWidth(10 * SPACE)
        for text, key in _ORDERS:
            self.order.addItem(text, key)
        self.mistakes_only.setToolTip("Hide correct predictions")
        self.zoom_in = IconButton("ph.magnifying-glass-plus", "Zoom in", parent=self)
        self.zoom_out = IconButton("ph.magnifying-glass-minus", "Zoom out", parent=self)
        self.fit_button = IconButton("ph.corners-out", "Show the whole matrix", parent=self)
        tip = "Edit the zero-shot prompts; the matrix updates as you type"
        self.prompts = IconButton("ph.text-aa", tip, text="Prompts", checkable=True, parent=self)
        self.next_button = IconButton("ph.caret-right", "Next mistake", parent=self)
        for button, key in ((self.zoom_in, "+"), (self.zoom_out, "−"), (self.fit_button, "0"), (self.next_button, "N")):
            button.setToolTip(plain_tip(f"{button.accessibleName()} ({key} in the matrix)"))

    def _arrange(self) -> None:
        buttons = (self.next_button, self.zoom_out, self.zoom_in, self.fit_button)
        choices = (self.prompts, self.order, self.mistakes_only)
        tools = hbox((self.find_box, 1), *choices, *buttons, spacing=SPACE // 2)
        matrix_side, image_side = QWidget(self), QWidget(self)
        vbox(tools, (self.matrix, 1), self.readout, self.time, into=matrix_side, spacing=SPACE // 2)
        vbox(self.title, (self.gallery, 1), into=image_side, spacing=SPACE // 2)
        self.gallery.set_thumbnail_size(72)
        self.right_split = QSplitter(Qt.Orientation.Vertical, self)
        self.right_split.addWidget(self.pairs)
        self.right_split.addWidget(image_side)
        self.split = QSplitter(Qt.Orientation.Horizontal, self, childrenCollapsible=False)
        self.split.addWidget(matrix_side)
        self.split.addWidget(self.right_split)
        self.split.setStretchFactor(0, 1)
        self.split.setSizes([430, 320])
        self.right_split.setMinimumWidth(40 * SPACE)  # fits the headers of the table
        remember_sizes(self.split, self._settings, "classify/matrix")
        remember_sizes(self.right_split, self._settings, "classify/beside")
        vbox(self.split, into=self, margins=(SPACE, SPACE, 0, 0))

    def _connect(self) -> None:
        self.matrix.cell_chosen.connect(self.ask_cell)
        self.matrix.current_changed.connect(lambda *_: self.readout.setText(self.matrix.sentence()))
        self.pairs.row_activated.connect(self._show_pair)
        self.pairs.current_changed.connect(self._show_pair)
        self.zoom_in.clicked.connect(lambda: self.matrix.zoom(1.5))
        self.zoom_out.clicked.connect(lambda: self.matrix.zoom(1 / 1.5))
        self.fit_button.clicked.connect(self.matrix.fit)
        self.next_button.clicked.connect(lambda: self.matrix.next_mistake())
        self.mistakes_only.toggled.connect(self.matrix.set_mistakes_only)
        self.order.activated.connect(lambda _row: self._apply_order())
        self.prompts.toggled.connect(self._edit_prompts)
        self.time.moved.connect(self.stepped)
        self.find_box.returnPressed.connect(self._find)
        self.gallery.scrolled.connect(lambda share: self._request_more() if share > LOAD_MORE_AT else None)

    # Display
    def show_result(self, result: EvaluationResult) -> None:
        """Show a result; keep the selected cell if the classes are the same."""
        has_same_classes = self._result is not None and self._result.classes == result.classes
        selected_cell = self.matrix.current_classes() if has_same_classes else None
        self._result, self._cell = result, None
        cells = result.confusion
        self.matrix.set_matrix(result.classes, *_cells(result))
        self._apply_order()
        totals, wrong = self.matrix.cells.totals, cells.mistakes()
        pairs = zip(wrong.true[:_MAX_PAIRS].tolist(), wrong.predicted[:_MAX_PAIRS].tolist(), strict=True)
        numbers = wrong.count[:_MAX_PAIRS].tolist()
        names = result.classes
        self.pairs.set_rows(
            [
                {"true": t, "predicted": p, "count": n, "of": int(totals[t]), "names": (names[t], names[p])}
                for (t, p), n in zip(pairs, numbers, strict=True)
            ]
        )
        self.gallery.set_items([])
        self.title.clear()
        if selected_cell is not None:
            self.matrix.set_current(*selected_cell)
        self.readout.setText(self.matrix.sentence())
        if self.prompts.isChecked():
            self._begin_prompts(result)

    def offer_steps(self, steps: Sequence[int], step: int) -> None:
        """Show a slider over the run's checkpoints, at ``step``; () hides the slider."""
        self.time.setVisible(bool(steps))
        if steps:
            self.time.set_steps(steps, step)

    def show_step(self, result: EvaluationResult, step: int, is_listed: bool) -> None:
        """Show the evaluation at another step. ``is_listed``: this is the result selected in the list."""
        self.show_result(result)
        sentence = f"{self.matrix.sentence()} · step {count(step)}: {percent(result.accuracy)}"
        self.readout.setText(sentence if not is_listed else self.matrix.sentence())

    @cached_property
    def editor(self) -> PromptEditor:
        """The prompt editor next to the matrix, created on first use."""
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
        if on and self._result is not None:
            self._begin_prompts(self._result)
            self.editor.templates.setFocus(Qt.FocusReason.OtherFocusReason)
        if on or is_made(self, "editor"):
            self.editor.setVisible(on)
        self.right_split.setMinimumWidth((27 if on else 36) * SPACE)  # leaves room for the matrix in a narrow window

    def _begin_prompts(self, result: EvaluationResult) -> None:
        """Edit the prompts of the result; for a result without prompts, the editor stays as it is once it is filled."""
        evaluation = result.evaluation
        if evaluation.method in ("zero-shot", "fused") or not self.editor.names.classes:
            accuracy = result.accuracy if evaluation.method == "zero-shot" else None
            self.editor.begin(evaluation.settings.templates, result.classes, evaluation.target, accuracy)

    def show_trial(self, result: EvaluationResult) -> None:
        """Show a preliminary matrix from the first templates, until all templates are encoded."""
        self.matrix.set_matrix(result.classes, *_cells(result))
        self._apply_order()
        self.editor.show_accuracy(result.accuracy, complete=False)

    def fail_trial(self, problem: str) -> None:
        """Show the matrix of the result again, and why the edited prompts could not be evaluated."""
        if self._result is not None:
            self.matrix.set_matrix(self._result.classes, *_cells(self._result))
            self._apply_order()
        self.editor.show_problem(problem)

    def show_class(self, index: int) -> None:
        """Go to the diagonal cell of a class."""
        self.matrix.set_current(index, index)
        self.matrix.setFocus()

    def _apply_order(self) -> None:
        cells, kind = self.matrix.cells, self.order.currentData()
        order = np.arange(cells.size)
        if kind == "worst":
            accuracy = np.zeros(cells.size)
            on_diagonal = cells.true == cells.predicted
            accuracy[cells.true[on_diagonal]] = cells.share[on_diagonal]
            order = np.lexsort((accuracy, cells.totals == 0))  # by accuracy; classes without images last
        elif kind == "most":
            order = np.argsort(-cells.totals, kind="stable")
        self.matrix.set_order(order.tolist())

    def _find(self) -> None:
        """Go to the next displayed class whose name contains the text."""
        words, size = self.find_box.text().casefold().strip(), len(self.matrix.class_names)
        if not words or not size:
            return
        start = (self.matrix.scene().current or (0, 0))[0]
        for step in range(1, size + 1):
            index = int(self.matrix.cells.order[(start + step) % size])
            if words in self.matrix.class_names[index].casefold():
                self.matrix.set_current(index, index)
                return
        self.readout.setText(f"No class name contains “{self.find_box.text().strip()}”.")

    # Cells
    def _show_pair(self, row: int) -> None:
        if row >= 0:
            pair = self.pairs.model.rows[row]
            self.matrix.set_current(pair["true"], pair["predicted"])
            self.ask_cell(pair["true"], pair["predicted"])

    def ask_cell(self, true: int, predicted: int) -> None:
        """Request the images of the cell (``true``, ``predicted``)."""
        if self._cell == (true, predicted):
            return
        self._cell = true, predicted
        self._total, self._requested = self.matrix.cells.count_at(true, predicted), PAGE
        self.title.setText(self.matrix.sentence((true, predicted)))
        self.gallery.set_items([])
        if self._total:
            self.cell_requested.emit(true, predicted, 0)

    def show_cell(self, answer: Mapping[str, Any]) -> None:
        """Show the images of a cell; ``answer``: the answer of ``classify_cell``."""
        true, predicted = answer["true"], answer["predicted"]
        if self._cell is None or [true, predicted] != [self.matrix.class_names[i] for i in self._cell]:
            return  # another cell was selected in the meantime
        self.gallery.model.append(
            [
                GalleryItem(
                    Path(image["image"]),
                    f"{predicted} (tied)" if image.get("tied") else str(predicted),
                    float(image["probability"]),
                    correct=true == predicted,
                    detail=prediction_line(true, predicted, image),
                )
                for image in answer["images"]
            ]
        )

    def cell_failed(self) -> None:
        """Handle a failed request: selecting the cell again or scrolling retries the request."""
        self._requested = self.gallery.model.rowCount()
        if not self._requested:
            self._cell = None

    def _request_more(self) -> None:
        loaded = self.gallery.model.rowCount()
        if self._cell is not None and loaded == self._requested < self._total:
            self._requested += PAGE
            self.cell_requested.emit(*self._cell, loaded)


def _cells(result: EvaluationResult) -> tuple[Integers, Integers, Integers]:
    cells = result.confusion
    return cells.true, cells.predicted, cells.count


def _pair_columns() -> list[Column]:
    return [
        Column("True", lambda row: str(row["names"][0])),
        Column("Predicted", lambda row: str(row["names"][1])),
        Column(
            "Images",
            lambda row: count(row["count"]),
            lambda row: row["count"],
            tip="Number of test images with this pair of classes",
        ),
        Column(
            "Share",
            lambda row: percent(row["count"] / max(1, row["of"])),
            lambda row: row["count"] / max(1, row["of"]),
            tip="Share of the images of the true class",
        ),
    ]
