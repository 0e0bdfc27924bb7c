"""How a confusion matrix is painted: the colours of its levels, labels where there is room, counts, the chosen cell.

Flow: ``ConfusionMatrix`` holds the view and calls ``MatrixPainter.draw`` with the picture of its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPen

from sdgui.panels.classify.tabs.matrix.cells import STEPS
from sdgui.widgets.formats import count
from sdgui.widgets.style.theme import SPACE, theme

if TYPE_CHECKING:
    from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix

_LABELS = 18 * SPACE  # px, at most
_COUNTS = 22  # px a cell from which counts are written into it
_NICE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Colours:
    """The colours of the levels in the theme in force: right ones in one hue, mistakes in another."""

    def __init__(self) -> None:
        look = theme()
        ground = look.color("surface")
        right, wrong = look.color("accent"), look.run_color(1)
        self.table: NDArray[np.uint32] = np.concatenate([_ramp(ground, right), _ramp(ground, wrong)])


def _ramp(ground: QColor, full: QColor) -> NDArray[np.uint32]:
    """``STEPS`` colours as 0xffRRGGBB."""
    ends = [np.array([one.red(), one.green(), one.blue()], dtype=float) for one in (ground, full)]
    share = np.linspace(0, 1, STEPS)[:, None]
    red, green, blue = np.rint(ends[0] + share * (ends[1] - ends[0])).astype(np.uint32).T
    table: NDArray[np.uint32] = np.uint32(0xFF000000) | (red << np.uint32(16)) | (green << np.uint32(8)) | blue
    return table


class MatrixPainter:
    """Knows the room that labels take."""

    def __init__(self, matrix: ConfusionMatrix) -> None:
        self._matrix = matrix
        self._side = self._head = 3 * SPACE

    def measure(self, classes: Sequence[str]) -> None:
        """Room for the longest name, within bounds; of many names a sample is measured."""
        metrics = QFontMetrics(theme().font("small"))
        longest = sorted(classes, key=len)[-20:]
        width = max((metrics.horizontalAdvance(_line(name)) for name in longest), default=0)
        self._side = min(_LABELS, width + SPACE) + metrics.height() + SPACE // 2
        self._head = min(12 * SPACE, width + SPACE) + metrics.height() + SPACE // 2

    def plot(self, room: QRect) -> QRect:
        """What is left for the cells."""
        side = min(self._side, room.width() // 3)
        head = min(self._head, room.height() // 3)
        return room.adjusted(side, head, -SPACE // 2, -SPACE // 2)

    def draw(self, painter: QPainter, picture: QImage) -> None:
        """Everything."""
        matrix, look = self._matrix, theme()
        area = matrix.plot()
        painter.fillRect(matrix.rect(), look.color("surface"))
        painter.drawImage(area.topLeft(), picture)
        painter.setFont(look.font("small"))
        painter.save()
        painter.setClipRect(area)
        self._bands(painter, area)
        if matrix.scale >= _COUNTS:
            self._counts(painter)
        self._frames(painter)
        painter.restore()
        size = len(matrix.classes)
        within = QRectF(area.x(), area.y(), *(min(side, size * matrix.scale) for side in (area.width(), area.height())))
        painter.setPen(QPen(look.color("border"), 1))
        painter.drawRect(within)
        self._labels(painter, area)
        self._titles(painter, area)
        if matrix.hasFocus():
            painter.setPen(QPen(look.color("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(matrix.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def _bands(self, painter: QPainter, area: QRect) -> None:
        """The row and the column under the mouse."""
        place = self._matrix.hovered_place()
        if place is None:
            return
        cell = self._matrix.cell_rect(*place)
        tint = theme().color("text")
        tint.setAlphaF(0.10)
        painter.fillRect(QRectF(area.x(), cell.y(), area.width(), max(1.0, cell.height())), tint)
        painter.fillRect(QRectF(cell.x(), area.y(), max(1.0, cell.width()), area.height()), tint)

    def _counts(self, painter: QPainter) -> None:
        matrix, look = self._matrix, theme()
        rows, columns = matrix.in_view()
        for row, column, number in matrix.cells.cells_in(rows, columns):
            if matrix.mistakes_only and row == column:
                continue
            share = number / max(1, int(matrix.cells.totals[matrix.cells.order[row]]))
            strong = share > (0.3 if row == column else 0.5)
            painter.setPen(look.color("on_accent") if strong and row == column else look.color("text"))
            painter.drawText(matrix.cell_rect(row, column), int(Qt.AlignmentFlag.AlignCenter), count(number))

    def _frames(self, painter: QPainter) -> None:
        """Around the chosen cell; of a size that can be seen."""
        place, look = self._matrix.current_place(), theme()
        if place is None:
            return
        cell = self._matrix.cell_rect(*place)
        grow = max(0.0, (SPACE - cell.width()) / 2)
        frame = cell.adjusted(-grow, -grow, grow, grow)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(look.color("surface"), 4))
        painter.drawRect(frame)
        painter.setPen(QPen(look.color("text"), 2))
        painter.drawRect(frame)

    # Labels
    def _labels(self, painter: QPainter, area: QRect) -> None:
        matrix, metrics = self._matrix, painter.fontMetrics()
        every = self.label_step(metrics.height())
        rows, columns = matrix.in_view()
        marked = [place for place in (matrix.current_place(), matrix.hovered_place()) if place is not None]
        for upright, span, chosen in (
            (False, rows, {place[0] for place in marked}),
            (True, columns, {place[1] for place in marked}),
        ):
            taken = sorted(chosen & set(span))
            shown = range(-(-span.start // every) * every, span.stop, every)
            for place in shown:
                if all(abs(place - other) * matrix.scale >= metrics.height() for other in taken):
                    self._label(painter, area, place, upright, marked=False)
            drawn: list[int] = []
            for place in taken:
                if all(abs(place - other) * matrix.scale >= metrics.height() for other in drawn):
                    self._label(painter, area, place, upright, marked=True)
                    drawn.append(place)

    def label_step(self, height: int) -> int:
        """Every how-manieth class has room for its name."""
        wanted = height / self._matrix.scale
        return next((step for step in _NICE if step >= wanted), 10_000)

    def _label(self, painter: QPainter, area: QRect, place: int, upright: bool, marked: bool) -> None:
        matrix, look, metrics = self._matrix, theme(), painter.fontMetrics()
        name = _line(matrix.classes[int(matrix.cells.order[place])])
        cell = matrix.cell_rect(place, place)
        room = (area.y() if upright else area.x()) - metrics.height() - SPACE
        text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, room)
        painter.setPen(look.color("text" if marked or matrix.scale >= metrics.height() else "muted"))
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

    def _titles(self, painter: QPainter, area: QRect) -> None:
        """What the two sides are."""
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


def _line(name: str) -> str:
    return " ".join(name.split())
