"""One plot of a grid: a title, a button that maximises it, and a canvas that is created when first visible."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame

from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.plots.charts import Chart
from sdgui.panels.runs.plots.series import Series
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

_GUEST_LINES = (Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)


class PlotCard(QFrame):
    """A card with its series; the canvas is created only when the card becomes visible."""

    maximize_requested = Signal(str)  # chart id
    pin_requested = Signal(str)  # chart id
    menu_requested = Signal(str, QPoint)  # chart id, position on the screen

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart
        self.series: dict[str, Series] = {}
        self.host: PlotCard | None = None  # the card that draws this card's series
        self.guests: list[PlotCard] = []  # the cards whose series this card draws
        self._line = Qt.PenStyle.SolidLine  # line style of all series except the teacher's
        self._y_range: tuple[float, float] | None = None
        self._means: list[Series] | None = None  # shown instead of the runs' series while runs are grouped
        self.canvas: PlotCanvas | None = None
        set_role(self, "card")
        self.setMinimumSize(30 * SPACE, 25 * SPACE)
        self.setAccessibleName(f"Plot: {chart.title}")
        self._title = ElidedLabel(chart.title, self, role="title")
        self.teacher_line = PlainLabel("Dashed: teacher", self, role="small")
        self.teacher_line.hide()
        self._button = IconButton("ph.arrows-out-simple", f"Maximise {chart.title}", parent=self)
        self._button.clicked.connect(lambda: self.maximize_requested.emit(chart.id))
        self._pin = IconButton("ph.push-pin", f"Pin {chart.title} to the top", checkable=True, parent=self)
        self._pin.clicked.connect(lambda: self.pin_requested.emit(chart.id))
        top, half = hbox((self._title, 1), self.teacher_line, self._pin, self._button), SPACE // 2
        self._layout = vbox(top, None, into=self, spacing=0, margins=(SPACE + half, half, half, half))

    def set_maximized(self, maximized: bool) -> None:
        """Switch the button between maximise and restore."""
        if maximized:
            self._button.set_icon("ph.arrows-in-simple", "Restore (Esc)")
        else:
            self._button.set_icon("ph.arrows-out-simple", f"Maximise {self.chart.title}")
        if self.canvas is not None:
            self.canvas.wheel_needs_ctrl = not maximized

    def make_canvas(self) -> PlotCanvas:
        """Create the canvas with all series added so far."""
        if self.canvas is None:
            self.canvas = PlotCanvas(self.chart.kind, wheel_needs_ctrl=True)
            self.canvas.menu_requested.connect(lambda point: self.menu_requested.emit(self.chart.id, point))
            self._layout.takeAt(1)
            self._layout.addWidget(self.canvas, 1)
            self.canvas.set_y_range(self._y_range)
            self.canvas.replace(self._curves())
        return self.canvas

    @property
    def title(self) -> str:
        """The titles of all metrics that the card draws."""
        return " + ".join(card.chart.title for card in (self, *self.guests))

    def _curves(self) -> list[Series]:
        """The series of runs or their means, including guests."""
        own = list(self.series.values()) if self._means is None else self._means
        return [*own, *(curve for guest in self.guests for curve in guest._curves())]

    def visible_series(self) -> list[Series]:
        """The visible series that have points."""
        return [curve for curve in self._curves() if curve.visible and len(curve)]

    def put(self, series: Series) -> None:
        self.series[series.key] = series
        self._style_lines([series])
        self._explain_lines()
        canvas = (self.host or self).canvas
        if canvas is not None and self._means is None:
            canvas.put(series)

    def show_means(self, series: list[Series] | None) -> None:
        """Show means of groups instead of the runs' curves; None shows the runs' curves again."""
        self._means = series
        self._show()

    def set_guests(self, guests: list[PlotCard]) -> None:
        """Draw the curves of these cards too, each card with its own line style."""
        if guests == self.guests:
            return
        former, self.guests = [guest for guest in self.guests if guest not in guests], guests
        for card in former:
            card._set_host(None, Qt.PenStyle.SolidLine)
        for number, card in enumerate(guests):
            card._set_host(self, _GUEST_LINES[number % len(_GUEST_LINES)])
        self._title.setText(self.title)
        self._show()

    def _set_host(self, host: PlotCard | None, line: Qt.PenStyle) -> None:
        self.host, self._line = host, line
        self._style_lines([*self.series.values(), *(self._means or ())])
        if host is None:
            self._show()

    def _style_lines(self, curves: Iterable[Series]) -> None:
        for curve in curves:
            if curve.style != Qt.PenStyle.DashLine:
                curve.style = self._line

    def _explain_lines(self) -> None:
        """Name the line style of the teacher, if its curves are drawn."""
        card = self.host or self
        card.teacher_line.setVisible(any(curve.style == Qt.PenStyle.DashLine for curve in card._curves()))

    def _show(self) -> None:
        self._explain_lines()
        card = self.host or self
        if card.canvas is not None:
            card.canvas.replace(card._curves())

    def set_y_range(self, y_range: tuple[float, float] | None) -> None:
        """Set the y range that is used until the user zooms; None follows the data."""
        self._y_range = y_range
        if self.canvas is not None:
            self.canvas.set_y_range(y_range)

    def set_pinned(self, pinned: bool) -> None:
        self._pin.setChecked(pinned)

    def remove_group(self, group: str) -> None:
        """Remove the series of a run."""
        for key in [key for key, series in self.series.items() if series.group == group]:
            del self.series[key]
        self._show()

    def refresh(self) -> None:
        """Redraw soon, if a canvas exists."""
        if (canvas := (self.host or self).canvas) is not None:
            canvas.refresh()
