"""A plot of the arms' means with 95 % intervals and pale dots for single seeds; values as tooltips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from sdgui.panels.study.plot import StudyPlot
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme


@dataclass(frozen=True)
class Bar:
    """An arm: mean, ends of its interval (None for a single seed), and value per seed."""

    name: str
    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    text: str  # formatted as in the table
    color: int = 0  # palette index


class ErrorBars(StudyPlot):
    """The plot: points with error bars, in the given order."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bars: list[Bar] = []

    def set_bars(self, title: str, bars: Sequence[Bar]) -> None:
        """Show the bars. ``title``: the metric."""
        self.bars = list(bars)
        self.show_plot(title, "; ".join(f"{bar.name} {bar.text}" for bar in bars))

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        style = theme()
        bottom.setTicks([[(position, bar.name) for position, bar in enumerate(self.bars)]])
        for position, bar in enumerate(self.bars):
            color = style.run_color(bar.color)
            if bar.low is not None and bar.high is not None:
                ends = {"top": np.array([bar.high - bar.mean]), "bottom": np.array([bar.mean - bar.low])}
                x, y = np.array([position]), np.array([bar.mean])
                plot.addItem(pg.ErrorBarItem(x=x, y=y, beam=0.1, pen=pg.mkPen(color, width=2), **ends))
            # to the right of the mean, in three columns, so that close values do not hide each other
            seed_x = [position + 0.16 + 0.02 * (i % 3 - 1) for i in range(len(bar.values))]
            outline = pg.mkPen(color)
            plot.addItem(
                pg.ScatterPlotItem(x=seed_x, y=list(bar.values), size=6, brush=style.color("surface"), pen=outline)
            )
            point = pg.ScatterPlotItem(x=[position], y=[bar.mean], size=12, brush=color, pen=pg.mkPen(None))
            point.setToolTip(plain_tip(f"{bar.name}: {bar.text}"))
            plot.addItem(point)
        shown = [y for bar in self.bars for y in (bar.mean, bar.low, bar.high, *bar.values) if y is not None]
        if shown:
            margin = 0.0 if max(shown) > min(shown) else max(0.1 * abs(shown[0]), 1e-9)
            plot.setYRange(min(shown) - margin, max(shown) + margin, padding=0.06)
            plot.setXRange(-0.6, max(2, len(self.bars)) - 0.4, padding=0)
