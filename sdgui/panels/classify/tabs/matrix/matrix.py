"""A confusion matrix for ten to thousands of classes: zoom, pan, labels when there is room.

Flow: ``set_matrix`` -> ``ConfusionCells`` computes the colour level of each visible pixel -> colours -> one image,
cached until the view changes; labels, counts and the current cell are painted on top. A click or Enter on a cell ->
``cell_chosen``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QToolTip, QWidget

from sdgui.panels.classify.tabs.matrix.cells import ConfusionCells
from sdgui.panels.classify.tabs.matrix.paint import Colours, MatrixPainter
from sdgui.panels.classify.tabs.matrix.view import Scene, Viewport
from sdgui.widgets.formats import count, percent
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_MAX_CELL_SIZE = 64.0  # px
_ZOOM_FACTOR = 1.25  # per wheel notch or key press
_MIN_DRAG = 4  # px; a shorter movement is a click


class ConfusionMatrix(QWidget):
    """Rows are the true classes, columns the predicted ones; the colour is the share of the true class.

    Keys: arrows move (with Ctrl: the view), Page Up and Page Down move by a screen, Home and End along the row, + and -
    zoom, 0 shows everything, N and P go to the next and previous mistake, Enter selects. Mouse: wheel zooms, drag pans.
    """

    cell_chosen = Signal(int, int)  # true class, predicted class
    current_changed = Signal(int, int)  # true class, predicted class

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.class_names: list[str] = []
        self.cells = ConfusionCells(0, [], [], [])
        self._scale, self._left_cell, self._top_cell = 1.0, 0.0, 0.0
        self._fitting = True  # whether the full matrix is shown, also after resizing
        self._mistakes_only = False
        self._current_position: tuple[int, int] | None = None  # row and column in the display
        self._hovered: tuple[int, int] | None = None  # position under the mouse
        self._pressed: QPointF | None = None  # last mouse position while a button is pressed
        self._dragged = False
        self._image: QImage | None = None
        self._paint = MatrixPainter()
        self._colours = Colours()
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(30 * SPACE, 25 * SPACE)
        self.setAccessibleName("Confusion matrix")
        theme().changed.connect(self._restyle)
        self._describe()

    # Display
    def set_matrix(self, classes: Sequence[str], true: ArrayLike, predicted: ArrayLike, count: ArrayLike) -> None:
        """Show a matrix, given by its non-empty cells, zoomed out to the full matrix."""
        self.class_names = list(classes)
        self.cells = ConfusionCells(len(self.class_names), true, predicted, count)
        self._current_position = (0, 0) if self.class_names else None
        self._hovered = None
        self._paint.measure(self.class_names)
        self.fit()
        self._describe()

    def set_order(self, order: Sequence[int]) -> None:
        """Set the display order of the classes."""
        selected = self.current_classes()
        self.cells.set_order(order)
        if selected is not None:
            self._current_position = self._position_of(*selected)
        self._redraw()

    def set_mistakes_only(self, only: bool) -> None:
        """Hide or show the diagonal."""
        self._mistakes_only = only
        self._redraw()

    def current_classes(self) -> tuple[int, int] | None:
        """The true and predicted class of the current cell; None if there is none."""
        return self._classes_at(self._current_position)

    def scene(self) -> Scene:
        """Everything that ``MatrixPainter`` paints."""
        return Scene(
            self.viewport(),
            self.class_names,
            self.cells,
            self._mistakes_only,
            self._current_position,
            self._hovered,
            self.hasFocus(),
        )

    def set_current(self, true: int, predicted: int) -> None:
        """Go to the cell (``true``, ``predicted``) and scroll it into view."""
        self._set_current_position(*self._position_of(true, predicted))

    def sentence(self, classes: tuple[int, int] | None = None) -> str:
        """A sentence on the cell of these classes (true, predicted); by default on the current cell."""
        classes = classes or self.current_classes()
        if classes is None:
            return "The matrix is empty."
        true, predicted = classes
        total, number = int(self.cells.totals[true]), self.cells.count_at(true, predicted)
        share = f" ({percent(number / total)})" if total else ""
        name = self.class_names[true]
        if true == predicted:
            return f"{name}: {count(number)} of {count(total)} correct{share}"
        return f"{name} predicted as {self.class_names[predicted]}: {count(number)} of {count(total)}{share}"

    # The view
    def viewport(self) -> Viewport:
        """The visible part of the matrix, without the labels."""
        area = self._paint.plot(self.rect())
        return Viewport(area, len(self.class_names), self._scale, self._left_cell, self._top_cell)

    def fit(self) -> None:
        """Fit the full matrix into the widget, also after resizing."""
        self._fitting = True
        area, size = self.viewport().area, max(1, len(self.class_names))
        self._scale = min(_MAX_CELL_SIZE, max(1, area.width()) / size, max(1, area.height()) / size)
        self._left_cell = self._top_cell = 0.0
        self._redraw()

    def zoom(self, factor: float, anchor: QPointF | None = None) -> None:
        """Zoom around ``anchor`` (default: the current cell if visible, otherwise the centre)."""
        view = self.viewport()
        area = view.area
        point = anchor or self._anchor(view)
        row, column = view.fractional_position(point)
        smallest = min(area.width(), area.height()) / max(1, len(self.class_names))
        self._scale = min(max(self._scale * factor, min(smallest, _MAX_CELL_SIZE)), _MAX_CELL_SIZE)
        self._fitting = self._scale <= smallest
        self._left_cell, self._top_cell = (
            column - (point.x() - area.x()) / self._scale,
            row - (point.y() - area.y()) / self._scale,
        )
        self._keep_inside()

    def _anchor(self, view: Viewport) -> QPointF:
        if self._current_position is not None:
            middle = view.cell_rect(*self._current_position).center()
            if QRectF(view.area).contains(middle):
                return middle
        return QPointF(view.area.center())

    def pan(self, cells_x: float, cells_y: float) -> None:
        """Move the view by some cells."""
        self._left_cell, self._top_cell, self._fitting = self._left_cell + cells_x, self._top_cell + cells_y, False
        self._keep_inside()

    def _keep_inside(self) -> None:
        area, size = self.viewport().area, len(self.class_names)
        self._left_cell = min(max(0.0, self._left_cell), max(0.0, size - area.width() / self._scale))
        self._top_cell = min(max(0.0, self._top_cell), max(0.0, size - area.height() / self._scale))
        self._redraw()

    def _classes_at(self, position: tuple[int, int] | None) -> tuple[int, int] | None:
        if position is None:
            return None
        row, column = position
        return int(self.cells.order[row]), int(self.cells.order[column])

    def _position_of(self, true: int, predicted: int) -> tuple[int, int]:
        """Row and column of a cell in the display."""
        return int(self.cells.display_position[true]), int(self.cells.display_position[predicted])

    # Drawing
    def image(self) -> QImage:
        """The image of the visible cells in screen resolution."""
        if self._image is None:
            ratio = self.devicePixelRatioF()
            view = self.viewport()
            area = view.area
            width, height = max(1, round(area.width() * ratio)), max(1, round(area.height() * ratio))
            scale = view.scale * ratio
            levels = self.cells.levels(view.left, view.top, scale, width, height, self._mistakes_only)
            pixels = np.ascontiguousarray(self._colours.table[levels])  # (H, W) uint32
            image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGB32).copy()
            image.setDevicePixelRatio(ratio)
            self._image = image
        return self._image

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        self._paint.draw(painter, self.rect(), self.scene(), self.image())
        painter.end()

    def _redraw(self) -> None:
        self._image = None
        self.update()

    def _restyle(self) -> None:
        self._colours = Colours()
        self._paint.measure(self.class_names)
        self._redraw()

    # User actions
    def _set_current_position(self, row: int, column: int) -> None:
        """Make a cell, given by display position, the current cell and scroll it into view."""
        size = len(self.class_names)
        if not size:
            return
        self._current_position = min(max(row, 0), size - 1), min(max(column, 0), size - 1)
        area = self.viewport().area
        rows, columns = area.height() / self._scale, area.width() / self._scale
        row, column = self._current_position
        if (
            not self._top_cell <= row <= self._top_cell + rows - 1
            or not self._left_cell <= column <= self._left_cell + columns - 1
        ):
            # half a cell remains visible beside the current one
            self._left_cell = min(max(self._left_cell, column + 1.5 - columns), column - 0.5)
            self._top_cell = min(max(self._top_cell, row + 1.5 - rows), row - 0.5)
            self._keep_inside()
        self._describe()
        self.update()
        self.current_changed.emit(*(self.current_classes() or (-1, -1)))

    def next_mistake(self, step: int = 1) -> None:
        """Go to the next mistake, row by row; with ``step`` -1 to the previous one."""
        is_mistake = self.cells.true != self.cells.predicted
        if self._current_position is None or not is_mistake.any():
            return
        size, position = len(self.class_names), self.cells.display_position
        keys = np.sort(position[self.cells.true[is_mistake]] * size + position[self.cells.predicted[is_mistake]])
        current_key = self._current_position[0] * size + self._current_position[1]
        index = (
            np.searchsorted(keys, current_key, "right") if step > 0 else np.searchsorted(keys, current_key, "left") - 1
        )
        key = int(keys[int(index) % len(keys)])
        self._set_current_position(key // size, key % size)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, control = event.key(), bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        row, column = self._current_position or (0, 0)
        screen = max(1, int(self.viewport().area.height() / self._scale) - 1)
        moves = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
            Qt.Key.Key_PageUp: (-screen, 0),
            Qt.Key.Key_PageDown: (screen, 0),
            Qt.Key.Key_Home: (0, -column),
            Qt.Key.Key_End: (0, len(self.class_names)),
        }
        if key in moves:
            down, right = moves[Qt.Key(key)]
            if control:
                pace = max(1.0, 3 * SPACE / self._scale)
                self.pan(right * pace, down * pace)
            else:
                self._set_current_position(row + down, column + right)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(_ZOOM_FACTOR)
        elif key == Qt.Key.Key_Minus:
            self.zoom(1 / _ZOOM_FACTOR)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key in (Qt.Key.Key_N, Qt.Key.Key_P):
            self.next_mistake(1 if key == Qt.Key.Key_N else -1)
        elif (
            key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
            and self._current_position is not None
            and not control
        ):
            self.cell_chosen.emit(*(self.current_classes() or (-1, -1)))
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        turns = event.angleDelta().y() / 120
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.pan(-(turns or event.angleDelta().x() / 120) * 6 * SPACE / self._scale, 0)
        else:
            self.zoom(_ZOOM_FACTOR**turns, event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._pressed, self._dragged = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        if self._pressed is not None:
            offset = point - self._pressed
            if self._dragged or offset.manhattanLength() >= _MIN_DRAG:
                self._dragged, self._pressed = True, point
                self.setCursor(Qt.CursorShape.ClosedHandCursor)
                self.pan(-offset.x() / self._scale, -offset.y() / self._scale)
            return
        self._hover(self.viewport().position_at(point), event.globalPosition().toPoint())

    def _hover(self, position: tuple[int, int] | None, point: QPoint) -> None:
        if position != self._hovered:
            self._hovered = position
            self.update()
        classes = self._classes_at(position)
        QToolTip.showText(point, plain_tip(self.sentence(classes) if classes is not None else ""), self)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        self.unsetCursor()
        if pressed is None or self._dragged or event.button() != Qt.MouseButton.LeftButton:
            return
        position = self.viewport().position_at(event.position())
        if position is not None:
            self._set_current_position(*position)
            self.cell_chosen.emit(*(self.current_classes() or (-1, -1)))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._pressed = None  # so that the second release does not choose the cell again

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._fitting:
            self.fit()
        else:
            self._keep_inside()

    def _describe(self) -> None:
        self.setAccessibleDescription(self.sentence())
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.DescriptionChanged))
