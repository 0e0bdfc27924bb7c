"""A scatter plot of two columns, one point per run; hovering shows the run, clicking selects it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtWidgets import QWidget

from sdgui.panels.runs.relations.axes import Axis
from sdgui.store.run_table.fields import Kind
from sdgui.widgets.formats import count_with_unit, duration
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.plot_axes import nearest_point, style_axes
from sdgui.widgets.relations.axis import Floats
from sdgui.widgets.style.theme import SPACE, theme

_POINT_SIZE, _TICKED_SIZE = 7, 12  # diameters of points, in px
_MARGIN = 0.08  # share of the range of the values that is added at each end
_DURATIONS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)  # seconds between two ticks
_TICK_PX = 110  # minimum distance between two labelled durations


class _ColumnAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """An axis that labels numbers, categories or powers of ten."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation, maxTickLength=0)
        self.enableAutoSIPrefix(False)
        self.axis: Axis | None = None

    def show_axis(self, axis: Axis) -> None:
        self.axis = axis
        self.setLabel(axis.title)
        ticks = [(float(index), word) for index, word in enumerate(axis.words)]
        self.setTicks([ticks] if ticks else None)

    def tickSpacing(self, low: float, high: float, size: float) -> Any:
        if self.axis is None or self.axis.field.kind is not Kind.DURATION:
            return super().tickSpacing(low, high, size)
        min_step = (high - low) * _TICK_PX / max(size, 1.0)
        return [(next((step for step in _DURATIONS if step >= min_step), _DURATIONS[-1] * ceil(min_step / 86400)), 0)]

    def tickStrings(self, values: Any, scale: float, spacing: float) -> list[str]:
        if self.axis is not None and self.axis.log:
            return [f"{10.0**value:.3g}" for value in values]
        if self.axis is not None and self.axis.field.kind is Kind.DURATION:
            return [duration(value) if value >= 0 else "" for value in values]
        return [f"{value:.6g}" for value in values]


class Scatter(QWidget):
    """The plot. ``run_clicked``: the position of a run in the ``names`` of ``show_axes``."""

    run_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Scatter plot of two columns")
        self._bottom, self._left = _ColumnAxis("bottom"), _ColumnAxis("left")
        self.plot = pg.PlotWidget(self, enableMenu=False, axisItems={"bottom": self._bottom, "left": self._left})
        self.plot.hideButtons()
        self.plot.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        self._points = pg.ScatterPlotItem(pxMode=True, antialias=True, hoverable=False)
        self.plot.addItem(self._points)
        self._points.sigClicked.connect(self._on_clicked)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.note = PlainLabel("", self, role="small")
        self._names: Sequence[str] = ()
        self._colors: Sequence[int | None] = ()  # palette index of each run; None: not ticked
        self._x, self._y = np.empty(0), np.empty(0)
        self._plotted_runs = np.empty(0, np.intp)
        vbox((self.plot, 1), self.note, into=self, spacing=SPACE // 2)
        theme().changed.connect(self._restyle)
        self._restyle()

    def show_axes(self, x: Axis, y: Axis, names: Sequence[str], colors: Sequence[int | None]) -> None:
        """Show a point for each run with both values. ``colors``: palette indices of ticked runs, drawn larger."""
        self._names, self._colors = names, colors
        self._bottom.show_axis(x)
        self._left.show_axis(y)
        self._x, self._y = x.scaled(), y.scaled()
        self._plotted_runs = np.flatnonzero(np.isfinite(self._x) & np.isfinite(self._y))
        self._draw_points()
        if len(self._plotted_runs):
            self.plot.setXRange(*_range(x, self._x[self._plotted_runs]), padding=0)
            self.plot.setYRange(*_range(y, self._y[self._plotted_runs]), padding=0)
        left_out = len(names) - len(self._plotted_runs)
        self._count = count_with_unit(len(self._plotted_runs), "run") + (
            f"; {left_out} {'lacks' if left_out == 1 else 'lack'} one of the two values" if left_out else ""
        )
        self.note.setText(self._count)
        self.setAccessibleDescription(f"{y.title} over {x.title}: {self._count}")

    _count = ""

    def _draw_points(self) -> None:
        style = theme()
        plain = style.color("strong_border")
        brushes = [
            plain if (color := self._colors[run]) is None else style.run_color(color)
            for run in self._plotted_runs.tolist()
        ]
        sizes = [_POINT_SIZE if self._colors[run] is None else _TICKED_SIZE for run in self._plotted_runs.tolist()]
        self._points.setData(
            x=self._x[self._plotted_runs],
            y=self._y[self._plotted_runs],
            brush=brushes,
            size=sizes,
            pen=None,
            data=self._plotted_runs,
        )

    def nearest(self, position: QPointF) -> int | None:
        """The position of the run at a scene position; None if no run is near."""
        runs = self._plotted_runs
        index = nearest_point(self.plot.getViewBox(), position, self._x[runs], self._y[runs])
        return None if index is None else int(runs[index])

    def _on_mouse_moved(self, position: QPointF) -> None:
        run = self.nearest(position)
        self.plot.setCursor(Qt.CursorShape.ArrowCursor if run is None else Qt.CursorShape.PointingHandCursor)
        self.note.setText(self._count if run is None else self.describe_run(run))
        self.plot.setToolTip("" if run is None else plain_tip(self.describe_run(run)))

    def describe_run(self, position: int) -> str:
        """The name of a run and its two values."""
        values = []
        for axis, drawn in ((self._left.axis, self._y), (self._bottom.axis, self._x)):
            if axis is not None:
                low, high = axis.limits()
                position_on_axis = (drawn[position] - low) / (high - low) if high > low else 0.5
                values.append(f"{axis.title}: {axis.text_at(float(position_on_axis))}")
        return " · ".join([self._names[position], *values])

    def _on_clicked(self, _item: Any, points: Any, *_: Any) -> None:
        if len(points):
            self.run_clicked.emit(int(points[0].data()))

    def _restyle(self) -> None:
        self.plot.setBackground(theme().color("surface"))
        style_axes(self._bottom, self._left)
        self._draw_points()


def _range(axis: Axis, values: Floats) -> tuple[float, float]:
    """The range of an axis: the values with a margin, which does not reach below 0 unless a value does."""
    low, high = float(values.min()), float(values.max())
    is_linear = not (axis.words or axis.log)
    margin_of_one_value = abs(low) / 2 if is_linear and low else 0.5
    margin = _MARGIN * (high - low) if low < high else margin_of_one_value
    return max(0.0, low - margin) if is_linear and low > 0 else low - margin, high + margin
