"""Paints a confusion matrix: the colours of its levels, labels if they fit, counts, and the current cell.

Flow: ``ConfusionMatrix`` describes itself as a ``Scene``; ``MatrixPainter.draw`` paints the scene over its cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPen

from sdgui.panels.classify.tabs.matrix.cells import COLOUR_LEVELS
from sdgui.panels.classify.tabs.matrix.view import Scene
from sdgui.widgets.formats import count
from sdgui.widgets.style.theme import SPACE, theme

_MAX_LABEL_WIDTH = 18 * SPACE  # px
_MIN_COUNT_SIZE = 22  # px per cell; counts are painted in larger cells
_LABEL_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # every n-th class is labelled


class Colours:
    """The colours of the levels in the current theme: correct predictions in one hue, mistakes in another."""

    def __init__(self) -> None:
        style = theme()
        ground = style.color("surface")
        right, wrong = style.color("accent"), style.run_color(1)
        self.table: NDArray[np.uint32] = np.concatenate([_ramp(ground, right), _ramp(ground, wrong)])


def _ramp(ground: QColor, full: QColor) -> NDArray[np.uint32]:
    """A gradient of ``COLOUR_LEVELS`` colours as 0xffRRGGBB."""
    ends = [np.array([color.red(), color.green(), color.blue()], dtype=float) for color in (ground, full)]
    share = np.linspace(0, 1, COLOUR_LEVELS)[:, None]
    red, green, blue = np.rint(ends[0] + share * (ends[1] - ends[0])).astype(np.uint32).T
    table: NDArray[np.uint32] = np.uint32(0xFF000000) | (red << np.uint32(16)) | (green << np.uint32(8)) | blue
    return table


class MatrixPainter:
    """Paints a ``Scene``; ``measure`` reserves the room for labels."""

    def __init__(self) -> None:
        self._side = self._head = 3 * SPACE  # room for labels on the left and at the top, in px

    def measure(self, classes: Sequence[str]) -> None:
        """Reserve room for the longest names, within bounds."""
        metrics = QFontMetrics(theme().font("small"))
        longest = sorted(classes, key=len)[-20:]
        width = max((metrics.horizontalAdvance(_on_one_line(name)) for name in longest), default=0)
        self._side = min(_MAX_LABEL_WIDTH, width + SPACE) + metrics.height() + SPACE // 2
        self._head = min(12 * SPACE, width + SPACE) + metrics.height() + SPACE // 2

    def plot(self, room: QRect) -> QRect:
        """The part of ``room`` that the cells occupy."""
        side = min(self._side, room.width() // 3)
        head = min(self._head, room.height() // 3)
        return room.adjusted(side, head, -SPACE // 2, -SPACE // 2)

    def draw(self, painter: QPainter, bounds: QRect, scene: Scene, cells: QImage) -> None:
        """Paint ``scene`` into ``bounds`` of the widget. ``cells``: the image of the visible cells."""
        style, view = theme(), scene.viewport
        area = view.area
        painter.fillRect(bounds, style.color("surface"))
        painter.drawImage(area.topLeft(), cells)
        painter.setFont(style.font("small"))
        painter.save()
        painter.setClipRect(area)
        self._paint_bands(painter, scene)
        if view.scale >= _MIN_COUNT_SIZE:
            self._paint_counts(painter, scene)
        self._paint_frames(painter, scene)
        painter.restore()
        extents = (min(side, view.size * view.scale) for side in (area.width(), area.height()))
        painter.setPen(QPen(style.color("border"), 1))
        painter.drawRect(QRectF(area.x(), area.y(), *extents))
        self._paint_labels(painter, scene)
        self._paint_titles(painter, area)
        if scene.focused:
            painter.setPen(QPen(style.color("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(bounds).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def _paint_bands(self, painter: QPainter, scene: Scene) -> None:
        """Highlight the row and the column under the mouse."""
        if scene.hovered is None:
            return
        area, cell = scene.viewport.area, scene.viewport.cell_rect(*scene.hovered)
        tint = theme().color("text")
        tint.setAlphaF(0.10)
        painter.fillRect(QRectF(area.x(), cell.y(), area.width(), max(1.0, cell.height())), tint)
        painter.fillRect(QRectF(cell.x(), area.y(), max(1.0, cell.width()), area.height()), tint)

    def _paint_counts(self, painter: QPainter, scene: Scene) -> None:
        style, cells = theme(), scene.cells
        rows, columns = scene.viewport.visible()
        for row, column, number in cells.cells_in(rows, columns):
            if scene.mistakes_only and row == column:
                continue
            share = number / max(1, int(cells.totals[cells.order[row]]))
            is_on_accent = row == column and share > 0.3  # only the diagonal has the accent colour
            painter.setPen(style.color("on_accent" if is_on_accent else "text"))
            painter.drawText(scene.viewport.cell_rect(row, column), int(Qt.AlignmentFlag.AlignCenter), count(number))

    def _paint_frames(self, painter: QPainter, scene: Scene) -> None:
        """Frame the current cell so that even a tiny cell is visible."""
        if scene.current is None:
            return
        style, cell = theme(), scene.viewport.cell_rect(*scene.current)
        grow = max(0.0, (SPACE - cell.width()) / 2)
        frame = cell.adjusted(-grow, -grow, grow, grow)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(style.color("surface"), 4))
        painter.drawRect(frame)
        painter.setPen(QPen(style.color("text"), 2))
        painter.drawRect(frame)

    # Labels
    def _paint_labels(self, painter: QPainter, scene: Scene) -> None:
        view, height = scene.viewport, painter.fontMetrics().height()
        every = label_step(height, view.scale)
        rows, columns = view.visible()
        marked_cells = [cell for cell in (scene.current, scene.hovered) if cell is not None]
        for upright, span, highlighted in (
            (False, rows, {row for row, _ in marked_cells}),
            (True, columns, {column for _, column in marked_cells}),
        ):
            highlighted_positions = sorted(highlighted & set(span))
            for position in range(-(-span.start // every) * every, span.stop, every):
                if all(
                    abs(position - drawn_position) * view.scale >= height for drawn_position in highlighted_positions
                ):
                    self._paint_label(painter, scene, position, upright, marked=False)
            drawn_positions: list[int] = []
            for position in highlighted_positions:
                if all(abs(position - drawn_position) * view.scale >= height for drawn_position in drawn_positions):
                    self._paint_label(painter, scene, position, upright, marked=True)
                    drawn_positions.append(position)

    def _paint_label(self, painter: QPainter, scene: Scene, position: int, upright: bool, marked: bool) -> None:
        style, metrics, area = theme(), painter.fontMetrics(), scene.viewport.area
        name = _on_one_line(scene.class_names[int(scene.cells.order[position])])
        cell = scene.viewport.cell_rect(position, position)
        room = (area.y() if upright else area.x()) - metrics.height() - SPACE
        text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, room)
        painter.setPen(style.color("text" if marked or scene.viewport.scale >= metrics.height() else "muted"))
        half = metrics.height() / 2
        painter.save()
        if upright:
            middle = min(max(cell.center().x(), area.x() + half), area.right() - half)
            painter.translate(middle, area.y() - SPACE / 2)
            painter.rotate(-90)
            painter.drawText(QRectF(0, -half, room, 2 * half), int(_LEFT), text)
        else:
            middle = min(max(cell.center().y(), area.y() + half), area.bottom() - half)
            edge = area.x() - SPACE / 2
            painter.drawText(QRectF(edge - room, middle - half, room, 2 * half), int(_RIGHT), text)
        painter.restore()

    def _paint_titles(self, painter: QPainter, area: QRect) -> None:
        """Paint the titles of the two axes."""
        height = painter.fontMetrics().height()
        painter.setPen(theme().color("muted"))
        painter.drawText(QRectF(area.x(), 0, area.width(), height), int(_LEFT), "predicted →")
        painter.save()
        painter.translate(QPointF(0, area.y() + area.height()))
        painter.rotate(-90)
        painter.drawText(QRectF(0, 0, area.height(), height), int(_RIGHT), "← true")
        painter.restore()


_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def label_step(height: int, scale: float) -> int:
    """n such that the names of every n-th class fit, at ``height`` px per name and ``scale`` px per class."""
    return next((step for step in _LABEL_STEPS if step >= height / scale), 10_000)


def _on_one_line(name: str) -> str:
    return " ".join(name.split())
