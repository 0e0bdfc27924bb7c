"""Draws up to a hundred thousand points as one image, since Qt's shapes are too slow for so many.

Flow: ``set_points`` -> (each paint) positions in pixels -> an image of discs and triangles -> the view.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPolygonF

Floats = npt.NDArray[np.float64]
# pixels of each symbol, relative to its centre
_DISC = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if x * x + y * y <= 5]
_TRIANGLE = [(x, y) for y in range(-2, 3) for x in range(-2, 3) if abs(x) <= (y + 2) / 2]
_MASK_SIZE = 1024  # width and height of a lasso's mask, in px


class MapDots(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph is untyped
    """The points as one item: the first ``images`` as discs, drawn over the captions' triangles."""

    def __init__(self) -> None:
        super().__init__()
        self._positions: Floats = np.zeros((0, 2))
        self._colors: npt.NDArray[np.uint32] = np.zeros(0, np.uint32)  # of each point
        self._image_count = 0
        self._bounds = QRectF()

    def set_points(self, positions: Floats, colors: npt.NDArray[np.uint32], image_count: int) -> None:
        """Set the points. ``positions``: (N, 2); ``colors``: ARGB, (N,)."""
        self.prepareGeometryChange()
        self._positions, self._colors, self._image_count = positions, colors, image_count
        if len(positions):
            low, high = positions.min(0), positions.max(0)
            self._bounds = QRectF(*low, *(high - low))
        self.update()

    def boundingRect(self) -> QRectF:
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        if not len(self._positions):
            return
        device, ratio = painter.device(), painter.device().devicePixelRatioF()
        width, height = round(device.width() * ratio), round(device.height() * ratio)
        to_pixels = painter.deviceTransform()
        image = dots_image(
            self._pixel_positions(to_pixels), self._colors, self._image_count, width, height, max(1, round(ratio))
        )
        painter.save()
        painter.resetTransform()
        image.setDevicePixelRatio(ratio)
        painter.drawImage(QPointF(0, 0), image)
        painter.restore()

    def _pixel_positions(self, to_pixels: Any) -> npt.NDArray[np.int32]:
        scale = np.array([[to_pixels.m11(), to_pixels.m12()], [to_pixels.m21(), to_pixels.m22()]])
        positions = self._positions @ scale + (to_pixels.dx(), to_pixels.dy())
        pixels: npt.NDArray[np.int32] = np.clip(positions, -9, 1 << 20).astype(np.int32)  # else int32 may overflow
        return pixels


def dots_image(
    pixels: npt.NDArray[np.int32],
    colors: npt.NDArray[np.uint32],
    image_count: int,
    width: int,
    height: int,
    size: int,
) -> QImage:
    """An image of discs over triangles with ``colors`` (N,) at ``pixels`` (N, 2). ``size``: scale of the symbols."""
    canvas = np.zeros((height, width), np.uint32)
    edge = 3 * size
    is_visible = (
        (pixels[:, 0] >= edge) & (pixels[:, 0] < width - edge) & (pixels[:, 1] >= edge) & (pixels[:, 1] < height - edge)
    )
    flat, number = canvas.ravel(), np.arange(len(pixels))
    for shape, kind in ((_TRIANGLE, number >= image_count), (_DISC, number < image_count)):
        indices = np.flatnonzero(is_visible & kind)
        middle = pixels[indices, 1].astype(np.int64) * width + pixels[indices, 0]
        point_colors = colors[indices]
        for x, y in shape:
            for offset in range(size * size):
                flat[middle + (y * size + offset // size) * width + x * size + offset % size] = point_colors
    return QImage(canvas.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied).copy()


def argb(color: QColor) -> int:
    """A colour as a premultiplied ARGB pixel."""
    share = color.alpha() / 255
    red, green, blue = (round(part * share) for part in (color.red(), color.green(), color.blue()))
    return color.alpha() << 24 | red << 16 | green << 8 | blue


def inside(positions: Floats, path: list[QPointF]) -> npt.NDArray[np.int64]:
    """Ascending indices of the points within a closed line, accurate to about 1/1000 of its size."""
    corners = np.array([(point.x(), point.y()) for point in path])
    low, high = corners.min(0), corners.max(0)
    scale = (_MASK_SIZE - 1) / np.maximum(high - low, 1e-12)
    shape = QPainterPath()
    shape.addPolygon(QPolygonF([QPointF(*corner) for corner in ((corners - low) * scale).tolist()]))
    shape.closeSubpath()
    mask = QImage(_MASK_SIZE, _MASK_SIZE, QImage.Format.Format_Grayscale8)
    mask.fill(0)
    painter = QPainter(mask)
    painter.fillPath(shape, Qt.GlobalColor.white)
    painter.end()
    near = np.flatnonzero(((positions >= low) & (positions <= high)).all(1))
    x, y = ((positions[near] - low) * scale).astype(np.int64).T
    pixels = np.frombuffer(mask.constBits(), np.uint8).reshape(_MASK_SIZE, mask.bytesPerLine())
    indices: npt.NDArray[np.int64] = near[pixels[y, x] > 127]
    return indices
