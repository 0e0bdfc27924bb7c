"""The first column of the table: the arrow of a group, the tick of a run with its colour, and the name."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.panels.runs.table.model import RunTableModel
from sdgui.widgets.style.theme import SPACE, theme

Index = QModelIndex | QPersistentModelIndex
_BOX = 2 * SPACE
_INDENT = 2 * SPACE


class NameDelegate(QStyledItemDelegate):
    """Paints the name column; ``tick_rect`` and ``arrow_rect`` are where its parts are clicked."""

    def __init__(self, model: RunTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model

    def tick_rect(self, cell: QRect, index: Index) -> QRect:
        """Where a run's tick is."""
        row = self._model.row(index)
        indent = _INDENT if row is not None and row.group is not None else 0
        left = cell.left() + SPACE // 2 + indent
        return QRect(left, cell.center().y() - _BOX // 2 + 1, _BOX, _BOX)

    def arrow_rect(self, cell: QRect) -> QRect:
        """Where a group is opened and closed."""
        return QRect(cell.left() + SPACE // 2, cell.center().y() - _BOX // 2 + 1, _BOX, _BOX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row = self._model.row(index)
        if row is None:
            return
        style = theme()
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.fillRect(option.rect, style.color("selection" if selected else "surface"))
        if row.run_id is None:
            assert row.group is not None
            name = "caret-down" if self._model.rows.is_open(row.group) else "caret-right"
            style.icon(f"ph.{name}").paint(painter, self.arrow_rect(option.rect))
            rest = option.rect.adjusted(3 * SPACE, 0, -SPACE // 2, 0)
        else:
            box = self.tick_rect(option.rect, index)
            self._paint_tick(painter, box, self._model.ticks.get(row.run_id))
            rest = option.rect.adjusted(box.right() - option.rect.left() + SPACE, 0, -SPACE // 2, 0)
        painter.setFont(style.font("title" if row.run_id is None else "text"))
        painter.setPen(style.color("text"))
        text = painter.fontMetrics().elidedText(str(index.data()), Qt.TextElideMode.ElideMiddle, rest.width())
        painter.drawText(rest, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(style.color("accent"), 1))
            painter.drawRect(option.rect.adjusted(0, 0, -1, -1))

    def _paint_tick(self, painter: QPainter, box: QRect, color: int | None) -> None:
        """An empty box, or one filled with the run's colour and a check."""
        style = theme()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inner = box.adjusted(1, 1, -1, -1)
        painter.setPen(QPen(style.color("strong_border"), 1))
        painter.setBrush(style.color("surface") if color is None else style.run_color(color))
        painter.drawRoundedRect(inner, 3, 3)
        if color is not None:
            painter.setPen(QPen(style.color("surface"), 2))  # every colour of a run holds 3:1 against it
            x, y = inner.left(), inner.top()
            painter.drawLine(x + 3, y + 7, x + 6, y + 10)
            painter.drawLine(x + 6, y + 10, x + 11, y + 4)
        painter.restore()
