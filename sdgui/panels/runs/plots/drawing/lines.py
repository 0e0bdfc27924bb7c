"""The lines of a plot as images over its view box, or as paths in exported files.

Flow: layers of ``LineExtent`` from ``PlotCurves``, from back to front -> ``raster`` -> one image per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

from sdgui.panels.runs.plots.drawing.extents import Floats
from sdgui.panels.runs.plots.drawing.raster import raster

Point = tuple[float, float]
LINE_WIDTH = 1.5  # in logical pixels
# Length of a dash, and of a dash with the gap after it; along the line, in logical pixels.
_DASHES = {Qt.PenStyle.DashLine: (5.0, 9.0), Qt.PenStyle.DotLine: (2.0, 5.0), Qt.PenStyle.DashDotLine: (12.0, 16.0)}
_STEEP_SLOPE = 6.0  # steeper parts of a dashed line (px per px) are solid, so that no gap hides a spike


@dataclass(frozen=True)
class LineExtent:
    """The vertical extent of a line in each pixel column, in axis values."""

    low: Floats
    high: Floats
    color: QColor
    style: Qt.PenStyle = Qt.PenStyle.SolidLine


@dataclass(frozen=True)
class Polyline:
    """A line as points, for vector graphics. ``filled``: the points outline a band."""

    points: Sequence[Point]
    color: QColor
    style: Qt.PenStyle = Qt.PenStyle.SolidLine
    filled: bool = False


def clip_lines(points: Sequence[Point], width: float, height: float) -> list[list[Point]]:
    """The parts of a line within the rectangle (0, 0) to (width, height), since Qt's SVG does not clip."""
    parts: list[list[Point]] = []
    for a, b in pairwise(points):
        if (inside := _inside(a, b, width, height)) is not None:
            if parts and parts[-1][-1] == inside[0]:
                parts[-1].append(inside[1])
            else:
                parts.append(list(inside))
    return parts


def _inside(a: Point, b: Point, width: float, height: float) -> tuple[Point, Point] | None:
    """The part of the segment from ``a`` to ``b`` within the rectangle, after Liang and Barsky (1984)."""
    first, last, dx, dy = 0.0, 1.0, b[0] - a[0], b[1] - a[1]
    for step, room in ((-dx, a[0]), (dx, width - a[0]), (-dy, a[1]), (dy, height - a[1])):
        if step < 0:
            first = max(first, room / step)
        elif step > 0:
            last = min(last, room / step)
        elif room < 0:
            return None
    if first >= last:  # equal if the segment only touches a corner
        return None
    return (a[0] + first * dx, a[1] + first * dy), b if last == 1.0 else (a[0] + last * dx, a[1] + last * dy)


def dashed(low: Floats, high: Floats, style: Qt.PenStyle, ratio: float) -> tuple[Floats, Floats]:
    """The extents in pixels, (columns,), with gaps if ``style`` is not solid."""
    dash, period = _DASHES[style]
    rise = high - low
    along = np.cumsum(np.sqrt(1 + np.nan_to_num(rise) ** 2)) / ratio
    gap = (along % period >= dash) & (rise < _STEEP_SLOPE * ratio)
    return np.where(gap, np.nan, low), np.where(gap, np.nan, high)


def draw_layers(
    layers: Sequence[Sequence[LineExtent]], y_range: tuple[float, float], height: int, ratio: float
) -> list[QImage]:
    """An image of each layer that has lines. ``height``: in device pixels; ``ratio``: device pixels per logical pixel.

    Layers are not merged into one image: painting into a new image with QPainter leaks references to None.
    """
    bottom, top = y_range
    scale = height / ((top - bottom) or 1.0)
    images = []
    for layer in layers if height > 0 else ():
        if layer:
            pixels = _pixels_of(layer, top, scale, height, ratio)
            columns = pixels.shape[1]
            view = QImage(pixels.data, columns, height, 4 * columns, QImage.Format.Format_ARGB32_Premultiplied)
            image = view.copy()  # the copy owns its pixels
            image.setDevicePixelRatio(ratio)
            images.append(image)
    return images


def _pixels_of(layer: Sequence[LineExtent], top: float, scale: float, height: int, ratio: float) -> NDArray[np.uint32]:
    low = np.stack([(top - extent.high) * scale for extent in layer])
    high = np.stack([(top - extent.low) * scale for extent in layer])
    for row, line in enumerate(layer):
        if line.style in _DASHES:
            low[row], high[row] = dashed(low[row], high[row], line.style, ratio)
    colors = np.array([(extent.color.red(), extent.color.green(), extent.color.blue()) for extent in layer])
    return raster(low, high, colors, height, LINE_WIDTH * ratio)


class LinesItem(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """The item that covers the view box. ``paths``: the lines as paths, for exports."""

    def __init__(self, box: Any, paths: Callable[[], Sequence[Polyline]]) -> None:
        super().__init__()
        self._box, self._paths = box, paths
        self._images: list[QImage] = []
        self._exporting = False
        self.setParentItem(box)
        self.setZValue(5)

    def show_images(self, images: list[QImage]) -> None:
        """Set the images to paint, the last in front."""
        self.prepareGeometryChange()
        self._images = images
        self.update()

    def setExportMode(self, export: bool, _options: Any = None) -> None:
        """Paint paths, which are independent of the file's resolution."""
        self._exporting = export

    def boundingRect(self) -> QRectF:
        return QRectF(0, 0, self._box.width(), self._box.height())

    def paint(self, painter: QPainter, *_: Any) -> None:
        if self._exporting:
            self._paint_paths(painter)
            return
        for image in self._images:
            painter.drawImage(QPointF(0, 0), image)

    def _paint_paths(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for line in self._paths():
            if line.filled:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(line.color)
                outline = QPolygonF([QPointF(x, y) for x, y in line.points])
                painter.drawPolygon(outline.intersected(QPolygonF(self.boundingRect())))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                continue
            pen = QPen(line.color, LINE_WIDTH)
            if line.style in _DASHES:
                dash, period = _DASHES[line.style]
                pen.setDashPattern([dash / LINE_WIDTH, (period - dash) / LINE_WIDTH])
            painter.setPen(pen)
            for part in clip_lines(line.points, self._box.width(), self._box.height()):
                painter.drawPolyline([QPointF(x, y) for x, y in part])
