"""The drawing area of a plot: curves of ``Series``, following the data until the user zooms, with a hover readout.

Flow: ``PlotGrid`` owns toolbar and legend and adds series to the canvas. ``refresh`` may be called for every new point:
redraws are limited to 20 per second, and deferred while the canvas is not visible.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QResizeEvent, QShowEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from sdgui.panels.runs.plots.curves import PlotCurves
from sdgui.panels.runs.plots.readout import Reading, Readout
from sdgui.panels.runs.plots.series import Series, XMode
from sdgui.widgets import formats
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.plot_axes import AxisKind, PlotAxis, ZoomBox, plain_plot, style_axes
from sdgui.widgets.style.theme import SPACE, theme

REDRAW_MS, _MOVE_MS = 50, 8  # delay before redrawing new points, and before redrawing a moved view


class PlotCanvas(QWidget):
    """Draws series. Mouse: wheel zooms x, drag zooms into a rectangle, middle drag pans."""

    view_changed = Signal(float, float)  # the user zoomed or panned to this x range
    hovered = Signal(object)  # x as a float; None when the mouse leaves
    zoomed = Signal(bool)  # whether the user zoomed; False: the view follows the data
    reset_requested = Signal()
    menu_requested = Signal(QPoint)  # position on the screen
    redrawn = Signal()

    def __init__(self, kind: AxisKind = "value", wheel_needs_ctrl: bool = False) -> None:
        super().__init__()
        self._kind: AxisKind = kind
        self.wheel_needs_ctrl = wheel_needs_ctrl  # if so, the wheel alone scrolls the page
        self._shared_x_range: tuple[float, float] | None = None  # x range of the linked plots' data
        self._y_range: tuple[float, float] | None = None  # y range set by the user, in the metric's unit
        self._auto_x = self._auto_y = True  # whether x and y follow the data
        self._is_redraw_deferred = False  # whether a redraw was deferred, because the canvas was not visible
        self._build()
        self._timer = QTimer(self, singleShot=True, interval=REDRAW_MS)
        self._timer.timeout.connect(self._redraw_if_seen)
        self._connect()
        self._restyle()

    def _build(self) -> None:
        self._box = ZoomBox()
        self._bottom, self._left = PlotAxis("bottom", "step"), PlotAxis("left", self._kind)
        self._view = plain_plot(self, self._left, self._bottom, self._box)
        self._view.getPlotItem().layout.setContentsMargins(SPACE // 2, SPACE // 2, SPACE, SPACE // 2)
        self._curves = PlotCurves(self._box)
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._cross.setVisible(False)
        self._box.addItem(self._cross, ignoreBounds=True)
        vbox(self._view, into=self)
        self._empty = PlainLabel("No points yet", self, role="muted", wordWrap=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._note = PlainLabel(self, role="small")
        for label in (self._empty, self._note):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._readout = Readout(self)

    def _connect(self) -> None:
        self._box.moved.connect(self._on_user_moved)
        self._box.reset_requested.connect(self.reset_requested)
        self._box.menu_requested.connect(lambda point: self.menu_requested.emit(QPointF(point).toPoint()))
        self._box.sigResized.connect(self.refresh)
        self._view.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._view.viewport().installEventFilter(self)
        theme().changed.connect(self._restyle)

    # --- display

    def put(self, series: Series) -> None:
        """Show a series, replacing a series with the same key. Call ``refresh`` after its points change."""
        self._curves.put(series)
        self.refresh()

    def replace(self, series: Iterable[Series]) -> None:
        """Show exactly these series."""
        self._curves.series = {curve.key: curve for curve in series}
        self.refresh()

    def series(self) -> list[Series]:
        """The series of the plot in the order of adding."""
        return list(self._curves.series.values())

    def set_log(self, log: bool) -> None:
        """Set a logarithmic y axis; values <= 0 leave a gap, and a note shows their number."""
        self._curves.log = log
        self._left.setLogMode(y=log)
        self._auto_y = True
        self.refresh()

    def set_y_range(self, y_range: tuple[float, float] | None) -> None:
        """Set the y range (in the metric's unit) for a view that follows the data; None: the range of the data."""
        if y_range != self._y_range:
            self._y_range, self._auto_y = y_range, True
            self.refresh()

    def set_smooth(self, smooth: bool) -> None:
        """Draw the smoothed curves on top of faint raw curves."""
        self._curves.smooth = smooth
        self.refresh()

    def set_x_mode(self, mode: XMode) -> None:
        """Set the x axis to steps or to seconds since the start of each run; the view follows the data again."""
        self._curves.x_mode = mode
        self._bottom.set_kind("time" if mode == "time" else "step")
        self.follow()

    def highlight(self, group: str) -> None:
        """Draw a group in front and fade the others; "" restores all."""
        if group != self._curves.highlighted:
            self._curves.highlighted = group
            self.refresh()

    def set_shared_x_range(self, extent: tuple[float, float] | None) -> None:
        """Set the x range of a view that follows the data, for linked plots; None: the range of the plot's data."""
        if extent != self._shared_x_range:
            self._shared_x_range = extent
            self.refresh()

    def readings(self, x: float) -> list[Reading]:
        """The nearest point of every visible curve that reaches ``x``, largest value first."""
        (low, high), _ = self.view_range()
        return self._curves.readings(x, 0.02 * (high - low))

    # --- Visible part

    def follow(self) -> None:
        """Show everything again and follow new points."""
        self._auto_x = self._auto_y = True
        self.zoomed.emit(False)
        self.refresh()

    def show_x(self, low: float, high: float) -> None:
        """Show an x range without emitting ``view_changed``, because a linked plot has moved."""
        self._auto_x = False
        self._box.setXRange(low, high, padding=0)
        self.zoomed.emit(True)
        self.refresh()

    def show_cross(self, x: float | None) -> None:
        """Show a vertical line at ``x``, because the mouse is over a linked plot; None hides the line."""
        self._cross.setVisible(x is not None)
        if x is not None:
            self._cross.setPos(x)

    def view_range(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The x and y range; on a logarithmic axis, y is log10."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        return (x0, x1), (y0, y1)

    # --- export

    def area(self) -> QRectF:
        """The area that ``draw_onto`` draws, in screen pixels, including the axes."""
        self.redraw()
        self.grab()  # painting measures the ticks and lays out the axes
        self.redraw()
        return QRectF(self._view.viewport().rect())

    def draw_onto(self, painter: QPainter, target: QRectF) -> None:
        """Draw the plot as paths into ``target``."""
        scene, crossed = self._view.scene(), self._cross.isVisible()
        items = [item for item in scene.items() if hasattr(item, "setExportMode")]
        self._cross.setVisible(False)
        for item in items:
            item.setExportMode(True, {})
        try:
            scene.render(painter, target, QRectF(self._view.viewport().rect()))
        finally:
            self._cross.setVisible(crossed)
            for item in items:
                item.setExportMode(False)

    def note(self) -> str:
        """A note on values that the plot cannot show; "" if it shows all."""
        return self._note.text()

    # --- drawing

    def refresh(self) -> None:
        """Redraw soon."""
        if not self._timer.isActive():
            self._timer.start(REDRAW_MS)

    def wake(self) -> None:
        """Redraw if a redraw was deferred while the canvas was not visible."""
        if self._is_redraw_deferred:
            self.refresh()

    def redraw(self) -> None:
        """Redraw now."""
        self._timer.stop()
        self._is_redraw_deferred = False
        if self._auto_x:
            low, high = self._shared_x_range or self._curves.x_range() or (0.0, 1.0)
            pad = 0.02 * (high - low) or 0.5
            self._box.setXRange(low - pad, high + pad, padding=0)
        (low, high), _ = self.view_range()
        ratio = self.devicePixelRatioF()
        columns = max(16, int(self._box.width() * ratio))
        bounds = self._curves.measure(low, high, columns)
        if self._auto_y:
            self._fit_y(*(bounds or (0.0, 1.0)))
        y_range = self.view_range()[1]
        self._curves.paint(y_range, int(self._box.height() * ratio), ratio)
        self._curves.draw_dots(low, high, y_range[1])
        self._describe()
        self.redrawn.emit()

    def _fit_y(self, low: float, high: float) -> None:
        if self._y_range is not None and (self._y_range[0] > 0 or not self._curves.log):
            bounds = np.log10(self._y_range) if self._curves.log else self._y_range
            self._box.setYRange(*map(float, bounds), padding=0)
            return
        pad = 0.06 * (high - low) or (0.5 if self._curves.log else 0.05 * abs(high) or 0.5)
        self._box.setYRange(low - pad, high + pad, padding=0)

    def _describe(self) -> None:
        visible_series = self._curves.visible_series()
        self._empty.setVisible(not visible_series)
        hidden = self._curves.count_not_positive() if self._curves.log else 0
        self._note.setText(f"{formats.count(hidden)} values ≤ 0 are not shown on a log scale" if hidden else "")
        self._note.setVisible(bool(hidden))
        self._note.adjustSize()
        latest = "; ".join(
            f"{series.name}: {formats.value(float(series.values[-1]))}" for series in visible_series[:10]
        )
        self.setAccessibleDescription(
            f"{len(visible_series)} curves. Latest values: {latest}" if visible_series else self._empty.text()
        )

    def _redraw_if_seen(self) -> None:
        # Use the viewport: the visible region of a widget excludes its opaque children.
        if self._view.viewport().visibleRegion().isEmpty():
            self._is_redraw_deferred = True
        else:
            self.redraw()

    def _restyle(self) -> None:
        style = theme()
        self._view.setBackground(style.color("surface"))
        style_axes(self._bottom, self._left)
        for axis in (self._bottom, self._left):
            axis.setStyle(tickTextOffset=SPACE // 2)
            axis.setGrid(40 if style.dark else 60)
            axis.setZValue(-10)  # the grid lines are below the curves
        self._cross.setPen(pg.mkPen(style.color("strong_border"), style=Qt.PenStyle.DashLine))
        self._readout.restyle()
        self.refresh()

    # --- user input

    def _on_user_moved(self, x: bool, y: bool) -> None:
        self._auto_x = self._auto_x and not x
        self._auto_y = self._auto_y and not y
        if x:
            self.view_changed.emit(*self.view_range()[0])
        self.zoomed.emit(True)
        self._timer.start(_MOVE_MS)  # sooner than for new points, so that moving feels smooth

    def _on_mouse_moved(self, position: QPointF) -> None:
        if not self._box.sceneBoundingRect().contains(position) or not self._curves.visible_series():
            self._hide_reading()
            return
        x = float(self._box.mapSceneToView(position).x())
        readings = self.readings(x)
        if readings:  # the line snaps to the nearest point
            x = min((reading.x for reading in readings), key=lambda step: abs(step - x))
        self.show_cross(x)
        self._readout.show_readings(self._curves.x_mode, x, readings, self._kind, position.toPoint())
        self.hovered.emit(x)

    def _hide_reading(self) -> None:
        if self._cross.isVisible():
            self.show_cross(None)
            self._readout.hide()
            self.hovered.emit(None)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the wheel scroll the page unless Ctrl is pressed, and detect the mouse leaving."""
        if event.type() == QEvent.Type.Leave:
            self._hide_reading()
        ctrl = Qt.KeyboardModifier.ControlModifier
        if isinstance(event, QWheelEvent) and self.wheel_needs_ctrl and not event.modifiers() & ctrl:
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._empty.setGeometry(self.rect().adjusted(SPACE * 3, SPACE, -SPACE, -SPACE * 2))
        self._note.move(SPACE * 8, SPACE)
