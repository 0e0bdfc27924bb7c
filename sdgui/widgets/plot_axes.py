"""pyqtgraph's axes and view box, adapted for this window: readable ticks, and zooming that reports the moved axes.

pyqtgraph has no type hints; only the two classes here inherit from it.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QPainter, QPicture
from PySide6.QtWidgets import QWidget

from sdgui.widgets import formats
from sdgui.widgets.style.theme import theme

Floats = NDArray[np.float64]
AxisKind = Literal["value", "share", "step", "time"]

_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def style_axes(*axes: pg.AxisItem) -> None:
    """Style axes with the colours and the font of the current theme."""
    style = theme()
    for axis in axes:
        axis.setPen(style.color("border"))
        axis.setTextPen(style.color("muted"))
        axis.setStyle(tickFont=style.font("small"))


def still_plot(parent: QWidget, left: pg.AxisItem, bottom: pg.AxisItem) -> pg.PlotWidget:
    """Make a static plot without a menu, which neither mouse nor keyboard moves."""
    plot = plain_plot(parent, left, bottom, pg.ViewBox(enableMenu=False))
    plot.setMouseEnabled(False, False)
    return plot


def plain_plot(parent: QWidget | None, left: pg.AxisItem, bottom: pg.AxisItem, box: pg.ViewBox) -> pg.PlotWidget:
    """Make a plot of ``box``, without buttons, frame and keyboard focus."""
    plot = pg.PlotWidget(parent, viewBox=box, enableMenu=False, axisItems={"left": left, "bottom": bottom})
    plot.hideButtons()
    plot.setFrameShape(pg.PlotWidget.Shape.NoFrame)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return plot


def nearest_point(box: pg.ViewBox, position: QPointF, x: Floats, y: Floats) -> int | None:
    """The index of the nearest point (x, y) within 12 pixels of a scene position; None if there is none."""
    if not len(x):
        return None
    (x0, x1), (y0, y1) = box.viewRange()
    mouse = box.mapSceneToView(position)
    dx = (x - mouse.x()) / ((x1 - x0) or 1.0) * box.width()
    dy = (y - mouse.y()) / ((y1 - y0) or 1.0) * box.height()
    distance = np.nan_to_num(np.hypot(dx, dy), nan=np.inf)
    best = int(np.argmin(distance))
    return best if distance[best] <= 12.0 else None


class PlotAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph is untyped
    """An axis of values, shares (shown in per cent), steps or seconds."""

    def __init__(self, orientation: str, kind: AxisKind = "value") -> None:
        super().__init__(orientation, maxTickLength=0)
        self.kind: AxisKind = kind
        self.enableAutoSIPrefix(False)
        self._sheet = QPicture()

    def set_kind(self, kind: AxisKind) -> None:
        """Set the kind of numbers on the axis."""
        self.kind = kind
        self.picture = None
        self.update()

    def fit(self) -> None:
        """Shrink the axis to its current ticks; pyqtgraph keeps up to 10 px that earlier ticks needed."""
        self.textWidth = self.textHeight = 0
        self.picture = None
        self.update()

    def paint(self, p: QPainter, opt: Any, widget: Any) -> None:
        """Paint as pyqtgraph does, but reuse one QPicture: each new one would leak six references to None."""
        if self.picture is None:
            painter = QPainter(self._sheet)
            if self.style["tickFont"] is not None:
                painter.setFont(self.style["tickFont"])
            specs = self.generateDrawSpecs(painter)
            if specs is not None:
                self.drawPicture(painter, *specs)
            painter.end()
            self.picture = cast(Any, self._sheet)  # pyqtgraph sets this to None if it must be redrawn
        self._sheet.play(p)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float | None, Any]]:
        """pyqtgraph's ticks; whole steps on a step axis, round times on a time axis, readable ones on log axes."""
        if self.logMode and self.orientation == "left":
            return self._log_ticks(low, high, size)
        if self.kind == "time":
            ideal_step = (high - low) / max(2.0, size / 90.0)
            step = next((step for step in _TIME_STEPS if step >= ideal_step), 86400 * max(1, round(ideal_step / 86400)))
            return [(step, np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step)]
        levels: list[tuple[float | None, Any]] = super().tickValues(low, high, size)
        if self.kind == "step":
            levels = [(spacing, values) for spacing, values in levels if spacing is None or spacing >= 1]
        return levels[:1] if levels else []

    def _log_ticks(self, low: float, high: float, size: float) -> list[tuple[float | None, Any]]:
        if high - low > 2:
            every = max(1, int(np.ceil((high - low) / max(2.0, size / 30.0))))
            decades = np.arange(np.ceil(low), np.floor(high) + 1, every)
            return [(float(every), decades)]
        if high - low > 0.7:
            marks = np.array(
                [m * 10.0**d for d in range(int(np.floor(low)), int(np.ceil(high)) + 1) for m in (1, 2, 5)]
            )
            positions = np.log10(marks)
            return [(1.0, positions[(positions >= low) & (positions <= high)])]
        return [(1.0, np.log10(_round_values(10.0**low, 10.0**high, max(2.0, size / 50.0))))]

    def tickStrings(self, values: Any, scale: float, spacing: float) -> list[str]:
        if self.logMode and self.orientation == "left":
            return [self._text(10.0**value, 0.0) for value in values]
        return [self._text(float(value), spacing) for value in values]

    def _text(self, value: float, spacing: float) -> str:
        if self.kind == "time":
            return formats.clock(value)
        if self.kind == "step":
            return formats.tick(value, spacing)
        if self.kind == "share":
            return f"{formats.tick(value * 100, spacing * 100)} %"
        return formats.tick(value, spacing)


def _round_values(low: float, high: float, tick_count: float) -> Any:
    """About ``tick_count`` values at 1, 2 or 5 times a power of ten, between positive ``low`` and ``high``."""
    rough = (high - low) / tick_count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


class ZoomBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """Wheel zooms along x (over an axis: that axis), left drag zooms into a rectangle, middle drag pans.

    ``moved(x, y)``: the axes that the user has moved; ``reset_requested`` fires on a double click,
    ``menu_requested`` on a right click (with the position on the screen).
    """

    moved = Signal(bool, bool)
    reset_requested = Signal()
    menu_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.setMouseMode(pg.ViewBox.RectMode)
        self.disableAutoRange()
        self._wheel_axis: int | None = None
        self.sigRangeChangedManually.connect(self._on_moved)

    def wheelEvent(self, ev: Any, axis: int | None = None) -> None:
        self._wheel_axis = 0 if axis is None else axis
        super().wheelEvent(ev, axis=self._wheel_axis)
        self._wheel_axis = None

    def mouseClickEvent(self, ev: Any) -> None:
        if ev.double() and ev.button() == Qt.MouseButton.LeftButton:
            ev.accept()
            self.reset_requested.emit()
        elif ev.button() == Qt.MouseButton.RightButton:
            ev.accept()
            self.menu_requested.emit(ev.screenPos())

    def _on_moved(self, _enabled: Any) -> None:
        self.moved.emit(self._wheel_axis in (None, 0), self._wheel_axis in (None, 1))
