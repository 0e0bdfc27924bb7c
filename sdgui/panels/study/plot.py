"""The base class of a study's plots: a static plot below a title."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, still_plot, style_axes
from sdgui.widgets.style.theme import SPACE, theme


class StudyPlot(QWidget):
    """A plot. Subclasses implement ``fill``, which draws into an empty plot after new data or a new theme."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = PlainLabel(self, wordWrap=True, role="small")
        self._left, self._bottom = PlotAxis("left", "value"), pg.AxisItem("bottom")
        self._plot = still_plot(self, self._left, self._bottom)
        self._column = vbox(self.title, (self._plot, 1), into=self, spacing=SPACE // 2)
        self.setMinimumHeight(16 * SPACE)
        theme().changed.connect(self._draw)

    def fill(self, plot: pg.PlotWidget, bottom: pg.AxisItem) -> None:
        """Draw the data into ``plot``. ``bottom``: its x axis."""
        raise NotImplementedError

    def show_plot(self, title: str, description: str) -> None:
        """Redraw with a new title. ``description``: text for screen readers."""
        self.title.setText(title)
        self.setAccessibleName(title)
        self.setAccessibleDescription(description)
        self._draw()

    def _draw(self) -> None:
        self._plot.setBackground(theme().color("surface"))
        style_axes(self._left, self._bottom)
        self._left.setWidth(6 * SPACE)
        self._plot.clear()
        self.fill(self._plot, self._bottom)
