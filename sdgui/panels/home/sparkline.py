"""A curve without axes, a finger's breadth high."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from sdgui.widgets.style.theme import SPACE, run_color, theme

_WIDTH = 1.5  # px
_DOT = 2.5  # px, radius of the last point


class Sparkline(QWidget):
    """Draws ``show_curve``'s values from edge to edge; the last one has a dot."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: tuple[float, ...] = ()
        self._color = 0
        self.setFixedHeight(5 * SPACE)
        self.setMinimumWidth(10 * SPACE)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(16 * SPACE, 5 * SPACE)

    def show_curve(self, values: Sequence[float], color: int, name: str) -> None:
        """``color``: the run's palette index; ``name``: the metric, for those who cannot see the curve."""
        self._values, self._color = tuple(values), color
        points = "1 point" if len(values) == 1 else f"{len(values)} points"
        self.setAccessibleName(f"{name}, {points}, last {self._values[-1]:.4g}" if values else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if len(self._values) < 2:
            return
        low, high = min(self._values), max(self._values)
        room = self.rect().adjusted(3, 3, -4, -3)
        across, up = room.width() / (len(self._values) - 1), room.height() / ((high - low) or 1.0)
        line = QPolygonF(
            [QPointF(room.left() + i * across, room.bottom() - (v - low) * up) for i, v in enumerate(self._values)]
        )
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(run_color(self._color), _WIDTH))
        painter.drawPolyline(line)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(run_color(self._color))
        painter.drawEllipse(line.last(), _DOT, _DOT)
        painter.end()
