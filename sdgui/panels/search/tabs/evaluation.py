"""The evaluation: queries with known answers by rank, hardest first, in both directions; recall curves.

Flow: worker ``search_evaluate``, ``search_compare`` -> table and curve; ``query_selected`` -> galleries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QItemSelectionModel, QModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QSplitter, QWidget

from sdgui.panels.search.tabs.known_queries import KnownQuery, known_images, known_pairs, known_texts, query_columns
from sdgui.shared.tables import CopyingTable, RowsModel
from sdgui.widgets.formats import capitalize, count, percent
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, still_plot, style_axes
from sdgui.widgets.style.theme import SPACE, theme

_MAX_COLUMN_WIDTH = 22 * SPACE  # of a model's column, in px
TEXTS, IMAGES, PAIRS = "text_to_image", "image_to_text", "pairs"


class EvaluationPane(QWidget):
    """The table of queries, and the recall curves below it."""

    query_selected = Signal(object)  # KnownQuery
    activated = Signal(object)  # KnownQuery; Enter or double click
    compare_requested = Signal(int)  # k: find the pairs that only one model has among its first k results

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sides: list[Mapping[str, Any]] = []
        self._names: list[str] = []
        self._pairs: Mapping[str, Any] | None = None
        self._pairs_chosen = False  # *Found by one model only* was chosen when the second model was closed
        self._evaluated_at = ""
        self.model = RowsModel(query_columns("Caption", []), self)
        self.direction_box = ListOnlyComboBox(self)
        self.k_box = ListOnlyComboBox(self)
        self.filter_box = QLineEdit(self, placeholderText="Filter", clearButtonEnabled=True)
        self.table = CopyingTable("Queries with known answers, and their ranks", self)
        self.count_label = PlainLabel(self, wordWrap=True, role="small")
        self.curve = RecallCurve(self)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.direction_box.addItem("Captions find their image", TEXTS)
        self.direction_box.addItem("Images find their caption", IMAGES)
        self.direction_box.addItem("Found by one model only", PAIRS)
        self.direction_box.setAccessibleName("Direction")
        self.k_box.setAccessibleName("Found within the first")
        self.k_box.setToolTip("An answer counts as found within this many results")
        for k in (1, 5, 10):
            self.k_box.addItem(f"in the first {k}", k)
        self.filter_box.setAccessibleName("Filter the queries")
        table = self.table
        table.setModel(self.model)
        table.setSortingEnabled(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Room for the sort arrow, which would cover right-aligned titles.
        table.horizontalHeader().setStyleSheet("QHeaderView::section { padding-right: 14px; }")
        directions = hbox((self.direction_box, 1), self.k_box, spacing=SPACE // 2)
        upper = QWidget(self)
        vbox(directions, self.filter_box, (table, 1), self.count_label, into=upper, spacing=SPACE // 2)
        self.split = QSplitter(Qt.Orientation.Vertical, self)
        self.split.addWidget(upper)
        self.split.addWidget(self.curve)
        self.split.setStretchFactor(0, 1)
        self.split.setSizes([400, 160])
        vbox(self.split, into=self, margins=(0, 0, SPACE, 0))
        self.k_box.hide()

    def _connect(self) -> None:
        self.direction_box.activated.connect(self._on_direction_chosen)
        self.k_box.activated.connect(lambda _row: self.compare_requested.emit(int(self.k_box.currentData())))
        self.filter_box.textChanged.connect(self._filter)
        self.table.selectionModel().currentRowChanged.connect(self._on_current_changed)
        self.table.activated.connect(lambda index: self.activated.emit(self.model.row_at(index)))

    @property
    def direction(self) -> str:
        """TEXTS, IMAGES or PAIRS."""
        return str(self.direction_box.currentData())

    # Display
    def show_sides(self, sides: Sequence[Mapping[str, Any]], names: Sequence[str], evaluated_at: str = "") -> None:
        """Show answers of ``search_evaluate`` for one or two models. ``evaluated_at``: time of stored answers."""
        self._sides, self._names, self._pairs, self._evaluated_at = list(sides), list(names), None, evaluated_at
        lines = []
        for color, (side, name) in enumerate(zip(sides, names, strict=True)):
            curve = side["curve"]
            of_model = f"{name} " if len(sides) > 1 else ""
            lines.append(RecallLine(f"{of_model}text→image", curve["k"], curve[TEXTS], color))
            lines.append(RecallLine(f"{of_model}image→text", curve["k"], curve[IMAGES], color, dashed=True))
        self.curve.set_lines(lines)
        row = self.direction_box.findData(PAIRS)
        if len(sides) < 2 and row >= 0:
            self._pairs_chosen = self.direction == PAIRS
            self.direction_box.removeItem(row)
        elif len(sides) == 2 and row < 0:
            self.direction_box.addItem("Found by one model only", PAIRS)
            if self._pairs_chosen:
                self.direction_box.setCurrentIndex(self.direction_box.count() - 1)
        self._show_direction()

    def show_pairs(self, answer: Mapping[str, Any]) -> None:
        """Show an answer of ``search_compare``."""
        self._pairs = answer
        self._fill()

    def _on_direction_chosen(self) -> None:
        self._pairs_chosen = False
        self._show_direction()

    def _show_direction(self) -> None:
        self.k_box.setVisible(self.direction == PAIRS)
        if self.direction == PAIRS and self._pairs is None:
            self.compare_requested.emit(int(self.k_box.currentData()))
        self._fill()

    def _fill(self) -> None:
        selected = self.current()
        direction = self.direction
        if direction == PAIRS:
            queries = known_pairs(self._pairs) if self._pairs is not None else []
        else:
            queries = known_texts(self._sides) if direction == TEXTS else known_images(self._sides)
        query_title = "Image with the caption" if direction == IMAGES else "Caption"
        self.model.set_rows(queries, query_columns(query_title, self._names))
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        for column in range(1, self.model.columnCount()):
            names = ("Teacher", self.model.columns[column].title)
            room = max(map(header.fontMetrics().horizontalAdvance, names)) + 3 * SPACE  # includes the sort arrow
            header.resizeSection(column, min(room, _MAX_COLUMN_WIDTH))
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        if queries:
            self.table.sortByColumn(
                self.model.columnCount() - 1 if direction == PAIRS else 1, Qt.SortOrder.DescendingOrder
            )
        self._show_count()
        if selected is not None:  # keep the selected query
            self.choose(selected.title, selected.path)

    def _show_count(self) -> None:
        shown_count, total_count = self.model.rowCount(), len(self.model.rows)
        if self.direction == PAIRS and self._pairs is not None and len(self._names) == 2:
            counts, (a, b) = self._pairs["counts"], self._names
            text = f"only {a} {count(counts['only_a'])} · only {b} {count(counts['only_b'])} · "
            self.count_label.setText(f"{text}both {count(counts['both'])} · neither {count(counts['neither'])}")
            return
        evaluated = self._sides[0]["queries"] if self._sides else {}
        total = max(total_count, evaluated.get(self.direction, 0))
        hardest = f" (the {count(total_count)} hardest are listed)" if total_count < total else ""
        count_text = f"{count(shown_count)} of {count(total)}" if shown_count != total else count(total)
        age_text = f" · evaluated {self._evaluated_at}; being re-evaluated" if self._evaluated_at else ""
        self.count_label.setText(f"{count_text} queries{hardest}{age_text}")

    # Choosing
    def current(self) -> KnownQuery | None:
        """The selected query; None if there is none."""
        index = self.table.currentIndex()
        return self.model.row_at(index) if index.isValid() else None

    def choose(self, title: str, path: str) -> bool:
        """Select a query; returns whether it is listed."""
        for row in range(self.model.rowCount()):
            index = self.model.index(row, 0)
            query = self.model.row_at(index)
            if (query.title, query.path) == (title, path):
                flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
                self.table.selectionModel().setCurrentIndex(index, flags)
                self.table.scrollTo(index)
                return True
        return False

    def choose_first(self) -> None:
        """Select the top row."""
        if self.model.rowCount():
            self.table.selectRow(0)

    def _filter(self, text: str) -> None:
        self.model.set_filter(text)
        self._show_count()

    def _on_current_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid():
            self.query_selected.emit(self.model.row_at(current))


_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # labelled values of k


@dataclass(frozen=True)
class RecallLine:
    """A recall curve. ``dashed`` distinguishes image→text from text→image."""

    name: str
    k: Sequence[int]
    recall: Sequence[float]  # 0 to 1
    color: int  # index into the palette of runs
    dashed: bool = False


class RecallCurve(QWidget):
    """The plot of recall at k. Hovering shows the values; screen readers get them as the description."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: list[RecallLine] = []
        self._left_axis = PlotAxis("left", "share")
        self._bottom_axis = PlotAxis("bottom", "value")
        self._plot = still_plot(self, self._left_axis, self._bottom_axis)
        self._plot.setYRange(0, 1, padding=0.02)
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._readout = PlainLabel("Recall at k", self, wordWrap=True, role="small")
        vbox(self._readout, (self._plot, 1), into=self, spacing=SPACE // 2)
        self.setAccessibleName("Recall at k")
        self._plot.scene().sigMouseMoved.connect(self._show_at)
        theme().changed.connect(self._draw)
        self._draw()

    def set_lines(self, lines: Sequence[RecallLine]) -> None:
        """Show these curves."""
        self.lines = list(lines)
        rows = 2 if len(lines) > 2 else 1  # a splitter ignores the height of wrapped text
        self._readout.setMinimumHeight(rows * self._readout.fontMetrics().lineSpacing())
        self._draw()

    def _draw(self) -> None:
        current_theme = theme()
        self._plot.setBackground(current_theme.color("surface"))
        self._plot.clear()
        style_axes(self._left_axis, self._bottom_axis)
        self._left_axis.setWidth(6 * SPACE)
        max_k = max((line.k[-1] for line in self.lines if len(line.k)), default=10)
        self._bottom_axis.setTicks([[(float(np.log10(k)), str(k)) for k in _TICKS if k <= max_k]])
        for line in self.lines:
            style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
            pen = pg.mkPen(current_theme.run_color(line.color), width=2, style=style)
            self._plot.plot(np.log10(np.asarray(line.k, float)), np.asarray(line.recall, float), pen=pen)
        self._cross.setPen(pg.mkPen(current_theme.color("muted"), style=Qt.PenStyle.DotLine))
        self._cross.setVisible(False)
        self._plot.addItem(self._cross, ignoreBounds=True)
        self._plot.setXRange(0, float(np.log10(max(2, max_k))), padding=0.02)
        self._show_values(10)
        self.setAccessibleDescription(self.recall_text(1) + "; " + self.recall_text(10))

    def recall_text(self, k: int) -> str:
        """The values as text, such as ``recall at 10: Student 60.9 %, …``."""
        parts = []
        if self.lines and len(self.lines[0].k):
            k = min(self.lines[0].k, key=lambda other_k: abs(other_k - k))  # the curve may end at a smaller k
        for line in self.lines:
            near = int(np.abs(np.asarray(line.k) - k).argmin()) if len(line.k) else -1
            if near >= 0:
                parts.append(f"{line.name} {percent(line.recall[near])}")
        return f"recall at {k}: " + ", ".join(parts) if parts else "no recall yet"

    def _show_values(self, k: int) -> None:
        text = self.recall_text(k)
        self._readout.setText(capitalize(text))

    def _show_at(self, position: Any) -> None:
        if not self.lines or not self.lines[0].k:
            return
        x = float(self._plot.getPlotItem().vb.mapSceneToView(position).x())
        k = min(self.lines[0].k, key=lambda other_k: abs(np.log10(other_k) - x))
        self._cross.setValue(float(np.log10(k)))
        self._cross.setVisible(True)
        self._show_values(k)
