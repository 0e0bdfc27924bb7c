"""The tabs Scatter and Parallel: columns of the table over its listed runs, read when a tab is shown.

Flow: ``RunTable.listed`` -> ``invalidate`` -> (when visible) the store's cells -> axes -> scatter or lines.
Brushed runs become a filter of the table, or ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from sdgui.panels.runs.relations.axes import Axis, axis_of
from sdgui.panels.runs.relations.scatter import Scatter
from sdgui.panels.runs.table.reader import cells_of
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.store.run_table.fields import Field, Kind, fact
from sdgui.store.store import Store
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.relations.parallel import MAX_RUNS, ParallelCoordinates
from sdgui.widgets.style.theme import SPACE

MAX_POINTS = 20_000  # runs in the scatter plot
_LEARNING_RATE = "optim.learning_rate"
_MAX_COLORED = 100  # with more runs, only ticked runs have their own colour
MAX_AXES = 10  # of the parallel coordinates
_NO_AXIS = ("name", "note", "failure", "key", "recipe", "state", "progress", "tag")


@dataclass(frozen=True)
class Columns:
    """The loaded data: runs, their names and palette indices, and the columns that can be axes."""

    run_ids: Sequence[int] = ()
    names: Sequence[str] = ()
    colors: Sequence[int] = ()
    axes: Sequence[Axis] = ()


def read_columns(store: Store, run_ids: Sequence[int], fields: Sequence[Field]) -> Columns:
    """Read the columns of runs; called in a thread."""
    cells = cells_of(store, run_ids, fields)
    listed_ids = [run_id for run_id in run_ids if run_id in cells]
    axes = [
        axis_of(field, [cells[run_id].values[index] for run_id in listed_ids]) for index, field in enumerate(fields)
    ]
    return Columns(
        listed_ids,
        [cells[run_id].name for run_id in listed_ids],
        [cells[run_id].color for run_id in listed_ids],
        [axis for axis in axes if axis is not None],
    )


class _Relation(QWidget):
    """A tab that reads the columns when it is visible and something has changed."""

    run_chosen = Signal(int)  # run id

    def __init__(self, store: Store, table: RunTable, max_runs: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._store, self.table, self._max_runs = store, table, max_runs
        self.columns = Columns()
        self._stale = True
        table.listed.connect(lambda _listing: self.invalidate())

    def invalidate(self) -> None:
        """Read the columns again once the tab is visible, because the table lists other runs or columns."""
        self._stale = True
        if self.isVisible():
            self._read()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._read()

    def _read(self) -> None:
        self._stale = False
        rows = self.table.model.rows
        listing = self.table.model.listing
        if listing is None:
            return
        fields = [field for field in self.table.model.fields if field.key not in _NO_AXIS or field.aggregate]
        fields = list(dict.fromkeys([*fields, fact("metric"), fact("duration")]))
        query, store, limit = listing.query, self._store, self._max_runs
        listed_ids = rows.run_ids() if rows.groups is None else None  # a grouped table lists no runs: ask the store

        def read() -> Columns:
            ids = listed_ids if listed_ids is not None else store.run_ids(query)
            return read_columns(store, ids[:limit], fields)

        self.table.reader.run(read, self._receive_columns)

    def _receive_columns(self, columns: Columns) -> None:
        self.columns = columns
        self.show_columns()

    def show_columns(self) -> None:
        """Draw the loaded columns."""

    def choose(self, position: int) -> None:
        """Emit ``run_chosen`` for the run at ``position`` in the loaded columns."""
        if 0 <= position < len(self.columns.run_ids):
            self.run_chosen.emit(self.columns.run_ids[position])


class ScatterTab(_Relation):
    """Two combo boxes for the axes, and the scatter plot."""

    def __init__(self, store: Store, table: RunTable, parent: QWidget) -> None:
        super().__init__(store, table, MAX_POINTS, parent)
        self.x_box, self.y_box = ListOnlyComboBox(self), ListOnlyComboBox(self)
        row = hbox()
        for box, name in ((self.y_box, "Y axis"), (self.x_box, "X axis")):
            box.setAccessibleName(name)
            box.setToolTip(plain_tip(f"{name}: a column of the table. Add columns with the Columns button"))
            box.setMinimumWidth(24 * SPACE)
            row.addWidget(PlainLabel("over" if box is self.x_box else "", self, role="muted"))
            row.addWidget(box)
            box.currentIndexChanged.connect(lambda _index: self._draw())
        row.addStretch(1)
        vbox(row, None, into=self, margins=(0, SPACE, 0, 0))  # the plot replaces the space on first use

    @cached_property
    def scatter(self) -> Scatter:
        """The plot, created on first use, since creating it is slow."""
        plot, layout = Scatter(self), self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(1, plot, 1)
        layout.setStretch(2, 0)
        plot.run_clicked.connect(self.choose)
        return plot

    def show_columns(self) -> None:
        current = self.x_box.currentData() or self._default_x(), self.y_box.currentData() or "metric"
        names = [axis.field.name for axis in self.columns.axes]
        # If the current column is missing, x is the first axis, and y the last.
        for box, name, fallback in ((self.x_box, current[0], 0), (self.y_box, current[1], -1)):
            with QSignalBlocker(box):
                box.clear()
                for axis in self.columns.axes:
                    box.addItem(axis.title, axis.field.name)
                if names:
                    box.setCurrentIndex(names.index(name) if name in names else fallback % len(names))
        self._draw()

    def _default_x(self) -> str:
        """The learning rate, or if all runs have the same, the first column in which they differ."""
        axes = sorted(self.columns.axes, key=lambda axis: axis.field.name != _LEARNING_RATE)
        names = (axis.field.name for axis in axes if axis.varies())
        return next((name for name in names if name != "metric"), _LEARNING_RATE)

    def _draw(self) -> None:
        by_name = {axis.field.name: axis for axis in self.columns.axes}
        x, y = by_name.get(self.x_box.currentData()), by_name.get(self.y_box.currentData())
        if x is not None and y is not None:
            ticks, colors = self.table.model.ticks, zip(self.columns.run_ids, self.columns.colors, strict=True)
            color_all = not ticks and len(self.columns.run_ids) <= _MAX_COLORED
            shown_colors = [color if color_all or run in ticks else None for run, color in colors]
            self.scatter.show_axes(x, y, self.columns.names, shown_colors)

    def show_ticks(self) -> None:
        """Update the colours after a change of ticks."""
        if self.isVisible():
            self._draw()


class ParallelTab(_Relation):
    """Parallel coordinates of the table's columns, with actions on the brushed runs."""

    filter_requested = Signal(str)  # condition
    ticks_requested = Signal(list)  # run ids

    def __init__(self, store: Store, table: RunTable, parent: QWidget) -> None:
        super().__init__(store, table, MAX_RUNS, parent)
        self.lines = ParallelCoordinates(self)
        self.readout = ElidedLabel("", self, role="muted")
        self.filter = IconButton(
            "ph.funnel", "Filter the table to the runs within the ranges", text="Filter table", parent=self
        )
        self.overlay = IconButton(
            "ph.chart-line", "Overlay the curves of the runs within the ranges", text="Overlay", parent=self
        )
        self.clear = IconButton("ph.x", "Clear all ranges", text="Clear", parent=self)
        row = hbox((self.readout, 1), self.filter, self.overlay, self.clear)
        vbox(row, (self.lines, 1), into=self, margins=(0, SPACE, 0, 0))
        self.lines.brushed.connect(lambda _runs: self._on_brushed())
        self.lines.run_clicked.connect(self.choose)
        self.lines.run_pointed.connect(self._show_pointed_run)
        self.filter.clicked.connect(lambda: self.filter_requested.emit(self.lines.condition()))
        self.overlay.clicked.connect(self._overlay)
        self.clear.clicked.connect(self.lines.clear)
        self._on_brushed()

    def show_columns(self) -> None:
        """Draw the loaded columns: settings first, the metric last, since the last axis colours the lines."""
        axes = [axis for axis in self.columns.axes if axis.field.kind is not Kind.TIME and axis.varies()]
        axes.sort(key=lambda axis: (axis.field.kind is not None, axis.field.name == "metric"))  # settings have no kind
        self.lines.show_axes(axes[-MAX_AXES:], self.columns.names)

    def _on_brushed(self) -> None:
        for button in (self.filter, self.overlay, self.clear):
            button.setEnabled(bool(self.lines.brushes))
        self._show_pointed_run()

    def _show_pointed_run(self, index: int = -1) -> None:
        """Show the name of the run under the mouse, otherwise the number of brushed runs."""
        if index >= 0:
            self.readout.setText(self.columns.names[index])
        elif self.lines.brushes:
            self.readout.setText(f"{count(len(self.lines.brushed_runs()))} of {count(len(self.columns.run_ids))} runs")
        else:
            self.readout.setText("Drag along an axis to choose a range")

    def _overlay(self) -> None:
        self.ticks_requested.emit([self.columns.run_ids[index] for index in self.lines.brushed_runs()])
