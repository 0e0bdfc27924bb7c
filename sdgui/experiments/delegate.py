"""Painting a row of the tree: two lines, state by icon and text, the best value at the right."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.experiments.filter import Role
from sdgui.widgets.style.theme import SPACE, theme

_ICON = 16

Index = QModelIndex | QPersistentModelIndex


class ExperimentDelegate(QStyledItemDelegate):
    """Paints experiments and studies."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        lines = theme().font("title").pointSizeF() and (
            option.fontMetrics.height() + int(option.fontMetrics.height() * 0.95)
        )
        return QSize(20 * SPACE, int(lines) + SPACE + SPACE // 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = option.rect.adjusted(SPACE // 2, SPACE // 2, -SPACE, -SPACE // 2)
        upper = QRect(room.left(), room.top(), room.width(), room.height() * 52 // 100)
        lower = QRect(room.left(), upper.bottom() + 1, room.width(), room.bottom() - upper.bottom())
        self._upper(painter, upper, index)
        self._lower(painter, lower, index)
        painter.restore()

    def _upper(self, painter: QPainter, room: QRect, index: Index) -> None:
        painter.setFont(theme().font("title"))
        metrics = painter.fontMetrics()
        painter.setPen(theme().color("text"))
        best = index.data(Role.BEST) or ""
        painter.drawText(room, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), best)
        title_room = room.adjusted(0, 0, -(metrics.horizontalAdvance(best) + SPACE if best else 0), 0)
        title = metrics.elidedText(str(index.data() or ""), Qt.TextElideMode.ElideRight, title_room.width())
        painter.drawText(title_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), title)
        tags = index.data(Role.TAGS)
        if tags:
            after = title_room.adjusted(metrics.horizontalAdvance(title) + SPACE, 0, 0, 0)
            painter.setFont(theme().font("small"))
            painter.setPen(theme().color("accent_text"))
            tag_text = painter.fontMetrics().elidedText(tags, Qt.TextElideMode.ElideRight, after.width())
            painter.drawText(after, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), tag_text)

    def _lower(self, painter: QPainter, room: QRect, index: Index) -> None:
        painter.setFont(theme().font("small"))
        metrics = painter.fontMetrics()
        state = index.data(Role.STATE)
        detail_room = QRect(room)
        if state:
            icon = QRect(detail_room.left(), detail_room.top() + (detail_room.height() - _ICON) // 2, _ICON, _ICON)
            theme().state_icon(state).paint(painter, icon)
            detail_room.setLeft(detail_room.left() + _ICON + SPACE // 2)
        painter.setPen(theme().color("muted"))
        detail = metrics.elidedText(index.data(Role.DETAIL) or "", Qt.TextElideMode.ElideRight, detail_room.width())
        painter.drawText(detail_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), detail)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        editor.setGeometry(option.rect.adjusted(2, 2, -2, -2))
