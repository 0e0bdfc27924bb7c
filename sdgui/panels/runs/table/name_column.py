"""The first column of the table: a group's arrow, a check box in the colour of the curve, and the name."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.panels.runs.table.model import RunTableModel
from sdgui.widgets.style.theme import SPACE, theme

Index = QModelIndex | QPersistentModelIndex
_CHECKBOX_SIZE = 2 * SPACE  # side of a checkbox in px
_INDENT = 2 * SPACE + SPACE // 2  # px per level of the tree


class NameDelegate(QStyledItemDelegate):
    """Paints the name column; ``tick_rect`` and ``arrow_rect`` return its clickable areas."""

    def __init__(self, model: RunTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model

    def tick_rect(self, cell: QRect, index: Index) -> QRect:
        """The area of the check box of a run or group."""
        row = self._model.row(index)
        depth = 0 if row is None or row.group is None else 1 if row.is_group else 2
        left = cell.left() + SPACE // 2 + depth * _INDENT
        return QRect(left, cell.center().y() - _CHECKBOX_SIZE // 2 + 1, _CHECKBOX_SIZE, _CHECKBOX_SIZE)

    def arrow_rect(self, cell: QRect) -> QRect:
        """The area of the arrow that expands and collapses a group."""
        return QRect(
            cell.left() + SPACE // 2, cell.center().y() - _CHECKBOX_SIZE // 2 + 1, _CHECKBOX_SIZE, _CHECKBOX_SIZE
        )

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row = self._model.row(index)
        if row is None:
            return
        style = theme()
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.fillRect(option.rect, style.color("selection" if selected else "surface"))
        if row.run_id is None:
            assert row.group is not None
            arrow = "caret-down" if self._model.rows.is_open(row.group) else "caret-right"
            style.icon(f"ph.{arrow}").paint(painter, self.arrow_rect(option.rect))
        box = self.tick_rect(option.rect, index)
        self._paint_tick(painter, box, self._model.color(index), self._model.check_state(row))
        text_rect = option.rect.adjusted(box.right() - option.rect.left() + SPACE, 0, -SPACE // 2, 0)
        painter.setFont(style.font("title" if row.run_id is None else "text"))
        painter.setPen(style.color("text"))
        name, _, _ = self._model.painted_cell(index.row(), 0)
        text = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, text_rect.width())
        painter.drawText(text_rect, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(style.color("accent"), 1))
            painter.drawRect(option.rect.adjusted(0, 0, -1, -1))

    def _paint_tick(self, painter: QPainter, box: QRect, color: int | None, state: Qt.CheckState) -> None:
        """Paint a box in the curve's colour with a check mark, or a bar if only some runs of a group are ticked."""
        style = theme()
        ink = style.color("strong_border") if color is None else style.run_color(color)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inner = box.adjusted(1, 1, -1, -1)
        painter.setPen(QPen(ink, 2))
        painter.setBrush(style.color("surface") if state == Qt.CheckState.Unchecked else ink)
        painter.drawRoundedRect(inner, 3, 3)
        painter.setPen(QPen(style.color("surface"), 2))  # run colours have a contrast of at least 3:1 to this colour
        x, y = inner.left(), inner.top()
        if state == Qt.CheckState.Checked:
            painter.drawLine(x + 3, y + 7, x + 6, y + 10)
            painter.drawLine(x + 6, y + 10, x + 11, y + 4)
        elif state == Qt.CheckState.PartiallyChecked:
            painter.drawLine(x + 3, inner.center().y(), inner.right() - 3, inner.center().y())
        painter.restore()
