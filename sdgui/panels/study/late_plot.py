"""A static plot under a title, created when it is first visible; shared by the plots of a study."""

from __future__ import annotations

from functools import cached_property

import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from sdgui.widgets.late_parts import MadeLate, is_made
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, dress, still_plot
from sdgui.widgets.style.theme import SPACE, theme


class LatePlot(MadeLate):
    """Subclasses draw into the empty plot that ``fill`` is given, when they have something new and in a new theme."""

    late = ("_plot",)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = PlainLabel(self, wordWrap=True, role="small")
        self._column = vbox(self.title, None, into=self, spacing=SPACE // 2)
        self.setMinimumHeight(16 * SPACE)
        theme().changed.connect(self._draw)

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        """Draw the data into ``plot``; ``bottom`` is its axis of names or times."""
        raise NotImplementedError

    def show_plot(self, title: str, description: str) -> None:
        """Redraw under ``title``; ``description``: the accessible description."""
        self.title.setText(title)
        self.setAccessibleName(title)
        self.setAccessibleDescription(description)
        self._draw()

    @cached_property
    def _plot(self) -> pg.PlotWidget:
        """Created after the widget is on screen: it takes as long as a panel's other parts together."""
        self._left, self._bottom = PlotAxis("left", "value"), pg.AxisItem("bottom")
        plot = still_plot(self, self._left, self._bottom)
        self._column.takeAt(1)
        self._column.addWidget(plot, 1)
        self._draw_on(plot)
        return plot

    def _draw(self) -> None:
        if is_made(self, "_plot"):
            self._draw_on(self._plot)

    def _draw_on(self, plot: pg.PlotWidget) -> None:
        plot.setBackground(theme().color("surface"))
        dress(self._left, self._bottom)
        self._left.setWidth(6 * SPACE)
        plot.clear()
        self.fill(plot, self._bottom)
