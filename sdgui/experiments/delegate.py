"""Painting a row of the tree: two lines, state by icon and text, figures right, ticks in the runs' colours."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QEvent, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from sdgui.experiments.filter import Role
from sdgui.shared.run_colors import RunColors
from sdgui.widgets.style.theme import SPACE, theme

_TICK = 16
_ICON = 16

Index = QModelIndex | QPersistentModelIndex


class ExperimentDelegate(QStyledItemDelegate):
    """Paints experiments and runs; toggles a run's tick on a click at it. ``colors``: of the runs that are overlaid."""

    def __init__(self, colors: RunColors, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colors = colors

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        lines = theme().font("title").pointSizeF() and (
            option.fontMetrics.height() + int(option.fontMetrics.height() * 0.95)
        )
        return QSize(20 * SPACE, int(lines) + SPACE + SPACE // 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = option.rect.adjusted(SPACE // 2, SPACE // 2, -SPACE, -SPACE // 2)
        if index.data(Role.RUN) is not None:
            self._tick(painter, self._tick_rect(option.rect), index)
            room.setLeft(room.left() + _TICK + SPACE)
        upper = QRect(room.left(), room.top(), room.width(), room.height() * 52 // 100)
        lower = QRect(room.left(), upper.bottom() + 1, room.width(), room.bottom() - upper.bottom())
        self._upper(painter, upper, index)
        self._lower(painter, lower, index)
        painter.restore()

    def _upper(self, painter: QPainter, room: QRect, index: Index) -> None:
        is_run = index.data(Role.RUN) is not None
        painter.setFont(theme().font("text" if is_run else "title"))
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
        time = index.data(Role.TIME) or ""
        painter.drawText(room, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), time)
        detail_room.setRight(detail_room.right() - (metrics.horizontalAdvance(time) + SPACE if time else 0))
        detail = metrics.elidedText(index.data(Role.DETAIL) or "", Qt.TextElideMode.ElideRight, detail_room.width())
        painter.drawText(detail_room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), detail)
        progress = index.data(Role.SHARE)
        if progress is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            bar = QRect(room.left(), room.bottom() + 1, room.width(), 2)
            painter.fillRect(bar, theme().color("border"))
            bar.setWidth(int(bar.width() * min(1.0, progress)))
            painter.fillRect(bar, theme().color("accent"))

    def _tick(self, painter: QPainter, box: QRect, index: Index) -> None:
        color_number = self._colors.of(int(index.data(Role.RUN)))
        color = theme().color("strong_border") if color_number is None else theme().run_color(color_number)
        ticked = Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole)) == Qt.CheckState.Checked
        painter.setPen(QPen(color, 2))
        painter.setBrush(color if ticked else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 4, 4)
        if ticked:
            theme().icon("ph.check-bold", "surface").paint(painter, box.adjusted(2, 2, -2, -2))

    @staticmethod
    def _tick_rect(row: QRect) -> QRect:
        return QRect(row.left() + SPACE // 2, row.top() + (row.height() - _TICK) // 2, _TICK, _TICK)

    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        if isinstance(event, QMouseEvent) and index.data(Role.RUN) is not None:
            if not self._tick_rect(option.rect).adjusted(-4, -8, 4, 8).contains(event.position().toPoint()):
                return False
            if event.type() == QEvent.Type.MouseButtonRelease and event.button() == Qt.MouseButton.LeftButton:
                ticked = Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole)) == Qt.CheckState.Checked
                state = Qt.CheckState.Unchecked if ticked else Qt.CheckState.Checked
                return model.setData(index, state, int(Qt.ItemDataRole.CheckStateRole))
            return True
        return super().editorEvent(event, model, option, index)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        editor.setGeometry(option.rect.adjusted(2, 2, -2, -2))
