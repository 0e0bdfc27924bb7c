"""Means with their 95 % intervals as bars, one per arm, with dots for single seeds; values in the tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QVBoxLayout, QWidget

from sdgui.widgets.late_parts import MadeLate, is_made
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.plot_axes import PlotAxis, dress, still_plot
from sdgui.widgets.style.theme import SPACE, set_role, theme


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


class ErrorBars(MadeLate):
    """Bars side by side in the order given."""

    late = ("_plot",)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []
        self.title = PlainLabel(self, wordWrap=True)
        set_role(self.title, "small")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE // 2)
        self._column.addWidget(self.title)
        self._column.addStretch(1)
        self.setMinimumHeight(16 * SPACE)
        theme().changed.connect(self._draw)

    @cached_property
    def _plot(self) -> pg.PlotWidget:
        """Made after the widget is on screen: it takes as long as a panel's other parts together."""
        self._left, self._bottom = PlotAxis("left", "value"), pg.AxisItem("bottom")
        plot = still_plot(self, self._left, self._bottom)
        self._column.takeAt(1)
        self._column.addWidget(plot, 1)
        self._draw_bars(plot)
        return plot

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
        if is_made(self, "_plot"):
            self._draw_bars(self._plot)

    def _draw_bars(self, plot: pg.PlotWidget) -> None:
        style = theme()
        plot.setBackground(style.color("surface"))
        dress(self._left, self._bottom)
        self._left.setWidth(6 * SPACE)
        plot.clear()
        self._bottom.setTicks([[(position, bar.name) for position, bar in enumerate(self._bars)]])
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
