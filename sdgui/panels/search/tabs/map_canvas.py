"""A 2-D map of points to pan, zoom, hover and lasso: images as discs, captions as triangles, coloured by group.

Contour lines enclose shares of the images.

Flow: map page -> ``set_points`` -> mouse and keys -> ``hovered(index)``, ``lassoed(indices)``. Left drag draws the
lasso; middle, right or Shift+left drag pans; the wheel zooms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QPixmap, QTransform
from PySide6.QtWidgets import QGraphicsPixmapItem, QWidget

from sdgui.panels.search.tabs.map_density import density
from sdgui.panels.search.tabs.map_dots import MapDots, argb, inside
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import theme

Floats = npt.NDArray[np.float64]
_MAX_DISTANCE = 12.0  # px; points further from the mouse are not hovered
_SIZE = 8  # diameter of a point, in px
_WORDS_WIDTH = 96  # px, of the words below an image
MAX_SEPARATE_POINTS = 6_000  # more points are drawn as one image
DEFAULT_COLOUR = -1  # colour group of points in the default colour


def _overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two rectangles (left, bottom, right, top) share more than an edge."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


class _LassoBox(pg.ViewBox):  # type: ignore[misc]  # pyqtgraph is untyped
    """A view box in which a left drag draws a lasso."""

    drawn = Signal(object, bool)  # points of the lasso in view coordinates, whether it is finished
    reset_requested = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False, lockAspect=True)
        self._path: list[QPointF] = []  # points of the lasso in view coordinates

    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:
        if ev.button() != Qt.MouseButton.LeftButton or ev.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.setMouseMode(pg.ViewBox.PanMode)
            delta = self.mapToView(ev.pos()) - self.mapToView(ev.lastPos())
            ev.accept()
            self.translateBy(x=-delta.x(), y=-delta.y())
            return
        ev.accept()
        if ev.isStart():
            self._path = [self.mapToView(ev.buttonDownPos())]
        self._path.append(self.mapToView(ev.pos()))
        self.drawn.emit(self._path, ev.isFinish())

    def mouseClickEvent(self, ev: Any) -> None:
        if ev.double() and ev.button() == Qt.MouseButton.LeftButton:
            ev.accept()
            self.reset_requested.emit()


class MapCanvas(QWidget):
    """The map. Keys: plus and minus zoom, arrows pan, R shows everything, A selects everything in view."""

    hovered = Signal(int, QPoint)  # index of the point under the mouse (-1: none), screen position
    clicked = Signal(int)  # index of the point
    lassoed = Signal(object)  # ascending indices
    view_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._positions: Floats = np.zeros((0, 2))
        self._groups: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # group of each point
        self._image_count = 0  # the first points are images, the others captions
        self._marked: list[int] = []  # indices of the marked points
        self._names: list[pg.TextItem] = []
        self._word_items: list[pg.TextItem] = []
        self._contours: list[pg.IsocurveItem] = []
        self._thumbnail_items: list[QGraphicsPixmapItem] = []
        self._hovered_point = -1
        self._box = _LassoBox()
        self._view = pg.PlotWidget(viewBox=self._box)
        self._view.hideButtons()
        self._view.hideAxis("left")
        self._view.hideAxis("bottom")
        self._view.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        self._view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._discs, self._triangles, self._rings = (pg.ScatterPlotItem(pxMode=True) for _ in range(3))
        self._lasso = pg.PlotCurveItem()
        self._dots = MapDots()  # draws more than ``MAX_SEPARATE_POINTS`` points, instead of discs and triangles
        for item in (self._dots, self._triangles, self._discs, self._rings, self._lasso):
            self._box.addItem(item, ignoreBounds=True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Map of images and captions")
        vbox(self._view, into=self)
        self._box.drawn.connect(self._draw_lasso)
        self._box.reset_requested.connect(self.show_all)
        self._box.sigRangeChanged.connect(lambda *_: self.view_changed.emit())
        self._view.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._view.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        theme().changed.connect(self._restyle)
        self._restyle()

    def set_points(self, positions: Floats, groups: Sequence[int], image_count: int) -> None:
        """Show points at ``positions`` (N, 2), images first. ``groups``: each point's colour, or DEFAULT_COLOUR.

        Everything is in view afterwards. If only the positions changed, marked points stay marked.
        """
        is_new = len(positions) != len(self._positions)
        self._positions, self._groups = positions, np.asarray(groups, np.int64)
        self._image_count, self._marked = image_count, self._marked if not is_new else []
        self._draw()
        self._draw_contours()
        captions = count_with_unit(len(positions) - image_count, "caption")
        self.setAccessibleDescription(f"{count_with_unit(image_count, 'image')}, {captions}")
        self.show_all()

    def set_names(self, names: Sequence[tuple[str, Floats]]) -> None:
        """Replace the names: each text is drawn above its position (2,)."""
        for item in self._names:
            self._box.removeItem(item)
        background = QColor(theme().color("surface"))
        background.setAlpha(200)
        self._names = [
            pg.TextItem(text, color=theme().color("text"), anchor=(0.5, 1.2), fill=pg.mkBrush(background))
            for text, _ in names
        ]
        for item, (_, place) in zip(self._names, names, strict=True):
            item.setFont(theme().font("title"))
            item.setPos(*place.tolist())
            item.setZValue(2)  # over the thumbnails
            self._box.addItem(item, ignoreBounds=True)

    def _draw_contours(self) -> None:
        """Draw a line around each of ``SHARES`` of the images."""
        for item in self._contours:
            self._box.removeItem(item)
        self._contours = []
        lines = density(self._positions[: self._image_count])
        if lines is None:
            return
        (x, y), (dx, dy) = (lines.origin - 0.5 * lines.step).tolist(), lines.step.tolist()  # a cell's centre is at 0.5
        for level in lines.levels:
            item = pg.IsocurveItem(data=lines.grid, level=level)
            item.setTransform(QTransform(dx, 0.0, 0.0, dy, x, y))
            item.setZValue(0.5)  # over the points, below thumbnails
            self._box.addItem(item, ignoreBounds=True)
            self._contours.append(item)
        self._restyle_contours()

    def _restyle_contours(self) -> None:
        ink = theme().color("text")
        ink.setAlpha(90)
        pen = pg.mkPen(ink, width=1, cosmetic=True)
        for item in self._contours:
            item.setPen(pen)

    def set_groups(self, groups: Sequence[int]) -> None:
        """Change the colours of the points."""
        self._groups = np.asarray(groups, np.int64)
        self._draw()

    def mark(self, indices: Sequence[int]) -> None:
        """Draw rings around these points."""
        self._marked = list(indices)
        positions = self._positions[self._marked[:MAX_SEPARATE_POINTS]] if self._marked else np.zeros((0, 2))
        pen = pg.mkPen(theme().color("text"), width=1.5)
        self._rings.setData(pos=positions, size=_SIZE + 5, symbol="o", brush=None, pen=pen)

    def show_all(self) -> None:
        """Zoom out until everything is in view."""
        if len(self._positions):
            low, high = self._positions.min(0), self._positions.max(0)
            self._box.setRange(xRange=(low[0], high[0]), yRange=(low[1], high[1]), padding=0.04)

    def move_view(self, right: float, up: float, zoom: float = 1.0) -> None:
        """Move the view by fractions of its size, zoom (below 1: closer), and repaint immediately."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        self._box.translateBy(x=right * (x1 - x0), y=up * (y1 - y0))
        self._box.scaleBy((zoom, zoom))
        self._view.repaint()

    def in_view(self) -> list[int]:
        """The points in view."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        x, y = self._positions[:, 0], self._positions[:, 1]
        indices: list[int] = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)).tolist()
        return indices

    def zoom(self) -> float:
        """How many times closer the view is than ``show_all``."""
        if not len(self._positions):
            return 1.0
        (x0, x1), (y0, y1) = self._box.viewRange()
        width, height = np.ptp(self._positions, axis=0)
        return float(max(width / (x1 - x0), height / (y1 - y0)))

    def images_in_view(self) -> list[int]:
        """The images in view."""
        return [index for index in self.in_view() if index < self._image_count]

    def without_overlaps(self, indices: Sequence[int], distance: float) -> list[int]:
        """The ``indices`` without those nearer than ``distance`` pixels (in x and y) to an earlier remaining one."""
        pixels = self._positions[list(indices)] / np.maximum(self._box.viewPixelSize(), 1e-12)
        chosen: list[int] = []
        for number in range(len(indices)):
            distances = np.abs(pixels[chosen] - pixels[number]).max(axis=1, initial=0.0)
            if (distances >= distance).all():
                chosen.append(number)
        return [indices[number] for number in chosen]

    def color_of(self, index: int) -> QColor:
        """The colour of a point."""
        group = int(self._groups[index])
        return theme().color("strong_border") if group == DEFAULT_COLOUR else theme().run_color(group)

    def show_images(self, images: Mapping[int, QPixmap], words: Mapping[int, str] | None = None) -> None:
        """Draw these images, and no others, over their points, and their ``words`` below them where there is room."""
        for item in self._thumbnail_items:
            self._box.removeItem(item)
        self._thumbnail_items = []
        for index, pixmap in images.items():
            item = QGraphicsPixmapItem(pixmap)
            size = pixmap.deviceIndependentSize()
            item.setOffset(-size.width() / 2, -size.height() / 2)
            item.setFlag(QGraphicsPixmapItem.GraphicsItemFlag.ItemIgnoresTransformations)
            item.setPos(*self._positions[index].tolist())
            item.setZValue(1)
            self._box.addItem(item, ignoreBounds=True)
            self._thumbnail_items.append(item)
        self._show_words(images, words or {})

    def _show_words(self, images: Mapping[int, QPixmap], words: Mapping[int, str]) -> None:
        """Draw ``words`` below ``images``, unless they would cover an image or other words."""
        for item in self._word_items:
            self._box.removeItem(item)
        self._word_items = []
        font, color = theme().font("small"), theme().color("text")
        metrics, pixel = QFontMetricsF(font), np.maximum(self._box.viewPixelSize(), 1e-12)
        centers = {index: self._positions[index] / pixel for index in images}  # px, y upwards
        sides = {index: pixmap.deviceIndependentSize().height() for index, pixmap in images.items()}
        occupied = [(*(centers[index] - sides[index] / 2), *(centers[index] + sides[index] / 2)) for index in images]
        for index, text in words.items():
            text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, _WORDS_WIDTH)
            (x, y), half = centers[index], metrics.horizontalAdvance(text) / 2
            top = y - sides[index] / 2
            rect = (x - half, top - metrics.height(), x + half, top)
            if not text or any(_overlap(rect, other) for other in occupied):
                continue
            occupied.append(rect)
            item = pg.TextItem(text, color=color)
            item.setFont(font)
            item.textItem.document().setDocumentMargin(0)
            item.setAnchor((0.5, -sides[index] / 2 / item.textItem.boundingRect().height()))
            item.setPos(*self._positions[index].tolist())
            self._box.addItem(item, ignoreBounds=True)
            self._word_items.append(item)

    def nearest(self, point: QPointF) -> int:
        """The point nearest to ``point`` (scene coordinates) within ``_MAX_DISTANCE``; -1 if there is none."""
        if not len(self._positions):
            return -1
        position = self._box.mapSceneToView(point)
        size = self._box.viewPixelSize()
        away = (self._positions - (position.x(), position.y())) / (max(size[0], 1e-12), max(size[1], 1e-12))
        squares = (away**2).sum(1)
        best = int(squares.argmin())
        return best if squares[best] <= _MAX_DISTANCE**2 else -1

    # Internal
    def _restyle(self) -> None:
        self._view.setBackground(theme().color("surface"))
        self._lasso.setPen(pg.mkPen(theme().color("accent_text"), width=2))
        self._restyle_contours()
        self._draw()

    def _draw(self) -> None:
        current_theme = theme()
        other_color = QColor(current_theme.color("strong_border"))
        other_color.setAlpha(110)
        # DEFAULT_COLOUR, -1, selects the last one
        colors = [*map(current_theme.run_color, range(len(current_theme.colors.runs))), other_color]
        if len(self._positions) > MAX_SEPARATE_POINTS:
            pixels = np.array([argb(color) for color in colors], np.uint32)
            self._dots.set_points(self._positions, pixels[self._groups], self._image_count)
            self._discs.clear()
            self._triangles.clear()
            self.mark(self._marked)
            return
        self._dots.set_points(np.zeros((0, 2)), np.zeros(0, np.uint32), 0)
        brushes = [pg.mkBrush(color) for color in colors]
        point_brushes = [brushes[group] for group in self._groups.tolist()]
        count = self._image_count
        background = pg.mkPen(current_theme.color("surface"), width=0.5)
        self._discs.setData(
            pos=self._positions[:count], brush=point_brushes[:count], size=_SIZE, symbol="o", pen=background
        )
        self._triangles.setData(
            pos=self._positions[count:], brush=point_brushes[count:], size=_SIZE, symbol="t1", pen=background
        )
        self.mark(self._marked)

    def _draw_lasso(self, path: list[QPointF], finished: bool) -> None:
        line = np.array([(p.x(), p.y()) for p in [*path, path[0]]])
        self._lasso.setData(line[:, 0], line[:, 1])
        if finished:
            self._lasso.setData([], [])
            indices = inside(self._positions, path).tolist() if len(path) > 2 else []
            self.mark(indices)
            self.lassoed.emit(indices)

    def _on_mouse_moved(self, point: QPointF) -> None:
        under = self.nearest(point)
        if under != self._hovered_point:
            self._hovered_point = under
            position = self._view.mapToGlobal(self._view.mapFromScene(point))
            self.hovered.emit(under, position)

    def _on_mouse_clicked(self, event: Any) -> None:
        under = self.nearest(event.scenePos())
        if under >= 0 and not event.double():
            self.clicked.emit(under)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hovered_point = -1
        self.hovered.emit(-1, QPoint())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {  # right, up, zoom
            Qt.Key.Key_Left: (-0.1, 0.0, 1.0),
            Qt.Key.Key_Right: (0.1, 0.0, 1.0),
            Qt.Key.Key_Up: (0.0, 0.1, 1.0),
            Qt.Key.Key_Down: (0.0, -0.1, 1.0),
            Qt.Key.Key_Plus: (0.0, 0.0, 0.8),
            Qt.Key.Key_Equal: (0.0, 0.0, 0.8),
            Qt.Key.Key_Minus: (0.0, 0.0, 1.25),
        }
        if event.key() in moves:
            self.move_view(*moves[Qt.Key(event.key())])
        elif event.key() == Qt.Key.Key_R:
            self.show_all()
        elif event.key() == Qt.Key.Key_A:
            indices = self.in_view()
            self.mark(indices)
            self.lassoed.emit(indices)
        else:
            super().keyPressEvent(event)
