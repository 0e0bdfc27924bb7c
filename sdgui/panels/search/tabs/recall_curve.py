"""Recall at k of one or two models, both ways, over a logarithmic k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from sdgui.widgets.formats import percent
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, dress, still_plot
from sdgui.widgets.style.theme import SPACE, theme

_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class RecallLine:
    """One curve. ``dashed`` distinguishes image→text from text→image without colour."""

    name: str
    k: Sequence[int]
    recall: Sequence[float]  # 0 to 1
    color: int  # index into the palette of runs
    dashed: bool = False


class RecallCurve(QWidget):
    """Hovering shows the values; screen readers get them as the widget's description."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[RecallLine] = []
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
        self._lines = list(lines)
        self._draw()

    def lines(self) -> list[RecallLine]:
        return list(self._lines)

    def _draw(self) -> None:
        look = theme()
        self._plot.setBackground(look.color("surface"))
        self._plot.clear()
        dress(self._left_axis, self._bottom_axis)
        self._left_axis.setWidth(6 * SPACE)
        max_k = max((line.k[-1] for line in self._lines if len(line.k)), default=10)
        self._bottom_axis.setTicks([[(float(np.log10(k)), str(k)) for k in _TICKS if k <= max_k]])
        for line in self._lines:
            style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
            pen = pg.mkPen(look.run_color(line.color), width=2, style=style)
            self._plot.plot(np.log10(np.asarray(line.k, float)), np.asarray(line.recall, float), pen=pen)
        self._cross.setPen(pg.mkPen(look.color("muted"), style=Qt.PenStyle.DotLine))
        self._cross.setVisible(False)
        self._plot.addItem(self._cross, ignoreBounds=True)
        self._plot.setXRange(0, float(np.log10(max(2, max_k))), padding=0.02)
        self._show_values(10)
        self.setAccessibleDescription(self.text_at(1) + "; " + self.text_at(10))

    def text_at(self, k: int) -> str:
        """``recall at 10: Student 60.9 %, …``."""
        parts = []
        if self._lines and len(self._lines[0].k):
            k = min(self._lines[0].k, key=lambda other_k: abs(other_k - k))  # the curve may end before
        for line in self._lines:
            near = int(np.abs(np.asarray(line.k) - k).argmin()) if len(line.k) else -1
            if near >= 0:
                parts.append(f"{line.name} {percent(line.recall[near])}")
        return f"recall at {k}: " + ", ".join(parts) if parts else "no recall yet"

    def _show_values(self, k: int) -> None:
        text = self.text_at(k)
        self._readout.setText(text[:1].upper() + text[1:])

    def _show_at(self, position: Any) -> None:
        if not self._lines or not self._lines[0].k:
            return
        x = float(self._plot.getPlotItem().vb.mapSceneToView(position).x())
        k = min(self._lines[0].k, key=lambda other_k: abs(np.log10(other_k) - x))
        self._cross.setValue(float(np.log10(k)))
        self._cross.setVisible(True)
        self._show_values(k)
