"""The visible part of a confusion matrix, and everything that its painter needs, as plain values.

Flow: ``ConfusionMatrix`` holds a ``Viewport`` and replaces it when the user zooms or pans; ``MatrixPainter`` is given a
``Scene`` and knows nothing of the widget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF

from sdgui.panels.classify.tabs.matrix.cells import ConfusionCells


@dataclass(frozen=True)
class Viewport:
    """Cells of ``scale`` px in ``area`` (px of the widget), whose corner is at cell (``top``, ``left``)."""

    area: QRect
    size: int  # classes
    scale: float = 1.0
    left: float = 0.0  # cells, with fractions
    top: float = 0.0

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Where a cell of the display is drawn."""
        x = self.area.x() + (column - self.left) * self.scale
        y = self.area.y() + (row - self.top) * self.scale
        return QRectF(x, y, self.scale, self.scale)

    def visible(self) -> tuple[range, range]:
        """Rows and columns of the display that are on screen."""
        last_row = min(self.size, math.ceil(self.top + self.area.height() / self.scale))
        last_column = min(self.size, math.ceil(self.left + self.area.width() / self.scale))
        return range(int(self.top), last_row), range(int(self.left), last_column)

    def cell_at(self, point: QPointF) -> tuple[float, float]:
        """Column and row of the display at ``point``, with fractions; also outside of the matrix."""
        return (
            self.left + (point.x() - self.area.x()) / self.scale,
            self.top + (point.y() - self.area.y()) / self.scale,
        )

    def position_at(self, point: QPointF) -> tuple[int, int] | None:
        """Row and column of the display under ``point``; None outside of the matrix."""
        if not self.area.contains(point.toPoint()):
            return None
        x, y = self.cell_at(point)
        inside = 0 <= x < self.size and 0 <= y < self.size
        return (int(y), int(x)) if inside else None


@dataclass(frozen=True)
class Scene:
    """What to paint of a confusion matrix; ``current`` and ``hovered`` are rows and columns of the display."""

    viewport: Viewport
    classes: Sequence[str]
    cells: ConfusionCells
    mistakes_only: bool = False
    current: tuple[int, int] | None = None
    hovered: tuple[int, int] | None = None
    focused: bool = False
