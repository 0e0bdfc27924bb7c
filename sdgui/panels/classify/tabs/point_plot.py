"""A small plot over a logarithmic x axis: lines with markers, intervals as whiskers, constant values as dashed lines.

Hovering shows the nearest point; screen readers get all points in the plot's description.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QWidget

from sdgui.widgets.formats import tick, value
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, still_plot, style_axes
from sdgui.widgets.style.theme import SPACE, theme

# Lines differ in symbol as well as in colour.
_SYMBOLS = ("o", "s", "t", "d")
_LEGEND_SYMBOLS = ("●", "■", "▼", "◆")


@dataclass(frozen=True)
class PointLine:
    """A line: ``x`` > 0, ``y`` from 0 to 1; ``low``, ``high``: the interval of each point, None if a point has none."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    color: int = 0
    is_constant: bool = False  # drawn as a dashed horizontal line at the first y
    marked: float | None = None  # selected x, drawn as a vertical line


class PointPlot(QWidget):
    """The plot. ``x_text`` formats x values; ``ticks``: labelled x values (default: powers of 10)."""

    def __init__(
        self,
        name: str,
        x_title: str,
        x_text: Callable[[float], str] = value,
        ticks: Sequence[float] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._name, self._x_title, self._x_text, self._ticks = name, x_title, x_text, ticks
        self.lines: list[PointLine] = []
        self._left_axis, self._bottom_axis = PlotAxis("left", "share"), PlotAxis("bottom", "value")
        self._plot = still_plot(self, self._left_axis, self._bottom_axis)
        self.readout = PlainLabel(self, wordWrap=True, role="small")
        title = PlainLabel(name, self, role="title")
        vbox(title, self.readout, (self._plot, 1), into=self, spacing=SPACE // 2).addStretch(0)
        self.setAccessibleName(name)
        self._plot.scene().sigMouseMoved.connect(self._show_nearest)
        theme().changed.connect(self._draw)
        self._draw()

    def set_lines(self, lines: Sequence[PointLine], empty: str = "") -> None:
        """Show ``lines``, or the text ``empty`` if there are none."""
        self.lines = list(lines)
        self.readout.setText(self._legend() if self.lines else empty)
        texts = "; ".join(self.sentence(line) for line in self.lines)
        self.setAccessibleDescription(texts or empty)
        self._plot.setVisible(bool(self.lines))
        self._draw()

    def sentence(self, line: PointLine) -> str:
        """All points of a line as a sentence."""
        if line.is_constant:
            return f"{line.name}: {value(line.y[0], '%')}"
        points = (self._point(line, i) for i in range(len(line.x)))
        return f"{line.name}: " + ", ".join(points)

    def _point(self, line: PointLine, i: int) -> str:
        text = f"{self._x_title} {self._x_text(line.x[i])}: {value(line.y[i], '%')}"
        low, high = (ends[i] if i < len(ends) else None for ends in (line.low, line.high))
        return f"{text} ({100 * low:.1f} to {100 * high:.1f})" if low is not None and high is not None else text

    def _legend(self) -> str:
        return "   ".join(
            f"{'╌' if line.is_constant else _LEGEND_SYMBOLS[i % len(_LEGEND_SYMBOLS)]} {line.name}"
            for i, line in enumerate(self.lines)
        )

    def _draw(self) -> None:
        style = theme()
        self._plot.setBackground(style.color("surface"))
        self._plot.clear()
        style_axes(self._left_axis, self._bottom_axis)
        for axis in (self._left_axis, self._bottom_axis):
            axis.setGrid(40 if style.dark else 60)
        self._left_axis.setWidth(6 * SPACE)
        point_lines = [line for line in self.lines if not line.is_constant and len(line.x)]
        xs = [math.log10(x) for line in point_lines for x in line.x]
        ys = [y for line in self.lines for values in (line.y, line.low, line.high) for y in values if y is not None]
        low, high = (min(xs), max(xs)) if xs else (0.0, 1.0)
        bottom, top = (min(ys), max(ys)) if ys else (0.0, 1.0)
        pad_x, pad_y = 0.04 * (high - low) or 0.3, 0.08 * (top - bottom) or 0.05
        self._plot.setXRange(low - pad_x, high + pad_x, padding=0)
        self._plot.setYRange(max(-0.02, bottom - pad_y), min(1.02, top + pad_y), padding=0)
        tick_values = self._ticks or [10.0**d for d in range(math.ceil(low), math.floor(high) + 1)]
        self._bottom_axis.setTicks([[(math.log10(x), tick(x)) for x in tick_values]])
        self._bottom_axis.setLabel(self._x_title, color=style.colors.muted)
        for number, line in enumerate(self.lines):
            self._draw_line(line, number)

    def _draw_line(self, line: PointLine, number: int) -> None:
        style = theme()
        color = style.run_color(line.color)
        if line.is_constant:
            pen = pg.mkPen(color, width=2, style=Qt.PenStyle.DashLine)
            self._plot.addItem(pg.InfiniteLine(pos=line.y[0], angle=0, pen=pen))
            return
        x, y = np.log10(np.asarray(line.x, dtype=float)), np.asarray(line.y, dtype=float)
        with_interval = [i for i in range(min(len(line.low), len(line.high))) if line.low[i] is not None]
        if with_interval:
            low = np.array([float(line.low[i] or 0) for i in with_interval])
            high = np.array([float(line.high[i] or 0) for i in with_interval])
            whiskers = pg.ErrorBarItem(
                x=x[with_interval],
                y=y[with_interval],
                top=high - y[with_interval],
                bottom=y[with_interval] - low,
                beam=0.012 * (float(np.ptp(x)) or 1),
                pen=pg.mkPen(color, width=1),
            )
            self._plot.addItem(whiskers)
        self._plot.plot(
            x, y, pen=pg.mkPen(color, width=2), symbol=_SYMBOLS[number % len(_SYMBOLS)], symbolSize=8,
            symbolBrush=color, symbolPen=pg.mkPen(style.color("surface"), width=1),
        )  # fmt: skip
        if line.marked is not None:
            pen = pg.mkPen(style.color("strong_border"), style=Qt.PenStyle.DashLine)
            self._plot.addItem(pg.InfiniteLine(pos=math.log10(line.marked), angle=90, pen=pen))

    def _show_nearest(self, position: QPointF) -> None:
        box = self._plot.getViewBox()
        point_lines = [line for line in self.lines if not line.is_constant and len(line.x)]
        if not point_lines:
            return
        if not box.sceneBoundingRect().contains(position):
            self.readout.setText(self._legend())
            return
        x = float(box.mapSceneToView(position).x())
        parts = []
        for line in point_lines:
            nearest = int(np.argmin(np.abs(np.log10(np.asarray(line.x, dtype=float)) - x)))
            parts.append(f"{line.name}, {self._point(line, nearest)}")
        self.readout.setText("   ".join(parts))
