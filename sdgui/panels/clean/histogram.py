"""A histogram of match scores from 0 to 1, with a threshold line to drag and a box to type the threshold.

Flow: a panel calls ``set_bins``; ``threshold_moved`` emits thousandths while the line is dragged.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QLabel, QWidget

from sdgui.panels.clean.model import BINS
from sdgui.widgets.formats import count
from sdgui.widgets.input_boxes import NoWheelDoubleSpinBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import PlotAxis, still_plot, style_axes
from sdgui.widgets.style.theme import SPACE, hide_spin_buttons, set_role, theme

BARS = 50  # each bar sums several bins


class ScoreHistogram(QWidget):
    """Bars of all pairs, and in another colour, bars of the shuffled pairs if the data marks them."""

    threshold_moved = Signal(int)  # thousandths

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bins: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)  # number of pairs per thousandth
        self._shuffled: NDArray[np.int64] | None = None
        self._line = pg.InfiniteLine(pos=0.0, angle=90, movable=True, bounds=(0.0, 1.0))
        self._line.sigPositionChanged.connect(self._on_dragged)
        self.box = NoWheelDoubleSpinBox(self, minimum=0.0, maximum=1.0, decimals=3, singleStep=0.01)
        self.box.setFixedWidth(12 * SPACE)
        hide_spin_buttons(self.box)
        self.box.setAccessibleName("Match score threshold")
        self.box.setToolTip("Pairs with a lower match score are below the threshold; drag the line or type a value")
        self.box.valueChanged.connect(self._on_typed)
        self.legend = QLabel(self)
        set_role(self.legend, "small")
        foot = hbox((self.legend, 1), PlainLabel("&Threshold", self, role="muted", buddy=self.box), self.box)
        self._left, self._bottom = PlotAxis("left", "value"), PlotAxis("bottom", "value")
        self._plot = still_plot(self, self._left, self._bottom)
        self._plot.setXRange(0, 1, padding=0.01)
        vbox((self._plot, 1), foot, into=self, spacing=SPACE // 2)
        self.setMinimumHeight(18 * SPACE)
        self.setAccessibleName("Histogram of match scores")
        theme().changed.connect(self._draw)
        self._draw()

    def set_bins(self, bins: NDArray[np.int64], shuffled: NDArray[np.int64] | None) -> None:
        """Show the number of pairs per thousandth of match score, and of the shuffled pairs if known."""
        self._bins, self._shuffled = bins, shuffled
        self._draw()

    def set_threshold(self, threshold: int) -> None:
        """Set the threshold in thousandths without emitting a signal."""
        with QSignalBlocker(self.box):
            self.box.setValue(threshold / BINS)
        self._line.setValue(threshold / BINS)  # only moves the line; the threshold is the box's value
        self._describe()

    def threshold(self) -> int:
        """The threshold in thousandths."""
        return round(self.box.value() * BINS)

    def _on_dragged(self) -> None:
        threshold = round(float(self._line.value()) * BINS)
        if threshold != self.threshold():
            self.set_threshold(threshold)
            self.threshold_moved.emit(threshold)

    def _on_typed(self, value: float) -> None:
        self.set_threshold(round(value * BINS))
        self.threshold_moved.emit(self.threshold())

    def _draw(self) -> None:
        self._draw_bars()
        current_theme = theme()
        accent, warning = current_theme.colors.accent, current_theme.colors.warning
        text = f'<span style="color:{accent}">■</span> pairs'
        if self._shuffled is not None:
            text += f' <span style="color:{warning}">■</span> marked as shuffled in the data'
        self.legend.setText(text)
        self._describe()

    def _draw_bars(self) -> None:
        current_theme, plot = theme(), self._plot
        plot.setBackground(current_theme.color("surface"))
        style_axes(self._left, self._bottom)
        self._left.setWidth(6 * SPACE)
        plot.clear()
        bars = self._bins.reshape(BARS, -1).sum(axis=1)
        shuffled_bars = None if self._shuffled is None else self._shuffled.reshape(BARS, -1).sum(axis=1)
        x = (np.arange(BARS) + 0.5) / BARS
        for heights, color in ((bars, "accent"), (shuffled_bars, "warning")):
            if heights is not None:
                brush, pen = current_theme.color(color), pg.mkPen(current_theme.color("surface"))
                plot.addItem(pg.BarGraphItem(x=x, height=heights, width=1 / BARS, brush=brush, pen=pen))
        plot.setYRange(0, max(1, int(bars.max())), padding=0.05)
        self._line.setPen(pg.mkPen(current_theme.color("error"), width=2))
        self._line.setHoverPen(pg.mkPen(current_theme.color("text"), width=3))
        plot.addItem(self._line)

    def _describe(self) -> None:
        below, total = int(self._bins[: self.threshold()].sum()), int(self._bins.sum())
        self.setAccessibleDescription(f"{count(below)} of {count(total)} pairs are below {self.threshold() / BINS:.3f}")
