"""The visible part of a confusion matrix, and everything that its painter needs, as plain values.

Flow: ``ConfusionMatrix`` replaces its ``Viewport`` when the user zooms or pans; ``MatrixPainter`` paints a ``Scene``
and does not depend on the widget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF

from sdgui.panels.classify.tabs.matrix.cells import ConfusionCells


@dataclass(frozen=True)
class Viewport:
    """Cells of ``scale`` px in ``area`` (px of the widget), whose top left corner is at cell (``top``, ``left``)."""

    area: QRect
    size: int  # number of classes
    scale: float = 1.0
    left: float = 0.0  # in cells, may be fractional
    top: float = 0.0

    def cell_rect(self, row: int, column: int) -> QRectF:
        """The rectangle of the cell at this display position."""
        x = self.area.x() + (column - self.left) * self.scale
        y = self.area.y() + (row - self.top) * self.scale
        return QRectF(x, y, self.scale, self.scale)

    def visible(self) -> tuple[range, range]:
        """The visible rows and columns."""
        last_row = min(self.size, math.ceil(self.top + self.area.height() / self.scale))
        last_column = min(self.size, math.ceil(self.left + self.area.width() / self.scale))
        return range(int(self.top), last_row), range(int(self.left), last_column)

    def fractional_position(self, point: QPointF) -> tuple[float, float]:
        """Fractional row and column at ``point``, which may lie outside the matrix."""
        return (
            self.top + (point.y() - self.area.y()) / self.scale,
            self.left + (point.x() - self.area.x()) / self.scale,
        )

    def position_at(self, point: QPointF) -> tuple[int, int] | None:
        """Row and column under ``point``; None outside the matrix."""
        if not self.area.contains(point.toPoint()):
            return None
        row, column = self.fractional_position(point)
        inside = 0 <= row < self.size and 0 <= column < self.size
        return (int(row), int(column)) if inside else None


@dataclass(frozen=True)
class Scene:
    """A confusion matrix to paint. ``current`` and ``hovered``: row and column in the display."""

    viewport: Viewport
    class_names: Sequence[str]
    cells: ConfusionCells
    mistakes_only: bool = False
    current: tuple[int, int] | None = None
    hovered: tuple[int, int] | None = None
    focused: bool = False
