"""One plot of a grid: a title, a button that maximises it, and a canvas that is made when it is first seen."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.groups import Chart
from sdgui.panels.runs.plots.series import Series
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import SPACE, set_role


class PlotCard(QFrame):
    """Holds its series itself, so that an unseen card costs no canvas."""

    maximize_asked = Signal(str)  # chart id
    pin_asked = Signal(str)
    menu_asked = Signal(str, QPoint)

    def __init__(self, chart: Chart, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chart = chart
        self.series: dict[str, Series] = {}
        self._means: list[Series] | None = None  # shown instead, while runs are grouped
        self.canvas: PlotCanvas | None = None
        set_role(self, "card")
        self.setMinimumSize(30 * SPACE, 25 * SPACE)
        self.setAccessibleName(f"Plot: {chart.title}")
        title = ElidedLabel(chart.title, self, role="title")
        self._button = IconButton("ph.arrows-out-simple", f"Maximise {chart.title}", parent=self)
        self._button.clicked.connect(lambda: self.maximize_asked.emit(chart.id))
        self._pin = IconButton("ph.push-pin", f"Pin {chart.title} to the top", checkable=True, parent=self)
        self._pin.clicked.connect(lambda: self.pin_asked.emit(chart.id))
        top = QHBoxLayout()
        top.addWidget(title, 1)
        top.addWidget(self._pin)
        top.addWidget(self._button)
        self._layout = vbox(
            top, None, into=self, spacing=0, margins=(SPACE + SPACE // 2, SPACE // 2, SPACE // 2, SPACE // 2)
        )

    def set_maximized(self, maximized: bool) -> None:
        """Switch the button between maximise and restore."""
        if maximized:
            self._button.set_icon("ph.arrows-in-simple", "Restore (Esc)")
        else:
            self._button.set_icon("ph.arrows-out-simple", f"Maximise {self.chart.title}")
        if self.canvas is not None:
            self.canvas.set_wheel_needs_ctrl(not maximized)

    def make_canvas(self) -> PlotCanvas:
        """The canvas, with what was put so far."""
        if self.canvas is None:
            self.canvas = PlotCanvas(self.chart.kind, wheel_needs_ctrl=True)
            self.canvas.menu_asked.connect(lambda point: self.menu_asked.emit(self.chart.id, point))
            self._layout.takeAt(1)
            self._layout.addWidget(self.canvas, 1)
            self.canvas.replace(self.series.values() if self._means is None else self._means)
        return self.canvas

    def drawn(self) -> list[Series]:
        """The visible series that have points: of runs, or their means."""
        series = self.series.values() if self._means is None else self._means
        return [curve for curve in series if curve.visible and len(curve)]

    def put(self, series: Series) -> None:
        """Add a series."""
        self.series[series.key] = series
        if self.canvas is not None and self._means is None:
            self.canvas.put(series)

    def show_means(self, series: list[Series] | None) -> None:
        """Show means of groups in place of the runs' curves; None shows these again."""
        self._means = series
        if self.canvas is not None:
            self.canvas.replace(self.series.values() if series is None else series)

    def set_pinned(self, pinned: bool) -> None:
        self._pin.setChecked(pinned)

    def remove_group(self, group: str) -> None:
        """Take a run's series away."""
        for key in [key for key, series in self.series.items() if series.group == group]:
            del self.series[key]
            if self.canvas is not None:
                self.canvas.remove(key)

    def refresh(self) -> None:
        """Redraw soon, if there is anything to redraw."""
        if self.canvas is not None:
            self.canvas.refresh()
