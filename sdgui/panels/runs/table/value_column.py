"""The columns of values: state icon and text, painted by one call per cell.

Qt's own delegate asks the model for eight roles per cell and lays the cell out through the stylesheet, which takes most
of a frame of a scroll.
"""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.panels.runs.table.model import RunTableModel
from sdgui.widgets.style.theme import SPACE, theme

_MARGIN = SPACE - 1  # aligns with the titles in the header
_ICON, _GAP = 2 * SPACE, SPACE - 2  # width of an icon, and the gap between it and the text, in px
_TEXT_FLAGS = int(Qt.AlignmentFlag.AlignVCenter) | int(Qt.TextFlag.TextSingleLine)
_LEFT, _RIGHT = _TEXT_FLAGS | int(Qt.AlignmentFlag.AlignLeft), _TEXT_FLAGS | int(Qt.AlignmentFlag.AlignRight)


class ValueDelegate(QStyledItemDelegate):
    """Paints a value in the view's font and colour; the current cell is marked in the name column only."""

    def __init__(self, model: RunTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        cell = option.rect
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(cell, theme().color("selection"))
        text, is_right, state = self._model.painted_cell(index.row(), index.column())
        left = cell.left() + _MARGIN
        if state:
            top = cell.top() + (cell.height() - _ICON) // 2
            theme().state_icon(state).paint(painter, QRect(left, top, _ICON, _ICON))
            left += _ICON + _GAP
        width = cell.right() + 1 - _MARGIN - left
        if text and width > 0:
            text = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
            painter.drawText(left, cell.top(), width, cell.height(), _RIGHT if is_right else _LEFT, text)
