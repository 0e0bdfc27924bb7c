"""The plane of gain and retention: a line of dots per run, its path of interpolated weights, and the share to retain.

Flow: ``show_traces`` -> plot; hovering a dot shows its run, step or alpha, and values; dragging zooms, a double click
shows everything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from sdgui.panels.runs.retention.points import PlanePoint
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.plot_axes import PlotAxis, ZoomBox, nearest_point, plain_plot, style_axes
from sdgui.widgets.relations.axis import Floats
from sdgui.widgets.style.theme import SPACE, theme

_HINT = "Small dots: validations. Thick line: path of interpolated weights. Point at a dot to see its values."
_ZOOM_HINT = "Drag to zoom in."
_RESET_HINT = "Double-click to show everything."
# Diameters in px: of a validation, of a point of the path, and of the ring around the chosen point.
_SMALL, _LARGE, _RING = 6, 9, 15
_MARGIN = 0.08  # share of the range of the values that is added at each end
_LABEL_DISTANCE = 0.05  # smallest distance of two labels, as a share of the plot's sides


@dataclass(frozen=True)
class Trace:
    """A run in the plane. ``chosen_index``: of the path's chosen point; ``color``: palette index."""

    name: str
    color: int
    validations: Sequence[PlanePoint]
    path: Sequence[PlanePoint] = ()
    chosen_index: int = -1


class RetentionPlot(QWidget):
    """The plot; values are shown in per cent."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Gained against retained")
        self._bottom, self._left = PlotAxis("bottom"), PlotAxis("left")
        self._bottom.setLabel("Retained (% of the initial model)")
        self._left.setLabel("Gained (mean recall, %)")
        self._box = ZoomBox()
        self.plot = plain_plot(self, self._left, self._bottom, self._box)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._is_zoomed = False  # if so, new points do not move the view
        self._box.moved.connect(lambda _x, _y: self._set_zoomed(True))
        self._box.reset_requested.connect(lambda: self._set_zoomed(False))
        self.note = PlainLabel(self._hint(), self, role="small")
        self._traces: Sequence[Trace] = ()
        self._keep = 1.0
        self._points: list[tuple[Trace, PlanePoint]] = []  # in the order of _x and _y
        self._x, self._y = np.empty(0), np.empty(0)
        vbox((self.plot, 1), self.note, into=self, spacing=SPACE // 2)
        theme().changed.connect(self._draw)

    def show_traces(self, traces: Sequence[Trace], keep: float) -> None:
        """Draw the runs, and a line at the share ``keep`` to retain."""
        if [trace.name for trace in traces] != [trace.name for trace in self._traces]:
            self._is_zoomed = False
        self._traces, self._keep = traces, keep
        self._points = [(trace, point) for trace in traces for point in (*trace.validations, *trace.path)]
        self._x, self._y = _positions([point for _, point in self._points])
        newest = [f"{trace.name}, {trace.validations[-1].text}" for trace in traces if trace.validations]
        self.setAccessibleDescription("; ".join([count_with_unit(len(traces), "run"), *newest]))
        self._draw()

    def _set_zoomed(self, is_zoomed: bool) -> None:
        self._is_zoomed = is_zoomed
        self.note.setText(self._hint())
        QTimer.singleShot(0, self, self._draw)  # replaces items, which is unsafe while a mouse event is delivered

    def _draw(self) -> None:
        style, plot = theme(), self.plot
        plot.setBackground(style.color("surface"))
        style_axes(self._left, self._bottom)
        for axis in (self._left, self._bottom):
            axis.label.setDefaultTextColor(style.color("muted"))
        plot.clear()
        finite = np.isfinite(self._x) & np.isfinite(self._y)
        if not self._is_zoomed:
            plot.setXRange(*_range([*self._x[finite], 100.0, 100 * self._keep]), padding=0)
            plot.setYRange(*_range(list(self._y[finite]) or [0.0]), padding=0)
        x_range, y_range = self._box.viewRange()
        plot.addItem(self._keep_line(style.color("muted"), sum(x_range) / 2))
        self._show_legend()
        for trace in self._traces:
            self._draw_trace(trace)
        if self._traces:
            self._label_path(self._traces[0], x_range[1] - x_range[0], y_range[1] - y_range[0])

    def _keep_line(self, color: QColor, middle: float) -> pg.InfiniteLine:
        """The line, with its label on the side of the ``middle``, where there is room."""
        anchor = (-0.05, 0.5) if 100 * self._keep < middle else (1.05, 0.5)
        options = {"position": 0.04, "color": color, "anchors": [anchor, anchor]}
        pen = pg.mkPen(color, width=1, style=Qt.PenStyle.DashLine)
        return pg.InfiniteLine(
            100 * self._keep, angle=90, pen=pen, label=f"keep {100 * self._keep:g} %", labelOpts=options
        )

    def _show_legend(self) -> None:
        """Name the runs, unless there is only one."""
        legend = self.plot.plotItem.legend or self.plot.addLegend(offset=(SPACE, SPACE))
        legend.clear()
        legend.setLabelTextColor(theme().color("text"))
        legend.setVisible(len(self._traces) > 1)

    def _draw_trace(self, trace: Trace) -> None:
        style = theme()
        color, surface = style.run_color(trace.color), style.color("surface")
        pale = QColor(color)
        pale.setAlphaF(0.45)
        line = pg.PlotDataItem(
            *_positions(trace.validations), pen=pg.mkPen(color, width=1), symbol="o", symbolSize=_SMALL,
            symbolBrush=color, symbolPen=None, name=trace.name,
        )  # fmt: skip
        path = pg.PlotDataItem(
            *_positions(trace.path), pen=pg.mkPen(pale, width=4), symbol="o", symbolSize=_LARGE, symbolBrush=color,
            symbolPen=pg.mkPen(surface, width=1),
        )  # fmt: skip
        self.plot.addItem(path)
        self.plot.addItem(line)
        if 0 <= trace.chosen_index < len(trace.path):
            ring = pg.ScatterPlotItem(size=_RING, brush=None, pen=pg.mkPen(style.color("text"), width=2))
            ring.setData(*_positions([trace.path[trace.chosen_index]]))
            self.plot.addItem(ring)

    def _label_path(self, trace: Trace, width: float, height: float) -> None:
        """Label the points of a path with their alpha; of points that are close together, only the first one."""
        labelled: list[tuple[float, float]] = []
        first = [trace.chosen_index] if trace.chosen_index >= 0 else []
        for index in (*first, 0, len(trace.path) - 1, *range(len(trace.path))):
            if not 0 <= index < len(trace.path):
                continue
            point = trace.path[index]
            x, y = 100 * point.retained, 100 * point.gained
            if any(np.hypot((x - a) / width, (y - b) / height) < _LABEL_DISTANCE for a, b in labelled):
                continue
            labelled.append((x, y))
            label = pg.TextItem(point.title.removeprefix("alpha "), color=theme().color("text"), anchor=(-0.3, 0.9))
            label.setFont(theme().font("small"))
            label.setPos(x, y)
            self.plot.addItem(label)

    def text_at(self, position: QPointF) -> str:
        """The text of the point at a scene position; "" if no point is near."""
        index = nearest_point(self.plot.getViewBox(), position, self._x, self._y)
        if index is None:
            return ""
        trace, point = self._points[index]
        return f"{trace.name}, {point.text}"

    def _hint(self) -> str:
        return f"{_HINT} {_RESET_HINT if self._is_zoomed else _ZOOM_HINT}"

    def _on_mouse_moved(self, position: QPointF) -> None:
        text = self.text_at(position)
        self.note.setText(text or self._hint())
        self.plot.setToolTip(plain_tip(text))


def _positions(points: Sequence[PlanePoint]) -> tuple[Floats, Floats]:
    values = np.array([(100 * point.retained, 100 * point.gained) for point in points], dtype=np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis: the values with a margin, at least 2 wide."""
    low, high = min(values), max(values)
    margin = max(_MARGIN * (high - low), 1.0)
    return low - margin, high + margin
