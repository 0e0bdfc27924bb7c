"""Means with their 95 % intervals as bars, one per arm, with dots for single seeds; values in the tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from sdgui.panels.study.late_plot import LatePlot
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme


@dataclass(frozen=True)
class Bar:
    """One arm: mean, ends of its interval (None for a single seed), values of the seeds."""

    name: str
    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    text: str  # as the table has it
    color: int = 0  # palette index


class ErrorBars(LatePlot):
    """Bars side by side in the order given."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []

    def set_bars(self, title: str, bars: Sequence[Bar]) -> None:
        """Show these; ``title`` names the metric."""
        self._bars = list(bars)
        self.show_plot(title, "; ".join(f"{bar.name} {bar.text}" for bar in bars))

    def bars(self) -> list[Bar]:
        return list(self._bars)

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        style = theme()
        bottom.setTicks([[(position, bar.name) for position, bar in enumerate(self._bars)]])
        line = pg.mkPen(style.color("text"), width=2)
        for position, bar in enumerate(self._bars):
            item = pg.BarGraphItem(
                x=[position], height=[bar.mean], width=0.6, brush=style.run_color(bar.color), pen=pg.mkPen(None)
            )
            item.setToolTip(plain_tip(f"{bar.name}: {bar.text}"))
            plot.addItem(item)
            if bar.low is not None and bar.high is not None:
                ends = {"top": np.array([bar.high - bar.mean]), "bottom": np.array([bar.mean - bar.low])}
                whisker = pg.ErrorBarItem(x=np.array([position]), y=np.array([bar.mean]), beam=0.2, pen=line, **ends)
                plot.addItem(whisker)
            dots = [position + 0.2 + 0.02 * (i % 3 - 1) for i in range(len(bar.values))]
            plot.addItem(
                pg.ScatterPlotItem(
                    x=dots, y=list(bar.values), size=6, brush=style.color("surface"), pen=pg.mkPen(style.color("text"))
                )
            )
        reach = [
            end for bar in self._bars for end in (0.0, bar.mean, bar.low, bar.high, *bar.values) if end is not None
        ]
        if reach:
            plot.setYRange(min(reach), max(*reach, 1e-9), padding=0.06)
            plot.setXRange(-0.6, max(2, len(self._bars)) - 0.4, padding=0)
