"""Means with their 95 % intervals as bars, one an arm, dots for single seeds; hover and description tell the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from sdgui.widgets.plot_axes import PlotAxis, dress
from sdgui.widgets.theme import SPACE, set_role, theme


@dataclass(frozen=True)
class Bar:
    """One arm: mean, ends of its interval (None for a single seed), values of the seeds."""

    name: str
    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    text: str  # as the table has it


class ErrorBars(QWidget):
    """Bars side by side in the order given."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []
        self._left, self._bottom = PlotAxis("left", "value"), pg.AxisItem("bottom")
        self._plot = pg.PlotWidget(enableMenu=False, axisItems={"left": self._left, "bottom": self._bottom})
        self._plot.hideButtons()
        self._plot.setMouseEnabled(False, False)
        self._plot.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title = QLabel(self, wordWrap=True)
        set_role(self.title, "small")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE // 2)
        column.addWidget(self.title)
        column.addWidget(self._plot, 1)
        self.setMinimumHeight(16 * SPACE)
        theme().changed.connect(self._draw)
        self._draw()

    def set_bars(self, title: str, bars: Sequence[Bar]) -> None:
        """Show these; ``title`` names the metric."""
        self._bars = list(bars)
        self.title.setText(title)
        self.setAccessibleName(title)
        self.setAccessibleDescription("; ".join(f"{bar.name} {bar.text}" for bar in bars))
        self._draw()

    def bars(self) -> list[Bar]:
        return list(self._bars)

    def _draw(self) -> None:
        look = theme()
        self._plot.setBackground(look.color("surface"))
        dress(self._left, self._bottom)
        self._left.setWidth(6 * SPACE)
        self._plot.clear()
        self._bottom.setTicks([[(place, bar.name) for place, bar in enumerate(self._bars)]])
        line = pg.mkPen(look.color("text"), width=2)
        for place, bar in enumerate(self._bars):
            item = pg.BarGraphItem(
                x=[place], height=[bar.mean], width=0.6, brush=look.run_color(place), pen=pg.mkPen(None)
            )
            item.setToolTip(f"{bar.name}: {bar.text}")
            self._plot.addItem(item)
            if bar.low is not None and bar.high is not None:
                ends = {"top": np.array([bar.high - bar.mean]), "bottom": np.array([bar.mean - bar.low])}
                whisker = pg.ErrorBarItem(x=np.array([place]), y=np.array([bar.mean]), beam=0.2, pen=line, **ends)
                self._plot.addItem(whisker)
            dots = [place + 0.2 + 0.02 * (i % 3 - 1) for i in range(len(bar.values))]
            self._plot.addItem(
                pg.ScatterPlotItem(
                    x=dots, y=list(bar.values), size=6, brush=look.color("surface"), pen=pg.mkPen(look.color("text"))
                )
            )
        reach = [
            end for bar in self._bars for end in (0.0, bar.mean, bar.low, bar.high, *bar.values) if end is not None
        ]
        if reach:
            self._plot.setYRange(min(reach), max(*reach, 1e-9), padding=0.06)
            self._plot.setXRange(-0.6, max(2, len(self._bars)) - 0.4, padding=0)
