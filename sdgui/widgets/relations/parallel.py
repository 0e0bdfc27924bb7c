"""Parallel coordinates: one line per run, one axis per column; dragging along an axis brushes.

The line under the pointer is drawn thick, with a tooltip; a click selects its run.

All lines are painted once into an image; during brushing, only the brushed lines are painted over it, with one path for
each of a few colours. So the cost of a frame depends only on the brushed lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QToolTip, QWidget

from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.relations.axis import ValueAxis
from sdgui.widgets.style.theme import SPACE, theme

_TOP, _BOTTOM, _SIDE = 6 * SPACE, 4 * SPACE, 9 * SPACE
_AXIS_PX = 10  # maximum distance of the pointer from an axis
_LINE_PX = 6  # maximum vertical distance of the pointer from a line
_COLORS = 12  # steps of the colour scale
_KEY_STEP = 0.05  # share of an axis by which a key moves a brush
MAX_RUNS = 5000

Range = tuple[float, float]


class ParallelCoordinates(QWidget):
    """Parallel coordinates of runs. ``brushed``: the positions of the runs inside all brushes."""

    brushed = Signal(object)  # (K,) positions
    run_clicked = Signal(int)  # position of a run
    run_pointed = Signal(int)  # the position of the run whose line is under the pointer, -1 for none

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axes: list[ValueAxis] = []
        self.empty_text = "Choose columns that have numbers or a few distinct values, under Columns."
        self._names: Sequence[str] = ()
        self._positions: NDArray[np.float64] = np.empty((0, 0))  # (axes, runs), from 0 to 1
        self.brushes: dict[int, Range] = {}
        self._current = 0
        self._drag: tuple[int, float] | None = None  # axis, start position
        self._pointed_run: int | None = None  # position of the run whose line is under the pointer
        self._all_lines: QPixmap | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(40 * SPACE, 24 * SPACE)
        self.setAccessibleName("Parallel coordinates")
        self.setToolTip("")
        theme().changed.connect(self._restyle)

    def show_axes(self, axes: Sequence[ValueAxis], names: Sequence[str]) -> None:
        """Show these axes; the last one colours the lines. Axes that were shown before keep their brushes."""
        brush_of_field = {self.axes[index].name: span for index, span in self.brushes.items() if index < len(self.axes)}
        self.axes, self._names = list(axes), names
        self._positions = np.stack([axis.positions() for axis in axes]) if axes else np.empty((0, 0))
        self.brushes = {
            index: brush_of_field[axis.name] for index, axis in enumerate(axes) if axis.name in brush_of_field
        }
        self._current = min(self._current, max(0, len(axes) - 1))
        self._pointed_run = None
        self._restyle()
        self._report_brushed()

    def brushed_runs(self) -> NDArray[np.intp]:
        """(K,) positions of the runs inside every brush; all runs if there is no brush."""
        is_brushed = np.ones(self._positions.shape[1] if len(self._positions) else 0, dtype=bool)
        for index, (low, high) in self.brushes.items():
            is_brushed &= (self._positions[index] >= low) & (self._positions[index] <= high)
        return np.flatnonzero(is_brushed)

    def set_brush(self, axis: int, span: Range | None) -> None:
        """Brush an axis between two positions from 0 to 1; None removes the brush."""
        if span is None:
            self.brushes.pop(axis, None)
        else:
            self.brushes[axis] = (max(0.0, min(span)), min(1.0, max(span)))
        self.update()
        self._report_brushed()

    def clear(self) -> None:
        """Remove all brushes."""
        self.brushes.clear()
        self.update()
        self._report_brushed()

    def condition(self) -> str:
        """The filter that matches the brushed runs; "" if there is no brush."""
        return " ".join(self.axes[index].condition(*span) for index, span in sorted(self.brushes.items()))

    def _report_brushed(self) -> None:
        brushed_runs = self.brushed_runs()
        number = self._positions.shape[1] if len(self._positions) else 0
        self.setAccessibleDescription(f"{len(self.axes)} axes; {len(brushed_runs)} of {number} runs within the ranges")
        self.brushed.emit(brushed_runs)

    # --- drawing

    def _x(self, axis: int) -> float:
        room = self.width() - 2 * _SIDE
        return _SIDE + (room * axis / (len(self.axes) - 1) if len(self.axes) > 1 else room / 2)

    def _y(self, position: float) -> float:
        return self.height() - _BOTTOM - position * (self.height() - _TOP - _BOTTOM)

    def _position_at(self, y: float) -> float:
        return min(1.0, max(0.0, (self.height() - _BOTTOM - y) / max(1, self.height() - _TOP - _BOTTOM)))

    def _restyle(self) -> None:
        self._all_lines = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._restyle()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self.axes:
            painter = QPainter(self)
            painter.setPen(theme().color("muted"))
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), self.empty_text)
            return
        if self._all_lines is None:
            self._all_lines = self._paint_all()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._all_lines)
        if self.brushes:
            self._paint_lines(painter, self.brushed_runs(), faint=False)
        if self._pointed_run is not None:
            self._paint_lines(painter, np.array([self._pointed_run]), faint=False, width=3)
        self._paint_axes(painter)

    def _paint_all(self) -> QPixmap:
        pixmap = QPixmap(self.size() * self.devicePixelRatioF())
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        pixmap.fill(theme().color("surface"))
        painter = QPainter(pixmap)
        self._paint_lines(painter, np.arange(self._positions.shape[1]), faint=bool(self.brushes))
        painter.end()
        return pixmap

    def _paint_lines(self, painter: QPainter, runs: NDArray[np.intp], faint: bool, width: int = 1) -> None:
        """Paint one path per colour; antialiased only if there are few lines."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, len(runs) * len(self.axes) < 400)
        tone = self._positions[-1]
        steps = np.nan_to_num(tone[runs], nan=0.0) * (_COLORS - 1)
        groups = np.round(steps).astype(int)
        x = np.array([self._x(index) for index in range(len(self.axes))])
        for step in np.unique(groups):
            runs_of_color = runs[groups == step]
            y = self._ys(runs_of_color)
            path = pg.arrayToQPath(*_join_with_nan(x, y), connect="finite")
            pen = QPen(theme().color("border") if faint else scale_color(step / (_COLORS - 1)), width)
            painter.setPen(pen)
            painter.drawPath(path)

    def _ys(self, runs: NDArray[np.intp]) -> NDArray[np.float64]:
        return self.height() - _BOTTOM - self._positions[:, runs].T * (self.height() - _TOP - _BOTTOM)

    def _paint_axes(self, painter: QPainter) -> None:
        style = theme()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        painter.setFont(style.font("small"))
        width = int((self.width() - 2 * _SIDE) / max(1, len(self.axes) - 1)) if len(self.axes) > 1 else self.width()
        for index, axis in enumerate(self.axes):
            x = int(self._x(index))
            current = self.hasFocus() and index == self._current
            painter.setPen(QPen(style.color("accent" if current else "strong_border"), 2 if current else 1))
            painter.drawLine(x, int(self._y(1)), x, int(self._y(0)))
            self._label(painter, QRect(x - width // 2, 0, width, 3 * SPACE), axis.title, style.color("text"))
            over = QRect(x - width // 2, 3 * SPACE, width, 2 * SPACE)
            self._label(painter, over, axis.text_at(1), style.color("muted"))
            under = QRect(x - width // 2, self.height() - 3 * SPACE, width, 2 * SPACE)
            self._label(painter, under, axis.text_at(0), style.color("muted"))
            if index in self.brushes:
                low, high = self.brushes[index]
                color = style.color("accent")
                painter.setPen(QPen(color, 1))
                color.setAlpha(60)
                painter.setBrush(color)
                painter.drawRect(x - 6, int(self._y(high)), 12, int(self._y(low) - self._y(high)))
                painter.setBrush(Qt.BrushStyle.NoBrush)

    @staticmethod
    def _label(painter: QPainter, rect: QRect, text: str, color: QColor) -> None:
        painter.setPen(color)
        cut = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, rect.width() - 4)
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignCenter), cut)

    # --- user input

    def _axis_at(self, x: float) -> int | None:
        near = [(abs(self._x(index) - x), index) for index in range(len(self.axes))]
        return min(near)[1] if near and min(near)[0] <= _AXIS_PX else None

    def _line_at(self, point: QPoint) -> int | None:
        """The brushed run whose line passes the point, between two axes; None on an axis."""
        left_axis = int(np.searchsorted([self._x(index) for index in range(len(self.axes))], point.x())) - 1
        if not 0 <= left_axis < len(self.axes) - 1 or self._axis_at(point.x()) is not None:
            return None
        runs = self.brushed_runs()
        share = (point.x() - self._x(left_axis)) / (self._x(left_axis + 1) - self._x(left_axis))
        ends = self._ys(runs)[:, left_axis : left_axis + 2]
        away = np.abs(ends[:, 0] + share * (ends[:, 1] - ends[:, 0]) - point.y())
        away = np.nan_to_num(away, nan=np.inf)  # a run without a value has no line here
        return int(runs[away.argmin()]) if len(runs) and away.min() <= _LINE_PX else None

    def _point_to(self, run: int | None) -> None:
        if run != self._pointed_run:
            self._pointed_run = run
            self.run_pointed.emit(-1 if run is None else run)
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        axis_index = self._axis_at(event.position().x())
        if axis_index is not None:
            self._current = axis_index
            self._drag = (axis_index, self._position_at(event.position().y()))
            self.set_brush(axis_index, None)
        elif (run := self._line_at(event.position().toPoint())) is not None:
            self.run_clicked.emit(run)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag is None:
            run = self._line_at(event.position().toPoint())
            self._point_to(run)
            if self._axis_at(event.position().x()) is not None:
                self.setCursor(Qt.CursorShape.SplitVCursor)
            else:
                self.setCursor(Qt.CursorShape.ArrowCursor if run is None else Qt.CursorShape.PointingHandCursor)
            return
        axis_index, start = self._drag
        if not self.brushes:
            self._all_lines = None  # repaint: lines outside the brush are faded
        self.set_brush(axis_index, (start, self._position_at(event.position().y())))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._point_to(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._drag is not None and not self.brushes:
            self._restyle()
        self._drag = None

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and self.axes:
            QToolTip.showText(event.globalPos(), plain_tip(self._tip(event.pos())), self)
            return True
        return super().event(event)

    def _tip(self, point: QPoint) -> str:
        """The tooltip: the hovered run, or on an axis the nearest run with its value."""
        axis_index = self._axis_at(point.x())
        if axis_index is None:
            run = self._line_at(point)
            return (
                "Drag along an axis to choose a range; click the axis to clear its range"
                if run is None
                else self._names[run]
            )
        positions = self._positions[axis_index]
        runs = self.brushed_runs()
        runs = runs[np.isfinite(positions[runs])]
        if not len(runs):
            return ""
        nearest = int(runs[np.abs(positions[runs] - self._position_at(point.y())).argmin()])
        axis = self.axes[axis_index]
        return f"{self._names[nearest]}\n{axis.title}: {axis.text_at(float(positions[nearest]))}"

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, moves = Qt.Key(event.key()), {Qt.Key.Key_Up: _KEY_STEP, Qt.Key.Key_Down: -_KEY_STEP}
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right) and self.axes:
            direction = 1 if key == Qt.Key.Key_Right else -1
            self._current = (self._current + direction) % len(self.axes)
            self.update()
        elif key in moves and self.axes:
            low, high = self.brushes.get(self._current, (0.0, 1.0))
            grows = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            had_no_brush = not self.brushes
            self.set_brush(self._current, (low, high + moves[key]) if grows else (low + moves[key], high))
            if had_no_brush:
                self._restyle()
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.set_brush(self._current, None)
            self._restyle()
        else:
            super().keyPressEvent(event)


def _join_with_nan(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Concatenate lines (runs, axes), separated by nan."""
    gap = np.full((len(y), 1), np.nan)
    return np.tile(np.append(x, np.nan), len(y)), np.hstack([y, gap]).ravel()


def scale_color(share: float) -> QColor:
    """A colour from blue over green to yellow, in even lightness steps on both backgrounds (after viridis)."""
    stops = ((68, 84, 160), (33, 145, 140), (94, 201, 98), (253, 200, 37))
    stop = min(len(stops) - 2, int(share * (len(stops) - 1)))
    fraction = share * (len(stops) - 1) - stop
    return QColor(*(round(a + (b - a) * fraction) for a, b in zip(stops[stop], stops[stop + 1], strict=True)))
