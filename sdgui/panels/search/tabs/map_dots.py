"""Draws up to a hundred thousand points as one image, since Qt's shapes are too slow for that.

Flow: ``set_points`` -> (each paint) places in pixels -> an image of discs and triangles -> the view.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPolygonF

Floats = npt.NDArray[np.float64]
_DISC = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if x * x + y * y <= 5]
_TRIANGLE = [(x, y) for y in range(-2, 3) for x in range(-2, 3) if abs(x) <= (y + 2) / 2]
_MASK = 1024  # pixels of the mask that a lasso is read from


class MapDots(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """``places`` (N, 2); the first ``images`` are drawn as discs over the captions' triangles."""

    def __init__(self) -> None:
        super().__init__()
        self._places: Floats = np.zeros((0, 2))
        self._colors: npt.NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._images = 0
        self._bounds = QRectF()

    def set_points(self, places: Floats, colors: npt.NDArray[np.uint32], images: int) -> None:
        """``colors`` (N,): ARGB."""
        self.prepareGeometryChange()
        self._places, self._colors, self._images = places, colors, images
        if len(places):
            low, high = places.min(0), places.max(0)
            self._bounds = QRectF(*low, *(high - low))
        self.update()

    def boundingRect(self) -> QRectF:
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        if not len(self._places):
            return
        device, ratio = painter.device(), painter.device().devicePixelRatioF()
        width, height = round(device.width() * ratio), round(device.height() * ratio)
        to_pixels = painter.deviceTransform()
        image = dots_image(self._in_pixels(to_pixels), self._colors, self._images, width, height, max(1, round(ratio)))
        painter.save()
        painter.resetTransform()
        image.setDevicePixelRatio(ratio)
        painter.drawImage(QPointF(0, 0), image)
        painter.restore()

    def _in_pixels(self, to_pixels: Any) -> npt.NDArray[np.int32]:
        scale = np.array([[to_pixels.m11(), to_pixels.m12()], [to_pixels.m21(), to_pixels.m22()]])
        moved = self._places @ scale + (to_pixels.dx(), to_pixels.dy())
        pixels: npt.NDArray[np.int32] = np.clip(moved, -9, 1 << 20).astype(np.int32)
        return pixels


def dots_image(
    pixels: npt.NDArray[np.int32], colors: npt.NDArray[np.uint32], images: int, width: int, height: int, size: int = 1
) -> QImage:
    """Discs over triangles, of ``colors`` (N,), around ``pixels`` (N, 2); ``size`` 2 doubles their size."""
    canvas = np.zeros((height, width), np.uint32)
    edge = 3 * size
    seen = (
        (pixels[:, 0] >= edge) & (pixels[:, 0] < width - edge) & (pixels[:, 1] >= edge) & (pixels[:, 1] < height - edge)
    )
    flat, number = canvas.ravel(), np.arange(len(pixels))
    for shape, kind in ((_TRIANGLE, number >= images), (_DISC, number < images)):
        indices = np.flatnonzero(seen & kind)
        middle = pixels[indices, 1].astype(np.int64) * width + pixels[indices, 0]
        point_colors = colors[indices]
        for x, y in shape:
            for offset in range(size * size):
                flat[middle + (y * size + offset // size) * width + x * size + offset % size] = point_colors
    return QImage(canvas.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied).copy()


def argb(color: QColor) -> int:
    """A colour as a premultiplied pixel."""
    share = color.alpha() / 255
    red, green, blue = (round(part * share) for part in (color.red(), color.green(), color.blue()))
    return color.alpha() << 24 | red << 16 | green << 8 | blue


def inside(places: Floats, path: list[QPointF]) -> npt.NDArray[np.int64]:
    """Ascending indices of the places within a closed line, to a thousandth of its size."""
    corners = np.array([(point.x(), point.y()) for point in path])
    low, high = corners.min(0), corners.max(0)
    scale = (_MASK - 1) / np.maximum(high - low, 1e-12)
    shape = QPainterPath()
    shape.addPolygon(QPolygonF([QPointF(*corner) for corner in ((corners - low) * scale).tolist()]))
    shape.closeSubpath()
    mask = QImage(_MASK, _MASK, QImage.Format.Format_Grayscale8)
    mask.fill(0)
    painter = QPainter(mask)
    painter.fillPath(shape, Qt.GlobalColor.white)
    painter.end()
    near = np.flatnonzero(((places >= low) & (places <= high)).all(1))
    x, y = ((places[near] - low) * scale).astype(np.int64).T
    pixels = np.frombuffer(mask.constBits(), np.uint8).reshape(_MASK, mask.bytesPerLine())
    indices: npt.NDArray[np.int64] = near[pixels[y, x] > 127]
    return indices
